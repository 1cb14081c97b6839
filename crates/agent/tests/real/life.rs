//! A task's life from its delegation to its end.

use serde_json::json;
use sinew_agent::{Delegation, Failure};
use sinew_model::task::End;

use crate::kit::{Backbone, echo, role};

#[tokio::test]
async fn a_task_is_delegated_started_and_completed() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let what = Delegation::new(role("cto"), "Say it").input(json!({ "words": 2 }));
    let delegated = ceo.delegate(what).await.unwrap();
    assert_eq!(backbone.words(&delegated.id).await, ["created"]);
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    let outcome = ceo.outcome(&delegated.id).await.unwrap();
    assert_eq!(outcome.end, End::completed(json!({ "words": 2 })));
    assert_eq!(backbone.words(&delegated.id).await, ["created", "started", "completed"]);
    let tally = runtime.stop().await;
    assert_eq!((tally.started, tally.ended, tally.lost), (1, 1, 0));
    assert_eq!(backbone.bus.stream_state("AGENT_TASKS").await.unwrap().messages, 0);
    assert_eq!(backbone.bus.stream_state("AGENT_MAIL").await.unwrap().messages, 1);
}

#[tokio::test]
async fn a_failed_attempt_is_tried_again_and_the_third_failure_is_a_death() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let _runtime = backbone
        .run(backbone.settings("cto"), |task: sinew_agent::Context| async move {
            if task.input() == "once" && task.attempt() == 2 {
                return Ok(json!("done"));
            }
            Err(Failure::retry(format!("attempt {} failed", task.attempt())))
        })
        .await;
    let once = ceo.delegate(Delegation::new(role("cto"), "Once").input("once")).await.unwrap().id;
    let never = ceo.delegate(Delegation::new(role("cto"), "Never")).await.unwrap().id;
    let outcome = ceo.outcome(&once).await.unwrap();
    assert_eq!((outcome.end, outcome.attempts), (End::completed(json!("done")), 2));
    let outcome = ceo.outcome(&never).await.unwrap();
    assert!(
        matches!(&outcome.end, End::Dead { detail, .. } if detail == "attempt 3 failed"),
        "{outcome:?}"
    );
    let words = backbone.words(&never).await;
    assert_eq!(words, ["created", "started", "released", "started", "released", "started", "dead"]);
}
