//! How long a task stands still when the process that works on it is killed: until it runs again in
//! another process that stood by, or in the same one when it is started again under its name. The
//! controllers run in this process, with the login by which the server tells them of connections
//! that end, as in `sinew up`.
//!
//! The processes are this program again: they say when they are ready and when they begin a task,
//! and end it when they are told to.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use sinew_agent::{
    CancellationToken, Client, Delegation, Runtime, Settings,
    model::{
        Band,
        signature::Policy,
        stream::{AGENT_TASKS, work_consumer_name},
    },
};
use sinew_bus::{Bus, clock};
use sinew_server::{Context, serve};

use super::{
    Pace,
    place::{Place, Side, role},
    processes::{Process, listen, say},
    records::{CALLER, WORKER},
    report::{Figure, Line},
    sample::{Sample, Spans, figure_of, take_turns},
};

/// How many operations of a part that measures latency make one kill: a kill takes seconds.
const OPERATIONS: usize = 200;

/// How long a process may take to stand by.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two looks at who stands by.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Who goes on with the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heir {
    /// Another process, which stood by.
    Other,
    /// The same one, started again under its name.
    Again,
}

pub(super) async fn measure(place: &Place, pace: Pace) -> Result<Vec<Figure>> {
    let stop = CancellationToken::new();
    let mut config = place.context().server_config();
    // As both sides here: what signatures cost is measured by itself.
    config.signing.policy = Policy::Off;
    let bus = Bus::connect(config).await?;
    let views = place.context().data_dir.join("views.db");
    let mut settings = sinew_server::Settings::new(place.topology.clone(), views);
    settings.system = Some(place.context().system_config());
    let serving = tokio::spawn(serve(bus, settings, stop.clone()));
    let kills = pace.operations.div_ceil(OPERATIONS);
    let heirs = [Heir::Other, Heir::Again];
    let rounds =
        take_turns(pace.rounds, &heirs, async |heir| Ok(vec![round(place, heir, kills).await?]));
    let rounds = rounds.await?;
    stop.cancel();
    serving.await??;
    Ok(vec![
        Figure::latency(format!("killed to running again, {} kills", kills * pace.rounds))
            .line(Line::new("in another process", figure_of(&rounds, 0, 0)?))
            .line(Line::new("in the same one, started again", figure_of(&rounds, 1, 0)?)),
    ])
}

async fn round(place: &Place, heir: Heir, kills: usize) -> Result<Sample> {
    let client = Client::new(place.caller.bus.clone(), role(CALLER)?);
    let (mut spans, since) = (Spans::new()?, clock::instant());
    let mut standing = start(place, "w0").await?;
    for number in 0..kills {
        stand_by(place).await?;
        let id = client.delegate(Delegation::new(role(WORKER)?, "Be killed")).await?.id;
        standing.expect("started").await?;
        let (killed, mut worker) = match heir {
            Heir::Other => {
                let other = start(place, &format!("w{}", number + 1)).await?;
                stand_by(place).await?;
                let killed = clock::instant();
                standing.kill().await?;
                (killed, other)
            }
            Heir::Again => {
                let killed = clock::instant();
                standing.kill().await?;
                (killed, start(place, "w0").await?)
            }
        };
        worker.expect("started").await?;
        spans.add(killed.elapsed());
        worker.say("end").await?;
        client.outcome(&id).await?;
        standing = worker;
    }
    standing.kill().await?;
    Ok(spans.sample(since.elapsed()))
}

async fn start(place: &Place, instance: &str) -> Result<Process> {
    Process::start(place, &["--worker-as", instance]).await
}

/// Waits until a place of the role is free, and its process pulls.
async fn stand_by(place: &Place) -> Result<()> {
    let consumer = work_consumer_name(&role(WORKER)?, Band::Normal);
    let end = clock::instant() + PATIENCE;
    loop {
        let info = place
            .caller
            .bus
            .api::<Value>(&format!("CONSUMER.INFO.{AGENT_TASKS}.{consumer}"), &Value::Null)
            .await;
        let waiting = info.ok().and_then(|info| info.get("num_waiting")?.as_u64());
        if waiting.is_some_and(|waiting| waiting > 0) {
            return Ok(());
        }
        if clock::instant() >= end {
            bail!("no process stands by within {} s", PATIENCE.as_secs());
        }
        clock::pause(LOOK_EVERY).await;
    }
}

/// The process's own half: it works until it is killed.
pub(super) async fn work(context: &Path, instance: &str) -> Result<()> {
    let side = Side::connect(&Context::load(context)?, instance).await?;
    let mut settings = Settings::new(role(WORKER)?);
    settings.concurrency = 1;
    settings.instance = Some(instance.parse().context("no name of an instance")?);
    let handler = |_task: sinew_agent::Context| async {
        let fail = |error: anyhow::Error| sinew_agent::Failure::fatal(error.to_string());
        say("started").map_err(fail)?;
        listen().await.map_err(fail)?;
        Ok(json!("done"))
    };
    say("ready")?;
    Runtime::new(side.bus, settings).run(handler, CancellationToken::new()).await?;
    Ok(())
}
