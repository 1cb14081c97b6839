//! Whether something can still move a task that has not ended. A queued message, a schedule or a
//! live attempt must; where none is left, the sweep puts the task on its queue again or gives it
//! up. So a queue can be emptied by hand, and every task still ends.

use std::time::Duration;

use super::{
    entry::{DeadCause, EscalationReason},
    phase::Phase,
    state::State,
};
use crate::time::Time;

/// What must be looked up before a task can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing: it ended, moved a moment ago, or is past its deadline.
    Nowhere,
    /// Whether its message is still in the queue, at this sequence.
    Queue(u64),
    /// Whether its schedule is still there.
    Schedule,
    /// Whether one of the tasks that it waits for has not ended, see [`super::wait`].
    Others,
    /// Whether its verification has not ended.
    Verification,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Whether that which was to be looked up is there.
    pub there: bool,
    /// Whether it is a message that the server will not deliver any more.
    pub parked: bool,
    /// Whether the instance of the running attempt showed a sign of life, as the same process,
    /// within [`crate::limits::HEARTBEAT_SILENCE`].
    pub alive: bool,
}

/// What to do about a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Something moves it.
    Fine,
    /// Nothing does: put it on its queue as the next epoch.
    Requeue,
    /// Its message is gone and its attempt shows no sign of life: release the attempt first.
    ReleaseAndRequeue {
        /// The attempt.
        attempt: u32,
    },
    /// What it waited for is over: it goes on.
    Resume,
    /// Nobody answered or judged: another role is asked.
    Escalate(EscalationReason),
    /// Give it up.
    Bury {
        /// The kind of cause.
        cause: DeadCause,
        /// In words.
        detail: String,
    },
}

/// What to look up for a task, to which nothing may have happened for `grace` before it is doubted.
#[must_use]
pub fn look(state: &State, now: Time, grace: Duration) -> Look {
    if state.end().is_some() || now >= state.due || is_fresh(state, now, grace) {
        return Look::Nowhere;
    }
    match &state.phase {
        Phase::Queued { queue_seq: Some(seq), .. } => Look::Queue(*seq),
        Phase::Queued { queue_seq: None, .. } => Look::Schedule,
        Phase::Running { start, .. } => Look::Queue(start.queue_seq),
        Phase::Released { queue_seq, .. } => Look::Queue(*queue_seq),
        Phase::Waiting { .. } => Look::Others,
        Phase::Submitted { escalated_to: None, .. } => Look::Verification,
        Phase::Submitted { .. }
        | Phase::Blocked { .. }
        | Phase::Ready { .. }
        | Phase::Ended { .. } => Look::Nowhere,
    }
}

/// Whether something happened to a task a moment ago. An entry that lies further in the future than
/// `grace` tells of a clock that is wrong, here or where it was written, and is no reason to wait:
/// nothing would look after the task until that clock is right.
fn is_fresh(state: &State, now: Time, grace: Duration) -> bool {
    now.since(state.last_at).max(state.last_at.since(now)) < grace
}

/// Judges a task by what was found, with the same `grace`.
#[must_use]
pub fn judge(state: &State, evidence: Evidence, now: Time, grace: Duration) -> Verdict {
    if state.end().is_some() {
        return Verdict::Fine;
    }
    if now >= state.due {
        let detail = format!("it had not ended by its deadline {}", state.due);
        return Verdict::Bury { cause: DeadCause::DeadlinePassed, detail };
    }
    // Of those that wait for a person, only time moves one.
    if let Phase::Blocked { .. } | Phase::Submitted { escalated_to: Some(_), .. } = &state.phase {
        let asks_another = escalates_at(state).is_some_and(|at| now >= at);
        let escalate = Verdict::Escalate(EscalationReason::Unanswered);
        return if asks_another { escalate } else { Verdict::Fine };
    }
    if evidence.parked && !(evidence.alive && state.running().is_some()) {
        return given_up(state.attempts);
    }
    let is_ready = matches!(state.phase, Phase::Ready { .. });
    if (evidence.there && !is_ready) || is_fresh(state, now, grace) {
        return Verdict::Fine;
    }
    if let Phase::Waiting { .. } = &state.phase {
        return Verdict::Resume;
    }
    if let Phase::Submitted { .. } = &state.phase {
        return Verdict::Escalate(EscalationReason::Unverified);
    }
    if !state.may_enqueue_again() {
        let detail = format!("it was put on its queue {} times and is there no more", state.epoch);
        return Verdict::Bury { cause: DeadCause::Lost, detail };
    }
    match state.running() {
        Some(_) if evidence.alive => Verdict::Fine,
        Some(start) => Verdict::ReleaseAndRequeue { attempt: start.attempt },
        None => Verdict::Requeue,
    }
}

/// The end of a task whose message the server delivers no more.
#[must_use]
pub fn given_up(attempts: u32) -> Verdict {
    let detail = format!(
        "its message was delivered as often as its consumer allows; attempts begun: {attempts}"
    );
    Verdict::Bury { cause: DeadCause::DeliveriesExhausted, detail }
}

/// When another role is asked for the answer to an open question.
const fn escalates_at(state: &State) -> Option<Time> {
    if let Phase::Blocked { question, escalated_to: None, .. } = &state.phase {
        question.escalate_at
    } else {
        None
    }
}

/// When time alone changes the verdict on a task that is found well.
#[must_use]
pub fn alarm(state: &State) -> Time {
    escalates_at(state).map_or(state.due, |at| at.min(state.due))
}
