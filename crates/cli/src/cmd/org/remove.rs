//! `sinew org remove`: exports what an org has, then deletes it.

use std::{
    fs::{DirBuilder, File},
    io::{BufWriter, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::{Value, json};
use sinew_bus::{Bus, clock};
use sinew_model::OrgId;

use super::Here;
use crate::{
    exit::{Code, Fault},
    output::Out,
};

/// Remove an org with all that it has.
///
/// First every message of every stream is written to a folder, then the connections are cut, the
/// streams are deleted and the server forgets the account. Stop its agents before, so that nothing
/// is written while it is exported. Without --yes nothing is done.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew org remove globex --yes --export globex-export")]
pub(crate) struct Args {
    /// The org
    #[arg(value_name = "NAME")]
    name: OrgId,
    /// Yes, delete it
    #[arg(long)]
    yes: bool,
    /// Where to write what it had; in the data folder if nothing says otherwise
    #[arg(long, value_name = "FOLDER")]
    export: Option<PathBuf>,
}

/// The export is for its owner alone, as the data folder is.
const OWNER_ONLY: u32 = 0o700;

pub(super) async fn run(args: &Args, here: &Here, out: Out) -> anyhow::Result<Code> {
    let org = &args.name;
    if *org == here.context.org {
        return Err(Fault::new(Code::Refused, format!("`sinew up` serves {org} here"))
            .hint("start it for another org first: sinew up --org OTHER")
            .into());
    }
    let record = here.orgs.record(org)?;
    let directory = here.directory().await?;
    // A removal that broke off had exported everything before it let nobody in any more.
    let bus = if record.is_shut() { None } else { Some(here.enter(org).await?) };
    let streams = match &bus {
        Some(bus) => streams(bus).await?,
        None => Vec::new(),
    };
    let messages: u64 = streams.iter().map(|(_, messages)| messages).sum();
    if !args.yes {
        let what = format!("{org} has {messages} messages in {} streams", streams.len());
        return Err(Fault::usage(what).hint("say --yes to export and delete all of it").into());
    }
    let folder = args.export.clone().unwrap_or_else(|| {
        here.context.data_dir.join("exports").join(format!("{org}-{}", clock::unique()))
    });
    let mut exported = Vec::new();
    if let Some(bus) = &bus {
        for (stream, _) in &streams {
            let count = export(bus, stream, &folder).await?;
            exported.push(json!({ "stream": stream, "messages": count }));
        }
    }
    drop(bus);
    // From here on nobody is in, so nothing is written or made again while it is deleted.
    here.orgs.shut(org)?;
    here.tell(&directory, org).await?;
    directory.purge(&record.account).await?;
    directory.delete(&here.orgs.deletion_of(org)?).await?;
    here.orgs.forget(org)?;
    let done = json!({
        "org": org, "account": record.account, "export": folder, "deleted": exported,
        "users": record.users.len(),
    });
    let text = format!(
        "removed {org}: {messages} messages in {} streams, {} credentials\nexported to {}",
        streams.len(),
        record.users.len(),
        folder.display()
    );
    out.either(&done, text)?;
    Ok(Code::Done)
}

/// The streams of the org, and how many messages each holds.
async fn streams(bus: &Bus) -> anyhow::Result<Vec<(String, u64)>> {
    let mut streams = Vec::new();
    loop {
        let page = json!({ "offset": streams.len() });
        let answer: Value = bus.api("STREAM.NAMES", &page).await?;
        let names = answer.get("streams").and_then(Value::as_array).cloned().unwrap_or_default();
        if names.is_empty() {
            return Ok(streams);
        }
        for name in names.iter().filter_map(Value::as_str) {
            let state = bus.stream_state(name).await?;
            streams.push((name.to_owned(), state.messages));
        }
    }
}

/// The server's number for a message that it does not have.
const MESSAGE_NOT_FOUND: u32 = 10_037;

/// Writes the messages of a stream, one on a line as the server has it, and says how many.
async fn export(bus: &Bus, stream: &str, folder: &Path) -> anyhow::Result<u64> {
    let place = || format!("the export cannot be written to {}", folder.display());
    let mut maker = DirBuilder::new();
    maker.recursive(true).mode(OWNER_ONLY).create(folder).with_context(place)?;
    let file = File::create(folder.join(format!("{stream}.jsonl"))).with_context(place)?;
    let mut file = BufWriter::new(file);
    let (mut next, mut count) = (1, 0);
    loop {
        let which = json!({ "seq": next, "next_by_subj": ">" });
        let answer: Value = match bus.api(&format!("STREAM.MSG.GET.{stream}"), &which).await {
            Err(error) if error.refusal() == Some(MESSAGE_NOT_FOUND) => break,
            answer => answer?,
        };
        let message = answer.get("message").cloned().unwrap_or_default();
        let seq = message.get("seq").and_then(Value::as_u64);
        let Some(seq) = seq else { break };
        writeln!(file, "{message}").with_context(place)?;
        (next, count) = (seq + 1, count + 1);
    }
    // What is deleted next must outlive a power cut here.
    let file = file.into_inner().map_err(|error| error.into_error()).with_context(place)?;
    file.sync_all().with_context(place)?;
    Ok(count)
}
