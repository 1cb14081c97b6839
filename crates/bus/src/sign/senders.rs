//! Whose key is whose, as far as this process knows: certificates, fetched from their stream when a
//! key is met first, and the signatures that were found good lately.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use sha2::{Digest as _, Sha256};
use sinew_model::{
    limits::{CERTIFICATE_AGAIN, CERTIFICATES_KNOWN, SIGNATURES_SEEN},
    signature::{Certificate, CertificateError, Parts},
    stream::ORG_SENDERS,
};
use tokio::time::Instant;

use crate::{clock, connect::Bus, request::RequestError};

/// The server's number for a stream that is not there.
pub(super) const NO_STREAM: u32 = 10_059;

/// A certificate whose own signature is good, and the key that it is of.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) certificate: Certificate,
    pair: KeyPair,
}

/// A signature over certain bytes.
pub(super) type Print = [u8; 32];

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Senders {
    /// By public key; `None` where there was no certificate, or a bad one.
    known: BTreeMap<String, (Option<Arc<Known>>, Instant)>,
    good: HashSet<Print>,
    /// Refused messages of which this process has kept a record.
    reported: HashSet<(String, u64)>,
}

impl Senders {
    /// What is known of a key, and whether that was found out just now.
    pub(super) fn get(&self, key: &str) -> Option<(Option<Arc<Known>>, bool)> {
        let (known, fetched) = self.known.get(key)?;
        let fresh = clock::instant().saturating_duration_since(*fetched) < CERTIFICATE_AGAIN;
        Some((known.clone(), fresh))
    }

    pub(super) fn keep(&mut self, key: &str, known: Option<Arc<Known>>) {
        if self.known.len() >= CERTIFICATES_KNOWN {
            self.known.clear();
        }
        self.known.insert(key.to_owned(), (known, clock::instant()));
    }

    /// Whether it is the first time that this process refuses the message.
    pub(super) fn report(&mut self, stream: &str, seq: u64) -> bool {
        if self.reported.len() >= SIGNATURES_SEEN {
            self.reported.clear();
        }
        self.reported.insert((stream.to_owned(), seq))
    }

    pub(super) fn is_good(&self, print: &Print) -> bool {
        self.good.contains(print)
    }

    pub(super) fn note_good(&mut self, print: Print) {
        if self.good.len() >= SIGNATURES_SEEN {
            self.good.clear();
        }
        self.good.insert(print);
    }
}

/// What stands for a signature over these bytes.
pub(super) fn print(bytes: &[u8], proof: &str) -> Print {
    let mut hash = Sha256::new();
    hash.update(proof);
    hash.update([0]);
    hash.update(bytes);
    hash.finalize().into()
}

impl Known {
    /// Reads a user's JWT and holds it against the key of whoever signed it. Whether that one is
    /// trusted is another question.
    fn of(jwt: &str) -> Result<Self, String> {
        let certificate = decode(jwt).map_err(|error| error.to_string())?;
        let issuer = KeyPair::from_public_key(&certificate.issuer);
        let issuer = issuer.map_err(|error| error.to_string())?;
        let certificate = parts_by(&issuer, jwt, Certificate::read)?;
        let pair = KeyPair::from_public_key(&certificate.key).map_err(|error| error.to_string())?;
        Ok(Self { certificate, pair })
    }

    pub(super) fn has_signed(&self, bytes: &[u8], proof: &str) -> bool {
        has_signed(&self.pair, bytes, proof)
    }
}

fn has_signed(pair: &KeyPair, bytes: &[u8], proof: &str) -> bool {
    let signature = URL_SAFE_NO_PAD.decode(proof);
    signature.is_ok_and(|signature| pair.verify(bytes, &signature).is_ok())
}

/// What a user's JWT says.
pub(super) fn decode(jwt: &str) -> Result<Certificate, CertificateError> {
    parts(jwt, Certificate::read)
}

/// What a JWT says, as `read` has it; whoever has signed it.
pub(super) fn parts<T>(
    jwt: &str,
    read: impl FnOnce(&[u8], &[u8]) -> Result<T, CertificateError>,
) -> Result<T, CertificateError> {
    let parts = Parts::of(jwt)?;
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok().ok_or(CertificateError::Shape);
    read(&bytes(parts.head)?, &bytes(parts.claims)?)
}

/// What a JWT says that this key has signed.
pub(super) fn parts_by<T>(
    issuer: &KeyPair,
    jwt: &str,
    read: impl FnOnce(&[u8], &[u8]) -> Result<T, CertificateError>,
) -> Result<T, String> {
    let whole = Parts::of(jwt).map_err(|error| error.to_string())?;
    if !has_signed(issuer, whole.signed.as_bytes(), whole.signature) {
        return Err("it is not signed by whom it names".to_owned());
    }
    parts(jwt, read).map_err(|error| error.to_string())
}

/// The certificate of a key as it lies in its stream; `None` where there is none that is good.
pub(super) async fn fetch(bus: &Bus, key: &str) -> Result<Option<Arc<Known>>, RequestError> {
    let Some(subject) = bus.subjects().sender(key) else { return Ok(None) };
    let found = match bus.last(ORG_SENDERS, subject.as_str()).await {
        Err(error) if error.refusal() == Some(NO_STREAM) => None,
        found => found?,
    };
    let Some(found) = found else { return Ok(None) };
    let jwt = String::from_utf8_lossy(&found.payload);
    match Known::of(&jwt) {
        Ok(known) => Ok(Some(Arc::new(known))),
        Err(why) => {
            tracing::warn!(key, why, "what lies in place of a certificate is none");
            Ok(None)
        }
    }
}
