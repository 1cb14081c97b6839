//! `sinew inbox` and `sinew broadcast`, as a person and a program use them.

use serde_json::{Value, json};
use sinew_testkit::wait;

use crate::kit::{Backbone, LONG, Place, words};

/// JSON lines as values.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn unread(place: &Place, role: &str) -> Value {
    place.json(&["inbox", "unread", "--role", role])
}

#[test]
fn messages_are_read_once_the_urgent_first_and_answered_in_their_thread() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let usual = place.get(&["inbox", "send", "cto", "tidy up", "--role", "ceo"]);
    place.get(&["inbox", "send", "cto", "fire!", "--priority", "urgent", "--role", "ceo"]);
    let body = r#"{"build":17}"#;
    place.get(&["inbox", "send", "cto", "--body", body, "--type", "build", "--role", "ceo"]);
    assert_eq!(unread(place, "cto")["total"], 3);
    let read = lines(&place.get(&["inbox", "read", "--role", "cto", "--json"]));
    let said: Vec<_> = read.iter().map(|mail| &mail["body"]).collect();
    assert_eq!(
        said,
        [&json!({ "text": "fire!" }), &json!({ "text": "tidy up" }), &json!({ "build": 17 })]
    );
    assert_eq!((&read[2]["type"], &read[2]["from"]), (&"build".into(), &"ceo".into()));
    assert_eq!(unread(place, "cto")["total"], 0);
    place.run(&["inbox", "read", "--role", "cto"]).says(0, "nothing unread");
    place.get(&["inbox", "reply", &usual, "done", "--role", "cto"]);
    let answer = lines(&place.get(&["inbox", "read", "--role", "ceo", "--json"])).remove(0);
    assert_eq!((&answer["inReplyTo"], &answer["correlationId"]), (&json!(usual), &json!(usual)));
    let thread = ["inbox", "history", "--role", "ceo", "--thread", &usual, "--json"];
    assert_eq!(lines(&place.get(&thread)).len(), 1);
    let all = place.get(&["inbox", "history", "--role", "cto"]);
    assert_eq!(all.lines().count(), 3, "read messages are still told: {all}");
    assert_eq!(place.get(&["inbox", "history", "--role", "cto", "--last", "1"]).lines().count(), 1);
}

#[test]
fn what_is_taken_without_an_ack_is_open_until_it_is_acked() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let id = place.get(&["inbox", "send", "cto", "x", "--id", "m1"]);
    assert_eq!(id, "m1");
    place.run(&["inbox", "ack", "m1", "--role", "cto"]).says(3, "no reader has the message m1");
    place.get(&["inbox", "read", "--role", "cto", "--no-ack"]);
    let open = unread(place, "cto");
    assert_eq!((&open["total"], &open["open"]), (&1.into(), &1.into()));
    place.run(&["inbox", "read", "--role", "cto"]).says(0, "1 more are read and not acked");
    assert_eq!(place.json(&["inbox", "ack", "m1", "--role", "cto"])["acked"], "m1");
    assert_eq!(unread(place, "cto")["total"], 0);
}

#[test]
fn who_follows_gets_what_comes_and_acks_it() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let follow = ["inbox", "read", "--follow", "--role", "cto", "--json"];
    let mut reader = place.start("reader", &follow);
    place.get(&["inbox", "send", "cto", "first"]);
    reader.until_says("first");
    place.get(&["inbox", "send", "cto", "now", "--priority", "urgent"]);
    reader.until_says("now");
    wait::until_blocking("both to be acked", LONG, || {
        let left = unread(place, "cto");
        if left["total"] == 0 { Ok(()) } else { Err(left.to_string()) }
    });
    reader.signal(rustix::process::Signal::INT);
    assert_eq!(reader.end().code(), Some(0));
}

#[test]
fn a_program_sends_a_message_once_however_often_it_is_tried() {
    let backbone = Backbone::start();
    let script = "sinew inbox send writer hello && sinew inbox send writer hello
        mkdir once 2>/dev/null && exit 1; echo done";
    let _agent = backbone.agent("cto", script, &[]);
    let place = &backbone.place;
    place.get(&["task", "delegate", "cto", "Tell", "--id", "T1", "--wait"]);
    let told = lines(&place.get(&["inbox", "history", "--role", "writer", "--json"]));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|mail| mail["taskId"] == "T1" && mail["from"] == "cto"), "{told:?}");
    let life = backbone.show("T1");
    assert_eq!(words(&life).iter().filter(|word| **word == "effect").count(), 2);
    assert!(place.get(&["task", "show", "T1"]).contains("sends to writer"));
}

#[test]
fn a_broadcast_tells_who_is_silent() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    for role in ["cto", "cfo"] {
        place.get(&["agent", "describe", role, "--about", "x"]);
    }
    let id = place.get(&["broadcast", "send", "Freeze", "--ack-within", "1h", "--role", "ceo"]);
    let status = |more: &[&str]| place.json(&[&["broadcast", "status", &id], more].concat());
    assert_eq!(status(&[])["missing"], json!(["cfo", "cto"]));
    let mail = lines(&place.get(&["inbox", "read", "--role", "cto", "--json"])).remove(0);
    assert_eq!(mail["to"], "broadcast");
    assert_eq!(place.json(&["broadcast", "ack", &id[..20], "--role", "cto"])["first"], true);
    assert_eq!(place.json(&["broadcast", "ack", &id, "--role", "cto"])["first"], false);
    let it = status(&[]);
    assert_eq!((&it["missing"], &it["acknowledged"][0]["role"]), (&json!(["cfo"]), &json!("cto")));
    assert!(place.get(&["broadcast", "list"]).contains("Freeze"));

    let now = ["broadcast", "send", "Now", "--ack-within", "1s", "--expect", "cto,artist"];
    let now = place.get(&now);
    let mut follow = place.start("follow", &["broadcast", "status", &now, "--follow"]);
    assert_eq!(follow.end().code(), Some(1), "somebody has not");
    assert!(follow.out().contains("artist") && follow.out().contains("silent"), "{}", follow.out());
    place.run(&["broadcast", "status", "nope"]).says(3, "no message to everybody");
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let place = Place::new();
    place.run(&["inbox", "send", "CTO", "x"]).says(2, "is not a role");
    place.run(&["inbox", "send", "cto", "--body", "{"]).says(2, "the body is no JSON");
    place
        .run(&["inbox", "send", "cto", "x", "--priority", "soon"])
        .says(2, "urgent, normal or low");
    place.run(&["inbox", "send", "cto", "x"]).says(5, "sinew up");
    place.run(&["inbox", "send", "cto"]).says(2, "TEXT");
    let backbone = Backbone::on(place);
    let place = &backbone.place;
    place.run(&["broadcast", "send", "x", "--id", "a.b"]).says(2, "not the id of a broadcast");
    place.run(&["inbox", "reply", "nope", "x"]).says(3, "no message \"nope\"");
    let large = place.write("large.json", &format!("\"{}\"", "x".repeat(1_100_000)));
    let done = place.run(&["inbox", "send", "cto", "--body", &format!("@{large}")]);
    done.says(2, "over the limit of");
    place.get(&["inbox", "send", "cto", "x", "--id", "m1"]);
    place.run(&["inbox", "send", "cto", "y", "--id", "m1"]).says(4, "belongs to another message");
}
