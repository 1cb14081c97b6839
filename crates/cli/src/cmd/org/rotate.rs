//! `sinew org rotate`: another signing key, with an overlap.

use serde_json::json;
use sinew_model::OrgId;

use super::Here;
use crate::{exit::Code, output::Out};

/// Give an org a new signing key, or retire the old ones.
///
/// First without --retire: new credentials are signed by the new key, and those of before stay
/// good, so there is time to replace them. Then with --retire: what the old keys signed lets in no
/// more, and connections that use it are cut.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew org rotate globex
  sinew org rotate globex --retire")]
pub(crate) struct Args {
    /// The org
    #[arg(value_name = "NAME")]
    name: OrgId,
    /// Retire all signing keys but the newest
    #[arg(long)]
    retire: bool,
}

pub(super) async fn run(args: &Args, here: &Here, out: Out) -> anyhow::Result<Code> {
    let directory = here.directory().await?;
    let org = &args.name;
    let (action, details, text) = if args.retire {
        let retired = here.orgs.retire(org)?;
        let text = format!("retired {} signing keys of {org}", retired.len());
        ("org.retired", json!({ "org": org, "retired": retired }), text)
    } else {
        let made = here.orgs.rotate(org)?;
        let text = format!(
            "{org} signs with key {}\nnext: replace its credentials, then sinew org rotate {org} \
             --retire",
            made.number
        );
        ("org.rotated", json!({ "org": org, "signingKey": made }), text)
    };
    here.tell(&directory, org).await?;
    here.vouch(org).await?;
    if !args.retire {
        // Nobody signs by the new key before everybody can know of it.
        here.orgs.renew_all(org)?;
    }
    here.announce(org, action, details.clone(), out).await;
    out.either(&details, text)?;
    Ok(Code::Done)
}
