//! Messages between roles: what is sent, and how it gets into an inbox once.
//!
//! A message is stored before [`Client::send`] returns, whether or not anybody of the role is
//! there. One that a running task sends stands in the task's log first, so it is sent once however
//! often the task is tried. [`read`] is the other side; [`everybody`] is for messages to all roles.

pub mod everybody;
pub mod past;
pub mod read;

use std::{collections::BTreeMap, sync::atomic::Ordering};

use serde_json::{Map, Value};
use sinew_bus::{
    Bus, EnsureError, ExecuteError, Outgoing, PublishError, RequestError, ScanError, Topology,
    clock,
};
use sinew_model::{
    Band, BroadcastId, IdError, Role, Subject, TaskId, Time,
    limits::{EFFECT_KEY_BYTES, MAIL_KEPT},
    mail::{Mail, MailError, Recipient},
    stream::AGENT_MAIL,
    task::{Command, Effect, Refusal},
};

use crate::client::{Acting, Client};

/// What the key of a sent message begins with in a task's log, so that it is no delegation's.
const KEY: &str = "send:";

/// A message to send: to whom, and what.
#[derive(Clone, Debug)]
#[must_use]
pub struct Message {
    to: Recipient,
    kind: String,
    body: Value,
    priority: Band,
    id: Option<String>,
    key: Option<String>,
    thread: Option<String>,
    in_reply_to: Option<String>,
    reply_to: Option<Role>,
    acknowledge_by: Option<Time>,
    audience: Vec<Role>,
}

/// A message that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// Its id.
    pub id: String,
    /// It had been sent before: this call changed nothing.
    pub existed: bool,
}

/// Why a message was not sent, or not known to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// It breaks a rule; nothing was sent.
    #[error("the message is not acceptable")]
    Invalid(#[from] MailError),
    /// The id can't be that of a message to everybody; nothing was sent.
    #[error("the message can't have that id")]
    Id(#[from] IdError),
    /// The key is empty or too long; nothing was sent.
    #[error("a key has 1 to {} bytes", EFFECT_KEY_BYTES - KEY.len())]
    Key,
    /// The id belongs to another message.
    #[error("the id {id} belongs to another message")]
    IdReused {
        /// The id.
        id: String,
    },
    /// It is not a message to everybody that is there.
    #[error("there is no message to everybody with the id {id}")]
    NoBroadcast {
        /// The id.
        id: BroadcastId,
    },
    /// The log of the task on whose behalf it is sent did not take it.
    #[error("the task on whose behalf it is sent did not record it")]
    Parent(#[source] ExecuteError),
    /// There is no stream for it, and none can be made.
    #[error("the stream of messages is not there")]
    Stream(#[from] EnsureError),
    /// The stream could not be asked.
    #[error("the stream of messages could not be asked")]
    Read(#[from] RequestError),
    /// The stream could not be read.
    #[error("the stream of messages could not be read")]
    Scan(#[from] ScanError),
    /// Who is there could not be found out, so nobody could be expected to acknowledge it.
    #[error("it is not known who is there")]
    Audience(#[source] Box<crate::registry::RegistryError>),
    /// The stream did not take it. Where the outcome is not known, send it again under the same id.
    #[error("the message {id} was not stored")]
    Publish {
        /// Its id.
        id: String,
        /// Why.
        #[source]
        source: PublishError,
    },
}

impl Message {
    /// A message to a role. A text is best given as an object with the field `text`.
    pub fn new(to: Role, body: impl Into<Value>) -> Self {
        Self::to(Recipient::Role(to), body.into())
    }

    /// A message to every role of the org.
    pub fn to_everybody(body: impl Into<Value>) -> Self {
        Self::to(Recipient::Everybody, body.into())
    }

    /// An answer: it goes to where the message wants it, and stays in its thread.
    pub fn reply(mail: &Mail, body: impl Into<Value>) -> Self {
        let mut message = Self::new(mail.answer_to().clone(), body);
        message.thread = Some(mail.thread().to_owned());
        message.in_reply_to = Some(mail.id.clone());
        message
    }

    const fn to(to: Recipient, body: Value) -> Self {
        Self {
            to,
            kind: String::new(),
            body,
            priority: Band::Normal,
            id: None,
            key: None,
            thread: None,
            in_reply_to: None,
            reply_to: None,
            acknowledge_by: None,
            audience: Vec::new(),
        }
    }

    /// What it is, as `question`; `message` if not set.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// Which messages it is read before. A message to everybody is a normal one.
    pub fn priority(mut self, priority: Band) -> Self {
        self.priority = priority;
        self
    }

    /// An id of the caller's own: the same message sent again under it is dropped.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Names this message among those of the task on whose behalf it is sent, so that a second
    /// attempt which sends it again is recognised. Without a key the order of the calls counts.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The thread that it belongs to.
    pub fn thread(mut self, thread: impl Into<String>) -> Self {
        self.thread = Some(thread.into());
        self
    }

    /// Another role that answers go to.
    pub fn reply_to(mut self, role: Role) -> Self {
        self.reply_to = Some(role);
        self
    }

    /// Until when a message to everybody wants to be acknowledged.
    pub fn acknowledge_by(mut self, by: Time) -> Self {
        self.acknowledge_by = Some(by);
        self
    }

    /// The roles that are expected to acknowledge it; without them, all that are known when it is
    /// sent, but the sender.
    pub fn audience(mut self, roles: impl IntoIterator<Item = Role>) -> Self {
        self.audience = roles.into_iter().collect();
        self
    }

    fn mail(&self, id: String, from: &Role, task: Option<&TaskId>) -> Mail {
        let kind = if self.kind.is_empty() { "message" } else { &self.kind };
        let everybody = self.to == Recipient::Everybody;
        Mail {
            id,
            kind: kind.to_owned(),
            from: from.clone(),
            to: self.to.clone(),
            at: clock::now(),
            task_id: task.cloned(),
            correlation_id: self.thread.clone(),
            in_reply_to: self.in_reply_to.clone(),
            reply_to: self.reply_to.clone(),
            priority: if everybody { Band::Normal } else { self.priority },
            acknowledge_by: self.acknowledge_by.filter(|_| everybody),
            audience: if everybody { self.audience.clone() } else { Vec::new() },
            body: self.body.clone(),
            extra: Map::new(),
        }
    }

    /// What is sent, as a text that is the same for the same message.
    fn work(&self) -> String {
        let Self { to, kind, body, priority, id, thread, in_reply_to, reply_to, .. } = self;
        let how = serde_json::json!([priority, id, thread, in_reply_to, reply_to]);
        serde_json::json!([to, kind, body, how]).to_string()
    }
}

impl Client {
    /// Sends a message. When this returns, it is stored, and the role finds it when it wakes.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, mut what: Message) -> Result<Sent, SendError> {
        if what.to == Recipient::Everybody {
            self.expect_from(&mut what).await?;
        }
        let Some(acting) = &self.acting else {
            let id = what.id.clone().unwrap_or_else(clock::unique);
            return post(self.bus(), &what.mail(id, self.role(), None)).await;
        };
        match self.record_message(acting, &what).await? {
            Recorded::Now(mail) => post(self.bus(), &mail).await,
            Recorded::Before(mail, after) => {
                send_again(self.bus(), vec![(&*mail, after)]).await?;
                Ok(Sent { id: mail.id, existed: true })
            }
        }
    }

    /// Records in the log of the task on whose behalf it is made what is about to be sent.
    async fn record_message(&self, acting: &Acting, what: &Message) -> Result<Recorded, SendError> {
        let mut log = acting.log.lock().await;
        let key = match &what.key {
            Some(key) if key.is_empty() || KEY.len() + key.len() > EFFECT_KEY_BYTES => {
                return Err(SendError::Key);
            }
            Some(key) => key.clone(),
            None if acting.hosted => format!("#{}", acting.calls.fetch_add(1, Ordering::Relaxed)),
            None => format!("={}", TaskId::of_effect(log.id(), &what.work())),
        };
        let key = format!("{KEY}{key}");
        let id = match &what.id {
            Some(id) => id.clone(),
            None => TaskId::of_effect(log.id(), &key).to_string(),
        };
        let mail = Box::new(what.mail(id, self.role(), Some(log.id())));
        mail.encode()?;
        Topology::standard(self.bus()).ensure_stream(self.bus(), AGENT_MAIL).await?;
        let after = self.bus().stream_state(AGENT_MAIL).await?.last_seq;
        let effect = Box::new(Effect::Send { mail: (*mail).clone(), after });
        let command = Command::Effect { attempt: acting.attempt, key: key.clone(), effect };
        match log.execute(&command).await {
            Ok(_) => Ok(Recorded::Now(mail)),
            Err(ExecuteError::Refused(Refusal::EffectRecorded)) => {
                match log.state().and_then(|state| state.effects.get(&key)) {
                    Some(Effect::Send { mail, after }) => {
                        Ok(Recorded::Before(Box::new(mail.clone()), *after))
                    }
                    Some(Effect::Delegate { .. }) | None => Ok(Recorded::Before(mail, after)),
                }
            }
            Err(error) => Err(SendError::Parent(error)),
        }
    }
}

/// A message that stands in a task's log.
enum Recorded {
    /// Since just now, so it can't have been sent.
    Now(Box<Mail>),
    /// Since before, and it lies behind that sequence if it was sent.
    Before(Box<Mail>, u64),
}

/// Stores a message in the inbox of its recipient.
pub(crate) async fn post(bus: &Bus, mail: &Mail) -> Result<Sent, SendError> {
    let payload = mail.encode()?;
    if mail.to == Recipient::Everybody {
        let _id: BroadcastId = mail.id.parse()?;
    }
    let out = || Outgoing::new(AGENT_MAIL, subject(bus, mail), payload.clone()).id(&*mail.id);
    let mut stored = bus.publish(out()).await;
    if let Err(PublishError::NoStream { .. }) = stored {
        Topology::standard(bus).ensure_stream(bus, AGENT_MAIL).await?;
        stored = bus.publish(out()).await;
    }
    let failed = |source| SendError::Publish { id: mail.id.clone(), source };
    let stored = stored.map_err(failed)?;
    // An agent may not read what others get, and then the id is trusted.
    if stored.duplicate
        && bus.may_read(AGENT_MAIL)
        && let Some(known) = bus.at(AGENT_MAIL, stored.seq).await?
        && !Mail::decode(&known.payload).is_ok_and(|known| same(&known, mail))
    {
        return Err(SendError::IdReused { id: mail.id.clone() });
    }
    Ok(Sent { id: mail.id.clone(), existed: stored.duplicate })
}

/// Whether both are one message that was sent twice; the second time it is of another moment.
fn same(one: &Mail, other: &Mail) -> bool {
    let (at, audience) = (one.at, one.audience.clone());
    *one == Mail { at, audience, acknowledge_by: one.acknowledge_by, ..other.clone() }
}

fn subject(bus: &Bus, mail: &Mail) -> Subject {
    match &mail.to {
        Recipient::Role(role) => bus.subjects().inbox_of(role, mail.priority),
        Recipient::Everybody => bus.subjects().broadcast(),
    }
}

/// Sends what was recorded to be sent and is not there, each with the sequence behind which it
/// lies if it was sent. What would have left the stream by its age is not looked for any more. An
/// agent may not look into the inboxes of others, so it sends again, and who reads drops the copy.
pub(crate) async fn send_again(bus: &Bus, sends: Vec<(&Mail, u64)>) -> Result<(), SendError> {
    let now = clock::now();
    let mut by_subject: BTreeMap<Subject, (u64, Vec<&Mail>)> = BTreeMap::new();
    for (mail, after) in sends.into_iter().filter(|(mail, _)| now.since(mail.at) < MAIL_KEPT) {
        let (from, mails) =
            by_subject.entry(subject(bus, mail)).or_insert_with(|| (after, Vec::new()));
        *from = after.min(*from);
        mails.push(mail);
    }
    for (subject, (from, mut missing)) in by_subject {
        Topology::standard(bus).ensure_stream(bus, AGENT_MAIL).await?;
        if bus.may_scan(AGENT_MAIL, subject.as_str()) {
            let mut scan = bus.scan(AGENT_MAIL, subject.as_str(), from + 1).await?;
            while !missing.is_empty() && scan.pending() > 0 {
                let found = scan.next().await?;
                if let Ok(found) = Mail::decode(&found.payload) {
                    missing.retain(|mail| mail.id != found.id);
                }
            }
        }
        for mail in missing {
            match post(bus, mail).await {
                // An id that another message has taken is not helped by a repetition.
                Ok(_) | Err(SendError::IdReused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
