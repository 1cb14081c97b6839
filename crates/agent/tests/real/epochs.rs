//! Every time a task is put on its queue it has the next epoch, and a crash between two steps of
//! putting it there is healed by whoever comes next.

use std::time::Duration;

use serde_json::json;
use sinew_agent::{Context, Delegation, Failure};
use sinew_bus::{Outgoing, clock};
use sinew_model::{
    Assignment, Band, Entry, TaskId, Time, header,
    retry::Backoff,
    stream::{AGENT_TASKS, TASK_SCHEDULES},
    task::{Change, Command, EnqueueReason},
};
use sinew_testkit::wait;

use crate::kit::{Backbone, PATIENCE, echo, role, task};

/// Fails once, then succeeds.
async fn second_time_lucky(task: Context) -> Result<serde_json::Value, Failure> {
    if task.attempt() == 1 { Err(Failure::retry("not yet")) } else { Ok("done".into()) }
}

fn assignment(backbone: &Backbone, id: &str, not_before: Option<Time>) -> Assignment {
    let mut body = json!({
        "taskId": id, "orgId": backbone.bus.subjects().org(), "role": "cto", "delegator": "ceo",
        "title": "By hand", "createdAt": clock::now(),
    });
    if let Some(at) = not_before {
        body["notBefore"] = json!(at);
    }
    serde_json::from_value(body).unwrap()
}

fn delegation(id: &TaskId) -> Delegation {
    Delegation::new(role("cto"), "By hand").id(id.clone())
}

async fn place(backbone: &Backbone, it: &Assignment, epoch: u32) -> u64 {
    let id = header::assignment_id(&it.task_id, epoch);
    backbone.put("cto", it.encode().unwrap(), (Some(&id), Some(&epoch.to_string()))).await
}

async fn schedule(backbone: &Backbone, it: &Assignment, epoch: u32, at: Time) {
    let subjects = backbone.bus.subjects();
    let out = Outgoing::new(TASK_SCHEDULES, subjects.schedule(&it.task_id), it.encode().unwrap())
        .id(header::assignment_id(&it.task_id, epoch))
        .header(header::EPOCH, epoch.to_string())
        .header(header::SCHEDULE, format!("@at {at}"))
        .header(header::SCHEDULE_TARGET, subjects.due(&it.role, Band::Normal).to_string())
        .header(header::SCHEDULE_TTL, "3600s");
    backbone.bus.publish(out).await.unwrap();
}

fn soon(millis: u64) -> Time {
    clock::now().plus(Duration::from_millis(millis))
}

/// The epochs that a log has, and the reason of each.
fn enqueued(entries: &[Entry]) -> Vec<(u32, EnqueueReason)> {
    let of = |entry: &Entry| {
        let Change::Enqueued { epoch, reason, .. } = entry.change else { return None };
        Some((epoch, reason))
    };
    entries.iter().filter_map(of).collect()
}

fn begun_at(entries: &[Entry]) -> Vec<(u32, Time)> {
    let of = |entry: &Entry| {
        let Change::Started(start) = &entry.change else { return None };
        Some((start.epoch, entry.at))
    };
    entries.iter().filter_map(of).collect()
}

#[tokio::test]
async fn a_retry_later_than_five_seconds_goes_over_a_schedule() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let mut settings = backbone.settings("cto");
    let wait = Duration::from_millis(5_200);
    settings.backoff = Backoff { first: wait, longest: wait };
    let runtime = backbone.run(settings, second_time_lucky).await;
    let id = ceo.delegate(Delegation::new(role("cto"), "Twice")).await.unwrap().id;
    backbone.until(&id, "the next epoch", |it| !enqueued(it).is_empty()).await;
    backbone.until_queue_is_empty().await;
    let entries = backbone.entries(&id).await;
    let last = entries.last().unwrap();
    let Change::Enqueued { epoch: 2, queue_seq: None, not_before: Some(due), .. } = last.change
    else {
        panic!("{last:?}");
    };
    ceo.outcome(&id).await.unwrap();
    let entries = backbone.entries(&id).await;
    let begun = begun_at(&entries);
    assert_eq!(begun.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [1, 2]);
    assert!(begun[1].1.plus(Duration::from_millis(60)) >= due, "{begun:?} before {due}");
    let words = backbone.words(&id).await;
    assert_eq!(words, ["created", "started", "released", "enqueued", "started", "completed"]);
    backbone.until_queue_is_empty().await;
    assert_eq!(runtime.stop().await.started, 2);
}

#[tokio::test]
async fn a_delayed_task_begins_when_it_is_due() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    let at = soon(1_500);
    let what = Delegation::new(role("cto"), "Later").not_before(at);
    let id = ceo.delegate(what).await.unwrap().id;
    assert_eq!(backbone.queued().await, 0, "a schedule holds it");
    assert_eq!(ceo.state(&id).await.unwrap().unwrap().word(), "scheduled");
    let past = Delegation::new(role("cto"), "At once").not_before(Time::from_micros(1));
    let past = ceo.delegate(past).await.unwrap().id;
    ceo.outcome(&past).await.unwrap();
    ceo.outcome(&id).await.unwrap();
    let begun = begun_at(&backbone.entries(&id).await);
    assert_eq!(begun.len(), 1);
    assert!(begun[0].1.plus(Duration::from_millis(60)) >= at, "{begun:?} before {at}");
    assert_eq!(backbone.words(&id).await, ["created", "started", "completed"]);
    runtime.stop().await;
}

#[tokio::test]
async fn a_scheduled_task_that_is_delegated_again_is_one() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let id = task("S1");
    let first = ceo.delegate(delegation(&id).not_before(soon(700))).await.unwrap();
    let second = ceo.delegate(delegation(&id).not_before(soon(900))).await.unwrap();
    assert_eq!((first.existed, second.existed), (false, true));
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    ceo.outcome(&id).await.unwrap();
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&id).await, ["created", "started", "completed"]);
    assert_eq!(runtime.stop().await.dropped, 0);
}

#[tokio::test]
async fn a_message_of_an_old_epoch_is_dropped() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let id = task("E1");
    ceo.delegate(delegation(&id)).await.unwrap();
    let mut log = backbone.log(&id).await;
    let it = log.state().unwrap().assignment.clone().unwrap();
    let seq = Some(place(&backbone, &it, 2).await);
    let reason = EnqueueReason::Lost;
    let command = Command::Enqueue { epoch: 2, queue_seq: seq, not_before: None, reason };
    log.execute(&command).await.unwrap();
    assert_eq!(backbone.queued().await, 2, "both epochs lie on the queue");
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    ceo.outcome(&id).await.unwrap();
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&id).await, ["created", "enqueued", "started", "completed"]);
    let tally = runtime.stop().await;
    assert_eq!((tally.started, tally.dropped), (1, 1));
}

#[tokio::test]
async fn a_message_of_a_later_epoch_is_adopted() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let id = task("E2");
    ceo.delegate(delegation(&id)).await.unwrap();
    let purged: serde_json::Value =
        backbone.bus.api("STREAM.PURGE.AGENT_TASKS", &json!(null)).await.unwrap();
    assert_eq!(purged["purged"], 1);
    let state = ceo.state(&id).await.unwrap().unwrap();
    // Epoch 2 was spent by somebody who crashed; 3 is on the queue.
    place(&backbone, state.assignment.as_ref().unwrap(), 3).await;
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    ceo.outcome(&id).await.unwrap();
    let entries = backbone.entries(&id).await;
    assert_eq!(enqueued(&entries), [(3, EnqueueReason::Found)]);
    assert_eq!(begun_at(&entries).len(), 1);
    backbone.until_queue_is_empty().await;
    runtime.stop().await;
}

#[tokio::test]
async fn a_delegator_that_crashed_before_created_is_healed_by_the_worker() {
    let backbone = Backbone::start().await;
    let it = assignment(&backbone, "C1", None);
    place(&backbone, &it, 1).await;
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&it.task_id).await, ["created", "started", "completed"]);
    runtime.stop().await;
}

#[tokio::test]
async fn a_delegator_that_crashed_before_created_is_healed_by_its_second_call() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let now = assignment(&backbone, "C2", None);
    let later = assignment(&backbone, "C3", Some(soon(800)));
    place(&backbone, &now, 1).await;
    schedule(&backbone, &later, 1, later.not_before.unwrap()).await;
    assert!(ceo.delegate(delegation(&now.task_id)).await.unwrap().existed);
    let again = delegation(&later.task_id).not_before(soon(700));
    assert!(ceo.delegate(again).await.unwrap().existed);
    assert_eq!(backbone.words(&now.task_id).await, ["created"]);
    assert_eq!(backbone.words(&later.task_id).await, ["created"]);
    assert_eq!(backbone.queued().await, 1);
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    ceo.outcome(&now.task_id).await.unwrap();
    ceo.outcome(&later.task_id).await.unwrap();
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&later.task_id).await, ["created", "started", "completed"]);
    assert_eq!(runtime.stop().await.started, 2);
}

#[tokio::test]
async fn a_schedule_whose_delegator_crashed_fires_into_a_task() {
    let backbone = Backbone::start().await;
    let it = assignment(&backbone, "C4", Some(soon(600)));
    schedule(&backbone, &it, 1, it.not_before.unwrap()).await;
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    wait::until("the task to end", PATIENCE, async || {
        let words = backbone.words(&it.task_id).await;
        if words.contains(&"completed") { Ok(()) } else { Err(format!("{words:?}")) }
    })
    .await;
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&it.task_id).await, ["created", "started", "completed"]);
    runtime.stop().await;
}

/// Begins an attempt by hand, on the message that lies at the head of the queue.
async fn start_by_hand(backbone: &Backbone, id: &TaskId) -> sinew_bus::TaskLog {
    let delivery = backbone.take("cto").await;
    let mut log = backbone.log(id).await;
    let command = Command::Start {
        epoch: 1,
        queue_seq: delivery.queue_seq(),
        instance: "by-hand".parse().unwrap(),
        incarnation: "one".to_owned(),
        ack: Some(delivery.ack_subject().to_string()),
        over: None,
    };
    log.execute(&command).await.unwrap();
    backbone.bus.nak_on_behalf(&delivery.hand_over()).await.unwrap();
    log
}

#[tokio::test]
async fn a_worker_that_crashed_in_mid_retry_is_healed_at_each_step() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    // After each step of a later retry: the failure, the schedule, the epoch in the log.
    for (id, steps) in [("R1", 1), ("R2", 2), ("R3", 3)] {
        let id = task(id);
        ceo.delegate(delegation(&id)).await.unwrap();
        let mut log = start_by_hand(&backbone, &id).await;
        let retry = Some(Duration::from_millis(6_000));
        let fail = Command::Fail { attempt: 1, cause: "by hand".to_owned(), retry };
        log.execute(&fail).await.unwrap();
        let due = soon(6_000);
        if steps >= 2 {
            let it = log.state().unwrap().assignment.clone().unwrap();
            schedule(&backbone, &it, 2, due).await;
        }
        if steps >= 3 {
            let (queue_seq, not_before, reason) = (None, Some(due), EnqueueReason::Retry);
            let command = Command::Enqueue { epoch: 2, queue_seq, not_before, reason };
            log.execute(&command).await.unwrap();
        }
        let runtime = backbone.run(backbone.settings("cto"), echo).await;
        backbone.until_queue_is_empty().await;
        assert_eq!(enqueued(&backbone.entries(&id).await), [(2, EnqueueReason::Retry)], "{id}");
        runtime.stop().await;
    }
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    for id in ["R1", "R2", "R3"] {
        let id = task(id);
        ceo.outcome(&id).await.unwrap();
        let words = backbone.words(&id).await;
        let expect = ["created", "started", "released", "enqueued", "started", "completed"];
        assert_eq!(words, expect, "{id}");
    }
    backbone.until_queue_is_empty().await;
    assert_eq!(runtime.stop().await.started, 3);
    assert_eq!(backbone.stored(AGENT_TASKS, ">").await.len(), 0);
}

#[tokio::test]
async fn a_worker_that_crashed_after_the_end_is_healed_by_the_next() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let id = task("D1");
    ceo.delegate(delegation(&id)).await.unwrap();
    let mut log = start_by_hand(&backbone, &id).await;
    log.execute(&Command::Complete { attempt: 1, result: "by hand".into() }).await.unwrap();
    assert!(backbone.inbox("ceo").await.is_empty());
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    backbone.until_queue_is_empty().await;
    let reports = backbone.inbox("ceo").await;
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].body["result"], "by hand");
    assert_eq!(backbone.words(&id).await, ["created", "started", "completed"]);
    let tally = runtime.stop().await;
    assert_eq!((tally.started, tally.dropped), (0, 1));
}

#[tokio::test]
async fn a_worker_that_crashed_in_mid_work_is_followed_by_a_second_attempt() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let id = task("D2");
    ceo.delegate(delegation(&id)).await.unwrap();
    let mut dead = start_by_hand(&backbone, &id).await;
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    let outcome = ceo.outcome(&id).await.unwrap();
    assert_eq!(outcome.attempts, 2);
    let late = dead.execute(&Command::Complete { attempt: 1, result: "late".into() }).await;
    assert!(late.unwrap_err().refusal().is_some());
    assert_eq!(backbone.words(&id).await, ["created", "started", "started", "completed"]);
    runtime.stop().await;
}
