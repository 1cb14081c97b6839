//! A stored message, whichever way it was read: by the leader's API (JSON, base64), by a direct get
//! (headers that say where it is stored) or by a consumer (its reply subject says so).

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use sinew_model::Time;

use crate::delivery::{Meta, header};

/// A message as the stream stored it.
#[derive(Clone, Debug)]
pub struct RawMessage {
    /// Its sequence in the stream.
    pub seq: u64,
    /// The subject that it was published on.
    pub subject: String,
    /// When the server stored it.
    pub time: Time,
    /// The body.
    pub payload: Bytes,
    /// How many more there are, where the way of reading says so; else 0.
    pub pending: u64,
    headers: Option<HeaderMap>,
}

impl RawMessage {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(self.headers.as_ref(), name)
    }

    /// All headers, sorted by name; several values of one name in their order.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        let named = |(name, values): (&HeaderName, &Vec<HeaderValue>)| {
            let name = name.to_string();
            let pair = move |value: &HeaderValue| (name.clone(), value.to_string());
            values.iter().map(pair).collect::<Vec<_>>()
        };
        let map = self.headers.as_ref();
        let mut all: Vec<_> = map.into_iter().flat_map(HeaderMap::iter).flat_map(named).collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    }

    /// Reads the answer to a direct get; `None` where it is not one.
    pub(super) fn from_direct(message: async_nats::Message) -> Option<Self> {
        let said = |name| header(message.headers.as_ref(), name);
        let number = |name| said(name).and_then(|text| text.parse::<u64>().ok());
        Some(Self {
            seq: number("Nats-Sequence")?,
            subject: said("Nats-Subject")?.to_owned(),
            time: said("Nats-Time-Stamp")?.parse().ok()?,
            pending: number("Nats-Num-Pending").unwrap_or(0),
            payload: message.payload,
            headers: message.headers,
        })
    }

    /// Reads what a consumer delivered.
    pub(super) fn from_delivery(message: async_nats::Message, meta: &Meta) -> Self {
        Self {
            seq: meta.stream_seq,
            subject: message.subject.to_string(),
            time: meta.stored,
            payload: message.payload,
            pending: meta.pending,
            headers: message.headers,
        }
    }
}

/// A message as the leader's API gives it.
#[derive(Deserialize)]
pub(super) struct Encoded {
    subject: String,
    seq: u64,
    time: Time,
    #[serde(default)]
    data: String,
    #[serde(default)]
    hdrs: String,
}

impl Encoded {
    pub(super) fn decode(self) -> Result<RawMessage, String> {
        let bytes = |text: &str| STANDARD.decode(text).map_err(|error| error.to_string());
        let headers = headers(&bytes(&self.hdrs)?)?;
        Ok(RawMessage {
            seq: self.seq,
            subject: self.subject,
            time: self.time,
            payload: bytes(&self.data)?.into(),
            pending: 0,
            headers,
        })
    }
}

/// Reads a block of headers: a line that names the format, one line each, an empty line.
fn headers(block: &[u8]) -> Result<Option<HeaderMap>, String> {
    if block.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(block).map_err(|error| error.to_string())?;
    let mut lines = text.split("\r\n");
    let format = lines.next().unwrap_or_default();
    if !format.starts_with("NATS/1.0") {
        return Err(format!("headers of the format {format:?}"));
    }
    let mut map = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("the header {line:?}"))?;
        let what = |error: &dyn std::fmt::Display| format!("the header {line:?}: {error}");
        let name: HeaderName = name.parse().map_err(|error| what(&error))?;
        let value: HeaderValue = value.trim().parse().map_err(|error| what(&error))?;
        map.append(name, value);
    }
    Ok(Some(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_leaders_api_are_read() {
        let map = headers(b"NATS/1.0\r\nNats-Msg-Id: T1:2\r\nA:b:c\r\nA: d\r\n\r\n").unwrap();
        assert_eq!(header(map.as_ref(), "Nats-Msg-Id"), Some("T1:2"));
        assert_eq!(header(map.as_ref(), "A"), Some("b:c"), "the first value, colon and all");
        assert_eq!(header(map.as_ref(), "B"), None);
        assert!(headers(b"").unwrap().is_none());
        assert!(headers(b"HTTP/1.1\r\n").is_err());
        assert!(headers(b"NATS/1.0\r\nno colon\r\n").is_err());
        assert!(headers(&[0xff, 0xfe]).is_err());
    }
}
