//! Bounds of attempts that are held by hand, and of the MCP server.

use std::time::Duration;

/// Callers that may wait for a task at one desk at a time. A host asks for one task after the
/// other; more than this is a loop that has run away.
pub const DESK_WAITING: usize = 64;

/// Calls that one MCP session may have in flight; further ones are refused at once, with an error
/// that says so. A model makes a handful at a time.
pub const MCP_CALLS: usize = 64;

/// MCP sessions of one server, with the stateless clients. Each shows signs of life once a second.
pub const MCP_SESSIONS: usize = 256;

/// HTTP requests that the MCP server works on at a time, streams included.
pub const MCP_REQUESTS: usize = 4_096;

/// Largest MCP request, in bytes: an input of a few megabytes, as text within JSON. What is larger
/// goes through the command line, which takes 64 MiB.
pub const MCP_REQUEST_BYTES: usize = 8 << 20;

/// How long an MCP session over HTTP whose last stream has ended may take to open another: clients
/// reconnect after one second. Then its tasks go back.
pub const MCP_GRACE: Duration = Duration::from_millis(1_500);

/// How long an MCP client over HTTP that keeps no stream open may be silent before its tasks go
/// back: there is no other sign that it lives, and a model may think for long.
pub const MCP_SILENCE: Duration = Duration::from_secs(30 * 60);

/// How often it is looked for clients that have been silent for too long.
pub const MCP_SILENCE_EVERY: Duration = Duration::from_secs(15);

/// Longest wait that a tool may be asked for: hosts give a call up after a minute.
pub const MCP_WAIT: Duration = Duration::from_secs(50);

/// Rows that a tool gives where nobody says how many: a model reads every one.
pub const MCP_ROWS: usize = 20;

/// Rows that a tool gives at most.
pub const MCP_ROWS_MOST: usize = 200;

/// Messages of a stream that one search looks at, the newest first.
pub const MCP_SEARCHED: u64 = 10_000;

/// Largest result of another task that a tool shows, in bytes of JSON: it must fit into what a
/// model reads.
pub const MCP_RESULT_BYTES: usize = 256 << 10;

/// Resources that one MCP session may be subscribed to.
pub const MCP_SUBSCRIPTIONS: usize = 32;

/// Least time between two notifications about one resource, so that a burst is one of them.
pub const MCP_NOTIFY_EVERY: Duration = Duration::from_millis(250);

/// First port that is tried for MCP over HTTP.
pub const MCP_PORT: u16 = 4280;

/// How long the MCP sessions may take to give their tasks back when the server stops.
pub const MCP_CLOSE: Duration = Duration::from_secs(5);

/// Tokens for MCP over HTTP that one org has at most.
pub const MCP_TOKENS: usize = 1_000;

/// Largest configuration file of a host that is read, in bytes.
pub const MCP_CONFIG_BYTES: u64 = 4 << 20;
