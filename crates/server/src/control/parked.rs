//! Messages that the server has given up: where a consumer has a limit of its own on deliveries,
//! a message beyond it stays in the queue and is delivered no more. The server says so once, to
//! whoever listens; the sweep finds what nobody heard. The task ends in `dead`, visibly.

use serde::Deserialize;
use sinew_agent::{AdvanceError, Client, FinishError, advance};
use sinew_bus::{Bus, ExecuteError, HistoryError, RequestError, TaskLog, clock};
use sinew_model::{
    Address, Assignment, IdError,
    limits::TRY_AGAIN,
    stream::{AGENT_TASKS, work_consumer_name},
    task::{Actor, Command, Phase, State, sweep},
};
use tokio_util::sync::CancellationToken;

use super::{presence::Presence, sweep::CONTROLLERS};

/// What the server says when it gives a message up.
#[derive(Debug, Deserialize)]
struct Advisory {
    stream_seq: u64,
}

/// Hears what the server gives up in one org.
#[derive(Debug)]
pub struct Parked {
    bus: Bus,
    presence: Presence,
    by: Actor,
}

/// Why a task whose message was given up has not ended yet.
#[derive(Debug, thiserror::Error)]
enum ParkedError {
    #[error("its message could not be looked at")]
    Look(#[from] RequestError),
    #[error("its log could not be read")]
    Read(#[from] HistoryError),
    #[error("its log did not take the entry")]
    Execute(#[from] ExecuteError),
    #[error("what it left outstanding is not done")]
    Finish(#[from] FinishError),
    #[error("it waits, and could not be moved")]
    Advance(#[from] AdvanceError),
}

impl Parked {
    /// Acts on what the server says about the queue.
    ///
    /// # Errors
    /// Never in this version; the name under which it writes is checked like any other.
    pub fn new(bus: Bus, presence: Presence) -> Result<Self, IdError> {
        let by = Actor { role: CONTROLLERS.parse()?, instance: Some("parked".parse()?) };
        Ok(Self { bus, presence, by })
    }

    /// Listens until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.listen() => {}
        }
    }

    async fn listen(&self) {
        let subject = format!("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{AGENT_TASKS}.*");
        loop {
            if let Ok(mut hints) = self.bus.watch_subject(&subject).await {
                while let Some(hint) = hints.next().await {
                    let Ok(advisory) = serde_json::from_slice::<Advisory>(hint.payload()) else {
                        continue;
                    };
                    if let Err(error) = self.give_up(advisory.stream_seq).await {
                        tracing::warn!(
                            seq = advisory.stream_seq,
                            error = &error as &dyn std::error::Error,
                            "a message that is delivered no more is left to the sweep"
                        );
                    }
                }
            }
            clock::pause(TRY_AGAIN).await;
        }
    }

    /// Ends the task of a message that is delivered no more.
    async fn give_up(&self, seq: u64) -> Result<(), ParkedError> {
        let Some(message) = self.bus.at(AGENT_TASKS, seq).await? else { return Ok(()) };
        // A message that no worker could decode was kept as dead when it was first delivered.
        let Ok(assignment) = Assignment::decode(&message.payload) else { return Ok(()) };
        let id = assignment.task_id.clone();
        let mut log = TaskLog::read(&self.bus, id, self.by.clone()).await?;
        if log.state().is_none() {
            let assignment = Box::new(assignment);
            log.execute(&Command::Create { assignment, queue_seq: Some(seq) }).await?;
        }
        let Some(state) = log.state().cloned() else { return Ok(()) };
        if self.is_alive(&state) {
            return Ok(());
        }
        let is_of = match &state.phase {
            Phase::Queued { queue_seq, .. } => queue_seq.is_none_or(|known| known == seq),
            Phase::Running { .. } | Phase::Released { .. } => state.queue_seq() == Some(seq),
            Phase::Blocked { .. }
            | Phase::Waiting { .. }
            | Phase::Submitted { .. }
            | Phase::Ready { .. }
            | Phase::Ended { .. } => false,
        };
        if is_of && let sweep::Verdict::Bury { cause, detail } = sweep::given_up(state.attempts) {
            log.execute(&Command::Bury { cause, detail, bytes: None }).await?;
            tracing::warn!(task = %log.id(), seq, "a task is dead: its message is delivered no more");
            if let Some(state) = log.state() {
                Client::new(self.bus.clone(), self.by.role.clone()).finish(state).await?;
            }
        } else if state.end().is_none() {
            // It moves without this message, once whoever it waits for was asked.
            advance(&self.bus, &self.by, &mut log).await?;
        }
        remove(&self.bus, seq).await?;
        Ok(())
    }

    fn is_alive(&self, state: &State) -> bool {
        let running = state.running();
        running.is_some_and(|start| self.presence.is_alive(&start.instance, &start.incarnation))
    }
}

/// Whether the server will not deliver the message at `seq` of the queue any more: it lies below
/// everything that its consumer still has to deliver or waits for an ack of. What is acked is in
/// the queue no more, so a message down there was given up.
pub(super) async fn is_given_up(bus: &Bus, subject: &str, seq: u64) -> Result<bool, RequestError> {
    let Some(Address::Tasks(role, band)) = bus.subjects().parse(subject) else { return Ok(false) };
    let consumer = work_consumer_name(&role, band);
    let open = bus.open_deliveries(AGENT_TASKS, &consumer).await?;
    // It may have been taken and acked between the two looks.
    Ok(open.is_some_and(|open| seq < open.first) && bus.at(AGENT_TASKS, seq).await?.is_some())
}

/// Takes a message out of the queue that nobody will ever take.
pub(super) async fn remove(bus: &Bus, seq: u64) -> Result<(), RequestError> {
    let which = serde_json::json!({ "seq": seq });
    let call = format!("STREAM.MSG.DELETE.{AGENT_TASKS}");
    match bus.api::<serde_json::Value>(&call, &which).await {
        // Somebody else was faster.
        Ok(_) | Err(RequestError::Refused { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
