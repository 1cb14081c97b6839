//! `/metrics`: how the org and this server fare, in the text format that Prometheus reads. All of
//! it is looked up when somebody asks, so that nothing is counted while nobody does.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use sinew_model::{limits::METRIC_ROLES, metric::Named};

use crate::control::health::{Checkup, Sample};

/// The names and values of the labels of one series.
type Labels = Vec<(&'static str, String)>;

/// Series of one name, by their labels.
type Gauges = Family<Labels, Gauge>;

/// What the format is called over HTTP.
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The route.
pub fn router(checkup: Checkup) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(checkup)
}

async fn metrics(State(checkup): State<Checkup>) -> Response {
    match render(&checkup.sample().await) {
        Ok(text) => ([(header::CONTENT_TYPE, FORMAT)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn render(sample: &Sample) -> Result<String, fmt::Error> {
    let org = (Cow::from("org"), Cow::from(sample.health.org_id.to_string()));
    let mut all = Registry::with_prefix_and_labels("sinew", [org].into_iter());
    server(&mut all, sample);
    tasks(&mut all, sample);
    agents(&mut all, sample);
    streams(&mut all, sample);
    let mut text = String::new();
    encode(&mut text, &all)?;
    Ok(text)
}

fn server(all: &mut Registry, sample: &Sample) {
    let health = &sample.health;
    let version = vec![("version", health.version.clone())];
    set(&family(all, "build", "The version of Sinew that runs, as a label; always 1"), version, 1);
    let ready = family(all, "ready", "Whether the server can do its work");
    set(&ready, Labels::new(), u64::from(health.ready));
    let up = family(all, "uptime_seconds", "For how long the server has been up");
    set(&up, Labels::new(), health.up_seconds);
    // A sequence that can't be asked for is 0, which is true only where all is well.
    let log_is_known = health.ready || health.log_seq > 0;
    if log_is_known && (health.ready || health.view_seq > 0) {
        let help = "Entries of the task log that the view has not yet";
        let lag = family(all, "view_lag_entries", help);
        set(&lag, Labels::new(), health.log_seq.saturating_sub(health.view_seq));
    }
    let crashing = family(all, "crashing_roles", "Roles whose command does not stay up here");
    set(&crashing, Labels::new(), count(health.crashing.len()));
    if log_is_known {
        let entries = Counter::<u64>::default();
        entries.inc_by(health.log_seq);
        all.register("task_log_entries", "Entries that the task log ever got", entries);
    }
}

fn tasks(all: &mut Registry, sample: &Sample) {
    let mut totals = BTreeMap::new();
    for it in &sample.tasks {
        if let Some(role) = &it.role {
            *totals.entry(role.as_str()).or_insert(0_u64) += it.tasks;
        }
    }
    let named = Named::of(&totals, METRIC_ROLES);
    let tasks = family(all, "tasks", "Tasks by the role they are for and where they stand");
    for it in &sample.tasks {
        let role = named.label(it.role.as_ref().map(|role| role.as_str())).to_owned();
        add(&tasks, vec![("role", role), ("phase", it.phase.clone())], it.tasks);
    }
    let void = family(all, "void_entries", "Messages in the task log that changed no task, by why");
    for (kind, entries) in &sample.voids {
        set(&void, vec![("kind", kind.word().to_owned())], *entries);
    }
}

fn agents(all: &mut Registry, sample: &Sample) {
    let mut totals = BTreeMap::new();
    for role in &sample.agents {
        *totals.entry(role.as_str()).or_insert(0_u64) += 1;
    }
    let named = Named::of(&totals, METRIC_ROLES);
    let agents = family(all, "agents", "Agents that the server hears, by role");
    for (role, heard) in &totals {
        add(&agents, vec![("role", named.label(Some(role)).to_owned())], *heard);
    }
}

fn streams(all: &mut Registry, sample: &Sample) {
    let messages = family(all, "stream_messages", "Messages that a stream holds");
    let bytes = family(all, "stream_bytes", "Bytes that a stream holds");
    let most = family(all, "stream_messages_limit", "Messages that a stream may hold");
    for (stream, state) in &sample.streams {
        let labels = || vec![("stream", (*stream).to_owned())];
        set(&messages, labels(), state.messages);
        set(&bytes, labels(), state.bytes);
        if let Some(limit) = state.most {
            set(&most, labels(), limit);
        }
    }
}

fn family(all: &mut Registry, name: &str, help: &str) -> Gauges {
    let family = Gauges::default();
    all.register(name, help, family.clone());
    family
}

fn set(family: &Gauges, labels: Labels, value: u64) {
    family.get_or_create(&labels).set(value.try_into().unwrap_or(i64::MAX));
}

fn add(family: &Gauges, labels: Labels, value: u64) {
    family.get_or_create(&labels).inc_by(value.try_into().unwrap_or(i64::MAX));
}

fn count(number: usize) -> u64 {
    number.try_into().unwrap_or(u64::MAX)
}
