//! A meeting from the command line, by four roles, to the tasks that it leaves.

use serde_json::json;

use crate::kit::Backbone;

fn with<'a>(role: &'a str, words: &[&'a str]) -> Vec<&'a str> {
    [&["meeting"], words, &["--role", role]].concat()
}

#[test]
fn four_roles_meet_vote_and_their_action_items_are_worked_on() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let _agent =
        place.start("ops", &["agent", "run", "--role", "ops", "--", "sh", "-c", "echo up"]);
    let open = ["meeting", "open", "Ship 2.0?", "--members", "ceo,cto,qa,ops", "--quorum", "4"];
    let more = ["--agenda", "Is it ready?", "--agenda", "When?", "--id", "ship"];
    let rule = ["--rule", "majority-with-veto", "--veto", "qa", "--rounds", "1"];
    let open = [&open[..], &more, &rule].concat();
    assert_eq!(place.get(&open), "ship");
    assert_eq!(place.json(&open)["existed"], true);
    place.run(&[&open[..], &["--for", "2h"]].concat()).says(4, "belongs to another meeting");
    place.run(&with("ceo", &["say", "ship", "early"])).says(4, "has not begun: 0 of 4");
    for role in ["ceo", "cto", "qa", "ops"] {
        assert_eq!(place.json(&with(role, &["join", "ship"]))["joined"], true);
    }
    place.run(&with("cto", &["join", "ship"])).says(4, "cto is there already");
    place.run(&with("cto", &["say", "ship", "me"])).says(4, "it is the turn of ceo");
    for role in ["ceo", "cto"] {
        place.get(&with(role, &["say", "ship", "It is ready."]));
    }
    place.get(&with("qa", &["pass", "ship"]));
    let listed = place.get(&["meeting", "list"]);
    assert!(listed.contains("the turn is ops's"), "{listed}");
    assert_eq!(place.json(&["meeting", "show", "ship"])["holder"], "ops");
    place.get(&with("ops", &["say", "ship", "It is, and I deploy it."]));
    let propose = ["propose", "ship", "Ship it today.", "--action", "ops=Deploy 2.0"];
    assert_eq!(place.get(&with("cto", &propose)), "1");
    let bare = with("qa", &["vote", "ship", "1", "veto"]);
    place.run(&bare).says(2, "a veto needs a reason");
    place
        .run(&with("cto", &["vote", "ship", "1", "veto", "--because", "no"]))
        .says(4, "may not veto");
    place.run(&with("coo", &["vote", "ship", "1", "approve"])).says(4, "coo is no member");
    place.run(&with("qa", &["vote", "ship", "7", "approve"])).says(3, "no proposal 7");
    for role in ["ceo", "cto", "ops"] {
        place.get(&with(role, &["vote", "ship", "1", "approve"]));
    }
    let last = place.json(&with("qa", &["vote", "ship", "1", "abstain"]));
    assert_eq!(last["outcome"], "approved");
    place.get(&with("ceo", &["next", "ship"]));
    place.run(&with("ceo", &["next", "ship"])).says(4, "the last item");
    let task = place.get(&with("ceo", &["close", "ship", "--summary", "We ship."]));
    backbone.until_phase(&task, "completed");
    place.run(&with("ceo", &["say", "ship", "late"])).says(4, "the meeting is closed");
    place.run(&["meeting", "show", "none"]).says(3, "there is no meeting none");
    let minutes = place.json(&["meeting", "minutes", "ship"]);
    assert_eq!(minutes["reason"], "agendaDone");
    assert_eq!(minutes["actionItems"][0]["taskId"], json!(task));
    let minutes = place.get(&["meeting", "minutes", "ship"]);
    assert!(minutes.contains("# Ship 2.0?") && minutes.contains("**approved**"), "{minutes}");
    let watched = place.get(&["meeting", "watch", "ship", "--json"]);
    assert!(
        watched.lines().count() > 15 && watched.contains("\"kind\":\"delegated\""),
        "{watched}"
    );
}

#[test]
fn what_makes_no_meeting_is_refused_and_says_why() {
    let backbone = Backbone::start();
    let check = |args: &[&str], code, words: &str| {
        backbone.place.run(&[&["meeting", "open", "It"], args].concat()).says(code, words);
    };
    check(&[], 2, "--members");
    check(&["--members", "ceo,CTO"], 2, "is not a role");
    check(&["--members", "ceo,ceo"], 2, "named twice");
    check(&["--members", "ceo", "--chair", "cto"], 2, "none of the members");
    check(&["--members", "ceo", "--quorum", "2"], 2, "from 1 to 1");
    check(&["--members", "ceo", "--turns", "loud"], 2, "round-robin");
    check(&["--members", "ceo", "--rule", "coin"], 2, "unanimous");
    check(&["--members", "ceo", "--agenda", "{\"x\":1}"], 2, "not readable");
    check(&["--members", "ceo", "--for", "1500ms"], 2, "whole seconds");
    check(&["--members", "ceo", "--at", "tomorrow"], 2, "is no moment");
    check(&["--members", "ceo", "--id", "a.b"], 2, "is not a meeting id");
    backbone
        .place
        .run(&["meeting", "list", "--url", "nats://127.0.0.1:1", "--org", "a"])
        .says(5, "sinew up");
}
