//! Prints the reference of the command line as Markdown, from the same definitions that the
//! command line is read with, so that it can't say anything else.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use crate::{args::Cli, env, exit, exit::Code, output::Out};

/// Prints it.
///
/// # Errors
/// When nothing can be printed.
pub(crate) fn run(out: Out) -> anyhow::Result<Code> {
    out.line(markdown()?.trim_end())?;
    Ok(Code::Done)
}

fn markdown() -> Result<String, std::fmt::Error> {
    let mut text = String::from(
        "# The command line\n\nMade from the program itself: `sinew reference`. Data goes to stdout, \
         as text or with `--json` as JSON; everything else goes to stderr.\n",
    );
    let command = Cli::command();
    writeln!(text, "\n## Flags of every verb\n\n| flag | what it says |\n|---|---|")?;
    for arg in command.get_arguments().filter(|arg| arg.is_global_set()) {
        row(&mut text, arg)?;
    }
    writeln!(text, "\n## Environment\n\n| variable | what it says |\n|---|---|")?;
    for (name, what) in env::TABLE {
        writeln!(text, "| `{name}` | {} |", cell(what))?;
    }
    writeln!(text, "\n## Exit codes\n\n| code | what it means |\n|---|---|")?;
    for (_, number, what) in exit::TABLE {
        writeln!(text, "| {number} | {what} |")?;
    }
    verbs(&mut text, &command, "sinew")?;
    Ok(text)
}

fn verbs(text: &mut String, command: &Command, path: &str) -> std::fmt::Result {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let path = format!("{path} {}", verb.get_name());
        if verb.has_subcommands() {
            verbs(text, verb, &path)?;
            continue;
        }
        writeln!(text, "\n## `{path}`\n")?;
        if let Some(about) = verb.get_long_about().or_else(|| verb.get_about()) {
            writeln!(text, "{about}")?;
        }
        let own = |arg: &&Arg| !arg.is_global_set() && !arg.is_hide_set();
        let own: Vec<&Arg> = verb.get_arguments().filter(own).collect();
        if !own.is_empty() {
            writeln!(text, "\n| argument | what it says |\n|---|---|")?;
        }
        for arg in own {
            row(text, arg)?;
        }
        if let Some(examples) = verb.get_after_long_help() {
            let examples = examples.to_string();
            let lines = examples.lines().skip(1).map(str::trim_start);
            writeln!(text, "\n```sh\n{}\n```", lines.collect::<Vec<_>>().join("\n"))?;
        }
    }
    Ok(())
}

fn row(text: &mut String, arg: &Arg) -> std::fmt::Result {
    let values = arg.get_num_args().is_none_or(|range| range.takes_values());
    let value = arg.get_value_names().filter(|_| values && !arg_is_flag(arg));
    let value =
        value.map(|names| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" "));
    let name = match (arg.get_long(), value) {
        (Some(long), Some(value)) => format!("--{long} {value}"),
        (Some(long), None) => format!("--{long}"),
        (None, value) => value.unwrap_or_else(|| arg.get_id().to_string().to_uppercase()),
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let usual = arg.get_default_values().iter().filter(|_| !arg_is_flag(arg));
    let usual = usual.map(|value| format!(" [default: {}]", value.display())).collect::<String>();
    writeln!(text, "| `{}` | {}{} |", cell(&name), cell(&help), cell(&usual))
}

fn arg_is_flag(arg: &Arg) -> bool {
    matches!(arg.get_action(), clap::ArgAction::SetTrue)
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
