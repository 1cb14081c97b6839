//! The agents: every role with how it stands, and its instances with what they hold.

use std::borrow::Cow;

use maud::{Markup, html};
use serde::Deserialize;
use sinew_agent::registry::{Known, Member};
use sinew_model::{Role, limits::DASHBOARD_INSTANCES, presence::standing::Standing};

use crate::face::dashboard::{
    fault::Fault,
    gate::Visit,
    shell::Page,
    view::{given, parsed},
    words,
};

/// Which agents are shown.
#[derive(Clone, Debug, Default, Deserialize)]
pub(in crate::face::dashboard) struct WhichAgents {
    role: Option<String>,
    state: Option<String>,
    from: Option<String>,
}

/// Renders it.
pub(in crate::face::dashboard) async fn page(
    visit: &Visit,
    which: &WhichAgents,
) -> Result<Page, Fault> {
    let agents = visit.room.agents().await?;
    let role: Option<Role> = parsed("role", &which.role)?;
    let state: Option<Standing> = parsed("state", &which.state)?;
    let from: usize = parsed("page", &which.from)?.unwrap_or_default();
    let of_role = |known: &&Known| role.as_ref().is_none_or(|role| *role == known.role);
    let shown: Vec<&Known> = agents.iter().filter(of_role).collect();
    let mut instances: Vec<&Member> = shown.iter().flat_map(|known| &known.instances).collect();
    instances.retain(|it| state.is_none_or(|state| it.state == state));
    let body = html! {
        @if role.is_some() { p.crumbs { a href="/agents" { "Agents" } } }
        h1 { @match &role { Some(role) => (role), None => { "Agents" } } }
        @if agents.is_empty() {
            (words::empty("No agent has shown itself yet.", html! {
                p { "Any program becomes an agent with:" }
                (words::command("sinew agent run --role cto -- wc -w"))
            }))
        } @else if shown.is_empty() {
            (words::empty("No such role is known.", html! { a href="/agents" { "All roles" } }))
        } @else {
            @if let (Some(_), [only]) = (&role, shown.as_slice()) { (card(only)) }
            @else { (roles(&shown)) }
            (members(&instances, which, from))
        }
    };
    let title = role.map_or_else(|| Cow::from("Agents"), |role| Cow::from(role.to_string()));
    Ok(Page::new(title, body))
}

fn roles(shown: &[&Known]) -> Markup {
    html! {
        section aria-labelledby="roles" {
            h2 #roles { "Roles" }
            div.scroll tabindex="0" role="region" aria-label="Roles" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Role" }
                            th scope="col" { "State" }
                            th.number scope="col" { "Instances" }
                            th.number scope="col" { "Places taken" }
                            th.number scope="col" { "On the queue" }
                            th scope="col" { "Can do" }
                        }
                    }
                    tbody {
                        @for known in shown {
                            tr id=(format!("role-{}", known.role)) {
                                td { a href=(format!("/agents?role={}", known.role)) { (known.role) } }
                                td { (words::standing(known.state)) }
                                td.number { (known.instances.len()) }
                                td.number { (known.places.taken) " of " (known.places.total) }
                                td.number {
                                    a href=(format!("/tasks?role={}&phase=queued", known.role)) {
                                        (words::number_text(known.queued))
                                    }
                                }
                                td.wide { (skills(known)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn skills(known: &Known) -> Markup {
    let skills = known.card.iter().flat_map(|card| card.skills.iter().take(8));
    let names: Vec<String> = skills.map(|skill| skill.to_string()).collect();
    html! {
        @if names.is_empty() { span.mute { "–" } } @else { (words::cut(&names.join(", "), 120)) }
    }
}

fn card(known: &Known) -> Markup {
    html! {
        dl.facts {
            dt { "State" } dd { (words::standing(known.state)) }
            dt { "Places taken" } dd { (known.places.taken) " of " (known.places.total) }
            dt { "On the queue" } dd {
                a href=(format!("/tasks?role={}&phase=queued", known.role)) {
                    (words::count(known.queued, "task"))
                }
            }
            dt { "Can do" } dd { (skills(known)) }
            dt { "Tasks" } dd { a href=(format!("/tasks?role={}", known.role)) { "All tasks of the role" } }
        }
    }
}

fn members(instances: &[&Member], which: &WhichAgents, from: usize) -> Markup {
    let state = given(&which.state);
    let role = given(&which.role);
    let page = instances.iter().skip(from).take(DASHBOARD_INSTANCES);
    let next = from.saturating_add(DASHBOARD_INSTANCES);
    let address = |from: usize| {
        let role = role.map(|role| format!("role={role}&")).unwrap_or_default();
        let state = state.map(|state| format!("state={state}&")).unwrap_or_default();
        format!("/agents?{role}{state}from={from}")
    };
    html! {
        section aria-labelledby="instances" {
            h2 #instances { "Instances " span.total { (instances.len()) } }
            form.filter #filter method="get" action="/agents" data-keep="yes" {
                @if let Some(role) = role { input type="hidden" name="role" value=(role); }
                label { "State"
                    select name="state" {
                        option value="" { "Any" }
                        @for it in Standing::ALL.iter().filter(|it| !matches!(it, Standing::Asleep | Standing::Gone)) {
                            option value=(it.word()) selected[state == Some(it.word())] { (it.word()) }
                        }
                    }
                }
                button type="submit" { "Filter" }
            }
            @if instances.is_empty() {
                p.mute { "None." }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Instances" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Instance" }
                                th scope="col" { "Role" }
                                th scope="col" { "State" }
                                th.number scope="col" { "Load" }
                                th scope="col" { "Holds" }
                            }
                        }
                        tbody { @for it in page { (member(it)) } }
                    }
                }
                nav.pages aria-label="Pages of instances" {
                    @if from > 0 { a href=(address(from.saturating_sub(DASHBOARD_INSTANCES))) { "Back" } }
                    @if next < instances.len() { a rel="next" href=(address(next)) { "More" } }
                }
            }
        }
    }
}

fn member(it: &Member) -> Markup {
    html! {
        tr id=(format!("instance-{}", it.instance)) {
            td { code { (it.instance) } }
            td { (words::role(&it.role)) }
            td { (words::standing(it.state)) }
            td.number { (it.holds.len()) " of " (it.concurrency) }
            td.wide {
                @for (at, id) in it.holds.iter().take(5).enumerate() {
                    @if at > 0 { ", " }
                    a href=(words::task_path(id)) { (words::short(id)) }
                }
                @if it.holds.len() > 5 { " and " (it.holds.len() - 5) " more" }
            }
        }
    }
}
