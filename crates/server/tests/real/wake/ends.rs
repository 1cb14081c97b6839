//! Ends whose writer died before it did what they leave to be done.

use serde_json::{Value, json};
use sinew_agent::{Context, Delegation, Failure};
use sinew_bus::TaskLog;
use sinew_model::{
    TaskId, Transition,
    task::{Actor, Command, DeadCause},
};

use super::{HASTE, NEVER, Org, Running, role};

/// A tree of tasks that all wait: the ids of the root, of its child, and of that one's child.
async fn tree(org: &Org) -> (TaskId, TaskId, TaskId, [Running; 2]) {
    let parents = org.work("cto", |task: Context| delegate_and_wait(task, "coder")).await;
    let children = org.work("coder", |task: Context| delegate_and_wait(task, "nobody")).await;
    let root = Delegation::new(role("cto"), "Root");
    let root = org.client().delegate(root).await.unwrap().id;
    let only_child = async |id: &TaskId| {
        org.until(id, Transition::Waiting).await;
        org.client().state(id).await.unwrap().unwrap().children().remove(0)
    };
    let child = only_child(&root).await;
    let leaf = only_child(&child).await;
    (root, child, leaf, [parents, children])
}

async fn delegate_and_wait(task: Context, to: &str) -> Result<Value, Failure> {
    let child = task.delegate(Delegation::new(role(to), "Child")).await?.id;
    task.wait_for([child]).await.map(|_| json!(0))
}

#[tokio::test]
async fn a_cancellation_whose_client_died_goes_on_down_the_tree() {
    let org = Org::start().await;
    let (root, child, leaf, workers) = tree(&org).await;
    let reason = "enough".to_owned();
    // The client wrote this, and no more.
    org.log(&root).await.execute(&Command::Cancel { reason }).await.unwrap();
    let serving = org.serve("views.db", NEVER).await;
    for id in [&child, &leaf] {
        org.until(id, Transition::Cancelled).await;
    }
    org.until_told("ceo", "task.cancelled", &root).await;
    // The same while it runs, and from the middle of a tree.
    let (root, child, leaf, others) = tree(&org).await;
    let reason = "enough".to_owned();
    org.log(&child).await.execute(&Command::Cancel { reason }).await.unwrap();
    org.until(&leaf, Transition::Cancelled).await;
    org.until_told("cto", "task.cancelled", &child).await;
    org.until(&root, Transition::Completed).await;
    for running in workers.into_iter().chain(others) {
        running.stop().await;
    }
    serving.stop().await;
}

#[tokio::test]
async fn a_death_that_nobody_reported_is_reported_and_what_it_recorded_is_carried_out() {
    let org = Org::start().await;
    let ceo = org.client();
    let dead = ceo.delegate(Delegation::new(role("cto"), "Dead")).await.unwrap().id;
    let (cause, detail) = (DeadCause::Lost, "by hand".to_owned());
    let bury = Command::Bury { cause, detail, bytes: None };
    org.log(&dead).await.execute(&bury).await.unwrap();
    assert!(org.inbox("ceo").await.is_empty());
    let (one, two) = (org.serve("one.db", NEVER).await, org.serve("two.db", NEVER).await);
    org.until_told("ceo", "task.dead", &dead).await;
    // Two controllers, and the client itself, tell it once.
    let called_off = ceo.delegate(Delegation::new(role("cto"), "Off")).await.unwrap().id;
    ceo.cancel(&called_off, "enough").await;
    let clock = ceo.delegate(Delegation::new(role("cto"), "Clock")).await.unwrap().id;
    org.log(&clock).await.execute(&bury).await.unwrap();
    org.until_told("ceo", "task.dead", &clock).await;
    let told = org.inbox("ceo").await;
    assert_eq!(told.iter().filter(|it| it.task_id.as_ref() == Some(&called_off)).count(), 1);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn an_accepted_result_is_reported_though_whoever_accepted_it_died() {
    let org = Org::start().await;
    let ceo = org.client();
    let worker = org.work("cto", |_: Context| async { Ok(json!("done")) }).await;
    let accept = async |id: &TaskId| {
        let by = Actor { role: role("qa"), instance: None };
        let mut log = TaskLog::read(&org.bus, id.clone(), by).await.unwrap();
        let evidence = json!("seen");
        // It dies after the entry, so nothing reports it.
        log.execute(&Command::Accept { by: role("qa"), evidence }).await.unwrap();
    };
    let submit = async |title: &str| {
        let what = Delegation::new(role("cto"), title).verifier(role("qa"));
        let id = ceo.delegate(what).await.unwrap().id;
        org.until(&id, Transition::Submitted).await;
        id
    };

    // While controllers run.
    let serving = org.serve("views.db", HASTE).await;
    let plain = submit("Plain").await;
    let qa = sinew_agent::Client::new(org.bus.clone(), role("qa"));
    qa.accept(&plain, json!("seen")).await.unwrap();
    let live = submit("Live").await;
    accept(&live).await;
    org.until_told("ceo", "task.completed", &live).await;
    // What was reported before, and comes before it in the log, is not reported a second time.
    let told = org.inbox("ceo").await;
    let is_end = |mail: &&sinew_model::mail::Mail| {
        mail.kind == "task.completed" && mail.task_id.as_ref() == Some(&plain)
    };
    let ends = told.iter().filter(is_end).count();
    assert_eq!(ends, 1, "{told:?}");

    // And while none does.
    let missed = submit("Missed").await;
    serving.stop().await;
    accept(&missed).await;
    assert!(org.inbox("ceo").await.iter().all(|mail| mail.task_id.as_ref() != Some(&missed)));
    let serving = org.serve("views.db", HASTE).await;
    org.until_told("ceo", "task.completed", &missed).await;
    for running in [serving, worker] {
        running.stop().await;
    }
}
