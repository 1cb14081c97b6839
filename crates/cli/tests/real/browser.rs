//! The dashboard as people use it: each test is a journey in a real browser, against the real
//! `sinew up`. The journeys are functions of `browser/journeys.py`; what they have in common is in
//! `browser/kit.py`.

use std::time::Duration;

use serde_json::Value;
use sinew_testkit::{Python, Script, install};

use crate::kit::{Backbone, SINEW};

/// Longer than any journey takes on a machine that does other things too.
const JOURNEY: Duration = Duration::from_secs(170);

/// Goes on one journey.
fn go(name: &str) {
    let backbone = Backbone::start();
    let ready: Value = serde_json::from_str(&backbone.up.out()).unwrap();
    let said = script(name)
        .env("SINEW_FOLDER", backbone.place.path("."))
        .env("DASHBOARD_LINK", ready["dashboard"].as_str().unwrap())
        .env("UP_PID", backbone.up.pid().to_string())
        .env("UP_PORT", ready["url"].as_str().unwrap().rsplit(':').next().unwrap())
        .run_blocking()
        .success();
    assert!(said.contains("arrived"), "{said}");
}

fn script(name: &str) -> Script {
    let clients = install::browser_clients();
    Python::script("crates/cli/tests/real/browser/journeys.py")
        .arg(name)
        .env("PYTHONPATH", clients)
        .env("BROWSER_PROGRAM", install::browser())
        .env("SINEW_PROGRAM", SINEW)
        .env("SINEW_NATS_SERVER", install::nats_server())
        .timeout(JOURNEY)
}

#[test]
fn a_task_is_seen_from_its_delegation_to_its_end_without_reloading() {
    go("task_to_its_end");
}

#[test]
fn a_task_is_delegated_and_called_off() {
    go("delegated_and_cancelled");
}

#[test]
fn a_question_is_answered() {
    go("answered");
}

#[test]
fn a_result_is_judged() {
    go("verdict_given");
}

#[test]
fn a_meeting_is_followed_live_and_voted_in() {
    go("meeting_followed");
}

#[test]
fn a_dead_letter_is_retried() {
    go("dead_letter_retried");
}

#[test]
fn everything_is_reached_by_the_keyboard_alone() {
    go("keyboard_only");
}

#[test]
fn two_orgs_never_see_each_other() {
    go("two_orgs");
}

#[test]
fn whoever_is_let_in_has_the_rights_of_their_role_and_nobody_else_sees_anything() {
    go("rights_of_a_role");
}

#[test]
fn a_hostile_title_is_text() {
    go("hostile_title");
}

#[test]
fn a_hundred_thousand_tasks_are_listed_and_filtered() {
    go("many_tasks");
}

#[test]
fn a_page_outlives_a_restart_of_the_server() {
    go("server_restarts");
}

#[test]
fn every_page_is_sound_in_light_and_dark_and_on_a_narrow_screen() {
    go("pages_in_light_and_dark");
}
