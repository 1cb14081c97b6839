//! The overview: is the company of agents well, and what needs a person?

use std::collections::BTreeMap;

use maud::{Markup, html};
use sinew_agent::registry::Known;
use sinew_model::{health::Health, limits::DASHBOARD_GLANCE_ROWS};
use sinew_views::task::{Count, Filter, TaskRow};

use crate::{
    control::scale::status,
    face::dashboard::{
        fault::Fault,
        gate::Visit,
        shell::Page,
        words::{self, number_text},
    },
};

/// Renders it.
pub(in crate::face::dashboard) async fn page(visit: &Visit) -> Result<Page, Fault> {
    let room = &visit.room;
    let counts = room.store.counts().await?;
    let health = room.checkup.look().await;
    // A server elsewhere that can't be heard is no reason to show nothing.
    let servers = status::health(&room.bus).await.unwrap_or_default();
    let agents = room.agents().await;
    let some = |phases: &[&str]| glance(phases);
    let (asking, running) = tokio::try_join!(
        room.store.list(some(&["blocked", "submitted"])),
        room.store.list(some(&["running"])),
    )?;
    let ended = Filter { ended: Some(true), ..some(&[]) };
    let ended = room.store.list(ended).await?;
    let agents = agents.as_deref().map(Vec::as_slice).unwrap_or_default();
    let totals = Totals::of(&counts, agents);
    let body = html! {
        h1 { "Overview" }
        (banner(&health, servers.values(), &totals))
        (tiles(&totals))
        @if totals.tasks == 0 && agents.is_empty() {
            (begin())
        } @else {
            div.columns {
                section aria-labelledby="asking" {
                    h2 #asking { "Waiting for a person" }
                    (questions(&asking.tasks))
                }
                section aria-labelledby="running" {
                    h2 #running { "Running now" }
                    (now(&running.tasks))
                }
                section aria-labelledby="roles" {
                    h2 #roles { "Roles" }
                    (roles(agents))
                }
                section aria-labelledby="ended" {
                    h2 #ended { "Ended lately" }
                    (lately(&ended.tasks))
                }
            }
        }
    };
    Ok(Page::new("Overview", body))
}

fn glance(phases: &[&str]) -> Filter {
    let phases = phases.iter().map(|&phase| phase.to_owned()).collect();
    Filter { phases, limit: Some(DASHBOARD_GLANCE_ROWS), ..Filter::default() }
}

/// What is counted on the first row.
#[derive(Debug, Default)]
struct Totals {
    tasks: u64,
    queued: u64,
    running: u64,
    asking: u64,
    dead: u64,
    done: u64,
    awake: usize,
    busy: usize,
    /// Roles that have work and nobody to do it.
    alone: Vec<String>,
}

impl Totals {
    fn of(counts: &[Count], agents: &[Known]) -> Self {
        let mut all = Self::default();
        let mut phases: BTreeMap<&str, u64> = BTreeMap::new();
        for count in counts {
            *phases.entry(count.phase.as_str()).or_default() += count.tasks;
        }
        let sum = |words: &[&str]| words.iter().filter_map(|word| phases.get(word)).sum();
        all.tasks = phases.values().sum();
        all.queued = sum(&["queued", "retrying"]);
        all.running = sum(&["running"]);
        all.asking = sum(&["blocked", "submitted"]);
        all.dead = sum(&["dead"]);
        all.done = sum(&["completed"]);
        for role in agents {
            let awake = role.instances.iter().filter(|it| it.state.is_awake());
            all.awake += awake.clone().count();
            all.busy += awake.filter(|it| !it.holds.is_empty()).count();
            if role.queued > 0 && !role.state.is_awake() {
                all.alone.push(role.role.to_string());
            }
        }
        all
    }
}

/// Whether all is well, in a sentence.
fn banner<'a>(
    health: &Health,
    servers: impl Iterator<Item = &'a Health>,
    totals: &Totals,
) -> Markup {
    let mut wrong: Vec<String> = health.faults.clone();
    for server in servers {
        wrong.extend(server.faults.iter().filter(|it| !health.faults.contains(it)).cloned());
        wrong.extend(server.crashing.iter().map(|it| {
            format!("the agents of {} do not stay up: {}", it.role, words::cut(&it.why, 120))
        }));
    }
    let mut tended: Vec<String> = Vec::new();
    if totals.dead > 0 {
        tended.push(format!("{} given up", words::count(totals.dead, "task")));
    }
    if !totals.alone.is_empty() {
        tended.push(format!("nobody works for {}", words::cut(&totals.alone.join(", "), 120)));
    }
    let (tone, head) = match (wrong.is_empty(), tended.is_empty()) {
        (false, _) => ("bad", "Something is wrong"),
        (true, false) => ("warn", "Something needs attention"),
        (true, true) => ("good", "All is well"),
    };
    html! {
        div #health class=(format!("banner {tone}")) role="status" {
            span.dot aria-hidden="true" {}
            div {
                p.head { (head) }
                @if wrong.is_empty() && tended.is_empty() {
                    p { "The backbone answers, and no task is stuck." }
                }
                @for it in wrong.iter().chain(&tended) { p { (capital(it)) "." } }
            }
        }
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|it| it.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn tiles(totals: &Totals) -> Markup {
    let awake = u64::try_from(totals.awake).unwrap_or(u64::MAX);
    let busy = format!("{} busy", totals.busy);
    let tile = |id: &str, href: &str, name: &str, number: u64, more: &str| {
        html! {
            li {
                a.tile id=(format!("tile-{id}")) href=(href) {
                    span.name { (name) }
                    span.number { (number_text(number)) }
                    span.more { (more) }
                }
            }
        }
    };
    html! {
        ul.tiles {
            (tile("agents", "/agents", "Agents", awake, &busy))
            (tile("running", "/tasks?phase=running", "Running", totals.running, "tasks in hand"))
            (tile("queued", "/tasks?phase=queued", "Queued", totals.queued, "to be begun"))
            (tile("asking", "/tasks?phase=blocked", "Waiting for a person", totals.asking,
                "to answer or judge"))
            (tile("dead", "/dead", "Dead letters", totals.dead, "given up"))
            (tile("done", "/tasks?phase=completed", "Completed", totals.done, "in all"))
        }
    }
}

/// What is said before anything has happened.
fn begin() -> Markup {
    html! {
        section.begin aria-labelledby="begin" {
            h2 #begin { "Nothing has happened yet" }
            p { "Make any program an agent, and give it something to do. In a terminal, in the same folder:" }
            (words::command("sinew agent run --role cto -- wc -w"))
            (words::command("sinew task delegate cto \"Count these words\" --wait"))
            p { "Or " a href="/delegate" { "delegate a task" } " here. It will appear on this page by itself." }
        }
    }
}

fn questions(rows: &[TaskRow]) -> Markup {
    html! {
        @if rows.is_empty() {
            p.mute { "Nobody waits for an answer or a verdict." }
        } @else {
            ul.rows {
                @for row in rows {
                    li id=(format!("asks-{}", row.task_id)) {
                        div.line { (words::task(row)) (words::phase(&row.phase)) }
                        @if let Some(text) = &row.message {
                            p.message { (words::cut(text, 160)) }
                        }
                        p.mute {
                            @if let Some(asked) = &row.asked { "Asks " b { (asked) } " · " }
                            "since " (words::time(row.updated_at))
                        }
                    }
                }
            }
        }
    }
}

fn now(rows: &[TaskRow]) -> Markup {
    html! {
        @if rows.is_empty() {
            p.mute { "No task is being worked on." }
        } @else {
            ul.rows {
                @for row in rows {
                    li id=(format!("runs-{}", row.task_id)) {
                        div.line { (words::task(row)) (words::role_if(row.role.as_ref())) }
                        (words::progress(row))
                    }
                }
            }
        }
    }
}

fn lately(rows: &[TaskRow]) -> Markup {
    html! {
        @if rows.is_empty() {
            p.mute { "No task has ended yet." }
        } @else {
            ul.rows {
                @for row in rows {
                    li id=(format!("ended-{}", row.task_id)) {
                        div.line { (words::task(row)) (words::phase(&row.phase)) }
                        p.mute {
                            @if let Some(role) = &row.role { (role) " · " }
                            (words::time(row.ended_at.unwrap_or(row.updated_at)))
                        }
                    }
                }
            }
        }
    }
}

fn roles(agents: &[Known]) -> Markup {
    html! {
        @if agents.is_empty() {
            p.mute { "No agent has shown itself yet." }
        } @else {
            ul.rows {
                @for known in agents.iter().take(DASHBOARD_GLANCE_ROWS) {
                    li id=(format!("role-{}", known.role)) {
                        div.line {
                            a href=(format!("/agents?role={}", known.role)) { (known.role) }
                            (words::standing(known.state))
                        }
                        p.mute {
                            (known.places.taken) " of " (known.places.total) " places taken · "
                            (number_text(known.queued)) " to do"
                        }
                    }
                }
            }
            @if agents.len() > DASHBOARD_GLANCE_ROWS {
                p { a href="/agents" { "All " (agents.len()) " roles" } }
            }
        }
    }
}
