//! What a handler does through Sinew happens once, however often the handler is tried.

use serde_json::json;
use sinew_agent::{Client, Context, DelegateError, Delegation, Emission, Failure};
use sinew_model::{
    Assignment, TaskId, Transition,
    limits::TREE_DEPTH,
    task::{Change, Command, Effect, End},
};
use sinew_testkit::wait;

use crate::kit::{Backbone, Gate, PATIENCE, echo, role, task};

/// Delegates three children, two of them without a key, and fails the first two times: once
/// before the last child, once after it.
async fn parent(task: Context) -> Result<serde_json::Value, Failure> {
    let child = |title: &str| Delegation::new(role("coder"), title).input(task.input().clone());
    let first = task.delegate(child("First")).await?;
    let keyed = task.delegate(child("Keyed").key("release-notes")).await?;
    if task.attempt() == 1 {
        return Err(Failure::retry("before the last"));
    }
    let last = task.delegate(child("Last")).await?;
    if task.attempt() == 2 {
        return Err(Failure::retry("after the last"));
    }
    let ids = [first, keyed, last].map(|it| it.id.to_string());
    Ok(json!(ids))
}

/// The assignments of all tasks that were created for a role.
async fn children(backbone: &Backbone, of: &str) -> Vec<Assignment> {
    let mut found = Vec::new();
    for message in backbone.stored("TASK_LOG", "genbrain.org.acme.tasks.*.created").await {
        let entry = message.stored(backbone.bus.subjects()).unwrap().entry;
        let Change::Created { assignment, .. } = entry.change else { continue };
        if assignment.role == role(of) {
            found.push(*assignment);
        }
    }
    found
}

#[tokio::test]
async fn each_child_exists_once_over_three_attempts() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let runtime = backbone.run(backbone.settings("cto"), parent).await;
    let id = ceo.delegate(Delegation::new(role("cto"), "Parent").input("in")).await.unwrap().id;
    let outcome = ceo.outcome(&id).await.unwrap();
    let End::Completed { result, .. } = outcome.end else { panic!("{outcome:?}") };
    assert_eq!(outcome.attempts, 3);
    let found = children(&backbone, "coder").await;
    let ids: Vec<String> = found.iter().map(|it| it.task_id.to_string()).collect();
    assert_eq!(json!(ids), result, "the last attempt knows the ids of all");
    for child in &found {
        assert_eq!((child.parent.as_ref(), child.depth), (Some(&id), 1));
        assert_eq!(child.delegator, role("cto"), "reports go to the parent's role");
    }
    runtime.stop().await;
    let coders = backbone.run(backbone.settings("coder"), echo).await;
    backbone.until_queue_is_empty().await;
    assert_eq!(coders.stop().await.started, 3);
    assert_eq!(backbone.inbox("cto").await.len(), 3);
}

#[tokio::test]
async fn a_child_of_the_same_key_is_the_first_one_whatever_the_second_attempt_says() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let runtime = backbone
        .run(backbone.settings("cto"), |task: Context| async move {
            let title = format!("of attempt {}", task.attempt());
            let child = task.delegate(Delegation::new(role("coder"), title).key("k")).await?;
            let key = task.delegate(Delegation::new(role("coder"), "No key").key("")).await;
            assert!(matches!(key, Err(DelegateError::Key)), "{key:?}");
            if task.attempt() == 1 {
                return Err(Failure::retry("once more"));
            }
            Ok(child.id.to_string().into())
        })
        .await;
    let id = ceo.delegate(Delegation::new(role("cto"), "Parent")).await.unwrap().id;
    ceo.outcome(&id).await.unwrap();
    let found = children(&backbone, "coder").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].title, "of attempt 1");
    runtime.stop().await;
}

#[tokio::test]
async fn a_tree_of_delegations_has_a_greatest_depth() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let runtime = backbone
        .run(backbone.settings("cto"), |task: Context| async move {
            match task.delegate(Delegation::new(role("cto"), "Deeper")).await {
                Ok(_) => Ok("went on".into()),
                Err(DelegateError::TooDeep { chain }) => {
                    Err(Failure::fatal(chain.iter().map(|it| format!("{it} ")).collect::<String>()))
                }
                Err(error) => Err(error.into()),
            }
        })
        .await;
    let top = ceo.delegate(Delegation::new(role("cto"), "Top")).await.unwrap().id;
    wait::until("the deepest to fail", PATIENCE, async || {
        let failed = backbone.stored("TASK_LOG", "genbrain.org.acme.tasks.*.failed").await;
        if failed.is_empty() { Err("none has".to_owned()) } else { Ok(()) }
    })
    .await;
    backbone.until_queue_is_empty().await;
    let found = children(&backbone, "cto").await;
    let deepest = found.iter().map(|it| it.depth).max();
    assert_eq!((deepest, found.len()), (Some(TREE_DEPTH), TREE_DEPTH as usize + 1));
    let last = found.iter().max_by_key(|it| it.depth).unwrap();
    let End::Failed { cause } = ceo.outcome(&last.task_id).await.unwrap().end else {
        panic!("the deepest did not fail");
    };
    let chain: Vec<&str> = cause.split_whitespace().collect();
    assert_eq!((chain.len(), chain[0]), (found.len(), top.as_str()), "the chain is named");
    runtime.stop().await;
}

#[tokio::test]
async fn an_effect_that_was_recorded_and_not_carried_out_is_carried_out_after_the_end() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let id = task("P1");
    ceo.delegate(Delegation::new(role("cto"), "Parent").id(id.clone())).await.unwrap();
    let delivery = backbone.take("cto").await;
    let mut log = backbone.log(&id).await;
    let start = Command::Start {
        epoch: 1,
        queue_seq: delivery.queue_seq(),
        instance: "by-hand".parse().unwrap(),
        incarnation: "one".to_owned(),
        ack: None,
        over: None,
    };
    log.execute(&start).await.unwrap();
    let child: Assignment = serde_json::from_value(json!({
        "taskId": TaskId::of_effect(&id, "k"), "orgId": "acme", "role": "coder",
        "delegator": "cto", "title": "Child", "parent": id, "depth": 1,
        "createdAt": "2026-05-10T14:23:01Z", "deadline": "2100-01-01T00:00:00Z",
    }))
    .unwrap();
    let effect = Box::new(Effect::Delegate { assignment: child.clone() });
    log.execute(&Command::Effect { attempt: 1, key: "k".to_owned(), effect }).await.unwrap();
    log.execute(&Command::Complete { attempt: 1, result: json!(null) }).await.unwrap();
    assert!(ceo.state(&child.task_id).await.unwrap().is_none());
    backbone.bus.nak_on_behalf(&delivery.hand_over()).await.unwrap();
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    backbone.until_count(&child.task_id, Transition::Created, 1).await;
    wait::until("the parent to be gone", PATIENCE, async || match backbone.queued().await {
        1 => Ok(()),
        other => Err(format!("{other} are queued")),
    })
    .await;
    assert_eq!(backbone.inbox("ceo").await.len(), 1, "and the end is reported");
    assert_eq!(runtime.stop().await.started, 0);
}

#[tokio::test]
async fn an_attempt_that_lost_its_task_delegates_nothing() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let id = ceo.delegate(Delegation::new(role("cto"), "Parent")).await.unwrap().id;
    let gate = Gate::shut();
    let runtime = backbone.run(backbone.settings("cto"), gate.handler()).await;
    backbone.until_count(&id, Transition::Started, 1).await;
    let client = |attempt| Client::acting(backbone.bus.clone(), role("cto"), id.clone(), attempt);
    let (first, other) = (client(1).await.unwrap(), client(2).await.unwrap());
    let child = first.delegate(Delegation::new(role("coder"), "Child")).await.unwrap();
    assert_eq!(children(&backbone, "coder").await[0].parent.as_ref(), Some(&id));
    assert!(!child.existed);
    let refused = other.delegate(Delegation::new(role("coder"), "Alien")).await;
    assert!(matches!(refused, Err(DelegateError::Parent(_))), "{refused:?}");
    ceo.cancel(&id, "enough").await;
    let refused = first.delegate(Delegation::new(role("coder"), "Late").key("late")).await;
    assert!(matches!(refused, Err(DelegateError::Parent(_))), "{refused:?}");
    assert_eq!(children(&backbone, "coder").await.len(), 1);
    gate.open();
    runtime.stop().await;
}

#[tokio::test]
async fn commands_that_act_for_one_attempt_do_not_take_each_others_work_for_their_own() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let id = ceo.delegate(Delegation::new(role("cto"), "Parent")).await.unwrap().id;
    let gate = Gate::shut();
    let runtime = backbone.run(backbone.settings("cto"), gate.handler()).await;
    backbone.until_count(&id, Transition::Started, 1).await;
    // Each command is a process of its own, and so a client of its own.
    for title in ["One", "Two", "One"] {
        let client = Client::acting(backbone.bus.clone(), role("cto"), id.clone(), 1);
        let client = client.await.unwrap();
        client.delegate(Delegation::new(role("coder"), title)).await.unwrap();
        client.emit(Emission::new("file.write")).await.unwrap();
    }
    let found = children(&backbone, "coder").await;
    let titles: Vec<&str> = found.iter().map(|it| it.title.as_str()).collect();
    assert_eq!(titles, ["One", "Two"]);
    assert_eq!(backbone.bus.stream_state("ORG_EVENTS").await.unwrap().messages, 3);
    gate.open();
    runtime.stop().await;
}

#[tokio::test]
async fn a_burst_of_progress_is_coalesced_and_its_last_word_is_kept() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let runtime = backbone
        .run(backbone.settings("cto"), |task: Context| async move {
            for number in 0..1_000_u32 {
                task.progress(format!("step {number}"), u8::try_from(number / 10).ok());
                tokio::task::yield_now().await;
            }
            Ok(json!(null))
        })
        .await;
    let id = ceo.delegate(Delegation::new(role("cto"), "Talk")).await.unwrap().id;
    ceo.outcome(&id).await.unwrap();
    let entries = backbone.entries(&id).await;
    let said: Vec<String> = entries
        .iter()
        .filter_map(|entry| {
            let Change::Progress { message, .. } = &entry.change else { return None };
            Some(message.clone())
        })
        .collect();
    assert!(said.len() <= 3, "{said:?}");
    assert_eq!(said.last().map(String::as_str), Some("step 999"));
    backbone.until_queue_is_empty().await;
    let mail = backbone.inbox("ceo").await;
    let kinds: Vec<&str> = mail.iter().map(|it| it.kind.as_str()).collect();
    let mut expect = vec!["task.progress"; said.len()];
    expect.push("task.completed");
    assert_eq!(kinds, expect);
    let mut ids: Vec<&str> = mail.iter().map(|it| it.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), mail.len(), "each report has an id of its own");
    runtime.stop().await;
}
