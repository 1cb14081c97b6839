//! `sinew events export` and `sinew events archive`: what a stream holds, as a chain of lines in
//! which every change is found (`sinew events verify`).

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::{Value, json};
use sinew_agent::{Client, Emission};
use sinew_bus::{Bus, RawMessage, Topology};
use sinew_model::{
    Time,
    audit::{Begin, Chain, Entry, Line},
    limits::{AUDIT_SEGMENT_ENTRIES, VIEW_SOURCE_EVERY},
    stream::{ORG_EVENTS, TASK_LOG},
};

use super::verify;
use crate::{
    args::Global,
    exit::{Code, Fault},
    output::Out,
    target::Target,
    text,
};

/// How hard zstd tries: its own default, which keeps up with any disk.
const LEVEL: i32 = 3;

/// Which stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Of {
    /// What agents did
    Events,
    /// Every transition of every task
    Tasks,
}

/// Write events to a file in which every later change is found.
///
/// The file is JSON lines, and compressed with zstd where its name ends in .zst. `sinew events
/// verify` checks it.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew events export may.jsonl.zst --since 2026-05-01T00:00:00Z --until 2026-06-01T00:00:00Z
  sinew events export tasks.jsonl --of tasks")]
pub(crate) struct ExportArgs {
    /// The file; it must not be there yet
    file: PathBuf,
    /// What is written
    #[arg(long, value_enum, default_value_t = Of::Events)]
    of: Of,
    /// Stored then or later: a time, or a span back from now as 2h
    #[arg(long, value_name = "WHEN", value_parser = text::moment_back)]
    since: Option<Time>,
    /// Stored before: a time, or a span back from now
    #[arg(long, value_name = "WHEN", value_parser = text::moment_back)]
    until: Option<Time>,
}

/// Keep events in a folder before they age out of the stream.
///
/// Each run writes what came since the last one, as one more file that continues the chain, and
/// tells the org the new head in an event of type org.audit. Run it as often as you like.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew events archive audit/events && sinew events verify audit/events")]
pub(crate) struct ArchiveArgs {
    /// The folder; it is made where it is missing
    folder: PathBuf,
    /// What is kept
    #[arg(long, value_enum, default_value_t = Of::Events)]
    of: Of,
}

/// What was written.
struct Written {
    entries: u64,
    through: u64,
    head: String,
    sealed_by: Option<String>,
}

/// Where a log begins, and what of the stream is in it.
struct Part {
    of: Of,
    after: u64,
    previous: Option<String>,
    since: Option<Time>,
    until: Option<Time>,
}

impl Of {
    const fn stream(self) -> &'static str {
        match self {
            Self::Events => ORG_EVENTS,
            Self::Tasks => TASK_LOG,
        }
    }

    fn filter(self, bus: &Bus) -> String {
        match self {
            Self::Events => bus.subjects().events().to_string(),
            Self::Tasks => bus.subjects().logs().to_string(),
        }
    }
}

/// Runs `export`.
///
/// # Errors
/// Whatever went wrong.
pub(super) async fn export(args: ExportArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let bus = Target::find(global)?.connect().await?;
    let ExportArgs { file, of, since, until } = args;
    let part = Part { of, after: 0, previous: None, since, until };
    let written = write(&bus, &file, part).await?;
    tell(out, &file, written.as_ref())?;
    Ok(Code::Done)
}

/// Runs `archive`.
///
/// # Errors
/// Whatever went wrong.
pub(super) async fn archive(args: ArchiveArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    let ArchiveArgs { folder, of } = args;
    fs::create_dir_all(&folder).with_context(|| format!("{} can't be made", folder.display()))?;
    // What is there is checked first, so that nothing is chained to what was changed.
    let before = verify::files(&folder)?.last().map(|file| verify::read(file)).transpose()?;
    let (after, previous) = match before {
        Some(log) => {
            let org = bus.subjects().org();
            if log.begin.stream != of.stream() || &log.begin.org_id != org {
                let (stream, org) = (&log.begin.stream, &log.begin.org_id);
                let text = format!("{} holds {stream} of {org}", folder.display());
                return Err(Fault::usage(text).hint("take a folder for each").into());
            }
            (log.summary.through, Some(log.summary.head))
        }
        None => (0, None),
    };
    let part = Part { of, after, previous, since: None, until: None };
    let file = folder.join(format!("{}-{:020}.jsonl.zst", of.stream(), after.saturating_add(1)));
    let written = write(&bus, &file, part).await?;
    if let Some(Written { through, head, .. }) = &written {
        let details = json!({ "stream": of.stream(), "through": through, "head": head });
        let event = Emission::new("audit.archived").kind("org.audit").details(details);
        let told = Client::new(bus, target.role).emit(event).await;
        told.with_context(|| {
            format!("{} is written, but its head {head} was not told to the org", file.display())
        })?;
    }
    tell(out, &file, written.as_ref())?;
    Ok(Code::Done)
}

fn tell(out: Out, file: &Path, written: Option<&Written>) -> anyhow::Result<()> {
    let Some(Written { entries, through, head, sealed_by }) = written else {
        if out.is_json() {
            out.document(&json!({ "file": null, "entries": 0 }))?;
        }
        out.note("there is nothing to write");
        return Ok(());
    };
    if sealed_by.is_none() {
        out.note("the login has no key, so nobody vouches for the head: keep it elsewhere");
    }
    let document = json!({
        "file": file, "entries": entries, "through": through, "head": head, "sealedBy": sealed_by,
    });
    out.either(&document, format_args!("{}: {entries} entries, head {head}", file.display()))
}

/// Writes a part of a stream to a file that appears once it is whole; `None`: there is nothing.
async fn write(bus: &Bus, file: &Path, part: Part) -> anyhow::Result<Option<Written>> {
    if file.exists() {
        let text = format!("{} is there already", file.display());
        return Err(Fault::usage(text).hint("nothing is written over: name another file").into());
    }
    let shown = || format!("{} can't be written", file.display());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let place = tempfile::NamedTempFile::new_in(folder.unwrap_or_else(|| Path::new(".")));
    let place = place.with_context(shown)?;
    let sink = BufWriter::new(place.as_file().try_clone().with_context(shown)?);
    let mut lines = Lines::new(sink, file).with_context(shown)?;
    let written = fill(bus, &mut lines, part).await?;
    lines.finish().with_context(shown)?;
    if written.is_some() {
        place.persist_noclobber(file).with_context(shown)?;
    }
    Ok(written)
}

async fn fill(bus: &Bus, lines: &mut Lines, part: Part) -> anyhow::Result<Option<Written>> {
    let (stream, filter) = (part.of.stream(), part.of.filter(bus));
    Topology::standard(bus).ensure_stream(bus, stream).await?;
    let last = bus.stream_state(stream).await?.last_seq;
    let mut scan = bus.scan(stream, &filter, part.after.saturating_add(1)).await?;
    let mut chain: Option<Chain> = None;
    let (mut entries, mut newest) = (0_u64, None);
    while scan.pending() > 0 && scan.position() <= last {
        let Ok(raw) = tokio::time::timeout(VIEW_SOURCE_EVERY, scan.next()).await else {
            // What was still to come was purged meanwhile, or the server is gone: look again.
            scan = bus.scan(stream, &filter, scan.position()).await?;
            continue;
        };
        let raw = raw?;
        if raw.seq > last || part.until.is_some_and(|until| raw.time >= until) {
            break;
        }
        if part.since.is_some_and(|since| raw.time < since) {
            continue;
        }
        let chain = match &mut chain {
            Some(chain) => chain,
            None => chain.insert(begin(bus, lines, &part, raw.seq)?),
        };
        let entry = entry(bus, &raw).await?;
        for line in chain.entry(entry, &raw.payload) {
            lines.put(&line)?;
        }
        entries = entries.saturating_add(1);
        newest = None;
        if chain.open() >= AUDIT_SEGMENT_ENTRIES {
            newest = Some(close(bus, lines, chain)?);
        }
    }
    let Some(mut chain) = chain else { return Ok(None) };
    let line = match newest {
        Some(line) => line,
        None => close(bus, lines, &mut chain)?,
    };
    let (through, sealed_by) = (chain.through(), line.seal.map(|seal| seal.key));
    Ok(Some(Written { entries, through, head: line.link, sealed_by }))
}

/// Begins a log at its first message.
fn begin(bus: &Bus, lines: &mut Lines, part: &Part, first: u64) -> anyhow::Result<Chain> {
    // Of a time range, what lies before is not missing.
    let after = if part.since.is_some() { first.saturating_sub(1) } else { part.after };
    let (chain, line) = Chain::begin(Begin {
        org_id: bus.subjects().org().clone(),
        stream: part.of.stream().to_owned(),
        after,
        previous: part.previous.clone(),
    });
    lines.put(&line)?;
    Ok(chain)
}

fn close(bus: &Bus, lines: &mut Lines, chain: &mut Chain) -> anyhow::Result<Line> {
    let mut line = chain.close();
    line.seal = bus.seal(&line.link)?;
    lines.put(&line)?;
    Ok(line)
}

/// What the log says of a message; who sent it is looked at now, while its key is known.
async fn entry(bus: &Bus, raw: &RawMessage) -> anyhow::Result<Entry> {
    let role = || {
        let body: Value = serde_json::from_slice(&raw.payload).ok()?;
        let role = body.get("agentRole").or_else(|| body.pointer("/by/role"))?;
        role.as_str()?.parse().ok()
    };
    let verdict = bus.verify(&raw.received(), role().as_ref()).await?;
    Ok(Entry {
        seq: raw.seq,
        subject: raw.subject.clone(),
        stored_at: raw.time,
        sender: verdict.sender().map_or_else(|| verdict.to_string(), ToString::to_string),
        headers: raw.headers(),
        body_sha256: String::new(),
    })
}

/// Where lines go.
enum Lines {
    Plain(BufWriter<File>),
    Packed(zstd::stream::write::Encoder<'static, BufWriter<File>>),
}

impl Lines {
    fn new(sink: BufWriter<File>, named: &Path) -> std::io::Result<Self> {
        if verify::is_packed(named) {
            Ok(Self::Packed(zstd::stream::write::Encoder::new(sink, LEVEL)?))
        } else {
            Ok(Self::Plain(sink))
        }
    }

    fn put(&mut self, line: &Line) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        match self {
            Self::Plain(sink) => sink.write_all(&text)?,
            Self::Packed(sink) => sink.write_all(&text)?,
        }
        Ok(())
    }

    fn finish(self) -> std::io::Result<()> {
        let sink = match self {
            Self::Plain(sink) => sink,
            Self::Packed(sink) => sink.finish()?,
        };
        sink.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
    }
}
