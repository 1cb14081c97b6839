//! `sinew org`: tenants that come and go while the server runs.

use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;
use serde_json::Value;

use crate::kit::{Backbone, Done, LONG, Place};
use sinew_testkit::wait;

/// A command in the org `globex`, with credentials of it.
fn inside(place: &Place, creds: &str, args: &[&str]) -> Done {
    place.run(&[args, &["--org", "globex", "--creds", creds]].concat())
}

fn has_user(place: &Place, org: &str, user: &str) -> bool {
    let listed = place.json(&["org", "list"]);
    let orgs = listed["orgs"].as_array().unwrap();
    let org = orgs.iter().find(|it| it["org"] == org).unwrap();
    assert_eq!(org["known"], true, "{org}");
    org["users"].as_array().unwrap().iter().any(|it| it["name"] == user)
}

#[test]
fn an_org_is_added_used_rotated_revoked_and_removed_without_a_restart() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let nats = backbone.nats();
    place.get(&["org", "add", "globex"]);
    place.run(&["org", "add", "globex"]).says(4, "already");
    place.get(&["org", "creds", "globex", "--role", "cto", "-o", "cto.creds"]);
    place.get(&["org", "creds", "globex", "--observer", "--expires", "30d", "-o", "look.creds"]);
    let mode = place.path("cto.creds").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(has_user(place, "globex", "agent-cto") && has_user(place, "globex", "observer"));
    place.run(&["org", "creds", "globex", "-o", "x"]).says(2, "for whom");

    // An agent of the one org works for it, and the other org sees none of it.
    let args = ["agent", "run", "--role", "cto", "--org", "globex", "--creds", "cto.creds"];
    let mut agent = place.start("agent", &[&args[..], &["--", "wc", "-w"]].concat());
    agent.until_says("takes the tasks");
    let delegate = ["task", "delegate", "cto", "Count", "--id", "G1", "--wait"];
    let done = inside(place, "cto.creds", &delegate);
    assert_eq!(done.code, Some(0), "{done:?}");
    let seen = inside(place, "look.creds", &["task", "list", "--json"]);
    assert!(seen.out.contains("G1"), "{seen:?}");
    assert_eq!(place.json(&["task", "list"])["tasks"], Value::Array(Vec::new()));

    // What the old key signed is good until it is retired; what it signed is cut then.
    place.get(&["org", "rotate", "globex"]);
    place.get(&["org", "creds", "globex", "--role", "ceo", "-o", "ceo.creds"]);
    for creds in ["cto.creds", "ceo.creds"] {
        let done = inside(place, creds, &["task", "show", "G1"]);
        assert_eq!(done.code, Some(0), "{creds}: {done:?}");
    }
    place.get(&["org", "rotate", "globex", "--retire"]);
    inside(place, "cto.creds", &["task", "show", "G1"]).says(5, "authorization violation");
    agent.until_says("is lost; reconnecting");
    agent.signal(Signal::KILL);
    agent.end();
    assert_eq!(inside(place, "ceo.creds", &["task", "show", "G1"]).code, Some(0));

    // Revoked: the connection is cut and not let in again; others stay.
    let args = ["agent", "run", "--role", "ceo", "--org", "globex", "--creds", "ceo.creds"];
    let agent = place.start("ceo", &[&args[..], &["--", "cat"]].concat());
    agent.until_says("takes the tasks");
    place.run(&["org", "revoke", "globex", "--role", "nobody"]).says(3, "nobody has");
    place.get(&["org", "revoke", "globex", "--role", "ceo"]);
    agent.until_says("is lost; reconnecting");
    inside(place, "ceo.creds", &["task", "show", "G1"]).says(5, "authorization violation");
    assert!(!has_user(place, "globex", "agent-ceo"));

    // Everything was said on the events of the org.
    place.get(&["org", "creds", "globex", "--operator", "-o", "op.creds"]);
    let tail =
        ["events", "tail", "--last", "100", "--json", "--org", "globex", "--creds", "op.creds"];
    let events = place.start("events", &tail);
    for action in ["org.added", "org.credentials", "org.rotated", "org.retired", "org.revoked"] {
        events.until_says(action);
    }
    drop(events);

    // It goes with all it has, after an export, and only when it is meant.
    place.run(&["org", "remove", "globex"]).says(2, "say --yes");
    place.run(&["org", "remove", "acme", "--yes"]).says(4, "serves acme here");
    let removed = place.json(&["org", "remove", "globex", "--yes", "--export", "kept"]);
    assert_eq!(removed["org"], "globex");
    let log = std::fs::read_to_string(place.path("kept/TASK_LOG.jsonl")).unwrap();
    assert!(log.contains("genbrain.org.globex.tasks.G1.completed"), "{log}");
    inside(place, "op.creds", &["task", "list"]).says(5, "authorization violation");
    place.run(&["org", "creds", "globex", "--observer", "-o", "x"]).says(3, "no org globex");
    let account = removed["account"].as_str().unwrap();
    let left = place.path(".sinew/store/jetstream").join(account);
    wait::until_blocking("the streams to be deleted", LONG, || {
        let streams = std::fs::read_dir(left.join("streams")).into_iter().flatten().count();
        if streams == 0 { Ok(()) } else { Err(format!("{streams} streams")) }
    });
    assert_eq!(backbone.nats(), nats, "the server was started again");
}

#[test]
fn an_org_outlives_a_restart_and_is_bounded_by_its_quotas() {
    let mut backbone = Backbone::start();
    backbone.place.get(&["org", "add", "globex", "--connections", "3"]);
    backbone.place.get(&["org", "creds", "globex", "--role", "cto", "-o", "cto.creds"]);
    backbone.up.signal(Signal::TERM);
    backbone.up.end();
    backbone.place.run(&["org", "add", "late"]).says(5, "out of reach");
    let backbone = Backbone::on(backbone.place);
    let place = &backbone.place;
    assert!(has_user(place, "globex", "agent-cto"));
    let args = ["agent", "run", "--role", "cto", "--org", "globex", "--creds", "cto.creds"];
    let args = [&args[..], &["--", "cat"]].concat();
    let agents: Vec<_> = (0..3)
        .map(|number| {
            let agent = place.start(&format!("agent{number}"), &args);
            agent.until_says("takes the tasks");
            agent
        })
        .collect();
    let more = inside(place, "cto.creds", &["task", "list"]);
    more.says(5, "maximum account active connections exceeded");
    drop(agents);
}

#[test]
fn the_configuration_of_a_cluster_is_made_and_is_one() {
    let place = Place::new();
    let nodes = ["n1=127.0.0.1:4331:6331", "n2=127.0.0.1:4332:6332"];
    let args = ["org", "init", "plant", "--node", nodes[0], "--node", nodes[1]];
    let made = place.json(&args);
    assert_eq!(made["url"], "nats://127.0.0.1:4331,nats://127.0.0.1:4332");
    for file in made["files"].as_array().unwrap() {
        let file = std::path::Path::new(file.as_str().unwrap());
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        // The server itself says whether it is one.
        let mut checked = std::process::Command::new(sinew_testkit::install::nats_server());
        checked.arg("-t").arg("-c").arg(file).current_dir(place.path("plant"));
        let done = Done::of(&mut checked);
        assert_eq!(done.code, Some(0), "{done:?}");
    }
    let key = std::fs::read_to_string(place.path("plant/keys/operator.nk")).unwrap();
    place.get(&args);
    assert_eq!(std::fs::read_to_string(place.path("plant/keys/operator.nk")).unwrap(), key);
    place.run(&["org", "init", "plant", "--node", "n1=h:x:1"]).says(2, "is no NAME=HOST");
    let twice = ["org", "init", "plant", "--node", nodes[0], "--node", nodes[0]];
    place.run(&twice).says(2, "one name");
    place.run(&["org", "list", "--context", "plant"]).says(5, "out of reach");
}
