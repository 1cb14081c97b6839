//! `sinew server --orgs` on a cluster that somebody else runs: orgs that come and go while it does.

use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use sinew_testkit::{Port, wait};

use crate::kit::{LONG, Place};

/// A cluster by the files of `sinew org init`. It ends with this.
struct Servers(Vec<Child>);

impl Drop for Servers {
    fn drop(&mut self) {
        for server in &mut self.0 {
            // One that is gone already needs no end.
            server.kill().ok();
            server.wait().ok();
        }
    }
}

fn start(place: &Place) -> (Servers, Vec<Port>) {
    let ports: Vec<Port> = (0..6).map(|_| Port::lease()).collect();
    let nodes: Vec<String> = ports
        .chunks(2)
        .enumerate()
        .map(|(at, pair)| format!("n{at}=127.0.0.1:{}:{}", pair[0].number(), pair[1].number()))
        .collect();
    let flags: Vec<&str> = nodes.iter().flat_map(|node| ["--node", node.as_str()]).collect();
    let made = place.json(&[&["org", "init", "plant"], &flags[..]].concat());
    let start = |(at, file): (usize, &Value)| {
        let home = place.path(&format!("server{at}"));
        std::fs::create_dir(&home).unwrap();
        let mut command = Command::new(sinew_testkit::install::nats_server());
        command.arg("-c").arg(file.as_str().unwrap()).current_dir(home);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let servers = made["files"].as_array().unwrap().iter().enumerate().map(start).collect();
    (Servers(servers), ports)
}

#[test]
fn the_orgs_of_a_cluster_are_served_while_they_come_and_go() {
    let place = Place::new();
    let (servers, ports) = start(&place);
    let plant = ["--context", "plant"];
    wait::until_blocking("the cluster", LONG, || {
        match place.run(&[&plant[..], &["topology", "apply"]].concat()) {
            done if done.code == Some(0) => Ok(()),
            done => Err(format!("{done:?}")),
        }
    });
    let run = |args: &[&str]| place.get(&[&plant[..], args].concat());
    let serve = ["server", "--orgs", "--data-dir", "view", "--health", "127.0.0.1:0"];
    let mut server = place.start("server", &[&plant[..], &serve[..]].concat());
    server.until_says("sinew serves");

    // Two that are added while it runs: somebody works in each, and sees nothing of the other.
    for name in ["globex", "initech"] {
        run(&["org", "add", name]);
        let creds = format!("{name}.creds");
        run(&["org", "creds", name, "--role", "cto", "-o", &creds]);
        let login = ["--org", name, "--creds", &creds];
        let agent = ["agent", "run", "--role", "cto", "--", "wc", "-w"];
        let agent = place.start(name, &[&plant[..], &login, &agent].concat());
        agent.until_says("takes the tasks");
        let id = format!("{name}-1");
        run(&[&login[..], &["task", "delegate", "cto", "Count", "--id", &id, "--wait"]].concat());
        let seen: Value = place.json(&[&plant[..], &login, &["task", "list"]].concat());
        let tasks = seen["tasks"].as_array().unwrap();
        assert_eq!(tasks.len(), 1, "{seen}");
        assert_eq!(tasks[0]["taskId"], id.as_str(), "{seen}");
        assert!(place.path(&format!("plant/views/{name}.db")).exists(), "{name} is not served");
    }
    // One that goes is gone, and the other is not.
    run(&["org", "remove", "globex", "--yes"]);
    let login = ["--org", "globex", "--creds", "globex.creds"];
    let refused = place.run(&[&plant[..], &login, &["task", "list"]].concat());
    refused.says(5, "authorization violation");
    let login = ["--org", "initech", "--creds", "initech.creds"];
    run(&[&login[..], &["task", "show", "initech-1"]].concat());
    assert_eq!(run(&["org", "incidents"]), "");
    server.signal(Signal::TERM);
    assert!(server.end().success(), "{}", server.err());
    drop((servers, ports));
}
