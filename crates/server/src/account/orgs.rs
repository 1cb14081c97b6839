//! The operator's side: the keys and records of a data folder, and what is minted from them.
//! Nothing here needs a server; [`Directory`](super::Directory) tells one.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use nkeys::{KeyPair, KeyPairType};
use serde::Serialize;
use serde_json::{Value, json};
use sinew_bus::clock;
use sinew_model::{
    OrgId, Root, Subjects,
    grant::{User, allowed},
    limits::ORGS,
};

use super::{
    jwt, keys,
    record::{EVERYBODY, Issued, Quota, Record, Revoke, SigningKey},
};
use crate::private;

/// Why an org could not be made, changed or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// A file of keys or records can't be used.
    #[error("{} cannot be used", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record is not readable.
    #[error("{} is no record of an org", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// There is no such org.
    #[error("there is no org {org}")]
    Unknown {
        /// The name.
        org: OrgId,
    },
    /// There is one already.
    #[error("there is an org {org} already")]
    Exists {
        /// The name.
        org: OrgId,
    },
    /// There are as many as there may be.
    #[error("there are {ORGS} orgs already, and more the platform can't hear")]
    Full,
    /// Nobody has the credentials that are to be revoked.
    #[error("nobody has credentials like that in {org}")]
    NoUser {
        /// The org.
        org: OrgId,
    },
    /// A key can't sign.
    #[error("a key cannot sign")]
    Sign(#[from] nkeys::error::Error),
}

/// Credentials that were just made. The text is secret: it holds the user's key.
pub struct Minted {
    /// The text of the `.creds` file.
    pub text: String,
    /// What was written down about it.
    pub issued: Issued,
}

impl std::fmt::Debug for Minted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Minted").field("issued", &self.issued).finish_non_exhaustive()
    }
}

/// The orgs of a data folder.
#[derive(Clone, Debug)]
pub struct Orgs {
    folder: PathBuf,
    root: Root,
}

/// The keys of one account of the server's own.
struct Own {
    identity: KeyPair,
    signing: KeyPair,
}

/// Keeps others from changing the records; ends when it is dropped.
pub(super) struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

impl Orgs {
    /// The orgs of the data folder, which use subjects below `root`.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, root: Root) -> Self {
        Self { folder: folder.into(), root }
    }

    /// First token of every subject.
    pub(super) const fn root(&self) -> &Root {
        &self.root
    }

    /// The credentials of the server's system account.
    #[must_use]
    pub fn system_creds(&self) -> PathBuf {
        self.folder.join("creds/system.creds")
    }

    /// The credentials of the platform, who hears of all orgs.
    #[must_use]
    pub fn platform_creds(&self) -> PathBuf {
        self.folder.join("creds/platform.creds")
    }

    /// The credentials of a user of this machine.
    #[must_use]
    pub fn local_creds(&self, org: &OrgId, user: &User) -> PathBuf {
        self.folder.join("creds").join(org.as_str()).join(format!("{}.creds", user.name()))
    }

    /// Where a key of the operator's own is kept.
    pub(super) fn key_path(&self, name: &str) -> PathBuf {
        self.folder.join("keys").join(format!("{name}.nk"))
    }

    fn home(&self, org: &OrgId) -> PathBuf {
        self.folder.join("orgs").join(org.as_str())
    }

    fn own(&self, name: &str, kind: KeyPairType) -> Result<Own, AccountError> {
        let key = |suffix: &str, kind| {
            let path = self.key_path(&format!("{name}{suffix}"));
            keys::load_or_make(&path, kind).map_err(at(&path))
        };
        Ok(Own { identity: key("", kind.clone())?, signing: key("-signing", kind)? })
    }

    fn operator(&self) -> Result<Own, AccountError> {
        self.own("operator", KeyPairType::Operator)
    }

    pub(super) fn lock(&self) -> Result<Lock, AccountError> {
        keys::folder(&self.folder).map_err(at(&self.folder))?;
        let path = self.folder.join("orgs.lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(at(&path))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|error| at(&path)(error.into()))?;
        Ok(Lock(file))
    }

    /// What the server is told about its operator.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn operator_jwt(&self) -> Result<String, AccountError> {
        let _lock = self.lock()?;
        let operator = self.operator()?;
        let signing = operator.signing.public_key();
        let system = self.own("system", KeyPairType::Account)?.identity.public_key();
        Ok(jwt::operator(&operator.identity, &signing, &system, clock::now())?)
    }

    /// Every account with its JWT, the system's first; the server's own users are made as well.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn accounts(&self) -> Result<Vec<(String, String)>, AccountError> {
        let _lock = self.lock()?;
        let signer = self.operator()?.signing;
        let mut accounts = vec![
            self.own_account(&signer, "system", &self.system_creds(), Vec::new())?,
            self.own_account(&signer, "platform", &self.platform_creds(), self.imports()?)?,
        ];
        for (org, record) in self.records()? {
            let token = jwt::org_account(&signer, (&self.root, &org), &record, clock::now())?;
            accounts.push((record.account, token));
        }
        Ok(accounts)
    }

    /// An account of the server's own with its JWT; its user is made where there is none.
    fn own_account(
        &self,
        signer: &KeyPair,
        name: &str,
        creds: &Path,
        imports: Vec<Value>,
    ) -> Result<(String, String), AccountError> {
        let own = self.own(name, KeyPairType::Account)?;
        let key = own.identity.public_key();
        let about = jwt::Subject { name, key: &key, from: clock::now(), until: None };
        let signing = own.signing.public_key();
        let account = jwt::plain_account(signer, &about, &signing, imports)?;
        if !creds.exists() {
            let user = KeyPair::new_user();
            let user_key = user.public_key();
            let about = jwt::Subject { name, key: &user_key, from: clock::now(), until: None };
            let token = jwt::user(&own.signing, &about, &key, None)?;
            write_creds(creds, &token, &user)?;
        }
        Ok((key, account))
    }

    fn imports(&self) -> Result<Vec<Value>, AccountError> {
        let records = self.records()?;
        let each = records.iter().flat_map(|(org, it)| jwt::imports(&self.root, org, &it.account));
        Ok(each.collect())
    }

    /// The JWT of the platform's account, which hears every org. It grows with the orgs, so it is
    /// told to the server apart from what is new about one of them.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn platform_jwt(&self) -> Result<String, AccountError> {
        let signer = self.operator()?.signing;
        let creds = self.platform_creds();
        Ok(self.own_account(&signer, "platform", &creds, self.imports()?)?.1)
    }

    /// The JWT that tells a server of an org, or of what is new about it.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn org_jwt(&self, org: &OrgId) -> Result<String, AccountError> {
        let signer = self.operator()?.signing;
        let record = self.record(org)?;
        Ok(jwt::org_account(&signer, (&self.root, org), &record, clock::now())?)
    }

    /// All orgs.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn records(&self) -> Result<Vec<(OrgId, Record)>, AccountError> {
        let home = self.folder.join("orgs");
        let entries = match std::fs::read_dir(&home) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(at(&home))?,
        };
        let mut records = Vec::new();
        for entry in entries {
            let name = entry.map_err(at(&home))?.file_name();
            let Some(org) = name.to_str().and_then(|name| name.parse::<OrgId>().ok()) else {
                continue;
            };
            match self.record(&org) {
                Ok(record) => records.push((org, record)),
                // Made by halves: nobody was told of it.
                Err(AccountError::Unknown { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        records.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(records)
    }

    /// Makes sure that there is such an org.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn ensure(&self, org: &OrgId, quota: Quota) -> Result<Record, AccountError> {
        match self.add(org, quota) {
            Err(AccountError::Exists { .. }) => self.record(org),
            added => added,
        }
    }

    /// What is written down about an org.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn record(&self, org: &OrgId) -> Result<Record, AccountError> {
        let path = self.home(org).join("org.json");
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|source| AccountError::Malformed { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(AccountError::Unknown { org: org.clone() })
            }
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// What the org's account says of its keys and users, signed by the account itself: whoever
    /// knows the account's public key knows from it whose signatures count.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn statement(&self, org: &OrgId) -> Result<String, AccountError> {
        let record = self.record(org)?;
        let path = self.home(org).join("account.nk");
        let identity = keys::load(&path).map_err(at(&path))?;
        Ok(jwt::statement(&identity, &record.trust(), clock::now())?)
    }

    pub(super) fn save(&self, org: &OrgId, record: &Record) -> Result<(), AccountError> {
        let path = self.home(org).join("org.json");
        let text = serde_json::to_vec_pretty(record)
            .map_err(|source| AccountError::Malformed { path: path.clone(), source })?;
        private::write(&path, &text).map_err(at(&path))
    }

    /// Makes an org.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn add(&self, org: &OrgId, quota: Quota) -> Result<Record, AccountError> {
        let _lock = self.lock()?;
        if self.record(org).is_ok() {
            return Err(AccountError::Exists { org: org.clone() });
        }
        let home = self.folder.join("orgs");
        if std::fs::read_dir(home).is_ok_and(|orgs| orgs.count() >= ORGS) {
            return Err(AccountError::Full);
        }
        let path = self.home(org).join("account.nk");
        let identity = keys::load_or_make(&path, KeyPairType::Account).map_err(at(&path))?;
        let mut record = Record {
            account: identity.public_key(),
            made: clock::now(),
            quota,
            signing: Vec::new(),
            users: Vec::new(),
            revoked: std::collections::BTreeMap::new(),
            retired: std::collections::BTreeMap::new(),
        };
        self.new_signing(org, &mut record)?;
        self.save(org, &record)?;
        self.audit(org, "org.added", &json!({ "account": record.account, "quota": quota }))?;
        Ok(record)
    }

    fn signing_path(&self, org: &OrgId, number: u32) -> PathBuf {
        self.home(org).join(format!("signing-{number}.nk"))
    }

    fn new_signing(&self, org: &OrgId, record: &mut Record) -> Result<SigningKey, AccountError> {
        let number = record.signing.last().map_or(1, |key| key.number.saturating_add(1));
        let path = self.signing_path(org, number);
        let key = KeyPair::new_account();
        keys::save(&path, &key).map_err(at(&path))?;
        let made = SigningKey { number, public: key.public_key(), made: clock::now() };
        record.signing.push(made.clone());
        Ok(made)
    }

    /// Makes credentials for a user.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn creds(
        &self,
        org: &OrgId,
        user: &User,
        expires: Option<Duration>,
    ) -> Result<Minted, AccountError> {
        let _lock = self.lock()?;
        self.mint(org, user, expires)
    }

    fn mint(
        &self,
        org: &OrgId,
        user: &User,
        expires: Option<Duration>,
    ) -> Result<Minted, AccountError> {
        let mut record = self.record(org)?;
        let number = record.signing.last().map_or(1, |key| key.number);
        let path = self.signing_path(org, number);
        let signer = keys::load(&path).map_err(at(&path))?;
        let key = KeyPair::new_user();
        let now = clock::now();
        let issued = Issued {
            name: user.name(),
            key: key.public_key(),
            issued: now,
            expires: expires.map(|span| now.plus(span)),
            signed_by: number,
        };
        let subjects = Subjects::new(self.root.clone(), org.clone());
        let about =
            jwt::Subject { name: &issued.name, key: &issued.key, from: now, until: issued.expires };
        let rights = allowed(&subjects, user).certifying(&subjects, &issued.key);
        let token = jwt::user(&signer, &about, &record.account, Some(&rights))?;
        let seed = keys::seed(&key).map_err(at(&path))?;
        record.forget_expired(now);
        record.users.push(issued.clone());
        self.save(org, &record)?;
        self.audit(org, "org.credentials", &json!({ "user": issued }))?;
        Ok(Minted { text: jwt::creds(&token, &seed), issued })
    }

    /// Gives the org another signing key. What the earlier ones signed stays good until they are
    /// retired. Once the server and the org know of it, the users of this machine are to get new
    /// credentials, by [`Orgs::renew_all`].
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn rotate(&self, org: &OrgId) -> Result<SigningKey, AccountError> {
        let _lock = self.lock()?;
        let mut record = self.record(org)?;
        let made = self.new_signing(org, &mut record)?;
        self.save(org, &record)?;
        self.audit(org, "org.rotated", &json!({ "signingKey": made }))?;
        Ok(made)
    }

    /// Retires all signing keys but the newest, and gives their numbers: what they signed lets in
    /// no more.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn retire(&self, org: &OrgId) -> Result<Vec<u32>, AccountError> {
        let _lock = self.lock()?;
        let mut record = self.record(org)?;
        let newest = record.signing.pop();
        let retired: Vec<u32> = record.signing.iter().map(|key| key.number).collect();
        let now = jwt::seconds(clock::now());
        let gone = record.signing.iter().map(|key| (key.public.clone(), now));
        record.retired.extend(gone.collect::<Vec<_>>());
        record.signing = newest.into_iter().collect();
        record.users.retain(|user| !retired.contains(&user.signed_by));
        self.save(org, &record)?;
        for number in &retired {
            let path = self.signing_path(org, *number);
            // The server no longer honours it; a file that is gone already is as good.
            std::fs::remove_file(&path).ok();
        }
        self.audit(org, "org.retired", &json!({ "signingKeys": retired }))?;
        Ok(retired)
    }

    /// Revokes credentials, and says whose.
    ///
    /// # Errors
    /// See [`AccountError`]; [`AccountError::NoUser`] where there is nobody.
    pub fn revoke(&self, org: &OrgId, whose: &Revoke) -> Result<Vec<Issued>, AccountError> {
        let _lock = self.lock()?;
        let mut record = self.record(org)?;
        let meant = record.meant(whose);
        if meant.is_empty() {
            return Err(AccountError::NoUser { org: org.clone() });
        }
        let now = jwt::seconds(clock::now());
        record.revoked.extend(meant.iter().map(|user| (user.key.clone(), now)));
        self.save(org, &record)?;
        self.audit(org, "org.revoked", &json!({ "users": meant }))?;
        Ok(meant)
    }

    /// Revokes all credentials of the org, also those that are not made yet: it is on its way out.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn shut(&self, org: &OrgId) -> Result<(), AccountError> {
        let _lock = self.lock()?;
        let mut record = self.record(org)?;
        record.revoked.insert(EVERYBODY.to_owned(), jwt::seconds(clock::now()).saturating_add(1));
        self.save(org, &record)?;
        self.audit(org, "org.shut", &json!({ "account": record.account }))
    }

    /// What was written down about the org, the oldest first.
    ///
    /// # Errors
    /// [`AccountError::File`].
    pub fn history(&self, org: &OrgId) -> Result<Vec<Value>, AccountError> {
        let path = self.folder.join("audit.jsonl");
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.map_err(at(&path))?,
        };
        // A line that a crash cut short is no entry.
        let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let is_of =
            |entry: &Value| entry.get("orgId").and_then(Value::as_str) == Some(org.as_str());
        Ok(entries.filter(is_of).collect())
    }

    /// The order by which the server forgets the org.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn deletion_of(&self, org: &OrgId) -> Result<String, AccountError> {
        let record = self.record(org)?;
        let signer = self.operator()?.signing;
        Ok(jwt::deletion(&signer, &[&record.account], clock::now())?)
    }

    /// Forgets the org: its record, its keys, and the credentials of this machine. The name may be
    /// used again, for another account.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn forget(&self, org: &OrgId) -> Result<(), AccountError> {
        let _lock = self.lock()?;
        let record = self.record(org)?;
        let home = self.home(org);
        std::fs::remove_dir_all(&home).map_err(at(&home))?;
        let creds = self.folder.join("creds").join(org.as_str());
        match std::fs::remove_dir_all(&creds) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&creds)(error)),
            Ok(()) | Err(_) => {}
        }
        self.audit(org, "org.removed", &json!({ "account": record.account }))
    }

    /// Writes a change down.
    pub(super) fn audit(
        &self,
        org: &OrgId,
        action: &str,
        details: &impl Serialize,
    ) -> Result<(), AccountError> {
        let path = self.folder.join("audit.jsonl");
        let entry = json!({
            "timestamp": clock::now(), "orgId": org, "action": action, "details": details,
        });
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        let written = options
            .open(&path)
            .and_then(|mut file| file.write_all(format!("{entry}\n").as_bytes()));
        written.map_err(at(&path))
    }
}

pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> AccountError {
    let path = path.to_owned();
    move |source| AccountError::File { path: path.clone(), source }
}

fn write_creds(path: &Path, token: &str, user: &KeyPair) -> Result<(), AccountError> {
    let seed = keys::seed(user).map_err(at(path))?;
    write_private(path, &jwt::creds(token, &seed))
}

/// Writes a file for its owner alone.
///
/// # Errors
/// [`AccountError::File`].
pub fn write_private(path: &Path, text: &str) -> Result<(), AccountError> {
    if let Some(parent) = path.parent() {
        keys::folder(parent).map_err(at(path))?;
    }
    private::write(path, text.as_bytes()).map_err(at(path))
}

impl Minted {
    /// Writes the `.creds` file, for its owner alone.
    ///
    /// # Errors
    /// [`AccountError::File`].
    pub fn save(&self, path: &Path) -> Result<(), AccountError> {
        private::write(path, self.text.as_bytes()).map_err(at(path))
    }
}
