//! Tasks that ask, wait, and have their results judged; tasks that died and are revived; trees that
//! are called off: all by hand and by programs, as their users do it.

use std::time::Duration;

use serde_json::{Value, json};
use sinew_testkit::wait;

use crate::kit::{Backbone, Running, SINEW, words};

/// Longer than the pace at which waiting tasks are looked at.
const PATIENCE: Duration = Duration::from_secs(60);

impl Backbone {
    fn delegate(&self, id: &str, role: &str, more: &[&str]) {
        self.place.get(&[&["task", "delegate", role, "Do it", "--id", id], more].concat());
    }

    /// Waits until the state of a task, as `task show` has it, has this word as its phase.
    #[track_caller]
    fn until(&self, id: &str, phase: &str) -> Value {
        wait::until_blocking(phase, PATIENCE, || {
            let life = self.show(id);
            let (at, end) = (&life["state"]["phase"]["phase"], &life["state"]["phase"]["end"]);
            if at == phase || end["end"] == phase { Ok(life) } else { Err(life.to_string()) }
        })
    }

    fn result(&self, id: &str) -> Value {
        self.until(id, "completed")["state"]["phase"]["end"]["result"].clone()
    }
}

/// Waits until a command has said something on stderr.
#[track_caller]
fn until_hints(running: &Running, words: &str) {
    wait::until_blocking(words, PATIENCE, || {
        let said = running.err();
        if said.contains(words) { Ok(()) } else { Err(said) }
    });
}

/// Asks for a colour, and paints in it. Keeps what it was handed.
const PAINTER: &str = r#"cat > "task-$SINEW_ATTEMPT.json"
    if grep -q '"colour":{' "task-$SINEW_ATTEMPT.json"; then echo painted; exit; fi
    echo '{"result":"not yet"}'
    echo '{"blocked":{"question":"Which colour?","key":"colour","choices":["red","it is blue"],"escalateAfter":"2h"}}'"#;

#[test]
fn a_program_asks_a_person_answers_and_the_next_attempt_knows_it() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let _agent = backbone.agent("painter", PAINTER, &[]);
    let args = ["task", "delegate", "painter", "Paint", "--id", "T1", "--wait"];
    let mut waiting = place.start("waiting", &args);
    let way = "answer it: sinew task answer T1 red | sinew task answer T1 'it is blue'";
    until_hints(&waiting, "asks operator: Which colour?");
    until_hints(&waiting, way);

    let shown = place.get(&["task", "show", "T1"]);
    for line in
        ["stands    blocked", "asks      operator: Which colour?", "choice    it is blue", way]
    {
        assert!(shown.contains(line), "{shown}");
    }
    let open = place.json(&["task", "questions"]);
    assert_eq!((&open[0]["taskId"], &open[0]["to"]), (&"T1".into(), &"operator".into()));
    assert_eq!(open[0]["question"]["choices"], json!(["red", "it is blue"]));
    assert!(place.get(&["task", "questions"]).contains(way));
    assert_eq!(place.json(&["task", "questions", "--to", "ceo"]), json!([]));
    let listed = place.json(&["task", "list", "--state", "blocked"]);
    assert_eq!(listed["tasks"][0]["taskId"], "T1");
    let mail = place.get(&["inbox", "read"]);
    assert!(mail.contains("task.blocked") && mail.contains("Paint: Which colour?"), "{mail}");

    place.run(&["task", "answer", "T1", "green"]).says(4, "none of: red, it is blue");
    place.run(&["task", "answer", "T1", "red", "--key", "shade"]).says(4, "no such open question");
    place.run(&["task", "answer", "T1"]).says(2, "<ANSWER>");
    place.run(&["task", "answer", "T1", "--input", "red"]).says(2, "no JSON");
    place.run(&["task", "answer", "T9", "red"]).says(3, "there is no task T9");
    let answered = place.get(&["task", "answer", "T1", "it is blue", "--key", "colour"]);
    assert_eq!(answered, "T1  answered");
    assert_eq!(waiting.end().code(), Some(0));
    assert_eq!(waiting.out().trim(), "painted");
    place.run(&["task", "answer", "T1", "red"]).says(4, "already ended");
    // A question that has its answer is not to be answered.
    let watched = place.run(&["task", "watch", "T1"]);
    assert!(watched.out.contains("asks operator") && watched.err.is_empty(), "{watched:?}");

    let handed: Value =
        serde_json::from_str(&std::fs::read_to_string(place.path("task-2.json")).unwrap()).unwrap();
    let answer = json!({ "question": "Which colour?", "answer": "it is blue", "by": "operator" });
    assert_eq!(handed["answers"], json!({ "colour": answer }));
    let life = backbone.show("T1");
    let expected =
        ["created", "started", "blocked", "answered", "enqueued", "started", "completed"];
    assert_eq!(words(&life), expected);
    assert_eq!(life["state"]["failures"], 0);
    let known = place.get(&["task", "show", "T1"]);
    assert!(known.contains("answered"), "{known}");
}

#[test]
fn what_was_to_be_a_question_or_a_wait_and_can_be_none_fails_the_attempt_with_the_reason() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let print = "python3 -c 'import json, sys; print(json.load(sys.stdin)[\"input\"])'";
    let _agent = backbone.agent("echo", print, &[]);
    let check = |id: &str, line: &str, cause: &str, end: &str| {
        let input = Value::from(line).to_string();
        let args = ["--max-attempts", "1", "--input", &input];
        backbone.delegate(id, "echo", &args);
        let life = backbone.until(id, end);
        assert!(life["state"]["phase"]["end"].to_string().contains(cause), "{life}");
    };
    check("T1", r#"{"blocked":{"questoin":"?"}}"#, "questoin", "dead");
    check("T2", r#"{"blocked":{"question":"?","choices":["a","a"]}}"#, "offered once", "failed");
    check("T3", r#"{"waiting":["T9"]}"#, "there is no task T9", "dead");
    check("T4", r#"{"waiting":["T4"]}"#, "T4 waits for T4", "failed");
    check("T5", r#"{"waiting":[]}"#, "names no task", "dead");
    // A line that is none of these is text, as ever.
    backbone.delegate("T6", "echo", &["--input", r#""{\"blocker\":1}""#]);
    assert_eq!(backbone.result("T6"), "{\"blocker\":1}");

    // Tasks that would wait for each other: the second is told of the circle.
    backbone.delegate("A", "later", &[]);
    let until = format!("{SINEW} task show B >/dev/null 2>&1 && echo '{{\"waiting\":[\"B\"]}}'");
    let _later = backbone.agent("later", &format!("{until} || exit 75"), &[]);
    backbone.delegate("B", "nobody", &[]);
    backbone.until("A", "waiting");
    let shown = place.get(&["task", "show", "A"]);
    assert!(shown.contains("waits for B"), "{shown}");
    let _nobody = backbone.agent("nobody", r#"echo '{"waiting":["A"]}'"#, &[]);
    let life = backbone.until("B", "failed");
    assert!(life.to_string().contains("B waits for A waits for B"), "{life}");
}

#[test]
fn a_question_that_was_answered_is_not_asked_again() {
    let backbone = Backbone::start();
    let _agent = backbone.agent("cto", r#"echo '{"blocked":"Which?"}'"#, &[]);
    backbone.delegate("T1", "cto", &["--max-attempts", "1"]);
    backbone.until("T1", "blocked");
    backbone.place.get(&["task", "answer", "T1", "--input", "{\"a\":1}"]);
    let life = backbone.until("T1", "dead");
    assert!(life.to_string().contains("answered before"), "{life}");
    assert_eq!(life["state"]["answers"]["Which?"]["answer"], json!({ "a": 1 }));
}

#[test]
fn what_comes_after_another_begins_when_that_has_completed_and_is_handed_its_result() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    backbone.delegate("T1", "first", &[]);
    backbone.delegate("T2", "second", &["--after", "T1"]);
    place.run(&["task", "delegate", "cto", "X", "--after", "T9"]).says(3, "there is no task T9");
    place.run(&["task", "delegate", "cto", "X", "--after-any"]).says(2, "--after");
    let shown = place.get(&["task", "show", "T2"]);
    assert!(shown.contains("stands    waiting") && shown.contains("waits for T1"), "{shown}");
    let _second = backbone.agent("second", "cat > second.json", &[]);
    let _first = backbone.agent("first", "echo 12", &[]);
    backbone.until("T2", "completed");
    let handed = std::fs::read_to_string(place.path("second.json")).unwrap();
    let handed: Value = serde_json::from_str(&handed).unwrap();
    assert_eq!(handed["ended"], json!({ "T1": { "transition": "completed", "result": "12" } }));
}

#[test]
fn a_verdict_is_given_by_hand_and_never_on_ones_own_work() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let script = r#"cat > "task-$SINEW_ATTEMPT.json"; echo "try $SINEW_ATTEMPT""#;
    let _agent = backbone.agent("coder", script, &[]);
    backbone.delegate("T1", "coder", &["--verifier", "qa", "--escalate-to", "ceo"]);
    backbone.until("T1", "submitted");
    let shown = place.get(&["task", "show", "T1"]);
    assert!(shown.contains("judge     task "), "{shown}");
    let listed = place.json(&["task", "list", "--state", "submitted"]);
    assert_eq!(listed["tasks"][0]["taskId"], "T1");
    place.run(&["task", "accept", "T1", "--role", "coder"]).says(4, "its own work");
    place.run(&["task", "refuse", "T1"]).says(2, "--reason");
    let refuse = |reason| ["task", "refuse", "T1", "--reason", reason, "--role", "qa"];
    for round in 1..=3 {
        backbone.until("T1", "submitted");
        assert_eq!(place.get(&refuse("no tests")), "T1  refused");
        if round < 3 {
            let next = format!("task-{}.json", round + 1);
            place.wait_for(&next);
        }
    }
    // After three refusals in a row a person decides.
    let open = place.json(&["task", "questions"]);
    assert_eq!((&open[0]["taskId"], &open[0]["to"]), (&"T1".into(), &"ceo".into()));
    assert!(place.get(&["inbox", "read", "--role", "ceo"]).contains("task.escalated"));
    let handed: Value = serde_json::from_str(&place.wait_for("task-3.json")).unwrap();
    let refusal = |attempt| json!({ "attempt": attempt, "reason": "no tests", "by": "qa" });
    assert_eq!(handed["refusals"], json!([refusal(1), refusal(2)]));

    let mut watch = place.start("watch", &["task", "watch", "T1"]);
    until_hints(&watch, "judge it: sinew task accept T1 | sinew task refuse T1 --reason WHY");
    let accept = ["task", "accept", "T1", "--evidence", "read it", "--role", "ceo"];
    assert_eq!(place.get(&accept), "T1  accepted");
    assert_eq!(watch.end().code(), Some(0));
    let shown = place.get(&["task", "show", "T1"]);
    assert!(shown.contains("accepted  by ceo: read it"), "{shown}");
    assert!(shown.contains("refused   attempt 3 by qa: no tests"), "{shown}");
    assert!(shown.trim_end().ends_with("try 3"), "{shown}");
    place.run(&accept).says(4, "already ended");
}

#[test]
fn the_dead_are_revived_one_by_one_or_all() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let script = "[ -e mended ] && { echo well; exit; }; echo 'no luck' >&2; exit 1";
    let _cto = backbone.agent("cto", script, &[]);
    let _qa = backbone.agent("qa", script, &[]);
    for (id, role) in [("T1", "cto"), ("T2", "cto"), ("T3", "cto"), ("T4", "qa")] {
        backbone.delegate(id, role, &["--max-attempts", "1"]);
    }
    for id in ["T1", "T2", "T3", "T4"] {
        backbone.until(id, "dead");
    }
    let shown = place.get(&["task", "show", "T1"]);
    assert!(shown.contains("\nevery attempt failed: exit code 1: no luck"), "{shown}");
    place.write("mended", "");
    place.run(&["task", "retry"]).says(2, "<TASK>");
    place.run(&["task", "retry", "--all", "--cause", "boredom"]).says(2, "attemptsExhausted");
    assert_eq!(place.get(&["task", "retry", "--all", "--cause", "deadlinePassed"]), "");
    assert_eq!(place.get(&["task", "retry", "T1"]), "T1  revived");
    assert_eq!(backbone.result("T1"), "well");
    let alive = place.run(&["task", "retry", "T1", "T4"]);
    assert_eq!(alive.code, Some(4), "{alive:?}");
    assert!(alive.out.contains("T1  refused: ") && alive.out.contains("T4  revived"), "{alive:?}");
    let all = ["task", "retry", "--all", "--for", "cto", "--cause", "attemptsExhausted"];
    let all = place.json(&all);
    let told = |id: &str| json!({ "taskId": id, "outcome": "revived", "why": null });
    assert_eq!(all, json!({ "tasks": [told("T3"), told("T2")], "more": false }));
    for id in ["T2", "T3", "T4"] {
        assert_eq!(backbone.result(id), "well");
    }
    assert_eq!(place.json(&["task", "retry", "--all"])["tasks"], json!([]));
}

#[test]
fn calling_a_task_off_calls_off_its_tree_and_says_what_became_of_each() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let script = format!(
        "{SINEW} task delegate quick Q --id Q && {SINEW} task delegate nobody N --id N && \
         echo '{{\"waiting\":[\"Q\",\"N\"]}}'"
    );
    let _quick = backbone.agent("quick", "echo done", &[]);
    let _agent = backbone.agent("cto", &script, &[]);
    backbone.delegate("T1", "cto", &[]);
    backbone.until("T1", "waiting");
    backbone.until("Q", "completed");
    let told = place.get(&["task", "cancel", "T1", "--reason", "enough"]);
    let mut lines: Vec<&str> = told.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["N  stopped", "Q  too late: it is completed", "T1  stopped"]);
    let again = place.run(&["task", "cancel", "T1", "--json"]);
    assert_eq!(again.code, Some(4), "{again:?}");
    let again: Value = serde_json::from_str(&again.out).unwrap();
    let root = &again["tasks"][0];
    assert_eq!((&root["taskId"], &root["outcome"]), (&"T1".into(), &"too late".into()));
    assert_eq!((&root["ended"], &root["parent"]), (&"cancelled".into(), &Value::Null));
    place.run(&["task", "cancel", "T9"]).says(3, "there is no task T9");
}

#[test]
fn the_example_asks_delegates_waits_and_has_its_parts_judged() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let mut agents = Vec::new();
    let path = std::path::Path::new(SINEW).parent().unwrap().display().to_string();
    let path = format!("{path}:{}", std::env::var_os("PATH").unwrap().to_str().unwrap());
    for role in ["lead", "writer", "editor"] {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/questions");
        let program = format!("{folder}/{role}.py");
        let args =
            ["agent", "run", "--role", role, "--concurrency", "1", "--", "python3", &program];
        let mut command = place.command(&args);
        command.env("PATH", &path);
        let agent = place.start_with(role, command);
        agent.until_says("takes the tasks");
        agents.push(agent);
    }
    // There is one slot for leads, and two of them at work: none holds it while it waits.
    let input = ["--input", r#"["queues","leases"]"#];
    backbone.delegate("T1", "lead", &input);
    backbone.delegate("T2", "lead", &input);
    backbone.until("T1", "blocked");
    backbone.until("T2", "blocked");
    place.get(&["task", "answer", "T1", "beginners"]);
    place.get(&["task", "answer", "T2", "experts"]);
    for (id, audience) in [("T1", "beginners"), ("T2", "experts")] {
        // Each part is judged twice, and each verdict and wait may take a sweep.
        let result = wait::until_blocking("the text", 3 * PATIENCE, || {
            let life = backbone.show(id);
            let end = &life["state"]["phase"]["end"];
            if end["end"] == "completed" {
                Ok(end["result"].clone())
            } else {
                Err(life.to_string())
            }
        });
        let about = |part: &str| format!("All about {part} for {audience}.");
        assert_eq!(result, format!("{} {}", about("queues"), about("leases")));
        let state = &backbone.show(id)["state"];
        assert_eq!((&state["attempts"], &state["failures"]), (&3.into(), &0.into()), "{state}");
    }
    let children = place.json(&["task", "list", "--parent", "T1"]);
    let child = &children["tasks"].as_array().unwrap()[0];
    let life = backbone.show(child["taskId"].as_str().unwrap());
    assert_eq!(life["state"]["phase"]["end"]["verified"]["by"], "editor");
    assert_eq!(life["state"]["refusals"][0]["reason"], "a sentence ends with a full stop");
}
