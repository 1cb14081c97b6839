//! `sinew topology`: the streams of the org, what they are to be and what they are.

use std::path::PathBuf;

use sinew_bus::{
    Topology,
    ensure::{Change, Consent, Difference, Outcome, StreamState},
};

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
  sinew topology plan --file topology.toml --json")]
pub(crate) struct Args {
    /// A TOML file with values for the streams
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
    /// A TOML file with values for the streams
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
        Command::Show(args) => show(&up::topology(&bus, args.file.as_deref())?, out),
        Command::Plan(args) => {
            let plan = up::topology(&bus, args.file.as_deref())?.plan(&bus).await?;
            if out.is_json() {
                out.document(&plan)?;
            } else {
                for stream in &plan.streams {
                    let (word, drift): (_, &[Difference]) = match &stream.state {
                        StreamState::Missing => ("missing", &[]),
                        StreamState::Same => ("as it is to be", &[]),
                        StreamState::Drift(drift) => ("differs", drift),
                    };
                    print(stream.stream, word, drift, out)?;
                }
            }
            Ok(if plan.is_empty() { Code::Done } else { Code::Failed })
        }
        Command::Apply(args) => {
            let topology = up::topology(&bus, args.file.as_deref())?;
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
                    print(stream.stream, word, &stream.left, out)?;
                }
            }
            Ok(if report.is_complete() { Code::Done } else { Code::Failed })
        }
    }
}

fn print(stream: &str, word: &str, differences: &[Difference], out: Out) -> anyhow::Result<()> {
    out.line(format_args!("{stream:<16}  {word}"))?;
    for it in differences {
        let how = match it.change {
            Change::InPlace => "`sinew topology apply` mends it",
            Change::DeletesMessages => "mending deletes messages: apply --delete-messages",
            Change::Impossible => "the server can't change it: make the stream anew by hand",
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
        out.line(format_args!(
            "  {:?}, {:?}, discard {:?}, at most {} messages, kept {age}",
            stream.storage, stream.retention, stream.discard, stream.max_msgs
        ))?;
    }
    Ok(Code::Done)
}
