//! `sinew up`: it starts, is found, survives what it can, and leaves nothing behind.

use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::Value;

use crate::kit::{Backbone, LONG, Place, signal, wait_gone};
use sinew_testkit::wait;

#[test]
fn what_was_delegated_is_there_after_an_orderly_restart_which_leaves_no_process() {
    let mut backbone = Backbone::start();
    let ready: Value = serde_json::from_str(&backbone.up.out()).unwrap();
    assert_eq!((&ready["event"], &ready["org"]), (&"ready".into(), &"acme".into()));
    let id = backbone.place.get(&["task", "delegate", "cto", "Wait for me"]);
    let nats = backbone.nats();
    backbone.up.signal(Signal::TERM);
    assert_eq!(backbone.up.end().code(), Some(0));
    wait_gone(nats);
    backbone.place.run(&["task", "list"]).says(5, "hint:");

    let backbone = Backbone::on(backbone.place);
    let listed = backbone.place.json(&["task", "list"]);
    assert_eq!(listed["tasks"][0]["taskId"], id.as_str());
    // From a folder below, too.
    std::fs::create_dir(backbone.place.path("below")).unwrap();
    let mut command = backbone.place.command(&["task", "show", &id]);
    assert!(command.current_dir(backbone.place.path("below")).status().unwrap().success());
}

#[test]
fn a_second_one_on_the_same_folder_is_refused() {
    let backbone = Backbone::start();
    let second = backbone.place.run(&["up"]);
    second.says(4, "already runs");
    assert!(second.err.contains(&backbone.up.pid().to_string()), "{second:?}");
}

#[test]
fn a_server_that_dies_is_started_again() {
    let backbone = Backbone::start();
    let first = backbone.nats();
    signal(first, Signal::KILL);
    backbone.up.until_says("nats-server is back");
    assert_ne!(backbone.nats(), first);
    backbone.place.get(&["task", "delegate", "cto", "Still there"]);
    let listed = backbone.place.json(&["task", "list"]);
    assert_eq!(listed["tasks"][0]["title"], "Still there");
}

#[test]
fn one_that_is_killed_takes_its_server_with_it() {
    let mut backbone = Backbone::start();
    let nats = backbone.nats();
    backbone.up.signal(Signal::KILL);
    backbone.up.end();
    wait_gone(nats);
    let again = Backbone::on(backbone.place);
    assert_ne!(again.nats(), nats);
}

#[test]
fn what_keeps_it_from_starting_is_said_with_a_way_out() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let done = place.run(&["up", "--port", &port]);
    done.says(4, "is taken");
    done.says(4, "hint: leave --port away");

    place.write("file", "");
    let done = place.run(&["up", "--data-dir", "file/below"]);
    done.says(1, "hint: name a folder");

    let done = place.run(&["up", "--nats-server", "/no/such/nats-server"]);
    done.says(3, "tools/install-nats");
    place.run(&["up", "--durability", "never"]).says(2, "always or interval");
}

#[test]
fn it_can_serve_beside_a_server_of_somebody_else() {
    let server = sinew_testkit::NatsServer::start();
    let place = Place::new();
    let args = ["up", "--nats-url", &server.url(), "--org", "acme", "--json"];
    let mut up = place.start("up", &args);
    up.until_says("\"ready\"");
    let there = ["--url", &server.url(), "--org", "acme"];
    place.get(&[&["task", "delegate", "cto", "Here"], there.as_slice()].concat());
    let list = [&["task", "list"], there.as_slice()].concat();
    wait::until_blocking("the task", LONG, || {
        let listed = place.json(&list);
        if listed["tasks"][0]["title"] == "Here" { Ok(()) } else { Err(listed.to_string()) }
    });
    up.signal(Signal::INT);
    assert_eq!(up.end().code(), Some(0));
    assert!(server.is_running());
}

#[test]
fn two_services_can_serve_one_org_and_each_ends_by_itself() {
    let server = sinew_testkit::NatsServer::start();
    let place = Place::new();
    let there = ["--url", &server.url(), "--org", "acme"];
    let start = |folder: &str| {
        let one = place.start(
            folder,
            &[&["server", "--data-dir", folder, "--json"], there.as_slice()].concat(),
        );
        one.until_says("\"ready\"");
        one
    };
    let (mut first, mut second) = (start("one"), start("two"));
    let id = place.get(&[&["task", "delegate", "cto", "Here"], there.as_slice()].concat());
    first.signal(Signal::TERM);
    assert_eq!(first.end().code(), Some(0));
    let listed = place.json(&[&["task", "list"], there.as_slice()].concat());
    assert_eq!(listed["tasks"][0]["taskId"], id.as_str());
    second.signal(Signal::INT);
    assert_eq!(second.end().code(), Some(0));
    assert!(server.is_running());
}
