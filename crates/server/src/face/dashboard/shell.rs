//! What all pages have around them: the head, the way around, and the words that tell whether a
//! page is live.

use axum::{
    http::Uri,
    response::{Html, IntoResponse as _, Response},
};
use maud::{DOCTYPE, Markup, html};

use super::{Site, assets, fault::Fault, gate::Visit};

/// A page without what is around it.
#[derive(Debug)]
pub(super) struct Page {
    /// What it is called.
    pub(super) title: String,
    /// What it shows. It is what a live page sends again.
    pub(super) body: Markup,
}

impl Page {
    pub(super) fn new(title: impl Into<String>, body: Markup) -> Self {
        Self { title: title.into(), body }
    }
}

/// The parts of the site, with their addresses.
const PARTS: [(&str, &str); 7] = [
    ("/", "Overview"),
    ("/tasks", "Tasks"),
    ("/agents", "Agents"),
    ("/meetings", "Meetings"),
    ("/events", "Events"),
    ("/dead", "Dead letters"),
    ("/scaling", "Scaling"),
];

/// What was just done, by the word in the address: nothing from outside is shown.
const NOTES: [(&str, &str); 8] = [
    ("delegated", "The task is delegated."),
    ("cancelled", "The task is called off, with everything that it had delegated."),
    ("too-late", "The task had ended already; nothing was changed."),
    ("answered", "The answer is given. The task goes on."),
    ("retried", "The task is back on its queue, with its attempts counted anew."),
    ("accepted", "The result is accepted. The task is complete."),
    ("refused", "The result is refused. The task goes back to work."),
    ("voted", "The vote is cast."),
];

/// A page for a visitor.
pub(super) fn whole(visit: &Visit, page: &Page, uri: &Uri) -> Html<String> {
    let path = uri.path();
    let is_here = |part: &str| match part {
        "/" => path == "/",
        "/tasks" if ["/board", "/delegate"].contains(&path) => true,
        _ => path == part || path.starts_with(&format!("{part}/")),
    };
    let mut parts = PARTS.to_vec();
    if visit.house.orgs_for(&visit.grant).is_some() {
        parts.push(("/orgs", "Orgs"));
    }
    let note = uri.query().and_then(|query| {
        let word = query.split('&').find_map(|pair| pair.strip_prefix("did="))?;
        NOTES.iter().find(|(known, _)| *known == word).map(|(_, text)| *text)
    });
    let (org, role) = (&visit.grant.org, &visit.grant.role);
    document(
        &format!("{} · {org} · Sinew", page.title),
        html! {
            a.skip href="#main" { "Skip to content" }
            header.top {
                a.brand href="/" { (mark()) span { "Sinew" } }
                span.org title="The org that you look at" { (org) }
                span.live #live role="status" aria-live="polite" data-state="waiting" {
                    span.dot aria-hidden="true" {}
                    span.word { "Connecting" }
                }
                span.spacer {}
                a.button.primary href="/delegate" { "Delegate a task" }
                form.leave method="post" action="/logout" {
                    span.who { "Signed in as " b { (role) } }
                    button.quiet type="submit" { "Sign out" }
                }
            }
            div.frame {
                nav aria-label="Parts of the dashboard" {
                    ul {
                        @for (part, name) in &parts {
                            li {
                                a href=(part) aria-current=[is_here(part).then_some("page")] {
                                    (name)
                                }
                            }
                        }
                    }
                }
                main #main tabindex="-1" data-live="yes" {
                    @if let Some(note) = note {
                        p.note role="status" { (note) }
                    }
                    div #page { (page.body) }
                }
            }
        },
    )
}

/// A page for who is not let in.
pub(super) fn bare(page: &Page) -> Html<String> {
    document(
        &format!("{} · Sinew", page.title),
        html! {
            header.top { a.brand href="/" { (mark()) span { "Sinew" } } }
            main.bare #main { (page.body) }
        },
    )
}

/// A page that says why there is none.
pub(super) fn failed(of: Option<(&Visit, &Site)>, fault: &Fault) -> Response {
    let body = html! {
        div.fault {
            h1 { (fault.title()) }
            p { (capital(&fault.to_string())) }
            p.hint { (fault.next()) }
        }
    };
    let page = Page::new(fault.title(), body);
    let html = match of {
        Some((visit, _)) => whole(visit, &page, &Uri::from_static("/fault")),
        None => bare(&page),
    };
    (fault.status(), html).into_response()
}

/// A message that was made to stand within a sentence, as one.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

fn document(title: &str, body: Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href=(assets::address("icon.svg")) type="image/svg+xml";
                link rel="stylesheet" href=(assets::address("dashboard.css"));
                script src=(assets::address("idiomorph.js")) defer {}
                script src=(assets::address("dashboard.js")) defer {}
            }
            body data-version=(assets::version()) { (body) }
        }
    };
    Html(page.into_string())
}

/// The mark: two strands that hold each other.
fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" {
            path d="M5 4c0 8 14 8 14 16" {}
            path d="M19 4c0 8-14 8-14 16" {}
        }
    }
}
