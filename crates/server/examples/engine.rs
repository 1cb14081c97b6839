//! The smallest program that runs an engine and is its guard: what `sinew up` does, without the
//! rest of it. The tests of the engine use it as both.
//!
//! ```text
//! engine guard PID PROGRAM ARGS...      becomes PROGRAM, and ends with process PID
//! engine up FOLDER NATS-SERVER          runs an engine until it is interrupted
//! ```

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use sinew_server::engine::{Config, Engine, exec_guarded};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(|verb| verb.to_str()) {
        Some("guard") => Err(exec_guarded(args).into()),
        Some("up") => {
            let (folder, binary) = args.next().zip(args.next()).ok_or("up FOLDER NATS-SERVER")?;
            tokio::runtime::Runtime::new()?.block_on(up(folder.into(), binary.into()))?;
            Ok(ExitCode::SUCCESS)
        }
        _ => Err("guard or up".into()),
    }
}

async fn up(folder: PathBuf, binary: PathBuf) -> Result<(), Box<dyn std::error::Error>> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut config = Config::new(folder, "acme".parse()?, binary);
    let this = std::env::current_exe()?;
    config.guard = Some(vec![this.into(), OsString::from("guard")]);
    let engine = Engine::start(config).await?;
    interrupts.recv().await;
    engine.stop().await;
    Ok(())
}
