//! A task's whole log, whoever writes to it meanwhile.

use async_nats::HeaderMap;
use sinew_bus::History;
use sinew_model::task::Void;

use super::*;

/// A server with a `TASK_LOG`.
struct Tasks {
    _server: NatsServer,
    bus: Bus,
    client: async_nats::Client,
    task: TaskId,
}

impl Tasks {
    async fn start(direct: bool) -> Self {
        let server = NatsServer::start();
        let bus = connect(&server.url()).await;
        let client = plain_client(&server.url()).await;
        let config = json!({
            "name": "TASK_LOG", "subjects": ["genbrain.org.*.tasks.*.*"], "storage": "file",
            "allow_direct": direct,
        });
        bus.api::<Value>("STREAM.CREATE.TASK_LOG", &config).await.unwrap();
        Self { _server: server, bus, client, task: "T1".parse().unwrap() }
    }

    /// Appends an entry with this expectation over the whole task.
    async fn append(&self, transition: &str, expected: u64, change: Value) -> Result<u64, String> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string());
        let log = self.bus.subjects().log(&self.task).to_string();
        headers.insert("Nats-Expected-Last-Subject-Sequence-Subject", log);
        headers.insert("Nats-Msg-Id", format!("{transition}-{expected}"));
        self.write(transition, change, headers).await
    }

    async fn write(
        &self,
        transition: &str,
        change: Value,
        headers: HeaderMap,
    ) -> Result<u64, String> {
        let mut entry = json!({
            "taskId": self.task, "orgId": "acme", "at": "2026-05-10T14:23:01Z",
            "by": { "role": "cto" }, "transition": transition,
        });
        entry.as_object_mut().unwrap().extend(change.as_object().cloned().unwrap_or_default());
        let subject = format!("genbrain.org.acme.tasks.{}.{transition}", self.task);
        store_with(&self.client, &subject, &entry.to_string(), headers).await
    }

    async fn create(&self) -> u64 {
        let assignment = json!({
            "taskId": self.task, "orgId": "acme", "role": "cto", "delegator": "ceo",
            "title": "build", "createdAt": "2026-05-10T14:23:01Z",
        });
        let change = json!({ "assignment": assignment, "queueSeq": 1 });
        self.append("created", 0, change).await.unwrap()
    }

    async fn begin(&self) -> u64 {
        let expected = self.create().await;
        let start = json!({
            "attempt": 1, "epoch": 1, "queueSeq": 1, "instance": "cto-0", "incarnation": "x",
        });
        self.append("started", expected, start).await.unwrap()
    }

    async fn progress(&self, expected: u64) -> Result<u64, String> {
        self.append("progress", expected, json!({ "attempt": 1, "message": "on it" })).await
    }

    async fn read(&self) -> History {
        self.bus.history(&self.task).await.unwrap()
    }
}

fn word(history: &History) -> &str {
    history.task.state.as_ref().map_or("nothing", sinew_model::task::State::word)
}

#[tokio::test]
async fn a_log_grows_from_nothing_entry_by_entry() {
    let tasks = Tasks::start(true).await;
    assert_eq!(tasks.read().await, History::default());
    let seq = tasks.create().await;
    let history = tasks.read().await;
    assert_eq!((word(&history), history.task.last_seq, history.entries.len()), ("queued", seq, 1));
    let entry = &history.entries[0];
    assert_eq!(entry.stored.token.as_deref(), Some("created-0"));
    assert_eq!((entry.stored.expected, entry.void), (Some(0), None));
    assert!(sinew_bus::clock::now().since(entry.time) < LATE);
}

#[tokio::test]
async fn a_log_of_several_batches_is_read_whole_with_and_without_direct_get() {
    for direct in [true, false] {
        let tasks = Tasks::start(direct).await;
        let mut last = tasks.begin().await;
        // Another task's entries between them do not belong to it.
        let other: TaskId = "T2".parse().unwrap();
        let alien = format!("genbrain.org.acme.tasks.{other}.progress");
        for _ in 0..600 {
            last = tasks.progress(last).await.unwrap();
            store(&tasks.client, &alien, "{}").await.unwrap();
        }
        let mut asked = tasks.bus.watch_subject("$JS.API.STREAM.MSG.GET.TASK_LOG").await.unwrap();
        let history = tasks.read().await;
        assert_eq!((history.entries.len(), history.task.last_seq), (602, last), "{direct}");
        // The leader is asked for the newest entry, and for a few before it, until it is clear that
        // there are many; for each one only without direct get.
        tasks.bus.at("TASK_LOG", 1).await.unwrap();
        let mut calls = 0;
        while asked.next().await.unwrap().payload() != r#"{"seq":1}"# {
            calls += 1;
        }
        assert_eq!(calls, if direct { 5 } else { 603 });
        assert_eq!((word(&history), history.task.voids, history.skipped), ("running", 0, 0));
    }
}

#[tokio::test]
async fn a_short_log_in_a_long_stream_is_read_without_a_search() {
    let tasks = Tasks::start(true).await;
    let begun = tasks.begin().await;
    for number in 0..500 {
        let alien = format!("genbrain.org.acme.tasks.A{number}.progress");
        store(&tasks.client, &alien, "{}").await.unwrap();
    }
    let last = tasks.progress(tasks.progress(begun).await.unwrap()).await.unwrap();
    let mut asked = tasks.bus.watch_subject("$JS.API.DIRECT.GET.TASK_LOG").await.unwrap();
    let history = tasks.read().await;
    assert_eq!((history.entries.len(), history.task.last_seq), (4, last));
    assert_eq!((word(&history), history.task.voids, history.skipped), ("running", 0, 0));
    // What follows is a mark, so that nothing that was asked before is overlooked.
    store(&tasks.client, "$JS.API.DIRECT.GET.TASK_LOG", r#"{"seq":1}"#).await.unwrap_err();
    let mut calls = 0;
    loop {
        let call = asked.next().await.unwrap();
        if call.payload() == r#"{"seq":1}"# {
            break;
        }
        calls += 1;
        assert!(!String::from_utf8_lossy(call.payload()).contains("next_by_subj"));
    }
    assert_eq!(calls, 1);
}

#[tokio::test]
async fn what_breaks_the_law_is_void_and_what_is_not_understood_is_passed_over() {
    let tasks = Tasks::start(true).await;
    let last = tasks.begin().await;
    // Without a guard, and with a guard over its own subject only.
    let change = json!({ "attempt": 1, "result": 1 });
    tasks.write("completed", change.clone(), HeaderMap::new()).await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Expected-Last-Subject-Sequence", (last + 1).to_string());
    tasks.write("completed", change, headers).await.unwrap();
    let last = tasks.append("verified", last + 2, json!({})).await.unwrap();
    let last = tasks.progress(last).await.unwrap();
    let history = tasks.read().await;
    let voids: Vec<_> = history.entries.iter().filter_map(|entry| entry.void).collect();
    assert_eq!(voids, [Void::Unguarded, Void::Unguarded]);
    assert_eq!((word(&history), history.skipped, history.task.last_seq), ("running", 1, last));
}

#[tokio::test]
async fn a_log_that_others_append_to_is_never_read_with_a_hole_or_behind() {
    let tasks = Tasks::start(true).await;
    let mut last = tasks.begin().await;
    let writer = async {
        for _ in 0..400 {
            last = tasks.progress(last).await.unwrap();
        }
    };
    let reader = async {
        let mut seen = 0;
        while seen < 402 {
            let least = tasks.bus.stream_state("TASK_LOG").await.unwrap().messages;
            let history = tasks.read().await;
            assert_eq!((history.task.voids, history.skipped), (0, 0), "a hole makes a void");
            seen = history.entries.len();
            assert!(seen as u64 >= least, "{seen} of {least}");
        }
    };
    tokio::join!(writer, reader);
}
