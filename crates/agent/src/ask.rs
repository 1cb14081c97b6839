//! A question of a handler's, before it is in the log.

use std::time::Duration;

use sinew_bus::clock;
use sinew_model::{
    Assignment, Role,
    limits::ESCALATE_AFTER,
    task::{Question, QuestionError},
};

/// A question to the delegator, or to another role. See [`Context::ask`](crate::Context::ask).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Ask {
    text: String,
    key: Option<String>,
    to: Option<Role>,
    choices: Vec<String>,
    escalate_after: Duration,
}

impl Ask {
    /// A question to the task's delegator; at most 8 KiB are kept.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            key: None,
            to: None,
            choices: Vec::new(),
            escalate_after: ESCALATE_AFTER,
        }
    }

    /// Names this question among those of the task, so that the next attempt finds its answer: 1 to
    /// 128 bytes.
    /// Without a key the order of the questions counts.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Asks this role instead.
    pub fn to(mut self, role: Role) -> Self {
        self.to = Some(role);
        self
    }

    /// Answers to choose from, at most 50 of at most 512 bytes; any will do where there are none.
    pub fn choices<T: Into<String>>(mut self, choices: impl IntoIterator<Item = T>) -> Self {
        self.choices = choices.into_iter().map(Into::into).collect();
        self
    }

    /// How long to wait before the role is asked that the task names for it; 24 hours by default.
    pub const fn escalate_after(mut self, time: Duration) -> Self {
        self.escalate_after = time;
        self
    }

    /// The question itself is its key, where it has none.
    pub(crate) fn keyed_by_text(mut self) -> Self {
        self.key.get_or_insert_with(|| Question::key_of(&self.text));
        self
    }

    pub(crate) fn question(
        self,
        ordinal: u32,
        assignment: &Assignment,
    ) -> Result<Question, QuestionError> {
        let question = Question {
            key: self.key.unwrap_or_else(|| format!("#{ordinal}")),
            text: self.text,
            to: self.to.unwrap_or_else(|| assignment.delegator.clone()),
            choices: self.choices,
            escalate_at: Some(clock::now().plus(self.escalate_after)),
        };
        question.checked()
    }
}
