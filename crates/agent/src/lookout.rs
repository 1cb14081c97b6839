//! When it is worth to look at a task's log again. What is heard on a task's subjects is a request
//! to write, and may come a moment before the stream has stored it; so a hint is followed by
//! several looks, at growing distances.

use std::time::Duration;

use sinew_bus::{Hints, clock};
use sinew_model::limits::LOOK_AGAIN;

/// Tells when to look.
#[derive(Debug)]
pub(crate) struct Lookout {
    /// `None` once the connection is closed for good: then only the distances count.
    hints: Option<Hints>,
    pause: Duration,
    longest: Duration,
}

impl Lookout {
    /// Looks follow each hint, and come at least every `longest`.
    pub(crate) const fn new(hints: Hints, longest: Duration) -> Self {
        Self { hints: Some(hints), pause: longest, longest }
    }

    /// Waits until it is worth to look. May be cancelled.
    pub(crate) async fn wait(&mut self) {
        let pause = self.pause;
        tokio::select! {
            heard = hear(&mut self.hints) => {
                if !heard {
                    self.hints = None;
                }
                self.pause = LOOK_AGAIN;
            }
            () = clock::pause(pause) => self.pause = pause.saturating_mul(2).min(self.longest),
        }
    }
}

async fn hear(hints: &mut Option<Hints>) -> bool {
    match hints {
        Some(hints) => hints.next().await.is_some(),
        None => std::future::pending().await,
    }
}
