//! What is malformed, too large, too much or not meant well gets a clear error.

use std::time::Duration;

use rmcp::model::{CallToolRequestParams, ReadResourceRequestParams};
use serde_json::json;
use sinew_server::mcp::stdio;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio_util::sync::CancellationToken;

use super::kit::{Backbone, PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_are_named_and_do_nothing() {
    let backbone = Backbone::start().await;
    let cto = backbone.host("cto").await;
    let unknown = cto.mcp.call_tool(CallToolRequestParams::new("get_next_task")).await;
    assert!(unknown.unwrap_err().to_string().contains("did you mean"));
    for (tool, given, words) in [
        ("assign_task", json!({}), "title"),
        ("assign_task", json!({ "title": 7, "assignee": "cto" }), "string"),
        ("assign_task", json!({ "title": "x", "assignee": "../cto" }), "role"),
        ("assign_task", json!({ "title": "x", "assignee": "a.>" }), "role"),
        ("assign_task", json!({ "title": "x", "assignee": "broadcast" }), "broadcast"),
        ("assign_task", json!({ "title": "x", "assignee": "cto", "colour": 1 }), "colour"),
        ("assign_task", json!({ "title": "x".repeat(600), "assignee": "cto" }), "512"),
        ("assign_task", json!({ "title": "", "assignee": "cto" }), "title"),
        ("assign_task", json!({ "title": "x", "assignee": "qa", "blocked_by": ["none"] }), "none"),
        ("get_task_status", json!({ "task_id": "../../etc/passwd" }), "id"),
        ("get_task_status", json!({ "task_id": "a\u{0}b" }), "id"),
        ("get_task_status", json!({ "task_id": "no-such" }), "there is no task"),
        ("complete_task", json!({ "task_id": "no-such" }), "does not hold"),
        ("add_task_progress", json!({ "task_id": "t", "message": "x", "percent": 300 }), "percent"),
        ("retry_task", json!({ "task_id": "no-such" }), "no"),
        ("answer_question", json!({ "task_id": "no-such", "answer": 1 }), "no"),
        ("cancel_task", json!({ "task_id": "no-such" }), "there is no task"),
        ("get_task_tree", json!({ "task_id": "no-such" }), "there is no task"),
        ("publish_event", json!({ "action": " " }), "action"),
        ("search_events", json!({ "since": "yesterday" }), "yesterday"),
        ("send_to_agent", json!({ "to_agent": "a.>", "message": "x" }), "role"),
        ("send_to_agent", json!({ "to_agent": "broadcast", "message": "x" }), "broadcast"),
        ("send_to_agent", json!({ "to_agent": "cto", "message": "x", "kind": "a\nb" }), "type"),
        ("send_to_agent", json!({ "to_agent": "cto", "message": "x".repeat(2 << 20) }), "limit"),
        ("send_to_agent", json!({ "to_agent": "cto", "message": 1, "priority": "now" }), "now"),
        ("broadcast_message", json!({ "message": "x", "id": "a.*" }), "id"),
        ("acknowledge_broadcast", json!({ "id": "../b" }), "id"),
        ("get_acknowledgements", json!({ "id": "b" }), "no message"),
        ("schedule_agent_meeting", json!({ "title": "x", "participants": [] }), "participants"),
        ("schedule_agent_meeting", json!({ "title": "", "participants": ["cto"] }), "title"),
        (
            "schedule_agent_meeting",
            json!({ "title": "x", "participants": ["cto", "cto"] }),
            "twice",
        ),
        ("schedule_agent_meeting", json!({ "title": "x", "participants": ["a b"] }), "role"),
        (
            "schedule_agent_meeting",
            json!({ "title": "x", "participants": ["cto"], "id": "a.>" }),
            "id",
        ),
        ("join_agent_meeting", json!({ "meeting_id": "no-such" }), "no meeting"),
        ("vote_on_proposal", json!({ "meeting_id": "m", "proposal": -1, "vote": "veto" }), "u32"),
        ("vote_on_proposal", json!({ "meeting_id": "m", "proposal": 1, "vote": "yes" }), "yes"),
        ("get_meeting_minutes", json!({ "meeting_id": "../m" }), "id"),
        ("describe_role", json!({ "about": "x".repeat(100_000) }), "limit"),
    ] {
        let said = cto.call(tool, given.clone()).await;
        assert!(said.is_error, "{tool} {given}: {said:?}");
        assert!(said.text.contains(words), "{tool} {given}: {:?} has no {words:?}", said.text);
        assert!(said.text.contains("\nnext: "), "{tool} {given}: {said:?}");
    }
    let listed = cto.call("list_assigned_tasks", json!({})).await.good();
    assert_eq!(listed["tasks"], json!([]));
    for uri in ["sinew://tasks/../inbox", "file:///etc/passwd", "sinew://tasks/no-such"] {
        let error = cto.mcp.read_resource(ReadResourceRequestParams::new(uri)).await.unwrap_err();
        assert!(error.to_string().contains("there is no"), "{uri}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_in_flight_are_bounded_and_the_session_goes_on() {
    let backbone = Backbone::start().await;
    let (near, far) = tokio::io::duplex(1 << 20);
    let served = stdio::serve_on(
        backbone.origin().await,
        ("cto".parse().unwrap(), None),
        tokio::io::split(far),
        CancellationToken::new(),
    );
    let serving = tokio::spawn(served);
    let (reader, mut writer) = tokio::io::split(near);
    let mut lines = BufReader::new(reader).lines();
    let begin = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": { "name": "raw", "version": "1" } } });
    writer.write_all(format!("{begin}\n").as_bytes()).await.unwrap();
    lines.next_line().await.unwrap().unwrap();
    let begun = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    writer.write_all(format!("{begun}\n").as_bytes()).await.unwrap();
    let calls = 10_000;
    let writing = tokio::spawn(async move {
        for id in 1..=calls {
            let call = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
                "name": "get_my_next_task", "arguments": { "wait_seconds": 2 } } });
            writer.write_all(format!("{call}\n").as_bytes()).await.unwrap();
        }
        writer
    });
    let (mut refused, mut waited) = (0, 0);
    let reading = async {
        for _ in 0..calls {
            let line = lines.next_line().await.unwrap().unwrap();
            if line.contains("in flight already") {
                refused += 1;
            } else {
                assert!(line.contains("There is nothing to do"), "{line}");
                waited += 1;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.unwrap();
    assert!(refused > 0 && waited >= 1, "{refused} refused, {waited} waited");
    let mut writer = writing.await.unwrap();
    let ping = json!({ "jsonrpc": "2.0", "id": "p", "method": "ping" });
    writer.write_all(format!("{ping}\nthis is no JSON\n").as_bytes()).await.unwrap();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(line.contains(r#""id":"p""#), "{line}");
    drop((writer, lines));
    tokio::time::timeout(PATIENCE, serving).await.unwrap().unwrap().unwrap();
}
