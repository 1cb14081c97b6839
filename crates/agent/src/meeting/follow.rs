//! What happens in a meeting, as it happens: every entry that counts, once, in the one order that
//! everybody sees.

use std::collections::VecDeque;

use sinew_bus::MeetingLog;
use sinew_model::{
    MeetingId,
    limits::FOLLOW_EVERY,
    meeting::{Entry, State, Stored},
};

use super::MeetError;
use crate::lookout::Lookout;

/// A meeting as it goes on.
#[derive(Debug)]
pub struct Follow {
    log: MeetingLog,
    lookout: Lookout,
    ready: VecDeque<Stored>,
    given: u64,
}

impl Follow {
    /// Follows the meeting of this log from its beginning on.
    pub(super) async fn new(of: &MeetingLog) -> Result<Self, MeetError> {
        let bus = of.bus();
        let filter = bus.subjects().meeting(of.id());
        let hints = bus.watch_subject(filter.as_str()).await.map_err(MeetError::Hear)?;
        Ok(Self {
            log: of.afresh(),
            lookout: Lookout::new(hints, FOLLOW_EVERY),
            ready: VecDeque::new(),
            given: 0,
        })
    }

    /// The meeting.
    #[must_use]
    pub const fn id(&self) -> &MeetingId {
        self.log.id()
    }

    /// The next entry; `None` once the meeting is closed and its action items are tasks, or where
    /// there is no such meeting. It may be cancelled without losing anything.
    ///
    /// # Errors
    /// When the log can't be read. Asking again goes on where it stopped.
    pub async fn next(&mut self) -> Result<Option<Entry>, MeetError> {
        loop {
            if let Some(stored) = self.ready.pop_front() {
                self.given = stored.seq;
                return Ok(Some(stored.entry));
            }
            if self.state().is_some_and(State::is_done) {
                return Ok(None);
            }
            let (new, is_all) = self.log.step().await?;
            self.ready.extend(new);
            if is_all && self.state().is_none() {
                return Ok(None);
            }
            if is_all && self.ready.is_empty() {
                self.lookout.wait().await;
            }
        }
    }

    /// The sequence of the entry that was given last; 0 before the first.
    #[must_use]
    pub const fn given(&self) -> u64 {
        self.given
    }

    /// The same as a stream; it ends where [`Follow::next`] gives `None`.
    pub fn into_stream(self) -> impl futures::Stream<Item = Result<Entry, MeetError>> {
        futures::stream::unfold(self, async |mut follow| {
            let next = follow.next().await.transpose()?;
            Some((next, follow))
        })
    }

    /// Where the meeting stands after all that was read, also what [`Follow::next`] has not given
    /// yet.
    #[must_use]
    pub const fn state(&self) -> Option<&State> {
        self.log.state()
    }
}
