//! Controllers that are in every org that stirs, and leave those that are quiet.

use std::time::Duration;

use serde_json::{Value, json};
use sinew_agent::{Client, Delegation};
use sinew_bus::{EnsureError, Topology};
use sinew_model::{grant::User, limits::ORG_STORAGE_BYTES, stream::AGENT_TASKS};
use sinew_server::{
    account::Quota,
    control::org::{Pace, Tenants},
};
use sinew_testkit::wait;
use tokio_util::sync::CancellationToken;

use crate::attack::{Town, role};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Looks often, and has little patience.
const QUICK: Pace = Pace { every: Duration::from_millis(200), quiet: Duration::from_millis(600) };

/// What must come to an end.
async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not come"),
    }
}

#[tokio::test]
async fn an_org_that_stirs_is_served_and_one_that_is_quiet_is_left() {
    let town = Town::found().await;
    town.add("globex", Quota { storage_bytes: ORG_STORAGE_BYTES, ..Quota::default() }).await;
    let stop = CancellationToken::new();
    let tenants = Tenants::new(town.context().clone(), QUICK);
    let running = tokio::spawn(tenants.run(stop.clone()));

    // The first connection brings the controllers, who make the streams; whoever came waits for them.
    let bus = town.bus("globex", &User::Agent(role("cto"))).await;
    let agent = sinew_agent::Runtime::new(bus.clone(), sinew_agent::Settings::new(role("cto")));
    let done = CancellationToken::new();
    let handler = |_task: sinew_agent::Context| async { Ok("done".into()) };
    let agent = tokio::spawn(agent.run(handler, done.clone()));
    let client = Client::new(bus.clone(), role("cto"));
    let id = client.delegate(Delegation::new(role("cto"), "Work")).await.expect("delegating").id;
    in_time("the outcome", client.outcome(&id)).await.expect("an outcome");
    let directory = town.directory().await;
    let account = town.account("globex");
    let connections = async || {
        let all = directory.connections().await.map_err(|error| error.to_string())?;
        Ok::<u64, String>(all.get(&account).copied().unwrap_or_default())
    };
    assert!(connections().await.expect("a count") >= 2, "the controllers are not in it");

    // A task that waits for nobody keeps them in it, with nobody else connected.
    let open = client.delegate(Delegation::new(role("nobody"), "Wait")).await.expect("delegating");
    done.cancel();
    in_time("the agent's end", agent).await.expect("not panicking").expect("running");
    drop((client, bus));
    let alone = async || match connections().await? {
        1 => Ok(()),
        other => Err(format!("{other} connections")),
    };
    wait::until("the controllers to be alone", LONG, alone).await;
    wait::holds("the controllers stay", Duration::from_secs(2), alone).await;

    // When it is gone they leave, and take their consumers with them.
    let boss = town.bus("globex", &User::Operator).await;
    let client = Client::new(boss, role("qa"));
    in_time("the cancel", client.cancel(&open.id, "not needed")).await;
    drop(client);
    wait::until("the org to be empty", LONG, async || match connections().await? {
        0 => Ok(()),
        other => Err(format!("{other} connections")),
    })
    .await;
    let no_consumers = async || {
        let which = json!({ "accounts": false }).to_string();
        let answers = town.system().await.gather("$SYS.REQ.SERVER.PING.JSZ", which).await;
        let answer = answers.map_err(|error| error.to_string())?.concat();
        let answer: Value = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        match answer.pointer("/data/consumers").and_then(Value::as_u64) {
            Some(0) => Ok(()),
            other => Err(format!("{other:?} consumers")),
        }
    };
    Box::pin(wait::until("no consumers", LONG, no_consumers)).await;
    stop.cancel();
    in_time("the controllers' end", running).await.expect("not panicking");
    town.stop().await;
}

#[tokio::test]
async fn who_may_not_make_a_stream_is_told_that_nobody_did() {
    let town = Town::found().await;
    town.add("globex", Quota { storage_bytes: ORG_STORAGE_BYTES, ..Quota::default() }).await;
    let bus = town.bus("globex", &User::Agent(role("cto"))).await;
    let topology = Topology::standard(&bus);
    let none = topology.ensure_stream(&bus, AGENT_TASKS).await.expect_err("no server of the org");
    assert!(matches!(&none, EnsureError::NotMade { name } if name == AGENT_TASKS), "{none:?}");
    town.stop().await;
}
