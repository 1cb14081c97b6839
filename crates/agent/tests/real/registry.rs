//! The registry: cards outlive everybody, presence tells who is there, and an input that a role
//! does not accept is refused where it is delegated.

use serde_json::json;
use sinew_agent::{DelegateError, Delegation, Query, RegistryError, RuntimeError};
use sinew_model::{
    card::Description, limits::CONCURRENCY, presence::standing::Standing, stream::AGENT_CARDS,
};
use sinew_testkit::wait;

use crate::kit::{Backbone, Gate, PATIENCE, connect, echo, role};

fn description() -> Description {
    serde_json::from_value(json!({
        "about": "Builds things",
        "skills": ["Rust", "nats"],
        "accepts": {
            "type": "object",
            "required": ["files"],
            "properties": { "files": { "type": "array", "items": { "type": "string" } } },
        },
    }))
    .unwrap()
}

fn skilled(skill: &str) -> Query {
    Query { skill: Some(skill.to_owned()), ..Query::default() }
}

async fn names(client: &sinew_agent::Client, query: &Query) -> Vec<String> {
    let found = client.agents(query).await.unwrap();
    found.into_iter().map(|it| it.role.to_string()).collect()
}

#[tokio::test]
async fn a_card_outlives_the_agent_and_the_server() {
    let backbone = Backbone::start().await;
    let mut settings = backbone.settings("cto");
    settings.card = description();
    let runtime = backbone.run(settings, echo).await;
    let ceo = backbone.client("ceo");
    backbone.until_flow("signs of life", |it| it.role == role("cto")).await;
    assert_eq!(names(&ceo, &skilled("rust")).await, ["cto"]);
    assert!(names(&ceo, &skilled("cobol")).await.is_empty());
    runtime.stop().await;
    backbone.server.kill();
    backbone.server.restart();
    let ceo = sinew_agent::Client::new(connect(&backbone.server).await, role("ceo"));
    let known = ceo.agents(&skilled("NATS")).await.unwrap().remove(0);
    assert_eq!((known.state, known.instances.len()), (Standing::Asleep, 0));
    assert_eq!(known.card.unwrap().about, "Builds things");
    // A later start that says nothing leaves the card as it is.
    let seq = ceo.bus().stream_state(AGENT_CARDS).await.unwrap().last_seq;
    let again = backbone.run(backbone.settings("cto"), echo).await;
    wait::until("the agent to be there", PATIENCE, async || {
        let known = ceo.agents(&skilled("rust")).await.unwrap().remove(0);
        if known.state == Standing::Idle { Ok(()) } else { Err(format!("{known:?}")) }
    })
    .await;
    assert_eq!(ceo.bus().stream_state(AGENT_CARDS).await.unwrap().last_seq, seq);
    again.stop().await;
}

#[tokio::test]
async fn who_is_there_is_found_with_what_they_hold_and_how_much_room_they_have() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let gate = Gate::shut();
    let mut settings = backbone.settings("cto");
    settings.instance = Some("cto-0".parse().unwrap());
    let runtime = backbone.run(settings, gate.handler()).await;
    let id = ceo.delegate(Delegation::new(role("cto"), "Runs")).await.unwrap().id;
    let sleeper = Delegation::new(role("artist"), "Waits");
    ceo.delegate(sleeper).await.unwrap();
    let busy = Query { state: Some(Standing::Busy), ..Query::default() };
    let cto = wait::until("the agent to be busy", PATIENCE, async || {
        ceo.agents(&busy).await.unwrap().pop().ok_or_else(|| "nobody is".to_owned())
    })
    .await;
    assert_eq!((&cto.instances[0].holds[..], cto.queued), (&[id.clone()][..], 1));
    assert_eq!((cto.places.total, cto.places.taken), (CONCURRENCY, 1));
    let asleep = Query { state: Some(Standing::Asleep), ..Query::default() };
    assert_eq!(names(&ceo, &asleep).await, ["artist"], "work waits, and nobody is there");
    gate.open();
    ceo.outcome(&id).await.unwrap();
    runtime.stop().await;
    wait::until("the instance to be gone", PATIENCE, async || {
        let gone = Query { state: Some(Standing::Gone), ..Query::default() };
        let found = ceo.agents(&gone).await.unwrap();
        if found.iter().any(|it| it.role == role("cto")) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
    let there = ceo.agents(&Query { role: Some(role("cto")), ..Query::default() }).await.unwrap();
    assert!(there[0].instances.is_empty() && there[0].state == Standing::Asleep);
}

#[tokio::test]
async fn an_input_that_the_role_does_not_accept_is_refused_and_the_place_is_named() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    ceo.describe(&role("cto"), &description()).await.unwrap();
    let with = |input| Delegation::new(role("cto"), "Build").input(input);
    let refused = ceo.delegate(with(json!({ "files": ["a", 7] }))).await.unwrap_err();
    let said = refused.to_string();
    assert!(
        matches!(&refused, DelegateError::NotAccepted { path, .. } if path == "/files/1"),
        "{said}"
    );
    assert!(said.contains("cto does not accept the input at /files/1"), "{said}");
    assert_eq!(backbone.queued().await, 0, "nothing was sent");
    ceo.delegate(with(json!({ "files": ["a"] }))).await.unwrap();
    // Another client looks at the card anew.
    let open = Description { accepts: Some(true.into()), ..Description::default() };
    ceo.describe(&role("cto"), &open).await.unwrap();
    backbone.client("ceo").delegate(with(7.into())).await.unwrap();
}

#[tokio::test]
async fn a_card_that_breaks_a_rule_is_refused_and_nothing_is_changed() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let cto = role("cto");
    let accepts = |it| Description { accepts: Some(it), ..Description::default() };
    let broken = ceo.describe(&cto, &accepts(json!({ "type": "strange" }))).await.unwrap_err();
    assert!(matches!(broken, RegistryError::Schema { .. }), "{broken}");
    // Nothing is fetched, from no file and from nowhere else.
    let far = accepts(json!({ "$ref": "http://127.0.0.1:1/schema.json" }));
    assert!(matches!(ceo.describe(&cto, &far).await, Err(RegistryError::Schema { .. })));
    assert!(matches!(ceo.describe(&cto, &accepts(7.into())).await, Err(RegistryError::Card(_))));
    assert!(ceo.card(&cto).await.unwrap().is_none());
    let mut settings = backbone.settings("cto");
    settings.card = accepts(json!({ "type": "strange" }));
    let ended = sinew_agent::Runtime::new(backbone.bus.clone(), settings)
        .run(echo, sinew_agent::CancellationToken::new())
        .await;
    assert!(matches!(ended, Err(RuntimeError::Card(_))), "{ended:?}");
}

#[tokio::test]
async fn a_withdrawn_role_is_known_no_more_until_it_is_described_again() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let cto = role("cto");
    ceo.describe(&cto, &description()).await.unwrap();
    assert!(ceo.withdraw(&cto).await.unwrap());
    assert!(!ceo.withdraw(&cto).await.unwrap(), "it was not in any more");
    assert!(ceo.roles().await.unwrap().is_empty());
    let about = Description { about: Some("New".to_owned()), ..Description::default() };
    let card = ceo.describe(&cto, &about).await.unwrap();
    assert!(card.skills.is_empty() && card.accepts.is_none(), "of the old one nothing is left");
    assert_eq!(ceo.card(&cto).await.unwrap().unwrap().about, "New");
}

#[tokio::test]
async fn of_those_who_describe_a_role_at_once_none_is_lost() {
    let backbone = Backbone::start().await;
    let (one, other) = (backbone.client("a"), backbone.client("b"));
    let cto = role("cto");
    for round in 0..20 {
        let said = round.to_string();
        let about = Description { about: Some(said.clone()), ..Description::default() };
        let skills = Description { skills: Some(vec![said.clone()]), ..Description::default() };
        let (first, second) =
            tokio::join!(one.describe(&cto, &about), other.describe(&cto, &skills));
        first.unwrap();
        second.unwrap();
        let card = one.card(&cto).await.unwrap().unwrap();
        assert_eq!((&card.about, &card.skills), (&said, &vec![said.clone()]));
    }
}
