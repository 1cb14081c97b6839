//! What a model is told where a message, a meeting or the registry said no.

use sinew_agent::{InboxError, MeetError, RegistryError, SendError};
use sinew_bus::{ExecuteError, MeetingError};
use sinew_model::{MeetingId, meeting::Refusal};

use super::{AGAIN, SAME_AGAIN, Told, chain};

const MEND: &str = "Nothing was changed. Mend the arguments and call again.";

impl Told {
    /// There is no meeting of that id.
    pub(crate) fn no_meeting(id: &MeetingId) -> Self {
        Self::new(
            format!("there is no meeting {id}"),
            "list_meetings shows the meetings that there are, with their ids.",
        )
    }
}

impl From<SendError> for Told {
    fn from(error: SendError) -> Self {
        let next = match &error {
            SendError::Invalid(_) | SendError::Id(_) | SendError::Key => {
                "Nothing was sent. Mend the arguments and call again."
            }
            SendError::IdReused { .. } => {
                "An id belongs to one message for ever. Leave `id` out, or take another."
            }
            SendError::NoBroadcast { .. } => {
                "get_agent_inbox shows messages to everybody with their ids; their `to` is \
                 broadcast. Others are acknowledged with acknowledge_message."
            }
            SendError::Parent(ExecuteError::Unknown(_)) => SAME_AGAIN,
            SendError::Parent(_) => {
                "The task on whose behalf this was sent is not yours any more: stop working on it."
            }
            SendError::Publish { .. } => {
                "It is not known whether it was sent. Send it again with the id of the error as \
                 `id`: then it is sent once."
            }
            SendError::Stream(_)
            | SendError::Read(_)
            | SendError::Scan(_)
            | SendError::Audience(_)
            | _ => AGAIN,
        };
        Self::new(chain(&error), next)
    }
}

impl From<InboxError> for Told {
    fn from(error: InboxError) -> Self {
        let next = match &error {
            InboxError::NotOpen { .. } => {
                "take_messages hands messages out. One that was acknowledged before needs nothing \
                 more; a message to everybody is also acknowledged to its sender with \
                 acknowledge_broadcast."
            }
            InboxError::Ack(_) => SAME_AGAIN,
            InboxError::Ensure(_)
            | InboxError::Request(_)
            | InboxError::Count(_)
            | InboxError::Scan(_)
            | InboxError::Consume(_)
            | _ => AGAIN,
        };
        Self::new(chain(&error), next)
    }
}

impl From<RegistryError> for Told {
    fn from(error: RegistryError) -> Self {
        let next = match &error {
            RegistryError::Card(_) | RegistryError::Schema { .. } => MEND,
            RegistryError::Publish(_) => SAME_AGAIN,
            RegistryError::Stream(_)
            | RegistryError::Request(_)
            | RegistryError::Scan(_)
            | RegistryError::Queues(_)
            | RegistryError::Crowded { .. }
            | _ => AGAIN,
        };
        Self::new(chain(&error), next)
    }
}

impl From<MeetError> for Told {
    fn from(error: MeetError) -> Self {
        if let Some(refusal) = error.refusal() {
            let next = after(refusal);
            return Self::new(chain(&error), next);
        }
        let next = match &error {
            MeetError::NoMeeting { id } => return Self::no_meeting(id),
            MeetError::Meeting { source: MeetingError::Unknown(_), .. } => {
                "It is not known whether it was done. get_meeting_messages shows what was; what is \
                 said under a `key` is said once."
            }
            MeetError::Invite(_) | MeetError::Delegate { .. } => {
                "The rest is done by the backbone of itself. get_meeting_status and \
                 get_meeting_minutes show how far it is."
            }
            MeetError::Meeting { .. }
            | MeetError::Stream(_)
            | MeetError::Read(_)
            | MeetError::List(_)
            | MeetError::Hear(_)
            | _ => AGAIN,
        };
        Self::new(chain(&error), next)
    }
}

/// What to do after a meeting has said no.
const fn after(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoMeeting | Refusal::NoProposal { .. } | Refusal::NoAction { .. } => {
            "list_meetings shows the meetings, get_meeting_status the votes that are open."
        }
        Refusal::IdTaken => "An id belongs to one meeting for ever. Leave `id` out.",
        Refusal::Definition(_) | Refusal::Text { .. } | Refusal::Key | Refusal::NoReason => MEND,
        Refusal::Closed => "It is over. get_meeting_minutes shows what came of it.",
        Refusal::NotBegun { .. } | Refusal::TooEarly => {
            "Wait: get_meeting_messages with wait_seconds tells when it begins or goes on."
        }
        Refusal::NoMember { .. } => {
            "Your role is not invited. Send what you have to say to the chair with send_to_agent."
        }
        Refusal::NotThere { .. } => "join_agent_meeting first.",
        Refusal::NotYourTurn { .. } => {
            "Wait for your turn: get_meeting_messages with wait_seconds shows what comes. You may \
             vote out of turn."
        }
        Refusal::RoundsOver { .. } | Refusal::NoTurns => {
            "Vote on what is open, or wait: the chair goes on with next_agenda_item or \
             end_agent_meeting."
        }
        Refusal::NotChair { .. } => {
            "Ask the chair in the meeting, or go on with what is yours: speaking and voting."
        }
        Refusal::Voted { .. } | Refusal::Decided { .. } => {
            "Nothing more is needed of you here. get_meeting_decisions shows what was decided."
        }
        Refusal::MayNotVeto { .. } => "Vote reject instead, with your reason.",
        Refusal::Open { .. } | Refusal::NeedsVote => {
            "Get it decided first: get_meeting_status shows whose vote is missing; \
             propose_meeting_decision puts something to the vote."
        }
        Refusal::LastItem => "end_agent_meeting ends the meeting.",
        Refusal::Full { .. } => "End this meeting, and call another for what is left.",
        Refusal::AlreadyOpen
        | Refusal::Said
        | Refusal::Begun
        | Refusal::ThereAlready { .. }
        | Refusal::Delegated { .. }
        | _ => "It was done before. get_meeting_status shows where the meeting stands.",
    }
}
