//! Signs of life: those of this runtime, one a second, one after each reconnect, and a last one
//! that says that it leaves; and whether another one shows some.

use std::sync::Arc;

use sinew_bus::clock;
use sinew_model::{
    TaskId,
    limits::{HEARTBEAT_EVERY, HOLDER_LISTEN},
    presence::Heartbeat,
    task::Start,
};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::host::Host;

/// Shows signs of life until `quit`, then says goodbye.
pub(crate) async fn show(host: Arc<Host>, quit: CancellationToken) {
    let mut tick = tokio::time::interval(HEARTBEAT_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connections = host.bus.connections();
    loop {
        tokio::select! {
            () = quit.cancelled() => break,
            _ = tick.tick() => beat(&host, false).await,
            // Whoever saw the connection end waits for this before the tasks are taken back.
            Ok(()) = connections.changed() => {
                // Only what was flushed has met the new connection, which the heartbeat names.
                if let Err(error) = host.bus.flush().await {
                    tracing::debug!(error, "the connection is away again");
                }
                beat(&host, false).await;
            }
        }
    }
    beat(&host, true).await;
}

/// A heartbeat that gets lost is followed by the next one, so no answer is awaited.
async fn beat(host: &Host, leaving: bool) {
    let heartbeat = host.heartbeat(leaving);
    let subject = host.bus.subjects().heartbeat(&heartbeat.role);
    let sent = match serde_json::to_vec(&heartbeat) {
        Ok(body) => {
            host.bus.send_unanswered(&subject, body).await.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "a heartbeat was not sent");
    }
}

/// Whether the process that the log names still works on the task: it is listened for until it
/// says so or says otherwise, or has been silent for long enough.
pub(crate) async fn holds(host: &Host, task: &TaskId, start: &Start) -> bool {
    if start.instance == host.instance {
        // Another process under the name of this one came before it.
        return false;
    }
    let subject = host.bus.subjects().heartbeat(&host.settings.role);
    let Ok(mut hints) = host.bus.watch_subject(subject.as_str()).await else { return false };
    let end = clock::instant() + HOLDER_LISTEN.min(host.renew_every());
    while let Ok(Some(hint)) = tokio::time::timeout_at(end, hints.next()).await {
        let Ok(heartbeat) = serde_json::from_slice::<Heartbeat>(hint.payload()) else { continue };
        if heartbeat.instance != start.instance {
            continue;
        }
        if heartbeat.incarnation == start.incarnation {
            return heartbeat.names(task, start.attempt);
        }
        // A later process of that name: the one that began is dead.
        if heartbeat.incarnation > start.incarnation {
            return false;
        }
    }
    false
}
