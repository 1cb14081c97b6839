//! Three servers that know one operator's accounts, by the lines that `sinew org init` gives each of
//! them: an org that one is told of is known to all, walled off on all, and shut out of all.

use std::time::Duration;

use sinew_agent::{Client, Delegation, Runtime, Settings};
use sinew_bus::{Auth, Bus, Config};
use sinew_model::{Root, grant::User};
use sinew_server::account::{Directory, Orgs, Quota, Revoke};
use sinew_testkit::{NatsCluster, TempDir, wait};
use tokio_util::sync::CancellationToken;

use crate::{
    attack::{org, role},
    wire::Wire,
};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

struct Plant {
    cluster: NatsCluster,
    orgs: Orgs,
    folder: TempDir,
}

impl Plant {
    /// A connection to one server, as a user with credentials of its own.
    async fn bus(&self, at: usize, name: &str, user: &User) -> Bus {
        let minted = self.orgs.creds(&org(name), user, None).expect("credentials");
        let path = self.folder.join(format!("{at}-{name}-{}.creds", user.name()));
        minted.save(&path).expect("writing");
        let mut config = Config::new(self.cluster.node(at).url(), org(name));
        config.auth = Auth::Credentials(path);
        Bus::connect(config).await.expect("connecting")
    }

    async fn tell(&self, name: &str) {
        let url = self.cluster.node(0).url();
        let directory = Directory::connect(&url, &self.orgs.system_creds()).await;
        let jwt = self.orgs.org_jwt(&org(name)).expect("a JWT");
        directory.expect("the directory").put(&jwt).await.expect("telling");
    }

    /// Whether a server lets these credentials in.
    fn lets_in(&self, at: usize, creds: &str) -> Result<(), String> {
        let entered = Wire::enter(&self.cluster.node(at).url(), creds);
        entered.map(drop).map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn an_org_is_the_same_on_every_server_of_a_cluster() {
    let folder = TempDir::new("plant");
    let orgs = Orgs::new(folder.join("keys"), Root::default());
    orgs.ensure(&org("acme"), Quota::NONE).expect("an org");
    let block = orgs.server_block().expect("a configuration");
    let cluster = NatsCluster::builder().extra_config(&block).start();
    let plant = Plant { cluster, orgs, folder };

    // Told to one, known to all.
    plant.orgs.add(&org("globex"), Quota::default()).expect("adding");
    plant.tell("globex").await;
    let creds = plant.orgs.creds(&org("globex"), &User::Observer, None).expect("credentials");
    for at in 0..3 {
        wait::until_blocking("the org", LONG, || plant.lets_in(at, &creds.text));
    }

    // Work crosses the cluster, and stays in the org.
    let server = plant.bus(0, "globex", &User::Server).await;
    let quota = plant.orgs.record(&org("globex")).expect("a record").quota;
    let topology = quota.topology(&server).expect("a topology");
    for spec in &topology.catalogue().streams {
        topology.ensure_stream(&server, spec.name).await.expect("a stream");
    }
    let worker = plant.bus(1, "globex", &User::Agent(role("cto"))).await;
    let stop = CancellationToken::new();
    let handler = |_task: sinew_agent::Context| async { Ok("done".into()) };
    let running = Runtime::new(worker, Settings::new(role("cto"))).run(handler, stop.clone());
    let running = tokio::spawn(running);
    let client = Client::new(plant.bus(2, "globex", &User::Agent(role("qa"))).await, role("qa"));
    let id = client.delegate(Delegation::new(role("cto"), "Work")).await.expect("delegating").id;
    let outcome = tokio::time::timeout(LONG, client.outcome(&id)).await.expect("in time");
    assert_eq!(outcome.expect("an outcome").attempts, 1);
    let acme = plant.bus(1, "acme", &User::Operator).await;
    let foreign = acme.stream_state("TASK_LOG").await.expect_err("it sees the other org's stream");
    assert_eq!(foreign.refusal(), Some(10_059));
    stop.cancel();
    running.await.expect("not panicking").expect("running");

    // Revoked at one, shut out of all.
    let whose = Revoke::Name(User::Observer.name());
    plant.orgs.revoke(&org("globex"), &whose).expect("revoking");
    plant.tell("globex").await;
    for at in 0..3 {
        wait::until_blocking("the end of the credentials", LONG, || {
            match plant.lets_in(at, &creds.text) {
                Ok(()) => Err("it lets in".to_owned()),
                Err(_) => Ok(()),
            }
        });
    }
}
