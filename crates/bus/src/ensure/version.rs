//! Which servers Sinew works with.

use sinew_model::limits::SERVER_OLDEST;

use crate::connect::Bus;

/// A server that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// It is too old.
    #[error("the server is nats-server {found}; {}.{} is the oldest that will do", SERVER_OLDEST.0, SERVER_OLDEST.1)]
    TooOld {
        /// Its version.
        found: String,
    },
    /// It does not say what it is.
    #[error("the server calls its version {found:?}, which can't be compared")]
    Unreadable {
        /// What it says.
        found: String,
    },
}

impl Bus {
    /// Refuses a server that lacks what Sinew needs.
    ///
    /// # Errors
    /// See [`VersionError`].
    pub fn require_version(&self) -> Result<(), VersionError> {
        check(&self.server_version())
    }
}

fn check(version: &str) -> Result<(), VersionError> {
    let mut parts = version.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= SERVER_OLDEST => Ok(()),
        (Some(Ok(_)), Some(Ok(_))) => Err(VersionError::TooOld { found: version.to_owned() }),
        _ => Err(VersionError::Unreadable { found: version.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for fine in ["2.14.0", "2.14.0-RC.1", "2.15.1", "2.100.0", "3.0.0"] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        for old in ["2.9.25", "2.13.9", "1.99.0"] {
            assert_eq!(check(old), Err(VersionError::TooOld { found: old.to_owned() }));
        }
        for odd in ["", "2", "two.15", "v2.15.1"] {
            assert_eq!(check(odd), Err(VersionError::Unreadable { found: odd.to_owned() }));
        }
        let text = check("2.12.4").unwrap_err().to_string();
        assert_eq!(text, "the server is nats-server 2.12.4; 2.14 is the oldest that will do");
    }
}
