//! Tasks that wait for something else than a worker: an answer, other tasks, a verdict, a hand
//! that revives them. Meanwhile they hold no slot and no message.

use std::time::Duration;

use serde_json::{Value, json};
use sinew_agent::{
    Ask, Cancelled, Client, Context, DelegateError, Delegation, Failure, Outcome, advance,
};
use sinew_model::{
    TaskId, Transition, limits,
    task::{Actor, DeadCause, End, Phase, Question, Refusal},
};
use sinew_testkit::wait;

use crate::kit::{Backbone, Gate, PATIENCE, echo, role, task};

async fn delegate(client: &Client, title: &str) -> TaskId {
    client.delegate(Delegation::new(role("cto"), title)).await.unwrap().id
}

/// What a controller does for a task.
async fn look_after(backbone: &Backbone, id: &TaskId) {
    let by = Actor { role: role("sinew"), instance: None };
    let mut log = backbone.log(id).await;
    Box::pin(advance(&backbone.bus, &by, &mut log)).await.unwrap();
}

async fn paint(task: Context) -> Result<Value, Failure> {
    let colour = task.ask(Ask::new("Which colour?").choices(["red", "blue"]))?;
    let shade = task.ask(Ask::new("Which shade?").key("shade").to(role("artist")))?;
    Ok(json!([colour, shade]))
}

#[tokio::test]
async fn a_question_is_answered_after_a_restart_and_the_next_attempt_knows_the_answer() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let first = backbone.run(backbone.settings("cto"), paint).await;
    let id = delegate(&ceo, "Paint").await;
    backbone.until_count(&id, Transition::Blocked, 1).await;
    backbone.until_queue_is_empty().await;
    let asked = backbone.inbox("ceo").await;
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].kind.as_str(), asked[0].task_id.as_ref()), ("task.blocked", Some(&id)));
    assert_eq!(asked[0].body["question"]["text"], "Which colour?");
    first.stop().await;

    let wrong = ceo.answer(&id, None, json!("green")).await.unwrap_err();
    assert!(matches!(wrong.refusal(), Some(Refusal::NoChoice { .. })), "{wrong:?}");
    let other = ceo.answer(&id, Some("shade"), json!("dark")).await.unwrap_err();
    assert_eq!(other.refusal(), Some(&Refusal::NotAsked));
    ceo.answer(&id, None, json!("blue")).await.unwrap();
    let again = ceo.answer(&id, None, json!("red")).await.unwrap_err();
    assert_eq!(again.refusal(), Some(&Refusal::NotAsked));

    let second = backbone.run(backbone.settings("cto"), paint).await;
    backbone.until_count(&id, Transition::Blocked, 2).await;
    wait::until("the artist to be asked", PATIENCE, async || {
        if backbone.inbox("artist").await.len() == 1 { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    backbone.client("artist").answer(&id, Some("shade"), json!("dark")).await.unwrap();
    let Outcome { end, attempts, .. } = ceo.outcome(&id).await.unwrap();
    assert_eq!(end, End::completed(json!(["blue", "dark"])));
    assert_eq!(attempts, 3);
    backbone.until_queue_is_empty().await;
    let tally = second.stop().await;
    assert_eq!((tally.started, tally.parked, tally.ended), (2, 1, 1));
}

#[tokio::test]
async fn a_handler_that_asks_what_can_not_be_asked_ends_its_task_with_the_reason() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    // Not through the context, which would have said so at once.
    let handler = |task: Context| async move {
        let choices = serde_json::from_value(task.input().clone())?;
        let question = Question {
            key: "k".to_owned(),
            text: "Which?".to_owned(),
            to: role("ceo"),
            choices,
            escalate_at: None,
        };
        Err(Failure::Block { question: Box::new(question) })
    };
    let runtime = backbone.run(backbone.settings("cto"), handler).await;
    let ask = |choices: Value| ceo.delegate(Delegation::new(role("cto"), "Ask").input(choices));
    let twice = ask(json!(["a", "a"])).await.unwrap().id;
    let end = ceo.outcome(&twice).await.unwrap().end;
    assert!(matches!(&end, End::Failed { cause } if cause.contains("offered once")), "{end:?}");
    let again = ask(json!(["a"])).await.unwrap().id;
    backbone.until_count(&again, Transition::Blocked, 1).await;
    ceo.answer(&again, None, json!("a")).await.unwrap();
    let end = ceo.outcome(&again).await.unwrap().end;
    assert!(matches!(&end, End::Failed { cause } if cause.contains("before")), "{end:?}");
    backbone.until_queue_is_empty().await;
    let tally = runtime.stop().await;
    assert_eq!((tally.ended, tally.lost), (2, 0));
}

#[tokio::test]
async fn a_parent_whose_children_end_at_once_is_not_left_waiting() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let parent = |task: Context| async move {
        let mut children = Vec::new();
        for n in 0..3 {
            let child = Delegation::new(role("coder"), format!("Part {n}")).input(n);
            children.push(task.delegate(child).await?.id);
        }
        let ends = task.wait_for(children).await?;
        let result = |outcome: Outcome| {
            let End::Completed { result, .. } = outcome.end else { panic!("{outcome:?}") };
            result
        };
        Ok(ends.into_iter().map(result).collect())
    };
    let parents = backbone.run(backbone.settings("cto"), parent).await;
    let children = backbone.run(backbone.settings("coder"), echo).await;
    let mut tasks = Vec::new();
    for n in 0..20 {
        tasks.push(delegate(&ceo, &format!("Parent {n}")).await);
    }
    for id in &tasks {
        // No controller runs here: who ends the wait is whoever stored it, or this.
        wait::until("the parent to end", PATIENCE, async || {
            look_after(&backbone, id).await;
            let state = ceo.state(id).await.unwrap().unwrap();
            match state.end() {
                Some(End::Completed { result, .. }) if *result == json!([0, 1, 2]) => Ok(()),
                end => Err(format!("{end:?} in {:?}", state.phase)),
            }
        })
        .await;
    }
    backbone.until_queue_is_empty().await;
    children.stop().await;
    let tally = parents.stop().await;
    assert_eq!((tally.ended, tally.lost, tally.dropped), (20, 0, 0));
}

#[tokio::test]
async fn a_wait_that_could_never_end_is_refused_with_the_chain() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let handler = |task: Context| async move {
        let on: Vec<TaskId> = serde_json::from_value(task.input().clone())?;
        task.wait_for(on).await.map(|_| json!("waited"))
    };
    let runtime = backbone.run(backbone.settings("cto"), handler).await;
    let put = async |id: &str, on: Value| {
        let what = Delegation::new(role("cto"), id).id(task(id)).input(on);
        ceo.delegate(what).await.unwrap().id
    };
    let own = put("T0", json!(["T0"])).await;
    let own = ceo.outcome(&own).await.unwrap();
    assert_eq!(own.end, failed("the tasks would wait for each other: T0 waits for T0"));
    // A waits for B, which does not exist yet for lack of a worker: it is of another role.
    let b = Delegation::new(role("later"), "B").id(task("B"));
    ceo.delegate(b).await.unwrap();
    let a = put("A", json!(["B"])).await;
    backbone.until_count(&a, Transition::Waiting, 1).await;
    let later = backbone
        .run(backbone.settings("later"), |task: Context| async move {
            task.wait_for(["A".parse()?]).await.map(|_| json!("waited"))
        })
        .await;
    let b = ceo.outcome(&task("B")).await.unwrap();
    assert_eq!(b.end, failed("the tasks would wait for each other: B waits for A waits for B"));
    look_after(&backbone, &a).await;
    let a = ceo.outcome(&a).await.unwrap();
    assert_eq!(a.end, End::completed(json!("waited")));
    later.stop().await;
    runtime.stop().await;
}

fn failed(cause: &str) -> End {
    End::Failed { cause: cause.to_owned() }
}

#[tokio::test]
async fn a_task_begins_after_others_and_not_at_all_where_one_of_them_fails() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let unknown = ceo.delegate(Delegation::new(role("cto"), "After").after([task("none")])).await;
    assert!(matches!(unknown, Err(DelegateError::NoTask { .. })), "{unknown:?}");
    let first = delegate(&ceo, "First").await;
    let after = |title: &str, id: &TaskId| Delegation::new(role("cto"), title).after([id.clone()]);
    let second = ceo.delegate(after("Second", &first).id(task("S"))).await.unwrap();
    assert_eq!(backbone.words(&second.id).await, ["created"]);
    let twice = ceo.delegate(after("Second", &first).id(task("S"))).await.unwrap();
    assert!(!second.existed && twice.existed);
    assert_eq!(backbone.queued().await, 1, "only the first is on its queue");

    let runtime = backbone
        .run(backbone.settings("cto"), |task: Context| async move {
            if task.assignment().title == "Broken" {
                Err(Failure::fatal("no"))
            } else {
                Ok(json!(1))
            }
        })
        .await;
    ceo.outcome(&first).await.unwrap();
    look_after(&backbone, &second.id).await;
    ceo.outcome(&second.id).await.unwrap();
    // What it comes after has ended already.
    let third = ceo.delegate(after("Third", &second.id)).await.unwrap();
    ceo.outcome(&third.id).await.unwrap();

    let broken = delegate(&ceo, "Broken").await;
    ceo.outcome(&broken).await.unwrap();
    let dead = ceo.delegate(after("Never", &broken)).await.unwrap();
    let dead = ceo.outcome(&dead.id).await.unwrap();
    let cause = DeadCause::DependencyFailed;
    let detail = format!("it comes after {broken}, which ended as failed");
    assert_eq!(dead.end, End::Dead { cause, detail });
    let any = ceo.delegate(after("Whatever", &broken).after_any()).await.unwrap();
    let any = ceo.outcome(&any.id).await.unwrap();
    assert!(matches!(any.end, End::Completed { .. }), "{any:?}");
    runtime.stop().await;
}

#[tokio::test]
async fn a_result_is_final_only_once_another_role_accepted_it() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let runtime = backbone
        .run(backbone.settings("cto"), |task: Context| async move {
            Ok(json!({ "refused": task.refusals().len() }))
        })
        .await;
    let what = Delegation::new(role("cto"), "Count").verifier(role("qa"));
    let id = ceo.delegate(what).await.unwrap().id;
    backbone.until_count(&id, Transition::Submitted, 1).await;
    let own = backbone.client("cto").accept(&id, json!("trust me")).await.unwrap_err();
    assert_eq!(own.refusal(), Some(&Refusal::OwnVerdict));
    // Two refusals by the verifier's own agent, one by hand: then a person decides.
    let judge = backbone
        .run(backbone.settings("qa"), |task: Context| async move {
            let round = task.input()["result"]["refused"].as_u64().unwrap_or(9);
            Ok(json!({ "accepted": false, "reason": format!("not good enough, {round}") }))
        })
        .await;
    for round in 0..limits::REFUSALS {
        wait::until("the refusal", PATIENCE, async || {
            look_after(&backbone, &id).await;
            let words = backbone.words(&id).await;
            let refused = words.iter().filter(|word| **word == "refused").count();
            if refused > usize::try_from(round).unwrap() {
                Ok(())
            } else {
                Err(format!("{words:?}"))
            }
        })
        .await;
    }
    let state = ceo.state(&id).await.unwrap().unwrap();
    assert!(
        matches!(&state.phase, Phase::Submitted { escalated_to: Some(to), .. } if to.as_str() == "ceo"),
        "{:?}",
        state.phase
    );
    let reasons: Vec<&str> = state.refusals.iter().map(|it| it.reason.as_str()).collect();
    assert_eq!(reasons, ["not good enough, 0", "not good enough, 1", "not good enough, 2"]);
    wait::until("the person to be asked", PATIENCE, async || {
        look_after(&backbone, &id).await;
        let kinds: Vec<String> =
            backbone.inbox("ceo").await.into_iter().map(|it| it.kind).collect();
        if kinds.iter().any(|kind| kind == "task.escalated") {
            Ok(())
        } else {
            Err(format!("{kinds:?}"))
        }
    })
    .await;
    ceo.accept(&id, json!({ "seen": "the numbers" })).await.unwrap();
    let End::Completed { result, verified } = ceo.outcome(&id).await.unwrap().end else {
        panic!("it is not completed");
    };
    assert_eq!(result, json!({ "refused": 2 }));
    let verified = verified.unwrap();
    assert_eq!((verified.by.as_str(), &verified.evidence["seen"]), ("ceo", &json!("the numbers")));
    judge.stop().await;
    runtime.stop().await;
}

#[tokio::test]
async fn a_dead_task_is_revived_with_its_attempts_counted_anew() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let runtime = backbone
        .run(backbone.settings("cto"), |task: Context| async move {
            let fails = task.attempt() <= 2;
            let again = Failure::Retry { cause: "no".into(), after: Some(Duration::ZERO) };
            if fails { Err(again) } else { Ok(json!(task.attempt())) }
        })
        .await;
    let id = ceo.delegate(Delegation::new(role("cto"), "Try").max_attempts(2)).await.unwrap().id;
    assert!(matches!(ceo.outcome(&id).await.unwrap().end, End::Dead { .. }));
    ceo.retry(&id).await.unwrap();
    let refused = ceo.retry(&id).await.unwrap_err();
    assert_eq!(refused.refusal(), Some(&Refusal::NotDead));
    let outcome = ceo.outcome(&id).await.unwrap();
    assert_eq!(outcome.end, End::completed(json!(3)));
    backbone.until_queue_is_empty().await;
    let words = backbone.words(&id).await;
    assert_eq!(&words[words.len() - 5..], ["dead", "revived", "enqueued", "started", "completed"]);
    runtime.stop().await;
}

#[tokio::test]
async fn a_cancellation_goes_down_the_tree_and_says_what_became_of_each() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let gate = Gate::shut();
    let pass = gate.clone();
    let parents = backbone
        .run(backbone.settings("cto"), move |task: Context| {
            let pass = pass.clone();
            async move {
                let running = task.delegate(Delegation::new(role("coder"), "Running")).await?;
                let delayed = Delegation::new(role("coder"), "Delayed")
                    .not_before(sinew_bus::clock::now().plus(Duration::from_secs(3600)));
                let delayed = task.delegate(delayed).await?;
                let after = Delegation::new(role("coder"), "After").after([running.id.clone()]);
                let after = task.delegate(after).await?;
                let done = task.delegate(Delegation::new(role("qa"), "Done")).await?;
                pass.pass().await;
                task.wait_for([running.id, delayed.id, after.id, done.id]).await.map(|_| json!(0))
            }
        })
        .await;
    let held = Gate::shut();
    let coders = backbone.run(backbone.settings("coder"), held.handler()).await;
    let testers = backbone.run(backbone.settings("qa"), echo).await;
    let id = delegate(&ceo, "Parent").await;
    backbone.until_count(&id, Transition::Effect, 4).await;
    let children = ceo.state(&id).await.unwrap().unwrap().children();
    let mut running = None;
    for child in &children {
        let state = ceo.state(child).await.unwrap();
        let assignment = state.and_then(|state| state.assignment);
        match assignment.as_deref().map(|it| it.title.as_str()) {
            Some("Running") => running = Some(child.clone()),
            Some("Done") => _ = ceo.outcome(child).await.unwrap(),
            _ => {}
        }
    }
    backbone.until_count(&running.unwrap(), Transition::Started, 1).await;
    gate.open();
    backbone.until_count(&id, Transition::Waiting, 1).await;
    let told = ceo.cancel(&id, "enough").await;
    let mut outcomes = Vec::new();
    for it in &told {
        let assignment = ceo.state(&it.id).await.unwrap().unwrap().assignment.unwrap();
        outcomes.push((assignment.title, it.outcome.clone()));
    }
    outcomes.sort_by(|one, other| one.0.cmp(&other.0));
    let stopped = |title: &str| (title.to_owned(), Cancelled::Stopped);
    let done = ("Done".to_owned(), Cancelled::TooLate(Transition::Completed));
    assert_eq!(
        outcomes,
        [stopped("After"), stopped("Delayed"), done, stopped("Parent"), stopped("Running")]
    );
    assert_eq!(told[0].id, id, "the parent comes first");
    backbone.until_queue_is_empty().await;
    assert_eq!(coders.stop().await.lost, 1, "the running one was told to stop");
    parents.stop().await;
    testers.stop().await;
}
