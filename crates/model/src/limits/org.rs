//! What an org may take of the server, unless its operator says otherwise, and how long controllers
//! stay in one.

use std::time::Duration;

/// Orgs of one data folder. The platform's account names each of them in its JWT, with some 670
/// bytes where its name is long, and a server takes no message above
/// [`ENGINE_PAYLOAD_BYTES`](super::ENGINE_PAYLOAD_BYTES).
pub const ORGS: usize = 1_500;

/// Connections of an org at once: a hundred roles with ten instances each.
pub const ORG_CONNECTIONS: i64 = 1_000;

/// Streams of an org: those of the catalogue, and as many again of its own.
pub const ORG_STREAMS: i64 = 20;

/// Consumers of an org on one stream: three for each of a hundred roles, and its readers. The
/// server itself allows a thousand.
pub const ORG_CONSUMERS: i64 = 1_000;

/// Disk of an org, in bytes. The server sets it aside, so the sum of all orgs must fit.
pub const ORG_STORAGE_BYTES: i64 = 256 << 20;

/// The part of an org's disk that is set aside for large bodies is one of so many: with three
/// replicas, each of which counts, more than half of the disk is left for everything else.
pub const ORG_BODIES_SHARE: i64 = 8;

/// Memory of an org's streams, in bytes: its signs of life of some minutes. The server sets it
/// aside too.
pub const ORG_MEMORY_BYTES: i64 = 4 << 20;

/// Longest line of the protocol, in bytes. A user's JWT with its permissions goes in one line, and
/// the server's own 4 KiB are too few for it.
pub const ENGINE_LINE_BYTES: usize = 65_536;

/// Time between two looks at which orgs have connections. Whoever connects is seen at once; this
/// is for what was not heard.
pub const ORG_LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long an org must have been quiet before the controllers leave it: longer than a program
/// that is started again takes to come back.
pub const ORG_QUIET: Duration = Duration::from_secs(60);

/// Orgs without connections that are visited at once after a start, for work that was left in them.
pub const ORG_VISITS: usize = 8;

/// Accounts that one page of the server's answer has. The server itself gives no more than 1,024.
pub const ORG_PAGE: usize = 1_000;

/// How long it must be quiet after an answer before the servers of a cluster count as all heard.
pub const GATHER_QUIET: Duration = Duration::from_millis(250);

/// Readers at once, of one user, of a stream on which others have consumers with known names. Each
/// takes a permission of its own, so there are few.
pub const SCANS_OF_USER: usize = 8;

/// Time between two looks for messages of one stream in another: they do no harm where they lie,
/// and a look asks the server some thirty questions.
pub const ASTRAY_EVERY: Duration = Duration::from_secs(60);

/// Accepted results whose report failed that are kept in mind while others are reported.
pub const ACCEPTED_AGAIN: usize = 1_000;
