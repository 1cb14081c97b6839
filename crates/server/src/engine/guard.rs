//! The step between the engine and its child: a process that ties its life to its parent's, and
//! then becomes the program that it was asked to run.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

/// Why the guard did not become the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// It was not called by an engine.
    #[error("the guard takes the process id of its parent, a program, and its arguments")]
    Usage,
    /// The parent died while this process came up, so it must not come up.
    #[error("the process that started the guard is gone")]
    ParentGone,
    /// The kernel does not promise to end this process with its parent.
    #[error("this process cannot be tied to its parent")]
    Untied(#[source] io::Error),
    /// The program does not start.
    #[error("{} does not start", .program.display())]
    Exec {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Becomes the program that `args` name, to be killed when the parent dies: `args` are the parent's
/// process id, the program, and its arguments. Returns only if that fails.
///
/// Only Linux can tie a process to its parent; elsewhere this runs the program all the same. To be
/// called before any other thread is started.
#[must_use]
pub fn exec_guarded(args: impl IntoIterator<Item = OsString>) -> GuardError {
    let mut args = args.into_iter();
    let parent = args.next().and_then(|pid| pid.to_str()?.parse::<i32>().ok());
    let (Some(parent), Some(program)) = (parent, args.next()) else {
        return GuardError::Usage;
    };
    if let Err(source) = tie_to_parent() {
        return GuardError::Untied(source);
    }
    // A parent that died before the line above took nobody with it.
    if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(parent) {
        return GuardError::ParentGone;
    }
    let source = Command::new(&program).args(args).exec();
    GuardError::Exec { program: program.into(), source }
}

/// The signal is one that cannot be caught: a server that hangs must go too. What it has
/// acknowledged is with the kernel by then, or on the disk.
#[cfg(target_os = "linux")]
fn tie_to_parent() -> io::Result<()> {
    let signal = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(signal).map_err(io::Error::from)
}

#[cfg(not(target_os = "linux"))]
fn tie_to_parent() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(args: &[&str]) -> GuardError {
        exec_guarded(args.iter().map(OsString::from))
    }

    #[test]
    fn a_person_who_calls_it_is_told() {
        for args in [&[][..], &["1"], &["x", "true"]] {
            assert!(matches!(guard(args), GuardError::Usage), "{args:?}");
        }
    }

    #[test]
    fn nothing_runs_for_a_parent_that_is_gone() {
        // No process has its own child as its parent.
        let not_the_parent = std::process::id().to_string();
        assert!(matches!(guard(&[&not_the_parent, "true"]), GuardError::ParentGone));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let parent = rustix::process::getppid().unwrap().as_raw_nonzero().to_string();
        let error = guard(&[&parent, "no-such-program"]);
        assert!(error.to_string().contains("no-such-program"), "{error}");
    }
}
