//! The entries of a meeting's log, as they are written on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    definition::{ActionItem, Definition},
    vote::{Outcome, Tally, Vote},
};
use crate::{
    id::{MeetingId, OrgId, Role, TaskId},
    subject::{Address, Subject, Subjects},
    task::Actor,
    time::Time,
};

/// One entry of a meeting's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The meeting.
    pub meeting_id: MeetingId,
    /// The org in which it is.
    pub org_id: OrgId,
    /// When it was written, by the server's clock.
    pub at: Time,
    /// Who wrote it.
    pub by: Actor,
    /// A word of the writer's own: what is said again under it is said once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub change: Change,
}

/// What an entry says. Decisions, action items and the end lie on the meeting's `.decisions`,
/// everything else on its `.messages`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Change {
    /// The meeting was called.
    Opened {
        /// What it is.
        meeting: Box<Definition>,
    },
    /// Everybody was invited.
    Invited {
        /// For which time: 1 when it was opened, 2 when its scheduled time had come.
        number: u32,
    },
    /// Somebody came in.
    Joined,
    /// Somebody went.
    Left,
    /// The quorum is there, and the first item of the agenda is taken up.
    Started,
    /// Somebody spoke.
    Said {
        /// The item of the agenda, from 1 on.
        item: u32,
        /// How many speeches on this item the speaker has had, with this one.
        round: u32,
        /// What was said.
        text: String,
    },
    /// Somebody let their turn pass.
    Passed,
    /// The chair gave somebody the floor.
    Given {
        /// Whom.
        to: Role,
    },
    /// Somebody who had the turn was passed over.
    Skipped {
        /// Who.
        role: Role,
    },
    /// Something is to be voted on.
    Proposed {
        /// Its number in the meeting, from 1 on.
        proposal: u32,
        /// The item of the agenda, from 1 on.
        item: u32,
        /// What is proposed.
        text: String,
        /// What is to be done if it is approved.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        action_items: Vec<ActionItem>,
    },
    /// Somebody voted.
    Voted {
        /// The proposal.
        proposal: u32,
        /// How.
        vote: Vote,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rationale: Option<String>,
    },
    /// The votes on a proposal were counted.
    Decided {
        /// The proposal.
        proposal: u32,
        /// What came of it.
        outcome: Outcome,
        /// How many voted how.
        tally: Tally,
    },
    /// The chair gave somebody something to do, without a vote.
    Assigned {
        /// Its number among the action items of the meeting, from 1 on.
        number: u32,
        /// What, and who.
        action_item: ActionItem,
    },
    /// The next item of the agenda was taken up.
    Advanced {
        /// Which, from 1 on.
        item: u32,
    },
    /// Another one took the chair.
    Chaired {
        /// Who leads the meeting now.
        chair: Role,
    },
    /// The meeting is over.
    Closed {
        /// Why.
        reason: Reason,
        /// What the chair has to say about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        summary: Option<String>,
    },
    /// An action item became a task. It is the one thing that is written after the end.
    Delegated {
        /// The number of the action item.
        number: u32,
        /// The task.
        task_id: TaskId,
    },
}

/// Why a meeting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// Its agenda was gone through.
    AgendaDone,
    /// The chair, or who had opened it, ended it.
    Adjourned,
    /// It never began: whoever may do so called it off.
    CalledOff,
    /// Too few came in time.
    NoQuorum,
    /// Its time was up.
    TimeLimit,
    /// Nobody said anything any more, whoever had the chair.
    Silence,
    /// It had as many entries as a meeting may have.
    TooLong,
}

impl Reason {
    /// The reason in a few words for a person.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::AgendaDone => "the agenda was gone through",
            Self::Adjourned => "it was adjourned",
            Self::CalledOff => "it was called off",
            Self::NoQuorum => "too few came in time",
            Self::TimeLimit => "its time was up",
            Self::Silence => "nobody spoke any more",
            Self::TooLong => "it had as many entries as a meeting may have",
        }
    }
}

impl Change {
    /// Whether it lies on the meeting's `.decisions`.
    #[must_use]
    pub const fn is_decision(&self) -> bool {
        match self {
            Self::Decided { .. }
            | Self::Assigned { .. }
            | Self::Closed { .. }
            | Self::Delegated { .. } => true,
            Self::Opened { .. }
            | Self::Invited { .. }
            | Self::Joined
            | Self::Left
            | Self::Started
            | Self::Said { .. }
            | Self::Passed
            | Self::Given { .. }
            | Self::Skipped { .. }
            | Self::Proposed { .. }
            | Self::Voted { .. }
            | Self::Advanced { .. }
            | Self::Chaired { .. } => false,
        }
    }

    /// The number of the proposal or action item that it brought; 0 for anything else.
    #[must_use]
    pub const fn number(&self) -> u32 {
        if let Self::Proposed { proposal: number, .. } | Self::Assigned { number, .. } = self {
            *number
        } else {
            0
        }
    }

    /// What happened, as one word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "opened",
            Self::Invited { .. } => "invited",
            Self::Joined => "joined",
            Self::Left => "left",
            Self::Started => "started",
            Self::Said { .. } => "said",
            Self::Passed => "passed",
            Self::Given { .. } => "given",
            Self::Skipped { .. } => "skipped",
            Self::Proposed { .. } => "proposed",
            Self::Voted { .. } => "voted",
            Self::Decided { .. } => "decided",
            Self::Assigned { .. } => "assigned",
            Self::Advanced { .. } => "advanced",
            Self::Chaired { .. } => "chaired",
            Self::Closed { .. } => "closed",
            Self::Delegated { .. } => "delegated",
        }
    }
}

/// An entry as its stream keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its sequence in the stream.
    pub seq: u64,
    /// The sequence that it was guarded with, over the whole meeting; `None` where it was not.
    pub expected: Option<u64>,
    /// The writer's own word for it.
    pub token: Option<String>,
    /// The entry.
    pub entry: Entry,
}

/// Why a message is no entry of a meeting's log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Its subject is not one of a meeting.
    #[error("{subject} is no subject of a meeting")]
    Subject {
        /// The subject.
        subject: String,
    },
    /// It is no JSON, or of a kind that this version does not know.
    #[error("it is not readable")]
    Body(#[from] serde_json::Error),
    /// It says another meeting or org than its subject, or lies on the wrong one of the two.
    #[error("it does not belong on {subject}")]
    Misplaced {
        /// The subject.
        subject: String,
    },
}

impl Entry {
    /// The subject that it belongs on.
    #[must_use]
    pub fn subject(&self, subjects: &Subjects) -> Subject {
        if self.change.is_decision() {
            subjects.meeting_decisions(&self.meeting_id)
        } else {
            subjects.meeting_messages(&self.meeting_id)
        }
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(subjects: &Subjects, subject: &str, body: &[u8]) -> Result<Self, DecodeError> {
        let subject = || subject.to_owned();
        match subjects.parse(&subject()) {
            Some(Address::MeetingMessages(_) | Address::MeetingDecisions(_)) => {}
            Some(_) | None => return Err(DecodeError::Subject { subject: subject() }),
        }
        let entry: Self = serde_json::from_slice(body)?;
        if entry.org_id != *subjects.org() || entry.subject(subjects).as_str() != subject() {
            return Err(DecodeError::Misplaced { subject: subject() });
        }
        Ok(entry)
    }
}
