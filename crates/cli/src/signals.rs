//! SIGINT and SIGTERM: the first asks to end in order, the second ends at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What was asked for by signal.
#[derive(Debug)]
pub(crate) struct Stop {
    /// Cancelled by the first signal.
    pub(crate) gently: CancellationToken,
    /// Cancelled by the second one.
    pub(crate) now: CancellationToken,
}

/// Listens for signals from now on, in place of the system's own way to end the process.
///
/// # Errors
/// When the system does not let it.
pub(crate) fn listen() -> std::io::Result<Stop> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terms = signal(SignalKind::terminate())?;
    let stop = Stop { gently: CancellationToken::new(), now: CancellationToken::new() };
    let (gently, now) = (stop.gently.clone(), stop.now.clone());
    tokio::spawn(async move {
        either(&mut interrupts, &mut terms).await;
        gently.cancel();
        either(&mut interrupts, &mut terms).await;
        now.cancel();
    });
    Ok(stop)
}

async fn either(interrupts: &mut Signal, terms: &mut Signal) {
    tokio::select! {
        _ = interrupts.recv() => {}
        _ = terms.recv() => {}
    }
}
