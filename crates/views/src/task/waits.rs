//! Open waits: which task waits for which. Written by the fold together with the task itself, and
//! asked by whoever moves tasks on when others end. A view may be behind, and whoever acts on what
//! it says looks into the logs first; so it answers the one question that the logs answer badly:
//! of all that wait, which are worth a look now?

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use sinew_model::{
    TaskId,
    limits::{VIEW_ROWS, WAITS_FOLLOWED},
    task::{Phase, State},
};

use super::row::{int, parsed};
use crate::store::{QueryError, Store};

/// Whether the wait of one task is over: it waits, and nothing is left to wait for, or one that it
/// depends on has ended without being completed. What the view does not know has not ended.
const IS_OVER: &str = "SELECT EXISTS (SELECT 1 FROM waits WHERE task_id = ?1)
    AND (NOT EXISTS (
        SELECT 1 FROM waits LEFT JOIN tasks ON tasks.task_id = waits.on_id
        WHERE waits.task_id = ?1 AND tasks.ended_at IS NULL
    ) OR EXISTS (
        SELECT 1 FROM waits JOIN tasks ON tasks.task_id = waits.on_id
        WHERE waits.task_id = ?1 AND waits.strict = 1
        AND tasks.ended_at IS NOT NULL AND tasks.phase <> 'completed'
    ))";

/// What one task waits for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    on: Vec<TaskId>,
    /// Whether the task is given up as soon as one of them ends without being completed.
    strict: bool,
}

impl Open {
    /// The tasks that must end before this one moves: those that it waits for, or its
    /// verification.
    pub(super) fn of(state: Option<&State>) -> Self {
        let Some(state) = state else { return Self::default() };
        match &state.phase {
            Phase::Waiting { on } => {
                let any = state.assignment.as_ref().is_none_or(|it| it.after_any);
                Self { on: on.clone(), strict: state.attempts == 0 && !any }
            }
            Phase::Submitted { escalated_to: None, .. } => {
                Self { on: state.verification().into_iter().collect(), strict: false }
            }
            Phase::Submitted { escalated_to: Some(_), .. }
            | Phase::Queued { .. }
            | Phase::Running { .. }
            | Phase::Released { .. }
            | Phase::Blocked { .. }
            | Phase::Ready { .. }
            | Phase::Ended { .. } => Self::default(),
        }
    }

    /// Writes them in the place of those that the generation has of this task.
    pub(super) fn save(
        &self,
        act: &Transaction<'_>,
        generation: i64,
        id: &TaskId,
    ) -> rusqlite::Result<()> {
        let sql = format!("DELETE FROM waits_{generation} WHERE task_id = ?1");
        act.prepare_cached(&sql)?.execute([id.as_str()])?;
        let sql = format!(
            "INSERT OR IGNORE INTO waits_{generation} (task_id, on_id, strict) VALUES (?1, ?2, ?3)"
        );
        let mut insert = act.prepare_cached(&sql)?;
        for on in &self.on {
            insert.execute(params![id.as_str(), on.as_str(), self.strict])?;
        }
        Ok(())
    }
}

/// Which waits to look at: those that what is in this part of the log may have ended, closed into a
/// circle, or begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// The part begins after this sequence.
    pub after: u64,
    /// It ends at this one.
    pub through: u64,
}

impl Store {
    /// Who waits for a task, a page of [`VIEW_ROWS`] at a time, in the order of their ids. `after`
    /// is the last one of the page before.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn waiters(
        &self,
        on: TaskId,
        after: Option<TaskId>,
    ) -> Result<Vec<TaskId>, QueryError> {
        self.read(move |view| {
            let sql = "SELECT task_id FROM waits WHERE on_id = ?1 AND task_id > ?2
                       ORDER BY task_id LIMIT ?3";
            let after = after.as_ref().map_or("", TaskId::as_str);
            Ok(ids(view, sql, params![on.as_str(), after, page()])?)
        })
        .await
    }

    /// The tasks whose wait is over, or can never be since they wait for each other: a page of at
    /// most [`VIEW_ROWS`] of all of them, in the order of their ids, and where the next page
    /// begins.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn movable(
        &self,
        after: Option<TaskId>,
    ) -> Result<(Vec<TaskId>, Option<TaskId>), QueryError> {
        self.read(move |view| {
            let after = after.as_ref().map_or("", TaskId::as_str);
            let sql = "SELECT DISTINCT task_id FROM waits WHERE task_id > ?1
                       ORDER BY task_id LIMIT ?2";
            let waiting = ids(view, sql, params![after, page()])?;
            let full = waiting.len() >= VIEW_ROWS;
            let next = waiting.last().filter(|_| full).cloned();
            Ok((only_movable(view, waiting)?, next))
        })
        .await
    }

    /// The tasks among those whose waits `news` touches that may be moved now: see
    /// [`Store::movable`]. All of them: `news` is to be a bounded part of the log.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn moved_by(&self, news: News) -> Result<Vec<TaskId>, QueryError> {
        self.read(move |view| {
            let sql = "SELECT wait.task_id FROM entries JOIN waits AS wait
                           ON wait.on_id = entries.task_id
                       WHERE entries.seq > ?1 AND entries.seq <= ?2 AND entries.transition
                           IN ('completed', 'failed', 'cancelled', 'dead')
                       UNION
                       SELECT wait.task_id FROM entries JOIN waits AS wait
                           ON wait.task_id = entries.task_id
                       WHERE entries.seq > ?1 AND entries.seq <= ?2 AND entries.transition
                           IN ('created', 'waiting', 'submitted', 'revived')";
            let touched = ids(view, sql, params![int(news.after), int(news.through)])?;
            Ok(only_movable(view, touched)?)
        })
        .await
    }

    /// Whether a waiting task is rightly held: all that it waits for is known, some of it has not
    /// ended, and they do not wait for each other.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn is_held(&self, task: TaskId) -> Result<bool, QueryError> {
        self.read(move |view| {
            let sql = "SELECT count(*) > 0 AND sum(tasks.first_seq IS NULL) = 0
                       FROM waits LEFT JOIN tasks ON tasks.task_id = waits.on_id
                       WHERE waits.task_id = ?1";
            let known: Option<bool> =
                view.prepare_cached(sql)?.query_row([task.as_str()], |row| row.get(0))?;
            Ok(known == Some(true) && !is_movable(view, &task)?)
        })
        .await
    }
}

fn only_movable(view: &Connection, tasks: Vec<TaskId>) -> rusqlite::Result<Vec<TaskId>> {
    let mut found = Vec::new();
    for task in tasks {
        if is_movable(view, &task)? {
            found.push(task);
        }
    }
    Ok(found)
}

fn is_movable(view: &Connection, task: &TaskId) -> rusqlite::Result<bool> {
    let mut over = view.prepare_cached(IS_OVER)?;
    Ok(over.query_row([task.as_str()], |row| row.get(0))? || is_in_circle(view, task)?)
}

/// Whether the waits lead from a task back to it. It is worth the walk only where somebody waits
/// for the task too.
fn is_in_circle(view: &Connection, task: &TaskId) -> rusqlite::Result<bool> {
    let waited = "SELECT 1 FROM waits WHERE on_id = ?1 LIMIT 1";
    if view.prepare_cached(waited)?.query_row([task.as_str()], |_| Ok(())).optional()?.is_none() {
        return Ok(false);
    }
    let sql = "WITH RECURSIVE reached (id) AS (
                   SELECT on_id FROM waits WHERE task_id = ?1
                   UNION
                   SELECT waits.on_id FROM reached JOIN waits ON waits.task_id = reached.id
                   LIMIT ?2
               ) SELECT 1 FROM reached WHERE id = ?1 LIMIT 1";
    let most = i64::try_from(WAITS_FOLLOWED).unwrap_or(i64::MAX);
    view.prepare_cached(sql)?.exists(params![task.as_str(), most])
}

fn ids(
    view: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> rusqlite::Result<Vec<TaskId>> {
    view.prepare_cached(sql)?.query_map(values, |row| parsed(row, 0))?.collect()
}

fn page() -> i64 {
    i64::try_from(VIEW_ROWS).unwrap_or(i64::MAX)
}
