//! A recurring task: what it does, when it fires, and what happened to it, as the newest message on
//! its subject tells it. Every change is a new record in place of the one before, written by
//! compare-and-set, so of two writers one wins; each function here gives the record that follows, or
//! says why none does. No clock is asked: the moment comes in, and it is the server's.

mod timing;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use timing::Timing;

use crate::{
    id::{OrgId, Role, ScheduleName, TaskId},
    limits::{BODY_BYTES, CAUSE_BYTES, TITLE_BYTES, head},
    subject::Band,
    time::Time,
};

/// What a recurring task is, as whoever added it wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// Its name.
    pub name: ScheduleName,
    /// The role that is to do it.
    pub role: Role,
    /// One line for a person, at most 512 bytes: the title of each task.
    pub title: String,
    /// What the worker needs, the same each time.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub input: Value,
    /// The band of the queue.
    #[serde(default)]
    pub priority: Band,
    /// When it fires.
    pub timing: Timing,
    /// Whether it fires while the last task of it has not ended.
    #[serde(default)]
    pub overlap: Overlap,
    /// The moment after which it does not fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Firings after which it has ended; what was skipped does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_runs: Option<u32>,
}

/// What happens when it fires and the last task of it has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// That firing is left out.
    #[default]
    Skip,
    /// Both go on at once.
    Allow,
}

/// A recurring task after the last thing that happened to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// What it is.
    pub definition: Definition,
    /// The org in which it lives.
    pub org_id: OrgId,
    /// The role that delegates its tasks, and gets their reports.
    pub delegator: Role,
    /// When it was added.
    pub created_at: Time,
    /// Whether it fires.
    pub standing: Standing,
    /// When it fires next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Time>,
    /// A firing whose task is not known to be delegated yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Firing>,
    /// The newest firing whose task was delegated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Firing>,
    /// Firings by time.
    pub runs: u32,
    /// Firings that were left out.
    pub skipped: u32,
    /// What happened last.
    pub change: Change,
    /// When that was, by the server's clock.
    pub at: Time,
    /// Who did it.
    pub by: Role,
    /// Why, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Fields that this version does not know; they are kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Whether a recurring task fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It does.
    Active,
    /// Not until it is resumed.
    Paused,
    /// It has no further firing.
    Ended,
    /// It is no more; its name may be used again.
    Removed,
}

/// What happened to a recurring task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It was added.
    Added,
    /// Its moment has come: a task is to be delegated.
    Fired,
    /// It was fired by hand.
    Ran,
    /// Its moment has come and was left out.
    Skipped,
    /// The task of the pending firing is stored.
    Delegated,
    /// The task of the pending firing can't be delegated.
    Refused,
    /// It fires no more, until it is resumed.
    Paused,
    /// It fires again.
    Resumed,
    /// It is no more.
    Removed,
}

/// One firing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Firing {
    /// Its moment.
    pub moment: Time,
    /// Its task.
    pub task_id: TaskId,
}

/// What a firing says when it comes out of the stream of schedules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// What fires.
    pub schedule: ScheduleName,
    /// The moment that it was to fire at.
    pub moment: Time,
}

/// Why a definition is not accepted, or has no next moment that can be told.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The title is empty, too long, or not one line.
    #[error("the title must be one line of 1 to {TITLE_BYTES} bytes without control characters")]
    Title,
    /// It is too large.
    #[error("it has {bytes} bytes, over the limit of {BODY_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The interval is too short or too long.
    #[error("the interval must be whole seconds from {} to {}", timing::SHORTEST, timing::LONGEST)]
    Interval,
    /// The cron expression or its time zone is not one.
    #[error("the cron expression is not acceptable: {0}")]
    Cron(String),
    /// It asks for no firing at all.
    #[error("it must be allowed at least one run")]
    NoRuns,
    /// It would never fire.
    #[error("it would never fire")]
    Never,
}

/// Why a recurring task does not do what is asked of it.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScheduleRefusal {
    /// It has been removed, or there never was one.
    #[error("there is no such schedule")]
    NotThere,
    /// Another one has the name.
    #[error("the name belongs to another schedule")]
    Exists,
    /// It has no further firing.
    #[error("the schedule has ended")]
    Ended,
    /// It is paused already, or was not.
    #[error("the schedule stands there already")]
    Already,
    /// The task of its last firing waits for room.
    #[error("the task of its last firing is not delegated yet")]
    Pending,
}

impl Definition {
    /// Checks every rule but the one that it must fire at all.
    ///
    /// # Errors
    /// Whatever rule it breaks.
    pub fn check(&self) -> Result<(), ScheduleError> {
        let title = self.title.as_str();
        if title.trim().is_empty()
            || title.len() > TITLE_BYTES
            || title.chars().any(char::is_control)
        {
            return Err(ScheduleError::Title);
        }
        let bytes = serde_json::to_vec(self).map_or(usize::MAX, |bytes| bytes.len());
        // The task of a firing adds its ids and times, which is far less than this.
        if bytes > BODY_BYTES - TITLE_BYTES * 4 {
            return Err(ScheduleError::TooLarge { bytes });
        }
        if self.max_runs == Some(0) {
            return Err(ScheduleError::NoRuns);
        }
        self.timing.check()
    }
}

impl Schedule {
    /// A new one.
    ///
    /// # Errors
    /// Whatever rule it breaks.
    pub fn add(
        definition: Definition,
        org_id: OrgId,
        by: Role,
        now: Time,
    ) -> Result<Self, ScheduleError> {
        definition.check()?;
        let created_at = timing::whole(now);
        let next = definition.timing.after(created_at, now)?;
        let next = next.filter(|next| definition.until.is_none_or(|until| *next <= until));
        let next = Some(next.ok_or(ScheduleError::Never)?);
        Ok(Self {
            definition,
            org_id,
            delegator: by.clone(),
            created_at,
            standing: Standing::Active,
            next,
            pending: None,
            last: None,
            runs: 0,
            skipped: 0,
            change: Change::Added,
            at: now,
            by,
            detail: None,
            extra: Map::new(),
        })
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &ScheduleName {
        &self.definition.name
    }

    /// Whether it is there at all.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.standing != Standing::Removed
    }

    /// Whether it is to fire at exactly this moment.
    #[must_use]
    pub fn awaits(&self, moment: Time) -> bool {
        self.standing == Standing::Active && self.next == Some(moment)
    }

    /// What follows when a moment has come; `None` where it does not await that moment, or the
    /// moment is still to come. `is_open`: the last task of it has not ended. However many moments
    /// went by meanwhile, this one stands for all of them, and the next lies after `now`.
    ///
    /// # Errors
    /// When the moment after that can't be told.
    pub fn fire(
        &self,
        moment: Time,
        is_open: bool,
        (by, now): (&Role, Time),
    ) -> Result<Option<Self>, ScheduleError> {
        if !self.awaits(moment) || now < moment {
            return Ok(None);
        }
        let mut it = self.follow(Change::Fired, by, now);
        let waits = self.pending.is_some();
        if waits || (is_open && self.definition.overlap == Overlap::Skip) {
            it.change = Change::Skipped;
            it.skipped = self.skipped.saturating_add(1);
            let why = if waits { "is not on its queue yet" } else { "has not ended" };
            it.detail = Some(format!("the task of its last firing {why}"));
        } else {
            it.runs = self.runs.saturating_add(1);
            it.pending = Some(self.firing(moment));
        }
        it.look_ahead(now)?;
        Ok(Some(it))
    }

    /// What follows when it is fired by hand, whether it is active or not.
    ///
    /// # Errors
    /// Why it is not.
    pub fn run(&self, by: &Role, now: Time) -> Result<Self, ScheduleRefusal> {
        self.must_be_there()?;
        if self.pending.is_some() {
            return Err(ScheduleRefusal::Pending);
        }
        let pending = Some(self.firing(timing::whole(now)));
        Ok(Self { pending, ..self.follow(Change::Ran, by, now) })
    }

    /// What follows once the task of the pending firing is stored; `None` where none is pending.
    #[must_use]
    pub fn delegated(&self, by: &Role, now: Time) -> Option<Self> {
        let last = Some(self.pending.clone()?);
        Some(Self { pending: None, last, ..self.follow(Change::Delegated, by, now) })
    }

    /// What follows where the task of the pending firing can never be delegated.
    #[must_use]
    pub fn refused(&self, why: &str, by: &Role, now: Time) -> Option<Self> {
        self.pending.as_ref()?;
        let detail = Some(head(why, CAUSE_BYTES).to_owned());
        Some(Self { pending: None, detail, ..self.follow(Change::Refused, by, now) })
    }

    /// It fires no more. What had fired before is still delegated.
    ///
    /// # Errors
    /// Why it does not stop.
    pub fn pause(&self, by: &Role, now: Time) -> Result<Self, ScheduleRefusal> {
        self.must_stand(Standing::Active)?;
        let standing = Standing::Paused;
        Ok(Self { standing, next: None, ..self.follow(Change::Paused, by, now) })
    }

    /// It fires again, at the moments after `now`; those that went by are left out.
    ///
    /// # Errors
    /// Why it does not. A moment that can't be told is the second kind of error.
    pub fn resume(
        &self,
        by: &Role,
        now: Time,
    ) -> Result<Result<Self, ScheduleError>, ScheduleRefusal> {
        self.must_stand(Standing::Paused)?;
        let standing = Standing::Active;
        let mut it = Self { standing, ..self.follow(Change::Resumed, by, now) };
        Ok(it.look_ahead(now).map(|()| it))
    }

    /// It is no more. What had fired before is still delegated.
    ///
    /// # Errors
    /// When it is not there.
    pub fn remove(&self, by: &Role, now: Time) -> Result<Self, ScheduleRefusal> {
        self.must_be_there()?;
        let standing = Standing::Removed;
        Ok(Self { standing, next: None, ..self.follow(Change::Removed, by, now) })
    }

    fn follow(&self, change: Change, by: &Role, now: Time) -> Self {
        Self { change, at: now, by: by.clone(), detail: None, ..self.clone() }
    }

    fn firing(&self, moment: Time) -> Firing {
        Firing { moment, task_id: TaskId::of_firing(self.name(), moment) }
    }

    /// The next moment, or the end.
    fn look_ahead(&mut self, now: Time) -> Result<(), ScheduleError> {
        let Definition { timing, until, max_runs, .. } = &self.definition;
        let next = timing.after(self.created_at, now)?;
        let next = next.filter(|next| until.is_none_or(|until| *next <= until));
        self.next = next.filter(|_| max_runs.is_none_or(|most| self.runs < most));
        if self.next.is_none() {
            self.standing = Standing::Ended;
        }
        Ok(())
    }

    fn must_be_there(&self) -> Result<(), ScheduleRefusal> {
        if self.is_there() { Ok(()) } else { Err(ScheduleRefusal::NotThere) }
    }

    fn must_stand(&self, wanted: Standing) -> Result<(), ScheduleRefusal> {
        self.must_be_there()?;
        if self.standing == wanted {
            return Ok(());
        }
        let ended = self.standing == Standing::Ended;
        Err(if ended { ScheduleRefusal::Ended } else { ScheduleRefusal::Already })
    }
}
