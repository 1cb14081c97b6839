//! Asks a server whether it is ready. Knows just enough HTTP and NATS for that.

use std::io;
use std::net::Ipv4Addr;

use serde::Deserialize;
use sinew_model::limits::{ENGINE_ANSWER_BYTES, ENGINE_PROBE_PATIENCE};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ports::Ports;

/// The question, and that the connection ends with the answer.
const HEALTH: &str =
    "GET /healthz?js-enabled-only=true HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";

/// The first line of a NATS connection, after its `INFO`.
#[derive(Deserialize)]
struct Greeting {
    server_name: String,
}

/// Whether JetStream runs there and clients are let in, by the server of this very name: another
/// one may have taken the port. If not, what is seen instead.
pub(super) async fn ready(ports: Ports, name: &str) -> Result<(), String> {
    match timeout(ENGINE_PROBE_PATIENCE, look(ports, name)).await {
        Ok(seen) => seen,
        Err(_) => Err("it does not answer".to_owned()),
    }
}

async fn look(ports: Ports, name: &str) -> Result<(), String> {
    let answer =
        health(ports.monitor).await.map_err(|error| format!("the monitor port: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.lines().next().is_some_and(|status| status.contains(" 200 ")) {
        return Err(format!("its health: {body}"));
    }
    let line = greeting(ports.client).await.map_err(|error| format!("the client port: {error}"))?;
    let greeting = line.strip_prefix("INFO ").and_then(|text| serde_json::from_str(text).ok());
    match greeting {
        Some(Greeting { server_name }) if server_name == name => Ok(()),
        _ => Err("another program listens on the client port".to_owned()),
    }
}

async fn health(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(HEALTH.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ENGINE_ANSWER_BYTES).read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn greeting(port: u16) -> io::Result<String> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let mut line = String::new();
    BufReader::new(stream).take(ENGINE_ANSWER_BYTES).read_line(&mut line).await?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinew_testkit::NatsServer;

    fn ports(server: &NatsServer) -> Ports {
        let monitor = super::super::ports::port_of(&server.monitor_url()).unwrap();
        Ports { client: server.port(), monitor }
    }

    #[tokio::test]
    async fn only_the_server_of_that_name_is_ready() {
        let server = NatsServer::builder().name("this").start();
        assert_eq!(ready(ports(&server), "this").await, Ok(()));
        assert!(ready(ports(&server), "that").await.unwrap_err().contains("another program"));
        server.stop();
        assert!(ready(ports(&server), "this").await.unwrap_err().contains("the monitor port"));
    }
}
