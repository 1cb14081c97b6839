//! Keeps the newest signal of the scaler at hand, so that a question costs the backbone nothing
//! however many ask.

use std::sync::Arc;

use futures::{Stream, stream};
use sinew_bus::{Bus, Hints, clock};
use sinew_model::{
    limits::{SIGNAL_EVERY, TRY_AGAIN},
    scale::{
        Signal,
        outside::{Answer, NoAnswer, Question},
    },
    stream::SYSTEM,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The newest signal, for whoever answers.
pub(super) type Latest = watch::Receiver<Option<Arc<Signal>>>;

/// What the leader of the scalers said last.
#[derive(Debug)]
pub(super) struct Told(watch::Sender<Option<Arc<Signal>>>);

impl Default for Told {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Told {
    /// The newest one, now and when it changes.
    pub(super) fn latest(&self) -> Latest {
        self.0.subscribe()
    }

    /// Reads the newest one whenever there is one, until `shutdown`.
    pub(super) async fn follow(self, bus: &Bus, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let subject = bus.subjects().system_scaling();
            if let Ok(mut hints) = bus.watch_subject(subject.as_str()).await {
                shutdown.run_until_cancelled(self.listen(bus, &mut hints)).await;
            }
            shutdown.run_until_cancelled(clock::pause(TRY_AGAIN)).await;
        }
    }

    /// A hint may be lost, and may be a forgery: what counts is what is stored.
    async fn listen(&self, bus: &Bus, hints: &mut Hints) {
        loop {
            self.read(bus).await;
            if let Ok(None) = tokio::time::timeout(SIGNAL_EVERY, hints.next()).await {
                return;
            }
        }
    }

    async fn read(&self, bus: &Bus) {
        let last = bus.last(SYSTEM, bus.subjects().system_scaling().as_str()).await;
        let last = match last {
            Ok(last) => last,
            Err(error) => {
                tracing::debug!(%error, "what the scaler said can't be read now");
                return;
            }
        };
        let signal = last.and_then(|it| serde_json::from_slice::<Signal>(&it.payload).ok());
        let signal = signal.filter(|it| it.org_id == *bus.subjects().org());
        let Some(signal) = signal else { return };
        self.0.send_if_modified(|known| {
            // One that was overtaken says nothing any more.
            let newer = known.as_ref().is_none_or(|it| (signal.term, signal.at) > (it.term, it.at));
            if newer {
                *known = Some(Arc::new(signal));
            }
            newer
        });
    }
}

/// Where one who listens stands.
struct Listener {
    latest: Latest,
    question: Question,
    said: Option<bool>,
}

/// The answer to one question at once, and again whenever its role falls asleep or wakes. Where
/// there is no answer the stream ends with the reason, and whoever listens comes back.
pub(super) fn answers(
    latest: Latest,
    question: Question,
) -> impl Stream<Item = Result<Answer, NoAnswer>> {
    let listener = Some(Listener { latest, question, said: None });
    stream::unfold(listener, |listener| async move {
        let mut listener = listener?;
        loop {
            let latest = listener.latest.borrow_and_update().clone();
            match listener.question.answer(latest.as_deref(), clock::now()) {
                Ok(answer) if listener.said != Some(answer.active) => {
                    listener.said = Some(answer.active);
                    return Some((Ok(answer), Some(listener)));
                }
                Ok(_) => {}
                Err(error) => return Some((Err(error), None)),
            }
            // A leader that falls silent is noticed too.
            let changed = tokio::time::timeout(SIGNAL_EVERY, listener.latest.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                return None;
            }
        }
    })
}
