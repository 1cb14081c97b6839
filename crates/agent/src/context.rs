//! What a handler has in hand while it works on one attempt of a task.

use std::sync::Arc;

use serde_json::Value;
use sinew_model::{Assignment, TaskId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Client, DelegateError, Delegated},
    delegation::Delegation,
    event::{Emission, EmitError},
};

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) message: String,
    pub(crate) percent: Option<u8>,
}

/// One attempt of one task. Clones are of the same attempt.
#[derive(Clone, Debug)]
pub struct Context {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    assignment: Arc<Assignment>,
    attempt: u32,
    fence: u64,
    client: Client,
    /// Cancelled by the runtime when the attempt shall end; the handler only listens.
    stop: CancellationToken,
    /// The newest progress; the runtime writes it down, at most once a second.
    progress: watch::Sender<Option<Progress>>,
}

impl Context {
    pub(crate) fn new(
        assignment: Arc<Assignment>,
        (attempt, fence): (u32, u64),
        client: Client,
        stop: CancellationToken,
        progress: watch::Sender<Option<Progress>>,
    ) -> Self {
        Self { inner: Arc::new(Inner { assignment, attempt, fence, client, stop, progress }) }
    }

    /// The task as it was delegated.
    #[must_use]
    pub fn assignment(&self) -> &Assignment {
        &self.inner.assignment
    }

    /// The task's id: the same in every attempt.
    #[must_use]
    pub fn id(&self) -> &TaskId {
        &self.inner.assignment.task_id
    }

    /// What the delegator gave as input; null if nothing.
    #[must_use]
    pub fn input(&self) -> &Value {
        &self.inner.assignment.input
    }

    /// The attempt, counted from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.inner.attempt
    }

    /// A number that rises with each attempt of the task: a system outside that remembers the
    /// highest one it has seen can shut out an attempt that has lost its task.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.inner.fence
    }

    /// A client that acts for this task: what it delegates is a child of it.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// Delegates a task as a child of this one. It happens once, however often this one is tried.
    ///
    /// # Errors
    /// See [`DelegateError`]. [`DelegateError::Parent`] says that this attempt has lost its task:
    /// stop.
    pub async fn delegate(&self, what: Delegation) -> Result<Delegated, DelegateError> {
        self.inner.client.delegate(what).await
    }

    /// Reports how far the work is: one line for a person, and a percentage. Of reports that come
    /// faster than one a second only the newest is kept.
    pub fn progress(&self, message: impl Into<String>, percent: Option<u8>) {
        let progress = Progress { message: message.into(), percent };
        self.inner.progress.send_replace(Some(progress));
    }

    /// Emits an event on behalf of this task.
    ///
    /// # Errors
    /// See [`EmitError`].
    pub async fn emit(&self, what: Emission) -> Result<(), EmitError> {
        self.inner.client.emit(what).await
    }

    /// Whether the attempt shall end: the task was called off, another worker has it, or the
    /// agent is told to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.inner.stop.is_cancelled()
    }

    /// Waits until the attempt shall end. A handler that goes on for long after that is dropped.
    pub async fn stopped(&self) {
        self.inner.stop.cancelled().await;
    }
}
