//! Bounds of messages between agents, of their presence and of the registry.

use std::time::Duration;

use super::{HEARTBEAT_SILENCE, INLINE_BYTES, PRESENCE_KEPT};

/// Largest message to a role or to everybody, in bytes of JSON. A message that a task sends stands
/// in the task's log first, with some fields around it.
pub const MAIL_BYTES: usize = INLINE_BYTES;

/// Longest id, thread or kind of a message, in bytes. The id of a report is a task's with a label.
pub const MAIL_WORD_BYTES: usize = 192;

/// How long a message that was handed to a reader waits for its ack before it is handed to another
/// one. An LLM may think about a message for minutes.
pub const INBOX_ACK_WAIT: Duration = Duration::from_secs(300);

/// Messages of one role and priority that may be with readers at a time. A reader that crashes
/// keeps what it held until the ack wait is over, and the others go on with the rest.
pub const INBOX_PENDING: i64 = 1_000;

/// Messages that one look into an inbox takes at most, so that they fit in memory: at their
/// largest, some hundred megabytes.
pub const INBOX_TAKE: usize = 250;

/// Roles that a message to everybody may expect an acknowledgement from. With their names it stays
/// far below [`MAIL_BYTES`].
pub const AUDIENCE: usize = 1_000;

/// Longest note of an acknowledgement, in bytes: one line.
pub const NOTE_BYTES: usize = 1_024;

/// How long an instance may be silent and still count as there: what the orphan controller waits
/// as well.
pub const STALE_AFTER: Duration = HEARTBEAT_SILENCE;

/// How long an instance may be silent before it counts as gone. A machine that swaps or a process
/// that is stopped for a moment is back by then.
pub const GONE_AFTER: Duration = Duration::from_secs(30);

const _: () = assert!(GONE_AFTER.as_secs() < PRESENCE_KEPT.as_secs());

/// Largest capability card, in bytes of JSON.
pub const CARD_BYTES: usize = 65_536;

/// Skills of one card.
pub const SKILLS: usize = 64;

/// Longest skill, in bytes: a word or two.
pub const SKILL_BYTES: usize = 64;

/// Longest description of a role, in bytes: some paragraphs.
pub const ABOUT_BYTES: usize = 8_192;

/// Cards of an org, one a role. At the limit a further one is refused.
pub const CARDS_STORED: i64 = 10_000;

/// Times that a card is written anew because somebody else wrote in between.
pub const CARD_ROUNDS: u32 = 16;

/// How long a client takes a card for unchanged, so that a burst of delegations asks once.
pub const CARD_FRESH: Duration = Duration::from_secs(5);

/// Time between two pictures of `agent list --watch`.
pub const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Messages of a role that one look at its history reads, the newest first, before it says that
/// there are more.
pub const INBOX_SEARCHED: usize = 10_000;

/// Messages of all roles among which a look at a history searches at a time, first and at most. It
/// quadruples, since the messages of a role may lie close together or far apart.
pub const INBOX_PART: (u64, u64) = (1_000, 16_000);

/// How often one look at a history searches so.
pub const INBOX_PARTS: usize = 32;
