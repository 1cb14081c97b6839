//! KEDA's contract over real gRPC connections: what a client of the published contract is told, in
//! the clear and over TLS, and that nobody is told anything where nobody knows.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use sinew_agent::{Bus, CancellationToken, Client, Config};
use sinew_bus::{Tls, Topology, clock, ensure::Consent};
use sinew_model::team::Team;
use sinew_server::{
    control::{presence::Presence, scale::Scaler},
    keda::{
        Face, KedaError,
        wire::{GetMetricsRequest, ScaledObjectRef, external_scaler_client::ExternalScalerClient},
    },
    tls::{Encryption, prepare},
};
use sinew_testkit::{NatsServer, TempDir, wait};
use tokio::{sync::watch, task::JoinHandle};
use tonic::{
    Code, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

const LONG: Duration = Duration::from_secs(60);

/// An org that KEDA asks about.
struct Org {
    server: NatsServer,
    bus: Bus,
    address: SocketAddr,
    stop: CancellationToken,
    parts: Vec<JoinHandle<()>>,
}

impl Org {
    async fn start(tls: Option<&Tls>) -> Self {
        let server = NatsServer::start();
        let bus = Bus::connect(Config::new(server.url(), "acme".parse().unwrap())).await.unwrap();
        let topology = Topology::standard(&bus);
        let plan = topology.plan(&bus).await.unwrap();
        topology.apply(&bus, &plan, Consent::KeepMessages).await.unwrap();
        let face = Face::bind("127.0.0.1:0".parse().unwrap(), tls).await.unwrap();
        let (address, stop) = (face.address(), CancellationToken::new());
        let answering = face.run(bus.clone(), stop.clone());
        let answering = tokio::spawn(async move { answering.await.unwrap() });
        Self { server, bus, address, stop, parts: vec![answering] }
    }

    /// A scaler for one role, which cools down at once.
    fn scale(&mut self) {
        let team = serde_json::json!({ "roles": { "cto": {
            "max": 40, "concurrency": 5, "cooldown": "0s",
        } } });
        let team: Team = serde_json::from_value(team).unwrap();
        let team = watch::Sender::new(Arc::new(team));
        let (bus, presence) = (self.bus.clone(), Presence::default());
        let seen = (presence.clone(), None);
        let scaler = Scaler::new(bus.clone(), clock::unique(), team.subscribe(), seen);
        let stop = self.stop.clone();
        self.parts.push(tokio::spawn(async move {
            let _held = team;
            tokio::join!(presence.listen(bus, stop.clone()), scaler.run(stop));
        }));
    }

    async fn delegate(&self, tasks: usize) {
        let client = Client::new(self.bus.clone(), "ceo".parse().unwrap());
        for number in 0..tasks {
            let title = format!("Task {number}");
            let task = sinew_agent::Delegation::new("cto".parse().unwrap(), title);
            client.delegate(task).await.unwrap();
        }
    }

    async fn client(&self) -> ExternalScalerClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        ExternalScalerClient::new(endpoint.connect().await.unwrap())
    }

    async fn stop(self) {
        self.stop.cancel();
        for part in self.parts {
            part.await.unwrap();
        }
        drop(self.server);
    }
}

fn about(metadata: &[(&str, &str)]) -> ScaledObjectRef {
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    ScaledObjectRef {
        name: "cto".to_owned(),
        namespace: "acme".to_owned(),
        scaler_metadata: metadata.collect(),
    }
}

fn cto() -> ScaledObjectRef {
    about(&[("role", "cto"), ("org", "acme")])
}

async fn instances(client: &mut ExternalScalerClient<Channel>) -> Result<f64, Status> {
    let asked = GetMetricsRequest {
        scaled_object_ref: Some(cto()),
        metric_name: "sinew-instances".to_owned(),
    };
    let metrics = client.get_metrics(asked).await?.into_inner().metric_values;
    let [value] = metrics.as_slice() else { panic!("{metrics:?}") };
    assert_eq!(value.metric_name, "sinew-instances");
    Ok(value.metric_value_float)
}

#[tokio::test]
async fn a_role_wakes_with_work_and_keda_is_told_the_scalers_own_number() {
    let mut org = Org::start(None).await;
    let mut client = org.client().await;
    let unknown = client.is_active(cto()).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unavailable, "nobody has decided anything: {unknown:?}");

    org.scale();
    wait::until("an answer", LONG, || {
        let mut client = client.clone();
        async move {
            let asleep = client.is_active(cto()).await.map_err(|error| error.to_string())?;
            assert!(!asleep.into_inner().result, "there is nothing to do");
            Ok(())
        }
    })
    .await;
    let mut told = client.stream_is_active(cto()).await.unwrap().into_inner();
    assert!(!told.message().await.unwrap().unwrap().result, "it is told at once how it stands");

    org.delegate(12).await;
    let woken = tokio::time::timeout(LONG, told.message()).await.unwrap();
    assert!(woken.unwrap().unwrap().result, "and when that changes");
    wait::until("three for twelve tasks", LONG, || {
        let mut client = client.clone();
        async move {
            let it = instances(&mut client).await.map_err(|error| error.to_string())?;
            if (it - 3.0).abs() < f64::EPSILON { Ok(()) } else { Err(it.to_string()) }
        }
    })
    .await;
    assert!(client.is_active(cto()).await.unwrap().into_inner().result);
    let spec = client.get_metric_spec(cto()).await.unwrap().into_inner().metric_specs;
    assert_eq!(spec.len(), 1);
    assert!((spec[0].target_size_float - 1.0).abs() < f64::EPSILON, "{spec:?}");
    org.stop().await;
    assert!(told.message().await.unwrap().is_none(), "a stream ends with what it speaks for");
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused_with_the_reason() {
    let mut org = Org::start(None).await;
    org.scale();
    let mut client = org.client().await;
    let check = async |asked: ScaledObjectRef, code: Code, words: &str| {
        let status = org.client().await.stream_is_active(asked).await.map(|_| ()).unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(words), "{status:?}");
    };
    check(about(&[]), Code::InvalidArgument, "`role`").await;
    check(about(&[("role", "c.>")]), Code::InvalidArgument, "no name of a role").await;
    let other = about(&[("role", "cto"), ("org", "globex")]);
    check(other, Code::InvalidArgument, "not of `globex`").await;
    wait::until("a role that the team has not", LONG, || {
        let mut client = client.clone();
        async move {
            let asked = about(&[("role", "cfo")]);
            let status = client.is_active(asked).await.map(|_| ()).unwrap_err();
            if status.code() == Code::NotFound { Ok(()) } else { Err(format!("{status:?}")) }
        }
    })
    .await;
    let metric = GetMetricsRequest { scaled_object_ref: Some(cto()), metric_name: "x".to_owned() };
    assert_eq!(client.get_metrics(metric).await.unwrap_err().code(), Code::NotFound);
    let never = client.stream_metric_spec(cto()).await.map(|_| ()).unwrap_err();
    assert_eq!(never.code(), Code::Unimplemented, "KEDA asks for the target by itself then");
    org.stop().await;
}

#[tokio::test]
async fn with_an_authority_only_its_own_may_ask() {
    let folder = TempDir::new("keda");
    prepare(folder.path(), Encryption::Mutual).unwrap();
    let file = |name: &str| folder.join("tls").join(name);
    let tls = Tls {
        ca: Some(file("ca.pem")),
        cert: Some(file("server.pem")),
        key: Some(file("server-key.pem")),
    };
    let mut org = Org::start(Some(&tls)).await;
    org.scale();
    let read = |name: &str| std::fs::read(file(name)).unwrap();
    let known = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read("ca.pem")))
        .domain_name("localhost");
    let own =
        known.clone().identity(Identity::from_pem(read("client.pem"), read("client-key.pem")));
    let ask = async |tls: Option<ClientTlsConfig>| {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{}", org.address)).unwrap();
        let endpoint = match tls {
            Some(tls) => endpoint.tls_config(tls).unwrap(),
            None => endpoint,
        };
        let channel =
            endpoint.connect().await.map_err(|error| Status::unknown(error.to_string()))?;
        ExternalScalerClient::new(channel).get_metric_spec(cto()).await.map(|_| ())
    };
    ask(Some(own)).await.unwrap();
    assert!(ask(Some(known)).await.is_err(), "whoever shows no certificate");
    assert!(ask(None).await.is_err(), "in the clear");
    org.stop().await;
}

#[tokio::test]
async fn what_lacks_for_tls_is_named() {
    let folder = TempDir::new("keda");
    let (at, nothing) = ("127.0.0.1:0".parse().unwrap(), Tls::default());
    let lacking = Face::bind(at, Some(&nothing)).await.unwrap_err();
    assert!(matches!(lacking, KedaError::NoCertificate), "{lacking:?}");
    let nowhere = Some(folder.join("nowhere.pem"));
    let tls = Tls { ca: None, cert: nowhere.clone(), key: nowhere };
    let missing = Face::bind(at, Some(&tls)).await.unwrap_err();
    assert!(missing.to_string().contains("nowhere.pem"), "{missing}");
}

#[test]
fn the_numbers_on_the_wire_are_those_that_keda_publishes() {
    use prost::Message as _;
    use sinew_server::keda::wire::{MetricSpec, MetricValue};
    let name = || "m".to_owned();
    let spec = MetricSpec { metric_name: name(), target_size: 1, target_size_float: 1.0 };
    let one = [0x19, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f];
    let fields = [&[0x0a, 1, b'm', 0x10, 1][..], &one].concat();
    assert_eq!(spec.encode_to_vec(), fields);
    let value = MetricValue { metric_name: name(), metric_value: 1, metric_value_float: 1.0 };
    assert_eq!(value.encode_to_vec(), fields);
    let asked = GetMetricsRequest {
        scaled_object_ref: Some(ScaledObjectRef {
            name: "n".to_owned(),
            namespace: "s".to_owned(),
            scaler_metadata: [("k".to_owned(), "v".to_owned())].into(),
        }),
        metric_name: name(),
    };
    let entry = [0x1a, 6, 0x0a, 1, b'k', 0x12, 1, b'v'];
    let object = [&[0x0a, 1, b'n', 0x12, 1, b's'][..], &entry].concat();
    let fields = [&[0x0a, 14][..], &object, &[0x12, 1, b'm']].concat();
    assert_eq!(asked.encode_to_vec(), fields);
}
