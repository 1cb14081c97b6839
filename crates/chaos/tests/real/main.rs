//! Short runs of the whole: that nothing is lost while things break, and that a run which loses
//! something says so.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends with a message")]

use std::process::Command;

use serde_json::Value;
use sinew_testkit::{PowerStore, TempDir, power::Entries};

/// What a run says as JSON, and whether it found all well.
fn run(words: &str) -> (Value, bool) {
    let dir = TempDir::new("chaos-test");
    let json = dir.join("report.json");
    let done = Command::new(env!("CARGO_BIN_EXE_sinew-chaos"))
        .args(words.split_whitespace())
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(matches!(done.status.code(), Some(0 | 1)), "{words}: {}\n{told}", done.status);
    let report = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    show(&format!("{words}\n{said}\n{told}"));
    (report, done.status.success())
}

#[expect(clippy::print_stderr, reason = "a failed run is had again with what it says here")]
fn show(what: &str) {
    eprintln!("{what}");
}

/// Where servers store: where their power can be cut, or on the disk, and then loudly.
fn store() -> Option<&'static str> {
    match PowerStore::start(Entries::Journaled) {
        Ok(_) => Some("journaled"),
        Err(missing) => {
            show(&format!("SKIPPED power cuts and full disks: {missing}"));
            None
        }
    }
}

fn is_good(words: &str) {
    let (report, good) = run(words);
    assert!(good, "{words}: {}", report["wrong"]);
    assert_eq!(report["rested"], true);
    assert!(report["counts"]["ends"]["completed"].as_u64().unwrap() > 0);
}

#[test]
fn chaos_on_one_server_loses_nothing_and_doubles_nothing() {
    let kinds = "kill-agent,lose-agent,pause-agent,cut-agent,deafen-delegator,kill-controller,\
                 kill-server,pause-server";
    let (store, more) = store().map_or(("disk", ""), |store| (store, ",power-cut,full-disk"));
    // Of this seed, every one of the ten kinds strikes.
    is_good(&format!("--seed 1219 --tasks 80 --faults 11 --store {store} --kinds {kinds}{more}"));
}

#[test]
fn chaos_on_three_servers_loses_nothing_and_doubles_nothing() {
    let kinds = "kill-agent,cut-agent,kill-leader,pause-server";
    let (store, more) = store().map_or(("disk", ""), |store| (store, ",power-cut"));
    // Of this seed, every one of the five kinds strikes.
    is_good(&format!(
        "--nodes 3 --agents 2 --seed 9 --tasks 30 --faults 5 --store {store} --kinds {kinds}{more}"
    ));
}

#[test]
fn chaos_says_so_where_tasks_are_lost() {
    let Some(store) = store() else { return };
    // Of this seed, more than half a second of work goes before each of the two power cuts. What
    // waits for a task that is lost would wait for as long as the run does.
    let (report, good) = run(&format!(
        "--seed 107 --agents 2 --tasks 60 --faults 2 --ways straight --durability interval \
         --store {store} --kinds power-cut"
    ));
    assert!(!good, "a server that syncs now and then lost nothing at a power cut");
    let lost = report["wrong"].as_array().unwrap().iter().filter(|it| it["wrong"] == "lost");
    assert!(lost.count() > 0, "{}", report["wrong"]);
}
