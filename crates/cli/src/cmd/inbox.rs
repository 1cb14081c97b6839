//! `sinew inbox`: messages to a role: send, read, answer, ack, count, and all that there were.

mod history;
mod read;
mod send;

use clap::builder::NonEmptyStringValueParser;
use serde::Serialize;
use serde_json::{Value, json};
use sinew_agent::Message;
use sinew_model::{mail::Mail, signature::Verdict};

use crate::{args::Global, exit::Code, output::Out, target::Target, text};

pub(crate) use send::{body, client_for, told};

/// Characters of a message that a line shows.
const WIDE: usize = 100;

/// Send messages to roles, and read those of one.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Send(send::SendArgs),
    Reply(send::ReplyArgs),
    Read(read::Args),
    Ack(AckArgs),
    Unread(UnreadArgs),
    History(history::Args),
}

/// Say that a message is handled: nobody of the role gets it again.
///
/// It is for messages that `inbox read --no-ack` handed out. One that nobody acks is handed out
/// again 5 minutes after it was.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew inbox ack 0197f3d2 --role cto")]
pub(crate) struct AckArgs {
    /// The ids of the messages
    #[arg(required = true, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    ids: Vec<String>,
}

/// Count the messages of a role that nobody has read.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew inbox unread --role cto --json")]
pub(crate) struct UnreadArgs {}

/// Runs the verb.
///
/// # Errors
/// Whatever went wrong.
pub(crate) async fn run(command: Command, global: &Global, out: Out) -> anyhow::Result<Code> {
    match command {
        Command::Send(args) => send::send(args, global, out).await,
        Command::Reply(args) => send::reply(args, global, out).await,
        Command::Read(args) => read::run(&args, global, out).await,
        Command::Ack(args) => ack(&args, global, out).await,
        Command::Unread(_) => unread(global, out).await,
        Command::History(args) => history::run(&args, global, out).await,
    }
}

async fn ack(args: &AckArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let client = Target::find(global)?.client().await?;
    for id in &args.ids {
        client.inbox().ack(id).await?;
        if out.is_json() {
            out.document(&json!({ "acked": id }))?;
        }
    }
    Ok(Code::Done)
}

async fn unread(global: &Global, out: Out) -> anyhow::Result<Code> {
    let client = Target::find(global)?.client().await?;
    let it = client.inbox().unread().await?;
    let document = json!({
        "role": client.role(), "urgent": it.urgent, "normal": it.normal, "low": it.low,
        "open": it.open, "total": it.total(),
    });
    let (waiting, open) = (it.total() - it.open, it.open);
    let (urgent, low) = (it.urgent, it.low);
    out.either(
        &document,
        format_args!("{waiting} unread ({urgent} urgent, {low} low), {open} read and not acked"),
    )?;
    Ok(Code::Done)
}

/// A message with who sent it, by its signature.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    pub(crate) mail: Mail,
    sender: Option<String>,
}

impl Shown {
    /// The message, and what is known of its sender.
    pub(crate) fn of(mail: &Mail, verdict: &Verdict) -> Self {
        Self { mail: mail.clone(), sender: verdict.sender().map(ToString::to_string) }
    }

    /// The role that it is from; where another user spoke for it, that one too.
    fn from(&self) -> String {
        let role = &self.mail.from;
        match &self.sender {
            Some(sender) if sender.strip_prefix("agent-") != Some(role.as_str()) => {
                format!("{role} (by {sender})")
            }
            Some(_) | None => role.to_string(),
        }
    }
}

/// A message as one line.
pub(crate) fn line(mail: &Mail) -> String {
    line_from(mail, mail.from.as_str())
}

fn line_from(mail: &Mail, from: &str) -> String {
    let said = |field: &str| mail.body.get(field).filter(|value| !value.is_null());
    let asked = said("question").and_then(|question| question.get("text"));
    let text = ["message", "result", "cause", "reason", "text"].into_iter().find_map(said);
    let text = asked.or(text);
    let text = text.unwrap_or(&mail.body);
    let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
    let title = said("title").and_then(Value::as_str).map(|title| format!("{title}: "));
    let wide = text::AT_WIDE;
    let (at, kind) = (mail.at.to_string(), text::short(&mail.kind, WIDE));
    let text = text::short(&format!("{}{text}", title.unwrap_or_default()), WIDE);
    format!("{at:<wide$}  {from:<12}  {kind:<15}  {text}")
}

/// A message with its id, for whoever is to answer or ack it.
fn line_with_id(it: &Shown) -> String {
    let line = line_from(&it.mail, &it.from());
    format!("{line}  [{}]", text::short(&it.mail.id, WIDE))
}

/// What all ways of sending have in common.
pub(crate) fn with(
    message: Message,
    kind: Option<&String>,
    key: Option<&String>,
    id: Option<&String>,
) -> Message {
    let mut message = message;
    if let Some(kind) = kind {
        message = message.kind(kind);
    }
    if let Some(key) = key {
        message = message.key(key);
    }
    if let Some(id) = id {
        message = message.id(id);
    }
    message
}
