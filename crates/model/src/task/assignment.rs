//! What is delegated: the body of a message on `genbrain.agents.{role}.tasks`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    claim::{self, Claim},
    id::{OrgId, Role, TaskId},
    limits::{
        AFTER_TASKS, BODY_BYTES, DEADLINE, FAILED_ATTEMPTS, FAILED_ATTEMPTS_MAX, LARGE_BODY_BYTES,
        TITLE_BYTES, TREE_DEPTH,
    },
    signature::Proof,
    subject::Band,
    time::Time,
};

/// A task as its delegator wrote it. It never changes: every epoch carries the same body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The task.
    pub task_id: TaskId,
    /// The org in which it lives.
    pub org_id: OrgId,
    /// The role that is to do it.
    pub role: Role,
    /// The role that gets progress and the result into its inbox.
    pub delegator: Role,
    /// One line for a person, at most 512 bytes.
    pub title: String,
    /// What the worker needs.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub input: Value,
    /// Where the input lies that is too large for a message; `input` is then left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_ref: Option<Claim>,
    /// The task on whose behalf it was delegated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TaskId>,
    /// How many delegations lie above it; 0 for a task without a parent.
    #[serde(default)]
    pub depth: u32,
    /// The band of the queue.
    #[serde(default)]
    pub priority: Band,
    /// When it was delegated, by the delegator's clock.
    pub created_at: Time,
    /// When it ends in `dead` if it has not ended before; 7 days after `createdAt`, or after
    /// `notBefore` where that is later, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// The moment before which no attempt begins; at once if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// Failed attempts after which it is dead; 3 if absent, at most 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Tasks that must have ended before it begins; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<TaskId>,
    /// Whether any end of those will do. Where only `completed` does, another end makes this task
    /// `dead`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub after_any: bool,
    /// The role that must accept the result before it is final; never the worker's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<Role>,
    /// The role that is asked where a question is not answered or a result not judged in time;
    /// the delegator if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate_to: Option<Role>,
    /// The delegator's signature over all of this but itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// Fields that this version does not know; they are kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_false(it: &bool) -> bool {
    !*it
}

/// Why an assignment is not accepted.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssignmentError {
    /// The JSON is malformed, or a field is missing or of the wrong kind.
    #[error("the assignment is not readable: {0}")]
    Malformed(String),
    /// The title is empty, too long, or not one line.
    #[error("the title must be one line of 1 to {TITLE_BYTES} bytes without control characters")]
    Title,
    /// The encoded body is too large.
    #[error("the task has {bytes} bytes, over the limit of {BODY_BYTES}")]
    TooLarge {
        /// Size of the encoded body.
        bytes: usize,
    },
    /// The input is larger than any task may have.
    #[error("the input has {bytes} bytes, over the limit of {LARGE_BODY_BYTES}")]
    InputTooLarge {
        /// Size of the input in bytes of JSON.
        bytes: u64,
    },
    /// `inputRef` stands beside an input, or names the object of another task.
    #[error("inputRef must name an object of this task, and input must be left out")]
    InputRef,
    /// The tree of delegations is too deep.
    #[error("the tree of delegations is {depth} deep, over the limit of {TREE_DEPTH}")]
    TooDeep {
        /// The depth that was asked for.
        depth: u32,
    },
    /// `maxAttempts` is 0 or too large.
    #[error("maxAttempts must be 1 to {FAILED_ATTEMPTS_MAX}")]
    Attempts,
    /// There are too many tasks to wait for, or it would wait for itself.
    #[error("a task may come after at most {AFTER_TASKS} others, and not after itself")]
    After,
    /// The worker would judge its own work.
    #[error("the verifier must be another role than the worker's")]
    Verifier,
    /// It would be given up before it may begin.
    #[error("it may begin at {begin}, and is given up at {due}")]
    Deadline {
        /// When it may begin.
        begin: Time,
        /// When it is given up.
        due: Time,
    },
    /// The body names another role or org than the subject that it came on.
    #[error("the assignment is for {body}, but it came on the queue of {queue}")]
    Misrouted {
        /// What the body says.
        body: String,
        /// Where it came.
        queue: String,
    },
}

impl Assignment {
    /// Reads an assignment and checks every rule.
    ///
    /// # Errors
    /// Whatever rule it breaks, see [`AssignmentError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, AssignmentError> {
        let assignment: Self = serde_json::from_slice(bytes)
            .map_err(|fault| AssignmentError::Malformed(fault.to_string()))?;
        assignment.check(bytes.len())?;
        Ok(assignment)
    }

    /// Writes the assignment after checking every rule.
    ///
    /// # Errors
    /// Whatever rule it breaks, see [`AssignmentError`].
    pub fn encode(&self) -> Result<Vec<u8>, AssignmentError> {
        let bytes = serde_json::to_vec(self)
            .map_err(|fault| AssignmentError::Malformed(fault.to_string()))?;
        self.check(bytes.len())?;
        // Only where it is written: one that somebody wrote all the same still ends visibly, when
        // its deadline passes.
        if let (Some(begin), Some(due)) = (self.not_before, self.deadline)
            && begin >= due
        {
            return Err(AssignmentError::Deadline { begin, due });
        }
        Ok(bytes)
    }

    fn check(&self, bytes: usize) -> Result<(), AssignmentError> {
        let title = self.title.as_str();
        if title.trim().is_empty()
            || title.len() > TITLE_BYTES
            || title.chars().any(char::is_control)
        {
            return Err(AssignmentError::Title);
        }
        if bytes > BODY_BYTES {
            return Err(AssignmentError::TooLarge { bytes });
        }
        if let Some(it) = &self.input_ref {
            if it.bytes > u64::try_from(LARGE_BODY_BYTES).unwrap_or(u64::MAX) {
                return Err(AssignmentError::InputTooLarge { bytes: it.bytes });
            }
            if !self.input.is_null() || claim::owner(&it.object).as_ref() != Some(&self.task_id) {
                return Err(AssignmentError::InputRef);
            }
        }
        if self.depth > TREE_DEPTH {
            return Err(AssignmentError::TooDeep { depth: self.depth });
        }
        if self.max_attempts.is_some_and(|max| max == 0 || max > FAILED_ATTEMPTS_MAX) {
            return Err(AssignmentError::Attempts);
        }
        if self.after.len() > AFTER_TASKS || self.after.contains(&self.task_id) {
            return Err(AssignmentError::After);
        }
        if self.verifier.as_ref() == Some(&self.role) {
            return Err(AssignmentError::Verifier);
        }
        Ok(())
    }

    /// Refuses an assignment that lies in another queue than its own.
    ///
    /// # Errors
    /// [`AssignmentError::Misrouted`].
    pub fn check_route(&self, org: &OrgId, role: &Role) -> Result<(), AssignmentError> {
        if &self.org_id == org && &self.role == role {
            return Ok(());
        }
        Err(AssignmentError::Misrouted {
            body: format!("{} of {}", self.role, self.org_id),
            queue: format!("{role} of {org}"),
        })
    }

    /// Whether both ask for the same work. When they were asked, and when the work may begin
    /// and is due, may differ: a delegation that is repeated after a time-out computes both anew,
    /// and signs it anew.
    #[must_use]
    pub fn same_work(&self, other: &Self) -> bool {
        let strip = |it: &Self| Self {
            created_at: Time::from_micros(0),
            deadline: None,
            not_before: None,
            proof: None,
            ..it.clone()
        };
        strip(self) == strip(other)
    }

    /// The moment after which the task is dead. Time counts from the moment at which it may begin.
    #[must_use]
    pub fn due(&self) -> Time {
        let longest: Duration = DEADLINE;
        let begin = self.not_before.map_or(self.created_at, |begin| begin.max(self.created_at));
        self.deadline.unwrap_or_else(|| begin.plus(longest))
    }

    /// The role that is asked where nobody else answers or judges.
    #[must_use]
    pub fn escalates_to(&self) -> &Role {
        self.escalate_to.as_ref().unwrap_or(&self.delegator)
    }

    /// Failed attempts after which the task is dead.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.max_attempts.unwrap_or(FAILED_ATTEMPTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(change: impl FnOnce(&mut Value)) -> Result<Assignment, AssignmentError> {
        let mut value = json!({
            "taskId": "T1", "orgId": "acme", "role": "cto", "delegator": "ceo",
            "title": "Count", "createdAt": "2026-05-10T14:23:01Z", "later": 1,
        });
        change(&mut value);
        Assignment::decode(&serde_json::to_vec(&value).unwrap())
    }

    #[test]
    fn defaults_are_the_seeds_and_unknown_fields_stay() {
        let it = body(|_| {}).unwrap();
        assert_eq!((it.attempts(), it.priority, it.depth), (3, Band::Normal, 0));
        assert_eq!(it.due().to_string(), "2026-05-17T14:23:01Z");
        assert_eq!(Assignment::decode(&it.encode().unwrap()).unwrap().extra["later"], 1);
    }

    #[test]
    fn every_rule_refuses() {
        assert_eq!(body(|v| v["title"] = "a\nb".into()), Err(AssignmentError::Title));
        assert_eq!(body(|v| v["depth"] = 33.into()), Err(AssignmentError::TooDeep { depth: 33 }));
        assert_eq!(body(|v| v["maxAttempts"] = 0.into()), Err(AssignmentError::Attempts));
        let large = body(|v| v["input"] = "x".repeat(2 * BODY_BYTES).into());
        assert!(matches!(large, Err(AssignmentError::TooLarge { .. })));
        let claim = |object: &str, bytes: usize| json!({ "object": object, "bytes": bytes, "sha256": "00" });
        let huge = body(|v| v["inputRef"] = claim("T1/input/00", LARGE_BODY_BYTES + 1));
        assert!(matches!(huge, Err(AssignmentError::InputTooLarge { .. })));
        let alien = body(|v| v["inputRef"] = claim("T2/input/00", 9));
        assert_eq!(alien, Err(AssignmentError::InputRef));
        assert!(body(|v| v["inputRef"] = claim("T1/input/00", LARGE_BODY_BYTES)).is_ok());
        let role = body(|v| v["role"] = "broadcast".into());
        assert!(matches!(role, Err(AssignmentError::Malformed(_))));
        let other =
            body(|_| {}).unwrap().check_route(&"acme".parse().unwrap(), &"qa".parse().unwrap());
        assert!(matches!(other, Err(AssignmentError::Misrouted { .. })));
    }

    #[test]
    fn a_repeated_delegation_is_the_same_work_and_another_title_is_not() {
        let it = body(|_| {}).unwrap();
        let later = body(|v| v["createdAt"] = "2027-01-01T00:00:00Z".into()).unwrap();
        assert!(it.same_work(&later));
        assert!(!it.same_work(&body(|v| v["title"] = "Other".into()).unwrap()));
        let with = |hash: &str| {
            let claim = json!({ "object": "T1/input/00", "bytes": 9, "sha256": hash });
            body(|v| v["inputRef"] = claim.clone()).unwrap()
        };
        assert!(with("00").same_work(&with("00")));
        assert!(!with("00").same_work(&with("01")));
        assert!(!it.same_work(&with("00")));
    }
}
