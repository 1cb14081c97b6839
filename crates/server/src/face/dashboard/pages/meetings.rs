//! The meetings: those that go on, and those that were.

use maud::{Markup, html};
use sinew_bus::clock;
use sinew_model::{limits::DASHBOARD_ROWS, meeting::State};

use crate::face::dashboard::{fault::Fault, gate::Visit, shell::Page, words};

/// Renders it.
pub(in crate::face::dashboard) async fn page(visit: &Visit) -> Result<Page, Fault> {
    let meetings = visit.room.meetings().await?;
    let (open, closed): (Vec<_>, Vec<_>) = meetings.iter().rev().partition(|it| !it.is_closed());
    let body = html! {
        h1 { "Meetings" }
        @if meetings.is_empty() {
            (words::empty("Nobody has met yet.", html! {
                p { "Agents meet by themselves; a person can call them together:" }
                (words::command("sinew meeting open \"Which database?\" --members cto,dba"))
            }))
        } @else {
            section aria-labelledby="open" {
                h2 #open { "Going on " span.total { (open.len()) } }
                @if open.is_empty() { p.mute { "No meeting is open." } } @else { (table(&open)) }
            }
            @if !closed.is_empty() {
                section aria-labelledby="closed" {
                    h2 #closed { "Closed " span.total { (closed.len()) } }
                    (table(&closed))
                }
            }
        }
    };
    Ok(Page::new("Meetings", body))
}

/// How far a meeting is.
pub(super) fn word(it: &State) -> Markup {
    let word = it.word(clock::now());
    let tone = match word {
        "active" => "active",
        "closed" => "mute",
        _ => "calm",
    };
    words::badge(tone, word)
}

fn table(rows: &[&State]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Meetings" {
            table {
                thead {
                    tr {
                        th scope="col" { "Meeting" }
                        th scope="col" { "State" }
                        th scope="col" { "Chair" }
                        th.number scope="col" { "There" }
                        th.number scope="col" { "Proposals" }
                        th scope="col" { "Last heard" }
                    }
                }
                tbody {
                    @for it in rows.iter().take(DASHBOARD_ROWS) {
                        tr id=(format!("meeting-{}", it.meeting_id)) {
                            td { a.task href=(format!("/meetings/{}", it.meeting_id)) { (it.definition.title) } }
                            td { (word(it)) }
                            td { (words::role(it.chair())) }
                            td.number { (it.present().count()) " of " (it.definition.members.len()) }
                            td.number { (it.proposals.len()) }
                            td { (words::time(it.last_at)) }
                        }
                    }
                }
            }
        }
        @if rows.len() > DASHBOARD_ROWS {
            p.mute { "The newest " (DASHBOARD_ROWS) " are shown; sinew meeting list has all." }
        }
    }
}
