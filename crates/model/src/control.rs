//! The control of flow: what was said about a role, or about one instance of it. The newest record
//! of each is kept until another one takes its place, so it also holds for whoever starts later.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    id::{InstanceId, Role},
    time::Time,
};

/// Who is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Every instance of a role, also those that start later.
    Role(Role),
    /// One instance of a role, by its name; also the next process of that name.
    Instance(Role, InstanceId),
}

impl Target {
    /// The role that is meant, or whose instance is.
    #[must_use]
    pub const fn role(&self) -> &Role {
        match self {
            Self::Role(role) | Self::Instance(role, _) => role,
        }
    }

    /// The instance, if only one is meant.
    #[must_use]
    pub const fn instance(&self) -> Option<&InstanceId> {
        match self {
            Self::Role(_) => None,
            Self::Instance(_, instance) => Some(instance),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Role(role) => write!(f, "{role}"),
            Self::Instance(_, instance) => write!(f, "{instance}"),
        }
    }
}

/// What holds for a role, or for one instance of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Control {
    /// When it was said.
    pub at: Time,
    /// Who said it.
    pub by: Role,
    /// While it is there and its time is not over, nothing new is begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// The newest order to drain, by a word of its own. It is for the processes that run when it
    /// is given: one that finds it when it starts does not obey it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<String>,
    /// Fields that this version does not know; they are kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A pause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// When it ends by itself; never if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

impl Pause {
    /// Whether it still holds.
    #[must_use]
    pub fn holds(self, now: Time) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

impl Control {
    /// The pause that holds now, if one does.
    #[must_use]
    pub fn paused(&self, now: Time) -> Option<Pause> {
        self.pause.filter(|pause| pause.holds(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_with_its_time_and_without_one_never() {
        let at = Time::from_micros;
        assert!(Pause { until: None }.holds(at(i64::MAX / 2)));
        let until = Pause { until: Some(at(10)) };
        assert!(until.holds(at(9)) && !until.holds(at(10)));
    }
}
