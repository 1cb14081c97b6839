//! Messages between roles: each is handled once by a role, whatever crashes in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::json;
use sinew_agent::{
    Context, Delegation, Failure, InboxError, Letter, Message, Received, SendError, Unread,
};
use sinew_bus::{Outgoing, Topology, clock, ensure_consumer};
use sinew_model::{
    Band, Role,
    limits::MAIL_BYTES,
    mail::MailError,
    stream::{AGENT_MAIL, Shelf},
};
use sinew_testkit::{NatsServer, wait};

use crate::kit::{Backbone, Gate, PATIENCE, connect, role};

fn text(text: &str) -> Message {
    Message::new(role("cto"), json!({ "text": text }))
}

fn letter(received: Received) -> Letter {
    match received {
        Received::Mail(letter) => *letter,
        Received::Unreadable { seq, why } => panic!("message {seq}: {why}"),
        Received::Refused { seq, verdict, .. } => panic!("message {seq}: {verdict}"),
    }
}

async fn take(backbone: &Backbone, of: &str) -> Vec<Letter> {
    let taken = backbone.client(of).inbox().take(100).await.unwrap();
    taken.into_iter().map(letter).collect()
}

fn says(letter: &Letter) -> String {
    letter.mail().body["text"].as_str().unwrap().to_owned()
}

/// Hands out again soon what nobody acks.
async fn impatient(backbone: &Backbone, of: &Role) {
    for shelf in Shelf::ALL {
        let mut spec = shelf.consumer(backbone.bus.subjects(), of);
        spec.ack_wait = Duration::from_millis(300);
        ensure_consumer(&backbone.bus, AGENT_MAIL, &spec).await.unwrap();
    }
}

async fn unread(backbone: &Backbone, of: &str) -> Unread {
    backbone.client(of).inbox().unread().await.unwrap()
}

#[tokio::test]
async fn a_sleeping_role_costs_nothing_and_finds_everything_the_urgent_first() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    for (body, band) in [("b", Band::Normal), ("c", Band::Low), ("a", Band::Urgent)] {
        ceo.send(text(body).priority(band)).await.unwrap();
    }
    ceo.send(Message::to_everybody(json!({ "text": "all" }))).await.unwrap();
    let expect = Unread { urgent: 1, normal: 2, low: 1, open: 0 };
    assert_eq!(unread(&backbone, "cto").await, expect);
    let info: serde_json::Value =
        backbone.bus.api("STREAM.INFO.AGENT_MAIL", &serde_json::Value::Null).await.unwrap();
    assert_eq!(info["state"]["consumer_count"], 0, "a role that was never there");
    let taken = take(&backbone, "cto").await;
    assert_eq!(taken.iter().map(says).collect::<Vec<_>>(), ["a", "b", "all", "c"]);
    assert_eq!(unread(&backbone, "cto").await, Unread { open: 4, ..Unread::default() });
    // Out of order, one by one.
    let mut left: Vec<Letter> = taken;
    for (at, open) in [(2, 3), (0, 2), (1, 1), (0, 0)] {
        left.remove(at).ack().await.unwrap();
        assert_eq!(unread(&backbone, "cto").await.total(), open);
    }
    assert!(take(&backbone, "cto").await.is_empty());
    // What is acked is still told; it is only not handed out any more.
    let mut past = backbone.client("cto").inbox().history().await.unwrap();
    let mut told = Vec::new();
    while let Some(kept) = past.next_kept().await.unwrap() {
        told.push(kept.mail.unwrap().body["text"].clone());
    }
    assert_eq!(told, ["b", "c", "a", "all"]);
}

#[tokio::test]
async fn two_replicas_share_an_inbox_and_each_message_is_handled_once() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let mut replicas = Vec::new();
    let (done, mut handled) = tokio::sync::mpsc::channel(400);
    for replica in 0..2 {
        let bus = connect(&backbone.server).await;
        let inbox = sinew_agent::Inbox::of(bus, role("cto"));
        let mut reader = inbox.open(3).await.unwrap();
        let done = done.clone();
        replicas.push(tokio::spawn(async move {
            loop {
                let letter = letter(reader.next().await.unwrap());
                let said = says(&letter);
                letter.ack().await.unwrap();
                done.send((replica, said)).await.unwrap();
            }
        }));
    }
    for at in 0..200 {
        ceo.send(text(&at.to_string())).await.unwrap();
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut by = BTreeSet::new();
    while seen.len() < 200 {
        let (replica, said) =
            tokio::time::timeout(PATIENCE, handled.recv()).await.unwrap().unwrap();
        by.insert(replica);
        *seen.entry(said).or_default() += 1;
    }
    wait::until("all to be acked", PATIENCE, async || {
        let left = unread(&backbone, "cto").await;
        if left.total() == 0 { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    assert!(handled.try_recv().is_err(), "one was handled twice");
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
    assert_eq!(by.len(), 2, "both took part");
    for replica in replicas {
        replica.abort();
    }
}

#[tokio::test]
async fn what_a_crashed_reader_held_is_handed_out_again_and_what_it_acked_is_not() {
    let backbone = Backbone::start().await;
    let cto = role("cto");
    impatient(&backbone, &cto).await;
    let ceo = backbone.client("ceo");
    for body in ["a", "b"] {
        ceo.send(text(body)).await.unwrap();
    }
    let mut taken = take(&backbone, "cto").await;
    taken.remove(0).ack().await.unwrap();
    // A process that dies says nothing about what it holds.
    let _gone = taken.remove(0).leave_open();
    let again = wait::until("the message to come again", PATIENCE, async || {
        let mut taken = take(&backbone, "cto").await;
        taken.pop().ok_or_else(|| "not yet".to_owned())
    })
    .await;
    assert_eq!((says(&again).as_str(), again.delivered()), ("b", 2));
    again.ack().await.unwrap();
    assert_eq!(unread(&backbone, "cto").await.total(), 0);
}

#[tokio::test]
async fn a_message_that_was_left_open_is_acked_by_its_id_from_elsewhere() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    for at in 0..3 {
        ceo.send(text("x").id(format!("m{at}"))).await.unwrap();
    }
    let inbox = backbone.client("cto").inbox();
    assert!(matches!(inbox.ack("m1").await, Err(InboxError::NotOpen { .. })), "nobody has read it");
    for letter in take(&backbone, "cto").await {
        let _ack = letter.leave_open();
    }
    inbox.ack("m1").await.unwrap();
    assert_eq!(unread(&backbone, "cto").await.open, 2);
    inbox.ack("m0").await.unwrap();
    inbox.ack("m2").await.unwrap();
    assert_eq!(unread(&backbone, "cto").await.total(), 0);
    assert!(matches!(inbox.ack("m9").await, Err(InboxError::NotOpen { .. })));
}

#[tokio::test]
async fn a_resend_is_dropped_and_an_id_of_another_message_is_refused() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let sent = ceo.send(text("x").id("m1")).await.unwrap();
    assert!(!sent.existed);
    assert!(ceo.send(text("x").id("m1")).await.unwrap().existed);
    let other = ceo.send(text("y").id("m1")).await;
    assert!(matches!(other, Err(SendError::IdReused { .. })), "{other:?}");
    // A copy that came after the window of the stream is one for the reader.
    let mail = serde_json::to_vec(&backbone.inbox("cto").await[0]).unwrap();
    let subject = backbone.bus.subjects().inbox(&role("cto"));
    backbone.bus.publish(Outgoing::new(AGENT_MAIL, subject, mail).id("later")).await.unwrap();
    let taken = take(&backbone, "cto").await;
    assert_eq!(taken.len(), 1);
    for letter in taken {
        letter.ack().await.unwrap();
    }
    assert_eq!(unread(&backbone, "cto").await.total(), 0);
}

#[tokio::test]
async fn what_is_malformed_or_too_large_is_named_and_blocks_nothing() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let subject = backbone.bus.subjects().inbox(&role("cto"));
    let broken = Outgoing::new(AGENT_MAIL, subject, "{\"id\":").id("broken");
    let broken = backbone.bus.publish(broken).await.unwrap();
    let large = ceo.send(text(&"x".repeat(MAIL_BYTES))).await;
    assert!(
        matches!(large, Err(SendError::Invalid(MailError::TooLarge { bytes })) if bytes > MAIL_BYTES)
    );
    let odd = ceo.send(text("x").id("a\r\nNats-Rollup: all")).await;
    assert!(matches!(odd, Err(SendError::Invalid(MailError::Word { .. }))), "{odd:?}");
    ceo.send(text(&"y".repeat(900_000))).await.unwrap();
    let taken = backbone.client("cto").inbox().take(9).await.unwrap();
    let [Received::Unreadable { seq, .. }, Received::Mail(large)] = &taken[..] else {
        panic!("{taken:?}")
    };
    assert_eq!((*seq, says(large).len()), (broken.seq, 900_000));
    for received in taken {
        if let Received::Mail(letter) = received {
            letter.ack().await.unwrap();
        }
    }
    assert_eq!(unread(&backbone, "cto").await.total(), 0);
    let mut past = backbone.client("cto").inbox().history().await.unwrap();
    assert!(past.next_kept().await.unwrap().unwrap().mail.is_err(), "it is still there to be seen");
}

#[tokio::test]
async fn an_answer_finds_its_way_in_its_thread() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let asked = ceo.send(text("why?").kind("question").reply_to(role("secretary"))).await.unwrap();
    let question = take(&backbone, "cto").await.remove(0);
    let cto = backbone.client("cto");
    let reply = Message::reply(question.mail(), json!({ "text": "because" }));
    cto.send(reply).await.unwrap();
    question.ack().await.unwrap();
    let answer = take(&backbone, "secretary").await.remove(0);
    let mail = answer.mail();
    assert_eq!(mail.in_reply_to.as_deref(), Some(asked.id.as_str()));
    assert_eq!(mail.correlation_id.as_deref(), Some(asked.id.as_str()));
    let again = Message::reply(mail, json!({ "text": "thanks" }));
    backbone.client("secretary").send(again).await.unwrap();
    answer.ack().await.unwrap();
    let thanks = take(&backbone, "cto").await.remove(0);
    assert_eq!(thanks.mail().thread(), asked.id, "the thread is that of its first message");
    thanks.ack().await.unwrap();
}

/// Four messages: one is acked, one is with a reader, and two are unread.
async fn half_read(backbone: &Backbone) {
    let ceo = backbone.client("ceo");
    for body in ["a", "b", "c", "d"] {
        ceo.send(text(body)).await.unwrap();
    }
    let mut taken = backbone.client("cto").inbox().take(2).await.unwrap();
    letter(taken.remove(1)).ack().await.unwrap();
    let _open = letter(taken.remove(0)).leave_open();
}

#[tokio::test]
async fn counts_are_right_at_once_after_a_restart_of_the_server() {
    let backbone = Backbone::start().await;
    half_read(&backbone).await;
    backbone.server.stop();
    backbone.server.restart();
    let inbox = sinew_agent::Inbox::of(connect(&backbone.server).await, role("cto"));
    let expect = Unread { normal: 2, open: 1, ..Unread::default() };
    assert_eq!(inbox.unread().await.unwrap(), expect);
    let taken: Vec<_> = inbox.take(9).await.unwrap().into_iter().map(letter).collect();
    assert_eq!(taken.iter().map(says).collect::<Vec<_>>(), ["c", "d"]);
    for letter in taken {
        letter.ack().await.unwrap();
    }
}

/// One server alone writes down a moment later what was acked and what was handed out: after a
/// SIGKILL a message may come again, and none is lost.
#[tokio::test]
async fn after_a_kill_of_the_server_nothing_unread_is_missing() {
    let backbone = Backbone::start().await;
    half_read(&backbone).await;
    backbone.server.kill();
    backbone.server.restart();
    let inbox = sinew_agent::Inbox::of(connect(&backbone.server).await, role("cto"));
    let unread = inbox.unread().await.unwrap();
    assert!(unread.normal >= 2 && (3..=4).contains(&unread.total()), "{unread:?}");
    let taken: Vec<_> = inbox.take(9).await.unwrap().into_iter().map(letter).collect();
    let said: Vec<_> = taken.iter().map(says).collect();
    assert!(said.ends_with(&["c".to_owned(), "d".to_owned()]), "{said:?}");
    for letter in taken {
        letter.ack().await.unwrap();
    }
}

#[tokio::test]
async fn a_broadcast_knows_who_has_acknowledged_it_and_who_is_silent() {
    let backbone = forgetful().await;
    let ceo = backbone.client("ceo");
    let roles: Vec<Role> = (0..20).map(|at| role(&format!("role-{at:02}"))).collect();
    for role in &roles {
        ceo.describe(role, &sinew_model::card::Description::default()).await.unwrap();
    }
    let by = clock::now().plus(Duration::from_secs(3));
    let sent = ceo
        .send(Message::to_everybody(json!({ "text": "freeze" })).acknowledge_by(by))
        .await
        .unwrap();
    let id = sent.id.parse().unwrap();
    let (silent, loud) = roles.split_at(3);
    for role in loud {
        let client = backbone.client(role.as_str());
        let letter = take(&backbone, role.as_str()).await.remove(0);
        assert_eq!(letter.mail().acknowledge_by, Some(by));
        assert!(client.acknowledge(&id, Some("seen")).await.unwrap());
        // Another instance of the role does it as well.
        assert!(!client.acknowledge(&id, None).await.unwrap());
        letter.ack().await.unwrap();
    }
    let roll = wait::until("the deadline to pass", PATIENCE, async || {
        let (_, roll) = ceo.acknowledgements(&id).await.unwrap();
        if roll.over { Ok(roll) } else { Err("not yet".to_owned()) }
    })
    .await;
    assert_eq!(roll.missing, silent);
    let there: Vec<_> = roll.acknowledged.iter().map(|ack| ack.role.clone()).collect();
    assert_eq!(there, loud);
    assert!(roll.acknowledged.iter().all(|ack| !ack.late && ack.expected));
    // Long after the ids are forgotten, a role still acknowledges once.
    assert!(!backbone.client(loud[0].as_str()).acknowledge(&id, None).await.unwrap());
    // One who wakes later finds it, and is late.
    let late = silent[0].as_str();
    assert_eq!(take(&backbone, late).await.remove(0).mail().id, sent.id);
    backbone.client(late).acknowledge(&id, None).await.unwrap();
    // Somebody who was not there when it was sent is not expected.
    backbone.client("newcomer").acknowledge(&id, None).await.unwrap();
    let (_, roll) = ceo.acknowledgements(&id).await.unwrap();
    assert_eq!(roll.missing, silent[1..]);
    let of = |name: &str| roll.acknowledged.iter().find(|it| it.role == role(name)).unwrap();
    assert!(of(late).late && of(late).expected && of(late).note.is_none());
    assert!(of("newcomer").late && !of("newcomer").expected);
    let unknown = ceo.acknowledge(&"no-such".parse().unwrap(), None).await;
    assert!(matches!(unknown, Err(SendError::NoBroadcast { .. })), "{unknown:?}");
}

#[tokio::test]
async fn a_task_sends_each_message_once_however_often_it_is_tried() {
    let backbone = forgetful().await;
    let ceo = backbone.client("ceo");
    let handler = |task: Context| async move {
        task.send(Message::new(role("writer"), json!({ "text": "first" }))).await?;
        task.send(Message::new(role("writer"), json!({ "text": "second" })).key("k")).await?;
        if task.attempt() < 3 {
            return Err(Failure::retry("once more"));
        }
        Ok(task.attempt().into())
    };
    let runtime = backbone.run(backbone.settings("cto"), handler).await;
    let id = ceo.delegate(Delegation::new(role("cto"), "Tell")).await.unwrap().id;
    let outcome = ceo.outcome(&id).await.unwrap();
    assert_eq!(outcome.attempts, 3);
    runtime.stop().await;
    let told = backbone.inbox("writer").await;
    assert_eq!(
        told.iter().map(|mail| mail.body["text"].clone()).collect::<Vec<_>>(),
        ["first", "second"]
    );
    assert!(told.iter().all(|mail| mail.task_id.as_ref() == Some(&id)));
}

#[tokio::test]
async fn what_a_task_recorded_and_did_not_send_is_sent_at_its_end_by_whoever_ends_it() {
    let backbone = forgetful().await;
    let ceo = backbone.client("ceo");
    let gate = Gate::shut();
    let runtime = backbone.run(backbone.settings("cto"), gate.handler()).await;
    let id = ceo.delegate(Delegation::new(role("cto"), "Tell")).await.unwrap().id;
    backbone.until_count(&id, sinew_model::Transition::Started, 1).await;
    // As an attempt leaves it that dies between the log and the stream of messages.
    let mut mail = ceo_mail(&backbone).await;
    mail.id = "from-the-log".to_owned();
    let after = backbone.bus.stream_state(AGENT_MAIL).await.unwrap().last_seq;
    let effect = Box::new(sinew_model::task::Effect::Send { mail, after });
    let command = sinew_model::task::Command::Effect { attempt: 1, key: "send:k".into(), effect };
    backbone.log(&id).await.execute(&command).await.unwrap();
    gate.open();
    ceo.outcome(&id).await.unwrap();
    wait::until("the message", PATIENCE, async || {
        let ids: Vec<_> = backbone.inbox("cfo").await.into_iter().map(|mail| mail.id).collect();
        if ids == ["seed", "from-the-log"] { Ok(()) } else { Err(format!("{ids:?}")) }
    })
    .await;
    runtime.stop().await;
    let one = async || match backbone.inbox("cfo").await.len() {
        2 => Ok(()),
        count => Err(format!("{count} messages")),
    };
    wait::holds("one message, past the window", Duration::from_millis(300), one).await;
    let state = ceo.state(&id).await.unwrap().unwrap();
    ceo.finish(&state).await.unwrap();
    assert_eq!(backbone.inbox("cfo").await.len(), 2, "it was there");
}

/// A stream that forgets the ids of messages at once, so that it does not hide what is sent twice.
async fn forgetful() -> Backbone {
    let overlay = "[streams.AGENT_MAIL]\nduplicate_window = \"100ms\"";
    Backbone::with(NatsServer::start(), overlay).await
}

async fn ceo_mail(backbone: &Backbone) -> sinew_model::mail::Mail {
    Topology::standard(&backbone.bus).ensure_stream(&backbone.bus, AGENT_MAIL).await.unwrap();
    let seed = Message::new(role("cfo"), json!({ "text": "x" })).id("seed");
    backbone.client("cto").send(seed).await.unwrap();
    backbone.inbox("cfo").await.remove(0)
}
