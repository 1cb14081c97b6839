//! What an earlier process of the same instance held is given back: the open deliveries whose
//! attempts are this instance's, of another incarnation, and those on which nobody works. See
//! [`crate::reclaim`].

use std::sync::Arc;

use sinew_bus::clock;
use sinew_model::{
    Band,
    limits::ORPHAN_GRACE,
    task::{ReleaseReason, Start},
};

use super::{begin::chain, host::Host};
use crate::reclaim::Reclaim;

/// Gives back what an earlier incarnation of this instance holds. Only a named instance has one.
pub(crate) async fn release_earlier(host: Arc<Host>) {
    if host.settings.instance.is_none() {
        return;
    }
    let role = host.settings.role.clone();
    let reason = ReleaseReason::Restarted;
    let reclaim = Reclaim::new(host.bus.clone(), role, host.by.clone(), reason);
    let is_earlier =
        |start: &Start| start.instance == host.instance && start.incarnation != host.incarnation;
    let mut idle = Vec::new();
    for band in Band::ALL {
        match reclaim.release_band(band, is_earlier).await {
            Ok(found) => idle.extend(found),
            // What is not released now comes back when its ack wait is over.
            Err(error) => tracing::warn!(
                why = chain(&error),
                "not all that an earlier process held could be released"
            ),
        }
    }
    clock::pause(ORPHAN_GRACE).await;
    for open in idle {
        let seq = open.seq();
        if let Err(error) = reclaim.hand_out(open).await {
            tracing::warn!(seq, why = chain(&error), "it comes back when its ack wait is over");
        }
    }
}
