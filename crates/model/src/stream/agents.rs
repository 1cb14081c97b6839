//! What agents need of the catalogue besides their work: the consumers of an inbox, and the stream
//! of what each role can do.

use super::{
    AGENT_CARDS, AckPolicy, ConsumerSpec, DeliverPolicy, Filter, PULLS_WAITING, StreamSpec, bytes,
    kept,
};
use crate::{
    id::Role,
    limits::{CARD_BYTES, CARDS_STORED, INBOX_ACK_WAIT, INBOX_PENDING},
    subject::{Band, Subjects},
};

/// The consumer through which the instances of `role` share its messages of one priority, on
/// [`AGENT_MAIL`](super::AGENT_MAIL). Where it stands is what the role has read; messages to
/// everybody come with those of the normal priority.
#[must_use]
pub fn inbox_consumer(subjects: &Subjects, role: &Role, band: Band) -> ConsumerSpec {
    let own = String::from(subjects.inbox_of(role, band));
    let filter = match band {
        Band::Normal => Filter::Several { filter_subjects: vec![own, subjects.broadcast().into()] },
        Band::Urgent | Band::Low => Filter::One { filter_subject: own },
    };
    ConsumerSpec {
        name: inbox_consumer_name(role, band),
        filter,
        ack_policy: AckPolicy::Explicit,
        // What was sent before anybody of the role was there is what it finds when it wakes.
        deliver_policy: DeliverPolicy::All,
        ack_wait: INBOX_ACK_WAIT,
        max_deliver: -1,
        max_ack_pending: INBOX_PENDING,
        max_waiting: PULLS_WAITING,
    }
}

/// The name of that consumer. None of the suffixes is one of a work consumer, and those are on
/// another stream.
#[must_use]
pub fn inbox_consumer_name(role: &Role, band: Band) -> String {
    let suffix = match band {
        Band::Urgent => "-inbox-urgent",
        Band::Normal => "-inbox",
        Band::Low => "-inbox-low",
    };
    format!("{role}{suffix}")
}

pub(super) fn cards(subjects: &Subjects) -> StreamSpec {
    StreamSpec {
        max_msgs: CARDS_STORED,
        max_msgs_per_subject: Some(1),
        // A card with its headers.
        max_msg_size: bytes(CARD_BYTES + 4_096),
        // Whoever changes a card must see what the leader sees.
        allow_direct: false,
        allow_atomic: false,
        ..kept(AGENT_CARDS, "What each role can do", vec![subjects.cards().into()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_to_everybody_are_read_with_the_normal_ones_and_once() {
        let subjects = Subjects::new(crate::id::Root::default(), "acme".parse().unwrap());
        let role = "cto".parse().unwrap();
        let filters = Band::ALL.map(|band| inbox_consumer(&subjects, &role, band).filter);
        let one = |text: &str| Filter::One { filter_subject: text.to_owned() };
        let normal = ["genbrain.agents.cto.inbox", "genbrain.agents.broadcast"];
        let expect = [
            one("genbrain.agents.cto.inbox.urgent"),
            Filter::Several { filter_subjects: normal.map(str::to_owned).into() },
            one("genbrain.agents.cto.inbox.low"),
        ];
        assert_eq!(filters, expect);
    }

    #[test]
    fn no_two_inboxes_share_a_consumer() {
        let mut names = std::collections::BTreeSet::new();
        for role in ["cto", "cto-urgent", "cto-inbox", "cto-inbox-urgent", "cto-low"] {
            let role = role.parse().unwrap();
            for band in Band::ALL {
                assert!(names.insert(inbox_consumer_name(&role, band)), "{role} {band:?}");
            }
        }
    }
}
