//! A NATS connection of a few lines, for what Sinew's own client would never ask: another
//! account's subjects, messages that are too large.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use sinew_server::context::Login;

/// One connection, over which one request at a time is made.
pub(crate) struct Wire(BufReader<TcpStream>);

impl Wire {
    /// Connects to `nats://127.0.0.1:PORT`. A login that is refused is an error.
    pub(crate) fn connect(url: &str, login: &Login) -> io::Result<Self> {
        let Login::Password { user, password } = login else { panic!("no password") };
        let address = url.strip_prefix("nats://").expect("an address of NATS");
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut wire = Self(BufReader::new(stream));
        wire.line()?; // INFO
        let hello = json!({
            "user": user, "pass": password.expose(),
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
        });
        wire.send(format!("CONNECT {hello}\r\nSUB answer 1\r\nPING\r\n").as_bytes())?;
        match wire.line()?.trim() {
            "PONG" => Ok(wire),
            other => Err(io::Error::other(other.to_owned())),
        }
    }

    /// Sends a request with headers, `Name: value` and a line end each, and gives the answer with
    /// its headers, as text.
    pub(crate) fn ask(&mut self, subject: &str, headers: &str, body: &[u8]) -> io::Result<String> {
        let head = format!("NATS/1.0\r\n{headers}\r\n");
        let (head_size, size) = (head.len(), head.len() + body.len());
        self.send(format!("HPUB {subject} answer {head_size} {size}\r\n{head}").as_bytes())?;
        self.send(body)?;
        self.send(b"\r\n")?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<String> {
        loop {
            let line = self.line()?;
            if line.starts_with("PING") {
                self.send(b"PONG\r\n")?;
            } else if line.starts_with("MSG ") || line.starts_with("HMSG ") {
                let size = line.trim().rsplit(' ').next().and_then(|text| text.parse().ok());
                let mut body = vec![0_u8; size.expect("a message has a size")];
                self.0.read_exact(&mut body)?;
                self.line()?;
                return Ok(String::from_utf8_lossy(&body).into_owned());
            } else if line.starts_with("-ERR") {
                return Err(io::Error::other(line));
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }
}
