//! Signed senders: what is published here is signed with the key of the connection's own login, and
//! what is read is held against whoever the org's account vouches for. The rules are
//! `model::signature`'s; the keys, and the arithmetic of ed25519, are here and nowhere else.
//!
//! A login without a key (none, or a password) signs nothing, and without anybody to trust nothing
//! can be verified: then every message counts as unsigned, which [`Bus::identity`] tells.

mod creds;
mod evidence;
mod seal;
mod senders;
mod trust;

use std::{
    borrow::Cow,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use nkeys::KeyPair;
use sinew_model::{
    Assignment, Role, Time,
    grant::User,
    header,
    signature::{
        Certificate, Covered, Forgery, Policy, Proof, Signature, Trust, Verdict, judge,
        judge_delegator, judge_proof,
    },
    stream::ORG_SENDERS,
};

use crate::{
    clock,
    connect::{Auth, Bus, ConnectError},
    delivery::Delivery,
    ensure::Topology,
    publish::{Outgoing, PublishError},
    read::RawMessage,
    request::RequestError,
};

pub use creds::{CredsError, user_of};
pub(crate) use creds::{claims, part};
pub use seal::is_sealed;
use senders::{Known, Senders};
use trust::Believed;
pub use trust::VouchError;

/// Whose signatures count, and what is asked of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signing {
    /// What is asked of the messages that are read.
    pub policy: Policy,
    /// Who vouches for senders, besides the one who vouched for this connection's own key.
    pub trust: Trust,
    /// The public key of the org's account, whose own word counts as well; that which the own login
    /// names, where it is not said.
    pub account: Option<String>,
    /// The `.creds` file whose key signs, where the login itself is none.
    pub creds: Option<PathBuf>,
}

/// As whom a connection signs, and what it can verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user as whom it signs, with its public key; `None`: it signs nothing.
    pub signs_as: Option<(User, String)>,
    /// Whether it knows anybody who vouches for senders.
    pub verifies: bool,
    /// What it asks of the messages that it reads.
    pub policy: Policy,
}

/// What one connection knows about signatures.
#[derive(Debug)]
pub(crate) struct Signs {
    policy: Policy,
    believed: Believed,
    /// The file with the own key, if there is one.
    creds: Option<PathBuf>,
    own: RwLock<Option<Arc<Own>>>,
    senders: Mutex<Senders>,
}

/// The connection's own key.
struct Own {
    pair: KeyPair,
    certificate: Certificate,
    jwt: String,
    /// How far the server's clock is before this machine's, in microseconds.
    ahead: AtomicI64,
    /// The connection for which the certificate was last seen in its stream, counted as
    /// [`Bus::connections`] does.
    announced: AtomicU64,
    /// Held by the one who announces.
    announcing: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// A message as it was read, with all that its signature covers.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Its sequence in the stream.
    pub seq: u64,
    /// The subject on which it was read.
    pub subject: &'a str,
    /// Its message id.
    pub id: Option<&'a str>,
    /// The epoch that it carries.
    pub epoch: Option<&'a str>,
    /// The sequence that its guard expected.
    pub guard: Option<&'a str>,
    /// Its signature as it stands in its header.
    pub signature: Option<&'a str>,
    /// Its body.
    pub body: &'a [u8],
    /// When the server stored it.
    pub stored: Time,
}

impl RawMessage {
    /// What of it a signature covers.
    #[must_use]
    pub fn received(&self) -> Received<'_> {
        Received {
            seq: self.seq,
            subject: &self.subject,
            id: self.header(header::MSG_ID),
            epoch: self.header(header::EPOCH),
            guard: self.header(header::EXPECTED_SEQ),
            signature: self.header(header::SIGNATURE),
            body: &self.payload,
            stored: self.time,
        }
    }
}

impl Delivery {
    /// What of it a signature covers.
    #[must_use]
    pub fn received(&self) -> Received<'_> {
        Received {
            seq: self.queue_seq(),
            subject: self.subject(),
            id: self.header(header::MSG_ID),
            epoch: self.header(header::EPOCH),
            guard: self.header(header::EXPECTED_SEQ),
            signature: self.header(header::SIGNATURE),
            body: self.payload(),
            stored: self.stored(),
        }
    }
}

impl Signs {
    /// Reads the key of the login, and finds out whom to trust.
    ///
    /// # Errors
    /// When the credentials are not readable, or signatures are required that nobody here could
    /// verify.
    pub(crate) async fn of(auth: &Auth, signing: Signing) -> Result<Self, ConnectError> {
        let Signing { policy, trust, account, creds } = signing;
        let login = match auth {
            Auth::Credentials(path) => Some(path),
            Auth::None | Auth::Password { .. } => None,
        };
        let creds = creds.as_ref().or(login).filter(|_| policy != Policy::Off).cloned();
        let believed = Believed::new(trust, account);
        let signs =
            Self { policy, believed, creds, own: RwLock::default(), senders: Mutex::default() };
        if let Some(path) = &signs.creds {
            let read = creds::read(path).await.map_err(|source| ConnectError::Credentials {
                path: path.clone(),
                source: std::io::Error::other(source),
            })?;
            signs.take_key(read);
        }
        if policy == Policy::Require && signs.believed.is_empty() {
            return Err(ConnectError::NobodyTrusted);
        }
        Ok(signs)
    }

    /// Signs with that key from now on; `None`: no more.
    fn take_key(&self, read: Option<creds::Read>) {
        let own = read.map(|read| Arc::new(Own::new(read)));
        if let Some(own) = &own {
            // Whoever gave this process its key is of the org.
            let Certificate { issuer, account, .. } = &own.certificate;
            self.believed.believe(issuer, account);
        }
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = own;
    }

    fn own(&self) -> Option<Arc<Own>> {
        self.own.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether signatures are looked at, and there is anybody who vouches for them.
    fn can_verify(&self) -> bool {
        self.policy != Policy::Off && !self.believed.is_empty()
    }

    fn senders(&self) -> std::sync::MutexGuard<'_, Senders> {
        // What is remembered is whole after every single step.
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Own {
    fn new((jwt, certificate, pair): creds::Read) -> Self {
        let (ahead, announced) = (AtomicI64::new(0), AtomicU64::new(0));
        Self { pair, certificate, jwt, ahead, announced, announcing: tokio::sync::Mutex::default() }
    }

    /// The server's clock, as far as it is known.
    fn now(&self) -> Time {
        let micros = clock::now().micros().saturating_add(self.ahead.load(Ordering::Relaxed));
        Time::from_micros(micros)
    }

    /// # Errors
    /// What the key's owner says; that of a user always can sign.
    fn sign(&self, bytes: &[u8]) -> Result<String, PublishError> {
        let signed = self.pair.sign(bytes);
        let failed = |error: nkeys::error::Error| PublishError::Unsigned { why: error.to_string() };
        signed.map(|signature| URL_SAFE_NO_PAD.encode(signature)).map_err(failed)
    }
}

impl Bus {
    /// As whom this connection signs, and what it can verify.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let signs = self.signs();
        let signs_as = signs.own().map(|own| {
            let Certificate { user, key, .. } = &own.certificate;
            (user.clone(), key.clone())
        });
        Identity { signs_as, verifies: !signs.believed.is_empty(), policy: signs.policy }
    }

    /// Whether a message of that verdict is to be taken.
    #[must_use]
    pub fn takes(&self, verdict: &Verdict) -> bool {
        self.signs().policy.takes(verdict)
    }

    /// From now on these vouch for senders, and these users are revoked; whoever vouched for this
    /// connection's own login goes on to count.
    pub fn set_trust(&self, mut trust: Trust) {
        if let Some(own) = self.signs().own() {
            trust.issuers.insert(own.certificate.issuer.clone());
        }
        self.signs().believed.tell(trust);
    }

    /// Signs a message that is about to be sent, if this connection has a key.
    pub(crate) async fn sign(&self, mut out: Outgoing) -> Result<Outgoing, PublishError> {
        let Some(own) = self.key().await? else { return Ok(out) };
        let mut signature = Signature {
            key: own.certificate.key.clone(),
            at: own.now(),
            due: out.due,
            by: out.by.clone(),
            proof: String::new(),
        };
        let epoch = out.headers.iter().find(|(name, _)| name == header::EPOCH);
        let guard = out.guard.as_ref().map(|guard| guard.seq.to_string());
        let covered = Covered {
            org: self.subjects().org(),
            subject: out.read_on.as_ref().unwrap_or(&out.subject).as_str(),
            id: out.id.as_deref(),
            epoch: epoch.map(|(_, value)| value.as_str()),
            guard: guard.as_deref(),
            body: &out.payload,
        };
        signature.proof = own.sign(&covered.bytes(&signature))?;
        out.headers.push((header::SIGNATURE.to_owned(), signature.to_string()));
        Ok(out)
    }

    /// The assignment with its delegator's signature, if this connection has a key.
    ///
    /// # Errors
    /// [`PublishError::Unsigned`], when the own certificate could not be made known.
    pub async fn prove(&self, assignment: Assignment) -> Result<Assignment, PublishError> {
        let Some(own) = self.key().await? else { return Ok(assignment) };
        let (key, at) = (own.certificate.key.clone(), own.now());
        let signature = own.sign(&assignment.proven(&key, at))?;
        Ok(Assignment { proof: Some(Proof { key, at, signature }), ..assignment })
    }

    /// The key to sign with. A login that was renewed counts from the next connection on, as it does
    /// for the server.
    async fn key(&self) -> Result<Option<Arc<Own>>, PublishError> {
        let signs = self.signs();
        let Some(own) = signs.own() else { return Ok(None) };
        let connection = *self.connections().borrow();
        let read_for = own.announced.load(Ordering::Relaxed);
        if read_for > 0
            && read_for < connection
            && let Some(path) = &signs.creds
        {
            match Box::pin(creds::read(path)).await {
                Ok(Some(read)) if read.0 != own.jwt => signs.take_key(Some(read)),
                Ok(_) => {}
                // The server has let this process in with what it knew before.
                Err(why) => tracing::debug!(%why, "the own key could not be read again"),
            }
        }
        let Some(own) = signs.own() else { return Ok(None) };
        self.announce(&own).await?;
        Ok(Some(own))
    }

    /// Makes the own certificate known before the first message that needs it, and learns how far
    /// the server's clock is from this machine's; both again after each reconnect.
    async fn announce(&self, own: &Own) -> Result<(), PublishError> {
        let connection = *self.connections().borrow();
        let known = || own.announced.load(Ordering::Relaxed);
        if known() >= connection {
            return Ok(());
        }
        let _alone = own.announcing.lock().await;
        if known() >= connection {
            return Ok(());
        }
        // Rare, and large: whoever publishes need not carry it along.
        match Box::pin(self.announce_now(own)).await {
            Ok(()) => {}
            Err(why) if known() == 0 => return Err(PublishError::Unsigned { why }),
            // It was made known over an earlier connection, and clocks seldom jump.
            Err(why) => tracing::debug!(why, "the own certificate could not be looked at again"),
        }
        own.announced.store(connection, Ordering::Relaxed);
        Ok(())
    }

    async fn announce_now(&self, own: &Own) -> Result<(), String> {
        let said = |error: &dyn std::error::Error| {
            let source = error.source().map(|source| format!(": {source}"));
            format!("{error}{}", source.unwrap_or_default())
        };
        let topology = Topology::standard(self);
        topology.ensure_stream(self, ORG_SENDERS).await.map_err(|error| said(&error))?;
        let server = self.server_time(ORG_SENDERS).await.map_err(|error| said(&error))?;
        let ahead = server.micros().saturating_sub(clock::now().micros());
        own.ahead.store(ahead, Ordering::Relaxed);
        let key = &own.certificate.key;
        let subject = self.subjects().sender(key).ok_or("the login has no key of a user")?;
        let last = self.last(ORG_SENDERS, subject.as_str()).await.map_err(|error| said(&error))?;
        if last.is_some_and(|last| last.payload == own.jwt.as_bytes()) {
            return Ok(());
        }
        let jwt = Bytes::from(own.jwt.clone());
        let out = Outgoing::new(ORG_SENDERS, subject, jwt).id(clock::unique());
        self.send(out).await.map(|_| ()).map_err(|error| said(&error))
    }

    /// Who sent a message. `claims` is the role that its body says it is from, where it says one.
    ///
    /// # Errors
    /// When the certificate of its key can't be looked up.
    pub async fn verify(
        &self,
        it: &Received<'_>,
        claims: Option<&Role>,
    ) -> Result<Verdict, RequestError> {
        let signs = self.signs();
        let (Some(text), true) = (it.signature, signs.can_verify()) else {
            return Ok(Verdict::Unsigned);
        };
        let Ok(signature) = text.parse::<Signature>() else {
            return Ok(Verdict::Forged(Forgery::Malformed));
        };
        let Received { subject, id, epoch, guard, body, stored, .. } = *it;
        let org = self.subjects().org();
        let bytes = Covered { org, subject, id, epoch, guard, body }.bytes(&signature);
        self.with_certificate(&signature.key, |known, trust| {
            let genuine = || signs.is_genuine(known, &bytes, &signature.proof);
            let certificate = known.map(|known| &known.certificate);
            judge(&signature, certificate, genuine, (trust, stored), claims)
        })
        .await
    }

    /// Who delegated the task that a message brings. `message` is what [`Bus::verify`] says of the
    /// message without a claim.
    ///
    /// # Errors
    /// When the certificate of a key can't be looked up.
    pub async fn verify_delegator(
        &self,
        message: &Verdict,
        assignment: &Assignment,
        stored: Time,
    ) -> Result<Verdict, RequestError> {
        let (signs, delegator) = (self.signs(), &assignment.delegator);
        let proof = match &assignment.proof {
            Some(proof) if signs.can_verify() => {
                let bytes = assignment.proven(&proof.key, proof.at);
                let judged = self.with_certificate(&proof.key, |known, trust| {
                    let genuine = || signs.is_genuine(known, &bytes, &proof.signature);
                    let certificate = known.map(|known| &known.certificate);
                    judge_proof((proof, delegator), certificate, genuine, (trust, stored))
                });
                Some(judged.await?)
            }
            Some(_) | None => None,
        };
        Ok(judge_delegator(message, proof, delegator))
    }

    /// Judges with the certificate that is remembered; where that does not do, with the one that
    /// lies in its stream now.
    async fn with_certificate(
        &self,
        key: &str,
        judge: impl Fn(Option<&Known>, &Trust) -> Verdict,
    ) -> Result<Verdict, RequestError> {
        self.look_at_trust(false).await?;
        let believed = &self.signs().believed;
        let remembered = self.signs().senders().get(key);
        if let Some((known, fresh)) = remembered {
            let verdict = judge(known.as_deref(), &believed.now());
            // A user keeps its key where its credentials are renewed.
            let renewable = matches!(
                verdict,
                Verdict::Forged(
                    Forgery::Unknown | Forgery::Lapsed | Forgery::Revoked | Forgery::Issuer
                )
            );
            if fresh || !renewable {
                return Ok(verdict);
            }
        }
        let known = Box::pin(senders::fetch(self, key)).await?;
        self.signs().senders().keep(key, known.clone());
        let verdict = judge(known.as_deref(), &believed.now());
        if verdict != Verdict::Forged(Forgery::Issuer) {
            return Ok(verdict);
        }
        // The org may have a signing key since that this process has not heard of.
        self.look_at_trust(true).await?;
        Ok(judge(known.as_deref(), &believed.now()))
    }
}

impl Signs {
    /// Whether the signature is that of the key over the bytes. What was found good is remembered,
    /// since a log is read again and again.
    fn is_genuine(&self, known: Option<&Known>, bytes: &[u8], proof: &str) -> bool {
        let Some(known) = known else { return false };
        let print = senders::print(bytes, proof);
        if self.senders().is_good(&print) {
            return true;
        }
        let good = known.has_signed(bytes, proof);
        if good {
            self.senders().note_good(print);
        }
        good
    }
}

/// The words of a sender for people: who it is, or that it is not known.
#[must_use]
pub fn shown(verdict: &Verdict) -> Cow<'static, str> {
    match verdict.sender() {
        Some(sender) => sender.to_string().into(),
        None => "not verified".into(),
    }
}
