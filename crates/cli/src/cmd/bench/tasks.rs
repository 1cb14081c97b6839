//! Whole task lives: delegated, created, started, completed, reported, acked; with so many in
//! flight at a time. The next one is delegated when the ack of one is seen on its way, whichever
//! side it is of.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use async_nats::jetstream::consumer::pull;
use futures::StreamExt as _;
use sinew_agent::{
    CancellationToken, Client, Runtime,
    model::{limits::CONCURRENCY_MAX, stream::AGENT_TASKS},
    new_id,
};
use sinew_bus::clock;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Pace, bare,
    place::{Place, Side, role},
    records::{self, Bodies, CALLER, Life},
    report::{Figure, Line},
    sample::{Sample, figure_of, take_turns},
};

/// Tasks in flight.
const IN_FLIGHT: [usize; 3] = [1, 64, 512];

/// A life that takes longer than this is lost, and the measurement with it.
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Clone, Copy)]
enum Way {
    Sinew,
    Bare,
}

pub(super) async fn measure(place: &Place, pace: Pace) -> Result<Vec<Figure>> {
    let bodies = Arc::new(records::record(place).await?);
    let mut figures = Vec::new();
    for in_flight in IN_FLIGHT {
        let stop = CancellationToken::new();
        let places = in_flight.min(CONCURRENCY_MAX);
        let runtime = Runtime::new(place.worker.bus.clone(), records::settings(place, places)?);
        let running = tokio::spawn(runtime.run(records::nothing, stop.clone()));
        let messages = bare::consume(place, places).await?;
        let working =
            tokio::spawn(work(place.worker.clone(), Arc::clone(&bodies), messages, stop.clone()));
        let mut lives = Lives::open(place, &bodies, in_flight).await?;
        let rounds = take_turns(pace.rounds, &[Way::Sinew, Way::Bare], async |way| {
            place.clear().await?;
            Ok(vec![lives.round(way, pace.span).await?])
        });
        let rounds = rounds.await?;
        stop.cancel();
        running.await??;
        working.await??;
        let of = |way| figure_of(&rounds, way, 0);
        let (sinew, bare) = (of(0)?, of(1)?);
        figures.push(
            Figure::rate(format!("task lives, {in_flight} in flight"))
                .line(Line::new("Sinew", sinew).against("bare with the same records", bare))
                .line(Line::new("bare with the same records", bare)),
        );
    }
    Ok(figures)
}

/// The bare loop's half that works: all that it has in hand at once.
async fn work(
    side: Side,
    bodies: Arc<Bodies>,
    mut messages: pull::Stream,
    stop: CancellationToken,
) -> Result<()> {
    let mut lives = JoinSet::new();
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = lives.join_next() => {
                let ended: Result<()> = ended?;
                ended?;
                continue;
            }
            message = messages.next() => message.context("the consumer is gone")??,
        };
        let (side, bodies) = (side.clone(), Arc::clone(&bodies));
        lives.spawn(async move {
            let life = bare::life_of(&side, &message)?;
            let started = bare::start(&side, &life, &bodies).await?;
            bare::end(&side, &life, &bodies, (started, message)).await
        });
    }
    while let Some(ended) = lives.join_next().await {
        ended??;
    }
    Ok(())
}

/// Who delegates, and counts what ends.
struct Lives {
    side: Side,
    client: Client,
    bodies: Arc<Bodies>,
    in_flight: usize,
    /// Each is the end of one life.
    acks: mpsc::Receiver<()>,
}

impl Lives {
    async fn open(place: &Place, bodies: &Arc<Bodies>, in_flight: usize) -> Result<Self> {
        let side = place.caller.clone();
        let mut seen = side.nats.subscribe("$JS.ACK.AGENT_TASKS.>").await?;
        side.nats.flush().await?;
        let (sender, acks) = mpsc::channel(in_flight);
        tokio::spawn(async move {
            while seen.next().await.is_some() {
                if sender.send(()).await.is_err() {
                    return;
                }
            }
        });
        let client = Client::new(side.bus.clone(), role(CALLER)?);
        Ok(Self { side, client, bodies: Arc::clone(bodies), in_flight, acks })
    }

    async fn round(&mut self, way: Way, span: Duration) -> Result<Sample> {
        let since = clock::instant();
        let mut delegated = JoinSet::new();
        let (mut begun, mut ended) = (0, 0);
        let limit = clock::instant() + span + LONGEST;
        while since.elapsed() < span || ended < begun {
            if since.elapsed() < span && begun - ended < self.in_flight {
                delegated.spawn(self.delegate(way)?);
                begun += 1;
                continue;
            }
            tokio::select! {
                ack = self.acks.recv() => {
                    ack.context("the observer is gone")?;
                    ended += 1;
                }
                Some(outcome) = delegated.join_next() => outcome??,
                () = tokio::time::sleep_until(limit) => bail!("{} lives did not end", begun - ended),
            }
        }
        while let Some(outcome) = delegated.join_next().await {
            outcome??;
        }
        while self.side.bus.stream_state(AGENT_TASKS).await?.messages > 0 {
            if clock::instant() > limit {
                bail!("the queue did not get empty");
            }
        }
        Ok(Sample::rate(ended, since.elapsed()))
    }

    /// Delegates one task, on either side.
    fn delegate(&self, way: Way) -> Result<impl Future<Output = Result<()>> + Send + 'static> {
        let (side, client, bodies) =
            (self.side.clone(), self.client.clone(), Arc::clone(&self.bodies));
        let delegation = records::delegation()?;
        Ok(async move {
            match way {
                Way::Sinew => client.delegate(delegation).await.map(|_| ())?,
                Way::Bare => {
                    let life = Life::new(side.bus.subjects(), new_id());
                    bare::assign(&side, &life, &bodies).await?;
                }
            }
            Ok(())
        })
    }
}
