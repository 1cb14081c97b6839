//! Looks at every stream of the catalogue and says what is to be done. Changes nothing.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use sinew_model::stream::{Discard, StreamSpec};

use super::{EnsureError, Info, Topology, compare, info, wanted};
use crate::{
    connect::Bus,
    ensure::compare::{Change, Difference},
};

/// What a server has and is to have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Every stream of the catalogue, in the order in which they are made.
    pub streams: Vec<StreamPlan>,
}

/// One stream of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StreamPlan {
    /// The stream.
    pub stream: &'static str,
    /// How it stands.
    #[serde(flatten)]
    pub state: StreamState,
}

/// How a stream stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", content = "differences", rename_all = "camelCase")]
pub enum StreamState {
    /// It is not there.
    Missing,
    /// It is as it is to be.
    Same,
    /// It is there and differs.
    Drift(Vec<Difference>),
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.iter().all(|stream| stream.state == StreamState::Same)
    }
}

impl Topology {
    /// Compares the server with the catalogue.
    ///
    /// # Errors
    /// See [`EnsureError`].
    pub async fn plan(&self, bus: &Bus) -> Result<Plan, EnsureError> {
        let mut streams = Vec::new();
        for spec in &self.catalogue.streams {
            let found = info(bus, spec.name).await?;
            let state = found.map_or(StreamState::Missing, |info| {
                match drift(spec, &wanted(bus, spec), &info) {
                    drift if drift.is_empty() => StreamState::Same,
                    drift => StreamState::Drift(drift),
                }
            });
            streams.push(StreamPlan { stream: spec.name, state });
        }
        Ok(Plan { streams })
    }
}

/// How a stream differs from its specification.
pub(super) fn drift(
    spec: &StreamSpec,
    wanted: &Map<String, Value>,
    info: &Info,
) -> Vec<Difference> {
    compare::compare(wanted, &info.config, |field| change(spec, info, field))
}

fn change(spec: &StreamSpec, info: &Info, field: &str) -> Change {
    let is_on = || info.config.get(field).and_then(Value::as_bool).unwrap_or(false);
    let impossible = match field {
        "retention" | "storage" => true,
        // These can be switched on, and never off again.
        "allow_msg_ttl" | "allow_msg_schedules" => is_on(),
        _ => false,
    };
    if impossible {
        return Change::Impossible;
    }
    let over = |limit: i64, stored: u64| {
        spec.discard == Discard::Old && u64::try_from(limit).is_ok_and(|limit| stored > limit)
    };
    let messages = over(spec.max_msgs, info.state.messages);
    let bytes = over(spec.max_bytes, info.state.bytes);
    let deletes = match field {
        "max_msgs" => messages,
        "max_bytes" => bytes,
        // A stream that refuses may hold more than its limit; one that drops may not.
        "discard" => messages || bytes,
        "max_age" => !spec.max_age.is_zero() && oldest(info) > spec.max_age,
        _ => false,
    };
    if deletes { Change::DeletesMessages } else { Change::InPlace }
}

/// How old the oldest message of a stream is.
fn oldest(info: &Info) -> Duration {
    match (info.ts, info.state.first_ts) {
        (Some(now), Some(first)) if info.state.messages > 0 => now.since(first),
        // Without times nothing can be said, so everything counts as old.
        (None, _) | (_, None) if info.state.messages > 0 => Duration::MAX,
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sinew_model::{
        Root, Subjects,
        stream::{AGENT_TASKS, Catalogue},
    };

    use super::*;

    /// How changing AGENT_TASKS to `set`, from `found`, counts for each field that differs.
    fn changes(set: impl FnOnce(&mut StreamSpec), found: Value) -> Vec<(String, Change)> {
        let subjects = Subjects::new(Root::default(), "acme".parse().unwrap());
        let mut spec = Catalogue::standard(&subjects).stream(AGENT_TASKS).unwrap().clone();
        spec.replicas = Some(1);
        let mut config = super::super::object(&spec);
        for (field, value) in found.as_object().unwrap() {
            config.insert(field.clone(), value.clone());
        }
        set(&mut spec);
        let info: Info = serde_json::from_value(json!({
            "config": config, "ts": "2026-05-10T14:23:01Z",
            "state": { "messages": 10, "bytes": 1000, "first_ts": "2026-05-10T14:22:01Z" },
        }))
        .unwrap();
        let drift = drift(&spec, &super::super::object(&spec), &info);
        drift.into_iter().map(|it| (it.field, it.change)).collect()
    }

    #[test]
    fn what_would_delete_messages_is_known_beforehand() {
        let check = |set: fn(&mut StreamSpec), found, expect: &[(&str, Change)]| {
            let expect: Vec<_> = expect.iter().map(|(f, c)| ((*f).to_owned(), *c)).collect();
            assert_eq!(changes(set, found), expect);
        };
        let old = || json!({ "discard": "old" });
        check(|_| {}, json!({}), &[]);
        check(|s| s.max_msgs = 9, json!({}), &[("max_msgs", Change::InPlace)]);
        check(
            |s| (s.discard, s.max_msgs) = (Discard::Old, 9),
            old(),
            &[("max_msgs", Change::DeletesMessages)],
        );
        check(
            |s| (s.discard, s.max_msgs) = (Discard::Old, 10),
            old(),
            &[("max_msgs", Change::InPlace)],
        );
        check(
            |s| (s.discard, s.max_bytes) = (Discard::Old, 999),
            json!({}),
            &[("discard", Change::DeletesMessages), ("max_bytes", Change::DeletesMessages)],
        );
        check(|s| s.discard = Discard::Old, json!({}), &[("discard", Change::InPlace)]);
        check(
            |s| s.max_age = Duration::from_secs(59),
            json!({}),
            &[("max_age", Change::DeletesMessages)],
        );
        check(|s| s.max_age = Duration::from_secs(61), json!({}), &[("max_age", Change::InPlace)]);
        check(|_| {}, json!({ "max_age": 1 }), &[("max_age", Change::InPlace)]);
    }

    #[test]
    fn what_can_never_be_changed_is_known_beforehand() {
        let found = json!({ "retention": "limits", "storage": "memory", "allow_msg_ttl": true });
        let expect = ["allow_msg_ttl", "retention", "storage"];
        let expect = expect.map(|field| (field.to_owned(), Change::Impossible));
        assert_eq!(changes(|_| {}, found), expect);
        let on = changes(|s| s.allow_msg_ttl = true, json!({}));
        assert_eq!(on, [("allow_msg_ttl".to_owned(), Change::InPlace)]);
    }
}
