//! Exit codes: what each means, which error ends in which, and what to do about it.

mod meeting;

use std::process::ExitCode;

use serde_json::json;
use sinew_agent::{
    AdvanceError, BodyError, ControlError, DelegateError, EmitError, FollowError, InboxError,
    RegistryError, RuntimeError, SendError, enqueue::EnqueueError, schedule,
};
use sinew_bus::{
    ConnectError, EnsureError, ExecuteError, HistoryError, PublishError, RequestError, ScanError,
    TopologyError, connect::Fault as Handshake,
};
use sinew_model::{schedule::ScheduleRefusal, task::Refusal};
use sinew_server::{
    account::{AccountError, DirectoryError},
    context::ContextError,
    engine::{FindError, StartError},
    team::TeamFileError,
};

use crate::output::{Closed, Out};

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// All is well.
    Done,
    /// What was asked for was tried, and failed.
    Failed,
    /// The command was not understood.
    Usage,
    /// What was named is not there.
    NotFound,
    /// It was refused.
    Refused,
    /// The backbone is out of reach.
    Unreachable,
    /// It is not known whether it was done.
    Unknown,
    /// A fault of Sinew's own.
    Internal,
    /// A second signal cut it off.
    Interrupted,
}

/// Every code: its number, and what it means.
pub(crate) const TABLE: [(Code, u8, &str); 9] = [
    (Code::Done, 0, "done"),
    (Code::Failed, 1, "what was asked for failed: a task that was waited for did not complete"),
    (Code::Usage, 2, "the command or its input is not acceptable; nothing was done"),
    (Code::NotFound, 3, "what was named is not there"),
    (Code::Refused, 4, "refused: an id of other work, a full queue, a task that stands elsewhere"),
    (Code::Unreachable, 5, "the backbone is out of reach; nothing was done"),
    (Code::Unknown, 6, "no answer: it may or may not have been done; the same again is safe"),
    (Code::Internal, 70, "a fault of Sinew's own"),
    (Code::Interrupted, 130, "cut off by a second signal"),
];

impl Code {
    /// The number.
    pub(crate) fn number(self) -> u8 {
        TABLE.into_iter().find(|(code, ..)| *code == self).map_or(70, |(_, number, _)| number)
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
    }
}

/// A fault that the command line itself finds.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Fault {
    code: Code,
    text: String,
    hint: Option<String>,
}

impl Fault {
    /// With a code of its own.
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), hint: None }
    }

    /// What was said is not acceptable.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(Code::Usage, text)
    }

    /// What was named is not there.
    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(Code::NotFound, text)
    }

    /// How to mend it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What clap found wrong, or the help that was asked for.
pub(crate) fn of_clap(error: &clap::Error) -> Code {
    // A help text that nobody reads is no fault.
    error.print().ok();
    if error.use_stderr() { Code::Usage } else { Code::Done }
}

/// Tells of an error on stderr, and gives the code that it ends in.
pub(crate) fn report(out: Out, error: &anyhow::Error) -> Code {
    if error.is::<Closed>() {
        return Code::Done;
    }
    let (code, hint) = judge(error);
    if out.is_json() {
        out.note(json!({ "error": told(error), "code": code.number(), "hint": hint }));
        return code;
    }
    out.note(format_args!("error: {}", crate::text::clean(&told(error))));
    if let Some(hint) = hint {
        out.note(format_args!("hint: {hint}"));
    }
    code
}

/// An error with its causes. Errors of other crates say what their cause says: once is enough.
pub(crate) fn told(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if told.is_empty() {
            told = cause;
        } else if !told.ends_with(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

/// The code and the hint of an error: the outermost cause that is known decides.
fn judge(error: &anyhow::Error) -> (Code, Option<String>) {
    error.chain().find_map(known).unwrap_or((Code::Internal, None))
}

fn known(cause: &(dyn std::error::Error + 'static)) -> Option<(Code, Option<String>)> {
    if let Some(fault) = cause.downcast_ref::<Fault>() {
        return Some((fault.code, fault.hint.clone()));
    }
    let (code, hint) = None
        .or_else(|| cause.downcast_ref().map(of_team))
        .or_else(|| cause.downcast_ref().map(of_delegate))
        .or_else(|| cause.downcast_ref().map(of_schedule))
        .or_else(|| cause.downcast_ref().map(meeting::of_meet))
        .or_else(|| cause.downcast_ref().map(of_body))
        .or_else(|| cause.downcast_ref().map(of_follow))
        .or_else(|| cause.downcast_ref().map(of_advance))
        .or_else(|| cause.downcast_ref().map(of_execute))
        .or_else(|| cause.downcast_ref().map(of_emit))
        .or_else(|| cause.downcast_ref().and_then(of_control))
        .or_else(|| cause.downcast_ref().and_then(of_send))
        .or_else(|| cause.downcast_ref().and_then(of_inbox))
        .or_else(|| cause.downcast_ref().and_then(of_registry))
        .or_else(|| cause.downcast_ref().map(of_publish))
        .or_else(|| cause.downcast_ref().map(of_request))
        .or_else(|| cause.downcast_ref().map(of_connect))
        .or_else(|| cause.downcast_ref().map(of_start))
        .or_else(|| cause.downcast_ref().map(of_context))
        .or_else(|| cause.downcast_ref().map(of_account))
        .or_else(|| cause.downcast_ref().map(of_directory))
        .or_else(|| cause.is::<FindError>().then_some((Code::NotFound, None)))
        .or_else(|| cause.is::<TopologyError>().then_some((Code::Usage, None)))
        .or_else(|| {
            let concurrency = matches!(cause.downcast_ref(), Some(RuntimeError::Concurrency));
            concurrency.then_some((Code::Usage, None))
        })
        .or_else(|| unreadable(cause))?;
    Some((code, hint.map(str::to_owned)))
}

type Verdict = (Code, Option<&'static str>);

const IS_IT_UP: Option<&str> = Some("is the backbone up? `sinew doctor` looks at everything");
const SAME_ID: Option<&str> =
    Some("run the same command again with --id and the id of the message above: it happens once");

/// Reads: what the server did not answer was not done.
fn unreadable(cause: &(dyn std::error::Error + 'static)) -> Option<Verdict> {
    if let Some(EnsureError::NotMade { .. }) = cause.downcast_ref() {
        return Some((Code::Unreachable, Some("start it: `sinew up`, or `sinew server --orgs`")));
    }
    let is_read =
        cause.is::<HistoryError>() || cause.is::<ScanError>() || cause.is::<EnsureError>();
    let request = is_read.then(|| cause.source()?.downcast_ref::<RequestError>())??;
    Some(of_request(request))
}

fn of_delegate(error: &DelegateError) -> Verdict {
    match error {
        DelegateError::Invalid(_) | DelegateError::Key => (Code::Usage, None),
        DelegateError::NotAccepted { .. } => {
            (Code::Usage, Some("nothing was delegated; `sinew agent show` has what it accepts"))
        }
        DelegateError::IdReused { .. } => {
            (Code::Refused, Some("an id belongs to one piece of work for ever: take another"))
        }
        DelegateError::QueueFull { .. } => (
            Code::Refused,
            Some("nothing was delegated; wait with --wait-for-room 5m, or start more agents"),
        ),
        DelegateError::SchedulesFull { .. } => {
            (Code::Refused, Some("nothing was delegated; try again when some have begun"))
        }
        DelegateError::BodiesFull(_) => (
            Code::Refused,
            Some("nothing was delegated; `sinew topology` gives OBJ_sinew-bodies more room"),
        ),
        DelegateError::Body(_) => (Code::Unreachable, IS_IT_UP),
        DelegateError::Unknown { .. } => (Code::Unknown, SAME_ID),
        DelegateError::Failed(source) => of_publish(source),
        DelegateError::Parent(source) => of_execute(source),
        DelegateError::Unreadable(_) => (Code::Unreachable, IS_IT_UP),
        DelegateError::NoTask { .. } => (Code::NotFound, Some("`sinew task list` shows the tasks")),
        DelegateError::TooDeep { .. } => {
            (Code::Refused, Some("nothing was delegated: do agents delegate to each other?"))
        }
        DelegateError::Log(ExecuteError::Unknown(_)) => (Code::Unknown, SAME_ID),
        DelegateError::Log(source) => of_execute(source),
        _ => (Code::Internal, None),
    }
}

fn of_schedule(error: &schedule::Error) -> Verdict {
    match error {
        schedule::Error::Refused(ScheduleRefusal::NotThere) => {
            (Code::NotFound, Some("`sinew schedule list` shows them"))
        }
        schedule::Error::Refused(ScheduleRefusal::Exists) => {
            (Code::Refused, Some("remove it first, or take another name"))
        }
        schedule::Error::Refused(_) | schedule::Error::TooMany => (Code::Refused, None),
        schedule::Error::SchedulesFull { .. } => {
            (Code::Refused, Some("nothing was added; try again when some have begun"))
        }
        schedule::Error::Invalid(_) => (Code::Usage, None),
        schedule::Error::Delegate { .. } => {
            (Code::Unknown, Some("it has fired; its task is delegated as soon as it can be"))
        }
        schedule::Error::Publish(source) => of_publish(source),
        schedule::Error::Read(source) => of_request(source),
        schedule::Error::List(_) | schedule::Error::Task(_) | schedule::Error::Crowded => {
            (Code::Unreachable, IS_IT_UP)
        }
        schedule::Error::Unreadable { .. } | schedule::Error::Unencodable(_) | _ => {
            (Code::Internal, None)
        }
    }
}

fn of_body(error: &BodyError) -> Verdict {
    if error.is_lost() { (Code::NotFound, None) } else { (Code::Unreachable, IS_IT_UP) }
}

fn of_advance(error: &AdvanceError) -> Verdict {
    match error {
        AdvanceError::Read(_) => (Code::Unreachable, IS_IT_UP),
        AdvanceError::Execute(ExecuteError::Refused(refusal)) => of_refusal(refusal),
        AdvanceError::Execute(source) => of_execute(source),
        AdvanceError::Enqueue(EnqueueError::Publish(PublishError::Full { .. })) => {
            (Code::Unknown, Some("it is stored; the task goes on when its queue has room"))
        }
        AdvanceError::Enqueue(_)
        | AdvanceError::Ask(_)
        | AdvanceError::Finish(_)
        | AdvanceError::Body(_)
        | AdvanceError::Verify(_)
        | _ => (Code::Unknown, Some("it is stored, and goes on by itself: `sinew task show`")),
    }
}

fn of_refusal(refusal: &Refusal) -> Verdict {
    if matches!(refusal, Refusal::NoTask) {
        return (Code::NotFound, Some("`sinew task list` shows the tasks"));
    }
    let hints = [
        (matches!(refusal, Refusal::NotAsked), "`sinew task questions` shows those that are open"),
        (matches!(refusal, Refusal::OwnVerdict), "say with --role as whom you judge it"),
        (
            matches!(refusal, Refusal::NotSubmitted | Refusal::Ended(_)),
            "`sinew task show` tells where it stands",
        ),
    ];
    (Code::Refused, hints.into_iter().find(|(is_it, _)| *is_it).map(|(_, hint)| hint))
}

fn of_team(error: &TeamFileError) -> Verdict {
    let hint = "`sinew schema team` prints what may be in it; docs/guide/scaling.md has examples";
    match error {
        TeamFileError::Read { .. } => (Code::NotFound, Some("name a team file that can be read")),
        TeamFileError::TooLarge { .. }
        | TeamFileError::Content { .. }
        | TeamFileError::Whole { .. }
        | _ => (Code::Usage, Some(hint)),
    }
}

fn of_follow(error: &FollowError) -> Verdict {
    match error {
        FollowError::NoTask { .. } => (Code::NotFound, Some("`sinew task list` shows the tasks")),
        FollowError::Result(source) => of_body(source),
        FollowError::Read(_) | _ => (Code::Unreachable, IS_IT_UP),
    }
}

fn of_execute(error: &ExecuteError) -> Verdict {
    match error {
        ExecuteError::Refused(Refusal::NoTask) => {
            (Code::NotFound, Some("`sinew task list` shows the tasks"))
        }
        ExecuteError::Refused(_) => (Code::Refused, None),
        ExecuteError::Rejected(_) => (Code::Internal, None),
        ExecuteError::Unknown(_) => (Code::Unknown, Some("the same command again is safe")),
        ExecuteError::Unreachable(_) | ExecuteError::Unreadable(_) | ExecuteError::Crowded | _ => {
            (Code::Unreachable, IS_IT_UP)
        }
    }
}

fn of_emit(error: &EmitError) -> Verdict {
    match error {
        EmitError::Publish(source) => of_publish(source),
        EmitError::Words | EmitError::TooLarge { .. } | _ => (Code::Usage, None),
    }
}

/// What has a cause of its own is judged by that.
fn of_control(error: &ControlError) -> Option<Verdict> {
    match error {
        ControlError::Crowded => Some((Code::Refused, Some("the same command again is safe"))),
        ControlError::Stream(_)
        | ControlError::Read(_)
        | ControlError::Publish(_)
        | ControlError::Encode(_)
        | _ => None,
    }
}

/// What has a cause of its own is judged by that.
fn of_send(error: &SendError) -> Option<Verdict> {
    match error {
        SendError::Invalid(_) | SendError::Id(_) | SendError::Key => Some((Code::Usage, None)),
        SendError::IdReused { .. } => {
            Some((Code::Refused, Some("an id belongs to one message for ever: take another")))
        }
        SendError::NoBroadcast { .. } => {
            Some((Code::NotFound, Some("`sinew broadcast list` shows those that there are")))
        }
        SendError::Publish { source: PublishError::Unknown { .. }, .. } => {
            Some((Code::Unknown, Some("send it again with --id and the id above: it is sent once")))
        }
        SendError::Parent(_)
        | SendError::Stream(_)
        | SendError::Read(_)
        | SendError::Scan(_)
        | SendError::Audience(_)
        | SendError::Publish { .. }
        | _ => None,
    }
}

/// What has a cause of its own is judged by that.
fn of_inbox(error: &InboxError) -> Option<Verdict> {
    match error {
        InboxError::NotOpen { .. } => Some((
            Code::NotFound,
            Some("it was acked before, or nobody has read it: `sinew inbox read --no-ack`"),
        )),
        InboxError::Ack(_) => Some((Code::Unknown, Some("the same command again is safe"))),
        InboxError::Ensure(_)
        | InboxError::Request(_)
        | InboxError::Count(_)
        | InboxError::Scan(_)
        | InboxError::Consume(_)
        | _ => None,
    }
}

/// What has a cause of its own is judged by that.
fn of_registry(error: &RegistryError) -> Option<Verdict> {
    match error {
        RegistryError::Card(_) | RegistryError::Schema { .. } => Some((Code::Usage, None)),
        RegistryError::Crowded { .. } => {
            Some((Code::Refused, Some("the same command again is safe")))
        }
        RegistryError::Stream(_)
        | RegistryError::Request(_)
        | RegistryError::Scan(_)
        | RegistryError::Queues(_)
        | RegistryError::Publish(_)
        | _ => None,
    }
}

fn of_publish(error: &PublishError) -> Verdict {
    match error {
        PublishError::TooLarge { .. } => (Code::Usage, None),
        PublishError::Unsigned { .. } => {
            (Code::Unreachable, Some("its certificate must be in the org: let it use ORG_SENDERS"))
        }
        PublishError::Full { .. } => (Code::Refused, None),
        PublishError::NoStream { .. } => {
            (Code::Unreachable, Some("`sinew topology apply` makes the streams"))
        }
        PublishError::Unreachable { .. } => (Code::Unreachable, IS_IT_UP),
        PublishError::Unknown { .. } => (Code::Unknown, Some("the same command again is safe")),
        PublishError::TaskLog { .. }
        | PublishError::Header { .. }
        | PublishError::Conflict { .. }
        | PublishError::Refused { .. }
        | _ => (Code::Internal, None),
    }
}

fn of_request(error: &RequestError) -> Verdict {
    match error {
        RequestError::Unknown { .. } => (Code::Unreachable, IS_IT_UP),
        RequestError::NoResponders { .. } => {
            (Code::Unreachable, Some("nobody answers for JetStream there: `sinew doctor`"))
        }
        RequestError::Refused { .. }
        | RequestError::Unsendable { .. }
        | RequestError::Unreadable { .. }
        | _ => (Code::Internal, None),
    }
}

fn of_connect(error: &ConnectError) -> Verdict {
    match error {
        ConnectError::Address { .. } | ConnectError::Credentials { .. } => (Code::Usage, None),
        ConnectError::Tls { .. } => {
            (Code::Usage, Some("correct --tls-ca, or --tls-cert and --tls-key"))
        }
        ConnectError::NobodyTrusted => {
            (Code::Usage, Some("name who vouches for senders with --trust, or log in with --creds"))
        }
        ConnectError::Handshake { what, .. } => (Code::Unreachable, Some(of_handshake(*what))),
        ConnectError::Refused { .. } | ConnectError::Version { .. } | _ => {
            (Code::Unreachable, Some("is the backbone up? `sinew up` starts one"))
        }
    }
}

const fn of_handshake(what: Handshake) -> &'static str {
    match what {
        Handshake::OtherAuthority => "name the server's authority with --tls-ca",
        Handshake::Expired => {
            "renew the server's certificate (`sinew up --tls` does so), or set the clock"
        }
        Handshake::OtherName => "connect to a name that is in the server's certificate",
        Handshake::CertificateWanted | Handshake::CertificateRefused => {
            "show a certificate that the server knows, with --tls-cert and --tls-key"
        }
        Handshake::Plain => "leave --tls-ca away, or let the server encrypt",
        Handshake::Other | _ => "`sinew doctor` says more",
    }
}

fn of_start(error: &StartError) -> Verdict {
    match error {
        StartError::AlreadyRunning { .. } => {
            (Code::Refused, Some("that one serves already: run other commands, or stop it first"))
        }
        StartError::PortTaken { .. } => {
            (Code::Refused, Some("leave --port away, and a free one is taken"))
        }
        StartError::Folder { .. } => {
            (Code::Failed, Some("name a folder that you may write with --data-dir"))
        }
        StartError::LeftBehind { .. }
        | StartError::DiskFull { .. }
        | StartError::Context(_)
        | StartError::PortRefused { .. }
        | StartError::NoPort { .. }
        | StartError::Spawn { .. }
        | StartError::Ended { .. }
        | StartError::NotReady { .. }
        | StartError::Unwatched(_)
        | StartError::Thread(_)
        | StartError::GivenUp
        | _ => (Code::Failed, None),
    }
}

fn of_context(error: &ContextError) -> Verdict {
    match error {
        ContextError::Missing { .. } => (
            Code::Unreachable,
            Some("run `sinew up`, or name a server with --url or SINEW_URL, and --org"),
        ),
        ContextError::Unreadable { .. }
        | ContextError::Malformed { .. }
        | ContextError::Unwritable { .. }
        | _ => (Code::Usage, None),
    }
}

fn of_account(error: &AccountError) -> Verdict {
    match error {
        AccountError::Unknown { .. } => (Code::NotFound, Some("`sinew org list` shows the orgs")),
        AccountError::NoUser { .. } => {
            (Code::NotFound, Some("`sinew org list --json` shows who has credentials"))
        }
        AccountError::Exists { .. } => (Code::Refused, None),
        AccountError::Full => (Code::Refused, Some("remove one, or begin another data folder")),
        AccountError::File { .. } | AccountError::Malformed { .. } | AccountError::Sign(_) | _ => {
            (Code::Failed, None)
        }
    }
}

fn of_directory(error: &DirectoryError) -> Verdict {
    match error {
        DirectoryError::Connect(source) => of_connect(source),
        // It is written down already, and every start of the server tells it again.
        DirectoryError::Request(_) => {
            (Code::Unknown, Some("`sinew org list` shows what there is; `sinew up` tells it again"))
        }
        DirectoryError::Refused { .. } | _ => (Code::Refused, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_table_once() {
        for (at, (code, number, _)) in TABLE.into_iter().enumerate() {
            assert_eq!(code.number(), number);
            assert!(TABLE.iter().skip(at + 1).all(|other| other.1 != number), "{number} twice");
        }
    }

    #[test]
    fn the_outermost_known_cause_decides() {
        let id = "T1".parse().unwrap();
        let error = anyhow::Error::new(DelegateError::IdReused { id }).context("more");
        let (code, hint) = judge(&error);
        assert_eq!(code, Code::Refused);
        assert!(hint.unwrap().contains("take another"));
        let full = anyhow::Error::new(DelegateError::SchedulesFull { stored: 9 });
        assert_eq!(judge(&full).0, Code::Refused);
        let error = anyhow::Error::new(Fault::usage("x").hint("y"));
        assert_eq!(judge(&error), (Code::Usage, Some("y".to_owned())));
        assert_eq!(judge(&anyhow::anyhow!("what?")), (Code::Internal, None));
    }

    #[test]
    fn what_a_cause_repeats_is_said_once() {
        let refused = std::io::Error::other("refused");
        let error = anyhow::Error::new(refused).context("IO error: refused").context("no way");
        assert_eq!(told(&error), "no way: IO error: refused");
        assert_eq!(told(&anyhow::anyhow!("b").context("a")), "a: b");
    }

    #[test]
    fn a_read_without_an_answer_is_out_of_reach_and_not_unknown() {
        let after = std::time::Duration::ZERO;
        let source = RequestError::Unknown { subject: "x".into(), after };
        let error = HistoryError::Request { task: "T1".parse().unwrap(), source };
        assert_eq!(judge(&error.into()).0, Code::Unreachable);
        let error = EnsureError::NotMade { name: "AGENT_TASKS".to_owned() };
        let (code, hint) = judge(&error.into());
        assert_eq!(code, Code::Unreachable);
        assert!(hint.unwrap().contains("sinew up"));
    }
}
