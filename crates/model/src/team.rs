//! A team as a file says it: for each role the command that makes an agent, and how it is scaled.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    id::Role,
    limits::TEAM_ROLES,
    scale::{Policy, PolicyError},
};

/// The beginning of the variables that an agent sets for its programs; a team sets none of them.
const RESERVED: &str = "SINEW_";

/// Every role of a team.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "team.toml")]
pub struct Team {
    /// By the name of the role.
    #[serde(default)]
    pub roles: BTreeMap<Role, Member>,
}

/// One role of a team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
#[schemars(with = "Written")]
pub struct Member {
    /// How it is started on a machine; `None` where others start it.
    pub start: Option<Start>,
    /// How it is scaled.
    pub policy: Policy,
}

/// How an instance is started on a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The program that is run for each task, and its arguments.
    pub command: Vec<String>,
    /// Its working folder, from the folder of the file.
    pub cwd: Option<String>,
    /// Variables that it has besides.
    pub env: BTreeMap<String, String>,
}

/// A role as it is written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Role")]
struct Written {
    /// The program that is run for each task, and its arguments, as `["python3", "agent.py"]`.
    /// Left away where others start the agents, and only the scaler is to know the role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    command: Vec<String>,
    /// The working folder of the program, from the folder of this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cwd: Option<String>,
    /// Variables that the program has besides.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, String>,
    /// Fewest instances; 0 lets the role sleep, and is the default.
    min: Option<u32>,
    /// Most instances; 1 by default.
    max: Option<u32>,
    /// Tasks that one instance works on at a time; 5 by default.
    concurrency: Option<u32>,
    /// For how long fewer instances must be enough before there are fewer; `60s` by default.
    #[schemars(with = "Option<String>")]
    cooldown: Option<Text>,
    /// Instances by which the role grows in one step of a second; 10 by default.
    burst: Option<u32>,
    /// How long what waits may take, by how long tasks took of late. Short tasks then start fewer
    /// instances; without it each task that waits is to have a place.
    #[schemars(with = "Option<String>")]
    patience: Option<Text>,
    /// Windows of a calendar in which there are other bounds; the first that holds counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    schedule: Vec<crate::scale::Window>,
}

/// A span as it is written, checked where it stands, so that a fault names its line.
#[derive(Clone, Debug)]
struct Text(std::time::Duration);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        crate::stream::Span::deserialize(from).map(|span| Self(span.0))
    }
}

impl Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&format!("{}ms", self.0.as_millis()))
    }
}

/// Why a team makes no sense. Each names the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TeamError {
    /// How it is scaled makes no sense.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// There is no program.
    #[error("`command` begins with the name of a program")]
    Program,
    /// What is for the program of a role, and there is none.
    #[error("`{key}` is of use with a `command` only")]
    NoCommand {
        /// The key.
        key: &'static str,
    },
    /// A variable that can't be set.
    #[error(
        "`env` can't set {name:?}: a name is not empty, has no =, and does not begin with SINEW_"
    )]
    Variable {
        /// Its name.
        name: String,
    },
    /// Text that can't be handed to a program.
    #[error("`{key}` has a character that no program can be handed")]
    Character {
        /// The key.
        key: &'static str,
    },
    /// Too many roles.
    #[error("`roles` has more than {TEAM_ROLES} roles")]
    Roles,
}

impl Team {
    /// # Errors
    /// When there are too many roles.
    pub fn check(&self) -> Result<(), TeamError> {
        if self.roles.len() > TEAM_ROLES { Err(TeamError::Roles) } else { Ok(()) }
    }
}

impl TryFrom<Written> for Member {
    type Error = TeamError;

    fn try_from(it: Written) -> Result<Self, TeamError> {
        let usual = Policy::default();
        let policy = Policy {
            min: it.min.unwrap_or(usual.min),
            // Whoever says a minimum alone means at least that many.
            max: it.max.unwrap_or_else(|| usual.max.max(it.min.unwrap_or_default())),
            concurrency: it.concurrency.unwrap_or(usual.concurrency),
            cooldown: it.cooldown.map_or(usual.cooldown, |text| text.0),
            burst: it.burst.unwrap_or(usual.burst),
            patience: it.patience.map_or(usual.patience, |text| text.0),
            schedule: it.schedule,
        };
        policy.check()?;
        let start = match it.command.first() {
            Some(program) if program.is_empty() => return Err(TeamError::Program),
            Some(_) => Some(Start { command: it.command, cwd: it.cwd, env: it.env }),
            None if it.cwd.is_some() => return Err(TeamError::NoCommand { key: "cwd" }),
            None if !it.env.is_empty() => return Err(TeamError::NoCommand { key: "env" }),
            None => None,
        };
        if let Some(start) = &start {
            start.check()?;
        }
        Ok(Self { start, policy })
    }
}

impl Start {
    fn check(&self) -> Result<(), TeamError> {
        let broken = |text: &String| text.contains('\0');
        let fault = |key| Err(TeamError::Character { key });
        if self.command.iter().any(broken) {
            return fault("command");
        }
        if self.cwd.iter().any(broken) {
            return fault("cwd");
        }
        if self.env.values().any(broken) {
            return fault("env");
        }
        let refused = |name: &str| {
            name.is_empty() || name.starts_with(RESERVED) || name.contains(['=', '\0'])
        };
        match self.env.keys().find(|name| refused(name)) {
            Some(name) => Err(TeamError::Variable { name: name.clone() }),
            None => Ok(()),
        }
    }
}

impl From<Member> for Written {
    fn from(Member { start, policy }: Member) -> Self {
        let (command, cwd, env) =
            start.map_or_else(Default::default, |it| (it.command, it.cwd, it.env));
        Self {
            command,
            cwd,
            env,
            min: Some(policy.min),
            max: Some(policy.max),
            concurrency: Some(policy.concurrency),
            cooldown: Some(Text(policy.cooldown)),
            burst: Some(policy.burst),
            patience: Some(Text(policy.patience)),
            schedule: policy.schedule,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn member(value: serde_json::Value) -> Result<Member, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_is_as_usual() {
        let it = member(json!({ "command": ["wc", "-w"] })).unwrap();
        assert_eq!(it.policy, Policy::default());
        assert_eq!(it.start.unwrap().command, ["wc", "-w"]);
        assert_eq!(member(json!({ "min": 3 })).unwrap().policy.max, 3);
        let it = member(json!({ "cooldown": "2s", "schedule": [
            { "cron": "0 9 * * MON-FRI", "zone": "Europe/Berlin", "for": "8h", "min": 1 }] }));
        let policy = it.unwrap().policy;
        let limits = |at: &str| policy.at(at.parse().unwrap());
        assert_eq!(limits("2026-05-11T07:00:00Z").min, 1, "nine in summer, in Berlin");
        assert_eq!(limits("2026-05-11T14:59:59Z").min, 1);
        assert_eq!(limits("2026-05-11T15:00:00Z").min, 0);
        assert_eq!(limits("2026-05-10T07:00:00Z").min, 0, "on a Sunday");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let it = member(json!({ "command": ["a"], "cwd": "b", "env": { "C": "d" }, "max": 2,
            "schedule": [{ "cron": "0 9 * * *", "for": "8h", "max": 4 }] }))
        .unwrap();
        let text = serde_json::to_value(&it).unwrap();
        assert_eq!(member(text).unwrap(), it);
    }

    #[test]
    fn every_wrong_value_is_refused_with_the_key() {
        let check = |value, expect: &str| {
            let fault = member(value).unwrap_err();
            assert!(fault.contains(expect), "{fault}");
        };
        check(json!({ "comand": ["a"] }), "unknown field `comand`");
        check(json!({ "command": [""] }), "`command` begins");
        check(json!({ "command": ["a\0"] }), "`command` has a character");
        check(json!({ "cwd": "x" }), "`cwd` is of use");
        check(json!({ "command": ["a"], "env": { "SINEW_URL": "x" } }), "can't set \"SINEW_URL\"");
        check(json!({ "command": ["a"], "env": { "A=B": "x" } }), "`env` can't set");
        check(json!({ "min": 2, "max": 1 }), "`min` (2) must not be above `max` (1)");
        check(json!({ "max": 1001 }), "`max` must be 0 to 1000");
        check(json!({ "concurrency": 0 }), "`concurrency` must be 1 to 1000");
        check(json!({ "burst": 0 }), "`burst` must be 1 to 1000");
        check(json!({ "cooldown": "soon" }), "\"soon\" is not a time");
        check(json!({ "cooldown": "25h" }), "`cooldown` must be 0s to 24h");
        check(json!({ "schedule": [{ "cron": "x", "for": "1h" }] }), "`schedule[0].cron`");
        check(json!({ "schedule": [{ "cron": "0 9 * * *", "for": "0s" }] }), "`schedule.for`");
        check(
            json!({ "schedule": [{ "cron": "0 9 * * *", "for": "1h", "min": 3, "max": 2 }] }),
            "`min` (3) must not",
        );
    }
}
