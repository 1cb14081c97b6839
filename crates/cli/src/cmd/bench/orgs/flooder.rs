//! A bare client that publishes as fast as it can and waits for nothing, until it is cut off.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sinew_bus::clock;

/// After this it counts as not cut off.
const PATIENCE: Duration = Duration::from_secs(20);

/// Messages that are written at once.
const AT_ONCE: usize = 1_000;

/// Floods with the text of a `.creds` file, and says how long it took to be cut off.
pub(super) fn flood(url: &str, creds: &str, subject: &str) -> Result<Duration> {
    let address = url.strip_prefix("nats://").context("no plain address of a server")?;
    let stream = TcpStream::connect(address)?;
    let mut ear = BufReader::new(stream.try_clone()?);
    let mut info = String::new();
    ear.read_line(&mut info)?;
    let info: Value = serde_json::from_str(info.trim_start_matches("INFO"))?;
    let nonce = info.get("nonce").and_then(Value::as_str).context("no nonce")?;
    let part = |what: &str| {
        let mut lines = creds.lines().skip_while(|line| !line.contains(what));
        lines.nth(1).with_context(|| format!("no {what} in the credentials"))
    };
    let key = nkeys::KeyPair::from_seed(part("BEGIN USER NKEY SEED")?)?;
    let hello = json!({
        "jwt": part("BEGIN NATS USER JWT")?, "verbose": false, "pedantic": false,
        "sig": URL_SAFE_NO_PAD.encode(key.sign(nonce.as_bytes())?),
    });
    (&stream).write_all(format!("CONNECT {hello}\r\n").as_bytes())?;
    // What the server says is read and thrown away: one that is not read is cut off for that.
    let listening = std::thread::spawn(move || {
        let mut part = [0; 65_536];
        while let Ok(1..) = ear.read(&mut part) {}
    });
    let lines = format!("PUB {subject} 16\r\n0123456789abcdef\r\n").repeat(AT_ONCE);
    let begun = clock::instant();
    while begun.elapsed() < PATIENCE && (&stream).write_all(lines.as_bytes()).is_ok() {}
    let span = begun.elapsed();
    // It is closed already where it was cut.
    stream.shutdown(Shutdown::Both).ok();
    listening.join().ok();
    ensure!(span < PATIENCE, "the flood was not cut off within {} s", PATIENCE.as_secs());
    Ok(span)
}
