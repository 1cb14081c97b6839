//! What an org may take of the server, unless its operator says otherwise.

/// Connections of an org at once: a hundred roles with ten instances each.
pub const ORG_CONNECTIONS: i64 = 1_000;

/// Streams of an org: those of the catalogue, and as many again of its own.
pub const ORG_STREAMS: i64 = 20;

/// Consumers of an org on one stream: three for each of a hundred roles, and its readers. The
/// server itself allows a thousand.
pub const ORG_CONSUMERS: i64 = 1_000;

/// Disk of an org, in bytes. The server sets it aside, so the sum of all orgs must fit.
pub const ORG_STORAGE_BYTES: i64 = 256 << 20;

/// Memory of an org's streams, in bytes: its signs of life of some minutes. The server sets it
/// aside too.
pub const ORG_MEMORY_BYTES: i64 = 4 << 20;

/// Longest line of the protocol, in bytes. A user's JWT with its permissions goes in one line, and
/// the server's own 4 KiB are too few for it.
pub const ENGINE_LINE_BYTES: usize = 65_536;
