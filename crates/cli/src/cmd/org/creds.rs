//! `sinew org creds`: who is let in, as what.

use std::{path::PathBuf, time::Duration};

use serde_json::json;
use sinew_model::{OrgId, Role, grant::User};

use super::Here;
use crate::{
    exit::{Code, Fault},
    output::Out,
    text::given_span,
};

/// Make a .creds file for an agent of a role, an observer, an operator or the controllers.
///
/// The file is secret: whoever has it is let in, until it expires or is revoked. An agent may do
/// what its role needs and nothing else; an observer only looks; an operator may do everything in
/// the org; the controllers are `sinew server` on another machine. docs/reference/permissions.md has the list.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew org creds globex --role cto -o cto.creds
  sinew org creds globex --observer --expires 30d -o watch.creds
  sinew org creds globex --server -o server.creds
  sinew agent run --org globex --role cto --creds cto.creds -- ./cto.py")]
pub(crate) struct Args {
    /// The org
    #[arg(value_name = "NAME")]
    name: OrgId,
    /// For somebody who only looks on, instead of an agent of --role
    #[arg(long, conflicts_with_all = ["operator", "server", "role"])]
    observer: bool,
    /// For somebody who runs the org, instead of an agent of --role
    #[arg(long, conflicts_with_all = ["server", "role"])]
    operator: bool,
    /// For the controllers of the org, instead of an agent of --role
    #[arg(long, conflicts_with = "role")]
    server: bool,
    /// How long it lets in; without, until it is revoked
    #[arg(long, value_name = "SPAN", value_parser = given_span)]
    expires: Option<Duration>,
    /// The file to write, for its owner alone
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

pub(super) async fn run(
    args: &Args,
    role: Option<Role>,
    here: &Here,
    out: Out,
) -> anyhow::Result<Code> {
    let user = match role {
        _ if args.observer => User::Observer,
        _ if args.operator => User::Operator,
        _ if args.server => User::Server,
        Some(role) => User::Agent(role),
        None => {
            return Err(Fault::usage("for whom?")
                .hint("say --role ROLE for an agent, or --observer, --operator or --server")
                .into());
        }
    };
    here.make_streams(&args.name).await?;
    let minted = here.orgs.creds(&args.name, &user, args.expires)?;
    minted.save(&args.output)?;
    let issued = &minted.issued;
    here.announce(&args.name, "org.credentials", json!({ "user": issued }), out).await;
    let until = match issued.expires {
        Some(until) => format!("until {until}"),
        None => "until it is revoked".to_owned(),
    };
    let text = format!("{} lets in {} {until}", args.output.display(), issued.name);
    out.either(&json!({ "org": args.name, "file": args.output, "user": issued }), text)?;
    Ok(Code::Done)
}
