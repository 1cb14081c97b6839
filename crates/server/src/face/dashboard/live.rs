//! A page that stays as things are: when something that it shows has changed it is rendered again,
//! and sent if it looks different. The script of the page puts it in the place of the old one.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Query, State},
    http::{StatusCode, Uri},
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use serde::Deserialize;
use sinew_bus::clock;
use sinew_model::limits::{DASHBOARD_KEEP_ALIVE, DASHBOARD_PACE};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Site, assets,
    fault::Fault,
    gate::Visit,
    room::{Open, Ticks},
    view::View,
};

/// Which page is to be kept live.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    page: String,
}

/// A live page.
#[derive(Debug)]
struct Live {
    visit: Visit,
    view: View,
    ticks: watch::Receiver<Ticks>,
    /// What was sent last.
    shown: Option<String>,
    /// What it was rendered from.
    at: Option<Ticks>,
    /// How long the last rendering took: a page that costs much comes seldom.
    cost: Duration,
    stop: CancellationToken,
    /// Told to the script first, so that it loads itself anew when it is of another version.
    greeted: bool,
    _open: Open,
    _place: OwnedSemaphorePermit,
}

/// Sends a page, and sends it again whenever it has changed.
pub(super) async fn stream(
    State(site): State<Arc<Site>>,
    visit: Visit,
    Query(which): Query<Which>,
) -> Response {
    let view = which.page.parse::<Uri>().ok().as_ref().and_then(View::of);
    let Some(view) = view else { return StatusCode::NOT_FOUND.into_response() };
    let Ok(place) = Arc::clone(&site.gate.streams).try_acquire_owned() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let live = Live {
        ticks: visit.room.watch(),
        _open: visit.room.open(),
        visit,
        view,
        shown: None,
        at: None,
        cost: Duration::ZERO,
        stop: site.stop.clone(),
        greeted: false,
        _place: place,
    };
    let events = futures::stream::unfold(live, async |mut live| {
        let event = live.next().await?;
        Some((Ok::<_, Infallible>(event), live))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(DASHBOARD_KEEP_ALIVE)).into_response()
}

impl Live {
    /// What is to be told next; `None` where the page is live no more.
    async fn next(&mut self) -> Option<Event> {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.tell()).await.flatten()
    }

    async fn tell(&mut self) -> Option<Event> {
        if !self.greeted {
            self.greeted = true;
            return Some(Event::default().event("version").data(assets::version()));
        }
        loop {
            self.wait().await?;
            let begun = clock::instant();
            let page = match self.view.page(&self.visit).await {
                Ok(page) => page.body.into_string(),
                // What stood there is still the newest that is known.
                Err(Fault::Away { .. } | Fault::Crowded) => {
                    self.cost = begun.elapsed();
                    return Some(Event::default().event("away").data("-"));
                }
                Err(_) => return Some(Event::default().event("gone").data("-")),
            };
            self.cost = begun.elapsed();
            if self.shown.as_ref() == Some(&page) {
                continue;
            }
            // As JSON, because a text from elsewhere may hold what ends a line of the stream.
            let event = Event::default().event("page").json_data(&page).ok()?;
            self.shown = Some(page);
            return Some(event);
        }
    }

    /// Waits until something has changed that the page shows. A quiet page hears of it at once; one
    /// that changes all the time comes at a pace that leaves the machine to the work.
    async fn wait(&mut self) -> Option<()> {
        if self.at.is_some() {
            clock::pause(DASHBOARD_PACE.max(self.cost.saturating_mul(4))).await;
        }
        loop {
            let now = self.view.of_interest(*self.ticks.borrow_and_update());
            let is_news = match (self.at, now) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(at), Some(now)) => at != now,
            };
            if is_news {
                self.at = Some(now.unwrap_or_default());
                break;
            }
            self.ticks.changed().await.ok()?;
        }
        // Whoever was shut out meanwhile sees no more of it.
        self.visit.still_counts().then_some(())
    }
}
