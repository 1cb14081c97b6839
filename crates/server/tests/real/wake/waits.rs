//! Waits: for children, for what comes before, for a verdict, for each other.

use std::time::Duration;

use serde_json::{Value, json};
use sinew_agent::{Client, Context, Delegation, Failure, Outcome};
use sinew_bus::clock;
use sinew_model::{
    TaskId, Transition,
    limits::REFUSALS,
    task::{Change, Command, DeadCause, End, Phase},
};
use sinew_testkit::wait;

use super::{HASTE, LONG, NEVER, Org, done, role, task};

/// Parents in the test that always runs.
const PARENTS: usize = 60;

async fn parent(task: Context) -> Result<Value, Failure> {
    let mut children = Vec::new();
    for n in 0..3 {
        let child = Delegation::new(role("coder"), format!("Part {n}")).input(n);
        children.push(task.delegate(child).await?.id);
    }
    let ends = task.wait_for(children).await?;
    let result = |outcome: Outcome| match outcome.end {
        End::Completed { result, .. } => result,
        other @ (End::Failed { .. } | End::Cancelled { .. } | End::Dead { .. }) => {
            json!(format!("{other:?}"))
        }
    };
    Ok(ends.into_iter().map(result).collect())
}

async fn echo(task: Context) -> Result<Value, Failure> {
    Ok(task.input().clone())
}

async fn delegate(client: &Client, to: &str, title: &str) -> TaskId {
    client.delegate(Delegation::new(role(to), title)).await.unwrap().id
}

/// A task that runs under an attempt of nobody, and then waits.
async fn wait_by_hand(org: &Org, id: &TaskId, on: &[&TaskId]) {
    let mut log = org.log(id).await;
    let state = log.state().unwrap();
    let start = Command::Start {
        epoch: state.epoch,
        queue_seq: state.queue_seq().unwrap(),
        instance: "by-hand".parse().unwrap(),
        incarnation: "1".to_owned(),
        ack: None,
        over: None,
    };
    log.execute(&start).await.unwrap();
    let on = on.iter().map(|id| (*id).clone()).collect();
    log.execute(&Command::Wait { attempt: 1, on }).await.unwrap();
}

#[tokio::test]
async fn many_parents_wait_for_their_children_with_few_places_and_each_goes_on_once() {
    let org = Org::with("[consumers]\nmax_ack_pending = 5").await;
    let ceo = org.client();
    let (one, two) = (org.serve("one.db", NEVER).await, org.serve("two.db", NEVER).await);
    let parents = org.work("cto", parent).await;
    let children = org.work("coder", echo).await;
    let mut ids = Vec::new();
    for n in 0..PARENTS {
        ids.push(delegate(&ceo, "cto", &format!("Parent {n}")).await);
    }
    let mut waited = 0;
    for id in &ids {
        assert_eq!(ceo.outcome(id).await.unwrap().end, End::completed(json!([0, 1, 2])));
        let words = org.words(id).await;
        let count = |word: &str| words.iter().filter(|it| **it == word).count();
        // Each is resumed once, whoever looked. One whose children are quicker never waits.
        let waits = count("waiting");
        assert!(waits <= 1 && count("resumed") == waits, "{words:?}");
        assert_eq!(count("started"), 1 + waits, "{words:?}");
        waited += waits;
    }
    assert!(waited > PARENTS / 2, "only {waited} had to wait");
    wait::until("the queue to be empty", LONG, async || match org.queued().await {
        0 => Ok(()),
        left => Err(format!("{left} left")),
    })
    .await;
    for running in [one, two, parents, children] {
        running.stop().await;
    }
}

#[tokio::test]
async fn a_parent_goes_on_as_soon_as_its_last_child_has_ended() {
    let org = Org::start().await;
    let ceo = org.client();
    let serving = org.serve("views.db", NEVER).await;
    let parents = org.work("cto", parent).await;
    let id = delegate(&ceo, "cto", "Parent").await;
    org.until(&id, Transition::Waiting).await;
    let children = ceo.state(&id).await.unwrap().unwrap().children();
    let (last, others) = children.split_last().unwrap();
    for child in others {
        ceo.cancel(child, "enough").await;
    }
    assert_eq!(org.count(&id, Transition::Resumed).await, 0);
    ceo.cancel(last, "enough").await;
    org.until(&id, Transition::Resumed).await;
    let at = async |id: &TaskId, transition| {
        let history = org.bus.history(id).await.unwrap();
        let entries = history.entries.into_iter().map(|logged| logged.stored.entry);
        entries
            .filter(|it| it.change.transition() == transition)
            .map(|it| it.at)
            .next_back()
            .unwrap()
    };
    let ended = at(last, Transition::Cancelled).await;
    let took = at(&id, Transition::Resumed).await.since(ended);
    // It takes some milliseconds; the machine of a test may be busy.
    assert!(took < Duration::from_secs(2), "{took:?}");
    ceo.outcome(&id).await.unwrap();
    parents.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn who_began_to_wait_and_died_before_the_look_is_found_at_the_start() {
    let org = Org::start().await;
    let ceo = org.client();
    let child = delegate(&ceo, "coder", "Child").await;
    let parents =
        [delegate(&ceo, "cto", "Parent 0").await, delegate(&ceo, "cto", "Parent 1").await];
    ceo.cancel(&child, "enough").await;
    wait_by_hand(&org, &parents[0], &[&child]).await;
    org.purge(sinew_model::stream::AGENT_TASKS).await;
    let serving = org.serve("views.db", NEVER).await;
    org.until(&parents[0], Transition::Enqueued).await;
    assert_eq!(org.words(&parents[0]).await.last(), Some(&"enqueued"));
    // And while it runs.
    wait_by_hand(&org, &parents[1], &[&child]).await;
    org.until(&parents[1], Transition::Enqueued).await;
    serving.stop().await;
}

#[tokio::test]
async fn a_view_that_is_behind_wakes_nobody_too_early_and_all_in_the_end() {
    let org = Org::start().await;
    let ceo = org.client();
    let mut pairs = Vec::new();
    for n in 0..50 {
        let child = delegate(&ceo, "coder", &format!("Child {n}")).await;
        let waits = Delegation::new(role("cto"), format!("After {n}")).after([child.clone()]);
        pairs.push((child, ceo.delegate(waits.after_any()).await.unwrap().id));
    }
    // The view begins to read only now, while half of the children have ended.
    for (child, _) in &pairs[..25] {
        ceo.cancel(child, "enough").await;
    }
    let serving = org.serve("views.db", NEVER).await;
    for (_, waits) in &pairs[..25] {
        org.until(waits, Transition::Enqueued).await;
    }
    for (_, waits) in &pairs[25..] {
        assert_eq!(org.words(waits).await, ["created"]);
    }
    for (child, _) in &pairs[25..] {
        ceo.cancel(child, "enough").await;
    }
    for (_, waits) in &pairs {
        org.until(waits, Transition::Enqueued).await;
        assert_eq!(org.count(waits, Transition::Resumed).await, 1);
    }
    serving.stop().await;
}

#[tokio::test]
async fn waits_that_closed_into_a_circle_at_the_same_moment_are_broken_and_the_circle_is_named() {
    let org = Org::start().await;
    let ceo = org.client();
    for id in ["A", "B", "C"] {
        ceo.delegate(Delegation::new(role("cto"), id).id(task(id))).await.unwrap();
    }
    let [a, b, c] = ["A", "B", "C"].map(task);
    wait_by_hand(&org, &b, &[&c]).await;
    wait_by_hand(&org, &c, &[&a]).await;
    let serving = org.serve("views.db", NEVER).await;
    wait_by_hand(&org, &a, &[&b]).await;
    org.until(&a, Transition::Enqueued).await;
    let entries = org.bus.history(&a).await.unwrap().entries;
    let resumed = entries.into_iter().find_map(|logged| {
        let Change::Resumed { cycle } = logged.stored.entry.change else { return None };
        Some(cycle)
    });
    let named = resumed.unwrap();
    assert_eq!(named.len(), 4, "{named:?}");
    assert_eq!(named.first(), named.last());
    for it in [&b, &c] {
        assert_eq!(org.count(it, Transition::Resumed).await, 0, "only one of them goes on");
    }
    serving.stop().await;
}

#[tokio::test]
async fn a_question_that_nobody_answers_is_put_to_another_role_soon_after_its_time() {
    let org = Org::start().await;
    let serving = org.serve("views.db", HASTE).await;
    let runtime = org
        .work("cto", |task: Context| async move {
            let ask = sinew_agent::Ask::new("Which?").escalate_after(Duration::from_secs(3));
            task.ask(ask.to(role("artist")))
        })
        .await;
    let before = clock::now();
    let id = delegate(&org.client(), "cto", "Paint").await;
    org.until(&id, Transition::Escalated).await;
    let waited = clock::now().since(before);
    assert!(waited >= Duration::from_secs(3), "{waited:?}");
    org.until_told("ceo", "task.escalated", &id).await;
    org.client().answer(&id, None, json!("this")).await.unwrap();
    assert_eq!(org.client().outcome(&id).await.unwrap().end, End::completed(json!("this")));
    assert_eq!(org.count(&id, Transition::Escalated).await, 1);
    runtime.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn a_result_is_judged_by_another_role_and_by_a_person_where_that_fails() {
    let org = Org::start().await;
    let ceo = org.client();
    let serving = org.serve("views.db", NEVER).await;
    let runtime = org
        .work("cto", |task: Context| async move { Ok(task.assignment().title.clone().into()) })
        .await;
    let judge = org
        .work("qa", |task: Context| async move {
            match task.input()["result"].as_str() {
                Some("Good") => Ok(json!({ "accepted": true, "evidence": "seen" })),
                Some("Bad") => Ok(json!({ "accepted": false, "reason": "no" })),
                _ => Err(Failure::fatal("can't tell")),
            }
        })
        .await;
    let put = async |title: &str| {
        let what = Delegation::new(role("cto"), title).verifier(role("qa"));
        ceo.delegate(what).await.unwrap().id
    };
    let (good, bad, odd) = (put("Good").await, put("Bad").await, put("Odd").await);
    let End::Completed { result, verified } = ceo.outcome(&good).await.unwrap().end else {
        panic!("it is not completed");
    };
    assert_eq!((result, verified.unwrap().by), (json!("Good"), role("qa")));
    org.until_told("ceo", "task.completed", &good).await;
    org.until_count(&bad, Transition::Refused, usize::try_from(REFUSALS).unwrap()).await;
    org.until(&odd, Transition::Escalated).await;
    for id in [&bad, &odd] {
        org.until_told("ceo", "task.escalated", id).await;
        ceo.accept(id, json!("by hand")).await.unwrap();
        assert!(matches!(ceo.outcome(id).await.unwrap().end, End::Completed { .. }));
    }
    for running in [runtime, judge, serving] {
        running.stop().await;
    }
}

#[tokio::test]
async fn a_chain_of_tasks_goes_on_by_itself_and_a_revival_goes_down_it_by_hand() {
    let org = Org::start().await;
    let ceo = org.client();
    let serving = org.serve("views.db", NEVER).await;
    let mut chain = vec![task("C0")];
    ceo.delegate(Delegation::new(role("cto"), "First").id(task("C0"))).await.unwrap();
    for n in 1..5 {
        let id = task(&format!("C{n}"));
        let what = Delegation::new(role("cto"), "Next").id(id.clone());
        ceo.delegate(what.after([chain[n - 1].clone()])).await.unwrap();
        chain.push(id);
    }
    let first = &chain[0];
    let cause = DeadCause::Lost;
    let bury = Command::Bury { cause, detail: "by hand".to_owned(), bytes: None };
    org.log(first).await.execute(&bury).await.unwrap();
    // One after the other is given up, since the one before it is.
    for id in &chain[1..] {
        let end = ceo.outcome(id).await.unwrap().end;
        let is_so = matches!(end, End::Dead { cause: DeadCause::DependencyFailed, .. });
        assert!(is_so, "{end:?}");
        org.until_told("ceo", "task.dead", id).await;
    }
    for id in &chain {
        ceo.retry(id).await.unwrap();
    }
    let phase = ceo.state(&chain[4]).await.unwrap().unwrap().phase;
    assert!(matches!(phase, Phase::Waiting { .. }), "{phase:?}");
    let runtime = org.work("cto", |_: Context| async { Ok(done()) }).await;
    for id in &chain {
        assert_eq!(ceo.outcome(id).await.unwrap().end, End::completed(done()));
    }
    runtime.stop().await;
    serving.stop().await;
}
