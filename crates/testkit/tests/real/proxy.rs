//! The faulty link before a real server.

use std::io::Read as _;
use std::net::TcpStream;
use std::time::Duration;

use sinew_testkit::proxy::Direction::{ToClient, ToServer};
use sinew_testkit::{FaultProxy, NatsServer, wait};

use crate::client::Client;

const SOON: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_secs(10);

fn linked() -> (NatsServer, FaultProxy, Client) {
    let server = NatsServer::start();
    let proxy = FaultProxy::start(server.port());
    let mut client = Client::connect(proxy.port()).expect("connecting");
    client.make_stream("LINK", 1);
    (server, proxy, client)
}

#[test]
fn a_cut_link_drops_and_refuses_until_it_is_healed() {
    let (_server, proxy, mut client) = linked();
    assert_eq!((proxy.connections(), proxy.accepted()), (1, 1));
    proxy.cut();
    assert_eq!(proxy.connections(), 0);
    assert!(client.store("LINK.a").is_err(), "the connection is gone");
    let refused = Client::connect(proxy.port()).err().expect("it is refused");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    proxy.heal();
    let mut client = Client::connect(proxy.port()).expect("connecting again");
    assert_eq!(client.store("LINK.b").expect("storing"), 1);
}

#[test]
fn a_stalled_link_delivers_when_it_is_healed() {
    let (_server, proxy, mut client) = linked();
    proxy.stall();
    client.patience(SOON);
    assert!(client.store("LINK.a").is_err(), "an answer came through");
    let newcomer = TcpStream::connect(("127.0.0.1", proxy.port())).expect("being accepted");
    newcomer.set_read_timeout(Some(SOON)).expect("setting a timeout");
    assert!((&newcomer).read(&mut [0]).is_err(), "a stalled link passes on no greeting");
    proxy.heal();
    client.patience(LATE);
    client.answer().expect("the answer comes late");
    assert_eq!(client.count("LINK").expect("counting"), 1);
}

#[test]
fn an_acknowledgement_can_be_lost_while_the_message_is_stored() {
    let (server, proxy, mut client) = linked();
    let before = proxy.received(ToClient);
    proxy.stall_only(ToClient);
    client.publish("LINK.a", "{}").expect("publishing");
    wait::until_blocking("the answer to be held", LATE, || {
        let received = proxy.received(ToClient);
        if received > before { Ok(()) } else { Err(format!("{received} bytes")) }
    });
    assert!(proxy.forwarded(ToClient) < proxy.received(ToClient));
    assert_eq!(proxy.forwarded(ToServer), proxy.received(ToServer));
    proxy.cut();
    assert!(client.answer().is_err(), "the answer is lost");
    let mut client = Client::connect(server.port()).expect("connecting past the proxy");
    assert_eq!(client.count("LINK").expect("counting"), 1);
}

#[test]
fn a_slow_link_delays_each_way() {
    let (_server, proxy, mut client) = linked();
    proxy.delay(SOON);
    client.patience(SOON);
    assert!(client.store("LINK.a").is_err(), "the round trip takes twice as long");
    client.patience(LATE);
    client.answer().expect("the answer comes late");
    assert_eq!(client.count("LINK").expect("counting"), 1);
}

#[test]
fn the_server_behind_the_link_may_come_and_go() {
    let (server, proxy, mut client) = linked();
    server.kill();
    assert!(client.store("LINK.a").is_err(), "the end of the server is passed on");
    assert!(Client::connect(proxy.port()).is_err(), "there is nobody behind the link");
    server.restart();
    let mut client = Client::connect(proxy.port()).expect("connecting again");
    assert_eq!(client.store("LINK.b").expect("storing"), 1);
}
