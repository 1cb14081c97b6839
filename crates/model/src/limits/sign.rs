//! Bounds of signatures, and of what is kept about messages that were refused for theirs.

use std::time::Duration;

/// How far the moment at which a message was signed may lie from the one at which the server stored
/// it, either way. It is above the longest patience of a publish and what a connection may take to
/// come back; a copy that somebody stores later is refused without being known.
pub const SIGNATURE_WINDOW: Duration = Duration::from_secs(600);

/// Signatures that one reader remembers to find a copy within [`SIGNATURE_WINDOW`]: some ten
/// megabytes, and 160 messages a second for the whole window. Where more come, the oldest are
/// forgotten first.
pub const SIGNATURES_SEEN: usize = 100_000;

/// How long before it was stored a message must have been signed for a reader to doubt that it is the
/// only one: half of the time for which a stream refuses an id that it has, so a copy is at least
/// that late; a publish takes milliseconds. A doubt costs one look through what the role was sent.
pub const COPY_DOUBT: Duration = Duration::from_secs(30);

/// Longest header with a signature, in bytes: a key, two moments, two names and 64 bytes in base64.
pub const SIGNATURE_BYTES: usize = 512;

/// Longest user JWT that is taken for a certificate, in bytes. One with all permissions of a role
/// written out has some four kilobytes.
pub const CERTIFICATE_BYTES: usize = 65_536;

/// Certificates that one process remembers. More keys than an org has instances, and some megabytes
/// at most; where more are met, all are fetched again.
pub const CERTIFICATES_KNOWN: usize = 4_096;

/// Time after which a certificate that was not there, or did not fit, is fetched again. Whoever
/// makes up keys costs one request for each; whoever repeats one costs one in this time.
pub const CERTIFICATE_AGAIN: Duration = Duration::from_secs(5);

/// Certificates that the stream of an org keeps: one for each key that was ever given out.
pub const SENDERS_STORED: i64 = 100_000;

/// Records of refused messages that an org keeps; the oldest go first.
pub const EVIDENCE_STORED: i64 = 10_000;

/// How long a record of a refused message is kept: long enough to be looked for after a month's end.
pub const EVIDENCE_KEPT: Duration = Duration::from_secs(35 * 24 * 3600);

/// Bytes of a refused message that its record keeps (base64 makes four of three). It shows what was
/// claimed; ten thousand of them stay below a quarter of a gigabyte.
pub const EVIDENCE_BYTES: usize = 16_384;

/// Attempts to keep one record before the refusal goes on without it: the stream may be full or out
/// of reach, and neither may hold up the work.
pub const EVIDENCE_TRIES: u32 = 3;

/// Time after which a reader looks again at what the org's account says of its keys and users. So
/// long may somebody who got hold of a key that was revoked, and of another connection to send it
/// over, go on unseen; it costs each process that reads one request.
pub const TRUST_AGAIN: Duration = Duration::from_secs(10);
