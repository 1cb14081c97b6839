//! The inbox of a role: its instances share it, and each message is handed to one of them until
//! somebody acks it. Where the consumers stand is what the role has read, so it is stored, and a
//! role that never reads costs nothing.

use std::{collections::BTreeMap, time::Duration};

use sinew_bus::{
    AckError, AckSubject, Bus, ConsumeError, Delivery, EnsureError, Intake, RequestError, Scan,
    ScanError, Slot, Slots, Topology, ensure_consumer, read::DepthError,
};
use sinew_model::{
    Band, Role,
    limits::{INBOX_KNOWN, INBOX_TAKE},
    mail::{Mail, MailError},
    signature::Verdict,
    stream::{AGENT_MAIL, Shelf},
};

use super::past::Past;
use crate::{
    admit::{Admission, AdmitError},
    client::Client,
};

/// The server's number for a stream that it has not.
pub(super) const NO_STREAM: u32 = 10_059;

/// The messages of one role.
#[derive(Clone, Debug)]
pub struct Inbox {
    pub(super) bus: Bus,
    role: Role,
}

/// What was handed out.
#[derive(Debug)]
pub enum Received {
    /// A message, until it is acked.
    Mail(Box<Letter>),
    /// What can't be read. It is acked already and stays in the history, so that it holds up
    /// nothing.
    Unreadable {
        /// Its sequence in the stream.
        seq: u64,
        /// Why.
        why: MailError,
    },
    /// What is not from who it says, or a copy. It is acked already, and a record of it is kept.
    Refused {
        /// Its sequence in the stream.
        seq: u64,
        /// Whom it says it is from.
        claimed: Role,
        /// Why.
        verdict: Verdict,
    },
}

/// A message in hand. Dropped without an end, it is handed out again a little later; after a crash,
/// when its ack wait is over.
#[derive(Debug)]
#[must_use = "a message that is not acked is handed out again"]
pub struct Letter {
    mail: Mail,
    verdict: Verdict,
    delivery: Delivery,
    slot: Option<Slot>,
}

/// How many messages a role has not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Unread {
    /// Of those that are read first.
    pub urgent: u64,
    /// Of the normal ones, with those to everybody.
    pub normal: u64,
    /// Of those that are read last.
    pub low: u64,
    /// With a reader, and not acked yet. They are not among the others.
    pub open: u64,
}

/// Why an inbox could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InboxError {
    /// A stream or consumer is missing and can't be made.
    #[error("the inbox can't be made")]
    Ensure(#[from] EnsureError),
    /// The server could not be asked.
    #[error("the inbox could not be asked")]
    Request(#[from] RequestError),
    /// The messages could not be counted.
    #[error("the messages could not be counted")]
    Count(#[from] DepthError),
    /// The stream could not be read.
    #[error("the messages could not be read")]
    Scan(#[from] ScanError),
    /// Nothing more comes.
    #[error("nothing more comes")]
    Consume(#[from] ConsumeError),
    /// It was not acked, or it is not known whether it was; the same again is safe.
    #[error("the message could not be acked")]
    Ack(#[from] AckError),
    /// No reader has a message of that id: nobody has read it yet, or it was acked before.
    #[error("no reader has the message {id}")]
    NotOpen {
        /// The id.
        id: String,
    },
}

impl From<AdmitError> for InboxError {
    fn from(error: AdmitError) -> Self {
        match error {
            AdmitError::Request(error) => Self::Request(error),
            AdmitError::Scan(error) => Self::Scan(error),
        }
    }
}

impl Client {
    /// The inbox of the role that this client speaks for.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        Inbox { bus: self.bus().clone(), role: self.role().clone() }
    }
}

impl Letter {
    /// The message.
    #[must_use]
    pub const fn mail(&self) -> &Mail {
        &self.mail
    }

    /// Who sent it, as far as that can be known: a user that may speak for the role that the message
    /// is from.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Its sequence in the stream.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.delivery.queue_seq()
    }

    /// How often it was handed out, this time included: above 1, somebody may have handled it and
    /// not come to say so.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delivery.delivered()
    }

    /// It is handled: the role never gets it again.
    ///
    /// # Errors
    /// See [`AckError`]; the outcome may be unknown, and then it may come again.
    pub async fn ack(self) -> Result<(), AckError> {
        let Self { delivery, slot, .. } = self;
        let acked = delivery.ack().await;
        drop(slot);
        acked
    }

    /// Somebody else shall have it, at once or after `delay`.
    ///
    /// # Errors
    /// See [`AckError`].
    pub async fn nak(self, delay: Option<Duration>) -> Result<(), AckError> {
        self.delivery.nak(delay).await
    }

    /// Its handler is still at it: its ack wait begins anew.
    ///
    /// # Errors
    /// See [`AckError`].
    pub async fn in_progress(&self) -> Result<(), AckError> {
        self.delivery.in_progress().await
    }

    /// Leaves it with whoever acks it later, from another process even: [`Inbox::ack`] by the
    /// message's id, or [`Bus::ack`] on what this gives.
    #[must_use]
    pub fn leave_open(self) -> AckSubject {
        self.delivery.hand_over()
    }
}

impl Unread {
    /// All that nobody has acked.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.urgent + self.normal + self.low + self.open
    }
}

/// Messages as they come, one after the other.
#[derive(Debug)]
pub struct Reader {
    inbox: Inbox,
    intake: Intake,
    known: Known,
    admission: Admission,
}

/// The ids that came, and where; to drop what was sent twice.
#[derive(Debug, Default)]
pub(super) struct Known {
    places: BTreeMap<String, u64>,
}

impl Known {
    /// Whether it is a further copy of a message that came before. One that is handed out again
    /// is none.
    pub(super) fn is_copy(&mut self, id: &str, seq: u64) -> bool {
        if let Some(place) = self.places.get(id) {
            return *place != seq;
        }
        if self.places.len() >= INBOX_KNOWN {
            // Ids that are made up here sort by time, so the first is an old one.
            self.places.pop_first();
        }
        self.places.insert(id.to_owned(), seq);
        false
    }
}

impl Inbox {
    /// The inbox of `role`, for whoever may read it.
    #[must_use]
    pub const fn of(bus: Bus, role: Role) -> Self {
        Self { bus, role }
    }

    /// Takes what is there now and no reader has, at most `most` and [`INBOX_TAKE`]: the urgent
    /// ones first, and of one priority the oldest first.
    ///
    /// # Errors
    /// See [`InboxError`].
    pub async fn take(&self, most: usize) -> Result<Vec<Received>, InboxError> {
        let most = most.min(INBOX_TAKE);
        let (mut known, admission) = (Known::default(), self.admission());
        let mut taken = Vec::new();
        for shelf in Shelf::ALL {
            while taken.len() < most {
                let fetched = self.fetch(shelf, most - taken.len()).await?;
                if fetched.is_empty() {
                    break;
                }
                for delivery in fetched {
                    taken.extend(open(delivery, None, (&mut known, &admission)).await?);
                }
            }
        }
        Ok(taken)
    }

    /// Reads messages as they come; at most `at_a_time` are in hand. With 1, an urgent message
    /// waits for no more than the one that is being handled.
    ///
    /// # Errors
    /// See [`InboxError`].
    pub async fn open(&self, at_a_time: usize) -> Result<Reader, InboxError> {
        for shelf in Shelf::ALL {
            self.ensure(shelf).await?;
        }
        let slots = Slots::new(at_a_time.clamp(1, INBOX_TAKE));
        let consumers = Shelf::ALL.map(|shelf| (shelf.band(), shelf.consumer_name(&self.role)));
        let intake = Intake::open(&self.bus, AGENT_MAIL, consumers.into(), &slots);
        let (known, admission) = (Known::default(), self.admission());
        Ok(Reader { inbox: self.clone(), intake, known, admission })
    }

    /// Acks a message that was left open, by its id; the same again changes nothing.
    ///
    /// # Errors
    /// See [`InboxError`].
    pub async fn ack(&self, id: &str) -> Result<(), InboxError> {
        for shelf in Shelf::ALL {
            let consumer = shelf.consumer_name(&self.role);
            let Some(span) = self.bus.open_deliveries(AGENT_MAIL, &consumer).await? else {
                continue;
            };
            if span.first > span.last {
                continue;
            }
            let mut scan = self.scan(shelf, span.first).await?;
            while scan.pending() > 0 {
                let message = scan.next().await?;
                if message.seq > span.last {
                    break;
                }
                if Mail::decode(&message.payload).is_ok_and(|mail| mail.id == id) {
                    let newest = span.newest_delivery;
                    let ack = AckSubject::of_open(AGENT_MAIL, &consumer, message.seq, newest);
                    return Ok(self.bus.ack(&ack).await?);
                }
            }
        }
        Err(InboxError::NotOpen { id: id.to_owned() })
    }

    /// How many messages the role has not read. It makes nothing, so a role that sleeps stays as
    /// cheap as before.
    ///
    /// # Errors
    /// See [`InboxError`].
    pub async fn unread(&self) -> Result<Unread, InboxError> {
        let mut unread = Unread::default();
        for shelf in Shelf::ALL {
            let consumer = shelf.consumer_name(&self.role);
            let waiting = match self.bus.backlog(AGENT_MAIL, &consumer).await {
                Ok(Some(backlog)) => {
                    unread.open += backlog.open;
                    backlog.waiting
                }
                Ok(None) => self.stored(shelf).await?,
                Err(error) if error.refusal() == Some(NO_STREAM) => return Ok(unread),
                Err(error) => return Err(error.into()),
            };
            match shelf.band() {
                Band::Urgent => unread.urgent += waiting,
                Band::Normal => unread.normal += waiting,
                Band::Low => unread.low += waiting,
            }
        }
        Ok(unread)
    }

    /// All that was sent to the role and is still kept, read or not, and then what comes. It takes
    /// nothing away.
    ///
    /// # Errors
    /// See [`InboxError`].
    pub async fn history(&self) -> Result<Past, InboxError> {
        Topology::standard(&self.bus).ensure_stream(&self.bus, AGENT_MAIL).await?;
        self.past(1, u64::MAX).await
    }

    pub(super) fn admission(&self) -> Admission {
        Admission::new(&self.bus, &self.role, AGENT_MAIL)
    }

    pub(super) async fn scan(&self, shelf: Shelf, from: u64) -> Result<Scan, ScanError> {
        let filter = shelf.subject(self.bus.subjects(), &self.role);
        self.bus.scan(AGENT_MAIL, filter.as_str(), from).await
    }

    /// How many messages there are in all, where the role has read none.
    async fn stored(&self, shelf: Shelf) -> Result<u64, InboxError> {
        let filter = shelf.subject(self.bus.subjects(), &self.role);
        Ok(self.bus.depth(AGENT_MAIL, filter.as_str()).await?.values().sum())
    }

    async fn ensure(&self, shelf: Shelf) -> Result<(), EnsureError> {
        Topology::standard(&self.bus).ensure_stream(&self.bus, AGENT_MAIL).await?;
        let spec = shelf.consumer(self.bus.subjects(), &self.role);
        ensure_consumer(&self.bus, AGENT_MAIL, &spec).await.map(drop)
    }

    async fn fetch(&self, shelf: Shelf, most: usize) -> Result<Vec<Delivery>, InboxError> {
        let consumer = shelf.consumer_name(&self.role);
        match self.bus.fetch(AGENT_MAIL, &consumer, most).await {
            Err(RequestError::NoResponders { .. }) => {
                self.ensure(shelf).await?;
                Ok(self.bus.fetch(AGENT_MAIL, &consumer, most).await?)
            }
            fetched => Ok(fetched?),
        }
    }
}

/// Reads what was handed out. A further copy of a known message is acked and is nothing; one that
/// was not sent by who it says is acked and never known, so that it can't stand in another's place.
async fn open(
    delivery: Delivery,
    slot: Option<Slot>,
    (known, admission): (&mut Known, &Admission),
) -> Result<Option<Received>, InboxError> {
    let seq = delivery.queue_seq();
    let mail = Mail::decode(delivery.payload());
    let mut verdict = Verdict::Unsigned;
    if let Ok(Mail { from, .. }) = &mail {
        let (judged, taken) = admission.judge(&delivery.received(), from).await?;
        if !taken {
            let claimed = from.clone();
            delivery.ack().await?;
            return Ok(Some(Received::Refused { seq, claimed, verdict: judged }));
        }
        verdict = judged;
    }
    match mail {
        Ok(mail) if known.is_copy(&mail.id, seq) => {
            delivery.ack().await?;
            Ok(None)
        }
        Ok(mail) => Ok(Some(Received::Mail(Box::new(Letter { mail, verdict, delivery, slot })))),
        Err(why) => {
            delivery.ack().await?;
            Ok(Some(Received::Unreadable { seq, why }))
        }
    }
}

impl Reader {
    /// The next message; it waits for one. May be cancelled without losing anything.
    ///
    /// # Errors
    /// See [`InboxError`]; it may be called again after one.
    pub async fn next(&mut self) -> Result<Received, InboxError> {
        loop {
            match self.intake.next().await {
                Ok((delivery, slot)) => {
                    if let Some(received) =
                        open(delivery, Some(slot), (&mut self.known, &self.admission)).await?
                    {
                        return Ok(received);
                    }
                }
                Err(ConsumeError::ConsumerGone { consumer, .. }) => {
                    tracing::warn!(consumer, "what the role has read is gone; it is read anew");
                    for shelf in Shelf::ALL {
                        self.inbox.ensure(shelf).await?;
                    }
                    self.intake.reopen(consumer).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads no more. What was handed over and not given out goes back at once.
    pub async fn stop(self) {
        self.intake.stop().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_comes_again_is_no_copy_and_its_copy_is() {
        let mut known = Known::default();
        assert!(!known.is_copy("m1", 7));
        assert!(!known.is_copy("m1", 7), "handed out again");
        assert!(known.is_copy("m1", 9), "sent again");
        assert!(known.is_copy("m1", 6), "a copy is one wherever it lies");
        assert!(!known.is_copy("m2", 10));
    }
}
