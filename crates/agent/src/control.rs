//! The flow of work to a role, or to one of its instances: pause, resume, drain. What is said is
//! one record for each, of which the newest counts; runtimes read it before they take anything,
//! and whenever it changes.

use sinew_bus::{
    Bus, EnsureError, Outgoing, PublishError, RawMessage, RequestError, Topology, clock,
};
use sinew_model::{
    Address, InstanceId, Role, Time,
    control::{Control, Pause, Target},
    header,
    limits::{CONTROL_KEPT, CONTROL_ROUNDS},
    stream::AGENT_CONTROL,
};

use crate::{client::Client, report::speaker};

/// The server's number for a stream that it has not.
const NO_STREAM: u32 = 10_059;

/// Why the flow of work is not as it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// There is no stream for it, and none can be made.
    #[error("the stream of the controls is not there")]
    Stream(#[from] EnsureError),
    /// What holds now could not be read; nothing was changed.
    #[error("what holds now could not be read")]
    Read(#[from] RequestError),
    /// It was not stored.
    #[error("it was not stored")]
    Publish(#[from] PublishError),
    /// It is no JSON, which it can't be.
    #[error("it can't be written down")]
    Encode(#[from] serde_json::Error),
    /// Others wrote at the same time, again and again.
    #[error("others said something else each time, {CONTROL_ROUNDS} times")]
    Crowded,
}

impl Client {
    /// Stops the flow of work: what runs goes on, and nothing new begins, until `until` or until
    /// [`Client::resume`]. It also holds for instances that start later. Delegation goes on.
    ///
    /// # Errors
    /// See [`ControlError`]; the same again is safe.
    pub async fn pause(&self, whom: &Target, until: Option<Time>) -> Result<(), ControlError> {
        self.say(whom, |record| record.pause = Some(Pause { until })).await
    }

    /// Takes back a pause, of exactly this role or instance. Says whether one held.
    ///
    /// # Errors
    /// See [`ControlError`]; the same again is safe.
    pub async fn resume(&self, whom: &Target) -> Result<bool, ControlError> {
        let known = control(self.bus(), whom).await?;
        if known.is_none_or(|known| known.paused(clock::now()).is_none()) {
            return Ok(false);
        }
        self.say(whom, |record| record.pause = None).await?;
        Ok(true)
    }

    /// Tells the processes that run now to drain: to take nothing more, to end what they hold or
    /// hand it back after their grace, and to leave. Those that start later work as ever.
    ///
    /// # Errors
    /// See [`ControlError`]; the same again is safe.
    pub async fn drain(&self, whom: &Target) -> Result<(), ControlError> {
        let order = clock::unique();
        self.say(whom, |record| record.drain = Some(order.clone())).await
    }

    /// What holds for a role or an instance; `None` where nothing was ever said, or what was said
    /// is over for long.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn control(&self, whom: &Target) -> Result<Option<Control>, RequestError> {
        control(self.bus(), whom).await
    }

    /// The role of an instance about which something was said, also while it is not there.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn controlled(&self, instance: &InstanceId) -> Result<Option<Role>, RequestError> {
        let filter = self.bus().subjects().controls_of(instance);
        let found = match self.bus().last(AGENT_CONTROL, &filter).await {
            Err(error) if error.refusal() == Some(NO_STREAM) => return Ok(None),
            found => found?,
        };
        Ok(found.and_then(|found| match self.bus().subjects().parse(&found.subject) {
            Some(Address::InstanceControl(role, _)) => Some(role),
            Some(_) | None => None,
        }))
    }

    async fn say(&self, whom: &Target, change: impl Fn(&mut Control)) -> Result<(), ControlError> {
        let bus = self.bus();
        Topology::standard(bus).ensure_stream(bus, AGENT_CONTROL).await?;
        let subject = bus.subjects().control(whom);
        for _ in 0..CONTROL_ROUNDS {
            let last = bus.last(AGENT_CONTROL, subject.as_str()).await?;
            let seq = last.as_ref().map_or(0, |last| last.seq);
            let known = match &last {
                Some(last) => said(bus, whom, last).await?,
                None => None,
            };
            let (at, by) = (clock::now(), self.role().clone());
            let mut record = known.unwrap_or_else(|| Control {
                at,
                by: by.clone(),
                pause: None,
                drain: None,
                extra: serde_json::Map::new(),
            });
            (record.at, record.by) = (at, by);
            change(&mut record);
            let mut out =
                Outgoing::new(AGENT_CONTROL, subject.clone(), serde_json::to_vec(&record)?)
                    .id(clock::unique())
                    .expecting(&subject, seq)
                    .by(speaker(self.role()));
            if let Some(kept) = kept(&record) {
                out = out.header(header::TTL, format!("{}s", kept.as_secs()));
            }
            match bus.publish(out).await {
                Ok(_) => return Ok(()),
                Err(PublishError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ControlError::Crowded)
    }
}

/// How long the stream keeps a record; a pause without an end is kept until it is taken back.
fn kept(record: &Control) -> Option<std::time::Duration> {
    match record.pause {
        Some(Pause { until: None }) => None,
        Some(Pause { until: Some(until) }) => {
            Some(until.since(record.at).saturating_add(CONTROL_KEPT))
        }
        None => Some(CONTROL_KEPT),
    }
}

/// What holds for a role or an instance, as the stream's leader has it.
pub(crate) async fn control(bus: &Bus, whom: &Target) -> Result<Option<Control>, RequestError> {
    let subject = bus.subjects().control(whom);
    match bus.last(AGENT_CONTROL, subject.as_str()).await {
        Ok(Some(last)) => said(bus, whom, &last).await,
        Ok(None) => Ok(None),
        Err(error) if error.refusal() == Some(NO_STREAM) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a record says. Nothing holds that nobody said.
async fn said(
    bus: &Bus,
    whom: &Target,
    last: &RawMessage,
) -> Result<Option<Control>, RequestError> {
    let Some(record) = decode(&last.payload) else { return Ok(None) };
    let (received, by) = (last.received(), Some(&record.by));
    let verdict = bus.verify(&received, by).await?;
    if bus.takes(&verdict) {
        return Ok(Some(record));
    }
    bus.keep_evidence((AGENT_CONTROL, &received), whom.role(), (&verdict, by)).await;
    Ok(None)
}

/// A record that can't be read holds nothing; it is shown, and the next one takes its place.
fn decode(body: &[u8]) -> Option<Control> {
    let record = serde_json::from_slice(body);
    record.inspect_err(|error| tracing::warn!(%error, "a record of control is not readable")).ok()
}
