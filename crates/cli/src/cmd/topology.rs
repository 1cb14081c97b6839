//! `sinew topology`: the streams of the org, what they are to be and what they are.

use std::path::{Path, PathBuf};

use sinew_bus::{
    Topology,
    ensure::{Change, Consent, Difference, Outcome, StreamState},
};
use sinew_model::stream::{Discard, Retention, Storage};

use crate::{args::Global, cmd::up, exit::Code, output::Out, target::Target, text};

/// The streams of the org: what they are to be, and are.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Print the streams as they are to be
    Show(Args),
    /// Say what is missing and what differs; ends with 1 if something is or does
    Plan(Args),
    Apply(ApplyArgs),
}

/// Which topology.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew topology show
  sinew topology plan --file topology.toml")]
pub(crate) struct Args {
    /// A TOML file with values for the streams, as `streams.AGENT_TASKS.max_msgs = 50000`
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Make what is missing, and mend what differs; ends with 1 if something is left.
///
/// No stream is deleted, and no message either, unless you say so.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew topology apply --file topology.toml")]
pub(crate) struct ApplyArgs {
    /// A TOML file with values for the streams, as `streams.AGENT_TASKS.max_msgs = 50000`
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Let messages be deleted that a lower limit leaves no room for
    #[arg(long)]
    delete_messages: bool,
}

/// Runs the verb.
///
/// # Errors
/// Whatever went wrong.
pub(crate) async fn run(command: Command, global: &Global, out: Out) -> anyhow::Result<Code> {
    let bus = Target::find(global)?.connect().await?;
    match command {
        Command::Show(args) => show(&up::fitting(&bus, args.file.as_deref()).await?, out),
        Command::Plan(args) => {
            let plan = up::fitting(&bus, args.file.as_deref()).await?.plan(&bus).await?;
            if out.is_json() {
                out.document(&plan)?;
            } else {
                for stream in &plan.streams {
                    let (word, drift): (_, &[Difference]) = match &stream.state {
                        StreamState::Missing => ("missing", &[]),
                        StreamState::Same => ("as it is to be", &[]),
                        StreamState::Drift(drift) => ("differs", drift),
                    };
                    print(stream.stream, word, drift, args.file.as_deref(), out)?;
                }
            }
            Ok(if plan.is_empty() { Code::Done } else { Code::Failed })
        }
        Command::Apply(args) => {
            let topology = up::fitting(&bus, args.file.as_deref()).await?;
            let consent =
                if args.delete_messages { Consent::DeleteMessages } else { Consent::KeepMessages };
            let plan = topology.plan(&bus).await?;
            let report = topology.apply(&bus, &plan, consent).await?;
            if out.is_json() {
                out.document(&report)?;
            } else {
                for stream in &report.streams {
                    let word = match stream.outcome {
                        Outcome::Created => "created",
                        Outcome::Updated => "updated",
                        Outcome::Unchanged => "unchanged",
                    };
                    print(stream.stream, word, &stream.left, args.file.as_deref(), out)?;
                }
            }
            Ok(if report.is_complete() { Code::Done } else { Code::Failed })
        }
    }
}

fn print(
    stream: &str,
    word: &str,
    differences: &[Difference],
    file: Option<&Path>,
    out: Out,
) -> anyhow::Result<()> {
    out.line(format_args!("{stream:<16}  {word}"))?;
    // Without the file of the plan, it would be mended to something else.
    let file = file.map(|file| format!(" --file {}", file.display())).unwrap_or_default();
    let apply = format!("sinew topology apply{file}");
    for it in differences {
        let how = match it.change {
            Change::InPlace => format!("`{apply}` mends it"),
            Change::DeletesMessages => {
                format!("`{apply} --delete-messages` mends it, and deletes messages")
            }
            Change::Impossible => {
                "the server can't change it: make the stream anew by hand".to_owned()
            }
        };
        out.line(format_args!("  {} is {}, to be {}: {how}", it.field, it.found, it.wanted))?;
    }
    Ok(())
}

fn show(topology: &Topology, out: Out) -> anyhow::Result<Code> {
    let streams = &topology.catalogue().streams;
    if out.is_json() {
        out.document(streams)?;
        return Ok(Code::Done);
    }
    for stream in streams {
        let age = match stream.max_age {
            age if age.is_zero() => "for ever".to_owned(),
            age => text::span(age),
        };
        out.line(format_args!("{:<16}  {}", stream.name, stream.description))?;
        out.line(format_args!("  subjects {}", stream.subjects.join(" ")))?;
        let storage = match stream.storage {
            Storage::File => "on disk",
            Storage::Memory => "in memory",
        };
        let most = match (stream.max_msgs, stream.discard) {
            (..0, _) => "any number of messages".to_owned(),
            (most, Discard::New) => format!("at most {most} messages, then it refuses"),
            (most, Discard::Old) => format!("at most {most} messages, then the oldest go"),
        };
        let kept = match stream.retention {
            Retention::WorkQueue if stream.max_age.is_zero() => "until they are acked".to_owned(),
            Retention::WorkQueue => format!("until they are acked, or {age}"),
            Retention::Limits => age,
        };
        out.line(format_args!("  {storage}, {most}, kept {kept}"))?;
    }
    Ok(Code::Done)
}
