//! Recurring tasks: add, look at, pause, run by hand, remove; and, for the controllers, carry a firing
//! out. What a recurring task is and does stands in one record ([`sinew_model::schedule`]), which is
//! written by compare-and-set; the next firing waits as a schedule of the server's own. A firing is
//! first recorded and then delegated, under an id made from its moment, so it may be carried out by
//! several, and again, and is one task.

use sinew_bus::{Bus, HistoryError, Outgoing, PublishError, RequestError, clock, read::DepthError};
use sinew_model::{
    Address, Role, Schedule, ScheduleName, TaskId, Time, header,
    limits::{APPEND_ROUNDS, FIRED_KEPT, SCHEDULES_RECURRING},
    schedule::{Definition, ScheduleError, ScheduleRefusal, Trigger},
    stream::{TASK_RECURRING, TASK_SCHEDULES},
};

use crate::{
    client::{Client, DelegateError},
    delegation::Delegation,
    enqueue,
    report::speaker,
};

/// The recurring tasks of an org, as one role sees and changes them.
#[derive(Clone, Debug)]
pub struct Schedules {
    bus: Bus,
    by: Role,
}

/// A recurring task was added.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Added {
    /// As it stands.
    pub schedule: Schedule,
    /// The same one was there before: this call changed nothing.
    pub existed: bool,
}

/// Why a recurring task was not changed, or its firing not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It breaks a rule, or its next moment can't be told.
    #[error("the schedule is not acceptable")]
    Invalid(#[from] ScheduleError),
    /// It does not allow it as it stands.
    #[error("the schedule does not allow it")]
    Refused(#[from] ScheduleRefusal),
    /// There are as many as may be.
    #[error("there are {SCHEDULES_RECURRING} recurring tasks, and no more are taken")]
    TooMany,
    /// There are nearly as many schedules as their stream holds.
    #[error("there are {stored} schedules, and no more than {taken} are taken")]
    SchedulesFull {
        /// How many there are.
        stored: u64,
        /// How many are taken.
        taken: u64,
    },
    /// It could not be read.
    #[error("the schedule could not be read")]
    Read(#[from] RequestError),
    /// There are too many to list.
    #[error("the schedules could not be listed")]
    List(#[from] DepthError),
    /// What is stored is of a later version, or not Sinew's.
    #[error("the schedule {name} is not readable")]
    Unreadable {
        /// Its name.
        name: ScheduleName,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// Its newest record is not from who may have written it, so nothing is done by it.
    #[error("the schedule {name} is not to be trusted: {why}")]
    Forged {
        /// Its name.
        name: ScheduleName,
        /// What is wrong with it.
        why: String,
    },
    /// It could not be written as JSON.
    #[error("the schedule can't be encoded")]
    Unencodable(#[source] serde_json::Error),
    /// It could not be stored.
    #[error("the schedule could not be stored")]
    Publish(#[from] PublishError),
    /// The task of its last firing could not be looked at.
    #[error("the task of its last firing could not be looked at")]
    Task(#[from] HistoryError),
    /// The task of a firing is not delegated yet.
    #[error("the task {id} is not delegated yet")]
    Delegate {
        /// The task.
        id: TaskId,
        /// Why not.
        #[source]
        source: DelegateError,
    },
    /// Other writers were faster, over and over.
    #[error("{APPEND_ROUNDS} other writers in a row were faster")]
    Crowded,
}

/// A record, and where it is stored.
type Known = (Schedule, u64);

impl Schedules {
    /// The recurring tasks of the org, acting as `by`.
    #[must_use]
    pub const fn new(bus: Bus, by: Role) -> Self {
        Self { bus, by }
    }

    /// Adds one. The same again changes nothing.
    ///
    /// # Errors
    /// See [`Error`]; [`ScheduleRefusal::Exists`] where another one has the name.
    pub async fn add(&self, definition: Definition) -> Result<Added, Error> {
        definition.check()?;
        for _ in 0..APPEND_ROUNDS {
            let known = self.read(&definition.name).await?;
            if let Some((schedule, _)) = known.as_ref().filter(|(known, _)| known.is_there()) {
                if schedule.definition != definition {
                    return Err(ScheduleRefusal::Exists.into());
                }
                let schedule = schedule.clone();
                self.arm(&schedule).await?;
                return Ok(Added { schedule, existed: true });
            }
            if known.as_ref().is_some_and(|(removed, _)| removed.pending.is_some()) {
                return Err(ScheduleRefusal::Pending.into());
            }
            if self.list().await?.len() >= SCHEDULES_RECURRING {
                return Err(Error::TooMany);
            }
            if let Some((stored, taken)) = enqueue::full(&self.bus).await? {
                return Err(Error::SchedulesFull { stored, taken });
            }
            let org = self.bus.subjects().org().clone();
            let now = self.now().await?;
            let schedule = Schedule::add(definition.clone(), org, self.by.clone(), now)?;
            let seq = known.map_or(0, |(_, seq)| seq);
            if self.put(&schedule, seq).await?.is_some() {
                self.arm(&schedule).await?;
                return Ok(Added { schedule, existed: false });
            }
        }
        Err(Error::Crowded)
    }

    /// All that are there, by name.
    ///
    /// # Errors
    /// When they can't be read.
    pub async fn list(&self) -> Result<Vec<Schedule>, Error> {
        let mut all = Vec::new();
        for name in self.names().await? {
            if let Some((schedule, _)) = self.read(&name).await?
                && schedule.is_there()
            {
                all.push(schedule);
            }
        }
        Ok(all)
    }

    /// One, as it stands; also one that was removed.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn get(&self, name: &ScheduleName) -> Result<Option<Schedule>, Error> {
        Ok(self.read(name).await?.map(|(schedule, _)| schedule))
    }

    /// What happened to one, as far as it is kept, the oldest first.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn history(&self, name: &ScheduleName) -> Result<Vec<Schedule>, Error> {
        let filter = self.bus.subjects().recurring(name);
        let mut all = Vec::new();
        let mut from = 1;
        while let Some(message) = self.bus.first_from(TASK_RECURRING, filter.as_str(), from).await?
        {
            all.push(decode(name, &message.payload)?);
            from = message.seq.saturating_add(1);
        }
        Ok(all)
    }

    /// It fires no more, until it is resumed. What had fired before is still delegated.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn pause(&self, name: &ScheduleName) -> Result<Schedule, Error> {
        self.change(name, |it, by, now| Ok(it.pause(by, now)?)).await
    }

    /// It fires again. The moments that went by are left out.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn resume(&self, name: &ScheduleName) -> Result<Schedule, Error> {
        let schedule = self.change(name, |it, by, now| Ok(it.resume(by, now)??)).await?;
        self.arm(&schedule).await?;
        Ok(schedule)
    }

    /// It is no more. What had fired before is still delegated, and goes on.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn remove(&self, name: &ScheduleName) -> Result<Schedule, Error> {
        self.change(name, |it, by, now| Ok(it.remove(by, now)?)).await
    }

    /// Fires it now, whether it is active or not, and whether the last task of it has ended or not.
    ///
    /// # Errors
    /// See [`Error`]. After [`Error::Delegate`] it has fired, and its task is delegated as soon as it
    /// can be.
    pub async fn run(&self, name: &ScheduleName) -> Result<TaskId, Error> {
        let ran = self.change(name, |it, by, now| Ok(it.run(by, now)?)).await?;
        let id = ran.pending.map(|firing| firing.task_id);
        self.tend(name).await?;
        // What was just fired has a firing.
        id.ok_or_else(|| ScheduleRefusal::NotThere.into())
    }

    /// Carries a firing out: for controllers. A trigger that the record does not await changes
    /// nothing.
    ///
    /// # Errors
    /// See [`Error`]; the same trigger again is safe, and finishes what was begun.
    pub async fn fire(&self, trigger: &Trigger) -> Result<(), Error> {
        for _ in 0..APPEND_ROUNDS {
            let Some((schedule, seq)) = self.read(&trigger.schedule).await? else { return Ok(()) };
            if !schedule.awaits(trigger.moment) {
                break;
            }
            let is_open = self.is_open(&schedule).await?;
            let now = self.now().await?;
            let Some(fired) = schedule.fire(trigger.moment, is_open, (&self.by, now))? else {
                break;
            };
            if self.put(&fired, seq).await?.is_some() {
                break;
            }
        }
        self.tend(&trigger.schedule).await
    }

    /// Does what a crash left undone for one: its next firing waits as a schedule, and the task of
    /// the one that has fired is delegated.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn tend(&self, name: &ScheduleName) -> Result<(), Error> {
        for _ in 0..APPEND_ROUNDS {
            let Some((schedule, seq)) = self.read(name).await? else { return Ok(()) };
            self.arm(&schedule).await?;
            let Some(after) = self.delegate(&schedule).await? else { return Ok(()) };
            if self.put(&after, seq).await?.is_some() {
                return Ok(());
            }
        }
        Err(Error::Crowded)
    }

    /// The names of all, also of those that were removed: what is to be tended.
    ///
    /// # Errors
    /// When they can't be listed.
    pub async fn names(&self) -> Result<Vec<ScheduleName>, Error> {
        let filter = self.bus.subjects().all_recurring();
        let subjects = self.bus.depth(TASK_RECURRING, filter.as_str()).await?;
        let name = |subject: String| match self.bus.subjects().parse(&subject) {
            Some(Address::Recurring(name)) => Some(name),
            Some(_) | None => None,
        };
        Ok(subjects.into_keys().filter_map(name).collect())
    }

    /// Delegates the task of the pending firing, and says what follows.
    async fn delegate(&self, schedule: &Schedule) -> Result<Option<Schedule>, Error> {
        let Some(firing) = &schedule.pending else { return Ok(None) };
        let id = firing.task_id.clone();
        let what = Delegation::new(schedule.definition.role.clone(), &schedule.definition.title)
            .input(schedule.definition.input.clone())
            .priority(schedule.definition.priority)
            .id(id.clone());
        let client = Client::new(self.bus.clone(), schedule.delegator.clone());
        match client.delegate(what).await {
            Ok(_) => Ok(schedule.delegated(&self.by, self.now().await?)),
            // The id is somebody else's, or the work is not acceptable: that never changes.
            Err(error @ (DelegateError::IdReused { .. } | DelegateError::Invalid(_))) => {
                tracing::warn!(task = %id, %error, "the task of a firing is refused");
                Ok(schedule.refused(&error.to_string(), &self.by, self.now().await?))
            }
            Err(source) => Err(Error::Delegate { id, source }),
        }
    }

    /// Whether the task of the last firing has not ended. One of which nothing is known any more has.
    async fn is_open(&self, schedule: &Schedule) -> Result<bool, Error> {
        let Some(last) = &schedule.last else { return Ok(false) };
        let client = Client::new(self.bus.clone(), self.by.clone());
        let state = client.state(&last.task_id).await?;
        Ok(state.is_some_and(|state| state.end().is_none()))
    }

    /// Makes sure that the next firing waits as a schedule. One too many is a trigger that nobody
    /// awaits.
    async fn arm(&self, schedule: &Schedule) -> Result<(), Error> {
        let Some(moment) = schedule.next else { return Ok(()) };
        let subjects = self.bus.subjects();
        let (subject, name) = (subjects.trigger(schedule.name()), schedule.name().clone());
        let trigger = Trigger { schedule: name.clone(), moment };
        let waits = self.bus.last(TASK_SCHEDULES, subject.as_str()).await?;
        if waits.is_some_and(|it| {
            serde_json::from_slice::<Trigger>(&it.payload).ok().as_ref() == Some(&trigger)
        }) {
            return Ok(());
        }
        let body = serde_json::to_vec(&trigger).map_err(Error::Unencodable)?;
        let out = Outgoing::new(TASK_SCHEDULES, subject, body)
            .header(header::SCHEDULE, format!("@at {moment}"))
            .header(header::SCHEDULE_TARGET, subjects.fired(&name).to_string())
            .header(header::SCHEDULE_TTL, format!("{}s", FIRED_KEPT.as_secs()))
            .id(clock::unique());
        self.bus.publish(out).await?;
        Ok(())
    }

    async fn change(
        &self,
        name: &ScheduleName,
        follow: impl Fn(&Schedule, &Role, Time) -> Result<Schedule, Error>,
    ) -> Result<Schedule, Error> {
        for _ in 0..APPEND_ROUNDS {
            let Some((schedule, seq)) = self.read(name).await? else {
                return Err(ScheduleRefusal::NotThere.into());
            };
            let after = follow(&schedule, &self.by, self.now().await?)?;
            if self.put(&after, seq).await?.is_some() {
                return Ok(after);
            }
        }
        Err(Error::Crowded)
    }

    async fn read(&self, name: &ScheduleName) -> Result<Option<Known>, Error> {
        let subject = self.bus.subjects().recurring(name);
        let Some(message) = self.bus.last(TASK_RECURRING, subject.as_str()).await? else {
            return Ok(None);
        };
        let schedule = decode(name, &message.payload)?;
        // Its tasks are delegated in the name of that role, so nobody else may have written it.
        let (received, owner) = (message.received(), &schedule.delegator);
        let verdict = self.bus.verify(&received, Some(owner)).await?;
        if self.bus.takes(&verdict) {
            return Ok(Some((schedule, message.seq)));
        }
        let found = (TASK_RECURRING, &received);
        self.bus.keep_evidence(found, &self.by, (&verdict, Some(owner))).await;
        Err(Error::Forged { name: name.clone(), why: verdict.to_string() })
    }

    /// Stores a record in place of the one at `seq`; `None` where somebody else was faster.
    async fn put(&self, schedule: &Schedule, seq: u64) -> Result<Option<u64>, Error> {
        let body = serde_json::to_vec(schedule).map_err(Error::Unencodable)?;
        let subject = self.bus.subjects().recurring(schedule.name());
        let token = clock::unique();
        let out = Outgoing::new(TASK_RECURRING, subject.clone(), body)
            .expecting(&subject, seq)
            .id(token.clone())
            .by(speaker(&self.by));
        match self.bus.publish(out).await {
            Ok(accepted) => Ok(Some(accepted.seq)),
            Err(PublishError::Conflict { .. }) => {
                // The first writer may have been this one, where its answer got lost.
                let last = self.bus.last(TASK_RECURRING, subject.as_str()).await?;
                let own = last.filter(|it| it.header(header::MSG_ID) == Some(token.as_str()));
                Ok(own.map(|it| it.seq))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What time it is, by the one clock that all who decide here share.
    async fn now(&self) -> Result<Time, Error> {
        Ok(self.bus.server_time(TASK_RECURRING).await?)
    }
}

fn decode(name: &ScheduleName, body: &[u8]) -> Result<Schedule, Error> {
    let name = name.clone();
    serde_json::from_slice(body).map_err(|source| Error::Unreadable { name, source })
}
