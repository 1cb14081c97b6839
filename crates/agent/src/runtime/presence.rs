//! Signs of life of a runtime: one a second, and a last one that says that it leaves.

use std::sync::Arc;

use sinew_model::limits::HEARTBEAT_EVERY;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::host::Host;

/// Shows signs of life until `quit`, then says goodbye.
pub(crate) async fn show(host: Arc<Host>, quit: CancellationToken) {
    let mut tick = tokio::time::interval(HEARTBEAT_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = quit.cancelled() => break,
            _ = tick.tick() => beat(&host, false).await,
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
