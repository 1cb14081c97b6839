//! How fast a user may send before it is taken for one that does harm, and how soon it is cut off.

use std::time::Duration;

/// Messages a second that one connection may send for long. A process of Sinew waits for answers,
/// of which a server gives 30,000 a second on the two cores of the benchmarks when it syncs
/// nothing, and half of that when it does; a bare client that waits for nothing sends 200,000 on
/// the same machine, busy as it is.
pub const FLOOD_MESSAGES: u64 = 50_000;

/// Bytes a second that one connection may send for long: what an org may store by its standard
/// quota would be full in little more than a second, so nobody keeps this up in good faith.
pub const FLOOD_BYTES: u64 = 200 << 20;

/// All connections of one user together may send so many times what one may: a hundred instances
/// of a role with one file of credentials stay far below, and ten connections of an attacker do not.
pub const FLOOD_SHARED: u32 = 2;

/// How much more than it may a user may have sent, in time that sending it at the bound would have
/// taken, before it is cut off. A burst of what was held back while a connection was broken stays
/// below; of what was sent too slowly meanwhile, as much is forgiven.
pub const FLOOD_PATIENCE: Duration = Duration::from_secs(1);

/// Time between two looks at how fast orgs send. With [`FLOOD_PATIENCE`] and the time that servers
/// take to answer it is what keeps the end of a flood within five seconds of its beginning.
pub const FLOOD_LOOK_EVERY: Duration = Duration::from_millis(250);

/// Shortest span of which a rate is taken: counters move in steps.
pub const FLOOD_SPAN: Duration = Duration::from_millis(100);

/// Connections of one org that are looked at while it sends too fast, those first that did
/// something last. Each has its user's JWT in the answer, some four kilobytes.
pub const FLOOD_CONNECTIONS: usize = 256;

/// Longest text of what was found or done in the record of an incident, in bytes.
pub const INCIDENT_TEXT_BYTES: usize = 1_024;
