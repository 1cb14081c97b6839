//! A process that dies takes no task with it: the next one of the same name has them back at once.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use sinew_agent::{Delegation, Settings};
use sinew_bus::clock;
use sinew_model::{
    TaskId, Transition,
    task::{Change, Command, ReleaseReason, Task},
};
use sinew_testkit::wait;

use crate::kit::{Backbone, Gate, PATIENCE, echo, role, task};

/// Much shorter than the ack wait of 300 s.
const AT_ONCE: Duration = Duration::from_secs(15);

fn named(backbone: &Backbone) -> Settings {
    let mut settings = backbone.settings("cto");
    settings.instance = Some("cto-1".parse().unwrap());
    settings
}

async fn delegate(backbone: &Backbone, count: u32) -> Vec<TaskId> {
    let ceo = backbone.client("ceo");
    let delegating = (0..count).map(|_| ceo.delegate(Delegation::new(role("cto"), "Work")));
    let all = stream::iter(delegating).buffer_unordered(200);
    all.map_ok(|delegated| delegated.id).try_collect().await.unwrap()
}

async fn all_end(backbone: &Backbone, within: Duration) {
    wait::until("all tasks to end", within, async || match backbone.queued().await {
        0 => Ok(()),
        left => Err(format!("{left} are left")),
    })
    .await;
}

async fn until_started(backbone: &Backbone, ids: &[TaskId]) {
    for id in ids {
        backbone.until_count(id, Transition::Started, 1).await;
    }
}

async fn assert_restarted(backbone: &Backbone, ids: &[TaskId]) {
    for id in ids {
        let words = backbone.words(id).await;
        assert_eq!(words, ["created", "started", "released", "started", "completed"], "{id}");
        let entries = backbone.entries(id).await;
        let restarted = |change: &Change| {
            matches!(change, Change::Released { reason: ReleaseReason::Restarted, .. })
        };
        assert!(entries.iter().any(|entry| restarted(&entry.change)), "{entries:?}");
    }
}

#[tokio::test]
async fn the_next_process_of_the_name_releases_what_a_killed_one_held() {
    let backbone = Backbone::start().await;
    let killed = backbone.process(named(&backbone), Gate::shut().handler());
    let ids = delegate(&backbone, 5).await;
    until_started(&backbone, &ids).await;
    killed.kill();
    let next = backbone.run(named(&backbone), echo).await;
    all_end(&backbone, AT_ONCE).await;
    assert_restarted(&backbone, &ids).await;
    let tally = next.stop().await;
    assert_eq!((tally.started, tally.ended), (5, 5));
}

#[tokio::test]
async fn a_runtime_that_is_dropped_ends_all_that_it_began() {
    let backbone = Backbone::start().await;
    let gate = Gate::shut();
    let dropped = backbone.run(named(&backbone), gate.handler()).await;
    let ids = delegate(&backbone, 5).await;
    until_started(&backbone, &ids).await;
    dropped.crash().await;
    gate.open();
    // Nothing is given back either: only the log says whose the tasks are.
    let mut settings = named(&backbone);
    settings.instance = Some("cto-2".parse().unwrap());
    let other = backbone.run(settings, echo).await;
    wait::holds("no attempt goes on or begins", Duration::from_millis(1_800), async || {
        let words = backbone.words(&ids[0]).await;
        if words.len() == 2 { Ok(()) } else { Err(format!("{words:?}")) }
    })
    .await;
    assert_eq!(other.stop().await.started, 0);
    let next = backbone.run(named(&backbone), echo).await;
    all_end(&backbone, AT_ONCE).await;
    assert_restarted(&backbone, &ids).await;
    next.stop().await;
}

#[tokio::test]
async fn another_name_releases_nothing() {
    let backbone = Backbone::start().await;
    let killed = backbone.process(named(&backbone), Gate::shut().handler());
    let ids = delegate(&backbone, 1).await;
    until_started(&backbone, &ids).await;
    killed.kill();
    let mut settings = named(&backbone);
    settings.instance = Some("cto-2".parse().unwrap());
    let other = backbone.run(settings, echo).await;
    wait::holds("the task of another instance", Duration::from_secs(3), async || {
        let words = backbone.words(&ids[0]).await;
        if words == ["created", "started"] { Ok(()) } else { Err(format!("{words:?}")) }
    })
    .await;
    other.stop().await;
}

#[tokio::test]
async fn what_was_taken_and_not_begun_or_ended_and_not_acked_is_handed_out_again() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let ids = ["N1", "N2", "N3"].map(task);
    for id in &ids {
        ceo.delegate(Delegation::new(role("cto"), "Work").id(id.clone())).await.unwrap();
    }
    // The first was only taken, the second began and ended, the third failed, and none was let go.
    for (id, steps) in ids.iter().zip([0, 2, 3]) {
        let delivery = backbone.take("cto").await;
        if steps == 0 {
            continue;
        }
        let mut log = backbone.log(id).await;
        let start = Command::Start {
            epoch: 1,
            queue_seq: delivery.queue_seq(),
            instance: "cto-1".parse().unwrap(),
            incarnation: "dead".to_owned(),
            ack: None,
            over: None,
        };
        log.execute(&start).await.unwrap();
        let (attempt, cause) = (1, "by hand".to_owned());
        let end = match steps {
            2 => Command::Complete { attempt, result: "by hand".into() },
            _ => Command::Fail { attempt, cause, retry: Some(Duration::from_millis(100)) },
        };
        log.execute(&end).await.unwrap();
    }
    let next = backbone.run(named(&backbone), echo).await;
    all_end(&backbone, AT_ONCE).await;
    let started = next.stop().await.started;
    assert_eq!(started, 2);
    assert_eq!(backbone.words(&ids[0]).await, ["created", "started", "completed"]);
    assert_eq!(backbone.inbox("ceo").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "what was measured is for a person to see")]
async fn a_backlog_outlives_a_crash_in_its_middle() {
    const TASKS: u32 = 10_000;
    let backbone = Backbone::start().await;
    let began = clock::instant();
    let ids = delegate(&backbone, TASKS).await;
    eprintln!("delegated in {:?}", began.elapsed());
    let mut settings = named(&backbone);
    settings.concurrency = 50;
    let killed = backbone.process(settings.clone(), echo);
    wait::until("half of the work", Duration::from_secs(120), async || {
        let left = backbone.queued().await;
        if left <= u64::from(TASKS / 2) { Ok(()) } else { Err(format!("{left} are left")) }
    })
    .await;
    eprintln!("half of it after {:?}", began.elapsed());
    killed.kill();
    let before = backbone.bus.stream_state("TASK_LOG").await.unwrap().last_seq;
    let restart = clock::instant();
    let next = backbone.run(settings, echo).await;
    let started = "genbrain.org.acme.tasks.*.started";
    wait::until("the new one to begin", PATIENCE, async || {
        let found = backbone.bus.first_from("TASK_LOG", started, before + 1).await.unwrap();
        found.map(drop).ok_or_else(|| "nothing started".to_owned())
    })
    .await;
    eprintln!("the new one worked after {:?}", restart.elapsed());
    all_end(&backbone, Duration::from_secs(120)).await;
    eprintln!("all ended {:?} after the restart", restart.elapsed());
    let tally = next.stop().await;
    assert!(tally.started > 0, "{tally:?}");
    let (ended, voids) = ends(&backbone).await;
    eprintln!("read after {:?}", began.elapsed());
    assert_eq!(voids, 0);
    assert_eq!(ended.len(), ids.len());
    assert!(ids.iter().all(|id| ended.get(id) == Some(&1)), "each has one end");
    let state = backbone.bus.stream_state("AGENT_MAIL").await.unwrap();
    assert_eq!(state.messages, u64::from(TASKS), "each end is reported once");
}

/// How many ends the log has of each task, and how many entries that are void.
async fn ends(backbone: &Backbone) -> (BTreeMap<TaskId, u32>, u32) {
    let filter = "genbrain.org.acme.tasks.*.*";
    let mut scan = backbone.bus.scan("TASK_LOG", filter, 1).await.unwrap();
    let (mut tasks, mut ended) = (BTreeMap::<TaskId, Task>::new(), BTreeMap::new());
    loop {
        let message = scan.next().await.unwrap();
        let stored = message.stored(backbone.bus.subjects()).unwrap();
        let id = stored.entry.task_id.clone();
        if stored.entry.change.transition().is_end() {
            *ended.entry(id.clone()).or_default() += 1;
        }
        let _void = tasks.entry(id.clone()).or_default().apply(&id, &stored);
        if message.pending == 0 {
            return (ended, tasks.values().map(|task| task.voids).sum());
        }
    }
}
