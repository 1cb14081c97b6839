//! Moves meetings on where none of their members does: invites, begins, passes over whoever is
//! silent, counts votes whose time is up, replaces a chair that is gone, ends what has had its time,
//! and makes tasks of action items. What is due is the model's to say, and each step is written by
//! compare-and-set, so two of these do no more than one.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt as _;
use sinew_agent::{Client, MeetError};
use sinew_bus::{Bus, RawMessage, RequestError, Scan, ScanError, clock};
use sinew_model::{
    IdError, MeetingId, Role, Time,
    limits::{MEETING_AGAIN, MEETINGS_AT_ONCE, MEETINGS_EVERY},
    meeting::Meeting,
    stream::MEETINGS,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The name under which controllers write.
const CONTROLLERS: &str = "sinew";

/// Looks after the meetings of one org.
#[derive(Debug)]
pub struct Meetings {
    bus: Bus,
    by: Role,
    /// Those that are not over, and those whose action items are not all tasks.
    open: BTreeMap<MeetingId, Meeting>,
    /// When those are looked at again that could not be moved on, and after how long the next time.
    later: BTreeMap<MeetingId, (Instant, Duration)>,
}

impl Meetings {
    /// Looks after the meetings of the org of this connection. Their stream is there.
    ///
    /// # Errors
    /// When the name under which controllers write is not acceptable.
    pub fn new(bus: Bus) -> Result<Self, IdError> {
        let by = CONTROLLERS.parse()?;
        Ok(Self { bus, by, open: BTreeMap::new(), later: BTreeMap::new() })
    }

    /// Looks after them until `shutdown`. What is left in the middle is done by whoever looks next.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let all = async {
            loop {
                if let Err(error) = self.follow().await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the meetings can't be followed now; they are read anew"
                    );
                }
                clock::pause(MEETINGS_EVERY).await;
            }
        };
        shutdown.run_until_cancelled(all).await;
    }

    /// Reads all meetings, and moves them on, until the stream is no longer the same.
    async fn follow(&mut self) -> Result<(), ScanError> {
        self.open.clear();
        let filter = self.bus.subjects().all_meetings();
        let mut scan = self.bus.scan(MEETINGS, filter.as_str(), 1).await?;
        let mut look = tokio::time::interval(MEETINGS_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = scan.next() => {
                    let message = message?;
                    match self.bus.is_genuine_entry(&message, &self.by).await {
                        Ok(genuine) => self.take(&message, genuine),
                        // All of it is read again, since nothing may be left out.
                        Err(error) => {
                            let error = &error as &dyn std::error::Error;
                            tracing::warn!(error, "it is not known who wrote an entry");
                            return Ok(());
                        }
                    }
                }
                _ = look.tick() => match self.look(&scan).await {
                    Ok(true) => {}
                    Ok(false) => return Ok(()),
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "the meetings can't be looked at now");
                    }
                }
            }
        }
    }

    fn take(&mut self, message: &RawMessage, genuine: bool) {
        let stored = match message.meeting_entry(self.bus.subjects()) {
            Ok(stored) => stored,
            Err(error) => {
                tracing::debug!(seq = message.seq, %error, "no entry of a meeting");
                return;
            }
        };
        let id = stored.entry.meeting_id.clone();
        let meeting = self.open.entry(id.clone()).or_default();
        if !genuine {
            meeting.refuse(message.seq);
        } else if let Err(void) = meeting.apply(&id, &stored) {
            tracing::debug!(meeting = %id, seq = message.seq, %void, "void");
        }
        // One that is done needs nobody any more.
        if meeting.state.as_ref().is_none_or(|state| state.is_done()) {
            self.open.remove(&id);
            self.later.remove(&id);
        }
    }

    /// Moves on what is due; `false` where the stream was made anew, so that all must be read again.
    async fn look(&mut self, scan: &Scan) -> Result<bool, RequestError> {
        let known = self.bus.stream_state(MEETINGS).await?.last_seq;
        if known.saturating_add(1) < scan.position() {
            return Ok(false);
        }
        if scan.pending() > 0 || self.open.is_empty() {
            return Ok(true);
        }
        let now = self.bus.server_time(MEETINGS).await?;
        let due = self.due(now);
        let client = Client::new(self.bus.clone(), self.by.clone());
        let tended = futures::stream::iter(due).map(async |id| {
            let outcome = tend(&client, &id).await;
            (id, outcome)
        });
        let tended: Vec<_> = tended.buffer_unordered(MEETINGS_AT_ONCE).collect().await;
        for (id, outcome) in tended {
            match outcome {
                Ok(()) => {
                    self.later.remove(&id);
                }
                Err(error) => self.put_off(id, &error),
            }
        }
        Ok(true)
    }

    fn due(&self, now: Time) -> Vec<MeetingId> {
        let is_due = |id: &MeetingId, meeting: &Meeting| {
            let may = self.later.get(id).is_none_or(|(at, _)| *at <= clock::instant());
            may && meeting.state.as_ref().is_some_and(|state| state.due(now).is_some())
        };
        self.open.iter().filter(|(id, it)| is_due(id, it)).map(|(id, _)| id.clone()).collect()
    }

    /// What did not work is tried again, at growing distances.
    fn put_off(&mut self, id: MeetingId, error: &MeetError) {
        let error = error as &dyn std::error::Error;
        tracing::warn!(meeting = %id, error, "a meeting is moved on later");
        let (first, longest) = MEETING_AGAIN;
        let pause = self.later.get(&id).map_or(first, |(_, pause)| *pause);
        let next = pause.saturating_mul(2).min(longest);
        self.later.insert(id, (clock::instant() + pause, next));
    }
}

async fn tend(client: &Client, id: &MeetingId) -> Result<(), MeetError> {
    client.meet(id).await?.tend().await
}
