//! How the log of tasks is read: the one place of this crate that knows the stream.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use sinew_bus::{Bus, RequestError, clock};
use sinew_model::{Time, header, limits::VIEW_LOOK_EVERY};

use crate::{message::Message, store::Checkpoint};

/// The stream that holds the log of every task.
const STREAM: &str = "TASK_LOG";

/// The server's number for a stream that is not there.
const STREAM_NOT_FOUND: u32 = 10_059;

/// The server's number for a message that is not there.
const MESSAGE_NOT_FOUND: u32 = 10_037;

/// The stream as it is now.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// When it was made, as the server writes it.
    pub(super) created: String,
    /// The sequence of its newest message; it stays when messages are purged.
    pub(super) last_seq: u64,
}

/// A message, and how many there were after it when it was read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) message: Message,
    pub(super) pending: u64,
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

#[derive(Deserialize)]
struct Got {
    message: Raw,
}

#[derive(Deserialize)]
struct Raw {
    seq: u64,
    subject: String,
    time: Time,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

async fn get(bus: &Bus, seq: u64) -> Result<Option<Raw>, RequestError> {
    let body = json!({ "seq": seq, "next_by_subj": bus.subjects().logs().as_str() });
    match bus.api::<Got>(&format!("STREAM.MSG.GET.{STREAM}"), &body).await {
        Ok(got) => Ok(Some(got.message)),
        Err(fault) if fault.refusal() == Some(MESSAGE_NOT_FOUND) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Whether there is no message of this org's tasks at `seq` or after.
pub(super) async fn is_empty_from(bus: &Bus, seq: u64) -> Result<bool, RequestError> {
    Ok(get(bus, seq).await?.is_none())
}

pub(super) struct Reader {
    bus: Bus,
    next: u64,
}

impl Reader {
    pub(super) fn open(bus: &Bus, from: u64) -> Self {
        Self { bus: bus.clone(), next: from }
    }

    pub(super) async fn next(&mut self) -> Result<Found, RequestError> {
        loop {
            if let Some(raw) = get(&self.bus, self.next).await? {
                self.next = raw.seq + 1;
                let more = get(&self.bus, self.next).await?;
                let headers = BASE64_STANDARD.decode(&raw.hdrs).unwrap_or_default();
                let headers = String::from_utf8_lossy(&headers).into_owned();
                let header = |name: &str| {
                    headers
                        .lines()
                        .filter_map(|line| line.split_once(':'))
                        .find(|(key, _)| *key == name)
                        .map(|(_, value)| value.trim().to_owned())
                };
                let message = Message {
                    seq: raw.seq,
                    subject: raw.subject,
                    stored_at: raw.time,
                    expected: header(header::EXPECTED_SEQ).and_then(|text| text.parse().ok()),
                    token: header(header::MSG_ID),
                    payload: BASE64_STANDARD.decode(&raw.data).unwrap_or_default().into(),
                };
                return Ok(Found { message, pending: u64::from(more.is_some()) });
            }
            clock::pause(VIEW_LOOK_EVERY).await;
        }
    }
}
