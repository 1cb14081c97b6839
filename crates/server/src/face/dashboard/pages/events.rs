//! The events: what the agents said that they did, with a search over words.

use maud::{Markup, html};
use serde::Deserialize;
use sinew_model::limits::DASHBOARD_ROWS;
use sinew_views::event::{EventRow, Search};

use super::tasks::encoded;
use crate::face::dashboard::{
    fault::Fault,
    gate::Visit,
    shell::Page,
    view::{given, parsed},
    words,
};

/// Which events are shown.
#[derive(Clone, Debug, Default, Deserialize)]
pub(in crate::face::dashboard) struct WhichEvents {
    q: Option<String>,
    role: Option<String>,
    action: Option<String>,
    task: Option<String>,
    before: Option<String>,
}

impl WhichEvents {
    fn search(&self) -> Result<Search, Fault> {
        Ok(Search {
            text: given(&self.q).map(str::to_owned),
            role: parsed("role", &self.role)?,
            action: given(&self.action).map(str::to_owned),
            task: parsed("task", &self.task)?,
            before: parsed("page", &self.before)?,
            limit: Some(DASHBOARD_ROWS),
            ..Search::default()
        })
    }

    fn fields(&self) -> [(&'static str, &Option<String>); 4] {
        [("q", &self.q), ("role", &self.role), ("action", &self.action), ("task", &self.task)]
    }

    fn older(&self, before: u64) -> String {
        let mut address = "/events?".to_owned();
        for (name, text) in self.fields() {
            if let Some(text) = given(text) {
                address.push_str(&format!("{name}={}&", encoded(text)));
            }
        }
        format!("{address}before={before}")
    }
}

/// Renders it.
pub(in crate::face::dashboard) async fn page(
    visit: &Visit,
    which: &WhichEvents,
) -> Result<Page, Fault> {
    let rows = visit.room.events.search(which.search()?).await?;
    let filtered = which.fields().into_iter().any(|(_, text)| given(text).is_some());
    let older = rows.last().filter(|_| rows.len() >= DASHBOARD_ROWS).map(|row| row.seq);
    let body = html! {
        h1 { "Events" }
        (form(which, filtered))
        @if rows.is_empty() && filtered {
            (words::empty("No event fits.", html! { a href="/events" { "Show all events" } }))
        } @else if rows.is_empty() {
            (words::empty("No agent has told of anything yet.", html! {
                p { "An agent tells what it did with a line on its stdout, or with:" }
                (words::command("sinew events emit file.write --details '{\"path\":\"a.md\"}'"))
            }))
        } @else {
            (table(&rows))
            nav.pages aria-label="Pages of events" {
                @if given(&which.before).is_some() { a href="/events" { "Newest" } }
                @if let Some(seq) = older { a rel="next" href=(which.older(seq)) { "Older" } }
            }
        }
    };
    Ok(Page::new("Events", body))
}

fn form(which: &WhichEvents, filtered: bool) -> Markup {
    html! {
        form.filter #filter method="get" action="/events" role="search" data-keep="yes" {
            label { "Words"
                input type="search" name="q" value=(given(&which.q).unwrap_or_default());
            }
            label { "Role"
                input name="role" value=(given(&which.role).unwrap_or_default()) size="14";
            }
            label { "Action"
                input name="action" value=(given(&which.action).unwrap_or_default()) size="16";
            }
            @if let Some(task) = given(&which.task) { input type="hidden" name="task" value=(task); }
            button type="submit" { "Search" }
            @if filtered { a href="/events" { "Clear" } }
        }
    }
}

fn table(rows: &[EventRow]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Events" {
            table {
                thead {
                    tr {
                        th scope="col" { "When" }
                        th scope="col" { "Role" }
                        th scope="col" { "Action" }
                        th scope="col" { "Details" }
                        th scope="col" { "Task" }
                    }
                }
                tbody { @for row in rows { (line(row)) } }
            }
        }
    }
}

fn line(row: &EventRow) -> Markup {
    let event = &row.event;
    html! {
        tr id=(format!("event-{}", row.seq)) {
            td { (words::time(row.stored_at)) }
            td { a.role href=(format!("/events?role={}", event.agent_role)) { (event.agent_role) } }
            td { code { (words::cut(&event.action, 80)) } }
            td.wide {
                @match &row.snippet {
                    Some(snippet) => (marked(snippet)),
                    None => (words::cut(&details(&event.details), 200)),
                }
            }
            td {
                @if let Some(id) = &event.task_id { a href=(words::task_path(id)) { (words::short(id)) } }
            }
        }
    }
}

fn details(details: &serde_json::Value) -> String {
    if details.is_null() { String::new() } else { details.to_string() }
}

/// What was found, with the words that were looked for marked. A bracket of the text itself may
/// mark too much, and never more than text.
fn marked(snippet: &str) -> Markup {
    let mut parts = Vec::new();
    for piece in snippet.split('[') {
        match piece.split_once(']') {
            Some((word, rest)) => parts.push((Some(word), rest)),
            None => parts.push((None, piece)),
        }
    }
    html! { @for (word, rest) in parts { @if let Some(word) = word { mark { (word) } } (rest) } }
}
