//! `sinew inbox`: what was sent to a role. Reading changes nothing: nothing is taken away.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;
use sinew_bus::{Bus, RawMessage, RequestError, Topology};
use sinew_model::{
    Role,
    evidence::Refused,
    limits::INBOX_KNOWN,
    mail::Mail,
    signature::{Seen, Signature, Verdict},
    stream::AGENT_MAIL,
};

use crate::{args::Global, exit::Code, output::Out, signals, target::Target, text};

/// Characters of a message that a line shows.
const WIDE: usize = 100;

/// Read what was sent to a role.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Read(Args),
}

/// Print the messages of a role's inbox, the oldest first.
///
/// These are direct messages, and reports about the tasks that the role delegated. Reading takes
/// nothing away.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew inbox read
  sinew inbox read --role ceo --follow --json")]
pub(crate) struct Args {
    /// Only what came at this moment or later, as 2026-05-10T14:23:01Z
    #[arg(long, value_name = "TIME")]
    since: Option<sinew_model::Time>,
    /// Go on with what comes
    #[arg(long)]
    follow: bool,
}

/// Prints the messages.
///
/// # Errors
/// When the stream can't be read.
pub(crate) async fn run(command: Command, global: &Global, out: Out) -> anyhow::Result<Code> {
    let Command::Read(args) = command;
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    let stop = signals::listen()?;
    Topology::standard(&bus).ensure_stream(&bus, AGENT_MAIL).await?;
    let filter = bus.subjects().inbox(&target.role);
    let mut scan = bus.scan(AGENT_MAIL, filter.as_str(), 1).await?;
    if scan.pending() == 0 && !args.follow {
        out.note(format_args!("the inbox of {} is empty", target.role));
    }
    let mut known = BTreeSet::new();
    let (mut seen, mut refused) = (Seen::default(), Refused::default());
    while args.follow || scan.pending() > 0 {
        let message = tokio::select! {
            message = scan.next() => message?,
            () = stop.gently.cancelled() => break,
        };
        let Ok(mail) = serde_json::from_slice::<Mail>(&message.payload) else {
            out.note(format_args!("message {} is no mail, and is passed over", message.seq));
            continue;
        };
        let is_late = args.since.is_none_or(|since| message.time >= since);
        let verdict = judge(&bus, &mut seen, &message, &mail.from).await?;
        if !bus.takes(&verdict) {
            let found = (AGENT_MAIL, &message.received());
            bus.keep_evidence(found, &target.role, (&verdict, Some(&mail.from))).await;
            refused.count(&verdict);
            continue;
        }
        // A report may be sent again after a crash, always under the same id.
        if is_late && known.insert(mail.id.clone()) {
            let sender = verdict.sender().map(ToString::to_string);
            out.either(&Shown { mail: &mail, sender: sender.as_deref() }, line(&mail, &sender))?;
        }
        if known.len() > INBOX_KNOWN {
            known.pop_first();
        }
    }
    if refused.total() > 0 {
        let count = refused.total();
        out.note(format_args!("{count} messages were refused; `sinew evidence` shows them"));
    }
    Ok(Code::Done)
}

/// A message with who sent it, by its signature.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    mail: &'a Mail,
    sender: Option<&'a str>,
}

/// Who sent a message; one that is there twice was replayed.
async fn judge(
    bus: &Bus,
    seen: &mut Seen,
    message: &RawMessage,
    from: &Role,
) -> Result<Verdict, RequestError> {
    let received = message.received();
    let verdict = bus.verify(&received, Some(from)).await?;
    let signature = received.signature.and_then(|text| text.parse::<Signature>().ok());
    let (Some(signature), Some(_)) = (signature, verdict.sender()) else { return Ok(verdict) };
    let first = seen.is_first(&signature.proof, message.seq, message.time);
    Ok(if first { verdict } else { Verdict::Replayed })
}

fn line(mail: &Mail, sender: &Option<String>) -> String {
    let said = |field: &str| mail.body.get(field).filter(|value| !value.is_null());
    let asked = said("question").and_then(|question| question.get("text"));
    let text = ["message", "result", "cause", "reason", "text"].into_iter().find_map(said);
    let text = asked.or(text);
    let text = text.unwrap_or(&mail.body);
    let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
    let title = said("title").and_then(Value::as_str).map(|title| format!("{title}: "));
    let wide = text::AT_WIDE;
    let (at, kind) = (mail.at.to_string(), text::short(&mail.kind, WIDE));
    let from = from(&mail.from, sender.as_deref());
    let text = text::short(&format!("{}{text}", title.unwrap_or_default()), WIDE);
    format!("{at:<wide$}  {from:<12}  {kind:<15}  {text}")
}

/// The role that a message is from; where another user spoke for it, that one too.
fn from(role: &Role, sender: Option<&str>) -> String {
    match sender {
        Some(sender) if sender.strip_prefix("agent-") != Some(role.as_str()) => {
            format!("{role} (by {sender})")
        }
        Some(_) | None => role.to_string(),
    }
}
