//! Bounds of reading: pulls of a consumer, and streams that are read from aside.

use std::time::Duration;

use super::PUBLISH_PATIENCE;

// --- Pulls ----------------------------------------------------------------------------------------

/// How long one waiting pull stays open. It bounds what a worker that vanished leaves behind.
pub const PULL_EXPIRES: Duration = Duration::from_secs(30);

/// How often the server says that a waiting pull is still open.
pub const PULL_HEARTBEAT: Duration = Duration::from_secs(2);

/// Silence after which a waiting pull counts as lost: two and a half heartbeats.
pub const PULL_SILENCE: Duration = Duration::from_secs(5);

/// How long after its expiry a pull is still listened to, for what was on its way.
pub const PULL_GRACE: Duration = Duration::from_secs(5);

/// How long a pull that shall not wait may stay unanswered. The server parks it without a word
/// where its consumer has as many open deliveries as it may.
pub const PULL_NOW: Duration = Duration::from_secs(1);

/// First pause after a pull that was refused or lost; it doubles.
pub const PULL_BACK_OFF: Duration = Duration::from_millis(50);

/// Longest pause between two pulls, so that work flows again within a second of the server's
/// return, and a missing right does not spin.
pub const PULL_BACK_OFF_LONGEST: Duration = Duration::from_secs(1);

/// Delay of the nak that ends a delivery that somebody dropped by mistake, so that a handler that
/// drops each delivery does not spin.
pub const DROPPED_DELAY: Duration = Duration::from_secs(1);

/// Naks of dropped deliveries that wait for their turn to be sent. One more is left to the ack
/// wait.
pub const NAKS_QUEUED: usize = 1_024;

/// Commands that wait for an intake.
pub const INTAKE_COMMANDS: usize = 16;

/// Longest reason that a term carries, in bytes: it becomes one line of an advisory.
pub const TERM_BYTES: usize = 512;

// --- Reading streams ------------------------------------------------------------------------------

/// How long a message is asked for before its stream counts as out of reach: as long as for a
/// publish.
pub const READ_PATIENCE: Duration = PUBLISH_PATIENCE;

/// Time between two such askings.
pub const READ_AGAIN: Duration = Duration::from_millis(250);

/// Entries of one log that are asked for at once. The server itself allows 1,000.
pub const HISTORY_BATCH: usize = 500;

/// Entries of one log that are asked for one by one: those of a task that was tried three times.
/// A log with more entries of one kind is searched from its beginning instead.
pub const HISTORY_FETCHES: u32 = 4;

/// Entries that one task's log may have. What one task may write adds up to less; more means that
/// somebody writes outside the law, and reading it must not take all memory.
pub const HISTORY_ENTRIES: usize = 100_000;

/// Messages that a scan asks for at once: enough to keep a rebuild busy, and bounded in memory.
pub const SCAN_BATCH: usize = 500;

/// How long the server keeps the consumer of a scan that nobody reads.
pub const SCAN_IDLE: Duration = Duration::from_secs(30);

/// Subjects of one stream that are counted one by one. The server needs about a second for each
/// 100,000 of them.
pub const DEPTH_SUBJECTS: usize = 200_000;

/// Ids of messages that a reader of an inbox remembers, to drop what was sent twice: some
/// megabytes, and far more than a sender repeats.
pub const INBOX_KNOWN: usize = 100_000;
