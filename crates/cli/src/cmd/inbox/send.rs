//! `sinew inbox send` and `reply`.

use serde_json::{Value, json};
use sinew_agent::{Client, Message, Sent};
use sinew_model::{Band, Role, TaskId, mail::Mail};

use crate::{
    args::Global,
    cmd::{inbox::with, task},
    env,
    exit::{Code, Fault},
    output::Out,
    target::Target,
};

/// Send a message to a role.
///
/// It is stored when this returns, whether or not an agent of the role is awake. Inside a program
/// that `agent run` started, it is sent once however often the task is tried.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew inbox send cto 'The build is red' --priority urgent
  sinew inbox send cto --body '{\"build\":17}' --type build.failed --thread build-17")]
pub(crate) struct SendArgs {
    /// The role
    #[arg(value_name = "ROLE")]
    to: Role,
    #[command(flatten)]
    what: What,
    /// Which messages it is read before: urgent, normal or low
    #[arg(long, value_name = "WORD", default_value = "normal")]
    priority: Band,
    /// The thread that it belongs to
    #[arg(long, value_name = "ID")]
    thread: Option<String>,
    /// Another role that answers go to
    #[arg(long, value_name = "ROLE")]
    reply_to: Option<Role>,
}

/// Answer a message: the answer goes to its sender, or where the message wants it, and stays in
/// its thread.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew inbox reply 0197f3d2 'Fixed' --role cto")]
pub(crate) struct ReplyArgs {
    /// The id of the message, or the beginning of it
    #[arg(value_name = "ID")]
    to: String,
    #[command(flatten)]
    what: What,
}

/// What is said.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct What {
    /// The text
    #[arg(value_name = "TEXT", required_unless_present = "body", conflicts_with = "body")]
    text: Option<String>,
    /// The message as JSON, @FILE, or - for stdin
    #[arg(long, value_name = "JSON|@FILE|-")]
    body: Option<String>,
    /// What it is
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// An id of your own: the same message under it is sent once
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Inside a task: the name of this message among those that the task sends
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// Sends.
///
/// # Errors
/// When it was not sent, or it is not known.
pub(super) async fn send(args: SendArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let body = body(args.what.text.as_deref(), args.what.body.as_deref())?;
    let mut message = Message::new(args.to, body).priority(args.priority);
    if let Some(thread) = args.thread {
        message = message.thread(thread);
    }
    if let Some(role) = args.reply_to {
        message = message.reply_to(role);
    }
    deliver(message, &args.what, global, out).await
}

/// Answers.
///
/// # Errors
/// When there is no such message, or the answer was not sent.
pub(super) async fn reply(args: ReplyArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let body = body(args.what.text.as_deref(), args.what.body.as_deref())?;
    let client = Target::find(global)?.client().await?;
    let mail = find(&client, &args.to).await?;
    deliver(Message::reply(&mail, body), &args.what, global, out).await
}

async fn deliver(message: Message, what: &What, global: &Global, out: Out) -> anyhow::Result<Code> {
    let (client, key) = client_for(global, what.key.clone(), "send").await?;
    let message = with(message, what.kind.as_ref(), key.as_ref(), what.id.as_ref());
    told(&client.send(message).await?, out)
}

/// Says what was sent.
///
/// # Errors
/// When stdout does not take it.
pub(crate) fn told(sent: &Sent, out: Out) -> anyhow::Result<Code> {
    out.either(&json!({ "id": sent.id, "existed": sent.existed }), &sent.id)?;
    Ok(Code::Done)
}

/// A client that acts for the task that the environment names, with the key of this call; else one
/// for the role.
///
/// # Errors
/// When the environment makes no sense, or there is no such task.
pub(crate) async fn client_for(
    global: &Global,
    key: Option<String>,
    kind: &str,
) -> anyhow::Result<(Client, Option<String>)> {
    let task: Option<TaskId> = env::parsed(env::TASK_ID)?;
    let target = Target::find(global)?;
    let Some(task) = task else { return Ok((target.client().await?, None)) };
    let attempt = env::parsed(env::ATTEMPT)?.unwrap_or_default();
    let key = key.map_or_else(|| task::ordinal(kind), Ok)?;
    let bus = target.connect().await?;
    Ok((Client::acting(bus, target.role, task, attempt).await?, Some(key)))
}

/// What is said: a text becomes an object with the field `text`.
///
/// # Errors
/// When the body is no JSON.
pub(crate) fn body(text: Option<&str>, body: Option<&str>) -> Result<Value, Fault> {
    match (text, body) {
        (_, Some(body)) => task::read_json("the body", body),
        (Some(text), None) => Ok(json!({ "text": text })),
        (None, None) => Err(Fault::usage("there is nothing to say")),
    }
}

/// The message of the role's inbox whose id is, or begins with, `id`.
async fn find(client: &Client, id: &str) -> anyhow::Result<Mail> {
    let mut past = client.inbox().history().await?;
    let mut found: Vec<Mail> = Vec::new();
    while let Some(kept) = past.next_kept().await? {
        match kept.mail {
            Ok(mail) if mail.id == id => return Ok(mail),
            Ok(mail) if !id.is_empty() && mail.id.starts_with(id) => found.push(mail),
            Ok(_) | Err(_) => {}
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some(mail), true) => Ok(mail),
        (Some(_), false) => Err(Fault::usage(format!("several ids begin with {id:?}"))
            .hint("name more of it: `sinew inbox history --json` shows the ids")
            .into()),
        (None, _) => Err(Fault::not_found(format!(
            "there is no message {id:?} in the inbox of {}",
            client.role()
        ))
        .hint("`sinew inbox history` shows those that there are; --role says whose")
        .into()),
    }
}
