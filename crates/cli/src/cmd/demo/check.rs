//! Checks in the log what the demo claims: every task ended once, nothing was lost, and the
//! attempts are as they should be.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use sinew_bus::{Bus, History, clock};
use sinew_model::{
    TaskId,
    stream::{AGENT_TASKS, TASK_LOG},
    task::{Change, ReleaseReason},
};

use crate::{output::Out, text};

/// How long the last acks may take to reach the queue.
const SETTLE: Duration = Duration::from_secs(10);
/// Time between two looks at the queue.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What each role's task is to come to: attempts, and why the attempts before the last ended.
const EXPECTED: [(&str, u32, Option<ReleaseReason>); 4] = [
    ("ceo", 1, None),
    ("cto", 2, Some(ReleaseReason::Restarted)),
    ("marketing", 1, None),
    ("qa", 2, Some(ReleaseReason::Failed)),
];

/// One claim, and whether it holds.
#[derive(Debug, Serialize)]
struct Claim {
    claim: String,
    holds: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    instead: Option<String>,
}

/// All claims.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    claims: Vec<Claim>,
    tasks: Vec<Row>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    task_id: TaskId,
    role: String,
    title: String,
    attempts: u32,
    seconds: f64,
    end: String,
}

impl Verdict {
    /// Whether every claim holds.
    pub(super) fn is_sound(&self) -> bool {
        self.claims.iter().all(|claim| claim.holds)
    }
}

/// Reads the log, and prints the tasks and the claims.
///
/// # Errors
/// When the log can't be read.
pub(super) async fn verdict(bus: &Bus, root: &TaskId, out: Out) -> anyhow::Result<Verdict> {
    let left = settle(bus).await?;
    let tasks = histories(bus).await?;
    let mut claims = vec![claim("the queue is empty", left == 0, || format!("{left} are on it"))];
    claims.push(claim("there are four tasks", tasks.len() == 4, || tasks.len().to_string()));
    let children = tasks.values().filter(|history| parent(history) == Some(root)).count();
    claims.push(claim("three are children of the CEO's", children == 3, || children.to_string()));
    for (role, attempts, released) in EXPECTED {
        let found = tasks.iter().find(|(_, history)| of(history) == role);
        match found {
            Some((id, history)) => claims.extend(judge(role, id, history, (attempts, released))),
            None => claims.push(claim(format!("{role} has a task"), false, String::new)),
        }
    }
    let rows = tasks.iter().map(|(id, history)| row(id, history)).collect();
    let verdict = Verdict { claims, tasks: rows };
    print(&verdict, out)?;
    Ok(verdict)
}

fn claim(text: impl Into<String>, holds: bool, instead: impl Fn() -> String) -> Claim {
    Claim { claim: text.into(), holds, instead: (!holds).then(instead) }
}

/// Waits for the queue to be empty; says how many tasks are left on it.
async fn settle(bus: &Bus) -> anyhow::Result<u64> {
    let end = clock::instant() + SETTLE;
    loop {
        let left = bus.stream_state(AGENT_TASKS).await?.messages;
        if left == 0 || clock::instant() >= end {
            return Ok(left);
        }
        clock::pause(LOOK_EVERY).await;
    }
}

/// Every task that the log has, with its history.
async fn histories(bus: &Bus) -> anyhow::Result<BTreeMap<TaskId, History>> {
    let mut tasks = BTreeMap::new();
    let mut scan = bus.scan(TASK_LOG, bus.subjects().logs().as_str(), 1).await?;
    while scan.pending() > 0 {
        let message = scan.next().await?;
        if let Ok(stored) = message.stored(bus.subjects()) {
            tasks.entry(stored.entry.task_id).or_insert_with(History::default);
        }
    }
    for (id, history) in &mut tasks {
        *history = bus.history(id).await?;
    }
    Ok(tasks)
}

fn judge(
    role: &str,
    id: &TaskId,
    history: &History,
    (attempts, released): (u32, Option<ReleaseReason>),
) -> [Claim; 4] {
    let changes = || history.entries.iter().map(|logged| &logged.stored.entry.change);
    let ends = changes().filter(|change| change.transition().is_end()).count();
    let begun = history.task.state.as_ref().map_or(0, |state| state.attempts);
    let why: Vec<ReleaseReason> =
        changes()
            .filter_map(|change| {
                if let Change::Released { reason, .. } = change { Some(*reason) } else { None }
            })
            .collect();
    let voids = history.task.voids + history.skipped;
    let word = history.task.state.as_ref().map_or("nowhere", |state| state.word());
    let once = ends == 1 && word == "completed";
    let expected: Vec<ReleaseReason> = released.into_iter().collect();
    [
        claim(format!("{role}: completed exactly once"), once, || {
            format!("{ends} ends, {word} ({id})")
        }),
        claim(format!("{role}: {attempts} attempts"), begun == attempts, || begun.to_string()),
        claim(format!("{role}: given back {expected:?}"), why == expected, || format!("{why:?}")),
        claim(format!("{role}: no entry is void"), voids == 0, || voids.to_string()),
    ]
}

fn of(history: &History) -> &str {
    let state = history.task.state.as_ref();
    state.and_then(|state| state.assignment.as_ref()).map_or("?", |it| it.role.as_str())
}

fn parent(history: &History) -> Option<&TaskId> {
    history.task.state.as_ref()?.assignment.as_ref()?.parent.as_ref()
}

fn row(id: &TaskId, history: &History) -> Row {
    let state = history.task.state.as_ref();
    let title = state.and_then(|state| Some(state.assignment.as_ref()?.title.clone()));
    let times = history.entries.first().zip(history.entries.last());
    let span = times.map_or(Duration::ZERO, |(first, last)| last.time.since(first.time));
    Row {
        task_id: id.clone(),
        role: of(history).to_owned(),
        title: title.unwrap_or_default(),
        attempts: state.map_or(0, |state| state.attempts),
        seconds: span.as_secs_f64(),
        end: state.map_or("?", |state| state.word()).to_owned(),
    }
}

fn print(verdict: &Verdict, out: Out) -> anyhow::Result<()> {
    if out.is_json() {
        return out.document(verdict);
    }
    let cells = |row: &Row| {
        let (title, took) = (text::short(&row.title, 48), format!("{:.2}s", row.seconds));
        vec![row.role.clone(), title, row.attempts.to_string(), took, row.end.clone()]
    };
    let head = ["ROLE", "TITLE", "ATTEMPTS", "TOOK", "END"];
    out.line(format_args!("\n{}\n", text::table(&head, verdict.tasks.iter().map(cells))))?;
    let (held, all) = (verdict.claims.iter().filter(|it| it.holds).count(), verdict.claims.len());
    out.line(format_args!("Checked in the log: {held} of {all} claims hold."))?;
    for it in verdict.claims.iter().filter(|it| !it.holds) {
        let instead = it.instead.as_deref().unwrap_or_default();
        out.line(format_args!("BROKEN: {}, but: {instead}", it.claim))?;
    }
    Ok(())
}
