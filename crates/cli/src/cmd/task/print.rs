//! What an entry of a task's log says, in words for a person.

use sinew_model::task::{Change, DeadCause, Effect, EnqueueReason, ReleaseReason};

use crate::text::{short, span};

/// Characters of a cause or message that fit on a line.
const WIDE: usize = 100;

/// What happened, without the word of the transition itself.
pub(crate) fn describe(change: &Change) -> String {
    match change {
        Change::Created { assignment, .. } => {
            let title = short(&assignment.title, WIDE);
            format!("{} delegates to {}: {title}", assignment.delegator, assignment.role)
        }
        Change::Enqueued { epoch, reason, not_before, .. } => {
            let when = not_before.map(|at| format!(" at {at}")).unwrap_or_default();
            format!("{}{when} (epoch {epoch})", enqueued(*reason))
        }
        Change::Started(start) => format!("attempt {} on {}", start.attempt, start.instance),
        Change::Progress { message, percent, .. } => {
            let message = short(message, WIDE);
            percent.map_or_else(|| message.clone(), |percent| format!("{percent}% {message}"))
        }
        Change::Effect { key, effect, .. } => {
            let Effect::Delegate { assignment } = &**effect;
            format!(
                "delegates to {}: {} ({})",
                assignment.role,
                short(&assignment.title, WIDE),
                short(key, WIDE)
            )
        }
        Change::Released { attempt, reason, cause, .. } => {
            let why = released(*reason);
            let cause = cause.as_deref().map(|cause| format!(": {}", short(cause, WIDE)));
            format!("attempt {attempt} {why}{}", cause.unwrap_or_default())
        }
        Change::Completed { attempt, result_ref: Some(claim), .. } => {
            format!("attempt {attempt}, {} bytes of result in {}", claim.bytes, claim.object)
        }
        Change::Completed { attempt, result, result_ref: None } => {
            format!("attempt {attempt}, {} bytes of result", result.to_string().len())
        }
        Change::Failed { attempt, cause } => format!("attempt {attempt}: {}", short(cause, WIDE)),
        Change::Cancelled { reason } => short(reason, WIDE),
        Change::Dead { cause, detail, .. } => format!("{}: {}", dead(*cause), short(detail, WIDE)),
    }
}

const fn enqueued(reason: EnqueueReason) -> &'static str {
    match reason {
        EnqueueReason::Retry => "to be tried again",
        EnqueueReason::Found => "found on its queue",
        EnqueueReason::Lost => "found nowhere, so put on its queue again",
        EnqueueReason::Revived => "revived by hand",
    }
}

const fn released(reason: ReleaseReason) -> &'static str {
    match reason {
        ReleaseReason::Failed => "failed",
        ReleaseReason::Postponed => "asks for another try later",
        ReleaseReason::Drained => "was given back: its agent stops",
        ReleaseReason::Restarted => "was taken back: its agent restarted",
        ReleaseReason::Orphaned => "was taken back: its agent is gone",
    }
}

const fn dead(cause: DeadCause) -> &'static str {
    match cause {
        DeadCause::AttemptsExhausted => "every attempt failed",
        DeadCause::StartsExhausted => "started too often without a report",
        DeadCause::DeadlinePassed => "its deadline passed",
        DeadCause::Undecodable => "the message could not be decoded",
        DeadCause::BodyLost => "its input is lost",
        DeadCause::Lost => "it could not be put on its queue again",
    }
}

/// How long it has been from one moment to another, for a line of a life.
pub(super) fn after(at: sinew_model::Time, since: sinew_model::Time) -> String {
    format!("+{}", span(at.since(since)))
}
