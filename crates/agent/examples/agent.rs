//! An agent in a few lines: it takes the tasks of the role `writer` and counts their words.
//!
//! `cargo run -p sinew-agent --example agent`, in a folder where `sinew up` runs. Another backbone:
//! `cargo run -p sinew-agent --example agent -- nats://USER:PASSWORD@HOST:PORT acme`

use sinew_agent::{Auth, Bus, CancellationToken, Config, Context, Failure, Runtime, Settings};

async fn count(task: Context) -> Result<serde_json::Value, Failure> {
    let text = task.input().as_str().ok_or_else(|| Failure::fatal("the input is no text"))?;
    task.progress("counting", None);
    Ok(text.split_whitespace().count().into())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let config = match words.as_slice() {
        [url, org] => Config::new(url, org.parse()?),
        [] => of_this_folder()?,
        _ => return Err("say a URL and an org, or nothing where `sinew up` runs".into()),
    };
    let bus = Bus::connect(config).await?;
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

/// The backbone of this folder: `sinew up` writes down where it is, and who may come in.
fn of_this_folder() -> Result<Config, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(".sinew/context.json")
        .map_err(|error| format!("no backbone here (.sinew/context.json: {error}): `sinew up`"))?;
    let context: serde_json::Value = serde_json::from_str(&text)?;
    let field =
        |path| context.pointer(path).and_then(serde_json::Value::as_str).unwrap_or_default();
    let mut config = Config::new(field("/url"), field("/org").parse()?);
    config.auth = Auth::Password {
        user: field("/login/user").to_owned(),
        password: field("/login/password").to_owned(),
    };
    Ok(config)
}
