//! How work flows: by bands, over several runtimes, and across a drain.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use sinew_agent::{Context, Delegation};
use sinew_model::{
    Band, Transition,
    stream::AGENT_TASKS,
    task::{Change, ReleaseReason},
};
use sinew_testkit::wait;

use crate::kit::{Backbone, Gate, PATIENCE, echo, role};

async fn has_consumer(backbone: &Backbone, name: &str) -> bool {
    backbone.bus.open_deliveries(AGENT_TASKS, name).await.unwrap().is_some()
}

#[tokio::test]
async fn an_urgent_task_runs_before_those_that_wait() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let (gate, order) = (Gate::shut(), Arc::new(Mutex::new(Vec::new())));
    let (pass, noted) = (gate.clone(), Arc::clone(&order));
    let mut settings = backbone.settings("cto");
    settings.concurrency = 1;
    let runtime = backbone
        .run(settings, move |task: Context| {
            let (gate, noted) = (pass.clone(), Arc::clone(&noted));
            async move {
                gate.pass().await;
                noted.lock().unwrap().push(task.assignment().title.clone());
                Ok(json!(null))
            }
        })
        .await;
    let first = ceo.delegate(Delegation::new(role("cto"), "first")).await.unwrap().id;
    backbone.until_count(&first, Transition::Started, 1).await;
    for _ in 0..5 {
        ceo.delegate(Delegation::new(role("cto"), "normal")).await.unwrap();
    }
    assert!(!has_consumer(&backbone, "cto-agent-consumer-urgent").await, "it is not used yet");
    let urgent = Delegation::new(role("cto"), "urgent").priority(Band::Urgent);
    ceo.delegate(urgent).await.unwrap();
    wait::until("the band's consumer", PATIENCE, async || {
        let made = has_consumer(&backbone, "cto-agent-consumer-urgent").await;
        if made { Ok(()) } else { Err("there is none".to_owned()) }
    })
    .await;
    gate.open();
    backbone.until_queue_is_empty().await;
    runtime.stop().await;
    let order = order.lock().unwrap().clone();
    let place = order.iter().position(|title| title == "urgent").unwrap();
    assert!(place <= 2, "{order:?}");
    assert!(!has_consumer(&backbone, "cto-agent-consumer-low").await, "it was never used");
}

#[tokio::test]
async fn runtimes_of_a_role_share_its_backlog_and_keep_to_their_concurrency() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    for _ in 0..120 {
        ceo.delegate(Delegation::new(role("cto"), "Work")).await.unwrap();
    }
    let mut runtimes = Vec::new();
    for _ in 0..3 {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (at, peak) = (Arc::clone(&now), Arc::clone(&most));
        let mut settings = backbone.settings("cto");
        settings.concurrency = 4;
        let handler = move |_: Context| {
            let (at, peak) = (Arc::clone(&at), Arc::clone(&peak));
            async move {
                peak.fetch_max(at.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..50 {
                    tokio::task::yield_now().await;
                }
                at.fetch_sub(1, Ordering::SeqCst);
                Ok(json!(null))
            }
        };
        runtimes.push((backbone.run(settings, handler).await, most));
    }
    backbone.until_queue_is_empty().await;
    let mut total = 0;
    for (runtime, most) in runtimes {
        let tally = runtime.stop().await;
        assert_eq!((tally.started, tally.lost, tally.dropped), (tally.ended, 0, 0));
        assert!(tally.started > 0, "each has a share");
        assert!(most.load(Ordering::SeqCst) <= 4, "{most:?} at once");
        total += tally.started;
    }
    assert_eq!(total, 120);
}

#[tokio::test]
async fn a_drain_lets_what_runs_end_and_takes_nothing_more() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let gate = Gate::shut();
    let mut settings = backbone.settings("cto");
    settings.concurrency = 2;
    let runtime = backbone.run(settings, gate.handler()).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(ceo.delegate(Delegation::new(role("cto"), "Work")).await.unwrap().id);
    }
    backbone.until_count(&ids[0], Transition::Started, 1).await;
    backbone.until_count(&ids[1], Transition::Started, 1).await;
    let stopping = tokio::spawn(runtime.stop());
    wait::holds("nothing more is taken", Duration::from_millis(300), async || {
        if backbone.queued().await == 4 { Ok(()) } else { Err("some ended".to_owned()) }
    })
    .await;
    gate.open();
    let tally = stopping.await.unwrap();
    assert_eq!((tally.started, tally.ended, tally.released), (2, 2, 0));
    assert_eq!(backbone.words(&ids[3]).await, ["created"]);
    let next = backbone.run(backbone.settings("cto"), echo).await;
    backbone.until_queue_is_empty().await;
    assert_eq!(next.stop().await.started, 2);
}

#[tokio::test]
async fn what_does_not_end_within_the_drain_is_released_for_the_next_at_once() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let mut settings = backbone.settings("cto");
    settings.drain = Duration::from_millis(100);
    let runtime = backbone
        .run(settings, |task: Context| async move {
            task.stopped().await;
            Err(sinew_agent::Failure::retry("interrupted"))
        })
        .await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(ceo.delegate(Delegation::new(role("cto"), "Work")).await.unwrap().id);
    }
    for id in &ids {
        backbone.until_count(id, Transition::Started, 1).await;
    }
    let tally = runtime.stop().await;
    assert_eq!((tally.started, tally.released, tally.ended), (3, 3, 0));
    let next = backbone.run(backbone.settings("cto"), echo).await;
    backbone.until_queue_is_empty().await;
    for id in &ids {
        let words = backbone.words(id).await;
        assert_eq!(words, ["created", "started", "released", "started", "completed"]);
        let entries = backbone.entries(id).await;
        let drained =
            |it: &Change| matches!(it, Change::Released { reason: ReleaseReason::Drained, .. });
        assert!(entries.iter().any(|entry| drained(&entry.change)), "{entries:?}");
        assert_eq!(ceo.state(id).await.unwrap().unwrap().failures, 0, "that is no failure");
    }
    next.stop().await;
}

#[tokio::test]
async fn a_runtime_that_stopped_swallows_nothing_that_comes_after() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    for round in 0..25 {
        let runtime = backbone.run(backbone.settings("cto"), echo).await;
        let id = ceo.delegate(Delegation::new(role("cto"), "Before")).await.unwrap().id;
        backbone.until_count(&id, Transition::Completed, 1).await;
        runtime.stop().await;
        // The server still has the pulls of the one that stopped, and hands them these.
        for _ in 0..5 {
            ceo.delegate(Delegation::new(role("cto"), "After")).await.unwrap();
        }
        let next = backbone.run(backbone.settings("cto"), echo).await;
        wait::until("all to end", Duration::from_secs(20), async || {
            match backbone.queued().await {
                0 => Ok(()),
                left => Err(format!("{left} are left in round {round}")),
            }
        })
        .await;
        next.stop().await;
    }
}

#[tokio::test]
async fn a_runtime_stops_also_while_its_server_is_away() {
    let backbone = Backbone::start().await;
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    let id =
        backbone.client("ceo").delegate(Delegation::new(role("cto"), "Once")).await.unwrap().id;
    backbone.client("ceo").outcome(&id).await.unwrap();
    backbone.until_queue_is_empty().await;
    backbone.server.kill();
    let stopped = tokio::time::timeout(PATIENCE, runtime.stop()).await.unwrap();
    assert_eq!(stopped.ended, 1);
}

#[tokio::test]
async fn a_band_that_can_not_be_taken_into_use_yet_does_not_end_the_work_on_the_others() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    let normal = async || {
        let id = ceo.delegate(Delegation::new(role("cto"), "normal")).await.unwrap().id;
        ceo.outcome(&id).await.unwrap();
    };
    normal().await;
    // A work queue gives each subject to one consumer.
    let filter = backbone.bus.subjects().tasks(&role("cto"), Band::Urgent).to_string();
    let config = json!({ "name": "other", "filter_subject": filter, "ack_policy": "explicit" });
    let create = json!({ "stream_name": AGENT_TASKS, "action": "create", "config": config });
    let call = |what: &str| format!("CONSUMER.{what}.{AGENT_TASKS}.other");
    let _: Value = backbone.bus.api(&call("CREATE"), &create).await.unwrap();
    let urgent = Delegation::new(role("cto"), "urgent").priority(Band::Urgent);
    let urgent = ceo.delegate(urgent).await.unwrap().id;
    for _ in 0..3 {
        normal().await;
    }
    assert_eq!(backbone.words(&urgent).await, ["created"]);
    let _: Value = backbone.bus.api(&call("DELETE"), &Value::Null).await.unwrap();
    ceo.outcome(&urgent).await.unwrap();
    assert_eq!(runtime.stop().await.ended, 5);
}
