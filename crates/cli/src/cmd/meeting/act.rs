//! What a role does in a meeting: come in, speak, propose, vote, lead, go.

use serde_json::{Value, json};
use sinew_agent::Meeting;
use sinew_model::{
    MeetingId, Role, TaskId,
    meeting::{ActionItem, Outcome, Vote},
};

use super::{meeting, print};
use crate::{
    args::Global,
    cmd::task,
    env,
    exit::{Code, Fault},
    output::Out,
};

/// Come in to a meeting, and read what was said before.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew meeting join m01983f --role cto")]
pub(crate) struct JoinArgs {
    /// The meeting
    id: MeetingId,
}

/// Leave a meeting.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew meeting leave m01983f --role cto")]
pub(crate) struct LeaveArgs {
    /// The meeting
    id: MeetingId,
}

/// Speak in a meeting, when it is your turn.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew meeting say m01983f \"The tests are green.\" --role qa
  cat report.md | sinew meeting say m01983f - --role qa")]
pub(crate) struct SayArgs {
    /// The meeting
    id: MeetingId,
    /// What to say, or - for what is on stdin; at most 64 KiB
    text: String,
    /// A word of your own: the same again under it is said once
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// Let your turn pass.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew meeting pass m01983f --role ops")]
pub(crate) struct PassArgs {
    /// The meeting
    id: MeetingId,
}

/// Give a member the floor for one speech; for the chair of a chair-led meeting.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew meeting give m01983f qa --role ceo")]
pub(crate) struct GiveArgs {
    /// The meeting
    id: MeetingId,
    /// Whom
    #[arg(value_name = "ROLE")]
    to: Role,
}

/// Pass over whoever has the turn; for the chair, and for anybody once their time is up.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew meeting skip m01983f --role ceo")]
pub(crate) struct SkipArgs {
    /// The meeting
    id: MeetingId,
}

/// Put something to the vote.
///
/// Prints the number of the proposal. What is to be done if it is approved becomes tasks when the
/// meeting closes.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew meeting propose m01983f \"Ship it today.\" --action \"ops=Deploy 2.0\" --role cto")]
pub(crate) struct ProposeArgs {
    /// The meeting
    id: MeetingId,
    /// What is proposed, or - for what is on stdin
    text: String,
    /// What is to be done, and by whom; as often as there are things to do
    #[arg(long, value_name = "ROLE=WHAT", value_parser = action)]
    action: Vec<ActionItem>,
    /// A word of your own: the same again under it is proposed once
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// Vote on a proposal: approve, reject, abstain or veto.
///
/// Each role has one vote. The last one that is needed decides.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew meeting vote m01983f 1 approve --role cto
  sinew meeting vote m01983f 1 veto --because \"The backup was not tested.\" --role qa")]
pub(crate) struct VoteArgs {
    /// The meeting
    id: MeetingId,
    /// The number of the proposal
    proposal: u32,
    /// How
    vote: Vote,
    /// Why; a veto needs it
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
}

/// Give somebody something to do after the meeting, without a vote; for the chair.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew meeting assign m01983f ops \"Write the release notes\" --role ceo")]
pub(crate) struct AssignArgs {
    /// The meeting
    id: MeetingId,
    /// Who is to do it
    #[arg(value_name = "ROLE")]
    to: Role,
    /// What, in one line
    what: String,
    /// What the worker needs besides: JSON, @FILE with JSON, or - for JSON on stdin
    #[arg(long, value_name = "JSON|@FILE|-")]
    details: Option<String>,
    /// A word of your own: the same again under it is given once
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// Take up the next item of the agenda; for the chair.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew meeting next m01983f --role ceo")]
pub(crate) struct NextArgs {
    /// The meeting
    id: MeetingId,
}

/// End a meeting, and make tasks of its action items; for the chair, or whoever opened it.
///
/// Votes that were cast are counted first; a proposal without enough of them lapses.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew meeting close m01983f --summary \"We ship on Monday.\" --role ceo")]
pub(crate) struct CloseArgs {
    /// The meeting
    id: MeetingId,
    /// What there is to say about it, or - for what is on stdin
    #[arg(long, value_name = "TEXT")]
    summary: Option<String>,
}

/// Comes in.
///
/// # Errors
/// Whatever the meeting says, as with all that follows.
pub(crate) async fn join(args: &JoinArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let mut it = meeting(global, &args.id).await?;
    it.join().await?;
    it.refresh().await?;
    let minutes = it.minutes().await?;
    if !out.is_json() {
        out.line(minutes.as_ref().map(|it| it.markdown()).unwrap_or_default().trim_end())?;
    }
    told(&it, &json!({ "joined": true, "minutes": minutes }), "", out).await
}

/// Goes.
pub(crate) async fn leave(args: &LeaveArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let mut it = meeting(global, &args.id).await?;
    it.leave().await?;
    told(&it, &json!({ "left": true }), "", out).await
}

/// Speaks.
pub(crate) async fn say(args: &SayArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let text = task::read_text("the speech", &args.text)?;
    let mut it = keyed(meeting(global, &args.id).await?, args.key.as_ref())?;
    it.say(text).await?;
    told(&it, &json!({ "said": true }), "", out).await
}

/// Lets the turn pass.
pub(crate) async fn pass(args: &PassArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let mut it = meeting(global, &args.id).await?;
    it.pass().await?;
    told(&it, &json!({ "passed": true }), "", out).await
}

/// Gives the floor.
pub(crate) async fn give(args: GiveArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let mut it = meeting(global, &args.id).await?;
    it.give(args.to.clone()).await?;
    told(&it, &json!({ "given": args.to }), "", out).await
}

/// Passes over whoever has the turn.
pub(crate) async fn skip(args: &SkipArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let mut it = meeting(global, &args.id).await?;
    it.skip().await?;
    told(&it, &json!({ "skipped": true }), "", out).await
}

/// Puts something to the vote.
pub(crate) async fn propose(args: ProposeArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let text = task::read_text("the proposal", &args.text)?;
    let mut it = keyed(meeting(global, &args.id).await?, args.key.as_ref())?;
    let number = it.propose(text, args.action).await?;
    told(&it, &json!({ "proposal": number }), &number.to_string(), out).await
}

/// Votes.
pub(crate) async fn vote(args: VoteArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let mut it = meeting(global, &args.id).await?;
    let outcome = it.vote(args.proposal, args.vote, args.because).await?;
    let document = json!({ "proposal": args.proposal, "vote": args.vote, "outcome": outcome });
    let number = args.proposal;
    let decided = outcome.map(Outcome::word).map(|word| format!("proposal {number} is {word}"));
    told(&it, &document, &decided.unwrap_or_default(), out).await
}

/// Gives somebody something to do.
pub(crate) async fn assign(args: AssignArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let details = args.details.as_deref().map(|it| task::read_json("the details", it));
    let details = details.transpose()?.unwrap_or_default();
    let mut it = keyed(meeting(global, &args.id).await?, args.key.as_ref())?;
    let number = it.assign(ActionItem { assignee: args.to, action: args.what, details }).await?;
    told(&it, &json!({ "actionItem": number }), &number.to_string(), out).await
}

/// Takes up the next item.
pub(crate) async fn next(args: &NextArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let mut it = meeting(global, &args.id).await?;
    let item = it.next().await?;
    told(&it, &json!({ "item": item }), "", out).await
}

/// Ends it.
pub(crate) async fn close(args: CloseArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let summary = args.summary.map(|it| task::read_text("the summary", &it)).transpose()?;
    let mut it = meeting(global, &args.id).await?;
    it.close(summary).await?;
    let tasks: Vec<&TaskId> = it
        .state()
        .map(|state| state.actions.iter().filter_map(|it| it.task_id.as_ref()).collect())
        .unwrap_or_default();
    let lines: Vec<&str> = tasks.iter().map(|id| id.as_str()).collect();
    told(&it, &json!({ "closed": true, "tasks": tasks }), &lines.join("\n"), out).await
}

/// Prints what was done as data, and says on stderr what the meeting waits for now.
async fn told(it: &Meeting, document: &Value, line: &str, out: Out) -> anyhow::Result<Code> {
    let now = it.now().await?;
    let waits = it.state().map(|state| print::waits_for(state, now)).unwrap_or_default();
    if out.is_json() {
        let mut document = document.clone();
        if let Some(fields) = document.as_object_mut() {
            fields.insert("meetingId".to_owned(), json!(it.id()));
            fields.insert("state".to_owned(), json!(it.state().map(|state| state.word(now))));
            fields.insert("holder".to_owned(), json!(it.state().and_then(|state| state.holder())));
        }
        out.document(&document)?;
        return Ok(Code::Done);
    }
    if !line.is_empty() {
        out.line(line)?;
    }
    out.note(waits);
    Ok(Code::Done)
}

/// The key that was given; inside a task that a program works on, the number of this call among
/// those of the task's attempt, so that the next attempt does not say everything again.
fn keyed(it: Meeting, key: Option<&String>) -> Result<Meeting, Fault> {
    let task: Option<TaskId> = env::parsed(env::TASK_ID)?;
    match (key, task) {
        (Some(key), _) => Ok(it.key(key)),
        (None, Some(task)) => Ok(it.key(format!("{task}:{}", task::ordinal("meeting")?))),
        (None, None) => Ok(it),
    }
}

fn action(text: &str) -> Result<ActionItem, String> {
    let (role, what) = text.split_once('=').ok_or("it must be ROLE=WHAT, as ops=Deploy 2.0")?;
    let assignee = role.trim().parse().map_err(|error: sinew_model::IdError| error.to_string())?;
    Ok(ActionItem { assignee, action: what.trim().to_owned(), details: Value::Null })
}
