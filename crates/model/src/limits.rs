//! Every bound of Sinew by name, with its unit and its reason. A number that limits something
//! and is not here is a defect.

mod agents;
mod audit;
mod dashboard;
mod engine;
mod flood;
mod mcp;
mod meeting;
mod metric;
mod org;
mod read;
mod scale;
mod sign;
mod tls;
mod view;

use std::time::Duration;

pub use agents::*;
pub use audit::*;
pub use dashboard::*;
pub use engine::*;
pub use flood::*;
pub use mcp::*;
pub use meeting::*;
pub use metric::*;
pub use org::*;
pub use read::*;
pub use scale::*;
pub use sign::*;
pub use tls::*;
pub use view::*;

/// Longest id of a task or meeting, in bytes. Subjects carry ids as one token; the server's own
/// limit on a whole subject leaves room for this many.
pub const ID_BYTES: usize = 64;

/// Longest role or org name, in bytes: a role becomes part of a consumer's name.
pub const NAME_BYTES: usize = 48;

/// Longest title of a task, in bytes. A title is one line for a person; anything longer belongs
/// into the description or the input.
pub const TITLE_BYTES: usize = 512;

/// Largest message, headers and body together, in bytes (the seed's `maxMsgSize`).
pub const MESSAGE_BYTES: usize = 1_048_576;

/// Bytes of a message that are kept free for headers and the log entry that repeats the body, so
/// that an assignment that is accepted can also be logged as `created`.
pub const ENVELOPE_BYTES: usize = 16_384;

/// Largest encoded assignment or result, in bytes.
pub const BODY_BYTES: usize = MESSAGE_BYTES - ENVELOPE_BYTES;

/// Longest cause of a failure that is kept, in bytes: the last lines of a log, not the log.
pub const CAUSE_BYTES: usize = 8_192;

/// Largest progress message, in bytes.
pub const PROGRESS_BYTES: usize = 4_096;

/// Bytes of an undecodable message that are kept in its `dead` entry (base64 makes four of three).
pub const DEAD_BYTES: usize = 700_000;

/// Progress entries that one attempt may write; later ones only reach live observers.
pub const PROGRESS_PER_ATTEMPT: u32 = 1_000;

/// Shortest time between two progress entries of one attempt; what comes sooner is coalesced.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Effects (delegations, messages) that one task may record.
pub const EFFECTS_PER_TASK: usize = 1_000;

/// Longest key that a caller may give an effect, in bytes.
pub const EFFECT_KEY_BYTES: usize = 128;

/// Largest result, in bytes of JSON, that a report repeats; of a larger one it has the beginning,
/// and the task's log has the whole.
pub const REPORT_RESULT_BYTES: usize = 262_144;

/// Time after which a running attempt listens for news of its own task, so that a cancellation
/// reaches it at once. Shorter work ends before it would matter.
pub const LISTEN_AFTER: Duration = Duration::from_millis(250);

/// How long a delivery waits at most before another worker may try, when something that is not
/// the task's fault stood in the way.
pub const TRY_AGAIN: Duration = Duration::from_secs(2);

/// Steps from a delivery in hand to a started attempt: each step heals one thing that an earlier
/// writer left unsaid.
pub const START_STEPS: u32 = 8;

/// Time between two looks for a band of the queue that was not used before.
pub const BANDS_EVERY: Duration = Duration::from_secs(5);

/// How soon a look that found nothing is repeated after a hint; each further one after twice as
/// long.
pub const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Time between two looks at a task that is followed, where no news came.
pub const FOLLOW_EVERY: Duration = Duration::from_secs(2);

/// Longest type or action of an event, in bytes: words for filters, not prose.
pub const EVENT_WORD_BYTES: usize = 128;

/// How deep a tree of delegations may grow, so that a loop of agents that delegate to each other
/// ends in an error and not in a full queue.
pub const TREE_DEPTH: u32 = 32;

/// Tasks that an assignment may name to come after.
pub const AFTER_TASKS: usize = 100;

/// Tasks that an attempt may wait for at once: as many as it may delegate.
pub const WAITED_TASKS: usize = EFFECTS_PER_TASK;

/// Tasks whose waits are looked at to find out whether a new wait could ever end.
pub const WAITS_FOLLOWED: usize = 10_000;

/// Questions that a task may have answered.
pub const QUESTIONS_PER_TASK: usize = 100;

/// Bytes of an answer.
pub const ANSWER_BYTES: usize = 65_536;

/// Choices that a question may offer.
pub const CHOICES: usize = 50;

/// Bytes of a choice: a name for an answer, not its reasons.
pub const CHOICE_BYTES: usize = 512;

/// Time for which a question waits before another role is asked, unless it says otherwise.
pub const ESCALATE_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Refusals of a task's results in a row after which a person decides.
pub const REFUSALS: u32 = 3;

/// Steps that a task is moved at once while it waits for something else than a worker: more than
/// any way through its phases has.
pub const ADVANCE_STEPS: u32 = 8;

/// Logs of tasks that are read side by side.
pub const TASKS_READ_AT_ONCE: usize = 32;

/// Dead tasks that one command revives: more at once would flood their queues.
pub const REVIVED_TASKS: usize = 1_000;

/// Bytes of results that an attempt is handed of the tasks that it waited for; of those beyond, the
/// beginnings. A program reads them all into memory before it begins.
pub const ENDED_RESULTS_BYTES: usize = 8_388_608;

/// Tasks of a tree that are called off at a time.
pub const CANCELLED_TASKS: usize = 10_000;

/// Failed attempts after which a task is dead (the seed's `maxDeliver`).
pub const FAILED_ATTEMPTS: u32 = 3;

/// Most failed attempts that one assignment may ask for.
pub const FAILED_ATTEMPTS_MAX: u32 = 100;

/// Starts of one task, for whatever reason it was started again. A task that kills its worker each
/// time never reports a failure; this bound stops it.
pub const STARTS: u32 = 50;

/// Times that one task may be put on its queue.
pub const EPOCHS: u32 = 1_000;

/// How long the server waits for an ack before it delivers again (the seed's `ackWait`).
pub const ACK_WAIT: Duration = Duration::from_secs(300);

/// A lease is renewed this many times within one ack wait, so that two renewals may be lost.
pub const RENEWALS_PER_ACK_WAIT: u32 = 3;

/// Tasks that one instance works on at a time (the seed's `maxAckPending`, which Sinew counts per
/// instance and not per role).
pub const CONCURRENCY: usize = 5;

/// Most tasks that one instance may work on at a time.
pub const CONCURRENCY_MAX: usize = 1_000;

/// Deliveries that one role's consumer may have open, over all its instances.
pub const ACK_PENDING: i64 = 10_000;

/// Pull requests that may wait on one consumer. The server answers nothing to one more, and the
/// number can't be changed later, so it is set well above the instances of a role.
pub const PULLS_WAITING: i64 = 4_096;

/// Assignments that may lie in an org's queues (the seed's `maxMsgs`). At the limit the delegator
/// is refused, so that nothing that was accepted is dropped.
pub const TASKS_QUEUED: i64 = 100_000;

/// Servers that keep a stream of an org, where there are so many (the seed's `replicas`). Five are
/// the most that the engine takes.
pub const REPLICAS: u8 = 3;

/// The oldest server that has all that Sinew needs: schedules and batches among them.
pub const SERVER_OLDEST: (u32, u32) = (2, 14);

/// How long streams and consumers are asked for while the server elects a leader: as long as for
/// a publish.
pub const ENSURE_PATIENCE: Duration = PUBLISH_PATIENCE;

/// Time between two looks of the controllers for a stream that somebody deleted: well within the
/// patience of a publish, so that a delegation that begins meanwhile still comes in.
pub const STREAMS_EVERY: Duration = Duration::from_secs(5);

/// Time between two askings.
pub const ENSURE_EVERY: Duration = Duration::from_millis(250);

/// For how long a message id is remembered (the seed's `duplicateWindow`).
pub const DEDUP_WINDOW: Duration = Duration::from_secs(60);

/// Schedules and fired schedules that may be stored. The engine drops the oldest at the limit, so
/// who schedules must stop well below it.
pub const SCHEDULES_STORED: i64 = 100_000;

/// Schedules above which no further one is taken: the engine drops the oldest of a full stream of
/// schedules and knows no other way, so it must never get full. Four fifths leave room for those
/// that several processes put down at once.
pub const SCHEDULES_TAKEN: u64 = 80_000;

/// Largest scheduled message, headers included, in bytes. When it has fired it gets a header that
/// tells where it came from, and must then still fit into the queue: one that did not would stop
/// all that come after it.
pub const SCHEDULE_BYTES: usize = MESSAGE_BYTES - 4_096;

/// How long a fired schedule is kept beside the queue that takes it over. A queue that
/// is full for longer than this loses it, and the sweep puts its task on the queue again. After a
/// crash the server may hand over once more what fired within this time; epochs tell it apart.
pub const FIRED_KEPT: Duration = Duration::from_secs(3600);

// --- Recurring tasks -------------------------------------------------------------------------------

/// Longest name of a recurring task, in bytes: with the moment of a firing behind it, it is the id of
/// a task, which has at most [`ID_BYTES`].
pub const SCHEDULE_NAME_BYTES: usize = 40;

/// Recurring tasks that an org may have. Each is looked at every [`SCHEDULES_EVERY`].
pub const SCHEDULES_RECURRING: usize = 1_000;

/// Shortest time between two firings: the id of a task names its second.
pub const SCHEDULE_SHORTEST: Duration = Duration::from_secs(1);

/// Longest time between two firings of an interval, about ten years; more is a slip of the pen.
pub const SCHEDULE_LONGEST: Duration = Duration::from_secs(3_660 * 24 * 3_600);

/// Longest cron expression, in bytes.
pub const CRON_BYTES: usize = 256;

/// Longest name of a time zone, in bytes; the longest real one has 32.
pub const ZONE_BYTES: usize = 64;

/// Entries that are kept of each recurring task. A firing writes two, so fifty firings can be seen.
pub const SCHEDULE_HISTORY: i64 = 100;

/// Time between two looks at all recurring tasks, for what a crash left undone.
pub const SCHEDULES_EVERY: Duration = Duration::from_secs(30);

/// Firings that one controller carries out at once.
pub const FIRINGS_AT_ONCE: usize = 16;

/// Firings that may be with controllers without an ack: one for each recurring task.
pub const FIRINGS_PENDING: i64 = 1_000;

/// How long a firing waits for its controller before another one gets it.
pub const FIRING_WAIT: Duration = Duration::from_secs(60);

/// How long a message stays in an inbox that nobody reads.
pub const MAIL_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Messages in all inboxes of an org. Ten for each task that may be queued; beyond it the oldest
/// go, because one role that never reads must not keep the others from getting theirs.
pub const MAIL_STORED: i64 = 1_000_000;

/// How long a sign of life is kept: enough to see who went silent, and when.
pub const PRESENCE_KEPT: Duration = Duration::from_secs(300);

/// Signs of life that are kept in memory: 300 instances for the five minutes.
pub const PRESENCE_STORED: i64 = 100_000;

/// How long an event can be read from its stream (the seed keeps 7 days); archives keep it longer.
pub const EVENTS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How old a task may grow before it ends in `dead` (the seed's `maxAge`).
pub const DEADLINE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A retry that is due within this time is a delayed nak; a later one is an ack and the next
/// epoch, because a delayed nak takes one of the consumer's open deliveries.
pub const NAK_DELAY: Duration = Duration::from_secs(5);

/// First delay after a failed attempt (the seed's `nak(30000)`).
pub const RETRY_FIRST: Duration = Duration::from_secs(30);

/// Longest delay between attempts.
pub const RETRY_LONGEST: Duration = Duration::from_secs(600);

/// How long a publish is repeated under the same id before its outcome is reported as unknown.
/// The engine needs 4 to 6 s to elect a new leader after a crash.
pub const PUBLISH_PATIENCE: Duration = Duration::from_secs(12);

/// How long one request to the server may stay unanswered before it is repeated.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// Messages in one atomic batch. The server's own limit is 1,000.
pub const BATCH_MESSAGES: usize = 500;

/// Bytes in one atomic batch, so that a batch of large messages does not hold up small ones.
pub const BATCH_BYTES: usize = 8 * 1_048_576;

/// Publishes of one process to one stream that are not answered yet: waiting, sent, or to be
/// repeated. A caller above this waits for room.
pub const PUBLISHES_QUEUED: usize = 4_096;

/// Longest patience that a publish may ask for. It stays below the seed's 60 s of dedup window, so
/// that a repetition can't be taken for a new message.
pub const PUBLISH_PATIENCE_LONGEST: Duration = Duration::from_secs(45);

/// Time before a publish is repeated for the first time; it doubles with each repetition.
pub const PUBLISH_AGAIN_FIRST: Duration = Duration::from_millis(20);

/// Longest time between two repetitions of a publish, well below the seconds of an election.
pub const PUBLISH_AGAIN_LONGEST: Duration = Duration::from_millis(500);

/// A pull is opened when one of so many places of an instance is free and not asked for, or when
/// none is asked for: fewer and larger pulls for an instance with many places.
pub const PULL_SHARES: usize = 8;

/// Fewest messages that go as one atomic batch.
pub const BATCH_LEAST: usize = 16;

/// What an atomic batch is taken to cost beyond its messages before one was sent: the server makes
/// a store of its own for each. Measured: 3 to 5 ms.
pub const BATCH_PRICE: Duration = Duration::from_millis(4);

/// What each message of an atomic batch is taken to cost beyond the batch's own price: an
/// estimate of its order of magnitude. It only keeps the price of large batches from growing.
pub const BATCH_PRICE_EACH: Duration = Duration::from_micros(10);

/// Parts into which a refused batch is divided, since the server does not say which member it
/// refused. A part that is refused as well is sent message by message, so nobody waits for more
/// than three answers.
pub const BATCH_PARTS: usize = 8;

/// Bytes that the headers of a batch, or of a request to a committer, add to a message at most.
/// A message that has not so much left below the server's limit travels alone.
pub const BATCH_HEADER_BYTES: usize = 512;

/// How long a committer tries to publish for another process: less than [`REQUEST_TIMEOUT`], so
/// that its answer arrives before that process asks again.
pub const COMMIT_SERVICE_PATIENCE: Duration = Duration::from_secs(3);

/// How long a process publishes by itself after it found no committer to do it.
pub const COMMIT_SERVICE_ABSENCE: Duration = Duration::from_secs(1);

/// Time between two heartbeats of an instance.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);

// --- Control of flow -------------------------------------------------------------------------------

/// Roles and instances about whose flow of work something may be said at a time. At the limit one
/// more is refused, since a pause that is dropped would let work flow unasked.
pub const CONTROLS_STORED: i64 = 10_000;

/// How long a record of control is kept that holds nothing any more: for as long a runtime that
/// was out of reach still hears of an order to drain.
pub const CONTROL_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Longest time between two looks of a runtime at what was said about it, where it heard nothing:
/// news come as a hint at once, so this is for hints that were lost, and costs an idle instance two
/// reads.
pub const CONTROL_EVERY: Duration = Duration::from_secs(15);

/// Times that a record of control is written anew because somebody else wrote in between.
pub const CONTROL_ROUNDS: u32 = 16;

// --- Back-pressure ---------------------------------------------------------------------------------

/// Time before a delegation that found the queue full is tried again for the first time; it doubles
/// with each further one.
pub const ROOM_AGAIN_FIRST: Duration = Duration::from_millis(50);

/// Longest time between two such tries: many delegators that wait for one queue must not keep the
/// server busy with refusals.
pub const ROOM_AGAIN_LONGEST: Duration = Duration::from_secs(1);

// --- Presence --------------------------------------------------------------------------------------

/// Instances whose signs of life one process remembers.
pub const INSTANCES: usize = 100_000;

/// Silence after which an instance counts as gone, once it was seen alive.
pub const HEARTBEAT_SILENCE: Duration = Duration::from_secs(5);

/// Grace after an instance seemed gone, which a sign of life cancels.
pub const ORPHAN_GRACE: Duration = Duration::from_secs(1);

/// Time between two canaries of a controller, by which it knows that it hears.
pub const CANARY_EVERY: Duration = HEARTBEAT_EVERY;

/// Time on its way after which a canary proves nothing: heartbeats may be as late.
pub const CANARY_LATE: Duration = Duration::from_secs(1);

/// Time without a canary after which heartbeats may have been lost, so that every silence is
/// counted anew: less than [`HEARTBEAT_SILENCE`] leaves of a silence that it began within.
pub const CANARY_GAP: Duration = Duration::from_millis(2_500);

/// Rounds in which the open deliveries of a role are looked at after one of its instances went
/// silent, one each [`ORPHAN_GRACE`]. A process that is stopped, and not dead, keeps its pulls open
/// and is handed what nobody has begun, for as long as [`PULL_EXPIRES`].
pub const ORPHAN_ROUNDS: u32 = 35;

/// Roles whose dead instances one controller takes care of at the same moment.
pub const ORPHANS_AT_ONCE: usize = 8;

/// Ends of connections that wait for a controller to take note; what is one too many is told by
/// silence.
pub const ORPHAN_ENDS: usize = 1_024;

/// How long the holder of a task is listened for before it is taken over: three heartbeats.
pub const HOLDER_LISTEN: Duration = Duration::from_secs(3);

/// Time that an entry of the log must have been the newest of its task before the sweep doubts
/// that somebody still moves it.
pub const SWEEP_GRACE: Duration = Duration::from_secs(10);

/// Time between two rounds of the sweep.
pub const SWEEP_EVERY: Duration = Duration::from_secs(15);

/// Longest time between two looks at a task that was found well before: each look that finds it
/// so doubles the distance to the next.
pub const SWEEP_PAUSE: Duration = Duration::from_secs(300);

/// Tasks that the sweep takes from the view at a time.
pub const SWEEP_STEP: usize = 500;

/// Tasks that the sweep looks after at once.
pub const SWEEP_AT_ONCE: usize = 32;

/// Tasks that the sweep looks at in one round.
pub const SWEEP_TASKS: usize = 20_000;

/// Waiting tasks that one controller moves on at once.
pub const WAKE_AT_ONCE: usize = 32;

/// Waiting tasks that stand in line to be moved on; the rest is found at the next look at all.
pub const WAKE_QUEUED: usize = 10_000;

/// Time between two looks at all waiting tasks, for what the tail of the log did not show.
pub const WAKE_LOOK_EVERY: Duration = Duration::from_secs(30);

/// Ends that one controller sees to at once.
pub const ENDS_AT_ONCE: usize = 16;

/// Ends that all controllers of an org may have in hand.
pub const ENDS_PENDING: i64 = 1_000;

/// How long a controller may be busy with one end before another one takes it over. Whoever is
/// slower than that does nothing twice.
pub const ENDS_ACK_WAIT: Duration = Duration::from_secs(60);

/// First and longest delay before what an end leaves to be done is tried again.
pub const ENDS_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Times that an append is tried again after somebody else wrote to the same task. Each round
/// reads the task afresh and decides anew; somebody always wins, so this many losses in a row
/// mean something else is wrong.
pub const APPEND_ROUNDS: u32 = 64;

/// How long a stopping runtime lets its handlers finish before it releases their tasks.
pub const DRAIN: Duration = Duration::from_secs(20);

/// How long a cancelled or drained program has between SIGTERM and SIGKILL.
pub const TERM_GRACE: Duration = Duration::from_secs(5);

/// How long what a program started in its group may hold its pipes open after its own end.
pub const PROGRAM_LEFTOVERS: Duration = Duration::from_secs(1);

/// Bytes of a program's stdout that are kept, its begun line and its text together: as much as
/// a result may have. That much memory it may take for each task that it works on.
pub const OUTPUT_BYTES: usize = LARGE_BODY_BYTES;

// --- Bodies in the object store --------------------------------------------------------------------

/// Largest input or result, in bytes of JSON, that travels inside a message. What is left of
/// [`BODY_BYTES`] is room for everything else that an assignment has, so that it depends on the
/// input alone where that lies, and the same work is always the same.
pub const INLINE_BYTES: usize = BODY_BYTES - 4_096;

/// Largest input or result, in bytes of JSON. It is held in memory as a whole by whoever delegates,
/// works and reads; what is larger belongs into a store of its own, and its place into the input.
pub const LARGE_BODY_BYTES: usize = 64 * 1_048_576;

/// Bytes of all large bodies of an org: sixteen of the largest, or fifty of 20 MB. The server keeps
/// so much of its disk free for it, so it is no more than a laptop can spare; a deployment sets
/// its own.
pub const BODIES_STORED: i64 = 1_073_741_824;

/// Size of the chunks of an object: what other clients of the object store use.
pub const CHUNK_BYTES: usize = 131_072;

/// Times that an object is stored again after somebody else stored or deleted it meanwhile.
pub const OBJECT_ROUNDS: u32 = 8;

/// How long an object that no task claims is kept. Between the object and the claim lie seconds;
/// the rest is for a delegator that tries again under the same id.
pub const BODIES_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Time between two looks for objects that nobody claims.
pub const BODIES_EVERY: Duration = Duration::from_secs(600);

/// Cuts `text` to at most `bytes`, at a character's border, keeping its **end**: the last lines of
/// an error say what went wrong.
#[must_use]
pub fn tail(text: &str, bytes: usize) -> &str {
    let mut from = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text.get(from..).unwrap_or_default()
}

/// Cuts `text` to at most `bytes`, at a character's border, keeping its **beginning**.
#[must_use]
pub fn head(text: &str, bytes: usize) -> &str {
    let mut to = text.len().min(bytes);
    while !text.is_char_boundary(to) {
        to -= 1;
    }
    text.get(..to).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{head, tail};

    #[test]
    fn cuts_stay_on_character_borders() {
        assert_eq!(tail("aäb", 2), "b");
        assert_eq!(head("aäb", 2), "a");
        assert_eq!(tail("abc", 9), "abc");
        assert_eq!(head("abc", 9), "abc");
    }
}
