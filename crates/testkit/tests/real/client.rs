//! A NATS client of a few lines, so that the testkit is tested without any client library.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

/// One connection, over which one request at a time is made.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut client = Self { stream: BufReader::new(stream) };
        client.line()?; // INFO
        client.send("CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB answer 1\r\n")?;
        Ok(client)
    }

    /// For how long to wait for an answer.
    pub(crate) fn patience(&self, patience: Duration) {
        self.stream.get_ref().set_read_timeout(Some(patience)).expect("setting a timeout");
    }

    pub(crate) fn ask(&mut self, subject: &str, body: &str) -> io::Result<Value> {
        self.publish(subject, body)?;
        self.answer()
    }

    pub(crate) fn publish(&mut self, subject: &str, body: &str) -> io::Result<()> {
        self.send(&format!("PUB {subject} answer {}\r\n{body}\r\n", body.len()))
    }

    pub(crate) fn answer(&mut self) -> io::Result<Value> {
        loop {
            let line = self.line()?;
            if line.starts_with("PING") {
                self.send("PONG\r\n")?;
            } else if line.starts_with("-ERR") {
                return Err(io::Error::other(line));
            } else if let Some(head) = line.strip_prefix("MSG ") {
                let length = head.trim().rsplit(' ').next().and_then(|text| text.parse().ok());
                let mut body = vec![0; length.ok_or_else(|| io::Error::other(head.to_owned()))?];
                self.stream.read_exact(&mut body)?;
                return Ok(serde_json::from_slice(&body)?);
            }
        }
    }

    /// Makes a stream that keeps what is published under its name.
    pub(crate) fn make_stream(&mut self, name: &str, replicas: usize) {
        let config = json!({
            "name": name, "subjects": [format!("{name}.>")],
            "num_replicas": replicas, "storage": "file",
        });
        let subject = format!("$JS.API.STREAM.CREATE.{name}");
        let answer = self.ask(&subject, &config.to_string()).expect("asking for a stream");
        assert!(answer.get("error").is_none(), "{answer}");
    }

    /// Publishes into a stream, and gives the sequence that it got.
    pub(crate) fn store(&mut self, subject: &str) -> io::Result<u64> {
        let answer = self.ask(subject, "{}")?;
        answer
            .get("seq")
            .and_then(Value::as_u64)
            .ok_or_else(|| io::Error::other(answer.to_string()))
    }

    /// How many messages a stream holds.
    pub(crate) fn count(&mut self, stream: &str) -> io::Result<u64> {
        let answer = self.ask(&format!("$JS.API.STREAM.INFO.{stream}"), "")?;
        let messages = answer.pointer("/state/messages").and_then(Value::as_u64);
        messages.ok_or_else(|| io::Error::other(answer.to_string()))
    }

    fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes())
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }
}
