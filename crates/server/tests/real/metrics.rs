//! What is told in numbers is so, and what the dashboard and the alerts name is told.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use sinew_agent::{
    Bus, CancellationToken, Client, Config, Context, Delegation, Failure, Runtime, Settings as Work,
};
use sinew_bus::Topology;
use sinew_server::{Settings, serve};
use sinew_testkit::{NatsServer, TempDir, wait};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const LONG: Duration = Duration::from_secs(60);

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The names of Sinew's metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("sinew_")).map(str::to_owned).collect()
}

#[tokio::test]
async fn metrics_tell_what_is_and_everything_that_names_them_names_what_is() {
    let server = NatsServer::start();
    let config = Config::new(server.url(), "acme".parse().unwrap());
    let bus = Bus::connect(config).await.unwrap();
    let dir = TempDir::new("metrics");
    let topology = Topology::overlaid(&bus, "[streams.AGENT_TASKS]\nmax_msgs = 5000\n").unwrap();
    let mut settings = Settings::new(topology, dir.join("views"));
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    settings.listener = Some(listener);
    let (shutdown, serving) = (CancellationToken::new(), bus.clone());
    let token = shutdown.clone();
    let task = tokio::spawn(async move { serve(serving, settings, token).await.unwrap() });
    wait::until("the server to be ready", LONG, async || {
        let answer = get(address, "/readyz").await;
        if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer) }
    })
    .await;

    let agent = Runtime::new(bus.clone(), Work::new("dev".parse().unwrap()));
    let token = shutdown.clone();
    let idle = |_: Context| async { Ok::<_, Failure>(serde_json::Value::Null) };
    let working = tokio::spawn(async move { agent.run(idle, token).await.unwrap() });

    let client = Client::new(bus, "ceo".parse().unwrap());
    for title in ["one", "two"] {
        client.delegate(Delegation::new("cto".parse().unwrap(), title)).await.unwrap();
    }
    let told = wait::until("two queued tasks and an agent to be counted", LONG, async || {
        let answer = get(address, "/metrics").await;
        let queued = "sinew_tasks{org=\"acme\",role=\"cto\",phase=\"queued\"} 2\n";
        let agent = "sinew_agents{org=\"acme\",role=\"dev\"} 1\n";
        if answer.contains(queued) && answer.contains(agent) { Ok(answer) } else { Err(answer) }
    })
    .await;
    assert!(told.contains("content-type: application/openmetrics-text; version=1.0.0"), "{told}");
    assert!(told.contains("sinew_ready{org=\"acme\"} 1\n"), "{told}");
    assert!(
        told.contains("sinew_stream_messages{org=\"acme\",stream=\"AGENT_TASKS\"} 2\n"),
        "{told}"
    );
    let limit = "sinew_stream_messages_limit{org=\"acme\",stream=\"AGENT_TASKS\"} 5000\n";
    assert!(told.contains(limit), "{told}");
    assert!(told.trim_end().ends_with("# EOF"), "{told}");

    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let known = names(&told);
    for file in ["grafana/sinew.json", "prometheus/alerts.yml"] {
        let named = names(&std::fs::read_to_string(deploy.join(file)).unwrap());
        assert!(named.len() > 4, "{file} names {named:?}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{file} names what is not told: {unknown:?}");
    }
    shutdown.cancel();
    task.await.unwrap();
    working.await.unwrap();
}
