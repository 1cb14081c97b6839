//! Bounds of meetings. Each keeps a meeting readable by a model with a small context, or makes it
//! end.

use std::time::Duration;

/// Members that a meeting may have, optional ones included: each hears all that is said, so what
/// a meeting costs grows with the square of this.
pub const MEETING_MEMBERS: usize = 200;

/// Items that an agenda may have.
pub const AGENDA_ITEMS: usize = 50;

/// Largest speech, in bytes: some pages, which each member has to read.
pub const SPEECH_BYTES: usize = 65_536;

/// Largest text of a proposal, in bytes. It is what the members vote on, and not its reasons.
pub const PROPOSAL_BYTES: usize = 16_384;

/// Largest rationale of a vote, in bytes.
pub const RATIONALE_BYTES: usize = 4_096;

/// Largest summary that a chair closes a meeting with, in bytes.
pub const SUMMARY_BYTES: usize = 65_536;

/// Proposals that one meeting may vote on.
pub const PROPOSALS: usize = 200;

/// Action items that one proposal may carry.
pub const ACTIONS_PER_PROPOSAL: usize = 50;

/// Action items that one meeting may agree on.
pub const ACTIONS: usize = 500;

/// Largest details of an action item, in bytes of JSON: what is larger belongs into a document
/// that they name.
pub const ACTION_DETAILS_BYTES: usize = 16_384;

/// Entries that a meeting may have before nothing but its end is taken. It ends a meeting whose
/// members give each other the floor for ever, whatever its clock says.
pub const MEETING_ENTRIES: u32 = 10_000;

/// Bytes of text that one meeting may hold: whoever follows it holds them in memory.
pub const MEETING_TEXT_BYTES: usize = 16 * 1_048_576;

/// Rounds of an agenda item where the meeting names no number.
pub const ROUNDS: u32 = 3;

/// Most rounds that a meeting may ask for.
pub const ROUNDS_MOST: u32 = 100;

/// Seconds that a meeting lasts at most where it names no number.
pub const MEETING_SECONDS: u64 = 3_600;

/// Longest span that a meeting may name for anything, in seconds: a week.
pub const MEETING_SECONDS_MOST: u64 = 7 * 24 * 3_600;

/// Seconds that a meeting waits for its quorum: agents that sleep must be woken first.
pub const QUORUM_SECONDS: u64 = 300;

/// Seconds of silence after which whoever has the turn is passed over: longer than a model thinks
/// about one speech.
pub const TURN_SECONDS: u64 = 120;

/// Seconds for which votes are taken.
pub const VOTE_SECONDS: u64 = 300;

/// Seconds of silence, where the next move is the chair's, after which another one takes the chair.
pub const CHAIR_SECONDS: u64 = 300;

/// Time between two looks of a controller at what is due in open meetings.
pub const MEETINGS_EVERY: Duration = Duration::from_secs(1);

/// Meetings that one controller moves on, or one list reads, at once.
pub const MEETINGS_AT_ONCE: usize = 16;

/// Shortest and longest time before a controller tries again to move a meeting on.
pub const MEETING_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Things that are due in one meeting at a time, and are done without another look: more than one
/// entry can bring about, so that it ends where something is wrong.
pub const MEETING_STEPS: u32 = 1_000;

/// Entries of meetings that one list looks at, the newest first, so that it takes no longer after
/// years of meetings. They are asked for in parts of [`MEETINGS_PART`].
pub const MEETINGS_SEARCHED: u64 = 5_000;

/// Entries of meetings that a list asks for at a time.
pub const MEETINGS_PART: u64 = 500;

/// Meetings that one list reads, whether or not it shows them: each takes a few requests.
pub const MEETINGS_READ: usize = 500;
