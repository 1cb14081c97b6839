//! Telling the org what an agent did: one event in the seed's shape on the org's stream of events.

use std::sync::atomic::Ordering;

use serde_json::{Map, Value};
use sinew_bus::{Outgoing, PublishError, clock};
use sinew_model::{
    event::Event,
    limits::{BODY_BYTES, EVENT_WORD_BYTES},
    stream::ORG_EVENTS,
};

use crate::{client::Client, report::speaker};

/// What an event says, before it is known who says it and when.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Emission {
    kind: String,
    action: String,
    details: Value,
    session: Option<String>,
    key: Option<String>,
}

/// Why an event was not emitted, or not known to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// It has no action, or its words are too long.
    #[error(
        "an event needs an action, and its type and action have at most {EVENT_WORD_BYTES} bytes"
    )]
    Words,
    /// It is too large.
    #[error("the event has {bytes} bytes, over the limit of {BODY_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The stream did not take it.
    #[error("the stream of events did not take it")]
    Publish(#[from] PublishError),
}

impl Emission {
    /// An `agent.action` event: what was done (`file.write`).
    pub fn new(action: impl Into<String>) -> Self {
        Self {
            kind: "agent.action".to_owned(),
            action: action.into(),
            details: Value::Null,
            session: None,
            key: None,
        }
    }

    /// Another type than `agent.action`.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// What belongs to the action.
    pub fn details(mut self, details: impl Into<Value>) -> Self {
        self.details = details.into();
        self
    }

    /// The session of the agent.
    pub fn session(mut self, session: impl Into<String>) -> Self {
        self.session = Some(session.into());
        self
    }

    /// Names this event among those of the task that emits it, so that a second attempt which
    /// says it again, perhaps from another process, is recognised. Without a key the order of the
    /// calls counts.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// What a program said in one value: the action alone, or an object with `action` and perhaps
    /// `type`, `details` and `sessionId`. Other fields of an object are details too.
    pub fn of_value(value: Value) -> Self {
        let Value::Object(mut fields) = value else {
            return Self::new(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        };
        let mut word = |name: &str| match fields.remove(name) {
            Some(Value::String(text)) => Some(text),
            Some(other) => Some(other.to_string()),
            None => None,
        };
        let (kind, action, session) = (word("type"), word("action"), word("sessionId"));
        let details = match fields.remove("details") {
            Some(details) if fields.is_empty() => details,
            Some(details) => {
                fields.insert("details".to_owned(), details);
                Value::Object(fields)
            }
            None if fields.is_empty() => Value::Null,
            None => Value::Object(fields),
        };
        Self {
            kind: kind.unwrap_or_else(|| "agent.action".to_owned()),
            action: action.unwrap_or_default(),
            details,
            session,
            key: None,
        }
    }
}

impl Client {
    /// Emits an event. One that a task emits has an id that is made from the task and the order of
    /// the calls, so a reader can drop what a second attempt repeats.
    ///
    /// # Errors
    /// See [`EmitError`].
    pub async fn emit(&self, what: Emission) -> Result<(), EmitError> {
        let too_long = |text: &str| text.len() > EVENT_WORD_BYTES;
        if what.action.trim().is_empty() || too_long(&what.action) || too_long(&what.kind) {
            return Err(EmitError::Words);
        }
        let (task_id, id) = match &self.acting {
            Some(acting) => {
                let task = acting.log.lock().await.id().clone();
                let number = || acting.events.fetch_add(1, Ordering::Relaxed).to_string();
                let word = match what.key {
                    Some(key) => key,
                    None if acting.hosted => number(),
                    // Another process would count from 0 as well, and one of the two would be
                    // dropped.
                    None => clock::unique(),
                };
                let id = format!("{task}:event:{word}");
                (Some(task), id)
            }
            None => (None, clock::unique()),
        };
        let event = Event {
            kind: what.kind,
            timestamp: clock::now(),
            agent_role: self.role().clone(),
            org_id: self.bus().subjects().org().clone(),
            action: what.action,
            details: what.details,
            task_id,
            session_id: what.session,
            extra: Map::new(),
        };
        let body = serde_json::to_vec(&event).unwrap_or_default();
        if body.len() > BODY_BYTES {
            return Err(EmitError::TooLarge { bytes: body.len() });
        }
        let subject = self.bus().subjects().events();
        let out = Outgoing::new(ORG_EVENTS, subject, body).id(id).by(speaker(self.role()));
        self.bus().publish(out).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_program_says_an_event_in_a_word_or_an_object() {
        assert_eq!(Emission::of_value(json!("deploy")), Emission::new("deploy"));
        let full = json!({ "action": "file.write", "details": { "path": "a" }, "type": "x.y" });
        let expected = Emission::new("file.write").kind("x.y").details(json!({ "path": "a" }));
        assert_eq!(Emission::of_value(full), expected);
        let loose = json!({ "action": "file.write", "path": "a" });
        let expected = Emission::new("file.write").details(json!({ "path": "a" }));
        assert_eq!(Emission::of_value(loose), expected);
    }
}
