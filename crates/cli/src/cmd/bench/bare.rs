//! The bare loop: the NATS client as its own documentation uses it. Each publish is awaited, each
//! ack is confirmed, and nothing is checked beyond what the server is asked to check.

use anyhow::{Context as _, Result, anyhow};
use async_nats::{
    HeaderMap,
    jetstream::{self, consumer::pull},
};
use bytes::Bytes;
use sinew_agent::model::{
    Band, Subject, header,
    stream::{AGENT_MAIL, AGENT_TASKS, TASK_LOG, work_consumer_name},
};

use super::{
    place::{Place, Side, role},
    records::{BARE, Bodies, CALLER, Life},
};

/// Publishes one message and waits until it is stored; gives its sequence.
pub(super) async fn publish(
    side: &Side,
    (stream, subject, id): (&str, &str, &str),
    guard: Option<(&Subject, u64)>,
    body: Bytes,
) -> Result<u64> {
    let mut headers = HeaderMap::new();
    headers.insert(header::EXPECTED_STREAM, stream);
    headers.insert(header::MSG_ID, id);
    if let Some((filter, seq)) = guard {
        headers.insert(header::EXPECTED_SEQ, seq.to_string());
        headers.insert(header::EXPECTED_SUBJECT, filter.as_str());
    }
    let sent = side.bare.publish_with_headers(subject.to_owned(), headers, body).await?;
    Ok(sent.await?.sequence)
}

/// The bare loop's half that delegates: one assignment on the queue.
pub(super) async fn assign(side: &Side, life: &Life, bodies: &Bodies) -> Result<()> {
    let subject = side.bus.subjects().tasks(&role(BARE)?, Band::Normal);
    let id = header::assignment_id(&life.id, 1);
    let mut headers = HeaderMap::new();
    headers.insert(header::EXPECTED_STREAM, AGENT_TASKS);
    headers.insert(header::MSG_ID, id.as_str());
    headers.insert(header::EPOCH, "1");
    let body = bodies.assignment.clone();
    side.bare.publish_with_headers(subject.to_string(), headers, body).await?.await?;
    Ok(())
}

/// Writes what a worker writes up to the moment when it may begin.
pub(super) async fn start(side: &Side, life: &Life, bodies: &Bodies) -> Result<u64> {
    let created = append(side, life, (&life.created, 0), &bodies.created).await?;
    append(side, life, (&life.started, created), &bodies.started).await
}

/// Writes what a worker writes from then on, `started` being the sequence of that entry.
pub(super) async fn end(
    side: &Side,
    life: &Life,
    bodies: &Bodies,
    (started, message): (u64, jetstream::Message),
) -> Result<()> {
    append(side, life, (&life.completed, started), &bodies.completed).await?;
    let inbox = side.bus.subjects().inbox(&role(CALLER)?);
    let target = (AGENT_MAIL, inbox.as_str(), life.report_id());
    publish(side, (target.0, target.1, &target.2), None, bodies.report.clone()).await?;
    message.double_ack().await.map_err(|error| anyhow!(error))
}

async fn append(
    side: &Side,
    life: &Life,
    (subject, expected): (&Subject, u64),
    body: &Bytes,
) -> Result<u64> {
    let token = sinew_bus::clock::unique();
    let target = (TASK_LOG, subject.as_str(), token.as_str());
    publish(side, target, Some((&life.log, expected)), body.clone()).await
}

/// The task that a message of the queue is about: its id is in the message id.
pub(super) fn life_of(side: &Side, message: &jetstream::Message) -> Result<Life> {
    let id = message.headers.as_ref().and_then(|headers| headers.get(header::MSG_ID));
    let id = id.and_then(|id| id.as_str().split(':').next()).context("a message without an id")?;
    Ok(Life::new(side.bus.subjects(), id.parse()?))
}

/// Opens the bare loop's consumer, with at most so many messages in hand.
pub(super) async fn consume(place: &Place, at_once: usize) -> Result<pull::Stream> {
    let role = role(BARE)?;
    place.topology.ensure_work_consumer(&place.worker.bus, &role, Band::Normal).await?;
    let name = work_consumer_name(&role, Band::Normal);
    let consumer: jetstream::consumer::PullConsumer =
        place.worker.bare.get_consumer_from_stream(name, AGENT_TASKS).await?;
    Ok(consumer.stream().max_messages_per_batch(at_once).messages().await?)
}
