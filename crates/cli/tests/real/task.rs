//! What is refused, with which exit code, and what is printed.

use std::process::Stdio;

use crate::kit::{Backbone, Done, Place};

#[test]
fn input_that_is_not_acceptable_does_nothing_and_says_why() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let large = place.write("large.json", &format!("\"{}\"", "x".repeat(64 << 20)));
    let large = format!("@{large}");
    let check = |args: &[&str], code, words| {
        place.run(&[&["task", "delegate"], args].concat()).says(code, words);
    };
    check(&["a.b", "Title"], 2, "is not a role");
    check(&["CTO", "Title"], 2, "only a-z");
    check(&["broadcast", "Title"], 2, "reserved");
    check(&["cto", "two\nlines"], 2, "one line");
    check(&["cto", ""], 2, "one line");
    check(&["cto", "Title", "--id", "a.b"], 2, "is not a task id");
    check(&["cto", "Title", "--input", &large], 2, "over the limit");
    check(&["cto", "Title", "--input", "no json"], 2, "hint:");
    check(&["cto", "Title", "--input", "@/no/such"], 2, "/no/such");
    check(&["cto", "Title", "--deadline", "soon"], 2, "is no moment");
    check(&["cto", "Title", "--priority", "high"], 2, "urgent, normal or low");
    check(&["cto", "Title", "--max-attempts", "0"], 2, "maxAttempts");
    check(&["cto", "Title", "--parent", "T9"], 3, "there is no task T9");
    place.run(&["task", "show", "T9"]).says(3, "there is no task T9");
    place.run(&["task", "show", "a b"]).says(2, "is not a task id");
    place.run(&["frobnicate"]).says(2, "frobnicate");
    place.run(&["events", "emit", "x", "--details", "{"]).says(2, "no JSON");
    assert_eq!(place.json(&["task", "list"])["tasks"], serde_json::json!([]));
}

#[test]
fn an_id_is_of_one_piece_of_work_for_ever() {
    let backbone = Backbone::start();
    let again = ["task", "delegate", "cto", "One", "--id", "T1"];
    assert_eq!(backbone.place.json(&again)["existed"], false);
    assert_eq!(backbone.place.json(&again)["existed"], true);
    let other = backbone.place.run(&["task", "delegate", "cto", "Two", "--id", "T1"]);
    other.says(4, "belongs to another task");
    let parent = backbone.place.run(&["task", "delegate", "cto", "Three", "--parent", "T1"]);
    parent.says(4, "is not running");
}

#[test]
fn a_queue_that_is_full_refuses() {
    let backbone = Backbone::start();
    let file = backbone.place.write("t.toml", "[streams.AGENT_TASKS]\nmax_msgs = 1\n");
    backbone.place.run(&["topology", "plan", "--file", &file]).says(1, "");
    backbone.place.get(&["topology", "apply", "--file", &file]);
    backbone.place.get(&["topology", "plan", "--file", &file]);
    backbone.place.get(&["task", "delegate", "cto", "One"]);
    let two = ["task", "delegate", "cto", "Two", "--id", "T2"];
    let refused = backbone.place.run(&two);
    refused.says(4, "the queue of cto is full: 1 of at most 1 assignments lie in the queues");
    refused.says(4, "hint: nothing was delegated; wait with --wait-for-room");
    backbone.place.run(&["task", "show", "T2"]).says(3, "there is no task T2");
    let waits = [&two[..], &["--wait-for-room"]].concat();
    backbone.place.run(&[&waits[..], &["100ms"]].concat()).says(4, "the queue of cto is full");
    let mut waits = backbone.place.start("two", &[&waits[..], &["30s", "--wait"]].concat());
    let _agent = backbone.agent("cto", "echo done", &[]);
    assert!(waits.end().success(), "{}", waits.err());
    assert_eq!(waits.out(), "done\n");
}

#[test]
fn a_scheduled_task_waits_and_shows_it() {
    let backbone = Backbone::start();
    backbone.place.get(&["task", "delegate", "cto", "Later", "--id", "T1", "--delay", "1h"]);
    let listed = backbone.place.json(&["task", "list", "--phase", "scheduled"]);
    assert_eq!(listed["tasks"][0]["taskId"], "T1");
    assert_eq!(backbone.place.json(&["task", "list", "--ended"])["tasks"], serde_json::json!([]));
    let shown = backbone.place.get(&["task", "show", "T1"]);
    assert!(shown.contains("\nnext try  ") && shown.contains("\ndeadline  "), "{shown}");
    // What would be given up before it may begin is a slip.
    let late = ["task", "delegate", "cto", "Late", "--delay", "2h", "--deadline", "1h"];
    backbone.place.run(&late).says(2, "a later --deadline");
    // Its days count from the moment at which it may begin.
    backbone.place.get(&["task", "delegate", "cto", "Next month", "--delay", "30d"]);
}

#[test]
fn what_waits_for_another_try_is_found_among_those() {
    let backbone = Backbone::start();
    let longer = ["--retry-first", "1h"];
    let args = ["agent", "run", "--role", "cto", "--", "sh", "-c", "exit 3"];
    let _agent = backbone.place.start("cto", &[&args[..4], &longer, &args[4..]].concat());
    backbone.place.get(&["task", "delegate", "cto", "Fails", "--id", "T1"]);
    backbone.until_phase("T1", "retrying");
    let shown = backbone.place.get(&["task", "show", "T1"]);
    assert!(shown.contains("to be tried again at 2"), "{shown}");
}

#[test]
fn a_plan_says_how_it_is_applied() {
    let backbone = Backbone::start();
    backbone.place.write("t.toml", "[streams.AGENT_TASKS]\nmax_msgs = 50\n");
    let plan = backbone.place.run(&["topology", "plan", "--file", "t.toml"]);
    assert_eq!(plan.code, Some(1));
    assert!(plan.out.contains("`sinew topology apply --file t.toml` mends it"), "{plan:?}");
    backbone.place.get(&["topology", "apply", "--file", "t.toml"]);
    backbone.place.get(&["topology", "plan", "--file", "t.toml"]);
}

#[test]
fn every_verb_prints_json_that_parses() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    place.get(&["task", "delegate", "cto", "One", "--id", "T1"]);
    for args in [
        &["task", "list"][..],
        &["task", "questions"],
        &["task", "retry", "--all"],
        &["task", "show", "T1"],
        &["task", "cancel", "T1"],
        &["agent", "list"],
        &["events", "emit", "tried"],
        &["topology", "show"],
        &["topology", "plan"],
        &["topology", "apply"],
        &["schema", "--list"],
        &["schema", "assignment"],
        &["schema", "--asyncapi"],
        &["doctor"],
    ] {
        place.json(args);
    }
    for args in
        [&["events", "tail", "--no-follow"][..], &["inbox", "read"], &["task", "watch", "T1"]]
    {
        let out = place.run(&[args, &["--json"]].concat()).out;
        assert!(!out.is_empty(), "{args:?}");
        for line in out.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{args:?}: {line}");
        }
    }
    let refused = place.run(&["task", "show", "T9", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&refused.err).unwrap();
    assert_eq!((&error["code"], refused.code), (&3.into(), Some(3)));
}

#[test]
fn without_a_backbone_it_says_what_to_do() {
    let place = Place::new();
    place.run(&["task", "list"]).says(5, "run `sinew up`");
    place.run(&["task", "list", "--url", "nats://127.0.0.1:1"]).says(2, "--org");
    let login = place.run(&["task", "list", "--url", "nats://bob:pass@127.0.0.1:1"]);
    login.says(2, "which org at nats://127.0.0.1:1?");
    let nobody = ["task", "list", "--url", "nats://127.0.0.1:1", "--org", "acme"];
    place.run(&nobody).says(5, "no connection");
    place.run(&["task", "list", "--context", "no/such.json"]).says(5, "no/such.json");
    place.write("bad.json", "{}");
    place.run(&["task", "list", "--context", "bad.json"]).says(2, "is no context");
    let doctor = place.run(&["doctor"]);
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    assert!(doctor.out.contains("mend: run `sinew up`"), "{doctor:?}");
    place.get(&["schema", "--list"]);
}

#[test]
fn the_password_of_a_context_goes_to_no_other_server() {
    let backbone = Backbone::start();
    let other = sinew_testkit::NatsServer::start();
    // That server asks nobody for a password, and knows no task.
    let elsewhere = ["task", "list", "--url", &other.url(), "--org", "acme", "--json"];
    backbone.place.get(&["task", "delegate", "cto", "One"]);
    assert!(!backbone.place.get(&elsewhere).contains("One"));
    backbone.place.run(&["task", "list", "--org", "other"]).says(2, "of the org acme");
}

#[test]
fn a_reader_that_has_left_is_no_error() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = place.command(&["schema", "--asyncapi"]);
    let output = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    let listed = Done::of(&mut place.command(&["schema", "nothing"]));
    listed.says(3, "there are acknowledgement, assignment");
}
