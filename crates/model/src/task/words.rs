//! Why something happened to a task, in words for a person: the rest of a sentence, in lower case,
//! the same wherever it is shown.

use super::{DeadCause, EnqueueReason, ReleaseReason};

impl EnqueueReason {
    /// In words: "queued again: …".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Retry => "to be tried again",
            Self::Found => "found on its queue",
            Self::Lost => "found nowhere, so put on its queue again",
            Self::Revived => "revived by hand",
            Self::Answered => "with the answer",
            Self::Resumed => "its wait is over",
            Self::Refused => "its result was refused",
        }
    }
}

impl ReleaseReason {
    /// In words: "attempt 1 …".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Postponed => "asks for another try later",
            Self::Drained => "was given back: its agent stops",
            Self::Restarted => "was taken back: its agent restarted",
            Self::Orphaned => "was taken back: its agent is gone",
        }
    }
}

impl DeadCause {
    /// In words: "because …".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "every attempt failed",
            Self::StartsExhausted => "it was started too often without a report",
            Self::DeadlinePassed => "its deadline passed",
            Self::Undecodable => "its message could not be decoded",
            Self::DependencyFailed => "a task that it comes after did not complete",
            Self::DeliveriesExhausted => "its message was delivered as often as allowed",
            Self::BodyLost => "its input is lost",
            Self::Lost => "it could not be put on its queue again",
        }
    }
}
