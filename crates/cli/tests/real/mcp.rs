//! `sinew mcp`: hosts as agents, over pipes and over HTTP.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use sinew_bus::clock;
use sinew_testkit::{Node, Port, Python, Script};

use crate::kit::{Backbone, LONG, Place, SINEW, signal};

/// The server as the child of a host.
struct Session {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    calls: u64,
}

impl Session {
    fn start(place: &Place, role: &str) -> Self {
        let mut command = place.command(&["mcp", "--role", role]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (to, from) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut session = Self { child, to, from, calls: 0 };
        let begun = session.ask(
            "initialize",
            json!({ "protocolVersion": "2025-11-25", "capabilities": {},
                    "clientInfo": { "name": "test", "version": "1" } }),
        );
        assert_eq!(begun["serverInfo"]["name"], "sinew");
        session.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        session
    }

    fn say(&mut self, message: &Value) {
        writeln!(self.to.as_mut().unwrap(), "{message}").unwrap();
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.say(&request);
        let mut line = String::new();
        while self.from.read_line(&mut line).unwrap() > 0 {
            let mut message: Value = serde_json::from_str(&line).unwrap();
            if message["id"] == id {
                return message["result"].take();
            }
            line.clear();
        }
        panic!("no answer to {request}");
    }

    fn call(&mut self, tool: &str, given: Value) -> Value {
        let result = self.ask("tools/call", json!({ "name": tool, "arguments": given }));
        assert_ne!(result["isError"], true, "{result}");
        result["structuredContent"].clone()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_host_works_on_a_task_and_another_takes_over_where_it_is_killed() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let id = place.get(&["task", "delegate", "cto", "Paint"]);
    let (mut first, mut second) = (Session::start(place, "cto"), Session::start(place, "cto"));
    let taken = first.call("get_my_next_task", json!({ "wait_seconds": 20 }));
    assert_eq!(taken["task"]["taskId"], id.as_str());
    // The server is killed with its host: nobody says goodbye.
    signal(first.child.id(), Signal::KILL);
    let taken = second.call("get_my_next_task", json!({ "wait_seconds": 40 }));
    assert_eq!((&taken["task"]["taskId"], &taken["task"]["attempt"]), (&json!(id), &json!(2)));
    second.call("complete_task", json!({ "task_id": id, "result": "red" }));
    let shown = place.json(&["task", "show", &id]);
    assert_eq!(shown["state"]["phase"]["end"]["result"], "red", "{shown}");
    // A host that closes its pipe is the end of the server.
    second.to = None;
    assert_eq!(second.child.wait().unwrap().code(), Some(0));
}

/// A host in a process of its own that takes a task and is killed while it thinks about it: gives how
/// long it took until `next` had the task.
fn kill_while_it_holds(host: Script, next: &mut Session, id: &str) -> Duration {
    let mut child = host.start();
    let mut told = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut told).unwrap();
    assert_eq!(told.trim(), id);
    signal(child.id(), Signal::KILL);
    let died = clock::instant();
    child.wait().unwrap();
    let taken = next.call("get_my_next_task", json!({ "wait_seconds": 40 }));
    let took = died.elapsed();
    assert_eq!((&taken["task"]["taskId"], &taken["task"]["attempt"]), (&json!(id), &json!(2)));
    next.call("complete_task", json!({ "task_id": id, "result": "red" }));
    took
}

#[test]
fn hosts_that_are_killed_hand_their_tasks_over() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let ready: Value = serde_json::from_str(&backbone.up.out()).unwrap();
    let token = place.get(&["mcp", "token", "--role", "cto"]);
    let context = place.path(".sinew").display().to_string();
    let over_http = vec!["http", ready["mcpUrl"].as_str().unwrap(), &token];
    let over_stdio = vec!["stdio", SINEW, "mcp", "--role", "cto", "--context", &context];
    let mut next = Session::start(place, "cto");
    for way in [over_http, over_stdio] {
        let id = place.get(&["task", "delegate", "cto", "Paint"]);
        let host = Python::script("crates/cli/tests/real/mcp_hold.py")
            .env("PYTHONPATH", sinew_testkit::install::mcp_clients());
        let host = way.iter().copied().fold(host, Script::arg);
        let took = kill_while_it_holds(host, &mut next, &id);
        // It is said, and not judged: what else the machine does is in it.
        writeln!(std::io::stderr(), "{}: another host had it after {took:?}", way[0]).unwrap();
    }
}

/// The story of three hosts, told by a program: two over HTTP, one over stdio.
fn tell(story: Script) {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let ready: Value = serde_json::from_str(&backbone.up.out()).unwrap();
    let token = |role: &str| place.get(&["mcp", "token", "--role", role]);
    let context = place.path(".sinew").display().to_string();
    let url = ready["mcpUrl"].as_str().unwrap();
    let story = story.arg(url).arg(token("ceo")).arg(token("cto"));
    let command = [SINEW, "mcp", "--role", "qa", "--context", &context];
    let told = command.into_iter().fold(story, Script::arg).timeout(LONG * 4).run_blocking();
    assert!(told.success().contains("the story is told"));
}

/// The official SDK in Python, in a revision of MCP.
fn in_python(revision: &str) -> Script {
    Python::script("crates/cli/tests/real/mcp_story.py")
        .env("PYTHONPATH", sinew_testkit::install::mcp_clients())
        .arg(revision)
}

#[test]
fn the_official_sdk_in_python_tells_a_story_of_three_hosts_with_sessions() {
    tell(in_python("legacy"));
}

#[test]
fn the_official_sdk_in_python_tells_a_story_of_three_hosts_without_sessions() {
    tell(in_python("2026-07-28"));
}

#[test]
fn the_official_sdk_in_typescript_tells_a_story_of_three_hosts() {
    tell(Node::script("crates/cli/tests/real/mcp_story.cjs"));
}

#[test]
fn a_token_lets_in_over_http() {
    let port = Port::lease();
    let port_number = port.number().to_string();
    let backbone = Backbone::with(Place::new(), &["--mcp-port", &port_number]);
    let ready: Value = serde_json::from_str(&backbone.up.out()).unwrap();
    let url = ready["mcpUrl"].as_str().unwrap().to_owned();
    let made = backbone.place.json(&["mcp", "token", "--role", "cto"]);
    assert_eq!(made["url"], url.as_str());
    let token = made["token"].as_str().unwrap();
    assert_eq!(begin(&url, token), 200);
    assert_eq!(begin(&url, "guess"), 401);
    let id = made["id"].as_str().unwrap();
    assert_eq!(backbone.place.json(&["mcp", "token", "--list"])[0]["id"], id);
    backbone.place.get(&["mcp", "token", "--revoke", id]);
    assert_eq!(begin(&url, token), 401);
    backbone.place.run(&["mcp", "token", "--revoke", id]).says(3, "--list");
    // Hosts have the address in their configuration: it is the same the next time.
    let Backbone { place, mut up, .. } = backbone;
    up.signal(Signal::TERM);
    assert_eq!(up.end().code(), Some(0));
    let again = Backbone::on(place);
    let ready: Value = serde_json::from_str(&again.up.out()).unwrap();
    assert_eq!(ready["mcpUrl"], url.as_str());
}

/// Begins a session, and gives the status.
fn begin(url: &str, token: &str) -> u16 {
    let address = url.trim_start_matches("http://").trim_end_matches("/mcp");
    let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "raw", "version": "1" } } })
    .to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         Authorization: Bearer {token}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    std::str::from_utf8(&status[9..]).unwrap().parse().unwrap()
}

#[test]
fn a_host_is_configured_and_its_file_kept() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let file =
        place.write(".mcp.json", "{ \"mcpServers\": { \"other\": { \"command\": \"x\" } } }");
    let shown = place.get(&["mcp", "install", "claude-code", "--role", "cto"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["mcpServers"]["other"]["command"], "x");
    place.get(&["mcp", "install", "claude-code", "--role", "cto", "--write"]);
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(written, shown);
    let args = written["mcpServers"]["sinew"]["args"].as_array().unwrap();
    assert_eq!(&args[..3], ["mcp", "--role", "cto"]);
    assert!(place.path(".mcp.json.before-sinew").is_file());
    let again = place.json(&["mcp", "install", "claude-code", "--role", "cto", "--write"]);
    assert_eq!(again["written"], false);
    let new = place.path("new/config.toml").display().to_string();
    place.get(&["mcp", "install", "codex", "--role", "qa", "--write", "--file", &new]);
    assert!(std::fs::read_to_string(&new).unwrap().contains("[mcp_servers.sinew]"));
    place.write("commented.json", "{ // mine\n}");
    let refused =
        ["mcp", "install", "vscode", "--role", "cto", "--write", "--file", "commented.json"];
    place.run(&refused).says(4, "not plain JSON");
    place.run(&["mcp", "install", "emacs", "--role", "cto"]).says(2, "claude-code");
    place.run(&["mcp", "install", "cursor"]).says(2, "needs a role");
    place.run(&["mcp"]).says(2, "needs a role");
}

#[test]
fn without_a_backbone_a_host_is_told_what_to_do() {
    let place = Place::new();
    place.run(&["mcp", "--role", "cto"]).says(5, "hint:");
    place.run(&["mcp", "token", "--role", "cto"]).says(5, "hint:");
}
