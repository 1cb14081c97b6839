//! One run: start everything, let the faults strike while tasks are delegated, let it come to
//! rest, read what the streams hold, and judge it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use sinew_agent::{Bus, Config};
use sinew_bus::clock;
use sinew_model::stream::{AGENT_MAIL, AGENT_TASKS, ORG_EVENTS, TASK_LOG};
use sinew_testkit::{TempDir, wait};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    actor::Home,
    alike::Alike,
    checker,
    delegator::{self, CHIEF, Delegating},
    ledger::{self, Ledger},
    observe::{self, Seen},
    options::{Durability, Options, StoreKind},
    plan,
    recovery::Recovery,
    report::{Report, say},
    work::{self, ORG, ROLES},
    world::{DELEGATORS, Struck, World, hold},
};

/// A lease of six seconds: an agent that is frozen for longer loses its tasks and goes on as a
/// zombie, several times a run. (The default is five minutes.)
const OVERLAY: &str = "[consumers]\nack_wait = \"6s\"\n";

/// Calls that each delegator may have open at a time.
const CALLERS: usize = 4;

/// A queue with more than this is not looked at more closely.
const LEFT_OVER_MOST: u64 = 50;

/// How long nothing may happen at all before a run counts as stuck once nothing strikes any more:
/// several leases, sweeps and elections.
const REST: Duration = Duration::from_secs(150);

/// How long a run may take to come to rest however much still happens: tasks that start again and
/// again are work that never ends.
const REST_AT_MOST: Duration = Duration::from_secs(1800);

/// Makes a run.
///
/// # Errors
/// When it could not be made, which says nothing about Sinew; what is wrong with Sinew is in the
/// report.
pub(crate) async fn run(options: Options) -> anyhow::Result<Report> {
    let began = clock::instant();
    let temporary = TempDir::new("chaos");
    let dir = options.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&dir)?;
    let path = dir.join("ledger.jsonl");
    let home = Home { dir, overlay: OVERLAY.to_owned() };
    let shared = Arc::new(Delegating {
        seed: options.seed,
        tasks: options.tasks,
        straight: options.straight,
        ledger: Ledger::create(&path)?,
        allowance: Semaphore::new(0),
        next: AtomicU64::new(0),
    });
    let starting = options.clone();
    let world = tokio::task::spawn_blocking(move || World::start(&starting, &home)).await??;
    let url = world.backbone.url();

    let bus = work::connect(&Config::new(url, ORG.parse()?)).await;
    until_streams(&bus).await?;
    if options.durability == Durability::Interval || options.store == StoreKind::Strict {
        // As servers that have run for a while: only what follows is at stake, and not the streams
        // themselves.
        world.backbone.settle();
    }
    let mut delegating = JoinSet::new();
    for links in &world.delegators {
        for _ in 0..CALLERS {
            delegating.spawn(delegator::delegate(Arc::clone(&shared), links.url()));
        }
    }
    let links = world.delegators.first().context("somebody answers")?;
    let answering = work::connect(&Config::new(links.url(), ORG.parse()?)).await;
    let mut answers = JoinSet::new();
    answers.spawn(delegator::answer(answering));
    let injected = options.clone();
    let strikes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&strikes);
    let injecting = tokio::task::spawn_blocking(move || inject(world, &injected, &counted));
    let (mut world, struck) = tokio::select! {
        done = injecting => done??,
        () = drip(&options, &shared.allowance, &strikes) => bail!("the dripping never ends"),
    };
    // The rest, and one more for each caller, which ends it.
    shared.allowance.add_permits(usize::try_from(options.tasks)? + DELEGATORS * CALLERS);
    while let Some(done) = delegating.join_next().await {
        done??;
    }

    say("everything is delegated; it comes to rest");
    let rested = rest(&bus, &mut world).await?;
    drop(answers);
    let seen = last_look(&bus).await?;
    let exits = world.exits();
    let ending = tokio::task::spawn_blocking(move || world.backbone.wait_alike(Alike::at_rest()));
    let apart = ending.await?.err();

    let verdict = checker::check(&ledger::read(&path)?, &seen);
    let recovery = Recovery::of(&struck, &seen);
    let seconds = began.elapsed().as_secs_f64();
    Ok(Report { options, verdict, struck, recovery, exits, apart, rested, seconds })
}

/// Waits until the org has its streams.
async fn until_streams(bus: &Bus) -> anyhow::Result<()> {
    for stream in [AGENT_TASKS, TASK_LOG, AGENT_MAIL, ORG_EVENTS] {
        wait::try_until("the streams of the org", REST, async || {
            bus.stream_state(stream).await.map_err(|error| format!("{stream}: {error}"))
        })
        .await?;
    }
    Ok(())
}

/// Lets every fault of the plan strike.
fn inject(
    mut world: World,
    options: &Options,
    strikes: &AtomicU64,
) -> anyhow::Result<(World, Vec<Struck>)> {
    let plan = plan::faults(options.seed, options.faults, &options.kinds);
    let mut struck = Vec::new();
    for (number, fault) in plan.iter().enumerate() {
        strikes.fetch_add(1, Ordering::Relaxed);
        hold(fault.after);
        say(format_args!("fault {} of {}: {}", number + 1, plan.len(), fault.kind.word()));
        let done = world.strike(fault);
        let done = done.with_context(|| format!("fault {} ({fault:?})", number + 1))?;
        let apart = done.apart.is_some();
        struck.push(done);
        if apart {
            // Another one would impair a majority.
            say("the servers do not come to hold the same: no more faults");
            break;
        }
    }
    Ok((world, struck))
}

/// Lets the tasks be delegated evenly over the faults, so that each of them meets work and none
/// meets what a slow machine left of the work of all before it. Never ends.
async fn drip(options: &Options, allowance: &Semaphore, strikes: &AtomicU64) {
    let plan = plan::faults(options.seed, options.faults, &options.kinds);
    let pause = plan::span(&plan)
        .div_f64(f64::from(u32::try_from(options.tasks).unwrap_or(u32::MAX).max(1)));
    let faults = u64::try_from(plan.len()).unwrap_or(u64::MAX).max(1);
    let mut given: u64 = 0;
    loop {
        let due = options.tasks.saturating_mul(strikes.load(Ordering::Relaxed)) / faults;
        if given < due {
            allowance.add_permits(1);
            given += 1;
        }
        clock::pause(pause).await;
    }
}

/// Waits until every task has ended and no queue holds anything; says whether that came about.
async fn rest(bus: &Bus, world: &mut World) -> anyhow::Result<bool> {
    let began = clock::instant();
    let mut moved = (began, 0);
    loop {
        world.look_after()?;
        if is_at_rest(bus).await.unwrap_or(false) {
            return Ok(true);
        }
        let now = clock::instant();
        if let Ok(log) = bus.stream_state(TASK_LOG).await
            && log.last_seq != moved.1
        {
            moved = (now, log.last_seq);
        }
        if now >= moved.0 + REST || now >= began + REST_AT_MOST {
            return Ok(false);
        }
        clock::pause(Duration::from_millis(250)).await;
    }
}

async fn is_at_rest(bus: &Bus) -> anyhow::Result<bool> {
    // The cheap question first: the others are to be asked once or twice.
    if bus.stream_state(AGENT_TASKS).await?.messages > LEFT_OVER_MOST {
        return Ok(false);
    }
    let left = observe::queued(bus).await?;
    Ok(left.iter().all(|it| it.acked) && observe::log(bus).await?.open() == 0)
}

/// What the streams hold in the end. A report may follow the end of its task by a moment.
async fn last_look(bus: &Bus) -> anyhow::Result<Seen> {
    let [lead, _] = ROLES;
    let delegators = [CHIEF.parse()?, lead.parse()?];
    observe::everything(bus, &delegators).await
}

/// Where the report goes besides.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_json(report: &Report, path: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_vec_pretty(&report.json())?;
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
