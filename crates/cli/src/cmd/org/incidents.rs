//! `sinew org incidents`: which users of the orgs were put out because they did harm.

use serde_json::{Value, json};
use sinew_model::OrgId;
use sinew_server::account::EXPELLED;

use super::Here;
use crate::{exit::Code, output::Out, text};

/// Show the users that were cut off because they did harm, the oldest first.
///
/// It reads the data folder, so it works whether or not the server runs. What was refused within
/// an org for its signature is shown by `sinew evidence` in that org.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew org incidents
  sinew org incidents globex --json")]
pub(crate) struct Args {
    /// The org; else all
    #[arg(value_name = "NAME")]
    name: Option<OrgId>,
}

pub(super) fn run(args: &Args, here: &Here, out: Out) -> anyhow::Result<Code> {
    let names: Vec<OrgId> = match &args.name {
        Some(name) => {
            // Whoever misspells it is told.
            here.orgs.record(name)?;
            vec![name.clone()]
        }
        None => here.orgs.records()?.into_iter().map(|(name, _)| name).collect(),
    };
    let mut found = Vec::new();
    for name in names {
        let entries = here.orgs.history(&name)?.into_iter();
        found.extend(entries.filter(|it| word(it, "/action") == EXPELLED));
    }
    found.sort_by(|one, other| word(one, "/timestamp").cmp(word(other, "/timestamp")));
    let cells =
        ["/timestamp", "/orgId", "/details/user/name", "/details/user/key", "/details/found"];
    let rows: Vec<Vec<String>> =
        found.iter().map(|entry| cells.map(|cell| word(entry, cell).to_owned()).into()).collect();
    if rows.is_empty() {
        out.note("nobody was cut off");
    }
    let head = ["at", "org", "user", "key", "found"];
    let shown = if rows.is_empty() { String::new() } else { text::table(&head, rows) };
    out.either(&json!({ "incidents": found }), shown)?;
    Ok(Code::Done)
}

/// A text in an entry of the audit; `-` where there is none.
fn word<'a>(entry: &'a Value, place: &str) -> &'a str {
    entry.pointer(place).and_then(Value::as_str).unwrap_or("-")
}
