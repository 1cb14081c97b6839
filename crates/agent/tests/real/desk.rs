//! Tasks that are taken and held by hand.

use std::time::Duration;

use serde_json::json;
use sinew_agent::{Ask, Delegation, Desk, Failure, TakeError, control::ControlError};
use sinew_model::{
    Transition,
    control::Target,
    task::{End, Phase},
};
use sinew_testkit::wait;

use crate::kit::{Backbone, PATIENCE, connect, role};

/// Long enough for a take that must come to something.
const SOON: Duration = Duration::from_secs(20);
/// Enough for a take that must come to nothing.
const GLANCE: Duration = Duration::from_millis(300);

async fn desk(backbone: &Backbone, name: &str) -> Desk {
    Desk::open(connect(&backbone.server).await, backbone.settings(name)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_taken_when_asked_for_and_no_earlier() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let desk = desk(&backbone, "cto").await;
    assert!(desk.take(GLANCE).await.unwrap().is_none(), "there is nothing to take");
    let first = ceo.delegate(Delegation::new(role("cto"), "one").input(1)).await.unwrap();
    let second = ceo.delegate(Delegation::new(role("cto"), "two").input(2)).await.unwrap();
    let hand = desk.take(SOON).await.unwrap().unwrap();
    assert_eq!((hand.context().id(), hand.context().input()), (&first.id, &json!(1)));
    hand.context().progress("half", Some(50));
    backbone.until_count(&first.id, Transition::Progress, 1).await;
    assert_eq!(backbone.words(&second.id).await, ["created"], "it was taken ahead");
    let state = hand.end(Ok(json!("done"))).await.unwrap();
    assert!(matches!(state.end(), Some(End::Completed { result, .. }) if result == "done"));
    let hand = desk.take(SOON).await.unwrap().unwrap();
    assert_eq!(hand.context().id(), &second.id);
    let state = hand.end(Err(Failure::fatal("no"))).await.unwrap();
    assert!(matches!(state.end(), Some(End::Failed { .. })));
    backbone.until_queue_is_empty().await;
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_that_is_dropped_lets_its_task_go_at_once() {
    let backbone = Backbone::start().await;
    let id = backbone.client("ceo").delegate(Delegation::new(role("cto"), "x")).await.unwrap().id;
    let (one, other) = (desk(&backbone, "cto").await, desk(&backbone, "cto").await);
    let hand = one.take(SOON).await.unwrap().unwrap();
    drop(hand);
    let hand = other.take(SOON).await.unwrap().unwrap();
    assert_eq!((hand.context().id(), hand.context().attempt()), (&id, 2));
    // A desk that closes gives back what it holds, and nobody counts that as a failure.
    other.close().await;
    let lost = hand.end(Ok(json!(1))).await.unwrap_err();
    assert_eq!(lost.0, id);
    let hand = one.take(SOON).await.unwrap().unwrap();
    assert_eq!((hand.context().id(), hand.context().attempt()), (&id, 3));
    let state = hand.end(Ok(json!(2))).await.unwrap();
    assert_eq!(state.failures, 0);
    one.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_and_the_next_attempt_finds_it() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let id = ceo.delegate(Delegation::new(role("cto"), "paint")).await.unwrap().id;
    let desk = desk(&backbone, "cto").await;
    let hand = desk.take(SOON).await.unwrap().unwrap();
    let child = Delegation::new(role("qa"), "check");
    let made = hand.context().delegate(child.clone()).await.unwrap();
    let failure = hand.ask(Ask::new("Which colour?")).unwrap_err();
    let state = hand.end(Err(failure)).await.unwrap();
    assert!(matches!(state.phase, Phase::Blocked { .. }));
    ceo.answer(&id, None, json!("red")).await.unwrap();
    let hand = desk.take(SOON).await.unwrap().unwrap();
    assert_eq!(hand.ask(Ask::new("Which colour?")).unwrap(), json!("red"));
    // Who thinks anew may make its calls in another order: the same work is delegated once.
    let other = hand.context().delegate(Delegation::new(role("qa"), "else")).await.unwrap();
    assert_ne!(other.id, made.id);
    let again = hand.context().delegate(child).await.unwrap();
    assert_eq!((again.id, again.existed), (made.id, true));
    hand.end(Ok(json!(1))).await.unwrap();
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_waiting_takes_nothing() {
    let backbone = Backbone::start().await;
    let desk = desk(&backbone, "cto").await;
    for _ in 0..3 {
        assert!(desk.take(Duration::from_millis(20)).await.unwrap().is_none());
    }
    let id = backbone.client("ceo").delegate(Delegation::new(role("cto"), "x")).await.unwrap().id;
    let hand = desk.take(SOON).await.unwrap().unwrap();
    assert_eq!((hand.context().id(), hand.context().attempt()), (&id, 1));
    hand.end(Ok(json!(1))).await.unwrap();
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_and_an_order_to_drain_hold_here_too() -> Result<(), ControlError> {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let cto = Target::Role(role("cto"));
    ceo.pause(&cto, None).await?;
    let desk = desk(&backbone, "cto").await;
    assert!(desk.is_paused());
    let id = ceo.delegate(Delegation::new(role("cto"), "x")).await.unwrap().id;
    assert!(desk.take(GLANCE).await.unwrap().is_none(), "it is paused");
    ceo.resume(&cto).await?;
    let hand = desk.take(SOON).await.unwrap().unwrap();
    ceo.drain(&cto).await?;
    wait::until("the desk to be drained", PATIENCE, async || match desk.take(GLANCE).await {
        Err(TakeError::Closed) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    // What is held goes on to its end.
    assert!(hand.end(Ok(json!(1))).await.unwrap().end().is_some());
    assert_eq!(backbone.words(&id).await, ["created", "started", "completed"]);
    desk.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_held_than_may_be() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let mut settings = backbone.settings("cto");
    settings.concurrency = 1;
    let desk = Desk::open(connect(&backbone.server).await, settings).await.unwrap();
    for number in 0..2 {
        ceo.delegate(Delegation::new(role("cto"), "x").input(number)).await.unwrap();
    }
    let hand = desk.take(SOON).await.unwrap().unwrap();
    assert_eq!(desk.take(GLANCE).await.unwrap_err(), TakeError::Full(1));
    hand.end(Ok(json!(1))).await.unwrap();
    let hand = desk.take(SOON).await.unwrap().unwrap();
    hand.end(Ok(json!(1))).await.unwrap();
    desk.close().await;
}
