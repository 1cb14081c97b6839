//! What an agent's author writes: a function from a task to a result, or to a [`Failure`] that
//! says what shall happen next.

use std::{future::Future, time::Duration};

use serde_json::Value;
use sinew_model::{TaskId, task::Question};

use crate::context::Context;

/// Why an attempt did not bring the task to its result.
///
/// Any error becomes [`Failure::Retry`], so that `?` works in a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The attempt failed; another one may succeed. Counts against the task's limit of attempts.
    Retry {
        /// What went wrong. The last 8 KiB are kept.
        cause: String,
        /// How long to wait; `None`: as the role's back-off says.
        after: Option<Duration>,
    },
    /// The task can't be done, and trying again would not help: it ends as `failed`.
    Fatal {
        /// Why.
        cause: String,
    },
    /// The attempt can't go on without an answer, see [`Context::ask`]. It ends here and counts
    /// as no failure; once there is an answer, the next attempt begins and finds it.
    Block {
        /// The question.
        question: Box<Question>,
    },
    /// The attempt can't go on before other tasks have ended, see [`Context::wait_for`]. It ends
    /// here and counts as no failure; once they have, the next attempt begins.
    Wait {
        /// Those tasks.
        on: Vec<TaskId>,
    },
    /// Not now. Does not count as a failed attempt.
    Postpone {
        /// How long to wait; `None`: as the role's back-off says for a first failure.
        after: Option<Duration>,
    },
}

impl Failure {
    /// The attempt failed, and another one may succeed.
    pub fn retry(cause: impl Into<String>) -> Self {
        Self::Retry { cause: cause.into(), after: None }
    }

    /// The task can't be done.
    pub fn fatal(cause: impl Into<String>) -> Self {
        Self::Fatal { cause: cause.into() }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut cause = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            cause = format!("{cause}: {inner}");
            source = inner.source();
        }
        Self::retry(cause)
    }
}

/// Works on tasks. Implemented by every async function from a [`Context`] to a result.
///
/// What a handler does through the context (delegating) happens once, however often it is
/// tried. What it does outside may repeat after a crash: hand the task's id and
/// [`Context::fence`] to the outside as an idempotency key.
pub trait Handler: Send + Sync + 'static {
    /// Works on one attempt of one task. Dropped where it does not end soon after
    /// [`Context::stopped`] says that it should.
    fn handle(
        &self,
        task: Context,
    ) -> impl Future<Output = Result<Value, Failure>> + Send + 'static;
}

impl<F, Fut> Handler for F
where
    F: Fn(Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, Failure>> + Send + 'static,
{
    fn handle(
        &self,
        task: Context,
    ) -> impl Future<Output = Result<Value, Failure>> + Send + 'static {
        self(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_becomes_a_retry_with_its_whole_chain() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::num::ParseIntError);
        let inner = "x".parse::<u8>().unwrap_err();
        let failure = Failure::from(Outer(inner));
        assert_eq!(failure, Failure::retry("outer: invalid digit found in string"));
    }
}
