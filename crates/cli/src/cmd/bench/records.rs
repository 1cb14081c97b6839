//! The messages of one task's life, taken from a real one, so that the bare loop writes the same
//! bytes under the same headers. What is in a body makes no difference to the server; the subjects
//! and headers of each life are of its own task.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use serde_json::{Value, json};
use sinew_agent::{
    CancellationToken, Client, Context, Delegation, Failure, Runtime, Settings,
    model::{
        Band, Role, Subject, Subjects, TaskId, Transition,
        mail::Mail,
        stream::{AGENT_MAIL, TASK_LOG},
    },
};

use super::place::{Place, role};

/// Bytes of input that each task brings.
const INPUT_BYTES: usize = 256;

/// The role that delegates.
pub(super) const CALLER: &str = "caller";
/// The role whose runtime works.
pub(super) const WORKER: &str = "worker";
/// The role whose tasks the bare loop takes.
pub(super) const BARE: &str = "bareloop";

/// The bodies of one task's life.
#[derive(Clone, Debug)]
pub(super) struct Bodies {
    pub(super) assignment: Bytes,
    pub(super) created: Bytes,
    pub(super) started: Bytes,
    pub(super) completed: Bytes,
    pub(super) report: Bytes,
}

/// The subjects of one task's life in the bare loop.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) id: TaskId,
    pub(super) log: Subject,
    pub(super) created: Subject,
    pub(super) started: Subject,
    pub(super) completed: Subject,
}

impl Life {
    pub(super) fn new(subjects: &Subjects, id: TaskId) -> Self {
        Self {
            log: subjects.log(&id),
            created: subjects.entry(&id, Transition::Created),
            started: subjects.entry(&id, Transition::Started),
            completed: subjects.entry(&id, Transition::Completed),
            id,
        }
    }

    pub(super) fn report_id(&self) -> String {
        Mail::report_id(&self.id, "end:1")
    }
}

/// What is delegated in every measurement.
pub(super) fn delegation() -> Result<Delegation> {
    let input = json!({ "text": "x".repeat(INPUT_BYTES) });
    Ok(Delegation::new(role(WORKER)?, "a task of the benchmark").input(input))
}

/// The handler that does nothing.
pub(super) async fn nothing(_task: Context) -> Result<Value, Failure> {
    Ok(json!({ "done": true }))
}

/// What a runtime of the benchmark is like.
pub(super) fn settings(place: &Place, concurrency: usize) -> Result<Settings> {
    let mut settings = Settings::new(role(WORKER)?);
    settings.concurrency = concurrency;
    settings.topology = Some(place.topology.clone());
    Ok(settings)
}

/// Lets one task live, and keeps what was written.
pub(super) async fn record(place: &Place) -> Result<Bodies> {
    place.clear().await?;
    let worker: Role = role(WORKER)?;
    let bus = &place.caller.bus;
    let client = Client::new(bus.clone(), role(CALLER)?);
    let id = client.delegate(delegation()?).await?.id;
    let queue = bus.subjects().tasks(&worker, Band::Normal);
    let assignment = body(place, "AGENT_TASKS", queue.as_str()).await?;
    let stop = CancellationToken::new();
    let runtime = Runtime::new(place.worker.bus.clone(), settings(place, 1)?);
    let running = tokio::spawn(runtime.run(nothing, stop.clone()));
    client.outcome(&id).await?;
    // The runtime ends what it has begun, so the report is there afterwards.
    stop.cancel();
    running.await??;
    let entry = |transition| bus.subjects().entry(&id, transition);
    Ok(Bodies {
        assignment,
        created: body(place, TASK_LOG, entry(Transition::Created).as_str()).await?,
        started: body(place, TASK_LOG, entry(Transition::Started).as_str()).await?,
        completed: body(place, TASK_LOG, entry(Transition::Completed).as_str()).await?,
        report: body(place, AGENT_MAIL, bus.subjects().inbox(client.role()).as_str()).await?,
    })
}

async fn body(place: &Place, stream: &str, subject: &str) -> Result<Bytes> {
    let message = place.caller.bus.last(stream, subject).await;
    let message = message.with_context(|| format!("{stream} could not be read"))?;
    match message {
        Some(message) => Ok(message.payload),
        None => bail!("{stream} has nothing on {subject}"),
    }
}
