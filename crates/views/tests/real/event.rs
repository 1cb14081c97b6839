//! The view of events: what is found in it, and that one that is rebuilt is the one that was there.

use std::{path::Path, time::Duration};

use proptest::prelude::*;
use rusqlite::types::Value as Sql;
use serde_json::{Value, json};
use sinew_bus::{Bus, Config};
use sinew_model::Time;
use sinew_testkit::{NatsServer, TempDir};
use sinew_views::{
    EventView, Message, Origin,
    event::Search,
    task::{BuildError, Why},
};

use crate::kit::{batch, subjects, table};

const DAY: i64 = 86_400_000_000;

fn body(role: &str, action: &str, details: Value) -> Value {
    json!({
        "type": "agent.action", "timestamp": "2026-05-10T14:23:01Z", "agentRole": role,
        "orgId": "acme", "action": action, "details": details, "taskId": "T1", "later": 1,
    })
}

fn message(seq: u64, payload: Vec<u8>) -> Message {
    Message {
        seq,
        subject: subjects().events().into(),
        // Three days go by in ten messages.
        stored_at: Time::from_micros(1_778_423_000_000_000 + i64::try_from(seq).unwrap() * DAY / 3),
        expected: None,
        token: None,
        payload: payload.into(),
        origin: Origin::default(),
    }
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let payload = prop_oneof![
        8 => ("[a-c]", "[a-z]{1,3}\\.(read|write)", "\\PC{0,20}").prop_map(|(role, action, text)| {
            body(&role, &action, json!({ "text": text })).to_string().into_bytes()
        }),
        1 => Just(b"\xff{".to_vec()),
        1 => Just(json!({ "orgId": "other" }).to_string().into_bytes()),
    ];
    prop::collection::vec((payload, 1..3_u64, any::<bool>()), 1..60).prop_map(|steps| {
        let mut seq = 0;
        let mut log = Vec::new();
        for (payload, gap, forged) in steps {
            seq += gap;
            let mut next = message(seq, payload);
            next.origin.refused = (forged && seq % 5 == 0).then(|| "forged".to_owned());
            log.push(next);
        }
        log
    })
}

/// All that can be asked, and the tables as they stand.
async fn all(view: &EventView, file: &Path) -> (Vec<Vec<Vec<Sql>>>, Vec<Value>) {
    let tables = ["events", "daily", "actors", "strays"].map(|name| table(file, name)).to_vec();
    let words = Search { text: Some("write".to_owned()), ..Search::default() };
    let found = serde_json::to_value(view.search(words).await.unwrap()).unwrap();
    let checkpoint = serde_json::to_value(view.checkpoint().await.unwrap()).unwrap();
    (tables, vec![found, checkpoint])
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn rebuilt_is_live_however_it_was_cut(
        log in messages(),
        cuts in prop::collection::vec((1..20_u64, 0..5_u64), 1..6),
        length in 1..30_u64,
    ) {
        let dir = TempDir::new("views");
        let file = dir.join("events.db");
        let last = log.last().unwrap().seq;
        block_on(async {
            let stores = [
                EventView::open(&file, subjects()).await.unwrap(),
                EventView::open(&file, subjects()).await.unwrap(),
            ];
            let (mut after, mut cuts) = (0, cuts.iter().cycle());
            while after < last {
                let (length, overlap) = cuts.next().copied().unwrap();
                let through = last.min(after + length);
                let part = batch(&log, after.saturating_sub(overlap), through);
                stores[usize::from(after % 2 == 0)].fold(part).await.unwrap();
                after = through;
            }
            let live = all(&stores[0], &file).await;
            let build = stores[1].build(Why::Asked).await.unwrap();
            let mut after = 0;
            while after < last {
                let through = last.min(after + length);
                if let Err(early) = build.make_live().await {
                    let behind = matches!(early, BuildError::Behind { .. });
                    prop_assert!(behind, "{early}");
                }
                build.fold(batch(&log, after, through)).await.unwrap();
                after = through;
            }
            build.make_live().await.unwrap();
            prop_assert_eq!(live, all(&stores[0], &file).await);
            let events = table(&file, "events").len() + table(&file, "strays").len();
            prop_assert_eq!(events, log.len());
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn events_are_found_by_words_filters_and_page() {
    let view = EventView::open_in_memory(subjects()).await.unwrap();
    let said = [
        body("marketing", "file.write", json!({ "path": "blog/new-post.md" })),
        body("cto", "deploy", json!({ "to": "Zürich", "note": "NOT \"now\"" })),
        body("cto", "file.read", Value::Null),
    ];
    let log: Vec<_> =
        (1..).zip(&said).map(|(seq, body)| message(seq, body.to_string().into_bytes())).collect();
    view.fold(batch(&log, 0, 3)).await.unwrap();
    let seqs = async |search: Search| -> Vec<u64> {
        view.search(search).await.unwrap().iter().map(|row| row.seq).collect()
    };
    let text = |text: &str| Search { text: Some(text.to_owned()), ..Search::default() };
    assert_eq!(seqs(Search::default()).await, [3, 2, 1]);
    assert_eq!(seqs(text("file")).await, [3, 1]);
    assert_eq!(seqs(text("file blog")).await, [1]);
    assert_eq!(seqs(text("zurich")).await, [2]);
    assert_eq!(seqs(text("mark*")).await, [1]);
    assert_eq!(seqs(text("NOT \"now\"")).await, [2]);
    assert_eq!(seqs(text("file OR deploy")).await, [0; 0]);
    let cto = Search { role: Some("cto".parse().unwrap()), ..Search::default() };
    assert_eq!(seqs(Search { limit: Some(1), ..cto.clone() }).await, [3]);
    assert_eq!(seqs(Search { before: Some(3), ..cto }).await, [2]);
    let action = Search { action: Some("deploy".to_owned()), ..Search::default() };
    assert_eq!(seqs(action).await, [2]);
    let until = Search { until: Some(log[1].stored_at), ..Search::default() };
    assert_eq!(seqs(until).await, [1]);
    let since = Search { since: Some(log[1].stored_at), ..Search::default() };
    assert_eq!(seqs(since).await, [3, 2]);
    let found = view.search(text("blog")).await.unwrap();
    assert!(found[0].snippet.as_deref().unwrap().contains("[blog]"), "{found:?}");
    // Fields that this version does not know are kept.
    assert_eq!(serde_json::to_value(&found[0].event).unwrap(), said[0]);
    let actors = view.actors().await.unwrap();
    assert_eq!((actors[0].role.as_str(), actors[0].events), ("cto", 2));
    assert_eq!(actors[0].last_action, "file.read");
    let days = view.days(1).await.unwrap();
    assert_eq!(days.iter().map(|day| day.events).sum::<u64>(), 2);
}

#[tokio::test]
async fn a_real_stream_is_followed_rebuilt_and_a_tasks_file_is_left_alone() {
    let server = NatsServer::start();
    let bus = Bus::connect(Config::new(server.url(), "acme".parse().unwrap())).await.unwrap();
    let stream = json!({ "name": "ORG_EVENTS", "subjects": ["genbrain.org.acme.events"] });
    bus.api::<Value>("STREAM.CREATE.ORG_EVENTS", &stream).await.unwrap();
    let writer = async_nats::ConnectOptions::new().connect(server.url()).await.unwrap();
    for number in 1..=3 {
        let body = body("cto", &format!("step.{number}"), Value::Null).to_string();
        writer.request("genbrain.org.acme.events", body.into()).await.unwrap();
    }
    let dir = TempDir::new("views");
    let view = EventView::open(dir.join("events.db"), subjects()).await.unwrap();
    assert_eq!(view.catch_up(&bus).await.unwrap(), 3);
    view.wait_until(3, Duration::from_secs(1)).await.unwrap();
    let before = view.search(Search::default()).await.unwrap();
    assert_eq!(view.rebuild(&bus).await.unwrap(), 3);
    assert_eq!(view.search(Search::default()).await.unwrap(), before);
    assert_eq!(before[0].event.action, "step.3");
    let tasks = dir.join("views.db");
    sinew_views::Store::open(&tasks, subjects()).await.unwrap();
    let told = EventView::open(&tasks, subjects()).await.unwrap_err();
    assert!(told.to_string().contains("not of Sinew"), "{told}");
}
