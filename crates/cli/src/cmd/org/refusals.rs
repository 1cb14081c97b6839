//! `sinew org refusals`: what the server did not let users of the orgs do.

use std::path::PathBuf;

use serde_json::json;
use sinew_model::OrgId;
use sinew_server::{account::Refusal, engine::LOG_NAME};

use super::Here;
use crate::{exit::Code, output::Out, text};

/// Show what the server refused: logins, and what users tried beyond their rights.
///
/// The newest come last, each with how often it was tried. It is read from the log of the server in
/// the data folder, of which the newest files are kept (3 of 8 MiB), so it works whether or not the
/// server runs. A login that was refused has no org and no user: the server does not say whose it
/// was. The log of a server that Sinew does not run itself is named with `--log`; it must have
/// `logtime_utc: true`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew org refusals
  sinew org refusals globex --json")]
pub(crate) struct Args {
    /// The org; else all, and logins
    #[arg(value_name = "NAME")]
    name: Option<OrgId>,
    /// The log of nats-server; else that of the data folder
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

pub(super) fn run(args: &Args, here: &Here, out: Out) -> anyhow::Result<Code> {
    if let Some(name) = &args.name {
        // Whoever misspells it is told.
        here.orgs.record(name)?;
    }
    let own = || here.context.data_dir.join(LOG_NAME);
    let found = here.orgs.refusals(&args.log.clone().unwrap_or_else(own))?;
    let is_meant = |it: &&Refusal| args.name.is_none() || it.org == args.name;
    let shown: Vec<&Refusal> = found.shown.iter().filter(is_meant).collect();
    if found.beyond > 0 {
        out.note(format!("{} more are not told apart", found.beyond));
    }
    if shown.is_empty() {
        out.note("nothing was refused");
    }
    let rows: Vec<Vec<String>> = shown.iter().map(|it| row(it)).collect();
    let head = ["last", "count", "org", "user", "from", "tried", "subject"];
    let table = if rows.is_empty() { String::new() } else { text::table(&head, rows) };
    out.either(&json!({ "refusals": shown, "beyond": found.beyond }), table)?;
    Ok(Code::Done)
}

fn row(it: &Refusal) -> Vec<String> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        it.last.to_string(),
        it.count.to_string(),
        or_none(it.org.as_ref().map(ToString::to_string)),
        or_none(it.name.clone().or_else(|| it.user.clone())),
        it.from.clone(),
        it.what.word().to_owned(),
        or_none(Some(it.subject.clone()).filter(|it| !it.is_empty())),
    ]
}
