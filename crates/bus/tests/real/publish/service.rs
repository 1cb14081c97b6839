//! A committer that publishes for other processes.

use futures::future::join_all;
use serde_json::json;
use sinew_bus::{Accepted, AppendError, Bus, CommitService, PublishError};
use sinew_testkit::NatsServer;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::race::{assert_chains, race};
use super::{EVENTS, LOG, MAIL, config, connect, entry, event, held, mail, make_log, world};

struct Served {
    server: NatsServer,
    /// The bus of the committer.
    bus: Bus,
    shutdown: CancellationToken,
    run: JoinHandle<()>,
}

async fn served() -> Served {
    let (server, bus) = world().await;
    make_log(&bus, json!({})).await;
    let service = CommitService::bind(&bus, &[EVENTS, LOG]).await.unwrap();
    let shutdown = CancellationToken::new();
    let run = tokio::spawn(service.run(shutdown.clone()));
    Served { server, bus, shutdown, run }
}

async fn client(server: &NatsServer) -> Bus {
    let mut config = config(&server.url());
    config.commit_service = true;
    Bus::connect(config).await.unwrap()
}

#[tokio::test]
async fn two_processes_share_the_batches_of_a_third() {
    let Served { server, bus, .. } = served().await;
    let (one, two) = (client(&server).await, client(&server).await);
    let sent = |bus: Bus| async move {
        join_all((0..100).map(|_| bus.publish(event(&bus)))).await.iter().all(Result::is_ok)
    };
    assert_eq!(tokio::join!(sent(one.clone()), sent(two.clone())), (true, true));
    assert_eq!(held(&bus, EVENTS).await, 200);
    for client in [one, two] {
        let stats = client.publish_stats();
        assert_eq!((stats.by_service, stats.singles, stats.batches), (100, 0, 0), "{stats:?}");
    }
    let stats = bus.publish_stats();
    assert!(stats.batches > 0 && stats.by_service == 0, "{stats:?}");
}

#[tokio::test]
async fn answers_are_those_of_the_stream() {
    let Served { server, .. } = served().await;
    let client = client(&server).await;
    let first = client.publish(event(&client).id("e")).await;
    assert_eq!(first, Ok(Accepted { seq: 1, duplicate: false }));
    let twin = client.publish(event(&client).id("e")).await;
    assert_eq!(twin, Ok(Accepted { seq: 1, duplicate: true }));
    let events = client.subjects().events();
    let late = client.publish(event(&client).expecting(&events, 0)).await;
    assert!(matches!(late, Err(PublishError::Conflict { doubtful: false, .. })), "{late:?}");
    assert_eq!(client.append(&entry("T1"), 0, "a").await.unwrap(), 1);
    let late = client.append(&entry("T1"), 0, "b").await;
    assert!(matches!(late, Err(AppendError::Conflict { doubtful: false })), "{late:?}");
    // The committer of one stream writes to no other.
    let astray = sinew_bus::Outgoing::new(EVENTS, super::inbox(&client, "cto"), "{}");
    let refused = client.publish(astray).await;
    assert!(matches!(refused, Err(PublishError::NoStream { .. })), "{refused:?}");
    assert_eq!(client.publish_stats().by_service, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_through_a_committer_and_past_it_make_a_chain() {
    let Served { server, bus, .. } = served().await;
    let buses = [client(&server).await, client(&server).await, connect(&server.url()).await];
    let wins = race(&buses, 9, 3).await;
    assert_chains(&bus, wins).await;
    assert!(bus.publish_stats().singles + bus.publish_stats().batches > 0);
}

#[tokio::test]
async fn without_a_committer_the_stream_is_used_directly() {
    let Served { server, bus, shutdown, run } = served().await;
    let client = client(&server).await;
    client.publish(mail(&client, "cto")).await.unwrap();
    assert_eq!(client.publish_stats().singles, 1, "nobody serves that stream");
    client.publish(event(&client)).await.unwrap();
    shutdown.cancel();
    run.await.unwrap();
    client.publish(event(&client)).await.unwrap();
    let stats = client.publish_stats();
    assert_eq!((stats.by_service, stats.singles), (1, 2), "{stats:?}");
    assert_eq!((held(&bus, EVENTS).await, held(&bus, MAIL).await), (2, 1));
}

#[tokio::test]
async fn a_service_that_ends_loses_nothing_that_has_an_id() {
    let Served { server, bus, shutdown, run } = served().await;
    let client = client(&server).await;
    // A request may be on its way while the service ends: it is repeated under its id, at the
    // stream itself.
    let sent = (0..300).map(|number| client.publish(event(&client).id(format!("e{number}"))));
    let sent = join_all(sent);
    let stop = async {
        tokio::task::yield_now().await;
        shutdown.cancel();
        run.await.unwrap();
    };
    let (sent, ()) = tokio::join!(sent, stop);
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    assert_eq!(held(&bus, EVENTS).await, 300);
}
