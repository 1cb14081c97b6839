//! The git repository that the demo is about. It is only read.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use crate::exit::{Code, Fault};

/// A git repository.
#[derive(Debug)]
pub(super) struct Repository {
    /// Its top folder.
    pub(super) top: PathBuf,
    /// What it is called.
    pub(super) name: String,
}

impl Repository {
    /// The repository that a path lies in.
    ///
    /// # Errors
    /// When it lies in none, or that has no commit, or git or Python are missing.
    pub(super) async fn at(path: &Path) -> Result<Self, Fault> {
        for (program, flag) in [("git", "--version"), ("python3", "--version"), ("sh", "-c:")] {
            if Command::new(program).arg(flag).output().await.is_err() {
                return Err(Fault::not_found(format!(
                    "there is no {program}, which the demo needs"
                ))
                .hint(format!("install {program}, so that it is on PATH")));
            }
        }
        let hint = "name the folder of one: sinew demo PATH";
        let refuse =
            |what: &str| Err(Fault::not_found(format!("{} {what}", path.display())).hint(hint));
        if !path.is_dir() {
            return refuse("is no folder");
        }
        let Some(top) = git(path, ["rev-parse", "--show-toplevel"]).await? else {
            return refuse("lies in no git repository");
        };
        if git(path, ["rev-parse", "--verify", "--quiet", "HEAD"]).await?.is_none() {
            return refuse("is a git repository without a commit");
        }
        let top = PathBuf::from(top);
        let name = top.file_name().unwrap_or(OsStr::new("it")).to_string_lossy().into_owned();
        Ok(Self { top, name })
    }

    /// Makes a copy of it without its files, and leaves in it the lock of a git that crashed.
    ///
    /// # Errors
    /// When git does not, or the folder can't be written.
    pub(super) async fn copy(&self, to: &Path) -> Result<(), Fault> {
        let words: [&OsStr; 6] = [
            "clone".as_ref(),
            "--quiet".as_ref(),
            "--shared".as_ref(),
            "--no-checkout".as_ref(),
            self.top.as_os_str(),
            to.as_os_str(),
        ];
        if git(&self.top, words).await?.is_none() {
            let text = format!("git could not copy {}", self.top.display());
            return Err(Fault::new(Code::Failed, text));
        }
        let lock = to.join(".git/index.lock");
        std::fs::write(&lock, "")
            .map_err(|error| Fault::new(Code::Failed, format!("{}: {error}", lock.display())))
    }
}

/// What git prints; `None` where it fails.
async fn git<S: AsRef<OsStr>>(
    place: &Path,
    words: impl IntoIterator<Item = S>,
) -> Result<Option<String>, Fault> {
    let output = Command::new("git").arg("-C").arg(place).args(words).output().await;
    let output = output.map_err(|error| Fault::not_found(format!("git does not run: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(output.status.success().then_some(text))
}
