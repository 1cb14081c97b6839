//! What a deployment sets otherwise than the catalogue: the numbers, never the shape. The names of
//! streams, their subjects and their retention are the contract and can't be set.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer};

use super::{Catalogue, Discard, Storage, StreamSpec};

/// Values that take the place of the catalogue's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// By the name of the stream.
    #[serde(default)]
    pub streams: BTreeMap<String, StreamOverlay>,
    /// What all consumers of work have in common.
    #[serde(default)]
    pub consumers: ConsumerOverlay,
}

/// Values of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamOverlay {
    /// Most messages; -1 for no limit.
    pub max_msgs: Option<i64>,
    /// Most bytes; -1 for no limit.
    pub max_bytes: Option<i64>,
    /// How old a message may grow; `"0s"` for no limit.
    pub max_age: Option<Span>,
    /// Largest message, headers included, in bytes.
    pub max_msg_size: Option<i64>,
    /// For how long a message id is remembered.
    pub duplicate_window: Option<Span>,
    /// What happens to a message that does not fit: `"old"` or `"new"`.
    pub discard: Option<Discard>,
    /// `"file"` or `"memory"`.
    pub storage: Option<Storage>,
    /// On how many servers it is kept: 1, 3 or 5.
    pub replicas: Option<u8>,
}

/// Values of all consumers of work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerOverlay {
    /// How long a delivery may stay without an ack or a renewal of its lease.
    pub ack_wait: Option<Span>,
    /// Deliveries that one role's consumer may have open.
    pub max_ack_pending: Option<i64>,
    /// Pull requests that may wait on one consumer.
    pub max_waiting: Option<i64>,
    /// Deliveries after which the server gives a message up; -1 for never.
    pub max_deliver: Option<i64>,
}

/// A span of time, written as a whole number and a unit: `"20s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let millis = match unit {
            "ms" => Some(1),
            "s" => Some(1_000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            "d" => Some(86_400_000),
            _ => None,
        };
        let number = number.parse::<u64>().ok();
        number
            .zip(millis)
            .and_then(|(number, millis)| number.checked_mul(millis))
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(|| {
                format!(
                    "{text:?} is not a time: a whole number and ms, s, m, h or d, as in \"20s\""
                )
            })
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why an overlay can't be laid over the catalogue.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverlayError {
    /// The catalogue has no such stream.
    #[error("there is no stream {name:?}; there are {known}")]
    Stream {
        /// What was named.
        name: String,
        /// What could have been named.
        known: String,
    },
    /// A value that makes no sense.
    #[error("{key} must be {rule}")]
    Value {
        /// The key, with the table that it is in.
        key: String,
        /// What it must be.
        rule: &'static str,
    },
}

impl Catalogue {
    /// This catalogue with the values of `overlay` in it.
    ///
    /// # Errors
    /// The first value that makes no sense, see [`OverlayError`].
    pub fn overlaid(mut self, overlay: &Overlay) -> Result<Self, OverlayError> {
        for (name, values) in &overlay.streams {
            let known = self.streams.iter().map(|stream| stream.name).collect::<Vec<_>>();
            let found = self.streams.iter_mut().find(|stream| stream.name == name);
            let Some(stream) = found else {
                return Err(OverlayError::Stream { name: name.clone(), known: known.join(", ") });
            };
            lay(stream, values);
            check(stream).map_err(|(key, rule)| OverlayError::Value {
                key: format!("streams.{name}.{key}"),
                rule,
            })?;
        }
        let set = &overlay.consumers;
        let it = &mut self.consumers;
        it.ack_wait = set.ack_wait.map_or(it.ack_wait, |span| span.0);
        it.max_ack_pending = set.max_ack_pending.unwrap_or(it.max_ack_pending);
        it.max_waiting = set.max_waiting.unwrap_or(it.max_waiting);
        it.max_deliver = set.max_deliver.unwrap_or(it.max_deliver);
        let rules = [
            ("ack_wait", !it.ack_wait.is_zero(), "longer than 0s"),
            ("max_ack_pending", it.max_ack_pending > 0, "above 0"),
            ("max_waiting", it.max_waiting > 0, "above 0"),
            ("max_deliver", it.max_deliver == -1 || it.max_deliver > 0, "above 0, or -1 for never"),
        ];
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            None => Ok(self),
            Some((key, _, rule)) => {
                Err(OverlayError::Value { key: format!("consumers.{key}"), rule })
            }
        }
    }
}

fn lay(stream: &mut StreamSpec, values: &StreamOverlay) {
    stream.max_msgs = values.max_msgs.unwrap_or(stream.max_msgs);
    stream.max_bytes = values.max_bytes.unwrap_or(stream.max_bytes);
    stream.max_age = values.max_age.map_or(stream.max_age, |span| span.0);
    stream.max_msg_size = values.max_msg_size.unwrap_or(stream.max_msg_size);
    stream.duplicate_window =
        values.duplicate_window.map_or(stream.duplicate_window, |span| span.0);
    stream.discard = values.discard.unwrap_or(stream.discard);
    stream.storage = values.storage.unwrap_or(stream.storage);
    stream.replicas = values.replicas.or(stream.replicas);
}

/// The first rule that a stream breaks: which key, and what it must be.
fn check(stream: &StreamSpec) -> Result<(), (&'static str, &'static str)> {
    let count = |value: i64| value == -1 || value > 0;
    let aged = !stream.max_age.is_zero();
    let rules = [
        ("max_msgs", count(stream.max_msgs), "above 0, or -1 for no limit"),
        ("max_bytes", count(stream.max_bytes), "above 0, or -1 for no limit"),
        // The server's own field has 32 bits.
        (
            "max_msg_size",
            (1..=i64::from(i32::MAX)).contains(&stream.max_msg_size),
            "1 to 2147483647 bytes",
        ),
        (
            "duplicate_window",
            stream.duplicate_window >= Duration::from_millis(100),
            "100ms or longer",
        ),
        (
            "duplicate_window",
            !aged || stream.duplicate_window <= stream.max_age,
            "no longer than max_age",
        ),
        ("replicas", matches!(stream.replicas, None | Some(1 | 3 | 5)), "1, 3 or 5"),
        (
            "discard",
            !stream.allow_msg_schedules || stream.discard == Discard::Old,
            "\"old\": the server takes nothing else for schedules",
        ),
    ];
    match rules.into_iter().find(|(_, holds, _)| !holds) {
        None => Ok(()),
        Some((key, _, rule)) => Err((key, rule)),
    }
}
