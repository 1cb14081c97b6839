//! The meetings of an org, some at a time: those first in which something happened last.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use sinew_bus::{MeetingLog, RequestError, ScanError};
use sinew_model::{
    Address, MeetingId,
    limits::{MEETINGS_AT_ONCE, MEETINGS_PART, MEETINGS_READ, MEETINGS_SEARCHED},
    meeting::State,
    stream::MEETINGS,
};

use super::{MeetError, NO_STREAM};
use crate::client::Client;

/// Some meetings; see [`Client::meetings`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Page {
    /// Where they stand; that in which something happened last is the last.
    pub meetings: Vec<State>,
    /// What to ask for as `before` to see those in which something happened longer ago; `None` where
    /// there are none.
    pub older: Option<u64>,
}

impl Client {
    /// The meetings that suit, at most `most`: those in which something happened last, or, with the
    /// `older` of a page as `before`, those next to them. A page that is not full may have another
    /// behind it, since one looks at [`MEETINGS_SEARCHED`] entries and no more.
    ///
    /// # Errors
    /// When they can't be read.
    pub async fn meetings(
        &self,
        before: Option<u64>,
        most: usize,
        suits: impl Fn(&State) -> bool,
    ) -> Result<Page, MeetError> {
        let stored = match self.bus().stream_state(MEETINGS).await {
            Err(error) if error.refusal() == Some(NO_STREAM) => return Ok(Page::default()),
            stored => stored?,
        };
        let first = stored.first_seq.max(1);
        let end = stored.last_seq.saturating_add(1);
        let mut reached = before.map_or(end, |before| before.min(end));
        let floor = reached.saturating_sub(MEETINGS_SEARCHED).max(first);
        let (mut known, mut meetings, mut read) = (BTreeSet::new(), Vec::new(), 0_usize);
        while reached > floor && meetings.len() < most && read < MEETINGS_READ {
            let from = reached.saturating_sub(MEETINGS_PART).max(floor);
            let heard = self.heard(from, reached, &mut known).await?;
            reached = from;
            let mut logs = futures::stream::iter(heard)
                .map(|(seq, id)| self.log(seq, id))
                .buffered(MEETINGS_AT_ONCE);
            while let Some(log) = logs.next().await {
                let (seq, log) = log?;
                read = read.saturating_add(1);
                // One in which something happened since is on the page before.
                let is_here = before.is_none_or(|before| log.last_seq() < before);
                meetings.extend(log.state().filter(|state| is_here && suits(state)).cloned());
                if meetings.len() >= most || read >= MEETINGS_READ {
                    reached = seq;
                    break;
                }
            }
        }
        meetings.reverse();
        Ok(Page { meetings, older: (reached > first).then_some(reached) })
    }

    /// The meetings of which there are entries from `from` on and before `end`, each with the place
    /// of the newest of them, the newest first; those that are not `known`.
    async fn heard(
        &self,
        from: u64,
        end: u64,
        known: &mut BTreeSet<MeetingId>,
    ) -> Result<Vec<(u64, MeetingId)>, ScanError> {
        let subjects = self.bus().subjects();
        let mut scan = self.bus().scan(MEETINGS, subjects.all_meetings().as_str(), from).await?;
        let mut newest = BTreeMap::new();
        while let Some(message) = scan.next_through(end.saturating_sub(1)).await? {
            if let Some(Address::MeetingMessages(id) | Address::MeetingDecisions(id)) =
                subjects.parse(&message.subject)
                && !known.contains(&id)
            {
                newest.insert(id, message.seq);
            }
        }
        known.extend(newest.keys().cloned());
        let mut heard: Vec<_> = newest.into_iter().map(|(id, seq)| (seq, id)).collect();
        heard.sort_by_key(|(seq, _)| std::cmp::Reverse(*seq));
        Ok(heard)
    }

    async fn log(&self, seq: u64, id: MeetingId) -> Result<(u64, MeetingLog), RequestError> {
        Ok((seq, MeetingLog::read(self.bus(), id, self.by().clone()).await?))
    }
}
