//! What signatures cost: one signature and its verification, and whole task lives with and without,
//! in turns on one server, by agents with credentials of its org.

use std::time::Duration;

use anyhow::{Result, anyhow};
use nkeys::KeyPair;
use sinew_agent::{
    CancellationToken, Client, Runtime,
    model::{grant::User, signature::Policy},
};
use sinew_bus::{Bus, clock};
use sinew_server::account::Orgs;
use tokio::task::JoinSet;

use super::{
    Pace,
    place::{Place, role},
    records::{self, CALLER, WORKER},
    report::{Figure, Line},
    sample::{Sample, Spans, figure_of, take_turns},
};

/// Tasks in flight.
const IN_FLIGHT: [usize; 2] = [1, 64];

/// Bytes of a message, as those of a task's log are long.
const MESSAGE: usize = 512;

/// Who delegates and who works, signing or not.
struct Pair {
    caller: Bus,
    worker: Bus,
}

pub(super) async fn measure(place: &Place, pace: Pace) -> Result<Vec<Figure>> {
    // An agent makes no streams.
    for spec in &place.topology.catalogue().streams {
        place.topology.ensure_stream(&place.caller.bus, spec.name).await?;
    }
    let plain = pair(place, Policy::Off).await?;
    let signed = pair(place, Policy::Require).await?;
    let ways = [&plain, &signed];
    let mut figures = vec![arithmetic(pace).await?];
    for in_flight in IN_FLIGHT {
        let rounds = take_turns(pace.rounds, &ways, async |pair| {
            place.clear().await?;
            Ok(vec![lives(place, pair, in_flight, pace.span).await?])
        });
        let rounds = rounds.await?;
        let (without, with) = (figure_of(&rounds, 0, 0)?, figure_of(&rounds, 1, 0)?);
        figures.push(
            Figure::rate(format!("task lives and signatures, {in_flight} in flight"))
                .line(Line::new("without", without))
                .line(Line::new("signed and required", with).against("without", without)),
        );
    }
    Ok(figures)
}

/// Two connections with the rights of agents; of two pairs, they differ in nothing but the policy.
async fn pair(place: &Place, policy: Policy) -> Result<Pair> {
    let context = place.context();
    let orgs = Orgs::new(&context.data_dir, context.root.clone());
    let connect = async |name: &str| {
        let creds = orgs.ensure_local(&context.org, &User::Agent(role(name)?))?;
        let mut config = context.org_config(&context.org, creds);
        config.signing.policy = policy;
        anyhow::Ok(Bus::connect(config).await?)
    };
    Ok(Pair { caller: connect(CALLER).await?, worker: connect(WORKER).await? })
}

/// One signature over a message, and its verification.
async fn arithmetic(pace: Pace) -> Result<Figure> {
    let key = KeyPair::new_user();
    let body = vec![b'x'; MESSAGE];
    let said = |error: nkeys::error::Error| anyhow!("{error}");
    let known = key.sign(&body).map_err(said)?;
    let rounds = take_turns(pace.rounds, &[true, false], async |signs| {
        let (mut spans, since) = (Spans::new()?, clock::instant());
        for _ in 0..pace.operations {
            let begun = clock::instant();
            if signs {
                key.sign(&body).map_err(said)?;
            } else {
                key.verify(&body, &known).map_err(said)?;
            }
            spans.add(begun.elapsed());
        }
        Ok(vec![spans.sample(since.elapsed())])
    });
    let rounds = rounds.await?;
    Ok(Figure::latency(format!("ed25519 over {MESSAGE} bytes"))
        .line(Line::new("sign", figure_of(&rounds, 0, 0)?))
        .line(Line::new("verify", figure_of(&rounds, 1, 0)?)))
}

/// Lets tasks live, so many at a time, and counts those that ended.
async fn lives(place: &Place, pair: &Pair, in_flight: usize, span: Duration) -> Result<Sample> {
    let stop = CancellationToken::new();
    let runtime = Runtime::new(pair.worker.clone(), records::settings(place, in_flight)?);
    let running = tokio::spawn(runtime.run(records::nothing, stop.clone()));
    let client = Client::new(pair.caller.clone(), role(CALLER)?);
    let one = || {
        let (client, what) = (client.clone(), records::delegation());
        async move {
            let id = client.delegate(what?).await?.id;
            client.outcome(&id).await?;
            anyhow::Ok(())
        }
    };
    let (since, mut flying, mut ended) = (clock::instant(), JoinSet::new(), 0);
    (0..in_flight).for_each(|_| drop(flying.spawn(one())));
    while let Some(outcome) = flying.join_next().await {
        outcome??;
        ended += 1;
        if since.elapsed() < span {
            flying.spawn(one());
        }
    }
    let sample = Sample::rate(ended, since.elapsed());
    stop.cancel();
    let tally = running.await??;
    anyhow::ensure!(tally.refused.total() == 0, "a signature was refused: {tally:?}");
    Ok(sample)
}
