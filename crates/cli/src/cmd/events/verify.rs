//! `sinew events verify`: whether an exported log, or a folder of them, is as it was written.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::json;
use sinew_bus::is_sealed;
use sinew_model::{
    audit::{Auditor, Begin, Finding, Record, Summary, continues},
    limits::AUDIT_LINE_BYTES,
};

use crate::{
    exit::{Code, Fault},
    output::Out,
};

/// Check that an exported log is as it was written.
///
/// An altered byte, a dropped entry and two swapped entries are each found, without the server. A
/// whole chain proves that it was not changed since its heads were made; --key says whose heads
/// count, and --head which one must be the last.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew events verify may.jsonl.zst
  sinew events verify audit/events --key UABC...")]
pub(crate) struct VerifyArgs {
    /// The file of `events export`, or the folder of `events archive`
    path: PathBuf,
    /// The public key that must have sealed every segment
    #[arg(long)]
    key: Option<String>,
    /// The head that the last segment must have
    #[arg(long, value_name = "HASH")]
    head: Option<String>,
}

/// A log that was read to its end and is whole.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) begin: Begin,
    pub(super) summary: Summary,
    /// How many segments each key has sealed.
    seals: BTreeMap<String, u64>,
}

/// Runs the verb.
///
/// # Errors
/// Whatever went wrong; what is found to be wrong ends with [`Code::Failed`].
pub(super) fn run(args: &VerifyArgs, out: Out) -> anyhow::Result<Code> {
    let files = if args.path.is_dir() { files(&args.path)? } else { vec![args.path.clone()] };
    let mut before: Option<Log> = None;
    let mut total = Summary::default();
    let mut seals: BTreeMap<String, u64> = BTreeMap::new();
    for file in &files {
        let log = read(file)?;
        if let Some(before) = &before {
            continues(&log.begin, (&before.begin, &before.summary))
                .map_err(|finding| wrong(file, &finding))?;
        }
        let Summary { entries, without_body, missing, segments, through, head } = &log.summary;
        total.entries += entries;
        total.without_body += without_body;
        total.missing += missing;
        total.segments += segments;
        (total.through, total.head) = (*through, head.clone());
        for (key, count) in &log.seals {
            *seals.entry(key.clone()).or_default() += count;
        }
        before = Some(log);
    }
    let Some(Log { begin, .. }) = before else {
        let text = format!("there is no exported log in {}", args.path.display());
        return Err(Fault::not_found(text).hint("`sinew events archive` writes them").into());
    };
    let sealed: u64 = seals.values().sum();
    let unsealed = total.segments.saturating_sub(sealed);
    expect(args, &total, &seals)?;
    let document = json!({
        "orgId": begin.org_id, "stream": begin.stream, "files": files.len(), "found": total,
        "seals": seals, "unsealed": unsealed,
    });
    let Summary { entries, missing, head, .. } = &total;
    let keys: Vec<&str> = seals.keys().map(String::as_str).collect();
    let by = if keys.is_empty() { "nobody".to_owned() } else { keys.join(", ") };
    out.either(
        &document,
        format_args!("whole: {entries} entries of {} of {}, {missing} missing in the stream, sealed by {by}, head {head}",
            begin.stream, begin.org_id),
    )?;
    if unsealed > 0 {
        out.note(format_args!("{unsealed} segments are not sealed: compare the head with --head"));
    } else if args.key.is_none() {
        out.note("whose key that is, you must know: name it with --key");
    }
    Ok(Code::Done)
}

/// Holds what was found against what must be.
fn expect(args: &VerifyArgs, total: &Summary, seals: &BTreeMap<String, u64>) -> Result<(), Fault> {
    let path = args.path.display();
    if let Some(key) = &args.key {
        let by = seals.get(key).copied().unwrap_or(0);
        if by != total.segments {
            let text = format!("{path}: {by} of {} segments are sealed by {key}", total.segments);
            return Err(Fault::new(Code::Failed, text));
        }
    }
    if args.head.as_ref().is_some_and(|head| *head != total.head) {
        let text = format!("{path}: its head is {}: it ends elsewhere", total.head);
        return Err(Fault::new(Code::Failed, text));
    }
    Ok(())
}

/// The logs in a folder, in the order of the chain.
///
/// # Errors
/// When it can't be read.
pub(super) fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder);
    let entries = entries.with_context(|| format!("{} can't be read", folder.display()))?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .with_context(|| format!("{} can't be read", folder.display()))?;
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".jsonl") || name.ends_with(".jsonl.zst")
    });
    // Names have the first sequence in as many digits as any.
    files.sort();
    Ok(files)
}

/// Whether a file of that name is compressed.
pub(super) fn is_packed(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending == "zst")
}

/// Reads a log to its end.
///
/// # Errors
/// When it can't be read, or what is wrong with it.
pub(super) fn read(file: &Path) -> anyhow::Result<Log> {
    let opened = File::open(file)
        .map_err(|error| Fault::not_found(format!("{} can't be read: {error}", file.display())))?;
    let source: Box<dyn Read> = if is_packed(file) {
        Box::new(zstd::stream::read::Decoder::new(opened)?)
    } else {
        Box::new(opened)
    };
    let mut source = BufReader::new(source);
    let mut auditor = Auditor::new();
    let mut seals: BTreeMap<String, u64> = BTreeMap::new();
    let longest = u64::try_from(AUDIT_LINE_BYTES).unwrap_or(u64::MAX);
    for number in 1_u64.. {
        let mut bytes = Vec::new();
        // What zstd can't unpack was altered as well: it has a checksum of its own format only.
        let read = source.by_ref().take(longest).read_until(b'\n', &mut bytes);
        let unreadable = || wrong(file, &Finding::Unreadable { line: number });
        if read.map_err(|_unpacked: std::io::Error| unreadable())? == 0 {
            break;
        }
        let text = bytes.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
        let text = text.ok_or_else(unreadable)?;
        let line = auditor.take(text).map_err(|finding| wrong(file, &finding))?;
        let (Record::Segment(_), Some(seal)) = (&line.record, &line.seal) else { continue };
        if !is_sealed(&line.link, seal) {
            let text = format!("{}: the seal of line {number} is not genuine", file.display());
            return Err(Fault::new(Code::Failed, text).into());
        }
        *seals.entry(seal.key.clone()).or_default() += 1;
    }
    let (begin, summary) = auditor.finish().map_err(|finding| wrong(file, &finding))?;
    Ok(Log { begin, summary, seals })
}

fn wrong(file: &Path, finding: &Finding) -> Fault {
    Fault::new(Code::Failed, format!("{}: {finding}", file.display()))
}
