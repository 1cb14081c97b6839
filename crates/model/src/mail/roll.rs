//! Who has acknowledged a message to everybody, and who has not.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Mail;
use crate::{
    id::{BroadcastId, Role},
    time::Time,
};

/// That a role has taken note of a message to everybody, on
/// `genbrain.agents.{role}.acknowledged.{broadcast}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledgement {
    /// The message.
    pub broadcast: BroadcastId,
    /// The role that has taken note.
    pub by: Role,
    /// When, by its own clock; the time at which it was stored counts.
    pub at: Time,
    /// What it has to say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Fields that this version does not know; they are kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A role that has taken note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledged {
    /// The role.
    pub role: Role,
    /// When it was stored.
    pub at: Time,
    /// Whether that was after the deadline.
    pub late: bool,
    /// Whether it was asked to.
    pub expected: bool,
    /// What it had to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Who has acknowledged, and who has not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Roll {
    /// Those that have, in the order of their names.
    pub acknowledged: Vec<Acknowledged>,
    /// Those that were asked to and have not.
    pub missing: Vec<Role>,
    /// Whether the deadline has passed.
    pub over: bool,
}

impl Roll {
    /// Whether nothing more is waited for: all have acknowledged, or the deadline has passed.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        self.over || self.missing.is_empty()
    }
}

/// Reads the roll: `stored` are the acknowledgements with the times at which they were stored, in
/// any order. Of several of one role the earliest counts.
#[must_use]
pub fn roll(
    mail: &Mail,
    stored: impl IntoIterator<Item = (Acknowledgement, Time)>,
    now: Time,
) -> Roll {
    let mut first: BTreeMap<Role, (Time, Option<String>)> = BTreeMap::new();
    for (it, at) in stored {
        let known = first.entry(it.by).or_insert_with(|| (at, it.note.clone()));
        if at < known.0 {
            *known = (at, it.note);
        }
    }
    let missing = mail.audience.iter().filter(|role| !first.contains_key(*role)).cloned();
    let missing = missing.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    let acknowledged = first.into_iter().map(|(role, (at, note))| Acknowledged {
        late: mail.acknowledge_by.is_some_and(|by| at > by),
        expected: mail.audience.contains(&role),
        role,
        at,
        note,
    });
    Roll {
        acknowledged: acknowledged.collect(),
        missing,
        over: mail.acknowledge_by.is_some_and(|by| now > by),
    }
}
