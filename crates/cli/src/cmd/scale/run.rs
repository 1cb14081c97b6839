//! `sinew scale run`: the scaler alone, against NATS servers that somebody else runs.

use std::path::PathBuf;

use serde_json::json;
use sinew_bus::clock;
use sinew_model::{grant::User, limits::HEARTBEAT_EVERY, stream};
use sinew_server::{
    control::{presence::Presence, scale::Scaler},
    team::TeamFile,
};
use sinew_views::{Projection, Store};

use crate::{args::Global, cmd::up, exit::Code, output::Out, signals, target::Target};

/// Say how many instances each role of a team is to have, and start none.
///
/// It looks at the queues, and says on genbrain.org.system.scaling how many instances each role is
/// to have. Whoever starts instances follows that. It may run several times for one org: one of
/// them leads, and another one takes over when that one is gone.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew scale run --team team.toml")]
pub(crate) struct Args {
    /// A TOML file with the roles of a team
    #[arg(long, value_name = "FILE", default_value = "team.toml")]
    team: PathBuf,
}

/// Runs until it is told to stop.
///
/// # Errors
/// What kept it from starting.
pub(crate) async fn run(args: Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let stop = signals::listen()?;
    let team = TeamFile::open(&args.team).await?;
    let mut target = Target::find(global)?;
    target.as_user(&User::Server)?;
    let bus = target.connect().await?;
    let topology = up::topology(&bus, None)?;
    for name in [stream::SYSTEM, stream::AGENT_TASKS, stream::TASK_LOG] {
        topology.ensure_stream(&bus, name).await?;
    }
    let projection = Projection::new(Store::open_in_memory(bus.subjects().clone()).await?);
    let presence = Presence::default();
    let me = clock::unique();
    let seen = (presence.clone(), Some(projection.store().clone()));
    let scaler = Scaler::new(bus.clone(), me.clone(), team.watch(), seen);
    let ready = json!({ "event": "ready", "org": target.config.org, "scaler": me });
    out.either(&ready, format_args!("the scaler {me} runs; `sinew scale status` shows who leads"))?;
    let gently = stop.gently;
    let all = async {
        tokio::join!(
            presence.listen(bus.clone(), gently.clone()),
            team.follow(gently.clone()),
            scaler.run(gently.clone()),
            async {
                while let Err(error) = projection.follow(&bus, gently.clone()).await {
                    tracing::warn!(%error, "who waits for people can't be seen now");
                    clock::pause(HEARTBEAT_EVERY).await;
                }
            }
        );
    };
    tokio::select! {
        () = all => Ok(Code::Done),
        () = stop.now.cancelled() => Ok(Code::Interrupted),
    }
}
