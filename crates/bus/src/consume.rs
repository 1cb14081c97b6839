//! Takes the work of one role over one or several durable consumers. It asks for no more than
//! there are free places, keeps an open pull while there are any, and gets over everything that
//! passes: reconnects, restarts, lost pulls, new leaders. It does not create consumers, and it
//! does not look into what is delivered.
//!
//! The pulls are its own and not the client's: those fetch ahead, may stall for half a minute
//! after a restart, and may wait for ever.

mod fetch;
mod intake;
pub(crate) mod pull;
mod retire;
mod slots;

use std::sync::{Arc, atomic::Ordering};

use sinew_model::{Band, limits::INTAKE_COMMANDS};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    connect::Bus,
    delivery::{Delivery, Ender, Tally},
};

pub use slots::{Slot, Slots};

/// Why nothing more comes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// A consumer is not there (any more). The others go on. Once it is made again, say so with
    /// [`Intake::reopen`]; asked before that, the intake reports the same again.
    #[error("the consumer {consumer} of the stream {stream} is gone")]
    ConsumerGone {
        /// The stream.
        stream: String,
        /// The consumer.
        consumer: String,
    },
    /// The process is about to end, and its connection with it.
    #[error("the intake of the stream {stream} has stopped")]
    Stopped {
        /// The stream.
        stream: String,
    },
}

/// What an intake did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Deliveries that somebody dropped without ending them: each is a bug of the holder.
    pub dropped: u64,
    /// Deliveries that came when no place was free, and were given back at once.
    pub late: u64,
    /// Pulls sent.
    pub pulls: u64,
    /// Pulls given up, because the connection was made anew or nothing was heard of them.
    pub voided: u64,
    /// Messages that were neither a delivery nor a status.
    pub alien: u64,
}

/// The open pulls of one role. Dropping it is a stop without waiting.
#[derive(Debug)]
pub struct Intake {
    stream: String,
    /// The pulling task has the other end. Each delivery in it holds its slot.
    taken: mpsc::Receiver<Result<(Delivery, Slot), ConsumeError>>,
    commands: mpsc::Sender<Command>,
    tally: Arc<Tally>,
    /// The pulling task; it ends by itself after a stop.
    pulling: Option<JoinHandle<()>>,
}

/// What an intake is told while it runs.
#[derive(Debug)]
enum Command {
    /// Pull from this consumer as well.
    Add(Band, String),
    /// The consumer that was gone is there again.
    Reopen(String),
}

impl Intake {
    /// Begins to pull, in the caller's runtime. Consumers of a more urgent band are asked first,
    /// mostly; see [`Band::order`].
    #[must_use]
    pub fn open(
        bus: &Bus,
        stream: impl Into<String>,
        consumers: Vec<(Band, String)>,
        slots: &Slots,
    ) -> Self {
        let stream = stream.into();
        // A delivery in the channel holds a slot, and a consumer is reported gone once.
        let (sender, taken) = mpsc::channel(slots.total() + INTAKE_COMMANDS);
        let (commands, orders) = mpsc::channel(INTAKE_COMMANDS);
        let ender = Ender::start(bus);
        let tally = Arc::clone(&ender.tally);
        let pulling = intake::Pulling::new(
            bus.clone(),
            stream.clone(),
            slots.clone(),
            intake::Ends { taken: sender, orders, ender },
        );
        let pulling = tokio::spawn(pulling.run(consumers));
        Self { stream, taken, commands, tally, pulling: Some(pulling) }
    }

    /// The next delivery, with the place that it takes: free again when the slot is dropped. May
    /// be cancelled without losing anything.
    ///
    /// # Errors
    /// See [`ConsumeError`]; after [`ConsumeError::ConsumerGone`] it may be called again.
    pub async fn next(&mut self) -> Result<(Delivery, Slot), ConsumeError> {
        match self.taken.recv().await {
            Some(taken) => taken,
            None => Err(ConsumeError::Stopped { stream: self.stream.clone() }),
        }
    }

    /// Pulls from one more consumer, that of a band which is used for the first time. One that is
    /// known already is left as it is.
    pub async fn add_consumer(&self, band: Band, consumer: impl Into<String>) {
        self.command(Command::Add(band, consumer.into())).await;
    }

    /// Pulls again from a consumer that was gone and is there again.
    pub async fn reopen(&self, consumer: impl Into<String>) {
        self.command(Command::Reopen(consumer.into())).await;
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            dropped: read(&self.tally.dropped),
            late: read(&self.tally.late),
            pulls: read(&self.tally.pulls),
            voided: read(&self.tally.voided),
            alien: read(&self.tally.alien),
        }
    }

    /// No further pull. The server is told to forget those that it has, and what was taken and not
    /// fetched with [`Intake::next`] is given back, before this returns. So what is given back
    /// afterwards on the same connection goes to others.
    pub async fn stop(mut self) {
        self.taken.close();
        while let Some(taken) = self.taken.recv().await {
            let Ok((delivery, _slot)) = taken else { continue };
            if let Err(error) = delivery.nak(None).await {
                tracing::warn!(%error, "a delivery could not be given back; its ack wait will do");
            }
        }
        if let Some(pulling) = self.pulling.take()
            && let Err(error) = pulling.await
        {
            tracing::error!(%error, "the pulling task broke");
        }
    }

    async fn command(&self, command: Command) {
        if self.commands.send(command).await.is_err() {
            tracing::debug!(stream = self.stream, "the intake has stopped; a command is moot");
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.taken.close();
        while let Ok(taken) = self.taken.try_recv() {
            if let Ok((delivery, _slot)) = taken {
                delivery.give_back();
            }
        }
    }
}
