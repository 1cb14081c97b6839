//! `sinew task retry`: brings dead tasks back to life.

use clap::builder::PossibleValuesParser;
use serde_json::json;
use sinew_agent::{AdvanceError, Client};
use sinew_model::{
    Role, TaskId,
    limits::{REVIVED_TASKS, VIEW_ROWS},
    task::{DeadCause, Refusal},
};
use sinew_views::{Store, task::Filter};

use crate::{args::Global, exit, exit::Code, output::Out, target::Target, view};

/// Bring dead tasks back to life.
///
/// Each goes back onto its queue, with its attempts counted anew and at least 7 days of time; one
/// that comes after others waits for those again. Prints what became of each. With --all it is those
/// that are dead now, the newest first and at most 1000; run it again for the rest. Ends with 4
/// where one of the tasks could not be revived, as one that is not dead, and with 6 where that is
/// not known.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew task retry t01983f
  sinew task retry --all --for cto --cause attemptsExhausted")]
pub(crate) struct Args {
    /// The tasks: their ids, or the beginnings of ones that only they have
    #[arg(value_name = "TASK", required_unless_present = "all", conflicts_with = "all")]
    tasks: Vec<String>,
    /// All that are dead
    #[arg(long)]
    all: bool,
    /// With --all: those of this role
    #[arg(long = "for", value_name = "ROLE", requires = "all")]
    of: Option<Role>,
    /// With --all: those that died of this
    #[arg(long, requires = "all", value_parser = PossibleValuesParser::new(CAUSES))]
    cause: Option<String>,
}

/// What a task may die of and be revived from: what can't be decoded stays dead.
const CAUSES: [&str; 5] =
    ["attemptsExhausted", "startsExhausted", "deadlinePassed", "lost", "dependencyFailed"];

/// Revives them.
///
/// # Errors
/// When a task is not found, or the backbone can't be read.
pub(crate) async fn run(args: Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    let (tasks, more) = if args.all {
        dead(&view::open(&target, &bus).await?, &args).await?
    } else {
        let mut tasks = Vec::with_capacity(args.tasks.len());
        for text in &args.tasks {
            tasks.push(view::resolve(&target, &bus, text).await?);
        }
        (tasks, false)
    };
    let client = Client::new(bus, target.role);
    let (mut code, mut told) = (Code::Done, Vec::new());
    for id in &tasks {
        let (word, why) = match client.retry(id).await {
            Ok(()) => ("revived", None),
            // Somebody else revived it since the list was made.
            Err(error) if args.all && error.refusal() == Some(&Refusal::NotDead) => {
                ("not dead", None)
            }
            Err(error) => {
                let word = if error.refusal().is_some() { "refused" } else { "unknown" };
                code = worse(code, &error);
                (word, Some(exit::told(&error.into())))
            }
        };
        if out.is_json() {
            told.push(json!({ "taskId": id, "outcome": word, "why": why }));
        } else {
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            out.line(format_args!("{id}  {word}{why}"))?;
        }
    }
    if out.is_json() {
        out.document(&json!({ "tasks": told, "more": more }))?;
    } else if tasks.is_empty() {
        out.note("no such task is dead");
    } else if more {
        out.note("there are more: run it again");
    }
    Ok(code)
}

fn worse(code: Code, error: &AdvanceError) -> Code {
    match (code, error.refusal()) {
        (Code::Unknown, _) | (_, None) => Code::Unknown,
        (_, Some(_)) => Code::Refused,
    }
}

/// The dead tasks that are meant, and whether there are more.
async fn dead(view: &Store, args: &Args) -> anyhow::Result<(Vec<TaskId>, bool)> {
    let (mut tasks, mut after) = (Vec::new(), None);
    loop {
        let filter = Filter {
            role: args.of.clone(),
            phases: vec!["dead".to_owned()],
            limit: Some(VIEW_ROWS),
            after,
            ..Filter::default()
        };
        let page = view.list(filter).await?;
        for row in page.tasks {
            let is_meant = match (row.dead, &args.cause) {
                (None | Some(DeadCause::Undecodable), _) => false,
                (Some(_), None) => true,
                (Some(cause), Some(word)) => serde_json::to_value(cause)? == word.as_str(),
            };
            if is_meant && tasks.len() >= REVIVED_TASKS {
                return Ok((tasks, true));
            }
            if is_meant {
                tasks.push(row.task_id);
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok((tasks, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_causes_are_the_words_of_the_log() {
        for cause in CAUSES {
            let read: Result<DeadCause, _> = serde_json::from_value(cause.into());
            assert!(read.is_ok(), "{cause}");
        }
    }
}
