//! `sinew mcp install`: the configuration of a host, printed or written.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::json;
use sinew_model::{grant::User, limits::MCP_CONFIG_BYTES};
use sinew_server::mcp::install::{Host, Launch};

use crate::{
    args::Global,
    env,
    exit::{Code, Fault},
    output::Out,
    target::Target,
};

/// Print or write the configuration by which a host starts `sinew mcp`.
///
/// It is printed, and with --write put into the host's file: what the file says besides stays, and
/// the old file is kept beside it. Start the host anew afterwards.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew mcp install claude-code --role cto
  sinew mcp install codex --role qa --write")]
pub(super) struct Args {
    /// claude-code, codex, gemini-cli, vscode or cursor
    #[arg(value_name = "HOST", value_parser = host)]
    host: Host,
    /// Put it into the host's file
    #[arg(long)]
    write: bool,
    /// What the host calls the server
    #[arg(long, value_name = "NAME", default_value = "sinew", value_parser = name)]
    name: String,
    /// Another file than the host's usual one
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

fn host(text: &str) -> Result<Host, String> {
    let known = Host::ALL.into_iter().find(|(_, name)| *name == text);
    let names = Host::ALL.map(|(_, name)| name).join(", ");
    known.map(|(host, _)| host).ok_or_else(|| format!("it is one of {names}"))
}

fn name(text: &str) -> Result<String, String> {
    let is_sound = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match text.len() {
        1..=48 if text.chars().all(is_sound) => Ok(text.to_owned()),
        _ => Err("it has 1 to 48 letters, digits, - and _".to_owned()),
    }
}

/// Prints or writes.
///
/// # Errors
/// When there is no backbone, or the file can't be merged or written.
pub(super) fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let launch = launch(args, global)?;
    let here = std::env::current_dir().context("the working folder")?;
    let file = match (&args.file, env::home()) {
        (Some(file), _) => std::path::absolute(file)?,
        (None, Some(home)) => args.host.file(&here, &home),
        (None, None) => {
            return Err(Fault::usage("there is no home folder").hint("name it with --file").into());
        }
    };
    let before = read(&file)?;
    let merged = args.host.merge(before.as_deref().unwrap_or_default(), &launch);
    let merged = merged.map_err(|error| {
        let text = format!("{}: {}", file.display(), crate::exit::told(&error.into()));
        Fault::new(Code::Refused, text)
            .hint("nothing was written; `--file new` writes a file of its own to copy from")
    })?;
    let is_same = before.as_deref() == Some(merged.as_str());
    let backup =
        if args.write && !is_same { write(&file, before.as_deref(), &merged)? } else { None };
    let written = args.write && !is_same;
    if out.is_json() {
        out.document(&json!({
            "file": file, "content": merged, "written": written, "backup": backup,
        }))?;
        return Ok(Code::Done);
    }
    if args.write {
        let what = if written { "written" } else { "as it is to be already" };
        out.note(format_args!("{} is {what}; start the host anew", file.display()));
        if let Some(backup) = backup {
            out.note(format_args!("the old one is {}", backup.display()));
        }
    } else {
        out.line(merged.trim_end())?;
        out.note(format_args!("this belongs into {}; --write puts it there", file.display()));
    }
    Ok(Code::Done)
}

/// How the host is to start this program. The context is named, because a host starts it wherever
/// it likes.
fn launch(args: &Args, global: &Global) -> anyhow::Result<Launch> {
    let role = super::role(global)?;
    let mut target = Target::find(global)?;
    target.as_user(&User::Agent(role.clone()))?;
    let this = std::env::current_exe().context("this program does not know where it is")?;
    let mut words = vec!["mcp".to_owned(), "--role".to_owned(), role.to_string()];
    let path = |path: &Path| path.display().to_string();
    match target.own_context() {
        Some((context, _)) => words.extend(["--context".to_owned(), path(context)]),
        None => {
            words.extend(["--url".to_owned(), target.config.url.clone()]);
            words.extend(["--org".to_owned(), target.config.org.to_string()]);
        }
    }
    if let sinew_agent::Auth::Credentials(creds) = &target.config.auth {
        words.extend(["--creds".to_owned(), path(&std::path::absolute(creds)?)]);
    }
    Ok(Launch { name: args.name.clone(), command: path(&this), args: words })
}

/// What is in the file; `None` where there is none.
fn read(file: &Path) -> anyhow::Result<Option<String>> {
    let named = || file.display().to_string();
    let opened = match std::fs::File::open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(named)?,
    };
    let mut text = String::new();
    opened
        .take(MCP_CONFIG_BYTES.saturating_add(1))
        .read_to_string(&mut text)
        .with_context(named)?;
    if text.len() as u64 > MCP_CONFIG_BYTES {
        return Err(Fault::usage(format!("{} is too large for a configuration", named())).into());
    }
    Ok(Some(text))
}

/// Replaces the file, and keeps the old one. A reader finds the old content or the new one.
fn write(file: &Path, before: Option<&str>, after: &str) -> anyhow::Result<Option<PathBuf>> {
    let named = || file.display().to_string();
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(named)?;
    }
    let beside = |end: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let backup = beside(".before-sinew");
    if before.is_some() {
        std::fs::copy(file, &backup).with_context(named)?;
    }
    let draft = beside(".draft");
    std::fs::write(&draft, after).with_context(named)?;
    if before.is_some() {
        let permissions = std::fs::metadata(file).with_context(named)?.permissions();
        std::fs::set_permissions(&draft, permissions).with_context(named)?;
    }
    std::fs::rename(&draft, file).with_context(named)?;
    Ok(before.is_some().then_some(backup))
}
