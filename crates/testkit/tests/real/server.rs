//! One server: what is stored survives what the guard does to it.

use std::time::Duration;

use sinew_testkit::{NatsServer, TempDir};

use crate::client::Client;

fn connect(server: &NatsServer) -> Client {
    Client::connect(server.port()).expect("connecting")
}

#[test]
fn data_and_port_survive_a_kill_and_a_stop() {
    let server = NatsServer::builder().sync_always(true).start();
    let mut client = connect(&server);
    client.make_stream("KEPT", 1);
    client.store("KEPT.a").expect("storing");

    let (port, pid) = (server.port(), server.pid());
    server.kill();
    assert!(!server.is_running());
    assert!(client.count("KEPT").is_err(), "a killed server answers nothing");
    server.restart();
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    assert_eq!(connect(&server).store("KEPT.b").expect("storing"), 2);

    server.stop();
    assert!(!server.is_running());
    server.restart();
    assert_eq!(connect(&server).count("KEPT").expect("counting"), 2);
    server.health().expect("being healthy");
}

#[test]
fn options_reach_the_server() {
    let server = NatsServer::builder()
        .name("named")
        .sync_always(true)
        .max_payload(4096)
        .extra_config("max_connections: 7")
        .start();
    let page = server.monitor("/varz").expect("asking");
    let at = |pointer: &str| page.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(at("/server_name"), "named");
    assert_eq!(at("/max_payload"), 4096);
    assert_eq!(at("/max_connections"), 7);
    assert_eq!(at("/jetstream/config/sync_always"), true);
    assert_eq!(server.url(), format!("nats://127.0.0.1:{}", server.port()));
}

#[test]
fn a_folder_of_ones_own_is_kept_and_can_be_opened_again() {
    let folder = TempDir::new("kept");
    let builder = NatsServer::builder().dir(folder.path());
    let server = builder.clone().start();
    let mut client = connect(&server);
    client.make_stream("KEPT", 1);
    client.store("KEPT.a").expect("storing");
    server.stop();
    drop(server);

    let server = builder.start();
    assert_eq!(connect(&server).count("KEPT").expect("counting"), 1);
}

#[test]
fn a_dropped_server_leaves_nothing() {
    let server = NatsServer::start();
    let (folder, port) = (server.dir().to_owned(), server.port());
    assert!(server.store_dir().is_dir());
    drop(server);
    assert!(!folder.exists());
    assert!(Client::connect(port).is_err());
}

#[test]
fn a_paused_server_answers_only_when_it_goes_on() {
    let server = NatsServer::start();
    let mut client = connect(&server);
    client.make_stream("SLOW", 1);
    server.pause();
    client.patience(Duration::from_millis(50));
    client.publish("SLOW.a", "{}").expect("the connection stays open");
    assert!(client.answer().is_err(), "a paused server answered");
    server.resume();
    client.patience(Duration::from_secs(10));
    client.answer().expect("the answer comes late");
}

#[test]
fn a_paused_server_can_be_stopped_and_killed() {
    let server = NatsServer::start();
    server.pause();
    server.stop();
    server.restart();
    server.pause();
    server.kill();
    server.restart();
    server.health().expect("being healthy");
}

#[test]
fn a_server_that_does_not_start_shows_its_log() {
    let failure = std::panic::catch_unwind(|| {
        NatsServer::builder().extra_config("no_such_setting: true").start()
    });
    let text = failure.expect_err("it started").downcast::<String>().expect("a message");
    assert!(text.contains("no_such_setting"), "{text}");
}
