//! What is to be delegated, before it is an assignment.

use serde_json::{Map, Value};
use sinew_bus::clock;
use sinew_model::{Assignment, Band, OrgId, Role, TaskId, Time, claim::Side};

use crate::body::Body;

/// A task to delegate: to which role, and what.
#[derive(Clone, Debug)]
#[must_use]
pub struct Delegation {
    pub(crate) role: Role,
    pub(crate) title: String,
    pub(crate) input: Value,
    pub(crate) id: Option<TaskId>,
    pub(crate) key: Option<String>,
    pub(crate) priority: Band,
    pub(crate) deadline: Option<Time>,
    pub(crate) not_before: Option<Time>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) after: Vec<TaskId>,
    pub(crate) after_any: bool,
    pub(crate) verifier: Option<Role>,
    pub(crate) escalate_to: Option<Role>,
}

impl Delegation {
    /// A task for `role`, named by one line of at most 512 bytes.
    pub fn new(role: Role, title: impl Into<String>) -> Self {
        Self {
            role,
            title: title.into(),
            input: Value::Null,
            id: None,
            key: None,
            priority: Band::Normal,
            deadline: None,
            not_before: None,
            max_attempts: None,
            after: Vec::new(),
            after_any: false,
            verifier: None,
            escalate_to: None,
        }
    }

    /// What the worker needs: any JSON of at most 64 MiB. What is too large for a message goes
    /// through the org's object store, and the worker sees no difference.
    pub fn input(mut self, input: impl Into<Value>) -> Self {
        self.input = input.into();
        self
    }

    /// An id of the caller's own. Delegating the same work again under it changes nothing, at any
    /// later time; other work under it is refused.
    pub fn id(mut self, id: TaskId) -> Self {
        self.id = Some(id);
        self
    }

    /// Names this delegation among those of the task on whose behalf it is made, so that a second
    /// attempt of that task makes it again and not anew. At most 128 bytes. Without a key the
    /// order of the calls counts.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The band of the role's queue.
    pub const fn priority(mut self, band: Band) -> Self {
        self.priority = band;
        self
    }

    /// When the task ends in `dead` if it has not ended before; 7 days from now if not set.
    pub const fn deadline(mut self, deadline: Time) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The moment before which no attempt begins.
    pub const fn not_before(mut self, at: Time) -> Self {
        self.not_before = Some(at);
        self
    }

    /// Failed attempts after which the task is dead; 3 if not set, at most 100.
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Tasks that must have completed before it begins; at most 100. Where one of them ends
    /// otherwise, this one is `dead` at once, and can be revived together with it.
    pub fn after(mut self, tasks: impl IntoIterator<Item = TaskId>) -> Self {
        self.after.extend(tasks);
        self
    }

    /// Any end of the tasks that it comes after will do.
    pub const fn after_any(mut self) -> Self {
        self.after_any = true;
        self
    }

    /// The role that must accept the result before it is final; never the worker's own.
    pub fn verifier(mut self, role: Role) -> Self {
        self.verifier = Some(role);
        self
    }

    /// The role that is asked where a question is not answered or a result not judged in time;
    /// the delegator if not set.
    pub fn escalate_to(mut self, role: Role) -> Self {
        self.escalate_to = Some(role);
        self
    }

    /// What is asked for, as a text that is the same for the same work.
    pub(crate) fn work(&self) -> String {
        let Self { role, title, input, id, priority, max_attempts, after, .. } = self;
        let Self { after_any, verifier, escalate_to, .. } = self;
        let how = serde_json::json!([priority, max_attempts, after, after_any]);
        serde_json::json!([role, title, input, id, how, verifier, escalate_to]).to_string()
    }

    /// The assignment of it, and the input that is too large to be in it.
    pub(crate) fn assignment(
        &self,
        id: TaskId,
        org: OrgId,
        by: &Delegator,
    ) -> (Assignment, Option<Body>) {
        let (input, body) = Body::split(&id, Side::Input, self.input.clone());
        let assignment = Assignment {
            task_id: id,
            org_id: org,
            role: self.role.clone(),
            delegator: by.role.clone(),
            title: self.title.clone(),
            input,
            input_ref: body.as_ref().map(|body| body.claim.clone()),
            parent: by.parent.as_ref().map(|(parent, _)| parent.clone()),
            depth: by.parent.as_ref().map_or(0, |(_, depth)| depth.saturating_add(1)),
            priority: self.priority,
            created_at: clock::now(),
            deadline: self.deadline,
            not_before: self.not_before,
            max_attempts: self.max_attempts,
            after: self.after.clone(),
            after_any: self.after_any,
            verifier: self.verifier.clone(),
            escalate_to: self.escalate_to.clone(),
            proof: None,
            extra: Map::new(),
        };
        (assignment, body)
    }
}

/// On whose behalf a task is delegated.
#[derive(Clone, Debug)]
pub(crate) struct Delegator {
    /// The role that gets the reports.
    pub(crate) role: Role,
    /// The task on whose behalf, and how deep that lies.
    pub(crate) parent: Option<(TaskId, u32)>,
}
