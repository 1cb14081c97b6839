//! What an earlier process of the same instance held is released at once. The server tells which
//! deliveries of the role are still open; the log tells which of them are this instance's, of
//! another incarnation. So the cost is that of the open deliveries, however long the log is.

use std::sync::Arc;

use sinew_bus::{AckSubject, ExecuteError, TaskLog};
use sinew_model::{
    Assignment, Band,
    limits::ACK_PENDING,
    stream::{AGENT_TASKS, work_consumer_name},
    task::{Command, ReleaseReason, Start},
};

use super::{begin::chain, host::Host};

/// Releases what an earlier incarnation of this instance holds. Only a named instance has one.
pub(crate) async fn release_earlier(host: Arc<Host>) {
    if host.settings.instance.is_none() {
        return;
    }
    for band in Band::ALL {
        if let Err(error) = release_band(&host, band).await {
            // What is not released now comes back when its ack wait is over.
            tracing::warn!(why = error, "not all that an earlier process held could be released");
        }
    }
}

async fn release_band(host: &Host, band: Band) -> Result<(), String> {
    let consumer = work_consumer_name(&host.settings.role, band);
    let open = host.bus.open_deliveries(AGENT_TASKS, &consumer).await;
    let Some(open) = open.map_err(|error| chain(&error))? else { return Ok(()) };
    let subject = host.bus.subjects().tasks(&host.settings.role, band);
    let mut from = open.first;
    for _ in 0..ACK_PENDING {
        let next = host.bus.first_from(AGENT_TASKS, subject.as_str(), from).await;
        let Some(message) = next.map_err(|error| chain(&error))? else { break };
        if message.seq > open.last {
            break;
        }
        from = message.seq.saturating_add(1);
        if let Ok(assignment) = Assignment::decode(&message.payload) {
            release(host, &assignment, message.seq).await.map_err(|error| chain(&error))?;
        }
    }
    Ok(())
}

async fn release(host: &Host, assignment: &Assignment, seq: u64) -> Result<(), ExecuteError> {
    let mut log = TaskLog::read(&host.bus, assignment.task_id.clone(), host.by.clone()).await?;
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

fn is_earlier(host: &Host, start: &Start) -> bool {
    start.instance == host.instance && start.incarnation != host.incarnation
}
