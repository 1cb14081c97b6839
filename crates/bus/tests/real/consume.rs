//! Taking work: never more than there is room for, at once when there is, and again at once after
//! whatever went wrong.

use std::time::Duration;

use serde_json::{Value, json};
use sinew_bus::{ConsumeError, Intake, Slots};
use sinew_model::Band;
use sinew_testkit::{FaultProxy, NatsServer, wait};

use crate::queue::{LATE, Queue, SOON, STREAM, body, connect, make_consumer, next, work_off};

mod cluster;

fn gone(consumer: &str) -> ConsumeError {
    ConsumeError::ConsumerGone { stream: STREAM.to_owned(), consumer: consumer.to_owned() }
}

#[tokio::test]
async fn nothing_is_fetched_ahead() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({})).await;
    queue.put("a", 0..50).await;
    let slots = Slots::new(1);
    let mut intake = queue.open(&slots, &["a"]);
    for expect in 0..50 {
        let (delivery, slot) = next(&mut intake, SOON).await;
        assert_eq!(body(&delivery), expect);
        assert_eq!(slots.free(), 0);
        let info = queue.info("a").await;
        assert_eq!(info["num_ack_pending"], 1, "{info}");
        delivery.ack().await.unwrap();
        drop(slot);
    }
    assert_eq!(queue.stored().await, 0);
    assert_eq!(intake.counts().late, 0);
}

#[tokio::test]
async fn every_free_slot_is_asked_for_and_no_more() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({})).await;
    queue.put("a", 0..50).await;
    let slots = Slots::new(5);
    let mut intake = queue.open(&slots, &["a"]);
    queue.shows("a", "num_ack_pending", 5).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(next(&mut intake, SOON).await);
    }
    wait::holds("five in flight", Duration::from_millis(300), || async {
        let info = queue.info("a").await;
        if info["num_ack_pending"] == 5 { Ok(()) } else { Err(info.to_string()) }
    })
    .await;
    for (delivery, _slot) in held {
        delivery.ack().await.unwrap();
    }
    assert_eq!(work_off(&mut intake, 45).await.len(), 45);
    assert_eq!(intake.counts().late, 0);
}

#[tokio::test]
async fn a_waiting_pull_brings_a_message_at_once() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({})).await;
    let slots = Slots::new(3);
    let mut intake = queue.open(&slots, &["a"]);
    queue.shows("a", "num_waiting", 1).await;
    for round in 0..20 {
        queue.put("a", [round]).await;
        let (delivery, _slot) = next(&mut intake, Duration::from_millis(500)).await;
        assert_eq!(body(&delivery), round);
        delivery.ack().await.unwrap();
    }
}

#[tokio::test]
async fn bands_are_served_by_their_weight() {
    let queue = Queue::start().await;
    for name in ["urgent", "normal", "low"] {
        queue.consumer(name, json!({})).await;
        queue.put(name, 0..32).await;
    }
    let slots = Slots::new(1);
    let mut intake = queue.open(&slots, &["urgent", "normal", "low"]);
    let mut taken = Vec::new();
    while taken.len() < 32 {
        let (delivery, _slot) = next(&mut intake, SOON).await;
        taken.push(delivery.consumer().to_owned());
        delivery.ack().await.unwrap();
    }
    let count = |name: &str| taken.iter().filter(|taken| *taken == name).count();
    assert_eq!((count("urgent"), count("normal"), count("low")), (24, 6, 2), "{taken:?}");
    assert_eq!(intake.counts().late, 0, "under load nothing is asked for that has no place");
    assert_eq!(work_off(&mut intake, 64).await.len(), 64);
}

#[tokio::test]
async fn of_several_bands_that_wait_only_one_gets_the_place() {
    let queue = Queue::start().await;
    for name in ["urgent", "normal", "low"] {
        queue.consumer(name, json!({})).await;
    }
    let slots = Slots::new(1);
    let mut intake = queue.open(&slots, &["urgent", "normal", "low"]);
    for name in ["urgent", "normal", "low"] {
        queue.shows(name, "num_waiting", 1).await;
    }
    queue.put("low", [1]).await;
    let (held, slot) = next(&mut intake, SOON).await;
    assert_eq!(held.consumer(), "low");
    // The pulls of the other bands are still open, and there is no place.
    queue.put("urgent", [2]).await;
    wait::until("the message to be given back", LATE, || async {
        let (late, info) = (intake.counts().late, queue.info("urgent").await);
        let back = late == 1 && info["num_ack_pending"] == 1 && info["num_waiting"] == 0;
        if back { Ok(()) } else { Err(format!("{late} late, {info}")) }
    })
    .await;
    held.ack().await.unwrap();
    drop(slot);
    let (delivery, _slot) = next(&mut intake, SOON).await;
    assert_eq!((delivery.consumer(), delivery.delivered()), ("urgent", 2));
    delivery.ack().await.unwrap();
}

#[tokio::test]
async fn a_band_may_be_added_while_the_others_wait() {
    let queue = Queue::start().await;
    queue.consumer("normal", json!({})).await;
    let slots = Slots::new(2);
    let mut intake = queue.open(&slots, &["normal"]);
    queue.shows("normal", "num_waiting", 1).await;
    queue.consumer("urgent", json!({})).await;
    queue.put("urgent", [1]).await;
    intake.add_consumer(Band::Urgent, "urgent").await;
    let (delivery, slot) = next(&mut intake, SOON).await;
    assert_eq!(delivery.consumer(), "urgent");
    delivery.ack().await.unwrap();
    drop(slot);
    queue.put("normal", [2]).await;
    let (delivery, _slot) = next(&mut intake, SOON).await;
    assert_eq!(delivery.consumer(), "normal");
    delivery.ack().await.unwrap();
}

#[tokio::test]
async fn a_consumer_that_may_deliver_no_more_holds_up_no_other() {
    let queue = Queue::start().await;
    queue.consumer("urgent", json!({ "max_ack_pending": 1 })).await;
    queue.consumer("normal", json!({})).await;
    queue.put("urgent", 0..2).await;
    // Somebody else holds the one delivery that the consumer may have open.
    let others = Slots::new(1);
    let mut other = queue.open(&others, &["urgent"]);
    let (held, _other_slot) = next(&mut other, SOON).await;

    let slots = Slots::new(1);
    let mut intake = queue.open(&slots, &["urgent", "normal"]);
    queue.put("normal", [7]).await;
    let (delivery, slot) = next(&mut intake, 2 * SOON).await;
    assert_eq!(delivery.consumer(), "normal");
    delivery.ack().await.unwrap();
    drop(slot);
    held.ack().await.unwrap();
    let (delivery, _slot) = next(&mut intake, SOON).await;
    assert_eq!((delivery.consumer(), body(&delivery)), ("urgent", 1));
    delivery.ack().await.unwrap();
}

#[tokio::test]
async fn a_consumer_that_is_deleted_is_reported_and_taken_up_again() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({})).await;
    let slots = Slots::new(2);
    let mut intake = queue.open(&slots, &["a"]);
    queue.shows("a", "num_waiting", 1).await;
    let call = format!("CONSUMER.DELETE.{STREAM}.a");
    queue.bus.api::<Value>(&call, &Value::Null).await.unwrap();
    let told = tokio::time::timeout(SOON, intake.next()).await.unwrap();
    assert_eq!(told.unwrap_err(), gone("a"));

    queue.consumer("a", json!({})).await;
    intake.reopen("a").await;
    queue.put("a", [1]).await;
    let (delivery, _slot) = next(&mut intake, SOON).await;
    delivery.ack().await.unwrap();
}

#[tokio::test]
async fn a_consumer_that_was_never_there_is_reported_and_the_others_go_on() {
    let queue = Queue::start().await;
    queue.consumer("normal", json!({})).await;
    let slots = Slots::new(1);
    let mut intake = queue.open(&slots, &["urgent", "normal"]);
    let told = tokio::time::timeout(2 * SOON, intake.next()).await.unwrap();
    assert_eq!(told.unwrap_err(), gone("urgent"));
    queue.put("normal", [1]).await;
    let (delivery, slot) = next(&mut intake, SOON).await;
    delivery.ack().await.unwrap();
    drop(slot);
    queue.consumer("urgent", json!({})).await;
    queue.put("urgent", [2]).await;
    intake.reopen("urgent").await;
    let (delivery, _slot) = next(&mut intake, SOON).await;
    assert_eq!(delivery.consumer(), "urgent");
    delivery.ack().await.unwrap();
}

#[tokio::test]
async fn work_flows_at_once_after_the_server_was_killed_and_restarted() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({})).await;
    let slots = Slots::new(2);
    let mut intake = queue.open(&slots, &["a"]);
    queue.shows("a", "num_waiting", 1).await;
    queue.server.kill();
    queue.server.restart();
    // Another client, since the first one may still be on its way back.
    let client = crate::queue::plain_client(&queue.server.url()).await;
    crate::queue::store(&client, "q.a", "1").await.unwrap();
    let (delivery, _slot) = next(&mut intake, 2 * SOON).await;
    assert_eq!(delivery.delivered(), 1);
    delivery.ack().await.unwrap();
}

#[tokio::test]
async fn work_flows_at_once_after_the_link_was_cut() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({})).await;
    let proxy = FaultProxy::start(queue.server.port());
    let bus = connect(&proxy.url()).await;
    let slots = Slots::new(1);
    let mut intake = Intake::open(&bus, STREAM, vec![(Band::Normal, "a".to_owned())], &slots);
    queue.shows("a", "num_waiting", 1).await;
    proxy.cut();
    // What the server writes into a link that it does not know to be broken is lost to the ack
    // wait, and no client can help that; so it is to know.
    wait::until("the server to miss the connection", LATE, || async {
        let page = queue.server.monitor("/connz?subs=1")?;
        let open = page.get("num_connections").and_then(Value::as_u64);
        if open == Some(2) { Ok(()) } else { Err(page.to_string()) }
    })
    .await;
    queue.put("a", 0..3).await;
    proxy.heal();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (delivery, _slot) = next(&mut intake, 2 * SOON).await;
        seen.push(body(&delivery));
        delivery.ack().await.unwrap();
    }
    // The server may still hold the pull of before: then two bring something for one place, and
    // what is given back comes later.
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2]);
    assert!(intake.counts().pulls >= 2, "{:?}", intake.counts());
}

#[tokio::test]
async fn a_pull_that_falls_silent_is_given_up_and_what_it_brings_is_still_taken() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({})).await;
    let proxy = FaultProxy::start(queue.server.port());
    let bus = connect(&proxy.url()).await;
    let slots = Slots::new(1);
    let mut intake = Intake::open(&bus, STREAM, vec![(Band::Normal, "a".to_owned())], &slots);
    queue.shows("a", "num_waiting", 1).await;
    proxy.stall();
    queue.put("a", [1]).await;
    wait::until("the pull to be given up", LATE, || async {
        let counts = intake.counts();
        if counts.voided == 1 { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    proxy.heal();
    let (delivery, _slot) = next(&mut intake, SOON).await;
    assert_eq!(body(&delivery), 1);
    delivery.ack().await.unwrap();
    assert_eq!(queue.stored().await, 0);
}

#[tokio::test]
async fn a_missing_right_does_not_spin() {
    let users = r#"authorization { users = [
        { user: admin, password: p },
        { user: worker, password: p, permissions: { publish: ["$JS.API.CONSUMER.INFO.>"] } },
    ] }"#;
    let server = NatsServer::builder().extra_config(users).start();
    let user = |name: &str| {
        let mut config = sinew_bus::Config::new(server.url(), "acme".parse().unwrap());
        config.auth = sinew_bus::Auth::Password { user: name.to_owned(), password: "p".to_owned() };
        sinew_bus::Bus::connect(config)
    };
    let admin = user("admin").await.unwrap();
    crate::queue::make_stream(&admin, 1).await;
    make_consumer(&admin, "a", json!({})).await;
    let worker = user("worker").await.unwrap();
    let slots = Slots::new(5);
    let intake = Intake::open(&worker, STREAM, vec![(Band::Normal, "a".to_owned())], &slots);
    wait::holds("few pulls", Duration::from_secs(6), || async {
        let pulls = intake.counts().pulls;
        if pulls <= 2 { Ok(()) } else { Err(format!("{pulls} pulls")) }
    })
    .await;
    assert!(intake.counts().pulls >= 1);
}

#[tokio::test]
async fn a_stop_gives_back_what_nobody_fetched_and_what_still_comes() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({})).await;
    queue.put("a", 0..3).await;
    let slots = Slots::new(5);
    let mut intake = queue.open(&slots, &["a"]);
    queue.shows("a", "num_ack_pending", 3).await;
    let (fetched, slot) = next(&mut intake, SOON).await;
    let fetched_body = body(&fetched);
    intake.stop().await;
    drop(slot);
    assert_eq!(slots.free(), 5);

    // The server has forgotten the stopped intake's pulls: what is given back goes to others.
    fetched.nak(None).await.unwrap();
    let others = Slots::new(1);
    let mut other = queue.open(&others, &["a"]);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (delivery, _slot) = next(&mut other, SOON).await;
        assert_eq!(delivery.delivered(), 2, "it went by way of the stopped intake");
        seen.push(body(&delivery));
        delivery.ack().await.unwrap();
    }
    assert!(seen.contains(&fetched_body));
    for more in 3..8 {
        queue.put("a", [more]).await;
        let (delivery, _slot) = next(&mut other, SOON).await;
        seen.push(body(&delivery));
        delivery.ack().await.unwrap();
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn a_dropped_intake_gives_back_what_nobody_fetched() {
    let queue = Queue::start().await;
    queue.consumer("a", json!({})).await;
    queue.put("a", 0..3).await;
    let slots = Slots::new(3);
    let intake = queue.open(&slots, &["a"]);
    queue.shows("a", "num_ack_pending", 3).await;
    drop(intake);
    let others = Slots::new(3);
    let mut other = queue.open(&others, &["a"]);
    let mut seen = work_off(&mut other, 3).await;
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2]);
    assert_eq!(slots.free(), 3);
}
