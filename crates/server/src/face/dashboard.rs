//! The dashboard: pages for people, rendered here and kept live over server-sent events. A visitor
//! enters with a token that speaks for one role of one org, sees that org and no other, and acts
//! through the SDK with the rights of that role.
//!
//! [`house`](House) holds the orgs that somebody looks at, each a `room` with its views and its
//! connections; `gate` is who is let in; `view` is which page an address means, and each page is a
//! file under `pages`; `live` sends a page again when something has changed; `act` is everything
//! that changes something. `shell` is what all pages have around them, `words` how things are
//! written, `assets` the style and the script, which are part of the program.

mod act;
mod assets;
mod fault;
mod gate;
mod house;
mod link;
mod live;
mod pages;
mod room;
mod shell;
mod view;
mod words;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{Method, StatusCode, Uri},
    middleware,
    response::{IntoResponse as _, Response},
    routing::get,
};
use sinew_model::limits::{DASHBOARD_CLOSE, DASHBOARD_FORM_BYTES, DASHBOARD_PORT, DASHBOARD_PORTS};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use gate::Visit;
pub use house::{Home, House, Reach};
pub use link::{LinkError, last_port, link, operators};
use shell::Page;
use view::View;

/// Why the dashboard is not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DashboardError {
    /// Nothing can listen there.
    #[error("nothing can listen on {at} for the dashboard")]
    Bind {
        /// Where.
        at: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The view of events can't be opened.
    #[error("the views of the dashboard can't be opened")]
    Views(#[from] sinew_views::OpenError),
    /// The role that it reads as has no name.
    #[error("the dashboard has no name")]
    Name(#[from] sinew_model::IdError),
    /// The server broke.
    #[error("the dashboard broke")]
    Serve(#[source] std::io::Error),
}

/// A dashboard that is bound to its port.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

/// What every request goes through.
#[derive(Debug)]
struct Site {
    house: Arc<House>,
    gate: gate::Gate,
    stop: CancellationToken,
}

impl Server {
    /// Binds it to an address and no other.
    ///
    /// # Errors
    /// When that is taken, or not of this machine.
    pub async fn bind(at: SocketAddr) -> Result<Self, DashboardError> {
        let bound = async {
            let listener = TcpListener::bind(at).await?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bound.await.map_err(|source| DashboardError::Bind { at, source })
    }

    /// Binds it on this machine: on the port that is usual here, else on the first free one from
    /// 4270.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn bind_near(usual: Option<u16>) -> Result<Self, DashboardError> {
        let at = |port: u16| SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port));
        let ports = DASHBOARD_PORT..DASHBOARD_PORT.saturating_add(DASHBOARD_PORTS);
        for port in usual.into_iter().chain(ports) {
            if let Ok(server) = Self::bind(at(port)).await {
                return Ok(server);
            }
        }
        // Whatever the system gives.
        Self::bind(at(0)).await
    }

    /// Where a browser on this machine reaches it.
    #[must_use]
    pub fn url(&self) -> String {
        let mut at = self.address;
        if at.ip().is_unspecified() {
            at.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{at}/")
    }

    /// Serves until `stop`.
    ///
    /// # Errors
    /// When the listener breaks.
    pub async fn run(
        self,
        house: Arc<House>,
        stop: CancellationToken,
    ) -> Result<(), DashboardError> {
        let gate = gate::Gate::new(self.address);
        let site = Arc::new(Site { house: Arc::clone(&house), gate, stop: stop.clone() });
        let serve = super::listen(self.listener, routes(site), stop.clone());
        let late = async {
            stop.cancelled().await;
            sinew_bus::clock::pause(DASHBOARD_CLOSE).await;
        };
        let outcome = tokio::select! {
            served = serve => served.map_err(DashboardError::Serve),
            () = late => Ok(()),
            () = house.tend(&stop) => Ok(()),
        };
        house.close().await;
        outcome
    }
}

fn routes(site: Arc<Site>) -> Router {
    // What is behind the gate knows its visitor.
    let inside = Router::new()
        .route("/live", get(live::stream))
        .route("/logout", axum::routing::post(gate::leave))
        .route("/", get(show))
        .route("/{*path}", get(show).post(act::act))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&site), gate::admit));
    Router::new()
        .route("/login", get(gate::enter).post(gate::enter_by_form))
        .route("/assets/{name}", get(assets::serve))
        .merge(inside)
        .layer(DefaultBodyLimit::max(DASHBOARD_FORM_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&site), gate::guard))
        .with_state(site)
}

/// A page.
async fn show(State(site): State<Arc<Site>>, visit: Visit, method: Method, uri: Uri) -> Response {
    let page = match View::of(&uri) {
        Some(view) => view.page(&visit).await,
        None => Err(fault::Fault::Nowhere),
    };
    // A HEAD asks for the same, and the server leaves the body out.
    tracing::debug!(%method, path = uri.path(), "a page was asked for");
    match page {
        Ok(page) => shell::whole(&visit, &page, &uri).into_response(),
        Err(fault) => shell::failed(Some((&visit, &site)), &fault),
    }
}

/// The status of a page that was refused.
fn refused(status: StatusCode, page: &Page) -> Response {
    (status, shell::bare(page)).into_response()
}
