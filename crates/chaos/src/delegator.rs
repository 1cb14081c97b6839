//! Those who delegate: they write into the ledger what they ask, then ask, then write down the
//! answer. What nobody knows is asked again under the same id, as the SDK says; some give up
//! instead, and then nobody knows for good.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::bail;
use sinew_agent::{Client, Config, DelegateError, Delegation};
use sinew_bus::clock;
use sinew_model::{Role, TaskId};
use tokio::sync::Semaphore;

use crate::{
    ledger::{Answer, Ledger},
    plan::{Goal, Work},
    work::{self, FAILED_ATTEMPTS, ORG, ROLES},
};

/// The role that delegates the root tasks, and gets the reports about them.
pub(crate) const CHIEF: &str = "chief";

/// One task in so many is delegated a second time with other work under its id.
const IMPOSTOR_ONE_IN: u64 = 16;

/// One delegation in so many that nobody knows or that was refused is given up.
const GIVEN_UP_ONE_IN: u64 = 3;

/// What all delegators of a run share.
#[derive(Debug)]
pub(crate) struct Delegating {
    pub(crate) seed: u64,
    pub(crate) tasks: u64,
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
        let id: TaskId = format!("c{}-{number}", shared.seed).parse()?;
        let work = Work::of_root(shared.seed, number);
        let mut tries = 0;
        loop {
            tries += 1;
            shared.ledger.asked(&id, work)?;
            let (answer, why) = ask(&client, &id, work).await?;
            shared.ledger.answered(&id, answer, why)?;
            if answer == Answer::Accepted || (number + tries).is_multiple_of(GIVEN_UP_ONE_IN) {
                break;
            }
            clock::pause(Duration::from_millis(50)).await;
        }
        if number.is_multiple_of(IMPOSTOR_ONE_IN) {
            pose(&client, &id, work).await?;
        }
    }
}

async fn ask(client: &Client, id: &TaskId, work: Work) -> anyhow::Result<(Answer, Option<String>)> {
    let answer = match client.delegate(delegation(id, work)?).await {
        Ok(_) => (Answer::Accepted, None),
        Err(error @ DelegateError::Unknown { .. }) => (Answer::Unknown, Some(said(&error))),
        Err(error) => (Answer::Refused, Some(said(&error))),
    };
    Ok(answer)
}

/// Delegates other work under a known id: it may be refused or fail, and never be accepted.
async fn pose(client: &Client, id: &TaskId, work: Work) -> anyhow::Result<()> {
    let goal = if work.goal == Goal::Fail { Goal::Complete } else { Goal::Fail };
    // One that was given up may not exist, and then the id is free.
    if client.state(id).await.ok().flatten().is_none() {
        return Ok(());
    }
    match client.delegate(delegation(id, Work { goal, ..work })?).await {
        Ok(_) => bail!("other work was accepted under the id {id}"),
        Err(_) => Ok(()),
    }
}

fn delegation(id: &TaskId, work: Work) -> anyhow::Result<Delegation> {
    let [role, _] = ROLES;
    let role: Role = role.parse()?;
    Ok(Delegation::new(role, format!("task {id}"))
        .input(serde_json::to_value(work)?)
        .id(id.clone())
        .max_attempts(FAILED_ATTEMPTS))
}

fn said(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
