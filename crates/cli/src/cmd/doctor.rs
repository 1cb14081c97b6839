//! `sinew doctor`: looks at everything that must be well, and says how to mend what is not.

mod deployment;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use serde::Serialize;
use serde_json::Value;
use sinew_bus::{Bus, Identity, Topology, clock, connect::without_login};
use sinew_model::{Time, stream::TASK_LOG};
use sinew_server::engine::find;

use crate::{
    args::Global,
    env,
    exit::{Code, told},
    output::Out,
    target::Target,
    text, view,
};

/// Clocks further apart than this make times in lists misleading, and deadlines early or late.
const CLOCKS_APART: Duration = Duration::from_secs(2);

/// Check the installation, the connection and the deployment, and say how to mend what is wrong.
///
/// Ends with 1 if something is wrong.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew doctor")]
pub(crate) struct Args {
    /// The nats-server program [env: SINEW_NATS_SERVER]
    #[arg(long, value_name = "PATH")]
    nats_server: Option<PathBuf>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum State {
    Well,
    /// It matters only for some.
    Note,
    Wrong,
}

impl Finding {
    fn well(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, state: State::Well, found: found.into(), mend: None }
    }

    fn wrong(what: &'static str, found: impl Into<String>, mend: &str) -> Self {
        Self { what, state: State::Wrong, found: found.into(), mend: Some(mend.to_owned()) }
    }

    fn note(self) -> Self {
        Self { state: State::Note, ..self }
    }
}

/// Looks, and prints what was found.
///
/// # Errors
/// When nothing can be printed.
pub(crate) async fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let mut findings = vec![binary(args).await];
    findings.extend(backbone(global).await);
    let sound = findings.iter().all(|finding| finding.state != State::Wrong);
    if out.is_json() {
        out.document(&findings)?;
    } else {
        for it in &findings {
            let word = match it.state {
                State::Well => "ok",
                State::Note => "note",
                State::Wrong => "WRONG",
            };
            out.line(format_args!("{word:<6} {:<12} {}", it.what, text::short(&it.found, 200)))?;
            if let Some(mend) = &it.mend {
                out.line(format_args!("{:20}mend: {mend}", ""))?;
            }
        }
    }
    Ok(if sound { Code::Done } else { Code::Failed })
}

/// Only `sinew up` needs a nats-server here.
async fn binary(args: &Args) -> Finding {
    let near = std::env::current_dir().ok().into_iter().chain(std::env::current_exe().ok());
    let near: Vec<PathBuf> = near.collect();
    let given = env::path(env::NATS_SERVER).map(OsString::from);
    match find(args.nats_server.as_deref(), given, env::search_path(), &near).await {
        Ok(path) => Finding::well("nats-server", path.display().to_string()),
        Err(error) => {
            let mend = "run tools/install-nats in a checkout, if `sinew up` is to run here";
            Finding::wrong("nats-server", format!("{error}"), mend).note()
        }
    }
}

async fn backbone(global: &Global) -> Vec<Finding> {
    let target = match Target::find(global) {
        Ok(target) => target,
        Err(error) => {
            let mend = "run `sinew up`, or say --url and --org";
            return vec![Finding::wrong("context", told(&error), mend)];
        }
    };
    let from = target.own_context().map_or_else(
        || "no context: flags or environment".to_owned(),
        |(path, _)| path.display().to_string(),
    );
    let mut findings = vec![Finding::well("context", from)];
    let bus = match target.connect().await {
        Ok(bus) => bus,
        Err(error) => {
            let mend = "start the backbone (`sinew up`), or correct --url and --creds";
            findings.push(Finding::wrong("connection", told(&error), mend));
            return findings;
        }
    };
    let (url, org) = (without_login(&target.config.url), &target.config.org);
    let version = bus.server_version();
    let found = format!("{url}, org {org}, nats-server {version}");
    findings.push(Finding::well("connection", found));
    findings.push(encryption(&target));
    findings.push(signatures(&bus));
    findings.push(jetstream(&bus).await);
    findings.push(topology(&bus).await);
    findings.push(clocks(&bus).await);
    findings.push(views(&target, &bus).await);
    findings.push(deployment::incidents(&bus).await);
    findings.extend(deployment::findings(&bus).await);
    findings
}

fn encryption(target: &Target) -> Finding {
    match &target.config.tls.ca {
        Some(ca) => Finding::well("encryption", format!("TLS, authority {}", ca.display())),
        None => {
            let mend = "`sinew up --tls` encrypts; --tls-ca names the authority of another server";
            Finding::wrong("encryption", "no authority is named for TLS", mend).note()
        }
    }
}

fn signatures(bus: &Bus) -> Finding {
    let Identity { signs_as, verifies, policy } = bus.identity();
    let policy = policy.word();
    match signs_as {
        Some((user, key)) => {
            Finding::well("signatures", format!("{policy}; signs as {} ({key})", user.name()))
        }
        None => {
            let verified = if verifies { "verified" } else { "not verified" };
            let found = format!("{policy}; messages are not signed, and {verified} when read");
            let mend = "log in with a .creds file (--creds): its key signs";
            Finding::wrong("signatures", found, mend).note()
        }
    }
}

async fn jetstream(bus: &Bus) -> Finding {
    match bus.api::<Value>("INFO", &Value::Null).await {
        Ok(info) => {
            let number = |field: &str| info.get(field).and_then(Value::as_u64).unwrap_or_default();
            let (streams, consumers) = (number("streams"), number("consumers"));
            Finding::well("jetstream", format!("{streams} streams, {consumers} consumers"))
        }
        Err(error) => {
            let mend = "enable JetStream for this account, and let the login use $JS.API.INFO";
            Finding::wrong("jetstream", format!("{error}"), mend)
        }
    }
}

async fn topology(bus: &Bus) -> Finding {
    match Topology::standard(bus).plan(bus).await {
        Ok(plan) if plan.is_empty() => Finding::well("topology", "every stream is as it is to be"),
        Ok(_) => {
            let found = "streams are missing, or differ from the standard ones";
            Finding::wrong("topology", found, "`sinew topology plan` says which, apply mends them")
                .note()
        }
        Err(error) => {
            Finding::wrong("topology", format!("{error}"), "let the login use $JS.API.STREAM.INFO")
        }
    }
}

/// Compares the clocks: the server says what time it is when it is asked about a stream.
async fn clocks(bus: &Bus) -> Finding {
    let (before, begun) = (clock::now(), clock::instant());
    let info = bus.api::<Value>(&format!("STREAM.INFO.{TASK_LOG}"), &Value::Null).await;
    let half = begun.elapsed() / 2;
    let ts = info.ok().and_then(|info| info.get("ts")?.as_str()?.parse::<Time>().ok());
    let Some(ts) = ts else {
        let mend = "`sinew topology apply` makes the streams";
        return Finding::wrong("clocks", "the server does not say its time", mend).note();
    };
    let here = before.plus(half);
    let apart = here.since(ts).max(ts.since(here));
    let found = format!("{} apart, give or take {}", text::span(apart), text::span(half));
    if apart > CLOCKS_APART {
        return Finding::wrong("clocks", found, "set both clocks by NTP");
    }
    Finding::well("clocks", found)
}

async fn views(target: &Target, bus: &Bus) -> Finding {
    let look = async {
        let store = view::open(target, bus).await?;
        anyhow::Ok(store.checkpoint().await?.seq)
    };
    match look.await {
        Ok(seq) => Finding::well("views", format!("complete up to entry {seq}")),
        Err(error) => {
            let mend = "delete the file of the views: it is built again from the log";
            Finding::wrong("views", told(&error), mend)
        }
    }
}
