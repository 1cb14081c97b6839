//! Leases and fences: a task is worked on by one attempt at a time, and whoever lost it changes
//! nothing more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use sinew_agent::{Cancelled, CancelledTask, Context, Delegation, Failure};
use sinew_model::{
    Time, Transition,
    stream::AGENT_TASKS,
    task::{Command, DeadCause, End},
};
use sinew_testkit::{NatsServer, wait};

use crate::kit::{Backbone, Gate, PATIENCE, echo, role};

const SHORT: &str = "[consumers]\nack_wait = \"1s\"";

fn stopped(tasks: &[CancelledTask]) {
    assert!(tasks.iter().all(|task| task.outcome == Cancelled::Stopped), "{tasks:?}");
}

async fn delegate(backbone: &Backbone, title: &str) -> sinew_model::TaskId {
    backbone.client("ceo").delegate(Delegation::new(role("cto"), title)).await.unwrap().id
}

#[tokio::test]
async fn work_that_is_longer_than_the_ack_wait_runs_once() {
    let backbone = Backbone::with(NatsServer::start(), SHORT).await;
    let gate = Gate::shut();
    let first = backbone.run(backbone.settings("cto"), gate.handler()).await;
    let id = delegate(&backbone, "Long").await;
    backbone.until_count(&id, Transition::Started, 1).await;
    let second = backbone.run(backbone.settings("cto"), gate.handler()).await;
    wait::holds("one attempt over three ack waits", Duration::from_secs(3), async || {
        let words = backbone.words(&id).await;
        if words == ["created", "started"] { Ok(()) } else { Err(format!("{words:?}")) }
    })
    .await;
    gate.open();
    backbone.client("ceo").outcome(&id).await.unwrap();
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&id).await, ["created", "started", "completed"]);
    let (first, second) = (first.stop().await, second.stop().await);
    assert_eq!((first.started + second.started, first.dropped + second.dropped), (1, 0));
}

/// What the zombie's handler saw.
#[derive(Clone, Default)]
struct Seen {
    stopped: Arc<AtomicBool>,
}

#[tokio::test]
async fn who_lost_its_connection_loses_its_task_and_changes_nothing_more() {
    let backbone = Backbone::with(NatsServer::start(), SHORT).await;
    let (seen, gate) = (Seen::default(), Gate::shut());
    let noted = seen.clone();
    let zombie = backbone.process(backbone.settings("cto"), move |task: Context| {
        let noted = noted.clone();
        async move {
            task.stopped().await;
            noted.stopped.store(task.is_stopped(), Ordering::SeqCst);
            Ok("the zombie's".into())
        }
    });
    let id = delegate(&backbone, "Contested").await;
    backbone.until_count(&id, Transition::Started, 1).await;
    zombie.proxy.cut();
    let owner = backbone.run(backbone.settings("cto"), gate.handler()).await;
    backbone.until_count(&id, Transition::Started, 2).await;
    assert!(!seen.stopped.load(Ordering::SeqCst), "it can't know yet");
    zombie.proxy.heal();
    wait::until("the zombie to be told", PATIENCE, async || {
        if seen.stopped.load(Ordering::SeqCst) { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    let tally = zombie.stop().await;
    assert_eq!((tally.started, tally.lost, tally.ended, tally.released), (1, 1, 0, 0));
    wait::holds("the owner's delivery", Duration::from_millis(2_500), async || {
        let words = backbone.words(&id).await;
        let queued = backbone.queued().await;
        if words == ["created", "started", "started"] && queued == 1 {
            return Ok(());
        }
        Err(format!("{words:?}, {queued} queued"))
    })
    .await;
    gate.open();
    let outcome = backbone.client("ceo").outcome(&id).await.unwrap();
    assert_eq!(outcome.end, End::completed(2.into()));
    backbone.until_queue_is_empty().await;
    assert_eq!(owner.stop().await.lost, 0);
    assert_eq!(backbone.inbox("ceo").await.len(), 1);
}

#[tokio::test]
async fn a_result_from_behind_a_cut_is_refused_where_another_has_the_task() {
    let backbone = Backbone::with(NatsServer::start(), SHORT).await;
    let (zombies, owners) = (Gate::shut(), Gate::shut());
    let zombie = backbone.process(backbone.settings("cto"), zombies.handler());
    let id = delegate(&backbone, "Contested").await;
    backbone.until_count(&id, Transition::Started, 1).await;
    zombie.proxy.cut();
    zombies.open();
    let owner = backbone.run(backbone.settings("cto"), owners.handler()).await;
    backbone.until_count(&id, Transition::Started, 2).await;
    zombie.proxy.heal();
    let tally = zombie.stop().await;
    assert_eq!((tally.started, tally.lost, tally.ended), (1, 1, 0));
    owners.open();
    let outcome = backbone.client("ceo").outcome(&id).await.unwrap();
    assert_eq!(outcome.end, End::completed(2.into()));
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&id).await, ["created", "started", "started", "completed"]);
    owner.stop().await;
}

#[tokio::test]
async fn a_result_from_behind_a_cut_counts_where_nobody_else_has_the_task() {
    let backbone = Backbone::start().await;
    let gate = Gate::shut();
    let worker = backbone.process(backbone.settings("cto"), gate.handler());
    let id = delegate(&backbone, "Patient").await;
    backbone.until_count(&id, Transition::Started, 1).await;
    worker.proxy.cut();
    gate.open();
    worker.proxy.heal();
    backbone.client("ceo").outcome(&id).await.unwrap();
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&id).await, ["created", "started", "completed"]);
    assert_eq!(worker.stop().await.ended, 1);
}

async fn delete_consumer(backbone: &Backbone) {
    let call = format!("CONSUMER.DELETE.{AGENT_TASKS}.cto-agent-consumer");
    let _gone: serde_json::Value = backbone.bus.api(&call, &json!(null)).await.unwrap();
}

#[tokio::test]
async fn a_consumer_that_is_deleted_in_mid_work_is_made_again_and_the_task_ends_once() {
    let backbone = Backbone::start().await;
    let gate = Gate::shut();
    let runtime = backbone.run(backbone.settings("cto"), gate.handler()).await;
    let id = delegate(&backbone, "Undisturbed").await;
    backbone.until_count(&id, Transition::Started, 1).await;
    delete_consumer(&backbone).await;
    wait::until("the message to be delivered anew", PATIENCE, async || {
        let open = backbone.bus.open_deliveries(AGENT_TASKS, "cto-agent-consumer").await.unwrap();
        match open {
            Some(open) if open.newest_delivery > 0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    gate.open();
    backbone.client("ceo").outcome(&id).await.unwrap();
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&id).await, ["created", "started", "completed"]);
    assert_eq!(runtime.stop().await.started, 1);
}

#[tokio::test]
async fn attempts_are_counted_by_the_log_and_not_by_the_consumer() {
    let backbone = Backbone::start().await;
    let gate = Gate::shut();
    let passed = gate.clone();
    let handler = move |task: Context| {
        let gate = passed.clone();
        async move {
            if task.attempt() == 3 {
                gate.pass().await;
            }
            Err(Failure::retry("again"))
        }
    };
    let runtime = backbone.run(backbone.settings("cto"), handler).await;
    let id = delegate(&backbone, "Hopeless").await;
    backbone.until_count(&id, Transition::Started, 3).await;
    delete_consumer(&backbone).await;
    gate.open();
    let outcome = backbone.client("ceo").outcome(&id).await.unwrap();
    assert_eq!(outcome.attempts, 3);
    assert!(matches!(outcome.end, End::Dead { cause: DeadCause::AttemptsExhausted, .. }));
    backbone.until_queue_is_empty().await;
    runtime.stop().await;
}

#[tokio::test]
async fn a_server_that_is_killed_in_mid_work_costs_no_attempt() {
    let backbone = Backbone::start().await;
    let gate = Gate::shut();
    let runtime = backbone.run(backbone.settings("cto"), gate.handler()).await;
    let id = delegate(&backbone, "Through a crash").await;
    backbone.until_count(&id, Transition::Started, 1).await;
    backbone.server.kill();
    gate.open();
    backbone.server.restart();
    backbone.client("ceo").outcome(&id).await.unwrap();
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&id).await, ["created", "started", "completed"]);
    assert_eq!(runtime.stop().await.started, 1);
}

#[tokio::test]
async fn a_start_whose_answer_got_lost_does_not_leave_the_task_to_nobody() {
    let backbone = Backbone::start().await;
    let gate = Gate::shut();
    let mut settings = backbone.settings("cto");
    settings.concurrency = 1;
    let runtime = backbone.run(settings, gate.handler()).await;
    let first = delegate(&backbone, "Shows who works").await;
    backbone.until_count(&first, Transition::Started, 1).await;
    let state = backbone.client("ceo").state(&first).await.unwrap().unwrap();
    let known = state.running().unwrap().clone();
    let id = delegate(&backbone, "Begun without knowing").await;
    let mut log = backbone.log(&id).await;
    let start = Command::Start {
        epoch: 1,
        queue_seq: log.state().unwrap().queue_seq().unwrap(),
        instance: known.instance,
        incarnation: known.incarnation,
        ack: None,
        over: None,
    };
    log.execute(&start).await.unwrap();
    gate.open();
    backbone.until_queue_is_empty().await;
    let words = backbone.words(&id).await;
    assert_eq!(words, ["created", "started", "released", "started", "completed"]);
    runtime.stop().await;
}

#[tokio::test]
async fn a_handler_that_panics_has_failed() {
    let backbone = Backbone::start().await;
    let runtime = backbone
        .run(backbone.settings("cto"), |task: Context| async move {
            if task.attempt() < 4 {
                panic!("attempt {}", task.attempt());
            }
            Ok(json!(null))
        })
        .await;
    let id = delegate(&backbone, "Panic").await;
    let outcome = backbone.client("ceo").outcome(&id).await.unwrap();
    let End::Dead { detail, .. } = outcome.end else { panic!("{outcome:?}") };
    assert_eq!(detail, "the handler panicked: attempt 3");
    backbone.until_queue_is_empty().await;
    assert_eq!(runtime.stop().await.started, 3);
}

/// Counts the handlers that are dropped.
struct Dropped(Arc<AtomicU32>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_handler_that_ignores_its_stop_is_dropped_and_its_place_is_free() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let mut settings = backbone.settings("cto");
    settings.concurrency = 1;
    let runtime = backbone
        .run(settings, move |task: Context| {
            let dropped = Dropped(Arc::clone(&counted));
            async move {
                if task.assignment().title == "Deaf" {
                    let _kept = dropped;
                    std::future::pending::<()>().await;
                }
                Ok(json!(null))
            }
        })
        .await;
    let deaf = delegate(&backbone, "Deaf").await;
    backbone.until_count(&deaf, Transition::Started, 1).await;
    let next = delegate(&backbone, "Next").await;
    stopped(&ceo.cancel(&deaf, "enough").await);
    ceo.outcome(&next).await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2, "the deaf one was dropped");
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&deaf).await, ["created", "started", "cancelled"]);
    assert_eq!(runtime.stop().await.lost, 1);
}

#[tokio::test]
async fn a_queued_and_a_running_task_are_called_off() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let queued = delegate(&backbone, "Queued").await;
    stopped(&ceo.cancel(&queued, "no longer needed").await);
    let twice = ceo.cancel(&queued, "again").await;
    assert_eq!(twice[0].outcome, Cancelled::TooLate(Transition::Cancelled));
    let runtime = backbone
        .run(backbone.settings("cto"), |task: Context| async move {
            task.stopped().await;
            Ok("too late".into())
        })
        .await;
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&queued).await, ["created", "cancelled"]);
    let running = delegate(&backbone, "Running").await;
    backbone.until_count(&running, Transition::Started, 1).await;
    stopped(&ceo.cancel(&running, "stop").await);
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&running).await, ["created", "started", "cancelled"]);
    let kinds: Vec<String> = backbone.inbox("ceo").await.into_iter().map(|it| it.kind).collect();
    assert_eq!(kinds, ["task.cancelled", "task.cancelled"], "each is reported once");
    let tally = runtime.stop().await;
    assert_eq!((tally.started, tally.lost, tally.dropped), (1, 1, 1));
}

#[tokio::test]
async fn a_handler_is_told_to_stop_also_where_its_own_call_saw_the_loss_first() {
    let backbone = Backbone::with(NatsServer::start(), SHORT).await;
    let (gate, seen) = (Gate::shut(), Seen::default());
    let (pass, noted) = (gate.clone(), seen.clone());
    let running = backbone
        .run(backbone.settings("cto"), move |task: Context| {
            let (pass, noted) = (pass.clone(), noted.clone());
            async move {
                pass.pass().await;
                let child = Delegation::new(role("qa"), "Too late");
                // As a handler does that goes on after an error.
                while task.delegate(child.clone()).await.is_ok() {}
                task.stopped().await;
                noted.stopped.store(true, Ordering::SeqCst);
                Err(Failure::fatal("stopped"))
            }
        })
        .await;
    let id = delegate(&backbone, "Called off").await;
    backbone.until_count(&id, Transition::Started, 1).await;
    gate.open();
    backbone.until_count(&id, Transition::Effect, 3).await;
    stopped(&backbone.client("ceo").cancel(&id, "changed our minds").await);
    wait::until("the handler to be told", PATIENCE, async || {
        if seen.stopped.load(Ordering::SeqCst) { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    assert_eq!(running.stop().await.lost, 1);
}

#[tokio::test]
async fn a_task_that_is_past_its_deadline_is_dead_and_not_started() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let what = Delegation::new(role("cto"), "Too late").deadline(Time::from_micros(1));
    let id = ceo.delegate(what).await.unwrap().id;
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    let outcome = ceo.outcome(&id).await.unwrap();
    assert!(
        matches!(outcome.end, End::Dead { cause: DeadCause::DeadlinePassed, .. }),
        "{outcome:?}"
    );
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&id).await, ["created", "dead"]);
    assert_eq!(backbone.inbox("ceo").await.len(), 1);
    assert_eq!(runtime.stop().await.started, 0);
}
