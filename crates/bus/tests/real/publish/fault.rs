//! Publishing while servers die and answers get lost.

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use serde_json::json;
use sinew_bus::{AppendError, Bus, PublishError};
use sinew_testkit::{FaultProxy, NatsServer, proxy::Direction, wait};
use tokio::task::JoinSet;

use super::{EVENTS, LATE, LOG, connect, entry, event, held, make_log, world};

/// Patience of a publish that shall fail.
const SHORT: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_an_id_is_stored_once_over_a_crash() {
    let (server, bus) = world().await;
    let mut running = JoinSet::new();
    for caller in 0..20 {
        let bus = bus.clone();
        running.spawn(async move {
            for number in 0..50 {
                bus.publish(event(&bus).id(format!("{caller}-{number}"))).await.unwrap();
            }
        });
    }
    wait::until("a third to be stored", LATE, || async {
        let stats = bus.publish_stats();
        if stats.singles + stats.batched > 300 { Ok(()) } else { Err(format!("{stats:?}")) }
    })
    .await;
    server.kill();
    server.restart();
    running.join_all().await;
    assert_eq!(held(&bus, EVENTS).await, 20 * 50);
    assert!(bus.publish_stats().repeated > 0, "{:?}", bus.publish_stats());
}

/// A connection over a link whose answers get lost: they are held, and then the link is cut.
async fn lossy() -> (NatsServer, FaultProxy, Bus) {
    let (server, direct) = world().await;
    make_log(&direct, json!({})).await;
    let proxy = FaultProxy::start(server.port());
    let bus = connect(&proxy.url()).await;
    (server, proxy, bus)
}

/// Loses the answer to what is published next, once the stream holds `messages`.
async fn lose_the_answer(server: &NatsServer, proxy: &FaultProxy, stream: &str, messages: u64) {
    let direct = connect(&server.url()).await;
    wait::until("the message to be stored", LATE, || async {
        let held = held(&direct, stream).await;
        if held == messages { Ok(()) } else { Err(format!("{held} messages")) }
    })
    .await;
    proxy.cut();
    proxy.heal();
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_under_the_same_id() {
    let (server, proxy, bus) = lossy().await;
    proxy.stall_only(Direction::ToClient);
    let sent = join_all((0..10).map(|number| bus.publish(event(&bus).id(format!("e{number}")))));
    let (sent, ()) = tokio::join!(sent, lose_the_answer(&server, &proxy, EVENTS, 10));
    let seqs: BTreeSet<u64> = sent.into_iter().map(|sent| sent.unwrap().seq).collect();
    assert_eq!(seqs, (1..=10).collect(), "each got the sequence of its first try");
    assert_eq!(held(&bus, EVENTS).await, 10);
}

#[tokio::test]
async fn without_an_id_a_lost_answer_is_unknown() {
    let (server, proxy, bus) = lossy().await;
    proxy.stall_only(Direction::ToClient);
    let sent = bus.publish(event(&bus).patience(SHORT));
    let (sent, ()) = tokio::join!(sent, lose_the_answer(&server, &proxy, EVENTS, 1));
    assert!(matches!(sent, Err(PublishError::Unknown { .. })), "{sent:?}");
    bus.publish(event(&bus)).await.unwrap();
    assert_eq!(held(&bus, EVENTS).await, 2, "it was not repeated");
}

#[tokio::test]
async fn a_conflict_after_a_lost_answer_says_that_it_is_doubtful() {
    let (server, proxy, bus) = lossy().await;
    proxy.stall_only(Direction::ToClient);
    let one = entry("T1");
    let sent = bus.append(&one, 0, "mine");
    let (sent, ()) = tokio::join!(sent, lose_the_answer(&server, &proxy, LOG, 1));
    assert!(matches!(sent, Err(AppendError::Conflict { doubtful: true })), "{sent:?}");
    assert_eq!(held(&bus, LOG).await, 1);
}

#[tokio::test]
async fn a_server_that_stays_away_is_unreachable() {
    let (server, bus) = world().await;
    server.kill();
    // Before the client has seen it, a message may still go out, and its fate is unknown then.
    wait::until("the loss to be seen", LATE, || async {
        match bus.publish(event(&bus).id("early").patience(SHORT)).await {
            Err(PublishError::Unreachable { .. }) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let sent = join_all((0..20).map(|_| bus.publish(event(&bus).patience(SHORT)))).await;
    for sent in sent {
        assert!(matches!(sent, Err(PublishError::Unreachable { .. })), "{sent:?}");
    }
    server.restart();
    bus.publish(event(&bus)).await.unwrap();
    assert!(held(&bus, EVENTS).await <= 2, "what failed is not sent later");
}

#[tokio::test]
async fn a_server_that_does_not_answer_leaves_it_unknown() {
    let (server, bus) = world().await;
    server.pause();
    let sent = join_all(
        (0..5).map(|number| bus.publish(event(&bus).id(format!("e{number}")).patience(SHORT))),
    );
    for sent in sent.await {
        assert!(matches!(sent, Err(PublishError::Unknown { .. })), "{sent:?}");
    }
    server.resume();
    // The caller repeats it with the same id, and learns what became of it.
    for number in 0..5 {
        bus.publish(event(&bus).id(format!("e{number}"))).await.unwrap();
    }
    assert_eq!(held(&bus, EVENTS).await, 5);
}

#[tokio::test]
async fn a_server_that_comes_back_in_time_loses_nothing() {
    let (server, bus) = world().await;
    server.kill();
    let sent = join_all((0..10).map(|number| bus.publish(event(&bus).id(format!("e{number}")))));
    let back = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let (sent, server) = tokio::join!(sent, back);
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    assert_eq!(held(&bus, EVENTS).await, 10);
    drop(server.unwrap());
}
