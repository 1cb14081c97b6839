//! A message as it goes over the wire, with what group commit has to know about it.

use std::str::FromStr as _;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use sinew_model::{header, limits};

use super::{Guard, Outgoing};

/// Bytes of the line that opens a block of headers and of the empty one that ends it.
const HEADER_BLOCK_BYTES: usize = 12 + 2;

/// Bytes of a header besides its name and value: a colon, a blank, the end of the line.
const HEADER_LINE_BYTES: usize = 4;

/// The headers that only the bus sets; in lower case, since a name that differs from them by case
/// alone is a mistake.
const RESERVED: [&str; 4] = ["nats-msg-id", "nats-expected-", "nats-batch-", "sinew-subject"];

/// A message, ready to be sent alone or in a batch.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) payload: Bytes,
    pub(crate) headers: HeaderMap,
    /// The message id. Without one, it may not be sent again after its answer was lost.
    pub(crate) id: Option<String>,
    /// The subject that its guard watches. Two of one guard in one batch would both pass.
    pub(crate) guard: Option<String>,
    /// Its size, headers included.
    pub(crate) bytes: usize,
}

impl Message {
    /// # Errors
    /// The name of a header that can't be sent.
    pub(crate) fn new(out: Outgoing) -> Result<Self, String> {
        let Outgoing { stream, subject, payload, id, guard, headers, .. } = out;
        if let Some((name, _)) = headers.iter().find(|(name, _)| is_reserved(name)) {
            return Err(name.clone());
        }
        Self::build(&stream, subject.into(), payload, (id, guard), headers)
    }

    /// # Errors
    /// The name of a header that can't be sent.
    pub(crate) fn build(
        stream: &str,
        subject: String,
        payload: Bytes,
        (id, guard): (Option<String>, Option<Guard>),
        own: Vec<(String, String)>,
    ) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        let mut bytes = payload.len() + HEADER_BLOCK_BYTES;
        let mut add = |name: &str, value: &str| -> Result<(), String> {
            let refused = || name.to_owned();
            // The conversions without an error panic at a line break.
            let key = HeaderName::from_str(name).ok().ok_or_else(refused)?;
            let value = HeaderValue::from_str(value).ok().ok_or_else(refused)?;
            bytes += name.len() + value.as_str().len() + HEADER_LINE_BYTES;
            headers.append(key, value);
            Ok(())
        };
        add(header::EXPECTED_STREAM, stream)?;
        if let Some(id) = &id {
            add(header::MSG_ID, id)?;
        }
        if let Some(Guard { filter, seq }) = &guard {
            add(header::EXPECTED_SEQ, &seq.to_string())?;
            add(header::EXPECTED_SUBJECT, filter)?;
        }
        for (name, value) in &own {
            add(name, value)?;
        }
        let guard = guard.map(|guard| guard.filter);
        Ok(Self { subject, payload, headers, id, guard, bytes })
    }

    /// Whether it must not share a batch, because the batch's headers would not fit.
    pub(crate) const fn is_bulky(&self, max_payload: usize) -> bool {
        self.bytes + limits::BATCH_HEADER_BYTES > max_payload
    }
}

/// Whether only the bus may set this header.
pub(crate) fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    RESERVED.iter().any(|reserved| name.starts_with(reserved))
}

#[cfg(test)]
mod tests {
    use sinew_model::{Root, Subjects};

    use super::*;

    fn event() -> Outgoing {
        let subjects = Subjects::new(Root::default(), "acme".parse().unwrap());
        Outgoing::new("ORG_EVENTS", subjects.events(), "{}")
    }

    #[test]
    fn headers_that_only_the_bus_sets_are_refused() {
        let check = |name: &str, expect: bool| {
            let made = Message::new(event().header(name, "x"));
            assert_eq!(made.map(|_| ()).is_ok(), expect, "{name}");
        };
        check("traceparent", true);
        check("Nats-Schedule", true);
        check("Nats-Msg-Id", false);
        check("nats-expected-last-sequence", false);
        check("Nats-Batch-Commit", false);
        check("Sinew-Subject", false);
        check("a:b", false);
    }

    #[test]
    fn a_line_break_in_a_header_is_an_error() {
        let made = Message::new(event().id("a\r\nNats-Batch-Id: b"));
        assert_eq!(made.unwrap_err(), header::MSG_ID);
    }

    #[test]
    fn the_size_is_that_on_the_wire() {
        let message = Message::new(event()).unwrap();
        let wire = "NATS/1.0\r\nNats-Expected-Stream: ORG_EVENTS\r\n\r\n{}";
        assert!(message.bytes >= wire.len(), "{} below {}", message.bytes, wire.len());
        assert!(message.bytes <= wire.len() + 8, "{} above {}", message.bytes, wire.len());
    }
}
