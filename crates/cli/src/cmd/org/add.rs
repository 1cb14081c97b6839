//! `sinew org add`: one more tenant, while the server runs.

use serde_json::json;
use sinew_model::{
    OrgId,
    limits::{ORG_CONNECTIONS, ORG_CONSUMERS, ORG_MEMORY_BYTES, ORG_STORAGE_BYTES, ORG_STREAMS},
};
use sinew_server::account::Quota;

use super::Here;
use crate::{exit::Code, output::Out};

/// Add an org: an account of its own, with quotas.
///
/// Its streams are made with its first credentials. Nothing of another org can be seen in it, and nothing of it from another. The server is not
/// started again. Limits of -1 are those of the server; storage and memory are set aside, so they
/// must fit.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew org add globex
  sinew org add globex --connections 100 --storage 1073741824")]
pub(crate) struct Args {
    /// Its name: small letters, digits, - and _
    #[arg(value_name = "NAME")]
    name: OrgId,
    /// Most connections at once
    #[arg(long, value_name = "N", default_value_t = ORG_CONNECTIONS, allow_negative_numbers = true)]
    connections: i64,
    /// Most streams
    #[arg(long, value_name = "N", default_value_t = ORG_STREAMS, allow_negative_numbers = true)]
    streams: i64,
    /// Most consumers of one stream
    #[arg(long, value_name = "N", default_value_t = ORG_CONSUMERS, allow_negative_numbers = true)]
    consumers: i64,
    /// Bytes on the disk
    #[arg(long, value_name = "BYTES", default_value_t = ORG_STORAGE_BYTES, allow_negative_numbers = true)]
    storage: i64,
    /// Bytes of streams in memory
    #[arg(long, value_name = "BYTES", default_value_t = ORG_MEMORY_BYTES, allow_negative_numbers = true)]
    memory: i64,
}

pub(super) async fn run(args: &Args, here: &Here, out: Out) -> anyhow::Result<Code> {
    let directory = here.directory().await?;
    let org = &args.name;
    let quota = Quota {
        connections: args.connections,
        streams: args.streams,
        consumers: args.consumers,
        storage_bytes: args.storage,
        memory_bytes: args.memory,
    };
    let record = here.orgs.add(org, quota)?;
    here.tell(&directory, org).await?;
    let done = json!({ "org": org, "account": record.account, "quota": quota });
    let text = format!("added {org}\nnext: sinew org creds {org} --role cto -o cto.creds");
    out.either(&done, text)?;
    Ok(Code::Done)
}
