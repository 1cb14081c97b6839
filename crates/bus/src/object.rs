//! Bodies that are too large for a message, in a JetStream object store that other clients read as
//! well. The layout is theirs: `$O.{bucket}.C.{nuid}` has the chunks of one version of an object,
//! `$O.{bucket}.M.{name}` the newest word about it.
//!
//! The client's own object store is not used: it stores chunks without ids and without patience, a
//! failed put leaves its chunks behind, and of two writers the last one wins. Here the word about
//! an object is written by compare-and-set, so that two who store the same body end up with one,
//! and a deletion never takes what somebody has just stored again.

mod collect;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sinew_model::{
    Claim, Subjects, Time,
    limits::{CHUNK_BYTES, OBJECT_ROUNDS},
    stream::{BODIES, OBJ_BODIES},
};

use crate::{
    clock,
    connect::Bus,
    publish::{Outgoing, PublishError},
    read::RawMessage,
    request::RequestError,
};

pub use collect::CollectError;

/// The header with which a message takes the place of all others on its subject.
pub(crate) const ROLLUP: &str = "Nats-Rollup";

/// An object as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// What was noted beside it.
    pub notes: BTreeMap<String, String>,
    /// When it was stored, or stored again, by the server's clock.
    pub stored_at: Time,
    /// The sequence of the word about it.
    seq: u64,
    about: About,
}

/// The word about an object, in the form that all clients of object stores share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    name: String,
    bucket: String,
    nuid: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    chunks: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtime: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    deleted: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    options: Option<Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the serializer hands out references")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Why a body could not be stored or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The object store is full. Nothing of the body was kept.
    #[error("the store of large bodies is full")]
    Full(#[source] PublishError),
    /// The body could not be stored.
    #[error("the body could not be stored")]
    Store(#[source] PublishError),
    /// The object store could not be read.
    #[error("the store of large bodies could not be read")]
    Read(#[from] RequestError),
    /// The object is not there, or not all of it.
    #[error("the object {object} is not in the store")]
    Missing {
        /// Its name.
        object: String,
    },
    /// What is stored is not what was claimed.
    #[error("the object {object} is not what its hash says")]
    Corrupt {
        /// Its name.
        object: String,
    },
    /// Others stored or deleted the same object, over and over.
    #[error("{OBJECT_ROUNDS} others in a row changed the object {object}")]
    Crowded {
        /// Its name.
        object: String,
    },
}

impl ObjectError {
    /// Whether the body itself is lost: asking again does not help.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Corrupt { .. })
    }

    /// Whether asking again may help, by itself.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Read(source) => source.is_passing(),
            Self::Store(source) => {
                matches!(source, PublishError::Unknown { .. } | PublishError::Unreachable { .. })
            }
            Self::Crowded { .. } => true,
            Self::Full(_) | Self::Missing { .. } | Self::Corrupt { .. } => false,
        }
    }

    const fn of(error: PublishError) -> Self {
        if matches!(error, PublishError::Full { .. }) {
            Self::Full(error)
        } else {
            Self::Store(error)
        }
    }
}

impl Bus {
    /// Stores the body of a claim, with notes beside it. A body that is there already is marked as
    /// stored anew and nothing else; one of which a part is gone is stored again.
    ///
    /// # Errors
    /// See [`ObjectError`]. The body may be stored again at any time.
    pub async fn put_object(
        &self,
        claim: &Claim,
        body: Bytes,
        notes: &BTreeMap<String, String>,
    ) -> Result<(), ObjectError> {
        for _ in 0..OBJECT_ROUNDS {
            let known = self.object(&claim.object).await?;
            let seq = known.as_ref().map_or(0, |known| known.seq);
            let whole = match &known {
                Some(known) => known.is(claim) && self.is_whole(&known.about).await?,
                None => false,
            };
            let about = match (&known, whole) {
                (Some(known), true) => known.about.clone(),
                _ => self.put_chunks(claim, body.clone(), notes).await?,
            };
            match self.tell_of(&about, seq).await {
                Ok(()) => {
                    if let Some(old) = known.filter(|known| known.about.nuid != about.nuid) {
                        self.drop_chunks(&old.about.nuid).await?;
                    }
                    return Ok(());
                }
                Err(PublishError::Conflict { .. }) => self.undo(&about, whole).await,
                Err(error) => {
                    // It may have been stored where no answer came, so then the chunks stay.
                    let stored = matches!(error, PublishError::Unknown { .. });
                    self.undo(&about, whole || stored).await;
                    return Err(ObjectError::of(error));
                }
            }
        }
        Err(ObjectError::Crowded { object: claim.object.clone() })
    }

    /// Reads the body of a claim, and checks that it is what was claimed.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn get_object(&self, claim: &Claim) -> Result<Vec<u8>, ObjectError> {
        let missing = || ObjectError::Missing { object: claim.object.clone() };
        let corrupt = || ObjectError::Corrupt { object: claim.object.clone() };
        let known = self.object(&claim.object).await?.ok_or_else(missing)?;
        if !known.is(claim) {
            return Err(if known.about.deleted { missing() } else { corrupt() });
        }
        let size = usize::try_from(claim.bytes).unwrap_or(usize::MAX);
        let (mut body, mut from) = (Vec::new(), 1);
        let chunks = Subjects::chunks(BODIES, &known.about.nuid);
        for _ in 0..known.about.chunks {
            let chunk = self.first_from(OBJ_BODIES, chunks.as_str(), from).await?;
            let chunk = chunk.ok_or_else(missing)?;
            from = chunk.seq.saturating_add(1);
            if body.len().saturating_add(chunk.payload.len()) > size {
                return Err(corrupt());
            }
            body.extend_from_slice(&chunk.payload);
        }
        if claim.fits(&body) { Ok(body) } else { Err(corrupt()) }
    }

    /// What the store knows of an object; also of one that is being deleted.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn object(&self, name: &str) -> Result<Option<Object>, RequestError> {
        let subject = Subjects::object(BODIES, &URL_SAFE.encode(name));
        let last = self.last(OBJ_BODIES, subject.as_str()).await?;
        Ok(last.and_then(|message| Object::of(&message)))
    }

    /// Writes the chunks of a body under a name that nobody else has.
    async fn put_chunks(
        &self,
        claim: &Claim,
        body: Bytes,
        notes: &BTreeMap<String, String>,
    ) -> Result<About, ObjectError> {
        let about = About::new(claim, body.len().div_ceil(CHUNK_BYTES), notes);
        let (mut rest, mut number) = (body, 0_u64);
        while !rest.is_empty() {
            let chunk = rest.split_to(rest.len().min(CHUNK_BYTES));
            let subject = Subjects::chunks(BODIES, &about.nuid);
            let out =
                Outgoing::new(OBJ_BODIES, subject, chunk).id(format!("{}:{number}", about.nuid));
            if let Err(error) = self.publish(out).await {
                self.undo(&about, false).await;
                return Err(ObjectError::of(error));
            }
            number += 1;
        }
        Ok(about)
    }

    /// Writes the word about an object, if it is still the one at `seq` that is known.
    async fn tell_of(&self, about: &About, seq: u64) -> Result<(), PublishError> {
        let subject = Subjects::object(BODIES, &URL_SAFE.encode(&about.name));
        let mut about = about.clone();
        about.mtime = Some(clock::now().to_string());
        let body = serde_json::to_vec(&about).unwrap_or_default();
        let out = Outgoing::new(OBJ_BODIES, subject.clone(), body)
            .id(clock::unique())
            .expecting(&subject, seq)
            .header(ROLLUP, "sub");
        self.publish(out).await.map(|_| ())
    }

    /// Takes back the chunks of a body that is not told of. What stays behind here goes when
    /// objects are collected.
    async fn undo(&self, about: &About, keep: bool) {
        if keep {
            return;
        }
        if let Err(error) = self.drop_chunks(&about.nuid).await {
            tracing::debug!(object = about.name, %error, "the chunks of a body are left for later");
        }
    }

    async fn is_whole(&self, about: &About) -> Result<bool, RequestError> {
        let subject = Subjects::chunks(BODIES, &about.nuid);
        let filter = json!({ "subjects_filter": subject.as_str() });
        let info: Counted = self.api(&format!("STREAM.INFO.{OBJ_BODIES}"), &filter).await?;
        let counts = info.state.subjects.unwrap_or_default();
        Ok(counts.values().sum::<u64>() == about.chunks)
    }

    async fn drop_chunks(&self, nuid: &str) -> Result<(), RequestError> {
        let subject = Subjects::chunks(BODIES, nuid);
        self.purge_bodies(&json!({ "filter": subject.as_str() })).await
    }

    async fn purge_bodies(&self, which: &Value) -> Result<(), RequestError> {
        let _: Value = self.api(&format!("STREAM.PURGE.{OBJ_BODIES}"), which).await?;
        Ok(())
    }
}

#[derive(Deserialize)]
struct Counted {
    state: Counts,
}

#[derive(Deserialize)]
struct Counts {
    #[serde(default)]
    subjects: Option<BTreeMap<String, u64>>,
}

impl Object {
    fn of(message: &RawMessage) -> Option<Self> {
        let about: About = serde_json::from_slice(&message.payload).ok()?;
        Some(Self {
            name: about.name.clone(),
            notes: about.metadata.clone(),
            stored_at: message.time,
            seq: message.seq,
            about,
        })
    }

    /// Whether its deletion was begun.
    #[must_use]
    pub const fn is_deleted(&self) -> bool {
        self.about.deleted
    }

    /// Whether it is the object of the claim, as far as the store says.
    fn is(&self, claim: &Claim) -> bool {
        !self.about.deleted
            && self.about.size == claim.bytes
            && self.about.digest == digest(&claim.sha256)
    }
}

impl About {
    fn new(claim: &Claim, chunks: usize, notes: &BTreeMap<String, String>) -> Self {
        Self {
            name: claim.object.clone(),
            bucket: BODIES.to_owned(),
            nuid: clock::unique(),
            size: claim.bytes,
            chunks: u64::try_from(chunks).unwrap_or(u64::MAX),
            digest: digest(&claim.sha256),
            mtime: None,
            deleted: false,
            metadata: notes.clone(),
            options: Some(json!({ "max_chunk_size": CHUNK_BYTES })),
        }
    }
}

/// A hash in the form that object stores write it: URL-safe base64 of its bytes.
fn digest(sha256: &str) -> Option<String> {
    let digits = sha256.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> =
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    Some(format!("SHA-256={}", URL_SAFE.encode(bytes?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_as_other_clients_write_it() {
        // Of the empty body, as nats-py and the nats command write it.
        let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let expect = "SHA-256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(digest(sha256).as_deref(), Some(expect));
        assert_eq!(digest("xy"), None);
    }
}
