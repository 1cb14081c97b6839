//! How long one thing takes when nothing else goes on: a publish until it is acknowledged, and a
//! delegation until the work begins.

use anyhow::{Context as _, Result};
use async_nats::jetstream::consumer::pull;
use bytes::Bytes;
use futures::StreamExt as _;
use sinew_agent::{
    CancellationToken, Client, Context, Runtime,
    model::{Transition, stream::ORG_EVENTS},
    new_id,
};
use sinew_bus::{Outgoing, clock};
use tokio::{sync::mpsc, time::Instant};

use super::{
    Pace, bare,
    place::{Place, Side, role},
    records::{self, Bodies, CALLER, Life},
    report::{Figure, Line},
    sample::{Sample, Spans, figure_of, take_turns},
};

/// Bytes of the messages that are published.
pub(super) const EVENT_BYTES: usize = 512;

/// Tasks that the worker would take at a time; there is never more than one.
const PLACES: usize = 5;

pub(super) async fn measure(place: &Place, pace: Pace) -> Result<Vec<Figure>> {
    Ok(vec![publish_to_ack(place, pace).await?, delegate_to_start(place, pace).await?])
}

#[derive(Clone, Copy)]
enum Publish {
    Sinew,
    Bare,
}

async fn publish_to_ack(place: &Place, pace: Pace) -> Result<Figure> {
    let rounds = take_turns(pace.rounds, &[Publish::Sinew, Publish::Bare], async |way| {
        place.clear().await?;
        let mut spans = Spans::new()?;
        let begin = clock::instant();
        for _ in 0..pace.operations {
            let since = clock::instant();
            match way {
                Publish::Sinew => publish(&place.caller).await?,
                Publish::Bare => publish_bare(&place.caller).await?,
            }
            spans.add(since.elapsed());
        }
        Ok(vec![spans.sample(begin.elapsed())])
    });
    let rounds = rounds.await?;
    let of = |way| figure_of(&rounds, way, 0);
    let (sinew, raw) = (of(0)?, of(1)?);
    Ok(Figure::latency("publish to ack, one at a time, 512 B")
        .line(Line::new("Sinew", sinew).against("bare", raw))
        .line(Line::new("bare", raw)))
}

/// One event through the bus.
pub(super) async fn publish(side: &Side) -> Result<()> {
    let body = Bytes::from_static(&[b'x'; EVENT_BYTES]);
    let out = Outgoing::new(ORG_EVENTS, side.bus.subjects().events(), body).id(clock::unique());
    side.bus.publish(out).await?;
    Ok(())
}

/// The same by the bare client.
pub(super) async fn publish_bare(side: &Side) -> Result<()> {
    let body = Bytes::from_static(&[b'x'; EVENT_BYTES]);
    let subject = side.bus.subjects().events();
    bare::publish(side, (ORG_EVENTS, subject.as_str(), &clock::unique()), None, body).await?;
    Ok(())
}

#[derive(Clone, Copy)]
enum Start {
    Sinew,
    /// Only the assignment is written.
    Delivery,
    /// What Sinew writes is written.
    AlikeRecords,
}

/// What is seen of one task: the handler began, `started` reached an observer, the queue forgot it.
struct Seen {
    begun: mpsc::Receiver<Instant>,
    started: mpsc::Receiver<Instant>,
    acked: mpsc::Receiver<Instant>,
}

async fn delegate_to_start(place: &Place, pace: Pace) -> Result<Figure> {
    let bodies = records::record(place).await?;
    let (begin, begun) = mpsc::channel(PLACES);
    let handler = {
        let begin = begin.clone();
        move |task: Context| {
            let begin = begin.clone();
            async move {
                begin.send(clock::instant()).await.ok();
                records::nothing(task).await
            }
        }
    };
    let mut seen = Seen {
        begun,
        started: observe(
            &place.caller,
            place.caller.bus.subjects().transition(Transition::Started).as_str(),
        )
        .await?,
        acked: observe(&place.caller, "$JS.ACK.AGENT_TASKS.>").await?,
    };
    let stop = CancellationToken::new();
    let runtime = Runtime::new(place.worker.bus.clone(), records::settings(place, PLACES)?);
    let running = tokio::spawn(runtime.run(handler, stop.clone()));
    let client = Client::new(place.caller.bus.clone(), role(CALLER)?);
    let mut messages = bare::consume(place, PLACES).await?;
    let ways = [Start::Sinew, Start::Delivery, Start::AlikeRecords];
    let rounds = take_turns(pace.rounds, &ways, async |way| {
        place.clear().await?;
        let loops = Loops { place, bodies: &bodies, client: &client, begin: &begin };
        loops.round(way, pace.operations, (&mut seen, &mut messages)).await
    });
    let rounds = rounds.await?;
    stop.cancel();
    running.await??;
    let of = |way, figure| figure_of(&rounds, way, figure);
    let (handler, stored) = (of(0, 0)?, of(0, 1)?);
    let (delivery, alike, alike_stored) = (of(1, 0)?, of(2, 0)?, of(2, 1)?);
    Ok(Figure::latency("delegate to start, one task at a time, idle worker")
        .line(
            Line::new("Sinew: delegate to handler running", handler)
                .against("bare delivery", delivery)
                .against("bare with the same records", alike),
        )
        .line(
            Line::new("Sinew: delegate to `started` at an observer", stored)
                .against("bare with the same records", alike_stored),
        )
        .line(Line::new("bare delivery: publish to delivery, nothing else written", delivery))
        .line(Line::new("bare with the same records: publish to start", alike))
        .line(Line::new("bare with the same records: `started` at an observer", alike_stored)))
}

struct Loops<'a> {
    place: &'a Place,
    bodies: &'a Bodies,
    client: &'a Client,
    begin: &'a mpsc::Sender<Instant>,
}

impl Loops<'_> {
    async fn round(
        &self,
        way: Start,
        operations: usize,
        (seen, messages): (&mut Seen, &mut pull::Stream),
    ) -> Result<Vec<Sample>> {
        let (mut begun, mut started) = (Spans::new()?, Spans::new()?);
        let since = clock::instant();
        for _ in 0..operations {
            let at = match way {
                Start::Sinew => self.delegate().await?,
                Start::Delivery | Start::AlikeRecords => {
                    self.assign(messages, matches!(way, Start::AlikeRecords)).await?
                }
            };
            begun.add(seen.begun.recv().await.context("no handler")?.duration_since(at));
            if !matches!(way, Start::Delivery) {
                let stored = seen.started.recv().await.context("no observer")?;
                started.add(stored.duration_since(at));
            }
            seen.acked.recv().await.context("no ack")?;
        }
        let elapsed = since.elapsed();
        Ok(vec![begun.sample(elapsed), started.sample(elapsed)])
    }

    async fn delegate(&self) -> Result<Instant> {
        let delegation = records::delegation()?;
        let at = clock::instant();
        self.client.delegate(delegation).await?;
        Ok(at)
    }

    /// Publishes an assignment and takes it, both at once, as two processes would.
    async fn assign(&self, messages: &mut pull::Stream, alike: bool) -> Result<Instant> {
        let life = Life::new(self.place.caller.bus.subjects(), new_id());
        let at = clock::instant();
        let take = async {
            let message = messages.next().await.context("no delivery")??;
            let side = &self.place.worker;
            let life = bare::life_of(side, &message)?;
            if !alike {
                self.begin.send(clock::instant()).await.ok();
                return message.double_ack().await.map_err(|error| anyhow::anyhow!(error));
            }
            let started = bare::start(side, &life, self.bodies).await?;
            self.begin.send(clock::instant()).await.ok();
            bare::end(side, &life, self.bodies, (started, message)).await
        };
        let (assigned, taken) =
            tokio::join!(bare::assign(&self.place.caller, &life, self.bodies), take);
        assigned.and(taken)?;
        Ok(at)
    }
}

/// Says when something appears on a subject.
async fn observe(side: &Side, subject: &str) -> Result<mpsc::Receiver<Instant>> {
    let mut messages = side.nats.subscribe(subject.to_owned()).await?;
    side.nats.flush().await?;
    let (seen, moments) = mpsc::channel(PLACES);
    tokio::spawn(async move {
        while messages.next().await.is_some() {
            if seen.send(clock::instant()).await.is_err() {
                return;
            }
        }
    });
    Ok(moments)
}
