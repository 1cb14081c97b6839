//! What is handed over again while somebody works on it is left to whoever does.

use std::time::Duration;

use serde_json::Value;
use sinew_agent::Delegation;
use sinew_model::{
    Transition,
    stream::{AGENT_TASKS, work_consumer_name},
};
use sinew_testkit::{NatsServer, wait};

use crate::kit::{Backbone, Gate, PATIENCE, role};

/// Deletes the consumer of the role, as a person would by mistake.
async fn delete_consumer(backbone: &Backbone) -> String {
    let consumer = work_consumer_name(&role("cto"), sinew_model::Band::Normal);
    let call = format!("CONSUMER.DELETE.{AGENT_TASKS}.{consumer}");
    let _: Value = backbone.bus.api(&call, &Value::Null).await.unwrap();
    consumer
}

#[tokio::test]
async fn a_handler_runs_once_though_its_consumer_is_deleted_and_made_again() {
    // Long enough for a heartbeat to be heard before the lease is doubted, and short enough that a
    // lease that is not renewed is seen to lapse.
    let overlay = "[consumers]\nack_wait = \"4s\"";
    let backbone = Backbone::with(NatsServer::start(), overlay).await;
    let gate = Gate::shut();
    let first = backbone.run(backbone.settings("cto"), gate.handler()).await;
    let ceo = backbone.client("ceo");
    let id = ceo.delegate(Delegation::new(role("cto"), "Long")).await.unwrap().id;
    backbone.until_count(&id, Transition::Started, 1).await;
    let second = backbone.run(backbone.settings("cto"), gate.handler()).await;
    let consumer = delete_consumer(&backbone).await;
    wait::until("the message to be handed over again", PATIENCE, async || {
        match backbone.bus.open_deliveries(AGENT_TASKS, &consumer).await.unwrap() {
            Some(open) if open.newest_delivery > 0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    // Two ack waits: the holder's in-progress acts on the new delivery, else it came once more.
    wait::holds("one attempt", Duration::from_secs(8), async || {
        let words = backbone.words(&id).await;
        if words == ["created", "started"] { Ok(()) } else { Err(format!("{words:?}")) }
    })
    .await;
    let open = backbone.bus.open_deliveries(AGENT_TASKS, &consumer).await.unwrap().unwrap();
    assert!(open.newest_delivery <= 2, "its lease is renewed: {open:?}");
    gate.open();
    ceo.outcome(&id).await.unwrap();
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&id).await, ["created", "started", "completed"]);
    let tallies = [first.stop().await, second.stop().await];
    assert_eq!(tallies.map(|tally| tally.started).iter().sum::<u64>(), 1);
}

#[tokio::test]
async fn many_handlers_go_on_through_a_new_consumer_and_a_dead_holder_is_followed() {
    // What the server gives to a pull that ends at that moment comes again when its ack wait is over.
    let overlay = "[consumers]\nack_wait = \"6s\"";
    let backbone = Backbone::with(NatsServer::start(), overlay).await;
    let gate = Gate::shut();
    let dying = backbone.process(backbone.settings("cto"), gate.handler());
    let ceo = backbone.client("ceo");
    let orphan = ceo.delegate(Delegation::new(role("cto"), "Orphan")).await.unwrap().id;
    backbone.until_count(&orphan, Transition::Started, 1).await;
    dying.kill();
    let living = backbone.run(backbone.settings("cto"), gate.handler()).await;
    let mut ids = Vec::new();
    for number in 0..4 {
        let what = Delegation::new(role("cto"), format!("Task {number}"));
        let id = ceo.delegate(what).await.unwrap().id;
        backbone.until_count(&id, Transition::Started, 1).await;
        ids.push(id);
    }
    let other = backbone.run(backbone.settings("cto"), gate.handler()).await;
    delete_consumer(&backbone).await;
    // Nobody says that the dead one holds its task, so somebody else takes it over.
    backbone.until_count(&orphan, Transition::Started, 2).await;
    gate.open();
    for id in &ids {
        ceo.outcome(id).await.unwrap();
        assert_eq!(backbone.words(id).await, ["created", "started", "completed"]);
    }
    assert_eq!(ceo.outcome(&orphan).await.unwrap().attempts, 2);
    backbone.until_queue_is_empty().await;
    living.stop().await;
    other.stop().await;
}
