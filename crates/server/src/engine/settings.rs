//! What nats-server is told: its configuration file. The paths in it are relative to the data
//! folder, in which the server runs, so no name of a folder can break the file.

use sinew_model::limits::{ENGINE_LOG_BYTES, ENGINE_LOG_FILES, ENGINE_MEMORY_BYTES};

use super::Durability;
use super::folder::{LOG_NAME, STORE_NAME};
use super::ports::Ports;
use crate::account::block;
use crate::tls::{Encryption, FOLDER};

/// What varies from one engine to the next.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    pub(super) name: &'a str,
    pub(super) ports: Ports,
    /// The operator's JWT.
    pub(super) operator: &'a str,
    /// Every account with its JWT, the system's first. The server learns of later ones by itself.
    pub(super) accounts: &'a [(String, String)],
    pub(super) durability: Durability,
    /// Disk that all streams together may take. The server's own default is three quarters of what
    /// is free at its start, without what it already has: a store that grew past that would
    /// refuse every message after a restart.
    pub(super) store_bytes: u64,
    pub(super) encryption: Option<Encryption>,
}

impl Settings<'_> {
    /// The text of the file. Every value is a number, a word of Sinew's own making, or a JWT or
    /// public key, which hold nothing but letters, digits, `-`, `_` and `.`; so nothing needs to
    /// be escaped. No secret is in it.
    pub(super) fn render(&self) -> String {
        let Self { name, ports: Ports { client, monitor }, operator, store_bytes, .. } = self;
        let sync = match self.durability {
            Durability::Always => "\n  sync_interval: always",
            Durability::Interval => "",
        };
        let block = block(operator, self.accounts);
        let tls = self.encryption.map_or_else(String::new, tls);
        format!(
            r#"# Written by `sinew up` at each start: what is changed here is lost.
server_name: "{name}"
listen: "127.0.0.1:{client}"
http: "127.0.0.1:{monitor}"
log_file: "{LOG_NAME}"
logtime_utc: true
log_size_limit: {ENGINE_LOG_BYTES}
log_max_num: {ENGINE_LOG_FILES}
jetstream {{
  store_dir: "{STORE_NAME}"
  max_memory_store: {ENGINE_MEMORY_BYTES}
  max_file_store: {store_bytes}{sync}
}}
{block}{tls}"#
        )
    }
}

/// The files are those of [`crate::tls`], in the data folder.
fn tls(encryption: Encryption) -> String {
    let verify = match encryption {
        Encryption::Server => "",
        Encryption::Mutual => "\n  verify: true",
    };
    format!(
        r#"tls {{
  cert_file: "{FOLDER}/server.pem"
  key_file: "{FOLDER}/server-key.pem"
  ca_file: "{FOLDER}/ca.pem"{verify}
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinew_model::limits::{ENGINE_PAYLOAD_BYTES, MESSAGE_BYTES};

    fn rendered(durability: Durability, encryption: Option<Encryption>) -> String {
        let accounts = [("ASYS", "a.b.c"), ("AORG", "d.e.f")]
            .map(|(key, jwt)| (key.to_owned(), jwt.to_owned()));
        Settings {
            name: "sinew-1",
            ports: Ports { client: 4222, monitor: 8222 },
            operator: "o.p.q",
            accounts: &accounts,
            durability,
            store_bytes: 7,
            encryption,
        }
        .render()
    }

    #[test]
    fn the_server_learns_of_every_account() {
        let text = rendered(Durability::Always, None);
        assert!(text.contains("operator: o.p.q\nsystem_account: ASYS\n"), "{text}");
        assert!(text.contains("{\n  ASYS: a.b.c\n  AORG: d.e.f\n}"), "{text}");
        assert!(text.contains("max_file_store: 7\n  sync_interval: always\n}"), "{text}");
    }

    #[test]
    fn only_the_durable_engine_syncs_each_write() {
        assert!(!rendered(Durability::Interval, None).contains("sync_interval"));
    }

    #[test]
    fn a_server_that_is_to_encrypt_has_its_certificates() {
        let text = |encryption| rendered(Durability::Always, encryption);
        assert!(!text(None).contains("tls"));
        let server = text(Some(Encryption::Server));
        assert!(server.contains("key_file: \"tls/server-key.pem\"") && !server.contains("verify"));
        assert!(text(Some(Encryption::Mutual)).contains("verify: true"));
    }

    #[test]
    fn a_message_that_is_a_little_too_large_gets_an_answer() {
        const { assert!(ENGINE_PAYLOAD_BYTES > MESSAGE_BYTES) }
    }
}
