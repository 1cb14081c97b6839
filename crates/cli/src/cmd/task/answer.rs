//! `sinew task answer`: answers the question of a blocked task.

use serde_json::{Value, json};
use sinew_agent::Client;

use super::words;
use crate::{args::Global, exit::Code, output::Out, target::Target, view};

/// Answer the question of a blocked task.
///
/// The task goes back onto its queue, and its next attempt is handed the answer. Where the question
/// offers choices, the answer is one of them. Ends with 4 where the task has no such question open,
/// or the answer is none of its choices.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew task answer t01983f \"the second one\"
  sinew task answer t01983f --input '{\"colours\": [\"red\", \"blue\"]}'")]
pub(crate) struct Args {
    /// The task: its id, or the beginning of one that only it has
    task: String,
    /// The answer, as a text
    #[arg(required_unless_present = "input", conflicts_with = "input")]
    answer: Option<String>,
    /// The answer as JSON, @FILE with JSON, or - for JSON on stdin
    #[arg(long, value_name = "JSON|@FILE|-")]
    input: Option<String>,
    /// The question that is meant; else whichever is open
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// Answers it.
///
/// # Errors
/// When there is no such task or question, or the answer is none of its choices.
pub(crate) async fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let answer = match (&args.answer, &args.input) {
        (Some(text), _) => Value::String(text.clone()),
        (None, Some(input)) => words::json("the answer", input)?,
        (None, None) => Value::Null,
    };
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    let id = view::resolve(&target, &bus, &args.task).await?;
    let client = Client::new(bus, target.role);
    client.answer(&id, args.key.as_deref(), answer.clone()).await?;
    out.either(&json!({ "taskId": id, "answer": answer }), format_args!("{id}  answered"))?;
    Ok(Code::Done)
}
