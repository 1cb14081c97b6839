//! How the log of tasks is read: the one place of this crate that knows the stream.

use serde::Deserialize;
use serde_json::Value;
use sinew_bus::{Bus, RawMessage, RequestError, Scan, ScanError};
use sinew_model::{
    Entry, header,
    signature::{Policy, Verdict},
    task::Change,
};

use crate::{
    message::{Message, Origin},
    store::Checkpoint,
};

/// The stream that holds the log of every task.
const STREAM: &str = "TASK_LOG";

/// The server's number for a stream that is not there.
const STREAM_NOT_FOUND: u32 = 10_059;

/// The stream as it is now.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// When it was made, as the server writes it.
    pub(super) created: String,
    /// The sequence of its newest message; it stays when messages are purged.
    pub(super) last_seq: u64,
}

impl Source {
    /// Whether a view with this checkpoint is of another stream, or of entries that this one lost.
    pub(super) fn is_other(&self, checkpoint: &Checkpoint) -> bool {
        let other = checkpoint.stream.as_ref().is_some_and(|stream| *stream != self.created);
        other || checkpoint.seq > self.last_seq
    }
}

/// Looks at the stream; `None` where there is none.
pub(super) async fn look(bus: &Bus) -> Result<Option<Source>, RequestError> {
    #[derive(Deserialize)]
    struct Info {
        created: String,
        state: State,
    }
    #[derive(Deserialize)]
    struct State {
        last_seq: u64,
    }
    match bus.api::<Info>(&format!("STREAM.INFO.{STREAM}"), &Value::Null).await {
        Ok(info) => Ok(Some(Source { created: info.created, last_seq: info.state.last_seq })),
        Err(fault) if fault.refusal() == Some(STREAM_NOT_FOUND) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Reads the log of the org's tasks from a sequence on, and then live.
pub(super) async fn read(bus: &Bus, from: u64) -> Result<Scan, ScanError> {
    bus.scan(STREAM, bus.subjects().logs().as_str(), from).await
}

/// What the fold needs of a message.
///
/// # Errors
/// When it can't be known who sent it.
pub(super) async fn message(bus: &Bus, raw: RawMessage) -> Result<Message, RequestError> {
    let origin = origin(bus, &raw).await?;
    Ok(Message {
        expected: raw.header(header::EXPECTED_SEQ).and_then(|text| text.parse().ok()),
        token: raw.header(header::MSG_ID).map(str::to_owned),
        seq: raw.seq,
        subject: raw.subject,
        stored_at: raw.time,
        payload: raw.payload,
        origin,
    })
}

/// Who sent an entry, and whether it is to be taken. What is no entry is void whoever sent it.
async fn origin(bus: &Bus, raw: &RawMessage) -> Result<Origin, RequestError> {
    let identity = bus.identity();
    let judged = identity.policy == Policy::Require || raw.header(header::SIGNATURE).is_some();
    if !judged || identity.policy == Policy::Off {
        return Ok(Origin::default());
    }
    let Ok(entry) = Entry::decode(bus.subjects(), &raw.subject, &raw.payload) else {
        return Ok(Origin::default());
    };
    let (received, by) = (raw.received(), &entry.by.role);
    let verdict = bus.verify(&received, Some(by)).await?;
    if !bus.takes(&verdict) {
        return Ok(Origin { refused: Some(verdict.to_string()), ..Origin::default() });
    }
    let delegator = if let Change::Created { assignment, .. } = &entry.change {
        bus.verify_delegator(&verdict, assignment, raw.time).await?
    } else {
        Verdict::Unsigned
    };
    let name = |verdict: &Verdict| verdict.sender().map(ToString::to_string);
    Ok(Origin { sender: name(&verdict), delegator: name(&delegator), refused: None })
}
