//! The streams of signed senders: whose key is whose, and what was refused.

use super::{Discard, ORG_EVIDENCE, ORG_SENDERS, StreamSpec, bytes, kept};
use crate::{
    limits::{CERTIFICATE_BYTES, EVIDENCE_KEPT, EVIDENCE_STORED, SENDERS_STORED},
    subject::Subjects,
};

/// Kept for ever: what was signed years ago is to be verified when a view is built anew.
pub(super) fn senders(subjects: &Subjects) -> StreamSpec {
    let own = vec![subjects.pattern(&format!("org.{}.senders.*", subjects.org()))];
    StreamSpec {
        max_msgs: SENDERS_STORED,
        max_msgs_per_subject: Some(1),
        // With its headers.
        max_msg_size: bytes(CERTIFICATE_BYTES + 1_024),
        // Whoever meets a new sender must find the certificate that was stored a moment before.
        allow_direct: false,
        allow_atomic: false,
        ..kept(ORG_SENDERS, "Whose key is whose: the certificates of senders", own)
    }
}

/// The newest are worth most, and none may hold up the work of its finder.
pub(super) fn evidence(subjects: &Subjects) -> StreamSpec {
    StreamSpec {
        discard: Discard::Old,
        max_msgs: EVIDENCE_STORED,
        max_age: EVIDENCE_KEPT,
        max_msgs_per_subject: Some(1),
        ..kept(
            ORG_EVIDENCE,
            "Records of messages that were refused for their signature, and of incidents",
            vec![subjects.all_evidence().into(), subjects.all_incidents().into()],
        )
    }
}
