//! A host that thinks for long, without a word, keeps what it holds.

use serde_json::json;
use sinew_agent::Delegation;
use sinew_model::task::End;

use super::{
    http::Served,
    kit::{Backbone, call},
};

/// The ack wait is a fifth of what the hosts think.
const SHORT: &str = "[consumers]\nack_wait = \"1s\"";
const THINKS: u64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_think_for_many_ack_waits_lose_nothing() {
    let served = Served::on(Backbone::with(SHORT).await).await;
    let backbone = &served.backbone;
    let ceo = backbone.client("ceo");
    let mut ids = Vec::new();
    for role in ["piped", "session", "stateless"] {
        let what = Delegation::new(role.parse().unwrap(), "Think about it");
        ids.push(ceo.delegate(what).await.unwrap().id);
    }
    let take = json!({ "wait_seconds": 20 });
    let piped = backbone.host("piped").await;
    piped.call("get_my_next_task", take.clone()).await.good();
    let session = served.host(&served.token("session")).await;
    call(&session, "get_my_next_task", take.clone()).await.good();
    let token = served.token("stateless");
    let taken = served.stateless(&token, "get_my_next_task", take).await;
    assert_eq!(taken["task"]["taskId"], ids[2].as_str());
    // While they think, others of their roles ask for work, and would get what is lost.
    let asks = async |role: &str| {
        let other = backbone.host(role).await;
        let given = other.call("get_my_next_task", json!({ "wait_seconds": THINKS })).await.good();
        assert_eq!(given["task"], json!(null), "{role}");
    };
    tokio::join!(asks("piped"), asks("session"), asks("stateless"));
    let done = |at: usize| json!({ "task_id": ids[at], "result": "thought" });
    piped.call("complete_task", done(0)).await.good();
    call(&session, "complete_task", done(1)).await.good();
    served.stateless(&token, "complete_task", done(2)).await;
    for id in &ids {
        let outcome = ceo.outcome(id).await.unwrap();
        assert_eq!(outcome.attempts, 1, "{id}");
        assert!(matches!(outcome.end, End::Completed { .. }), "{:?}", outcome.end);
    }
    drop(session);
    served.stop().await;
}
