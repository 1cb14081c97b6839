//! Which tasks were completed by somebody else than their worker: results that were accepted. The
//! worker that submitted them is gone by then, so whoever accepts has to report the end.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, params};
use sinew_model::{TaskId, limits::VIEW_ROWS, task::Transition};

use super::row::{int, parsed, uint};
use crate::store::{QueryError, Store};

impl Store {
    /// Tasks whose result was accepted by an entry after `after` and up to `through`, with the
    /// sequence of the entry, in the order of the log: [`VIEW_ROWS`] at most.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn accepted(
        &self,
        after: u64,
        through: u64,
    ) -> Result<Vec<(TaskId, u64)>, QueryError> {
        self.read(move |view| {
            let sql = "SELECT entries.task_id, entries.seq FROM entries
                       JOIN tasks ON tasks.task_id = entries.task_id
                       WHERE entries.seq > ?1 AND entries.seq <= ?2
                         AND transition = ?3 AND by_role <> role
                       ORDER BY entries.seq LIMIT ?4";
            let mut question = view.prepare_cached(sql)?;
            let limit = i64::try_from(VIEW_ROWS).unwrap_or(i64::MAX);
            let values = params![int(after), int(through), Transition::Completed.word(), limit];
            let rows =
                question.query_map(values, |row| Ok((parsed(row, 0)?, uint(row.get(1)?))))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The newest entry that was stored so long before the newest one up to `seq`, by the server's
    /// clock; 0 where there is none.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn before(&self, seq: u64, span: Duration) -> Result<u64, QueryError> {
        self.read(move |view| {
            let sql = "SELECT seq FROM entries WHERE seq <= ?1 AND stored_at < ?2
                       ORDER BY seq DESC LIMIT 1";
            let newest = "SELECT stored_at FROM entries WHERE seq <= ?1 ORDER BY seq DESC LIMIT 1";
            let newest: Option<i64> =
                view.query_row(newest, [int(seq)], |row| row.get(0)).optional()?;
            let Some(newest) = newest else { return Ok(0) };
            let span = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
            let bound = newest.saturating_sub(span);
            let found: Option<i64> =
                view.query_row(sql, params![int(seq), bound], |row| row.get(0)).optional()?;
            Ok(found.map_or(0, uint))
        })
        .await
    }
}
