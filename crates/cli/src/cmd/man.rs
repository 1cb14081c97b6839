//! `sinew man`: the manual pages, a page for each verb.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::{args::Cli, exit::Code, output::Out};

/// Write the manual pages into a folder, a page for each verb.
///
/// They are made from the same definitions that the command line is read with.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew man ~/.local/share/man/man1 && man sinew-task-delegate
  sinew man /usr/share/man/man1")]
pub(crate) struct Args {
    /// The folder; it is made where it is missing, and pages of the same names are replaced
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Writes them.
///
/// # Errors
/// When the folder cannot be made or written to.
pub(crate) fn run(args: &Args, out: Out) -> anyhow::Result<Code> {
    let folder = args.folder.display();
    std::fs::create_dir_all(&args.folder).with_context(|| format!("making {folder}"))?;
    clap_mangen::generate_to(Cli::command(), &args.folder)
        .with_context(|| format!("writing into {folder}"))?;
    out.either(&serde_json::json!({ "folder": args.folder }), format!("pages are in {folder}"))?;
    Ok(Code::Done)
}
