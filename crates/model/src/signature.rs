//! Signed senders, as pure rules: what a signature covers, whose key it is, whom that user may
//! speak for, and what follows. The keys themselves, and the arithmetic of ed25519, are `bus`'s.
//!
//! A message carries one header, `Sinew-Signature`, with a [`Signature`] over the bytes of
//! [`Covered`]. The key belongs to a user by its [`Certificate`], which is the user's own NATS JWT,
//! signed by the org's account; [`Trust`] says which signers count, and whose users were revoked.
//! [`judge`] puts it together. A task outlives the message that brought it, so its assignment
//! carries a [`Proof`] by its delegator as well.

mod certificate;
mod proof;
mod seen;
mod trust;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    grant::User,
    id::{InstanceId, OrgId, Role},
    limits::{COPY_DOUBT, SIGNATURE_BYTES, SIGNATURE_WINDOW},
    time::Time,
};

pub use certificate::{Certificate, CertificateError, Parts};
pub use proof::{Proof, judge_delegator, judge_proof};
pub use seen::Seen;
pub use trust::{STATEMENT, Statement, Trust};

/// The version of what is signed, and the first word of the header.
const VERSION: &str = "1";

/// What an org asks of the messages that its readers take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Nothing is signed, and no signature is looked at.
    Off,
    /// What is signed must be signed well; what is not is taken as before.
    #[default]
    AcceptUnsigned,
    /// Only what is signed well is taken.
    Require,
}

impl Policy {
    /// All policies.
    pub const ALL: [Self; 3] = [Self::Off, Self::AcceptUnsigned, Self::Require];

    /// The policy as one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::AcceptUnsigned => "accept-unsigned",
            Self::Require => "require",
        }
    }

    /// Whether a message of that verdict is taken.
    #[must_use]
    pub const fn takes(self, verdict: &Verdict) -> bool {
        match self {
            Self::Off => true,
            Self::AcceptUnsigned => matches!(verdict, Verdict::Verified(_) | Verdict::Unsigned),
            Self::Require => matches!(verdict, Verdict::Verified(_)),
        }
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|policy| policy.word() == text);
        known.ok_or_else(|| format!("{text:?} is not one of off, accept-unsigned and require"))
    }
}

/// What is known of a message's sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is from this sender.
    Verified(Sender),
    /// It is not signed: its sender is whoever it says.
    Unsigned,
    /// Its signature is none, or not that of who it says.
    Forged(Forgery),
    /// The very same signed message was taken before, from another place in the stream.
    Replayed,
    /// It was signed too long before it was stored, or after that.
    Expired,
}

impl Verdict {
    /// The verdict as one word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Verified(_) => "verified",
            Self::Unsigned => "unsigned",
            Self::Forged(_) => "forged",
            Self::Replayed => "replayed",
            Self::Expired => "expired",
        }
    }

    /// The sender, where it is known.
    #[must_use]
    pub const fn sender(&self) -> Option<&Sender> {
        if let Self::Verified(sender) = self { Some(sender) } else { None }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verified(sender) => write!(f, "it is from {sender}"),
            Self::Unsigned => f.write_str("it is not signed"),
            Self::Forged(why) => write!(f, "it is forged: {why}"),
            Self::Replayed => f.write_str("it is a copy of a message that was taken before"),
            Self::Expired => f.write_str("it was not signed when it was stored"),
        }
    }
}

/// Who sent a message, as the org's account vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The user.
    pub user: User,
    /// Its public key.
    pub key: String,
    /// For whom it spoke.
    pub by: Speaker,
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user.name())
    }
}

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forgery {
    /// The header is not one.
    #[error("its signature is not readable")]
    Malformed,
    /// Nobody knows whose key it is.
    #[error("there is no certificate of its key")]
    Unknown,
    /// The certificate was signed by somebody whom this reader does not trust.
    #[error("the certificate of its key was not signed by the org")]
    Issuer,
    /// The certificate was not valid yet, or no longer.
    #[error("the certificate of its key had lapsed")]
    Lapsed,
    /// The user was revoked.
    #[error("its key was revoked")]
    Revoked,
    /// The signature is not that of this message.
    #[error("its signature is of another message, or by another key")]
    Signature,
    /// The user speaks for a role that is not its own.
    #[error("its key does not speak for that role")]
    Speaker,
}

/// For whom a message speaks: a role, and perhaps an instance of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Speaker {
    /// The role; `None` where the sender has none of its own, as a committer of bare records.
    pub role: Option<Role>,
    /// The instance.
    pub instance: Option<InstanceId>,
}

/// The header of a signed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The public key of the user that signed.
    pub key: String,
    /// When it was signed, by the server's clock.
    pub at: Time,
    /// The moment before which it is not to be stored, where it is delayed.
    pub due: Option<Time>,
    /// For whom it speaks.
    pub by: Speaker,
    /// The ed25519 signature over [`Covered::bytes`], in base64 without padding.
    pub proof: String,
}

/// A header that is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no signature of version {VERSION}")]
pub struct SignatureError;

/// What stands for a field that a signature does not have.
const NONE: &str = "-";

impl Signature {
    /// Whether a message that was stored then may be a copy of one that was taken before. The stream
    /// refuses an id that it has for a while, so a copy is stored long after it was signed.
    #[must_use]
    pub fn may_be_copy(&self, stored: Time) -> bool {
        stored >= self.due.unwrap_or(self.at).plus(COPY_DOUBT)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, at, due, by, proof } = self;
        write!(f, "{VERSION} {key} {} ", at.micros())?;
        match due {
            Some(due) => write!(f, "{} ", due.micros())?,
            None => write!(f, "{NONE} ")?,
        }
        let role = by.role.as_ref().map_or(NONE, Role::as_str);
        let instance = by.instance.as_ref().map_or(NONE, InstanceId::as_str);
        write!(f, "{role} {instance} {proof}")
    }
}

impl FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let fields: Vec<&str> = text.split(' ').collect();
        let [VERSION, key, at, due, role, instance, proof] = *fields.as_slice() else {
            return Err(SignatureError);
        };
        let is_word = |text: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            !text.is_empty() && text.len() < SIGNATURE_BYTES && text.chars().all(fits)
        };
        if text.len() > SIGNATURE_BYTES || !is_word(key) || !is_word(proof) {
            return Err(SignatureError);
        }
        let moment = |text: &str| text.parse().map(Time::from_micros).ok().ok_or(SignatureError);
        let by = Speaker { role: given(role)?, instance: given(instance)? };
        let due = if due == NONE { None } else { Some(moment(due)?) };
        Ok(Self { key: key.to_owned(), at: moment(at)?, due, by, proof: proof.to_owned() })
    }
}

fn given<T: FromStr>(text: &str) -> Result<Option<T>, SignatureError> {
    if text == NONE { Ok(None) } else { text.parse().map(Some).ok().ok_or(SignatureError) }
}

/// What of a message a signature covers, besides what stands in the signature itself.
#[derive(Clone, Copy, Debug)]
pub struct Covered<'a> {
    /// The org.
    pub org: &'a OrgId,
    /// The subject on which readers find it.
    pub subject: &'a str,
    /// The message id.
    pub id: Option<&'a str>,
    /// The epoch of an assignment.
    pub epoch: Option<&'a str>,
    /// The sequence that a guard of it expects. The log of a task has each expectation once, so a
    /// signed entry can't be stored a second time.
    pub guard: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

impl Covered<'_> {
    /// The bytes that are signed. Every field has its length before it, so no two messages have
    /// the same bytes.
    #[must_use]
    pub fn bytes(&self, signature: &Signature) -> Vec<u8> {
        let Self { org, subject, id, epoch, guard, body } = self;
        let due = signature.due.map(|due| due.micros().to_string());
        fields(&[
            Some("sinew-message"),
            Some(VERSION),
            Some(org.as_str()),
            Some(&signature.key),
            Some(&signature.at.micros().to_string()),
            due.as_deref(),
            signature.by.role.as_ref().map(Role::as_str),
            signature.by.instance.as_ref().map(InstanceId::as_str),
            Some(subject),
            *id,
            *epoch,
            *guard,
            Some(&digest(body)),
        ])
    }
}

/// Fields as `{length}:{text}`, a line each; one that is not there is an empty line.
fn fields(fields: &[Option<&str>]) -> Vec<u8> {
    let mut out = String::new();
    for field in fields {
        if let Some(text) = field {
            out.push_str(&text.len().to_string());
            out.push(':');
            out.push_str(text);
        }
        out.push('\n');
    }
    out.into_bytes()
}

fn digest(body: &[u8]) -> String {
    crate::id::hex(&Sha256::digest(body), Sha256::output_size())
}

/// What a message with this signature is worth. `certificate` is that of the signature's key, if
/// there is one whose own signature is good; `genuine` tells whether the proof is that of the key
/// over the message; `claims` is the role that the body says it is from, where it says one.
#[must_use]
pub fn judge(
    signature: &Signature,
    certificate: Option<&Certificate>,
    genuine: impl FnOnce() -> bool,
    (trust, stored): (&Trust, Time),
    claims: Option<&Role>,
) -> Verdict {
    let Some(certificate) = certificate.filter(|it| it.key == signature.key) else {
        return Verdict::Forged(Forgery::Unknown);
    };
    if let Err(why) = trust.admits(certificate, stored) {
        return Verdict::Forged(why);
    }
    if !genuine() {
        return Verdict::Forged(Forgery::Signature);
    }
    let roles = [claims, signature.by.role.as_ref()];
    if !roles.into_iter().flatten().all(|role| certificate.user.speaks_for(role)) {
        return Verdict::Forged(Forgery::Speaker);
    }
    if !is_timely(signature, stored) {
        return Verdict::Expired;
    }
    let Signature { key, by, .. } = signature.clone();
    Verdict::Verified(Sender { user: certificate.user.clone(), key, by })
}

/// Whether it was stored when it was signed, or after it was due.
fn is_timely(signature: &Signature, stored: Time) -> bool {
    let early = stored.plus(SIGNATURE_WINDOW) < signature.due.unwrap_or(signature.at);
    // What is delayed waits for room in its queue as long as it takes; its epoch counts once.
    let late = signature.due.is_none() && stored > signature.at.plus(SIGNATURE_WINDOW);
    !early && !late
}

#[cfg(test)]
mod tests;
