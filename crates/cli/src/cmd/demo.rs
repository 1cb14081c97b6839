//! `sinew demo`: a team of four prepares the release note of a git repository, while one of them
//! is killed, one sleeps until there is work, and one fails at first. At the end the demo checks
//! in the log that nothing was lost and nothing was done twice.

mod check;
mod repository;
mod stage;
mod timeline;

use std::{path::PathBuf, time::Duration};

use serde_json::json;
use sinew_agent::{Client, Delegation, client::new_id};
use sinew_bus::clock;
use sinew_model::{
    Entry, Role, TaskId,
    task::{Change, End, State},
};

use crate::{
    exit::{Code, Fault},
    output::Out,
    signals, text,
};
use repository::Repository;
use stage::Stage;
use timeline::Timeline;

/// How long all of it may take; it takes some ten seconds.
const PATIENCE: Duration = Duration::from_secs(100);
/// Time between two looks at the task of the CEO, should nothing be heard.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Lines of the release note that are shown.
const NOTE_LINES: usize = 24;

/// Watch a team of four agents prepare the release note of a git repository.
///
/// It brings up a backbone of its own on a throw-away folder. The CEO delegates a census of the
/// code to the CTO, a summary of the history to marketing, and a check of the README to QA. On the
/// way the CTO's agent is killed half-way and started again, marketing sleeps until its queue shows
/// work, and QA's first attempt fails. Then it checks in the log that every task ended once, and
/// ends with 1 if not. The repository is only read.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew demo
  sinew demo ~/src/another-repository")]
pub(crate) struct Args {
    /// The git repository
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The nats-server program [env: SINEW_NATS_SERVER]
    #[arg(long, value_name = "PATH")]
    nats_server: Option<PathBuf>,
}

/// Plays it.
///
/// # Errors
/// What kept it from being played.
pub(crate) async fn run(args: Args, out: Out) -> anyhow::Result<Code> {
    let stop = signals::listen()?;
    let repository = Repository::at(&args.path).await?;
    let mut stage = Stage::set(&repository, args.nats_server.as_deref()).await?;
    let played = tokio::select! {
        played = tokio::time::timeout(PATIENCE, play(&mut stage, &repository, out)) => {
            played.unwrap_or_else(|_late| Err(late(&stage)))
        }
        () = stop.gently.cancelled() => Ok(Code::Interrupted),
    };
    tokio::select! {
        () = stage.strike() => {}
        () = stop.now.cancelled() => {}
    }
    played
}

fn late(stage: &Stage) -> anyhow::Error {
    let (seconds, words) = (PATIENCE.as_secs(), stage.last_words());
    Fault::new(Code::Failed, format!("the demo did not end within {seconds} s\n{words}")).into()
}

async fn play(stage: &mut Stage, repository: &Repository, out: Out) -> anyhow::Result<Code> {
    let mut timeline = Timeline::begin(out);
    let bus = stage.bus().clone();
    let filter = bus.subjects().transitions();
    let mut hints = bus.watch_subject(filter.as_str()).await.map_err(anyhow::Error::msg)?;
    for role in ["ceo", "cto", "qa"] {
        stage.enter(role)?;
    }
    timeline.say("demo", "ceo, cto and qa are awake, marketing sleeps", "")?;
    let client = Client::new(bus.clone(), "operator".parse()?);
    let id = new_id();
    let title = format!("Prepare the release note of {}", repository.name);
    let input = json!({ "name": repository.name, "copy": stage.copy(), "hold": true });
    client.delegate(Delegation::new("ceo".parse()?, title).id(id.clone()).input(input)).await?;
    let state = loop {
        let heard = tokio::time::timeout(LOOK_EVERY, hints.next()).await;
        match heard.ok().flatten().map(|hint| serde_json::from_slice::<Entry>(hint.payload())) {
            Some(Ok(entry)) => {
                timeline.entry(&entry)?;
                intervene(stage, &mut timeline, &entry).await?;
            }
            // What this version does not understand is no part of the play.
            Some(Err(error)) => tracing::debug!(%error, "passed over"),
            None => {
                if let Some(state) = ended(&client, &id).await? {
                    break state;
                }
            }
        }
    };
    let verdict = check::verdict(&bus, &id, out).await?;
    note(&state, out)?;
    timeline.end(verdict.is_sound())?;
    Ok(if verdict.is_sound() { Code::Done } else { Code::Failed })
}

async fn ended(client: &Client, id: &TaskId) -> anyhow::Result<Option<State>> {
    Ok(client.state(id).await?.filter(|state| state.end().is_some()))
}

/// What the demo does to the team while it works.
async fn intervene(
    stage: &mut Stage,
    timeline: &mut Timeline,
    entry: &Entry,
) -> anyhow::Result<()> {
    match (timeline.role(&entry.task_id).map(Role::as_str), &entry.change) {
        (Some("marketing"), Change::Created { .. }) => {
            let queued = stage.queued("marketing").await?;
            timeline.say("demo", "wakes marketing", &format!("its queue holds {queued} task"))?;
            stage.enter("marketing")
        }
        (Some("cto"), Change::Progress { attempt: 1, .. }) => {
            let killed = stage.kill("cto").await?;
            timeline.say("demo", "kills cto-0", &format!("SIGKILL to process {killed}"))?;
            stage.enter("cto")?;
            timeline.say("demo", "starts cto-0 again", "under the same name")
        }
        _ => Ok(()),
    }
}

/// Prints what the team was asked for.
fn note(state: &State, out: Out) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(());
    }
    let Some(End::Completed { result, .. }) = state.end() else { return Ok(()) };
    let text = text::result(result);
    out.line("\nThe release note:\n")?;
    // A note of what is left takes a line too, so that one line more is shown instead.
    let all = text.lines().count();
    let shown = if all <= NOTE_LINES + 1 { all } else { NOTE_LINES };
    for line in text.lines().take(shown) {
        out.line(format_args!("  {}", text::short(line, 100)))?;
    }
    let more = all.saturating_sub(shown);
    if more > 0 {
        out.line(format_args!("  ({more} more lines)"))?;
    }
    Ok(())
}

/// How long it has been, for the lines of the demo.
fn since(begun: tokio::time::Instant) -> Duration {
    clock::instant().saturating_duration_since(begun)
}
