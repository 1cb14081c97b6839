//! The verb itself: it prints links, and makes and revokes those for others.

use serde_json::json;
use sinew_model::grant::User;
use sinew_server::{
    face::dashboard::link,
    token::{Grant, TokenError, Tokens},
};

use crate::{
    args::Global,
    exit::{Code, Fault, told},
    output::Out,
    target::{self, Target},
    text,
};

/// Show the link to the dashboard, or make one for another role or org.
///
/// Whoever has a link sees the whole org in a browser on this machine, and acts there with the
/// rights of the role. The operator's link is the one that `sinew up` printed; with --role a new one
/// is made and printed once.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew dashboard
  sinew dashboard --role cto
  sinew dashboard --org globex --role operator
  sinew dashboard --list
  sinew dashboard --revoke 1f0c93ab")]
pub(crate) struct Args {
    /// Show who is let in
    #[arg(long, conflicts_with = "revoke")]
    list: bool,
    /// Let nobody in any more by the link of this id
    #[arg(long, value_name = "ID")]
    revoke: Option<String>,
}

/// Shows, makes, lists or revokes.
///
/// # Errors
/// When there is no dashboard here, or the file of its logins is not to be had.
pub(crate) fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let target = Target::find(global)?;
    let Some((_, context)) = target.own_context() else {
        return Err(Fault::usage("links are kept in the data folder of `sinew up`")
            .hint("name its context with --context")
            .into());
    };
    let tokens = Tokens::of_dashboard(&context.data_dir);
    if args.list {
        return list(&tokens.list().map_err(faulty)?, out);
    }
    if let Some(id) = &args.revoke {
        return revoke(&tokens, id, out);
    }
    let Some(standing) = &context.dashboard else {
        return Err(Fault::not_found("there is no dashboard here")
            .hint("start it: sinew up, without --dashboard off")
            .into());
    };
    let role = target::role(global)?;
    let org = &target.config.org;
    if role.is_none() && *org == context.org {
        out.either(&json!({ "link": standing.expose() }), standing.expose())?;
        return Ok(Code::Done);
    }
    let role = role.map_or_else(|| User::Operator.name().parse(), Ok)?;
    let (secret, grant) = tokens.make(org.clone(), role, None).map_err(faulty)?;
    let made = link(address(standing.expose()), &secret);
    let Grant { id, org, role, .. } = &grant;
    let shown = json!({ "link": made.expose(), "id": id, "org": org, "role": role });
    out.either(&shown, made.expose())?;
    if !out.is_json() {
        out.note(format_args!("{id} lets in as {role} of {org}; it is not shown again"));
    }
    Ok(Code::Done)
}

/// The address of the dashboard in a link.
fn address(link: &str) -> &str {
    link.split_once("login?").map_or(link, |(address, _)| address)
}

fn revoke(tokens: &Tokens, id: &str, out: Out) -> anyhow::Result<Code> {
    if !tokens.revoke(id).map_err(faulty)? {
        return Err(Fault::not_found(format!("there is no link {id:?}"))
            .hint("`sinew dashboard --list` shows those that there are")
            .into());
    }
    out.either(&json!({ "revoked": id }), format_args!("{id} is revoked"))?;
    Ok(Code::Done)
}

fn list(grants: &[Grant], out: Out) -> anyhow::Result<Code> {
    if out.is_json() {
        let shown = grants.iter().map(
            |it| json!({ "id": it.id, "org": it.org, "role": it.role, "createdAt": it.created_at }),
        );
        out.document(&shown.collect::<Vec<_>>())?;
        return Ok(Code::Done);
    }
    let row = |it: &Grant| {
        vec![it.id.clone(), it.org.to_string(), it.role.to_string(), text::ago(it.created_at)]
    };
    out.line(text::table(&["ID", "ORG", "ROLE", "MADE"], grants.iter().map(row)))?;
    Ok(Code::Done)
}

fn faulty(error: TokenError) -> anyhow::Error {
    let code = match &error {
        TokenError::TooMany | TokenError::Malformed { .. } => Code::Refused,
        TokenError::Unreadable { .. } | TokenError::Unwritable { .. } | _ => Code::Internal,
    };
    Fault::new(code, told(&error.into())).into()
}
