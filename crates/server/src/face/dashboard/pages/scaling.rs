//! Scaling: how many instances each role is to have, has, and why.

use maud::{Markup, html};
use sinew_model::scale::RoleSignal;

use crate::{
    control::scale::status::{self, Leader, Status},
    face::dashboard::{fault::Fault, gate::Visit, shell::Page, words},
};

/// Renders it.
pub(in crate::face::dashboard) async fn page(visit: &Visit) -> Result<Page, Fault> {
    let status = status::look(&visit.room.bus).await?;
    let body = html! {
        h1 { "Scaling" }
        @match &status {
            None => (words::empty("No team is scaled here.", html! {
                p { "A team file names roles with their bounds; the backbone starts and stops agents as work comes and goes:" }
                (words::command("sinew up --team team.toml"))
            })),
            Some(status) => (shown(status)),
        }
    };
    Ok(Page::new("Scaling", body))
}

fn shown(status: &Status) -> Markup {
    html! {
        @if status.stale {
            div.banner.warn role="status" {
                span.dot aria-hidden="true" {}
                div { p.head { "Nobody has looked for long" } p { "The scaler is gone; what is below is old." } }
            }
        }
        dl.facts {
            dt { "Decides" } dd { (leader(status.scaler.as_ref())) }
            dt { "Starts and stops" } dd { (leader(status.actuator.as_ref())) }
            dt { "Last looked" } dd { (words::time(status.at)) }
        }
        div.scroll tabindex="0" role="region" aria-label="Roles of the team" {
            table {
                thead {
                    tr {
                        th scope="col" { "Role" }
                        th.number scope="col" { "Wanted" }
                        th.number scope="col" { "Running" }
                        th.number scope="col" { "Busy" }
                        th.number scope="col" { "Backlog" }
                        th.number scope="col" { "Wait for people" }
                        th.number scope="col" { "Bounds" }
                        th scope="col" { "Why" }
                    }
                }
                tbody { @for it in &status.roles { (role(it, status)) } }
            }
        }
    }
}

fn leader(it: Option<&Leader>) -> Markup {
    html! {
        @match it {
            Some(it) => { code { (words::cut(&it.holder, 40)) } span.mute { " · term " (it.term) } },
            None => span.mute { "nobody" },
        }
    }
}

fn role(it: &RoleSignal, status: &Status) -> Markup {
    let crash = status.crashing.iter().find(|crash| crash.role == it.role);
    html! {
        tr id=(format!("scale-{}", it.role)) {
            td { a href=(format!("/agents?role={}", it.role)) { (it.role) } }
            td.number { (it.replicas) }
            td.number { (it.running) }
            td.number { (it.busy) }
            td.number { (words::number_text(it.backlog)) }
            td.number { (words::number_text(it.waiting)) }
            td.number { (it.min) "–" (it.max) }
            td.wide {
                @if let Some(crash) = crash {
                    (words::badge("bad", "crashes")) " " (crash.times) " times: " (words::cut(&crash.why, 160))
                } @else if let Some(since) = it.stuck_since {
                    (words::badge("bad", "stuck")) " No instance comes up since " (words::time(since))
                } @else { (it.reason.words()) }
            }
        }
    }
}
