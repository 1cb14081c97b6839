//! `sinew events replay`: what happened for a task and all that it delegated, as one story.

use serde_json::json;
use sinew_model::{Entry, TaskId, Time, limits::VIEW_ROWS};
use sinew_views::{
    EventView, Store,
    event::{EventRow, Search},
    task::{EntryRow, Tree},
};

use crate::{
    args::Global,
    cmd::task,
    exit::{Code, Fault},
    output::Out,
    target::Target,
    text, view,
};

/// Tell what happened for a task and all that it delegated, as one story.
///
/// The transitions of the tasks and the events of those who worked on them, in the order in which
/// the server stored them.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew events replay T1
  sinew events replay T1 --at 2026-05-10T14:23:01Z --json")]
pub(crate) struct ReplayArgs {
    /// The task, or the beginning of its id
    task: String,
    /// Only up to that moment: a time, or a span back from now as 2h
    #[arg(long, value_name = "WHEN", value_parser = text::moment_back)]
    at: Option<Time>,
}

/// One thing that happened.
enum Scene {
    Entry(Box<EntryRow>),
    Event(Box<EventRow>),
}

impl Scene {
    const fn stored_at(&self) -> Time {
        match self {
            Self::Entry(entry) => entry.stored_at,
            Self::Event(event) => event.stored_at,
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// Whatever went wrong.
pub(super) async fn run(args: ReplayArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    let root = view::resolve(&target, &bus, &args.task).await?;
    let tasks = view::open(&target, &bus).await?;
    let events = view::events(&target, &bus).await?;
    let Tree { tasks: family, cut } = tasks.tree(root.clone()).await?;
    if family.is_empty() {
        return Err(Fault::not_found(format!("there is no task {root}")).into());
    }
    let mut scenes = Vec::new();
    for row in &family {
        scenes.extend(transitions(&tasks, &row.task_id).await?);
        scenes.extend(told(&events, &row.task_id, args.at).await?);
    }
    scenes.retain(|scene| args.at.is_none_or(|at| scene.stored_at() <= at));
    scenes.sort_by_key(Scene::stored_at);
    for scene in &scenes {
        show(out, scene)?;
    }
    if cut {
        out.note("it delegated more tasks than are told here: replay one of them");
    }
    if scenes.is_empty() {
        out.note("nothing had happened yet");
    }
    Ok(Code::Done)
}

/// All entries of a task.
async fn transitions(tasks: &Store, id: &TaskId) -> anyhow::Result<Vec<Scene>> {
    let (mut scenes, mut after) = (Vec::new(), 0);
    loop {
        let (entries, next) = tasks.entries(id.clone(), after).await?;
        scenes.extend(entries.into_iter().map(|entry| Scene::Entry(Box::new(entry))));
        let Some(next) = next else { return Ok(scenes) };
        after = next;
    }
}

/// All events of a task.
async fn told(events: &EventView, id: &TaskId, at: Option<Time>) -> anyhow::Result<Vec<Scene>> {
    let (mut scenes, mut before) = (Vec::new(), None);
    loop {
        let search = Search {
            task: Some(id.clone()),
            until: at.map(|at| at.plus(std::time::Duration::from_micros(1))),
            before,
            limit: Some(VIEW_ROWS),
            ..Search::default()
        };
        let found = events.search(search).await?;
        before = found.last().map(|row| row.seq);
        scenes.extend(found.into_iter().map(|event| Scene::Event(Box::new(event))));
        if before.is_none() {
            return Ok(scenes);
        }
    }
}

fn show(out: Out, scene: &Scene) -> anyhow::Result<()> {
    match scene {
        Scene::Entry(entry) => {
            let read = serde_json::from_value::<Entry>(entry.body.clone()).ok();
            let what = read.map(|entry| task::describe(&entry.change)).unwrap_or_default();
            let (at, wide) = (entry.stored_at.to_string(), text::AT_WIDE);
            let (role, word) = (&entry.by.role, entry.transition.word());
            let line = format!("{at:<wide$}  {role:<12}  [{}] {word}  {what}", entry.task_id);
            out.either(&json!({ "entry": entry }), line.trim_end())
        }
        Scene::Event(event) => {
            let mut said = event.event.clone();
            said.timestamp = event.stored_at;
            out.either(&json!({ "event": event }), super::line(&said))
        }
    }
}
