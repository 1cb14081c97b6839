//! The tasks: as a list that can be searched and leafed through, and as a board.

use maud::{Markup, html};
use serde::Deserialize;
use sinew_model::{
    Role,
    limits::{DASHBOARD_CARDS, DASHBOARD_ROWS},
};
use sinew_views::task::{Filter, PHASES, Page as Rows, TaskRow};

use crate::face::dashboard::{
    fault::Fault,
    gate::Visit,
    shell::Page,
    view::{given, parsed},
    words,
};

/// Which tasks are listed.
#[derive(Clone, Debug, Default, Deserialize)]
pub(in crate::face::dashboard) struct WhichTasks {
    role: Option<String>,
    delegator: Option<String>,
    phase: Option<String>,
    q: Option<String>,
    after: Option<String>,
}

impl WhichTasks {
    fn filter(&self) -> Result<Filter, Fault> {
        let phase = given(&self.phase).map(str::to_owned);
        if let Some(word) = phase.as_ref().filter(|word| !PHASES.contains(&word.as_str())) {
            return Err(Fault::Form(format!("“{}” is no phase.", words::cut(word, 60))));
        }
        Ok(Filter {
            role: parsed("role", &self.role)?,
            delegator: parsed("role", &self.delegator)?,
            phases: phase.into_iter().collect(),
            search: given(&self.q).map(str::to_owned),
            after: parsed("page", &self.after)?,
            limit: Some(DASHBOARD_ROWS),
            ..Filter::default()
        })
    }

    /// The address of the page that begins after a task.
    fn next(&self, after: u64) -> String {
        let mut next = "/tasks?".to_owned();
        let fields = [
            ("role", &self.role),
            ("delegator", &self.delegator),
            ("phase", &self.phase),
            ("q", &self.q),
        ];
        for (name, text) in fields {
            if let Some(text) = given(text) {
                let text = encoded(text);
                next.push_str(&format!("{name}={text}&"));
            }
        }
        format!("{next}after={after}")
    }

    fn is_filtered(&self) -> bool {
        [&self.role, &self.delegator, &self.phase, &self.q]
            .into_iter()
            .any(|it| given(it).is_some())
    }
}

/// A text as it stands in an address.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().fold(String::new(), |mut text, byte| {
        if plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

/// The list.
pub(in crate::face::dashboard) async fn list(
    visit: &Visit,
    which: &WhichTasks,
) -> Result<Page, Fault> {
    let filter = which.filter()?;
    let Rows { tasks, next } = visit.room.store.list(filter).await?;
    let body = html! {
        div.heading {
            h1 { "Tasks" }
            (ways("list"))
        }
        (form(which))
        @if tasks.is_empty() && which.is_filtered() {
            (words::empty("No task fits.", html! { a href="/tasks" { "Show all tasks" } }))
        } @else if tasks.is_empty() {
            (words::empty("There are no tasks yet.", html! {
                a href="/delegate" { "Delegate the first one" }
            }))
        } @else {
            (table(&tasks))
            nav.pages aria-label="Pages of the list" {
                @if given(&which.after).is_some() {
                    a href=(which.next(0).trim_end_matches("after=0").trim_end_matches(['&', '?'])) {
                        "Newest"
                    }
                }
                @if let Some(next) = next { a rel="next" href=(which.next(next)) { "Older" } }
            }
        }
    };
    Ok(Page::new("Tasks", body))
}

fn ways(here: &str) -> Markup {
    let way = |name: &str, href: &str, text: &str| {
        html! { a href=(href) aria-current=[(here == name).then_some("true")] { (text) } }
    };
    html! {
        nav.ways aria-label="Ways to see the tasks" {
            (way("list", "/tasks", "List"))
            (way("board", "/board", "Board"))
        }
    }
}

fn form(which: &WhichTasks) -> Markup {
    let phase = given(&which.phase);
    html! {
        form.filter #filter method="get" action="/tasks" role="search" data-keep="yes" {
            label { "Title or id"
                input type="search" name="q" value=(given(&which.q).unwrap_or_default());
            }
            label { "Role"
                input name="role" value=(given(&which.role).unwrap_or_default()) size="14";
            }
            label { "Delegated by"
                input name="delegator" value=(given(&which.delegator).unwrap_or_default()) size="14";
            }
            label { "Phase"
                select name="phase" {
                    option value="" { "Any" }
                    @for word in PHASES {
                        option value=(word) selected[phase == Some(word)] { (word) }
                    }
                }
            }
            button type="submit" { "Filter" }
            @if which.is_filtered() { a href="/tasks" { "Clear" } }
        }
    }
}

/// Tasks as a table.
pub(super) fn table(rows: &[TaskRow]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Tasks" {
            table {
                thead {
                    tr {
                        th scope="col" { "Task" }
                        th scope="col" { "Role" }
                        th scope="col" { "Delegated by" }
                        th scope="col" { "Phase" }
                        th scope="col" { "Progress" }
                        th.number scope="col" { "Attempts" }
                        th scope="col" { "Changed" }
                    }
                }
                tbody {
                    @for row in rows {
                        tr id=(format!("row-{}", row.task_id)) {
                            td { (words::task(row)) " " (words::short(&row.task_id)) }
                            td { (words::role_if(row.role.as_ref())) }
                            td { (delegator(row.delegator.as_ref())) }
                            td { (words::phase(&row.phase)) }
                            td.wide { @if row.ended_at.is_none() { (words::progress(row)) } }
                            td.number { (row.attempts) }
                            td { (words::time(row.updated_at)) }
                        }
                    }
                }
            }
        }
    }
}

fn delegator(role: Option<&Role>) -> Markup {
    html! {
        @if let Some(role) = role {
            a.role href=(format!("/tasks?delegator={role}")) { (role) }
        } @else { span.mute { "–" } }
    }
}

/// A column of the board: its name, its phases, and where all of it is listed.
const COLUMNS: [(&str, &[&str]); 5] = [
    ("Queued", &["scheduled", "queued", "retrying"]),
    ("Running", &["running"]),
    ("Waiting", &["blocked", "waiting", "submitted"]),
    ("Completed", &["completed"]),
    ("Stopped", &["failed", "cancelled", "dead"]),
];

/// The board.
pub(in crate::face::dashboard) async fn board(visit: &Visit) -> Result<Page, Fault> {
    let store = &visit.room.store;
    let counts = store.counts().await?;
    let mut columns = Vec::new();
    for (name, phases) in COLUMNS {
        let filter = Filter {
            phases: phases.iter().map(|&phase| phase.to_owned()).collect(),
            limit: Some(DASHBOARD_CARDS),
            ..Filter::default()
        };
        let fits = counts.iter().filter(|it| phases.contains(&it.phase.as_str()));
        let total: u64 = fits.map(|it| it.tasks).sum();
        columns.push((name, phases, total, store.list(filter).await?.tasks));
    }
    let body = html! {
        div.heading {
            h1 { "Tasks" }
            (ways("board"))
        }
        div.board {
            @for (name, phases, total, tasks) in &columns {
                section.column aria-label=(name) {
                    h2 { (name) " " span.total { (words::number_text(*total)) } }
                    @if tasks.is_empty() { p.mute { "None." } }
                    ul {
                        @for row in tasks { li.card id=(format!("card-{}", row.task_id)) { (card(row)) } }
                    }
                    @if *total > u64::try_from(tasks.len()).unwrap_or(u64::MAX) {
                        p.all {
                            @for phase in *phases {
                                a href=(format!("/tasks?phase={phase}")) { "All " (phase) }
                            }
                        }
                    }
                }
            }
        }
    };
    Ok(Page::new("Board", body))
}

fn card(row: &TaskRow) -> Markup {
    html! {
        (words::task(row))
        div.line {
            (words::role_if(row.role.as_ref()))
            (words::phase(&row.phase))
        }
        @if row.ended_at.is_none() { (words::progress(row)) }
        p.mute { (words::time(row.updated_at)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_keeps_what_was_asked_for() {
        let which = WhichTasks {
            q: Some("a b&c=d\"".to_owned()),
            phase: Some("dead".to_owned()),
            role: Some(" ".to_owned()),
            ..WhichTasks::default()
        };
        assert_eq!(which.next(7), "/tasks?phase=dead&q=a%20b%26c%3Dd%22&after=7");
        assert!(which.is_filtered() && !WhichTasks::default().is_filtered());
        assert_eq!(WhichTasks::default().next(7), "/tasks?after=7");
    }

    #[test]
    fn what_can_not_be_asked_for_is_said() {
        let which = |phase: &str, role: &str| WhichTasks {
            phase: Some(phase.to_owned()),
            role: Some(role.to_owned()),
            ..WhichTasks::default()
        };
        assert!(which("dead", "cto").filter().is_ok());
        assert!(matches!(which("ded", "").filter(), Err(Fault::Form(_))));
        assert!(matches!(which("", "a b").filter(), Err(Fault::Form(_))));
    }

    #[test]
    fn every_phase_has_a_column() {
        for phase in PHASES {
            let columns = COLUMNS.iter().filter(|(_, phases)| phases.contains(&phase));
            assert_eq!(columns.count(), 1, "{phase}");
        }
    }
}
