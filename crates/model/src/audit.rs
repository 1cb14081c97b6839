//! An audit log: what a stream held, in lines that are chained, so that whoever changes, drops or
//! swaps one of them is found out.
//!
//! Each line has a record, and a link: the hash of the link before it and of the record as it
//! stands. A record of an entry has the hash of the body and not the body, so that a body may be
//! taken out later without breaking the chain. Sequences that the stream no longer had are said as
//! `missing`; a gap that is not said was made afterwards. A `segment` closes what came before it, and
//! its link is the head that is signed. Nothing waits for the chain: it is made from what is stored.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{id::OrgId, time::Time};

/// What the first link is made of, so that no other hash can stand for one.
const DOMAIN: &[u8] = b"sinew audit 1\n";

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Line {
    /// What the link covers.
    pub record: Record,
    /// The body of an entry; `None` where it was taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
    /// The hash of the link before and of the record, in hex.
    pub link: String,
    /// Who vouches for the link of a segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Seal>,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Record {
    /// The first line.
    Begin(Begin),
    /// A message of the stream.
    Entry(Entry),
    /// Sequences that the stream did not have when it was read: aged out or purged.
    Missing(Gap),
    /// The end of a segment.
    Segment(Segment),
}

/// Which part of which stream follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Begin {
    /// The org.
    pub org_id: OrgId,
    /// The stream.
    pub stream: String,
    /// The sequence after which this begins.
    pub after: u64,
    /// The head of the archive that this continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}

/// A message as the stream stored it, without its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Its sequence.
    pub seq: u64,
    /// Its subject.
    pub subject: String,
    /// When the server stored it.
    pub stored_at: Time,
    /// What its signature said when it was read: the sender, or why there is none.
    pub sender: String,
    /// Its headers, by name.
    pub headers: Vec<(String, String)>,
    /// The hash of its body, in hex.
    pub body_sha256: String,
}

/// Sequences that are not there, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gap {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// What a segment holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Segment {
    /// The sequence after which it begins.
    pub after: u64,
    /// The sequence that it reaches.
    pub through: u64,
    /// How many entries it has.
    pub entries: u64,
}

/// A body as it can stand in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Body {
    /// As text.
    Text(String),
    /// In hex, where it is no text.
    Hex(String),
}

/// A signature of a segment's link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seal {
    /// The public key that signed.
    pub key: String,
    /// The signature over [`sealed`], in base64url.
    pub signature: String,
}

/// What is wrong with an audit log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// The line is not one, or not as it is written.
    #[error("line {line} is altered: it is no line of an audit log as it is written")]
    Unreadable {
        /// Counted from 1.
        line: u64,
    },
    /// The record or the link is not what it was.
    #[error("line {line} is altered: its link does not fit")]
    Altered {
        /// Counted from 1.
        line: u64,
    },
    /// The body is not the one of the record.
    #[error("the body of entry {seq} is altered")]
    Body {
        /// The sequence.
        seq: u64,
    },
    /// Entries were dropped.
    #[error("entries {first} to {last} were dropped")]
    Dropped {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// Entries changed places.
    #[error("entry {seq} stands after entry {after}: entries changed places")]
    Order {
        /// Its sequence.
        seq: u64,
        /// The sequence before it.
        after: u64,
    },
    /// It has no beginning, another one in its middle, or no closed segment at its end.
    #[error("it is not whole: line {line} is not where it belongs")]
    Incomplete {
        /// Counted from 1.
        line: u64,
    },
    /// It does not continue the one before.
    #[error("it does not continue the archive before it")]
    Detached,
}

/// What an audit log holds, as far as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// How many entries.
    pub entries: u64,
    /// How many of them have lost their body.
    pub without_body: u64,
    /// How many sequences the stream did not have any more.
    pub missing: u64,
    /// How many segments.
    pub segments: u64,
    /// The sequence that is reached.
    pub through: u64,
    /// The link of the last segment.
    pub head: String,
}

/// A chain that grows.
#[derive(Clone, Debug)]
pub struct Chain {
    link: String,
    through: u64,
    segment: Segment,
}

impl Chain {
    /// The first line of a chain, and what goes on from it.
    #[must_use]
    pub fn begin(begin: Begin) -> (Self, Line) {
        let after = begin.after;
        let segment = Segment { after, through: after, entries: 0 };
        let mut chain = Self { link: String::new(), through: after, segment };
        let line = chain.line(Record::Begin(begin), None);
        (chain, line)
    }

    /// The lines of the next message: itself, and before it what is missing. None for one that the
    /// chain has already.
    #[must_use]
    pub fn entry(&mut self, mut entry: Entry, body: &[u8]) -> Vec<Line> {
        if entry.seq <= self.through {
            return Vec::new();
        }
        let mut lines = Vec::from_iter(self.missing(entry.seq.saturating_sub(1)));
        self.through = entry.seq;
        self.segment.entries = self.segment.entries.saturating_add(1);
        entry.body_sha256 = hash(&[body]);
        lines.push(self.line(Record::Entry(entry), Some(Body::of(body))));
        lines
    }

    /// Says that everything up to `through` that has no entry is missing.
    #[must_use]
    pub fn missing(&mut self, through: u64) -> Option<Line> {
        let first = self.through.saturating_add(1);
        if through < first {
            return None;
        }
        self.through = through;
        Some(self.line(Record::Missing(Gap { first, last: through }), None))
    }

    /// Closes the segment; its link is the head that is to be sealed.
    #[must_use]
    pub fn close(&mut self) -> Line {
        let segment = Segment { through: self.through, ..self.segment };
        self.segment = Segment { after: self.through, through: self.through, entries: 0 };
        self.line(Record::Segment(segment), None)
    }

    /// How many entries the open segment has.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.segment.entries
    }

    /// The sequence that is reached.
    #[must_use]
    pub const fn through(&self) -> u64 {
        self.through
    }

    fn line(&mut self, record: Record, body: Option<Body>) -> Line {
        // A record is made of texts and numbers, so it can always be written.
        let text = serde_json::to_vec(&record).unwrap_or_default();
        self.link = hash(&[DOMAIN, self.link.as_bytes(), &text]);
        Line { record, body, link: self.link.clone(), seal: None }
    }
}

/// Reads an audit log line by line, and finds what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Auditor {
    chain: Option<Chain>,
    begin: Option<Begin>,
    line: u64,
    closed: bool,
    summary: Summary,
}

impl Auditor {
    /// An auditor that has read nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next line, without its end.
    ///
    /// # Errors
    /// See [`Finding`]; nothing that comes after one means anything.
    pub fn take(&mut self, text: &str) -> Result<Line, Finding> {
        self.line = self.line.saturating_add(1);
        let line = self.line;
        let unreadable = |_| Finding::Unreadable { line };
        let said: Line = serde_json::from_str(text).map_err(unreadable)?;
        // One content has one form, so that no byte is free to be another.
        if serde_json::to_string(&said).map_err(unreadable)? != text {
            return Err(Finding::Unreadable { line });
        }
        let expected = match (&said.record, &mut self.chain) {
            (Record::Begin(begin), None) => {
                let (chain, expected) = Chain::begin(begin.clone());
                (self.chain, self.begin) = (Some(chain), Some(begin.clone()));
                expected
            }
            (Record::Begin(_), Some(_)) | (_, None) => return Err(Finding::Incomplete { line }),
            (Record::Entry(entry), Some(chain)) => {
                follows(entry.seq, chain.through)?;
                chain.through = entry.seq;
                chain.segment.entries = chain.segment.entries.saturating_add(1);
                chain.line(said.record.clone(), None)
            }
            (Record::Missing(gap), Some(chain)) => {
                follows(gap.first, chain.through)?;
                self.summary.missing += gap.last.saturating_sub(chain.through);
                chain.missing(gap.last).ok_or(Finding::Altered { line })?
            }
            (Record::Segment(_), Some(chain)) => chain.close(),
        };
        if (&expected.record, &expected.link) != (&said.record, &said.link) {
            return Err(Finding::Altered { line });
        }
        self.count(&said)?;
        Ok(said)
    }

    fn count(&mut self, said: &Line) -> Result<(), Finding> {
        let is_segment = matches!(said.record, Record::Segment(_));
        let is_entry = matches!(said.record, Record::Entry(_));
        if (said.seal.is_some() && !is_segment) || (said.body.is_some() && !is_entry) {
            return Err(Finding::Altered { line: self.line });
        }
        if let Record::Entry(entry) = &said.record {
            self.summary.entries += 1;
            match &said.body {
                None => self.summary.without_body += 1,
                Some(body) if body.hash() == entry.body_sha256 => {}
                Some(_) => return Err(Finding::Body { seq: entry.seq }),
            }
        }
        self.closed = is_segment;
        if is_segment {
            self.summary.segments += 1;
            self.summary.head.clone_from(&said.link);
        }
        Ok(())
    }

    /// What the log holds, once all lines are read, and where it begins.
    ///
    /// # Errors
    /// [`Finding::Incomplete`] where its last segment is not closed.
    pub fn finish(mut self) -> Result<(Begin, Summary), Finding> {
        match (self.chain, self.begin, self.closed) {
            (Some(chain), Some(begin), true) => {
                self.summary.through = chain.through;
                Ok((begin, self.summary))
            }
            _ => Err(Finding::Incomplete { line: self.line.saturating_add(1) }),
        }
    }
}

/// Whether a sequence is the next one.
fn follows(seq: u64, through: u64) -> Result<(), Finding> {
    let next = through.saturating_add(1);
    match seq {
        seq if seq < next => Err(Finding::Order { seq, after: through }),
        seq if seq > next => Err(Finding::Dropped { first: next, last: seq - 1 }),
        _ => Ok(()),
    }
}

/// Whether an archive continues the one before.
///
/// # Errors
/// [`Finding::Detached`] where it does not.
pub fn continues(begin: &Begin, (before, summary): (&Begin, &Summary)) -> Result<(), Finding> {
    let same = begin.org_id == before.org_id && begin.stream == before.stream;
    let next = begin.after == summary.through && begin.previous.as_ref() == Some(&summary.head);
    if same && next { Ok(()) } else { Err(Finding::Detached) }
}

/// The bytes of a head that a seal signs.
#[must_use]
pub fn sealed(head: &str) -> Vec<u8> {
    [DOMAIN, b"head ", head.as_bytes()].concat()
}

impl Body {
    fn of(body: &[u8]) -> Self {
        match std::str::from_utf8(body) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex(hex(body)),
        }
    }

    fn hash(&self) -> String {
        match self {
            Self::Text(text) => hash(&[text.as_bytes()]),
            Self::Hex(text) => {
                let digit = |at: usize| text.get(at..at.saturating_add(2));
                let bytes = (0..text.len()).step_by(2).map_while(digit);
                let bytes = bytes.map_while(|two| u8::from_str_radix(two, 16).ok());
                hash(&[&bytes.collect::<Vec<u8>>()])
            }
        }
    }
}

/// The hash of all parts one after the other, in hex.
fn hash(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a text can't fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
