//! One task as a row: the model's fold of its log, and what else a person wants to see of it.
//! Reading and writing the row is here; what may be asked of rows is in `query`.

use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params, types::Type};
use serde::Serialize;
use serde_json::Value;
use sinew_model::{
    Band, Entry, InstanceId, Role, TaskId, Time,
    limits::{CAUSE_BYTES, PROGRESS_BYTES, TITLE_BYTES, VIEW_RESULT_BYTES, head, tail},
    task::{Change, DeadCause, Phase, Task},
};

use super::waits::Open;

/// A task as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskRow {
    /// The task.
    pub task_id: TaskId,
    /// The role that is to do it; `None` for a message that could not be decoded.
    pub role: Option<Role>,
    /// The role that delegated it.
    pub delegator: Option<Role>,
    /// One line for a person.
    pub title: String,
    /// The task on whose behalf it was delegated.
    pub parent: Option<TaskId>,
    /// How many delegations lie above it.
    pub depth: u32,
    /// The band of its queue.
    pub priority: Option<Band>,
    /// Where it stands, as one of [`PHASES`](super::PHASES).
    pub phase: String,
    /// How often it was put on its queue.
    pub epoch: u32,
    /// The message under which it lies on its queue or runs.
    pub queue_seq: Option<u64>,
    /// The moment before which no attempt may begin.
    pub not_before: Option<Time>,
    /// Attempts begun.
    pub attempts: u32,
    /// Failed attempts since it was delegated or revived.
    pub failures: u32,
    /// What the newest attempt reported last.
    pub message: Option<String>,
    /// How much of the task is done by that report, 0 to 100.
    pub percent: Option<u8>,
    /// The instance of the newest attempt.
    pub instance: Option<InstanceId>,
    /// When it was delegated.
    pub created_at: Time,
    /// When its first attempt began.
    pub started_at: Option<Time>,
    /// When its newest lawful entry was written.
    pub updated_at: Time,
    /// When it ended, if it has.
    pub ended_at: Option<Time>,
    /// When it ends in `dead` if it has not ended before.
    pub due: Time,
    /// What came out; `None` also for a result larger than the view keeps in its rows. The entry
    /// that completed the task has it all.
    pub result: Option<Value>,
    /// The size of the result in bytes of JSON.
    pub result_bytes: Option<u64>,
    /// The kind of cause, if it is dead.
    pub dead: Option<DeadCause>,
    /// Why it failed, was cancelled or given up, or why its newest failed attempt failed.
    pub cause: Option<String>,
    /// The sequence of the first entry, by which lists are ordered.
    pub first_seq: u64,
    /// The sequence of the newest message on its subjects.
    pub last_seq: u64,
    /// Entries that broke the law of the log.
    pub voids: u32,
    /// The role that is asked for an answer or a verdict now, where the task waits for one: by the
    /// question, or by its escalation.
    pub asked: Option<Role>,
    /// Who delegated it, by their signature; `None`: `delegator` is only what somebody wrote.
    pub delegated_by: Option<String>,
}

/// The columns of [`TaskRow`] in the order of [`TaskRow::read`].
pub(super) const COLUMNS: &str = "task_id, first_seq, role, delegator, title, parent, depth, \
    priority, phase, epoch, queue_seq, not_before, attempts, failures, message, percent, instance, \
    created_at, started_at, updated_at, ended_at, due, result, result_bytes, dead, cause, \
    last_seq, voids, asked, delegated_by";

/// A task in the hands of the fold.
#[derive(Debug, Default)]
pub(super) struct Folded {
    /// What the model makes of its log.
    pub(super) task: Task,
    /// What lists show. `None` while the log has no lawful entry.
    pub(super) row: Option<TaskRow>,
    /// What the generation knows of its waits.
    pub(super) waits: Open,
}

impl Folded {
    /// The task as the generation knows it so far; an empty one where it does not.
    pub(super) fn load(
        act: &Transaction<'_>,
        generation: i64,
        id: &TaskId,
    ) -> rusqlite::Result<Result<Self, serde_json::Error>> {
        let sql = format!("SELECT {COLUMNS}, state FROM tasks_{generation} WHERE task_id = ?1");
        let found = act.prepare_cached(&sql)?.query_row([id.as_str()], |row| {
            let state: String = row.get(30)?;
            let known = row.get::<_, Option<i64>>(1)?.is_some();
            Ok((state, if known { Some(TaskRow::read(row)?) } else { None }))
        });
        Ok(match found.optional()? {
            None => Ok(Self::default()),
            Some((state, row)) => serde_json::from_str(&state).map(|task: Task| {
                let waits = Open::of(task.state.as_ref());
                Self { task, row, waits }
            }),
        })
    }

    /// Writes the task into the generation.
    pub(super) fn save(
        &self,
        act: &Transaction<'_>,
        generation: i64,
        id: &TaskId,
    ) -> rusqlite::Result<Result<(), serde_json::Error>> {
        let state = match serde_json::to_string(&self.task) {
            Ok(state) => state,
            Err(fault) => return Ok(Err(fault)),
        };
        let waits = Open::of(self.task.state.as_ref());
        if waits != self.waits {
            waits.save(act, generation, id)?;
        }
        match &self.row {
            Some(row) => row.write(act, generation, &state)?,
            None => {
                // Nothing lawful yet; only the fold must be kept, for the expectation of the next.
                let sql = format!(
                    "INSERT INTO tasks_{generation} (task_id, depth, epoch, attempts, failures,
                        created_at, updated_at, due, last_seq, voids, state)
                     VALUES (?1, 0, 0, 0, 0, 0, 0, 0, ?2, ?3, ?4)
                     ON CONFLICT (task_id) DO UPDATE SET last_seq = excluded.last_seq,
                        voids = excluded.voids, state = excluded.state"
                );
                let (last_seq, voids) = (int(self.task.last_seq), self.task.voids);
                act.prepare_cached(&sql)?.execute(params![id.as_str(), last_seq, voids, state])?;
            }
        }
        Ok(Ok(()))
    }

    /// Shows in the row what a lawful entry has just done to the task.
    pub(super) fn show(&mut self, seq: u64, entry: &Entry) {
        let mut row = self.row.take().unwrap_or_else(|| TaskRow::new(seq, entry));
        row.note(&entry.change, entry.at);
        self.row = Some(row);
    }

    /// Brings the row up to date with the task, once the batch is folded.
    pub(super) fn settle(&mut self) {
        let Some(row) = &mut self.row else { return };
        row.last_seq = self.task.last_seq;
        row.voids = self.task.voids;
        let Some(state) = &self.task.state else { return };
        row.phase = state.word().to_owned();
        row.epoch = state.epoch;
        row.queue_seq = state.queue_seq();
        row.not_before = state.waits_until();
        row.attempts = state.attempts;
        row.failures = state.failures;
        row.updated_at = state.last_at;
        row.due = state.due;
        row.asked = match &state.phase {
            Phase::Blocked { question, escalated_to, .. } => {
                Some(escalated_to.as_ref().unwrap_or(&question.to).clone())
            }
            Phase::Submitted { escalated_to, .. } => escalated_to.clone().or_else(|| {
                state.assignment.as_ref().and_then(|assignment| assignment.verifier.clone())
            }),
            Phase::Queued { .. }
            | Phase::Running { .. }
            | Phase::Released { .. }
            | Phase::Waiting { .. }
            | Phase::Ready { .. }
            | Phase::Ended { .. } => None,
        };
    }
}

impl TaskRow {
    fn new(first_seq: u64, entry: &Entry) -> Self {
        // Of the others only a death can be the first entry of a task, and it has none.
        let assignment = if let Change::Created { assignment, .. } = &entry.change {
            Some(assignment)
        } else {
            None
        };
        Self {
            task_id: entry.task_id.clone(),
            role: assignment.map(|it| it.role.clone()),
            delegator: assignment.map(|it| it.delegator.clone()),
            title: assignment.map(|it| head(&it.title, TITLE_BYTES).to_owned()).unwrap_or_default(),
            parent: assignment.and_then(|it| it.parent.clone()),
            depth: assignment.map_or(0, |it| it.depth),
            priority: assignment.map(|it| it.priority),
            phase: String::new(),
            epoch: 0,
            queue_seq: None,
            not_before: None,
            attempts: 0,
            failures: 0,
            message: None,
            percent: None,
            instance: None,
            created_at: assignment.map_or(entry.at, |it| it.created_at),
            started_at: None,
            updated_at: entry.at,
            ended_at: None,
            due: entry.at,
            result: None,
            result_bytes: None,
            dead: None,
            cause: None,
            first_seq,
            last_seq: first_seq,
            voids: 0,
            asked: None,
            delegated_by: None,
        }
    }

    /// What the model's state does not keep. Every kind of change is named, so that a new one
    /// can't be forgotten here.
    fn note(&mut self, change: &Change, at: Time) {
        match change {
            // An escalated question is still the one that is asked.
            Change::Created { .. }
            | Change::Effect { .. }
            | Change::Enqueued { .. }
            | Change::Escalated { .. } => {}
            Change::Revived {} => {
                self.ended_at = None;
                self.dead = None;
                self.cause = None;
            }
            Change::Blocked { question, .. } => {
                self.message = Some(head(&question.text, PROGRESS_BYTES).to_owned());
                self.percent = None;
            }
            Change::Waiting { .. }
            | Change::Answered { .. }
            | Change::Resumed { .. }
            | Change::Submitted { .. } => {
                self.message = None;
                self.percent = None;
            }
            Change::Refused { reason, .. } => {
                self.message = Some(head(reason, PROGRESS_BYTES).to_owned());
                self.percent = None;
            }
            Change::Started(start) => {
                self.started_at.get_or_insert(at);
                self.instance = Some(start.instance.clone());
                self.message = None;
                self.percent = None;
            }
            Change::Progress { message, percent, .. } => {
                self.message = Some(head(message, PROGRESS_BYTES).to_owned());
                self.percent = *percent;
            }
            Change::Released { cause, .. } => {
                if let Some(cause) = cause {
                    self.cause = Some(tail(cause, CAUSE_BYTES).to_owned());
                }
            }
            Change::Completed { result, result_ref, .. } => {
                self.ended_at = Some(at);
                self.cause = None;
                let bytes = match result_ref {
                    Some(claim) => claim.bytes,
                    None => u64::try_from(result.to_string().len()).unwrap_or(u64::MAX),
                };
                let kept = usize::try_from(bytes).is_ok_and(|bytes| bytes <= VIEW_RESULT_BYTES);
                self.result = kept.then(|| result.clone());
                self.result_bytes = Some(bytes);
            }
            Change::Failed { cause, .. } => self.end(at, cause),
            Change::Cancelled { reason } => self.end(at, reason),
            Change::Dead { cause, detail, .. } => {
                self.dead = Some(*cause);
                self.end(at, detail);
            }
        }
    }

    fn end(&mut self, at: Time, cause: &str) {
        self.ended_at = Some(at);
        self.cause = Some(tail(cause, CAUSE_BYTES).to_owned());
    }

    fn write(&self, act: &Transaction<'_>, generation: i64, state: &str) -> rusqlite::Result<()> {
        let sql = format!(
            "INSERT OR REPLACE INTO tasks_{generation} ({COLUMNS}, state) VALUES (?1, ?2, ?3, ?4,
                ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
                ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31)"
        );
        act.prepare_cached(&sql)?.execute(params![
            self.task_id.as_str(),
            int(self.first_seq),
            self.role.as_ref().map(Role::as_str),
            self.delegator.as_ref().map(Role::as_str),
            self.title,
            self.parent.as_ref().map(TaskId::as_str),
            self.depth,
            self.priority.map(Band::word),
            self.phase,
            self.epoch,
            self.queue_seq.map(int),
            self.not_before.map(moment),
            self.attempts,
            self.failures,
            self.message,
            self.percent,
            self.instance.as_ref().map(InstanceId::as_str),
            moment(self.created_at),
            self.started_at.map(moment),
            moment(self.updated_at),
            self.ended_at.map(moment),
            moment(self.due),
            self.result.as_ref().map(Value::to_string),
            self.result_bytes.map(int),
            self.dead.map(|dead| serde_json::to_string(&dead).unwrap_or_default()),
            self.cause,
            int(self.last_seq),
            self.voids,
            self.asked.as_ref().map(Role::as_str),
            self.delegated_by,
            state,
        ])?;
        Ok(())
    }

    /// Reads a row that begins with [`COLUMNS`].
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            task_id: parsed(row, 0)?,
            first_seq: uint(row.get(1)?),
            role: parsed_if(row, 2)?,
            delegator: parsed_if(row, 3)?,
            title: row.get(4)?,
            parent: parsed_if(row, 5)?,
            depth: row.get(6)?,
            priority: parsed_if(row, 7)?,
            phase: row.get(8)?,
            epoch: row.get(9)?,
            queue_seq: row.get::<_, Option<i64>>(10)?.map(uint),
            not_before: time_if(row, 11)?,
            attempts: row.get(12)?,
            failures: row.get(13)?,
            message: row.get(14)?,
            percent: row.get(15)?,
            instance: parsed_if(row, 16)?,
            created_at: time(row, 17)?,
            started_at: time_if(row, 18)?,
            updated_at: time(row, 19)?,
            ended_at: time_if(row, 20)?,
            due: time(row, 21)?,
            result: json_if(row, 22)?,
            result_bytes: row.get::<_, Option<i64>>(23)?.map(uint),
            dead: json_if(row, 24)?,
            cause: row.get(25)?,
            last_seq: uint(row.get(26)?),
            voids: row.get(27)?,
            asked: parsed_if(row, 28)?,
            delegated_by: row.get(29)?,
        })
    }

    /// The row of a task; `None` where the log has nothing lawful about it.
    pub(super) fn find(view: &Connection, id: &TaskId) -> rusqlite::Result<Option<Self>> {
        let sql =
            format!("SELECT {COLUMNS} FROM tasks WHERE task_id = ?1 AND first_seq IS NOT NULL");
        view.prepare_cached(&sql)?.query_row([id.as_str()], Self::read).optional()
    }
}

/// The last moment that the wire can write. A later one (a deadline that is computed at the end of
/// time) is stored as this one, so that it does not matter whether it was read back in between.
const LAST_MOMENT: i64 = 253_402_207_200_999_999;

/// A moment as a column.
pub(super) fn moment(time: Time) -> i64 {
    time.micros().min(LAST_MOMENT)
}

/// A sequence as a column. The server counts from 1; what a body claims may be larger than SQLite
/// can hold and is cut then.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A sequence from a column.
pub(super) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A moment from a column.
pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Time> {
    Ok(Time::from_micros(row.get(column)?))
}

fn time_if(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Time>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Time::from_micros))
}

/// A name from a column.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|fault: T::Err| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, fault.into())
    })
}

/// A name from a column that may be empty.
pub(super) fn parsed_if<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T: FromStr<Err: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    if row.get_ref(column)? == rusqlite::types::ValueRef::Null {
        return Ok(None);
    }
    parsed(row, column).map(Some)
}

fn json_if<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    let Some(text) = row.get::<_, Option<String>>(column)? else { return Ok(None) };
    let read = serde_json::from_str(&text).map_err(|fault| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(fault))
    });
    read.map(Some)
}
