//! Users that are put out because they do harm, without anybody having asked for it.

use serde_json::json;
use sinew_bus::clock;
use sinew_model::{OrgId, grant::User};

use super::{
    jwt,
    orgs::{AccountError, Orgs},
};

/// Who was put out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expelled {
    /// What the user is called; `None` for one that has no credentials of this data folder, whose
    /// signing key somebody else has.
    pub name: Option<String>,
    /// Whether it was done already.
    pub was_out: bool,
}

impl Orgs {
    /// Revokes a user by its public key, whether or not its credentials are of this data folder,
    /// and writes down what it did. `None` for the org's controllers, whom nobody puts out.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn expel(
        &self,
        org: &OrgId,
        key: &str,
        found: &str,
    ) -> Result<Option<Expelled>, AccountError> {
        let _lock = self.lock()?;
        let mut record = self.record(org)?;
        let name = record.users.iter().find(|user| user.key == key).map(|user| user.name.clone());
        if name.as_deref().and_then(User::named) == Some(User::Server) {
            return Ok(None);
        }
        let was_out = record.revoked.contains_key(key);
        if !was_out {
            record.revoked.insert(key.to_owned(), jwt::seconds(clock::now()));
            self.save(org, &record)?;
            let details = json!({ "user": { "name": name, "key": key }, "found": found });
            self.audit(org, EXPELLED, &details)?;
        }
        Ok(Some(Expelled { name, was_out }))
    }
}

/// What the audit calls it.
pub const EXPELLED: &str = "org.expelled";
