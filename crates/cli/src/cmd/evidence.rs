//! `sinew evidence`: the messages that were refused for their signature.

use sinew_bus::Topology;
use sinew_model::{evidence::Evidence, stream::ORG_EVIDENCE};

use crate::{args::Global, exit::Code, output::Out, signals, target::Target, text};

/// Characters of a reason that a line shows.
const WIDE: usize = 100;

/// Show the messages that were refused for their signature, the oldest first.
///
/// Each record says where the message lay, what it claimed and why it was refused; with --json it
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

/// Prints the records.
///
/// # Errors
/// When the stream can't be read.
pub(crate) async fn run(args: Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    let stop = signals::listen()?;
    Topology::standard(&bus).ensure_stream(&bus, ORG_EVIDENCE).await?;
    let filter = bus.subjects().all_evidence();
    let mut scan = bus.scan(ORG_EVIDENCE, filter.as_str(), 1).await?;
    if scan.pending() == 0 && !args.follow {
        out.note("no message was refused");
    }
    while args.follow || scan.pending() > 0 {
        let message = tokio::select! {
            message = scan.next() => message?,
            () = stop.gently.cancelled() => break,
        };
        let Ok(record) = serde_json::from_slice::<Evidence>(&message.payload) else {
            out.note(format_args!("message {} is no record, and is passed over", message.seq));
            continue;
        };
        if args.since.is_none_or(|since| message.time >= since) {
            out.either(&record, line(&record))?;
        }
    }
    Ok(Code::Done)
}

fn line(it: &Evidence) -> String {
    let wide = text::AT_WIDE;
    let (at, place) = (it.at.to_string(), format!("{}:{}", it.stream, it.seq));
    let claimed = it.claimed.as_ref().map_or("-", sinew_model::Role::as_str);
    let reason = text::short(&it.reason, WIDE);
    format!("{at:<wide$}  {:<9}  {place:<16}  {claimed:<12}  {reason}", it.verdict)
}
