//! What was sent to a role, read or not: all of it in order, or some of it at a time, the newest first.
//! Looking takes nothing away.

use std::collections::BTreeSet;

use sinew_bus::{RawMessage, Scan, ScanError};
use sinew_model::{
    Time,
    evidence::Refused,
    limits::{INBOX_PART, INBOX_PARTS, INBOX_SEARCHED},
    mail::{Mail, MailError},
    signature::Verdict,
    stream::{AGENT_MAIL, Shelf},
};

use super::read::{Inbox, InboxError, Known, NO_STREAM};
use crate::admit::Admission;

/// Some messages of an inbox; see [`Inbox::page`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Page {
    /// The messages, each readable, the newest at the end.
    pub messages: Vec<Kept>,
    /// What to ask for as `before` to see older ones; `None` where there are none.
    pub older: Option<u64>,
}

/// The reading of all that was sent to a role; see [`Inbox::history`] and [`Inbox::page`].
#[derive(Debug)]
pub struct Past {
    /// Each with the message that was read and not given out yet.
    shelves: Vec<(Scan, Option<RawMessage>)>,
    /// What has this place in the stream, or a later one, is not given out.
    end: u64,
    known: Known,
    admission: Admission,
}

/// A message as it was stored.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its sequence in the stream.
    pub seq: u64,
    /// When it was stored.
    pub time: Time,
    /// The message; or why it is none.
    pub mail: Result<Mail, MailError>,
    /// Who sent it, as far as that can be known.
    pub verdict: Verdict,
}

impl Kept {
    fn id(&self) -> Option<&str> {
        self.mail.as_ref().ok().map(|mail| mail.id.as_str())
    }
}

impl Past {
    /// How many messages were passed over, since they are not from who they say; a record of each is
    /// kept.
    #[must_use]
    pub fn refused(&self) -> Refused {
        self.admission.refused()
    }

    /// The next one, of several copies only the first; `None` where there is none for now.
    ///
    /// # Errors
    /// See [`InboxError`].
    pub async fn next_kept(&mut self) -> Result<Option<Kept>, InboxError> {
        while self.oldest().await? {
            if let Some(kept) = self.read().await? {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    /// The next one; it waits for one that is not there yet. May be cancelled. What comes while it
    /// waits comes in the order in which it is heard of.
    ///
    /// # Errors
    /// See [`InboxError`].
    pub async fn next(&mut self) -> Result<Kept, InboxError> {
        loop {
            if let Some(kept) = self.next_kept().await? {
                return Ok(kept);
            }
            let waiting = self.shelves.iter_mut().map(|(scan, head)| {
                Box::pin(async move {
                    *head = Some(scan.next().await?);
                    Ok::<_, ScanError>(())
                })
            });
            let (heard, ..) = futures::future::select_all(waiting).await;
            heard?;
        }
    }

    /// Whether there is a message that is not given out; the oldest of them is held then.
    async fn oldest(&mut self) -> Result<bool, ScanError> {
        for (scan, head) in &mut self.shelves {
            if head.is_none() && scan.pending() > 0 {
                *head = Some(scan.next().await?);
            }
        }
        let is_here = |head: &RawMessage| head.seq < self.end;
        Ok(self.shelves.iter().any(|(_, head)| head.as_ref().is_some_and(is_here)))
    }

    /// Reads the oldest message that is held. It stays held until it is known who sent it.
    async fn read(&mut self) -> Result<Option<Kept>, InboxError> {
        let Self { shelves, known, admission, .. } = self;
        let heads = shelves.iter_mut().map(|(_, head)| head).filter(|head| head.is_some());
        let seq = |head: &&mut Option<RawMessage>| head.as_ref().map(|message| message.seq);
        let Some(head) = heads.min_by_key(seq) else { return Ok(None) };
        let Some(message) = head.as_ref() else { return Ok(None) };
        let mail = Mail::decode(&message.payload);
        let mut verdict = Verdict::Unsigned;
        if let Ok(Mail { from, .. }) = &mail {
            let (judged, taken) = admission.judge(&message.received(), from).await?;
            if !taken {
                *head = None;
                return Ok(None);
            }
            verdict = judged;
        }
        let kept = Kept { seq: message.seq, time: message.time, mail, verdict };
        *head = None;
        let copy = kept.mail.as_ref().is_ok_and(|mail| known.is_copy(&mail.id, kept.seq));
        Ok((!copy).then_some(kept))
    }
}

impl Inbox {
    /// The newest messages that suit, at most `most`, and none that is older than `since`; with the
    /// `older` of a page as `before`, those next to them. A page that is not full may have another
    /// behind it, since one reads some [`INBOX_SEARCHED`] messages and no more.
    ///
    /// # Errors
    /// See [`InboxError`].
    pub async fn page(
        &self,
        before: Option<u64>,
        most: usize,
        since: Option<Time>,
        suits: impl Fn(&Mail) -> bool,
    ) -> Result<Page, InboxError> {
        let stored = match self.bus.stream_state(AGENT_MAIL).await {
            Err(error) if error.refusal() == Some(NO_STREAM) => return Ok(Page::default()),
            stored => stored?,
        };
        let first = stored.first_seq.max(1);
        let end = stored.last_seq.saturating_add(1);
        let mut reached = before.map_or(end, |before| before.min(end));
        let (mut part, largest) = INBOX_PART;
        let (mut newest, mut read) = (Vec::new(), 0_usize);
        for _ in 0..INBOX_PARTS {
            if reached <= first || newest.len() >= most || read >= INBOX_SEARCHED {
                break;
            }
            let from = reached.saturating_sub(part).max(first);
            part = part.saturating_mul(4).min(largest);
            let mut past = self.past(from, reached).await?;
            reached = from;
            let mut older = Vec::new();
            while let Some(kept) = past.next_kept().await? {
                read = read.saturating_add(1);
                if since.is_some_and(|since| kept.time < since) {
                    reached = first;
                } else if kept.mail.as_ref().is_ok_and(&suits) {
                    older.push(kept);
                }
            }
            // Of several copies the first one counts.
            let ids: BTreeSet<_> = older.iter().filter_map(Kept::id).collect();
            newest.retain(|kept: &Kept| kept.id().is_none_or(|id| !ids.contains(id)));
            newest.extend(older.into_iter().rev());
        }
        if newest.len() > most {
            newest.truncate(most);
            reached = newest.last().map_or(reached, |kept| kept.seq);
        }
        newest.reverse();
        Ok(Page { messages: newest, older: (reached > first).then_some(reached) })
    }

    /// What was sent to the role from a place in the stream on and before another.
    pub(super) async fn past(&self, from: u64, end: u64) -> Result<Past, InboxError> {
        let mut shelves = Vec::new();
        for shelf in Shelf::ALL {
            shelves.push((self.scan(shelf, from).await?, None));
        }
        Ok(Past { shelves, end, known: Known::default(), admission: self.admission() })
    }
}
