//! Names that are valid by construction. Text from outside becomes one of these types at the
//! border, or an [`IdError`] that says what is wrong; inside, nothing needs to check again. Each is
//! one token of a subject, so none holds a dot, a blank or a wildcard.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{
    limits::{ID_BYTES, NAME_BYTES, SCHEDULE_NAME_BYTES, head},
    time::Time,
};

/// A name that Sinew does not accept, and why.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not {kind}: {why}")]
pub struct IdError {
    /// What it was meant to be, with its article: `a role`.
    pub kind: &'static str,
    /// The refused text, cut to a readable length.
    pub text: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

/// What a name may look like.
struct Rule {
    kind: &'static str,
    longest: usize,
    /// Roles and orgs are lower case, so that `CTO` and `cto` can't be two roles.
    lower: bool,
    reserved: &'static [&'static str],
}

impl Rule {
    fn check(&self, text: &str) -> Result<(), IdError> {
        let refuse = |why| Err(IdError { kind: self.kind, text: head(text, 80).to_owned(), why });
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.len() > self.longest {
            return refuse("it is too long");
        }
        let letter = |c: char| {
            c.is_ascii_digit()
                || if self.lower { c.is_ascii_lowercase() } else { c.is_ascii_alphabetic() }
        };
        if !text.chars().all(|c| letter(c) || c == '-' || c == '_') {
            return refuse(if self.lower {
                "only a-z, 0-9, '-' and '_' are allowed"
            } else {
                "only letters, digits, '-' and '_' are allowed"
            });
        }
        if !text.starts_with(letter) {
            return refuse("it must begin with a letter or a digit");
        }
        if self.reserved.contains(&text) {
            return refuse("this name is reserved");
        }
        Ok(())
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $rule:expr, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            const RULE: Rule = $rule;

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::RULE.check(text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::RULE.check(&text).map(|()| Self(text))
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "pattern": $pattern,
                    "maxLength": Self::RULE.longest,
                })
            }
        }
    };
}

name!(
    /// A job that agents fill (`cto`), and the address of their work. Lower case; `broadcast`
    /// and `system` are reserved.
    Role,
    Rule { kind: "a role", longest: NAME_BYTES, lower: true, reserved: &["broadcast", "system"] },
    "^[a-z0-9][a-z0-9_-]*$"
);
name!(
    /// An organisation: the tenant. Lower case; `system` is reserved for the platform, and
    /// `broadcast` for messages to everybody.
    OrgId,
    Rule { kind: "an org id", longest: NAME_BYTES, lower: true, reserved: &["broadcast", "system"] },
    "^[a-z0-9][a-z0-9_-]*$"
);
name!(
    /// A task, for ever: an id is never used again.
    TaskId,
    Rule { kind: "a task id", longest: ID_BYTES, lower: false, reserved: &[] },
    "^[A-Za-z0-9][A-Za-z0-9_-]*$"
);
name!(
    /// A meeting.
    MeetingId,
    Rule { kind: "a meeting id", longest: ID_BYTES, lower: false, reserved: &[] },
    "^[A-Za-z0-9][A-Za-z0-9_-]*$"
);
name!(
    /// A message to everybody.
    BroadcastId,
    Rule { kind: "the id of a broadcast", longest: ID_BYTES, lower: false, reserved: &[] },
    "^[A-Za-z0-9][A-Za-z0-9_-]*$"
);
name!(
    /// A recurring task. Lower case; short, since its firings' ids begin with it.
    ScheduleName,
    Rule { kind: "a schedule's name", longest: SCHEDULE_NAME_BYTES, lower: true, reserved: &[] },
    "^[a-z0-9][a-z0-9_-]*$"
);
name!(
    /// One running place of a role, by a name that outlives a restart (`cto-0`).
    InstanceId,
    Rule { kind: "an instance name", longest: ID_BYTES, lower: false, reserved: &[] },
    "^[A-Za-z0-9][A-Za-z0-9_-]*$"
);
name!(
    /// The first token of every subject: `genbrain` unless a deployment sets another.
    Root,
    Rule { kind: "a subject root", longest: NAME_BYTES, lower: true, reserved: &[] },
    "^[a-z0-9][a-z0-9_-]*$"
);

impl Default for Root {
    fn default() -> Self {
        Self("genbrain".to_owned())
    }
}

impl TaskId {
    /// The id of what a task makes as its effect `key`: the same for every attempt, so that an
    /// effect that is carried out twice is one effect.
    #[must_use]
    pub fn of_effect(parent: &Self, key: &str) -> Self {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        hash.update(parent.0.as_bytes());
        hash.update([0]);
        hash.update(key.as_bytes());
        Self(format!("t{}", hex(&hash.finalize(), 12)))
    }

    /// The id of the task that a recurring one makes when it fires: the same whoever carries the
    /// firing out and however often, so that a doubled firing is one task. `nightly` at
    /// 2026-05-10T02:00:00Z is `nightly-20260510T020000Z`.
    #[must_use]
    pub fn of_firing(name: &ScheduleName, moment: Time) -> Self {
        let moment = moment.to_string();
        let fits = ID_BYTES - SCHEDULE_NAME_BYTES - 1;
        let stamp: String = moment.chars().filter(char::is_ascii_alphanumeric).take(fits).collect();
        Self(format!("{name}-{stamp}"))
    }

    /// The id of the task that an action item of a meeting becomes: the same whoever delegates it
    /// and however often.
    #[must_use]
    pub fn of_action(meeting: &MeetingId, number: u32) -> Self {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        hash.update(meeting.0.as_bytes());
        hash.update([0]);
        hash.update(number.to_be_bytes());
        Self(format!("action-{}", hex(&hash.finalize(), 12)))
    }

    /// The id under which a message that is no task is kept: the same for every delivery of it.
    #[must_use]
    pub fn of_undecodable(queue_seq: u64, bytes: &[u8]) -> Self {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        hash.update(queue_seq.to_be_bytes());
        hash.update(bytes);
        Self(format!("undecodable-{}", hex(&hash.finalize(), 12)))
    }
}

impl MeetingId {
    /// The id of a meeting that was given none: made of a word that nobody else has.
    #[must_use]
    pub fn unnamed(unique: &str) -> Self {
        let clean: String = unique.chars().filter(char::is_ascii_alphanumeric).collect();
        Self(format!("m{}", head(&clean, ID_BYTES - 1)))
    }
}

impl InstanceId {
    /// The name of an instance of `role` that was given none: the role and the end of a word that
    /// nobody else has.
    #[must_use]
    pub fn unnamed(role: &Role, unique: &str) -> Self {
        let fits = ID_BYTES - NAME_BYTES - 1;
        let clean: String = unique.chars().filter(char::is_ascii_alphanumeric).collect();
        Self(format!("{role}-{}", crate::limits::tail(&clean, fits)))
    }
}

pub(crate) fn hex(bytes: &[u8], take: usize) -> String {
    use fmt::Write as _;
    bytes.iter().take(take).fold(String::new(), |mut out, byte| {
        // Writing to a String cannot fail.
        write!(out, "{byte:02x}").ok();
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_names_are_accepted() {
        for role in ["ceo", "cto", "marketing", "qa-2"] {
            assert_eq!(role.parse::<Role>().unwrap().as_str(), role);
        }
        assert!("org_abc123".parse::<OrgId>().is_ok());
        assert!("task_xyz789".parse::<TaskId>().is_ok());
        assert!("01JD-Zz_9".parse::<TaskId>().is_ok());
    }

    #[test]
    fn what_would_break_a_subject_is_refused() {
        for text in ["", "a.b", "a b", "*", ">", "a*", "a\n", "ä", "-a", "_a", "$SYS", "a/b"] {
            assert!(text.parse::<Role>().is_err(), "role {text:?}");
            assert!(text.parse::<TaskId>().is_err(), "task {text:?}");
        }
        assert!("CTO".parse::<Role>().is_err(), "roles are lower case");
        assert!("x".repeat(65).parse::<TaskId>().is_err());
    }

    #[test]
    fn reserved_names_are_refused_with_the_reason() {
        for text in ["broadcast", "system"] {
            assert_eq!(text.parse::<Role>().unwrap_err().why, "this name is reserved");
            assert!(text.parse::<OrgId>().is_err());
        }
    }

    #[test]
    fn json_cannot_smuggle_a_bad_name_in() {
        assert!(serde_json::from_str::<Role>("\"a.b\"").is_err());
        assert!(serde_json::from_str::<Role>("\"cto\"").is_ok());
    }

    #[test]
    fn effects_have_one_id_whatever_the_attempt() {
        let parent: TaskId = "T1".parse().unwrap();
        assert_eq!(TaskId::of_effect(&parent, "0"), TaskId::of_effect(&parent, "0"));
        assert_ne!(TaskId::of_effect(&parent, "0"), TaskId::of_effect(&parent, "1"));
        assert!(TaskId::of_effect(&parent, "x").as_str().parse::<TaskId>().is_ok());
    }
}
