//! Bodies that are too large for a message: stored before they are claimed, whole for whoever
//! works or reads, and never lost without a word.

use std::time::Duration;

use serde_json::{Value, json};
use sinew_agent::{Context, DelegateError, Delegation, FollowError, body};
use sinew_bus::ObjectError;
use sinew_model::{
    Claim, Subjects, Transition,
    claim::Side,
    limits::{INLINE_BYTES, LARGE_BODY_BYTES},
    stream::{BODIES, OBJ_BODIES},
    task::{AssignmentError, Change, DeadCause, End},
};
use sinew_testkit::{NatsServer, Python, wait};

use crate::kit::{Backbone, PATIENCE, echo, role, task};

const LARGE: usize = 20_000_000;

/// A text of so many bytes of JSON: two are its quotation marks.
fn text(bytes: usize) -> Value {
    "x".repeat(bytes - 2).into()
}

fn what(bytes: usize) -> Delegation {
    Delegation::new(role("cto"), "Large").input(text(bytes))
}

async fn stored(backbone: &Backbone) -> u64 {
    backbone.bus.stream_state(OBJ_BODIES).await.unwrap().messages
}

async fn input_claim(backbone: &Backbone, id: &str) -> Claim {
    let state = backbone.client("ceo").state(&task(id)).await.unwrap().unwrap();
    state.assignment.unwrap().input_ref.unwrap()
}

/// Purges what the object store has on a subject.
async fn purge(backbone: &Backbone, subject: &str) {
    let call = format!("STREAM.PURGE.{OBJ_BODIES}");
    let _: Value = backbone.bus.api(&call, &json!({ "filter": subject })).await.unwrap();
}

#[tokio::test]
async fn twenty_megabytes_go_there_and_back() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let runtime = backbone
        .run(backbone.settings("cto"), |task: Context| async move {
            assert!(task.assignment().input_ref.is_none(), "as if it had been in the message");
            Ok(json!([task.input()]))
        })
        .await;
    let id = ceo.delegate(what(LARGE)).await.unwrap().id;
    let outcome = ceo.outcome(&id).await.unwrap();
    assert!(outcome.end == End::completed(json!([text(LARGE)])));
    backbone.until_queue_is_empty().await;
    for entry in backbone.entries(&id).await {
        assert!(serde_json::to_vec(&entry).unwrap().len() < 2_000);
    }
    let report = backbone.inbox("ceo").await.remove(0);
    assert_eq!(report.body["result"], json!({ "truncated": true, "bytes": LARGE + 2 }));
    assert!(report.body["resultRef"]["object"].as_str().unwrap().contains("/result/"));
    let mut follow = ceo.follow(&id).await.unwrap();
    let mut whole = false;
    while let Some(entry) = follow.next().await.unwrap() {
        if let Change::Completed { result, .. } = entry.change {
            whole = result == json!([text(LARGE)]);
        }
    }
    assert!(whole, "who follows sees the whole result");
    assert_eq!(runtime.stop().await.ended, 1);
}

#[tokio::test]
async fn one_byte_decides_whether_a_body_is_inside_the_message() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    for (bytes, objects) in
        [(INLINE_BYTES - 1, false), (INLINE_BYTES, false), (INLINE_BYTES + 1, true)]
    {
        let before = stored(&backbone).await;
        let id = ceo.delegate(what(bytes)).await.unwrap().id;
        let outcome = ceo.outcome(&id).await.unwrap();
        assert!(outcome.end == End::completed(text(bytes)), "{bytes}");
        assert_eq!(stored(&backbone).await > before, objects, "{bytes}");
        assert_eq!(backbone.words(&id).await, ["created", "started", "completed"]);
    }
    backbone.until_queue_is_empty().await;
    assert_eq!(runtime.stop().await.ended, 3);
}

#[tokio::test]
async fn what_is_over_the_hard_bound_is_refused_and_nothing_is_stored() {
    let backbone = Backbone::start().await;
    let error = backbone.client("ceo").delegate(what(LARGE_BODY_BYTES + 1)).await.unwrap_err();
    let DelegateError::Invalid(AssignmentError::InputTooLarge { bytes }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(bytes, u64::try_from(LARGE_BODY_BYTES).unwrap() + 1);
    assert_eq!((stored(&backbone).await, backbone.queued().await), (0, 0));
}

#[tokio::test]
async fn delegating_again_stores_nothing_twice_and_other_work_is_refused() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let with = |bytes| what(bytes).id(task("T1"));
    assert!(!ceo.delegate(with(2_000_000)).await.unwrap().existed);
    let before = stored(&backbone).await;
    assert!(ceo.delegate(with(2_000_000)).await.unwrap().existed);
    assert_eq!(stored(&backbone).await, before);
    let other = ceo.delegate(with(2_000_001)).await;
    assert!(matches!(other, Err(DelegateError::IdReused { .. })), "{other:?}");
    assert_eq!((stored(&backbone).await, backbone.queued().await), (before, 1));
}

#[tokio::test]
async fn two_who_store_the_same_body_at_once_end_up_with_one() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let with = || ceo.delegate(what(2_000_000).id(task("T1")));
    let (one, two, three) = tokio::join!(with(), with(), with());
    for done in [one, two, three] {
        assert_eq!(done.unwrap().id, task("T1"));
    }
    // Sixteen chunks of one version, and the word about it.
    assert_eq!((stored(&backbone).await, backbone.queued().await), (17, 1));
    assert_eq!(backbone.bus.drop_strays(sinew_bus::clock::now()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_lost_input_ends_the_task_and_the_same_work_can_be_tried_again() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let with = || what(2_000_000).id(task("T1"));
    ceo.delegate(with()).await.unwrap();
    purge(&backbone, Subjects::chunks(BODIES, ">").as_str()).await;
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    let outcome = ceo.outcome(&task("T1")).await.unwrap();
    let End::Dead { cause: DeadCause::BodyLost, detail } = outcome.end else {
        panic!("{:?}", outcome.end);
    };
    assert!(detail.contains("is not in the store"), "{detail}");
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&task("T1")).await, ["created", "started", "dead"]);
    // The same work under the same id is known, and brings its body back; so it can be revived.
    assert!(ceo.delegate(with()).await.unwrap().existed);
    ceo.retry(&task("T1")).await.unwrap();
    backbone.until_count(&task("T1"), Transition::Completed, 1).await;
    let state = ceo.state(&task("T1")).await.unwrap().unwrap();
    let result = body::result(&backbone.bus, &state).await.unwrap();
    assert!(result == Some(text(2_000_000)));
    let other = ceo.delegate(what(2_000_001).id(task("T1"))).await;
    assert!(matches!(other, Err(DelegateError::IdReused { .. })), "{other:?}");
    runtime.stop().await;
}

#[tokio::test]
async fn a_body_that_was_changed_is_found_out_by_its_hash() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    ceo.delegate(what(2_000_000).id(task("T1"))).await.unwrap();
    let claim = input_claim(&backbone, "T1").await;
    // The same chunks, and one byte of the last one is another.
    let chunks = backbone.stored(OBJ_BODIES, Subjects::chunks(BODIES, "*").as_str()).await;
    let last = chunks.last().unwrap();
    let nuid = last.subject.rsplit_once('.').unwrap().1;
    let call = format!("STREAM.MSG.DELETE.{OBJ_BODIES}");
    let _: Value = backbone.bus.api(&call, &json!({ "seq": last.seq })).await.unwrap();
    let mut forged = last.payload.to_vec();
    forged[0] = b'y';
    let subject = Subjects::chunks(BODIES, nuid);
    backbone.bus.publish(sinew_bus::Outgoing::new(OBJ_BODIES, subject, forged)).await.unwrap();
    let read = body::fetch(&backbone.bus, &claim).await.unwrap_err();
    assert!(read.is_lost(), "{read:?}");
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    let outcome = ceo.outcome(&task("T1")).await.unwrap();
    let End::Dead { cause: DeadCause::BodyLost, detail } = outcome.end else {
        panic!("{:?}", outcome.end);
    };
    assert!(detail.contains("is not what its hash says"), "{detail}");
    runtime.stop().await;
}

#[tokio::test]
async fn a_lost_result_is_an_error_of_the_reader_and_the_task_stays_completed() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let runtime = backbone
        .run(backbone.settings("cto"), |_: Context| async move { Ok(text(2_000_000)) })
        .await;
    let id = ceo.delegate(Delegation::new(role("cto"), "Write much")).await.unwrap().id;
    ceo.outcome(&id).await.unwrap();
    purge(&backbone, Subjects::chunks(BODIES, ">").as_str()).await;
    let error = ceo.outcome(&id).await.unwrap_err();
    assert!(matches!(&error, FollowError::Result(lost) if lost.is_lost()), "{error:?}");
    assert_eq!(backbone.words(&id).await, ["created", "started", "completed"]);
    runtime.stop().await;
}

#[tokio::test]
async fn a_full_store_refuses_and_leaves_nothing_behind() {
    let overlay = format!("[streams.{OBJ_BODIES}]\nmax_bytes = 3000000");
    let backbone = Backbone::with(NatsServer::start(), &overlay).await;
    let ceo = backbone.client("ceo");
    ceo.delegate(what(2_000_000).id(task("T1"))).await.unwrap();
    let before = stored(&backbone).await;
    let refused = ceo.delegate(what(2_000_000).id(task("T2"))).await.unwrap_err();
    assert!(matches!(refused, DelegateError::BodiesFull(ObjectError::Full(_))), "{refused:?}");
    assert_eq!((stored(&backbone).await, backbone.queued().await), (before, 1));
    assert!(ceo.state(&task("T2")).await.unwrap().is_none());
    // A result that finds no room is a failure that says so.
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    let outcome = ceo.outcome(&task("T1")).await.unwrap();
    let End::Dead { cause: DeadCause::AttemptsExhausted, detail } = outcome.end else {
        panic!("{:?}", outcome.end);
    };
    assert!(detail.contains("the store of large bodies is full"), "{detail}");
    runtime.stop().await;
}

#[tokio::test]
async fn a_child_with_a_large_input_is_delegated_once_however_often_its_parent_is_tried() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let qa = backbone.run(backbone.settings("qa"), echo).await;
    let runtime = backbone
        .run(backbone.settings("cto"), |task: Context| async move {
            let what = Delegation::new(role("qa"), "Part").input(text(2_000_000));
            let child = task.delegate(what).await?;
            if task.attempt() == 1 {
                return Err(sinew_agent::Failure::retry("once more"));
            }
            Ok(json!([child.id.as_str(), child.existed]))
        })
        .await;
    let id = ceo.delegate(Delegation::new(role("cto"), "Whole")).await.unwrap().id;
    let outcome = ceo.outcome(&id).await.unwrap();
    let End::Completed { result, .. } = outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(result[1], true);
    let child = task(result[0].as_str().unwrap());
    assert!(ceo.outcome(&child).await.unwrap().end == End::completed(text(2_000_000)));
    let objects = backbone.bus.objects().await.unwrap();
    let input = Claim::of(&child, Side::Input, text(2_000_000).to_string().as_bytes());
    let object = objects.iter().find(|it| it.name == input.object).unwrap();
    assert_eq!(object.notes[body::NOTE_PARENT], id.as_str());
    assert_eq!(objects.len(), 2, "its input and its result");
    runtime.stop().await;
    qa.stop().await;
}

#[tokio::test]
async fn a_restart_of_the_server_in_the_middle_loses_nothing() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let delegating = {
        let ceo = ceo.clone();
        tokio::spawn(async move { ceo.delegate(what(LARGE)).await })
    };
    wait::until("the first chunks", PATIENCE, async || {
        match backbone.bus.stream_state(OBJ_BODIES).await {
            Ok(state) if state.messages > 3 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    backbone.server.kill();
    backbone.server.restart();
    let id = delegating.await.unwrap().unwrap().id;
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    let outcome = tokio::time::timeout(Duration::from_secs(60), ceo.outcome(&id)).await.unwrap();
    assert!(outcome.unwrap().end == End::completed(text(LARGE)));
    runtime.stop().await;
}

#[tokio::test]
async fn another_client_of_object_stores_reads_what_is_stored() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    ceo.delegate(what(2_000_000).id(task("T1"))).await.unwrap();
    let claim = input_claim(&backbone, "T1").await;
    let said = Python::script("crates/agent/tests/real/python/object.py")
        .env("URL", backbone.server.url())
        .env("OBJECT", &claim.object)
        .run()
        .await
        .success();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["size"], 2_000_000);
    assert_eq!(said["sha256"], claim.sha256.as_str());
    // And what it stores, under a name of a body, is what the SDK reads.
    let theirs = Claim::of(&task("T9"), Side::Input, b"\"from elsewhere\"");
    assert_eq!(said["theirs"], theirs.object.as_str());
    assert_eq!(body::fetch(&backbone.bus, &theirs).await.unwrap(), "from elsewhere");
}
