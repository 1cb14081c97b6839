//! A role's consumers are made, mended, and never turned to and fro.

use serde_json::{Value, json};
use sinew_bus::{
    Bus, Topology,
    ensure::{Change, Outcome},
    ensure_consumer,
};
use sinew_model::{
    Band, Role,
    stream::{AGENT_TASKS, ConsumerSpec, work_consumer_name},
};
use sinew_testkit::NatsServer;

use super::{bus, make};

async fn config(bus: &Bus, role: &Role, band: Band) -> Value {
    let name = work_consumer_name(role, band);
    let info: Value =
        bus.api(&format!("CONSUMER.INFO.{AGENT_TASKS}.{name}"), &Value::Null).await.unwrap();
    info["config"].clone()
}

#[tokio::test]
async fn every_band_has_its_consumer_with_the_seeds_numbers() {
    let server = NatsServer::start();
    let bus = bus(&server.url()).await;
    let topology = Topology::standard(&bus);
    make(&bus, &topology).await;
    let role: Role = "marketing".parse().unwrap();
    for band in Band::ALL {
        let spec = topology.catalogue().work_consumer(&role, band);
        for _ in 0..2 {
            let report = ensure_consumer(&bus, AGENT_TASKS, &spec).await.unwrap();
            assert_eq!((report.outcome, report.left.len()), (Outcome::Created, 0), "{band:?}");
        }
    }
    let found = config(&bus, &role, Band::Normal).await;
    let seed = json!({
        "durable_name": "marketing-agent-consumer",
        "filter_subject": "genbrain.agents.marketing.tasks", "ack_policy": "explicit",
        "ack_wait": 300_000_000_000_u64, "deliver_policy": "all",
        // Where Sinew differs from the seed: it counts failures and open tasks itself.
        "max_deliver": -1, "max_ack_pending": 10_000,
    });
    for (field, value) in seed.as_object().unwrap() {
        assert_eq!(&found[field], value, "{field}");
    }
}

#[tokio::test]
async fn a_consumer_that_differs_is_updated_as_far_as_it_can_be() {
    let server = NatsServer::start();
    let bus = bus(&server.url()).await;
    let standard = Topology::standard(&bus);
    make(&bus, &standard).await;
    let role: Role = "cto".parse().unwrap();
    let spec = |topology: &Topology| -> ConsumerSpec {
        topology.catalogue().work_consumer(&role, Band::Low)
    };
    ensure_consumer(&bus, AGENT_TASKS, &spec(&standard)).await.unwrap();

    let text = "[consumers]\nack_wait = \"2s\"\nmax_waiting = 7";
    let other = Topology::overlaid(&bus, text).unwrap();
    let report = ensure_consumer(&bus, AGENT_TASKS, &spec(&other)).await.unwrap();
    assert_eq!(report.outcome, Outcome::Updated);
    let left: Vec<_> = report.left.iter().map(|it| (it.field.as_str(), it.change)).collect();
    assert_eq!(left, [("max_waiting", Change::Impossible)]);
    let found = config(&bus, &role, Band::Low).await;
    assert_eq!(
        (&found["ack_wait"], &found["max_waiting"]),
        (&2_000_000_000_u64.into(), &4096.into())
    );
    let report = ensure_consumer(&bus, AGENT_TASKS, &spec(&other)).await.unwrap();
    assert_eq!((report.outcome, report.left.len()), (Outcome::Unchanged, 1));
}

#[tokio::test]
async fn a_consumer_without_its_stream_is_refused_at_once() {
    let server = NatsServer::start();
    let bus = bus(&server.url()).await;
    let topology = Topology::standard(&bus);
    let spec = topology.catalogue().work_consumer(&"cto".parse().unwrap(), Band::Normal);
    let fault = ensure_consumer(&bus, AGENT_TASKS, &spec).await.unwrap_err();
    assert_eq!(
        fault.to_string(),
        "consumer cto-agent-consumer on AGENT_TASKS could not be ensured"
    );
}
