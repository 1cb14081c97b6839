//! Makes a consumer, or mends it. Never by create-or-update in one: two versions of Sinew would
//! then turn one consumer to and fro. Whoever owns a consumer calls this; everybody else pulls.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use sinew_model::stream::{ConsumerSpec, Filter};

use super::{
    EnsureError, Outcome, call,
    compare::{Change, Difference, compare, merged},
    object,
};
use crate::{connect::Bus, request::RequestError};

/// A consumer of this name is there and is not the same.
const CONSUMER_DIFFERS: u32 = 10148;

/// What was done to a consumer.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerReport {
    /// What was done. [`Outcome::Created`] also where the same one was there: the server does not
    /// tell them apart.
    pub outcome: Outcome,
    /// What still differs, because it can't be changed in place.
    pub left: Vec<Difference>,
}

#[derive(Deserialize)]
struct Info {
    config: Map<String, Value>,
}

/// Makes a consumer on a stream that is there, or mends what differs.
///
/// # Errors
/// See [`EnsureError`]; a stream that is missing is refused with error 10059.
pub async fn ensure_consumer(
    bus: &Bus,
    stream: &str,
    spec: &ConsumerSpec,
) -> Result<ConsumerReport, EnsureError> {
    let done = settle(bus, stream, spec).await;
    done.map_err(|source| EnsureError::Request {
        what: format!("consumer {} on {stream}", spec.name),
        source,
    })
}

async fn settle(
    bus: &Bus,
    stream: &str,
    spec: &ConsumerSpec,
) -> Result<ConsumerReport, RequestError> {
    let wanted = object(spec);
    match ask(bus, stream, spec, "create", &wanted).await {
        Ok(_) => return Ok(ConsumerReport { outcome: Outcome::Created, left: Vec::new() }),
        Err(error) if error.refusal() == Some(CONSUMER_DIFFERS) => {}
        Err(error) => return Err(error),
    }
    let about = format!("CONSUMER.INFO.{stream}.{}", spec.name);
    let found: Info = call(bus, &about, &Value::Null).await?;
    let drift = compare(&wanted, &found.config, change);
    let (mended, left): (Vec<_>, Vec<_>) =
        drift.into_iter().partition(|it| it.change == Change::InPlace);
    if mended.is_empty() {
        return Ok(ConsumerReport { outcome: Outcome::Unchanged, left });
    }
    let mut config = merged(&found.config, &wanted, &left);
    // The server takes one filter or several, never both.
    for (one, other) in
        [("filter_subject", "filter_subjects"), ("filter_subjects", "filter_subject")]
    {
        if wanted.contains_key(one) {
            config.remove(other);
        }
    }
    ask(bus, stream, spec, "update", &config).await?;
    Ok(ConsumerReport { outcome: Outcome::Updated, left })
}

async fn ask(
    bus: &Bus,
    stream: &str,
    spec: &ConsumerSpec,
    action: &str,
    config: &Map<String, Value>,
) -> Result<Value, RequestError> {
    let body = json!({ "stream_name": stream, "action": action, "config": config });
    // The server holds the filter in the body against the one in the subject, so a permission on
    // the subject is one on what the consumer hands out.
    let about = match &spec.filter {
        Filter::One { filter_subject } => {
            format!("CONSUMER.CREATE.{stream}.{}.{filter_subject}", spec.name)
        }
        Filter::Several { .. } => format!("CONSUMER.CREATE.{stream}.{}", spec.name),
    };
    call(bus, &about, &body).await
}

fn change(field: &str) -> Change {
    match field {
        "max_waiting" | "ack_policy" | "deliver_policy" => Change::Impossible,
        _ => Change::InPlace,
    }
}
