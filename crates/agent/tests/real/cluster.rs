//! Inboxes and meetings on three replicas, while the server that leads them dies.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt as _;
use serde_json::json;
use sinew_agent::{Bus, Client, Config, Inbox, InboxError, Message, Reader, Received, Unread};
use sinew_bus::{Topology, ensure_consumer};
use sinew_model::{
    MeetingId,
    meeting::{Change, Definition, Entry, Outcome, Refusal, Rule, Turns, Vote},
    stream::{AGENT_MAIL, MEETINGS, Shelf},
};
use sinew_testkit::{NatsCluster, wait};

use crate::kit::role;

/// An election takes up to six seconds, and what waits for it has pauses of its own.
const LONG: Duration = Duration::from_secs(90);

/// Messages that are sent.
const SENT: usize = 60;

/// Of which so many are handled before the leader dies.
const BEFORE: usize = 20;

/// A connection that goes to one node first, and to the others where it is down.
async fn connect(cluster: &NatsCluster, first: usize) -> Bus {
    let mut urls = cluster.urls();
    let turns = first % urls.len();
    urls.rotate_left(turns);
    Bus::connect(Config::new(urls.join(","), "acme".parse().unwrap())).await.unwrap()
}

/// A cluster on which the stream is kept three times.
async fn cluster(stream: &str) -> NatsCluster {
    let cluster = NatsCluster::start();
    let bus = connect(&cluster, 0).await;
    Topology::standard(&bus).ensure_stream(&bus, stream).await.unwrap();
    let info: serde_json::Value =
        bus.api(&format!("STREAM.INFO.{stream}"), &serde_json::Value::Null).await.unwrap();
    assert_eq!(info["config"]["num_replicas"], 3, "{info}");
    cluster
}

/// Kills the leader of a stream; gives which it was.
fn behead(cluster: &NatsCluster, stream: &str) -> usize {
    let dead = cluster.stream_leader(stream).unwrap();
    cluster.node(dead).kill();
    dead
}

/// Readers, and how much each has in hand at a time.
const READERS: usize = 2;
const IN_HAND: usize = 3;

/// How often each message was handled.
type Handled = Arc<Mutex<BTreeMap<String, usize>>>;

/// Hands out again soon what was on its way when the leader died, and reached nobody.
async fn impatient(bus: &Bus) {
    for shelf in Shelf::ALL {
        let mut spec = shelf.consumer(bus.subjects(), &role("cto"));
        spec.ack_wait = Duration::from_secs(5);
        ensure_consumer(bus, AGENT_MAIL, &spec).await.unwrap();
    }
}

/// Handles what comes to an inbox, on and on.
async fn handle(inbox: Inbox, mut reader: Reader, handled: Handled) {
    loop {
        let Ok(Received::Mail(letter)) = reader.next().await else { continue };
        let id = letter.mail().id.clone();
        *handled.lock().unwrap().entry(id.clone()).or_default() += 1;
        if letter.ack().await.is_err() {
            // It may have been acked, or not; by its id it is, as soon as there is a leader.
            wait::until("the ack to be taken", LONG, async || match inbox.ack(&id).await {
                Ok(()) | Err(InboxError::NotOpen { .. }) => Ok(()),
                Err(error) => Err(error.to_string()),
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_loses_nothing_when_the_leader_of_its_cluster_dies() {
    let cluster = cluster(AGENT_MAIL).await;
    let handled = Handled::default();
    let mut opened = Vec::new();
    for first in 0..READERS {
        let inbox = Inbox::of(connect(&cluster, first).await, role("cto"));
        let reader = inbox.open(IN_HAND).await.unwrap();
        opened.push((inbox, reader));
    }
    impatient(&connect(&cluster, 0).await).await;
    let mut readers = tokio::task::JoinSet::new();
    for (inbox, reader) in opened {
        readers.spawn(handle(inbox, reader, Arc::clone(&handled)));
    }
    let ceo = Client::new(connect(&cluster, 2).await, role("ceo"));
    let sending = tokio::spawn(async move {
        for no in 0..SENT {
            let message = || Message::new(role("cto"), json!({ "no": no })).id(format!("m{no:02}"));
            wait::until("the message to be taken", LONG, async || {
                ceo.send(message()).await.map_err(|error| error.to_string())
            })
            .await;
        }
        ceo
    });
    let count = || handled.lock().unwrap().len();
    wait::until("some to be handled", LONG, async || {
        if count() >= BEFORE { Ok(()) } else { Err(count().to_string()) }
    })
    .await;
    let dead = behead(&cluster, AGENT_MAIL);
    let ceo = sending.await.unwrap();
    wait::until("all to be handled", LONG, async || {
        if count() == SENT { Ok(()) } else { Err(count().to_string()) }
    })
    .await;
    cluster.node(dead).restart();
    cluster.wait_ready();
    wait::until("nothing to be left", LONG, async || {
        let inbox = Inbox::of(ceo.bus().clone(), role("cto"));
        let unread = inbox.unread().await.map_err(|error| error.to_string())?;
        if unread == Unread::default() { Ok(()) } else { Err(format!("{unread:?}")) }
    })
    .await;
    let stored = ceo.bus().stream_state(AGENT_MAIL).await.unwrap().messages;
    assert_eq!(stored, SENT as u64, "each is stored once, however often it was sent");
    // What was in hand at the death may not be known to have been handed out, and is so again.
    let again: usize = handled.lock().unwrap().values().map(|times| times - 1).sum();
    assert!(again <= READERS * IN_HAND, "{again} were handled again");
}

async fn record(bus: Bus, id: &MeetingId) -> Vec<Entry> {
    let client = Client::new(bus, role("observer"));
    let follow = client.meet(id).await.unwrap().follow().await.unwrap();
    follow.into_stream().map(|entry| entry.unwrap()).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_decides_once_when_the_leader_of_its_cluster_dies_in_the_vote() {
    let cluster = cluster(MEETINGS).await;
    let names = ["a", "b", "c", "d", "e"];
    let members = names.map(role).to_vec();
    let what = Definition {
        turns: Turns::Free,
        rule: Rule::Unanimous,
        quorum: 5,
        ..Definition::new("Ship it?", role("a"), members)
    };
    let mut clients = Vec::new();
    for (at, name) in names.into_iter().enumerate() {
        clients.push(Client::new(connect(&cluster, at).await, role(name)));
    }
    let id = clients[0].open_meeting(None, what).await.unwrap().meeting.id().clone();
    for client in &clients {
        client.meet(&id).await.unwrap().join().await.unwrap();
    }
    let mut chair = clients[0].meet(&id).await.unwrap();
    let number = chair.propose("Ship it.", Vec::new()).await.unwrap();
    clients[0].meet(&id).await.unwrap().vote(number, Vote::Approve, None).await.unwrap();
    let dead = behead(&cluster, MEETINGS);
    let mut voting = tokio::task::JoinSet::new();
    for client in clients.iter().chain(&clients) {
        let (client, id) = (client.clone(), id.clone());
        voting.spawn(async move {
            wait::until("the vote to be taken", LONG, async || {
                let meeting = client.meet(&id).await;
                let mut meeting = meeting.map_err(|error| error.to_string())?;
                match Box::pin(meeting.vote(number, Vote::Approve, None)).await {
                    Ok(_) => Ok(()),
                    Err(error) => match error.refusal() {
                        Some(Refusal::Voted { .. } | Refusal::Decided { .. }) => Ok(()),
                        _ => Err(format!("{error:?}")),
                    },
                }
            })
            .await;
        });
    }
    voting.join_all().await;
    let mut chair = clients[0].meet(&id).await.unwrap();
    // The last voter may have been cut off between its vote and the count.
    chair.close(None).await.unwrap();
    cluster.node(dead).restart();
    cluster.wait_ready();
    let state = chair.state().unwrap();
    assert_eq!(state.proposal(number).unwrap().outcome, Some(Outcome::Approved));
    let all = record(connect(&cluster, 0).await, &id).await;
    for first in 1..3 {
        assert_eq!(record(connect(&cluster, first).await, &id).await, all);
    }
    let voted = |name| {
        let is_vote = |it: &&Entry| matches!(it.change, Change::Voted { .. }) && it.by.role == name;
        all.iter().filter(is_vote).count()
    };
    assert!(names.into_iter().all(|name| voted(role(name)) == 1), "{all:?}");
    assert_eq!(all.iter().filter(|it| it.change.word() == "decided").count(), 1);
}
