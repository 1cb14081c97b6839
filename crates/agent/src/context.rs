//! What a handler has in hand while it works on one attempt of a task.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use serde_json::Value;
use sinew_model::{
    Assignment, TaskId,
    limits::WAITED_TASKS,
    signature::{Sender, Verdict},
    task::{Answered, Refusal, RefusedResult, State, wait},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    advance::Survey,
    ask::Ask,
    client::{Client, DelegateError, Delegated},
    delegation::Delegation,
    event::{Emission, EmitError},
    follow::Outcome,
    handler::Failure,
    inbox::{Message, SendError, Sent},
};

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) message: String,
    pub(crate) percent: Option<u8>,
}

/// What earlier attempts of the task have left for this one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    answers: BTreeMap<String, Answered>,
    refusals: Vec<RefusedResult>,
}

impl Known {
    pub(crate) fn of(state: Option<&State>) -> Self {
        state.map_or_else(Self::default, |state| Self {
            answers: state.answers.clone(),
            refusals: state.refusals.clone(),
        })
    }
}

/// One attempt of one task. Clones are of the same attempt.
#[derive(Clone, Debug)]
pub struct Context {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    assignment: Arc<Assignment>,
    delegator: Verdict,
    known: Known,
    /// Numbers the questions that come without a key, in the order in which they are asked.
    asked: AtomicU32,
    attempt: u32,
    fence: u64,
    client: Client,
    /// Cancelled by the runtime when the attempt shall end; the handler only listens.
    stop: CancellationToken,
    /// The newest progress; the runtime writes it down, at most once a second.
    progress: watch::Sender<Option<Progress>>,
    /// How the task stands once the end of the attempt is in its log.
    written: watch::Receiver<Option<Box<State>>>,
}

/// The runtime's ends of what it and a handler say to each other.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) progress: watch::Receiver<Option<Progress>>,
    pub(crate) written: watch::Sender<Option<Box<State>>>,
}

impl Line {
    /// Both ends: the runtime's and the handler's.
    pub(crate) fn new() -> (Self, HandlerLine) {
        let (sender, progress) = watch::channel(None);
        let (written, receiver) = watch::channel(None);
        (Self { progress, written }, HandlerLine { progress: sender, written: receiver })
    }
}

/// The handler's ends of a [`Line`].
#[derive(Debug)]
pub(crate) struct HandlerLine {
    progress: watch::Sender<Option<Progress>>,
    written: watch::Receiver<Option<Box<State>>>,
}

impl Context {
    pub(crate) fn new(
        (assignment, delegator, known): (Arc<Assignment>, Verdict, Known),
        (attempt, fence): (u32, u64),
        client: Client,
        stop: CancellationToken,
        line: HandlerLine,
    ) -> Self {
        let asked = AtomicU32::new(0);
        let HandlerLine { progress, written } = line;
        let inner = Inner {
            assignment,
            delegator,
            known,
            asked,
            attempt,
            fence,
            client,
            stop,
            progress,
            written,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The task as it was delegated.
    #[must_use]
    pub fn assignment(&self) -> &Assignment {
        &self.inner.assignment
    }

    /// Who delegated it, where its signature tells; `None`: the assignment's `delegator` is only
    /// what somebody wrote.
    #[must_use]
    pub fn delegated_by(&self) -> Option<&Sender> {
        self.inner.delegator.sender()
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

    /// Asks a question. Where it was answered, this is the answer; else it is a [`Failure::Block`]
    /// to return: the attempt ends, the question is sent, and once it is answered the next attempt
    /// comes here again and gets the answer.
    ///
    /// ```no_run
    /// # use sinew_agent::{Ask, Context, Failure};
    /// # use serde_json::{Value, json};
    /// async fn handler(task: Context) -> Result<Value, Failure> {
    ///     let colour = task.ask(Ask::new("Which colour?").choices(["red", "blue"]))?;
    ///     Ok(json!({ "painted": colour }))
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Failure::Block`]; [`Failure::Fatal`] where nobody could answer the question, as when a
    /// choice is offered twice.
    pub fn ask(&self, what: Ask) -> Result<Value, Failure> {
        let ordinal = self.inner.asked.fetch_add(1, Ordering::Relaxed);
        let question = what
            .question(ordinal, self.assignment())
            .map_err(|error| Failure::fatal(format!("a question can't be asked: {error}")))?;
        match self.inner.known.answers.get(&question.key) {
            Some(answered) => Ok(answered.answer.clone()),
            None => Err(Failure::Block { question: Box::new(question) }),
        }
    }

    /// The questions that were answered, by key.
    #[must_use]
    pub fn answers(&self) -> &BTreeMap<String, Answered> {
        &self.inner.known.answers
    }

    /// Why earlier results of the task were refused, the newest last; at most 3.
    #[must_use]
    pub fn refusals(&self) -> &[RefusedResult] {
        &self.inner.known.refusals
    }

    /// How other tasks have ended, in the order in which they were asked for. Where one has not,
    /// it is a [`Failure::Wait`] to return: the attempt ends and holds nothing while it waits, and
    /// once all have ended the next attempt comes here again. What it delegated before happens
    /// once, so it finds the same children.
    ///
    /// # Errors
    /// [`Failure::Wait`]; [`Failure::Fatal`] where the tasks would wait for each other, with the
    /// chain named; [`Failure::Retry`] where a log can't be read or a task does not exist.
    pub async fn wait_for(
        &self,
        tasks: impl IntoIterator<Item = TaskId> + Send,
    ) -> Result<Vec<Outcome>, Failure> {
        let on: Vec<TaskId> = tasks.into_iter().collect();
        if on.len() > WAITED_TASKS {
            let cause = format!("an attempt may wait for at most {WAITED_TASKS} tasks at once");
            return Err(Failure::fatal(cause));
        }
        let survey = Survey::of(self.inner.client.bus(), self.id(), &on).await?;
        if let Some(chain) = wait::cycle(self.id(), &survey.waits) {
            return Err(Failure::fatal(Refusal::Cycle(chain).to_string()));
        }
        let mut outcomes = Vec::with_capacity(on.len());
        let mut open = false;
        for task in &on {
            let Some(state) = survey.states.get(task) else {
                return Err(Failure::retry(format!("there is no task {task} to wait for")));
            };
            match state.end() {
                Some(end) => {
                    outcomes.push(Outcome { end: end.clone(), attempts: state.attempts });
                }
                None => open = true,
            }
        }
        if open { Err(Failure::Wait { on }) } else { Ok(outcomes) }
    }

    /// Reports how far the work is: one line for a person, and a percentage. Of reports that come
    /// faster than one a second only the newest is kept.
    pub fn progress(&self, message: impl Into<String>, percent: Option<u8>) {
        let progress = Progress { message: message.into(), percent };
        self.inner.progress.send_replace(Some(progress));
    }

    /// Sends a message on behalf of this task. It is sent once, however often this one is tried.
    ///
    /// # Errors
    /// See [`SendError`]. [`SendError::Parent`] says that this attempt has lost its task: stop.
    pub async fn send(&self, what: Message) -> Result<Sent, SendError> {
        self.inner.client.send(what).await
    }

    /// Emits an event on behalf of this task.
    ///
    /// # Errors
    /// See [`EmitError`].
    pub async fn emit(&self, what: Emission) -> Result<(), EmitError> {
        self.inner.client.emit(what).await
    }

    /// Hears how the task stands once the end of the attempt is in its log; nothing more comes
    /// where the attempt ended otherwise.
    pub(crate) fn written(&self) -> watch::Receiver<Option<Box<State>>> {
        self.inner.written.clone()
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
