//! `sinew schedule add`: makes a task recur.

use std::time::Duration;

use serde_json::json;
use sinew_model::{
    Band, Role, ScheduleName,
    schedule::{Definition, Overlap, Timing},
};

use crate::{
    args::Global,
    cmd::task::read_json,
    exit::{Code, Fault},
    output::Out,
    text::{given_span, moment},
};

/// Make a task recur.
///
/// Each time it fires, a task is delegated as by `sinew task delegate`, under an id made from the
/// name and the moment: `nightly-20260510T020000Z`. It fires while a controller is there, that of
/// `sinew up`; what was missed meanwhile is made up for by one firing. The same again changes
/// nothing; another one under the same name is refused.
#[derive(Clone, Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("when").required(true),
    after_long_help = "Examples:
  sinew schedule add pulse qa \"Check that the site answers\" --every 5m
  sinew schedule add nightly cto \"Read the logs of the day\" --cron \"0 2 * * *\" --time-zone Europe/Berlin
  sinew schedule add standup ceo \"Ask everybody\" --cron \"30 9 * * MON-FRI\" --until 2026-12-31T00:00:00Z"
)]
pub(crate) struct Args {
    /// A name for it: small letters, digits, - and _, at most 40
    name: ScheduleName,
    /// The role that is to do it
    #[arg(value_name = "ROLE")]
    to: Role,
    /// What it is, in one line
    title: String,
    /// Again and again after so long, as 90s, 15m, 6h or 1d
    #[arg(long, value_name = "SPAN", value_parser = given_span, group = "when")]
    every: Option<Duration>,
    /// At these moments: minute, hour, day of month, month, day of week
    #[arg(long, value_name = "EXPRESSION", group = "when")]
    cron: Option<String>,
    /// The time zone by which --cron is told, as Europe/Berlin; UTC if not said
    #[arg(long, value_name = "ZONE", conflicts_with = "every")]
    time_zone: Option<String>,
    /// What the agent needs: JSON, @FILE with JSON, or - for JSON on stdin
    #[arg(long, value_name = "JSON|@FILE|-")]
    input: Option<String>,
    /// Which tasks of the role come first: urgent, normal or low
    #[arg(long, value_name = "BAND", default_value = "normal")]
    priority: Band,
    /// When it fires and its last task has not ended: leave it out, or let both go on
    #[arg(long, value_name = "WHICH", default_value = "skip", value_parser = ["skip", "allow"])]
    overlap: String,
    /// It does not fire after this: a moment, or a span from now on as 30d
    #[arg(long, value_name = "T")]
    until: Option<String>,
    /// So many firings and no more
    #[arg(long, value_name = "N")]
    max_runs: Option<u32>,
}

/// Adds it.
///
/// # Errors
/// When it is not acceptable, or the backbone does not take it.
pub(crate) async fn run(args: Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let definition = definition(args)?;
    let added = super::open(global).await?.add(definition).await?;
    let it = &added.schedule;
    let document = json!({ "schedule": it, "existed": added.existed });
    out.either(&document, format_args!("{} {}", it.name(), super::coming(it)))?;
    if added.existed && !out.is_json() {
        out.note("it was there before; nothing was changed");
    }
    Ok(Code::Done)
}

fn definition(args: Args) -> Result<Definition, Fault> {
    let timing = match (args.every, args.cron) {
        (Some(span), None) if span.subsec_nanos() == 0 => Timing::Every { seconds: span.as_secs() },
        (None, Some(expression)) => {
            let time_zone = args.time_zone.unwrap_or_else(|| "UTC".to_owned());
            Timing::Cron { expression, time_zone }
        }
        _ => return Err(Fault::usage("say either --every, in whole seconds, or --cron")),
    };
    let input = args.input.as_deref().map(|input| read_json("the input", input)).transpose()?;
    let overlap = if args.overlap == "allow" { Overlap::Allow } else { Overlap::Skip };
    Ok(Definition {
        name: args.name,
        role: args.to,
        title: args.title,
        input: input.unwrap_or_default(),
        priority: args.priority,
        timing,
        overlap,
        until: args.until.as_deref().map(moment).transpose()?,
        max_runs: args.max_runs,
    })
}
