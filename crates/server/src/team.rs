//! The file of a team: read, checked with the line and the key of what is wrong, and read again when
//! it changes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use sinew_bus::clock;
use sinew_model::{
    limits::{TEAM_BYTES, TEAM_EVERY},
    team::{Team, TeamError},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Why a file gives no team.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TeamFileError {
    /// It can't be read.
    #[error("the team file {} can't be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is too large.
    #[error("the team file {} is larger than {TEAM_BYTES} bytes", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Something in it makes no sense; the line and the key are named.
    #[error("the team file {} makes no sense", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What.
        #[source]
        source: toml::de::Error,
    },
    /// Its parts make sense, and the whole does not.
    #[error("the team file {} makes no sense", .path.display())]
    Whole {
        /// The file.
        path: PathBuf,
        /// What.
        #[source]
        source: TeamError,
    },
}

/// A team that is read again when its file changes.
#[derive(Debug)]
pub struct TeamFile {
    path: PathBuf,
    text: String,
    team: watch::Sender<Arc<Team>>,
}

impl TeamFile {
    /// Reads the file.
    ///
    /// # Errors
    /// See [`TeamFileError`].
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, TeamFileError> {
        let path = path.into();
        let text = read(&path).await?;
        let team = parse(&path, &text)?;
        Ok(Self { path, text, team: watch::Sender::new(Arc::new(team)) })
    }

    /// The team, now and when it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Team>> {
        self.team.subscribe()
    }

    /// The folder from which working folders are told.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        path.parent().map(Path::to_owned).unwrap_or_default()
    }

    /// Reads the file again whenever it changes, until `shutdown`. What makes no sense is told, and
    /// what was known before goes on to hold.
    pub async fn follow(mut self, shutdown: CancellationToken) {
        let all = async {
            loop {
                clock::pause(TEAM_EVERY).await;
                self.look().await;
            }
        };
        shutdown.run_until_cancelled(all).await;
    }

    async fn look(&mut self) {
        let text = match read(&self.path).await {
            Ok(text) if text == self.text => return,
            Ok(text) => text,
            // An editor may be about to put the new one in its place.
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no team file now");
                return;
            }
        };
        match parse(&self.path, &text) {
            Ok(team) => {
                tracing::info!(roles = team.roles.len(), "the team file has changed");
                self.team.send_replace(Arc::new(team));
            }
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "the team file has changed and can't be used; what it said before still holds"
            ),
        }
        self.text = text;
    }
}

async fn read(path: &Path) -> Result<String, TeamFileError> {
    let fault = |source| TeamFileError::Read { path: path.to_owned(), source };
    let size = tokio::fs::metadata(path).await.map_err(fault)?.len();
    if size > TEAM_BYTES {
        return Err(TeamFileError::TooLarge { path: path.to_owned() });
    }
    tokio::fs::read_to_string(path).await.map_err(fault)
}

fn parse(path: &Path, text: &str) -> Result<Team, TeamFileError> {
    let team: Team = toml::from_str(text)
        .map_err(|source| TeamFileError::Content { path: path.to_owned(), source })?;
    team.check().map_err(|source| TeamFileError::Whole { path: path.to_owned(), source })?;
    Ok(team)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sinew_testkit::TempDir;

    use super::*;

    #[test]
    fn a_fault_is_told_with_its_line_and_key() {
        let check = |text: &str, line: &str, key: &str| {
            let error = parse(Path::new("team.toml"), text).unwrap_err();
            let told = std::error::Error::source(&error).unwrap().to_string();
            assert!(told.contains(line) && told.contains(key), "{told}");
        };
        check("[roles.cto]\ncommand = [\"a\"]\nmax = \"x\"\n", "line 3", "invalid type");
        check("[roles.cto]\ncomand = [\"a\"]\n", "line 2", "comand");
        check("\n[roles.cto]\nmin = 3\nmax = 1\n", "line 2", "`min` (3) must not be above");
        check("[roles.CTO]\nmin = 3\n", "line 1", "role");
        check("[roles.cto]\ncooldown = \"soon\"\n", "line 2", "is not a time");
        check("[role.cto]\n", "line 1", "role");
        check("[roles.cto\n", "line 1", "");
    }

    #[tokio::test]
    async fn a_change_is_taken_up_and_a_broken_one_is_not() {
        let folder = TempDir::new("team");
        let path = folder.join("team.toml");
        std::fs::write(&path, "[roles.cto]\nmax = 2\n").unwrap();
        let file = TeamFile::open(&path).await.unwrap();
        let mut team = file.watch();
        let stop = CancellationToken::new();
        let following = tokio::spawn(file.follow(stop.clone()));
        std::fs::write(&path, "[roles.cto]\nmax = \n").unwrap();
        std::fs::write(&path, "[roles.cto]\nmax = 3\n[roles.qa]\n").unwrap();
        let seen = tokio::time::timeout(Duration::from_secs(30), team.changed()).await;
        seen.unwrap().unwrap();
        assert_eq!(team.borrow().roles.len(), 2);
        stop.cancel();
        following.await.unwrap();
    }
}
