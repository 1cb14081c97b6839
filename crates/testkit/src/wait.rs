//! The one way to wait in a test: ask for the state again and again until it is there or the
//! deadline passes, and then say what was awaited and what was last seen. Nothing else in the
//! repository's tests sleeps.
//!
//! A probe returns `Ok(value)` when the state is there, else `Err(what is seen instead)`.

use std::fmt::Display;
use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

/// The first pause between two probes; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// The longest pause: short enough that a wait adds nothing one would notice.
const LAST_PAUSE: Duration = Duration::from_millis(50);

/// Nobody got what they waited for.
#[derive(Debug, Clone)]
pub struct TimedOut {
    what: String,
    after: Duration,
    last_status: String,
}

impl TimedOut {
    /// What the last probe saw instead.
    #[must_use]
    pub fn last_status(&self) -> &str {
        &self.last_status
    }
}

impl Display for TimedOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, after, last_status } = self;
        write!(f, "waited {after:?} for {what}; last seen: {last_status}")
    }
}

impl std::error::Error for TimedOut {}

/// Waits until the probe succeeds, and gives its value. A probe that hangs is cut off at the
/// deadline too.
///
/// # Panics
/// At the deadline, with `what`, the last status and the caller's place.
#[track_caller]
pub fn until<T, F, Fut>(what: &str, deadline: Duration, probe: F) -> impl Future<Output = T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let caller = Location::caller();
    let waiting = try_until(what, deadline, probe);
    async move { waiting.await.unwrap_or_else(|error| panic!("{error} (at {caller})")) }
}

/// As [`until`], for a caller that has more to say when it fails.
///
/// # Errors
/// [`TimedOut`] at the deadline.
pub async fn try_until<T, F, Fut>(
    what: &str,
    deadline: Duration,
    mut probe: F,
) -> Result<T, TimedOut>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let end = tokio::time::Instant::now() + deadline;
    let mut last_status = "nothing: the probe never answered".to_owned();
    let mut pause = FIRST_PAUSE;
    loop {
        // Past the end this still polls once, so the state at the deadline itself counts.
        match tokio::time::timeout_at(end, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(status)) => last_status = status,
            Err(_) => {}
        }
        let now = tokio::time::Instant::now();
        if now >= end {
            return Err(TimedOut { what: what.to_owned(), after: deadline, last_status });
        }
        tokio::time::sleep_until(end.min(now + pause)).await;
        pause = LAST_PAUSE.min(pause * 2);
    }
}

/// [`until`] for code that is not async. A probe that hangs is not cut off here.
///
/// # Panics
/// At the deadline, with `what`, the last status and the caller's place.
#[track_caller]
pub fn until_blocking<T>(
    what: &str,
    deadline: Duration,
    probe: impl FnMut() -> Result<T, String>,
) -> T {
    let caller = Location::caller();
    try_until_blocking(what, deadline, probe)
        .unwrap_or_else(|error| panic!("{error} (at {caller})"))
}

/// [`try_until`] for code that is not async. A probe that hangs is not cut off here.
///
/// # Errors
/// [`TimedOut`] at the deadline.
pub fn try_until_blocking<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl FnMut() -> Result<T, String>,
) -> Result<T, TimedOut> {
    let end = now() + deadline;
    let mut pause = FIRST_PAUSE;
    loop {
        let last_status = match probe() {
            Ok(value) => return Ok(value),
            Err(status) => status,
        };
        let left = end.saturating_duration_since(now());
        if left.is_zero() {
            return Err(TimedOut { what: what.to_owned(), after: deadline, last_status });
        }
        nap(pause.min(left));
        pause = LAST_PAUSE.min(pause * 2);
    }
}

/// Shows that something does *not* happen: probes through the whole of `span`, which therefore
/// should be as short as what is ruled out allows.
///
/// # Panics
/// As soon as the probe says otherwise, with `what`, the status and the caller's place.
#[track_caller]
pub fn holds<F, Fut>(what: &str, span: Duration, mut probe: F) -> impl Future<Output = ()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), String>>,
{
    let caller = Location::caller();
    async move {
        let end = tokio::time::Instant::now() + span;
        loop {
            if let Err(status) = probe().await {
                panic!("{what} did not hold for {span:?}: {status} (at {caller})");
            }
            let now = tokio::time::Instant::now();
            if now >= end {
                return;
            }
            tokio::time::sleep_until(end.min(now + LAST_PAUSE)).await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where tests read the time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this is where tests sleep, between two probes")]
fn nap(pause: Duration) {
    std::thread::sleep(pause);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(30);
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn gives_the_value_once_it_is_there() {
        let mut looks = 0;
        let seen = until("a third look", LONG, || {
            looks += 1;
            let look = looks;
            async move { if look == 3 { Ok(look) } else { Err(format!("look {look}")) } }
        });
        assert_eq!(seen.await, 3);
    }

    #[tokio::test]
    async fn says_at_the_deadline_what_was_last_seen() {
        let waited = try_until("the moon", SOON, || async { Err::<(), _>("the sun".to_owned()) });
        assert_eq!(
            waited.await.unwrap_err().to_string(),
            "waited 30ms for the moon; last seen: the sun"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn cuts_off_a_probe_that_hangs() {
        let waited = try_until("an answer", LONG, std::future::pending::<Result<(), String>>);
        assert!(waited.await.unwrap_err().last_status().contains("never answered"));
    }

    #[tokio::test(start_paused = true)]
    async fn looks_once_more_at_the_deadline() {
        let begin = tokio::time::Instant::now();
        let seen = until("the very end", LONG, || async {
            let waited = begin.elapsed();
            if waited >= LONG { Ok(()) } else { Err(format!("{waited:?}")) }
        });
        seen.await;
    }

    #[test]
    fn blocking_twin_gives_up_with_the_status() {
        let waited = try_until_blocking("the moon", SOON, || Err::<(), _>("the sun".to_owned()));
        assert_eq!(waited.unwrap_err().last_status(), "the sun");
        assert_eq!(until_blocking("nothing", SOON, || Ok(7)), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn holds_looks_through_the_whole_span() {
        let begin = tokio::time::Instant::now();
        holds("peace", LONG, || async { Ok(()) }).await;
        assert_eq!(begin.elapsed(), LONG);
    }

    #[test]
    fn a_failure_names_the_place_of_the_caller() {
        let failure = std::panic::catch_unwind(|| {
            until_blocking("the moon", SOON, || Err::<(), _>("the sun".to_owned()));
        });
        let text = failure.unwrap_err().downcast::<String>().unwrap();
        assert!(text.contains("wait.rs"), "{text}");
    }
}
