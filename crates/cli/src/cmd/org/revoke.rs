//! `sinew org revoke`: credentials that let in no more.

use serde_json::json;
use sinew_model::{OrgId, Role, grant::User};
use sinew_server::account::Revoke;

use super::Here;
use crate::{
    exit::{Code, Fault},
    output::Out,
};

/// Revoke credentials: they let in no more, and connections that use them are cut.
///
/// It means all that were made for the role, for observers or for operators, or one by its key,
/// which `sinew org list --json` shows. New ones can be made at once.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew org revoke globex --role cto
  sinew org revoke globex --key UAB…")]
pub(crate) struct Args {
    /// The org
    #[arg(value_name = "NAME")]
    name: OrgId,
    /// Those of observers
    #[arg(long, conflicts_with_all = ["operator", "server", "key", "role"])]
    observer: bool,
    /// Those of operators; this machine gets new ones
    #[arg(long, conflicts_with_all = ["server", "key", "role"])]
    operator: bool,
    /// Those of the controllers; this machine gets new ones
    #[arg(long, conflicts_with_all = ["key", "role"])]
    server: bool,
    /// Those with this public key
    #[arg(long, value_name = "KEY", conflicts_with = "role")]
    key: Option<String>,
}

pub(super) async fn run(
    args: &Args,
    role: Option<Role>,
    here: &Here,
    out: Out,
) -> anyhow::Result<Code> {
    let whose = match (&args.key, role) {
        (Some(key), _) => Revoke::Key(key.clone()),
        (None, Some(role)) => Revoke::Name(User::Agent(role).name()),
        (None, None) if args.observer => Revoke::Name(User::Observer.name()),
        (None, None) if args.operator => Revoke::Name(User::Operator.name()),
        (None, None) if args.server => Revoke::Name(User::Server.name()),
        (None, None) => {
            return Err(Fault::usage("whose?")
                .hint("say --role ROLE, --observer, --operator, --server or --key KEY")
                .into());
        }
    };
    let directory = here.directory().await?;
    let org = &args.name;
    let revoked = here.orgs.revoke(org, &whose)?;
    here.tell(&directory, org).await?;
    here.orgs.renew_revoked(org)?;
    here.vouch(org).await?;
    let details = json!({ "org": org, "revoked": revoked });
    here.announce(org, "org.revoked", details.clone(), out).await;
    let keys: Vec<String> =
        revoked.iter().map(|user| format!("revoked {} {}", user.name, user.key)).collect();
    out.either(&details, keys.join("\n"))?;
    Ok(Code::Done)
}
