//! Bounds of audit logs.

/// Entries of a segment: its head is signed, so that a reader who has one knows of each thousand
/// entries, and few lines are signatures.
pub const AUDIT_SEGMENT_ENTRIES: u64 = 1_000;

/// Longest line, in bytes. Written as JSON each byte of a message may take six.
pub const AUDIT_LINE_BYTES: usize = 8 * super::MESSAGE_BYTES;
