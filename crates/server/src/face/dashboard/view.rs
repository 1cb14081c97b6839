//! Which page an address means. A page is asked for by its address alone, at first and each time
//! that it is rendered again because something has changed.

use axum::{extract::Query, http::Uri};
use serde::de::DeserializeOwned;
use sinew_model::{MeetingId, TaskId};

use super::{
    fault::Fault,
    gate::Visit,
    pages::{
        agents::{self, WhichAgents},
        dead::{self, WhichDead},
        delegate, events,
        events::WhichEvents,
        meeting, meetings, orgs, overview, scaling, task,
        tasks::{self, WhichTasks},
    },
    room::Ticks,
    shell::Page,
};

/// A page.
#[derive(Debug)]
pub(super) enum View {
    Overview,
    Tasks(WhichTasks),
    Board,
    Task(TaskId),
    Delegate(delegate::Beginning),
    Agents(WhichAgents),
    Meetings,
    Meeting(MeetingId),
    Events(WhichEvents),
    Dead(WhichDead),
    Scaling,
    Orgs,
}

impl View {
    /// The page of an address; `None` where there is none.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let path = uri.path();
        Some(match path {
            "/" => Self::Overview,
            "/tasks" => Self::Tasks(question(uri)?),
            "/board" => Self::Board,
            "/delegate" => Self::Delegate(question(uri)?),
            "/agents" => Self::Agents(question(uri)?),
            "/meetings" => Self::Meetings,
            "/events" => Self::Events(question(uri)?),
            "/dead" => Self::Dead(question(uri)?),
            "/scaling" => Self::Scaling,
            "/orgs" => Self::Orgs,
            _ => match path.strip_prefix('/')?.split_once('/')? {
                ("tasks", id) => Self::Task(id.parse().ok()?),
                ("meetings", id) => Self::Meeting(id.parse().ok()?),
                (_, _) => return None,
            },
        })
    }

    /// Renders it.
    pub(super) async fn page(&self, visit: &Visit) -> Result<Page, Fault> {
        match self {
            Self::Overview => overview::page(visit).await,
            Self::Tasks(which) => tasks::list(visit, which).await,
            Self::Board => tasks::board(visit).await,
            Self::Task(id) => task::page(visit, id).await,
            Self::Delegate(beginning) => delegate::page(visit, beginning).await,
            Self::Agents(which) => agents::page(visit, which).await,
            Self::Meetings => meetings::page(visit).await,
            Self::Meeting(id) => meeting::page(visit, id).await,
            Self::Events(which) => events::page(visit, which).await,
            Self::Dead(which) => dead::page(visit, which).await,
            Self::Scaling => scaling::page(visit).await,
            Self::Orgs => orgs::page(visit).await,
        }
    }

    /// What of all that changes this page shows: it is rendered again when that is another.
    pub(super) const fn of_interest(&self, ticks: Ticks) -> Option<Ticks> {
        let Ticks { tasks, events, meetings, system, clock } = ticks;
        let none = Ticks { tasks: 0, events: 0, meetings: 0, system: 0, clock: 0 };
        Some(match self {
            Self::Overview => Ticks { tasks, system, clock, ..none },
            Self::Tasks(_) | Self::Board | Self::Task(_) | Self::Dead(_) => Ticks { tasks, ..none },
            Self::Agents(_) => Ticks { tasks, clock, ..none },
            Self::Meetings | Self::Meeting(_) => Ticks { meetings, ..none },
            Self::Events(_) => Ticks { events, ..none },
            Self::Scaling => Ticks { system, clock, ..none },
            // A form must not change under the hands of who fills it in.
            Self::Delegate(_) | Self::Orgs => return None,
        })
    }
}

/// What is asked for behind the question mark.
fn question<T: DeserializeOwned>(uri: &Uri) -> Option<T> {
    Query::try_from_uri(uri).ok().map(|Query(which)| which)
}

/// A text of a form or an address; `None` where nothing was written.
pub(super) fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

/// The same as something that has a form of its own.
pub(super) fn parsed<T: std::str::FromStr>(
    what: &str,
    text: &Option<String>,
) -> Result<Option<T>, Fault> {
    let Some(text) = given(text) else { return Ok(None) };
    let no = |_| Fault::Form(format!("“{}” is no {what}.", super::words::cut(text, 60)));
    text.parse().map(Some).map_err(no)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_page_or_none() {
        let of = |text: &str| View::of(&text.parse().unwrap());
        assert!(matches!(of("/"), Some(View::Overview)));
        assert!(matches!(of("/tasks?role=cto&phase=dead"), Some(View::Tasks(_))));
        assert!(matches!(of("/tasks/T1?did=cancelled"), Some(View::Task(_))));
        assert!(matches!(of("/meetings/M1"), Some(View::Meeting(_))));
        for nowhere in ["/tasks/", "/tasks/a/b", "/tasks/%3Cb%3E", "/what", "/agents/x"] {
            assert!(of(nowhere).is_none(), "{nowhere}");
        }
    }

    #[test]
    fn a_form_is_left_alone_and_a_page_hears_of_what_it_shows() {
        let of = |text: &str| View::of(&text.parse().unwrap()).unwrap();
        let (before, after) = (Ticks::default(), Ticks { tasks: 1, ..Ticks::default() });
        let changes = |text: &str| of(text).of_interest(before) != of(text).of_interest(after);
        assert!(changes("/tasks/T1") && changes("/") && changes("/board"));
        assert!(!changes("/events") && !changes("/delegate"));
    }
}
