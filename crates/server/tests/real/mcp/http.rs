//! Many hosts over HTTP: who is let in, and what becomes of the tasks of one that is gone.

use std::{collections::HashMap, time::Duration};

use futures::StreamExt as _;
use rmcp::{
    RoleClient, ServiceExt as _,
    service::RunningService,
    transport::{
        StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::{Value, json};
use sinew_agent::Delegation;
use sinew_server::mcp::{http::Server, token::Tokens};
use sinew_testkit::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::kit::{Backbone, Ear, PATIENCE, call};

/// A server, with tokens in a folder.
pub(super) struct Served {
    pub(super) backbone: Backbone,
    folder: TempDir,
    url: String,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Served {
    async fn start() -> Self {
        Self::on(Backbone::start().await).await
    }

    pub(super) async fn on(backbone: Backbone) -> Self {
        let folder = TempDir::new("mcp");
        let server = Server::bind(backbone.origin().await, Some(0)).await.unwrap();
        let (url, stop) = (server.url(), CancellationToken::new());
        let running = server.run(Tokens::of(folder.path()), stop.clone());
        let running = tokio::spawn(async move { running.await.unwrap() });
        Self { backbone, folder, url, stop, running }
    }

    pub(super) fn token(&self, role: &str) -> String {
        let tokens = Tokens::of(self.folder.path());
        let made = tokens.make("acme".parse().unwrap(), role.parse().unwrap(), None);
        made.unwrap().0.expose().to_owned()
    }

    /// A host with a session, in the threads that it is called in.
    pub(super) async fn host(&self, token: &str) -> RunningService<RoleClient, Ear> {
        host(self.url.clone(), token.to_owned()).await
    }

    /// One request as raw bytes: the status, and the rest.
    async fn raw(&self, head: &str, body: &str) -> (u16, String) {
        let address = self.url.trim_start_matches("http://").trim_end_matches("/mcp");
        let mut stream = TcpStream::connect(address).await.unwrap();
        let host =
            if head.contains("Host:") { String::new() } else { format!("Host: {address}\r\n") };
        let length = body.len();
        let request = format!(
            "POST /mcp HTTP/1.1\r\n{host}Connection: close\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nContent-Length: {length}\r\n{head}\r\n{body}"
        );
        // A server that refuses may answer before it has read everything.
        stream.write_all(request.as_bytes()).await.ok();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        tokio::time::timeout(PATIENCE, read).await.unwrap().ok();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or_default();
        (status, answer)
    }

    /// A call of a client that has no session.
    pub(super) async fn stateless(&self, token: &str, tool: &str, given: Value) -> Value {
        let answer = self.ask(token, tool, given).await;
        let data = answer.lines().find_map(|line| line.strip_prefix("data: {"));
        let data = data.unwrap_or_else(|| panic!("no answer in {answer}"));
        let message: Value = serde_json::from_str(&format!("{{{data}")).unwrap();
        message.pointer("/result/structuredContent").cloned().unwrap_or_default()
    }

    /// The same; gives the answer as it came.
    async fn ask(&self, token: &str, tool: &str, given: Value) -> String {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": tool, "arguments": given, "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "raw", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": {} } } });
        let head = format!(
            "Authorization: Bearer {token}\r\nMCP-Protocol-Version: 2026-07-28\r\n\
             Mcp-Method: tools/call\r\nMcp-Name: {tool}\r\n"
        );
        let (status, answer) = self.raw(&head, &body.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap();
    }
}

async fn host(url: String, token: String) -> RunningService<RoleClient, Ear> {
    let config = StreamableHttpClientTransportConfig::with_uri(url)
        .auth_header(token)
        .custom_headers(HashMap::new());
    Ear::new().0.serve(StreamableHttpClientTransport::from_config(config)).await.unwrap()
}

fn begin() -> String {
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "raw", "version": "1" } } })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_a_token_and_comes_from_here_is_let_in() {
    let served = Served::start().await;
    let token = served.token("cto");
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let refused = [
        (String::new(), 401, "there is no token"),
        ("Authorization: Bearer guess\r\n".to_owned(), 401, "not known"),
        (format!("Authorization: Basic {token}\r\n"), 401, "there is no token"),
        (format!("{bearer}Origin: https://evil.example\r\n"), 403, "Origin"),
        (format!("{bearer}Origin: null\r\n"), 403, "Origin"),
        (format!("{bearer}Origin: http://localhost.evil.example\r\n"), 403, "Origin"),
        (format!("{bearer}Host: evil.example\r\n"), 403, "Host"),
    ];
    for (head, status, words) in refused {
        let (got, answer) = served.raw(&head, &begin()).await;
        assert_eq!(got, status, "{head}: {answer}");
        assert!(answer.contains(words), "{head}: {answer}");
        assert!(!answer.contains(&token), "{answer}");
    }
    let large = format!("{{\"x\": \"{}\"}}", "y".repeat(9 << 20));
    let (status, answer) = served.raw(&bearer, &large).await;
    assert!(status == 413 || answer.is_empty(), "{status}: {answer}");
    let (status, answer) = served.raw(&bearer, "no JSON").await;
    assert!((400..500).contains(&status), "{answer}");
    let page = format!("{bearer}Origin: http://localhost:5173\r\n");
    assert_eq!(served.raw(&page, &begin()).await.0, 200, "a page of this machine");
    let (status, answer) = served.raw(&bearer, &begin()).await;
    assert_eq!(status, 200, "{answer}");
    // The session of one token is nothing to another.
    let id = answer.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap();
    let other = served.token("ceo");
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    let head = format!("Authorization: Bearer {other}\r\nMcp-Session-Id: {id}\r\n");
    let (status, answer) = served.raw(&head, &ping).await;
    assert_eq!(status, 404, "{answer}");
    // A token that is revoked lets nobody in any more.
    let tokens = Tokens::of(served.folder.path());
    let grant = tokens.grant(&token).unwrap().unwrap();
    assert!(tokens.revoke(&grant.id).unwrap());
    assert_eq!(served.raw(&bearer, &begin()).await.0, 401);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_hands_its_task_to_another_within_two_seconds() {
    let served = Served::start().await;
    let (one, other) = (served.token("cto"), served.token("cto"));
    let second = served.host(&other).await;
    let ceo = served.backbone.client("ceo");
    let id = ceo.delegate(Delegation::new("cto".parse().unwrap(), "x")).await.unwrap().id;
    // A process of its own, as far as the network sees.
    let threads =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let url = served.url.clone();
    let first = threads.spawn(async move {
        let first = host(url, one).await;
        let task = call(&first, "get_my_next_task", json!({ "wait_seconds": 20 })).await.good();
        (first, task)
    });
    let (first, task) = first.await.unwrap();
    assert_eq!(task["task"]["taskId"], id.as_str());
    // Its stream is open once a notification could reach it; it is killed after that.
    let waits = call(&second, "get_my_next_task", json!({ "wait_seconds": 30 }));
    let waits = async { (waits.await.good(), sinew_bus::clock::instant()) };
    let dies = async {
        let died = sinew_bus::clock::instant();
        threads.shutdown_background();
        died
    };
    let ((taken, at), died) = tokio::join!(waits, dies);
    assert_eq!((&taken["task"]["taskId"], &taken["task"]["attempt"]), (&json!(id), &json!(2)));
    assert!(at - died < Duration::from_secs(2), "it took {:?}", at - died);
    drop(first);
    call(&second, "complete_task", json!({ "task_id": id })).await.good();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_session_holds_its_task_by_its_token() {
    let served = Served::start().await;
    let token = served.token("cto");
    let ceo = served.backbone.client("ceo");
    let id = ceo.delegate(Delegation::new("cto".parse().unwrap(), "x")).await.unwrap().id;
    let wait = json!({ "wait_seconds": 20 });
    let taken = served.stateless(&token, "get_my_next_task", wait).await;
    assert_eq!(taken["task"]["taskId"], id.as_str());
    let held = served.stateless(&token, "list_my_tasks", json!({})).await;
    assert_eq!(held["tasks"][0]["taskId"], id.as_str());
    // Another token is another hand.
    let other = served.token("cto");
    let held = served.stateless(&other, "list_my_tasks", json!({})).await;
    assert_eq!(held["tasks"], json!([]));
    let done = json!({ "task_id": id, "result": 1 });
    let status = served.stateless(&token, "complete_task", done).await;
    assert_eq!(status["status"], "completed");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_gives_back_what_its_sessions_hold() {
    let served = Served::start().await;
    let token = served.token("cto");
    let mcp = served.host(&token).await;
    let ceo = served.backbone.client("ceo");
    let id = ceo.delegate(Delegation::new("cto".parse().unwrap(), "x")).await.unwrap().id;
    call(&mcp, "get_my_next_task", json!({ "wait_seconds": 20 })).await.good();
    let Served { backbone, stop, running, .. } = served;
    stop.cancel();
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
    let state = backbone.client("ceo").state(&id).await.unwrap().unwrap();
    assert_eq!((state.word(), state.failures), ("retrying", 0));
}

/// Calls of one client, and how many of them are on their way at a time.
const CALLS: usize = 10_000;
const AT_ONCE: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_over_http_are_bounded_and_the_client_goes_on() {
    let served = Served::start().await;
    let token = served.token("cto");
    let wait = json!({ "wait_seconds": 2 });
    let outcomes: Vec<String> = futures::stream::iter(0..CALLS)
        .map(async |_| served.ask(&token, "get_my_next_task", wait.clone()).await)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (mut refused, mut waited) = (0, 0);
    for answer in outcomes {
        if answer.contains("in flight already") {
            refused += 1;
        } else {
            assert!(answer.contains("There is nothing to do"), "{answer}");
            waited += 1;
        }
    }
    assert_eq!(refused + waited, CALLS);
    assert!(refused > 0 && waited > 0, "{refused} refused, {waited} waited");
    let ceo = served.backbone.client("ceo");
    let id = ceo.delegate(Delegation::new("cto".parse().unwrap(), "x")).await.unwrap().id;
    let wait = json!({ "wait_seconds": 20 });
    let taken = served.stateless(&token, "get_my_next_task", wait).await;
    assert_eq!(taken["task"]["taskId"], id.as_str());
    served.stateless(&token, "complete_task", json!({ "task_id": id })).await;
    assert_eq!(ceo.outcome(&id).await.unwrap().attempts, 1);
    served.stop().await;
}
