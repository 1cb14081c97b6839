//! Calling a task off, with everything that was delegated on its behalf.

use std::collections::{BTreeSet, VecDeque};

use sinew_bus::{ExecuteError, TaskLog};
use sinew_model::{
    TaskId, Transition,
    limits::CANCELLED_TASKS,
    task::{Command, Effect, Refusal, State},
};

use crate::{
    client::{Client, DelegateError},
    report,
};

/// What a cancellation came to for one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It is called off: nothing more of it is started, and a running attempt is told to stop.
    Stopped,
    /// It had ended before.
    TooLate(Transition),
    /// There is no such task.
    NoTask,
    /// It could not be found out now. The controllers go on with what lies below a task that was
    /// called off.
    Unknown(String),
}

/// One task of the tree, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CancelledTask {
    /// The task.
    pub id: TaskId,
    /// The task that delegated it; `None` for the one that was to be called off.
    pub parent: Option<TaskId>,
    /// What became of it.
    pub outcome: Cancelled,
}

impl Client {
    /// Calls a task off, and down the tree all that it delegated. A task is called off before its
    /// children are looked for: from then on it can delegate no more. Gives every task of the
    /// tree, parents first, at most [`CANCELLED_TASKS`].
    pub async fn cancel(&self, id: &TaskId, reason: &str) -> Vec<CancelledTask> {
        let mut told = Vec::new();
        let mut seen = BTreeSet::from([id.clone()]);
        let mut open = VecDeque::from([(id.clone(), None)]);
        let mut stopped_at = None;
        while let Some((id, parent)) = open.pop_front() {
            if told.len() >= CANCELLED_TASKS {
                let outcome = Cancelled::Unknown(format!(
                    "only {CANCELLED_TASKS} tasks are called off at a time"
                ));
                told.push(CancelledTask { id, parent, outcome });
                break;
            }
            let (mut outcome, found) = self.cancel_one(&id, reason).await;
            if let Some((state, last_seq)) = found {
                if parent.is_none() && outcome == Cancelled::Stopped {
                    stopped_at = Some(last_seq);
                }
                // A controller may have been faster below a task that this call has stopped.
                let by_this = stopped_at.is_some_and(|stopped| last_seq > stopped);
                if by_this && outcome == Cancelled::TooLate(Transition::Cancelled) {
                    outcome = Cancelled::Stopped;
                }
                for child in self.existing_children(&state).await {
                    if seen.insert(child.clone()) {
                        open.push_back((child, Some(id.clone())));
                    }
                }
            }
            told.push(CancelledTask { id, parent, outcome });
        }
        told
    }

    /// Goes on with the cancellation of a task whose client may not have lived to finish it: calls
    /// off what lies below the ended task `state`. It does not go down below a task that was called
    /// off itself, for whose own children this is done as well. Gives the tasks that it looked at.
    pub async fn cancel_below(&self, state: &State, reason: &str) -> Vec<CancelledTask> {
        let mut told: Vec<CancelledTask> = Vec::new();
        let Some(assignment) = &state.assignment else { return told };
        let own = assignment.task_id.clone();
        let mut open: VecDeque<_> = self.below(state).await.into();
        let mut seen: BTreeSet<TaskId> = open.iter().cloned().collect();
        while let Some(id) = open.pop_front() {
            if told.len() >= CANCELLED_TASKS {
                break;
            }
            let (outcome, found) = self.cancel_one(&id, reason).await;
            let other_end =
                matches!(&outcome, Cancelled::TooLate(how) if *how != Transition::Cancelled);
            if let Some((state, _)) = found.filter(|_| other_end) {
                let below = self.below(&state).await;
                open.extend(below.into_iter().filter(|child| seen.insert(child.clone())));
            }
            told.push(CancelledTask { id, parent: Some(own.clone()), outcome });
        }
        told
    }

    /// What an ended task has delegated, and what was to judge its newest result.
    async fn below(&self, state: &State) -> Vec<TaskId> {
        let mut below = self.existing_children(state).await;
        below.extend(state.newest_verification());
        below
    }

    /// Calls off this one task. Gives its state besides, and the sequence of its newest entry.
    async fn cancel_one(&self, id: &TaskId, reason: &str) -> (Cancelled, Option<(State, u64)>) {
        let unknown = |error: &dyn std::error::Error| {
            (Cancelled::Unknown(crate::runtime::chain(error)), None)
        };
        let mut log = match TaskLog::read(self.bus(), id.clone(), self.by().clone()).await {
            Ok(log) => log,
            Err(error) => return unknown(&error),
        };
        // Its result may wait for a verdict, which its end makes needless.
        let before = log.state().and_then(State::verification);
        let outcome = match log.execute(&Command::Cancel { reason: reason.to_owned() }).await {
            Ok(_) => Cancelled::Stopped,
            Err(ExecuteError::Refused(Refusal::Ended(how))) => Cancelled::TooLate(how),
            Err(ExecuteError::Refused(Refusal::NoTask)) => return (Cancelled::NoTask, None),
            Err(error) => return unknown(&error),
        };
        if let Some(verification) = before.filter(|_| outcome == Cancelled::Stopped) {
            let (outcome, _) = Box::pin(self.cancel_one(&verification, reason)).await;
            tracing::debug!(task = %verification, ?outcome, "a verification is needless");
        }
        if let Some(state) = log.state()
            && outcome == Cancelled::Stopped
            && let Err(error) = report::ended(self.bus(), self.role(), state).await
        {
            // The controllers report it again.
            tracing::warn!(task = %id, %error, "the delegator was not told of the cancellation");
        }
        let last_seq = log.last_seq();
        (outcome, log.state().cloned().map(|state| (state, last_seq)))
    }

    /// What a task has delegated. What it recorded and had not yet carried out is carried out
    /// first: else it might come into being later, when nobody looks any more.
    async fn existing_children(&self, state: &State) -> Vec<TaskId> {
        let mut children = Vec::new();
        for effect in state.effects.values() {
            let Effect::Delegate { assignment } = effect else { continue };
            let client = Self::new(self.bus().clone(), assignment.delegator.clone());
            match client.carry_out(assignment.clone(), None, true).await {
                Ok(_) => children.push(assignment.task_id.clone()),
                // The id belongs to other work: no child of this task.
                Err(DelegateError::IdReused { .. } | DelegateError::Invalid(_)) => {}
                Err(error) => {
                    tracing::warn!(task = %assignment.task_id, error = &error as &dyn std::error::Error,
                        "it is not known whether a task was delegated");
                    children.push(assignment.task_id.clone());
                }
            }
        }
        children
    }
}
