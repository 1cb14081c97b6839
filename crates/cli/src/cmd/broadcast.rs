//! `sinew broadcast`: messages to everybody, and who has acknowledged them.

use std::time::Duration;

use serde_json::json;
use sinew_agent::{Client, Message};
use sinew_bus::clock;
use sinew_model::{
    BroadcastId, Role,
    limits::WATCH_EVERY,
    mail::{Mail, Roll},
};

use crate::{
    args::Global,
    cmd::inbox,
    exit::{Code, Fault},
    output::Out,
    signals,
    target::Target,
    text::{self, moment},
};

/// Send messages to everybody, and see who has acknowledged them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Send(SendArgs),
    Ack(AckArgs),
    Status(StatusArgs),
    List(ListArgs),
}

/// Send a message to every role.
///
/// Each role finds it in its inbox, also one that sleeps now. With --ack-within it wants to be
/// acknowledged: by the roles that --expect names, else by all that are known now but the sender.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew broadcast send 'Freeze at noon'
  sinew broadcast send 'Freeze at noon' --ack-within 10m --expect cto,cfo")]
pub(crate) struct SendArgs {
    /// The text
    #[arg(value_name = "TEXT", required_unless_present = "body", conflicts_with = "body")]
    text: Option<String>,
    /// The message as JSON, @FILE, or - for stdin
    #[arg(long, value_name = "JSON|@FILE|-")]
    body: Option<String>,
    /// What it is
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Ask for acknowledgements within this span, as 10m, or until this moment
    #[arg(long, value_name = "SPAN|TIME")]
    ack_within: Option<String>,
    /// The roles that are to acknowledge it
    #[arg(long, value_name = "ROLE,...", value_delimiter = ',', requires = "ack_within")]
    expect: Vec<Role>,
    /// An id of your own: the same message under it is sent once
    #[arg(long, value_name = "ID")]
    id: Option<BroadcastId>,
    /// Inside a task: the name of this message among those that the task sends
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// Acknowledge a message to everybody, on behalf of a role.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew broadcast ack 0197f3d2 --role cto --note 'done by 11'")]
pub(crate) struct AckArgs {
    /// The id of the message, or the beginning of it
    #[arg(value_name = "ID")]
    id: String,
    /// What there is to say about it, in one line
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Show who has acknowledged a message to everybody, and who has not.
///
/// With --follow it waits until all have, or the deadline has passed; then the exit code is 1 if
/// somebody has not.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew broadcast status 0197f3d2
  sinew broadcast status 0197f3d2 --follow --json")]
pub(crate) struct StatusArgs {
    /// The id of the message, or the beginning of it
    #[arg(value_name = "ID")]
    id: String,
    /// Wait until it is final, and show each change
    #[arg(long)]
    follow: bool,
}

/// Show the messages to everybody, the oldest first.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew broadcast list")]
pub(crate) struct ListArgs {}

/// Runs the verb.
///
/// # Errors
/// Whatever went wrong.
pub(crate) async fn run(command: Command, global: &Global, out: Out) -> anyhow::Result<Code> {
    match command {
        Command::Send(args) => send(args, global, out).await,
        Command::Ack(args) => ack(&args, global, out).await,
        Command::Status(args) => status(&args, global, out).await,
        Command::List(_) => list(global, out).await,
    }
}

async fn send(args: SendArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let body = inbox::body(args.text.as_deref(), args.body.as_deref())?;
    let mut message = Message::to_everybody(body);
    if let Some(text) = &args.ack_within {
        let by = moment(text)?;
        if by <= clock::now() {
            return Err(Fault::usage(format!("{by} is over already")).into());
        }
        message = message.acknowledge_by(by).audience(args.expect);
    }
    let (client, key) = inbox::client_for(global, args.key, "send").await?;
    let id = args.id.map(String::from);
    let message = inbox::with(message, args.kind.as_ref(), key.as_ref(), id.as_ref());
    inbox::told(&client.send(message).await?, out)
}

async fn ack(args: &AckArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let client = Target::find(global)?.client().await?;
    let id = find(&client, &args.id).await?;
    let first = client.acknowledge(&id, args.note.as_deref()).await?;
    if out.is_json() {
        out.document(&json!({ "id": id, "role": client.role(), "first": first }))?;
    } else if !first {
        out.note(format_args!("{} had acknowledged it before", client.role()));
    }
    Ok(Code::Done)
}

async fn status(args: &StatusArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let client = Target::find(global)?.client().await?;
    let id = find(&client, &args.id).await?;
    let stop = signals::listen()?;
    let mut shown: Option<Roll> = None;
    loop {
        let (mail, roll) = client.acknowledgements(&id).await?;
        let is_final = roll.is_final();
        if shown.as_ref() != Some(&roll) {
            show(&mail, &roll, out)?;
        }
        if !args.follow {
            return Ok(Code::Done);
        }
        if is_final {
            return Ok(if roll.missing.is_empty() { Code::Done } else { Code::Failed });
        }
        shown = Some(roll);
        if mail.acknowledge_by.is_none() {
            return Ok(Code::Done);
        }
        tokio::select! {
            () = clock::pause(WATCH_EVERY.min(Duration::from_secs(1))) => {}
            () = stop.gently.cancelled() => return Ok(Code::Done),
        }
    }
}

fn show(mail: &Mail, roll: &Roll, out: Out) -> anyhow::Result<()> {
    if out.is_json() {
        return out.document(&json!({
            "id": mail.id, "from": mail.from, "at": mail.at, "acknowledgeBy": mail.acknowledge_by,
            "acknowledged": roll.acknowledged, "missing": roll.missing, "over": roll.over,
        }));
    }
    out.line(inbox::line(mail))?;
    let rows = roll.acknowledged.iter().map(|it| {
        let when = if it.late { "late" } else { "in time" };
        let note = text::short(it.note.as_deref().unwrap_or_default(), 60);
        vec![it.role.to_string(), when.to_owned(), it.at.to_string(), note]
    });
    let silent = if roll.over { "silent" } else { "waited for" };
    let missing = roll
        .missing
        .iter()
        .map(|role| vec![role.to_string(), silent.to_owned(), "-".to_owned(), String::new()]);
    out.line(text::table(&["ROLE", "STATE", "AT", "NOTE"], rows.chain(missing)))
}

async fn list(global: &Global, out: Out) -> anyhow::Result<Code> {
    let client = Target::find(global)?.client().await?;
    let all = client.broadcasts().await?;
    if all.is_empty() {
        out.note("nothing was sent to everybody");
    }
    for mail in all {
        out.either(&mail, format_args!("{}  [{}]", inbox::line(&mail), text::short(&mail.id, 64)))?;
    }
    Ok(Code::Done)
}

/// The message to everybody whose id is, or begins with, `id`.
async fn find(client: &Client, id: &str) -> anyhow::Result<BroadcastId> {
    let all = client.broadcasts().await?;
    let exact = all.iter().find(|mail| mail.id == id);
    let mut fitting = all.iter().filter(|mail| !id.is_empty() && mail.id.starts_with(id));
    let (first, another) = (fitting.next(), fitting.next());
    match (exact.or(first), exact.is_none() && another.is_some()) {
        (Some(mail), false) => Ok(mail.id.parse()?),
        (Some(_), true) => Err(Fault::usage(format!("several ids begin with {id:?}"))
            .hint("name more of it: `sinew broadcast list` shows them")
            .into()),
        (None, _) => Err(Fault::not_found(format!("there is no message to everybody {id:?}"))
            .hint("`sinew broadcast list` shows those that there are")
            .into()),
    }
}
