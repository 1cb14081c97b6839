//! An audit log in which anything was changed is found out, and one that is whole is not.

use proptest::prelude::*;
use sinew_model::{
    Time,
    audit::{Auditor, Begin, Chain, Entry, Finding, Line, Summary, continues},
};

fn begin(after: u64, previous: Option<String>) -> Begin {
    Begin { org_id: "acme".parse().unwrap(), stream: "ORG_EVENTS".to_owned(), after, previous }
}

fn entry(seq: u64) -> Entry {
    Entry {
        seq,
        subject: "genbrain.org.acme.events".to_owned(),
        stored_at: Time::from_micros(i64::try_from(seq).unwrap()),
        sender: "unsigned".to_owned(),
        headers: vec![("Nats-Msg-Id".to_owned(), format!("m{seq}"))],
        body_sha256: String::new(),
    }
}

/// A log of messages with these gaps before them, with a segment after every third.
fn log(gaps: &[u64]) -> Vec<String> {
    let (mut chain, first) = Chain::begin(begin(0, None));
    let mut lines = vec![first];
    let mut seq = 0;
    for gap in gaps {
        seq += 1 + gap;
        // Some bodies are no text.
        let body = [b"body ".as_slice(), &[u8::try_from(200 + seq % 50).unwrap()]].concat();
        lines.extend(chain.entry(entry(seq), if seq % 2 == 0 { &body } else { b"text" }));
        if chain.open() == 3 {
            lines.push(chain.close());
        }
    }
    lines.push(chain.close());
    lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect()
}

fn audit(lines: &[String]) -> Result<Summary, Finding> {
    let mut auditor = Auditor::new();
    for line in lines {
        auditor.take(line)?;
    }
    Ok(auditor.finish()?.1)
}

fn gaps() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![4 => Just(0), 1 => 1..4_u64], 2..20)
}

proptest! {
    #[test]
    fn what_is_whole_is_found_whole(gaps in gaps()) {
        let summary = audit(&log(&gaps)).unwrap();
        prop_assert_eq!(summary.entries, u64::try_from(gaps.len()).unwrap());
        prop_assert_eq!(summary.missing, gaps.iter().sum::<u64>());
    }

    #[test]
    fn an_altered_byte_is_found(gaps in gaps(), at in any::<prop::sample::Index>(), to in b' '..127) {
        let text = log(&gaps).join("\n");
        let mut bytes = text.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to && bytes[at] != b'\n');
        bytes[at] = to;
        let lines: Vec<String> =
            String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect();
        prop_assert!(audit(&lines).is_err());
    }

    #[test]
    fn a_dropped_line_is_found(gaps in gaps(), at in any::<prop::sample::Index>()) {
        let mut lines = log(&gaps);
        lines.remove(at.index(lines.len()));
        // Without its last line, a log whose last segment is empty ends with the one before.
        let ends = lines.last().is_some_and(|line| line.contains("\"segment\""));
        prop_assert!(audit(&lines).is_err() || ends && audit(&lines) != audit(&log(&gaps)));
    }

    #[test]
    fn two_swapped_lines_are_found(gaps in gaps(), one in any::<prop::sample::Index>(), two in any::<prop::sample::Index>()) {
        let mut lines = log(&gaps);
        let (one, two) = (one.index(lines.len()), two.index(lines.len()));
        prop_assume!(one != two);
        lines.swap(one, two);
        prop_assert!(audit(&lines).is_err());
    }
}

#[test]
fn what_was_done_is_said() {
    let lines = log(&[0, 0, 2, 0]);
    let mut dropped = lines.clone();
    dropped.remove(2);
    assert_eq!(audit(&dropped), Err(Finding::Dropped { first: 2, last: 2 }));
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    assert_eq!(audit(&swapped), Err(Finding::Dropped { first: 1, last: 1 }));
    let mut altered = lines.clone();
    altered[1] = altered[1].replace("\"text\":\"text\"", "\"text\":\"tex7\"");
    assert_eq!(audit(&altered), Err(Finding::Body { seq: 1 }));
    altered[1] = lines[1].replace("acme.events", "acme.eventz");
    assert_eq!(audit(&altered), Err(Finding::Altered { line: 2 }));
    assert!(matches!(audit(&lines[..3]), Err(Finding::Incomplete { .. })));
    assert!(matches!(audit(&lines[1..]), Err(Finding::Incomplete { line: 1 })));
}

#[test]
fn a_body_that_was_taken_out_leaves_the_chain_whole() {
    let mut lines = log(&[0, 0]);
    let mut line: Line = serde_json::from_str(&lines[1]).unwrap();
    line.body = None;
    lines[1] = serde_json::to_string(&line).unwrap();
    assert_eq!(audit(&lines).unwrap().without_body, 1);
}

#[test]
fn an_archive_continues_the_one_before_or_is_detached() {
    let lines = log(&[0, 0]);
    let before = begin(0, None);
    let summary = audit(&lines).unwrap();
    let next = begin(2, Some(summary.head.clone()));
    assert_eq!(continues(&next, (&before, &summary)), Ok(()));
    let gap = Begin { after: 3, ..next.clone() };
    assert_eq!(continues(&gap, (&before, &summary)), Err(Finding::Detached));
    let other = Begin { previous: Some("00".to_owned()), ..next };
    assert_eq!(continues(&other, (&before, &summary)), Err(Finding::Detached));
}
