//! Group commit: what waits together is stored together, and nobody pays for anybody else.
//!
//! These tests run on one thread, so that some forty callers have queued up before the committer
//! looks.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::json;
use sinew_bus::{Accepted, AppendError, Bus, PublishError};
use sinew_testkit::wait;

use super::{
    EVENTS, LATE, LOG, MAIL, connect, entry, event, held, inbox, mail, make, make_log, subject_at,
    world,
};

async fn publish_mail(bus: &Bus, roles: &[String]) -> Vec<u64> {
    let sent = join_all(roles.iter().map(|role| bus.publish(mail(bus, role)))).await;
    sent.into_iter().map(|sent| sent.unwrap().seq).collect()
}

fn roles(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

#[tokio::test]
async fn concurrent_publishes_share_a_batch() {
    let (_server, bus) = world().await;
    let sent = join_all((0..200).map(|_| bus.publish(event(&bus)))).await;
    let seqs: BTreeSet<u64> = sent.into_iter().map(|sent| sent.unwrap().seq).collect();
    assert_eq!(seqs, (1..=200).collect());
    // A few go one by one, and what comes while they are on their way goes together. A task may do
    // only so much before tokio lets others run, hence more than one batch.
    let stats = bus.publish_stats();
    assert_eq!(stats.singles + stats.batched, 200, "{stats:?}");
    assert!((1..=8).contains(&stats.batches) && stats.batched >= 100, "{stats:?}");
}

#[tokio::test]
async fn every_caller_gets_the_sequence_of_its_own_message() {
    let (server, bus) = world().await;
    let other = connect(&server.url()).await;
    for _ in 0..5 {
        let (ours, theirs) = (roles("a", 60), roles("b", 60));
        let (our_seqs, their_seqs) =
            tokio::join!(publish_mail(&bus, &ours), publish_mail(&other, &theirs));
        for (role, seq) in ours.iter().zip(our_seqs).chain(theirs.iter().zip(their_seqs)) {
            assert_eq!(subject_at(&bus, MAIL, seq).await, inbox(&bus, role).as_str());
        }
    }
    assert_eq!(held(&bus, MAIL).await, 5 * 120);
    assert!(bus.publish_stats().batches > 0 && other.publish_stats().batches > 0);
}

#[tokio::test]
async fn the_refusal_of_one_member_fails_no_other() {
    let (_server, bus) = world().await;
    bus.publish(mail(&bus, "taken").id("known")).await.unwrap();
    let mut outs: Vec<_> = roles("a", 40).iter().map(|role| mail(&bus, role)).collect();
    outs[20] = mail(&bus, "taken").expecting(&inbox(&bus, "taken"), 0);
    outs[33] = mail(&bus, "taken").id("known");
    let sent = join_all(outs.into_iter().map(|out| bus.publish(out))).await;
    for (place, sent) in sent.into_iter().enumerate() {
        match (place, sent) {
            (20, Err(PublishError::Conflict { doubtful: false, .. }))
            | (33, Ok(Accepted { seq: 1, duplicate: true })) => {}
            (20 | 33, other) => panic!("{place}: {other:?}"),
            (_, sent) => assert!(!sent.unwrap().duplicate),
        }
    }
    assert_eq!(held(&bus, MAIL).await, 1 + 38);
    let stats = bus.publish_stats();
    assert_eq!(stats.batches_refused, 1, "{stats:?}");
    assert_eq!(stats.batches, 6, "only the parts with a refused member go singly: {stats:?}");
}

#[tokio::test]
async fn a_stream_that_fills_up_within_a_batch_takes_what_fits() {
    let (_server, bus) = world().await;
    make(&bus, "SYSTEM", "genbrain.org.system.health", json!({"max_msgs": 30})).await;
    let health = bus.subjects().system_health();
    let out = || sinew_bus::Outgoing::new("SYSTEM", health.clone(), "{}");
    let sent = join_all((0..50).map(|_| bus.publish(out()))).await;
    let full = sent.iter().filter(|sent| matches!(sent, Err(PublishError::Full { .. }))).count();
    assert_eq!(sent.iter().filter(|sent| sent.is_ok()).count(), 30, "{sent:?}");
    assert_eq!(full, 20, "{sent:?}");
    assert_eq!(held(&bus, "SYSTEM").await, 30);
}

#[tokio::test]
async fn a_stream_without_batches_is_remembered() {
    let (_server, bus) = world().await;
    make(&bus, "SYSTEM", "genbrain.org.system.health", json!({"allow_atomic": false})).await;
    let health = bus.subjects().system_health();
    let out = || sinew_bus::Outgoing::new("SYSTEM", health.clone(), "{}");
    for _ in 0..2 {
        for sent in join_all((0..50).map(|_| bus.publish(out()))).await {
            sent.unwrap();
        }
    }
    let stats = bus.publish_stats();
    assert_eq!((stats.singles, stats.batches, stats.batches_refused), (100, 0, 1), "{stats:?}");
    assert_eq!(held(&bus, "SYSTEM").await, 100);
}

#[tokio::test]
async fn two_entries_of_one_task_never_share_a_batch() {
    let (_server, bus) = world().await;
    make_log(&bus, json!({})).await;
    let (one, tokens) = (entry("T1"), roles("t", 10));
    let others: Vec<_> = (2..12).map(|number| entry(&format!("T{number}"))).collect();
    let racing = join_all(tokens.iter().map(|token| bus.append(&one, 0, token)));
    let apart = join_all(others.iter().map(|it| bus.append(it, 0, it.task_id.as_str())));
    let (racing, apart) = tokio::join!(racing, apart);
    let lost = racing.iter().filter(|it| matches!(it, Err(AppendError::Conflict { .. }))).count();
    assert_eq!(lost, 9, "{racing:?}");
    assert!(apart.iter().all(Result::is_ok), "{apart:?}");
    assert_eq!(held(&bus, LOG).await, 11);
}

#[tokio::test]
async fn one_id_twice_does_not_spoil_a_batch() {
    let (_server, bus) = world().await;
    let sent =
        join_all((0..80).map(|number| bus.publish(event(&bus).id(format!("e{}", number / 2)))));
    let sent: Vec<Accepted> = sent.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(sent.iter().filter(|accepted| accepted.duplicate).count(), 40);
    assert_eq!(held(&bus, EVENTS).await, 40);
    let stats = bus.publish_stats();
    assert!(stats.batches >= 1 && stats.batched >= 16, "{stats:?}");
}

#[tokio::test]
async fn a_caller_who_leaves_holds_up_nobody() {
    let (server, bus) = world().await;
    server.pause();
    let many = sinew_model::limits::PUBLISHES_QUEUED + 100;
    let mut leaving = Box::pin(join_all((0..many).map(|_| bus.publish(event(&bus)))));
    assert!(futures::poll!(&mut leaving).is_pending());
    drop(leaving);
    server.resume();
    bus.publish(event(&bus)).await.unwrap();
    assert_eq!(held(&bus, EVENTS).await, 1, "what was not sent is withdrawn");
}

#[tokio::test]
async fn the_committers_end_with_their_bus() {
    let (server, bus) = world().await;
    bus.publish(event(&bus)).await.unwrap();
    bus.publish(mail(&bus, "cto")).await.unwrap();
    drop(bus);
    wait::until("the connection to be closed", LATE, || async {
        let page = server.monitor("/varz")?;
        if page["connections"] == 0 { Ok(()) } else { Err(page["connections"].to_string()) }
    })
    .await;
}
