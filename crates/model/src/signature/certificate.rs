//! Whose key it is. A certificate is a user's NATS JWT: the org's account says in it which role the
//! key belongs to, from when and until when. Reading it is here; whether its signature is good is
//! for who knows the arithmetic.

use serde::Deserialize;

use crate::{grant::User, limits::CERTIFICATE_BYTES, time::Time};

/// What a user's JWT says, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The public key of the user.
    pub key: String,
    /// The user.
    pub user: User,
    /// The public key that signed the JWT: the account's, or one of its signing keys.
    pub issuer: String,
    /// The public key of the account.
    pub account: String,
    /// When it was given out.
    pub from: Time,
    /// When it lapses; never if not said.
    pub until: Option<Time>,
}

/// Why a text is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It is not three parts, or too long.
    #[error("it is no JWT")]
    Shape,
    /// Its claims are not readable.
    #[error("its claims are not readable")]
    Claims(#[from] serde_json::Error),
    /// It is of another kind, or of another way to sign.
    #[error("it is not that of a user, signed with ed25519")]
    Kind,
    /// Its name is none that Sinew gives.
    #[error("it is of no user of an org")]
    Name,
}

/// The three parts of a JWT, still in base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// What is signed: the head, a dot, the claims.
    pub signed: &'a str,
    /// The head.
    pub head: &'a str,
    /// The claims.
    pub claims: &'a str,
    /// The signature.
    pub signature: &'a str,
}

impl<'a> Parts<'a> {
    /// Takes a JWT apart.
    ///
    /// # Errors
    /// [`CertificateError::Shape`].
    pub fn of(jwt: &'a str) -> Result<Self, CertificateError> {
        let parts = || {
            let (signed, signature) = jwt.trim().rsplit_once('.')?;
            let (head, claims) = signed.split_once('.')?;
            let whole = !head.is_empty() && !claims.contains('.');
            (whole && jwt.len() <= CERTIFICATE_BYTES).then_some(Self {
                signed,
                head,
                claims,
                signature,
            })
        };
        parts().ok_or(CertificateError::Shape)
    }
}

#[derive(Deserialize)]
pub(super) struct Head {
    pub(super) alg: String,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    name: String,
    sub: String,
    iss: String,
    iat: i64,
    #[serde(default)]
    exp: Option<i64>,
    nats: Nats,
}

#[derive(Deserialize)]
struct Nats {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    issuer_account: Option<String>,
}

impl Certificate {
    /// Reads the decoded head and claims of a user's JWT.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn read(head: &[u8], claims: &[u8]) -> Result<Self, CertificateError> {
        let Head { alg } = serde_json::from_slice(head)?;
        let Claims { name, sub, iss, iat, exp, nats } = serde_json::from_slice(claims)?;
        if alg != "ed25519-nkey" || nats.kind != "user" || !sub.starts_with('U') {
            return Err(CertificateError::Kind);
        }
        let user = User::named(&name).ok_or(CertificateError::Name)?;
        // The server takes an `exp` of 0 for none.
        let until = exp.filter(|exp| *exp != 0).map(seconds);
        let account = nats.issuer_account.unwrap_or_else(|| iss.clone());
        Ok(Self { key: sub, user, issuer: iss, account, from: seconds(iat), until })
    }
}

pub(super) const fn seconds(seconds: i64) -> Time {
    Time::from_micros(seconds.saturating_mul(1_000_000))
}
