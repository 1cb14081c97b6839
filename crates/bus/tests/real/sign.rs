//! Signed senders: whose message it is, and what becomes of one that is nobody's.

use serde_json::{Value, json};
use sinew_bus::{Auth, Bus, Config, ConnectError, Outgoing, RawMessage, Signing, Topology};
use sinew_model::{
    Entry, Role, TaskId, header,
    signature::{Forgery, Policy, Speaker, Trust, Verdict},
    stream::{ORG_EVENTS, ORG_EVIDENCE, ORG_SENDERS, TASK_LOG},
    task::Void,
};
use sinew_testkit::{
    NatsServer, TempDir,
    keys::{Account, User},
};

struct World {
    server: NatsServer,
    folder: TempDir,
    account: Account,
}

impl World {
    async fn new() -> Self {
        let server = NatsServer::start();
        let it = Self { server, folder: TempDir::new("sign"), account: Account::new() };
        let bus = it.plain(Policy::Off).await;
        let topology = Topology::standard(&bus);
        for stream in [TASK_LOG, ORG_EVENTS, ORG_EVIDENCE, ORG_SENDERS] {
            topology.ensure_stream(&bus, stream).await.unwrap();
        }
        it
    }

    fn config(&self, policy: Policy) -> Config {
        let mut config = Config::new(self.server.url(), "acme".parse().unwrap());
        let trust = Trust { issuers: [self.account.key()].into(), ..Trust::default() };
        config.signing = Signing { policy, trust, ..Signing::default() };
        config
    }

    /// A connection without a key.
    async fn plain(&self, policy: Policy) -> Bus {
        Bus::connect(self.config(policy)).await.unwrap()
    }

    /// The connection of a user.
    async fn user(&self, user: &User) -> Bus {
        let mut config = self.config(Policy::Require);
        config.auth = Auth::Credentials(user.save(self.folder.path()));
        Bus::connect(config).await.unwrap()
    }
}

fn role(text: &str) -> Role {
    text.parse().unwrap()
}

/// Publishes an event and reads it back.
async fn said(bus: &Bus, id: &str, by: &str) -> RawMessage {
    let by = Speaker { role: Some(role(by)), instance: None };
    let out = Outgoing::new(ORG_EVENTS, bus.subjects().events(), r#"{"a":1}"#).id(id).by(by);
    let seq = bus.publish(out).await.unwrap().seq;
    bus.at(ORG_EVENTS, seq).await.unwrap().unwrap()
}

async fn verdict(reader: &Bus, message: &RawMessage, claims: Option<&str>) -> Verdict {
    let claims = claims.map(role);
    reader.verify(&message.received(), claims.as_ref()).await.unwrap()
}

/// An entry that creates a task, said to be from `by`.
fn created(task: &str, by: &str) -> Entry {
    let at = "2026-05-10T14:23:01Z";
    let assignment = json!({
        "taskId": task, "orgId": "acme", "role": "cto", "delegator": by, "title": "Count",
        "createdAt": at,
    });
    serde_json::from_value(json!({
        "taskId": task, "orgId": "acme", "at": at, "by": { "role": by },
        "transition": "created", "assignment": assignment, "queueSeq": 1,
    }))
    .unwrap()
}

#[tokio::test]
async fn a_message_is_from_whom_the_account_vouches_for() {
    let world = World::new().await;
    let cto = world.account.user("agent-cto");
    let sender = world.user(&cto).await;
    let reader = world.plain(Policy::Require).await;
    let message = said(&sender, "e1", "cto").await;
    let found = verdict(&reader, &message, Some("cto")).await;
    let found = found.sender().unwrap();
    assert_eq!((found.to_string(), found.key.as_str()), ("agent-cto".to_owned(), cto.key.as_str()));
    let claimed = verdict(&reader, &message, Some("ceo")).await;
    assert_eq!(claimed, Verdict::Forged(Forgery::Speaker));
    let other = said(&sender, "e2", "ceo").await;
    assert_eq!(verdict(&reader, &other, None).await, Verdict::Forged(Forgery::Speaker));
    assert_eq!(sender.identity().signs_as.unwrap().1, cto.key);
    assert_eq!(reader.identity().signs_as, None);
}

#[tokio::test]
async fn a_signature_on_another_message_is_a_forgery() {
    let world = World::new().await;
    let sender = world.user(&world.account.user("agent-cto")).await;
    let reader = world.plain(Policy::Require).await;
    let good = said(&sender, "e1", "cto").await;
    let signature = good.header(header::SIGNATURE).unwrap();
    let copy = async |id: &str, body: &str| {
        let out = Outgoing::new(ORG_EVENTS, reader.subjects().events(), body.to_owned())
            .id(id)
            .header(header::SIGNATURE, signature);
        let seq = reader.publish(out).await.unwrap().seq;
        let message = reader.at(ORG_EVENTS, seq).await.unwrap().unwrap();
        verdict(&reader, &message, None).await
    };
    assert_eq!(copy("e2", r#"{"a":1}"#).await, Verdict::Forged(Forgery::Signature), "another id");
    assert_eq!(copy("e3", r#"{"a":2}"#).await, Verdict::Forged(Forgery::Signature), "another body");
    let unsigned = said(&reader, "e4", "cto").await;
    assert_eq!(verdict(&reader, &unsigned, None).await, Verdict::Unsigned);
}

#[tokio::test]
async fn whoever_is_not_of_the_org_or_no_longer_is_nobody() {
    let world = World::new().await;
    let reader = world.plain(Policy::Require).await;
    let stranger = world.user(&Account::new().user("agent-cto")).await;
    let message = said(&stranger, "e1", "cto").await;
    assert_eq!(verdict(&reader, &message, None).await, Verdict::Forged(Forgery::Issuer));
    let past = world.user(&world.account.user_with("agent-cto", &json!({ "exp": 1 }))).await;
    let message = said(&past, "e2", "cto").await;
    assert_eq!(verdict(&reader, &message, None).await, Verdict::Forged(Forgery::Lapsed));
    let cto = world.account.user("agent-cto");
    let message = said(&world.user(&cto).await, "e3", "cto").await;
    assert!(verdict(&reader, &message, None).await.sender().is_some());
    let revoked = [(cto.key, 1)].into();
    reader.set_trust(Trust { issuers: [world.account.key()].into(), revoked, ..Trust::default() });
    assert_eq!(verdict(&reader, &message, None).await, Verdict::Forged(Forgery::Revoked));
}

#[tokio::test]
async fn a_forged_entry_changes_no_task_and_leaves_one_record() {
    let world = World::new().await;
    let marketing = world.user(&world.account.user("agent-marketing")).await;
    let task: TaskId = "T1".parse().unwrap();
    marketing.append(&created("T1", "ceo"), 0, "w1").await.unwrap();
    let readers = [world.plain(Policy::Require).await, world.plain(Policy::AcceptUnsigned).await];
    for reader in &readers {
        let history = reader.history(&task).await.unwrap();
        let logged = history.entries.first().unwrap();
        assert_eq!(logged.void, Some(Void::Forged));
        assert_eq!(logged.verdict, Verdict::Forged(Forgery::Speaker));
        assert_eq!((history.task.state, history.task.last_seq, history.task.voids), (None, 1, 1));
    }
    let filter = readers[0].subjects().all_evidence().to_string();
    let record = readers[0].last(ORG_EVIDENCE, &filter).await.unwrap().unwrap();
    let body: Value = serde_json::from_slice(&record.payload).unwrap();
    assert_eq!((&body["verdict"], &body["seq"]), (&json!("forged"), &json!(1)));
    assert_eq!(body["claimed"], "ceo");
    assert_eq!(readers[0].stream_state(ORG_EVIDENCE).await.unwrap().messages, 1, "one record");
    // The honest delegator is not kept out by it.
    let ceo = world.user(&world.account.user("agent-ceo")).await;
    ceo.append(&created("T1", "ceo"), 1, "w2").await.unwrap();
    assert!(readers[0].history(&task).await.unwrap().task.state.is_some());
}

#[tokio::test]
async fn a_policy_is_what_decides_about_unsigned_entries() {
    let world = World::new().await;
    let plain = world.plain(Policy::AcceptUnsigned).await;
    plain.append(&created("T1", "ceo"), 0, "w1").await.unwrap();
    let task: TaskId = "T1".parse().unwrap();
    let state = async |policy| {
        let reader = world.plain(policy).await;
        reader.history(&task).await.unwrap().task.state.is_some()
    };
    assert!(state(Policy::Off).await && state(Policy::AcceptUnsigned).await);
    assert!(!state(Policy::Require).await);
}

#[tokio::test]
async fn a_signed_entry_stored_a_second_time_is_void() {
    let world = World::new().await;
    let ceo = world.user(&world.account.user("agent-ceo")).await;
    let task: TaskId = "T1".parse().unwrap();
    ceo.append(&created("T1", "ceo"), 0, "w1").await.unwrap();
    let first = ceo.last(TASK_LOG, ceo.subjects().log(&task).as_str()).await.unwrap().unwrap();
    // As somebody with a bare client: the body and the signature, under a guard that holds.
    let body: Entry = serde_json::from_slice(&first.payload).unwrap();
    let plain = world.plain(Policy::Off).await;
    plain.append(&body, 1, "w1-again").await.unwrap();
    let history = ceo.history(&task).await.unwrap();
    let voids: Vec<_> = history.entries.iter().map(|logged| logged.void).collect();
    assert_eq!(voids, [None, Some(Void::Forged)]);
}

#[tokio::test]
async fn signatures_that_nobody_could_verify_are_not_required() {
    let server = NatsServer::start();
    let mut config = Config::new(server.url(), "acme".parse().unwrap());
    config.signing.policy = Policy::Require;
    let fault = Bus::connect(config).await.unwrap_err();
    assert!(matches!(fault, ConnectError::NobodyTrusted), "{fault}");
}
