//! The caller's half: delegate a task, follow its life, get its result.
//!
//! A client speaks for a role. One that was made for a running attempt ([`Client::acting`], or
//! the one inside a [`Context`](crate::Context)) acts for that attempt's task: what it delegates
//! is a child of the task, is recorded in the task's log before it is carried out, and happens
//! once however often the attempt is repeated.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use sinew_bus::{Bus, ExecuteError, HistoryError, ObjectError, PublishError, TaskLog, clock};
use sinew_model::{
    Assignment, Role, TaskId,
    limits::EFFECT_KEY_BYTES,
    stream::AGENT_TASKS,
    task::{Actor, AssignmentError, Command, Effect, Refusal, State},
};
use tokio::sync::Mutex;

use crate::{
    admit::may_speak,
    advance::advance,
    body::Body,
    delegation::{Delegation, Delegator},
    enqueue::{self, EnqueueError, Placed},
    follow::FollowError,
    inbox::{self, SendError},
    registry::Cards,
    report, room,
};

/// Delegates and follows tasks on behalf of a role. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    bus: Bus,
    by: Actor,
    pub(crate) acting: Option<Arc<Acting>>,
    pub(crate) cards: Arc<Cards>,
}

/// The attempt on whose behalf a client acts.
#[derive(Debug)]
pub(crate) struct Acting {
    /// The attempt's own view of its task; the runtime that hosts the attempt holds it too.
    pub(crate) log: Arc<Mutex<TaskLog>>,
    pub(crate) attempt: u32,
    /// Whether it is in the process that hosts the attempt, and so sees all of its calls.
    pub(crate) hosted: bool,
    /// Numbers the calls that come without a key, in the order in which they are made.
    pub(crate) calls: AtomicU32,
    /// Numbers its events.
    pub(crate) events: AtomicU32,
}

impl Acting {
    pub(crate) fn new(log: Arc<Mutex<TaskLog>>, attempt: u32, hosted: bool) -> Self {
        Self { log, attempt, hosted, calls: AtomicU32::new(0), events: AtomicU32::new(0) }
    }
}

/// A delegated task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delegated {
    /// The task.
    pub id: TaskId,
    /// It had been delegated before: this call changed nothing.
    pub existed: bool,
}

/// Why a task was not delegated, or not known to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DelegateError {
    /// The task breaks a rule; nothing was sent.
    #[error("the task is not acceptable")]
    Invalid(#[from] AssignmentError),
    /// The key is empty or longer than 128 bytes; nothing was sent.
    #[error("a key has 1 to {EFFECT_KEY_BYTES} bytes")]
    Key,
    /// The role does not accept such an input, by its card; nothing was sent.
    #[error("{role} does not accept the input{}: {why}", at(.path))]
    NotAccepted {
        /// The role.
        role: Role,
        /// Where in the input, as a JSON pointer; empty for the whole of it.
        path: String,
        /// What is wrong there.
        why: String,
    },
    /// The id belongs to another task.
    #[error("the id {id} belongs to another task")]
    IdReused {
        /// The id.
        id: TaskId,
    },
    /// The queue is full: nothing was delegated. Try again when agents have caught up, or let
    /// [`Client::delegate_when_room`] do so. What is delegated on behalf of a running attempt is in
    /// its task's log by then, and is delegated at the latest after that task's end.
    #[error("the queue of {role} is full{}", room::taken(*.queued, *.limit))]
    QueueFull {
        /// The role whose queue it is.
        role: Role,
        /// How many assignments lie in the queues of the org, which share one limit; `None` where
        /// that could not be looked up.
        queued: Option<u64>,
        /// How many may; `None` where they are not limited by number, or it is not known.
        limit: Option<u64>,
        /// What the server said.
        #[source]
        source: Box<PublishError>,
    },
    /// There are too many schedules: nothing was delegated. Try again when some have fired.
    #[error("there are {stored} schedules already")]
    SchedulesFull {
        /// How many there are.
        stored: u64,
    },
    /// The store of large bodies is full: nothing was delegated. Try again when tasks with large
    /// bodies are gone, or give the store more room.
    #[error("the input is too large for a message, and could not be kept")]
    BodiesFull(#[source] ObjectError),
    /// The input is too large for a message and could not be stored: nothing was delegated.
    #[error("the input is too large for a message, and could not be kept")]
    Body(#[source] ObjectError),
    /// It is not known whether the task was delegated. Delegate it again under the same id: it
    /// will exist once.
    #[error("it is not known whether task {id} was delegated")]
    Unknown {
        /// The id.
        id: TaskId,
        /// What went wrong.
        #[source]
        source: PublishError,
    },
    /// It was not delegated.
    #[error("the task could not be delegated")]
    Failed(#[source] PublishError),
    /// The task on whose behalf it was to be delegated does not allow it, for instance because
    /// the attempt has lost its fence.
    #[error("the task on whose behalf it was delegated does not allow it")]
    Parent(#[source] ExecuteError),
    /// A task that it is to come after does not exist; nothing was sent.
    #[error("there is no task {id} to come after")]
    NoTask {
        /// The id.
        id: TaskId,
    },
    /// The tree of delegations is too deep; nothing was sent.
    #[error("the tree of delegations is too deep: {}", .chain.iter().map(TaskId::as_str).collect::<Vec<_>>().join(" delegated "))]
    TooDeep {
        /// The tasks from the root down to the one on whose behalf it was to be delegated.
        chain: Vec<TaskId>,
    },
    /// The log did not take the task. After a timeout it may have: delegate it again under the
    /// same id.
    #[error("the log did not take the task")]
    Log(#[source] ExecuteError),
    /// The log could not be read, so it is not known whether the id is taken; nothing was sent.
    #[error("the task's log could not be read")]
    Unreadable(#[from] HistoryError),
}

impl Client {
    /// A client that speaks for `role`.
    #[must_use]
    pub fn new(bus: Bus, role: Role) -> Self {
        Self { bus, by: Actor { role, instance: None }, acting: None, cards: Arc::default() }
    }

    /// A client that acts for a running attempt of `task`, from another process than the one that
    /// hosts it. It can't count the calls of the attempt, so a delegation without a key is known
    /// by its work: the same work is delegated once.
    ///
    /// # Errors
    /// When the task's log can't be read, or there is no such task.
    pub async fn acting(
        bus: Bus,
        role: Role,
        task: TaskId,
        attempt: u32,
    ) -> Result<Self, FollowError> {
        let by = Actor { role, instance: None };
        let log = TaskLog::read(&bus, task.clone(), by.clone()).await?;
        if log.state().is_none() {
            return Err(FollowError::NoTask { id: task });
        }
        let acting = Acting::new(Arc::new(Mutex::new(log)), attempt, false);
        Ok(Self { bus, by, acting: Some(Arc::new(acting)), cards: Arc::default() })
    }

    pub(crate) fn for_attempt(bus: Bus, by: Actor, acting: Acting) -> Self {
        Self { bus, by, acting: Some(Arc::new(acting)), cards: Arc::default() }
    }

    /// The connection.
    #[must_use]
    pub const fn bus(&self) -> &Bus {
        &self.bus
    }

    /// As whom it writes.
    pub(crate) const fn by(&self) -> &Actor {
        &self.by
    }

    /// The role that it speaks for.
    #[must_use]
    pub const fn role(&self) -> &Role {
        &self.by.role
    }

    /// Delegates a task. When this returns, the task is stored, and it will end visibly.
    ///
    /// # Errors
    /// See [`DelegateError`].
    pub async fn delegate(&self, what: Delegation) -> Result<Delegated, DelegateError> {
        if let Some(acting) = &self.acting {
            let (child, body, look) = self.record(acting, what).await?;
            return self.carry_out(child, body, look).await;
        }
        self.check_input(&what.role, &what.input).await?;
        let by = Delegator { role: self.by.role.clone(), parent: None };
        let given = what.id.clone();
        let id = given.clone().unwrap_or_else(new_id);
        let (assignment, body) = what.assignment(id, self.bus.subjects().org().clone(), &by);
        let assignment = self.bus.prove(assignment).await.map_err(DelegateError::Failed)?;
        self.carry_out(assignment, body, given.is_some()).await
    }

    /// Records in the log of the task on whose behalf it is made what is about to be delegated.
    /// What an earlier attempt recorded under the same key stands. Says besides whether the id may
    /// be known: one that comes from the key is not before it is recorded.
    async fn record(
        &self,
        acting: &Acting,
        what: Delegation,
    ) -> Result<(Assignment, Option<Body>, bool), DelegateError> {
        let mut log = acting.log.lock().await;
        let key = match &what.key {
            Some(key) if key.is_empty() || key.len() > EFFECT_KEY_BYTES => {
                return Err(DelegateError::Key);
            }
            Some(key) => key.clone(),
            None if acting.hosted => format!("#{}", acting.calls.fetch_add(1, Ordering::Relaxed)),
            None => format!("={}", TaskId::of_effect(log.id(), &what.work())),
        };
        if log.state().is_none_or(|state| !state.effects.contains_key(&key)) {
            self.check_input(&what.role, &what.input).await?;
        }
        let depth = log.state().and_then(|state| Some(state.assignment.as_ref()?.depth));
        let parent = Some((log.id().clone(), depth.unwrap_or_default()));
        let by = Delegator { role: self.by.role.clone(), parent };
        let id = what.id.clone().unwrap_or_else(|| TaskId::of_effect(log.id(), &key));
        let (assignment, body) = what.assignment(id, self.bus.subjects().org().clone(), &by);
        if let Err(error) = assignment.encode() {
            if let AssignmentError::TooDeep { .. } = error {
                return Err(DelegateError::TooDeep { chain: self.chain(log.id()).await? });
            }
            return Err(DelegateError::Invalid(error));
        }
        let assignment = self.bus.prove(assignment).await.map_err(DelegateError::Failed)?;
        // The log must not promise what is not stored: who finds the record after a crash has
        // nothing but the claim.
        self.store(&assignment, body.clone()).await?;
        let effect = Box::new(Effect::Delegate { assignment: assignment.clone() });
        let attempt = acting.attempt;
        let command = Command::Effect { attempt, key: key.clone(), effect };
        match log.execute(&command).await {
            Ok(_) => Ok((assignment, None, what.id.is_some())),
            Err(ExecuteError::Refused(Refusal::EffectRecorded)) => {
                match log.state().and_then(|state| state.effects.get(&key)) {
                    Some(Effect::Delegate { assignment }) => Ok((assignment.clone(), None, true)),
                    Some(Effect::Send { .. }) | None => Ok((assignment, None, true)),
                }
            }
            Err(error) => Err(DelegateError::Parent(error)),
        }
    }

    /// The tasks on whose behalf `id` was delegated, from the root down to itself.
    async fn chain(&self, id: &TaskId) -> Result<Vec<TaskId>, HistoryError> {
        let mut chain = VecDeque::from([id.clone()]);
        let mut next = Some(id.clone());
        while let Some(id) = next {
            let state = self.state(&id).await?;
            next = state.and_then(|state| state.assignment?.parent);
            let known = next.as_ref().is_some_and(|parent| chain.contains(parent));
            match &next {
                Some(parent) if !known => chain.push_front(parent.clone()),
                _ => break,
            }
        }
        Ok(chain.into())
    }

    /// Delegates exactly this assignment, unless it has been. `look`: the id may be known.
    pub(crate) async fn carry_out(
        &self,
        assignment: Assignment,
        body: Option<Body>,
        look: bool,
    ) -> Result<Delegated, DelegateError> {
        assignment.encode()?;
        let id = assignment.task_id.clone();
        let mut log = TaskLog::unread(&self.bus, id.clone(), self.by.clone());
        if look {
            log.refresh().await?;
            if log.state().is_some() {
                let known = existing(&log, &assignment, id)?;
                // What was lost since is there again, for whoever tries the task again.
                self.store(&assignment, body).await?;
                return Ok(known);
            }
        }
        self.store(&assignment, body).await?;
        if !assignment.after.is_empty() {
            return self.delegate_after(assignment, log).await;
        }
        let placed = match enqueue::place(&self.bus, &assignment, 1, assignment.not_before).await {
            Ok(placed) => placed,
            Err(EnqueueError::Publish(source @ PublishError::Full { .. })) => {
                return Err(room::full(&self.bus, assignment.role, source).await);
            }
            Err(error) => return Err(refused(error, &id)),
        };
        let assignment = self.queued_before(assignment, placed).await?;
        let command = Command::Create {
            assignment: Box::new(assignment.clone()),
            queue_seq: placed.queue_seq,
        };
        match log.execute(&command).await {
            Ok(_) => Ok(Delegated { id, existed: placed.duplicate }),
            // Whoever starts it was faster, or it was delegated before.
            Err(ExecuteError::Refused(_)) => existing(&log, &assignment, id)
                .map(|it| Delegated { existed: placed.duplicate, ..it }),
            // The queue has it: that was the commit. Whoever starts it writes `created`.
            Err(error) => {
                tracing::warn!(task = %id, error = &error as &dyn std::error::Error,
                    "the task is on its queue, but its log does not say so yet");
                Ok(Delegated { id, existed: placed.duplicate })
            }
        }
    }

    /// What comes after other tasks lies on no queue before they have ended: its log holds it.
    async fn delegate_after(
        &self,
        assignment: Assignment,
        mut log: TaskLog,
    ) -> Result<Delegated, DelegateError> {
        for other in &assignment.after {
            if self.state(other).await?.is_none() {
                return Err(DelegateError::NoTask { id: other.clone() });
            }
        }
        let id = assignment.task_id.clone();
        let create = Command::Create { assignment: Box::new(assignment.clone()), queue_seq: None };
        let existed = match log.execute(&create).await {
            Ok(_) => false,
            Err(ExecuteError::Refused(_)) => existing(&log, &assignment, id.clone())?.existed,
            Err(error) => return Err(DelegateError::Log(error)),
        };
        if let Err(error) = Box::pin(advance(&self.bus, &self.by, &mut log)).await {
            // It is accepted; the controllers find it.
            tracing::warn!(task = %id, error = &error as &dyn std::error::Error,
                "it is not known yet whether the task may begin");
        }
        Ok(Delegated { id, existed })
    }

    /// Puts an input that is too large for a message where its assignment says.
    async fn store(
        &self,
        assignment: &Assignment,
        body: Option<Body>,
    ) -> Result<(), DelegateError> {
        let Some(body) = body else { return Ok(()) };
        body.store(&self.bus, assignment.parent.as_ref()).await.map_err(|error| match error {
            ObjectError::Full(_) => DelegateError::BodiesFull(error),
            ObjectError::Store(_)
            | ObjectError::Read(_)
            | ObjectError::Missing { .. }
            | ObjectError::Corrupt { .. }
            | ObjectError::Crowded { .. }
            | _ => DelegateError::Body(error),
        })
    }

    /// The queue knew the id: what it holds under it must be the same work, and is what counts.
    async fn queued_before(
        &self,
        assignment: Assignment,
        placed: Placed,
    ) -> Result<Assignment, DelegateError> {
        let (true, Some(seq)) = (placed.duplicate, placed.queue_seq) else {
            return Ok(assignment);
        };
        let unreadable =
            |source| HistoryError::Request { task: assignment.task_id.clone(), source };
        let Some(queued) = self.bus.at(AGENT_TASKS, seq).await.map_err(unreadable)? else {
            // It was taken from the queue since, so its log exists and decides.
            return Ok(assignment);
        };
        let queued = Assignment::decode(&queued.payload)?;
        if queued.same_work(&assignment) {
            return Ok(queued);
        }
        Err(DelegateError::IdReused { id: assignment.task_id })
    }

    /// A task as its log tells it now; `None` where there is none.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn state(&self, id: &TaskId) -> Result<Option<State>, HistoryError> {
        Ok(self.bus.history(id).await?.task.state)
    }

    /// Does what an ended task left outstanding: carries out the effects that it recorded, then
    /// reports its end to the delegator. All of it may have been done before; nothing is done
    /// twice.
    ///
    /// # Errors
    /// What could not be done now; try again.
    pub async fn finish(&self, state: &State) -> Result<(), FinishError> {
        self.carry_out_effects(state).await?;
        Ok(report::ended(&self.bus, &self.by.role, state).await?)
    }

    /// Carries out what a task has recorded; what was done before is not done again.
    pub(crate) async fn carry_out_effects(&self, state: &State) -> Result<(), FinishError> {
        self.carry_out_others(state, |_| false).await
    }

    /// Carries out what a task has recorded, but for the tasks that are known to exist.
    pub(crate) async fn carry_out_others(
        &self,
        state: &State,
        exists: impl Fn(&TaskId) -> bool,
    ) -> Result<(), FinishError> {
        let mut sends = Vec::new();
        for effect in state.effects.values() {
            let assignment = match effect {
                Effect::Delegate { assignment } => assignment,
                // What another role has recorded is left to the controllers, who may send it.
                Effect::Send { mail, after } => {
                    if may_speak(&self.bus, &mail.from) {
                        sends.push((mail, *after));
                    }
                    continue;
                }
            };
            if exists(&assignment.task_id) || !may_speak(&self.bus, &assignment.delegator) {
                continue;
            }
            let client = Self::new(self.bus.clone(), assignment.delegator.clone());
            match client.carry_out(assignment.clone(), None, true).await {
                // An id that other work has taken is not helped by a repetition; the handler knew.
                Ok(_) | Err(DelegateError::IdReused { .. } | DelegateError::Invalid(_)) => {}
                Err(error) => return Err(FinishError::Effect(error)),
            }
        }
        inbox::send_again(&self.bus, sends)
            .await
            .map_err(|error| FinishError::Send(Box::new(error)))
    }
}

/// Why something that an ended task left outstanding is not done yet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinishError {
    /// A task that it had recorded was not delegated.
    #[error("a task that it had recorded was not delegated")]
    Effect(#[source] DelegateError),
    /// A message that it had recorded was not sent.
    #[error("a message that it had recorded was not sent")]
    Send(#[source] Box<SendError>),
    /// Its end was not reported.
    #[error("its end was not reported")]
    Report(#[from] PublishError),
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" at {path}") }
}

/// The answer where the task exists already.
fn existing(
    log: &TaskLog,
    assignment: &Assignment,
    id: TaskId,
) -> Result<Delegated, DelegateError> {
    let known = log.state().and_then(|state| state.assignment.as_deref());
    if known.is_some_and(|known| known.same_work(assignment)) {
        return Ok(Delegated { id, existed: true });
    }
    Err(DelegateError::IdReused { id })
}

fn refused(error: EnqueueError, id: &TaskId) -> DelegateError {
    match error {
        EnqueueError::Assignment(error) => DelegateError::Invalid(error),
        EnqueueError::Read(source) => {
            DelegateError::Unreadable(HistoryError::Request { task: id.clone(), source })
        }
        EnqueueError::Execute(error) => DelegateError::Parent(error),
        EnqueueError::SchedulesFull { stored, .. } => DelegateError::SchedulesFull { stored },
        EnqueueError::NoAssignment => DelegateError::IdReused { id: id.clone() },
        EnqueueError::Publish(error) => match error {
            PublishError::Unknown { .. } => {
                DelegateError::Unknown { id: id.clone(), source: error }
            }
            PublishError::Full { .. }
            | PublishError::TaskLog { .. }
            | PublishError::Header { .. }
            | PublishError::TooLarge { .. }
            | PublishError::Conflict { .. }
            | PublishError::NoStream { .. }
            | PublishError::Refused { .. }
            | PublishError::Unreachable { .. }
            | _ => DelegateError::Failed(error),
        },
    }
}

/// An id that nobody else has; its beginning sorts by time.
#[must_use]
pub fn new_id() -> TaskId {
    let word = format!("t{}", clock::unique());
    // A letter and hexadecimal digits are always an id; the fallback is never reached.
    word.parse().unwrap_or_else(|_| TaskId::of_undecodable(0, word.as_bytes()))
}
