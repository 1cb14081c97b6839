//! Messages to every role, and who has acknowledged them. Who is expected to is fixed when a
//! message is sent, so that the list is right whoever comes and goes afterwards; and a role
//! acknowledges once, whichever of its instances does it.

use serde_json::Map;
use sinew_bus::{Outgoing, PublishError, RawMessage, RequestError, clock};
use sinew_model::{
    Address, BroadcastId, Role,
    limits::{NOTE_BYTES, head},
    mail::{Acknowledgement, Mail, Roll, roll},
    stream::AGENT_MAIL,
};

use super::{Message, SendError};
use crate::{admit::admit, client::Client};

/// The server's number for a stream that it has not.
const NO_STREAM: u32 = 10_059;

impl Client {
    /// Says who is expected to acknowledge, where the sender did not.
    pub(super) async fn expect_from(&self, what: &mut Message) -> Result<(), SendError> {
        if what.acknowledge_by.is_none() {
            what.audience.clear();
        } else if what.audience.is_empty() {
            let known = self.roles().await.map_err(|error| SendError::Audience(Box::new(error)))?;
            what.audience = known.into_iter().filter(|role| role != self.role()).collect();
        }
        Ok(())
    }

    /// Takes note of a message to everybody, on behalf of the role. Says whether it is the first
    /// time.
    ///
    /// # Errors
    /// See [`SendError`]; the same again is safe.
    pub async fn acknowledge(
        &self,
        broadcast: &BroadcastId,
        note: Option<&str>,
    ) -> Result<bool, SendError> {
        self.broadcast(broadcast).await?;
        let record = Acknowledgement {
            broadcast: broadcast.clone(),
            by: self.role().clone(),
            at: clock::now(),
            note: note.map(|note| head(note, NOTE_BYTES).to_owned()),
            extra: Map::new(),
        };
        let id = format!("{broadcast}:acknowledged:{}", self.role());
        let failed = |source| SendError::Publish { id: id.clone(), source };
        let subject = self.bus().subjects().acknowledged(self.role(), broadcast);
        let body = serde_json::to_vec(&record).unwrap_or_default();
        // Of two instances one is first, at whatever distance.
        let out = Outgoing::new(AGENT_MAIL, subject.clone(), body).id(&*id).expecting(&subject, 0);
        match self.bus().publish(out).await {
            Ok(stored) => Ok(!stored.duplicate),
            Err(PublishError::Conflict { .. }) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// A message to everybody, by its id.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn broadcast(&self, id: &BroadcastId) -> Result<Mail, SendError> {
        let found = self.broadcasts().await?.into_iter().find(|mail| mail.id == id.as_str());
        found.ok_or_else(|| SendError::NoBroadcast { id: id.clone() })
    }

    /// The messages to everybody that are kept, the oldest first.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn broadcasts(&self) -> Result<Vec<Mail>, SendError> {
        let mut found: Vec<Mail> = Vec::new();
        let filter = self.bus().subjects().broadcast();
        let mut scan = match self.bus().scan(AGENT_MAIL, filter.as_str(), 1).await {
            Err(error) if is_no_stream(&error.source) => return Ok(found),
            scan => scan?,
        };
        while scan.pending() > 0 {
            let message = scan.next().await?;
            let Ok(mail) = Mail::decode(&message.payload) else { continue };
            let taken = self.taken(&message, &mail.from).await?;
            if taken && found.iter().all(|known| known.id != mail.id) {
                found.push(mail);
            }
        }
        Ok(found)
    }

    /// Who has acknowledged a message to everybody, and who has not, by the server's clock.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn acknowledgements(&self, id: &BroadcastId) -> Result<(Mail, Roll), SendError> {
        let mail = self.broadcast(id).await?;
        let filter = self.bus().subjects().acknowledgements(id);
        let mut scan = self.bus().scan(AGENT_MAIL, filter.as_str(), 1).await?;
        let mut stored = Vec::new();
        while scan.pending() > 0 {
            let message = scan.next().await?;
            // Who may publish there is the role of the subject, whatever the body says.
            let Some(Address::Acknowledged(by, _)) = self.bus().subjects().parse(&message.subject)
            else {
                continue;
            };
            match serde_json::from_slice::<Acknowledgement>(&message.payload) {
                Ok(record) if self.taken(&message, &by).await? => {
                    stored.push((Acknowledgement { by, ..record }, message.time));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(seq = message.seq, %error, "an acknowledgement is not readable");
                }
            }
        }
        let now = self.bus().server_time(AGENT_MAIL).await?;
        let roll = roll(&mail, stored, now);
        Ok((mail, roll))
    }

    /// Whether a message is from the role that it says it is from.
    async fn taken(&self, message: &RawMessage, from: &Role) -> Result<bool, RequestError> {
        let reader = (self.bus(), self.role());
        let sender = admit(reader, (AGENT_MAIL, &message.received()), from).await?;
        Ok(sender.is_some())
    }
}

fn is_no_stream(error: &RequestError) -> bool {
    error.refusal() == Some(NO_STREAM)
}
