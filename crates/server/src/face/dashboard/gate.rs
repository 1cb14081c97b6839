//! Who is let in. A visitor comes with a link that holds a token; from then on the browser shows it
//! as a cookie that no script and no other site gets. What changes something needs besides a word
//! that only our own pages know, and must come from our own address. A page is never framed, loads
//! nothing from elsewhere, and runs no script but ours.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Form,
    extract::{FromRequestParts, Query, Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{self, HeaderName},
        request::Parts,
    },
    middleware::Next,
    response::{IntoResponse as _, Redirect, Response},
};
use maud::html;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use sinew_agent::Client;
use sinew_model::limits::{DASHBOARD_COOKIE_SECONDS, DASHBOARD_REQUESTS, DASHBOARD_STREAMS};
use tokio::sync::Semaphore;

use super::{
    Site,
    fault::Fault,
    house::{House, OPERATOR},
    refused,
    room::Room,
    shell::{self, Page},
};
use crate::token::Grant;

/// What browsers are told of every answer.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // Not `no-referrer`: forms would come without their origin then.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// The wall around the site.
#[derive(Debug)]
pub(super) struct Gate {
    address: SocketAddr,
    /// Bounds the pages and actions that are worked on at a time.
    requests: Semaphore,
    /// Bounds the pages that are kept live.
    pub(super) streams: Arc<Semaphore>,
    /// The cookie's name. Cookies are shared by all ports of a host, and there may be two servers.
    cookie: String,
}

/// A visitor who was let in.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) grant: Grant,
    pub(super) room: Arc<Room>,
    pub(super) house: Arc<House>,
    /// The word that shows that a form is of our own page.
    pub(super) csrf: String,
    /// The token itself, by which a live page asks whether it still counts.
    token: String,
}

impl Visit {
    /// A client with the visitor's own rights.
    pub(super) async fn client(&self) -> Result<Client, Fault> {
        self.room.client(&self.house, &self.grant.role).await
    }

    /// Whether it is the person who runs the org, and so may speak for any role of it.
    pub(super) fn is_operator(&self) -> bool {
        self.grant.role.as_str() == OPERATOR
    }

    /// Whether the token still lets in.
    pub(super) fn still_counts(&self) -> bool {
        matches!(self.house.grant(&self.token), Ok(Some(_)))
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        // Whoever did not come through the gate is nobody.
        parts.extensions.get::<Self>().cloned().ok_or(StatusCode::UNAUTHORIZED)
    }
}

impl Gate {
    pub(super) fn new(address: SocketAddr) -> Self {
        let requests = Semaphore::new(DASHBOARD_REQUESTS);
        let streams = Arc::new(Semaphore::new(DASHBOARD_STREAMS));
        Self { address, requests, streams, cookie: format!("sinew-{}", address.port()) }
    }

    /// Whether a request is meant for us. A page of somebody else whose name leads to this machine
    /// would be of another host.
    fn is_ours(&self, headers: &HeaderMap) -> bool {
        if !self.address.ip().is_loopback() {
            return true;
        }
        let Some(host) = text(headers, &header::HOST) else { return false };
        let port = self.address.port();
        [format!("{}", self.address), format!("localhost:{port}"), format!("127.0.0.1:{port}")]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(host))
    }

    fn token<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let cookies = headers.get_all(header::COOKIE).into_iter();
        cookies.filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(';')).find_map(|it| {
            let (name, value) = it.trim().split_once('=')?;
            (name == self.cookie).then_some(value)
        })
    }

    fn remember(&self, token: &str) -> HeaderValue {
        let name = &self.cookie;
        let age = if token.is_empty() { 0 } else { DASHBOARD_COOKIE_SECONDS };
        let cookie = format!("{name}={token}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict");
        // A token that was found is letters and digits; what is not would not have been found.
        HeaderValue::from_str(&cookie).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// Whether something that changes something was asked for by a page of ours.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let (Some(origin), Some(host)) = (text(headers, &header::ORIGIN), text(headers, &header::HOST))
    else {
        return false;
    };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Around everything: whose request it is, and what browsers are told of the answer.
pub(super) async fn guard(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if !site.gate.is_ours(request.headers()) {
        (StatusCode::MISDIRECTED_REQUEST, "this server has another name\n").into_response()
    } else if changes && !is_same_origin(request.headers()) {
        shell::failed(None, &Fault::Forged)
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Lets a visitor in, or shows where to enter.
pub(super) async fn admit(
    State(site): State<Arc<Site>>,
    mut request: Request,
    next: Next,
) -> Response {
    // A live page may stay open for hours; it has a bound of its own.
    let is_live = request.uri().path() == "/live";
    let place = if is_live { None } else { Some(site.gate.requests.try_acquire()) };
    if let Some(Err(_)) = place {
        return shell::failed(None, &Fault::Crowded);
    }
    let visit = match site.gate.token(request.headers()) {
        Some(token) => visit(&site, token).await,
        None => Ok(None),
    };
    match visit {
        Ok(Some(visit)) => {
            visit.room.use_it();
            request.extensions_mut().insert(visit);
            next.run(request).await
        }
        Ok(None) => refused(StatusCode::UNAUTHORIZED, &door(None)),
        Err(fault) => shell::failed(None, &fault),
    }
}

async fn visit(site: &Site, token: &str) -> Result<Option<Visit>, Fault> {
    let Some(grant) = site.house.grant(token)? else { return Ok(None) };
    let room = site.house.room(&grant.org).await?;
    let csrf = Sha256::digest(format!("csrf:{token}").as_bytes());
    let csrf = data_encoding::HEXLOWER.encode(&csrf);
    let house = Arc::clone(&site.house);
    Ok(Some(Visit { grant, room, house, csrf, token: token.to_owned() }))
}

/// What a link or the form brings.
#[derive(Debug, Deserialize)]
pub(super) struct Ticket {
    #[serde(default)]
    token: String,
}

/// Enters by a link. The answer is a page that goes on to the first one: after a redirect from
/// another site the browser would keep the cookie back.
pub(super) async fn enter(State(site): State<Arc<Site>>, Query(ticket): Query<Ticket>) -> Response {
    let token = ticket.token.trim();
    if token.is_empty() {
        return refused(StatusCode::OK, &door(None));
    }
    match site.house.grant(token) {
        Ok(Some(_)) => {
            let page = Page::new("Signed in", html! { p { a href="/" { "Go to the dashboard" } } });
            let cookie = [(header::SET_COOKIE, site.gate.remember(token))];
            let refresh = [(HeaderName::from_static("refresh"), "0;url=/")];
            (cookie, refresh, shell::bare(&page)).into_response()
        }
        Ok(None) => refused(StatusCode::UNAUTHORIZED, &door(Some(UNKNOWN))),
        Err(fault) => shell::failed(None, &fault),
    }
}

/// Enters by the form of the door.
pub(super) async fn enter_by_form(
    State(site): State<Arc<Site>>,
    Form(ticket): Form<Ticket>,
) -> Response {
    // Somebody may paste the whole link.
    let token = ticket.token.trim();
    let token = token.rsplit_once("token=").map_or(token, |(_, token)| token);
    match site.house.grant(token) {
        Ok(Some(_)) => {
            let cookie = [(header::SET_COOKIE, site.gate.remember(token))];
            (cookie, Redirect::to("/")).into_response()
        }
        Ok(None) => refused(StatusCode::UNAUTHORIZED, &door(Some(UNKNOWN))),
        Err(fault) => shell::failed(None, &fault),
    }
}

/// Leaves.
pub(super) async fn leave(State(site): State<Arc<Site>>, _visit: Visit) -> Response {
    let cookie = [(header::SET_COOKIE, site.gate.remember(""))];
    (cookie, Redirect::to("/login")).into_response()
}

const UNKNOWN: &str = "That link is not known, or was revoked.";

/// Where to enter.
fn door(problem: Option<&str>) -> Page {
    Page::new(
        "Sign in",
        html! {
            div.door {
                h1 { "Sign in" }
                @if let Some(problem) = problem {
                    p.problem role="alert" { (problem) }
                }
                p {
                    "Open the link that " code { "sinew up" } " printed, or run "
                    code { "sinew dashboard" } " in the same folder to see it again."
                }
                form method="post" action="/login" {
                    label for="token" { "Link or token" }
                    input #token name="token" type="password" autocomplete="off" required;
                    button.primary type="submit" { "Sign in" }
                }
            }
        },
    )
}
