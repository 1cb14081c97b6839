//! A schedule that fires puts its task on the role's queue, whatever happens meanwhile.

use std::time::Duration;

use serde_json::Value;
use sinew_bus::{Bus, Topology, clock, ensure_consumer};
use sinew_model::{
    Band, Role, header,
    limits::SCHEDULE_BYTES,
    stream::{AGENT_TASKS, TASK_SCHEDULES, work_consumer_name},
};
use sinew_testkit::{NatsCluster, NatsServer, wait};

use super::{ack, bare, bus, info, make, publish, pull, purge, value};

const LONG: Duration = Duration::from_secs(30);

/// The catalogue with a queue for four tasks, and the consumers of the CTO.
async fn set_up(url: &str) -> (Bus, async_nats::Client, Role) {
    let bus = bus(url).await;
    let topology = Topology::overlaid(&bus, "[streams.AGENT_TASKS]\nmax_msgs = 4").unwrap();
    make(&bus, &topology).await;
    let role: Role = "cto".parse().unwrap();
    for band in Band::ALL {
        let spec = topology.catalogue().work_consumer(&role, band);
        ensure_consumer(&bus, AGENT_TASKS, &spec).await.unwrap();
    }
    (bus, bare(url).await, role)
}

/// Schedules a task for a moment from now.
async fn schedule(client: &async_nats::Client, task: &str, band: &str, body: &str) -> Value {
    let at = format!("@at {}", clock::now().plus(Duration::from_millis(300)));
    let target = format!("genbrain.due.cto.tasks{band}");
    let headers = [
        (header::SCHEDULE, at.as_str()),
        (header::SCHEDULE_TARGET, &target),
        (header::SCHEDULE_TTL, "3600s"),
        (header::EPOCH, "2"),
    ];
    publish(client, &format!("genbrain.schedules.{task}"), &headers, body).await
}

/// Waits until that many schedules have fired in all.
async fn fired(bus: &Bus, count: u64) {
    let body = serde_json::json!({ "subjects_filter": "genbrain.due.>" });
    wait::until("the schedules to fire", LONG, || async {
        let info: Value = bus.api(&format!("STREAM.INFO.{TASK_SCHEDULES}"), &body).await.unwrap();
        let subjects = info["state"]["subjects"].as_object().cloned().unwrap_or_default();
        let seen: u64 = subjects.values().filter_map(Value::as_u64).sum();
        if seen == count { Ok(()) } else { Err(format!("{seen} of {count}")) }
    })
    .await;
}

#[tokio::test]
async fn a_fired_schedule_reaches_the_queue_of_its_band_with_its_epoch() {
    let server = NatsServer::start();
    let (bus, client, role) = set_up(&server.url()).await;
    for band in ["", ".urgent", ".low"] {
        schedule(&client, &format!("T{}", band.len()), band, "{\"x\":1}").await;
    }
    for band in Band::ALL {
        let message = pull(&client, AGENT_TASKS, &work_consumer_name(&role, band)).await.unwrap();
        assert_eq!(message.subject.as_str(), bus.subjects().tasks(&role, band).as_str());
        assert_eq!(message.payload.as_ref(), b"{\"x\":1}");
        assert_eq!(value(&message, header::EPOCH), "2");
        ack(&client, &message).await;
    }
    assert_eq!(info(&bus, AGENT_TASKS).await["state"]["messages"], 0);
}

#[tokio::test]
async fn a_full_queue_delays_a_fired_schedule_and_does_not_lose_it() {
    let server = NatsServer::start();
    let (bus, client, role) = set_up(&server.url()).await;
    for _ in 0..4 {
        publish(&client, "genbrain.agents.qa.tasks", &[], "{}").await;
    }
    let full = publish(&client, "genbrain.agents.qa.tasks", &[], "{}").await;
    assert_eq!(full["error"]["err_code"], 10077);
    schedule(&client, "T1", "", "{}").await;
    fired(&bus, 1).await;
    assert_eq!(info(&bus, AGENT_TASKS).await["state"]["messages"], 4);

    purge(&bus, AGENT_TASKS, "genbrain.agents.qa.tasks").await;
    let consumer = work_consumer_name(&role, Band::Normal);
    let message = pull(&client, AGENT_TASKS, &consumer).await.unwrap();
    assert_eq!(value(&message, header::EPOCH), "2");
}

/// The case in which a source without a given beginning loses the message for ever: the queue has
/// sourced nothing yet, and holds messages that are newer than the fired schedule.
#[tokio::test]
async fn a_restart_of_the_server_while_the_queue_is_full_loses_nothing() {
    let server = NatsServer::start();
    let (bus, client, role) = set_up(&server.url()).await;
    for _ in 0..4 {
        publish(&client, "genbrain.agents.qa.tasks", &[], "{}").await;
    }
    schedule(&client, "T1", "", "{}").await;
    fired(&bus, 1).await;
    // Room is made, and a direct delegation is faster than the server's own retry.
    wait::until("a delegation that is newer than the schedule", LONG, || async {
        let body = serde_json::json!({ "keep": 3 });
        let _: Value = bus.api(&format!("STREAM.PURGE.{AGENT_TASKS}"), &body).await.unwrap();
        let answer = publish(&client, "genbrain.agents.qa.tasks", &[], "{}").await;
        if answer.get("error").is_none() { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    server.restart();
    let client = bare(&server.url()).await;
    let bus = self::bus(&server.url()).await;
    purge(&bus, AGENT_TASKS, "genbrain.agents.qa.tasks").await;
    let consumer = work_consumer_name(&role, Band::Normal);
    let message = pull(&client, AGENT_TASKS, &consumer).await.unwrap();
    assert_eq!(value(&message, header::EPOCH), "2");
}

#[tokio::test]
async fn the_largest_schedule_does_not_stop_the_ones_after_it() {
    let server = NatsServer::start();
    let (_bus, client, role) = set_up(&server.url()).await;
    let refused = schedule(&client, "T0", "", &"x".repeat(SCHEDULE_BYTES)).await;
    assert!(refused["error"]["description"].as_str().unwrap().contains("size"), "{refused}");
    // 400 bytes are enough for the headers of the schedule.
    let stored = schedule(&client, "T1", "", &"x".repeat(SCHEDULE_BYTES - 400)).await;
    assert_eq!(stored["stream"], TASK_SCHEDULES, "{stored}");
    schedule(&client, "T2", "", "{}").await;
    let consumer = work_consumer_name(&role, Band::Normal);
    let mut sizes = Vec::new();
    for _ in 0..2 {
        let message = pull(&client, AGENT_TASKS, &consumer).await.unwrap();
        sizes.push(message.payload.len());
        ack(&client, &message).await;
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [2, SCHEDULE_BYTES - 400]);
}

#[tokio::test]
async fn schedules_reach_the_queue_on_a_cluster_whose_leaders_move() {
    let cluster = NatsCluster::start();
    let (bus, client, role) = set_up(&cluster.urls().join(",")).await;
    let consumer = work_consumer_name(&role, Band::Normal);
    for (task, moved) in [("T1", TASK_SCHEDULES), ("T2", AGENT_TASKS)] {
        schedule(&client, task, "", task).await;
        let _: Value =
            bus.api(&format!("STREAM.LEADER.STEPDOWN.{moved}"), &Value::Null).await.unwrap();
        // A leader that moves may hand a schedule over once more; none may be missing.
        wait::until("the schedule to arrive", LONG, || async {
            let Some(message) = pull(&client, AGENT_TASKS, &consumer).await else {
                return Err("nothing".to_owned());
            };
            ack(&client, &message).await;
            if message.payload == task { Ok(()) } else { Err(format!("{:?}", message.payload)) }
        })
        .await;
    }
}
