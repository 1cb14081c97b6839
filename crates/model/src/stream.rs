//! The catalogue: every stream of an org, and the consumer that each role's queue gets, as pure
//! data that serializes to exactly what the JetStream API takes. Nothing else in Sinew configures
//! a stream, and nothing here talks to a server.

mod agents;
mod overlay;
mod trust;

use std::time::Duration;

use serde::{Serialize, Serializer};

pub use agents::Shelf;
pub use overlay::{ConsumerOverlay, Overlay, OverlayError, Span, StreamOverlay};

use crate::{
    id::Role,
    limits::{
        ACK_PENDING, ACK_WAIT, BODIES_STORED, CONTROLS_STORED, DEDUP_WINDOW, ENDS_ACK_WAIT,
        ENDS_PENDING, EVENTS_KEPT, FIRING_WAIT, FIRINGS_PENDING, MAIL_KEPT, MAIL_STORED,
        MESSAGE_BYTES, PRESENCE_KEPT, PRESENCE_STORED, PULLS_WAITING, SCHEDULE_BYTES,
        SCHEDULE_HISTORY, SCHEDULES_STORED, SYSTEM_KEPT, SYSTEM_STORED, TASKS_QUEUED,
    },
    subject::{Band, Subjects},
    task::Transition,
};

/// Assignments that wait for a worker or are with one.
pub const AGENT_TASKS: &str = "AGENT_TASKS";
/// Inboxes, meeting invitations and messages to everybody.
pub const AGENT_MAIL: &str = "AGENT_MAIL";
/// Signs of life.
pub const AGENT_PRESENCE: &str = "AGENT_PRESENCE";
/// What was said about the flow of work to roles and instances.
pub const AGENT_CONTROL: &str = "AGENT_CONTROL";
/// What each role can do.
pub const AGENT_CARDS: &str = "AGENT_CARDS";
/// Every transition of every task.
pub const TASK_LOG: &str = "TASK_LOG";
/// Assignments that are put on their queue later.
pub const TASK_SCHEDULES: &str = "TASK_SCHEDULES";
/// Recurring tasks, and what happened to each.
pub const TASK_RECURRING: &str = "TASK_RECURRING";
/// Significant actions of agents.
pub const ORG_EVENTS: &str = "ORG_EVENTS";
/// Whose key is whose: the certificates of senders.
pub const ORG_SENDERS: &str = "ORG_SENDERS";
/// Records of messages that were refused for their signature.
pub const ORG_EVIDENCE: &str = "ORG_EVIDENCE";
/// What meetings said and decided.
pub const MEETINGS: &str = "MEETINGS";

/// How the deployment fares, what is to be scaled, and who decides it.
pub const SYSTEM: &str = "SYSTEM";

/// The consumer of the controllers that see to what ended.
pub const ENDS_CONSUMER: &str = "sinew-ends";

/// Bodies that are too large for a message: the stream of the object store [`BODIES`].
pub const OBJ_BODIES: &str = "OBJ_sinew-bodies";

/// The object store as its clients call it.
pub const BODIES: &str = "sinew-bodies";

/// What a stream is to be. A field that the catalogue leaves to the server is not here, so that
/// what a later server adds is no drift.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamSpec {
    /// Its name, one of the constants of this module.
    pub name: &'static str,
    /// One line for a person who lists the streams of a server.
    pub description: &'static str,
    /// What is stored in it.
    pub subjects: Vec<String>,
    /// When a message leaves it.
    pub retention: Retention,
    /// Where it is kept.
    pub storage: Storage,
    /// What happens to a message that does not fit.
    pub discard: Discard,
    /// Most messages; -1 for no limit.
    pub max_msgs: i64,
    /// Most messages of one subject, beyond which its oldest go; `None` for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_msgs_per_subject: Option<i64>,
    /// Most bytes; -1 for no limit.
    pub max_bytes: i64,
    /// How old a message may grow; zero for no limit.
    #[serde(serialize_with = "nanoseconds")]
    pub max_age: Duration,
    /// Largest message, headers included, in bytes.
    pub max_msg_size: i64,
    /// For how long a message id is remembered.
    #[serde(serialize_with = "nanoseconds")]
    pub duplicate_window: Duration,
    /// On how many servers it is kept; `None` is three where there are three servers, else one.
    #[serde(rename = "num_replicas", skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u8>,
    /// Whether any replica may answer reads.
    pub allow_direct: bool,
    /// Whether it takes atomic batches.
    pub allow_atomic: bool,
    /// Whether a message may carry its own age.
    pub allow_msg_ttl: bool,
    /// Whether a message may be a schedule.
    pub allow_msg_schedules: bool,
    /// Whether a message may take the place of all others on its subject, as object stores need.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_rollup_hdrs: bool,
    /// Where what was stored is published again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub republish: Option<Republish>,
    /// Streams whose messages it takes over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
}

/// When a message leaves a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Retention {
    /// When a limit is reached.
    Limits,
    /// When it is acked.
    WorkQueue,
}

/// Where a stream is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// On the disk.
    File,
    /// In memory: gone with the server.
    Memory,
}

/// What a full stream does with one more message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Discard {
    /// Drops its oldest one, without a word.
    Old,
    /// Refuses the new one, and the publisher learns it.
    New,
}

/// What is stored is published again, on another subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Republish {
    /// Which messages.
    pub src: String,
    /// Where to; may name wildcards of `src` by their place.
    pub dest: String,
}

/// A stream whose messages another one takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The stream.
    pub name: &'static str,
    /// Where to begin. Given, since else a stream that has sourced nothing so far begins, after
    /// a restart, at the age of its own newest message, and passes over what waited before that.
    pub opt_start_seq: u64,
    /// Which messages, and the subjects that they get.
    pub subject_transforms: Vec<Transform>,
}

/// A change of subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transform {
    /// The subjects that it is for.
    pub src: String,
    /// What they become.
    pub dest: String,
}

/// What a consumer is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConsumerSpec {
    /// Its name, which it keeps.
    #[serde(rename = "durable_name")]
    pub name: String,
    /// What it hands out: one filter, or several that do not overlap.
    #[serde(flatten)]
    pub filter: Filter,
    /// Each message is acked by itself.
    pub ack_policy: AckPolicy,
    /// It begins with the oldest message.
    pub deliver_policy: DeliverPolicy,
    /// How long a delivery may stay without an ack before the message is delivered again.
    #[serde(serialize_with = "nanoseconds")]
    pub ack_wait: Duration,
    /// Deliveries after which the server gives a message up; -1 for never.
    pub max_deliver: i64,
    /// Deliveries that may be open at once.
    pub max_ack_pending: i64,
    /// Pull requests that may wait at once. Can't be changed later.
    pub max_waiting: i64,
}

/// What a consumer hands out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Filter {
    /// What is stored under one filter subject.
    One {
        /// The filter.
        filter_subject: String,
    },
    /// What is stored under any of several.
    Several {
        /// The filters.
        filter_subjects: Vec<String>,
    },
}

/// How deliveries are acked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AckPolicy {
    /// One by one.
    Explicit,
}

/// Where a consumer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliverPolicy {
    /// With the oldest message. A work queue takes no other.
    All,
    /// With what is stored after it was made.
    New,
}

/// What the consumers of work have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerDefaults {
    /// How long a delivery may stay without an ack or a renewal of its lease.
    pub ack_wait: Duration,
    /// Deliveries that one role's consumer may have open, over all its instances.
    pub max_ack_pending: i64,
    /// Pull requests that may wait on one consumer.
    pub max_waiting: i64,
    /// Deliveries after which the server gives a message up; -1 for never. Sinew counts what failed,
    /// and a delivery that a drain or a crash gave back has not failed; where this is switched on,
    /// the task of such a message ends in `dead`.
    pub max_deliver: i64,
}

impl Default for ConsumerDefaults {
    fn default() -> Self {
        Self {
            ack_wait: ACK_WAIT,
            max_ack_pending: ACK_PENDING,
            max_waiting: PULLS_WAITING,
            max_deliver: -1,
        }
    }
}

/// Every stream of an org, and how its roles consume work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// The streams, in the order in which they are made: a source before the one that sources it,
    /// for else the server looks for the source again only after ten seconds.
    pub streams: Vec<StreamSpec>,
    /// What the consumers of work have in common.
    pub consumers: ConsumerDefaults,
    subjects: Subjects,
}

impl Catalogue {
    /// The catalogue with the seed's numbers.
    #[must_use]
    pub fn standard(subjects: &Subjects) -> Self {
        let streams = vec![
            schedules(subjects),
            tasks(subjects),
            log(subjects),
            recurring(subjects),
            mail(subjects),
            presence(subjects),
            events(subjects),
            meetings(subjects),
            bodies(),
            control(subjects),
            trust::senders(subjects),
            trust::evidence(subjects),
            system(subjects),
            agents::cards(subjects),
        ];
        Self { streams, consumers: ConsumerDefaults::default(), subjects: subjects.clone() }
    }

    /// The stream of that name.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<&StreamSpec> {
        self.streams.iter().find(|stream| stream.name == name)
    }

    /// The consumer through which the controllers see, on [`TASK_LOG`], each entry after which
    /// something is to be done that its writer may not have lived to do.
    #[must_use]
    pub fn ends_consumer(&self) -> ConsumerSpec {
        let words =
            [Transition::Cancelled, Transition::Dead, Transition::Escalated, Transition::Refused];
        let org = self.subjects.org();
        let filter =
            |it: Transition| self.subjects.pattern(&format!("org.{org}.tasks.*.{}", it.word()));
        ConsumerSpec {
            name: ENDS_CONSUMER.to_owned(),
            filter: Filter::Several { filter_subjects: words.map(filter).to_vec() },
            ack_policy: AckPolicy::Explicit,
            deliver_policy: DeliverPolicy::All,
            ack_wait: ENDS_ACK_WAIT,
            max_deliver: -1,
            max_ack_pending: ENDS_PENDING,
            max_waiting: PULLS_WAITING,
        }
    }

    /// The consumer through which the instances of `role` pull their work of one band, on
    /// [`AGENT_TASKS`].
    #[must_use]
    pub fn work_consumer(&self, role: &Role, band: Band) -> ConsumerSpec {
        ConsumerSpec {
            name: work_consumer_name(role, band),
            filter: Filter::One { filter_subject: self.subjects.tasks(role, band).into() },
            ack_policy: AckPolicy::Explicit,
            deliver_policy: DeliverPolicy::All,
            ack_wait: self.consumers.ack_wait,
            max_deliver: self.consumers.max_deliver,
            max_ack_pending: self.consumers.max_ack_pending,
            max_waiting: self.consumers.max_waiting,
        }
    }
}

/// The name of the consumer of firings.
pub const FIRINGS: &str = "recurring";

/// The consumer through which the controllers take the firings of recurring tasks, on
/// [`TASK_SCHEDULES`].
#[must_use]
pub fn firings_consumer(subjects: &Subjects) -> ConsumerSpec {
    ConsumerSpec {
        name: FIRINGS.to_owned(),
        filter: Filter::One { filter_subject: subjects.all_fired().into() },
        ack_policy: AckPolicy::Explicit,
        deliver_policy: DeliverPolicy::All,
        ack_wait: FIRING_WAIT,
        max_deliver: -1,
        max_ack_pending: FIRINGS_PENDING,
        max_waiting: PULLS_WAITING,
    }
}

/// What follows the role in the name of its consumer. Each ends in another word, so the end of a
/// name tells the band and the rest is the role, whatever the role is called.
const fn consumer_suffix(band: Band) -> &'static str {
    match band {
        Band::Urgent => "-agent-consumer-urgent",
        Band::Normal => "-agent-consumer",
        Band::Low => "-agent-consumer-low",
    }
}

/// The name of a role's consumer for one band; the normal band's is the seed's own.
#[must_use]
pub fn work_consumer_name(role: &Role, band: Band) -> String {
    format!("{role}{}", consumer_suffix(band))
}

/// Whose work the consumer of that name hands out; `None` for a name of another kind.
#[must_use]
pub fn work_consumer_of(name: &str) -> Option<(Role, Band)> {
    Band::ALL.into_iter().find_map(|band| {
        let role = name.strip_suffix(consumer_suffix(band))?;
        Some((role.parse().ok()?, band))
    })
}

/// A stream on the disk that keeps everything, to begin from.
fn kept(name: &'static str, description: &'static str, subjects: Vec<String>) -> StreamSpec {
    StreamSpec {
        name,
        description,
        subjects,
        retention: Retention::Limits,
        storage: Storage::File,
        // Nothing is dropped without a word where no reason is given for it.
        discard: Discard::New,
        max_msgs: -1,
        max_msgs_per_subject: None,
        max_bytes: -1,
        max_age: Duration::ZERO,
        max_msg_size: bytes(MESSAGE_BYTES),
        duplicate_window: DEDUP_WINDOW,
        replicas: None,
        allow_direct: true,
        allow_atomic: true,
        allow_msg_ttl: false,
        allow_msg_schedules: false,
        allow_rollup_hdrs: false,
        republish: None,
        sources: Vec::new(),
    }
}

fn tasks(subjects: &Subjects) -> StreamSpec {
    let own = vec![subjects.pattern("agents.*.tasks"), subjects.pattern("agents.*.tasks.*")];
    let from_due = |due: &str, queue: &str| Transform {
        src: subjects.pattern(due),
        dest: subjects.pattern(queue),
    };
    StreamSpec {
        retention: Retention::WorkQueue,
        max_msgs: TASKS_QUEUED,
        // Who looks into the queue must see what the leader sees.
        allow_direct: false,
        sources: vec![Source {
            name: TASK_SCHEDULES,
            opt_start_seq: 1,
            subject_transforms: vec![
                from_due("due.*.tasks", "agents.{{wildcard(1)}}.tasks"),
                from_due("due.*.tasks.*", "agents.{{wildcard(1)}}.tasks.{{wildcard(2)}}"),
            ],
        }],
        ..kept(AGENT_TASKS, "Assignments that wait for a worker or are with one", own)
    }
}

fn mail(subjects: &Subjects) -> StreamSpec {
    let own = [
        "agents.*.inbox",
        "agents.*.inbox.*",
        "agents.*.meetings",
        "agents.*.acknowledged.*",
        "agents.broadcast",
    ];
    StreamSpec {
        // A report must not be held up because somebody else's inbox is not read.
        discard: Discard::Old,
        max_msgs: MAIL_STORED,
        max_age: MAIL_KEPT,
        ..kept(
            AGENT_MAIL,
            "Inboxes, meeting invitations and messages to everybody",
            own.map(|pattern| subjects.pattern(pattern)).into(),
        )
    }
}

fn presence(subjects: &Subjects) -> StreamSpec {
    StreamSpec {
        storage: Storage::Memory,
        discard: Discard::Old,
        max_msgs: PRESENCE_STORED,
        max_age: PRESENCE_KEPT,
        allow_direct: false,
        allow_atomic: false,
        ..kept(AGENT_PRESENCE, "Signs of life", vec![subjects.heartbeats().into()])
    }
}

fn log(subjects: &Subjects) -> StreamSpec {
    let logs: String = subjects.logs().into();
    // The org is written out, so the task is the first wildcard and the transition the second.
    let dest = subjects.pattern(&format!("org.{}.tasks.{{{{wildcard(2)}}}}", subjects.org()));
    StreamSpec {
        republish: Some(Republish { src: logs.clone(), dest }),
        ..kept(TASK_LOG, "Every transition of every task", vec![logs])
    }
}

fn schedules(subjects: &Subjects) -> StreamSpec {
    let own = vec![subjects.pattern("schedules.*"), subjects.pattern("due.>")];
    StreamSpec {
        // The engine takes nothing else here, so who schedules looks first whether there is room.
        discard: Discard::Old,
        max_msgs: SCHEDULES_STORED,
        max_msg_size: bytes(SCHEDULE_BYTES),
        allow_direct: false,
        allow_atomic: false,
        allow_msg_ttl: true,
        allow_msg_schedules: true,
        ..kept(TASK_SCHEDULES, "Assignments that are put on their queue later", own)
    }
}

fn recurring(subjects: &Subjects) -> StreamSpec {
    let own = vec![subjects.all_recurring().into()];
    StreamSpec {
        max_msgs_per_subject: Some(SCHEDULE_HISTORY),
        // Whoever decides must see what the leader sees.
        allow_direct: false,
        ..kept(TASK_RECURRING, "Recurring tasks, and what happened to each", own)
    }
}

fn events(subjects: &Subjects) -> StreamSpec {
    StreamSpec {
        max_age: EVENTS_KEPT,
        ..kept(ORG_EVENTS, "Significant actions of agents", vec![subjects.events().into()])
    }
}

fn meetings(subjects: &Subjects) -> StreamSpec {
    let own = ["meetings.*.messages", "meetings.*.decisions"];
    let own = own.map(|pattern| subjects.pattern(pattern)).into();
    kept(MEETINGS, "What meetings said and decided", own)
}

fn bodies() -> StreamSpec {
    // In the order in which clients of object stores make them.
    let own =
        vec![Subjects::chunks(BODIES, ">").to_string(), Subjects::object(BODIES, ">").to_string()];
    StreamSpec {
        max_bytes: BODIES_STORED,
        allow_rollup_hdrs: true,
        ..kept(OBJ_BODIES, "Inputs and results that are too large for a message", own)
    }
}

fn control(subjects: &Subjects) -> StreamSpec {
    let own = vec![subjects.pattern("agents.*.control.>")];
    StreamSpec {
        max_msgs: CONTROLS_STORED,
        max_msgs_per_subject: Some(1),
        // A runtime that starts must see a pause that was said a moment before.
        allow_direct: false,
        allow_atomic: false,
        allow_msg_ttl: true,
        ..kept(AGENT_CONTROL, "What was said about the flow of work to roles and instances", own)
    }
}

fn system(subjects: &Subjects) -> StreamSpec {
    let leases = subjects.pattern("org.system.leases.*.*");
    StreamSpec {
        discard: Discard::Old,
        max_msgs: SYSTEM_STORED,
        max_age: SYSTEM_KEPT,
        // Who holds a lease must be what the leader sees, and each renewal takes the place of the last.
        allow_direct: false,
        allow_atomic: false,
        allow_rollup_hdrs: true,
        ..kept(
            SYSTEM,
            "How the deployment fares, what is to be scaled, and who decides it",
            vec![subjects.system_health().into(), subjects.system_scaling().into(), leases],
        )
    }
}

fn bytes(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the serializer hands out references")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Spans as the JetStream API writes them.
fn nanoseconds<S: Serializer>(span: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_u64(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
