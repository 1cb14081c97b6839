//! The thread that starts the server, watches over it, starts it again, and ends it. It lives as
//! long as the server does, because the server dies with it.

use std::time::Duration;

use sinew_bus::{Tls, clock};
use sinew_model::grant::User;
use sinew_model::limits::{
    ENGINE_PORT_RACES, ENGINE_RESTART_FIRST, ENGINE_RESTART_LONGEST, ENGINE_STEADY,
};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::child::{Launch, Server, rooted};
use super::folder::Folder;
use super::ports;
use super::settings::Settings;
use super::{Config, StartError, State};
use crate::account::{Orgs, Quota};
use crate::context::{Context, ContextError, Login};
use crate::tls;

/// Whoever asked for the engine waits at the other end.
type Started = oneshot::Sender<Result<Context, StartError>>;

/// The whole life of an engine.
pub(super) fn run(
    config: Config,
    started: Started,
    states: &watch::Sender<State>,
    stopping: &CancellationToken,
) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(live(config, started, states, stopping)),
        Err(error) => tell(started, Err(StartError::Thread(error))),
    }
    // Last of all: who waits for this may use the data folder at once.
    states.send_replace(State::Stopped);
}

async fn live(
    config: Config,
    started: Started,
    states: &watch::Sender<State>,
    stopping: &CancellationToken,
) {
    match open(config, stopping).await {
        Ok((context, launch, server)) => {
            let pid = server.pid();
            states.send_replace(State::Ready { pid, restarts: 0 });
            tracing::info!(pid, url = context.url, "nats-server is ready");
            tell(started, Ok(context));
            watch_over(&launch, server, states, stopping).await;
        }
        Err(error) => tell(started, Err(error)),
    }
}

fn tell(started: Started, outcome: Result<Context, StartError>) {
    // Who no longer waits has cancelled the start, and that is seen elsewhere.
    started.send(outcome).ok();
}

/// The first start, on ports that are free.
async fn open(
    config: Config,
    stopping: &CancellationToken,
) -> Result<(Context, Launch, Server), StartError> {
    let folder = Folder::open(&config.data_dir)?;
    let earlier = earlier(&folder)?;
    folder.end_left_behind().await?;
    let store_bytes = folder.room()?;
    let told = Told::prepare(&config, &folder)?;
    let tls = config.encryption.map(|how| tls::prepare(folder.path(), how)).transpose()?;
    let last = earlier.as_ref().and_then(|context| ports::port_of(&context.url));
    let mut launch = Launch {
        ports: ports::pick(config.port, last)?,
        name: format!("sinew-{}", clock::unique()),
        binary: rooted(&config.binary),
        guard: config.guard.clone(),
        folder,
    };
    let mut races = 0;
    let server = loop {
        write_settings(&config, &launch, &told, store_bytes)?;
        match launch.start(stopping).await {
            Ok(Some(server)) => break server,
            Ok(None) => return Err(StartError::GivenUp),
            Err(error) if races < ENGINE_PORT_RACES && is_port_taken(&error) => {
                races += 1;
                launch.ports = ports::pick(config.port, last)?;
            }
            Err(error) => return Err(error),
        }
    };
    let context = Context { tls: tls.unwrap_or_default(), ..context(&config, &launch, &told) };
    match context.save(&Context::path_in(launch.folder.path())) {
        Ok(()) => Ok((context, launch, server)),
        Err(error) => {
            server.end(&launch.folder).await;
            Err(StartError::Context(error))
        }
    }
}

/// What an earlier run on this folder wrote.
fn earlier(folder: &Folder) -> Result<Option<Context>, StartError> {
    match Context::load(&Context::path_in(folder.path())) {
        Ok(context) => Ok(Some(context)),
        Err(ContextError::Missing { .. }) => Ok(None),
        Err(error) => Err(StartError::Context(error)),
    }
}

/// What the server is told of accounts, from the keys and records of the folder.
struct Told {
    orgs: Orgs,
    operator: String,
    accounts: Vec<(String, String)>,
    /// The account of the context's org.
    account: String,
}

impl Told {
    /// Makes what is not there: the keys at the first start, the org, and its users here.
    fn prepare(config: &Config, folder: &Folder) -> Result<Self, StartError> {
        let orgs = Orgs::new(folder.path(), config.root.clone());
        let account = orgs.ensure(&config.org, Quota::NONE)?.account;
        folder.adopt(&orgs)?;
        for user in [User::Operator, User::Server] {
            orgs.ensure_local(&config.org, &user)?;
        }
        let (operator, accounts) = (orgs.operator_jwt()?, orgs.accounts()?);
        Ok(Self { orgs, operator, accounts, account })
    }
}

fn write_settings(
    config: &Config,
    launch: &Launch,
    told: &Told,
    store_bytes: u64,
) -> Result<(), StartError> {
    let settings = Settings {
        name: &launch.name,
        ports: launch.ports,
        operator: &told.operator,
        accounts: &told.accounts,
        durability: config.durability,
        store_bytes,
        encryption: config.encryption,
    };
    launch.folder.write(&launch.folder.config(), &settings.render())
}

fn context(config: &Config, launch: &Launch, told: &Told) -> Context {
    let login = |creds| Login::Creds { creds };
    Context {
        url: launch.ports.url(),
        org: config.org.clone(),
        root: config.root.clone(),
        login: login(told.orgs.local_creds(&config.org, &User::Operator)),
        system: login(told.orgs.system_creds()),
        monitor_url: launch.ports.monitor_url(),
        data_dir: launch.folder.path().to_owned(),
        durability: config.durability,
        tls: Tls::default(),
        account: Some(told.account.clone()),
        signatures: config.signatures,
        mcp_url: None,
        dashboard: None,
    }
}

fn is_port_taken(error: &StartError) -> bool {
    matches!(error, StartError::Ended { log, .. } if log.contains("address already in use"))
}

/// Starts the server again whenever it ends, until it is stopped.
async fn watch_over(
    launch: &Launch,
    mut server: Server,
    states: &watch::Sender<State>,
    stopping: &CancellationToken,
) {
    let mut restarts = 0;
    let mut failures = 0;
    loop {
        let since = clock::instant();
        let Some(error) = stopping.run_until_cancelled(server.wait()).await else {
            server.end(&launch.folder).await;
            return;
        };
        if since.elapsed() >= ENGINE_STEADY {
            failures = 0;
        }
        let Some(next) = again(launch, error, &mut failures, states, stopping).await else {
            return;
        };
        server = next;
        restarts += 1;
        let pid = server.pid();
        states.send_replace(State::Ready { pid, restarts });
        tracing::info!(pid, restarts, "nats-server is ready again");
    }
}

/// Tries for as long as it takes; `None` when it was stopped meanwhile.
async fn again(
    launch: &Launch,
    mut error: StartError,
    failures: &mut u32,
    states: &watch::Sender<State>,
    stopping: &CancellationToken,
) -> Option<Server> {
    loop {
        let why = in_full(&error);
        tracing::error!(why, "nats-server is down");
        states.send_replace(State::Down { why });
        let delay = back_off(*failures);
        *failures = failures.saturating_add(1);
        stopping.run_until_cancelled(clock::pause(delay)).await?;
        states.send_replace(State::Starting);
        match launch.start(stopping).await {
            Ok(server) => return server,
            Err(next) => error = next,
        }
    }
}

fn back_off(failures: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures);
    ENGINE_RESTART_FIRST.saturating_mul(factor).min(ENGINE_RESTART_LONGEST)
}

/// An error and all that caused it, for a state that holds text.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_are_quick_at_first_and_bounded() {
        let delays: Vec<u128> = (0..9).map(|n| back_off(n).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        assert_eq!(back_off(u32::MAX), ENGINE_RESTART_LONGEST);
    }

    #[test]
    fn a_state_tells_the_cause_too() {
        let source = std::io::Error::other("why");
        let error = StartError::Spawn { program: "nats-server".into(), source };
        assert_eq!(in_full(&error), "nats-server does not start: why");
    }
}
