//! Tasks that recur, from the command line to the agent.

use crate::kit::{Backbone, LONG};

#[test]
fn a_task_recurs_and_shows_it_and_is_removed() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let _agent =
        place.start("cto", &["agent", "run", "--role", "cto", "--", "sh", "-c", "echo hi"]);
    let add = ["schedule", "add", "beat", "cto", "Beat", "--every", "1s", "--max-runs", "2"];
    assert_eq!(place.json(&add)["existed"], false);
    assert_eq!(place.json(&add)["existed"], true);
    place.run(&[&add[..6], &["1h"]].concat()).says(4, "another schedule");
    sinew_testkit::wait::until_blocking("both runs", LONG, || {
        let it = place.json(&["schedule", "show", "beat"])["schedule"].clone();
        let over = it["standing"] == "ended" && it.get("pending").is_none();
        if over { Ok(()) } else { Err(it.to_string()) }
    });
    let last = place.json(&["schedule", "show", "beat"])["schedule"]["last"]["taskId"].clone();
    backbone.until_phase(last.as_str().unwrap(), "completed");
    let shown = place.get(&["schedule", "show", "beat"]);
    assert!(shown.contains("runs       2 of 2") && shown.contains("  delegated "), "{shown}");
    let listed = place.get(&["schedule", "list"]);
    assert!(listed.contains("every 1.00s") && listed.contains("ended"), "{listed}");
    let by_hand = place.get(&["schedule", "run", "beat"]);
    backbone.until_phase(by_hand.trim(), "completed");
    place.run(&["schedule", "pause", "beat"]).says(4, "has ended");
    place.get(&["schedule", "remove", "beat"]);
    place.run(&["schedule", "resume", "beat"]).says(3, "no such schedule");
    assert_eq!(place.json(&["schedule", "list"])["schedules"], serde_json::json!([]));
}

#[test]
fn what_makes_no_schedule_is_refused_and_says_why() {
    let backbone = Backbone::start();
    let check = |name: &str, args: &[&str], code, words| {
        let all = [&["schedule", "add", name, "cto", "Title"], args].concat();
        backbone.place.run(&all).says(code, words);
    };
    check("a", &[], 2, "--every");
    check("a", &["--every", "1h", "--cron", "* * * * *"], 2, "cannot be used with");
    check("a", &["--every", "1500ms"], 2, "whole seconds");
    check("a", &["--every", "0s"], 2, "whole seconds");
    check("a", &["--every", "1h", "--time-zone", "UTC"], 2, "cannot be used with");
    check("a", &["--cron", "61 * * * *"], 2, "cron expression");
    check("a", &["--cron", "0 * * * * *"], 2, "five fields");
    check("a", &["--cron", "0 9 * * *", "--time-zone", "Mars/Olympus"], 2, "Europe/Berlin");
    check("a", &["--every", "1h", "--until", "1m"], 2, "never fire");
    check("a", &["--every", "1h", "--max-runs", "0"], 2, "one run");
    check("a", &["--every", "1h", "--overlap", "maybe"], 2, "skip");
    check("A.b", &["--every", "1h"], 2, "is not a schedule's name");
    backbone.place.run(&["schedule", "show", "none"]).says(3, "no schedule none");
    let zoned = ["--cron", "0 9 * * MON-FRI", "--time-zone", "Europe/Berlin"];
    check("nine", &zoned, 0, "");
}
