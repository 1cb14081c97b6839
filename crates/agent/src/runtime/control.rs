//! Obeys what is said about the flow of work: a pause of the role or of this instance, and an
//! order to drain that was given while this process ran.

use std::{sync::Arc, time::Duration};

use sinew_bus::{RequestError, clock};
use sinew_model::{
    Time,
    control::{Control, Target},
    limits::CONTROL_EVERY,
};
use tokio_util::sync::CancellationToken;

use super::host::{Flow, Host};
use crate::{control::control, lookout::Lookout};

/// What a runtime was told so far.
pub(crate) struct Orders {
    host: Arc<Host>,
    /// `None` where the connection is closed for good.
    lookout: Option<Lookout>,
    /// Whom it listens for: its role, and itself.
    targets: [Target; 2],
    /// The orders to drain that were given before it began.
    before: [Option<String>; 2],
}

impl Orders {
    /// Looks for the first time, before anything is taken.
    ///
    /// # Errors
    /// When it can't be known whether the role is paused.
    pub(crate) async fn begin(host: &Arc<Host>) -> Result<Self, RequestError> {
        let role = &host.settings.role;
        // First listen and then read, so that nothing falls in between.
        let hints = host.bus.watch_subject(host.bus.subjects().controls(role).as_str()).await;
        let targets =
            [Target::Role(role.clone()), Target::Instance(role.clone(), host.instance.clone())];
        let lookout = hints.ok().map(|hints| Lookout::new(hints, CONTROL_EVERY));
        let mut orders = Self { host: Arc::clone(host), lookout, targets, before: [None, None] };
        let records = orders.read().await?;
        let drains = |record: &Option<Control>| record.as_ref()?.drain.clone();
        orders.before = [drains(&records[0]), drains(&records[1])];
        // When it changes by itself is found at the first look of `obey`.
        orders.follow(&records);
        Ok(orders)
    }

    /// Obeys until `quit`, also while the server is away.
    pub(crate) async fn obey(mut self, quit: CancellationToken) {
        quit.run_until_cancelled(async {
            let mut expires = None;
            loop {
                wait(self.lookout.as_mut(), expires).await;
                match self.read().await {
                    Ok(records) => expires = self.follow(&records),
                    // What is known goes on to hold.
                    Err(error) => tracing::debug!(%error, "what holds can't be read now"),
                }
            }
        })
        .await;
    }

    async fn read(&self) -> Result<[Option<Control>; 2], RequestError> {
        let [role, instance] = &self.targets;
        Ok([control(&self.host.bus, role).await?, control(&self.host.bus, instance).await?])
    }

    /// Has the runtime do as the records say. Gives the moment at which that changes by itself.
    fn follow(&self, records: &[Option<Control>; 2]) -> Option<Time> {
        let now = clock::now();
        let mut until = None;
        let (mut paused, mut drained) = (false, false);
        for (record, before) in records.iter().zip(&self.before) {
            let Some(record) = record else { continue };
            drained |= record.drain.is_some() && record.drain != *before;
            if let Some(pause) = record.paused(now) {
                paused = true;
                until = until.max(pause.until);
            }
        }
        self.host.set_flow(match (drained, paused) {
            (true, _) => Flow::Drained,
            (false, true) => Flow::Paused,
            (false, false) => Flow::Open,
        });
        until
    }
}

/// Until something is heard, or it is time to look anyway.
async fn wait(lookout: Option<&mut Lookout>, expires: Option<Time>) {
    let left = expires.map_or(Duration::MAX, |at| at.since(clock::now()));
    let heard = async {
        match lookout {
            Some(lookout) => lookout.wait().await,
            None => clock::pause(CONTROL_EVERY).await,
        }
    };
    tokio::select! {
        () = heard => {}
        // A millisecond more, so that the pause is over by this clock as well.
        () = clock::pause(left.saturating_add(Duration::from_millis(1)).min(CONTROL_EVERY)) => {}
    }
}
