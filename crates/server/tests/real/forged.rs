//! What somebody tries who has credentials of an org and speaks for another: whatever may be
//! published, no reader takes what is not from who it says, nor a copy, and the operator sees both.

use std::time::Duration;

use sinew_agent::{
    Client, Message,
    inbox::read::{Inbox, Received},
    model::{
        MeetingId,
        evidence::Evidence,
        grant::User,
        header,
        meeting::Definition,
        signature::Policy,
        stream::{AGENT_MAIL, MEETINGS, ORG_EVIDENCE},
    },
};
use sinew_bus::{Bus, Outgoing, Topology};
use sinew_testkit::wait;

use crate::attack::{Town, org, role};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

fn agent(name: &str) -> User {
    User::Agent(role(name))
}

/// A town whose mail takes a copy under the same id soon.
async fn town() -> Town {
    let town = Town::found().await;
    let bus = town.bus("acme", &User::Server).await;
    let overlay = "streams.AGENT_MAIL.duplicate_window = \"100ms\"";
    let topology = Topology::overlaid(&bus, overlay).expect("TOML");
    for spec in &topology.catalogue().streams {
        topology.ensure_stream(&bus, spec.name).await.expect("a stream");
    }
    town
}

async fn speaking(town: &Town, user: &str, speaks_for: &str) -> Client {
    Client::new(town.asking("acme", &agent(user), Policy::Require).await, role(speaks_for))
}

/// Stores the newest message to cto again, byte for byte and with its signature.
async fn copy(thief: &Bus) {
    let subject = thief.subjects().inbox(&role("cto"));
    let last = thief.last(AGENT_MAIL, subject.as_str()).await.expect("a read").expect("a message");
    let text = |name: &str| last.header(name).expect("a header").to_owned();
    let out = Outgoing::new(AGENT_MAIL, subject, last.payload.clone())
        .id(text(header::MSG_ID))
        .header(header::SIGNATURE, text(header::SIGNATURE));
    wait::until("the copy is stored", LONG, async || match thief.publish(out.clone()).await {
        Ok(stored) if stored.duplicate => Err("the id is still known".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    })
    .await;
}

/// The records that the operator finds, as verdict, stream and claim.
async fn evidence(operator: &Bus) -> Vec<(String, String, String)> {
    let all = operator.subjects().all_evidence();
    let mut scan = operator.scan(ORG_EVIDENCE, all.as_str(), 1).await.expect("a scan");
    let mut found = Vec::new();
    while scan.pending() > 0 {
        let message = scan.next().await.expect("a record");
        let record: Evidence = serde_json::from_slice(&message.payload).expect("a record");
        let claimed = record.claimed.map(|role| role.to_string()).unwrap_or_default();
        found.push((record.verdict, record.stream, claimed));
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_forged_sender_and_a_copy_are_void_at_every_reader_and_seen() {
    let town = town().await;
    let (ceo, forger) = (speaking(&town, "ceo", "ceo").await, speaking(&town, "qa", "ceo").await);
    let operator = town.asking("acme", &User::Operator, Policy::Require).await;
    let good = Message::new(role("cto"), "pay one").id("m1");
    ceo.send(good).await.expect("sending");
    let thief = town.asking("acme", &User::Operator, Policy::Off).await;
    copy(&thief).await;
    // It takes the id of a message that the ceo has still to send.
    forger.send(Message::new(role("cto"), "pay all").id("m2")).await.expect("sending");
    forger.send(Message::to_everybody("all go home")).await.expect("sending");
    wait::until("the id to be forgotten", LONG, async || {
        let sent = ceo.send(Message::new(role("cto"), "pay two").id("m2")).await;
        match sent {
            Ok(sent) if sent.existed => Err("taken for the forged one".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;

    let inbox = Inbox::of(operator.clone(), role("cto"));
    let mut past = inbox.history().await.expect("a history");
    let mut told = Vec::new();
    while let Some(kept) = past.next_kept().await.expect("a message") {
        let sender = kept.verdict.sender().expect("a sender").to_string();
        told.push((kept.mail.expect("mail").body, sender));
    }
    let from_ceo = |text: &str| (text.into(), "agent-ceo".to_owned());
    assert_eq!(told, [from_ceo("pay one"), from_ceo("pay two")]);
    let refused = past.refused();
    assert_eq!((refused.forged, refused.replayed, refused.total()), (2, 1, 3));

    let (mut read, mut voids) = (Vec::new(), Vec::new());
    for received in inbox.take(10).await.expect("messages") {
        match received {
            Received::Mail(letter) => {
                assert_eq!(letter.verdict().sender().expect("a sender").to_string(), "agent-ceo");
                read.push(letter.mail().body.clone());
                letter.ack().await.expect("an ack");
            }
            Received::Refused { claimed, verdict, .. } => voids.push((claimed, verdict.word())),
            Received::Unreadable { seq, why } => panic!("message {seq}: {why}"),
        }
    }
    voids.sort();
    assert_eq!(read, ["pay one", "pay two"]);
    assert_eq!(voids, ["forged", "forged", "replayed"].map(|word| (role("ceo"), word)));
    assert_eq!(inbox.unread().await.expect("a count").total(), 0, "refused ones are acked");
    let watcher = Client::new(operator.clone(), role("cto"));
    assert_eq!(watcher.broadcasts().await.expect("a list"), []);
    let seen = |word: &str| (word.to_owned(), AGENT_MAIL.to_owned(), "ceo".to_owned());
    assert_eq!(evidence(&operator).await, [seen("forged"), seen("forged"), seen("replayed")]);
    town.stop().await;
}

#[tokio::test]
async fn an_entry_of_a_meeting_by_who_does_not_speak_for_the_role_is_void_for_all() {
    let town = town().await;
    let ceo = speaking(&town, "ceo", "ceo").await;
    let what = Definition::new("Budget", role("ceo"), vec![role("ceo"), role("cto"), role("qa")]);
    let id: MeetingId = ceo.open_meeting(None, what).await.expect("a meeting").meeting.id().clone();
    let forger = speaking(&town, "qa", "cto").await;
    forger.meet(&id).await.expect("a meeting").join().await.expect("an entry");
    let operator = town.asking("acme", &User::Operator, Policy::Require).await;
    let watcher = Client::new(operator.clone(), role("operator"));
    let seen = watcher.meet(&id).await.expect("a meeting");
    assert!(!seen.state().expect("a state").is_there(&role("cto")), "it is not cto who came");
    let seen = |word: &str| (word.to_owned(), MEETINGS.to_owned(), "cto".to_owned());
    assert_eq!(evidence(&operator).await, [seen("forged")]);
    // Who is meant comes all the same.
    let cto = speaking(&town, "cto", "cto").await;
    cto.meet(&id).await.expect("a meeting").join().await.expect("an entry");
    let seen = watcher.meet(&id).await.expect("a meeting");
    assert!(seen.state().expect("a state").is_there(&role("cto")));
    town.stop().await;
}

#[tokio::test]
async fn a_reader_that_runs_learns_of_new_keys_and_what_the_old_ones_signed_still_counts() {
    let town = town().await;
    let reader = town.asking("acme", &User::Operator, Policy::Require).await;
    let orgs = town.orgs();
    let (directory, acme) = (town.directory().await, org("acme"));
    let tell = async || {
        directory.put(&orgs.org_jwt(&acme).expect("a JWT")).await.expect("telling");
        // Whoever was let in by a key that was retired is cut off.
        let server = town.asking("acme", &User::Server, Policy::Require).await;
        server.vouch(&orgs.statement(&acme).expect("a statement")).await.expect("vouching");
    };
    let send = async |text: &str| {
        let client = speaking(&town, "ceo", "ceo").await;
        client.send(Message::new(role("cto"), text)).await.expect("sending");
    };
    let told = async |reader: &Bus| {
        let inbox = Inbox::of(reader.clone(), role("cto"));
        let mut past = inbox.history().await.expect("a history");
        let mut told = Vec::new();
        while let Some(kept) = past.next_kept().await.expect("a message") {
            told.push(kept.mail.expect("mail").body);
        }
        told
    };
    tell().await;
    send("before").await;
    assert_eq!(told(&reader).await, ["before"]);
    orgs.rotate(&acme).expect("rotating");
    tell().await;
    send("after").await;
    assert_eq!(told(&reader).await, ["before", "after"]);
    orgs.retire(&acme).expect("retiring");
    orgs.revoke(&acme, &sinew_server::account::Revoke::Name("agent-ceo".to_owned()))
        .expect("revoking");
    tell().await;
    // A process that starts now knows of nothing but its own login and the account's word.
    let fresh = town.asking("acme", &User::Operator, Policy::Require).await;
    assert_eq!(
        told(&fresh).await,
        ["before", "after"],
        "both were sent while their keys were good"
    );
    town.stop().await;
}
