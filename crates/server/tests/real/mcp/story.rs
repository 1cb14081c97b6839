//! Hosts delegate, work, ask, answer, and end.

use std::time::Duration;

use rmcp::model::{ReadResourceRequestParams, SubscribeRequestParams};
use serde_json::{Value, json};
use sinew_agent::Delegation;

use super::kit::{Backbone, Heard};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_goes_from_one_host_to_another_and_back() {
    let backbone = Backbone::start().await;
    let (ceo, cto) = (backbone.host("ceo").await, backbone.host("cto").await);
    let assigned = ceo
        .call(
            "assign_task",
            json!({ "title": "Paint the fence", "assignee": "cto", "description": "All of it",
                    "verification_steps": ["it is dry"], "priority": "high" }),
        )
        .await
        .good();
    let id = assigned["taskId"].as_str().unwrap().to_owned();
    let taken = cto.call("get_my_next_task", json!({ "wait_seconds": 20 })).await.good();
    assert_eq!(taken["task"]["taskId"], id.as_str());
    assert_eq!(taken["task"]["input"]["description"], "All of it");
    assert_eq!(taken["task"]["delegator"], "ceo");
    let progress = json!({ "task_id": id, "message": "half", "percent": 50 });
    cto.call("add_task_progress", progress).await.good();
    let question = json!({ "task_id": id, "description": "Which colour?", "choices": ["red"] });
    let blocked = cto.call("report_blocker", question.clone()).await.good();
    assert_eq!(
        (&blocked["goesOn"], &blocked["status"]["status"]),
        (&json!(false), &json!("blocked"))
    );
    cto.call("complete_task", json!({ "task_id": id })).await.bad("does not hold");
    let open = ceo.call("get_blocked_tasks", json!({})).await.good();
    assert_eq!(open["open"][0]["question"]["text"], "Which colour?");
    let wrong = json!({ "task_id": id, "answer": "mauve" });
    ceo.call("answer_question", wrong).await.bad("none of: red");
    ceo.call("answer_question", json!({ "task_id": id, "answer": "red" })).await.good();
    let taken = cto.call("get_my_next_task", json!({ "wait_seconds": 20 })).await.good();
    assert_eq!(taken["task"]["answers"]["Which colour?"], "red");
    let answered = cto.call("report_blocker", question).await.good();
    assert_eq!((&answered["goesOn"], &answered["answer"]), (&json!(true), &json!("red")));
    let done = json!({ "task_id": id, "result": "painted", "evidence": { "notes": "it is red" } });
    let status = cto.call("complete_subtask", done).await.good();
    assert_eq!(status["status"], "completed");
    let status = ceo.call("wait_for_task", json!({ "task_id": id })).await.good();
    assert_eq!(
        status["result"],
        json!({ "result": "painted", "evidence": { "notes": "it is red" } })
    );
    let inbox = ceo.call("get_agent_inbox", json!({})).await.good();
    let kinds: Vec<&str> =
        inbox["messages"].as_array().unwrap().iter().filter_map(|it| it["kind"].as_str()).collect();
    assert!(
        kinds.contains(&"task.blocked") && kinds.last() == Some(&"task.completed"),
        "{kinds:?}"
    );
    let none = cto.call("get_my_next_task", json!({})).await.good();
    assert_eq!(none["task"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_delegated_waited_for_judged_and_seen_in_the_tree() {
    let backbone = Backbone::start().await;
    let (cto, qa) = (backbone.host("cto").await, backbone.host("qa").await);
    let root =
        backbone.client("ceo").delegate(Delegation::new("cto".parse().unwrap(), "all")).await;
    let root = root.unwrap().id;
    cto.call("delegate_task", json!({ "title": "x", "assignee": "qa" })).await.bad("holds no task");
    cto.call("get_my_next_task", json!({ "wait_seconds": 20 })).await.good();
    let part = json!({ "title": "part", "assignee": "qa", "key": "one", "input": 7 });
    let child = cto.call("delegate_task", part.clone()).await.good()["taskId"].clone();
    let again = cto.call("delegate_task", part).await.good();
    assert_eq!((&again["taskId"], &again["existed"]), (&child, &json!(true)));
    let on = json!({ "task_id": root, "on": [child] });
    let waiting = cto.call("wait_for_tasks", on.clone()).await.good();
    assert_eq!(
        (&waiting["goesOn"], &waiting["status"]["status"]),
        (&json!(false), &json!("waiting"))
    );
    qa.call("get_my_next_task", json!({ "wait_seconds": 20 })).await.good();
    let mine = qa.call("list_my_tasks", json!({})).await.good();
    assert_eq!(mine["tasks"][0]["input"], 7);
    qa.call("complete_task", json!({ "task_id": child, "result": 8 })).await.good();
    // Whoever comes first moves the waiting task on; here it is the test.
    let mut log = sinew_bus::TaskLog::read(
        &backbone.bus,
        root.clone(),
        sinew_model::task::Actor { role: "ceo".parse().unwrap(), instance: None },
    )
    .await
    .unwrap();
    let by = sinew_model::task::Actor { role: "ceo".parse().unwrap(), instance: None };
    sinew_agent::advance(&backbone.bus, &by, &mut log).await.unwrap();
    cto.call("get_my_next_task", json!({ "wait_seconds": 20 })).await.good();
    let over = cto.call("wait_for_tasks", on).await.good();
    assert_eq!(over["answer"][0]["outcome"]["result"], 8);
    let tree = cto.call("get_task_tree", json!({ "task_id": root })).await.good();
    let titles: Vec<_> = tree["tasks"].as_array().unwrap().iter().map(|it| &it["title"]).collect();
    assert_eq!(titles, ["all", "part"]);
    let listed = cto.call("list_assigned_tasks", json!({ "role": "qa" })).await.good();
    assert_eq!(listed["tasks"][0]["status"], "completed");
    cto.call("list_assigned_tasks", json!({ "status": ["odd"] })).await.bad("odd");
    let ended = cto.call("fail_task", json!({ "task_id": root, "cause": "no", "retry": false }));
    assert_eq!(ended.await.good()["status"], "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_team_its_events_and_a_cancellation_are_seen() {
    let backbone = Backbone::start().await;
    let (ceo, cto) = (backbone.host("ceo").await, backbone.host("cto").await);
    let given = json!({ "title": "x", "assignee": "cto" });
    let id = ceo.call("assign_task", given).await.good()["taskId"].clone();
    cto.call("get_my_next_task", json!({ "wait_seconds": 20 })).await.good();
    let event = json!({ "event_type": "file.write", "payload": { "path": "a" }, "task_id": id });
    cto.call("publish_event", event).await.good();
    ceo.call("publish_event", json!({ "action": "looked" })).await.good();
    let found = ceo.call("search_events", json!({ "role": "cto", "text": "FILE" })).await.good();
    assert_eq!(found["events"][0]["taskId"], id);
    assert_eq!(found["events"].as_array().unwrap().len(), 1);
    sinew_testkit::wait::until(
        "the agent to show what it holds",
        super::kit::PATIENCE,
        async || {
            let agents = ceo.call("discover_agents", json!({ "role": "cto" })).await.good();
            let agent = &agents["agents"][0];
            let is_seen = agent["status"] == "busy" && agent["holds"][0] == id;
            if is_seen { Ok(()) } else { Err(agents.to_string()) }
        },
    )
    .await;
    let target = sinew_model::control::Target::Role("cto".parse().unwrap());
    backbone.client("ceo").pause(&target, None).await.unwrap();
    let teams = ceo.call("check_team_capacity", json!({ "role": "cto" })).await.good();
    let team = &teams["roles"][0];
    assert_eq!(
        (&team["paused"], &team["queued"], &team["agents"]),
        (&json!(true), &json!(1), &json!(1))
    );
    let told = ceo.call("cancel_task", json!({ "task_id": id, "reason": "enough" })).await.good();
    assert_eq!(told["tasks"][0]["outcome"], "stopped");
    let progress = json!({ "task_id": id, "message": "on" });
    sinew_testkit::wait::until("the worker to be told", super::kit::PATIENCE, async || {
        let said = cto.call("add_task_progress", progress.clone()).await;
        if said.is_error { Ok(()) } else { Err(said.text) }
    })
    .await;
    let status = ceo.call("get_task_status", json!({ "task_id": id })).await.good();
    assert_eq!((&status["status"], &status["cause"]), (&json!("cancelled"), &json!("enough")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_in_mid_task_hands_it_to_another_within_two_seconds() {
    let backbone = Backbone::start().await;
    let (first, second) = (backbone.host("cto").await, backbone.host("cto").await);
    let ceo = backbone.client("ceo");
    let id = ceo.delegate(Delegation::new("cto".parse().unwrap(), "x")).await.unwrap().id;
    let task = first.call("get_my_next_task", json!({ "wait_seconds": 20 })).await.good();
    assert_eq!(task["task"]["taskId"], id.as_str());
    let waits = async {
        let taken = second.call("get_my_next_task", json!({ "wait_seconds": 30 })).await.good();
        (taken, sinew_bus::clock::instant())
    };
    let dies = async {
        let died = sinew_bus::clock::instant();
        first.die().await;
        died
    };
    let ((taken, at), died) = tokio::join!(waits, dies);
    assert_eq!(taken["task"]["taskId"], id.as_str());
    assert_eq!(taken["task"]["attempt"], 2);
    assert!(at - died < Duration::from_secs(2), "it took {:?}", at - died);
    let done = second.call("complete_task", json!({ "task_id": id, "result": 1 })).await.good();
    assert_eq!(done["failures"], 0);
}

#[expect(deprecated, reason = "hosts of revisions before 2026-07-28 subscribe in this way")]
#[tokio::test(flavor = "multi_thread")]
async fn a_host_learns_of_new_work_and_of_messages_without_asking() {
    let backbone = Backbone::start().await;
    let (mut cto, ceo) = (backbone.host("cto").await, backbone.host("ceo").await);
    for uri in ["sinew://queue", "sinew://inbox"] {
        cto.mcp.subscribe(SubscribeRequestParams::new(uri)).await.unwrap();
    }
    let given = json!({ "title": "x", "assignee": "cto" });
    let id = ceo.call("assign_task", given).await.good()["taskId"].clone();
    assert_eq!(cto.hears().await, Heard::Updated("sinew://queue".to_owned()));
    let read = ReadResourceRequestParams::new("sinew://queue");
    let read = cto.mcp.read_resource(read).await.unwrap();
    assert!(serde_json::to_string(&read).unwrap().contains(r#"\"queued\":1"#), "{read:?}");
    // A task of its own comes to an end: the report is in its inbox.
    let other = json!({ "title": "y", "assignee": "ceo" });
    let other = cto.call("assign_task", other).await.good()["taskId"].clone();
    ceo.call("get_my_next_task", json!({ "wait_seconds": 20 })).await.good();
    ceo.call("complete_task", json!({ "task_id": other })).await.good();
    assert_eq!(cto.hears().await, Heard::Updated("sinew://inbox".to_owned()));
    let uri = format!("sinew://tasks/{}", id.as_str().unwrap());
    cto.mcp.subscribe(SubscribeRequestParams::new(uri.clone())).await.unwrap();
    cto.call("get_my_next_task", json!({ "wait_seconds": 20 })).await.good();
    assert_eq!(cto.hears().await, Heard::Updated(uri));
    let refused = cto.mcp.subscribe(SubscribeRequestParams::new("sinew://org")).await;
    assert!(refused.unwrap_err().to_string().contains("not told"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_waits_for_a_task_is_told_how_far_it_is() {
    let backbone = Backbone::start().await;
    let (mut ceo, cto) = (backbone.host("ceo").await, backbone.host("cto").await);
    let given = json!({ "title": "x", "assignee": "cto" });
    let id = ceo.call("assign_task", given).await.good()["taskId"].clone();
    let waiting = json!({ "task_id": id, "wait_seconds": 50 });
    let works = async {
        cto.call("get_my_next_task", json!({ "wait_seconds": 20 })).await.good();
        let progress = json!({ "task_id": id, "message": "half way", "percent": 50 });
        cto.call("add_task_progress", progress).await.good();
        cto.call("complete_task", json!({ "task_id": id, "result": "done" })).await.good();
    };
    let (status, ()) = tokio::join!(ceo.call("wait_for_task", waiting), works);
    assert_eq!(status.good()["result"], "done");
    assert_eq!(ceo.hears().await, Heard::Progress("half way".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_and_instructions_teach_the_role() {
    let backbone = Backbone::start().await;
    let cto = backbone.host("cto").await;
    let info = cto.mcp.peer_info().unwrap();
    assert!(info.instructions.as_ref().unwrap().contains("`cto`"));
    let prompts = cto.mcp.list_all_prompts().await.unwrap();
    assert_eq!(prompts.len(), 3);
    let given = rmcp::model::GetPromptRequestParams::new("work_as_role");
    let prompt = cto.mcp.get_prompt(given).await.unwrap();
    assert!(serde_json::to_string(&prompt).unwrap().contains("get_my_next_task"));
    let missing = rmcp::model::GetPromptRequestParams::new("lead_a_goal");
    assert!(cto.mcp.get_prompt(missing).await.unwrap_err().to_string().contains("goal"));
    let tools = cto.mcp.list_all_tools().await.unwrap();
    assert!(tools.iter().all(|tool| tool.output_schema.is_some()), "{tools:?}");
}
