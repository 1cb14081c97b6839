//! Hosts write to each other, meet, vote and decide, and say what they can do.

use rmcp::model::{ReadResourceRequestParams, ResourceContents, SubscribeRequestParams};
use serde_json::{Value, json};
use sinew_testkit::wait;

use super::kit::{Backbone, Heard, Host, PATIENCE};

#[expect(deprecated, reason = "hosts of revisions before 2026-07-28 subscribe in this way")]
async fn subscribe(host: &Host, uri: &str) {
    host.mcp.subscribe(SubscribeRequestParams::new(uri)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_taken_answered_in_its_thread_and_acknowledged_once() {
    let backbone = Backbone::start().await;
    let (ceo, mut cto) = (backbone.host("ceo").await, backbone.host("cto").await);
    subscribe(&cto, "sinew://inbox").await;
    let given = json!({ "to_agent": "cto", "message": "Later", "priority": "low" });
    ceo.call("send_message", given).await.good();
    let given = json!({ "to": "cto", "message": { "text": "Now" }, "subject": "Fire",
                        "priority": "high", "id": "fire" });
    let sent = ceo.call("send_to_agent", given.clone()).await.good();
    assert_eq!(sent, json!({ "id": "fire", "existed": false }));
    assert_eq!(ceo.call("send_to_agent", given).await.good()["existed"], true);
    let other = json!({ "to": "cto", "message": "else", "priority": "high", "id": "fire" });
    ceo.call("send_to_agent", other).await.bad("another message");
    assert_eq!(cto.hears().await, Heard::Updated("sinew://inbox".to_owned()));
    let seen = cto.call("get_agent_inbox", json!({ "limit": 1 })).await.good();
    assert_eq!(seen["messages"][0]["body"], json!({ "text": "Now", "subject": "Fire" }));
    assert_eq!(seen["unread"], json!({ "urgent": 1, "normal": 0, "low": 1, "open": 0 }));
    let taken = cto.call("take_messages", json!({})).await.good();
    let bodies: Vec<_> =
        taken["messages"].as_array().unwrap().iter().map(|it| &it["body"]["text"]).collect();
    assert_eq!(bodies, ["Now", "Later"]);
    let again = cto.call("take_messages", json!({})).await.good();
    assert_eq!(again["messages"], json!([]), "it was handed out twice");
    let answer = json!({ "message_id": "fire", "message": "It is out" });
    cto.call("reply_to_message", answer).await.good();
    cto.call("acknowledge_message", json!({ "message_id": "fire" })).await.good();
    let seen = cto.call("get_agent_inbox", json!({})).await.good();
    assert_eq!(seen["unread"]["open"], 1, "{seen}");
    let thread = ceo.call("get_agent_inbox", json!({ "thread": "fire" })).await.good();
    let answer = &thread["messages"][0];
    assert_eq!((&answer["from"], &answer["inReplyTo"]), (&json!("cto"), &json!("fire")));
    cto.call("acknowledge_message", json!({ "id": "no-such" })).await.bad("no reader");
    let none = json!({ "message_id": "no-such", "message": "?" });
    cto.call("reply_to_message", none).await.bad("no message");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_on_behalf_of_a_task_is_sent_once() {
    let backbone = Backbone::start().await;
    let (ceo, cto) = (backbone.host("ceo").await, backbone.host("cto").await);
    let given = json!({ "title": "Say it", "assignee": "cto" });
    let id = ceo.call("assign_task", given).await.good()["taskId"].clone();
    let message = json!({ "to_agent": "ceo", "message": "said", "task_id": id });
    cto.call("send_to_agent", message.clone()).await.bad("does not hold");
    cto.call("get_my_next_task", json!({ "wait_seconds": 20 })).await.good();
    let first = cto.call("send_to_agent", message.clone()).await.good();
    cto.call("release_task", json!({ "task_id": id })).await.good();
    cto.call("get_my_next_task", json!({ "wait_seconds": 20 })).await.good();
    let second = cto.call("send_to_agent", message).await.good();
    assert_eq!((&second["id"], &second["existed"]), (&first["id"], &json!(true)));
    let inbox = ceo.call("get_agent_inbox", json!({})).await.good();
    let said = inbox["messages"].as_array().unwrap().iter().filter(|it| it["kind"] == "message");
    assert_eq!(said.count(), 1, "{inbox}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_shows_who_has_taken_note() {
    let backbone = Backbone::start().await;
    let hosts = [backbone.host("ceo").await, backbone.host("cto").await, backbone.host("qa").await];
    let [ceo, cto, qa] = &hosts;
    let given = json!({ "message": "Freeze", "acknowledge_within_seconds": 3600,
                        "audience": ["cto", "qa"], "id": "b1" });
    assert_eq!(ceo.call("broadcast_message", given).await.good()["id"], "b1");
    let seen = qa.call("get_agent_inbox", json!({})).await.good();
    assert_eq!(seen["messages"][0]["to"], "broadcast");
    assert!(seen["messages"][0]["acknowledgeBy"].is_string(), "{seen}");
    let note = json!({ "message_id": "b1", "note": "frozen" });
    assert_eq!(cto.call("acknowledge_broadcast", note.clone()).await.good()["first"], true);
    assert_eq!(cto.call("acknowledge_broadcast", note).await.good()["first"], false);
    let roll = ceo.call("get_acknowledgements", json!({ "message_id": "b1" })).await.good();
    assert_eq!(roll["acknowledged"][0]["role"], "cto");
    assert_eq!(roll["acknowledged"][0]["note"], "frozen");
    assert_eq!((&roll["missing"], &roll["over"]), (&json!(["qa"]), &json!(false)));
    qa.call("acknowledge_broadcast", json!({ "id": "no-such" })).await.bad("no message");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_says_what_it_can_do_and_is_found_by_it() {
    let backbone = Backbone::start().await;
    let (ceo, qa) = (backbone.host("ceo").await, backbone.host("qa").await);
    let card = json!({ "about": "Tests things", "skills": ["Pytest"],
                       "accepts": { "type": "object", "required": ["url"] } });
    assert_eq!(qa.call("describe_role", card).await.good()["card"]["by"], "qa");
    wait::until("the agent to be seen", PATIENCE, async || {
        let found = ceo.call("find_roles", json!({ "skill": "pytest" })).await.good();
        let role = &found["roles"][0];
        let is_found = role["role"] == "qa" && role["agents"] == 1 && role["status"] == "idle";
        if is_found { Ok(()) } else { Err(found.to_string()) }
    })
    .await;
    let agents = ceo.call("discover_agents", json!({ "capability": "pytest" })).await.good();
    assert_eq!(agents["agents"].as_array().unwrap().len(), 1);
    let none = ceo.call("find_roles", json!({ "skill": "cooking" })).await.good();
    assert_eq!(none["roles"], json!([]));
    ceo.call("find_roles", json!({ "status": "odd" })).await.bad("no state");
    let given = json!({ "title": "x", "assignee": "qa", "input": { "path": 1 } });
    ceo.call("assign_task", given).await.bad("does not accept");
    qa.call("describe_role", json!({ "accepts": { "type": 7 } })).await.bad("no JSON Schema");
    qa.call("describe_role", json!({ "skills": ["a\nb"] })).await.bad("control characters");
}

/// Reads a resource.
async fn resource(host: &Host, uri: &str) -> Value {
    let read = host.mcp.read_resource(ReadResourceRequestParams::new(uri)).await.unwrap();
    match read.contents.first() {
        Some(ResourceContents::TextResourceContents { text, .. }) => {
            serde_json::from_str(text).unwrap()
        }
        other => panic!("{uri}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_meets_votes_and_decides_and_its_action_items_run_as_tasks() {
    let backbone = Backbone::start().await;
    let (ceo, mut qa) = (backbone.host("ceo").await, backbone.host("qa").await);
    subscribe(&qa, "sinew://meetings").await;
    let given = json!({ "title": "Ship?", "participants": ["ceo", "qa"], "agenda": ["Ship 2.0"],
                        "decision_model": "majority_with_veto", "quorum": 2, "id": "m1" });
    let opened = ceo.call("schedule_agent_meeting", given.clone()).await.good();
    assert_eq!(opened["meeting"]["state"], "waiting");
    assert_eq!(ceo.call("schedule_agent_meeting", given).await.good()["existed"], true);
    assert_eq!(qa.hears().await, Heard::Updated("sinew://meetings".to_owned()));
    assert_eq!(resource(&qa, "sinew://meetings").await["meetings"][0]["meetingId"], "m1");
    let which = json!({ "meeting_id": "m1" });
    let said = json!({ "meeting_id": "m1", "message": "Good morning", "key": "hello" });
    ceo.call("send_meeting_message", said.clone()).await.bad("has not begun");
    ceo.call("join_agent_meeting", which.clone()).await.good();
    let invited =
        qa.call("get_next_meeting_invitation", json!({ "wait_seconds": 20 })).await.good();
    assert_eq!(invited["meetings"][0]["meetingId"], "m1");
    let joined = qa.call("join_meeting", which.clone()).await.good();
    assert_eq!(joined["meeting"]["state"], "active");
    let none = qa.call("get_next_meeting_invitation", json!({})).await.good();
    assert_eq!(none["meetings"], json!([]));
    qa.call("send_meeting_message", said.clone()).await.bad("turn of ceo");
    ceo.call("send_meeting_message", said.clone()).await.good();
    let again = json!({ "meeting_id": "m1", "message": "I object" });
    qa.call("send_meeting_message", again).await.good();
    subscribe(&qa, "sinew://meetings/m1").await;
    let proposal = json!({ "meeting_id": "m1", "decision": "Ship it",
                           "action_items": [{ "assignee": "qa", "action": "Test 2.0" }] });
    let proposed = ceo.call("propose_meeting_decision", proposal).await.good();
    assert_eq!(proposed["proposal"], 1);
    assert_eq!(qa.hears().await, Heard::Updated("sinew://meetings/m1".to_owned()));
    let ballot = |vote: &str| json!({ "meeting_id": "m1", "proposal": 1, "vote": vote });
    qa.call("vote_on_proposal", ballot("veto")).await.bad("reason");
    assert_eq!(qa.call("cast_vote", ballot("approve")).await.good()["outcome"], Value::Null);
    qa.call("vote_on_proposal", ballot("reject")).await.bad("voted on proposal 1");
    let status = ceo.call("get_meeting_status", which.clone()).await.good();
    assert_eq!(status["openVotes"][0]["waitsFor"], json!(["ceo"]));
    let decided = ceo.call("vote_on_proposal", ballot("approve")).await.good();
    assert_eq!(decided["outcome"], "approved");
    qa.call("end_agent_meeting", which.clone()).await.bad("only the chair");
    let end = json!({ "meeting_id": "m1", "summary": "We ship" });
    let minutes = ceo.call("end_agent_meeting", end).await.good()["minutes"].clone();
    let task = &minutes["actionItems"][0]["taskId"];
    let taken = qa.call("get_my_next_task", json!({ "wait_seconds": 20 })).await.good();
    assert_eq!((&taken["task"]["taskId"], &taken["task"]["title"]), (task, &json!("Test 2.0")));
    qa.call("complete_task", json!({ "task_id": task, "result": "green" })).await.good();
    told_afterwards(&ceo, &qa, &which).await;
}

/// What came of the meeting is there for everybody, in one order.
#[expect(clippy::indexing_slicing, reason = "what is not in a document is null")]
async fn told_afterwards(ceo: &Host, qa: &Host, which: &Value) {
    let shown = qa.call("get_meeting_minutes", which.clone()).await.good();
    assert!(shown["markdown"].as_str().unwrap().contains("> I object"), "{shown}");
    assert_eq!(resource(qa, "sinew://meetings/m1").await, shown["minutes"]);
    let decisions = qa.call("get_meeting_decisions", which.clone()).await.good();
    assert_eq!((&decisions["approved"], &decisions["open"]), (&json!(1), &json!([])));
    let all = ceo.call("get_meeting_messages", json!({ "meeting_id": "m1", "limit": 200 }));
    let all = all.await.good();
    let same = qa.call("get_meeting_messages", json!({ "meeting_id": "m1", "limit": 200 }));
    assert_eq!(all["entries"], same.await.good()["entries"]);
    let last = all["last"].as_u64().unwrap();
    let rest = json!({ "meeting_id": "m1", "after": last, "wait_seconds": 1 });
    assert_eq!(qa.call("get_meeting_messages", rest).await.good()["entries"], json!([]));
    assert_eq!(ceo.call("list_meetings", json!({})).await.good()["meetings"], json!([]));
    let listed = ceo.call("list_meetings", json!({ "all": true, "mine": true })).await.good();
    assert_eq!(listed["meetings"][0]["state"], "closed");
    let late = json!({ "meeting_id": "m1", "message": "One more thing" });
    qa.call("send_meeting_message", late).await.bad("closed");
}
