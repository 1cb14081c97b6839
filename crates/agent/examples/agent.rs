//! An agent in a few lines: it takes the tasks of the role `writer` and counts their words.
//!
//! `cargo run -p sinew-agent --example agent -- nats://127.0.0.1:4222`

use sinew_agent::{Bus, CancellationToken, Config, Context, Failure, Runtime, Settings};

async fn count(task: Context) -> Result<serde_json::Value, Failure> {
    let text = task.input().as_str().ok_or_else(|| Failure::fatal("the input is no text"))?;
    task.progress("counting", None);
    Ok(text.split_whitespace().count().into())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "nats://127.0.0.1:4222".to_owned());
    let bus = Bus::connect(Config::new(url, "acme".parse()?)).await?;
    let shutdown = CancellationToken::new();
    let told = shutdown.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            told.cancel();
        }
    });
    Runtime::new(bus, Settings::new("writer".parse()?)).run(count, shutdown).await?;
    Ok(())
}
