//! `sinew org init`: the operator's keys and the configuration of a cluster that knows them.

use std::path::PathBuf;

use serde_json::json;
use sinew_bus::Tls;
use sinew_model::{OrgId, Root, grant::User};
use sinew_server::{
    account::{Node, Orgs, Quota, write_private},
    context::{Context, Login},
    engine::Durability,
};

use crate::{
    exit::{Code, Fault},
    output::Out,
};

/// Make the keys of an operator and the configuration of a cluster of nats-servers.
///
/// The folder then is to the cluster what the data folder of `sinew up` is to its server: keys,
/// orgs and the context by which `sinew --context FOLDER org add` and every other command finds
/// it. Each server gets one file, which is secret; run it in a folder of its own. The same again
/// keeps the keys and writes the files anew. Three servers make a cluster that survives the loss of
/// one.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew org init plant --node n1=a.example:4222:6222 --node n2=b.example:4222:6222 \\
    --node n3=c.example:4222:6222
  nats-server -c n1.conf    # on a.example, with plant/nodes/n1.conf
  sinew --context plant org add globex")]
pub(crate) struct Args {
    /// The folder of the keys; made if it is not there
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// A server: its name, its host, its port for clients and that for the other servers
    #[arg(long = "node", value_name = "NAME=HOST:PORT:PORT", required = true)]
    nodes: Vec<Node>,
    /// The first org
    #[arg(long, value_name = "NAME", default_value = "acme")]
    first: OrgId,
}

pub(super) fn run(args: &Args, out: Out) -> anyhow::Result<Code> {
    let mut names: Vec<&str> = args.nodes.iter().map(|node| node.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() < args.nodes.len() {
        return Err(Fault::usage("two servers have one name").into());
    }
    let folder = std::path::absolute(&args.folder)?;
    let orgs = Orgs::new(&folder, Root::default());
    let account = orgs.ensure(&args.first, Quota::NONE)?.account;
    for user in [User::Operator, User::Server] {
        orgs.ensure_local(&args.first, &user)?;
    }
    let mut files = Vec::new();
    for node in &args.nodes {
        let file = folder.join("nodes").join(format!("{}.conf", node.name));
        write_private(&file, &orgs.node_config(&args.nodes, node)?)?;
        files.push(file);
    }
    let urls: Vec<String> =
        args.nodes.iter().map(|node| format!("nats://{}:{}", node.host, node.client)).collect();
    let login = |creds| Login::Creds { creds };
    let context = Context {
        url: urls.join(","),
        org: args.first.clone(),
        root: Root::default(),
        login: login(orgs.local_creds(&args.first, &User::Operator)),
        system: login(orgs.system_creds()),
        monitor_url: String::new(),
        data_dir: folder.clone(),
        durability: Durability::Always,
        tls: Tls::default(),
        account: Some(account),
        signatures: None,
        mcp_url: None,
        dashboard: None,
    };
    let path = Context::path_in(&folder);
    context.save(&path)?;
    let done = json!({ "context": path, "url": context.url, "org": args.first, "files": files });
    let text: Vec<String> = files.iter().map(|file| format!("wrote {}", file.display())).collect();
    let next = format!(
        "next: start each server with its file, then sinew --context {} server",
        args.folder.display()
    );
    out.either(&done, format!("{}\n{next}", text.join("\n")))?;
    Ok(Code::Done)
}
