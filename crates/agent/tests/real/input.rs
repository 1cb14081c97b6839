//! What is malformed, too large or too much: nothing of it is lost without a word, and nothing of
//! it holds up the rest.

use std::time::Duration;

use base64::Engine as _;
use serde_json::json;
use sinew_agent::{Context, DelegateError, Delegation, Failure};
use sinew_model::{
    Transition,
    limits::{CAUSE_BYTES, INLINE_BYTES, LARGE_BODY_BYTES, PROGRESS_BYTES},
    stream::OBJ_BODIES,
    task::{Change, Command, DeadCause, End},
};
use sinew_testkit::{NatsServer, wait};

use crate::kit::{Backbone, PATIENCE, echo, role};

fn body(id: &str, change: impl Fn(&mut serde_json::Value)) -> Vec<u8> {
    let mut body = json!({
        "taskId": id, "orgId": "acme", "role": "cto", "delegator": "ceo", "title": "A title",
        "createdAt": "2026-05-10T14:23:01Z",
    });
    change(&mut body);
    body.to_string().into_bytes()
}

#[tokio::test]
async fn what_is_no_assignment_is_dead_with_its_bytes_and_other_tasks_go_on() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let bad: Vec<(Vec<u8>, Option<&str>)> = vec![
        (b"no json".to_vec(), None),
        (b"".to_vec(), None),
        (vec![0xff, 0xfe, 0x00], None),
        (b"{\"taskId\":\"U0\"}".to_vec(), None),
        (body("U1", |it| it["orgId"] = "other".into()), None),
        (body("U2", |it| it["role"] = "cfo".into()), None),
        (body("U3", |it| it["title"] = "two\nlines".into()), None),
        (body("U4", |it| it["title"] = " ".into()), None),
        (body("U5", |it| it["title"] = "x".repeat(513).into()), None),
        (body("U6", |it| it["maxAttempts"] = 0.into()), None),
        (body("U7", |it| it["depth"] = 99.into()), None),
        (body("U8", |it| it["createdAt"] = "yesterday".into()), None),
        (body("U9", |_| {}), Some("x")),
        (body("U10", |_| {}), Some("0")),
        (body("no.id", |_| {}), None),
    ];
    let mut good = Vec::new();
    for (bytes, epoch) in &bad {
        backbone.put("cto", bytes.clone(), (None, *epoch)).await;
        good.push(ceo.delegate(Delegation::new(role("cto"), "Good")).await.unwrap().id);
    }
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    for id in &good {
        let outcome = ceo.outcome(id).await.unwrap();
        assert!(matches!(outcome.end, End::Completed { .. }), "{outcome:?}");
    }
    backbone.until_queue_is_empty().await;
    let mut kept = Vec::new();
    for message in backbone.stored("TASK_LOG", "genbrain.org.acme.tasks.*.dead").await {
        let entry = message.stored(backbone.bus.subjects()).unwrap().entry;
        let Change::Dead { cause: DeadCause::Undecodable, bytes: Some(bytes), .. } = entry.change
        else {
            panic!("{entry:?}");
        };
        kept.push(base64::engine::general_purpose::STANDARD.decode(bytes).unwrap());
    }
    let mut sent: Vec<Vec<u8>> = bad.into_iter().map(|(bytes, _)| bytes).collect();
    let count = u64::try_from(sent.len()).unwrap();
    sent.sort();
    kept.sort();
    assert_eq!(kept, sent);
    for id in ["U1", "U9", "U10"] {
        assert_eq!(backbone.words(&id.parse().unwrap()).await, ["dead"], "{id}");
    }
    let tally = runtime.stop().await;
    assert_eq!((tally.undecodable, tally.started), (count, count));
}

#[tokio::test]
async fn what_is_no_assignment_and_comes_again_is_kept_once() {
    let backbone = Backbone::start().await;
    let id = "U1".parse().unwrap();
    let seq = backbone.put("cto", body("U1", |it| it["title"] = " ".into()), (None, None)).await;
    // As a worker did that died before its ack.
    let bury = Command::Bury {
        cause: DeadCause::Undecodable,
        detail: format!("the message at {seq} of genbrain.agents.cto.tasks: no title"),
        bytes: Some(String::new()),
    };
    backbone.log(&id).await.execute(&bury).await.unwrap();
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    backbone.until_queue_is_empty().await;
    let kept = backbone.stored("TASK_LOG", "genbrain.org.acme.tasks.*.dead").await;
    assert_eq!(kept.len(), 1);
    assert_eq!(runtime.stop().await.undecodable, 0);
}

#[tokio::test]
async fn a_result_that_fits_the_log_but_not_an_inbox_is_cut_in_the_report() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    // Two are the quotation marks of a text.
    let input = "x".repeat(INLINE_BYTES - 2);
    let what = Delegation::new(role("cto"), "Large").input(input.as_str());
    let id = ceo.delegate(what).await.unwrap().id;
    let outcome = ceo.outcome(&id).await.unwrap();
    assert_eq!(outcome.end, End::completed(input.into()));
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&id).await, ["created", "started", "completed"]);
    let report = backbone.inbox("ceo").await.remove(0);
    assert_eq!(report.body["result"]["truncated"], true, "the report has the beginning");
    assert!(report.body["result"]["head"].is_string());
    runtime.stop().await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_takes_again_when_there_is_room() {
    let overlay = "[streams.AGENT_TASKS]\nmax_msgs = 3";
    let backbone = Backbone::with(NatsServer::start(), overlay).await;
    let ceo = backbone.client("ceo");
    let what = |number: u32| {
        let id = format!("F{number}").parse().unwrap();
        Delegation::new(role("cto"), "One of many").id(id)
    };
    for number in 0..3 {
        ceo.delegate(what(number)).await.unwrap();
    }
    for number in 3..6 {
        let refused = ceo.delegate(what(number)).await.unwrap_err();
        let told =
            "the queue of cto is full: 3 of at most 3 assignments lie in the queues of the org";
        assert_eq!(refused.to_string(), told);
        assert!(ceo.state(&format!("F{number}").parse().unwrap()).await.unwrap().is_none());
    }
    assert_eq!(backbone.queued().await, 3);
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    backbone.until_queue_is_empty().await;
    let later = ceo.delegate(what(4)).await.unwrap();
    assert!(!later.existed);
    ceo.outcome(&later.id).await.unwrap();
    assert_eq!(runtime.stop().await.ended, 4);
}

#[tokio::test]
async fn a_delegation_waits_for_room_and_comes_in_once() {
    let overlay = "[streams.AGENT_TASKS]\nmax_msgs = 1";
    let backbone = Backbone::with(NatsServer::start(), overlay).await;
    let ceo = backbone.client("ceo");
    let first = ceo.delegate(Delegation::new(role("cto"), "First")).await.unwrap().id;
    let second = || Delegation::new(role("cto"), "Second");
    let refused = ceo.delegate_when_room(second(), Duration::from_millis(200)).await;
    assert!(
        matches!(&refused, Err(DelegateError::QueueFull { queued: Some(1), limit: Some(1), .. })),
        "{refused:?}"
    );
    let waits = ceo.delegate_when_room(second(), PATIENCE);
    let (second, runtime) = tokio::join!(waits, backbone.run(backbone.settings("cto"), echo));
    let second = second.unwrap();
    assert!(!second.existed);
    ceo.outcome(&first).await.unwrap();
    ceo.outcome(&second.id).await.unwrap();
    assert_eq!(runtime.stop().await.started, 2, "what was refused left nothing behind");
    assert_eq!(backbone.words(&second.id).await, ["created", "started", "completed"]);
}

#[tokio::test]
async fn an_attempt_that_waits_for_room_makes_one_child() {
    let overlay = "[streams.AGENT_TASKS]\nmax_msgs = 1";
    let backbone = Backbone::with(NatsServer::start(), overlay).await;
    let ceo = backbone.client("ceo");
    // Its own message fills the queue, so the child is refused while it runs.
    let parents = backbone
        .run(backbone.settings("cto"), |task: Context| async move {
            let child = Delegation::new(role("coder"), "Child");
            match task.client().delegate_when_room(child, Duration::from_millis(200)).await {
                Err(DelegateError::QueueFull { .. }) => Ok("refused".into()),
                other => Err(Failure::fatal(format!("{other:?}"))),
            }
        })
        .await;
    let id = ceo.delegate(Delegation::new(role("cto"), "Parent")).await.unwrap().id;
    assert_eq!(ceo.outcome(&id).await.unwrap().end, End::completed("refused".into()));
    let effects = ceo.state(&id).await.unwrap().unwrap().effects;
    assert_eq!(effects.len(), 1, "each try is of the same call: {effects:?}");
    parents.stop().await;
}

#[tokio::test]
async fn a_result_that_is_too_large_is_a_failure_that_says_so() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let runtime = backbone
        .run(backbone.settings("cto"), |_: Context| async move {
            Ok("x".repeat(LARGE_BODY_BYTES).into())
        })
        .await;
    let id = ceo.delegate(Delegation::new(role("cto"), "Write much")).await.unwrap().id;
    let outcome = ceo.outcome(&id).await.unwrap();
    let End::Failed { cause } = outcome.end else { panic!("{:?}", outcome.end) };
    assert!(cause.contains("larger than the 67108864"), "{cause}");
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.bus.stream_state(OBJ_BODIES).await.unwrap().messages, 0);
    assert_eq!(runtime.stop().await.ended, 1);
}

#[tokio::test]
async fn long_causes_and_progress_are_cut() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let _runtime = backbone
        .run(backbone.settings("cto"), |task: Context| async move {
            task.progress(format!("begin{}", "p".repeat(100_000)), Some(250));
            Err(Failure::fatal(format!("{}the end", "ä".repeat(1_000_000))))
        })
        .await;
    let id = ceo.delegate(Delegation::new(role("cto"), "Fail")).await.unwrap().id;
    let outcome = ceo.outcome(&id).await.unwrap();
    let End::Failed { cause } = outcome.end else { panic!("{:?}", outcome.end) };
    assert!(cause.len() <= CAUSE_BYTES && cause.ends_with("the end"), "{} bytes", cause.len());
    let entries = backbone.entries(&id).await;
    let progress = entries.iter().find_map(|entry| {
        let Change::Progress { message, percent, .. } = &entry.change else { return None };
        Some((message.clone(), *percent))
    });
    let (message, percent) = progress.unwrap();
    assert!(message.len() <= PROGRESS_BYTES && message.starts_with("begin"));
    assert_eq!(percent, Some(100));
    wait::until("both reports", PATIENCE, async || {
        let reports = backbone.inbox("ceo").await;
        if reports.len() == 2 { Ok(()) } else { Err(format!("{} reports", reports.len())) }
    })
    .await;
    backbone.until_count(&id, Transition::Failed, 1).await;
}
