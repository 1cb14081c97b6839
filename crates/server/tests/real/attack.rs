//! What an attacker tries with one user's credentials and a bare connection. The attempts are made
//! of the table of permissions: every action by every kind of user, and what it may do must work as
//! well. Then what no table has: other orgs, and the server.

use std::collections::BTreeSet;

use sinew_bus::{Auth, Bus, Config as BusConfig, Topology, clock};
use sinew_model::{
    Band, OrgId, Role, Root, Subjects,
    grant::{Action, Kind, Scope, User, Way, Whose},
    signature::Policy,
};
use sinew_server::{
    account::{Directory, Orgs, Quota, Refusal},
    engine::{Config, Engine, LOG_NAME, State},
};
use sinew_testkit::TempDir;

use crate::wire::Wire;

/// Cells of the table that are not tried. It stays empty.
const UNTRIED: [(Kind, Action); 0] = [];

/// A server with two orgs that have their streams.
pub(crate) struct Town {
    engine: Engine,
    orgs: Orgs,
    _folder: TempDir,
}

pub(crate) fn org(name: &str) -> OrgId {
    name.parse().expect("an org")
}

pub(crate) fn role(name: &str) -> Role {
    name.parse().expect("a role")
}

impl Town {
    /// A server with the org `acme`, and nothing in it.
    pub(crate) async fn found() -> Self {
        let folder = TempDir::new("attack");
        let binary = sinew_testkit::install::nats_server();
        let config = Config::new(folder.join("data"), org("acme"), binary);
        let engine = Engine::start(config).await.expect("starting");
        let orgs = Orgs::new(folder.join("data"), Root::default());
        Self { engine, orgs, _folder: folder }
    }

    /// Adds an org, and tells the server and the platform of it.
    pub(crate) async fn add(&self, name: &str, quota: Quota) {
        self.orgs.add(&org(name), quota).expect("adding");
        let directory = self.directory().await;
        for jwt in [self.orgs.org_jwt(&org(name)), self.orgs.platform_jwt()] {
            directory.put(&jwt.expect("a JWT")).await.expect("telling");
        }
    }

    /// Two orgs with all that they need.
    pub(crate) async fn build() -> Self {
        let town = Self::found().await;
        town.add("other", Quota::default()).await;
        for name in ["acme", "other"] {
            let bus = town.bus(name, &User::Server).await;
            let quota = town.orgs.record(&org(name)).expect("a record").quota;
            let topology = quota.topology(&bus).expect("a topology");
            for spec in &topology.catalogue().streams {
                topology.ensure_stream(&bus, spec.name).await.expect("a stream");
            }
            for it in ["cto", "qa"] {
                for band in Band::ALL {
                    let made = topology.ensure_work_consumer(&bus, &role(it), band).await;
                    made.expect("a consumer");
                }
            }
        }
        town
    }

    pub(crate) fn context(&self) -> &sinew_server::Context {
        self.engine.context()
    }

    pub(crate) fn url(&self) -> &str {
        &self.engine.context().url
    }

    pub(crate) fn account(&self, name: &str) -> String {
        self.orgs.record(&org(name)).expect("a record").account
    }

    pub(crate) async fn knows(&self, org: &OrgId) -> bool {
        let account = self.orgs.record(org).expect("a record").account;
        self.directory().await.list().await.expect("a list").contains(&account)
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> String {
        let path = self.engine.context().data_dir.join(LOG_NAME);
        std::fs::read_to_string(path).expect("a log")
    }

    /// A connection of the server's own account.
    pub(crate) async fn system(&self) -> Bus {
        Bus::connect(self.engine.context().system_config()).await.expect("connecting")
    }

    pub(crate) async fn stop(self) {
        self.engine.stop().await;
    }

    pub(crate) async fn directory(&self) -> Directory {
        let url = &self.engine.context().url;
        Directory::connect(url, &self.orgs.system_creds()).await.expect("the directory")
    }

    pub(crate) fn creds(&self, name: &str, user: &User) -> String {
        self.orgs.creds(&org(name), user, None).expect("credentials").text
    }

    pub(crate) fn wire(&self, name: &str, user: &User) -> Wire {
        Wire::enter(&self.engine.context().url, &self.creds(name, user)).expect("entering")
    }

    pub(crate) const fn orgs(&self) -> &Orgs {
        &self.orgs
    }

    pub(crate) async fn bus(&self, name: &str, user: &User) -> Bus {
        self.asking(name, user, Policy::default()).await
    }

    /// A connection that asks this of messages.
    pub(crate) async fn asking(&self, name: &str, user: &User, policy: Policy) -> Bus {
        let path = self.engine.context().data_dir.join(format!("{name}-{}.creds", user.name()));
        std::fs::write(&path, self.creds(name, user)).expect("writing");
        let mut config = BusConfig::new(&self.engine.context().url, org(name));
        config.auth = Auth::Credentials(path);
        config.signing.policy = policy;
        Bus::connect(config).await.expect("connecting")
    }
}

fn users() -> [User; 4] {
    [User::Agent(role("cto")), User::Observer, User::Operator, User::Server]
}

fn subjects() -> Subjects {
    Subjects::new(Root::default(), org("acme"))
}

/// What an action takes, as this user would try it.
fn attempts(user: &User, action: Action) -> Vec<(Way, String)> {
    let (other, own) = (role("qa"), role("cto"));
    let of_others = action.is_about_others();
    let subjects = subjects();
    let name = user.name();
    let own = Whose::Of(if of_others { &other } else { &own });
    let rules = action.rules(&Scope { subjects: &subjects, own, name: &name });
    let literal = |way, pattern: String| match way {
        // A subscription may be to a wildcard; what is published may not.
        Way::Subscribe => pattern,
        Way::Publish => pattern.replace('*', "x1").replace('>', "x1.x2"),
    };
    rules.into_iter().map(|rule| (rule.way, literal(rule.way, rule.pattern))).collect()
}

fn line(way: Way, subject: &str, number: usize) -> String {
    match way {
        Way::Publish => format!("PUB {subject} 0\r\n\r\n"),
        Way::Subscribe => format!("SUB {subject} {}\r\n", number + 10),
    }
}

/// Whether the server refused it, alone on a connection that stands.
pub(crate) fn is_refused(wire: &mut Wire, way: Way, subject: &str, number: usize) -> bool {
    let refused = wire.refused(&line(way, subject, number)).expect("an answer");
    assert!(refused.iter().all(|it| it.contains("Permissions Violation")), "{refused:?}");
    !refused.is_empty()
}

#[tokio::test]
async fn every_cell_of_the_table_is_tried_and_is_as_the_table_says() {
    let town = Town::build().await;
    let mut tried = BTreeSet::new();
    let (mut count, mut forbidden) = (0, 0);
    for user in users() {
        let mut wire = town.wire("acme", &user);
        let permitted: BTreeSet<_> = Action::ALL
            .into_iter()
            .filter(|action| user.kind().may(*action))
            .flat_map(|action| attempts(&user, action))
            .collect();
        for action in Action::ALL {
            let mut refusals = 0;
            let attempts = attempts(&user, action);
            for (way, subject) in &attempts {
                count += 1;
                let refused = is_refused(&mut wire, *way, subject, count);
                let shared = permitted.contains(&(*way, subject.clone()));
                assert_eq!(refused, !shared, "{user:?} {action:?}: {way:?} {subject}");
                refusals += usize::from(refused);
            }
            assert_eq!(refusals == 0, user.kind().may(action), "{user:?} {action:?}");
            forbidden += refusals;
            tried.insert((user.kind(), action));
        }
    }
    let all = Kind::ALL.into_iter().flat_map(|kind| Action::ALL.map(|action| (kind, action)));
    let untried: Vec<_> = all.filter(|cell| !tried.contains(cell)).collect();
    assert_eq!(untried, UNTRIED);
    assert!(forbidden >= 150, "only {forbidden} of {count} attempts were forbidden");
    // The operator sees each of them, and whose it was.
    let seen = town.orgs.refusals(&town.context().data_dir.join(LOG_NAME)).expect("a log");
    let is_told = |it: &&Refusal| it.org.is_some() && it.name.is_some() && !it.subject.is_empty();
    let told: u64 = seen.shown.iter().filter(is_told).map(|it| it.count).sum();
    let forbidden = u64::try_from(forbidden).expect("a number");
    assert!(told >= forbidden, "{forbidden} refusals, and {told} are shown");
    town.engine.stop().await;
}

/// Where an agent `cto` would like to listen.
const EARS: &[&str] = &[
    ">",
    "*",
    "*.>",
    "genbrain.>",
    "genbrain.agents.>",
    "genbrain.agents.*.inbox",
    "genbrain.agents.*.tasks",
    "genbrain.agents.qa.>",
    "genbrain.agents.qa.inbox",
    "genbrain.agents.qa.meetings",
    "genbrain.agents.qa.tasks",
    "genbrain.org.>",
    "genbrain.org.*.tasks.*",
    "genbrain.org.other.events",
    "genbrain.commit.*",
    "genbrain.commit.TASK_LOG",
    "_INBOX.>",
    "_INBOX.*.>",
    "_INBOX.agent-qa.>",
    "_INBOX.operator.>",
    "_INBOX.server.>",
    "$JS.>",
    "$JS.ACK.>",
    "$JS.API.>",
    "$JS.EVENT.>",
    "$JS.EVENT.ADVISORY.>",
    "$SYS.>",
    "$SYS.ACCOUNT.*.CONNECT",
    "$SYS.REQ.>",
];

/// Where it would like to send.
const MOUTHS: &[&str] = &[
    "genbrain.agents.qa.heartbeat",
    "genbrain.org.acme.tasks.T1.revived",
    "genbrain.org.acme.tasks.completed",
    "genbrain.org.acme.tasks.T1.unheard",
    "genbrain.org.other.tasks.T1.created",
    "genbrain.org.other.events",
    "genbrain.org.system.health",
    "genbrain.due.qa.tasks",
    "genbrain.commit.TASK_LOG",
    "_INBOX.agent-qa.x",
    "_INBOX.operator.x.y",
    "$JS.ACK.AGENT_TASKS.qa-agent-consumer.1.1.1.0.0",
    "$JS.ACK._.ACCHASH.AGENT_TASKS.qa-agent-consumer.1.1.1.0.0",
    "$JS.ACK.AGENT_TASKS.qa-agent-consumer-urgent.1.1.1.0.0",
    "$JS.ACK.AGENT_MAIL.x.1.1.1.0.0",
    "$JS.API.CONSUMER.MSG.NEXT.AGENT_TASKS.qa-agent-consumer",
    "$JS.API.CONSUMER.INFO.AGENT_TASKS.qa-agent-consumer",
    "$JS.API.CONSUMER.CREATE.AGENT_TASKS.cto-agent-consumer",
    "$JS.API.CONSUMER.CREATE.AGENT_TASKS.cto-agent-consumer.genbrain.agents.qa.tasks",
    "$JS.API.CONSUMER.CREATE.AGENT_TASKS.qa-agent-consumer.genbrain.agents.qa.tasks",
    "$JS.API.CONSUMER.CREATE.AGENT_TASKS.x.>",
    "$JS.API.CONSUMER.CREATE.AGENT_TASKS",
    "$JS.API.CONSUMER.DURABLE.CREATE.AGENT_TASKS.cto-agent-consumer",
    "$JS.API.CONSUMER.CREATE.AGENT_MAIL.x",
    "$JS.API.CONSUMER.CREATE.AGENT_MAIL.x.>",
    "$JS.API.CONSUMER.CREATE.AGENT_MAIL.x.genbrain.agents.qa.inbox",
    "$JS.API.CONSUMER.CREATE.AGENT_MAIL.x.genbrain.agents.*.inbox",
    "$JS.API.CONSUMER.CREATE.TASK_SCHEDULES.x.>",
    "$JS.API.CONSUMER.DELETE.AGENT_TASKS.cto-agent-consumer",
    "$JS.API.CONSUMER.DELETE.AGENT_TASKS.qa-agent-consumer",
    "$JS.API.CONSUMER.PAUSE.AGENT_TASKS.qa-agent-consumer",
    "$JS.API.CONSUMER.RESET.AGENT_TASKS.qa-agent-consumer",
    "$JS.API.CONSUMER.NAMES.AGENT_MAIL",
    "$JS.API.CONSUMER.LIST.AGENT_MAIL",
    "$JS.API.CONSUMER.LEADER.STEPDOWN.AGENT_TASKS.qa-agent-consumer",
    "$JS.API.STREAM.MSG.GET.AGENT_MAIL",
    "$JS.API.DIRECT.GET.AGENT_MAIL",
    "$JS.API.DIRECT.GET.AGENT_MAIL.genbrain.agents.qa.inbox",
    "$JS.API.STREAM.MSG.DELETE.AGENT_TASKS",
    "$JS.API.STREAM.MSG.DELETE.TASK_LOG",
    "$JS.API.STREAM.DELETE.TASK_LOG",
    "$JS.API.STREAM.PURGE.AGENT_TASKS",
    "$JS.API.STREAM.PURGE.TASK_LOG",
    "$JS.API.STREAM.UPDATE.TASK_LOG",
    "$JS.API.STREAM.CREATE.MINE",
    "$JS.API.STREAM.SNAPSHOT.AGENT_MAIL",
    "$JS.API.STREAM.RESTORE.AGENT_MAIL",
    "$JS.API.STREAM.LEADER.STEPDOWN.TASK_LOG",
    "$JS.API.STREAM.PEER.REMOVE.TASK_LOG",
    "$JS.API.META.LEADER.STEPDOWN",
    "$JS.API.ACCOUNT.PURGE.x",
    "$JS.API.SERVER.REMOVE",
    "$SYS.REQ.CLAIMS.UPDATE",
    "$SYS.REQ.CLAIMS.LIST",
    "$SYS.REQ.CLAIMS.DELETE",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.ACCOUNT.x.CONNZ",
    "$SYS.REQ.USER.INFO",
    "$SYS.REQ.SERVER.x.KICK",
];

/// What an agent may not do beyond the table: with wildcards, on streams, on others' deliveries.
#[tokio::test]
async fn an_agent_cannot_widen_what_it_may() {
    let town = Town::build().await;
    let mut wire = town.wire("acme", &User::Agent(role("cto")));
    let subscribe = EARS.iter().map(|subject| (Way::Subscribe, *subject));
    let publish = MOUTHS.iter().map(|subject| (Way::Publish, *subject));
    for (number, (way, subject)) in subscribe.chain(publish).enumerate() {
        assert!(is_refused(&mut wire, way, subject, number), "{way:?} {subject} went through");
    }
    // The very same connection still does its own work.
    assert!(!is_refused(&mut wire, Way::Publish, "genbrain.agents.qa.inbox", 900));
    assert!(!is_refused(&mut wire, Way::Subscribe, "genbrain.agents.cto.inbox", 901));
    town.engine.stop().await;
}

/// The operator of one org has every right in it, and none in another.
#[tokio::test]
async fn nobody_reaches_another_org_however_much_it_may_in_its_own() {
    let town = Town::build().await;
    let acme = town.bus("acme", &User::Server).await;
    let other = town.bus("other", &User::Server).await;
    let inbox = other.subjects().inbox(&role("cto"));
    let mut heard = other.watch_subject("genbrain.agents.*.inbox").await.expect("listening");
    let before = other.stream_state("AGENT_MAIL").await.expect("a state");
    let mut wire = town.wire("acme", &User::Operator);
    wire.refused(&line(Way::Publish, inbox.as_str(), 0)).expect("an answer");
    acme.send_unanswered(&inbox, "for acme").await.expect("sending");
    acme.flush().await.expect("flushing");
    sinew_testkit::wait::until(
        "the message in its own org",
        std::time::Duration::from_secs(10),
        || {
            let acme = acme.clone();
            async move {
                let held =
                    acme.stream_state("AGENT_MAIL").await.map_err(|error| error.to_string())?;
                if held.messages == 2 { Ok(()) } else { Err(format!("{held:?}")) }
            }
        },
    )
    .await;
    assert_eq!(other.stream_state("AGENT_MAIL").await.expect("a state"), before);
    let deadline = clock::instant();
    assert!(tokio::time::timeout_at(deadline, heard.next()).await.is_err(), "it was heard");
    // The same names in the other account are other streams: what is deleted here stays there.
    let gone: serde_json::Value =
        acme.api("STREAM.DELETE.AGENT_MAIL", &serde_json::Value::Null).await.expect("deleting");
    assert_eq!(gone.get("success"), Some(&true.into()));
    assert_eq!(other.stream_state("AGENT_MAIL").await.expect("a state"), before);
    town.engine.stop().await;
}

/// The platform hears every org on the seed's own subjects, what was taken and no request; no org
/// hears another by the same filter.
#[tokio::test]
async fn only_the_platform_hears_all_orgs() {
    let town = Town::build().await;
    let url = &town.engine.context().url;
    let mut config = BusConfig::new(url, org("acme"));
    config.auth = Auth::Credentials(town.orgs.platform_creds());
    let platform = Bus::connect(config).await.expect("connecting");
    let mut heard = platform.watch_subject("genbrain.org.*.tasks.>").await.expect("listening");
    platform.flush().await.expect("flushing");
    for name in ["acme", "other"] {
        let bus = town.bus(name, &User::Agent(role("cto"))).await;
        let client = sinew_agent::Client::new(bus, role("cto"));
        let what = sinew_agent::Delegation::new(role("qa"), "Look".to_owned());
        client.delegate(what).await.expect("delegating");
        let next = tokio::time::timeout(std::time::Duration::from_secs(10), heard.next()).await;
        let next = next.expect("in time").expect("a transition");
        assert_eq!(next.subject(), format!("genbrain.org.{name}.tasks.created"));
    }
    let mut wire = town.wire("acme", &User::Operator);
    assert!(is_refused(&mut wire, Way::Subscribe, "genbrain.org.*.tasks.>", 1));
    town.engine.stop().await;
}

#[tokio::test]
async fn expired_and_foreign_credentials_let_nobody_in() {
    let town = Town::build().await;
    let url = &town.engine.context().url;
    let soon = std::time::Duration::from_secs(1);
    let minted = town.orgs.creds(&org("acme"), &User::Observer, Some(soon)).expect("minting");
    sinew_testkit::wait::until_blocking("it to expire", std::time::Duration::from_secs(10), || {
        match Wire::enter(url, &minted.text) {
            Err(_) => Ok(()),
            Ok(_) => Err("it lets in".to_owned()),
        }
    });
    // Another operator's, for an org of the same name.
    let folder = TempDir::new("stranger");
    let stranger = Orgs::new(folder.path(), Root::default());
    stranger.add(&org("acme"), Quota::NONE).expect("adding");
    let forged = stranger.creds(&org("acme"), &User::Operator, None).expect("minting");
    Wire::enter(url, &forged.text).err().expect("a stranger's credentials let in");
    // One user's JWT with another's key.
    let (one, two) = (town.creds("acme", &User::Operator), town.creds("acme", &User::Observer));
    let jwt = one.split("-----BEGIN USER NKEY SEED").next().expect("a JWT");
    let seed = two.split("-----BEGIN USER NKEY SEED").nth(1).expect("a seed");
    let mixed = format!("{jwt}-----BEGIN USER NKEY SEED{seed}");
    Wire::enter(url, &mixed).err().expect("a stolen JWT without its key lets in");
    town.engine.stop().await;
}

/// The right to end deliveries is in the credentials and not bound to the connection on which they
/// came, so a lease is renewed across a reconnect.
#[tokio::test]
async fn a_lease_is_renewed_across_a_restart_of_the_server() {
    let town = Town::build().await;
    let bus = town.bus("acme", &User::Agent(role("cto"))).await;
    let mut settings = sinew_agent::Settings::new(role("cto"));
    let topology = Topology::overlaid(&bus, "[consumers]\nack_wait = \"1s\"").expect("TOML");
    settings.topology = Some(topology);
    let runtime = sinew_agent::Runtime::new(bus, settings);
    let stop = tokio_util::sync::CancellationToken::new();
    let (open, gate) = tokio::sync::watch::channel(false);
    let handler = move |_task: sinew_agent::Context| {
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|open| *open).await.expect("a gate");
            Ok("done".into())
        }
    };
    let running = tokio::spawn(runtime.run(handler, stop.clone()));
    let boss = town.bus("acme", &User::Agent(role("qa"))).await;
    let client = sinew_agent::Client::new(boss, role("qa"));
    let what = sinew_agent::Delegation::new(role("cto"), "Long".to_owned());
    let id = client.delegate(what).await.expect("delegating").id;
    let started = async || {
        let state = client.state(&id).await.map_err(|error| error.to_string())?;
        let running = state.as_ref().and_then(|it| it.running().map(|start| start.attempt));
        if running == Some(1) { Ok(()) } else { Err(format!("{state:?}")) }
    };
    let long = std::time::Duration::from_secs(30);
    sinew_testkit::wait::until("the start", long, started).await;
    let mut states = town.engine.states();
    let State::Ready { pid, .. } = states.borrow_and_update().clone() else { panic!("not ready") };
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killing");
    let is_back = |state: &State| matches!(state, State::Ready { restarts: 1, .. });
    states.wait_for(is_back).await.expect("a state");
    sinew_testkit::wait::until("the log to be there again", long, started).await;
    // The server may have been away for longer than the ack wait, so one more delivery may be on
    // its way; without renewals there would be one each second.
    let server = town.bus("acme", &User::Server).await;
    let deliveries = async || {
        let call = "CONSUMER.INFO.AGENT_TASKS.cto-agent-consumer";
        let info = server.api::<serde_json::Value>(call, &serde_json::Value::Null).await;
        let info = info.map_err(|error| error.to_string())?;
        info.pointer("/delivered/consumer_seq").and_then(|it| it.as_u64()).ok_or("no count".into())
    };
    let before: Result<u64, String> = deliveries().await;
    let before = before.expect("a count");
    let three = std::time::Duration::from_secs(3);
    sinew_testkit::wait::holds("one attempt over three ack waits", three, async || {
        started().await?;
        let now = deliveries().await?;
        if now <= before + 1 { Ok(()) } else { Err(format!("{now} deliveries, were {before}")) }
    })
    .await;
    open.send_replace(true);
    let outcome = client.outcome(&id).await.expect("an outcome");
    assert_eq!(outcome.attempts, 1);
    stop.cancel();
    let tally = running.await.expect("not panicking").expect("running");
    assert_eq!(tally.started, 1);
    town.engine.stop().await;
}
