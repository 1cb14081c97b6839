//! How the stream of a view is read, and who sent what it holds.

use serde::Deserialize;
use serde_json::Value;
use sinew_bus::{Bus, RawMessage, RequestError, Scan, ScanError};
use sinew_model::{
    header,
    signature::{Policy, Verdict},
};

use crate::{
    message::{Message, Origin},
    store::{Checkpoint, Layout},
};

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
pub(super) async fn look(bus: &Bus, layout: &Layout) -> Result<Option<Source>, RequestError> {
    #[derive(Deserialize)]
    struct Info {
        created: String,
        state: State,
    }
    #[derive(Deserialize)]
    struct State {
        last_seq: u64,
    }
    match bus.api::<Info>(&format!("STREAM.INFO.{}", layout.stream), &Value::Null).await {
        Ok(info) => Ok(Some(Source { created: info.created, last_seq: info.state.last_seq })),
        Err(fault) if fault.refusal() == Some(STREAM_NOT_FOUND) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Reads the stream from a sequence on, and then live.
pub(super) async fn read(bus: &Bus, layout: &Layout, from: u64) -> Result<Scan, ScanError> {
    bus.scan(layout.stream, &(layout.filter)(bus.subjects()), from).await
}

/// What the fold needs of a message.
///
/// # Errors
/// When it can't be known who sent it.
pub(super) async fn message(
    bus: &Bus,
    layout: &Layout,
    raw: RawMessage,
) -> Result<Message, RequestError> {
    let origin = origin(bus, layout, &raw).await?;
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

/// Who sent a message, and whether it is to be taken. What says nothing is void whoever sent it.
async fn origin(bus: &Bus, layout: &Layout, raw: &RawMessage) -> Result<Origin, RequestError> {
    let identity = bus.identity();
    let judged = identity.policy == Policy::Require || raw.header(header::SIGNATURE).is_some();
    if !judged || identity.policy == Policy::Off {
        return Ok(Origin::default());
    }
    let Some(said) = (layout.said)(bus.subjects(), raw) else { return Ok(Origin::default()) };
    let received = raw.received();
    let verdict = bus.verify(&received, Some(&said.by)).await?;
    if !bus.takes(&verdict) {
        return Ok(Origin { refused: Some(verdict.to_string()), ..Origin::default() });
    }
    let delegator = match &said.assignment {
        Some(assignment) => bus.verify_delegator(&verdict, assignment, raw.time).await?,
        None => Verdict::Unsigned,
    };
    let name = |verdict: &Verdict| verdict.sender().map(ToString::to_string);
    Ok(Origin { sender: name(&verdict), delegator: name(&delegator), refused: None })
}
