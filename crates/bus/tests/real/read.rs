//! Reading: from the leader, a task's whole log, and a stream from a sequence on.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sinew_bus::{Bus, RawMessage, RequestError, Scan};
use sinew_model::TaskId;
use sinew_testkit::{NatsServer, wait};

use crate::queue::{LATE, Queue, SOON, STREAM, connect, plain_client, store, store_with};

mod history;

/// A server with a stream `LOG` on `log.>`, kept for ever, and a connection.
struct Log {
    server: NatsServer,
    bus: Bus,
    client: async_nats::Client,
}

impl Log {
    async fn start() -> Self {
        let server = NatsServer::start();
        let bus = connect(&server.url()).await;
        let client = plain_client(&server.url()).await;
        let config = json!({ "name": "LOG", "subjects": ["log.>"], "storage": "file" });
        bus.api::<Value>("STREAM.CREATE.LOG", &config).await.unwrap();
        Self { server, bus, client }
    }

    async fn put(&self, subject: &str, body: u64) -> u64 {
        store(&self.client, subject, &body.to_string()).await.unwrap()
    }
}

async fn next(scan: &mut Scan) -> RawMessage {
    tokio::time::timeout(LATE, scan.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_newest_message_of_a_filter_and_one_by_its_sequence() {
    let log = Log::start().await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", "ä:1");
    store_with(&log.client, "log.a.x", "one", headers).await.unwrap();
    log.put("log.a.y", 2).await;
    log.put("log.b.x", 3).await;
    let last = log.bus.last("LOG", "log.a.*").await.unwrap().unwrap();
    assert_eq!((last.seq, last.subject.as_str(), &last.payload[..]), (2, "log.a.y", &b"2"[..]));
    assert!(log.bus.last("LOG", "log.c.*").await.unwrap().is_none());
    let first = log.bus.at("LOG", 1).await.unwrap().unwrap();
    assert_eq!((first.seq, &first.payload[..]), (1, &b"one"[..]));
    assert_eq!(first.header("Nats-Msg-Id"), Some("ä:1"));
    assert!(sinew_bus::clock::now().since(first.time) < LATE);
    assert!(log.bus.at("LOG", 9).await.unwrap().is_none());
    let missing = log.bus.at("NOPE", 1).await.unwrap_err();
    assert_eq!(missing.refusal(), Some(10_059));
}

#[tokio::test]
async fn a_streams_state_and_its_depth_per_subject() {
    let queue = Queue::start().await;
    let empty = queue.bus.stream_state(STREAM).await.unwrap();
    assert_eq!((empty.messages, empty.last_seq), (0, 0));
    assert_eq!(queue.bus.depth(STREAM, "q.*").await.unwrap(), BTreeMap::new());
    queue.put("a", 0..3).await;
    queue.put("b", 0..2).await;
    let state = queue.bus.stream_state(STREAM).await.unwrap();
    assert_eq!((state.messages, state.first_seq, state.last_seq), (5, 1, 5));
    assert!(state.bytes > 0);
    let depth = queue.bus.depth(STREAM, "q.*").await.unwrap();
    assert_eq!(depth, BTreeMap::from([("q.a".to_owned(), 3), ("q.b".to_owned(), 2)]));
    let depth = queue.bus.depth(STREAM, "q.b").await.unwrap();
    assert_eq!(depth, BTreeMap::from([("q.b".to_owned(), 2)]));
}

#[tokio::test]
async fn a_watched_subject_is_heard_while_somebody_listens() {
    let log = Log::start().await;
    let mut hints = log.bus.watch_subject("log.*").await.unwrap();
    // An answer on the same connection says that the server knows of the subscription.
    log.bus.stream_state("LOG").await.unwrap();
    log.put("log.a", 1).await;
    let hint = tokio::time::timeout(SOON, hints.next()).await.unwrap().unwrap();
    assert_eq!((hint.subject(), &hint.payload()[..]), ("log.a", &b"1"[..]));
    assert_eq!(hint.header("A"), None);
}

#[tokio::test]
async fn a_scan_reads_what_is_there_and_then_what_comes() {
    let log = Log::start().await;
    // More than one batch, and every other message of another subject.
    for body in 0..700 {
        log.put(if body % 2 == 0 { "log.even" } else { "log.odd" }, body).await;
    }
    let mut scan = log.bus.scan("LOG", "log.>", 1).await.unwrap();
    assert_eq!(scan.pending(), 700);
    for seq in 1..=700 {
        let message = next(&mut scan).await;
        assert_eq!((message.seq, message.pending), (seq, 700 - seq));
    }
    assert_eq!((scan.pending(), scan.position()), (0, 701));
    log.put("log.even", 700).await;
    assert_eq!(next(&mut scan).await.seq, 701);

    let mut odd = log.bus.scan("LOG", "log.odd", 100).await.unwrap();
    assert_eq!(odd.pending(), 301);
    let first = next(&mut odd).await;
    assert_eq!((first.seq, first.subject.as_str()), (100, "log.odd"));
    assert_eq!(next(&mut odd).await.seq, 102);
    drop((scan, odd));
    wait::until("the server to forget the scans", LATE, || async {
        let info: Value = log.bus.api("STREAM.INFO.LOG", &Value::Null).await.unwrap();
        if info["state"]["consumer_count"] == 0 { Ok(()) } else { Err(info.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn the_end_of_a_scan_is_what_the_leader_says_and_not_what_its_own_server_knows() {
    let log = Log::start().await;
    log.put("log.a", 1).await;
    let mut scan = log.bus.scan("LOG", "log.a", 1).await.unwrap();
    assert_eq!(scan.next_through(1).await.unwrap().unwrap().seq, 1);
    assert!(scan.next_through(1).await.unwrap().is_none());
    // Its server has told it of nothing more, as one that is behind does.
    for body in 2..=4 {
        log.put("log.a", body).await;
        log.put("log.b", body).await;
    }
    assert_eq!(scan.pending(), 0);
    for seq in [2, 4, 6] {
        assert_eq!(scan.next_through(7).await.unwrap().unwrap().seq, seq);
    }
    assert!(scan.next_through(7).await.unwrap().is_none());
    // What was pending and is purged is not waited for.
    let mut scan = log.bus.scan("LOG", "log.a", 1).await.unwrap();
    assert_eq!(scan.pending(), 4);
    let call = "STREAM.PURGE.LOG";
    let _: Value = log.bus.api(call, &serde_json::json!({ "filter": "log.a" })).await.unwrap();
    assert!(scan.next_through(7).await.unwrap().is_none());
}

#[tokio::test]
async fn a_scan_equals_the_stream_across_kills_of_the_server() {
    let mut log = Log::start().await;
    let mut scan = log.bus.scan("LOG", "log.>", 1).await.unwrap();
    let mut expect = 1;
    for round in 0..3 {
        for body in 0..100 {
            log.put("log.a", body).await;
        }
        for _ in 0..60 {
            assert_eq!(next(&mut scan).await.seq, expect, "round {round}");
            expect += 1;
        }
        log.server.kill();
        log.server.restart();
        // The old client would first wait for an answer over the broken link.
        log.client = plain_client(&log.server.url()).await;
        log.put("log.b", round).await;
    }
    let last = log.bus.stream_state("LOG").await.unwrap().last_seq;
    while expect <= last {
        assert_eq!(next(&mut scan).await.seq, expect);
        expect += 1;
    }
    assert_eq!(scan.pending(), 0);
}

#[tokio::test]
async fn a_scan_whose_consumer_vanishes_goes_on_and_one_without_a_stream_ends() {
    let log = Log::start().await;
    log.put("log.a", 1).await;
    let mut scan = log.bus.scan("LOG", "log.>", 1).await.unwrap();
    assert_eq!(next(&mut scan).await.seq, 1);
    let names: Value = log.bus.api("CONSUMER.NAMES.LOG", &Value::Null).await.unwrap();
    let name = names["consumers"][0].as_str().unwrap();
    log.bus.api::<Value>(&format!("CONSUMER.DELETE.LOG.{name}"), &Value::Null).await.unwrap();
    log.put("log.a", 2).await;
    assert_eq!(next(&mut scan).await.seq, 2);

    log.bus.api::<Value>("STREAM.DELETE.LOG", &Value::Null).await.unwrap();
    let error = tokio::time::timeout(LATE, scan.next()).await.unwrap().unwrap_err();
    assert_eq!((error.source.refusal(), error.from), (Some(10_059), 3));
    let error = log.bus.scan("LOG", "log.>", 1).await.unwrap_err();
    assert!(matches!(error.source, RequestError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_scan_misses_nothing_when_its_link_is_cut() {
    let log = Log::start().await;
    let proxy = sinew_testkit::FaultProxy::start(log.server.port());
    let bus = connect(&proxy.url()).await;
    let mut scan = bus.scan("LOG", "log.>", 1).await.unwrap();
    log.put("log.a", 1).await;
    assert_eq!(next(&mut scan).await.seq, 1);
    // What the server sends now is lost on the way.
    proxy.stall_only(sinew_testkit::proxy::Direction::ToClient);
    for body in 0..3 {
        log.put("log.a", body).await;
    }
    wait::until("the server to have sent it", LATE, || async {
        let names: Value = log.bus.api("CONSUMER.LIST.LOG", &Value::Null).await.unwrap();
        let sent = &names["consumers"][0]["delivered"]["stream_seq"];
        if *sent == 4 { Ok(()) } else { Err(names.to_string()) }
    })
    .await;
    proxy.cut();
    proxy.heal();
    for seq in 2..=4 {
        assert_eq!(next(&mut scan).await.seq, seq);
    }
}
