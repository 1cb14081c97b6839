//! Makes the streams and consumers of the catalogue, and shows where a server differs from it.
//!
//! ```text
//! catalogue + server -> plan (missing, same, drift) -> apply -> report (what was done, what is left)
//! ```
//! Nothing here deletes a stream, and no message goes unless the caller said so in words:
//! [`Consent::DeleteMessages`]. Only what the catalogue sets is compared, so that a field which a
//! later server or an operator adds is left alone. All of it may run twice at once.

mod apply;
mod compare;
mod consumer;
mod plan;
mod version;

use serde::Deserialize;
use serde_json::{Map, Value};
use sinew_model::{
    Band, Role, Time,
    limits::{ENSURE_EVERY, ENSURE_PATIENCE, REPLICAS},
    stream::{AGENT_TASKS, Catalogue, Overlay, OverlayError, StreamSpec},
};

pub use apply::{Consent, Outcome, Report, StreamReport};
pub use compare::{Change, Difference};
pub use consumer::{ConsumerReport, ensure_consumer};
pub use plan::{Plan, StreamPlan, StreamState};
pub use version::VersionError;

use crate::{clock, connect::Bus, request::RequestError};

/// The server's word for a stream that it has not.
const STREAM_NOT_FOUND: u32 = 10059;
/// A stream of this name is there and is not the same.
const STREAM_DIFFERS: u32 = 10058;
/// A consumer could not be made, for a reason that is only told in words: without a leader as well.
const CONSUMER_NOT_MADE: u32 = 10012;
/// No place was found for all replicas.
const NO_PEERS: u32 = 10005;
/// More than one replica, on a server that stands alone.
const NOT_CLUSTERED: u32 = 10074;

/// Why a stream or consumer could not be made or looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnsureError {
    /// The catalogue has no stream of that name.
    #[error("{name:?} is no stream of the catalogue")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The server did not do it.
    #[error("{what} could not be ensured")]
    Request {
        /// The stream or consumer.
        what: String,
        /// Why.
        #[source]
        source: RequestError,
    },
    /// It is not there, and did not come while it was awaited.
    #[error(
        "the stream {name} is not there, and this login may not make it: the server of its org does \
         (`sinew up` or `sinew server`), and none did within {} s",
        ENSURE_PATIENCE.as_secs()
    )]
    NotMade {
        /// The stream.
        name: String,
    },
}

/// Why a text is no overlay of the catalogue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// It is not TOML, or a key or a kind of value is wrong.
    #[error("the topology file is not readable")]
    Toml(#[source] toml::de::Error),
    /// A value makes no sense.
    #[error("the topology file does not fit the catalogue")]
    Value(#[source] OverlayError),
}

/// The streams and consumers that an org is to have.
#[derive(Clone, Debug)]
pub struct Topology {
    catalogue: Catalogue,
}

/// What one look at a stream showed.
#[derive(Clone, Debug, Deserialize)]
struct Info {
    config: Map<String, Value>,
    #[serde(default)]
    state: Stored,
    /// The server's own clock, so that ages don't depend on ours.
    ts: Option<Time>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Stored {
    #[serde(default)]
    messages: u64,
    #[serde(default)]
    bytes: u64,
    first_ts: Option<Time>,
}

/// What asking for a stream at its first use came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Ensured {
    /// It was not there.
    Created,
    /// It is as it is to be.
    Same,
    /// It is there and differs; nothing was changed.
    Differs(Vec<Difference>),
}

impl Topology {
    /// The streams and consumers of `catalogue`.
    #[must_use]
    pub const fn new(catalogue: Catalogue) -> Self {
        Self { catalogue }
    }

    /// The standard catalogue of the connection's org.
    #[must_use]
    pub fn standard(bus: &Bus) -> Self {
        Self::new(Catalogue::standard(bus.subjects()))
    }

    /// The standard catalogue with the values of a TOML text in it:
    ///
    /// ```toml
    /// [streams.AGENT_TASKS]
    /// max_msgs = 5000
    /// discard = "old"
    ///
    /// [consumers]
    /// ack_wait = "20s"
    /// ```
    ///
    /// # Errors
    /// See [`TopologyError`].
    pub fn overlaid(bus: &Bus, toml: &str) -> Result<Self, TopologyError> {
        let overlay: Overlay = toml::from_str(toml).map_err(TopologyError::Toml)?;
        let catalogue = Catalogue::standard(bus.subjects()).overlaid(&overlay);
        catalogue.map(Self::new).map_err(TopologyError::Value)
    }

    /// What an org is to have.
    #[must_use]
    pub const fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// How long a delivery may stay without an ack or a renewal of its lease.
    #[must_use]
    pub const fn ack_wait(&self) -> std::time::Duration {
        self.catalogue.consumers.ack_wait
    }

    /// Makes the consumer through which the instances of a role pull one band of their work.
    ///
    /// # Errors
    /// See [`EnsureError`].
    pub async fn ensure_work_consumer(
        &self,
        bus: &Bus,
        role: &Role,
        band: Band,
    ) -> Result<(), EnsureError> {
        let spec = self.catalogue.work_consumer(role, band);
        ensure_consumer(bus, AGENT_TASKS, &spec).await.map(|_| ())
    }

    /// Makes a stream at its first use, and first those that it sources; a login that may not waits
    /// until the server of its org has made it. One that is there is left as it is: whoever
    /// operates the server decides about drift.
    ///
    /// # Errors
    /// See [`EnsureError`].
    pub async fn ensure_stream(&self, bus: &Bus, name: &str) -> Result<Ensured, EnsureError> {
        let known = |name: &str| {
            let unknown = || EnsureError::Unknown { name: name.to_owned() };
            self.catalogue.stream(name).ok_or_else(unknown)
        };
        let spec = known(name)?;
        let end = clock::instant() + ENSURE_PATIENCE;
        loop {
            if let Some(info) = info(bus, name).await? {
                return Ok(differences(bus, spec, &info));
            }
            if !bus.may_create(name) {
                // Whoever comes first to an org comes before its controllers.
                if clock::instant() >= end {
                    return Err(EnsureError::NotMade { name: name.to_owned() });
                }
                clock::pause(ENSURE_EVERY).await;
                continue;
            }
            for source in &spec.sources {
                let source = known(source.name)?;
                if info(bus, source.name).await?.is_none() {
                    create(bus, source).await?;
                }
            }
            if create(bus, spec).await? {
                return Ok(Ensured::Created);
            }
            // Somebody else was faster and made another one: look at it.
        }
    }
}

fn differences(bus: &Bus, spec: &StreamSpec, info: &Info) -> Ensured {
    match plan::drift(spec, &wanted(bus, spec), info) {
        drift if drift.is_empty() => Ensured::Same,
        drift => Ensured::Differs(drift),
    }
}

/// The configuration that a stream is to have on this server. A server of a cluster says so
/// itself, which an ordinary user may read; how many there are shows when a stream is placed.
fn wanted(bus: &Bus, spec: &StreamSpec) -> Map<String, Value> {
    let alone = bus.nats().server_info().cluster.is_none_or(|name| name.is_empty());
    let mut config = object(spec);
    config
        .entry(compare::REPLICAS_FIELD)
        .or_insert_with(|| if alone { 1.into() } else { REPLICAS.into() });
    config
}

/// A specification as the object that it serializes to.
fn object(spec: &impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(spec) {
        Ok(Value::Object(object)) => object,
        // Specifications are structs of plain values; there is nothing in them that could fail.
        Ok(_) | Err(_) => Map::new(),
    }
}

/// What the server knows of a stream; `None` where there is none.
async fn info(bus: &Bus, name: &str) -> Result<Option<Info>, EnsureError> {
    match call(bus, &format!("STREAM.INFO.{name}"), &Value::Null).await {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.refusal() == Some(STREAM_NOT_FOUND) => Ok(None),
        Err(source) => Err(EnsureError::Request { what: format!("stream {name}"), source }),
    }
}

/// Makes a stream; false where another one of the name is there.
async fn create(bus: &Bus, spec: &StreamSpec) -> Result<bool, EnsureError> {
    let subject = format!("STREAM.CREATE.{}", spec.name);
    let mut config = wanted(bus, spec);
    let mut made = call::<Value>(bus, &subject, &Value::Object(config.clone())).await;
    if spec.replicas.is_none() && made.as_ref().is_err_and(too_few_servers) {
        config.insert(compare::REPLICAS_FIELD.to_owned(), 1.into());
        made = call(bus, &subject, &Value::Object(config)).await;
    }
    match made {
        Ok(_) => Ok(true),
        Err(error) if error.refusal() == Some(STREAM_DIFFERS) => Ok(false),
        Err(source) => Err(EnsureError::Request { what: format!("stream {}", spec.name), source }),
    }
}

/// Whether the server refused because it has not enough servers to keep the replicas, and not
/// because some of them are away now: that would keep one copy where three are wanted.
fn too_few_servers(error: &RequestError) -> bool {
    let RequestError::Refused { source, .. } = error else { return false };
    source.err_code == NOT_CLUSTERED
        || (source.err_code == NO_PEERS && source.description == "no suitable peers for placement")
}

/// Asks the API until it answers. Everything that is asked here may be asked twice.
async fn call<T: serde::de::DeserializeOwned>(
    bus: &Bus,
    subject: &str,
    body: &Value,
) -> Result<T, RequestError> {
    let end = clock::instant() + ENSURE_PATIENCE;
    loop {
        match bus.api(subject, body).await {
            Err(error) if passes(&error) && clock::instant() < end => {
                tracing::debug!(%error, subject, "asking again");
                clock::pause(ENSURE_EVERY).await;
            }
            answer => return answer,
        }
    }
}

/// Whether asking again may help; of a consumer that was not made this is not told apart. A cluster
/// that has just started, or lost a server, counts it as offline until it is heard of again.
fn passes(error: &RequestError) -> bool {
    let RequestError::Refused { source, .. } = error else { return error.is_passing() };
    let offline = source.err_code == NO_PEERS && source.description.contains("peer offline");
    offline || source.err_code == CONSUMER_NOT_MADE || error.is_passing()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::ApiError;

    #[test]
    fn only_what_may_pass_is_asked_again() {
        let check = |code, err_code, expect| {
            let source = ApiError { code, err_code, description: String::new() };
            let error = RequestError::Refused { subject: "a".to_owned(), source };
            assert_eq!(passes(&error), expect, "{err_code}");
        };
        check(503, 10008, true);
        check(503, 10004, true);
        check(500, 10012, true);
        check(503, 10023, false);
        check(503, 10039, false);
        check(400, 10005, false);
        check(404, STREAM_NOT_FOUND, false);
        let placed = |description: &str, expect| {
            let description = format!("no suitable peers for placement{description}");
            let source = ApiError { code: 400, err_code: NO_PEERS, description };
            let error = RequestError::Refused { subject: "a".to_owned(), source };
            assert_eq!(passes(&error), expect, "{error:?}");
        };
        placed(", peer offline", true);
        placed("", false);
        placed(", insufficient storage", false);
        check(400, STREAM_DIFFERS, false);
        assert!(passes(&RequestError::NoResponders { subject: "a".to_owned() }));
        let after = std::time::Duration::from_secs(4);
        assert!(passes(&RequestError::Unknown { subject: "a".to_owned(), after }));
    }
}
