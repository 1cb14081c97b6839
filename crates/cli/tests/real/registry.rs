//! Who is there and what they can do, through real processes that stop, freeze and die.

use rustix::process::Signal;
use serde_json::{Value, json};
use sinew_testkit::wait;

use crate::kit::{Backbone, LONG};

/// Waits until the instance stands so.
#[track_caller]
fn until(backbone: &Backbone, instance: &str, state: &str) -> Value {
    wait::until_blocking(state, LONG, || {
        let agents = backbone.place.json(&["agent", "list"]);
        let found = agents.as_array().unwrap().iter().find(|it| it["instance"] == instance);
        found.filter(|it| it["state"] == state).cloned().ok_or_else(|| agents.to_string())
    })
}

#[test]
fn an_agent_is_idle_busy_stale_and_gone_as_its_process_is() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let script = "until [ -e go ]; do sleep 0.05; done";
    let usual = ["--instance", "cto-0", "--concurrency", "2", "--skill", "rust"];
    let mut agent = backbone.agent("cto", script, &usual);
    let idle = until(&backbone, "cto-0", "idle");
    assert_eq!((&idle["skills"], &idle["concurrency"]), (&json!(["rust"]), &json!(2)));
    let id = place.get(&["task", "delegate", "cto", "Wait"]);
    assert_eq!(until(&backbone, "cto-0", "busy")["holds"], json!([id]));
    assert!(place.get(&["agent", "list"]).contains("1/2"));
    place.write("go", "");
    until(&backbone, "cto-0", "idle");
    agent.signal(Signal::STOP);
    until(&backbone, "cto-0", "stale");
    assert_eq!(place.json(&["agent", "show", "cto"])["state"], "stale", "nobody else is there");
    agent.signal(Signal::CONT);
    until(&backbone, "cto-0", "idle");
    // In order, it says goodbye; killed, it is only silent.
    agent.signal(Signal::INT);
    agent.end();
    let gone = place.json(&["agent", "list", "--state", "gone"]);
    assert_eq!(gone[0]["instance"], "cto-0");
    let known = place.json(&["agent", "show", "cto"]);
    assert_eq!((&known["state"], &known["instances"]), (&json!("asleep"), &json!([])));
    assert_eq!(known["card"]["skills"], json!(["rust"]));
    let mut again = backbone.agent("cto", script, &["--instance", "cto-1"]);
    until(&backbone, "cto-1", "idle");
    again.signal(Signal::KILL);
    again.end();
    until(&backbone, "cto-1", "stale");
}

#[test]
fn the_list_is_live() {
    let backbone = Backbone::start();
    let mut watch = backbone.place.start("watch", &["agent", "list", "--watch", "--json"]);
    watch.until_says("[]");
    let _agent = backbone.agent("cto", "true", &["--instance", "cto-0"]);
    watch.until_says("idle");
    watch.signal(Signal::INT);
    assert_eq!(watch.end().code(), Some(0));
}

#[test]
fn a_card_is_found_by_its_skill_and_refuses_what_the_role_does_not_accept() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let card = json!({ "about": "Builds", "skills": ["rust"], "accepts": {
        "type": "object", "required": ["files"],
        "properties": { "files": { "type": "array", "items": { "type": "string" } } },
    }});
    let file = place.write("card.json", &card.to_string());
    place.get(&["agent", "describe", "cto", "--card", &file]);
    place.get(&["agent", "register", "writer", "--skill", "words"]);
    let found = place.json(&["agent", "list", "--skill", "Rust"]);
    assert_eq!((&found[0]["role"], found.as_array().unwrap().len()), (&json!("cto"), 1));
    assert!(place.get(&["agent", "show", "cto"]).contains("Builds"));
    let with = |input| ["task", "delegate", "cto", "Build", "--input", input];
    let done = place.run(&with(r#"{"files":["a",7]}"#));
    done.says(2, "cto does not accept the input at /files/1");
    done.says(2, "sinew agent show");
    place.get(&with(r#"{"files":["a"]}"#));
    place.get(&["agent", "describe", "cto", "--accepts", "true"]);
    place.get(&with("7"));
    place.get(&["agent", "forget", "writer"]);
    place.run(&["agent", "forget", "writer"]).says(3, "has no card");
    place.run(&["agent", "show", "writer"]).says(3, "nothing is known");
    place.run(&["agent", "describe", "cto"]).says(2, "nothing is said");
    let odd = place.run(&["agent", "describe", "cto", "--accepts", r#"{"type":"odd"}"#]);
    odd.says(2, "no JSON Schema");
    let wrong = place.write("wrong.json", r#"{"skils":[]}"#);
    place.run(&["agent", "describe", "cto", "--card", &wrong]).says(2, "unknown field `skils`");
}
