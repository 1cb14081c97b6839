//! Whatever is taken from under tasks in every phase, each of them ends, and once.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use sinew_agent::{Ask, Context, Delegation, Failure};
use sinew_bus::clock;
use sinew_model::{
    TaskId, Transition,
    stream::{AGENT_TASKS, TASK_SCHEDULES},
    task::{Command, End},
};
use sinew_testkit::wait;

use super::{HASTE, LONG, Org, done, role, task};

/// Does what its title says at the first attempt, and is done at the next one.
async fn play(task: Context) -> Result<Value, Failure> {
    let first = task.attempt() == 1;
    match task.assignment().title.as_str() {
        "Running" if first => std::future::pending().await,
        "Retrying" if first => {
            let after = Some(Duration::from_secs(7));
            Err(Failure::Retry { cause: "later".into(), after })
        }
        "Blocked" | "Ready" => task.ask(Ask::new("Which?")),
        "Waiting" => {
            let child = task.delegate(Delegation::new(role("late"), "Child")).await?.id;
            task.wait_for([child]).await.map(|_| done())
        }
        _ => Ok(done()),
    }
}

async fn judge(_: Context) -> Result<Value, Failure> {
    Ok(json!({ "accepted": true }))
}

/// Brings tasks into every phase, and lets their worker crash.
async fn in_every_phase(org: &Org) -> Vec<TaskId> {
    let ceo = org.client();
    let worker = org.work("cto", play).await;
    let put = async |what: Delegation| ceo.delegate(what).await.unwrap().id;
    let queued = put(Delegation::new(role("late"), "Queued").id(task("Queued"))).await;
    let at = clock::now().plus(Duration::from_secs(8));
    let scheduled = put(Delegation::new(role("late"), "Scheduled").not_before(at)).await;
    let after = put(Delegation::new(role("cto"), "After").after([queued.clone()])).await;
    let of = async |title: &str, transition| {
        let what = Delegation::new(role("cto"), title);
        let what = if title == "Submitted" { what.verifier(role("qa")) } else { what };
        let id = put(what).await;
        org.until(&id, transition).await;
        id
    };
    let blocked = of("Blocked", Transition::Blocked).await;
    let ready = of("Ready", Transition::Blocked).await;
    let waiting = of("Waiting", Transition::Waiting).await;
    let submitted = of("Submitted", Transition::Submitted).await;
    let retrying = of("Retrying", Transition::Enqueued).await;
    let running = of("Running", Transition::Started).await;
    worker.crash().await;
    // Whoever answered this died before it was back on its queue.
    let answer = Command::Answer { key: None, answer: done() };
    org.log(&ready).await.execute(&answer).await.unwrap();
    vec![blocked, queued, scheduled, after, ready, waiting, submitted, retrying, running]
}

/// Everybody works again; then every task ends.
async fn all_end(org: &Org, tasks: &[TaskId]) {
    let (one, two) = (org.serve("one.db", HASTE).await, org.serve("two.db", HASTE).await);
    let workers =
        [org.work("cto", play).await, org.work("late", play).await, org.work("qa", judge).await];
    org.client().answer(tasks.first().unwrap(), None, done()).await.unwrap();
    for id in tasks {
        wait::until(&format!("{id} to end"), LONG, async || {
            let state = org.client().state(id).await.unwrap().unwrap();
            if state.end().is_some() { Ok(()) } else { Err(format!("{:?}", org.words(id).await)) }
        })
        .await;
        let end = org.client().outcome(id).await.unwrap().end;
        let End::Completed { result, .. } = end else { panic!("{id}: {end:?}") };
        assert_eq!(result, done());
        assert_eq!(org.count(id, Transition::Completed).await, 1);
    }
    wait::until("the queue to be empty", LONG, async || match org.queued().await {
        0 => Ok(()),
        left => Err(format!("{left} left")),
    })
    .await;
    for running in workers.into_iter().chain([one, two]) {
        running.stop().await;
    }
}

#[tokio::test]
async fn every_task_ends_though_all_messages_were_deleted() {
    let org = Org::start().await;
    let tasks = in_every_phase(&org).await;
    org.purge(AGENT_TASKS).await;
    all_end(&org, &tasks).await;
}

#[tokio::test]
async fn every_task_ends_though_all_schedules_were_dropped() {
    // Here the crashed worker's message is still there, and comes again only after its ack wait.
    let org = Org::with("[consumers]\nack_wait = \"5s\"").await;
    let tasks = in_every_phase(&org).await;
    org.purge(TASK_SCHEDULES).await;
    all_end(&org, &tasks).await;
}

#[tokio::test]
async fn every_task_ends_though_an_older_store_of_the_queue_came_back() {
    let org = Org::start().await;
    let ceo = org.client();
    // These are in the old store: one is still to be done when that comes back, the other is not.
    let mut early = Vec::new();
    for to in ["late", "early"] {
        early.push(ceo.delegate(Delegation::new(role(to), "Early")).await.unwrap().id);
    }
    let queue = org.server.store_dir().join("jetstream/$G/streams").join(AGENT_TASKS);
    let old = org.dir.join("old");
    org.server.stop();
    copy(&queue, &old);
    org.server.restart();
    let worker = org.work("early", play).await;
    ceo.outcome(&early[1]).await.unwrap();
    worker.stop().await;
    let mut tasks = in_every_phase(&org).await;
    org.server.stop();
    std::fs::remove_dir_all(&queue).unwrap();
    copy(&old, &queue);
    org.server.restart();
    tasks.extend(early);
    let worker = org.work("early", play).await;
    all_end(&org, &tasks).await;
    worker.stop().await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
