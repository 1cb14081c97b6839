//! `sinew task show`: the whole life of a task, from its log.

use serde_json::json;
use sinew_agent::body;
use sinew_bus::{Bus, History, Logged};
use sinew_model::{
    TaskId,
    task::{End, Phase, State},
};

use super::print::{after, describe, way_on};
use crate::{
    args::Global,
    exit::{Code, Fault},
    output::Out,
    target::Target,
    text, view,
};

/// Show the whole life of a task.
///
/// Prints every entry of its log, with the time since the task was created, and then its result.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew task show t01983f
  sinew task show t01983f --result > result.json")]
pub(crate) struct Args {
    /// The task: its id, or the beginning of one that only it has
    task: String,
    /// Print nothing but the whole result, wherever it lies
    #[arg(long)]
    result: bool,
}

/// Prints it.
///
/// # Errors
/// When there is no such task, or its log can't be read.
pub(crate) async fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    let id = view::resolve(&target, &bus, &args.task).await?;
    let history = bus.history(&id).await?;
    let Some(state) = &history.task.state else {
        // Its log was purged after it was archived; the view still has it.
        let life = view::open(&target, &bus).await?.show(id.clone()).await?;
        let life = life.ok_or_else(|| Fault::not_found(format!("there is no task {id}")))?;
        out.either(&life, serde_json::to_string_pretty(&life)?)?;
        return Ok(Code::Done);
    };
    if args.result {
        return print_result(&bus, state, out).await;
    }
    if out.is_json() {
        let entries: Vec<_> = history.entries.iter().map(document).collect();
        out.document(&json!({ "taskId": id, "state": state, "entries": entries }))?;
        return Ok(Code::Done);
    }
    let signed = signed(&bus, &history, state).await?;
    head(&id, state, &signed, out)?;
    parked(&id, state, out)?;
    out.line("")?;
    let begun = history.entries.first().map(|first| first.time);
    let wide = history.entries.iter().map(|logged| by(logged).len()).max().unwrap_or_default();
    for logged in &history.entries {
        let (entry, by) = (&logged.stored.entry, by(logged));
        let when = after(logged.time, begun.unwrap_or(logged.time));
        let void = logged.void.map(|void| format!("  [void: {void}]")).unwrap_or_default();
        let word = entry.change.transition().word();
        out.line(format_args!(
            "{when:>9}  {word:<9}  {by:<wide$}  {}{void}",
            describe(&entry.change)
        ))?;
    }
    match state.end() {
        Some(End::Completed { .. }) if state.result_ref.is_some() => {
            out.line(format_args!("\nthe whole result: `sinew task show {id} --result`"))?;
        }
        Some(End::Completed { result, .. }) => {
            out.line(format_args!("\n{}", text::result(result)))?;
        }
        Some(End::Failed { cause }) => out.line(format_args!("\n{}", text::clean(cause)))?,
        Some(End::Dead { cause, detail }) => {
            out.line(format_args!("\n{}: {}", cause.words(), text::clean(detail)))?;
        }
        Some(End::Cancelled { .. }) | None => {}
    }
    Ok(Code::Done)
}

/// Prints the whole result and nothing else.
async fn print_result(bus: &Bus, state: &State, out: Out) -> anyhow::Result<Code> {
    let Some(End::Completed { result, .. }) = state.end() else {
        let text = format!("the task has no result: it is {}", state.word());
        return Err(Fault::new(Code::Refused, text).into());
    };
    let whole = body::result(bus, state).await?;
    let result = whole.as_ref().unwrap_or(result);
    out.either(result, text::result(result))?;
    Ok(Code::Done)
}

/// Who wrote an entry.
fn by(logged: &Logged) -> String {
    let by = &logged.stored.entry.by;
    by.instance.as_ref().map_or_else(|| by.role.to_string(), ToString::to_string)
}

/// Who delegated it, by their signature; empty where nothing here is signed.
async fn signed(bus: &Bus, history: &History, state: &State) -> anyhow::Result<String> {
    let (Some(assignment), Some(first)) = (&state.assignment, history.entries.first()) else {
        return Ok(String::new());
    };
    let verdict = bus.verify_delegator(&first.verdict, assignment, first.time).await?;
    Ok(match verdict.sender() {
        Some(sender) => format!(", signed by {sender}"),
        None if bus.identity().verifies => ", not signed".to_owned(),
        None => String::new(),
    })
}

fn head(id: &TaskId, state: &State, signed: &str, out: Out) -> anyhow::Result<()> {
    out.line(format_args!("task      {id}"))?;
    if let Some(it) = &state.assignment {
        out.line(format_args!("title     {}", text::clean(&it.title)))?;
        out.line(format_args!("for       {} (from {}{signed})", it.role, it.delegator))?;
        if let Some(claim) = &it.input_ref {
            out.line(format_args!("input     {} bytes in {}", claim.bytes, claim.object))?;
        }
        if let Some(parent) = &it.parent {
            out.line(format_args!("child of  {parent}"))?;
        }
        out.line(format_args!("created   {} ({})", it.created_at, text::ago(it.created_at)))?;
    }
    let (word, attempts, failures) = (state.word(), state.attempts, state.failures);
    out.line(format_args!("stands    {word}; attempts: {attempts}, of which failed: {failures}"))?;
    if let Phase::Queued { queue_seq: None, not_before: Some(next) }
    | Phase::Released { retry_at: Some(next), .. } = &state.phase
    {
        out.line(format_args!("next try  {next}"))?;
    }
    if state.end().is_none() {
        out.line(format_args!("deadline  {}", state.due))?;
    }
    Ok(())
}

/// What it waits for, what was refused, and who accepted its result.
fn parked(id: &TaskId, state: &State, out: Out) -> anyhow::Result<()> {
    match &state.phase {
        Phase::Blocked { question, escalated_to, .. } => {
            let to = escalated_to.as_ref().unwrap_or(&question.to);
            out.line(format_args!("asks      {to}: {}", text::clean(&question.text)))?;
            out.line(format_args!("key       {}", text::clean(&question.key)))?;
            for choice in &question.choices {
                out.line(format_args!("choice    {}", text::clean(choice)))?;
            }
            if let (Some(at), None) = (question.escalate_at, escalated_to) {
                let other = state.assignment.as_ref().map(|it| it.escalates_to().as_str());
                out.line(format_args!("then      {} is asked at {at}", other.unwrap_or("-")))?;
            }
        }
        Phase::Waiting { on } => {
            for task in on {
                out.line(format_args!("waits for {task}"))?;
            }
        }
        Phase::Submitted { escalated_to: Some(to), .. } => {
            out.line(format_args!("judge     {to} is to decide"))?;
        }
        Phase::Submitted { .. } => {
            if let Some(task) = state.verification() {
                out.line(format_args!("judge     task {task}"))?;
            }
        }
        Phase::Ended { end: End::Completed { verified: Some(it), .. }, .. } => {
            let evidence = text::result(&it.evidence);
            let evidence = if evidence.is_empty() { evidence } else { format!(": {evidence}") };
            out.line(format_args!("accepted  by {}{evidence}", it.by))?;
        }
        Phase::Queued { .. }
        | Phase::Running { .. }
        | Phase::Released { .. }
        | Phase::Ready { .. }
        | Phase::Ended { .. } => {}
    }
    for it in &state.refusals {
        let reason = text::clean(&it.reason);
        out.line(format_args!("refused   attempt {} by {}: {reason}", it.attempt, it.by.role))?;
    }
    if let Some(way) = way_on(id, state) {
        out.line(format_args!("way on    {way}"))?;
    }
    Ok(())
}

fn document(logged: &Logged) -> serde_json::Value {
    let mut value = serde_json::to_value(&logged.stored.entry).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("seq".to_owned(), logged.stored.seq.into());
        fields.insert("storedAt".to_owned(), logged.time.to_string().into());
        if let Some(void) = logged.void {
            fields.insert("void".to_owned(), void.to_string().into());
        }
    }
    value
}
