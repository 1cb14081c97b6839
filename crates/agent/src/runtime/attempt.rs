//! One delivery from hand to end: begin an attempt, run the handler under its lease, and write
//! down what came of it. No ack, nak or in-progress is sent for an attempt that the log no longer
//! names: an ack acts on the message, and the message may be somebody else's by then.

use std::{sync::Arc, time::Duration};

use futures::FutureExt as _;
use serde_json::Value;
use sinew_bus::{Bus, Delivery, ExecuteError, RequestError, TaskLog, clock};
use sinew_model::{
    Assignment,
    claim::Side,
    limits::{LARGE_BODY_BYTES, LISTEN_AFTER, NAK_DELAY, PROGRESS_EVERY, TERM_GRACE, TRY_AGAIN},
    task::{Command, Refusal, ReleaseReason},
};
use tokio::{
    sync::{Mutex, watch},
    task::{AbortHandle, JoinError, JoinHandle},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    begin::{Begin, Begun, begin, chain},
    host::Host,
    settle::{self, Letting},
};
use crate::{
    body::{self, Body},
    client::{Acting, Client},
    context::{Context, Known, Line, Progress},
    handler::{Failure, Handler},
    lookout::Lookout,
    report,
};

/// What a handler's task ends with.
type Returned = Result<Outcome, JoinError>;

/// What the work on an attempt came to.
type Outcome = Result<Value, Undone>;

/// Why the work on an attempt has no result.
enum Undone {
    /// The handler says so.
    Failed(Failure),
    /// There is nothing to work on.
    BodyLost(String),
}

/// How long a handler that was told to stop may go on before it is dropped: a program has its own
/// grace between SIGTERM and SIGKILL within that.
const STOP_GRACE: Duration = TERM_GRACE.saturating_add(Duration::from_secs(1));

/// Takes one delivery to its end.
pub(crate) async fn work<H: Handler>(host: Arc<Host>, handler: Arc<H>, mut delivery: Delivery) {
    let letting = match begin(&host, &delivery).await {
        Begin::Run(begun) => {
            host.count(|counts| &counts.started);
            delivery.leave_to_log();
            run(&host, handler, *begun, &delivery).await
        }
        Begin::Ended(log) => {
            host.count(|counts| &counts.dropped);
            settle::ended(&host, &log).await
        }
        Begin::Drop(why) => {
            tracing::debug!(seq = delivery.queue_seq(), why, "a delivery moves nothing");
            host.count(|counts| &counts.dropped);
            Letting::Ack
        }
        // Nothing is sent: an answer acts on the message, and the message is the holder's. This
        // delivery began its ack wait anew; the holder's next in-progress does so again, and its
        // ack ends it, under whatever delivery they were given, since the server goes by the
        // message's sequence.
        Begin::Own | Begin::Held => {
            host.count(|counts| &counts.dropped);
            Letting::HandOver
        }
        Begin::Parked(mut log) => {
            host.count(|counts| &counts.dropped);
            settle::parked(&host, &mut log).await
        }
        Begin::Later(mut log, until) => settle::later(&host, &mut log, until).await,
        Begin::Again(why) => {
            tracing::warn!(seq = delivery.queue_seq(), why, "no attempt began; it is tried again");
            Letting::Nak(Some(TRY_AGAIN))
        }
    };
    let_go(&host, delivery, letting).await;
}

async fn let_go(host: &Host, delivery: Delivery, letting: Letting) {
    let (seq, ended) = (
        delivery.queue_seq(),
        match letting {
            Letting::Ack => delivery.ack().await,
            Letting::Nak(delay) => delivery.nak(delay).await,
            Letting::HandOver => {
                let _whose = delivery.hand_over();
                Ok(())
            }
        },
    );
    let Err(error) = ended else { return };
    clock::pause(TRY_AGAIN).await;
    let again = match (letting, &error.source) {
        // An ack is sent only where nobody needs the message any more, so it may be sent twice.
        (Letting::Ack, _) => host.bus.ack(&error.ack).await,
        // Nobody was there to take it: the consumer has no leader for the moment.
        (Letting::Nak(_), RequestError::NoResponders { .. }) => {
            host.bus.nak_on_behalf(&error.ack).await
        }
        // It may have been done, and the message may be somebody else's by now.
        (Letting::Nak(_) | Letting::HandOver, _) => Err(error),
    };
    if let Err(error) = again {
        // It comes again when its ack wait is over, and whoever takes it finds the log as it is.
        tracing::debug!(seq, error = &error as &dyn std::error::Error, "a delivery was not ended");
    }
}

/// A running attempt as its runtime sees it.
struct Running<'a> {
    host: &'a Host,
    delivery: &'a Delivery,
    log: Arc<Mutex<TaskLog>>,
    attempt: u32,
    stop: CancellationToken,
    /// When the handler is dropped, once it was told to stop.
    give_up: Option<Instant>,
    /// Whether the log still names this attempt, as far as is known.
    ours: bool,
    line: Line,
    reports: u32,
    next_report: Instant,
}

async fn run<H: Handler>(
    host: &Arc<Host>,
    handler: Arc<H>,
    begun: Begun,
    delivery: &Delivery,
) -> Letting {
    let Begun { log, assignment, start, fence, delegator } = begun;
    let known = Known::of(log.state());
    let _hold = host.hold(assignment.task_id.clone(), start.attempt);
    let log = Arc::new(Mutex::new(log));
    let stop = CancellationToken::new();
    let (line, handlers) = Line::new();
    let acting = Acting::new(Arc::clone(&log), start.attempt, !host.by_hand);
    let client = Client::for_attempt(host.bus.clone(), host.by.clone(), acting);
    let (bus, told) = (host.bus.clone(), stop.clone());
    // The input may take long to come, so the lease runs meanwhile.
    let work = tokio::spawn(async move {
        let number = (start.attempt, fence);
        let assignment = whole(&bus, assignment, &told).await?;
        let work = (Arc::new(assignment), delegator, known);
        let context = Context::new(work, number, client, told, handlers);
        handler.handle(context).await.map_err(Undone::Failed)
    });
    // Where this future is dropped, the handler goes with it.
    let _abort = AbortOnDrop(work.abort_handle());
    let running = Running {
        host,
        delivery,
        log,
        attempt: start.attempt,
        stop,
        give_up: None,
        ours: true,
        line,
        reports: 0,
        next_report: clock::instant(),
    };
    running.until_over(work).await
}

/// The assignment with its whole input. While the store is out of reach it is asked on and on: that
/// is not the task's fault.
async fn whole(
    bus: &Bus,
    assignment: Assignment,
    stop: &CancellationToken,
) -> Result<Assignment, Undone> {
    let Some(claim) = assignment.input_ref.clone() else { return Ok(assignment) };
    loop {
        let error = tokio::select! {
            whole = body::whole(bus, assignment.clone()) => match whole {
                Ok(whole) => return Ok(whole),
                Err(error) => error,
            },
            () = stop.cancelled() => return Err(Undone::Failed(Failure::Postpone { after: None })),
        };
        if error.is_lost() {
            return Err(Undone::BodyLost(chain(&error)));
        }
        tracing::warn!(object = claim.object, why = chain(&error), "an input is asked for again");
        clock::pause(TRY_AGAIN).await;
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Running<'_> {
    async fn until_over(mut self, mut work: JoinHandle<Outcome>) -> Letting {
        let renew_every = self.host.renew_every();
        let mut renew = tokio::time::interval_at(clock::instant() + renew_every, renew_every);
        let listen = tokio::time::sleep_until(clock::instant() + LISTEN_AFTER);
        tokio::pin!(listen);
        let mut lookout: Option<Lookout> = None;
        let returned = loop {
            let give_up = self.give_up;
            tokio::select! {
                biased;
                returned = &mut work => break Some(returned),
                () = at(give_up) => break None,
                () = self.host.evict.cancelled(), if self.give_up.is_none() => self.tell_to_stop(),
                _ = renew.tick() => self.renew().await,
                () = &mut listen, if lookout.is_none() && !self.stop.is_cancelled() => {
                    lookout = self.listen().await;
                    listen.as_mut().reset(clock::instant() + renew_every);
                }
                () = news(lookout.as_mut()) => {
                    let _is_known = self.check().await;
                }
                () = reportable(&mut self.line.progress, self.next_report) => self.report().await,
            }
        };
        self.end(returned).await
    }

    fn tell_to_stop(&mut self) {
        self.stop.cancel();
        self.give_up.get_or_insert_with(|| clock::instant() + STOP_GRACE);
    }

    /// Begins to listen for news of the task, and looks once, so that nothing falls in between.
    async fn listen(&mut self) -> Option<Lookout> {
        let filter = {
            let log = self.log.lock().await;
            self.host.bus.subjects().log(log.id())
        };
        let hints = self.host.bus.watch_subject(filter.as_str()).await.ok();
        let _is_known = self.check().await;
        hints.map(|hints| Lookout::new(hints, self.host.renew_every()))
    }

    /// Prolongs the lease, if the log still names this attempt.
    async fn renew(&mut self) {
        // Where the log can't be read, it may have named somebody else while this process stood
        // still.
        if self.check().await
            && self.ours
            && let Err(error) = self.delivery.in_progress().await
        {
            tracing::warn!(seq = self.delivery.queue_seq(), %error, "a lease was not renewed");
        }
    }

    /// Looks whether the log still names this attempt; if not, the handler is told to stop. Says
    /// whether the log could be read.
    async fn check(&mut self) -> bool {
        let mut log = self.log.lock().await;
        if let Err(error) = log.refresh().await {
            tracing::debug!(task = %log.id(), %error, "the task's log can't be read now");
            return false;
        }
        // Also where nothing is new: the handler's own calls read the same log, and may have been
        // the first to see that the task is lost.
        let named = log.state().and_then(|state| state.running()).map(|start| start.attempt);
        drop(log);
        if named != Some(self.attempt) {
            self.ours = false;
            self.tell_to_stop();
        }
        true
    }

    /// Writes the newest progress down and tells the delegator.
    async fn report(&mut self) {
        self.next_report = clock::instant() + PROGRESS_EVERY;
        let Some(Progress { message, percent }) = self.line.progress.borrow_and_update().clone()
        else {
            return;
        };
        let mut log = self.log.lock().await;
        let attempt = self.attempt;
        let command = Command::Progress { attempt, message: message.clone(), percent };
        match log.execute(&command).await {
            Ok(_) => {}
            Err(ExecuteError::Refused(Refusal::Fenced { .. } | Refusal::Ended(_))) => {
                drop(log);
                self.ours = false;
                return self.tell_to_stop();
            }
            Err(error) => {
                return tracing::debug!(task = %log.id(), error = chain(&error), "no progress stored");
            }
        }
        let assignment = log.state().and_then(|state| state.assignment.clone());
        drop(log);
        self.reports = self.reports.saturating_add(1);
        if let Some(assignment) = assignment {
            let number = (attempt, self.reports);
            let news = (message.as_str(), percent);
            let role = &self.host.settings.role;
            let sent = report::progress(&self.host.bus, role, &assignment, number, news).await;
            if let Err(error) = sent {
                tracing::debug!(task = %assignment.task_id, %error, "a progress report was not sent");
            }
        }
    }

    /// The handler has returned, or was dropped (`None`).
    async fn end(mut self, returned: Option<Returned>) -> Letting {
        if !self.ours {
            return self.lost().await;
        }
        // The handler's end of the channel is gone by now, which a look at the channel alone would
        // report instead of the value that it left.
        if let Some(Ok(())) = self.line.progress.changed().now_or_never() {
            self.line.progress.mark_changed();
            self.report().await;
        }
        let failures = {
            let log = self.log.lock().await;
            log.state().map_or(0, |state| state.failures)
        };
        let evicted = self.host.evict.is_cancelled();
        let command = verdict(self.host, (self.attempt, failures), returned, evicted);
        let Command::Complete { attempt, result } = command else {
            return self.write_down(command).await;
        };
        match self.keep(attempt, result, failures).await {
            Some(command) => self.write_down(command).await,
            None => self.lost().await,
        }
    }

    /// Puts a result that is too large for the log into the object store, before the log claims
    /// it. While that is out of reach it is tried on and on, as with the log itself; `None` where
    /// the task was lost meanwhile.
    async fn keep(&mut self, attempt: u32, result: Value, failures: u32) -> Option<Command> {
        let id = self.log.lock().await.id().clone();
        let (result, body) = Body::split(&id, Side::Result, result);
        let Some(body) = body else { return Some(Command::Complete { attempt, result }) };
        if body.is_too_large() {
            let cause = format!(
                "its result has {} bytes, and is larger than the {LARGE_BODY_BYTES} that it may have",
                body.claim.bytes
            );
            return Some(Command::Fail { attempt, cause, retry: None });
        }
        loop {
            let error = match body.clone().store(&self.host.bus, None).await {
                Ok(()) => {
                    return Some(Command::CompleteLarge { attempt, result_ref: body.claim });
                }
                Err(error) => error,
            };
            let why = chain(&error);
            if !error.is_passing() {
                let delay = self.host.settings.backoff.after(failures.saturating_add(1));
                let cause = format!("its result could not be kept: {why}");
                return Some(Command::Fail { attempt, cause, retry: Some(delay) });
            }
            tracing::warn!(task = %id, why, "a result is not kept yet");
            if self.host.evict.is_cancelled() {
                let reason = ReleaseReason::Drained;
                return Some(Command::Release { attempt, reason, retry: None });
            }
            clock::pause(TRY_AGAIN).await;
            self.renew().await;
            if !self.ours {
                return None;
            }
        }
    }

    /// Appends the end of the attempt. While the log is out of reach it is tried on and on: the
    /// work is done, and only the runtime's own end is a reason to leave it to a repetition.
    async fn write_down(mut self, mut command: Command) -> Letting {
        loop {
            let mut log = self.log.lock().await;
            match log.execute(&command).await {
                Ok(_) => {
                    let letting = settle::after(self.host, &mut log).await;
                    let state = log.state().cloned().map(Box::new);
                    self.line.written.send_replace(state);
                    return letting;
                }
                Err(ExecuteError::Refused(
                    refusal @ (Refusal::Limit { .. }
                    | Refusal::Cycle(_)
                    | Refusal::Question(_)
                    | Refusal::Answered),
                )) => {
                    let cause = refusal.to_string();
                    command = Command::Fail { attempt: self.attempt, cause, retry: None };
                }
                Err(ExecuteError::Refused(_)) => {
                    drop(log);
                    return self.lost().await;
                }
                Err(error) if error.is_too_large() => {
                    let cause = "its result is larger than the log takes".to_owned();
                    command = Command::Fail { attempt: self.attempt, cause, retry: None };
                }
                Err(error) => {
                    let reason = chain(&error);
                    tracing::warn!(task = %log.id(), reason, "the end of an attempt is not stored yet");
                    drop(log);
                    if !error.is_passing() || self.host.evict.is_cancelled() {
                        return Letting::Nak(Some(NAK_DELAY));
                    }
                    clock::pause(TRY_AGAIN).await;
                    self.renew().await;
                    if !self.ours {
                        return self.lost().await;
                    }
                }
            }
        }
    }

    /// The log no longer names this attempt. Its message is left alone, unless the task has ended
    /// under it: then nobody else will ever need it.
    async fn lost(&mut self) -> Letting {
        self.host.count(|counts| &counts.lost);
        let mut log = self.log.lock().await;
        if let Err(error) = log.refresh().await {
            tracing::debug!(task = %log.id(), %error, "a lost task's log can't be read now");
            return Letting::HandOver;
        }
        let Some(state) = log.state() else { return Letting::HandOver };
        if state.end().is_some() && state.queue_seq() == Some(self.delivery.queue_seq()) {
            return settle::ended(self.host, &log).await;
        }
        tracing::info!(task = %log.id(), attempt = self.attempt, "an attempt lost its task");
        Letting::HandOver
    }
}

/// What is to be written down about an attempt.
fn verdict(
    host: &Host,
    (attempt, failures): (u32, u32),
    returned: Option<Returned>,
    evicted: bool,
) -> Command {
    let drained = Command::Release { attempt, reason: ReleaseReason::Drained, retry: None };
    let backoff = &host.settings.backoff;
    let failure = match returned {
        Some(Ok(Ok(result))) => return Command::Complete { attempt, result },
        // Told to stop, it may report that as it likes: that is no failure of the task.
        _ if evicted => return drained,
        Some(Ok(Err(Undone::Failed(failure)))) => failure,
        Some(Ok(Err(Undone::BodyLost(detail)))) => return Command::LoseBody { attempt, detail },
        Some(Err(error)) => Failure::retry(match error.try_into_panic() {
            Ok(panic) => format!("the handler panicked: {}", words(&*panic)),
            Err(error) => error.to_string(),
        }),
        None => Failure::retry("the handler did not stop when it was told to"),
    };
    match failure {
        Failure::Retry { cause, after } => {
            let delay = after.unwrap_or_else(|| backoff.after(failures.saturating_add(1)));
            Command::Fail { attempt, cause, retry: Some(delay) }
        }
        Failure::Fatal { cause } => Command::Fail { attempt, cause, retry: None },
        Failure::Block { question } => Command::Block { attempt, question },
        Failure::Wait { on } => Command::Wait { attempt, on },
        Failure::Postpone { after } => Command::Release {
            attempt,
            reason: ReleaseReason::Postponed,
            retry: Some(after.unwrap_or_else(|| backoff.after(1))),
        },
    }
}

/// What a panic said.
fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn news(lookout: Option<&mut Lookout>) {
    match lookout {
        Some(lookout) => lookout.wait().await,
        None => std::future::pending().await,
    }
}

/// Ready when there is progress to write down and the last report is long enough ago.
async fn reportable(progress: &mut watch::Receiver<Option<Progress>>, next: Instant) {
    if progress.changed().await.is_err() {
        return std::future::pending().await;
    }
    progress.mark_changed();
    tokio::time::sleep_until(next).await;
}
