//! Inputs and results that are too large for a message: into the object store before the message
//! that claims them, and out of it before anybody looks. Who delegates, works or reads sees the
//! whole body and never the claim.

use std::collections::BTreeMap;

use serde_json::Value;
use sinew_bus::{Bus, ObjectError};
use sinew_model::{
    Assignment, Claim, TaskId,
    claim::Side,
    limits::{INLINE_BYTES, LARGE_BODY_BYTES},
    task::State,
};

/// What is noted beside an object: the task on whose behalf its task is delegated. That one's log
/// claims the object before its own task has a log.
pub const NOTE_PARENT: &str = "sinew-parent";

/// A body that does not fit a message, with the claim that stands for it.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) claim: Claim,
    bytes: Vec<u8>,
}

/// Why the whole body of a task can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The object store does not give it.
    #[error("the body of {} bytes can't be had", .claim.bytes)]
    Object {
        /// What was claimed.
        claim: Box<Claim>,
        /// Why not.
        #[source]
        source: ObjectError,
    },
    /// It is what was claimed, but no JSON.
    #[error("the body of {} bytes is no JSON", .claim.bytes)]
    Malformed {
        /// What was claimed.
        claim: Box<Claim>,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// The claim is on more than a body may have.
    #[error("a body of {bytes} bytes is over the limit of {LARGE_BODY_BYTES}")]
    TooLarge {
        /// How much is claimed.
        bytes: u64,
    },
}

impl BodyError {
    /// Whether the body is lost: asking again does not help, unless somebody stores it again.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        match self {
            Self::Object { source, .. } => source.is_lost(),
            Self::Malformed { .. } | Self::TooLarge { .. } => true,
        }
    }
}

impl Body {
    /// Takes a value apart: what stands in the message, and what goes into the object store. By
    /// the size of the value alone, so that it is the same every time.
    pub(crate) fn split(task: &TaskId, side: Side, value: Value) -> (Value, Option<Self>) {
        // A value that can't be written is null in the message too, which nobody has ever seen.
        let bytes = serde_json::to_vec(&value).unwrap_or_default();
        if bytes.len() <= INLINE_BYTES {
            return (value, None);
        }
        let claim = Claim::of(task, side, &bytes);
        (Value::Null, Some(Self { claim, bytes }))
    }

    pub(crate) fn is_too_large(&self) -> bool {
        self.bytes.len() > LARGE_BODY_BYTES
    }

    /// Puts it into the object store. It may be put there any number of times.
    pub(crate) async fn store(self, bus: &Bus, parent: Option<&TaskId>) -> Result<(), ObjectError> {
        let notes: BTreeMap<String, String> =
            parent.map(|parent| (NOTE_PARENT.to_owned(), parent.to_string())).into_iter().collect();
        bus.put_object(&self.claim, self.bytes.into(), &notes).await
    }
}

/// The body of a claim.
///
/// # Errors
/// See [`BodyError`].
pub async fn fetch(bus: &Bus, claim: &Claim) -> Result<Value, BodyError> {
    if claim.bytes > u64::try_from(LARGE_BODY_BYTES).unwrap_or(u64::MAX) {
        return Err(BodyError::TooLarge { bytes: claim.bytes });
    }
    let boxed = || Box::new(claim.clone());
    let body = bus.get_object(claim).await;
    let body = body.map_err(|source| BodyError::Object { claim: boxed(), source })?;
    serde_json::from_slice(&body).map_err(|source| BodyError::Malformed { claim: boxed(), source })
}

/// The assignment as if its input had been in the message.
///
/// # Errors
/// See [`BodyError`].
pub async fn whole(bus: &Bus, mut assignment: Assignment) -> Result<Assignment, BodyError> {
    if let Some(claim) = assignment.input_ref.take() {
        assignment.input = fetch(bus, &claim).await?;
    }
    Ok(assignment)
}

/// The result of a task, if that lies in the object store.
///
/// # Errors
/// See [`BodyError`].
pub async fn result(bus: &Bus, state: &State) -> Result<Option<Value>, BodyError> {
    match &state.result_ref {
        Some(claim) => fetch(bus, claim).await.map(Some),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_alone_decides_where_a_body_lies() {
        let task: TaskId = "T1".parse().unwrap();
        // Two quotation marks belong to the JSON of a text.
        let (value, body) = Body::split(&task, Side::Input, "x".repeat(INLINE_BYTES - 2).into());
        assert!(body.is_none() && value.is_string());
        let (value, body) = Body::split(&task, Side::Input, "x".repeat(INLINE_BYTES - 1).into());
        let body = body.unwrap();
        assert!(value.is_null() && !body.is_too_large());
        assert!(body.claim.fits(&body.bytes));
    }
}
