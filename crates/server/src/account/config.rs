//! What the configuration of a nats-server says of the operator and the accounts, and the whole
//! configuration of each server of a cluster. Every value is a word of Sinew's own making, a name
//! that was checked, a JWT or a public key, so nothing needs to be escaped.

use nkeys::KeyPairType;
use sinew_model::limits::{ENGINE_LINE_BYTES, ENGINE_PAYLOAD_BYTES};

use super::{
    keys,
    orgs::{AccountError, Orgs},
};

/// Where a server keeps the accounts that it was told of, in the folder that it runs in.
const RESOLVER_NAME: &str = "accounts";

/// The lines that let in whom the operator's accounts let in, and nobody else. `accounts` begins
/// with the system's own.
pub(crate) fn block(operator: &str, accounts: &[(String, String)]) -> String {
    let system = accounts.first().map(|(key, _)| key.as_str()).unwrap_or_default();
    let preload: Vec<String> =
        accounts.iter().map(|(key, jwt)| format!("  {key}: {jwt}\n")).collect();
    let preload = preload.concat();
    format!(
        r#"max_payload: {ENGINE_PAYLOAD_BYTES}
max_control_line: {ENGINE_LINE_BYTES}
operator: {operator}
system_account: {system}
resolver {{
  type: full
  dir: "{RESOLVER_NAME}"
  allow_delete: true
}}
resolver_preload {{
{preload}}}
"#
    )
}

/// A server of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Where others reach it: a name or an address.
    pub host: String,
    /// Its port for clients.
    pub client: u16,
    /// Its port for the other servers.
    pub route: u16,
}

/// Why a text names no server of a cluster.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no NAME=HOST:CLIENT-PORT:ROUTE-PORT")]
pub struct NodeError(String);

impl std::str::FromStr for Node {
    type Err = NodeError;

    fn from_str(text: &str) -> Result<Self, NodeError> {
        let word = |it: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            (!it.is_empty() && it.chars().all(fits)).then(|| it.to_owned())
        };
        let port = |it: &str| it.parse().ok().filter(|port| *port > 0);
        let node = || {
            let (name, rest) = text.split_once('=')?;
            let mut parts = rest.split(':');
            let (host, client, route) = (parts.next()?, parts.next()?, parts.next()?);
            let (name, host) = (word(name)?, word(host)?);
            let (client, route) = (port(client)?, port(route)?);
            parts.next().is_none().then_some(Self { name, host, client, route })
        };
        node().ok_or_else(|| NodeError(text.to_owned()))
    }
}

impl Orgs {
    /// The lines for the configuration of any server that is to know these orgs.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn server_block(&self) -> Result<String, AccountError> {
        Ok(block(&self.operator_jwt()?, &self.accounts()?))
    }

    /// The configuration of one server of a cluster. It is secret: by a password in it the servers
    /// let each other in.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn node_config(&self, nodes: &[Node], which: &Node) -> Result<String, AccountError> {
        // The seed of a key that signs nothing is a password that nobody guesses.
        let path = self.key_path("routes");
        let password =
            keys::load_or_make(&path, KeyPairType::User).and_then(|key| keys::seed(&key));
        let password = password.map_err(|source| AccountError::File { path, source })?;
        let route =
            |node: &Node| format!("nats-route://sinew:{password}@{}:{}", node.host, node.route);
        let routes: Vec<String> = nodes.iter().map(route).collect();
        let (Node { name, client, route, .. }, routes) = (which, routes.join(", "));
        let block = self.server_block()?;
        Ok(format!(
            r#"# Written by `sinew org init`: keep it as secret as a key.
server_name: "{name}"
listen: "0.0.0.0:{client}"
jetstream {{
  store_dir: "store"
  sync_interval: always
}}
cluster {{
  name: "sinew"
  listen: "0.0.0.0:{route}"
  authorization {{ user: "sinew", password: "{password}" }}
  routes: [{routes}]
}}
{block}"#
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinew_model::Root;
    use sinew_testkit::TempDir;

    #[test]
    fn a_node_is_a_name_a_host_and_two_ports() {
        let node: Node = "n1=nats-1.example:4222:6222".parse().unwrap();
        assert_eq!((node.name.as_str(), node.host.as_str()), ("n1", "nats-1.example"));
        assert_eq!((node.client, node.route), (4222, 6222));
        for text in ["", "n1", "n1=h", "n1=h:1", "n1=h:0:1", "n1=h:1:2:3", "n\"=h:1:2", "n=h h:1:2"]
        {
            text.parse::<Node>().unwrap_err();
        }
    }

    #[test]
    fn all_nodes_share_the_operator_and_the_password_of_their_routes() {
        let folder = TempDir::new("nodes");
        let orgs = Orgs::new(folder.path(), Root::default());
        let nodes: Vec<Node> = ["n1=a:1:2", "n2=b:3:4"].map(|text| text.parse().unwrap()).into();
        let texts: Vec<String> =
            nodes.iter().map(|node| orgs.node_config(&nodes, node).unwrap()).collect();
        let line = |text: &str, start: &str| {
            let found = text.lines().find(|line| line.trim_start().starts_with(start));
            found.unwrap().to_owned()
        };
        for start in ["authorization", "routes", "system_account"] {
            assert_eq!(line(&texts[0], start), line(&texts[1], start));
        }
        assert!(texts[1].contains("listen: \"0.0.0.0:3\"") && texts[1].contains("@a:2"));
    }
}
