//! The task that keeps the pulls of an intake open. It alone knows how many deliveries each
//! consumer may still bring; everything that it learns comes through one `select`.

use std::{collections::HashMap, sync::atomic::Ordering};

use async_nats::connection::State;
use futures::{StreamExt as _, stream::SelectAll};
use serde_json::Value;
use sinew_model::{
    Band,
    limits::{PULL_BACK_OFF, PULL_BACK_OFF_LONGEST, PULL_HEARTBEAT, PULL_SHARES, REQUEST_TIMEOUT},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    Command, ConsumeError, Slot, Slots,
    pull::{Patience, Pull, Replies, Status, Target},
};
use crate::{
    clock,
    connect::Bus,
    delivery::{Delivery, Ender, Meta},
};

/// The server's number for a consumer that it does not have.
const CONSUMER_NOT_FOUND: u32 = 10_014;
/// The server's number for a stream that it does not have.
const STREAM_NOT_FOUND: u32 = 10_059;

type Taken = Result<(Delivery, Slot), ConsumeError>;

/// The ends that the intake's owner and its deliveries have the others of.
pub(super) struct Ends {
    /// Closed when the owner stops the intake or drops it.
    pub(super) taken: mpsc::Sender<Taken>,
    pub(super) orders: mpsc::Receiver<Command>,
    pub(super) ender: Ender,
}

/// One consumer that is pulled from.
struct Source {
    name: String,
    band: Band,
    target: Target,
    /// It was reported gone, and nobody has said since that it is there again.
    gone: bool,
    /// Pulls in a row that failed.
    failures: u32,
    /// Not to be asked before this.
    not_before: Option<Instant>,
    /// The most that it lets one pull ask for, where it has said so.
    most: usize,
}

/// A free place for which one band after the other is asked, without waiting.
struct Walk {
    /// The consumers that are still to be asked, the last one first.
    left: Vec<usize>,
}

pub(super) struct Pulling {
    bus: Bus,
    stream: String,
    slots: Slots,
    ends: Ends,
    sources: Vec<Source>,
    /// What the server is known to have, or may still have, by number.
    pulls: HashMap<u64, Pull>,
    replies: SelectAll<Replies>,
    /// By the number of the pull that each waits for.
    walks: HashMap<u64, Walk>,
    /// Places whose walk found nothing: for them, pulls that wait are to be opened.
    walked: bool,
    /// Whether a consumer is gone for good is asked aside, so that the others go on meanwhile.
    inquiries: JoinSet<(usize, bool)>,
    last_id: u64,
    turn: u64,
}

/// What woke the task.
enum Woken {
    Reply(u64, async_nats::Message),
    Ordered(Command),
    Answered(usize, bool),
    Reconnected,
    /// A place is free, or something is due.
    Look,
    /// The owner has stopped the intake, or the process ends.
    Stopped,
}

impl Pulling {
    pub(super) fn new(bus: Bus, stream: String, slots: Slots, ends: Ends) -> Self {
        Self {
            bus,
            stream,
            slots,
            ends,
            sources: Vec::new(),
            pulls: HashMap::new(),
            replies: SelectAll::new(),
            walks: HashMap::new(),
            walked: false,
            inquiries: JoinSet::new(),
            last_id: 0,
            turn: 0,
        }
    }

    pub(super) async fn run(mut self, consumers: Vec<(Band, String)>) {
        for (band, name) in consumers {
            self.add(band, name);
        }
        let mut connections = self.bus.connections();
        connections.mark_unchanged();
        let mut free = self.slots.watch();
        loop {
            self.expire();
            self.cover().await;
            match self.wake(&mut connections, &mut free).await {
                Woken::Reply(id, message) => self.hear(id, message).await,
                Woken::Ordered(command) => self.obey(command),
                Woken::Answered(consumer, true) => self.report(consumer).await,
                Woken::Answered(_, false) => {}
                Woken::Reconnected => self.void_all(),
                Woken::Look => {}
                Woken::Stopped => break,
            }
        }
        self.give_back().await;
    }

    async fn wake(
        &mut self,
        connections: &mut watch::Receiver<u64>,
        free: &mut watch::Receiver<usize>,
    ) -> Woken {
        let due = self.due();
        tokio::select! {
            biased;
            () = self.ends.taken.closed() => Woken::Stopped,
            Ok(()) = connections.changed() => Woken::Reconnected,
            Some((id, message)) = self.replies.next() => Woken::Reply(id, message),
            Some(command) = self.ends.orders.recv() => Woken::Ordered(command),
            Some(Ok((consumer, gone))) = self.inquiries.join_next() => {
                Woken::Answered(consumer, gone)
            }
            Ok(()) = free.changed() => Woken::Look,
            () = tokio::time::sleep_until(due) => Woken::Look,
        }
    }

    /// When there is something to do even if nothing happens. A beat is the fallback for a
    /// connection whose events were lost.
    fn due(&self) -> Instant {
        let pulls = self.pulls.values().map(Pull::due);
        let pauses = self.sources.iter().filter_map(|source| source.not_before);
        let beat = clock::instant() + PULL_HEARTBEAT;
        pulls.chain(pauses).fold(beat, Instant::min)
    }

    fn add(&mut self, band: Band, name: String) {
        if self.sources.iter().any(|source| source.name == name) {
            return;
        }
        let target = Target::new(self.sources.len(), &self.stream, &name);
        self.sources.push(Source {
            name,
            band,
            target,
            gone: false,
            failures: 0,
            not_before: None,
            most: usize::MAX,
        });
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Add(band, name) => self.add(band, name),
            Command::Reopen(name) => {
                for source in self.sources.iter_mut().filter(|source| source.name == name) {
                    (source.gone, source.failures, source.not_before) = (false, 0, None);
                }
            }
        }
    }

    // --- Asking -----------------------------------------------------------------------------------

    /// Sees to it that every free place is asked for. One consumer is asked by pulls that wait;
    /// several are asked by weight first, and by pulls that wait where all of them have nothing.
    async fn cover(&mut self) {
        if self.bus.nats().connection_state() != State::Connected {
            // What is sent now would be sent later, when it is no longer meant.
            return;
        }
        let ready = self.ready();
        if self.sources.len() > 1 && !self.walked {
            let idle = self.idle();
            let lacking = ready.iter().map(|consumer| idle.saturating_sub(self.waiting(*consumer)));
            for _ in 0..lacking.max().unwrap_or(0) {
                let order = Band::order(self.turn);
                self.turn = self.turn.wrapping_add(1);
                self.step(Walk { left: self.order(&order, &ready) }).await;
            }
        }
        if self.sources.len() == 1 || self.walked {
            self.walked = false;
            let idle = self.idle();
            for consumer in ready {
                self.ask_waiting(consumer, idle).await;
            }
        }
    }

    /// The free places that no walk is under way for.
    fn idle(&self) -> usize {
        self.slots.free().saturating_sub(self.walks.len())
    }

    /// The consumers that may be asked now.
    fn ready(&mut self) -> Vec<usize> {
        let now = clock::instant();
        for source in &mut self.sources {
            source.not_before = source.not_before.filter(|until| *until > now);
        }
        let sources = self.sources.iter().enumerate();
        let ready = sources.filter(|(_, source)| !source.gone && source.not_before.is_none());
        ready.map(|(consumer, _)| consumer).collect()
    }

    /// Deliveries that the consumer was asked for, and may still bring whenever it has them.
    fn waiting(&self, consumer: usize) -> usize {
        let counts = |pull: &&Pull| {
            pull.consumer == consumer && !pull.void && pull.patience == Patience::Waiting
        };
        self.pulls.values().filter(counts).map(|pull| pull.left).sum()
    }

    /// The consumers in the order of their bands, the last one first. One with a pull that waits
    /// has nothing, else it would have answered.
    fn order(&self, bands: &[Band], ready: &[usize]) -> Vec<usize> {
        let of_band = |band: Band| {
            let of = move |consumer: &usize| {
                self.sources.get(*consumer).is_some_and(|source| source.band == band)
            };
            ready.iter().copied().filter(of).filter(|consumer| self.waiting(*consumer) == 0)
        };
        let mut order: Vec<usize> = bands.iter().flat_map(|band| of_band(*band)).collect();
        order.reverse();
        order
    }

    /// Asks the next band of a walk; after the last one, pulls that wait take over.
    async fn step(&mut self, mut walk: Walk) {
        while let Some(consumer) = walk.left.pop() {
            if let Some(id) = self.pull(consumer, 1, Patience::Now).await {
                self.walks.insert(id, walk);
                return;
            }
        }
        self.walked = true;
    }

    async fn ask_waiting(&mut self, consumer: usize, idle: usize) {
        let Some(source) = self.sources.get(consumer) else { return };
        let waiting = self.waiting(consumer);
        let lacking = idle.saturating_sub(waiting);
        let is_worth_it = waiting == 0 || lacking * PULL_SHARES >= self.slots.total();
        if lacking > 0 && is_worth_it {
            self.pull(consumer, lacking.min(source.most), Patience::Waiting).await;
        }
    }

    async fn pull(&mut self, consumer: usize, batch: usize, patience: Patience) -> Option<u64> {
        let target = self.sources.get(consumer)?.target.clone();
        self.last_id += 1;
        let id = self.last_id;
        match Pull::open(&self.bus, id, &target, (batch, patience)).await {
            Ok((pull, replies)) => {
                self.ends.ender.tally.pulls.fetch_add(1, Ordering::Relaxed);
                self.pulls.insert(id, pull);
                self.replies.push(replies);
                Some(id)
            }
            Err(why) => {
                self.postpone(consumer, &why);
                None
            }
        }
    }

    // --- Hearing ----------------------------------------------------------------------------------

    async fn hear(&mut self, id: u64, message: async_nats::Message) {
        let Some(pull) = self.pulls.get_mut(&id) else {
            // Its last reply was read before; the subscription is ending.
            return;
        };
        pull.hear();
        let consumer = pull.consumer;
        if let Some(status) = message.status {
            let words = message.description.as_deref().unwrap_or_default();
            return self.hear_status(id, consumer, Status::of(status.as_u16(), words)).await;
        }
        pull.left = pull.left.saturating_sub(1);
        if pull.left == 0 {
            self.pulls.remove(&id);
        }
        self.walks.remove(&id);
        self.mend(consumer);
        self.take(message).await;
    }

    async fn take(&mut self, message: async_nats::Message) {
        let meta = message.reply.as_ref().and_then(|reply| Meta::parse(reply).ok());
        let Some(meta) = meta else {
            // Anybody in the account may write to a reply subject.
            self.ends.ender.tally.alien.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(subject = %message.subject, "a message on a pull is no delivery");
            return;
        };
        let ender = self.ends.ender.clone();
        let Some(slot) = self.slots.take() else {
            ender.tally.late.fetch_add(1, Ordering::Relaxed);
            ender.nak(meta.ack, None);
            return;
        };
        let delivery = Delivery::new(message, meta, self.bus.clone(), ender);
        if let Err(closed) = self.ends.taken.send(Ok((delivery, slot))).await
            && let Ok((delivery, _slot)) = closed.0
        {
            delivery.give_back();
        }
    }

    async fn hear_status(&mut self, id: u64, consumer: usize, status: Status) {
        if status == Status::Heartbeat {
            return self.mend(consumer);
        }
        let void = self.pulls.remove(&id).is_some_and(|pull| pull.void);
        let walk = self.walks.remove(&id);
        match status {
            Status::Empty | Status::Expired => self.mend(consumer),
            Status::NoResponders if !void => {
                self.postpone(consumer, "nobody takes its pulls");
                self.inquire(consumer);
            }
            Status::Gone => self.report(consumer).await,
            Status::AtMost(most) => {
                if let Some(source) = self.sources.get_mut(consumer) {
                    source.most = most;
                }
            }
            Status::Later(why) if !void => self.postpone(consumer, &why),
            Status::Heartbeat | Status::NoResponders | Status::Later(_) => {}
        }
        if let Some(walk) = walk {
            self.step(walk).await;
        }
    }

    /// The consumer answers as it should.
    fn mend(&mut self, consumer: usize) {
        if let Some(source) = self.sources.get_mut(consumer) {
            (source.failures, source.not_before) = (0, None);
        }
    }

    fn postpone(&mut self, consumer: usize, why: &str) {
        let Some(source) = self.sources.get_mut(consumer) else { return };
        let doubled = PULL_BACK_OFF.saturating_mul(1 << source.failures.min(16));
        let pause = doubled.min(PULL_BACK_OFF_LONGEST);
        source.failures = source.failures.saturating_add(1);
        source.not_before = Some(clock::instant() + pause);
        let consumer = &source.name;
        tracing::debug!(stream = self.stream, consumer, why, ?pause, "a pull failed");
    }

    /// Asks whether the consumer is there at all.
    fn inquire(&mut self, consumer: usize) {
        let Some(source) = self.sources.get(consumer) else { return };
        let (bus, call) =
            (self.bus.clone(), format!("CONSUMER.INFO.{}.{}", self.stream, source.name));
        self.inquiries.spawn(async move {
            let refusal = match bus.api::<Value>(&call, &Value::Null).await {
                Ok(_) => None,
                Err(error) => error.refusal(),
            };
            (consumer, matches!(refusal, Some(CONSUMER_NOT_FOUND | STREAM_NOT_FOUND)))
        });
    }

    async fn report(&mut self, consumer: usize) {
        let Some(source) = self.sources.get_mut(consumer) else { return };
        if std::mem::replace(&mut source.gone, true) {
            return;
        }
        let gone = ConsumeError::ConsumerGone {
            stream: self.stream.clone(),
            consumer: source.name.clone(),
        };
        for pull in self.pulls.values_mut().filter(|pull| pull.consumer == consumer) {
            pull.void = true;
        }
        if self.ends.taken.send(Err(gone)).await.is_err() {
            tracing::debug!(stream = self.stream, "nobody hears that a consumer is gone");
        }
    }

    // --- Giving up --------------------------------------------------------------------------------

    /// Gives up the pulls that nothing was heard of, and forgets those that are over.
    fn expire(&mut self) {
        let now = clock::instant();
        self.pulls.retain(|_, pull| !pull.is_over(now));
        let silent = |(id, pull): (&u64, &mut Pull)| {
            let silent = !pull.void && pull.due() <= now;
            pull.void |= silent;
            silent.then_some((*id, pull.consumer))
        };
        let silent: Vec<(u64, usize)> = self.pulls.iter_mut().filter_map(silent).collect();
        for (id, consumer) in silent {
            self.ends.ender.tally.voided.fetch_add(1, Ordering::Relaxed);
            self.postpone(consumer, "nothing was heard of it");
            // The next bands of a walk are not asked: pulls that wait are as good now.
            self.walked |= self.walks.remove(&id).is_some();
        }
    }

    /// After a reconnect the server may have forgotten every pull, or none. Work must flow at
    /// once, so all are opened anew; on the old ones something may still come.
    fn void_all(&mut self) {
        for pull in self.pulls.values_mut().filter(|pull| !pull.void) {
            pull.void = true;
            self.ends.ender.tally.voided.fetch_add(1, Ordering::Relaxed);
        }
        self.walks.clear();
        for source in &mut self.sources {
            (source.failures, source.not_before) = (0, None);
        }
    }

    /// After the stop: the server is told to hand nothing more to the pulls that it still has, and
    /// what it handed to them before goes back. Else a message that is given back while they are
    /// open would be handed to this very process, and stay there until its ack wait is over.
    async fn give_back(mut self) {
        for replies in self.replies.iter_mut() {
            if let Err(error) = replies.close().await {
                tracing::debug!(stream = self.stream, error, "a pull was closed already");
            }
        }
        let end = clock::instant() + REQUEST_TIMEOUT;
        while let Ok(Some((_, message))) = tokio::time::timeout_at(end, self.replies.next()).await {
            let meta = message.reply.as_ref().and_then(|reply| Meta::parse(reply).ok());
            if let Some(meta) = meta.filter(|_| message.status.is_none())
                && let Err(error) = self.bus.nak_on_behalf(&meta.ack).await
            {
                tracing::warn!(%error, "a delivery could not be given back; its ack wait will do");
            }
        }
    }
}
