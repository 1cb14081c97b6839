//! The grammar of subjects. Nothing else in Sinew joins or splits a subject.
//!
//! Building is infallible, because every part is valid by construction; parsing answers what a
//! subject addresses, or nothing.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    control::Target,
    id::{BroadcastId, InstanceId, MeetingId, OrgId, Role, Root, ScheduleName, TaskId},
    lease::LeaseName,
    task::Transition,
};

/// A complete subject or filter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(String);

impl Subject {
    /// The subject as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0
    }
}

/// The three priority bands of a role's tasks.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Band {
    /// Before everything else.
    Urgent,
    /// The seed's own queue.
    #[default]
    Normal,
    /// When nothing else is there to do; never starved altogether.
    Low,
}

impl Band {
    /// All bands, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Normal, Self::Low];

    /// In which order the bands are asked when a place for a task gets free for the `turn`th time:
    /// of 16 turns 12 ask the most urgent first, 3 the normal one and 1 the low one, so that none
    /// is starved however much the others bring.
    #[must_use]
    pub const fn order(turn: u64) -> [Self; 3] {
        match turn % 16 {
            3 | 7 | 11 => [Self::Normal, Self::Urgent, Self::Low],
            15 => [Self::Low, Self::Urgent, Self::Normal],
            _ => Self::ALL,
        }
    }

    /// What the band adds to the subject of a role's tasks.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Urgent => ".urgent",
            Self::Normal => "",
            Self::Low => ".low",
        }
    }

    /// The band as one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

impl std::str::FromStr for Band {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|band| band.word() == text)
            .ok_or_else(|| format!("{text:?} is not a priority: urgent, normal or low"))
    }
}

/// Builds and parses the subjects of one org. The org is bound once and can't be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subjects {
    root: Root,
    org: OrgId,
}

/// What a subject addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Assignments to a role, in one band.
    Tasks(Role, Band),
    /// Direct messages to a role, of one priority.
    Inbox(Role, Band),
    /// That a role has taken note of a message to everybody.
    Acknowledged(Role, BroadcastId),
    /// What a role can do.
    Card(Role),
    /// Meeting invitations to a role.
    Meetings(Role),
    /// Signs of life of a role's instances.
    Heartbeat(Role),
    /// What holds for the flow of work to a role.
    RoleControl(Role),
    /// What holds for the flow of work to one instance.
    InstanceControl(Role, InstanceId),
    /// Messages to everybody in the org.
    Broadcast,
    /// An entry of one task's log: a write request, until the stream has taken it.
    Entry(OrgId, TaskId, String),
    /// A transition as observers see it: the truth.
    Transition(OrgId, String),
    /// Significant actions of agents.
    Events(OrgId),
    /// Samples of runtimes.
    Metrics(OrgId),
    /// The certificate of one sender's key.
    Sender(OrgId, String),
    /// The record of a message that was refused for its signature, by its stream and sequence.
    Evidence(OrgId, String, u64),
    /// The record of an incident, by its kind and a word of its own.
    Incident(OrgId, String, String),
    /// What is said in a meeting.
    MeetingMessages(MeetingId),
    /// What a meeting decided.
    MeetingDecisions(MeetingId),
    /// Health of the platform.
    SystemHealth,
    /// Signals of the scaler.
    SystemScaling,
    /// The schedule of one task that is put on its queue later.
    Schedule(TaskId),
    /// A fired schedule on its way to a role's queue.
    Due(Role, Band),
    /// What there is to know about a recurring task.
    Recurring(ScheduleName),
    /// The schedule of a recurring task's next firing.
    Trigger(ScheduleName),
    /// A recurring task's firing, for whoever carries it out.
    Fired(ScheduleName),
}

impl Subjects {
    /// The subjects of `org` below `root`.
    #[must_use]
    pub const fn new(root: Root, org: OrgId) -> Self {
        Self { root, org }
    }

    /// The org that these subjects belong to.
    #[must_use]
    pub const fn org(&self) -> &OrgId {
        &self.org
    }

    /// The first token of every subject.
    #[must_use]
    pub const fn root(&self) -> &Root {
        &self.root
    }

    fn under(&self, rest: fmt::Arguments<'_>) -> Subject {
        Subject(format!("{}.{rest}", self.root))
    }

    /// `genbrain.agents.{role}.tasks`, `.tasks.urgent` or `.tasks.low`: assignments.
    #[must_use]
    pub fn tasks(&self, role: &Role, band: Band) -> Subject {
        self.under(format_args!("agents.{role}.tasks{}", band.suffix()))
    }

    /// The filter over all bands of a role's assignments but the normal one.
    #[must_use]
    pub fn tasks_bands(&self, role: &Role) -> Subject {
        self.under(format_args!("agents.{role}.tasks.*"))
    }

    /// `genbrain.agents.{role}.inbox`: direct messages of the normal priority, and reports.
    #[must_use]
    pub fn inbox(&self, role: &Role) -> Subject {
        self.inbox_of(role, Band::Normal)
    }

    /// `genbrain.agents.{role}.inbox`, `.inbox.urgent` or `.inbox.low`: direct messages.
    #[must_use]
    pub fn inbox_of(&self, role: &Role, band: Band) -> Subject {
        self.under(format_args!("agents.{role}.inbox{}", band.suffix()))
    }

    /// `genbrain.agents.{role}.acknowledged.{broadcast}`: that a role has taken note.
    #[must_use]
    pub fn acknowledged(&self, role: &Role, broadcast: &BroadcastId) -> Subject {
        self.under(format_args!("agents.{role}.acknowledged.{broadcast}"))
    }

    /// `genbrain.agents.*.acknowledged.{broadcast}`: everybody who has taken note.
    #[must_use]
    pub fn acknowledgements(&self, broadcast: &BroadcastId) -> Subject {
        self.under(format_args!("agents.*.acknowledged.{broadcast}"))
    }

    /// `genbrain.agents.{role}.card`: what a role can do.
    #[must_use]
    pub fn card(&self, role: &Role) -> Subject {
        self.under(format_args!("agents.{role}.card"))
    }

    /// `genbrain.agents.*.card`: what every role can do.
    #[must_use]
    pub fn cards(&self) -> Subject {
        self.under(format_args!("agents.*.card"))
    }

    /// `genbrain.agents.{role}.meetings`: invitations.
    #[must_use]
    pub fn meetings(&self, role: &Role) -> Subject {
        self.under(format_args!("agents.{role}.meetings"))
    }

    /// `genbrain.agents.{role}.heartbeat`: signs of life.
    #[must_use]
    pub fn heartbeat(&self, role: &Role) -> Subject {
        self.under(format_args!("agents.{role}.heartbeat"))
    }

    /// `$O.{bucket}.M.{name}`: what an object store knows of an object; the name in URL-safe
    /// base64, or `*`. Object stores have subjects of their own, the same under every root.
    #[must_use]
    pub fn object(bucket: &str, name: &str) -> Subject {
        Subject(format!("$O.{bucket}.M.{name}"))
    }

    /// `$O.{bucket}.C.{nuid}`: the chunks of one version of an object, or `*`.
    #[must_use]
    pub fn chunks(bucket: &str, nuid: &str) -> Subject {
        Subject(format!("$O.{bucket}.C.{nuid}"))
    }

    /// `genbrain.agents.*.heartbeat`: everybody's signs of life.
    #[must_use]
    pub fn heartbeats(&self) -> Subject {
        self.under(format_args!("agents.*.heartbeat"))
    }

    /// `genbrain.agents.{role}.control.all` or `.control.instance.{instance}`: what holds for the
    /// flow of work.
    #[must_use]
    pub fn control(&self, target: &Target) -> Subject {
        match target {
            Target::Role(role) => self.under(format_args!("agents.{role}.control.all")),
            Target::Instance(role, instance) => {
                self.under(format_args!("agents.{role}.control.instance.{instance}"))
            }
        }
    }

    /// The filter over what is said about an instance, whatever its role.
    #[must_use]
    pub fn controls_of(&self, instance: &InstanceId) -> String {
        self.pattern(&format!("agents.*.control.instance.{instance}"))
    }

    /// The filter over all that is said about the flow of work to a role and its instances.
    #[must_use]
    pub fn controls(&self, role: &Role) -> Subject {
        self.under(format_args!("agents.{role}.control.>"))
    }

    /// `genbrain.agents.broadcast`: messages to everybody.
    #[must_use]
    pub fn broadcast(&self) -> Subject {
        self.under(format_args!("agents.broadcast"))
    }

    /// `genbrain.org.{org}.tasks.{task}.{transition}`: a write request to a task's log.
    #[must_use]
    pub fn entry(&self, task: &TaskId, transition: Transition) -> Subject {
        self.under(format_args!("org.{}.tasks.{task}.{}", self.org, transition.word()))
    }

    /// `genbrain.org.{org}.tasks.{task}.*`: the whole log of one task. Every append is guarded by
    /// this filter, byte for byte.
    #[must_use]
    pub fn log(&self, task: &TaskId) -> Subject {
        self.under(format_args!("org.{}.tasks.{task}.*", self.org))
    }

    /// `genbrain.org.{org}.tasks.*.*`: the logs of all tasks of the org.
    #[must_use]
    pub fn logs(&self) -> Subject {
        self.under(format_args!("org.{}.tasks.*.*", self.org))
    }

    /// `genbrain.org.{org}.tasks.{transition}`: one transition of every task, as stored.
    #[must_use]
    pub fn transition(&self, transition: Transition) -> Subject {
        self.under(format_args!("org.{}.tasks.{}", self.org, transition.word()))
    }

    /// `genbrain.org.{org}.tasks.*`: every transition of every task, as stored.
    #[must_use]
    pub fn transitions(&self) -> Subject {
        self.under(format_args!("org.{}.tasks.*", self.org))
    }

    /// `genbrain.org.{org}.events`: significant actions.
    #[must_use]
    pub fn events(&self) -> Subject {
        self.under(format_args!("org.{}.events", self.org))
    }

    /// `genbrain.org.{org}.metrics`: samples of runtimes.
    #[must_use]
    pub fn metrics(&self) -> Subject {
        self.under(format_args!("org.{}.metrics", self.org))
    }

    /// `genbrain.org.{org}.senders.{key}`: the certificate of a user's key, or what an account says
    /// of its keys; `None` for a text that is no public key of either.
    #[must_use]
    pub fn sender(&self, key: &str) -> Option<Subject> {
        is_key(key).then(|| self.under(format_args!("org.{}.senders.{key}", self.org)))
    }

    /// `genbrain.org.{org}.evidence.{stream}.{seq}`: the record of a message that was refused for
    /// its signature, one for each message.
    #[must_use]
    pub fn evidence(&self, stream: &str, seq: u64) -> Subject {
        self.under(format_args!("org.{}.evidence.{stream}.{seq}", self.org))
    }

    /// `genbrain.org.{org}.evidence.*.*`: the records of all refused messages.
    #[must_use]
    pub fn all_evidence(&self) -> Subject {
        self.under(format_args!("org.{}.evidence.*.*", self.org))
    }

    /// `genbrain.org.{org}.evidence.incident.{kind}.{id}`: the record of an incident.
    #[must_use]
    pub fn incident(&self, kind: &str, id: &str) -> Subject {
        self.under(format_args!("org.{}.evidence.incident.{kind}.{id}", self.org))
    }

    /// `genbrain.org.{org}.evidence.incident.*.*`: the records of all incidents.
    #[must_use]
    pub fn all_incidents(&self) -> Subject {
        self.under(format_args!("org.{}.evidence.incident.*.*", self.org))
    }

    /// `genbrain.org.{org}.evidence.>`: the records of whatever the operator should know of.
    #[must_use]
    pub fn all_records(&self) -> Subject {
        self.under(format_args!("org.{}.evidence.>", self.org))
    }

    /// `genbrain.meetings.{meeting}.messages`.
    #[must_use]
    pub fn meeting_messages(&self, meeting: &MeetingId) -> Subject {
        self.under(format_args!("meetings.{meeting}.messages"))
    }

    /// `genbrain.meetings.{meeting}.decisions`.
    #[must_use]
    pub fn meeting_decisions(&self, meeting: &MeetingId) -> Subject {
        self.under(format_args!("meetings.{meeting}.decisions"))
    }

    /// `genbrain.meetings.{meeting}.*`: the whole log of one meeting. Every append is guarded by this
    /// filter, byte for byte.
    #[must_use]
    pub fn meeting(&self, meeting: &MeetingId) -> Subject {
        self.under(format_args!("meetings.{meeting}.*"))
    }

    /// `genbrain.meetings.*.*`: the logs of all meetings of the org.
    #[must_use]
    pub fn all_meetings(&self) -> Subject {
        self.under(format_args!("meetings.*.*"))
    }

    /// `genbrain.org.system.health`.
    #[must_use]
    pub fn system_health(&self) -> Subject {
        self.under(format_args!("org.system.health"))
    }

    /// `genbrain.org.system.scaling`.
    #[must_use]
    pub fn system_scaling(&self) -> Subject {
        self.under(format_args!("org.system.scaling"))
    }

    /// `genbrain.org.system.leases.{org}.{name}`: who of several controllers of the org acts.
    #[must_use]
    pub fn lease(&self, name: LeaseName) -> Subject {
        self.under(format_args!("org.system.leases.{}.{}", self.org, name.word()))
    }

    /// `genbrain.schedules.{task}`: where the schedule of a task waits. One schedule a subject, so
    /// that publishing again moves it.
    #[must_use]
    pub fn schedule(&self, task: &TaskId) -> Subject {
        self.under(format_args!("schedules.{task}"))
    }

    /// `genbrain.due.{role}.tasks…`: a fired schedule, before the queue's stream takes it over.
    #[must_use]
    pub fn due(&self, role: &Role, band: Band) -> Subject {
        self.under(format_args!("due.{role}.tasks{}", band.suffix()))
    }

    /// `genbrain.recurring.{name}`: a recurring task, with all that happened to it.
    #[must_use]
    pub fn recurring(&self, name: &ScheduleName) -> Subject {
        self.under(format_args!("recurring.{name}"))
    }

    /// `genbrain.recurring.*`: all recurring tasks of the org.
    #[must_use]
    pub fn all_recurring(&self) -> Subject {
        self.under(format_args!("recurring.*"))
    }

    /// `genbrain.schedules._{name}`: where a recurring task's next firing waits. No id of a task
    /// begins with an underscore, so it is nobody's schedule.
    #[must_use]
    pub fn trigger(&self, name: &ScheduleName) -> Subject {
        self.under(format_args!("schedules._{name}"))
    }

    /// `genbrain.due._recurring.fired.{name}`: a firing. No role begins with an underscore, so the
    /// queue does not take it over.
    #[must_use]
    pub fn fired(&self, name: &ScheduleName) -> Subject {
        self.under(format_args!("due._recurring.fired.{name}"))
    }

    /// `genbrain.due._recurring.fired.*`: all firings.
    #[must_use]
    pub fn all_fired(&self) -> Subject {
        self.under(format_args!("due._recurring.fired.*"))
    }

    /// `genbrain.commit.{stream}`: where a committer takes publishes of other processes.
    #[must_use]
    pub fn commit(&self, stream: &str) -> Subject {
        self.under(format_args!("commit.{stream}"))
    }

    /// A pattern of the stream catalogue: `agents.*.inbox` below the root.
    #[must_use]
    pub fn pattern(&self, rest: &str) -> String {
        self.under(format_args!("{rest}")).0
    }

    /// What `subject` addresses; `None` for what is not of this grammar.
    #[must_use]
    pub fn parse(&self, subject: &str) -> Option<Address> {
        let rest = subject.strip_prefix(self.root.as_str())?.strip_prefix('.')?;
        let tokens: Vec<&str> = rest.split('.').collect();
        match tokens.as_slice() {
            ["agents", "broadcast"] => Some(Address::Broadcast),
            ["agents", role, rest @ ..] => parse_agent(role.parse().ok()?, rest),
            ["org", "system", "health"] => Some(Address::SystemHealth),
            ["org", "system", "scaling"] => Some(Address::SystemScaling),
            ["org", org, rest @ ..] => parse_org(org.parse().ok()?, rest),
            ["meetings", id, "messages"] => Some(Address::MeetingMessages(id.parse().ok()?)),
            ["meetings", id, "decisions"] => Some(Address::MeetingDecisions(id.parse().ok()?)),
            ["schedules", token] => match token.strip_prefix('_') {
                Some(name) => Some(Address::Trigger(name.parse().ok()?)),
                None => Some(Address::Schedule(token.parse().ok()?)),
            },
            ["recurring", name] => Some(Address::Recurring(name.parse().ok()?)),
            ["due", "_recurring", "fired", name] => Some(Address::Fired(name.parse().ok()?)),
            ["due", role, rest @ ..] => Some(Address::Due(role.parse().ok()?, parse_band(rest)?)),
            _ => None,
        }
    }
}

fn parse_band(rest: &[&str]) -> Option<Band> {
    match rest {
        ["tasks", band @ ..] => parse_suffix(band),
        _ => None,
    }
}

fn parse_suffix(rest: &[&str]) -> Option<Band> {
    match rest {
        [] => Some(Band::Normal),
        ["urgent"] => Some(Band::Urgent),
        ["low"] => Some(Band::Low),
        _ => None,
    }
}

fn parse_agent(role: Role, rest: &[&str]) -> Option<Address> {
    match rest {
        ["inbox", band @ ..] => parse_suffix(band).map(|band| Address::Inbox(role, band)),
        ["acknowledged", id] => Some(Address::Acknowledged(role, id.parse().ok()?)),
        ["card"] => Some(Address::Card(role)),
        ["meetings"] => Some(Address::Meetings(role)),
        ["heartbeat"] => Some(Address::Heartbeat(role)),
        ["control", "all"] => Some(Address::RoleControl(role)),
        ["control", "instance", instance] => {
            Some(Address::InstanceControl(role, instance.parse().ok()?))
        }
        _ => parse_band(rest).map(|band| Address::Tasks(role, band)),
    }
}

/// Whether it has the shape of the public key of a user or an account: `U` or `A`, and 55 more of
/// base32.
fn is_key(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_uppercase() || ('2'..='7').contains(&c);
    text.len() == 56 && text.starts_with(['U', 'A']) && text.chars().all(fits)
}

fn parse_org(org: OrgId, rest: &[&str]) -> Option<Address> {
    match rest {
        ["events"] => Some(Address::Events(org)),
        ["metrics"] => Some(Address::Metrics(org)),
        ["senders", key] if is_key(key) => Some(Address::Sender(org, (*key).to_owned())),
        ["evidence", stream, seq] => {
            Some(Address::Evidence(org, (*stream).to_owned(), seq.parse().ok()?))
        }
        ["evidence", "incident", kind, id] => {
            Some(Address::Incident(org, (*kind).to_owned(), (*id).to_owned()))
        }
        ["tasks", transition] => Some(Address::Transition(org, (*transition).to_owned())),
        ["tasks", task, transition] => {
            Some(Address::Entry(org, task.parse().ok()?, (*transition).to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
