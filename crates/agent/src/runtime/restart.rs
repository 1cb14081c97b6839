//! What an earlier process of the same instance held is given back. The server tells which
//! deliveries of the role are still open; the log tells which of them are this instance's, of
//! another incarnation: these are released at once. A delivery that was taken and not yet begun,
//! or ended in the log and not yet acked, is nobody's by the log. Whoever has it moves within
//! moments, unless it is gone: where nothing has moved after a grace, it is handed out again. The
//! cost is that of the open deliveries, however long the log is.

use std::sync::Arc;

use sinew_bus::{AckSubject, ExecuteError, TaskLog, clock};
use sinew_model::{
    Assignment, Band,
    limits::{ACK_PENDING, ORPHAN_GRACE},
    stream::{AGENT_TASKS, work_consumer_name},
    task::{Command, ReleaseReason, Start, State},
};

use super::{begin::chain, host::Host};

/// A delivery that is open, and nobody works on it.
struct Idle {
    /// The task's log; `None` where the message is no assignment.
    log: Option<TaskLog>,
    seq: u64,
    /// Where it is ended.
    ack: AckSubject,
}

/// Gives back what an earlier incarnation of this instance holds. Only a named instance has one.
pub(crate) async fn release_earlier(host: Arc<Host>) {
    if host.settings.instance.is_none() {
        return;
    }
    let mut idle = Vec::new();
    for band in Band::ALL {
        if let Err(error) = release_band(&host, band, &mut idle).await {
            // What is not released now comes back when its ack wait is over.
            tracing::warn!(why = error, "not all that an earlier process held could be released");
        }
    }
    clock::pause(ORPHAN_GRACE).await;
    for open in idle {
        let seq = open.seq;
        if let Err(error) = hand_out(&host, open).await {
            tracing::warn!(seq, why = error, "it comes back when its ack wait is over");
        }
    }
}

async fn release_band(host: &Host, band: Band, idle: &mut Vec<Idle>) -> Result<(), String> {
    let consumer = work_consumer_name(&host.settings.role, band);
    let open = host.bus.open_deliveries(AGENT_TASKS, &consumer).await;
    let Some(open) = open.map_err(|error| chain(&error))? else { return Ok(()) };
    let subject = host.bus.subjects().tasks(&host.settings.role, band);
    let mut from = open.first;
    for _ in 0..ACK_PENDING {
        let next = host.bus.first_from(AGENT_TASKS, subject.as_str(), from).await;
        let Some(message) = next.map_err(|error| chain(&error))? else { break };
        let seq = message.seq;
        if seq > open.last {
            break;
        }
        from = seq.saturating_add(1);
        let ack = AckSubject::of_open(AGENT_TASKS, &consumer, seq, open.newest_delivery);
        let Ok(assignment) = Assignment::decode(&message.payload) else {
            idle.push(Idle { log: None, seq, ack });
            continue;
        };
        let log = TaskLog::read(&host.bus, assignment.task_id, host.by.clone()).await;
        let mut log = log.map_err(|error| chain(&error))?;
        if log.state().is_none_or(|state| is_idle(state, seq)) {
            idle.push(Idle { log: Some(log), seq, ack });
        } else {
            release(host, &mut log, seq).await.map_err(|error| chain(&error))?;
        }
    }
    Ok(())
}

async fn release(host: &Host, log: &mut TaskLog, seq: u64) -> Result<(), ExecuteError> {
    let Some(start) = log.state().and_then(|state| state.running()).cloned() else { return Ok(()) };
    if !is_earlier(host, &start) || start.queue_seq != seq {
        return Ok(());
    }
    let attempt = start.attempt;
    let command = Command::Release { attempt, reason: ReleaseReason::Restarted, retry: None };
    match log.execute(&command).await {
        Ok(_) => {}
        Err(ExecuteError::Refused(_)) => return Ok(()),
        Err(error) => return Err(error),
    }
    tracing::info!(task = %log.id(), attempt, "released what an earlier process held");
    if let Some(ack) = start.ack.and_then(|ack| ack.parse::<AckSubject>().ok())
        && let Err(error) = host.bus.nak_on_behalf(&ack).await
    {
        tracing::warn!(task = %log.id(), %error, "it comes back when its ack wait is over");
    }
    Ok(())
}

/// Has a delivery made again on which nobody has worked for the whole of the grace. Where somebody
/// begins at this very moment, another one may take the task over, as after an ack wait.
async fn hand_out(host: &Host, open: Idle) -> Result<(), String> {
    let Idle { log, seq, ack } = open;
    let mut moved = false;
    if let Some(mut log) = log {
        let before = log.last_seq();
        log.refresh().await.map_err(|error| chain(&error))?;
        moved = log.last_seq() != before;
    }
    let queued = host.bus.at(AGENT_TASKS, seq).await.map_err(|error| chain(&error))?;
    if moved || queued.is_none() {
        return Ok(());
    }
    tracing::info!(seq, "nobody works on what was taken from the queue; it is handed out again");
    host.bus.nak_on_behalf(&ack).await.map_err(|error| chain(&error))
}

/// Whether nobody works on the task, and this is its message.
fn is_idle(state: &State, seq: u64) -> bool {
    state.running().is_none() && state.queue_seq().is_none_or(|queue_seq| queue_seq == seq)
}

fn is_earlier(host: &Host, start: &Start) -> bool {
    start.instance == host.instance && start.incarnation != host.incarnation
}
