//! `sinew task questions`: what tasks wait to be told by somebody.

use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use sinew_agent::Client;
use sinew_model::{
    Role, TaskId, Time,
    limits::{TASKS_READ_AT_ONCE, VIEW_ROWS},
    task::{Phase, Question, RefusedResult, State},
};
use sinew_views::task::Filter;

use super::print::way_on;
use crate::{
    args::Global,
    exit::Code,
    output::Out,
    target::Target,
    text::{self, number_to},
    view,
};

/// Show what tasks wait to be told: open questions, and results that a person is to judge.
///
/// For each it prints who is asked, the question with the answers that it offers, and the command
/// that answers it.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew task questions
  sinew task questions --to ceo --json")]
pub(crate) struct Args {
    /// Those that this role is asked
    #[arg(long, value_name = "ROLE")]
    to: Option<Role>,
    /// Look at so many of the newest tasks that wait for somebody
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = number_to::<VIEW_ROWS>)]
    limit: usize,
}

/// What a task waits to be told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    task_id: TaskId,
    title: String,
    /// The role that works on it.
    role: Role,
    /// The role that is asked now.
    to: Role,
    since: Time,
    /// The question; absent where it is a verdict that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<Question>,
    /// Why earlier results were refused, where it is a verdict that is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refusals: Vec<RefusedResult>,
    /// The command that goes on.
    how: String,
}

/// Prints them.
///
/// # Errors
/// When the backbone or the view can't be read.
pub(crate) async fn run(args: Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    let phases = vec!["blocked".to_owned(), "submitted".to_owned()];
    let filter = Filter { phases, limit: Some(args.limit), ..Filter::default() };
    let page = view::open(&target, &bus).await?.list(filter).await?;
    let client = Client::new(bus, target.role);
    let reading = futures::stream::iter(page.tasks.iter().map(|row| client.state(&row.task_id)));
    let states: Vec<Option<State>> = reading.buffered(TASKS_READ_AT_ONCE).try_collect().await?;
    let open: Vec<Open> = states
        .iter()
        .flatten()
        .filter_map(open)
        .filter(|open| args.to.as_ref().is_none_or(|to| *to == open.to))
        .collect();
    if out.is_json() {
        out.document(&open)?;
    } else if open.is_empty() {
        out.note("no open questions");
    }
    for it in open.iter().filter(|_| !out.is_json()) {
        out.line(format_args!("{}  {} ({})", it.task_id, text::clean(&it.title), it.role))?;
        let said = match (&it.question, it.refusals.last()) {
            (Some(question), _) => question.text.clone(),
            (None, Some(refusal)) => format!("its result was refused: {}", refusal.reason),
            (None, None) => "its result was not judged".to_owned(),
        };
        out.line(format_args!(
            "  asks {}, {}: {}",
            it.to,
            text::ago(it.since),
            text::clean(&said)
        ))?;
        out.line(format_args!("  {}\n", it.how))?;
    }
    if page.next.is_some() {
        out.note("older tasks were not looked at: raise --limit");
    }
    Ok(Code::Done)
}

/// What the task waits to be told by somebody, if it does.
fn open(state: &State) -> Option<Open> {
    let assignment = state.assignment.as_deref()?;
    let (to, question, refusals) = match &state.phase {
        Phase::Blocked { question, escalated_to, .. } => {
            let question = Question::clone(question);
            (escalated_to.as_ref().unwrap_or(&question.to).clone(), Some(question), Vec::new())
        }
        Phase::Submitted { escalated_to: Some(to), .. } => {
            (to.clone(), None, state.refusals.clone())
        }
        Phase::Queued { .. }
        | Phase::Running { .. }
        | Phase::Released { .. }
        | Phase::Waiting { .. }
        | Phase::Submitted { .. }
        | Phase::Ready { .. }
        | Phase::Ended { .. } => return None,
    };
    Some(Open {
        task_id: assignment.task_id.clone(),
        title: assignment.title.clone(),
        role: assignment.role.clone(),
        to,
        since: state.last_at,
        question,
        refusals,
        how: way_on(&assignment.task_id, state)?,
    })
}
