//! What the login of a connection may do. The server decides that; who knows it before does not
//! ask in vain: what the server refuses so is never answered, and looks like a lost answer.

use serde_json::Value;
use sinew_model::{grant, limits};

use crate::{
    clock,
    connect::{Auth, Bus},
    sign,
};

/// Where a connection may send.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    /// The patterns; `None` where nothing says that something is refused.
    publish: Option<Vec<String>>,
    /// The name of the user.
    name: String,
}

impl Rights {
    /// What the JWT of a `.creds` file says; another login says nothing.
    pub(crate) async fn of(auth: &Auth) -> Self {
        let Auth::Credentials(path) = auth else { return Self::default() };
        let claims = sign::claims(path).await;
        Self {
            publish: claims.as_ref().and_then(publish),
            name: claims.as_ref().map(name).unwrap_or_default(),
        }
    }

    fn may_publish(&self, subject: &str) -> bool {
        let covers = |patterns: &Vec<String>| patterns.iter().any(|it| grant::covers(it, subject));
        self.publish.as_ref().is_none_or(covers)
    }
}

fn name(claims: &Value) -> String {
    claims.get("name").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn publish(claims: &Value) -> Option<Vec<String>> {
    let allowed = claims.pointer("/nats/pub/allow")?.as_array()?;
    Some(allowed.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect())
}

impl Bus {
    /// Whether the login may read the messages of `filter` in `stream` by [`Bus::scan`].
    #[must_use]
    pub fn may_scan(&self, stream: &str, filter: &str) -> bool {
        self.may_make(stream, "scan", filter)
            || self.may_make(stream, &grant::scan_name(&self.rights().name, 0), filter)
    }

    /// The names that a consumer may have through which this login reads `filter` of `stream`. One
    /// that nobody else has is enough; where only some are allowed, another reader may have them.
    pub(crate) fn scan_names(&self, stream: &str, filter: &str) -> Vec<String> {
        if self.may_make(stream, "scan", filter) || !self.may_scan(stream, filter) {
            return vec![format!("scan-{}", clock::unique())];
        }
        let user = &self.rights().name;
        (0..limits::SCANS_OF_USER).map(|number| grant::scan_name(user, number)).collect()
    }

    fn may_make(&self, stream: &str, name: &str, filter: &str) -> bool {
        self.rights().may_publish(&format!("$JS.API.CONSUMER.CREATE.{stream}.{name}.{filter}"))
    }

    /// Whether the login may make `stream`.
    pub(crate) fn may_create(&self, stream: &str) -> bool {
        self.rights().may_publish(&format!("$JS.API.STREAM.CREATE.{stream}"))
    }

    /// Whether the login may read any single message of `stream`.
    #[must_use]
    pub fn may_read(&self, stream: &str) -> bool {
        self.rights().may_publish(&format!("$JS.API.STREAM.MSG.GET.{stream}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_login_without_limits_may_do_all_and_another_what_it_says() {
        let rights = |claims: Value| Rights { publish: publish(&claims), name: name(&claims) };
        assert!(rights(json!({ "nats": { "pub": {} } })).may_publish("a.b"));
        let some = rights(json!({ "nats": { "pub": { "allow": ["a.*"] } } }));
        assert!(some.may_publish("a.b") && !some.may_publish("b.a"));
    }
}
