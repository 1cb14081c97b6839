//! Everything that changes something: each deed is a form that is sent here, is checked to be of a
//! page of ours, and is done through the SDK with the visitor's own rights. Then the browser is sent
//! to the page that shows what came of it.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Form,
    extract::State,
    http::Uri,
    response::{IntoResponse as _, Redirect, Response},
};
use serde_json::Value;
use sinew_agent::{Cancelled, Delegation};
use sinew_model::{Band, MeetingId, Role, TaskId, meeting::Vote};

use super::{
    Site,
    fault::Fault,
    gate::Visit,
    house::OPERATOR,
    shell,
    words::{self, task_path},
};

/// Something that a visitor may do.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Deed {
    Delegate,
    Cancel(TaskId),
    Answer(TaskId),
    Retry(TaskId),
    Accept(TaskId),
    Refuse(TaskId),
    Vote(MeetingId),
}

impl Deed {
    /// The deed of an address; `None` where there is none.
    fn of(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let found = match (parts.next()?, parts.next(), parts.next()) {
            ("tasks", None, None) => Self::Delegate,
            ("tasks", Some(id), Some("cancel")) => Self::Cancel(id.parse().ok()?),
            ("tasks", Some(id), Some("answer")) => Self::Answer(id.parse().ok()?),
            ("tasks", Some(id), Some("retry")) => Self::Retry(id.parse().ok()?),
            ("tasks", Some(id), Some("accept")) => Self::Accept(id.parse().ok()?),
            ("tasks", Some(id), Some("refuse")) => Self::Refuse(id.parse().ok()?),
            ("meetings", Some(id), Some("vote")) => Self::Vote(id.parse().ok()?),
            (_, _, _) => return None,
        };
        parts.next().is_none().then_some(found)
    }
}

/// What a form says.
#[derive(Debug)]
struct Fields(HashMap<String, String>);

impl Fields {
    /// A text; empty where there is none.
    fn text(&self, name: &str) -> &str {
        self.0.get(name).map(|text| text.trim()).unwrap_or_default()
    }

    /// The same as something that has a form of its own.
    fn parsed<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<T, Fault> {
        let text = self.text(name);
        text.parse()
            .map_err(|_no: T::Err| Fault::Form(format!("“{}” is no {what}.", words::cut(text, 60))))
    }
}

/// Does a deed.
pub(super) async fn act(
    State(site): State<Arc<Site>>,
    visit: Visit,
    uri: Uri,
    Form(fields): Form<HashMap<String, String>>,
) -> Response {
    let done = async {
        let deed = Deed::of(uri.path()).ok_or(Fault::Nowhere)?;
        let fields = Fields(fields);
        // Both have one length and are not secret from who may read the page, so they are compared
        // as they are.
        if fields.text("csrf") != visit.csrf {
            return Err(Fault::Forged);
        }
        let to = Box::pin(carry_out(&visit, &deed, &fields)).await?;
        visit.room.catch_up().await;
        Ok(to)
    };
    match done.await {
        Ok(to) => Redirect::to(&to).into_response(),
        Err(fault) => shell::failed(Some((&visit, &site)), &fault),
    }
}

/// Does it, and says where to go.
async fn carry_out(visit: &Visit, deed: &Deed, fields: &Fields) -> Result<String, Fault> {
    let (id, word) = match deed {
        Deed::Delegate => (delegate(visit, fields).await?, "delegated"),
        Deed::Cancel(id) => (id.clone(), cancel(visit, id, fields).await?),
        Deed::Answer(id) => {
            let key = Some(fields.text("key")).filter(|key| !key.is_empty());
            let answer = required(fields, "an answer")?;
            visit.client().await?.answer(id, key, answer.into()).await?;
            (id.clone(), "answered")
        }
        Deed::Retry(id) => {
            visit.client().await?.retry(id).await?;
            (id.clone(), "retried")
        }
        Deed::Accept(id) => {
            let evidence = fields.text("text");
            let evidence = if evidence.is_empty() { Value::Null } else { evidence.into() };
            visit.client().await?.accept(id, evidence).await?;
            (id.clone(), "accepted")
        }
        Deed::Refuse(id) => {
            visit.client().await?.refuse(id, required(fields, "a reason")?).await?;
            (id.clone(), "refused")
        }
        Deed::Vote(id) => {
            vote(visit, id, fields).await?;
            return Ok(format!("/meetings/{id}?did=voted"));
        }
    };
    Ok(format!("{}?did={word}", task_path(&id)))
}

fn required<'a>(fields: &'a Fields, what: &str) -> Result<&'a str, Fault> {
    let text = fields.text("text");
    if text.is_empty() { Err(Fault::Form(format!("It needs {what}."))) } else { Ok(text) }
}

async fn delegate(visit: &Visit, fields: &Fields) -> Result<TaskId, Fault> {
    let role: Role = fields.parsed("role", "role")?;
    let title = fields.text("title");
    if title.is_empty() {
        return Err(Fault::Form("A task needs a title.".to_owned()));
    }
    let band = match fields.text("priority") {
        "urgent" => Band::Urgent,
        "low" => Band::Low,
        _ => Band::Normal,
    };
    let mut what = Delegation::new(role, title)
        .input(input(fields.text("input")))
        .priority(band)
        .id(fields.parsed("id", "id of a task")?);
    if !fields.text("verifier").is_empty() {
        what = what.verifier(fields.parsed("verifier", "role")?);
    }
    Ok(visit.client().await?.delegate(what).await?.id)
}

/// What is written as JSON is JSON, and everything else is text.
fn input(text: &str) -> Value {
    if text.is_empty() {
        return Value::Null;
    }
    let looks_so = text.starts_with(['{', '[']);
    let parsed = if looks_so { serde_json::from_str(text).ok() } else { None };
    parsed.unwrap_or_else(|| text.into())
}

async fn cancel(visit: &Visit, id: &TaskId, fields: &Fields) -> Result<&'static str, Fault> {
    let told = visit.client().await?.cancel(id, fields.text("text")).await;
    match told.into_iter().next().map(|first| first.outcome) {
        Some(Cancelled::Stopped) => Ok("cancelled"),
        Some(Cancelled::TooLate(_)) => Ok("too-late"),
        Some(Cancelled::NoTask) | None => Err(Fault::Missing(format!("task {id}"))),
        Some(Cancelled::Unknown(why)) => Err(Fault::Away { what: "the log of the task", why }),
    }
}

async fn vote(visit: &Visit, id: &MeetingId, fields: &Fields) -> Result<(), Fault> {
    let role: Role = fields.parsed("as", "role")?;
    if role != visit.grant.role && !visit.is_operator() {
        return Err(Fault::Forbidden(format!("Only {role} or the {OPERATOR} votes for {role}.")));
    }
    let proposal: u32 = fields.parsed("proposal", "number of a proposal")?;
    let vote: Vote = fields.parsed("vote", "vote")?;
    let why = Some(fields.text("text")).filter(|text| !text.is_empty()).map(str::to_owned);
    let client = visit.client().await?;
    let client = sinew_agent::Client::new(client.bus().clone(), role);
    client.meet(id).await?.vote(proposal, vote, why).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_is_one_deed_or_none() {
        let id: TaskId = "T1".parse().unwrap();
        assert_eq!(Deed::of("/tasks"), Some(Deed::Delegate));
        assert_eq!(Deed::of("/tasks/T1/cancel"), Some(Deed::Cancel(id.clone())));
        assert_eq!(Deed::of("/tasks/T1/retry"), Some(Deed::Retry(id)));
        for nothing in
            ["/tasks/T1", "/tasks/T1/cancel/x", "/tasks//cancel", "/tasks/a.b/retry", "/"]
        {
            assert_eq!(Deed::of(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn an_input_is_json_where_it_looks_so() {
        assert_eq!(input(""), Value::Null);
        assert_eq!(input("{\"a\":1}"), json!({ "a": 1 }));
        assert_eq!(input("[1, 2"), json!("[1, 2"));
        assert_eq!(input("42 words"), json!("42 words"));
    }
}
