//! Time against a real server: tasks that begin later, and tasks that recur, with restarts, full
//! queues, doubled controllers and cancellations in between.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use sinew_agent::{
    Bus, CancellationToken, Cancelled, Client, Config, Context, DelegateError, Delegation, Failure,
    Runtime, Schedules, Settings as Work, schedule::Error,
};
use sinew_bus::{ExecuteError, Outgoing, TaskLog, Topology, clock};
use sinew_model::{
    Entry, Role, Schedule, ScheduleName, TaskId, Time, Transition, header,
    limits::DEADLINE,
    schedule::{Change, Definition, ScheduleRefusal, Standing, Trigger},
    stream::{AGENT_TASKS, TASK_RECURRING, TASK_SCHEDULES},
    task::{Actor, AssignmentError, Command, DeadCause, End, Refusal},
};
use sinew_server::{Settings, control::sweep::Pace, serve};
use sinew_testkit::{NatsServer, TempDir, wait};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(60);

struct Org {
    server: NatsServer,
    bus: Bus,
    dir: TempDir,
    catalogue: &'static str,
}

/// Something that runs until it is stopped.
struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

impl Org {
    async fn start(catalogue: &'static str) -> Self {
        let server = NatsServer::start();
        let bus = connect(&server).await;
        let org = Self { server, bus, dir: TempDir::new("schedule"), catalogue };
        let topology = org.topology();
        for spec in &topology.catalogue().streams {
            topology.ensure_stream(&org.bus, spec.name).await.unwrap();
        }
        org
    }

    fn topology(&self) -> Topology {
        Topology::overlaid(&self.bus, self.catalogue).unwrap()
    }

    fn client(&self) -> Client {
        Client::new(self.bus.clone(), role("ceo"))
    }

    fn schedules(&self) -> Schedules {
        Schedules::new(self.bus.clone(), role("ceo"))
    }

    async fn serve(&self, views: &str) -> Running {
        let bus = connect(&self.server).await;
        let mut settings = Settings::new(self.topology(), self.dir.join(views));
        let grace = Duration::from_millis(300);
        settings.pace = Pace { every: Duration::from_millis(100), grace };
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let task = tokio::spawn(async move { serve(bus, settings, token).await.unwrap() });
        Running { shutdown, task }
    }

    async fn work<F, R>(&self, handler: F) -> Running
    where
        F: Fn(Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, Failure>> + Send + 'static,
    {
        self.work_as("cto", handler).await
    }

    async fn work_as<F, R>(&self, who: &str, handler: F) -> Running
    where
        F: Fn(Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, Failure>> + Send + 'static,
    {
        let shutdown = CancellationToken::new();
        let runtime = Runtime::new(connect(&self.server).await, Work::new(role(who)));
        let token = shutdown.clone();
        let task = tokio::spawn(async move {
            runtime.run(handler, token).await.unwrap();
        });
        Running { shutdown, task }
    }

    async fn words(&self, id: &TaskId) -> Vec<String> {
        let history = self.bus.history(id).await.unwrap();
        assert_eq!(history.task.voids, 0);
        let word =
            |logged: &sinew_bus::Logged| logged.stored.entry.change.transition().word().to_owned();
        history.entries.iter().map(word).collect()
    }

    async fn until(&self, what: &str, done: impl Fn(&Schedule) -> bool) -> Schedule {
        wait::until(what, LONG, async || {
            let it = self.schedules().get(&name()).await.unwrap();
            match it.filter(|it| done(it)) {
                Some(it) => Ok(it),
                None => Err(format!("{:?}", self.changes().await)),
            }
        })
        .await
    }

    async fn changes(&self) -> Vec<Change> {
        let history = self.schedules().history(&name()).await.unwrap();
        history.into_iter().map(|it| it.change).collect()
    }

    /// The tasks that it made, each from its own record.
    async fn made(&self) -> Vec<TaskId> {
        let history = self.schedules().history(&name()).await.unwrap();
        let delegated = history.into_iter().filter(|it| it.change == Change::Delegated);
        delegated.map(|it| it.last.unwrap().task_id).collect()
    }
}

fn role(text: &str) -> Role {
    text.parse().unwrap()
}

fn name() -> ScheduleName {
    "beat".parse().unwrap()
}

fn every(seconds: u64) -> Definition {
    serde_json::from_value(json!({
        "name": name(), "role": "cto", "title": "Beat", "input": { "n": 1 },
        "timing": { "kind": "every", "seconds": seconds },
    }))
    .unwrap()
}

async fn connect(server: &NatsServer) -> Bus {
    Bus::connect(Config::new(server.url(), "acme".parse().unwrap())).await.unwrap()
}

async fn done(_: Context) -> Result<Value, Failure> {
    Ok(json!("done"))
}

#[tokio::test]
async fn it_fires_again_and_again_and_two_controllers_make_one_task_of_a_moment() {
    let org = Org::start("").await;
    let (one, two) = (org.serve("one.db").await, org.serve("two.db").await);
    let worker = org.work(done).await;
    let added = org.schedules().add(Definition { max_runs: Some(3), ..every(1) }).await.unwrap();
    assert!(!added.existed);
    let it = org.until("three runs", |it| it.standing == Standing::Ended && it.pending.is_none());
    let it = it.await;
    assert_eq!(it.runs, 3);
    let made = org.made().await;
    assert_eq!(made.len(), 3, "{:?}", org.changes().await);
    for id in &made {
        let outcome = org.client().outcome(id).await.unwrap();
        assert_eq!(outcome.end, End::completed(json!("done")));
        assert_eq!(org.words(id).await, ["created", "started", "completed"]);
    }
    for running in [worker, one, two] {
        running.stop().await;
    }
}

#[tokio::test]
async fn a_doubled_trigger_and_one_that_nobody_awaits_make_nothing() {
    let org = Org::start("").await;
    let serving = org.serve("views.db").await;
    let added = org.schedules().add(Definition { max_runs: Some(1), ..every(1) }).await.unwrap();
    let moment = added.schedule.next.unwrap();
    let send = async |moment| {
        let body = serde_json::to_vec(&Trigger { schedule: name(), moment }).unwrap();
        let subject = org.bus.subjects().fired(&name());
        let out = Outgoing::new(TASK_SCHEDULES, subject, body).id(clock::unique());
        org.bus.publish(out).await.unwrap();
    };
    send(moment.plus(Duration::from_secs(3600))).await;
    org.until("its run", |it| it.change == Change::Delegated).await;
    send(moment).await;
    send(moment).await;
    wait::until("all triggers to be acked", LONG, async || {
        let call = format!("CONSUMER.INFO.{TASK_SCHEDULES}.recurring");
        let info: Value = org.bus.api(&call, &Value::Null).await.unwrap();
        let open = [&info["num_pending"], &info["num_ack_pending"]];
        if open == [0, 0] { Ok(()) } else { Err(format!("{open:?}")) }
    })
    .await;
    assert_eq!(org.changes().await, [Change::Added, Change::Fired, Change::Delegated]);
    assert_eq!(org.bus.stream_state(AGENT_TASKS).await.unwrap().messages, 1);
    serving.stop().await;
}

#[tokio::test]
async fn what_was_missed_while_everything_was_down_runs_once() {
    let org = Org::start("").await;
    let added = org.schedules().add(every(1)).await.unwrap();
    let moment = added.schedule.next.unwrap();
    // No controller is there, and the server goes away before the first moment and after it.
    org.server.restart();
    wait::until("several moments to go by", LONG, async || {
        let now = org.bus.server_time(TASK_RECURRING).await.map_err(|error| error.to_string())?;
        if now > moment.plus(Duration::from_secs(3)) { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
    org.server.restart();
    let serving = org.serve("views.db").await;
    let it = org.until("its first run", |it| it.runs > 0).await;
    assert_eq!(it.runs, 1);
    let history = org.schedules().history(&name()).await.unwrap();
    let fired = history.into_iter().find(|it| it.change == Change::Fired).unwrap();
    assert_eq!(fired.pending.unwrap().moment, moment, "it stands for those that went by");
    assert!(fired.next.unwrap() > fired.at, "and they do not follow");
    serving.stop().await;
}

#[tokio::test]
async fn it_waits_for_the_end_of_its_last_task_unless_it_may_overlap() {
    let org = Org::start("").await;
    let serving = org.serve("views.db").await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let release = CancellationToken::new();
    let (token, counter, peak) = (release.clone(), Arc::clone(&running), Arc::clone(&most));
    let worker = org
        .work(move |_| {
            let (token, running, most) = (token.clone(), Arc::clone(&counter), Arc::clone(&peak));
            async move {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                token.cancelled().await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(json!("done"))
            }
        })
        .await;
    org.schedules().add(every(1)).await.unwrap();
    let it = org.until("two to be left out", |it| it.skipped >= 2).await;
    assert_eq!(it.runs, 1);
    assert_eq!(most.load(Ordering::SeqCst), 1);
    org.schedules().remove(&name()).await.unwrap();
    let overlap = serde_json::from_value(json!("allow")).unwrap();
    let added = org.schedules().add(Definition { overlap, ..every(1) }).await.unwrap();
    assert!(!added.existed);
    wait::until("two at once", LONG, async || {
        let most = most.load(Ordering::SeqCst);
        if most >= 2 { Ok(()) } else { Err(format!("{most} at once")) }
    })
    .await;
    org.schedules().remove(&name()).await.unwrap();
    release.cancel();
    worker.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn a_firing_into_a_full_queue_waits_and_gets_in_once() {
    let org = Org::start("[streams.AGENT_TASKS]\nmax_msgs = 2").await;
    let serving = org.serve("views.db").await;
    for number in 0..2 {
        let what = Delegation::new(role("qa"), format!("Task {number}"));
        org.client().delegate(what).await.unwrap();
    }
    org.schedules().add(Definition { max_runs: Some(1), ..every(1) }).await.unwrap();
    let it = org.until("it to fire", |it| it.change == Change::Fired).await;
    let firing = it.pending.unwrap();
    assert_eq!(org.words(&firing.task_id).await, [""; 0]);
    let worker = org.work(done).await;
    let others = org.work_as("qa", done).await;
    let it = org.until("its task", |it| it.change == Change::Delegated).await;
    assert_eq!(it.last.as_ref(), Some(&firing));
    let outcome = org.client().outcome(&firing.task_id).await.unwrap();
    assert_eq!(outcome.end, End::completed(json!("done")));
    assert_eq!(org.made().await, [firing.task_id]);
    worker.stop().await;
    others.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn it_is_paused_resumed_run_by_hand_and_removed() {
    let org = Org::start("").await;
    let serving = org.serve("views.db").await;
    let schedules = org.schedules();
    schedules.add(every(1)).await.unwrap();
    let paused = schedules.pause(&name()).await.unwrap();
    assert_eq!((paused.standing, paused.next), (Standing::Paused, None));
    let again = schedules.pause(&name()).await;
    assert!(matches!(again, Err(Error::Refused(ScheduleRefusal::Already))), "{again:?}");
    let runs = paused.runs;
    let id = schedules.run(&name()).await.unwrap();
    assert_eq!(org.words(&id).await, ["created"]);
    // The trigger of before the pause fires in the meantime, and makes nothing.
    wait::until("the trigger to be gone", LONG, async || {
        let subject = org.bus.subjects().trigger(&name());
        let waits = org.bus.last(TASK_SCHEDULES, subject.as_str()).await.unwrap();
        if waits.is_none() { Ok(()) } else { Err("it waits".to_owned()) }
    })
    .await;
    assert_eq!(schedules.get(&name()).await.unwrap().unwrap().runs, runs);
    org.client().cancel(&id, "enough").await;
    schedules.resume(&name()).await.unwrap();
    org.until("it to fire again", |it| it.runs > runs).await;

    let other = Definition { title: "Other".to_owned(), ..every(1) };
    let taken = schedules.add(other.clone()).await;
    assert!(matches!(taken, Err(Error::Refused(ScheduleRefusal::Exists))), "{taken:?}");
    assert!(schedules.add(every(1)).await.unwrap().existed);
    assert_eq!(schedules.list().await.unwrap().len(), 1);
    org.until("its task", |it| it.pending.is_none()).await;
    schedules.remove(&name()).await.unwrap();
    assert!(schedules.list().await.unwrap().is_empty());
    let gone = schedules.resume(&name()).await;
    assert!(matches!(gone, Err(Error::Refused(ScheduleRefusal::NotThere))), "{gone:?}");
    serving.stop().await;
}

#[tokio::test]
async fn a_firing_that_a_crash_cut_off_is_finished_by_the_next_controller() {
    let org = Org::start("").await;
    let schedules = org.schedules();
    // As it is between the record of the firing and its task: nothing but the record is there.
    let added = schedules.add(every(3600)).await.unwrap().schedule;
    let now = org.bus.server_time(TASK_RECURRING).await.unwrap();
    let ran = added.run(&role("ceo"), now).unwrap();
    let subject = org.bus.subjects().recurring(&name());
    let seq = org.bus.last(TASK_RECURRING, subject.as_str()).await.unwrap().unwrap().seq;
    let body = serde_json::to_vec(&ran).unwrap();
    let out = Outgoing::new(TASK_RECURRING, subject.clone(), body).expecting(&subject, seq).id("x");
    org.bus.publish(out).await.unwrap();
    let call = format!("STREAM.PURGE.{TASK_SCHEDULES}");
    let _: Value = org.bus.api(&call, &Value::Null).await.unwrap();
    let serving = org.serve("views.db").await;
    let it = org.until("its task", |it| it.change == Change::Delegated).await;
    assert_eq!(it.last, ran.pending);
    assert_eq!(org.words(&ran.pending.unwrap().task_id).await, ["created"]);
    let trigger = org.bus.subjects().trigger(&name());
    let waits = org.bus.last(TASK_SCHEDULES, trigger.as_str()).await.unwrap().unwrap();
    assert!(waits.header(header::SCHEDULE).unwrap().contains(&it.next.unwrap().to_string()));
    serving.stop().await;
}

#[tokio::test]
async fn a_stream_of_schedules_that_is_nearly_full_refuses_and_drops_nothing() {
    let org = Org::start("[streams.TASK_SCHEDULES]\nmax_msgs = 10").await;
    let at = clock::now().plus(LONG);
    let later = |number: u32| Delegation::new(role("cto"), format!("Task {number}")).not_before(at);
    for number in 0..8 {
        org.client().delegate(later(number)).await.unwrap();
    }
    let refused = org.client().delegate(later(8)).await;
    assert!(matches!(refused, Err(DelegateError::SchedulesFull { stored: 8 })), "{refused:?}");
    let refused = org.schedules().add(every(60)).await;
    let full = matches!(refused, Err(Error::SchedulesFull { stored: 8, taken: 8 }));
    assert!(full, "{refused:?}");
    assert_eq!(org.bus.stream_state(TASK_SCHEDULES).await.unwrap().messages, 8);
}

#[tokio::test]
async fn a_task_for_next_month_is_kept_and_has_its_days_from_then_on() {
    let org = Org::start("").await;
    let serving = org.serve("views.db").await;
    let at = clock::now().plus(Duration::from_secs(30 * 24 * 3600));
    let what = Delegation::new(role("cto"), "Next month").not_before(at);
    let id = org.client().delegate(what).await.unwrap().id;
    org.server.restart();
    // Another task that is lost and found shows that the sweep has looked.
    let clock_task = org.client().delegate(Delegation::new(role("qa"), "Clock")).await.unwrap().id;
    let _: Value = org.bus.api(&format!("STREAM.PURGE.{AGENT_TASKS}"), &Value::Null).await.unwrap();
    wait::until("the sweep to go round", LONG, async || {
        let words = org.words(&clock_task).await;
        if words.contains(&"enqueued".to_owned()) { Ok(()) } else { Err(format!("{words:?}")) }
    })
    .await;
    let state = org.client().state(&id).await.unwrap().unwrap();
    assert_eq!((state.word(), state.due), ("scheduled", at.plus(DEADLINE)));
    let subject = org.bus.subjects().schedule(&id);
    assert!(org.bus.last(TASK_SCHEDULES, subject.as_str()).await.unwrap().is_some());
    let info: Value =
        org.bus.api(&format!("STREAM.INFO.{TASK_SCHEDULES}"), &Value::Null).await.unwrap();
    assert_eq!(info["config"]["max_age"], 0, "no age takes it");
    serving.stop().await;
}

#[tokio::test]
async fn a_moment_that_has_gone_by_is_now_and_a_deadline_before_it_is_refused() {
    let org = Org::start("").await;
    let worker = org.work(done).await;
    let now = clock::now();
    for at in [now, now.minus(Duration::from_secs(3600))] {
        let what = Delegation::new(role("cto"), "At once").not_before(at);
        let id = org.client().delegate(what).await.unwrap().id;
        let outcome = org.client().outcome(&id).await.unwrap();
        assert_eq!(outcome.end, End::completed(json!("done")));
    }
    assert_eq!(org.bus.stream_state(TASK_SCHEDULES).await.unwrap().messages, 0);
    let at = now.plus(LONG);
    let what = Delegation::new(role("cto"), "Never").not_before(at).deadline(at);
    let refused = org.client().delegate(what).await;
    let fault = matches!(
        refused,
        Err(DelegateError::Invalid(AssignmentError::Deadline { begin, due })) if begin == due
    );
    assert!(fault, "{refused:?}");
    worker.stop().await;
}

#[tokio::test]
async fn a_scheduled_task_past_its_deadline_is_dead_with_the_cause() {
    let org = Org::start("").await;
    let serving = org.serve("views.db").await;
    let now = clock::now();
    let what = Delegation::new(role("cto"), "Too late")
        .not_before(now.plus(Duration::from_secs(1)))
        .deadline(now.plus(Duration::from_secs(2)));
    let id = org.client().delegate(what).await.unwrap().id;
    let end = org.client().outcome(&id).await.unwrap().end;
    assert!(matches!(end, End::Dead { cause: DeadCause::DeadlinePassed, .. }), "{end:?}");
    serving.stop().await;
}

#[tokio::test]
async fn a_cancellation_that_races_the_firing_is_the_one_end_or_comes_too_late() {
    let org = Org::start("").await;
    let started = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&started);
    let worker = org
        .work(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            async { Ok(json!("done")) }
        })
        .await;
    let mut ids = Vec::new();
    let at = clock::now().plus(Duration::from_millis(1_500));
    for number in 0..30 {
        let what = Delegation::new(role("cto"), format!("Task {number}")).not_before(at);
        ids.push(org.client().delegate(what).await.unwrap().id);
    }
    wait::until("the moment to come", LONG, async || {
        let now = clock::now();
        if now >= at { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
    let mut cancelled = 0;
    for id in &ids {
        let told = org.client().cancel(id, "no").await;
        let confirmed = told.iter().any(|it| it.outcome == Cancelled::Stopped);
        let outcome = org.client().outcome(id).await.unwrap();
        let is_cancelled = matches!(outcome.end, End::Cancelled { .. });
        assert_eq!(confirmed, is_cancelled, "{outcome:?}");
        cancelled += usize::from(is_cancelled);
    }
    // Everything that was left on the queue is taken from it before anything is counted.
    wait::until("the queue to be empty", LONG, async || {
        let held = org.bus.stream_state(AGENT_TASKS).await.unwrap().messages;
        if held == 0 { Ok(()) } else { Err(format!("{held} messages")) }
    })
    .await;
    let mut begun = 0;
    for id in &ids {
        let history = org.bus.history(id).await.unwrap();
        let words = history.entries.iter().map(|it| it.stored.entry.change.transition());
        let words: Vec<Transition> = words.collect();
        assert_eq!(words.iter().filter(|word| word.is_end()).count(), 1, "{words:?}");
        begun += words.iter().filter(|word| **word == Transition::Started).count();
    }
    assert_eq!(started.load(Ordering::SeqCst), begun, "nothing ran that the log does not know");
    assert!(begun + cancelled >= ids.len());
    worker.stop().await;
}

#[tokio::test]
async fn a_delayed_task_begins_after_a_restart_of_the_server_and_once() {
    let org = Org::start("").await;
    let at = clock::now().plus(Duration::from_secs(2));
    let what = Delegation::new(role("cto"), "Later").not_before(at);
    let id = org.client().delegate(what).await.unwrap().id;
    org.server.restart();
    let worker = org.work(done).await;
    let outcome = org.client().outcome(&id).await.unwrap();
    assert_eq!((outcome.end, outcome.attempts), (End::completed(json!("done")), 1));
    let history = org.bus.history(&id).await.unwrap();
    assert!(history.entries.last().unwrap().time >= at);
    worker.stop().await;
}

/// An assignment whose message nobody put on the queue, as a writer records it whose clock is off.
fn lost(id: &TaskId, at: Time, not_before: Option<Time>) -> Entry {
    let assignment = json!({
        "taskId": id, "orgId": "acme", "role": "cto", "delegator": "ceo", "title": "Lost",
        "createdAt": clock::now(), "notBefore": not_before,
    });
    let assignment = Box::new(serde_json::from_value(assignment).unwrap());
    Entry {
        task_id: id.clone(),
        org_id: "acme".parse().unwrap(),
        at,
        by: Actor { role: role("ceo"), instance: None },
        change: sinew_model::task::Change::Created { assignment, queue_seq: Some(7) },
    }
}

#[tokio::test]
async fn a_writer_whose_clock_is_hours_off_hides_no_task_from_the_sweep() {
    let org = Org::start("").await;
    let now = clock::now();
    let hours = Duration::from_secs(5 * 3600);
    let serving = org.serve("views.db").await;
    for (name, at) in [("ahead", now.plus(hours)), ("behind", now.minus(hours))] {
        let id: TaskId = name.parse().unwrap();
        org.bus.append(&lost(&id, at, None), 0, name).await.unwrap();
        wait::until("the sweep to put it on its queue", LONG, async || {
            let words = org.words(&id).await;
            if words.len() > 1 { Ok(()) } else { Err(format!("{name}: {words:?}")) }
        })
        .await;
        assert_eq!(org.words(&id).await, ["created", "enqueued"]);
    }
    serving.stop().await;
}

#[tokio::test]
async fn what_the_server_handed_over_begins_whatever_the_workers_clock_says() {
    let org = Org::start("").await;
    let id: TaskId = "T1".parse().unwrap();
    // To a clock that is an hour behind, what is due now is due in an hour.
    let due = clock::now().plus(Duration::from_secs(3600));
    org.bus.append(&lost(&id, clock::now(), Some(due)), 0, "x").await.unwrap();
    let by = Actor { role: role("cto"), instance: None };
    let log = TaskLog::read(&org.bus, id, by).await.unwrap();
    let start = Command::Start {
        over: None,
        epoch: 1,
        queue_seq: 7,
        instance: "cto-0".parse().unwrap(),
        incarnation: "1".to_owned(),
        ack: None,
    };
    let refused = log.clone().execute(&start).await;
    let early = matches!(refused, Err(ExecuteError::Refused(Refusal::NotDue { .. })));
    assert!(early, "{refused:?}");
    log.not_before(due).execute(&start).await.unwrap();
}
