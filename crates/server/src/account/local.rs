//! The credentials of this machine: files that the commands and the controllers here find by
//! themselves. They are made when they are first needed, and made anew when they let in no more or
//! give other rights than the table of today.

use std::path::PathBuf;

use sinew_model::{
    OrgId, Subjects,
    grant::{User, allowed},
};

use super::{
    jwt,
    orgs::{AccountError, Orgs, write_private},
    record::Issued,
};

impl Orgs {
    /// Makes sure that a user of this machine has credentials with the rights of today, and says
    /// where they are.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn ensure_local(&self, org: &OrgId, user: &User) -> Result<PathBuf, AccountError> {
        let path = self.local_creds(org, user);
        let subjects = Subjects::new(self.root().clone(), org.clone());
        // What cannot be read is made anew.
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let rights = |key: &str| allowed(&subjects, user).certifying(&subjects, key);
        if !jwt::gives(&text, rights) {
            self.renew(org, user)?;
        }
        Ok(path)
    }

    /// Gives a user of this machine new credentials in the place of those it has.
    fn renew(&self, org: &OrgId, user: &User) -> Result<(), AccountError> {
        let path = self.local_creds(org, user);
        let minted = self.creds(org, user, None)?;
        write_private(&path, &minted.text)
    }

    /// The users that have credentials on this machine.
    fn locals(&self, org: &OrgId) -> Vec<User> {
        let some = self.local_creds(org, &User::Server);
        let folder = some.parent().map(std::fs::read_dir);
        // No folder, nobody.
        let files = folder.into_iter().flatten().flatten().flatten();
        let name = |file: std::fs::DirEntry| {
            let name = file.file_name();
            User::named(name.to_str()?.strip_suffix(".creds")?)
        };
        files.filter_map(name).collect()
    }

    /// Gives all users of this machine new credentials.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn renew_all(&self, org: &OrgId) -> Result<(), AccountError> {
        self.locals(org).iter().try_for_each(|user| self.renew(org, user))
    }

    /// Gives the operator and the controllers of this machine new credentials where those that they
    /// have were revoked; those of agents are taken away.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn renew_revoked(&self, org: &OrgId) -> Result<(), AccountError> {
        let record = self.record(org)?;
        let stands = |it: &&Issued| !record.revoked.contains_key(&it.key);
        for user in self.locals(org) {
            let name = user.name();
            if record.users.iter().filter(|it| it.name == name).any(|it| stands(&it)) {
                continue;
            }
            match user {
                User::Operator | User::Server => self.renew(org, &user)?,
                User::Agent(_) | User::Observer => {
                    let path = self.local_creds(org, &user);
                    std::fs::remove_file(&path)
                        .map_err(|source| AccountError::File { path, source })?;
                }
            }
        }
        Ok(())
    }
}
