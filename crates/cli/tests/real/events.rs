//! `sinew events`: what was done is found, told as a story, and kept so that every change shows.

use serde_json::Value;

use crate::kit::{Backbone, Place};

fn emit(place: &Place, role: &str, action: &str, details: &str) {
    place.get(&["events", "emit", action, "--details", details, "--role", role]);
}

#[test]
fn events_are_found_by_words_and_filters_and_told_with_their_task() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    emit(place, "marketing", "file.write", r#"{"path":"blog/new-post.md"}"#);
    emit(place, "cto", "deploy", r#"{"to":"production"}"#);
    let found = place.json(&["events", "search", "blog", "po*"]);
    assert_eq!(found["events"][0]["event"]["action"], "file.write");
    assert_eq!(found["events"].as_array().unwrap().len(), 1, "{found}");
    assert!(place.get(&["events", "search", "blog"]).contains("[blog]"));
    let page = place.json(&["events", "search", "--limit", "1"]);
    assert_eq!(page["events"][0]["event"]["action"], "deploy");
    let next = page["next"].to_string();
    let older = place.json(&["events", "search", "--before", &next]);
    assert_eq!(older["events"][0]["event"]["action"], "file.write");
    place.run(&["events", "search", "--by", "nobody"]).says(0, "no events");
    place.run(&["events", "search", "--since", "yesterday"]).says(2, "a span back from now");
    place.run(&["events", "replay", "T9"]).says(3, "there is no task T9");

    let _agent = backbone.agent("cto", "echo '{\"event\":\"test.run\"}'; echo done", &[]);
    place.get(&["task", "delegate", "cto", "Try it", "--id", "T1", "--wait"]);
    let story = place.get(&["events", "replay", "T1"]);
    let places = ["created", "started", "test.run", "completed"].map(|word| story.find(word));
    assert!(places.is_sorted() && places[0].is_some(), "{story}");
    let before = place.run(&["events", "replay", "T1", "--at", "2020-01-01T00:00:00Z"]);
    before.says(0, "nothing had happened yet");
}

#[test]
fn an_altered_byte_a_dropped_entry_and_two_swapped_ones_are_found() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    for action in ["one", "two", "three"] {
        emit(place, "cto", action, "{}");
    }
    assert_eq!(place.json(&["events", "export", "a.jsonl"])["entries"], 3);
    let whole = place.json(&["events", "verify", "a.jsonl"]);
    assert_eq!((&whole["found"]["entries"], &whole["found"]["missing"]), (&3.into(), &0.into()));
    place.run(&["events", "export", "a.jsonl"]).says(2, "is there already");
    place.run(&["events", "verify", "b.jsonl"]).says(3, "can't be read");
    place.run(&["events", "verify", "a.jsonl", "--head", "00"]).says(1, "it ends elsewhere");
    place.run(&["events", "verify", "a.jsonl", "--key", "UNOBODY"]).says(1, "0 of 1 segments");

    let text = std::fs::read_to_string(place.path("a.jsonl")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let check = |name: &str, lines: &[&str], says: &str| {
        place.write(name, &format!("{}\n", lines.join("\n")));
        place.run(&["events", "verify", name]).says(1, says);
    };
    let altered = lines[2].replacen("\\\"two\\\"", "\\\"twa\\\"", 1);
    assert_ne!(altered, lines[2]);
    check("altered", &[lines[0], lines[1], &altered, lines[3], lines[4]], "entry 2 is altered");
    check("dropped", &[lines[0], lines[1], lines[3], lines[4]], "entries 2 to 2 were dropped");
    let swapped = [lines[0], lines[2], lines[1], lines[3], lines[4]];
    check("swapped", &swapped, "entries 1 to 1 were dropped");
    check("short", &lines[..4], "it is not whole");
}

#[test]
fn an_archive_goes_on_where_it_ended_and_a_lost_file_is_found() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    emit(place, "cto", "one", "{}");
    let first = place.json(&["events", "archive", "kept"]);
    assert_eq!(first["entries"], 1);
    emit(place, "cto", "two", "{}");
    // The head of the first run was told to the org, so it is kept as well.
    let second = place.json(&["events", "archive", "kept"]);
    assert_eq!(second["entries"], 2, "{second}");
    let told = place.json(&["events", "search", "--type", "org.audit"]);
    assert_eq!(told["events"][1]["event"]["details"]["head"], first["head"], "{told}");
    let whole = place.json(&["events", "verify", "kept"]);
    assert_eq!((&whole["files"], &whole["found"]["entries"]), (&2.into(), &3.into()));
    assert_eq!(whole["found"]["head"], second["head"]);
    place.run(&["events", "archive", "kept", "--of", "tasks"]).says(2, "holds ORG_EVENTS of acme");
    place.get(&["events", "archive", "kept"]);
    std::fs::remove_file(place.path(second["file"].as_str().unwrap())).unwrap();
    place.run(&["events", "verify", "kept"]).says(1, "does not continue");
    // A packed file in which a byte was altered.
    let file = place.path(first["file"].as_str().unwrap());
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    place.run(&["events", "verify", first["file"].as_str().unwrap()]).says(1, "altered");
}

#[test]
fn tasks_are_exported_as_events_are() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let _agent = backbone.agent("cto", "echo done", &[]);
    place.get(&["task", "delegate", "cto", "Try it", "--id", "T1", "--wait"]);
    let written = place.json(&["events", "export", "t.jsonl.zst", "--of", "tasks"]);
    assert!(written["entries"].as_u64().unwrap() >= 3, "{written}");
    let found: Value = place.json(&["events", "verify", "t.jsonl.zst"]);
    assert_eq!(found["stream"], "TASK_LOG");
    assert_eq!(found["found"]["entries"], written["entries"]);
}
