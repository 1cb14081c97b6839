//! Following a task's life from its log: entry by entry, or to its end.

use std::collections::VecDeque;

use sinew_bus::{Bus, HistoryError, RawMessage, RequestError};
use sinew_model::{
    Entry, TaskId, Transition,
    limits::FOLLOW_EVERY,
    stream::TASK_LOG,
    task::{Change, End, Phase, State, Stored, Task},
};

use crate::{
    body::{self, BodyError},
    client::Client,
    lookout::Lookout,
};

/// Why a task can't be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// There is no such task.
    #[error("there is no task {id}")]
    NoTask {
        /// The id.
        id: TaskId,
    },
    /// The log could not be read.
    #[error("the task's log could not be read")]
    Read(#[from] HistoryError),
    /// The task has completed, and its result, which is too large for its log, can't be had.
    #[error("the task has completed, but its result can't be had")]
    Result(#[from] BodyError),
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// The end itself.
    pub end: End,
    /// Attempts that were begun.
    pub attempts: u32,
}

impl Client {
    /// Follows a task: first every entry that its log has, then each new one, up to its end.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn follow(&self, id: &TaskId) -> Result<Follow, HistoryError> {
        // First listen and then read, so that nothing falls in between.
        let filter = self.bus().subjects().log(id);
        let hints = self.bus().watch_subject(filter.as_str()).await.map_err(|why| {
            let source = RequestError::Unsendable { subject: filter.to_string(), why };
            HistoryError::Request { task: id.clone(), source }
        })?;
        Ok(Follow {
            bus: self.bus().clone(),
            id: id.clone(),
            lookout: Lookout::new(hints, FOLLOW_EVERY),
            task: Task::default(),
            ready: VecDeque::new(),
        })
    }

    /// Waits until a task has ended.
    ///
    /// # Errors
    /// When there is no such task, or its log can't be read.
    pub async fn outcome(&self, id: &TaskId) -> Result<Outcome, FollowError> {
        let mut follow = self.follow(id).await?;
        if follow.next().await?.is_none() && follow.state().is_none() {
            return Err(FollowError::NoTask { id: id.clone() });
        }
        // Its end is the last entry: a dead task may have been revived.
        while follow.next().await?.is_some() {}
        match follow.state().and_then(|state| Some((state.end()?, state.attempts))) {
            Some((end, attempts)) => Ok(Outcome { end: end.clone(), attempts }),
            None => Err(FollowError::NoTask { id: id.clone() }),
        }
    }
}

/// The life of a task as it goes on.
#[derive(Debug)]
pub struct Follow {
    bus: Bus,
    id: TaskId,
    lookout: Lookout,
    task: Task,
    ready: VecDeque<Stored>,
}

impl Follow {
    /// The next entry, with the whole result in the one that completes the task; `None` once the
    /// task has ended, or where there is no such task.
    ///
    /// # Errors
    /// When the log or the result can't be read. Asking again goes on where it stopped.
    pub async fn next(&mut self) -> Result<Option<Entry>, FollowError> {
        loop {
            self.complete().await?;
            if let Some(stored) = self.ready.pop_front() {
                return Ok(Some(stored.entry));
            }
            let end = self.state().and_then(State::end);
            if end.is_some_and(|end| end.transition() != Transition::Dead) {
                return Ok(None);
            }
            let may_be_revived = end.is_some();
            let filter = self.bus.subjects().log(&self.id);
            let from = self.task.last_seq.saturating_add(1);
            let failed = |source| HistoryError::Request { task: self.id.clone(), source };
            match self.bus.first_from(TASK_LOG, filter.as_str(), from).await.map_err(failed)? {
                Some(message) => self.take(&message),
                None if self.task.last_seq == 0 || may_be_revived => return Ok(None),
                None => self.lookout.wait().await,
            }
        }
    }

    /// Puts a result that lies elsewhere where the reader looks for it: into the entry that is
    /// about to be given out, and into the state.
    async fn complete(&mut self) -> Result<(), FollowError> {
        let Some(Stored { entry, .. }) = self.ready.front_mut() else { return Ok(()) };
        if let Change::Completed { result, result_ref: Some(claim), .. } = &mut entry.change {
            *result = body::fetch(&self.bus, claim).await?;
            if let Some(state) = &mut self.task.state
                && let Phase::Ended { end: End::Completed { result: known, .. }, .. } =
                    &mut state.phase
            {
                known.clone_from(result);
            }
        }
        Ok(())
    }

    /// The state after the entries that [`Follow::next`] has read.
    #[must_use]
    pub const fn state(&self) -> Option<&State> {
        self.task.state.as_ref()
    }

    fn take(&mut self, message: &RawMessage) {
        match message.stored(self.bus.subjects()) {
            Ok(stored) => {
                if self.task.apply(&self.id, &stored).is_ok() {
                    self.ready.push_back(stored);
                }
            }
            Err(error) => {
                tracing::debug!(task = %self.id, seq = message.seq, %error, "passed over");
                self.task.skip(message.seq);
            }
        }
    }
}
