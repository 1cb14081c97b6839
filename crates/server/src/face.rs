//! What others look at: routes over HTTP, which one listener serves together.

#[cfg(feature = "dashboard")]
pub mod dashboard;
pub mod health;
pub mod metrics;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves `routes` until `shutdown`.
///
/// # Errors
/// When the listener breaks.
pub async fn listen(
    listener: TcpListener,
    routes: Router,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, routes).with_graceful_shutdown(shutdown.cancelled_owned()).await
}
