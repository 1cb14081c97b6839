//! The view of tasks as a command reads it: the file that `sinew up` keeps, where there is one,
//! else one in memory that is built for the question. Either way it is brought up to the stream
//! first, so that a command sees what was done before it was run.

use std::path::Path;

use sinew_bus::Bus;
use sinew_model::TaskId;
use sinew_server::context::Context;
use sinew_views::{EventView, Projection, Store, task::Candidates};

use crate::{exit::Fault, target::Target};

/// The file of the views in a data folder.
const FILE: &str = "views.db";

/// Where the views of a data folder are.
pub(crate) fn path_in(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join(FILE)
}

/// The file of the view of events in a data folder.
const EVENTS_FILE: &str = "events.db";

/// Where the view of the events of a data folder is.
pub(crate) fn events_in(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join(EVENTS_FILE)
}

/// Opens the view of events and brings it up to the stream.
///
/// # Errors
/// When it can't be opened, or the stream can't be read.
pub(crate) async fn events(target: &Target, bus: &Bus) -> anyhow::Result<EventView> {
    let subjects = bus.subjects().clone();
    let view = match data_dir(target) {
        Some(folder) => EventView::open(events_in(folder), subjects).await?,
        None => EventView::open_in_memory(subjects).await?,
    };
    view.catch_up(bus).await?;
    Ok(view)
}

/// The data folder whose files are of the target's org: those that `sinew up` serves, and no other.
fn data_dir(target: &Target) -> Option<&Path> {
    let own = target.own_context().filter(|(_, context)| context.org == target.config.org);
    own.map(|(_, Context { data_dir, .. })| data_dir.as_path()).filter(|folder| folder.is_dir())
}

/// Opens the view and brings it up to the stream.
///
/// # Errors
/// When it can't be opened, or the stream can't be read.
pub(crate) async fn open(target: &Target, bus: &Bus) -> anyhow::Result<Store> {
    let subjects = bus.subjects().clone();
    let store = match data_dir(target) {
        Some(folder) => Store::open(path_in(folder), subjects).await?,
        None => Store::open_in_memory(subjects).await?,
    };
    let projection = Projection::new(store);
    projection.catch_up(bus).await?;
    Ok(projection.store().clone())
}

/// The task that a person means: its id, or the beginning of one that only it has.
///
/// # Errors
/// When it is no id, or names no task, or several.
pub(crate) async fn resolve(target: &Target, bus: &Bus, text: &str) -> anyhow::Result<TaskId> {
    let id: TaskId = text.parse().map_err(|error| Fault::usage(format!("{error}")))?;
    if bus.history(&id).await?.task.state.is_some() {
        return Ok(id);
    }
    match open(target, bus).await?.resolve(text.to_owned()).await? {
        Candidates::One(id) => Ok(id),
        Candidates::None => Err(Fault::not_found(format!("there is no task {id}"))
            .hint("`sinew task list` shows the tasks")
            .into()),
        Candidates::Many(ids) => {
            let ids: Vec<&str> = ids.iter().map(TaskId::as_str).collect();
            Err(Fault::usage(format!("{text:?} begins several ids: {}", ids.join(", "))).into())
        }
    }
}
