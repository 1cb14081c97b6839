//! Asks a server's monitoring port. Knows just enough HTTP for that.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// A server that does not answer in this time is not ready, or paused.
const PATIENCE: Duration = Duration::from_secs(2);

/// `Ok` when `/healthz` says ok, else what it says instead.
pub(crate) fn health(port: u16, query: &str) -> Result<(), String> {
    let (head, body) = get(port, &format!("/healthz?{query}"))?;
    if head.contains(" 200 ") { Ok(()) } else { Err(body) }
}

/// The JSON document at `path`.
pub(crate) fn json(port: u16, path: &str) -> Result<Value, String> {
    let (_, body) = get(port, path)?;
    serde_json::from_str(&body).map_err(|error| format!("{path} is not JSON ({error}): {body}"))
}

/// The line that a server sends to every new connection.
pub(crate) fn greeting(port: u16) -> Result<(), String> {
    let greet = || {
        let mut first = [0; 5];
        connect(port)?.read_exact(&mut first)?;
        Ok(first)
    };
    match greet().map_err(|error: io::Error| format!("port {port}: {error}"))? {
        first if &first == b"INFO " => Ok(()),
        other => Err(format!("port {port} greets with {other:?}, so it is not a NATS server")),
    }
}

fn get(port: u16, path: &str) -> Result<(String, String), String> {
    let ask = || {
        let mut stream = connect(port)?;
        // HTTP 1.0 ends the answer by closing, so there are no chunks to put together.
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error: io::Error| format!("{path}: {error}"))?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) => Ok((head.to_owned(), body.to_owned())),
        None => Err(format!("{path}: half an answer: {answer:?}")),
    }
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}
