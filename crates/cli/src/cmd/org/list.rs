//! `sinew org list`: which orgs there are, and who is let in.

use serde_json::json;
use sinew_bus::clock;

use super::Here;
use crate::{exit::Code, output::Out, text};

/// List the orgs, their quotas, and who has credentials.
///
/// `known` says whether the running server has the org.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew org list
  sinew org list --json")]
pub(crate) struct Args {}

pub(super) async fn run(_args: &Args, here: &Here, out: Out) -> anyhow::Result<Code> {
    let known = here.directory().await?.list().await?;
    let now = clock::now();
    let mut rows = Vec::new();
    let mut orgs = Vec::new();
    for (org, record) in here.orgs.records()? {
        let is_known = known.contains(&record.account);
        let lets_in = |key: &str, until| !record.revoked.contains_key(key) && until > now;
        let end = clock::now().plus(std::time::Duration::from_secs(1));
        let users: Vec<_> = record
            .users
            .iter()
            .filter(|user| lets_in(&user.key, user.expires.unwrap_or(end)))
            .cloned()
            .collect();
        let mut names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        rows.push(vec![
            org.to_string(),
            if is_known { "yes" } else { "no" }.to_owned(),
            record.quota.connections.to_string(),
            record.quota.storage_bytes.to_string(),
            record.signing.len().to_string(),
            names.join(" "),
        ]);
        orgs.push(json!({
            "org": org, "account": record.account, "known": is_known, "made": record.made,
            "quota": record.quota, "signingKeys": record.signing, "users": users,
        }));
    }
    let head = ["org", "known", "connections", "storage", "signing keys", "users"];
    out.either(&json!({ "orgs": orgs }), text::table(&head, rows))?;
    Ok(Code::Done)
}
