//! Bounds of the views.

use std::time::Duration;

/// Entries that a view folds in one transaction, so that no other process waits long for the file.
pub const VIEW_BATCH_ENTRIES: usize = 1_000;

/// Bytes of entries that a view folds in one transaction. A single entry may be as large as
/// [`super::MESSAGE_BYTES`], and a batch is held in memory.
pub const VIEW_BATCH_BYTES: usize = 8 * 1_048_576;

/// Rows that one query of a view gives at most; the rest is on the next page.
pub const VIEW_ROWS: usize = 1_000;

/// Rows that one query of a view gives where the caller names no number.
pub const VIEW_ROWS_DEFAULT: usize = 100;

/// Bytes of large columns (states, bodies of entries) that one query of a view gives at most.
pub const VIEW_PAGE_BYTES: usize = 32 * 1_048_576;

/// Largest result, in bytes of JSON, that lists of tasks carry along. A larger one is only in the
/// entry that ended the task, so that a page of [`VIEW_ROWS`] tasks stays within some megabytes.
pub const VIEW_RESULT_BYTES: usize = 16_384;

/// Bytes that a view keeps of a message that is void or can't be read: enough to see what it was.
pub const VIEW_VOID_BYTES: usize = 4_096;

/// Ids that are named where a prefix fits several tasks.
pub const VIEW_CANDIDATES: usize = 10;

/// Queries that one process runs on a view's file at the same time, each on a connection of its
/// own; more would only wait for the disk.
pub const VIEW_READERS: usize = 4;

/// How long a process waits for another one that writes to the same view. A batch takes a tenth
/// of a second; ending a rebuild also drops the tables of before.
pub const VIEW_BUSY: Duration = Duration::from_secs(10);

/// Time between two looks at a view's file by somebody who waits for a sequence that another
/// process folds.
pub const VIEW_LOOK_EVERY: Duration = Duration::from_millis(50);

/// Time between two checks that a followed stream is still the one that the view is of.
pub const VIEW_SOURCE_EVERY: Duration = Duration::from_secs(5);

/// How long a follower waits for the rest of a batch before it folds what it has.
pub const VIEW_LINGER: Duration = Duration::from_millis(50);

/// Shortest and longest pause of a follower after something went wrong.
pub const VIEW_RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Times that a rebuilt view reads on because the live one went ahead meanwhile. Each round is
/// shorter than the one before; this many mean that it can't keep up.
pub const VIEW_REBUILD_ROUNDS: u32 = 64;

// --- Taking and ending deliveries -----------------------------------------------------------------
