//! Many callers of one process, each publishing one message after the other. The bare loop does
//! the same; one caller alone shows what a message costs that waits for its own fsync.

use std::time::Duration;

use anyhow::Result;
use sinew_bus::clock;
use tokio::task::JoinSet;

use super::{
    Pace,
    latency::{publish, publish_bare},
    place::{Place, Side},
    report::{Figure, Line},
    sample::{Sample, Spans, figure_of, take_turns},
};

#[derive(Clone, Copy)]
struct Way {
    sinew: bool,
    callers: usize,
}

/// Callers at a time.
const CALLERS: [usize; 3] = [1, 64, 512];

pub(super) async fn measure(place: &Place, pace: Pace) -> Result<Vec<Figure>> {
    let ways = CALLERS.map(|callers| [false, true].map(|sinew| Way { sinew, callers }));
    let rounds = take_turns(pace.rounds, ways.as_flattened(), async |way| {
        place.clear().await?;
        Ok(vec![round(&place.caller, way, pace.span).await?])
    });
    let rounds = rounds.await?;
    let of = |way| figure_of(&rounds, way, 0);
    let single = of(0)?;
    let mut figure = Figure::rate("one process, publishing 512 B");
    for (pair, callers) in CALLERS.into_iter().enumerate() {
        let (bare, sinew) = (of(pair * 2)?, of(pair * 2 + 1)?);
        let line = Line::new(format!("Sinew, {callers} callers"), sinew)
            .against(format!("bare, {callers} callers"), bare);
        figure = figure
            .line(line.against("bare, one by one", single))
            .line(Line::new(format!("bare, {callers} callers"), bare));
    }
    Ok(vec![figure])
}

async fn round(side: &Side, Way { sinew, callers }: Way, span: Duration) -> Result<Sample> {
    let since = clock::instant();
    let mut calling = JoinSet::new();
    for _ in 0..callers {
        let side = side.clone();
        calling.spawn(async move {
            let mut spans = Spans::new()?;
            while since.elapsed() < span {
                let begin = clock::instant();
                if sinew {
                    publish(&side).await?;
                } else {
                    publish_bare(&side).await?;
                }
                spans.add(begin.elapsed());
            }
            anyhow::Ok(spans)
        });
    }
    let mut all = Spans::new()?;
    while let Some(spans) = calling.join_next().await {
        all.merge(&spans??)?;
    }
    Ok(all.sample(since.elapsed()))
}
