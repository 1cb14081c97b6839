//! Three servers: what was acknowledged is kept whichever of them dies.

use std::time::Duration;

use sinew_testkit::{NatsCluster, wait};

use crate::client::Client;

#[test]
fn an_acknowledged_message_survives_the_death_of_the_streams_leader() {
    let cluster = NatsCluster::start();
    assert_eq!(cluster.urls().len(), 3);
    let leader = cluster.leader().expect("a cluster that is ready has a leader");
    let mut client = Client::connect(cluster.node(leader).port()).expect("connecting");
    client.make_stream("SAFE", 3);
    client.store("SAFE.a").expect("storing");

    let dead = cluster.stream_leader("SAFE").expect("the stream has a leader");
    cluster.node(dead).kill();
    let port = cluster.node((dead + 1) % 3).port();
    let count = wait::until_blocking("the stream's next leader", Duration::from_secs(30), || {
        let mut client = Client::connect(port).map_err(|error| error.to_string())?;
        client.patience(Duration::from_secs(1));
        let sequence = client.store("SAFE.b").map_err(|error| error.to_string())?;
        let count = client.count("SAFE").map_err(|error| error.to_string())?;
        // Attempts whose answer came too late count too; the first message must be there.
        if count == sequence { Ok(count) } else { Err(format!("{count} of {sequence}")) }
    });
    assert!(count >= 2);

    cluster.node(dead).restart();
    cluster.wait_ready();
    let mut client = Client::connect(cluster.node(dead).port()).expect("connecting");
    assert!(client.count("SAFE").expect("counting") >= count);
}

#[test]
fn a_paused_node_is_missed_and_comes_back() {
    let cluster = NatsCluster::builder().sync_always(true).start();
    let leader = cluster.leader().expect("a cluster that is ready has a leader");
    let paused = cluster.node((leader + 1) % 3);
    paused.pause();
    assert!(cluster.leader().is_none(), "a paused node names no leader");
    paused.resume();
    cluster.wait_ready();
}
