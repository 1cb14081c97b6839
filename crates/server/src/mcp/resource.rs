//! Resources: what a host may read, and be told of when it changes. So it learns of new work
//! without asking again and again.

use std::sync::Arc;

use rmcp::model::{Resource, ResourceContents, ResourceTemplate};
use serde::Serialize;
use serde_json::json;
use sinew_bus::{Hints, clock};
use sinew_model::{Band, MeetingId, TaskId, limits::MCP_NOTIFY_EVERY, stream::Shelf};

use super::{
    hub::Hub,
    reply::Told,
    tools::{agent, inbox, look, meeting},
};

/// What every resource is.
const JSON: &str = "application/json";
/// What the address of a task begins with.
const TASKS: &str = "sinew://tasks/";
/// What the address of a meeting's minutes begins with.
const MEETINGS: &str = "sinew://meetings/";

/// A resource that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// The inbox of the session's role.
    Inbox,
    /// The queue of the session's role.
    Queue,
    /// The roles of the org.
    Org,
    /// A task.
    Task(TaskId),
    /// The meetings that wait for the session's role.
    Invitations,
    /// The minutes of a meeting.
    Minutes(MeetingId),
}

impl Address {
    /// The resource of an address; `None` where there is none.
    pub(crate) fn parse(uri: &str) -> Option<Self> {
        match uri {
            "sinew://inbox" => Some(Self::Inbox),
            "sinew://queue" => Some(Self::Queue),
            "sinew://org" => Some(Self::Org),
            "sinew://meetings" => Some(Self::Invitations),
            _ => match (uri.strip_prefix(TASKS), uri.strip_prefix(MEETINGS)) {
                (Some(id), _) => Some(Self::Task(id.parse().ok()?)),
                (None, Some(id)) => Some(Self::Minutes(id.parse().ok()?)),
                (None, None) => None,
            },
        }
    }

    /// Its address.
    pub(crate) fn uri(&self) -> String {
        match self {
            Self::Inbox => "sinew://inbox".to_owned(),
            Self::Queue => "sinew://queue".to_owned(),
            Self::Org => "sinew://org".to_owned(),
            Self::Task(id) => format!("{TASKS}{id}"),
            Self::Invitations => "sinew://meetings".to_owned(),
            Self::Minutes(id) => format!("{MEETINGS}{id}"),
        }
    }

    /// What it says now.
    pub(crate) async fn read(&self, hub: &Hub) -> Result<ResourceContents, Told> {
        let text = match self {
            Self::Inbox => text(&inbox::inbox(hub, inbox::Read::default()).await?),
            Self::Org => text(&agent::teams(hub, agent::Capacity::default()).await?),
            Self::Task(id) => text(&look::current(hub, id).await?),
            Self::Invitations => text(&meeting::invitations(hub).await?),
            Self::Minutes(id) => text(&meeting::minutes(hub, id).await?),
            Self::Queue => text(&json!({
                "role": hub.role(),
                "queued": agent::queue_of(hub).await?,
                "next": "get_my_next_task takes one",
            })),
        };
        Ok(ResourceContents::text(text, self.uri()).with_mime_type(JSON))
    }

    /// Hears when it changes; `None` where that is not told.
    async fn hints(&self, hub: &Hub) -> Result<Option<Vec<Hints>>, Told> {
        let subjects = hub.bus().subjects();
        let filters = match self {
            Self::Inbox => {
                Shelf::ALL.iter().map(|shelf| shelf.subject(subjects, hub.role())).collect()
            }
            Self::Queue => {
                vec![subjects.tasks(hub.role(), Band::Normal), subjects.tasks_bands(hub.role())]
            }
            Self::Task(id) => vec![subjects.log(id)],
            Self::Invitations => vec![subjects.meetings(hub.role())],
            Self::Minutes(id) => vec![subjects.meeting(id)],
            Self::Org => return Ok(None),
        };
        let mut hints = Vec::with_capacity(filters.len());
        for filter in filters {
            hints.push(hub.bus().watch_subject(filter.as_str()).await.map_err(|why| {
                Told::new(format!("it can't be listened to now: {why}"), "Subscribe again.")
            })?);
        }
        Ok(Some(hints))
    }
}

fn text(value: &impl Serialize) -> String {
    // What is shown has string keys only, so it is always JSON.
    serde_json::to_string(value).unwrap_or_default()
}

/// The resources that every session has.
pub(crate) fn all(role: &sinew_model::Role) -> Vec<Resource> {
    let resource = |address: Address, name: &str, about: String| {
        Resource::new(address.uri(), name).with_description(about).with_mime_type(JSON)
    };
    vec![
        resource(
            Address::Queue,
            "queue",
            format!("How many tasks wait for {role}. Subscribe, and learn of new work at once."),
        ),
        resource(
            Address::Inbox,
            "inbox",
            format!("The newest messages and reports to {role}. May be subscribed to."),
        ),
        resource(
            Address::Invitations,
            "meetings",
            format!("The meetings that wait for {role} to join. May be subscribed to."),
        ),
        resource(
            Address::Org,
            "org",
            "The roles of the org: who is there, and how much work waits.".to_owned(),
        ),
    ]
}

/// The resources that are found by an id.
pub(crate) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new(format!("{TASKS}{{taskId}}"), "task")
            .with_description("Where a task stands. May be subscribed to.")
            .with_mime_type(JSON),
        ResourceTemplate::new(format!("{MEETINGS}{{meetingId}}"), "minutes")
            .with_description(
                "The minutes of a meeting, also of one that goes on. May be subscribed to.",
            )
            .with_mime_type(JSON),
    ]
}

/// Tells of changes of one resource.
pub(crate) struct Changes {
    address: Address,
    hints: Vec<Hints>,
}

impl Changes {
    /// Begins to listen.
    pub(crate) async fn of(hub: &Arc<Hub>, address: Address) -> Result<Self, Told> {
        match address.hints(hub).await? {
            Some(hints) => Ok(Self { address, hints }),
            None => Err(Told::new(
                format!("changes of {} are not told", address.uri()),
                "Read it when you need it.",
            )),
        }
    }

    /// Waits until it has changed, and gives its address. What changes in quick succession is told
    /// once. `None` once nothing more can be heard.
    pub(crate) async fn next(&mut self) -> Option<String> {
        let heard = {
            let next = self.hints.iter_mut().map(|hints| Box::pin(hints.next()));
            futures::future::select_all(next).await.0
        };
        heard?;
        // What is heard is a request to write, and may come a moment before it is stored.
        clock::pause(MCP_NOTIFY_EVERY).await;
        Some(self.address.uri())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_that_there_is_or_none() {
        for uri in [
            "sinew://inbox",
            "sinew://queue",
            "sinew://org",
            "sinew://tasks/t1",
            "sinew://meetings",
            "sinew://meetings/m1",
        ] {
            assert_eq!(Address::parse(uri).unwrap().uri(), uri);
        }
        for uri in [
            "sinew://tasks/",
            "sinew://meetings/",
            "sinew://meetings/a.*",
            "sinew://meetings/m1/../../org",
            "sinew://tasks/../inbox",
            "sinew://tasks/a/b",
            "sinew://tasks/a.b",
            "sinew://tasks/%2e%2e",
            "sinew://inbox/",
            "file:///etc/passwd",
            "",
        ] {
            assert_eq!(Address::parse(uri), None, "{uri}");
        }
    }
}
