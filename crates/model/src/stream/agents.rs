//! What agents need of the catalogue besides their work: the consumers of an inbox, and the stream
//! of what each role can do.

use super::{
    AGENT_CARDS, AckPolicy, ConsumerSpec, DeliverPolicy, Filter, PULLS_WAITING, StreamSpec, bytes,
    kept,
};
use crate::{
    id::Role,
    limits::{CARD_BYTES, CARDS_STORED, INBOX_ACK_WAIT, INBOX_PENDING},
    subject::{Band, Subject, Subjects},
};

/// A part of what was sent to a role. Each is read through a consumer of its own with one filter:
/// the server holds that filter against the subject on which a consumer is made, so a permission
/// on the subject keeps every role out of the others' messages. With several filters it would not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shelf {
    /// What is read first.
    Urgent,
    /// What was sent to the role as usual.
    Normal,
    /// What was sent to everybody, which is as normal.
    Everybody,
    /// What is read last.
    Low,
}

impl Shelf {
    /// All of them, in the order in which they are read.
    pub const ALL: [Self; 4] = [Self::Urgent, Self::Normal, Self::Everybody, Self::Low];

    /// How soon its messages are read.
    #[must_use]
    pub const fn band(self) -> Band {
        match self {
            Self::Urgent => Band::Urgent,
            Self::Normal | Self::Everybody => Band::Normal,
            Self::Low => Band::Low,
        }
    }

    /// The subject of its messages.
    #[must_use]
    pub fn subject(self, subjects: &Subjects, role: &Role) -> Subject {
        match self {
            Self::Urgent | Self::Normal | Self::Low => subjects.inbox_of(role, self.band()),
            Self::Everybody => subjects.broadcast(),
        }
    }

    /// The name of the consumer through which the instances of `role` share them, on
    /// [`AGENT_MAIL`](super::AGENT_MAIL). None of the suffixes is one of a work consumer, and those
    /// are on another stream.
    #[must_use]
    pub fn consumer_name(self, role: &Role) -> String {
        let suffix = match self {
            Self::Urgent => "-inbox-urgent",
            Self::Normal => "-inbox",
            Self::Everybody => "-inbox-everybody",
            Self::Low => "-inbox-low",
        };
        format!("{role}{suffix}")
    }

    /// That consumer. Where it stands is what the role has read.
    #[must_use]
    pub fn consumer(self, subjects: &Subjects, role: &Role) -> ConsumerSpec {
        ConsumerSpec {
            name: self.consumer_name(role),
            filter: Filter::One { filter_subject: self.subject(subjects, role).into() },
            ack_policy: AckPolicy::Explicit,
            // What was sent before anybody of the role was there is what it finds when it wakes.
            deliver_policy: DeliverPolicy::All,
            ack_wait: INBOX_ACK_WAIT,
            max_deliver: -1,
            max_ack_pending: INBOX_PENDING,
            max_waiting: PULLS_WAITING,
        }
    }
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
    fn each_shelf_has_one_filter() {
        let subjects = Subjects::new(crate::id::Root::default(), "acme".parse().unwrap());
        let role = "cto".parse().unwrap();
        let filters = Shelf::ALL.map(|shelf| shelf.consumer(&subjects, &role).filter);
        let one = |text: &str| Filter::One { filter_subject: format!("genbrain.agents.{text}") };
        let expect =
            [one("cto.inbox.urgent"), one("cto.inbox"), one("broadcast"), one("cto.inbox.low")];
        assert_eq!(filters, expect);
    }

    #[test]
    fn no_two_inboxes_share_a_consumer() {
        let mut names = std::collections::BTreeSet::new();
        for role in ["cto", "cto-urgent", "cto-inbox", "cto-inbox-urgent", "cto-low"] {
            let role = role.parse().unwrap();
            for shelf in Shelf::ALL {
                assert!(names.insert(shelf.consumer_name(&role)), "{role} {shelf:?}");
            }
        }
    }
}
