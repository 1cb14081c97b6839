//! `/healthz`: this process is alive. `/readyz`: it can do its work; else 503 and what is not well.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::control::health::Checkup;

/// The two routes.
pub fn router(checkup: Checkup) -> Router {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).with_state(checkup)
}

async fn alive() -> &'static str {
    "ok\n"
}

async fn ready(State(checkup): State<Checkup>) -> Response {
    let health = checkup.look().await;
    let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_string(&health) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
