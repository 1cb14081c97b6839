//! Ending deliveries: each end does what it says, and an end that did not arrive is an error.

use std::time::Duration;

use serde_json::{Value, json};
use sinew_bus::{RequestError, Slots, clock};
use sinew_testkit::wait;

use crate::queue::{LATE, Queue, SOON, STREAM, body, connect, next, store_with};

#[tokio::test]
async fn an_ack_ends_the_message_and_an_ack_that_nobody_takes_is_an_error() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({})).await;
    queue.put("a", 0..2).await;
    let mut intake = queue.open(&Slots::new(2), &["a"]);
    let (first, _one) = next(&mut intake, SOON).await;
    let (second, _two) = next(&mut intake, SOON).await;
    first.ack().await.unwrap();
    assert_eq!(queue.stored().await, 1);

    let call = format!("CONSUMER.DELETE.{STREAM}.a");
    queue.bus.api::<Value>(&call, &Value::Null).await.unwrap();
    let error = second.ack().await.unwrap_err();
    assert!(matches!(error.source, RequestError::NoResponders { .. }), "{error:?}");
    assert_eq!(queue.stored().await, 1, "the message is still there");
    assert_eq!(intake.counts().dropped, 0, "an end that failed was an end");
}

#[tokio::test]
async fn a_delivery_says_what_it_is() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({})).await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", "T1:2");
    let seq = store_with(&queue.client, "q.a", "7", headers).await.unwrap();
    let before = clock::now();
    let mut intake = queue.open(&Slots::new(1), &["a"]);
    let (delivery, _slot) = next(&mut intake, SOON).await;
    assert_eq!((delivery.subject(), body(&delivery)), ("q.a", 7));
    assert_eq!((delivery.stream(), delivery.consumer()), (STREAM, "a"));
    assert_eq!((delivery.queue_seq(), delivery.delivered(), delivery.pending()), (seq, 1, 0));
    assert_eq!(delivery.header("Nats-Msg-Id"), Some("T1:2"));
    assert_eq!(delivery.header("Nats-Other"), None);
    assert!(before.since(delivery.stored()) < LATE);
    delivery.ack().await.unwrap();
}

#[tokio::test]
async fn a_nak_brings_it_back_at_once_or_after_its_delay() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({})).await;
    queue.put("a", [1]).await;
    let mut intake = queue.open(&Slots::new(1), &["a"]);
    let (delivery, slot) = next(&mut intake, SOON).await;
    delivery.nak(None).await.unwrap();
    drop(slot);
    let (delivery, slot) = next(&mut intake, SOON).await;
    assert_eq!(delivery.delivered(), 2);
    let delay = Duration::from_millis(700);
    let begin = clock::instant();
    delivery.nak(Some(delay)).await.unwrap();
    drop(slot);
    let (delivery, _slot) = next(&mut intake, SOON).await;
    assert!(begin.elapsed() >= delay, "{:?}", begin.elapsed());
    assert_eq!(delivery.delivered(), 3);
    delivery.ack().await.unwrap();
}

#[tokio::test]
async fn a_term_ends_the_message_and_says_why() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({})).await;
    queue.put("a", [1]).await;
    let advisory = format!("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{STREAM}.a");
    let mut advisories = queue.bus.watch_subject(&advisory).await.unwrap();
    let mut intake = queue.open(&Slots::new(1), &["a"]);
    let (delivery, _slot) = next(&mut intake, SOON).await;
    delivery.term("it is\nunreadable").await.unwrap();
    assert_eq!(queue.stored().await, 0);
    let hint = tokio::time::timeout(LATE, advisories.next()).await.unwrap().unwrap();
    let said: Value = serde_json::from_slice(hint.payload()).unwrap();
    assert_eq!(said["reason"], "it is unreadable", "{said}");
}

#[tokio::test]
async fn progress_keeps_a_delivery_and_silence_loses_it() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({ "ack_wait": 500_000_000 })).await;
    queue.put("a", [1]).await;
    let mut intake = queue.open(&Slots::new(1), &["a"]);
    let mut other = queue.open(&Slots::new(1), &["a"]);
    let (delivery, _slot) = tokio::select! {
        taken = next(&mut intake, SOON) => taken,
        taken = next(&mut other, SOON) => { std::mem::swap(&mut intake, &mut other); taken }
    };
    wait::holds("nobody else to get it", Duration::from_millis(1500), || async {
        delivery.in_progress().await.map_err(|error| error.to_string())?;
        let info = queue.info("a").await;
        let kept = info["delivered"]["consumer_seq"] == 1;
        if kept { Ok(()) } else { Err(info.to_string()) }
    })
    .await;
    let (again, _other_slot) = next(&mut other, SOON).await;
    assert_eq!(again.delivered(), 2);
    again.ack().await.unwrap();
    drop(delivery.hand_over());
}

#[tokio::test]
async fn a_dropped_delivery_is_counted_and_comes_back_after_a_delay() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({})).await;
    queue.put("a", [1]).await;
    let mut intake = queue.open(&Slots::new(1), &["a"]);
    let (delivery, slot) = next(&mut intake, SOON).await;
    let begin = clock::instant();
    // Where there is no runtime, as in the drop of something on a thread of its own.
    std::thread::spawn(move || drop(delivery)).join().unwrap();
    drop(slot);
    let (delivery, _slot) = next(&mut intake, 2 * SOON).await;
    assert!(begin.elapsed() >= sinew_model::limits::DROPPED_DELAY, "{:?}", begin.elapsed());
    assert_eq!((delivery.delivered(), intake.counts().dropped), (2, 1));
    delivery.ack().await.unwrap();
    assert_eq!(intake.counts().dropped, 1);
}

#[tokio::test]
async fn somebody_else_may_end_what_was_handed_over() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({})).await;
    queue.put("a", [1]).await;
    let mut intake = queue.open(&Slots::new(1), &["a"]);
    let (delivery, slot) = next(&mut intake, SOON).await;
    let subject = delivery.hand_over().to_string();
    drop(slot);
    // As the log keeps it, and from another connection.
    let stranger = connect(&queue.server.url()).await;
    stranger.nak_on_behalf(&subject.parse().unwrap()).await.unwrap();
    let (delivery, _slot) = next(&mut intake, SOON).await;
    assert_eq!((delivery.delivered(), intake.counts().dropped), (2, 0));
    stranger.ack(&delivery.hand_over()).await.unwrap();
    assert_eq!(queue.stored().await, 0);
}

#[tokio::test]
async fn a_delivery_in_hand_can_be_acked_after_the_server_was_restarted() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({})).await;
    queue.put("a", 1..3).await;
    let mut intake = queue.open(&Slots::new(1), &["a"]);
    let (delivery, slot) = next(&mut intake, SOON).await;
    queue.server.stop();
    queue.server.restart();
    // Written into the broken link, the ack is lost without a word: the outcome is not known, and
    // the error says where to try again.
    if let Err(error) = delivery.ack().await {
        assert!(matches!(error.source, RequestError::Unknown { .. }), "{error:?}");
        queue.bus.ack(&error.ack).await.unwrap();
    }
    drop(slot);
    let (delivery, _slot) = next(&mut intake, 2 * SOON).await;
    assert_eq!((body(&delivery), delivery.delivered()), (2, 1));
    delivery.ack().await.unwrap();
    assert_eq!(queue.stored().await, 0);
}

#[tokio::test]
async fn after_a_kill_a_delivery_in_hand_is_acked_or_comes_again() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({})).await;
    queue.put("a", [1]).await;
    let mut intake = queue.open(&Slots::new(1), &["a"]);
    let (delivery, slot) = next(&mut intake, SOON).await;
    queue.server.kill();
    queue.server.restart();
    drop(slot);
    let Err(error) = delivery.ack().await else { return assert_eq!(queue.stored().await, 0) };
    // The server writes down what it delivered a moment after it delivers. Killed in between, it
    // knows nothing of the delivery: it answers no ack of it, and delivers it as a first one.
    if let Err(error) = queue.bus.ack(&error.ack).await {
        assert!(matches!(error.source, RequestError::Unknown { .. }), "{error:?}");
        let (again, _slot) = next(&mut intake, 2 * SOON).await;
        assert_eq!((body(&again), again.delivered()), (1, 1));
        again.ack().await.unwrap();
    }
    assert_eq!(queue.stored().await, 0);
}
