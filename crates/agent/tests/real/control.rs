//! Pause, resume and drain: what is said holds for whom it is said, over restarts.

use std::time::Duration;

use sinew_agent::Delegation;
use sinew_model::{Band, Transition, control::Target, stream::AGENT_TASKS};
use sinew_testkit::wait;

use crate::kit::{Backbone, Gate, PATIENCE, echo, role};

fn cto() -> Target {
    Target::Role(role("cto"))
}

async fn nothing_begins(backbone: &Backbone, id: &sinew_model::TaskId) {
    wait::holds("nothing begins", Duration::from_millis(300), async || {
        let words = backbone.words(id).await;
        if words == ["created"] { Ok(()) } else { Err(format!("{words:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_paused_role_ends_what_runs_and_begins_nothing_also_after_a_restart() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let gate = Gate::shut();
    let runtime = backbone.run(backbone.settings("cto"), gate.handler()).await;
    let runs = ceo.delegate(Delegation::new(role("cto"), "Runs")).await.unwrap().id;
    backbone.until_count(&runs, Transition::Started, 1).await;
    ceo.pause(&cto(), None).await.unwrap();
    backbone.until_flow("paused", |it| it.paused).await;
    let waits = ceo.delegate(Delegation::new(role("cto"), "Waits")).await.unwrap().id;
    let urgent = Delegation::new(role("cto"), "Urgent").priority(Band::Urgent);
    let urgent = ceo.delegate(urgent).await.unwrap().id;
    gate.open();
    ceo.outcome(&runs).await.unwrap();
    nothing_begins(&backbone, &waits).await;
    assert_eq!(runtime.stop().await.started, 1);
    // Neither a new process nor a consumer that was deleted and made again forgets it.
    let call = format!("CONSUMER.DELETE.{AGENT_TASKS}.cto-agent-consumer");
    let _: serde_json::Value = backbone.bus.api(&call, &serde_json::Value::Null).await.unwrap();
    let again = backbone.run(backbone.settings("cto"), echo).await;
    backbone.until_flow("paused", |it| it.paused).await;
    nothing_begins(&backbone, &waits).await;
    nothing_begins(&backbone, &urgent).await;
    assert!(ceo.resume(&cto()).await.unwrap());
    assert!(!ceo.resume(&cto()).await.unwrap(), "it was not paused any more");
    ceo.outcome(&waits).await.unwrap();
    ceo.outcome(&urgent).await.unwrap();
    again.stop().await;
}

#[tokio::test]
async fn a_pause_of_an_instance_leaves_the_others_and_ends_by_itself() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let mut settings = backbone.settings("cto");
    settings.instance = Some("cto-0".parse().unwrap());
    let whom = Target::Instance(role("cto"), "cto-0".parse().unwrap());
    let runtime = backbone.run(settings, echo).await;
    ceo.pause(&whom, None).await.unwrap();
    backbone.until_flow("paused", |it| it.paused && it.instance.as_str() == "cto-0").await;
    let other = backbone.run(backbone.settings("cto"), echo).await;
    for _ in 0..5 {
        let id = ceo.delegate(Delegation::new(role("cto"), "Work")).await.unwrap().id;
        ceo.outcome(&id).await.unwrap();
    }
    assert_eq!(other.stop().await.started, 5);
    let id = ceo.delegate(Delegation::new(role("cto"), "Work")).await.unwrap().id;
    nothing_begins(&backbone, &id).await;
    let until = sinew_bus::clock::now().plus(Duration::from_millis(200));
    ceo.pause(&whom, Some(until)).await.unwrap();
    ceo.outcome(&id).await.unwrap();
    assert_eq!(runtime.stop().await.started, 1);
}

#[tokio::test]
async fn an_order_to_drain_ends_those_that_run_and_not_those_that_start_later() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let gate = Gate::shut();
    let first = backbone.run(backbone.settings("cto"), gate.handler()).await;
    let id = ceo.delegate(Delegation::new(role("cto"), "Runs")).await.unwrap().id;
    backbone.until_count(&id, Transition::Started, 1).await;
    ceo.drain(&cto()).await.unwrap();
    backbone.until_flow("draining", |it| it.draining).await;
    let later = ceo.delegate(Delegation::new(role("cto"), "Later")).await.unwrap().id;
    gate.open();
    let tally = tokio::time::timeout(PATIENCE, first.ended()).await.unwrap();
    assert_eq!((tally.started, tally.ended, tally.drained), (1, 1, true));
    nothing_begins(&backbone, &later).await;
    let second = backbone.run(backbone.settings("cto"), echo).await;
    ceo.outcome(&later).await.unwrap();
    assert!(!second.stop().await.drained);
}
