//! `sinew completions`: what a shell needs in order to complete the words of the command line.

use clap::{CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;

use crate::{
    args::Cli,
    exit::{Code, Fault},
    output::Out,
};

/// Print the completions of a shell, from the same definitions that the command line is read with.
///
/// Where they go:
///   bash        /usr/share/bash-completion/completions/sinew
///   zsh         a folder of $fpath, as `_sinew`
///   fish        ~/.config/fish/completions/sinew.fish
#[derive(Clone, Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_long_help = "Examples:
  sinew completions bash > ~/.local/share/bash-completion/completions/sinew
  sinew completions fish > ~/.config/fish/completions/sinew.fish"
)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints them.
///
/// # Errors
/// When nothing can be printed.
pub(crate) fn run(args: &Args, out: Out) -> anyhow::Result<Code> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sinew", &mut text);
    let text = String::from_utf8(text)?;
    let name = args.shell.to_possible_value().map(|it| it.get_name().to_owned());
    let name = name.ok_or_else(|| Fault::usage("a shell without a name"))?;
    out.either(&serde_json::json!({ "shell": name, "script": text }), text.trim_end())?;
    Ok(Code::Done)
}
