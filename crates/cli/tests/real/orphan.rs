//! An agent that dies or freezes keeps nothing: real processes, killed and stopped by signals.

use std::time::Duration;

use rustix::process::Signal;
use sinew_bus::Bus;
use sinew_server::context::Context;
use sinew_testkit::wait;

use crate::kit::{Backbone, LONG, Running, words};

/// Shows who runs it, and then waits for the file `go`; told to stop, it says so.
const WAITS: &str = "trap 'echo told >> told-$SINEW_INSTANCE; exit 1' TERM
    echo $$ >> begun-$SINEW_INSTANCE
    while [ ! -e go ]; do read -t 0.05 _ <> pipe || true; done 2> /dev/null
    echo done";

fn agent(backbone: &Backbone, instance: &str) -> Running {
    let args = ["agent", "run", "--role", "cto", "--concurrency", "1", "--instance", instance];
    let agent = backbone.place.start(instance, &[&args[..], &["--", "bash", "-c", WAITS]].concat());
    agent.until_says("takes the tasks");
    agent
}

/// A backbone with a task that runs on the agent `a`, while an agent `b` has nothing to do.
fn running_on_a() -> (Backbone, Running, Running) {
    let backbone = Backbone::start();
    // Opened for reading and writing, it never ends and never has anything to read.
    let made = std::process::Command::new("mkfifo").arg(backbone.place.path("pipe")).status();
    assert!(made.unwrap().success());
    let a = agent(&backbone, "a");
    backbone.place.get(&["task", "delegate", "cto", "Wait", "--id", "T1"]);
    backbone.place.wait_for("begun-a");
    let b = agent(&backbone, "b");
    (backbone, a, b)
}

#[track_caller]
fn completes_on_b(backbone: &Backbone) {
    backbone.place.write("go", "");
    backbone.until_phase("T1", "completed");
    let life = backbone.show("T1");
    assert_eq!(words(&life), ["created", "started", "released", "started", "completed"]);
    assert!(life.to_string().contains("orphaned"), "{life}");
}

#[test]
fn what_a_killed_agent_held_runs_elsewhere_by_the_servers_word() {
    let (backbone, a, b) = running_on_a();
    a.signal(Signal::KILL);
    backbone.place.wait_for("begun-b");
    assert!(backbone.up.err().contains("Disconnected"), "{}", backbone.up.err());
    completes_on_b(&backbone);
    drop(b);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_frozen_agent_held_runs_elsewhere_and_it_thaws_to_do_nothing() {
    let (backbone, a, b) = running_on_a();
    a.signal(Signal::STOP);
    backbone.place.wait_for("begun-b");
    assert!(backbone.up.err().contains("Silent"), "{}", backbone.up.err());
    let context = Context::load(&Context::path_in(&backbone.place.path(".sinew"))).unwrap();
    let bus = Bus::connect(context.bus_config()).await.unwrap();
    let mut acks = bus.watch_subject("$JS.ACK.>").await.unwrap();
    bus.flush().await.unwrap();
    a.signal(Signal::CONT);
    assert_eq!(backbone.place.wait_for("told-a"), "told");
    let before = words(&backbone.show("T1")).len();
    wait::holds("nothing to be sent or written", Duration::from_secs(2), async || {
        let words = words(&backbone.show("T1")).len();
        if words == before { Ok(()) } else { Err(format!("{words} entries")) }
    })
    .await;
    let sent = tokio::time::timeout(Duration::ZERO, acks.next()).await;
    assert!(sent.is_err(), "{sent:?}");
    completes_on_b(&backbone);
    wait::until("the queue to be empty", LONG, async || {
        let state = bus.stream_state(sinew_model::stream::AGENT_TASKS).await.unwrap();
        if state.messages == 0 { Ok(()) } else { Err(format!("{}", state.messages)) }
    })
    .await;
    drop(b);
}
