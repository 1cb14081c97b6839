//! What may be asked of the view of tasks, and what it answers.

use std::time::Duration;

use serde_json::json;
use sinew_model::{
    TaskId, limits,
    task::{Command, DeadCause, Phase, ReleaseReason},
};
use sinew_views::{
    Store,
    task::{Candidates, Filter, Page, Round, VoidKind},
};

use crate::kit::{Step, World, batch, id, subjects};

async fn store(world: &World) -> Store {
    let store = Store::open_in_memory(subjects()).await.unwrap();
    store.fold_tasks(batch(&world.log, 0, world.last_seq())).await.unwrap();
    store
}

fn ids(page: &Page) -> Vec<&str> {
    page.tasks.iter().map(|task| task.task_id.as_str()).collect()
}

fn create(world: &mut World, task: &str, role: &str, parent: Option<&str>) -> TaskId {
    let task: TaskId = task.parse().unwrap();
    let mut assignment = world.assignment(&task, role);
    assignment.parent = parent.map(|parent| parent.parse().unwrap());
    world.must(&task, &Command::Create { assignment, queue_seq: Some(7) });
    task
}

fn start(world: &mut World, task: &TaskId) {
    let (instance, incarnation) = ("cto-1".parse().unwrap(), "p1".to_owned());
    let start =
        Command::Start { epoch: 1, queue_seq: 7, instance, incarnation, ack: None, over: None };
    world.must(task, &start);
}

#[tokio::test]
async fn a_task_shows_its_whole_life() {
    let mut world = World::new();
    let task = create(&mut world, "T1", "cto", Some("T0"));
    start(&mut world, &task);
    let message = "half".to_owned();
    world.must(&task, &Command::Progress { attempt: 1, message, percent: Some(50) });
    let began = world.log[1].stored_at;
    let view = store(&world).await;
    let row = view.show(task.clone()).await.unwrap().unwrap().task;
    assert_eq!((row.phase.as_str(), row.message.as_deref()), ("running", Some("half")));
    assert_eq!((row.percent, row.started_at, row.ended_at), (Some(50), Some(began), None));
    assert_eq!(row.instance.unwrap().as_str(), "cto-1");
    let reason = ReleaseReason::Drained;
    world.must(&task, &Command::Release { attempt: 1, reason, retry: None });
    start(&mut world, &task);
    view.fold_tasks(batch(&world.log, 3, 5)).await.unwrap();
    let row = view.show(task.clone()).await.unwrap().unwrap().task;
    assert_eq!((row.message, row.percent), (None, None), "the report of another attempt");
    assert_eq!((row.attempts, row.started_at), (2, Some(began)), "when it was first begun");
    world.must(&task, &Command::Complete { attempt: 2, result: json!({ "n": 1 }) });
    view.fold_tasks(batch(&world.log, 5, 6)).await.unwrap();
    let life = view.show(task).await.unwrap().unwrap();
    assert_eq!((life.task.phase.as_str(), life.task.result), ("completed", Some(json!({"n": 1}))));
    assert_eq!(life.task.ended_at, Some(world.log[5].stored_at));
    let words: Vec<_> = life.entries.iter().map(|entry| entry.transition.word()).collect();
    assert_eq!(words, ["created", "started", "progress", "released", "started", "completed"]);
    assert_eq!(life.entries[2].body["message"], "half");
    assert_eq!((life.entries[1].attempt, life.entries[0].attempt), (Some(1), None));
    let shown = serde_json::to_value(&life.entries[5]).unwrap();
    assert_eq!((&shown["taskId"], &shown["by"]["role"]), (&json!("T1"), &json!("cto")));
    assert!(view.show(id(9)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_revived_task_has_not_ended_and_a_large_result_is_only_in_its_entry() {
    let mut world = World::new();
    let task = create(&mut world, "T1", "cto", None);
    world.must_step(Step::Lawful(1, 1));
    let view = store(&world).await;
    let row = view.show(task.clone()).await.unwrap().unwrap().task;
    assert_eq!((row.dead, row.cause.as_deref()), (Some(DeadCause::Lost), Some("gone")));
    for _ in ["revived", "enqueued", "started"] {
        world.must_step(Step::Lawful(1, 8));
    }
    view.fold_tasks(batch(&world.log, 2, 5)).await.unwrap();
    let row = view.show(task.clone()).await.unwrap().unwrap().task;
    assert_eq!((row.dead, row.ended_at, row.epoch), (None, None, 2));
    assert_eq!(row.phase, "running");
    let text = "x".repeat(limits::VIEW_RESULT_BYTES);
    world.must(&task, &Command::Complete { attempt: 1, result: json!(text) });
    view.fold_tasks(batch(&world.log, 5, 6)).await.unwrap();
    let life = view.show(task).await.unwrap().unwrap();
    let bytes = u64::try_from(limits::VIEW_RESULT_BYTES + 2).unwrap();
    assert_eq!((life.task.result, life.task.result_bytes), (None, Some(bytes)));
    assert_eq!(life.entries[5].body["result"], json!(text));
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let mut world = World::new();
    for (task, role) in [("T1", "cto"), ("T2", "qa"), ("T3", "cto"), ("X_4", "cto")] {
        create(&mut world, task, role, None);
    }
    let since = world.now();
    world.must_step(Step::Lawful(1, 0));
    let view = store(&world).await;
    let list = async |filter: Filter| view.list(filter).await.unwrap();
    let any = Filter::default;
    assert_eq!(ids(&list(any()).await), ["X_4", "T3", "T2", "T1"]);
    let role = Some("cto".parse().unwrap());
    let first = list(Filter { role, limit: Some(2), ..any() }).await;
    assert_eq!(ids(&first), ["X_4", "T3"]);
    let role = Some("cto".parse().unwrap());
    let second = list(Filter { role, limit: Some(2), after: first.next, ..any() }).await;
    assert_eq!((ids(&second), second.next), (vec!["T1"], None));
    assert_eq!(ids(&list(Filter { ended: Some(true), ..any() }).await), ["T1"]);
    assert_eq!(ids(&list(Filter { ended: Some(false), ..any() }).await).len(), 3);
    assert_eq!(ids(&list(Filter { since: Some(since), ..any() }).await), ["T1"]);
    let phases = vec!["cancelled".to_owned(), "running".to_owned()];
    assert_eq!(ids(&list(Filter { phases, ..any() }).await), ["T1"]);
    let delegator = Some("cto".parse().unwrap());
    assert!(list(Filter { delegator, ..any() }).await.tasks.is_empty());
    // The signs that LIKE knows are text here, and case does not matter.
    for (text, expect) in [("100%", 4), ("_", 1), ("OF x", 1), ("%T", 0), ("~", 0)] {
        let found = list(Filter { search: Some(text.to_owned()), ..any() }).await;
        assert_eq!(found.tasks.len(), expect, "{text}");
    }
    let phases = vec!["asleep".to_owned()];
    assert!(view.list(Filter { phases, ..any() }).await.is_err());
    let counts = view.counts().await.unwrap();
    let shown = serde_json::to_value(&counts).unwrap();
    assert_eq!(
        shown,
        json!([
            { "role": "cto", "phase": "cancelled", "tasks": 1 },
            { "role": "cto", "phase": "queued", "tasks": 2 },
            { "role": "qa", "phase": "queued", "tasks": 1 },
        ])
    );
}

#[tokio::test]
async fn a_tree_is_walked_even_where_foreign_entries_closed_it_into_a_ring() {
    let mut world = World::new();
    for (task, parent) in [
        ("root", None),
        ("b", Some("root")),
        ("a", Some("root")),
        ("leaf", Some("b")),
        ("else", Some("nobody")),
        ("ring1", Some("ring2")),
        ("ring2", Some("ring1")),
    ] {
        create(&mut world, task, "cto", parent);
    }
    let view = store(&world).await;
    let tree = async |root: &str| {
        let tree = view.tree(root.parse().unwrap()).await.unwrap();
        assert!(!tree.cut);
        tree.tasks.iter().map(|task| task.task_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(tree("root").await, ["root", "b", "a", "leaf"]);
    assert_eq!(tree("ring1").await, ["ring1", "ring2"]);
    assert!(tree("nobody").await.is_empty());
    let children = view.children("root".parse().unwrap(), None).await.unwrap();
    assert_eq!(ids(&children), ["a", "b"]);
}

#[tokio::test]
async fn a_prefix_finds_its_task() {
    let mut world = World::new();
    for task in ["abc1", "abc2", "abc", "b-1"] {
        create(&mut world, task, "cto", None);
    }
    world.step(Step::Garbage(7));
    let view = store(&world).await;
    let resolve = async |prefix: &str| view.resolve(prefix.to_owned()).await.unwrap();
    let one = |task: &str| Candidates::One(task.parse().unwrap());
    assert_eq!(resolve("b").await, one("b-1"));
    assert_eq!(resolve("abc").await, one("abc"));
    assert_eq!(resolve("abc2").await, one("abc2"));
    assert!(matches!(resolve("ab").await, Candidates::Many(ids) if ids.len() == 3));
    assert_eq!(resolve("zz").await, Candidates::None);
    assert_eq!(resolve("T7").await, Candidates::None, "nothing lawful is known of it");
}

#[tokio::test]
async fn a_round_sees_every_task_that_has_not_ended_in_turn() {
    let mut world = World::new();
    for task in 1..=5 {
        world.must_step(Step::Lawful(task, 1));
    }
    world.must_step(Step::Lawful(3, 0));
    let quiet_since = world.now();
    world.step(Step::Gap(1));
    world.must_step(Step::Lawful(4, 8));
    let view = store(&world).await;
    let step = async |after, now| {
        let found = view.unended(Round { after, limit: 2, quiet_since, now }).await.unwrap();
        let last = found.last().map(|task| task.first_seq);
        let ids: Vec<_> = found.iter().map(|task| task.task_id.to_string()).collect();
        for task in &found {
            let expect = &world.tasks[&task.task_id];
            assert_eq!(Some(&task.state), expect.state.as_ref());
            assert_eq!(task.last_seq, expect.last_seq);
        }
        (ids, last)
    };
    let now = world.now();
    let (ids, last) = step(0, now).await;
    assert_eq!(ids, ["T1", "T2"]);
    let (ids, last) = step(last.unwrap(), now).await;
    assert_eq!(ids, ["T5"], "T3 has ended, and T4 has just moved");
    assert_eq!(step(last.unwrap(), now).await.1, None);
    let (ids, _) = step(2, now.plus(limits::DEADLINE + Duration::from_secs(60))).await;
    assert_eq!(ids, ["T4", "T5"], "T4 is overdue, though it has just moved");
    let running = &world.tasks[&id(4)].state.as_ref().unwrap().phase;
    assert!(matches!(running, Phase::Running { .. }));
}

#[tokio::test]
async fn what_is_void_is_kept_and_counted_and_harms_nothing() {
    let mut world = World::new();
    world.must_step(Step::Lawful(1, 1));
    for step in [
        Step::Unguarded(1, 8),
        Step::Unknown(1),
        Step::Garbage(1),
        Step::Alien(1),
        Step::NoTask,
        Step::Garbage(2),
    ] {
        world.must_step(step);
    }
    world.must_step(Step::Lawful(1, 8));
    world.must_step(Step::Lawful(2, 1));
    let view = store(&world).await;
    let row = view.show(id(1)).await.unwrap().unwrap().task;
    assert_eq!((row.phase.as_str(), row.voids, row.last_seq), ("running", 1, 8));
    assert_eq!(view.show(id(2)).await.unwrap().unwrap().task.first_seq, 9);
    let counts = view.void_counts().await.unwrap();
    let count = |kind| counts.iter().find(|(it, _)| *it == kind).unwrap().1;
    assert_eq!(VoidKind::ALL.map(count), [1, 1, 2, 2, 0]);
    let voids = view.voids(Some(id(1)), 0).await.unwrap();
    assert_eq!(voids.len(), 4);
    assert_eq!(voids[0].reason, "it was not guarded by the task's newest entry");
    assert_eq!(
        (voids[1].seq, voids[1].subject.as_str()),
        (3, "genbrain.org.acme.tasks.T1.verified")
    );
    assert_eq!(view.voids(None, 6).await.unwrap().len(), 1);
}
