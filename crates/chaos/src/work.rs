//! The other side of the plan: the processes of a run. An agent does what a task's input says and
//! makes every effect through Sinew; controllers serve the org as `sinew server` does. Each ends
//! when its standard input does, so none outlives the run that started it.

use std::{io::Read as _, path::PathBuf, time::Duration};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sinew_agent::{
    Ask, Bus, CancellationToken, Config, Context, Delegation, Emission, Failure, Runtime, Settings,
};
use sinew_bus::{Topology, clock};
use sinew_model::{InstanceId, Role, TaskId, retry::Backoff};
use sinew_server::control::sweep::Pace;

use crate::{
    checker::{child_key, event_key},
    plan::{Goal, Twist, Work},
};

/// The role whose tasks delegate, and the role that their children go to.
pub(crate) const ROLES: [&str; 2] = ["lead", "worker"];

/// The org of a run.
pub(crate) const ORG: &str = "acme";

/// How often a task of a run may fail: faults make attempts fail that are not to blame.
pub(crate) const FAILED_ATTEMPTS: u32 = 100;

/// What an agent or a process with controllers is told, as JSON in its only argument.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Orders {
    /// Where the servers are.
    pub(crate) url: String,
    /// What is laid over the catalogue of streams.
    pub(crate) overlay: String,
    /// Whether it publishes through the committer of a controller.
    pub(crate) commit_service: bool,
    /// What it is.
    pub(crate) part: Part,
}

/// What a process of a run is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Part {
    /// It takes the tasks of a role.
    Agent {
        /// The role.
        role: Role,
        /// Its name.
        instance: InstanceId,
    },
    /// It runs the controllers, with its view in that file.
    Controllers {
        /// The file.
        views: PathBuf,
    },
}

/// Does as it is told until its standard input ends.
///
/// # Errors
/// Why it could not go on.
pub(crate) async fn obey(orders: Orders) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let told = stop.clone();
    // A thread that nobody waits for: nothing else can be left waiting for a standard input.
    std::thread::spawn(move || {
        // Its end is all that counts, whether it comes as an error or not.
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        told.cancel();
    });
    tokio::select! {
        done = run(orders, stop.clone()) => done,
        () = stop.cancelled() => Ok(()),
    }
}

async fn run(orders: Orders, stop: CancellationToken) -> anyhow::Result<()> {
    let mut config = Config::new(orders.url, ORG.parse()?);
    config.commit_service = orders.commit_service;
    let bus = connect(&config).await;
    let topology = Topology::overlaid(&bus, &orders.overlay)?;
    match orders.part {
        Part::Agent { role, instance } => {
            let mut settings = Settings::new(role);
            settings.instance = Some(instance);
            settings.topology = Some(topology);
            settings.backoff =
                Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(2) };
            Runtime::new(bus, settings).run(work, stop).await.context("the agent")?;
        }
        Part::Controllers { views } => {
            let mut settings = sinew_server::Settings::new(topology, views);
            settings.pace = Pace { every: Duration::from_secs(1), grace: Duration::from_secs(3) };
            sinew_server::serve(bus, settings, stop).await.context("the controllers")?;
        }
    }
    Ok(())
}

/// A connection, once there is one to be had: a process may be started while the server is away.
pub(crate) async fn connect(config: &Config) -> Bus {
    loop {
        match Bus::connect(config.clone()).await {
            Ok(bus) => return bus,
            Err(error) => {
                tracing::info!(error = &error as &dyn std::error::Error, "no connection yet");
                clock::pause(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The key of the question that a task asks.
pub(crate) const QUESTION: &str = "go-on";

/// The answer to the question of a task.
pub(crate) fn answer_for(task: &TaskId) -> Value {
    json!(format!("go on, {task}"))
}

/// Works on one attempt: first every effect, then the time that it takes, then the end.
async fn work(task: Context) -> Result<Value, Failure> {
    if task.input().get("verify").is_some() {
        return judge(task.input());
    }
    let work: Work = serde_json::from_value(task.input().clone())?;
    let answer = if work.twist == Twist::Asks {
        task.ask(Ask::new("Shall I go on?").key(QUESTION))?
    } else {
        Value::Null
    };
    let children = effects(&task, work).await?;
    task.progress("worked", Some(50));
    clock::pause(Duration::from_millis(work.millis)).await;
    let waited = if work.twist.waits() { task.wait_for(children).await?.len() } else { 0 };
    match work.goal {
        Goal::Complete => {}
        Goal::SecondTry if task.attempt() > 1 => {}
        Goal::SecondTry => return Err(Failure::retry("the plan wants a second attempt")),
        Goal::Fail => return Err(Failure::fatal("the plan wants a failure")),
    }
    let refused = task.refusals().len();
    Ok(json!({
        "attempt": task.attempt(), "answer": answer, "waited": waited, "refused": refused,
    }))
}

/// Delegates the children, which it gives, and emits the events.
async fn effects(task: &Context, work: Work) -> Result<Vec<TaskId>, Failure> {
    let mut children = Vec::new();
    for number in 0..work.children {
        let child = Work::of_child(&work, number);
        let [_, role] = ROLES;
        let what = Delegation::new(role.parse()?, format!("child {number}"))
            .input(serde_json::to_value(child)?)
            .key(child_key(number))
            .max_attempts(FAILED_ATTEMPTS);
        children.push(task.delegate(what).await?.id);
    }
    for number in 0..work.events {
        let what = Emission::new("chaos.step").details(json!({ "number": number }));
        task.emit(what.key(event_key(number))).await?;
    }
    Ok(children)
}

/// The verdict on the result of another task.
fn judge(input: &Value) -> Result<Value, Failure> {
    let field = |name: &str| input.get(name).cloned().unwrap_or_default();
    let work: Work = serde_json::from_value(field("input"))?;
    let wanted = u64::from(work.twist == Twist::RefusedOnce);
    let refused = field("result").get("refused").and_then(Value::as_u64).unwrap_or_default();
    Ok(if refused >= wanted {
        json!({ "accepted": true, "evidence": { "refused": refused } })
    } else {
        json!({ "accepted": false, "reason": "the plan wants a second result" })
    })
}
