//! `sinew evidence`: the messages that were refused for their signature, and incidents.

use serde::{Deserialize, Serialize};
use sinew_bus::Topology;
use sinew_model::{evidence::Evidence, incident::Incident, stream::ORG_EVIDENCE};

use crate::{args::Global, exit::Code, output::Out, signals, target::Target, text};

/// Characters of a reason that a line shows.
const WIDE: usize = 200;

/// Show the messages that were refused for their signature, and incidents, the oldest first.
///
/// An incident is a user that was cut off because it sent so fast that others suffered. Each record
/// of a message says where it lay, what it claimed and why it was refused; with --json it
/// has the beginning of its body, in base64.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew evidence
  sinew evidence --follow --json")]
pub(crate) struct Args {
    /// Only what was found at this moment or later, as 2026-05-10T14:23:01Z
    #[arg(long, value_name = "TIME")]
    since: Option<sinew_model::Time>,
    /// Go on with what is found
    #[arg(long)]
    follow: bool,
}

/// What the stream holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Record {
    Message(Box<Evidence>),
    Incident(Box<Incident>),
}

/// Prints the records.
///
/// # Errors
/// When the stream can't be read.
pub(crate) async fn run(args: Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    let stop = signals::listen()?;
    Topology::standard(&bus).ensure_stream(&bus, ORG_EVIDENCE).await?;
    let filter = bus.subjects().all_records();
    let mut scan = bus.scan(ORG_EVIDENCE, filter.as_str(), 1).await?;
    if scan.pending() == 0 && !args.follow {
        out.note("no message was refused, and there was no incident");
    }
    while args.follow || scan.pending() > 0 {
        let message = tokio::select! {
            message = scan.next() => message?,
            () = stop.gently.cancelled() => break,
        };
        let Ok(record) = serde_json::from_slice::<Record>(&message.payload) else {
            out.note(format_args!("message {} is no record, and is passed over", message.seq));
            continue;
        };
        if args.since.is_none_or(|since| message.time >= since) {
            out.either(&record, line(&record))?;
        }
    }
    Ok(Code::Done)
}

fn line(record: &Record) -> String {
    let (at, what, place, claimed, reason) = match record {
        Record::Message(it) => {
            let claimed = it.claimed.as_ref().map_or("-", sinew_model::Role::as_str);
            (it.at, &it.verdict, format!("{}:{}", it.stream, it.seq), claimed, it.reason.clone())
        }
        Record::Incident(it) => {
            let who = it.user.as_deref().unwrap_or("somebody");
            let reason = format!("{who}: {} ({})", it.found, it.done);
            (it.at, &it.kind, "-".to_owned(), it.name.as_deref().unwrap_or("-"), reason)
        }
    };
    let (wide, at, reason) = (text::AT_WIDE, at.to_string(), text::short(&reason, WIDE));
    format!("{at:<wide$}  {what:<9}  {place:<16}  {claimed:<12}  {reason}")
}
