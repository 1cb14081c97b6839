//! The published contract, held by a client in another language that has no SDK.

use serde_json::{Value, json};
use sinew_agent::{Context, Delegation};
use sinew_model::{Band, task::End};
use sinew_testkit::Python;

use crate::kit::{Backbone, role, task};

const SCRIPTS: &str = "crates/agent/tests/real/python";

#[tokio::test]
async fn a_worker_without_an_sdk_takes_and_ends_tasks() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let cto = role("cto");
    backbone.topology.ensure_work_consumer(&backbone.bus, &cto, Band::Normal).await.unwrap();
    let what = Delegation::new(cto, "Count").input("one two three");
    let id = ceo.delegate(what).await.unwrap().id;
    let bare = json!({
        "taskId": "bare", "orgId": "acme", "role": "cto", "delegator": "ceo", "title": "Bare",
        "input": "one", "createdAt": "2026-05-10T14:23:01Z", "deadline": "2100-01-01T00:00:00Z",
    });
    backbone.put("cto", bare.to_string(), (None, None)).await;
    let said = Python::script(format!("{SCRIPTS}/worker.py"))
        .env("URL", backbone.server.url())
        .env("TASKS", "2")
        .run()
        .await
        .success();
    let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expect = |task: &str| json!({ "task": task, "refused": 10_071, "acked": true });
    assert_eq!(said, [expect(id.as_str()), expect("bare")]);
    for (id, words) in [(id, 3), (task("bare"), 1)] {
        let outcome = ceo.outcome(&id).await.unwrap();
        assert_eq!(outcome.end, End::completed(json!({ "words": words })));
        assert_eq!(backbone.words(&id).await, ["created", "started", "progress", "completed"]);
        // Whoever finds the task ended tells the delegator again, under the id that is known.
        let state = ceo.state(&id).await.unwrap().unwrap();
        ceo.finish(&state).await.unwrap();
    }
    assert_eq!(backbone.queued().await, 0);
    let kinds: Vec<String> = backbone.inbox("ceo").await.into_iter().map(|it| it.kind).collect();
    let pair = ["task.progress", "task.completed"];
    assert_eq!(kinds, [pair, pair].concat());
}

#[tokio::test]
async fn a_delegator_without_an_sdk_sees_progress_and_the_end() {
    let backbone = Backbone::start().await;
    let runtime = backbone
        .run(backbone.settings("cto"), |task: Context| async move {
            let words = task.input().as_str().unwrap_or_default().split(' ').count();
            task.progress("counted", Some(100));
            Ok(json!({ "words": words }))
        })
        .await;
    let said = Python::script(format!("{SCRIPTS}/delegator.py"))
        .env("URL", backbone.server.url())
        .run()
        .await
        .success();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["stream"], "AGENT_TASKS");
    assert_eq!(said["duplicate"], json!([false, true]));
    let kinds: Vec<&Value> =
        said["mails"].as_array().unwrap().iter().map(|mail| &mail["type"]).collect();
    assert_eq!(kinds, ["task.progress", "task.completed"]);
    assert_eq!(said["mails"][0]["body"]["message"], "counted");
    assert_eq!(said["mails"][1]["body"]["result"], json!({ "words": 3 }));
    assert_eq!(said["completed"]["taskId"], "python-task");
    assert_eq!(said["completed"]["result"], json!({ "words": 3 }));
    backbone.until_queue_is_empty().await;
    let id = task("python-task");
    assert_eq!(backbone.words(&id).await, ["created", "started", "progress", "completed"]);
    let state = backbone.client("ceo").state(&id).await.unwrap().unwrap();
    assert_eq!(state.assignment.unwrap().extra["myOwnField"], "kept");
    assert_eq!(runtime.stop().await.started, 1);
}
