//! Why a page or an action came to nothing, in words for a person.

use std::error::Error;

use axum::http::StatusCode;
use sinew_agent::{AdvanceError, DelegateError, FollowError, RegistryError, meeting::MeetError};
use sinew_bus::{ExecuteError, HistoryError};
use sinew_views::QueryError;

use crate::{control::scale::status::LookError, token::TokenError, told::chain};

/// Why it came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// There is no such page.
    #[error("there is no such page")]
    Nowhere,
    /// There is no such thing.
    #[error("there is no {0}")]
    Missing(String),
    /// The form says something that makes no sense.
    #[error("{0}")]
    Form(String),
    /// It was asked for by another site, or from a page of another login.
    #[error("this was not asked for by a page of this dashboard")]
    Forged,
    /// It is not for this visitor.
    #[error("{0}")]
    Forbidden(String),
    /// What it was asked of said no.
    #[error("{0}")]
    Refused(String),
    /// Too many ask at once.
    #[error("too many pages are being made at the moment")]
    Crowded,
    /// What it needs can't be had now.
    #[error("{what} can't be had now: {why}")]
    Away {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
}

impl Fault {
    /// Something that may be there again in a moment.
    pub(super) fn away(what: &'static str, error: &(dyn Error + 'static)) -> Self {
        tracing::warn!(error, what, "the dashboard could not have it");
        Self::Away { what, why: chain(error) }
    }

    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Nowhere | Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Form(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Forged | Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Refused(_) => StatusCode::CONFLICT,
            Self::Crowded | Self::Away { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A heading.
    pub(super) const fn title(&self) -> &'static str {
        match self {
            Self::Nowhere | Self::Missing(_) => "Not found",
            Self::Form(_) => "That form can’t be used",
            Self::Forged | Self::Forbidden(_) => "Not allowed",
            Self::Refused(_) => "That was refused",
            Self::Crowded | Self::Away { .. } => "Not available right now",
        }
    }

    /// What to do next.
    pub(super) const fn next(&self) -> &'static str {
        match self {
            Self::Nowhere => "Use the navigation to find what you were looking for.",
            Self::Missing(_) => "It may have been removed, or the address is incomplete.",
            Self::Form(_) => "Go back, correct it, and send it again.",
            Self::Forged => "Open the page again and repeat the action from there.",
            Self::Forbidden(_) => "Sign in with a link for a role that may do this.",
            Self::Refused(_) => {
                "Nothing was changed. Open the page again to see how things stand now."
            }
            Self::Crowded | Self::Away { .. } => {
                "Try again in a moment. If it goes on, run sinew doctor on this machine."
            }
        }
    }
}

impl From<QueryError> for Fault {
    fn from(error: QueryError) -> Self {
        Self::away("the view", &error)
    }
}

impl From<LookError> for Fault {
    fn from(error: LookError) -> Self {
        Self::away("the state of the servers", &error)
    }
}

impl From<RegistryError> for Fault {
    fn from(error: RegistryError) -> Self {
        Self::away("the list of agents", &error)
    }
}

impl From<TokenError> for Fault {
    fn from(error: TokenError) -> Self {
        Self::away("the list of logins", &error)
    }
}

impl From<HistoryError> for Fault {
    fn from(error: HistoryError) -> Self {
        Self::away("the log of the task", &error)
    }
}

impl From<FollowError> for Fault {
    fn from(error: FollowError) -> Self {
        Self::away("the log of the task", &error)
    }
}

impl From<MeetError> for Fault {
    fn from(error: MeetError) -> Self {
        if let MeetError::NoMeeting { id } = &error {
            return Self::Missing(format!("meeting {id}"));
        }
        match error.refusal() {
            Some(refusal) => Self::Refused(format!("The meeting said no: {}.", chain(refusal))),
            None => Self::away("the meeting", &error),
        }
    }
}

impl From<AdvanceError> for Fault {
    fn from(error: AdvanceError) -> Self {
        match error.refusal() {
            Some(refusal) => Self::Refused(format!("The task said no: {}.", chain(refusal))),
            None => Self::away("the log of the task", &error),
        }
    }
}

impl From<DelegateError> for Fault {
    fn from(error: DelegateError) -> Self {
        match &error {
            DelegateError::Invalid(_)
            | DelegateError::Key
            | DelegateError::NotAccepted { .. }
            | DelegateError::NoTask { .. } => Self::Form(format!("{}.", chain(&error))),
            DelegateError::IdReused { .. }
            | DelegateError::QueueFull { .. }
            | DelegateError::SchedulesFull { .. }
            | DelegateError::BodiesFull(_)
            | DelegateError::TooDeep { .. }
            | DelegateError::Parent(_)
            | DelegateError::Log(ExecuteError::Refused(_)) => {
                Self::Refused(format!("{}.", chain(&error)))
            }
            DelegateError::Body(_)
            | DelegateError::Unknown { .. }
            | DelegateError::Failed(_)
            | DelegateError::Log(_)
            | DelegateError::Unreadable(_)
            | _ => Self::away("the queue", &error),
        }
    }
}
