//! The context file: where the backbone is and how to get in, written by `sinew up` and read by
//! every other command, so that on a laptop no flag is needed. It names the files that let in, which
//! are for their owner alone; one of a server elsewhere may hold a password, so it is too.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sinew_bus::{Auth, Tls};
use sinew_model::{OrgId, Root, grant::User, signature::Policy};

use crate::account::Orgs;
use crate::engine::Durability;
use crate::private;

/// A password. It shows itself only to who asks for it by name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A new one, which nobody can guess: 122 bits from the system's own source of randomness.
    #[cfg(any(feature = "mcp", feature = "dashboard"))]
    #[must_use]
    pub(crate) fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    /// One that is known already.
    #[cfg(feature = "dashboard")]
    pub(crate) const fn of(text: String) -> Self {
        Self(text)
    }

    /// The password itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// How to prove to the server who one is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Login {
    /// User and password, as a server has it that somebody else runs, and as the engine of an
    /// earlier version had it.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A `.creds` file, as the engine of `sinew up` makes it and a cluster has it.
    Creds {
        /// The file.
        creds: PathBuf,
    },
}

impl Login {
    /// The same as the connection wants it.
    #[must_use]
    pub fn auth(&self) -> Auth {
        match self {
            Self::Password { user, password } => {
                Auth::Password { user: user.clone(), password: password.expose().to_owned() }
            }
            Self::Creds { creds } => Auth::Credentials(creds.clone()),
        }
    }
}

/// Where the backbone is and how to get in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Context {
    /// Where clients connect.
    pub url: String,
    /// The org that the login belongs to.
    pub org: OrgId,
    /// First token of every subject.
    pub root: Root,
    /// The org's login.
    pub login: Login,
    /// The login of the account that sees the server itself (`$SYS`), and no org's data.
    pub system: Login,
    /// Where the monitoring pages are.
    pub monitor_url: String,
    /// The folder of streams, logs and this file.
    pub data_dir: PathBuf,
    /// What a stored message survives.
    pub durability: Durability,
    /// The certificates of an encrypted connection.
    #[serde(default, skip_serializing_if = "Tls::is_empty")]
    pub tls: Tls,
    /// The public key of the org's account, which vouches for whoever sends something in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What is asked of messages; where it is not said, see [`Context::policy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signatures: Option<Policy>,
    /// Where hosts reach the MCP server, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_url: Option<String>,
    /// The link by which the operator enters the dashboard, while there is one. It lets in, so it
    /// is for the owner of this file alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dashboard: Option<Secret>,
}

/// Why there is no context.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// Nobody wrote one there.
    #[error("no backbone here: {} is missing", .path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It is there and cannot be read.
    #[error("the context {} cannot be read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not a context.
    #[error("{} is no context: delete it, and `sinew up` writes a new one", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// It cannot be written.
    #[error("the context {} cannot be written", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Context {
    /// Where the context of a data folder is.
    #[must_use]
    pub fn path_in(data_dir: &Path) -> PathBuf {
        data_dir.join("context.json")
    }

    /// Reads a context.
    ///
    /// # Errors
    /// See [`ContextError`].
    pub fn load(path: &Path) -> Result<Self, ContextError> {
        let path = path.to_owned();
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|source| ContextError::Malformed { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ContextError::Missing { path })
            }
            Err(source) => Err(ContextError::Unreadable { path, source }),
        }
    }

    /// Writes the context, for its owner alone. A reader finds the old one or this one.
    ///
    /// # Errors
    /// [`ContextError::Unwritable`].
    pub fn save(&self, path: &Path) -> Result<(), ContextError> {
        let unwritable = |source| ContextError::Unwritable { path: path.to_owned(), source };
        let mut text =
            serde_json::to_vec_pretty(self).map_err(|error| unwritable(io::Error::from(error)))?;
        text.push(b'\n');
        private::write(path, &text).map_err(unwritable)
    }

    /// How to connect as the org.
    #[must_use]
    pub fn bus_config(&self) -> sinew_bus::Config {
        let mut config = sinew_bus::Config::new(self.url.clone(), self.org.clone());
        config.auth = self.login.auth();
        config.root = self.root.clone();
        config.tls = self.tls.clone();
        config.signing.policy = self.policy();
        config.signing.account.clone_from(&self.account);
        config
    }

    /// What is asked of messages: signatures where everybody has a key, and none where nobody has.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.signatures.unwrap_or(match self.login {
            Login::Password { .. } => Policy::Off,
            Login::Creds { .. } => Policy::Require,
        })
    }

    /// How to connect to any org of the data folder.
    #[must_use]
    pub fn org_config(&self, org: &OrgId, creds: PathBuf) -> sinew_bus::Config {
        let mut config = self.bus_config();
        if *org != self.org {
            // Its own account vouches there, as its credentials say.
            config.signing.account = None;
        }
        config.org = org.clone();
        config.auth = Auth::Credentials(creds);
        config
    }

    /// How to connect as the account that sees the server itself.
    #[must_use]
    pub fn system_config(&self) -> sinew_bus::Config {
        let mut config = self.bus_config();
        config.auth = self.system.auth();
        // It is of no org, so nobody would know its signature.
        config.signing = sinew_bus::Signing::default();
        "sinew system".clone_into(&mut config.name);
        config
    }

    /// How to connect as the controllers of the org; as the org where it has no login for them.
    #[must_use]
    pub fn server_config(&self) -> sinew_bus::Config {
        let orgs = Orgs::new(&self.data_dir, self.root.clone());
        let creds = orgs.local_creds(&self.org, &User::Server);
        let mut config = self.bus_config();
        if creds.is_file() {
            config.auth = Auth::Credentials(creds);
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinew_testkit::TempDir;

    fn sample(login: Login) -> Context {
        Context {
            url: "nats://127.0.0.1:4222".to_owned(),
            org: "acme".parse().unwrap(),
            root: Root::default(),
            login,
            system: password("SYS", "hidden-too"),
            monitor_url: "http://127.0.0.1:8222".to_owned(),
            data_dir: PathBuf::from("here"),
            durability: Durability::Always,
            tls: Tls::default(),
            account: None,
            signatures: None,
            mcp_url: None,
            dashboard: None,
        }
    }

    fn password(user: &str, password: &str) -> Login {
        Login::Password { user: user.to_owned(), password: Secret(password.to_owned()) }
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let folder = TempDir::new("context");
        let path = Context::path_in(folder.path());
        for login in [password("acme", "hidden"), Login::Creds { creds: PathBuf::from("a.creds") }]
        {
            let context = sample(login);
            context.save(&path).unwrap();
            assert_eq!(Context::load(&path).unwrap(), context);
        }
    }

    #[test]
    fn the_connection_gets_the_login_of_the_org() {
        let mut context = sample(password("acme", "hidden"));
        context.root = "other".parse().unwrap();
        let config = context.bus_config();
        let Auth::Password { user, password } = config.auth else { panic!("no password") };
        assert_eq!((user.as_str(), password.as_str()), ("acme", "hidden"));
        assert_eq!((config.root, config.url), (context.root, context.url));
    }

    #[test]
    fn signatures_are_asked_for_where_everybody_has_a_key() {
        let mut context = sample(password("acme", "hidden"));
        assert_eq!(context.bus_config().signing.policy, Policy::Off);
        (context.login, context.account) =
            (Login::Creds { creds: PathBuf::from("a.creds") }, Some("AORG".to_owned()));
        let signing = context.bus_config().signing;
        assert_eq!((signing.policy, signing.account.as_deref()), (Policy::Require, Some("AORG")));
        assert_eq!(context.system_config().signing.policy, Policy::AcceptUnsigned);
        let other = context.org_config(&"other".parse().unwrap(), PathBuf::from("b.creds"));
        assert_eq!((other.signing.policy, other.signing.account), (Policy::Require, None));
        context.signatures = Some(Policy::AcceptUnsigned);
        assert_eq!(context.bus_config().signing.policy, Policy::AcceptUnsigned);
    }

    #[test]
    fn passwords_are_not_printed() {
        let text = format!("{:?}", sample(password("acme", "hidden")));
        assert!(!text.contains("hidden"), "{text}");
    }

    #[test]
    fn a_missing_context_says_where_it_was_looked_for() {
        let folder = TempDir::new("context");
        let error = Context::load(&Context::path_in(folder.path())).unwrap_err();
        assert!(matches!(error, ContextError::Missing { .. }));
        assert!(error.to_string().contains("context.json is missing"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_context_is_named() {
        let folder = TempDir::new("context");
        let path = Context::path_in(folder.path());
        std::fs::write(&path, "{\"url\": 1}").unwrap();
        let error = Context::load(&path).unwrap_err();
        assert!(matches!(error, ContextError::Malformed { .. }));
        assert!(error.to_string().contains("context.json"), "{error}");
    }
}
