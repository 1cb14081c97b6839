//! What may be asked of a meeting, and why it may say no.

use super::{
    definition::{ActionItem, Definition, DefinitionError, TextError},
    entry::Change,
    vote::Vote,
};
use crate::{
    id::{Role, TaskId},
    limits::EFFECT_KEY_BYTES,
    task::Actor,
    time::Time,
};

/// A request to a meeting.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Call it.
    Open {
        /// What it is.
        meeting: Box<Definition>,
    },
    /// Note that everybody was invited, for the first time or the second.
    Invite {
        /// Which time.
        number: u32,
    },
    /// Come in.
    Join,
    /// Go.
    Leave,
    /// Take up the first item, since the quorum is there.
    Start,
    /// Speak.
    Say {
        /// What.
        text: String,
    },
    /// Let one's turn pass.
    Pass,
    /// Give somebody the floor.
    Give {
        /// Whom.
        to: Role,
    },
    /// Pass over whoever has the turn.
    Skip,
    /// Put something to the vote.
    Propose {
        /// What.
        text: String,
        /// What is to be done if it is approved.
        action_items: Vec<ActionItem>,
    },
    /// Vote.
    Vote {
        /// On which proposal.
        proposal: u32,
        /// How.
        vote: Vote,
        /// Why.
        rationale: Option<String>,
    },
    /// Count the votes.
    Decide {
        /// On which proposal.
        proposal: u32,
    },
    /// Give somebody something to do after the meeting.
    Assign {
        /// What, and who.
        action_item: ActionItem,
    },
    /// Take up the next item of the agenda.
    Next,
    /// Take the chair's place by whoever is next, since the chair is silent.
    Succeed,
    /// End it.
    Close {
        /// What there is to say about it.
        summary: Option<String>,
    },
    /// Note that an action item became a task.
    Delegate {
        /// Its number.
        number: u32,
        /// The task.
        task_id: TaskId,
    },
}

impl Command {
    /// The request that would have led to this entry.
    #[must_use]
    pub fn of(change: &Change) -> Self {
        match change {
            Change::Opened { meeting } => Self::Open { meeting: meeting.clone() },
            Change::Invited { number } => Self::Invite { number: *number },
            Change::Joined => Self::Join,
            Change::Left => Self::Leave,
            Change::Started => Self::Start,
            Change::Said { text, .. } => Self::Say { text: text.clone() },
            Change::Passed => Self::Pass,
            Change::Given { to } => Self::Give { to: to.clone() },
            Change::Skipped { .. } => Self::Skip,
            Change::Proposed { text, action_items, .. } => {
                Self::Propose { text: text.clone(), action_items: action_items.clone() }
            }
            Change::Voted { proposal, vote, rationale } => {
                Self::Vote { proposal: *proposal, vote: *vote, rationale: rationale.clone() }
            }
            Change::Decided { proposal, .. } => Self::Decide { proposal: *proposal },
            Change::Assigned { action_item, .. } => {
                Self::Assign { action_item: action_item.clone() }
            }
            Change::Advanced { .. } => Self::Next,
            Change::Chaired { .. } => Self::Succeed,
            Change::Closed { summary, .. } => Self::Close { summary: summary.clone() },
            Change::Delegated { number, task_id } => {
                Self::Delegate { number: *number, task_id: task_id.clone() }
            }
        }
    }
}

/// Who asks, and when.
#[derive(Clone, Copy, Debug)]
pub struct Voice<'a> {
    /// Who.
    pub by: &'a Actor,
    /// When, by the server's clock.
    pub at: Time,
    /// The asker's own word: what is said again under it is said once.
    pub key: Option<&'a str>,
}

/// Why a meeting does not do what is asked of it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// There is none of that id.
    #[error("there is no such meeting")]
    NoMeeting,
    /// The id belongs to another meeting.
    #[error("the id belongs to another meeting")]
    IdTaken,
    /// The same meeting was opened before.
    #[error("the meeting is open already")]
    AlreadyOpen,
    /// It breaks a rule.
    #[error("the meeting is not acceptable")]
    Definition(#[from] DefinitionError),
    /// A text is not taken.
    #[error("the {what} is not acceptable")]
    Text {
        /// Which text.
        what: &'static str,
        /// Why not.
        #[source]
        why: TextError,
    },
    /// The key is empty or too long.
    #[error("a key has 1 to {EFFECT_KEY_BYTES} bytes")]
    Key,
    /// It was said before, under the same key.
    #[error("it was said before, under the same key")]
    Said,
    /// It is over.
    #[error("the meeting is closed")]
    Closed,
    /// It has not begun.
    #[error("the meeting has not begun: {present} of {quorum} members are there")]
    NotBegun {
        /// Members that are there.
        present: u32,
        /// How many are needed.
        quorum: u32,
    },
    /// It has begun already.
    #[error("the meeting has begun already")]
    Begun,
    /// Whoever asks is not invited.
    #[error("{role} is no member of the meeting")]
    NoMember {
        /// Who asks.
        role: Role,
    },
    /// Whoever asks, or is named, has not come in.
    #[error("{role} has not joined the meeting")]
    NotThere {
        /// Who.
        role: Role,
    },
    /// Whoever asks is there already.
    #[error("{role} is there already")]
    ThereAlready {
        /// Who asks.
        role: Role,
    },
    /// It is somebody else's turn.
    #[error("it is the turn of {holder}")]
    NotYourTurn {
        /// Whose turn it is.
        holder: Role,
    },
    /// Whoever asks, or everybody, has spoken as often as they may on this item.
    #[error(
        "there have been {rounds} rounds on this item of the agenda, and no more are to be had"
    )]
    RoundsOver {
        /// How many there are.
        rounds: u32,
    },
    /// In this meeting nobody gives the floor, or nobody has a turn that could pass.
    #[error("there are no turns to give or to pass in this meeting")]
    NoTurns,
    /// Only the chair may do it.
    #[error("only the chair may do that, and that is {chair}")]
    NotChair {
        /// The chair.
        chair: Role,
    },
    /// There is no such proposal.
    #[error("there is no proposal {proposal}")]
    NoProposal {
        /// Its number.
        proposal: u32,
    },
    /// The votes on it were counted.
    #[error("proposal {proposal} is decided already")]
    Decided {
        /// Its number.
        proposal: u32,
    },
    /// Whoever asks has voted on it.
    #[error("{role} has voted on proposal {proposal} already")]
    Voted {
        /// Who asks.
        role: Role,
        /// Its number.
        proposal: u32,
    },
    /// Whoever asks may not veto.
    #[error("{role} may not veto in this meeting")]
    MayNotVeto {
        /// Who asks.
        role: Role,
    },
    /// A veto needs a reason.
    #[error("a veto needs a reason")]
    NoReason,
    /// A vote is still open.
    #[error("proposal {proposal} is not decided yet")]
    Open {
        /// Its number.
        proposal: u32,
    },
    /// The item needs a decision.
    #[error("this item of the agenda needs a decision before the next")]
    NeedsVote,
    /// It was the last one.
    #[error("it is the last item of the agenda")]
    LastItem,
    /// The time for it has not come.
    #[error("the time for it has not come")]
    TooEarly,
    /// There are as many proposals, action items or entries as may be, or as much text.
    #[error("the meeting has as many {what} as it may have")]
    Full {
        /// Of what.
        what: &'static str,
    },
    /// There is no such action item, or the task is not its own.
    #[error("there is no action item {number} with this task")]
    NoAction {
        /// Its number.
        number: u32,
    },
    /// It was delegated before.
    #[error("action item {number} is a task already")]
    Delegated {
        /// Its number.
        number: u32,
    },
}
