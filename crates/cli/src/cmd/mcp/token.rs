//! `sinew mcp token`: lets hosts in over HTTP.

use serde_json::json;
use sinew_model::InstanceId;
use sinew_server::mcp::token::{Grant, TokenError, Tokens};

use crate::{
    args::Global,
    exit::{Code, Fault},
    output::Out,
    target::Target,
    text,
};

/// Make a token by which a host may act as a role over HTTP.
///
/// It is printed once, and only its hash is kept, in the data folder. Whoever has it acts as the
/// role, on this machine.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew mcp token --role cto
  sinew mcp token --list
  sinew mcp token --revoke 1f0c93ab")]
pub(super) struct Args {
    /// The instance under which a host without a session holds its tasks
    #[arg(long, value_name = "NAME")]
    instance: Option<InstanceId>,
    /// Show those that there are
    #[arg(long, conflicts_with_all = ["instance", "revoke"])]
    list: bool,
    /// Revoke the one of this id
    #[arg(long, value_name = "ID", conflicts_with = "instance")]
    revoke: Option<String>,
}

/// Makes, lists or revokes.
///
/// # Errors
/// When there is no backbone here, or the file of the tokens is not to be had.
pub(super) fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let target = Target::find(global)?;
    let Some((_, context)) = target.own_context() else {
        return Err(Fault::usage("tokens are kept in the data folder of `sinew up`")
            .hint("name its context with --context")
            .into());
    };
    let tokens = Tokens::of(&context.data_dir);
    if args.list {
        return list(&tokens.list().map_err(faulty)?, out);
    }
    if let Some(id) = &args.revoke {
        if !tokens.revoke(id).map_err(faulty)? {
            return Err(Fault::not_found(format!("there is no token {id:?}"))
                .hint("`sinew mcp token --list` shows those that there are")
                .into());
        }
        out.either(&json!({ "revoked": id }), format_args!("{id} is revoked"))?;
        return Ok(Code::Done);
    }
    let role = super::role(global)?;
    let made = tokens.make(context.org.clone(), role.clone(), args.instance.clone());
    let (secret, grant) = made.map_err(faulty)?;
    let url = &context.mcp_url;
    let made = json!({ "token": secret.expose(), "id": grant.id, "role": role, "url": url });
    out.either(&made, secret.expose())?;
    if !out.is_json() {
        let url = url.as_deref().unwrap_or("the address that `sinew up` prints");
        out.note(format_args!("{} lets in as {role}, at {url}; it is not shown again", grant.id));
    }
    Ok(Code::Done)
}

fn list(grants: &[Grant], out: Out) -> anyhow::Result<Code> {
    if out.is_json() {
        let shown = grants.iter().map(|grant| {
            let Grant { id, org, role, instance, created_at, .. } = grant;
            json!({ "id": id, "org": org, "role": role, "instance": instance,
                    "createdAt": created_at })
        });
        out.document(&shown.collect::<Vec<_>>())?;
    } else if grants.is_empty() {
        out.note("no tokens: sinew mcp token --role ROLE makes one");
    }
    for grant in grants.iter().filter(|_| !out.is_json()) {
        out.line(format_args!("{}  {}  {}", grant.id, grant.role, text::ago(grant.created_at)))?;
    }
    Ok(Code::Done)
}

fn faulty(error: TokenError) -> anyhow::Error {
    let code = match &error {
        TokenError::TooMany | TokenError::Malformed { .. } => Code::Refused,
        TokenError::Unreadable { .. } | TokenError::Unwritable { .. } | _ => Code::Internal,
    };
    Fault::new(code, crate::exit::told(&error.into())).into()
}
