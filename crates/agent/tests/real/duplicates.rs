//! One id is one task, whoever says it how often, and whenever.

use sinew_agent::{Client, DelegateError, Delegation};
use sinew_bus::Outgoing;
use sinew_model::task::Change;
use sinew_model::{
    Assignment, Band, TaskId, Time, Transition, stream::AGENT_TASKS, task::DeadCause,
};
use sinew_testkit::{NatsServer, wait};

use crate::kit::{Backbone, Gate, PATIENCE, echo, role, task};

/// What happens between two delegations of one id.
#[derive(Clone, Copy)]
enum Between {
    Nothing,
    /// The server forgets the message ids.
    Window,
    /// The server starts anew.
    Restart,
}

impl Between {
    async fn pass(self, backbone: &Backbone) {
        match self {
            Self::Nothing => {}
            Self::Restart => backbone.server.restart(),
            Self::Window => {
                // An id that came later is forgotten later.
                wait::until("the window to pass", PATIENCE, async || {
                    let subject = backbone.bus.subjects().tasks(&role("nobody"), Band::Normal);
                    let out = Outgoing::new(AGENT_TASKS, subject, "{}").id("probe");
                    let accepted = backbone.bus.publish(out).await.unwrap();
                    let first = accepted.seq == backbone_first_probe(backbone).await;
                    if accepted.duplicate || first { Err("not yet".to_owned()) } else { Ok(()) }
                })
                .await;
                let purge = serde_json::json!({ "filter": "genbrain.agents.nobody.tasks" });
                let call = "STREAM.PURGE.AGENT_TASKS";
                let _: serde_json::Value = backbone.bus.api(call, &purge).await.unwrap();
            }
        }
    }
}

async fn backbone_first_probe(backbone: &Backbone) -> u64 {
    let stored = backbone.stored(AGENT_TASKS, "genbrain.agents.nobody.tasks").await;
    stored.first().map_or(0, |message| message.seq)
}

fn what(id: &TaskId, title: &str) -> Delegation {
    Delegation::new(role("cto"), title).id(id.clone()).input("in")
}

/// Delegates the task again, and other work under its id: neither changes anything.
async fn again(backbone: &Backbone, client: &Client, id: &TaskId) {
    let before = (backbone.words(id).await, backbone.queued().await);
    let same = client.delegate(what(id, "One")).await.unwrap();
    assert!(same.existed, "{id} was taken for new");
    for other in [what(id, "Two"), what(id, "One").input("other"), what(id, "One").max_attempts(9)]
    {
        let refused = client.delegate(other).await;
        assert!(matches!(refused, Err(DelegateError::IdReused { .. })), "{refused:?}");
    }
    let elsewhere = Delegation::new(role("cfo"), "One").id(id.clone()).input("in");
    let refused = client.delegate(elsewhere).await;
    assert!(matches!(refused, Err(DelegateError::IdReused { .. })), "{refused:?}");
    assert_eq!((backbone.words(id).await, backbone.queued().await), before, "{id} was changed");
}

async fn one_id_is_one_task(overlay: &str, between: Between) {
    let backbone = Backbone::with(NatsServer::start(), overlay).await;
    let (client, gate, id) = (backbone.client("ceo"), Gate::shut(), task("T1"));
    let first = client.delegate(what(&id, "One")).await.unwrap();
    assert!(!first.existed);
    between.pass(&backbone).await;
    again(&backbone, &client, &id).await;
    let runtime = backbone.run(backbone.settings("cto"), gate.handler()).await;
    backbone.until_count(&id, Transition::Started, 1).await;
    between.pass(&backbone).await;
    again(&backbone, &client, &id).await;
    gate.open();
    client.outcome(&id).await.unwrap();
    backbone.until_queue_is_empty().await;
    between.pass(&backbone).await;
    again(&backbone, &client, &id).await;
    let tally = runtime.stop().await;
    assert_eq!((tally.started, tally.ended), (1, 1));
    assert_eq!(backbone.words(&id).await, ["created", "started", "completed"]);
}

#[tokio::test]
async fn within_the_dedup_window() {
    one_id_is_one_task("", Between::Nothing).await;
}

#[tokio::test]
async fn after_the_dedup_window() {
    let overlay = "[streams.AGENT_TASKS]\nduplicate_window = \"100ms\"";
    one_id_is_one_task(overlay, Between::Window).await;
}

#[tokio::test]
async fn after_a_restart_of_the_server() {
    one_id_is_one_task("", Between::Restart).await;
}

#[tokio::test]
async fn of_two_who_delegate_at_once_one_is_the_first() {
    let backbone = Backbone::start().await;
    let (ceo, coo) = (backbone.client("ceo"), backbone.client("ceo"));
    for round in 0..20 {
        let id = task(&format!("same-{round}"));
        let (one, two) =
            tokio::join!(ceo.delegate(what(&id, "One")), coo.delegate(what(&id, "One")));
        let existed = [one.unwrap().existed, two.unwrap().existed];
        assert!(existed.contains(&false) && existed.contains(&true), "{existed:?}");
        let id = task(&format!("other-{round}"));
        let (one, two) =
            tokio::join!(ceo.delegate(what(&id, "One")), coo.delegate(what(&id, "Two")));
        let reused =
            |it: &Result<_, DelegateError>| matches!(it, Err(DelegateError::IdReused { .. }));
        assert!(one.is_ok() && reused(&two) || two.is_ok() && reused(&one), "{one:?} {two:?}");
        let title = if one.is_ok() { "One" } else { "Two" };
        let state = ceo.state(&id).await.unwrap().unwrap();
        assert_eq!(state.assignment.unwrap().title, title, "the log has what was accepted");
    }
    assert_eq!(backbone.queued().await, 40);
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    backbone.until_queue_is_empty().await;
    let tally = runtime.stop().await;
    assert_eq!((tally.started, tally.ended, tally.dropped), (40, 40, 0));
}

fn bare(id: &str, title: &str) -> Vec<u8> {
    let now = Time::from_micros(1_790_000_000_000_000);
    let assignment = serde_json::json!({
        "taskId": id, "orgId": "acme", "role": "cto", "delegator": "ceo", "title": title,
        "createdAt": now, "deadline": "2100-01-01T00:00:00Z",
    });
    let body = assignment.to_string().into_bytes();
    Assignment::decode(&body).unwrap();
    body
}

#[tokio::test]
async fn an_assignment_that_is_published_twice_runs_once() {
    let backbone = Backbone::start().await;
    let gate = Gate::shut();
    let runtime = backbone.run(backbone.settings("cto"), gate.handler()).await;
    let first = backbone.put("cto", bare("B1", "One"), (None, None)).await;
    let second = backbone.put("cto", bare("B1", "One"), (Some("again"), None)).await;
    assert_ne!(first, second);
    wait::until("the second copy to be dropped", PATIENCE, async || {
        if backbone.queued().await == 1 { Ok(()) } else { Err("both are there".to_owned()) }
    })
    .await;
    gate.open();
    backbone.until_queue_is_empty().await;
    backbone.put("cto", bare("B1", "One"), (Some("after the end"), None)).await;
    backbone.until_queue_is_empty().await;
    assert_eq!(backbone.words(&task("B1")).await, ["created", "started", "completed"]);
    let tally = runtime.stop().await;
    assert_eq!((tally.started, tally.ended, tally.dropped), (1, 1, 2));
    let reports = backbone.inbox("ceo").await;
    assert_eq!(reports.len(), 1, "{reports:?}");
}

#[tokio::test]
async fn other_work_under_a_used_id_is_kept_as_dead_at_any_stage() {
    let backbone = Backbone::start().await;
    let gate = Gate::shut();
    let runtime = backbone.run(backbone.settings("cto"), gate.handler()).await;
    backbone.put("cto", bare("B1", "One"), (None, None)).await;
    let id = task("B1");
    backbone.until_count(&id, Transition::Started, 1).await;
    backbone.put("cto", bare("B1", "Two"), (None, None)).await;
    until_dead(&backbone, 1).await;
    gate.open();
    backbone.until_queue_is_empty().await;
    backbone.put("cto", bare("B1", "Three"), (None, None)).await;
    until_dead(&backbone, 2).await;
    assert_eq!(backbone.words(&id).await, ["created", "started", "completed"]);
    assert_eq!(runtime.stop().await.undecodable, 2);
}

async fn until_dead(backbone: &Backbone, count: usize) {
    wait::until("other work to be dead", PATIENCE, async || {
        let dead = backbone.stored("TASK_LOG", "genbrain.org.acme.tasks.*.dead").await;
        let read = |it: &sinew_bus::RawMessage| it.stored(backbone.bus.subjects()).unwrap().entry;
        let undecodable = |it: &&sinew_bus::RawMessage| {
            matches!(
                read(it).change,
                Change::Dead { cause: DeadCause::Undecodable, bytes: Some(_), .. }
            )
        };
        let found = dead.iter().filter(undecodable).count();
        if found == count { Ok(()) } else { Err(format!("{found} are")) }
    })
    .await;
}
