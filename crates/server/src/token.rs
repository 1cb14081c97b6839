//! Tokens that let hosts and people in over HTTP. A token speaks for one role of one org. The file keeps
//! only their hashes, and only its owner may read it; a token is shown once, when it is made.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sinew_bus::clock;
use sinew_model::{InstanceId, OrgId, Role, Time, limits::MCP_TOKENS};

use crate::{context::Secret, private};

/// What a token lets in as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// Names it in lists; says nothing about the token.
    pub id: String,
    /// SHA-256 of the token, in hexadecimal digits.
    sha256: String,
    /// The org.
    pub org: OrgId,
    /// The role that it speaks for.
    pub role: Role,
    /// The instance under which a host without a session holds its tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// When it was made.
    pub created_at: Time,
}

/// Why there is no token, or none is known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file can't be read.
    #[error("the tokens in {} can't be read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file can't be written.
    #[error("the tokens in {} can't be written", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no file of tokens.
    #[error("{} holds no tokens: mend or delete it", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// There are too many.
    #[error("there are {MCP_TOKENS} tokens already: revoke some")]
    TooMany,
}

/// Which file it is, and when it was written: each change makes another file.
type Version = (u64, SystemTime);

/// The tokens of a data folder. What the file says is kept until it changes.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    /// What was read last, and which file that was: its number, and when it was written.
    known: Mutex<Option<(Version, Vec<Grant>)>>,
}

impl Tokens {
    /// The tokens of a data folder.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self { path: data_dir.join("mcp-tokens.json"), known: Mutex::default() }
    }

    /// Those that let people into the dashboard.
    #[must_use]
    pub fn of_dashboard(data_dir: &Path) -> Self {
        Self { path: data_dir.join("dashboard-tokens.json"), known: Mutex::default() }
    }

    /// Makes a token. It is in the answer, and nowhere else.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn make(
        &self,
        org: OrgId,
        role: Role,
        instance: Option<InstanceId>,
    ) -> Result<(Secret, Grant), TokenError> {
        let mut grants = self.list()?;
        if grants.len() >= MCP_TOKENS {
            return Err(TokenError::TooMany);
        }
        let secret = Secret::random();
        let sha256 = hash(secret.expose());
        let id = sha256.chars().take(8).collect();
        let grant = Grant { id, sha256, org, role, instance, created_at: clock::now() };
        grants.push(grant.clone());
        self.save(&grants)?;
        Ok((secret, grant))
    }

    /// All of them.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn list(&self) -> Result<Vec<Grant>, TokenError> {
        match fs::read(&self.path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|source| TokenError::Malformed { path: self.path.clone(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(TokenError::Unreadable { path: self.path.clone(), source }),
        }
    }

    /// Revokes the token of this id. Says whether there was one. Its sessions end with their next
    /// request.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn revoke(&self, id: &str) -> Result<bool, TokenError> {
        let mut grants = self.list()?;
        let before = grants.len();
        grants.retain(|grant| grant.id != id);
        if grants.len() == before {
            return Ok(false);
        }
        self.save(&grants)?;
        Ok(true)
    }

    /// What this token lets in as; `None` where it is not known.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn grant(&self, token: &str) -> Result<Option<Grant>, TokenError> {
        let changed =
            fs::metadata(&self.path).and_then(|data| Ok((data.ino(), data.modified()?))).ok();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = known.as_ref().is_some_and(|(at, _)| Some(*at) == changed);
        if !is_known {
            let grants = self.list()?;
            *known = changed.map(|at| (at, grants));
        }
        // Hashes are compared, so the time that it takes says nothing about a token.
        let sha256 = hash(token);
        let grants = known.as_ref().map(|(_, grants)| grants.as_slice()).unwrap_or_default();
        Ok(grants.iter().find(|grant| grant.sha256 == sha256).cloned())
    }

    fn save(&self, grants: &[Grant]) -> Result<(), TokenError> {
        let unwritable = |source| TokenError::Unwritable { path: self.path.clone(), source };
        let text = serde_json::to_vec_pretty(grants)
            .map_err(|error| unwritable(io::Error::from(error)))?;
        private::write(&self.path, &text).map_err(unwritable)
    }
}

fn hash(token: &str) -> String {
    let digest = Sha256::digest(token.as_bytes());
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from_digit(half.into(), 16).unwrap_or_default());
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinew_testkit::TempDir;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_token_lets_in_until_it_is_revoked_and_is_not_in_the_file() {
        let folder = TempDir::new("tokens");
        let tokens = Tokens::of(folder.path());
        let (org, role): (OrgId, Role) = ("acme".parse().unwrap(), "cto".parse().unwrap());
        let (secret, grant) = tokens.make(org, role.clone(), None).unwrap();
        assert_eq!(tokens.grant(secret.expose()).unwrap().as_ref(), Some(&grant));
        assert_eq!(tokens.grant("guess").unwrap(), None);
        assert_eq!(tokens.grant("").unwrap(), None);
        let path = folder.join("mcp-tokens.json");
        assert!(!fs::read_to_string(&path).unwrap().contains(secret.expose()));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        // Another process revokes it.
        assert!(Tokens::of(folder.path()).revoke(&grant.id).unwrap());
        assert_eq!(tokens.grant(secret.expose()).unwrap(), None);
        assert!(!tokens.revoke(&grant.id).unwrap());
    }
}
