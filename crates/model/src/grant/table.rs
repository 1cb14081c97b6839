//! The table itself: every action, who may do it, and on which subjects.

use super::{Rule, Scope, Way, inbox_prefix};
use crate::{
    stream::{
        AGENT_CONTROL, AGENT_MAIL, AGENT_PRESENCE, AGENT_TASKS, BODIES, ENDS_CONSUMER, FIRINGS,
        MEETINGS, OBJ_BODIES, ORG_EVENTS, ORG_EVIDENCE, ORG_SENDERS, TASK_LOG, TASK_RECURRING,
        TASK_SCHEDULES,
    },
    subject::Subjects,
    task::Transition,
};

/// Something that a user of an org may want to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Give work to any role.
    Delegate,
    /// Write to any inbox.
    SendMail,
    /// Write to everybody.
    Broadcast,
    /// Have work put on a queue later.
    Schedule,
    /// Have work delegated again and again.
    Recur,
    /// Keep large bodies, and take back those that were kept.
    KeepBodies,
    /// Write to the logs of tasks.
    Append,
    /// Bring a task back that has ended.
    Revive,
    /// Tell what was done.
    Emit,
    /// Speak in meetings.
    Meet,
    /// Show signs of life of its own role.
    Beat,
    /// Pull the work of its own role.
    PullOwn,
    /// End deliveries of its own role.
    AckOwn,
    /// Read what was sent to its own role.
    ReadOwnMail,
    /// Read the logs of tasks, and hear of every transition.
    ReadLog,
    /// Read what was told, and the samples of runtimes.
    ReadEvents,
    /// Hear and read who is alive.
    ReadPresence,
    /// Hear and read what meetings said.
    ReadMeetings,
    /// Read large bodies.
    ReadBodies,
    /// See which tasks recur.
    ReadRecurring,
    /// See and hear where the flow of work is stopped.
    ReadControl,
    /// Look at the streams, and at what the queues hold.
    Inspect,
    /// Look at messages that wait in a queue or in a schedule.
    ReadQueues,
    /// Stop the flow of work and let it go on.
    Control,
    /// Show signs of life of another role.
    BeatForOthers,
    /// Pull the work of another role.
    PullForOthers,
    /// End deliveries of another role.
    AckForOthers,
    /// Read what was sent to another role.
    ReadOthersMail,
    /// Make, change, empty and delete streams and consumers.
    Manage,
    /// Hear what becomes of streams, consumers and deliveries.
    ReadAdvisories,
    /// Hear its own replies.
    HearReplies,
    /// Hear the replies to others.
    HearOthersReplies,
    /// End deliveries of the controllers.
    AckControllers,
    /// Commit for other processes.
    Commit,
    /// Have something committed by another process.
    AskToCommit,
    /// Say what only a stream may say: a transition that was taken, a schedule that fired.
    Impersonate,
    /// Ask about the server itself.
    AskServer,
    /// Find out whose key is whose.
    ReadSenders,
    /// Keep a record of a message that was refused.
    KeepEvidence,
    /// See the messages that were refused.
    ReadEvidence,
    /// Say whose keys count.
    Vouch,
}

const AGENTS_AND_OWNERS: [bool; 4] = [true, false, true, true];
const EVERYBODY: [bool; 4] = [true, true, true, true];
const OWNERS: [bool; 4] = [false, false, true, true];
const CONTROLLERS: [bool; 4] = [false, false, false, true];
const NOBODY: [bool; 4] = [false, false, false, false];

impl Action {
    /// All actions.
    pub const ALL: [Self; 41] = [
        Self::Delegate,
        Self::SendMail,
        Self::Broadcast,
        Self::Schedule,
        Self::Recur,
        Self::KeepBodies,
        Self::Append,
        Self::Revive,
        Self::Emit,
        Self::Meet,
        Self::Beat,
        Self::PullOwn,
        Self::AckOwn,
        Self::ReadOwnMail,
        Self::ReadLog,
        Self::ReadEvents,
        Self::ReadPresence,
        Self::ReadMeetings,
        Self::ReadBodies,
        Self::ReadRecurring,
        Self::ReadControl,
        Self::Inspect,
        Self::ReadQueues,
        Self::Control,
        Self::BeatForOthers,
        Self::PullForOthers,
        Self::AckForOthers,
        Self::ReadOthersMail,
        Self::Manage,
        Self::ReadAdvisories,
        Self::HearReplies,
        Self::HearOthersReplies,
        Self::AckControllers,
        Self::Commit,
        Self::AskToCommit,
        Self::Impersonate,
        Self::AskServer,
        Self::ReadSenders,
        Self::KeepEvidence,
        Self::ReadEvidence,
        Self::Vouch,
    ];

    /// Who may do it, in the order of [`Kind::ALL`](super::Kind::ALL).
    pub(super) const fn who(self) -> [bool; 4] {
        match self {
            Self::Delegate
            | Self::SendMail
            | Self::Broadcast
            | Self::Schedule
            | Self::Recur
            | Self::KeepBodies
            | Self::Append
            | Self::Emit
            | Self::Meet
            | Self::Beat
            | Self::PullOwn
            | Self::AckOwn
            | Self::ReadOwnMail
            | Self::ReadQueues
            | Self::KeepEvidence => AGENTS_AND_OWNERS,
            Self::ReadLog
            | Self::ReadEvents
            | Self::ReadPresence
            | Self::ReadMeetings
            | Self::ReadBodies
            | Self::ReadRecurring
            | Self::ReadControl
            | Self::Inspect
            | Self::HearReplies
            | Self::ReadSenders => EVERYBODY,
            Self::Revive
            | Self::Control
            | Self::BeatForOthers
            | Self::PullForOthers
            | Self::AckForOthers
            | Self::ReadOthersMail
            | Self::Manage
            | Self::ReadAdvisories
            | Self::AskToCommit
            | Self::ReadEvidence => OWNERS,
            Self::AckControllers | Self::Commit | Self::Vouch => CONTROLLERS,
            Self::HearOthersReplies | Self::Impersonate | Self::AskServer => NOBODY,
        }
    }

    /// What it is, in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Delegate => "give work to any role",
            Self::SendMail => "write to any inbox",
            Self::Broadcast => "write to everybody",
            Self::Schedule => "have work put on a queue later",
            Self::Recur => "have work delegated again and again",
            Self::KeepBodies => "keep large bodies and take them back",
            Self::Append => "write to the logs of tasks",
            Self::Revive => "bring back a task that has ended",
            Self::Emit => "tell what was done",
            Self::Meet => "speak in meetings",
            Self::Beat => "show signs of life of its own role",
            Self::PullOwn => "pull the work of its own role",
            Self::AckOwn => "end deliveries of its own role",
            Self::ReadOwnMail => "read what was sent to its own role",
            Self::ReadLog => "read the logs of tasks, and hear of every transition",
            Self::ReadEvents => "read what was told, and the samples of runtimes",
            Self::ReadPresence => "see who is alive",
            Self::ReadMeetings => "read and hear meetings",
            Self::ReadBodies => "read large bodies",
            Self::ReadRecurring => "see which tasks recur",
            Self::ReadControl => "see and hear where the flow of work is stopped",
            Self::Inspect => "look at the streams, and at what the queues hold",
            Self::ReadQueues => "look at messages that wait in a queue or a schedule",
            Self::Control => "stop the flow of work and let it go on",
            Self::BeatForOthers => "show signs of life of another role",
            Self::PullForOthers => "pull the work of another role",
            Self::AckForOthers => "end deliveries of another role",
            Self::ReadOthersMail => "read what was sent to another role",
            Self::Manage => "make, change, empty and delete streams and consumers",
            Self::ReadAdvisories => "hear what becomes of streams, consumers and deliveries",
            Self::HearReplies => "hear its own replies",
            Self::HearOthersReplies => "hear the replies to others",
            Self::AckControllers => "end deliveries of the controllers",
            Self::Commit => "commit for other processes",
            Self::AskToCommit => "have something committed by another process",
            Self::Impersonate => "say what only a stream may say",
            Self::AskServer => "ask about the server itself",
            Self::ReadSenders => "find out whose key is whose",
            Self::KeepEvidence => "keep a record of a message that was refused",
            Self::ReadEvidence => "see the messages that were refused",
            Self::Vouch => "say whose keys count",
        }
    }

    /// The subjects that it takes.
    #[must_use]
    pub fn rules(self, scope: &Scope<'_>) -> Vec<Rule> {
        match self {
            Self::Delegate
            | Self::SendMail
            | Self::Broadcast
            | Self::Schedule
            | Self::Recur
            | Self::Append
            | Self::Revive
            | Self::Emit
            | Self::Meet
            | Self::Control
            | Self::Beat
            | Self::BeatForOthers
            | Self::KeepEvidence
            | Self::Vouch
            | Self::Impersonate => saying(self, scope),
            Self::PullOwn | Self::PullForOthers => pulling(scope),
            Self::AckOwn | Self::AckForOthers => acking(scope),
            Self::ReadOwnMail
            | Self::ReadOthersMail
            | Self::ReadLog
            | Self::ReadEvents
            | Self::ReadPresence
            | Self::ReadMeetings
            | Self::ReadEvidence
            | Self::ReadControl => reading(self, scope),
            Self::KeepBodies => keeping_bodies(),
            Self::ReadBodies
            | Self::ReadRecurring
            | Self::ReadSenders
            | Self::Inspect
            | Self::ReadQueues
            | Self::Manage
            | Self::AskServer => asking(self),
            Self::AckControllers => acks([(TASK_LOG, ENDS_CONSUMER), (TASK_SCHEDULES, FIRINGS)]),
            Self::ReadAdvisories => subscribe(["$JS.EVENT.>".to_owned(), "$JS.ACK.>".to_owned()]),
            Self::HearReplies => subscribe([format!("{}.>", inbox_prefix(scope.name))]),
            Self::HearOthersReplies => subscribe(["_INBOX.>".to_owned()]),
            Self::Commit => commit(scope),
            Self::AskToCommit => publish([scope.subjects.pattern("commit.*")]),
        }
    }
}

fn publish(patterns: impl IntoIterator<Item = String>) -> Vec<Rule> {
    patterns.into_iter().map(|pattern| Rule { way: Way::Publish, pattern }).collect()
}

fn subscribe(patterns: impl IntoIterator<Item = String>) -> Vec<Rule> {
    patterns.into_iter().map(|pattern| Rule { way: Way::Subscribe, pattern }).collect()
}

fn saying(action: Action, scope: &Scope<'_>) -> Vec<Rule> {
    let under = |rest: &str| scope.subjects.pattern(rest);
    let org = scope.subjects.org();
    let entry = |it: Transition| under(&format!("org.{org}.tasks.*.{}", it.word()));
    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller sends only what is said here")]
    let patterns = match action {
        Action::Delegate => vec![under("agents.*.tasks"), under("agents.*.tasks.*")],
        Action::SendMail => vec![under("agents.*.inbox"), under("agents.*.meetings")],
        Action::Broadcast => vec![under("agents.broadcast")],
        Action::Schedule => vec![under("schedules.*")],
        Action::Recur => vec![under("recurring.*")],
        Action::Control => vec![under("agents.*.control.>")],
        Action::Append => {
            Transition::ALL.into_iter().filter(|it| *it != Transition::Revived).map(entry).collect()
        }
        Action::Revive => vec![entry(Transition::Revived)],
        Action::Emit => {
            vec![under(&format!("org.{org}.events")), under(&format!("org.{org}.metrics"))]
        }
        Action::Meet => vec![under("meetings.*.messages"), under("meetings.*.decisions")],
        Action::Beat | Action::BeatForOthers => {
            vec![under(&format!("agents.{}.heartbeat", scope.own.token()))]
        }
        Action::KeepEvidence => vec![scope.subjects.all_evidence().into()],
        Action::Vouch => vec![under(&format!("org.{org}.senders.*"))],
        Action::Impersonate => vec![under(&format!("org.{org}.tasks.*")), under("due.>")],
        _ => Vec::new(),
    };
    publish(patterns)
}

fn pulling(scope: &Scope<'_>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (name, filter) in scope.own.consumers(scope.subjects) {
        let at = format!("{AGENT_TASKS}.{name}");
        rules.extend(publish([
            format!("$JS.API.CONSUMER.CREATE.{at}.{filter}"),
            format!("$JS.API.CONSUMER.INFO.{at}"),
            format!("$JS.API.CONSUMER.MSG.NEXT.{at}"),
        ]));
    }
    // Bands come into use when somebody delegates to them, which the runtime hears.
    let bands = format!("agents.{}.tasks.*", scope.own.token());
    rules.extend(subscribe([scope.subjects.pattern(&bands)]));
    rules
}

fn acking(scope: &Scope<'_>) -> Vec<Rule> {
    let consumers = scope.own.consumers(scope.subjects);
    acks(consumers.iter().map(|(name, _)| (AGENT_TASKS, name.as_str())))
}

fn acks<'a>(consumers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Rule> {
    publish(consumers.into_iter().flat_map(|(stream, name)| {
        [
            format!("$JS.ACK.{stream}.{name}.>"),
            // The form that has domain and account before the stream.
            format!("$JS.ACK.*.*.{stream}.{name}.>"),
        ]
    }))
}

/// Who writes a body tells of it and may take back its parts; a deleted part is no more than a part
/// that was overwritten, and readers check the hash of the whole.
fn keeping_bodies() -> Vec<Rule> {
    publish([
        Subjects::object(BODIES, "*").into(),
        Subjects::chunks(BODIES, "*").into(),
        format!("$JS.API.STREAM.PURGE.{OBJ_BODIES}"),
    ])
}

/// What it takes to read `filter` of a stream: a consumer of its own, under a name that nobody can
/// guess. The subject that makes it ends in the filter, so it gives nothing else.
fn scanning(stream: &str, filters: &[String]) -> Vec<Rule> {
    let make = |filter| format!("$JS.API.CONSUMER.CREATE.{stream}.*.{filter}");
    let mut rules = publish(filters.iter().map(make));
    rules.extend(publish([
        format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.*"),
        format!("$JS.API.CONSUMER.DELETE.{stream}.*"),
    ]));
    rules.extend(subscribe(filters.iter().cloned()));
    rules
}

fn reading(action: Action, scope: &Scope<'_>) -> Vec<Rule> {
    let under = |rest: &str| scope.subjects.pattern(rest);
    let org = scope.subjects.org();
    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller sends only what is read here")]
    match action {
        Action::ReadOwnMail | Action::ReadOthersMail => {
            let role = scope.own.token();
            let own = [format!("agents.{role}.inbox"), format!("agents.{role}.meetings")];
            let [inbox, meetings] = own.map(|it| under(&it));
            scanning(AGENT_MAIL, &[inbox, meetings, under("agents.broadcast")])
        }
        Action::ReadLog => {
            let logs = under(&format!("org.{org}.tasks.*.*"));
            let mut rules = scanning(TASK_LOG, &[logs]);
            rules.extend(subscribe([under(&format!("org.{org}.tasks.*"))]));
            rules.extend(publish([
                format!("$JS.API.STREAM.MSG.GET.{TASK_LOG}"),
                format!("$JS.API.DIRECT.GET.{TASK_LOG}"),
            ]));
            rules
        }
        Action::ReadEvents => {
            let mut rules = scanning(ORG_EVENTS, &[under(&format!("org.{org}.events"))]);
            rules.extend(subscribe([under(&format!("org.{org}.metrics"))]));
            rules
        }
        Action::ReadEvidence => scanning(ORG_EVIDENCE, &[scope.subjects.all_evidence().into()]),
        Action::ReadPresence => scanning(AGENT_PRESENCE, &[under("agents.*.heartbeat")]),
        Action::ReadMeetings => {
            scanning(MEETINGS, &[under("meetings.*.messages"), under("meetings.*.decisions")])
        }
        Action::ReadControl => {
            let mut rules = subscribe([under("agents.*.control.>")]);
            rules.extend(publish([format!("$JS.API.STREAM.MSG.GET.{AGENT_CONTROL}")]));
            rules
        }
        _ => Vec::new(),
    }
}

/// The streams that a look without names is about.
const STREAMS: [&str; 12] = [
    TASK_SCHEDULES,
    AGENT_TASKS,
    TASK_LOG,
    TASK_RECURRING,
    AGENT_MAIL,
    AGENT_PRESENCE,
    ORG_EVENTS,
    MEETINGS,
    OBJ_BODIES,
    AGENT_CONTROL,
    ORG_SENDERS,
    ORG_EVIDENCE,
];

fn asking(action: Action) -> Vec<Rule> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller sends only what is asked here")]
    let patterns = match action {
        Action::Inspect => {
            let info = |stream| format!("$JS.API.STREAM.INFO.{stream}");
            let mut patterns = vec!["$JS.API.INFO".to_owned()];
            patterns.extend(STREAMS.map(info));
            patterns
        }
        Action::ReadQueues => [AGENT_TASKS, TASK_SCHEDULES]
            .map(|stream| format!("$JS.API.STREAM.MSG.GET.{stream}"))
            .into(),
        Action::ReadBodies => vec![format!("$JS.API.STREAM.MSG.GET.{OBJ_BODIES}")],
        Action::ReadSenders => vec![format!("$JS.API.STREAM.MSG.GET.{ORG_SENDERS}")],
        Action::ReadRecurring => vec![format!("$JS.API.STREAM.MSG.GET.{TASK_RECURRING}")],
        Action::Manage => vec!["$JS.API.>".to_owned()],
        Action::AskServer => vec!["$SYS.>".to_owned()],
        _ => Vec::new(),
    };
    publish(patterns)
}

fn commit(scope: &Scope<'_>) -> Vec<Rule> {
    let mut rules = subscribe([scope.subjects.pattern("commit.*")]);
    // The answers go to whoever asked.
    rules.extend(publish(["_INBOX.*.>".to_owned()]));
    rules
}
