//! MCP over streamable HTTP, for many hosts: on the loopback only, each request with a token. A
//! host that keeps a stream open is alive while it does; when the stream ends and no other comes
//! at once, its tasks go back. One that keeps none open may be silent for half an hour.

mod lobby;
mod session;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use rmcp::{
    ServerHandler,
    transport::{StreamableHttpServerConfig, StreamableHttpService},
};
use serde_json::json;
use sinew_model::limits::{
    MCP_CLOSE, MCP_GRACE, MCP_PORT, MCP_REQUEST_BYTES, MCP_REQUESTS, MCP_SESSIONS,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    face::{Door, Face},
    hub::Origin,
    token::Tokens,
};
pub(crate) use lobby::Lobby;
use lobby::SESSION;
use session::Sessions;

/// The path of the server.
const PATH: &str = "/mcp";

/// Ports that are tried upwards from the first.
const PORTS: u16 = 100;

/// Pages that may ask, with a token: those that this machine itself serves.
const ORIGINS: [&str; 3] = ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"];

/// Where a client that lost its stream is told to come back: well within the grace.
const RETRY: Duration = Duration::from_millis(500);
const _: () = assert!(RETRY.as_millis() < MCP_GRACE.as_millis());

/// Why MCP is not served over HTTP.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No port can be had.
    #[error("no port for MCP can be had on 127.0.0.1")]
    Bind(#[source] std::io::Error),
    /// The server broke.
    #[error("the MCP server broke")]
    Serve(#[source] std::io::Error),
}

/// An MCP server that is bound to its port.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    lobby: Arc<Lobby>,
}

/// What every request goes through.
#[derive(Debug)]
struct Gate {
    tokens: Tokens,
    lobby: Arc<Lobby>,
    /// Bounds the requests that are begun at a time.
    requests: Semaphore,
}

impl Server {
    /// Binds a server for the org of `origin`: on `port` and no other, else on the first free one
    /// from 4280.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn bind(origin: Origin, port: Option<u16>) -> Result<Self, HttpError> {
        let ports = port.map_or(MCP_PORT..=MCP_PORT.saturating_add(PORTS), |port| port..=port);
        let mut refused = None;
        for port in ports {
            match TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).await {
                Ok(listener) => {
                    let address = listener.local_addr().map_err(HttpError::Bind)?;
                    return Ok(Self { listener, address, lobby: Lobby::new(origin) });
                }
                Err(error) => refused = Some(error),
            }
        }
        let none = || std::io::Error::other("there are no ports");
        Err(HttpError::Bind(refused.unwrap_or_else(none)))
    }

    /// Where hosts reach it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Serves until `stop`, then gives back what its sessions hold.
    ///
    /// # Errors
    /// When the server breaks.
    pub async fn run(self, tokens: Tokens, stop: CancellationToken) -> Result<(), HttpError> {
        self.run_as(tokens, stop, |face| face).await
    }

    /// Serves as [`Server::run`], by what `dress` makes of each face: for tests that need a server
    /// which can do more.
    ///
    /// # Errors
    /// As [`Server::run`].
    pub async fn run_as<H: ServerHandler>(
        self,
        tokens: Tokens,
        stop: CancellationToken,
        dress: impl Fn(Face) -> H + Send + Sync + 'static,
    ) -> Result<(), HttpError> {
        let Self { listener, lobby, .. } = self;
        let ending = CancellationToken::new();
        let sessions = Sessions::new(Arc::clone(&lobby));
        let gate = Arc::new(Gate {
            tokens,
            lobby: Arc::clone(&lobby),
            requests: Semaphore::new(MCP_REQUESTS),
        });
        let config = StreamableHttpServerConfig::default()
            .with_cancellation_token(ending.clone())
            .with_sse_retry(Some(RETRY))
            .with_max_request_body_bytes(MCP_REQUEST_BYTES)
            .with_allowed_origins(ORIGINS)
            .enforce_origin_validation();
        let door = Arc::clone(&lobby);
        let face = move || Ok(dress(Face::new(Door::Many(Arc::clone(&door)))));
        let service = StreamableHttpService::new(face, Arc::new(sessions.clone()), config);
        let router = Router::new()
            .nest_service(PATH, service)
            .layer(middleware::from_fn_with_state(Arc::clone(&gate), admit))
            .fallback(elsewhere);
        let (stopped, held) = (stop.clone(), Arc::clone(&lobby));
        let closing = async move {
            stopped.cancelled().await;
            // What is held goes back first: the streams may take their time to end.
            held.leave();
            ending.cancel();
        };
        let serve = async { axum::serve(listener, router).with_graceful_shutdown(closing).await };
        let late = async {
            stop.cancelled().await;
            sinew_bus::clock::pause(MCP_CLOSE).await;
        };
        let outcome = tokio::select! {
            served = serve => served.map_err(HttpError::Serve),
            () = late => Ok(()),
            () = sessions.watch(&gate.tokens) => Ok(()),
        };
        lobby.close().await;
        outcome
    }
}

/// Lets a request in, or says why not.
async fn admit(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let Ok(_place) = gate.requests.try_acquire() else {
        let what = format!("{MCP_REQUESTS} requests are worked on already");
        return refuse(StatusCode::SERVICE_UNAVAILABLE, &what, "try again in a moment");
    };
    let grant = match bearer(request.headers()).map(|token| gate.tokens.grant(token)) {
        Some(Ok(Some(grant))) => grant,
        Some(Err(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "no token can be checked");
            let what = "the tokens can't be checked now";
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, what, "tell who runs the server");
        }
        Some(Ok(None)) => return unauthorized("this token is not known, or was revoked"),
        None => return unauthorized("there is no token"),
    };
    if grant.org != *gate.lobby.org() {
        return unauthorized("this token is of another org");
    }
    let session = request.headers().get(SESSION).and_then(|id| id.to_str().ok());
    let session = session.map(str::to_owned);
    if session.as_ref().is_some_and(|id| !gate.lobby.may_enter(id, &grant)) {
        let next = "begin a session of your own with `initialize`";
        return refuse(StatusCode::NOT_FOUND, "there is no such session of this token", next);
    }
    request.extensions_mut().insert(grant.clone());
    let response = next.run(request).await;
    let begun = response.headers().get(SESSION).and_then(|id| id.to_str().ok());
    if let (None, Some(id)) = (session, begun) {
        gate.lobby.begun(id, &grant);
    }
    response
}

/// The token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized(what: &str) -> Response {
    let next = "make one with `sinew mcp token --role ROLE`, and send it as \
                `Authorization: Bearer TOKEN`";
    let mut response = refuse(StatusCode::UNAUTHORIZED, what, next);
    let challenge = header::HeaderValue::from_static("Bearer realm=\"sinew\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn refuse(status: StatusCode, what: &str, next: &str) -> Response {
    (status, Json(json!({ "error": what, "next": next }))).into_response()
}

async fn elsewhere() -> Response {
    let what = "there is nothing here";
    refuse(StatusCode::NOT_FOUND, what, &format!("the MCP server is at {PATH}"))
}

/// Too many sessions are there.
fn crowded() -> String {
    format!("{MCP_SESSIONS} sessions are there already: end some, then try again")
}
