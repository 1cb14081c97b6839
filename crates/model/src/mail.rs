//! What lies in an inbox: direct messages, messages to everybody, and reports about tasks.

mod roll;

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use roll::{Acknowledged, Acknowledgement, Roll, roll};

use crate::{
    id::{IdError, Role, TaskId},
    limits::{AUDIENCE, MAIL_BYTES, MAIL_WORD_BYTES},
    subject::Band,
    task::Transition,
    time::Time,
};

/// One message in a role's inbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mail {
    /// The message's id. A receiver drops an id that it has already handled: a report may be sent
    /// again after a crash, always under the same id.
    pub id: String,
    /// What it is: `task.completed`, `task.progress`, `message`. Unknown kinds are kept.
    #[serde(rename = "type")]
    pub kind: String,
    /// The role that sent it.
    pub from: Role,
    /// The role whose inbox it is, or `broadcast` for everybody.
    pub to: Recipient,
    /// When it was sent.
    pub at: Time,
    /// The task that it reports about, or on whose behalf it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The thread that it belongs to: the id of the thread's first message, or a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The id of the message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
    /// The role that an answer goes to; the sender if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Role>,
    /// Which messages it is read before.
    #[serde(default, skip_serializing_if = "is_normal")]
    pub priority: Band,
    /// Until when a message to everybody wants to be acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledge_by: Option<Time>,
    /// The roles that are expected to acknowledge it, as they were known when it was sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<Role>,
    /// What it says. For a report: the fields of the log entry that it reports.
    #[serde(default)]
    pub body: Value,
    /// Fields that this version does not know; they are kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Whom a message is for: on the wire the name of a role, or `broadcast`, which is no role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Recipient {
    /// One role.
    Role(Role),
    /// Every role of the org.
    Everybody,
}

/// The word for everybody.
const EVERYBODY: &str = "broadcast";

/// Why a message is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// A word is empty or too long.
    #[error("{field} must have 1 to {MAIL_WORD_BYTES} bytes without control characters")]
    Word {
        /// Which one.
        field: &'static str,
    },
    /// It is too large.
    #[error("the message has {bytes} bytes, over the limit of {MAIL_BYTES}")]
    TooLarge {
        /// Its size as JSON.
        bytes: usize,
    },
    /// Too many roles are to acknowledge it.
    #[error("{roles} roles are to acknowledge it, over the limit of {AUDIENCE}")]
    Audience {
        /// How many.
        roles: usize,
    },
    /// What lies in the inbox is no message.
    #[error("it is no message: {detail}")]
    Malformed {
        /// Where it breaks the form.
        detail: String,
    },
}

impl Mail {
    /// The kind of a report about `transition`: `task.completed`.
    #[must_use]
    pub fn report_kind(transition: Transition) -> String {
        fmt::format(format_args!("task.{}", transition.word()))
    }

    /// The id of a report about the log entry that `label` names within the task.
    #[must_use]
    pub fn report_id(task: &TaskId, label: &str) -> String {
        format!("{task}:report:{label}")
    }

    /// The thread that it is in: that of an earlier message, or its own.
    #[must_use]
    pub fn thread(&self) -> &str {
        self.correlation_id.as_deref().unwrap_or(&self.id)
    }

    /// The role that an answer goes to.
    #[must_use]
    pub fn answer_to(&self) -> &Role {
        self.reply_to.as_ref().unwrap_or(&self.from)
    }

    /// As it is stored.
    ///
    /// # Errors
    /// When it breaks a bound.
    pub fn encode(&self) -> Result<Vec<u8>, MailError> {
        let words = [
            ("the id", Some(&self.id)),
            ("the type", Some(&self.kind)),
            ("the thread", self.correlation_id.as_ref()),
            ("the id of the message that it answers", self.in_reply_to.as_ref()),
        ];
        let sound = |text: &String| {
            (1..=MAIL_WORD_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
        };
        if let Some((field, _)) = words.iter().find(|(_, word)| !word.is_none_or(sound)) {
            return Err(MailError::Word { field });
        }
        if self.audience.len() > AUDIENCE {
            return Err(MailError::Audience { roles: self.audience.len() });
        }
        let body = serde_json::to_vec(self)
            .map_err(|error| MailError::Malformed { detail: error.to_string() })?;
        if body.len() > MAIL_BYTES {
            return Err(MailError::TooLarge { bytes: body.len() });
        }
        Ok(body)
    }

    /// Reads what was stored.
    ///
    /// # Errors
    /// When it is no message.
    pub fn decode(body: &[u8]) -> Result<Self, MailError> {
        serde_json::from_slice(body)
            .map_err(|error| MailError::Malformed { detail: error.to_string() })
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => write!(f, "{role}"),
            Self::Everybody => f.write_str(EVERYBODY),
        }
    }
}

impl From<Role> for Recipient {
    fn from(role: Role) -> Self {
        Self::Role(role)
    }
}

impl From<Recipient> for String {
    fn from(to: Recipient) -> Self {
        to.to_string()
    }
}

impl TryFrom<String> for Recipient {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl FromStr for Recipient {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text == EVERYBODY { Ok(Self::Everybody) } else { text.parse().map(Self::Role) }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the serializer hands out references")]
fn is_normal(band: &Band) -> bool {
    *band == Band::Normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> Mail {
        let plain = serde_json::json!({
            "id": "m1", "type": "message", "from": "ceo", "to": "cto",
            "at": "2026-05-10T14:23:01Z", "body": { "text": "hello" }, "later": 1,
        });
        serde_json::from_value(plain).unwrap()
    }

    #[test]
    fn what_an_earlier_version_wrote_is_read_and_written_unchanged() {
        let mail = mail();
        assert_eq!(mail.priority, Band::Normal);
        let text = String::from_utf8(mail.encode().unwrap()).unwrap();
        assert!(!text.contains("priority") && text.contains("\"later\":1"), "{text}");
        assert_eq!(Mail::decode(text.as_bytes()).unwrap(), mail);
    }

    #[test]
    fn everybody_is_a_word_that_no_role_has() {
        let everybody: Recipient = "broadcast".parse().unwrap();
        assert_eq!(everybody, Recipient::Everybody);
        assert_eq!(everybody.to_string(), "broadcast");
        assert!("broadcast".parse::<Role>().is_err());
        assert!("no role".parse::<Recipient>().is_err());
    }

    #[test]
    fn an_answer_stays_in_the_thread_and_goes_where_it_was_asked_for() {
        let mut mail = mail();
        assert_eq!((mail.thread(), mail.answer_to().as_str()), ("m1", "ceo"));
        mail.correlation_id = Some("m0".to_owned());
        mail.reply_to = Some("secretary".parse().unwrap());
        assert_eq!((mail.thread(), mail.answer_to().as_str()), ("m0", "secretary"));
    }

    #[test]
    fn every_bound_is_named_where_it_is_broken() {
        let check = |change: fn(&mut Mail), expect: &str| {
            let mut mail = mail();
            change(&mut mail);
            let fault = mail.encode().unwrap_err().to_string();
            assert!(fault.contains(expect), "{fault}");
        };
        check(|mail| mail.id = String::new(), "the id must have");
        check(|mail| mail.kind = "x".repeat(193), "the type must have");
        check(|mail| mail.correlation_id = Some("a\nb".to_owned()), "the thread must have");
        check(|mail| mail.body = "x".repeat(MAIL_BYTES).into(), "over the limit of");
        check(|mail| mail.audience = vec!["a".parse().unwrap(); 1_001], "1001 roles");
        assert!(Mail::decode(b"{\"id\":1}").unwrap_err().to_string().contains("no message"));
    }
}
