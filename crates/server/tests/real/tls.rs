//! Encrypted connections to a real server: who gets in, and what the others are told.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use sinew_bus::{
    Bus, Config, ConnectError, Tls,
    connect::Fault::{self, CertificateWanted, OtherAuthority},
};
use sinew_server::tls::{Encryption, prepare};
use sinew_testkit::{NatsServer, TempDir};

/// A server with the certificates of a folder.
fn server(folder: &Path, more: &str) -> NatsServer {
    let file = |name: &str| folder.join("tls").join(name).display().to_string();
    let (cert, key, ca) = (file("server.pem"), file("server-key.pem"), file("ca.pem"));
    let config =
        format!("tls {{ cert_file: \"{cert}\", key_file: \"{key}\", ca_file: \"{ca}\"{more} }}");
    NatsServer::builder().extra_config(&config).start()
}

async fn connect(server: &NatsServer, tls: &Tls) -> Result<Bus, ConnectError> {
    let mut config = Config::new(server.url(), "acme".parse().unwrap());
    config.tls = tls.clone();
    Bus::connect(config).await
}

async fn fault(server: &NatsServer, tls: &Tls) -> Fault {
    match connect(server, tls).await {
        Err(ConnectError::Handshake { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_who_knows_the_authority_gets_in() {
    let (folder, elsewhere) = (TempDir::new("tls"), TempDir::new("tls"));
    let tls = prepare(folder.path(), Encryption::Server).unwrap();
    let server = server(folder.path(), "");
    let bus = connect(&server, &tls).await.unwrap();
    bus.flush().await.unwrap();
    let other = prepare(elsewhere.path(), Encryption::Server).unwrap();
    assert_eq!(fault(&server, &other).await, OtherAuthority);
    assert!(connect(&server, &Tls::default()).await.is_err(), "the system knows no such authority");
}

#[tokio::test]
async fn a_plain_connection_is_refused() {
    let folder = TempDir::new("tls");
    prepare(folder.path(), Encryption::Server).unwrap();
    let server = server(folder.path(), "");
    let mut plain = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    plain.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").unwrap();
    let mut answer = Vec::new();
    // The server closes it, which may show as a reset.
    plain.read_to_end(&mut answer).ok();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("INFO") && !answer.contains("PONG"), "{answer}");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_lets_nobody_in_without() {
    let (folder, elsewhere) = (TempDir::new("tls"), TempDir::new("tls"));
    let mutual = prepare(folder.path(), Encryption::Mutual).unwrap();
    let server = server(folder.path(), ", verify: true");
    connect(&server, &mutual).await.unwrap().flush().await.unwrap();
    let without = Tls { ca: mutual.ca.clone(), ..Tls::default() };
    assert_eq!(fault(&server, &without).await, CertificateWanted);
    let other = prepare(elsewhere.path(), Encryption::Mutual).unwrap();
    let stranger = Tls { ca: mutual.ca.clone(), ..other };
    assert!(matches!(connect(&server, &stranger).await, Err(ConnectError::Handshake { .. })));
}

#[tokio::test]
async fn a_server_in_the_clear_is_not_spoken_to() {
    let folder = TempDir::new("tls");
    let tls = prepare(folder.path(), Encryption::Server).unwrap();
    assert_eq!(fault(&NatsServer::start(), &tls).await, Fault::Plain);
}

#[tokio::test]
async fn files_that_are_missing_or_no_certificates_are_named() {
    let folder = TempDir::new("tls");
    let tls = prepare(folder.path(), Encryption::Mutual).unwrap();
    let server = server(folder.path(), "");
    let check = async |tls: Tls, words: &str| {
        let error = connect(&server, &tls).await.unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
        assert!(source.contains(words), "{source}");
    };
    check(Tls { ca: Some(folder.join("nowhere.pem")), ..tls.clone() }, "No such file").await;
    check(Tls { ca: tls.key.clone(), ..tls.clone() }, "no certificate").await;
    check(Tls { key: None, ..tls.clone() }, "belong together").await;
    check(Tls { key: tls.cert.clone(), ..tls }, "no private key").await;
}
