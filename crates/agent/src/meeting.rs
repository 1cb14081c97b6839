//! Meetings as one role takes part in them: call one, come in, speak, propose, vote, close, and
//! follow what happens. What a meeting allows is the model's; each call here is one entry of the
//! meeting's log, or says why there is none.
//!
//! What follows from an entry by itself (a quorum that is there begins the meeting, a last vote
//! decides) is written by whoever brought it about, and by the controllers where that one is gone.

mod follow;
mod list;

use serde_json::{Value, json};
use sinew_bus::{
    EnsureError, MeetingError, MeetingLog, Outgoing, PublishError, RequestError, ScanError,
    Topology, clock,
};
use sinew_model::{
    Band, MeetingId, Role, Time,
    limits::MEETING_STEPS,
    mail::Mail,
    meeting::{ActionItem, Change, Command, Definition, Minutes, Outcome, Refusal, State, Vote},
    stream::{AGENT_MAIL, MEETINGS},
};

use crate::{
    admit::may_speak,
    client::{Client, DelegateError, Delegated},
    delegation::Delegation,
};

pub use follow::Follow;
pub use list::Page;

/// The server's number for a stream that it has not.
const NO_STREAM: u32 = 10_059;

/// A meeting, as one role takes part in it.
#[derive(Clone, Debug)]
pub struct Meeting {
    log: MeetingLog,
    role: Role,
    key: Option<String>,
}

/// A meeting was opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Opened {
    /// The meeting.
    pub meeting: Meeting,
    /// The same one had been opened before under this id: this call changed nothing.
    pub existed: bool,
}

/// Why a meeting did not do what was asked, or is not known to have done it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeetError {
    /// There is no such meeting.
    #[error("there is no meeting {id}")]
    NoMeeting {
        /// The id.
        id: MeetingId,
    },
    /// The meeting said no, or could not be asked.
    #[error("meeting {id} did not take it")]
    Meeting {
        /// The id.
        id: MeetingId,
        /// Why not.
        #[source]
        source: MeetingError,
    },
    /// The stream of meetings is not there and can't be made.
    #[error("the stream of meetings is not there")]
    Stream(#[from] EnsureError),
    /// The log could not be read.
    #[error("the meetings could not be read")]
    Read(#[from] RequestError),
    /// They could not be listed.
    #[error("the meetings could not be listed")]
    List(#[from] ScanError),
    /// An invitation was not sent. The meeting is open, and a controller invites.
    #[error("the members are not invited yet")]
    Invite(#[from] PublishError),
    /// What is said on a meeting's subjects can't be heard.
    #[error("the meeting can't be heard: {0}")]
    Hear(String),
    /// An action item is not a task yet. A controller delegates it when that can be done.
    #[error("action item {number} is not delegated yet")]
    Delegate {
        /// Its number.
        number: u32,
        /// Why not.
        #[source]
        source: DelegateError,
    },
}

impl MeetError {
    /// What the meeting said, if it said no.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Meeting { source, .. } => source.refusal(),
            Self::NoMeeting { .. }
            | Self::Stream(_)
            | Self::Read(_)
            | Self::List(_)
            | Self::Invite(_)
            | Self::Hear(_)
            | Self::Delegate { .. } => None,
        }
    }
}

impl Client {
    /// Opens a meeting and invites its members. The same again under the same id changes nothing.
    ///
    /// # Errors
    /// See [`MeetError`].
    pub async fn open_meeting(
        &self,
        id: Option<MeetingId>,
        what: Definition,
    ) -> Result<Opened, MeetError> {
        Topology::standard(self.bus()).ensure_stream(self.bus(), MEETINGS).await?;
        let id = id.unwrap_or_else(new_meeting_id);
        let log = MeetingLog::unread(self.bus(), id, self.by().clone());
        let mut meeting = Meeting { log, role: self.role().clone(), key: None };
        let opened = meeting.ask(&Command::Open { meeting: Box::new(what) }).await;
        let existed = match opened {
            Ok(_) => false,
            Err(error) if error.refusal() == Some(&Refusal::AlreadyOpen) => true,
            Err(error) => return Err(error),
        };
        meeting.settle().await?;
        Ok(Opened { meeting, existed })
    }

    /// A meeting, to take part in or to look at.
    ///
    /// # Errors
    /// When there is none of that id, or it can't be read.
    pub async fn meet(&self, id: &MeetingId) -> Result<Meeting, MeetError> {
        let by = self.by().clone();
        let log = match MeetingLog::read(self.bus(), id.clone(), by).await {
            Err(error) if error.refusal() == Some(NO_STREAM) => None,
            log => Some(log?),
        };
        let log = log.filter(|log| log.state().is_some());
        let log = log.ok_or_else(|| MeetError::NoMeeting { id: id.clone() })?;
        Ok(Meeting { log, role: self.role().clone(), key: None })
    }
}

impl Meeting {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> &MeetingId {
        self.log.id()
    }

    /// Where it stands, as last seen. There is none before it was opened.
    #[must_use]
    pub const fn state(&self) -> Option<&State> {
        self.log.state()
    }

    /// The sequence of the newest entry that was seen.
    #[must_use]
    pub const fn last_seq(&self) -> u64 {
        self.log.last_seq()
    }

    /// Reads what is new.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn refresh(&mut self) -> Result<(), MeetError> {
        self.log.refresh().await?;
        Ok(())
    }

    /// The next thing that is said or proposed has this key among all that its role does in the
    /// meeting: the same again under it happens once. At most 128 bytes.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Comes in. Where that makes up the quorum, the meeting begins.
    ///
    /// # Errors
    /// See [`MeetError`]; [`Refusal::ThereAlready`] where the role is there.
    pub async fn join(&mut self) -> Result<(), MeetError> {
        self.ask(&Command::Join).await?;
        self.settle().await
    }

    /// Goes.
    ///
    /// # Errors
    /// See [`MeetError`].
    pub async fn leave(&mut self) -> Result<(), MeetError> {
        self.ask(&Command::Leave).await?;
        self.settle().await
    }

    /// Speaks.
    ///
    /// # Errors
    /// See [`MeetError`]; [`Refusal::NotYourTurn`] says whose turn it is.
    pub async fn say(&mut self, text: impl Into<String>) -> Result<(), MeetError> {
        self.once(&Command::Say { text: text.into() }).await.map(|_| ())
    }

    /// Lets the role's turn pass.
    ///
    /// # Errors
    /// See [`MeetError`].
    pub async fn pass(&mut self) -> Result<(), MeetError> {
        self.ask(&Command::Pass).await.map(|_| ())
    }

    /// Gives somebody the floor: for the chair of a chair-led meeting.
    ///
    /// # Errors
    /// See [`MeetError`].
    pub async fn give(&mut self, to: Role) -> Result<(), MeetError> {
        self.ask(&Command::Give { to }).await.map(|_| ())
    }

    /// Passes over whoever has the turn: for the chair, and for anybody once their time is up.
    ///
    /// # Errors
    /// See [`MeetError`].
    pub async fn skip(&mut self) -> Result<(), MeetError> {
        self.ask(&Command::Skip).await.map(|_| ())
    }

    /// Puts something to the vote, with what is to be done if it is approved, and gives its number.
    ///
    /// # Errors
    /// See [`MeetError`].
    pub async fn propose(
        &mut self,
        text: impl Into<String>,
        action_items: Vec<ActionItem>,
    ) -> Result<u32, MeetError> {
        self.once(&Command::Propose { text: text.into(), action_items }).await
    }

    /// Votes, and says what came of the proposal where that vote decided it.
    ///
    /// # Errors
    /// See [`MeetError`]; [`Refusal::Voted`] where the role has voted before.
    pub async fn vote(
        &mut self,
        proposal: u32,
        vote: Vote,
        rationale: Option<String>,
    ) -> Result<Option<Outcome>, MeetError> {
        self.ask(&Command::Vote { proposal, vote, rationale }).await?;
        self.settle().await?;
        Ok(self.state().and_then(|state| state.proposal(proposal)?.outcome))
    }

    /// Gives somebody something to do after the meeting: for the chair. Gives the number of the
    /// action item.
    ///
    /// # Errors
    /// See [`MeetError`].
    pub async fn assign(&mut self, action_item: ActionItem) -> Result<u32, MeetError> {
        self.once(&Command::Assign { action_item }).await
    }

    /// Takes up the next item of the agenda: for the chair. Gives its number.
    ///
    /// # Errors
    /// See [`MeetError`]; [`Refusal::LastItem`] where it has none.
    pub async fn next(&mut self) -> Result<u32, MeetError> {
        self.ask(&Command::Next).await?;
        Ok(self.state().map(State::item).unwrap_or_default())
    }

    /// Ends the meeting, and delegates its action items as tasks: for the chair, or whoever opened
    /// it. Votes that were cast are counted first.
    ///
    /// # Errors
    /// See [`MeetError`]. After [`MeetError::Delegate`] the meeting is closed, and the controllers
    /// delegate what is left.
    pub async fn close(&mut self, summary: Option<String>) -> Result<(), MeetError> {
        self.settle().await?;
        self.ask(&Command::Close { summary }).await?;
        self.tend().await
    }

    /// The minutes so far; `None` where there is no such meeting.
    ///
    /// # Errors
    /// When the time can't be asked.
    pub async fn minutes(&self) -> Result<Option<Minutes>, MeetError> {
        let now = self.now().await?;
        Ok(self.state().map(|state| state.minutes(now)))
    }

    /// What time it is in meetings.
    ///
    /// # Errors
    /// When it can't be asked.
    pub async fn now(&self) -> Result<Time, MeetError> {
        Ok(self.log.now().await?)
    }

    /// What happened in the meeting from its beginning on, and then what happens.
    ///
    /// # Errors
    /// When it can't be heard.
    pub async fn follow(&self) -> Result<Follow, MeetError> {
        Follow::new(&self.log).await
    }

    /// Does what follows by itself from what was said: invites, begins, counts votes.
    ///
    /// # Errors
    /// See [`MeetError`].
    pub async fn settle(&mut self) -> Result<(), MeetError> {
        self.carry_out(|due| {
            matches!(due, Command::Invite { .. } | Command::Start | Command::Decide { .. })
        })
        .await
    }

    /// Does all that is due, also by time: for controllers. Several may do it at once.
    ///
    /// # Errors
    /// See [`MeetError`]; the same again goes on where it stopped.
    pub async fn tend(&mut self) -> Result<(), MeetError> {
        self.carry_out(|_| true).await
    }

    async fn carry_out(&mut self, wanted: impl Fn(&Command) -> bool) -> Result<(), MeetError> {
        let mut refused = None;
        for _ in 0..MEETING_STEPS {
            let now = self.now().await?;
            let due = self.state().and_then(|state| state.due(now)).filter(&wanted);
            // What was refused on the newest state and is due all the same would be so for ever.
            let Some(due) = due.filter(|due| refused.as_ref() != Some(due)) else { break };
            // What is sent in the name of somebody else is left to the controllers, who may.
            if !self.may_send(&due) {
                break;
            }
            if let Command::Invite { number } = &due {
                self.invite(*number).await?;
            } else if let Command::Delegate { number, .. } = &due {
                self.delegate(*number).await?;
            }
            match self.ask(&due).await {
                Ok(_) => refused = None,
                // Somebody else did it.
                Err(error) if error.refusal().is_some() => refused = Some(due),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether what follows from it is sent in the name of a role that this connection speaks for.
    fn may_send(&self, due: &Command) -> bool {
        let Some(state) = self.state() else { return true };
        let speaks_for = |role| may_speak(self.log.bus(), role);
        if matches!(due, Command::Invite { .. }) {
            speaks_for(&state.opened_by)
        } else {
            !matches!(due, Command::Delegate { .. }) || speaks_for(state.chair())
        }
    }

    /// Tells everybody that there is a meeting. Sent again, it is the same message.
    async fn invite(&self, number: u32) -> Result<(), MeetError> {
        let Some(state) = self.state() else { return Ok(()) };
        let bus = self.log.bus();
        Topology::standard(bus).ensure_stream(bus, AGENT_MAIL).await?;
        let body = invitation(state);
        for role in state.definition.everybody() {
            let id = format!("{}:invite:{number}:{role}", self.id());
            let mail = Mail {
                id: id.clone(),
                kind: "meeting.invitation".to_owned(),
                from: state.opened_by.clone(),
                to: role.clone().into(),
                at: clock::now(),
                task_id: None,
                correlation_id: Some(self.id().to_string()),
                in_reply_to: None,
                reply_to: None,
                priority: Band::Normal,
                acknowledge_by: None,
                audience: Vec::new(),
                body: body.clone(),
                extra: serde_json::Map::new(),
            };
            let body = serde_json::to_vec(&mail).unwrap_or_default();
            let subject = bus.subjects().meetings(role);
            bus.publish(Outgoing::new(AGENT_MAIL, subject, body).id(id)).await?;
        }
        Ok(())
    }

    /// Makes a task of an action item. Its id follows from the meeting and the number, so it is one
    /// task whoever makes it, and however often.
    async fn delegate(&self, number: u32) -> Result<Option<Delegated>, MeetError> {
        let Some((state, what)) = self.state().and_then(|it| Some((it, task(it, number)?))) else {
            return Ok(None);
        };
        let client = Client::new(self.log.bus().clone(), state.chair().clone());
        let done = client.delegate(what).await;
        done.map(Some).map_err(|source| MeetError::Delegate { number, source })
    }

    /// As [`Meeting::ask`], for what happens once under a key; gives the number of what it made.
    async fn once(&mut self, command: &Command) -> Result<u32, MeetError> {
        let key = self.key.clone();
        match self.ask(command).await {
            Ok(change) => Ok(change.number()),
            Err(error) => {
                let known = key
                    .filter(|_| error.refusal() == Some(&Refusal::Said))
                    .and_then(|key| self.state()?.keys.get(&(self.role.clone(), key)).copied());
                known.ok_or(error)
            }
        }
    }

    async fn ask(&mut self, command: &Command) -> Result<Change, MeetError> {
        let key = self.key.take();
        match self.log.execute(command, key).await {
            Ok(entry) => Ok(entry.change),
            Err(MeetingError::Refused(Refusal::NoMeeting)) => {
                Err(MeetError::NoMeeting { id: self.id().clone() })
            }
            Err(source) => Err(MeetError::Meeting { id: self.id().clone(), source }),
        }
    }
}

/// What an invitation says: enough to know whether to come, and where.
fn invitation(state: &State) -> Value {
    let it = &state.definition;
    json!({
        "meetingId": state.meeting_id,
        "title": it.title,
        "meetingType": it.meeting_type,
        "agenda": it.agenda,
        "chair": state.chair(),
        "members": it.members,
        "optional": it.optional,
        "quorum": it.quorum,
        "scheduledFor": it.scheduled_for,
        "durationSeconds": it.duration_seconds,
    })
}

/// The task of an action item. It depends on the meeting as it was closed and on nothing else, so
/// that whoever makes it makes the same.
fn task(state: &State, number: u32) -> Option<Delegation> {
    let at = usize::try_from(number).ok()?.checked_sub(1)?;
    let action = state.actions.get(at)?;
    let of = usize::try_from(action.item).ok()?.checked_sub(1);
    let item = of.and_then(|at| state.definition.agenda.get(at)).map(|it| &it.item);
    let decision = action.proposal.and_then(|number| Some(&state.proposal(number)?.text));
    let input = json!({
        "meetingId": state.meeting_id,
        "meeting": state.definition.title,
        "item": item,
        "proposal": action.proposal,
        "decision": decision,
        "actionItem": number,
        "details": action.details,
    });
    let id = sinew_model::TaskId::of_action(&state.meeting_id, number);
    Some(Delegation::new(action.assignee.clone(), &action.action).input(input).id(id))
}

/// An id that no other meeting has; their order is that of time.
fn new_meeting_id() -> MeetingId {
    MeetingId::unnamed(&clock::unique())
}
