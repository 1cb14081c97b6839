//! The dead letters: tasks that were given up, each with its cause and a way back.

use maud::{Markup, html};
use serde::Deserialize;
use sinew_model::limits::DASHBOARD_ROWS;
use sinew_views::task::{Filter, Page as Rows, TaskRow};

use super::task::retry;
use crate::face::dashboard::{fault::Fault, gate::Visit, shell::Page, view::parsed, words};

/// Which of them are shown.
#[derive(Clone, Debug, Default, Deserialize)]
pub(in crate::face::dashboard) struct WhichDead {
    role: Option<String>,
    after: Option<String>,
}

/// Renders it.
pub(in crate::face::dashboard) async fn page(
    visit: &Visit,
    which: &WhichDead,
) -> Result<Page, Fault> {
    let filter = Filter {
        role: parsed("role", &which.role)?,
        phases: vec!["dead".to_owned()],
        after: parsed("page", &which.after)?,
        limit: Some(DASHBOARD_ROWS),
        ..Filter::default()
    };
    let Rows { tasks, next } = visit.room.store.list(filter).await?;
    let voids = visit.room.store.void_counts().await?;
    let broken: u64 = voids.iter().map(|(_, count)| count).sum();
    let body = html! {
        h1 { "Dead letters" }
        p.lead { "Sinew gave these tasks up. Each keeps its cause and its input, and can be tried again." }
        @if tasks.is_empty() {
            (words::empty("No task was given up.", html! {
                p { "A task ends here after its last attempt failed, or when its deadline passed." }
            }))
        } @else {
            ul.letters { @for row in &tasks { li id=(format!("dead-{}", row.task_id)) { (letter(visit, row)) } } }
            nav.pages aria-label="Pages of dead letters" {
                @if let Some(next) = next { a rel="next" href=(format!("/dead?after={next}")) { "Older" } }
            }
        }
        @if broken > 0 {
            section aria-labelledby="void" {
                h2 #void { "Messages that changed nothing" }
                p {
                    (words::count(broken, "message")) " in the log of tasks broke its law, and "
                    @if broken == 1 { "was" } @else { "were" } " passed over."
                }
                ul {
                    @for (kind, count) in voids.iter().filter(|(_, count)| *count > 0) {
                        li { (words::number_text(*count)) " " (kind.word()) }
                    }
                }
            }
        }
    };
    Ok(Page::new("Dead letters", body))
}

fn letter(visit: &Visit, row: &TaskRow) -> Markup {
    html! {
        div.line {
            (words::task(row))
            (words::role_if(row.role.as_ref()))
            span.spacer {}
            (retry(visit, &row.task_id))
        }
        p {
            @if let Some(cause) = row.dead { "Because " (cause.words()) }
            @if row.attempts > 0 { ", after " (words::count(row.attempts.into(), "attempt")) }
            "."
        }
        @if let Some(cause) = row.cause.as_ref().filter(|it| !it.trim().is_empty()) {
            pre tabindex="0" { (words::cut(cause, 400)) }
        }
        p.mute { (words::time(row.ended_at.unwrap_or(row.updated_at))) }
    }
}
