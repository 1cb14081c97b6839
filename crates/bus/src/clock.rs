//! The only place that reads the time, pauses, or makes up a unique word. Everything else gets
//! these handed in, or asks here, so that a test can see every place where time matters.

use std::time::Duration;

use sinew_model::Time;

/// The wall clock. It may jump: never measure a span with it.
#[must_use]
pub fn now() -> Time {
    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the clock")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock before 1970 is set wrong; the beginning of time is as good as any other answer.
    let micros = since.map_or(0, |since| since.as_micros());
    Time::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// The monotonic clock, for spans and deadlines within this process.
#[must_use]
pub fn instant() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Waits before something is tried again. Not for waiting until something has happened.
pub async fn pause(span: Duration) {
    #[expect(clippy::disallowed_methods, reason = "back-off of production code goes through here")]
    tokio::time::sleep(span).await;
}

/// A word of 32 letters and digits that nobody else has: its beginning sorts by time.
#[must_use]
pub fn unique() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}
