//! Finds the nats-server program, and refuses what is not one or is too old.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sinew_model::limits::{ENGINE_OLDEST, ENGINE_VERSION_PATIENCE, head};
use tokio::process::Command;
use tokio::time::timeout;

/// Where `tools/install-nats` puts it, seen from a checkout.
const INSTALLED: &str = ".tools/nats/bin/nats-server";

/// How much of what a program says instead of its version is shown, in bytes.
const SHOWN_BYTES: usize = 200;

/// Why there is no nats-server to run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// It is nowhere.
    #[error(
        "there is no nats-server in {looked_in}: run tools/install-nats in a checkout of Sinew, \
         or name the program with SINEW_NATS_SERVER"
    )]
    Missing {
        /// Where it was looked for, in words.
        looked_in: String,
    },
    /// It is there and does not run.
    #[error("{} does not run as nats-server: run tools/install-nats", .path.display())]
    Unrunnable {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It runs and is something else.
    #[error(
        "{} is not nats-server (to --version it says {said:?}): run tools/install-nats",
        .path.display()
    )]
    NotNats {
        /// The program.
        path: PathBuf,
        /// The beginning of what it printed.
        said: String,
    },
    /// It lacks what Sinew needs.
    #[error(
        "{} is nats-server {found}, and {}.{} is the oldest that is supported: \
         run tools/install-nats", .path.display(), .oldest.0, .oldest.1
    )]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        found: String,
        /// The oldest supported one.
        oldest: (u32, u32),
    },
}

/// Finds nats-server: the one that is named explicitly, else the one that the environment names
/// (`SINEW_NATS_SERVER`, read by the caller), else the installed one of a checkout that one of the
/// folders `near` is in, else the first on the path (`PATH`, read by the caller).
///
/// The first that is there is taken. If it does not do, that is an error, and no other is tried:
/// nobody should run another server than they think.
///
/// # Errors
/// See [`FindError`].
pub async fn find(
    explicit: Option<&Path>,
    env_value: Option<OsString>,
    path_value: Option<OsString>,
    near: &[PathBuf],
) -> Result<PathBuf, FindError> {
    let named = explicit
        .map(Path::to_owned)
        .or_else(|| env_value.filter(|value| !value.is_empty()).map(PathBuf::from));
    let path = match named {
        Some(path) if path.exists() => path,
        Some(path) => return Err(FindError::Missing { looked_in: path.display().to_string() }),
        None => installed(near)
            .or_else(|| on_path(path_value))
            .ok_or_else(|| FindError::Missing { looked_in: places(near) })?,
    };
    // The engine runs it with another working folder.
    let path = std::path::absolute(&path)
        .map_err(|source| FindError::Unrunnable { path: path.clone(), source })?;
    check(path).await
}

fn installed(near: &[PathBuf]) -> Option<PathBuf> {
    near.iter()
        .flat_map(|folder| folder.ancestors())
        .map(|folder| folder.join(INSTALLED))
        .find(|path| path.is_file())
}

fn on_path(value: Option<OsString>) -> Option<PathBuf> {
    let value = value?;
    std::env::split_paths(&value).map(|folder| folder.join("nats-server")).find(|path| {
        path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    })
}

fn places(near: &[PathBuf]) -> String {
    let mut places: Vec<String> =
        near.iter().map(|folder| format!("{} and above", folder.display())).collect();
    places.push("PATH".to_owned());
    places.join(", ")
}

async fn check(path: PathBuf) -> Result<PathBuf, FindError> {
    let said = match ask_version(&path).await {
        Ok(said) => said,
        Err(source) => return Err(FindError::Unrunnable { path, source }),
    };
    let Some(found) = said.trim().strip_prefix("nats-server: v") else {
        return Err(FindError::NotNats { path, said: head(said.trim(), SHOWN_BYTES).to_owned() });
    };
    if version(found) >= Some(ENGINE_OLDEST) {
        return Ok(path);
    }
    let found = head(found, SHOWN_BYTES).to_owned();
    Err(FindError::TooOld { path, found, oldest: ENGINE_OLDEST })
}

async fn ask_version(path: &Path) -> io::Result<String> {
    let mut command = Command::new(path);
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match timeout(ENGINE_VERSION_PATIENCE, command.output()).await {
        Ok(output) => Ok(String::from_utf8_lossy(&output?.stdout).into_owned()),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// `2.15.0-RC.1` is 2.15.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map_while(|number| number.parse::<u32>().ok());
    numbers.next().zip(numbers.next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinew_testkit::TempDir;

    /// A program in a folder that answers every question with `says`.
    fn program(folder: &Path, says: &str) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        let path = folder.join("nats-server");
        std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    fn good(folder: &Path) -> PathBuf {
        program(folder, "nats-server: v2.15.1")
    }

    fn value(path: &Path) -> Option<OsString> {
        Some(path.as_os_str().to_owned())
    }

    #[tokio::test]
    async fn the_nearest_word_wins() {
        let folder = TempDir::new("find");
        let explicit = good(&folder.join("explicit"));
        let named = good(&folder.join("named"));
        let installed = good(&folder.join("checkout/.tools/nats/bin"));
        let on_path = good(&folder.join("path"));
        let deep = [folder.join("nowhere"), folder.join("checkout/crates/deep")];
        let path_value = || std::env::join_paths([folder.join("none"), folder.join("path")]).ok();

        let found = find(Some(&explicit), value(&named), path_value(), &deep).await;
        assert_eq!(found.unwrap(), explicit);
        let found = find(None, value(&named), path_value(), &deep).await;
        assert_eq!(found.unwrap(), named);
        let found = find(None, Some(OsString::new()), path_value(), &deep).await;
        assert_eq!(found.unwrap(), installed);
        assert_eq!(find(None, None, path_value(), &[]).await.unwrap(), on_path);
    }

    #[tokio::test]
    async fn a_missing_program_says_what_to_run() {
        let folder = TempDir::new("find");
        let gone = folder.join("gone");
        for error in [
            find(Some(&gone), None, None, &[]).await.unwrap_err(),
            find(None, value(&gone), None, &[]).await.unwrap_err(),
            find(None, None, None, std::slice::from_ref(&gone)).await.unwrap_err(),
        ] {
            assert!(matches!(error, FindError::Missing { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("gone") && text.contains("tools/install-nats"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_file_on_the_path_that_cannot_run_is_passed_over() {
        let folder = TempDir::new("find");
        std::fs::write(folder.join("nats-server"), "text").unwrap();
        let error = find(None, None, value(folder.path()), &[]).await.unwrap_err();
        assert!(matches!(error, FindError::Missing { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn old_and_foreign_programs_are_refused_by_name() {
        let folder = TempDir::new("find");
        let old = program(&folder.join("old"), "nats-server: v2.13.9");
        let error = find(Some(&old), None, None, &[]).await.unwrap_err();
        assert!(matches!(error, FindError::TooOld { .. }), "{error:?}");
        assert!(error.to_string().contains("2.13.9"), "{error}");

        let foreign = program(&folder.join("foreign"), "redis 7");
        let error = find(Some(&foreign), None, None, &[]).await.unwrap_err();
        assert!(matches!(error, FindError::NotNats { .. }), "{error:?}");
        assert!(error.to_string().contains("redis 7"), "{error}");

        let text = folder.join("text");
        std::fs::write(&text, "not a program").unwrap();
        let error = find(Some(&text), None, None, &[]).await.unwrap_err();
        assert!(matches!(error, FindError::Unrunnable { .. }), "{error:?}");
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        for (text, good) in [
            ("2.14.0", true),
            ("2.15.0-RC.1", true),
            ("3.0.0", true),
            ("2.9.10", false),
            ("dev", false),
        ] {
            assert_eq!(version(text) >= Some(ENGINE_OLDEST), good, "{text}");
        }
    }
}
