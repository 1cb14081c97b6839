//! Three replicas: other refusals than one server has, and the crash of a leader.

use serde_json::{Value, json};
use sinew_testkit::{NatsCluster, wait};
use tokio::task::JoinSet;

use super::race::{assert_chains, race};
use super::{EVENTS, LATE, connect, event, make, make_log};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_a_cluster_make_chains_and_a_leaders_crash_loses_nothing() {
    let cluster = NatsCluster::start();
    let bus = connect(&cluster.urls().join(",")).await;
    make_log(&bus, json!({"num_replicas": 3})).await;
    make(&bus, EVENTS, "genbrain.org.acme.events", json!({"num_replicas": 3})).await;
    let other = connect(&cluster.urls().join(",")).await;
    let wins = race(&[bus.clone(), other], 8, 3).await;
    assert_chains(&bus, wins).await;

    let mut running = JoinSet::new();
    for caller in 0..10 {
        let bus = bus.clone();
        running.spawn(async move {
            for number in 0..50 {
                bus.publish(event(&bus).id(format!("{caller}-{number}"))).await.unwrap();
            }
        });
    }
    wait::until("a part to be stored", LATE, || async {
        let stats = bus.publish_stats();
        if stats.singles + stats.batched > 100 { Ok(()) } else { Err(format!("{stats:?}")) }
    })
    .await;
    let leader = cluster.stream_leader(EVENTS).unwrap();
    cluster.node(leader).kill();
    running.join_all().await;
    wait::until("the next leader to have all of it", LATE, || async {
        let info = bus.api::<Value>(&format!("STREAM.INFO.{EVENTS}"), &Value::Null).await;
        let info = info.map_err(|error| error.to_string())?;
        let held = info.pointer("/state/messages").and_then(Value::as_u64);
        if held == Some(500) { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .await;
}
