//! Messages that the server delivers no more, where a topology limits deliveries.

use sinew_agent::{Context, Delegation};
use sinew_bus::{Intake, Slots};
use sinew_model::{
    Band, TaskId, Transition,
    stream::{AGENT_TASKS, work_consumer_name},
    task::{Command, DeadCause, End},
};
use sinew_testkit::wait;

use super::{HASTE, LONG, NEVER, Org, done, role};

/// An org whose queues give a message up after its second delivery.
async fn limited() -> Org {
    Org::with("[consumers]\nmax_deliver = 2").await
}

/// Takes a message twice and gives it back; then asks for it a third time, in vain.
async fn exhaust(org: &Org) -> TaskId {
    let cto = role("cto");
    org.topology.ensure_work_consumer(&org.bus, &cto, Band::Normal).await.unwrap();
    let id = org.client().delegate(Delegation::new(cto.clone(), "Given up")).await.unwrap().id;
    let slots = Slots::new(1);
    let consumers = vec![(Band::Normal, work_consumer_name(&cto, Band::Normal))];
    let mut intake = Intake::open(&org.bus, AGENT_TASKS, consumers, &slots);
    for _ in 0..2 {
        let (delivery, slot) = intake.next().await.unwrap();
        delivery.nak(None).await.unwrap();
        drop(slot);
    }
    // The server sees that the limit is reached when it is asked for the message once more.
    let next = Delegation::new(cto, "Next");
    let next = org.client().delegate(next).await.unwrap().id;
    let (delivery, _slot) = intake.next().await.unwrap();
    assert!(String::from_utf8_lossy(delivery.payload()).contains(next.as_str()));
    delivery.ack().await.unwrap();
    org.client().cancel(&next, "enough").await;
    intake.stop().await;
    id
}

async fn is_given_up(org: &Org, id: &TaskId) {
    let end = org.client().outcome(id).await.unwrap().end;
    let End::Dead { cause, detail } = end else { panic!("it is not dead: {end:?}") };
    assert_eq!(cause, DeadCause::DeliveriesExhausted);
    assert!(detail.contains("attempts begun: 0"), "{detail}");
    org.until_told("ceo", "task.dead", id).await;
    wait::until("the message to be gone", LONG, async || match org.queued().await {
        0 => Ok(()),
        left => Err(format!("{left} left")),
    })
    .await;
}

#[tokio::test]
async fn a_message_that_the_server_gives_up_ends_its_task() {
    let org = limited().await;
    let serving = org.serve("views.db", NEVER).await;
    // Once the service has told this, which nobody else tells, it listens.
    let heard = org.client().delegate(Delegation::new(role("qa"), "Heard")).await.unwrap().id;
    let (cause, detail) = (DeadCause::Lost, "by hand".to_owned());
    let bury = Command::Bury { cause, detail, bytes: None };
    org.log(&heard).await.execute(&bury).await.unwrap();
    org.until_told("ceo", "task.dead", &heard).await;
    org.purge(AGENT_TASKS).await;
    let id = exhaust(&org).await;
    is_given_up(&org, &id).await;
    serving.stop().await;
}

#[tokio::test]
async fn a_message_that_was_given_up_while_nobody_listened_is_found_by_the_sweep() {
    let org = limited().await;
    let id = exhaust(&org).await;
    assert_eq!(org.queued().await, 1, "it is still there");
    let serving = org.serve("views.db", HASTE).await;
    is_given_up(&org, &id).await;
    // A revived task has a message of its own.
    org.client().retry(&id).await.unwrap();
    let runtime = org.work("cto", |_: Context| async { Ok(done()) }).await;
    assert_eq!(org.client().outcome(&id).await.unwrap().end, End::completed(done()));
    assert_eq!(org.count(&id, Transition::Dead).await, 1);
    runtime.stop().await;
    serving.stop().await;
}
