//! The link by which the person who runs the org enters. It stays the same while its token stands,
//! so that whoever has entered is still in after a restart, at the same address.

use std::{io, path::Path};

use sinew_model::{OrgId, Role};

use super::house::OPERATOR;
use crate::{
    context::Secret,
    private,
    token::{TokenError, Tokens},
};

/// The file that keeps it, for its owner alone.
const FILE: &str = "dashboard-link";

/// What comes before the token in a link.
const BEFORE_TOKEN: &str = "login?token=";

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// No token can be made.
    #[error("nobody can be let into the dashboard")]
    Token(#[from] TokenError),
    /// The role of who runs the org has no name.
    #[error("the operator has no name")]
    Role(#[from] sinew_model::IdError),
    /// The link can't be kept.
    #[error("the link of the dashboard can't be kept")]
    Keep(#[source] io::Error),
}

/// The link for a token, at the address of a dashboard.
#[must_use]
pub fn link(url: &str, token: &Secret) -> Secret {
    Secret::of(format!("{url}{BEFORE_TOKEN}{}", token.expose()))
}

/// The port that the dashboard of a data folder had the last time.
#[must_use]
pub fn last_port(data_dir: &Path) -> Option<u16> {
    let last = std::fs::read_to_string(data_dir.join(FILE)).ok()?;
    last.split("://").nth(1)?.split('/').next()?.rsplit(':').next()?.parse().ok()
}

/// The operator's link to the dashboard at `url`: with the token of the last time while that stands,
/// else with a new one.
///
/// # Errors
/// See [`LinkError`].
pub fn operators(data_dir: &Path, org: &OrgId, url: &str) -> Result<Secret, LinkError> {
    let tokens = Tokens::of_dashboard(data_dir);
    let role: Role = OPERATOR.parse()?;
    let last = std::fs::read_to_string(data_dir.join(FILE)).unwrap_or_default();
    let token = last.trim().split_once(BEFORE_TOKEN).map(|(_, token)| token.to_owned());
    let stands = match &token {
        Some(token) => tokens.grant(token)?.is_some_and(|it| it.org == *org && it.role == role),
        None => false,
    };
    let token = match token.filter(|_| stands) {
        Some(token) => Secret::of(token),
        None => tokens.make(org.clone(), role, None)?.0,
    };
    let link = link(url, &token);
    let kept = private::folder(data_dir)
        .and_then(|()| private::write(&data_dir.join(FILE), link.expose().as_bytes()));
    kept.map_err(LinkError::Keep)?;
    Ok(link)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use sinew_testkit::TempDir;

    use super::*;

    #[test]
    fn a_link_stays_until_its_token_is_revoked() {
        let folder = TempDir::new("link");
        let org: OrgId = "acme".parse().unwrap();
        let first = operators(folder.path(), &org, "http://127.0.0.1:4270/").unwrap();
        assert_eq!(last_port(folder.path()), Some(4270));
        let other = operators(folder.path(), &org, "http://127.0.0.1:4271/").unwrap();
        let token = |link: &Secret| link.expose().rsplit_once('=').unwrap().1.to_owned();
        assert_eq!(token(&first), token(&other));
        assert_ne!(first, other);
        let tokens = Tokens::of_dashboard(folder.path());
        let id = tokens.grant(&token(&first)).unwrap().unwrap().id;
        tokens.revoke(&id).unwrap();
        let next = operators(folder.path(), &org, "http://127.0.0.1:4271/").unwrap();
        assert_ne!(token(&next), token(&first));
        let mode = folder.join(FILE).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
