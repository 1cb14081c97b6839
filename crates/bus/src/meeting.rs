//! The log of one meeting, as a writer holds it: read it, ask it to move, and know what came of it.
//! This is the one way in which anything in Sinew changes a meeting. What it may do is `model`'s;
//! how it is written is what task logs share with it, compare-and-set over the whole log.

use sinew_model::{
    MeetingId, Role, Time, header,
    limits::{READ_AGAIN, READ_PATIENCE},
    meeting::{Command, DecodeError, Entry, Meeting, Refusal, State, Stored, Voice},
    stream::MEETINGS,
    subject::Subjects,
    task::Actor,
};

use crate::{
    clock,
    connect::Bus,
    guarded::{self, Failed, Log},
    publish::AppendError,
    read::RawMessage,
    request::RequestError,
};

/// What this process knows of one meeting, and the right to ask it to move.
#[derive(Clone, Debug)]
pub struct MeetingLog {
    bus: Bus,
    id: MeetingId,
    by: Actor,
    meeting: Meeting,
}

/// Why a meeting did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeetingError {
    /// It does not apply to the meeting as it is now: an answer, not a fault.
    #[error("the meeting does not allow it")]
    Refused(#[source] Refusal),
    /// The entry was not stored, and never will be.
    #[error("the entry could not be stored")]
    Rejected(#[source] AppendError),
    /// The log could not be reached, or is full. Nothing was stored; asking again may help.
    #[error("the entry could not be stored now")]
    Unreachable(#[source] AppendError),
    /// It is not known whether the entry was stored. Asking again under a key is safe.
    #[error("it is not known whether the entry was stored")]
    Unknown(#[source] AppendError),
    /// The log could not be read.
    #[error("the meeting's log could not be read")]
    Unreadable(#[from] RequestError),
    /// Other writers were faster, over and over.
    #[error("other writers were faster, again and again")]
    Crowded,
}

impl MeetingError {
    /// The refusal, if it is one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Rejected(_)
            | Self::Unreachable(_)
            | Self::Unknown(_)
            | Self::Unreadable(_)
            | Self::Crowded => None,
        }
    }
}

impl MeetingLog {
    /// A meeting of which nothing is known yet.
    #[must_use]
    pub fn unread(bus: &Bus, id: MeetingId, by: Actor) -> Self {
        Self { bus: bus.clone(), id, by, meeting: Meeting::default() }
    }

    /// Reads the log of a meeting.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn read(bus: &Bus, id: MeetingId, by: Actor) -> Result<Self, RequestError> {
        let mut log = Self::unread(bus, id, by);
        log.refresh().await?;
        Ok(log)
    }

    /// The meeting.
    #[must_use]
    pub const fn id(&self) -> &MeetingId {
        &self.id
    }

    /// The connection.
    #[must_use]
    pub const fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Its state as last seen; `None` where it does not exist.
    #[must_use]
    pub const fn state(&self) -> Option<&State> {
        self.meeting.state.as_ref()
    }

    /// The sequence of the newest entry that this process knows.
    #[must_use]
    pub const fn last_seq(&self) -> u64 {
        self.meeting.last_seq
    }

    /// Entries that broke the law, as far as this process has read.
    #[must_use]
    pub const fn voids(&self) -> u32 {
        self.meeting.voids
    }

    /// The same meeting, of which nothing is known yet.
    #[must_use]
    pub fn afresh(&self) -> Self {
        Self { meeting: Meeting::default(), ..self.clone() }
    }

    /// Reads what is new, and gives the entries of it that count. Everything that was stored before
    /// the call is taken in.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn refresh(&mut self) -> Result<Vec<Stored>, RequestError> {
        let mut new = Vec::new();
        loop {
            let (more, is_all) = self.step().await?;
            new.extend(more);
            if is_all {
                return Ok(new);
            }
        }
    }

    /// As [`MeetingLog::refresh`], at most one batch of it, and whether that was all. It may be
    /// cancelled: what was not given was not taken in.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn step(&mut self) -> Result<(Vec<Stored>, bool), RequestError> {
        let filter = self.bus.subjects().meeting(&self.id);
        let from = self.meeting.last_seq.saturating_add(1);
        let (messages, is_all) = self.bus.since(MEETINGS, filter.as_str(), from).await?;
        // Nothing is taken in before it is known who wrote all of it, since this may be cancelled.
        let mut taken = Vec::with_capacity(messages.len());
        for message in &messages {
            taken.push(self.bus.is_genuine_entry(message, &self.by.role).await?);
        }
        let judged = messages.iter().zip(taken);
        let new = judged.filter_map(|(message, genuine)| self.take(message, genuine)).collect();
        Ok((new, is_all))
    }

    /// Asks the meeting to move, and gives the entry that did it. `key`: the same again under it
    /// happens once.
    ///
    /// # Errors
    /// See [`MeetingError`]. A refusal was decided on the newest state of the log.
    pub async fn execute(
        &mut self,
        command: &Command,
        key: Option<String>,
    ) -> Result<Entry, MeetingError> {
        let mut writer = Writer { log: self, key };
        match guarded::execute(&mut writer, command).await {
            Ok((_, entry)) => Ok(entry),
            Err(Failed::Refused(refusal)) => Err(MeetingError::Refused(refusal)),
            Err(Failed::Rejected(error)) => Err(MeetingError::Rejected(error)),
            Err(Failed::Unreachable(error)) => Err(MeetingError::Unreachable(error)),
            Err(Failed::Unknown(error)) => Err(MeetingError::Unknown(error)),
            Err(Failed::Unreadable(error)) => Err(MeetingError::Unreadable(error)),
            Err(Failed::Crowded) => Err(MeetingError::Crowded),
        }
    }

    /// What time it is in meetings: by the clock of their stream's leader, which all share.
    ///
    /// # Errors
    /// When it can't be asked.
    pub async fn now(&self) -> Result<Time, RequestError> {
        // Asking changes nothing, so it is repeated where the answer got lost or a leader is elected.
        let end = clock::instant() + READ_PATIENCE;
        loop {
            match self.bus.server_time(MEETINGS).await {
                Err(error) if error.is_passing() && clock::instant() < end => {
                    clock::pause(READ_AGAIN).await;
                }
                answer => return answer,
            }
        }
    }

    fn take(&mut self, message: &RawMessage, genuine: bool) -> Option<Stored> {
        match message.meeting_entry(self.bus.subjects()) {
            Ok(_) if !genuine => {
                self.meeting.refuse(message.seq);
                None
            }
            Ok(stored) => match self.meeting.apply(&self.id, &stored) {
                Ok(()) => Some(stored),
                Err(void) => {
                    tracing::debug!(meeting = %self.id, seq = message.seq, %void, "void");
                    None
                }
            },
            Err(error) => {
                tracing::debug!(meeting = %self.id, seq = message.seq, %error, "passed over");
                self.meeting.skip(message.seq);
                None
            }
        }
    }
}

impl Bus {
    /// Whether an entry of a meeting is from the role that it says; `reader` is who asks. What is no
    /// entry is none of anybody.
    ///
    /// # Errors
    /// When the certificate of its key can't be looked up.
    pub async fn is_genuine_entry(
        &self,
        message: &RawMessage,
        reader: &Role,
    ) -> Result<bool, RequestError> {
        let Ok(stored) = message.meeting_entry(self.subjects()) else { return Ok(true) };
        let (received, by) = (message.received(), &stored.entry.by.role);
        let verdict = self.verify(&received, Some(by)).await?;
        if self.takes(&verdict) {
            return Ok(true);
        }
        self.keep_evidence((MEETINGS, &received), reader, (&verdict, Some(by))).await;
        Ok(false)
    }
}

/// One request to a meeting, with its key.
struct Writer<'a> {
    log: &'a mut MeetingLog,
    key: Option<String>,
}

impl Log for Writer<'_> {
    type Command = Command;
    type Entry = Entry;
    type Refusal = Refusal;
    type Unreadable = RequestError;

    async fn now(&self) -> Result<Time, RequestError> {
        self.log.now().await
    }

    fn decide(&self, command: &Command, at: Time) -> Result<Entry, Refusal> {
        let MeetingLog { bus, id, by, meeting } = &*self.log;
        let change = meeting.decide(command, &Voice { by, at, key: self.key.as_deref() })?;
        Ok(Entry {
            meeting_id: id.clone(),
            org_id: bus.subjects().org().clone(),
            at,
            by: by.clone(),
            key: self.key.clone(),
            change,
        })
    }

    async fn append(&self, entry: &Entry, token: &str) -> Result<u64, AppendError> {
        self.log.bus.append_to_meeting(entry, self.log.meeting.last_seq, token).await
    }

    fn stored(&mut self, seq: u64, token: String, entry: &Entry) {
        let expected = Some(self.log.meeting.last_seq);
        let stored = Stored { seq, expected, token: Some(token), entry: entry.clone() };
        if let Err(void) = self.log.meeting.apply(&self.log.id, &stored) {
            // What `decide` allows is never void; the laws of the model are tested for that.
            tracing::error!(meeting = %self.log.id, seq, %void, "an own entry is void");
        }
    }

    async fn reread(&mut self, word: &str) -> Result<Option<(u64, Entry)>, RequestError> {
        let new = self.log.refresh().await?;
        let own = new
            .into_iter()
            .find(|stored| stored.token.as_deref().is_some_and(|token| token.starts_with(word)));
        Ok(own.map(|stored| (stored.seq, stored.entry)))
    }
}

impl RawMessage {
    /// Reads it as an entry of a meeting's log. An expectation counts only where it is over the
    /// whole meeting, byte for byte.
    ///
    /// # Errors
    /// Why it is none, see [`DecodeError`].
    pub fn meeting_entry(&self, subjects: &Subjects) -> Result<Stored, DecodeError> {
        let entry = Entry::decode(subjects, &self.subject, &self.payload)?;
        let guard = subjects.meeting(&entry.meeting_id);
        Ok(Stored {
            seq: self.seq,
            expected: self.guard(guard.as_str()),
            token: self.header(header::MSG_ID).map(str::to_owned),
            entry,
        })
    }
}
