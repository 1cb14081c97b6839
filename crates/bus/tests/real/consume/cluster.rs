//! Three servers, one of which dies.

use serde_json::json;
use sinew_bus::{Intake, Slots};
use sinew_model::Band;
use sinew_testkit::{NatsCluster, wait};

use crate::queue::{
    LATE, STREAM, body, connect, make_consumer, make_stream, next, plain_client, store,
};

#[tokio::test]
async fn work_goes_on_after_the_death_of_the_streams_leader() {
    let cluster = NatsCluster::start();
    let urls = cluster.urls().join(",");
    let bus = connect(&urls).await;
    make_stream(&bus, 3).await;
    make_consumer(&bus, "a", json!({})).await;
    let slots = Slots::new(2);
    let mut intake = Intake::open(&bus, STREAM, vec![(Band::Normal, "a".to_owned())], &slots);
    let client = plain_client(&cluster.node(0).url()).await;
    store(&client, "q.a", "1").await.unwrap();
    let (first, slot) = next(&mut intake, LATE).await;

    let dead = cluster.stream_leader(STREAM).unwrap();
    cluster.node(dead).kill();
    let client = plain_client(&cluster.node((dead + 1) % 3).url()).await;
    wait::until("the queue to take another task", LATE, || store(&client, "q.a", "2")).await;
    // An ack that finds no leader is repeated under the subject that its error gives.
    let ack = first.ack_subject().clone();
    if first.ack().await.is_err() {
        wait::until("the ack to be taken", LATE, || async {
            bus.ack(&ack).await.map_err(|error| error.to_string())
        })
        .await;
    }
    drop(slot);
    let (second, _slot) = next(&mut intake, LATE).await;
    assert_eq!(body(&second), 2);
    second.ack().await.unwrap();
}
