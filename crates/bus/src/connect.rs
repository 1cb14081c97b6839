//! The connection to NATS, bound to one org for its whole life. It reconnects by itself, for
//! ever; whoever holds something that a reconnect voids (an open pull) watches
//! [`Bus::connections`].

mod tls;

use std::{path::PathBuf, sync::Arc, time::Duration};

use sinew_model::{OrgId, Root, Subjects, limits::REQUEST_TIMEOUT, presence::Connection};
use tokio::sync::watch;

use crate::{
    publish::Committers,
    rights::Rights,
    sign::{Signing, Signs},
};

pub use tls::{Fault, Tls};

mod creds;

/// How a connection proves who it is.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// User and password.
    Password {
        /// The user.
        user: String,
        /// The password. Never logged.
        password: String,
    },
    /// A `.creds` file, read again at each connection.
    Credentials(PathBuf),
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Password { user, .. } => write!(f, "Password({user:?}, ...)"),
            Self::Credentials(path) => write!(f, "Credentials({path:?})"),
        }
    }
}

/// Where to connect, as whom, and for which org.
#[derive(Clone)]
pub struct Config {
    /// One or more servers: `nats://127.0.0.1:4222`, divided by commas. A user and password in
    /// front of the host, percent-encoded, count where [`Config::auth`] has none.
    pub url: String,
    /// Proof of identity.
    pub auth: Auth,
    /// First token of every subject.
    pub root: Root,
    /// The org that everything on this connection belongs to.
    pub org: OrgId,
    /// What the server's connection list shows.
    pub name: String,
    /// Whether publishes go through a committer of another process where one serves
    /// ([`CommitService`](crate::CommitService)), so that many processes share its batches.
    pub commit_service: bool,
    /// How many publishes to one stream must wait together before they become one atomic batch, 2
    /// to 500; `None`: so many that a batch is faster, by the clock.
    pub batch_from: Option<usize>,
    /// What is signed and verified.
    pub signing: Signing,
    /// The certificates of an encrypted connection.
    pub tls: Tls,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { url, auth, root, org, name, commit_service, batch_from, signing, tls } = self;
        f.debug_struct("Config")
            .field("url", &without_login(url))
            .field("auth", auth)
            .field("root", root)
            .field("org", org)
            .field("name", name)
            .field("commit_service", commit_service)
            .field("batch_from", batch_from)
            .field("signing", signing)
            .field("tls", tls)
            .finish()
    }
}

impl Config {
    /// A connection without proof of identity, below the default root.
    #[must_use]
    pub fn new(url: impl Into<String>, org: OrgId) -> Self {
        let name = format!("sinew {org}");
        Self {
            url: url.into(),
            auth: Auth::None,
            root: Root::default(),
            org,
            name,
            commit_service: false,
            batch_from: None,
            signing: Signing::default(),
            tls: Tls::default(),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is not one.
    #[error("{url:?} is not the address of a NATS server")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
    /// The credentials file is missing or not readable as one.
    #[error("the credentials in {} cannot be used", .path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A certificate or key of the connection can't be used.
    #[error("{} can't be used for an encrypted connection", .path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The server was reached, and the encrypted connection did not come about.
    #[error("no encrypted connection to {url}: {what}")]
    Handshake {
        /// Where.
        url: String,
        /// What that means.
        what: Fault,
        /// Why.
        #[source]
        source: async_nats::ConnectError,
    },
    /// Signatures are required, and nobody is known who vouches for senders.
    #[error("signatures are required, and nobody is known who vouches for senders")]
    NobodyTrusted,
    /// The server does not answer, or does not let this user in.
    #[error("no connection to {url}")]
    Refused {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: async_nats::ConnectError,
    },
    /// The server lacks what Sinew needs.
    #[error("the server at {url} can't be used")]
    Version {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: crate::ensure::VersionError,
    },
}

/// A connection for one org. Clones share it.
#[derive(Clone, Debug)]
pub struct Bus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: async_nats::Client,
    subjects: Subjects,
    /// How often the connection was made; the client's event callback holds the other end.
    connections: watch::Receiver<u64>,
    /// The committers of the streams that were published to; they end when this is dropped.
    committers: Committers,
    /// The own key, and whose signatures count.
    signs: Signs,
    rights: Rights,
}

impl Bus {
    /// Connects. The first attempt must succeed; later ones are repeated for ever.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(config: Config) -> Result<Self, ConnectError> {
        let (seen, mut connections) = watch::channel(0);
        let seen = Arc::new(seen);
        let shown = without_login(&config.url);
        let servers = servers(&config.url)
            .map_err(|source| ConnectError::Address { url: shown.clone(), source })?;
        let auth = login_in(&config.auth, &servers);
        let signs = Signs::of(&auth, config.signing).await?;
        let rights = Rights::of(&auth).await;
        let options = options(&auth).await?;
        let options = config
            .tls
            .apply(options)
            .await?
            .name(&config.name)
            // A half-dead connection is noticed within half a minute, not two.
            .ping_interval(Duration::from_secs(10))
            .connection_timeout(Duration::from_secs(5))
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                let seen = Arc::clone(&seen);
                async move { observe(&event, &seen) }
            });
        let client = options.connect(servers).await.map_err(|source| {
            let url = shown.clone();
            match tls::fault(&source) {
                Some(what) => ConnectError::Handshake { url, what, source },
                None => ConnectError::Refused { url, source },
            }
        })?;
        // The event of the first connection comes a moment later. Without this wait it would look
        // like a reconnect to who publishes at once. An error means that no event will come.
        drop(connections.wait_for(|count| *count > 0).await);
        let committers = Committers::new(config.commit_service, config.batch_from);
        let subjects = Subjects::new(config.root, config.org);
        let inner = Inner { client, subjects, connections, committers, signs, rights };
        let bus = Self { inner: Arc::new(inner) };
        match bus.require_version() {
            Ok(()) => Ok(bus),
            Err(source) => Err(ConnectError::Version { url: shown, source }),
        }
    }

    pub(crate) fn rights(&self) -> &Rights {
        &self.inner.rights
    }

    /// The subjects of the org.
    #[must_use]
    pub fn subjects(&self) -> &Subjects {
        &self.inner.subjects
    }

    /// A number that changes with every reconnect. Open pulls of before are void then.
    #[must_use]
    pub fn connections(&self) -> watch::Receiver<u64> {
        self.inner.connections.clone()
    }

    /// The connection as the server counts it; another one after each reconnect, once something
    /// was [flushed](Self::flush) over it.
    #[must_use]
    pub fn connection(&self) -> Option<Connection> {
        let info = self.inner.client.server_info();
        let known = info.client_id > 0 && !info.server_id.is_empty();
        known.then_some(Connection { server: info.server_id, client: info.client_id })
    }

    /// The largest message that this server takes, headers included, in bytes.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.inner.client.server_info().max_payload
    }

    /// The version of the server that answers.
    #[must_use]
    pub fn server_version(&self) -> String {
        self.inner.client.server_info().version
    }

    /// Hands everything that was sent to the server before it returns.
    ///
    /// # Errors
    /// In words, when the connection is closed, or away for longer than a request may take: the
    /// client by itself would wait until it is back.
    pub async fn flush(&self) -> Result<(), String> {
        match tokio::time::timeout(REQUEST_TIMEOUT, self.inner.client.flush()).await {
            Ok(flushed) => flushed.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no connection within {} ms", REQUEST_TIMEOUT.as_millis())),
        }
    }

    pub(crate) fn committers(&self) -> &Committers {
        &self.inner.committers
    }

    pub(crate) fn signs(&self) -> &Signs {
        &self.inner.signs
    }

    pub(crate) fn nats(&self) -> &async_nats::Client {
        &self.inner.client
    }
}

fn servers(url: &str) -> Result<Vec<async_nats::ServerAddr>, std::io::Error> {
    url.split(',').map(|part| part.trim().parse()).collect()
}

/// The addresses as they may be shown: whoever reads a log need not learn a password.
#[must_use]
pub fn without_login(url: &str) -> String {
    let shown = |part: &str| match (part.find("://"), part.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            let (scheme, host) = (part.get(..scheme + 3), part.get(at + 1..));
            format!("{}{}", scheme.unwrap_or_default(), host.unwrap_or_default())
        }
        (None, Some(at)) => part.get(at + 1..).unwrap_or_default().to_owned(),
        (_, _) => part.to_owned(),
    };
    url.split(',').map(shown).collect::<Vec<_>>().join(",")
}

/// The given proof of identity; where there is none, the user and password of an address.
fn login_in(auth: &Auth, servers: &[async_nats::ServerAddr]) -> Auth {
    let decoded =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let found = servers.iter().find_map(|server| {
        let (user, password) = (server.username()?, server.password()?);
        Some(Auth::Password { user: decoded(user), password: decoded(password) })
    });
    match (auth, found) {
        (Auth::None, Some(found)) => found,
        (given, _) => given.clone(),
    }
}

async fn options(auth: &Auth) -> Result<async_nats::ConnectOptions, ConnectError> {
    let options = async_nats::ConnectOptions::new();
    match auth {
        Auth::None => Ok(options),
        Auth::Password { user, password } => {
            Ok(options.user_and_password(user.clone(), password.clone()))
        }
        Auth::Credentials(path) => creds::options(path)
            .await
            .map_err(|source| ConnectError::Credentials { path: path.clone(), source }),
    }
}

/// Fast at first, since a restarted server is back in a moment; then at most every two seconds.
fn reconnect_delay(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(6);
    Duration::from_millis(50).saturating_mul(1 << doublings).min(Duration::from_secs(2))
}

fn observe(event: &async_nats::Event, seen: &watch::Sender<u64>) {
    use async_nats::Event;
    #[expect(clippy::wildcard_enum_match_arm, reason = "events of the client that say little")]
    match event {
        Event::Connected => {
            seen.send_modify(|count| *count += 1);
            if *seen.borrow() > 1 {
                tracing::info!("the connection to NATS is back");
            }
        }
        Event::Disconnected => tracing::warn!("the connection to NATS is lost; reconnecting"),
        // Whoever held the connection let go of it.
        Event::Closed => tracing::debug!("the connection to NATS is closed"),
        other => tracing::warn!(event = %other, "the NATS client reports"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnects_are_fast_at_first_and_bounded() {
        let delays: Vec<u128> = (1..=8).map(|n| reconnect_delay(n).as_millis()).collect();
        assert_eq!(delays, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(reconnect_delay(usize::MAX), Duration::from_secs(2));
    }

    #[test]
    fn a_password_is_never_printed() {
        let auth = Auth::Password { user: "u".to_owned(), password: "secret".to_owned() };
        assert!(!format!("{auth:?}").contains("secret"));
    }

    #[test]
    fn a_login_in_an_address_is_used_and_not_shown() {
        let url = "nats://bob:p%40ss@127.0.0.1:4222, nats://127.0.0.1:4223";
        assert_eq!(without_login(url), "nats://127.0.0.1:4222, nats://127.0.0.1:4223");
        assert_eq!(without_login("bob:pass@host:1"), "host:1");
        assert_eq!(without_login("nats://bob:p@ss@:"), "nats://:");
        let servers = servers(url).unwrap();
        let is_bob = |auth: &Auth| matches!(auth, Auth::Password { user, password } if user == "bob" && password == "p@ss");
        assert!(is_bob(&login_in(&Auth::None, &servers)));
        let given = Auth::Credentials("a.creds".into());
        assert!(matches!(login_in(&given, &servers), Auth::Credentials(_)));
    }
}
