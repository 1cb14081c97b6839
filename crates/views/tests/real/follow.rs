//! The view of a real stream: read to its end, followed live, through restarts of the server, by
//! several processes at once, and made anew with the stream.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use sinew_bus::{Bus, Config};
use sinew_model::{Time, header, limits};
use sinew_testkit::{NatsServer, TempDir, wait};
use sinew_views::{Batch, Message, Projection, Store, task::VoidKind};
use tokio_util::sync::CancellationToken;

use crate::kit::{Step, World, id, subjects, table, tables};

const LONG: Duration = Duration::from_secs(30);

/// A server with the log of one org, and who writes to it.
struct Org {
    server: NatsServer,
    bus: Bus,
    writer: async_nats::Client,
    dir: TempDir,
    world: World,
    written: usize,
}

impl Org {
    async fn start() -> Self {
        let server = NatsServer::start();
        let config = Config::new(server.url(), "acme".parse().unwrap());
        let bus = Bus::connect(config).await.unwrap();
        make_stream(&bus).await;
        let writer = async_nats::ConnectOptions::new().connect(server.url()).await.unwrap();
        let (dir, world) = (TempDir::new("views"), World::new());
        Self { server, bus, writer, dir, world, written: 0 }
    }

    /// Takes a step and stores what comes of it, as any writer would.
    async fn step(&mut self, step: Step) {
        self.world.must_step(step);
        while let Some(message) = self.world.log.get(self.written) {
            publish(&self.writer, message).await;
            self.written += 1;
        }
    }

    /// Some tasks in all phases, in as many entries as asked for.
    async fn some(&mut self, entries: usize) {
        let end = self.written + entries;
        for turn in 0_u16.. {
            // New tasks come up all the time, so that there is always something to do.
            let task = u8::try_from(turn / 32).unwrap() + u8::try_from(turn % 3).unwrap();
            let [_, what] = turn.wrapping_mul(37).to_be_bytes();
            self.world.step(Step::Lawful(task, what));
            for message in &self.world.log[self.written..] {
                publish(&self.writer, message).await;
            }
            self.written = self.world.log.len();
            if self.written == end {
                return;
            }
        }
    }

    async fn open(&self, name: &str) -> Projection {
        Projection::new(Store::open(self.dir.join(name), subjects()).await.unwrap())
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.dir.join(name)
    }

    /// What a view has that is made of the stream as it is now.
    async fn fresh(&self, name: &str) -> Tables {
        self.open(name).await.catch_up(&self.bus).await.unwrap();
        tables(&self.file(name))
    }
}

type Tables = Vec<(&'static str, Vec<Vec<rusqlite::types::Value>>)>;

async fn make_stream(bus: &Bus) {
    let config = json!({
        "name": "TASK_LOG",
        "subjects": ["genbrain.org.acme.tasks.*.*"],
        "storage": "file",
        "allow_direct": true,
        "allow_atomic": true,
        "republish": {
            "src": "genbrain.org.*.tasks.*.*",
            "dest": "genbrain.org.{{wildcard(1)}}.tasks.{{wildcard(3)}}",
        },
    });
    bus.api::<Value>("STREAM.CREATE.TASK_LOG", &config).await.unwrap();
}

/// Stores a message, guarded by what its writer expected; the server must take it.
async fn publish(writer: &async_nats::Client, message: &Message) {
    let mut headers = async_nats::HeaderMap::new();
    if let Some(expected) = message.expected {
        let (log, _) = message.subject.rsplit_once('.').unwrap();
        headers.insert(header::EXPECTED_SEQ, expected.to_string());
        headers.insert(header::EXPECTED_SUBJECT, format!("{log}.*"));
    }
    let (subject, payload) = (message.subject.clone(), message.payload.clone());
    let answer = writer.request_with_headers(subject, headers, payload).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(answer["seq"], message.seq, "{answer}");
}

/// Follows until the token is cancelled; what ends the following ends the test.
fn follow(projection: &Projection, bus: &Bus) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let stop = CancellationToken::new();
    let (projection, bus, shutdown) = (projection.clone(), bus.clone(), stop.clone());
    let task = tokio::spawn(async move { projection.follow(&bus, shutdown).await.unwrap() });
    (stop, task)
}

fn generation(file: &Path) -> Vec<Vec<rusqlite::types::Value>> {
    table(file, "(SELECT generation FROM checkpoint)")
}

#[tokio::test]
async fn a_view_catches_up_and_foreign_messages_on_its_subjects_harm_nothing() {
    let mut org = Org::start().await;
    let view = org.open("tasks.db").await;
    assert_eq!(view.catch_up(&org.bus).await.unwrap(), 0);
    org.some(30).await;
    for step in [
        Step::Lawful(200, 1),
        Step::Unguarded(200, 8),
        Step::Unknown(200),
        Step::Garbage(200),
        Step::Alien(200),
        Step::NoTask,
        Step::Lawful(200, 8),
    ] {
        org.step(step).await;
    }
    org.some(30).await;
    let last = org.world.last_seq();
    assert_eq!(view.catch_up(&org.bus).await.unwrap(), last);
    let counts = view.store().void_counts().await.unwrap();
    let count = |kind| counts.iter().find(|(it, _)| *it == kind).unwrap().1;
    assert_eq!(VoidKind::ALL.map(count), [1, 1, 1, 2, 0]);
    for (task, expect) in &org.world.tasks {
        let row = view.store().show(task.clone()).await.unwrap().unwrap().task;
        assert_eq!(row.phase, expect.state.as_ref().unwrap().word(), "{task}");
        assert_eq!((row.last_seq, row.voids), (expect.last_seq, expect.voids), "{task}");
    }
    // Nothing new: nothing happens. Rebuilt: the same.
    let live = tables(&org.file("tasks.db"));
    assert_eq!(view.catch_up(&org.bus).await.unwrap(), last);
    assert_eq!(view.rebuild(&org.bus).await.unwrap(), last);
    assert_eq!(tables(&org.file("tasks.db")), live);
}

#[tokio::test]
async fn a_followed_view_is_live_and_survives_restarts_of_the_server() {
    let mut org = Org::start().await;
    org.some(10).await;
    let view = org.open("tasks.db").await;
    let (stop, following) = follow(&view, &org.bus);
    view.store().wait_until(10, LONG).await.unwrap();
    for kill in [false, true] {
        org.some(20).await;
        view.store().wait_until(org.world.last_seq(), LONG).await.unwrap();
        if kill {
            org.server.kill();
        }
        org.server.restart();
        wait::until("the writer to be back", LONG, || {
            let flushed = org.writer.flush();
            let state = org.writer.connection_state();
            async move {
                flushed.await.map_err(|fault| fault.to_string())?;
                let connected = matches!(state, async_nats::connection::State::Connected);
                if connected { Ok(()) } else { Err(state.to_string()) }
            }
        })
        .await;
        org.some(20).await;
        view.store().wait_until(org.world.last_seq(), LONG).await.unwrap();
    }
    stop.cancel();
    following.await.unwrap();
    let live = tables(&org.file("tasks.db"));
    assert_eq!(org.fresh("fresh.db").await, live);
    view.rebuild(&org.bus).await.unwrap();
    assert_eq!(tables(&org.file("tasks.db")), live);
}

#[tokio::test]
async fn several_processes_fold_one_file_and_each_entry_once() {
    let mut org = Org::start().await;
    org.some(40).await;
    let views = [org.open("tasks.db").await, org.open("tasks.db").await];
    let followers = views.each_ref().map(|view| follow(view, &org.bus));
    org.some(40).await;
    let (one, two) = tokio::join!(views[0].catch_up(&org.bus), views[1].catch_up(&org.bus));
    assert_eq!((one.unwrap(), two.unwrap()), (80, 80));
    for (stop, following) in followers {
        stop.cancel();
        following.await.unwrap();
    }
    assert_eq!(tables(&org.file("tasks.db")), org.fresh("fresh.db").await);
}

#[tokio::test]
async fn a_deleted_file_is_built_again() {
    let mut org = Org::start().await;
    org.some(30).await;
    let live = org.fresh("tasks.db").await;
    for end in ["", "-wal", "-shm"] {
        let file = org.file(&format!("tasks.db{end}"));
        assert!(std::fs::remove_file(&file).is_ok() || !end.is_empty());
    }
    assert_eq!(org.fresh("tasks.db").await, live);
}

#[tokio::test]
async fn a_stream_that_was_made_anew_is_noticed_and_the_view_is_made_anew_too() {
    let mut org = Org::start().await;
    org.some(30).await;
    let view = org.open("tasks.db").await;
    let (stop, following) = follow(&view, &org.bus);
    view.store().wait_until(30, LONG).await.unwrap();
    let generation_before = generation(&org.file("tasks.db"));
    org.bus.api::<Value>("STREAM.DELETE.TASK_LOG", &Value::Null).await.unwrap();
    make_stream(&org.bus).await;
    (org.world, org.written) = (World::new(), 0);
    org.step(Step::Lawful(6, 1)).await;
    // Whoever asks does not wait for the follower to notice.
    let other = org.open("tasks.db").await;
    assert_eq!(other.catch_up(&org.bus).await.unwrap(), 1);
    assert!(view.store().show(id(0)).await.unwrap().is_none());
    assert!(view.store().show(id(6)).await.unwrap().is_some());
    assert_ne!(generation(&org.file("tasks.db")), generation_before);
    org.some(40).await;
    view.store().wait_until(41, LONG).await.unwrap();
    stop.cancel();
    following.await.unwrap();
    assert_eq!(tables(&org.file("tasks.db")), org.fresh("fresh.db").await);
}

#[tokio::test]
async fn a_follower_notices_a_stream_that_was_made_anew_by_itself() {
    let mut org = Org::start().await;
    org.some(30).await;
    let views = [org.open("tasks.db").await, org.open("tasks.db").await];
    let followers = views.each_ref().map(|view| follow(view, &org.bus));
    views[0].store().wait_until(30, LONG).await.unwrap();
    org.bus.api::<Value>("STREAM.DELETE.TASK_LOG", &Value::Null).await.unwrap();
    make_stream(&org.bus).await;
    (org.world, org.written) = (World::new(), 0);
    org.step(Step::Lawful(6, 1)).await;
    wait::until("the new stream to be seen", LONG, || async {
        let page = views[1].store().list(Default::default()).await.unwrap();
        let ids: Vec<_> = page.tasks.iter().map(|task| task.task_id.to_string()).collect();
        if ids == ["T6"] { Ok(()) } else { Err(format!("{ids:?}")) }
    })
    .await;
    for (stop, following) in followers {
        stop.cancel();
        following.await.unwrap();
    }
}

#[tokio::test]
async fn a_view_that_is_ahead_of_its_stream_is_made_anew() {
    let mut org = Org::start().await;
    org.some(10).await;
    let view = org.open("tasks.db").await;
    view.catch_up(&org.bus).await.unwrap();
    let expect = tables(&org.file("tasks.db"));
    let stream = view.store().checkpoint().await.unwrap().stream.unwrap();
    // As after a power cut that cost the server its newest writes.
    let ahead = Batch { stream, after: 10, through: 15, messages: Vec::new() };
    view.store().fold_tasks(ahead.clone()).await.unwrap();
    assert_eq!(view.catch_up(&org.bus).await.unwrap(), 10);
    assert_eq!(tables(&org.file("tasks.db")), expect);
    // A follower looks from time to time, also where nothing comes.
    let (stop, following) = follow(&view, &org.bus);
    view.store().fold_tasks(ahead).await.unwrap();
    wait::until("the view to be made anew", LONG, || async {
        let reached = view.store().reached().await.unwrap();
        if reached == 10 { Ok(()) } else { Err(reached.to_string()) }
    })
    .await;
    org.some(10).await;
    view.store().wait_until(20, LONG).await.unwrap();
    stop.cancel();
    following.await.unwrap();
    assert_eq!(tables(&org.file("tasks.db")), org.fresh("fresh.db").await);
}

#[tokio::test]
async fn purged_tasks_stay_until_a_rebuild_and_a_purged_end_is_still_reached() {
    let mut org = Org::start().await;
    org.step(Step::Lawful(1, 1)).await;
    org.step(Step::Lawful(2, 1)).await;
    org.step(Step::Lawful(2, 0)).await;
    let view = org.open("tasks.db").await;
    assert_eq!(view.catch_up(&org.bus).await.unwrap(), 3);
    let purge = json!({ "filter": org.world.subjects.log(&id(2)).as_str() });
    org.bus.api::<Value>("STREAM.PURGE.TASK_LOG", &purge).await.unwrap();
    assert_eq!(view.catch_up(&org.bus).await.unwrap(), 3);
    assert!(view.store().show(id(2)).await.unwrap().is_some());
    let kept = view.store().show(id(1)).await.unwrap();
    // The newest messages are gone, and the view is complete up to their sequence all the same.
    assert_eq!(view.rebuild(&org.bus).await.unwrap(), 3);
    assert!(view.store().show(id(2)).await.unwrap().is_none());
    assert_eq!(view.store().show(id(1)).await.unwrap(), kept);
    let due = org.world.now().plus(limits::DEADLINE);
    assert!(kept.unwrap().task.due <= due && due > Time::from_micros(0));
    org.step(Step::Lawful(1, 8)).await;
    assert_eq!(view.catch_up(&org.bus).await.unwrap(), 4);
}

#[tokio::test]
async fn without_a_stream_there_is_nothing_to_fold_and_a_follower_waits_for_it() {
    let mut org = Org::start().await;
    org.bus.api::<Value>("STREAM.DELETE.TASK_LOG", &Value::Null).await.unwrap();
    let view = org.open("tasks.db").await;
    assert_eq!(view.catch_up(&org.bus).await.unwrap(), 0);
    assert!(view.rebuild(&org.bus).await.is_err());
    let (stop, following) = follow(&view, &org.bus);
    make_stream(&org.bus).await;
    org.some(5).await;
    view.store().wait_until(5, LONG).await.unwrap();
    stop.cancel();
    following.await.unwrap();
}
