//! A NATS connection of a few lines, for what Sinew's own client would never ask: another
//! account's subjects, messages that are too large.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use sinew_server::context::Login;

/// One connection, over which one request at a time is made.
pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
    inbox: String,
}

impl Wire {
    /// Connects to `nats://127.0.0.1:PORT`. A login that is refused is an error.
    pub(crate) fn connect(url: &str, login: &Login) -> io::Result<Self> {
        let Login::Creds { creds } = login else { panic!("no credentials") };
        Self::enter(url, &std::fs::read_to_string(creds)?)
    }

    /// Connects with the text of a `.creds` file. Its replies come below the user's own prefix.
    pub(crate) fn enter(url: &str, creds: &str) -> io::Result<Self> {
        let lines: Vec<&str> = creds.lines().collect();
        let after = |what: &str| {
            let at = lines.iter().position(|line| line.contains(what)).expect("a part");
            lines.get(at + 1).expect("a line").to_owned()
        };
        let (jwt, seed) = (after("BEGIN NATS USER JWT"), after("BEGIN USER NKEY SEED"));
        let claims = jwt.split('.').nth(1).expect("claims");
        let claims = data_encoding::BASE64URL_NOPAD.decode(claims.as_bytes()).expect("base64");
        let claims: serde_json::Value = serde_json::from_slice(&claims).expect("JSON");
        let inbox = format!(
            "_INBOX.{}.wire",
            claims.get("name").and_then(|it| it.as_str()).expect("a name")
        );
        let address = url.strip_prefix("nats://").expect("an address of NATS");
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut wire = Self { stream: BufReader::new(stream), inbox };
        let info = wire.line()?;
        let info: serde_json::Value =
            serde_json::from_str(info.trim_start_matches("INFO")).expect("INFO");
        let nonce = info.get("nonce").and_then(|it| it.as_str()).expect("a nonce");
        let key = nkeys::KeyPair::from_seed(seed).expect("a key");
        let signature = key.sign(nonce.as_bytes()).expect("signing");
        let hello = json!({
            "jwt": jwt, "sig": data_encoding::BASE64URL_NOPAD.encode(&signature),
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
        });
        let ear = format!("{}.>", wire.inbox);
        wire.send(format!("CONNECT {hello}\r\nSUB {ear} 1\r\nPING\r\n").as_bytes())?;
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
        let inbox = format!("{}.1", self.inbox);
        self.send(format!("HPUB {subject} {inbox} {head_size} {size}\r\n{head}").as_bytes())?;
        self.send(body)?;
        self.send(b"\r\n")?;
        self.answer()
    }

    /// What the server refuses of what is sent: the subjects of its complaints, as it names them.
    /// It ends with the answer to a ping, so everything before was judged.
    pub(crate) fn refused(&mut self, lines: &str) -> io::Result<Vec<String>> {
        self.send(format!("{lines}PING\r\n").as_bytes())?;
        let mut refused = Vec::new();
        loop {
            let line = self.line()?;
            if line.starts_with("-ERR") {
                refused.push(line.trim().to_owned());
            } else if line.starts_with("MSG ") || line.starts_with("HMSG ") {
                let size = line.trim().rsplit(' ').next().and_then(|text| text.parse().ok());
                let mut body = vec![0_u8; size.expect("a message has a size")];
                self.stream.read_exact(&mut body)?;
                self.line()?;
            } else if line.starts_with("PONG") {
                return Ok(refused);
            }
        }
    }

    /// The bare connection, for who wants no answers.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }

    fn answer(&mut self) -> io::Result<String> {
        loop {
            let line = self.line()?;
            if line.starts_with("PING") {
                self.send(b"PONG\r\n")?;
            } else if line.starts_with("MSG ") || line.starts_with("HMSG ") {
                let size = line.trim().rsplit(' ').next().and_then(|text| text.parse().ok());
                let mut body = vec![0_u8; size.expect("a message has a size")];
                self.stream.read_exact(&mut body)?;
                self.line()?;
                return Ok(String::from_utf8_lossy(&body).into_owned());
            } else if line.starts_with("-ERR") {
                return Err(io::Error::other(line));
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }
}
