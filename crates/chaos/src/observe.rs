//! What the streams hold when a run is over: the log of every task folded, every event, every
//! report. It only reads, and judges nothing.

use std::collections::BTreeMap;

use anyhow::Context as _;
use sinew_bus::{Bus, RawMessage};
use sinew_model::{
    Band, Role, TaskId, Time, Transition, header,
    mail::Mail,
    stream::{AGENT_MAIL, AGENT_TASKS, ORG_EVENTS, TASK_LOG, work_consumer_name},
    task::{Change, Stored, Task},
};

use crate::work::ROLES;

/// What ends a task.
const ENDS: [Transition; 4] =
    [Transition::Completed, Transition::Failed, Transition::Cancelled, Transition::Dead];

/// Everything that a run left behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// By task.
    pub(crate) tasks: BTreeMap<TaskId, TaskSeen>,
    /// How often an event is stored, by its id.
    pub(crate) events: BTreeMap<String, u32>,
    /// How often a report about an end is stored, by its id.
    pub(crate) reports: BTreeMap<String, u32>,
    /// Assignments that are still queued.
    pub(crate) queued: Vec<Queued>,
}

/// An assignment that a queue holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Queued {
    /// Which, where, and where the queue's consumer stands.
    pub(crate) what: String,
    /// Whether the consumer counts it as acked: it delivers it no more, and yet the queue has it.
    pub(crate) acked: bool,
}

/// One task.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskSeen {
    /// The fold of its log.
    pub(crate) task: Task,
    /// Entries that say that it ended, lawful or not.
    pub(crate) ends: u32,
    /// What happened when, in the order of the log.
    pub(crate) moments: Vec<(Time, Moment)>,
}

/// What matters of an entry for the times of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// An attempt began, in that instance.
    Started(String),
    /// An attempt gave the task back.
    Released,
    /// The task ended.
    Ended,
}

impl TaskSeen {
    /// Folds the next entry of its log, with the time at which the server stored it: the one in
    /// the entry is when its writer began to write.
    pub(crate) fn take(&mut self, id: &TaskId, stored: &Stored, at: Time) {
        let entry = &stored.entry;
        let lawful = self.task.apply(id, stored).is_ok();
        let transition = entry.change.transition();
        self.ends += u32::from(transition.is_end());
        let moment = if let Change::Started(start) = &entry.change {
            Moment::Started(start.instance.to_string())
        } else if transition.is_end() {
            Moment::Ended
        } else if transition == Transition::Released {
            Moment::Released
        } else {
            return;
        };
        if lawful {
            self.moments.push((at, moment));
        }
    }
}

impl TaskSeen {
    /// When its first attempt began.
    pub(crate) fn began(&self) -> Option<Time> {
        let mut begun = self.moments.iter().filter(|(_, it)| matches!(it, Moment::Started(_)));
        begun.next().map(|(at, _)| *at)
    }

    /// When it ended.
    pub(crate) fn ended(&self) -> Option<Time> {
        self.moments.iter().find(|(_, moment)| *moment == Moment::Ended).map(|(at, _)| *at)
    }
}

impl Seen {
    /// Tasks of the log that have not ended.
    pub(crate) fn open(&self) -> usize {
        self.tasks.values().filter(|seen| !seen.task.has_ended()).count()
    }
}

/// Reads all of it.
///
/// # Errors
/// When a stream cannot be read.
pub(crate) async fn everything(bus: &Bus, delegators: &[Role]) -> anyhow::Result<Seen> {
    let mut seen = log(bus).await?;
    let events = String::from(bus.subjects().events());
    each(bus, ORG_EVENTS, &events, |message| {
        if let Some(id) = message.header(header::MSG_ID) {
            *seen.events.entry(id.to_owned()).or_default() += 1;
        }
        Ok(())
    })
    .await?;
    for role in delegators {
        let inbox = String::from(bus.subjects().inbox(role));
        each(bus, AGENT_MAIL, &inbox, |message| {
            // Progress is told, and not promised; a question that is lost leaves its task open.
            let mail: Mail = serde_json::from_slice(&message.payload).context("a mail")?;
            if ENDS.iter().any(|end| mail.kind == Mail::report_kind(*end)) {
                *seen.reports.entry(mail.id).or_default() += 1;
            }
            Ok(())
        })
        .await?;
    }
    seen.queued = queued(bus).await?;
    Ok(seen)
}

/// What every queue holds.
///
/// # Errors
/// When it cannot be read.
pub(crate) async fn queued(bus: &Bus) -> anyhow::Result<Vec<Queued>> {
    let mut found = Vec::new();
    for role in ROLES {
        let role: Role = role.parse()?;
        let subject = bus.subjects().tasks(&role, Band::Normal);
        let consumer = work_consumer_name(&role, Band::Normal);
        let mut from = 1;
        while let Some(message) = bus.first_from(AGENT_TASKS, subject.as_str(), from).await? {
            from = message.seq + 1;
            let open = bus.open_deliveries(AGENT_TASKS, &consumer).await?;
            let id = message.header(header::MSG_ID).unwrap_or_default();
            found.push(Queued {
                what: format!("{id} at {} of {role}, its consumer: {open:?}", message.seq),
                acked: open.is_some_and(|open| message.seq < open.first),
            });
        }
    }
    Ok(found)
}

/// The logs of all tasks.
///
/// # Errors
/// When they cannot be read.
pub(crate) async fn log(bus: &Bus) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    let logs = String::from(bus.subjects().logs());
    each(bus, TASK_LOG, &logs, |message| {
        let stored = message.stored(bus.subjects()).context("an entry that no one can read")?;
        let id = stored.entry.task_id.clone();
        seen.tasks.entry(id.clone()).or_default().take(&id, &stored, message.time);
        Ok(())
    })
    .await?;
    Ok(seen)
}

/// Every message of a stream up to the one that is its last now.
async fn each(
    bus: &Bus,
    stream: &str,
    filter: &str,
    mut take: impl FnMut(&RawMessage) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some(last) = bus.last(stream, filter).await? else { return Ok(()) };
    let mut scan = bus.scan(stream, filter, 1).await?;
    loop {
        let message = scan.next().await?;
        take(&message)?;
        if message.seq >= last.seq {
            return Ok(());
        }
    }
}
