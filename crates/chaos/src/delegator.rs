//! Those who delegate: they write into the ledger what they ask, then ask, then write down the
//! answer. What nobody knows is asked again under the same id, as the SDK says; some give up
//! instead, and then nobody knows for good. They call some tasks off, and answer what tasks ask.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::bail;
use sinew_agent::{Bus, Cancelled, Client, Config, DelegateError, Delegation};
use sinew_bus::clock;
use sinew_model::{Role, TaskId, Transition, mail::Mail, stream::AGENT_MAIL};
use tokio::sync::Semaphore;

use crate::{
    ledger::{Answer, CallOff, Ledger},
    plan::{Goal, Twist, Work},
    work::{self, FAILED_ATTEMPTS, ORG, QUESTION, ROLES, answer_for},
};

/// The role that delegates the root tasks, and gets the reports about them.
pub(crate) const CHIEF: &str = "chief";

/// One task in so many is delegated a second time with other work under its id.
const IMPOSTOR_ONE_IN: u64 = 16;

/// One delegation in so many that nobody knows or that was refused is given up.
const GIVEN_UP_ONE_IN: u64 = 3;

/// How often a task is called off before nobody knows for good what came of it.
const CALL_OFFS: u32 = 5;

/// Time between two looks into the inbox, and between two tries of anything.
const PAUSE: Duration = Duration::from_millis(50);

/// What all delegators of a run share.
#[derive(Debug)]
pub(crate) struct Delegating {
    pub(crate) seed: u64,
    pub(crate) tasks: u64,
    /// Whether tasks do nothing besides their work.
    pub(crate) straight: bool,
    pub(crate) ledger: Ledger,
    /// Tasks that may be delegated by now.
    pub(crate) allowance: Semaphore,
    /// The next task.
    pub(crate) next: AtomicU64,
}

/// Delegates until all tasks are.
///
/// # Errors
/// When the ledger cannot be written, or other work was accepted under a known id.
pub(crate) async fn delegate(shared: Arc<Delegating>, url: String) -> anyhow::Result<()> {
    let bus = work::connect(&Config::new(url, ORG.parse()?)).await;
    let client = Client::new(bus, CHIEF.parse()?);
    loop {
        shared.allowance.acquire().await?.forget();
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= shared.tasks {
            return Ok(());
        }
        let id = root_id(shared.seed, number)?;
        let planned = Work::of_root(shared.seed, number);
        let twist = if shared.straight { Twist::Straight } else { planned.twist };
        let work = Work { twist, ..planned };
        let mut tries = 0;
        loop {
            tries += 1;
            shared.ledger.asked(&id, work)?;
            let what = delegation(shared.seed, &id, work)?;
            let (answer, why) = ask(&client, what).await;
            shared.ledger.answered(&id, answer, why)?;
            if answer == Answer::Accepted || (number + tries).is_multiple_of(GIVEN_UP_ONE_IN) {
                break;
            }
            clock::pause(PAUSE).await;
        }
        if number.is_multiple_of(IMPOSTOR_ONE_IN) {
            pose(&client, (shared.seed, &id), work).await?;
        }
        if work.twist == Twist::CalledOff {
            // Some before they begin, some while they work or wait, some too late.
            clock::pause(Duration::from_millis(work.millis * 3)).await;
            call_off(&client, &shared.ledger, &id).await?;
        }
    }
}

fn root_id(seed: u64, number: u64) -> anyhow::Result<TaskId> {
    Ok(format!("c{seed}-{number}").parse()?)
}

async fn ask(client: &Client, what: Delegation) -> (Answer, Option<String>) {
    match client.delegate(what).await {
        Ok(_) => (Answer::Accepted, None),
        Err(error @ DelegateError::Unknown { .. }) => (Answer::Unknown, Some(said(&error))),
        Err(error) => (Answer::Refused, Some(said(&error))),
    }
}

/// Delegates other work under a known id: it may be refused or fail, and never be accepted.
async fn pose(client: &Client, (seed, id): (u64, &TaskId), work: Work) -> anyhow::Result<()> {
    let goal = if work.goal == Goal::Fail { Goal::Complete } else { Goal::Fail };
    // One that was given up may not exist, and then the id is free.
    if client.state(id).await.ok().flatten().is_none() {
        return Ok(());
    }
    match client.delegate(delegation(seed, id, Work { goal, ..work })?).await {
        Ok(_) => bail!("other work was accepted under the id {id}"),
        Err(_) => Ok(()),
    }
}

/// Calls a task off, until it is known what came of it.
async fn call_off(client: &Client, ledger: &Ledger, id: &TaskId) -> anyhow::Result<()> {
    ledger.called_off(id, CallOff::Unknown)?;
    for _ in 0..CALL_OFFS {
        let told = client.cancel(id, "the plan calls it off").await;
        let outcome = told.into_iter().find(|task| task.id == *id).map(|task| task.outcome);
        let known = match outcome {
            // Of several tries, one whose answer was lost may have been the one.
            Some(Cancelled::Stopped | Cancelled::TooLate(Transition::Cancelled)) => {
                CallOff::Stopped
            }
            Some(Cancelled::TooLate(_)) => CallOff::TooLate,
            Some(Cancelled::NoTask | Cancelled::Unknown(_)) | None => {
                clock::pause(PAUSE).await;
                continue;
            }
        };
        return ledger.called_off(id, known);
    }
    Ok(())
}

/// Answers every question that comes into the inbox of those who delegate. Never ends.
pub(crate) async fn answer(bus: Bus) -> anyhow::Result<()> {
    let role: Role = CHIEF.parse()?;
    let inbox = bus.subjects().inbox(&role);
    let client = Client::new(bus, role);
    let mut from = 1;
    loop {
        let Ok(Some(message)) = client.bus().first_from(AGENT_MAIL, inbox.as_str(), from).await
        else {
            clock::pause(PAUSE).await;
            continue;
        };
        let mail: Mail = serde_json::from_slice(&message.payload)?;
        if mail.kind == Mail::report_kind(Transition::Blocked)
            && let Some(id) = &mail.task_id
            && let Err(error) = client.answer(id, Some(QUESTION), answer_for(id)).await
            && error.refusal().is_none()
        {
            // It may have been taken, and then the next try is refused.
            clock::pause(PAUSE).await;
        } else {
            from = message.seq + 1;
        }
    }
}

fn delegation(seed: u64, id: &TaskId, work: Work) -> anyhow::Result<Delegation> {
    let [role, verifier] = ROLES;
    let role: Role = role.parse()?;
    let mut what = Delegation::new(role, format!("task {id}"))
        .input(serde_json::to_value(work)?)
        .id(id.clone())
        .max_attempts(FAILED_ATTEMPTS);
    if let Twist::After { number } = work.twist {
        what = what.after([root_id(seed, number)?]);
    }
    if work.twist.needs_verdict() {
        what = what.verifier(verifier.parse()?);
    }
    Ok(what)
}

fn said(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
