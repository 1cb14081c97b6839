//! The codes of meetings: what a meeting refuses is an answer, and says what to do next.

use sinew_agent::MeetError;
use sinew_bus::MeetingError;
use sinew_model::meeting::Refusal;

use super::{Code, IS_IT_UP, Verdict, of_delegate, of_publish, of_request};

const LIST: Option<&str> = Some("`sinew meeting list` shows them");
const SHOW: Option<&str> = Some("`sinew meeting show` tells where it stands");

/// The verdict on a meeting that did not do what it was asked.
pub(super) fn of_meet(error: &MeetError) -> Verdict {
    match error {
        MeetError::NoMeeting { .. } => (Code::NotFound, LIST),
        MeetError::Meeting { source, .. } => of_meeting(source),
        MeetError::Read(source) => of_request(source),
        MeetError::Invite(_) => {
            (Code::Unknown, Some("the meeting is open; its members are invited as soon as can be"))
        }
        MeetError::Delegate { source, .. } => (
            of_delegate(source).0,
            Some("the meeting is closed; the task is made as soon as can be"),
        ),
        MeetError::Stream(_) | MeetError::List(_) | MeetError::Hear(_) | _ => {
            (Code::Unreachable, IS_IT_UP)
        }
    }
}

fn of_meeting(error: &MeetingError) -> Verdict {
    match error {
        MeetingError::Refused(refusal) => of_refusal(refusal),
        MeetingError::Rejected(source) => match source {
            sinew_bus::AppendError::Publish { source } => of_publish(source),
            sinew_bus::AppendError::Conflict { .. }
            | sinew_bus::AppendError::Alien { .. }
            | sinew_bus::AppendError::Unencodable { .. }
            | _ => (Code::Internal, None),
        },
        MeetingError::Unknown(_) => {
            (Code::Unknown, Some("the same again with --key happens once; `sinew meeting show`"))
        }
        MeetingError::Unreadable(source) => of_request(source),
        MeetingError::Unreachable(_) | MeetingError::Crowded | _ => (Code::Unreachable, IS_IT_UP),
    }
}

fn of_refusal(refusal: &Refusal) -> Verdict {
    match refusal {
        Refusal::Definition(_) | Refusal::Text { .. } | Refusal::Key => (Code::Usage, None),
        Refusal::NoMeeting => (Code::NotFound, LIST),
        Refusal::NoProposal { .. } | Refusal::NoAction { .. } => (Code::NotFound, SHOW),
        Refusal::IdTaken => (Code::Refused, Some("take another id, or none")),
        Refusal::NoMember { .. } => (Code::Refused, Some("say with --role as whom you are there")),
        Refusal::NotThere { .. } => (Code::Refused, Some("`sinew meeting join` comes in")),
        Refusal::NotBegun { .. } => (Code::Refused, Some("it begins when enough have joined")),
        Refusal::NotYourTurn { .. } => {
            (Code::Refused, Some("`sinew meeting watch` shows when the turn comes round"))
        }
        Refusal::RoundsOver { .. } => {
            (Code::Refused, Some("propose or vote, or let the chair go on: `sinew meeting next`"))
        }
        Refusal::NoReason => (Code::Usage, Some("say why with --because")),
        Refusal::Closed => (Code::Refused, Some("`sinew meeting minutes` has what came of it")),
        Refusal::LastItem => (Code::Refused, Some("`sinew meeting close` ends it")),
        Refusal::Open { .. } => {
            (Code::Refused, Some("vote, or wait until the time for votes is up"))
        }
        Refusal::NeedsVote => {
            (Code::Refused, Some("`sinew meeting propose` puts something to the vote"))
        }
        Refusal::AlreadyOpen
        | Refusal::Said
        | Refusal::Begun
        | Refusal::ThereAlready { .. }
        | Refusal::NoTurns
        | Refusal::NotChair { .. }
        | Refusal::Decided { .. }
        | Refusal::Voted { .. }
        | Refusal::MayNotVeto { .. }
        | Refusal::TooEarly
        | Refusal::Full { .. }
        | Refusal::Delegated { .. }
        | _ => (Code::Refused, SHOW),
    }
}
