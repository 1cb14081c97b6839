//! Bounds of the nats-server that `sinew up` runs.

use std::time::Duration;

use super::MESSAGE_BYTES;

/// Oldest nats-server that is supported, as major and minor number: schedules that repeat and
/// consumers that can be reset came with it.
pub const ENGINE_OLDEST: (u32, u32) = (2, 14);

/// How long a nats-server may take to print its version. It takes milliseconds; a program that
/// waits for something else is not one.
pub const ENGINE_VERSION_PATIENCE: Duration = Duration::from_secs(10);

/// Largest message that the engine takes from a connection, headers included, in bytes. It is
/// above [`MESSAGE_BYTES`], so that a message that is a little too large is refused by its stream
/// with an answer: above this one, the server closes the connection.
pub const ENGINE_PAYLOAD_BYTES: usize = MESSAGE_BYTES + 65_536;

/// Memory that streams in memory may take, in bytes. Sinew keeps only minutes of presence there.
pub const ENGINE_MEMORY_BYTES: u64 = 1 << 30;

/// Disk that must be free for the engine to start, in bytes: with less it would start, and refuse
/// the first messages.
pub const ENGINE_FREE_BYTES: u64 = 64 << 20;

/// First client port that is tried where none is asked for: the one that NATS clients expect.
pub const ENGINE_PORT: u16 = 4222;

/// First monitor port that is tried: the one that NATS tools expect.
pub const ENGINE_MONITOR_PORT: u16 = 8222;

/// Ports that are tried upwards from the first. They stay below those that the system hands to
/// outgoing connections: a client that reconnects must not be given the very port it dials.
pub const ENGINE_PORTS: u16 = 1_000;

/// Starts that may lose the race for a port that was free a moment ago.
pub const ENGINE_PORT_RACES: u32 = 10;

/// Size of one log file of the engine, in bytes.
pub const ENGINE_LOG_BYTES: u64 = 8 << 20;

/// Log files of the engine that are kept.
pub const ENGINE_LOG_FILES: u32 = 3;

/// Refusals of the engine that are told apart: who was refused what, however often.
pub const REFUSALS_TOLD: usize = 10_000;

/// How much is kept of the subject of a refusal, in bytes.
pub const REFUSAL_TEXT_BYTES: usize = 256;

/// Lines of the engine's log that a failure shows.
pub const ENGINE_LOG_LINES: usize = 20;

/// How long a start may take. A store that was not closed well is read anew, all of it; to end
/// that early would only make it begin again.
pub const ENGINE_START_PATIENCE: Duration = Duration::from_secs(600);

/// Time between two looks whether the engine is ready. A start takes some 30 ms.
pub const ENGINE_PROBE_EVERY: Duration = Duration::from_millis(10);

/// How long one look may take.
pub const ENGINE_PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// Bytes that one look reads of an answer; a greeting of NATS is less than a page.
pub const ENGINE_ANSWER_BYTES: u64 = 65_536;

/// How long the engine has between SIGTERM and SIGKILL. It writes out what is in memory, some 20 ms
/// of work; whoever stops `sinew up` commonly waits for 10 s.
pub const ENGINE_STOP_PATIENCE: Duration = Duration::from_secs(8);

/// How long a killed engine may take to be gone, which is until its last disk write returns.
pub const ENGINE_KILL_PATIENCE: Duration = Duration::from_secs(10);

/// Pause before an engine that died is started again. It doubles with each failure.
pub const ENGINE_RESTART_FIRST: Duration = Duration::from_millis(100);

/// Longest pause before an engine that died is started again.
pub const ENGINE_RESTART_LONGEST: Duration = Duration::from_secs(10);

/// An engine that was ready for this long has recovered: the next failure is a first one.
pub const ENGINE_STEADY: Duration = Duration::from_secs(60);

// What the command line allows.
