//! The table itself: every action, who may do it, and on which subjects.

use super::{Rule, Scope, Way, inbox_prefix, scan_name};
use crate::{
    limits,
    stream::{
        AGENT_CARDS, AGENT_CONTROL, AGENT_MAIL, AGENT_PRESENCE, AGENT_TASKS, BODIES, ENDS_CONSUMER,
        FIRINGS, MEETINGS, OBJ_BODIES, ORG_EVENTS, ORG_EVIDENCE, ORG_SENDERS, SYSTEM, TASK_LOG,
        TASK_RECURRING, TASK_SCHEDULES,
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
    /// Say what its own role can do, and what it has taken note of.
    Introduce,
    /// Say whose keys count.
    Vouch,
    /// Keep what was refused for its signature.
    Accuse,
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
    /// Read what was sent to everybody, and who has taken note of it.
    ReadBroadcasts,
    /// Read what each role can do.
    ReadCards,
    /// Read the certificates of keys.
    ReadSenders,
    /// Read what was refused for its signature, and of incidents.
    ReadEvidence,
    /// Read how servers fare, and how many instances each role is to have.
    ReadSystem,
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
    /// Say how servers fare, which incidents there were, and how many instances each role is to have.
    Govern,
    /// Show signs of life of another role.
    BeatForOthers,
    /// Say what another role can do, and what it has taken note of.
    IntroduceOthers,
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
}

const AGENTS_AND_OWNERS: [bool; 4] = [true, false, true, true];
const EVERYBODY: [bool; 4] = [true, true, true, true];
const ONLOOKERS: [bool; 4] = [false, true, true, true];
const OWNERS: [bool; 4] = [false, false, true, true];
const CONTROLLERS: [bool; 4] = [false, false, false, true];
const NOBODY: [bool; 4] = [false, false, false, false];

impl Action {
    /// All actions.
    pub const ALL: [Self; 47] = [
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
        Self::Introduce,
        Self::Vouch,
        Self::Accuse,
        Self::PullOwn,
        Self::AckOwn,
        Self::ReadOwnMail,
        Self::ReadLog,
        Self::ReadEvents,
        Self::ReadPresence,
        Self::ReadMeetings,
        Self::ReadBroadcasts,
        Self::ReadCards,
        Self::ReadSenders,
        Self::ReadEvidence,
        Self::ReadSystem,
        Self::ReadBodies,
        Self::ReadRecurring,
        Self::ReadControl,
        Self::Inspect,
        Self::ReadQueues,
        Self::Control,
        Self::Govern,
        Self::BeatForOthers,
        Self::IntroduceOthers,
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
            | Self::Introduce
            | Self::Accuse
            | Self::PullOwn
            | Self::AckOwn
            | Self::ReadOwnMail
            | Self::ReadQueues => AGENTS_AND_OWNERS,
            Self::ReadLog
            | Self::ReadEvents
            | Self::ReadPresence
            | Self::ReadMeetings
            | Self::ReadBroadcasts
            | Self::ReadCards
            | Self::ReadSenders
            | Self::ReadSystem
            | Self::ReadBodies
            | Self::ReadRecurring
            | Self::ReadControl
            | Self::Inspect
            | Self::HearReplies => EVERYBODY,
            Self::ReadEvidence => ONLOOKERS,
            Self::Revive
            | Self::Control
            | Self::BeatForOthers
            | Self::IntroduceOthers
            | Self::PullForOthers
            | Self::AckForOthers
            | Self::ReadOthersMail
            | Self::Manage
            | Self::ReadAdvisories
            | Self::AskToCommit => OWNERS,
            Self::AckControllers | Self::Commit | Self::Vouch | Self::Govern => CONTROLLERS,
            Self::HearOthersReplies | Self::Impersonate | Self::AskServer => NOBODY,
        }
    }

    /// Whether it is about a role that is not one's own.
    #[must_use]
    pub const fn is_about_others(self) -> bool {
        matches!(
            self,
            Self::BeatForOthers
                | Self::IntroduceOthers
                | Self::PullForOthers
                | Self::AckForOthers
                | Self::ReadOthersMail
        )
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
            Self::Introduce => "say what its own role can do and has taken note of",
            Self::Vouch => "say whose keys count",
            Self::Accuse => "keep what was refused for its signature",
            Self::PullOwn => "pull the work of its own role",
            Self::AckOwn => "end deliveries of its own role",
            Self::ReadOwnMail => "read what was sent to its own role",
            Self::ReadLog => "read the logs of tasks, and hear of every transition",
            Self::ReadEvents => "read what was told, and the samples of runtimes",
            Self::ReadPresence => "see who is alive",
            Self::ReadMeetings => "read and hear meetings",
            Self::ReadBroadcasts => "read what was sent to everybody, and who took note of it",
            Self::ReadCards => "read what each role can do",
            Self::ReadSenders => "read the certificates of keys",
            Self::ReadEvidence => "read what was refused for its signature, and of incidents",
            Self::ReadSystem => "read how servers fare, and how many instances there are to be",
            Self::ReadBodies => "read large bodies",
            Self::ReadRecurring => "see which tasks recur",
            Self::ReadControl => "see and hear where the flow of work is stopped",
            Self::Inspect => "look at the streams, and at what the queues hold",
            Self::ReadQueues => "look at messages that wait in a queue or a schedule",
            Self::Control => "stop the flow of work and let it go on",
            Self::Govern => {
                "say how servers fare, which incidents there were, and how many instances there are to be"
            }
            Self::BeatForOthers => "show signs of life of another role",
            Self::IntroduceOthers => "say what another role can do and has taken note of",
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
            | Self::Govern
            | Self::Beat
            | Self::BeatForOthers
            | Self::Introduce
            | Self::IntroduceOthers
            | Self::Vouch
            | Self::Accuse
            | Self::Impersonate => saying(self, scope),
            Self::PullOwn | Self::PullForOthers => pulling(scope),
            Self::AckOwn | Self::AckForOthers => acking(scope),
            Self::ReadOwnMail
            | Self::ReadOthersMail
            | Self::ReadLog
            | Self::ReadEvents
            | Self::ReadPresence
            | Self::ReadMeetings
            | Self::ReadBroadcasts
            | Self::ReadCards
            | Self::ReadEvidence
            | Self::ReadSystem
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
        Action::SendMail => {
            ["inbox", "inbox.*", "meetings"].map(|it| under(&format!("agents.*.{it}"))).into()
        }
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
        Action::Introduce | Action::IntroduceOthers => ["card", "acknowledged.*"]
            .map(|it| under(&format!("agents.{}.{it}", scope.own.token())))
            .into(),
        Action::Vouch => vec![under(&format!("org.{org}.senders.*"))],
        Action::Accuse => vec![under(&format!("org.{org}.evidence.*.*"))],
        Action::Govern => {
            let mut said: Vec<String> = ["health", "scaling", "leases.*.*"]
                .map(|it| under(&format!("org.system.{it}")))
                .into();
            said.push(under(&format!("org.{org}.evidence.incident.*.*")));
            said
        }
        Action::Impersonate => vec![under(&format!("org.{org}.tasks.*")), under("due.>")],
        _ => Vec::new(),
    };
    publish(patterns)
}

fn pulling(scope: &Scope<'_>) -> Vec<Rule> {
    let mut rules = consuming(AGENT_TASKS, &scope.own.consumers(scope.subjects));
    // Bands come into use when somebody delegates to them, which the runtime hears; and a host hears
    // that there is work.
    let queue = ["tasks", "tasks.*"].map(|it| format!("agents.{}.{it}", scope.own.token()));
    rules.extend(subscribe(queue.map(|it| scope.subjects.pattern(&it))));
    rules
}

/// To make consumers with just these filters, and to pull from them.
fn consuming(stream: &str, consumers: &[(String, String)]) -> Vec<Rule> {
    let each = |(name, filter): &(String, String)| {
        let at = format!("{stream}.{name}");
        publish([
            format!("$JS.API.CONSUMER.CREATE.{at}.{filter}"),
            format!("$JS.API.CONSUMER.INFO.{at}"),
            format!("$JS.API.CONSUMER.MSG.NEXT.{at}"),
        ])
    };
    consumers.iter().flat_map(each).collect()
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
    scanning_as(stream, filters, "*")
}

/// The same for a stream on which others have consumers with names that everybody knows, from which
/// a name that could be any would let take: here each user has names of its own.
fn scanning_by_name(stream: &str, filters: &[String], user: &str) -> Vec<Rule> {
    let names = (0..limits::SCANS_OF_USER).map(|number| scan_name(user, number));
    let mut rules = Vec::new();
    for name in names {
        for rule in scanning_as(stream, filters, &name) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    rules
}

fn scanning_as(stream: &str, filters: &[String], name: &str) -> Vec<Rule> {
    let make = |filter| format!("$JS.API.CONSUMER.CREATE.{stream}.{name}.{filter}");
    let mut rules = publish(filters.iter().map(make));
    rules.extend(publish([
        format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"),
        format!("$JS.API.CONSUMER.DELETE.{stream}.{name}"),
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
            let mut filters: Vec<String> = ["inbox", "inbox.urgent", "inbox.low", "meetings"]
                .map(|it| under(&format!("agents.{role}.{it}")))
                .into();
            filters.push(under("agents.broadcast"));
            let mut rules = scanning_by_name(AGENT_MAIL, &filters, scope.name);
            let consumers = scope.own.inbox(scope.subjects);
            rules.extend(consuming(AGENT_MAIL, &consumers));
            rules.extend(acks(consumers.iter().map(|(name, _)| (AGENT_MAIL, name.as_str()))));
            rules
        }
        Action::ReadBroadcasts => {
            let filters =
                ["broadcast", "*.acknowledged.*"].map(|it| under(&format!("agents.{it}")));
            scanning_by_name(AGENT_MAIL, &filters, scope.name)
        }
        Action::ReadCards => {
            let mut rules = scanning(AGENT_CARDS, &[under("agents.*.card")]);
            rules.extend(publish([format!("$JS.API.STREAM.MSG.GET.{AGENT_CARDS}")]));
            rules
        }
        Action::ReadEvidence => scanning(ORG_EVIDENCE, &[under(&format!("org.{org}.evidence.>"))]),
        Action::ReadSystem => {
            let subjects = ["health", "scaling"].map(|it| under(&format!("org.system.{it}")));
            let mut rules = scanning(SYSTEM, &subjects);
            rules.extend(publish([format!("$JS.API.STREAM.MSG.GET.{SYSTEM}")]));
            rules
        }
        Action::ReadLog => {
            let logs = under(&format!("org.{org}.tasks.*.*"));
            let mut rules = scanning_by_name(TASK_LOG, &[logs], scope.name);
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
        Action::ReadPresence => scanning(AGENT_PRESENCE, &[under("agents.*.heartbeat")]),
        Action::ReadMeetings => {
            let mut rules = scanning(MEETINGS, &[under("meetings.*.*")]);
            rules.extend(publish([
                format!("$JS.API.STREAM.MSG.GET.{MEETINGS}"),
                format!("$JS.API.DIRECT.GET.{MEETINGS}"),
            ]));
            rules
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
const STREAMS: [&str; 14] = [
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
    AGENT_CARDS,
    ORG_SENDERS,
    ORG_EVIDENCE,
    SYSTEM,
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
        Action::ReadRecurring => vec![format!("$JS.API.STREAM.MSG.GET.{TASK_RECURRING}")],
        Action::ReadSenders => vec![format!("$JS.API.STREAM.MSG.GET.{ORG_SENDERS}")],
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
