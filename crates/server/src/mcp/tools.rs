//! The tools: a table, to which each noun's file adds its own. A tool is a function from its
//! arguments to its structured result, or to an error that says what to do next.

pub(crate) mod agent;
mod broadcast;
mod event;
pub(crate) mod inbox;
pub(crate) mod look;
pub(crate) mod meeting;
mod task;
mod work;

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, LazyLock},
};

use futures::{FutureExt as _, future::BoxFuture};
use rmcp::{
    RoleServer,
    model::{
        CallToolResult, JsonObject, ProgressNotificationParam, ProgressToken, Tool, ToolAnnotations,
    },
    service::Peer,
};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{hub::Hub, reply::Told, schema};

/// One call of a tool.
pub(crate) struct Call {
    pub(crate) hub: Arc<Hub>,
    /// Whom to tell how far it is, where the host wants to know.
    pub(crate) listener: Option<(Peer<RoleServer>, ProgressToken)>,
}

impl Call {
    /// Tells the host how far it is. One that is not there any more needs no telling.
    pub(crate) async fn tell(&self, percent: u8, message: &str) {
        let Some((peer, token)) = &self.listener else { return };
        let param = ProgressNotificationParam::new(token.clone(), f64::from(percent))
            .with_total(100.0)
            .with_message(message);
        if let Err(error) = peer.notify_progress(param).await {
            tracing::debug!(%error, "a host was not told of progress");
        }
    }
}

/// What a tool does to the world, for hosts that ask a person first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It changes nothing.
    Reads,
    /// It adds something; the same again adds it again.
    Adds,
    /// It adds something; the same again changes nothing.
    Sets,
    /// It ends something for good.
    Ends,
}

impl Kind {
    fn annotations(self, title: &str) -> ToolAnnotations {
        ToolAnnotations::with_title(title)
            .read_only(self == Self::Reads)
            .destructive(self == Self::Ends)
            .idempotent(self != Self::Adds)
            .open_world(false)
    }
}

type Run = dyn Fn(Call, Value) -> BoxFuture<'static, Result<Value, Told>> + Send + Sync;

/// A tool, and what it does.
pub(crate) struct Entry {
    pub(crate) tool: Tool,
    run: Box<Run>,
}

/// The name, the title and the description of a tool.
type Words = (&'static str, &'static str, &'static str);

/// A line of the table.
fn tool<P, O, F>(
    (name, title, about): Words,
    kind: Kind,
    run: impl Fn(Call, P) -> F + Send + Sync + 'static,
) -> Entry
where
    P: DeserializeOwned + JsonSchema,
    O: Serialize + JsonSchema,
    F: Future<Output = Result<O, Told>> + Send + 'static,
{
    let tool = Tool::new(name, about, schema::taken::<P>())
        .with_title(title)
        .with_raw_output_schema(schema::given::<O>())
        .with_annotations(kind.annotations(title));
    let run = move |call: Call, given: Value| {
        let work = serde_json::from_value::<P>(given).map(|params| run(call, params));
        async move {
            let out = match work {
                Ok(work) => work.await?,
                Err(error) => {
                    let next = format!("Nothing was done. Call {name} again as its schema says.");
                    return Err(Told::new(
                        format!("the arguments are not acceptable: {error}"),
                        next,
                    ));
                }
            };
            serde_json::to_value(out).map_err(|error| {
                Told::new(format!("the result can't be shown: {error}"), "It was done.")
            })
        }
        .boxed()
    };
    Entry { tool, run: Box::new(run) }
}

/// All tools, by name.
static TABLE: LazyLock<BTreeMap<String, Entry>> = LazyLock::new(|| {
    let nouns = [
        task::tools(),
        look::tools(),
        work::tools(),
        inbox::tools(),
        broadcast::tools(),
        meeting::tools(),
        event::tools(),
        agent::tools(),
    ];
    nouns.into_iter().flatten().map(|entry| (entry.tool.name.to_string(), entry)).collect()
});

/// Other names that hosts may know a tool by. They are answered and not shown.
const ALIASES: [(&str, &str); 21] = [
    ("complete_subtask", "complete_task"),
    ("complete_task_unverified", "complete_task"),
    ("get_inbox", "get_agent_inbox"),
    ("list_running_agents", "discover_agents"),
    ("emit_event", "publish_event"),
    ("tail_events", "search_events"),
    ("ask_question", "report_blocker"),
    ("send_message", "send_to_agent"),
    ("read_inbox", "take_messages"),
    ("broadcast", "broadcast_message"),
    ("open_meeting", "schedule_agent_meeting"),
    ("start_agent_meeting", "join_agent_meeting"),
    ("join_meeting", "join_agent_meeting"),
    ("leave_meeting", "leave_agent_meeting"),
    ("record_meeting_decision", "propose_meeting_decision"),
    ("propose_decision", "propose_meeting_decision"),
    ("cast_vote", "vote_on_proposal"),
    ("close_meeting", "end_agent_meeting"),
    ("get_upcoming_meetings", "list_meetings"),
    ("send_meeting_report", "get_meeting_minutes"),
    ("save_agent_profile", "describe_role"),
];

/// Every tool that there is.
pub(crate) fn all() -> Vec<Tool> {
    TABLE.values().map(|entry| entry.tool.clone()).collect()
}

/// The tool of this name.
pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    let alias = ALIASES.into_iter().find(|(alias, _)| *alias == name);
    TABLE.get(alias.map_or(name, |(_, known)| known))
}

/// Names that are suggested for one that is not known.
const LIKE: usize = 3;

/// The tools of which the name reminds: a model gets names wrong by little.
pub(crate) fn like(name: &str) -> Vec<&'static str> {
    let words: Vec<&str> = name.split(['_', '-', '.']).filter(|word| word.len() > 2).collect();
    let shared = |known: &str| words.iter().filter(|word| known.contains(**word)).count();
    let mut found: Vec<(usize, &str)> = TABLE
        .keys()
        .map(|known| (shared(known), known.as_str()))
        .filter(|(shared, _)| *shared > 0)
        .collect();
    found.sort_by_key(|(shared, _)| std::cmp::Reverse(*shared));
    found.into_iter().map(|(_, known)| known).take(LIKE).collect()
}

impl Entry {
    /// Does it.
    pub(crate) async fn call(&self, call: Call, given: Option<JsonObject>) -> CallToolResult {
        match (self.run)(call, Value::Object(given.unwrap_or_default())).await {
            Ok(value) => CallToolResult::structured(value),
            Err(told) => told.into_result(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_says_what_it_takes_gives_and_does() {
        for entry in TABLE.values() {
            let tool = &entry.tool;
            let name = &tool.name;
            assert!(tool.description.as_ref().is_some_and(|text| text.len() > 30), "{name}");
            let output = tool.output_schema.as_ref().unwrap();
            for schema in [&tool.input_schema, output] {
                assert_eq!(schema["type"], "object", "{name}: {schema:?}");
                assert!(!serde_json::to_string(schema).unwrap().contains("$ref"), "{name}");
            }
            let hints = tool.annotations.as_ref().unwrap();
            assert!(hints.read_only_hint.is_some() && hints.destructive_hint.is_some(), "{name}");
        }
    }

    #[test]
    fn what_a_result_may_leave_out_is_not_required_by_its_schema() {
        let minutes = &find("get_meeting_minutes").unwrap().tool;
        let schema = Value::Object(minutes.output_schema.as_deref().unwrap().clone());
        let item = "/properties/minutes/properties/actionItems/items";
        let required = schema.pointer(&format!("{item}/required")).unwrap();
        let required = required.as_array().unwrap();
        assert!(required.contains(&"assignee".into()), "{required:?}");
        assert!(!required.contains(&"details".into()), "{required:?}");
    }

    #[test]
    fn other_names_lead_to_tools_that_there_are() {
        for (alias, _) in ALIASES {
            assert!(find(alias).is_some() && !TABLE.contains_key(alias), "{alias}");
        }
        assert!(find("no_such").is_none());
        assert!(like("get_next_task").contains(&"get_my_next_task"));
    }
}
