//! Whether what was read is taken: who sent it is held against the org's policy, and what is refused
//! is kept as evidence and counted.

use std::sync::{Mutex, PoisonError};

use sinew_bus::{Bus, Received, RequestError, ScanError};
use sinew_model::{
    Role,
    evidence::Refused,
    header,
    limits::PULL_HEARTBEAT,
    signature::{Seen, Signature, Verdict},
};

/// Why it is not known whether something is taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdmitError {
    /// Whose key it is can't be looked up.
    #[error("whose key it is could not be looked up")]
    Request(#[from] RequestError),
    /// Whether it was there before can't be looked up.
    #[error("whether it was there before could not be looked up")]
    Scan(#[from] ScanError),
}

/// Holds a stored record against the org's policy: who sent it; `None` where it is not taken.
/// `claims` is the role that it says it is from.
///
/// # Errors
/// When it can't be known now.
pub(crate) async fn admit(
    (bus, reader): (&Bus, &Role),
    (stream, it): (&str, &Received<'_>),
    claims: &Role,
) -> Result<Option<Verdict>, RequestError> {
    let verdict = bus.verify(it, Some(claims)).await?;
    if bus.takes(&verdict) {
        return Ok(Some(verdict));
    }
    bus.keep_evidence((stream, it), reader, (&verdict, Some(claims))).await;
    Ok(None)
}

/// Whether what this connection sends as that role is taken where signatures are asked for.
pub(crate) fn may_speak(bus: &Bus, role: &Role) -> bool {
    bus.identity().signs_as.is_none_or(|(user, _)| user.speaks_for(role))
}

/// The same for the messages of a stream, of which a copy must not be taken again.
#[derive(Debug)]
pub(crate) struct Admission {
    bus: Bus,
    reader: Role,
    stream: &'static str,
    memory: Mutex<(Seen, Refused)>,
}

impl Admission {
    pub(crate) fn new(bus: &Bus, reader: &Role, stream: &'static str) -> Self {
        let (bus, reader) = (bus.clone(), reader.clone());
        Self { bus, reader, stream, memory: Mutex::default() }
    }

    /// How many were refused.
    pub(crate) fn refused(&self) -> Refused {
        self.locked().1
    }

    /// Who sent a message, and whether it is taken.
    pub(crate) async fn judge(
        &self,
        it: &Received<'_>,
        claims: &Role,
    ) -> Result<(Verdict, bool), AdmitError> {
        let mut verdict = self.bus.verify(it, Some(claims)).await?;
        let signature = it.signature.and_then(|text| text.parse::<Signature>().ok());
        if let (Some(signature), Some(_)) = (signature, verdict.sender()) {
            let first = self.locked().0.is_first(&signature.proof, it.seq, it.stored);
            if !first || (signature.may_be_copy(it.stored) && self.was_before(it).await?) {
                verdict = Verdict::Replayed;
            }
        }
        let taken = self.bus.takes(&verdict);
        if !taken {
            self.locked().1.count(&verdict);
            let found = (self.stream, it);
            self.bus.keep_evidence(found, &self.reader, (&verdict, Some(claims))).await;
        }
        Ok((verdict, taken))
    }

    /// Whether the very same signature lies before it in the stream.
    async fn was_before(&self, it: &Received<'_>) -> Result<bool, ScanError> {
        let mut scan = self.bus.scan(self.stream, it.subject, 1).await?;
        // The message itself is the end, and not what the server says is pending: one that has not
        // caught up says nothing is. If the message is purged meanwhile, nothing comes.
        while let Ok(next) = tokio::time::timeout(PULL_HEARTBEAT, scan.next()).await {
            let message = next?;
            if message.seq >= it.seq {
                break;
            }
            if message.header(header::SIGNATURE) == it.signature {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, (Seen, Refused)> {
        // The memory is whole after every single step, so a panic elsewhere does no harm to it.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
