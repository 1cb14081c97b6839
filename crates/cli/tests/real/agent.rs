//! `sinew agent run`: a program is an agent, and its exit code and signals mean what is promised.

use rustix::process::Signal;
use serde_json::json;
use sinew_testkit::wait;

use crate::kit::{Backbone, LONG, SINEW, signal, wait_gone, words};

fn delegate<'a>(role: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["task", "delegate", role, "Do it"], more].concat()
}

#[test]
fn what_a_program_prints_is_progress_events_and_the_result() {
    let backbone = Backbone::start();
    let script = r#"echo '{"progress":{"message":"half","percent":50}}'
        echo '{"event":{"action":"file.write","details":{"path":"a"}}}'
        echo "{\"result\":{\"task\":\"$SINEW_TASK_ID\",\"role\":\"$SINEW_ROLE\",\"org\":\"$SINEW_ORG\",\"attempt\":$SINEW_ATTEMPT}}""#;
    let _agent = backbone.agent("cto", script, &["--instance", "cto-0"]);
    let args = delegate("cto", &["--id", "T1", "--wait", "--json"]);
    let done = backbone.place.run(&args);
    done.says(0, "50% half");
    let said: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    let result = json!({ "task": "T1", "role": "cto", "org": "acme", "attempt": 1 });
    assert_eq!(
        said,
        json!({
            "taskId": "T1", "end": "completed", "result": result, "verified": null, "attempts": 1,
        })
    );
    assert_eq!(words(&backbone.show("T1")), ["created", "started", "progress", "completed"]);

    let event = backbone.place.json(&["events", "tail", "--no-follow"]);
    assert_eq!((&event["action"], &event["taskId"]), (&"file.write".into(), &"T1".into()));
    let mail = backbone.place.get(&["inbox", "read", "--json"]);
    assert!(mail.lines().last().unwrap().contains("task.completed"), "{mail}");
    let agents = backbone.place.json(&["agent", "list"]);
    assert_eq!((&agents[0]["instance"], &agents[0]["state"]), (&"cto-0".into(), &"idle".into()));
}

#[test]
fn text_is_the_result_and_goes_to_stdout_alone() {
    let backbone = Backbone::start();
    let _agent = backbone.agent("cto", "cat >/dev/null; echo one; echo two", &[]);
    assert_eq!(backbone.place.get(&delegate("cto", &["--wait"])), "one\ntwo");
}

#[test]
fn a_program_that_fails_is_tried_again_and_then_given_up_with_its_last_words() {
    let backbone = Backbone::start();
    let _agent = backbone.agent("cto", "echo 'no luck' >&2; exit 3", &[]);
    let done =
        backbone.place.run(&delegate("cto", &["--id", "T1", "--max-attempts", "2", "--wait"]));
    done.says(1, "did not complete");
    assert_eq!(done.out, "");
    let life = backbone.show("T1");
    assert_eq!(words(&life), ["created", "started", "released", "started", "dead"]);
    assert!(life.to_string().contains("exit code 3: no luck"), "{life}");
}

#[test]
fn exit_code_75_asks_for_another_try_and_is_no_failure() {
    let backbone = Backbone::start();
    let _agent = backbone.agent("cto", "mkdir once 2>/dev/null && exit 75; echo done", &[]);
    assert_eq!(backbone.place.get(&delegate("cto", &["--id", "T1", "--wait"])), "done");
    let state = &backbone.show("T1")["state"];
    assert_eq!((&state["attempts"], &state["failures"]), (&2.into(), &0.into()));
}

/// Goes on until it is told to stop, and says so.
const STUBBORN: &str = "trap 'echo term > told; exit 1' TERM; echo $$ > begun
    while :; do sleep 0.05; done";

#[test]
fn cancelling_a_task_stops_its_program() {
    let backbone = Backbone::start();
    let _agent = backbone.agent("cto", STUBBORN, &[]);
    let id = backbone.place.get(&delegate("cto", &[]));
    let pid: u32 = backbone.place.wait_for("begun").parse().unwrap();
    // A prefix does as well as the whole id.
    backbone.place.get(&["task", "cancel", &id[..30]]);
    assert_eq!(backbone.place.wait_for("told"), "term");
    wait_gone(pid);
    backbone.place.run(&["task", "watch", &id]).says(1, "");
    let again = backbone.place.run(&["task", "cancel", &id]);
    assert_eq!((again.code, again.out.contains("too late: it is cancelled")), (Some(4), true));
}

#[test]
fn an_agent_that_is_told_to_stop_lets_its_program_end() {
    let backbone = Backbone::start();
    let script = "echo x > begun; while ! [ -e go ]; do sleep 0.02; done; echo done";
    let mut agent = backbone.agent("cto", script, &["--drain", "20s"]);
    let id = backbone.place.get(&delegate("cto", &[]));
    backbone.place.wait_for("begun");
    agent.signal(Signal::TERM);
    let later = backbone.place.get(&delegate("cto", &[]));
    backbone.place.write("go", "");
    assert_eq!(agent.end().code(), Some(0));
    assert_eq!(backbone.show(&id)["state"]["phase"]["end"]["result"], "done");
    backbone.until_phase(&later, "queued");
}

#[test]
fn what_an_agent_cannot_end_in_time_is_given_back_and_goes_on_elsewhere() {
    let backbone = Backbone::start();
    let mut agent = backbone.agent("cto", STUBBORN, &["--drain", "50ms"]);
    let id = backbone.place.get(&delegate("cto", &[]));
    backbone.place.wait_for("begun");
    agent.signal(Signal::INT);
    assert_eq!(agent.end().code(), Some(0));
    assert_eq!(backbone.place.wait_for("told"), "term");
    let _other = backbone.agent("cto", "echo done", &[]);
    backbone.until_phase(&id, "completed");
    let state = &backbone.show(&id)["state"];
    assert_eq!((&state["attempts"], &state["failures"]), (&2.into(), &0.into()));
}

#[test]
fn a_second_signal_ends_agent_and_program_at_once() {
    let backbone = Backbone::start();
    let mut agent = backbone.agent("cto", STUBBORN, &["--drain", "1h"]);
    backbone.place.get(&delegate("cto", &[]));
    let pid: u32 = backbone.place.wait_for("begun").parse().unwrap();
    agent.signal(Signal::INT);
    wait::until_blocking("the end", LONG, || {
        // The first signal may still be on its way when the second is sent: two are one then.
        signal(agent.pid(), Signal::INT);
        let agents = backbone.place.run(&["task", "list"]);
        if std::path::Path::new(&format!("/proc/{pid}")).exists() {
            Err(agents.out)
        } else {
            Ok(())
        }
    });
    assert_eq!(agent.end().code(), Some(130));
}

#[test]
#[cfg(target_os = "linux")]
fn an_agent_that_is_killed_takes_its_program_with_it_and_goes_on_under_its_name() {
    let backbone = Backbone::start();
    let mut agent = backbone.agent("cto", STUBBORN, &["--instance", "cto-0"]);
    let id = backbone.place.get(&delegate("cto", &[]));
    let pid: u32 = backbone.place.wait_for("begun").parse().unwrap();
    agent.signal(Signal::KILL);
    agent.end();
    wait_gone(pid);
    let _again = backbone.agent("cto", "echo done", &["--instance", "cto-0"]);
    backbone.until_phase(&id, "completed");
    let life = backbone.show(&id);
    assert_eq!(words(&life), ["created", "started", "released", "started", "completed"]);
}

#[test]
fn what_a_program_delegates_is_a_child_and_is_delegated_once_however_often_it_is_tried() {
    let backbone = Backbone::start();
    let script = format!(
        "{SINEW} task delegate qa First && {SINEW} task delegate qa Second --id S2 && \
         {SINEW} events emit tried && mkdir once && exit 1; echo done"
    );
    let _agent = backbone.agent("cto", &script, &[]);
    assert!(backbone.place.get(&delegate("cto", &["--id", "T1", "--wait"])).ends_with("done"));
    let children = backbone.place.json(&["task", "list", "--parent", "T1"]);
    let titles: Vec<&str> = children["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["title"].as_str().unwrap())
        .collect();
    assert_eq!(titles, ["Second", "First"]);
    assert_eq!(children["tasks"][0]["taskId"], "S2");
    assert_eq!(children["tasks"][0]["delegator"], "cto");
    let events = backbone.place.get(&["events", "tail", "--no-follow", "--json"]);
    assert_eq!(events.lines().count(), 1, "{events}");
    assert_eq!(backbone.show("T1")["state"]["attempts"], 2);
}

#[test]
fn what_a_program_says_on_stderr_is_logged_in_whole_lines_with_its_task() {
    let backbone = Backbone::start();
    let _other = backbone.agent("qa", "cat >/dev/null", &[]);
    let script = format!("printf 'one ' >&2; {SINEW} task delegate qa Inner --wait; exit 0");
    let agent = backbone.agent("cto", &script, &[]);
    backbone.place.get(&delegate("cto", &["--id", "T1", "--wait"]));
    agent.until_says("bytes of result");
    let said = agent.err();
    let has = |words: [&str; 2]| said.lines().any(|line| words.iter().all(|it| line.contains(it)));
    assert!(has(["one task t", "task=T1"]), "{said}");
    assert!(has(["  started    attempt 1 on qa-", "task=T1"]), "{said}");
    assert!(!said.lines().any(|line| line.trim_end().ends_with("INFO")), "{said}");
}

#[test]
fn no_secret_is_in_the_environment_of_a_program() {
    let backbone = Backbone::start();
    let _agent = backbone.agent("cto", "env", &[]);
    let seen = backbone.place.get(&delegate("cto", &["--wait"]));
    let creds = backbone.place.path(".sinew/creds/acme/operator.creds");
    let creds = std::fs::read_to_string(creds).unwrap();
    let mut lines = creds.lines().skip_while(|line| !line.contains("BEGIN USER NKEY SEED"));
    let seed = lines.nth(1).unwrap();
    assert!(seen.contains("SINEW_CONTEXT=") && seen.contains("SINEW_FENCE="), "{seen}");
    assert!(!seen.contains(seed), "{seen}");
}

#[test]
fn an_agent_without_a_program_or_role_does_not_start() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    place.run(&["agent", "run", "--role", "cto", "--", "no-such-program"]).says(3, "hint:");
    place.run(&["agent", "run", "--", "cat"]).says(2, "needs a role");
    place.run(&["agent", "run", "--role", "cto"]).says(2, "<CMD>");
    place.run(&["agent", "run", "--role", "system", "--", "cat"]).says(2, "reserved");
    let none = ["agent", "run", "--role", "cto", "--concurrency", "0", "--", "cat"];
    place.run(&none).says(2, "concurrency");
}

#[test]
fn a_role_is_paused_and_resumed_and_an_instance_drained() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    place.run(&["agent", "pause", "nobody"]).says(3, "no role and no instance \"nobody\"");
    let mut agent = backbone.agent("cto", "echo done", &["--instance", "cto-0"]);
    place.run(&["agent", "pause", "cto", "--until", "2020-01-01T00:00:00Z"]).says(2, "is over");
    assert_eq!(place.json(&["agent", "pause", "cto"])["paused"], true);
    wait::until_blocking("paused", LONG, || {
        let agents = place.json(&["agent", "list"]);
        if agents[0]["state"] == "paused" { Ok(()) } else { Err(agents.to_string()) }
    });
    let id = place.get(&delegate("cto", &[]));
    assert_eq!(words(&backbone.show(&id)), ["created"]);
    assert_eq!(place.json(&["agent", "resume", "cto"])["was"], true);
    backbone.until_phase(&id, "completed");
    assert_eq!(place.json(&["agent", "drain", "cto-0"])["instance"], "cto-0");
    assert_eq!(agent.end().code(), Some(0));
    assert!(agent.err().contains("drained, as it was told to"), "{}", agent.err());
}

#[test]
fn a_program_gets_and_gives_bodies_that_no_message_could_carry() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let large = place.write("large.json", &format!("\"{}\"", "x".repeat(3 << 20)));
    let script = r#"exec python3 -c '
import json, sys
text = json.load(sys.stdin)["input"]
print(json.dumps({"result": {"bytes": len(text), "text": text}}))'"#;
    let _agent = backbone.agent("cto", script, &[]);
    let input = format!("@{large}");
    let told = place.get(&delegate("cto", &["--id", "T1", "--input", &input, "--wait"]));
    assert!(told.contains("3145728") && told.len() > 3 << 20, "{} bytes", told.len());
    let shown = place.get(&["task", "show", "T1"]);
    assert!(shown.contains("bytes of result in T1/result/"), "{shown}");
    assert!(place.get(&["task", "show", "T1", "--result"]).len() > 3 << 20);
}
