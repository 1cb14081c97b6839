//! The help, and the reference that is made of it. What it says is part of the contract: a change
//! shows here.

use crate::kit::Place;

const VERBS: &[&[&str]] = &[
    &[],
    &["up"],
    &["completions"],
    &["man"],
    &["server"],
    &["agent"],
    &["agent", "run"],
    &["agent", "list"],
    &["agent", "show"],
    &["agent", "describe"],
    &["agent", "forget"],
    &["agent", "pause"],
    &["agent", "resume"],
    &["agent", "drain"],
    &["task"],
    &["task", "delegate"],
    &["task", "list"],
    &["task", "show"],
    &["task", "watch"],
    &["task", "questions"],
    &["task", "answer"],
    &["task", "accept"],
    &["task", "refuse"],
    &["task", "retry"],
    &["task", "cancel"],
    &["inbox", "send"],
    &["inbox", "reply"],
    &["inbox", "read"],
    &["inbox", "ack"],
    &["inbox", "unread"],
    &["inbox", "history"],
    &["broadcast", "send"],
    &["broadcast", "ack"],
    &["broadcast", "status"],
    &["broadcast", "list"],
    &["meeting"],
    &["meeting", "open"],
    &["meeting", "list"],
    &["meeting", "show"],
    &["meeting", "watch"],
    &["meeting", "join"],
    &["meeting", "leave"],
    &["meeting", "say"],
    &["meeting", "pass"],
    &["meeting", "give"],
    &["meeting", "skip"],
    &["meeting", "propose"],
    &["meeting", "vote"],
    &["meeting", "assign"],
    &["meeting", "next"],
    &["meeting", "close"],
    &["meeting", "minutes"],
    &["events", "emit"],
    &["events", "tail"],
    &["events", "search"],
    &["events", "replay"],
    &["events", "export"],
    &["events", "archive"],
    &["events", "verify"],
    &["topology", "plan"],
    &["topology", "apply"],
    &["schedule", "add"],
    &["schedule", "list"],
    &["schedule", "show"],
    &["schedule", "pause"],
    &["schedule", "resume"],
    &["schedule", "run"],
    &["schedule", "remove"],
    &["org"],
    &["org", "init"],
    &["org", "add"],
    &["org", "list"],
    &["org", "creds"],
    &["org", "rotate"],
    &["org", "revoke"],
    &["org", "incidents"],
    &["org", "remove"],
    &["scale", "status"],
    &["scale", "run"],
    &["mcp"],
    &["mcp", "install"],
    &["mcp", "token"],
    &["schema"],
    &["evidence"],
    &["doctor"],
    &["demo"],
    &["bench"],
];

#[test]
fn the_help_of_every_verb() {
    let place = Place::new();
    let mut all = String::new();
    for verb in VERBS {
        let help = place.get(&[*verb, &["--help"]].concat());
        all.push_str(&format!("$ sinew {}\n{help}\n\n", [*verb, &["--help"]].concat().join(" ")));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn the_reference_is_what_the_program_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/cli.md");
    let written = std::fs::read_to_string(path).unwrap();
    let said = Place::new().get(&["reference"]);
    assert!(
        said.trim_end() == written.trim_end(),
        "docs/reference/cli.md is old: sinew reference > docs/reference/cli.md"
    );
}
