//! What may be asked of the view of events. Every question is bounded.

use rusqlite::{Row, ToSql};
use serde::Serialize;
use sinew_model::{
    Role, TaskId, Time,
    event::Event,
    limits::{VIEW_PAGE_BYTES, VIEW_ROWS, VIEW_ROWS_DEFAULT},
};

use super::EventView;
use crate::store::{QueryError, live};

/// Which events are asked for. All that is named must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Words that all occur in the kind, role, action or details; the last letter of a word may be
    /// `*` for any ending.
    pub text: Option<String>,
    /// The role that acted.
    pub role: Option<Role>,
    /// The kind: `agent.action`.
    pub kind: Option<String>,
    /// The action: `file.write`.
    pub action: Option<String>,
    /// The task for which it was done.
    pub task: Option<TaskId>,
    /// Stored then or later.
    pub since: Option<Time>,
    /// Stored before.
    pub until: Option<Time>,
    /// Below that sequence: the next page.
    pub before: Option<u64>,
    /// So many at most, and never more than [`VIEW_ROWS`].
    pub limit: Option<usize>,
}

/// An event as it was stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRow {
    /// Its sequence.
    pub seq: u64,
    /// When the server stored it.
    pub stored_at: Time,
    /// Who sent it by its signature; `None` where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// The event.
    pub event: Event,
    /// What was found in its details, with the words between `[` and `]`; `None` without words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snippet: Option<String>,
}

/// What a role did on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DayRow {
    /// When the day began, in UTC.
    pub day: Time,
    /// The role.
    pub role: String,
    /// The kind of event.
    pub kind: String,
    /// How many.
    pub events: u64,
}

/// What a role did in all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActorRow {
    /// The role.
    pub role: String,
    /// How many events it emitted.
    pub events: u64,
    /// When the first was stored.
    pub first_at: Time,
    /// When the newest was stored.
    pub last_at: Time,
    /// What it did last.
    pub last_action: String,
    /// The task for which it last did something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_task: Option<String>,
}

impl EventView {
    /// The events that fit, newest first.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn search(&self, search: Search) -> Result<Vec<EventRow>, QueryError> {
        self.store()
            .read(move |view| {
                let (generation, _) = live(view)?;
                let (sql, values) = question(&search, generation);
                let values: Vec<&dyn ToSql> = values.iter().map(AsRef::as_ref).collect();
                let mut rows = view.prepare_cached(&sql)?;
                let mut rows = rows.query(values.as_slice())?;
                let (mut found, mut bytes) = (Vec::new(), 0_usize);
                while let Some(row) = rows.next()? {
                    let body: String = row.get(3)?;
                    bytes = bytes.saturating_add(body.len());
                    if bytes > VIEW_PAGE_BYTES && !found.is_empty() {
                        break;
                    }
                    found.extend(event(row, &body)?);
                }
                Ok(found)
            })
            .await
    }

    /// What each role did on each of the newest `days` days that have events, newest first.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn days(&self, days: u32) -> Result<Vec<DayRow>, QueryError> {
        let sql = "SELECT day * 86400000000, role, kind, events FROM daily
                   WHERE day IN (SELECT DISTINCT day FROM daily ORDER BY day DESC LIMIT ?1)
                   ORDER BY day DESC, role, kind LIMIT ?2";
        self.store()
            .read(move |view| {
                let mut rows = view.prepare_cached(sql)?;
                let rows = rows.query_map((days, rows_at_most(VIEW_ROWS)), |row| {
                    Ok(DayRow {
                        day: Time::from_micros(row.get(0)?),
                        role: row.get(1)?,
                        kind: row.get(2)?,
                        events: count(row, 3)?,
                    })
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// What each role did in all, who was heard last first.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn actors(&self) -> Result<Vec<ActorRow>, QueryError> {
        let sql = "SELECT role, events, first_at, last_at, last_action, last_task FROM actors
                   ORDER BY last_at DESC, role LIMIT ?1";
        self.store()
            .read(move |view| {
                let mut rows = view.prepare_cached(sql)?;
                let rows = rows.query_map([rows_at_most(VIEW_ROWS)], |row| {
                    Ok(ActorRow {
                        role: row.get(0)?,
                        events: count(row, 1)?,
                        first_at: Time::from_micros(row.get(2)?),
                        last_at: Time::from_micros(row.get(3)?),
                        last_action: row.get(4)?,
                        last_task: row.get(5)?,
                    })
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// How many messages on the subject of events are no event, or not from who they say.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn strays(&self) -> Result<u64, QueryError> {
        let sql = "SELECT count(*) FROM strays";
        self.store().read(move |view| Ok(view.query_row(sql, [], |row| count(row, 0))?)).await
    }
}

/// The SQL for a search, with the values of its parameters in order.
fn question(search: &Search, generation: i64) -> (String, Vec<Box<dyn ToSql>>) {
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut sql = "SELECT e.seq, e.stored_at, e.sender, e.body, ".to_owned();
    let words = search.text.as_deref().map(words).filter(|words| !words.is_empty());
    if let Some(words) = words {
        sql.push_str(&format!(
            "snippet(words_{generation}, -1, '[', ']', '…', 16)
             FROM words_{generation} JOIN events_{generation} e ON e.seq = words_{generation}.rowid
             WHERE words_{generation} MATCH ?"
        ));
        values.push(Box::new(words));
    } else {
        sql.push_str(&format!("NULL FROM events_{generation} e WHERE TRUE"));
    }
    let int = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
    let parts: [(&str, Option<Box<dyn ToSql>>); 7] = [
        ("e.role = ?", search.role.as_ref().map(|role| Box::new(role.to_string()) as _)),
        ("e.kind = ?", search.kind.clone().map(|kind| Box::new(kind) as _)),
        ("e.action = ?", search.action.clone().map(|action| Box::new(action) as _)),
        ("e.task_id = ?", search.task.as_ref().map(|task| Box::new(task.to_string()) as _)),
        ("e.stored_at >= ?", search.since.map(|time| Box::new(time.micros()) as _)),
        ("e.stored_at < ?", search.until.map(|time| Box::new(time.micros()) as _)),
        ("e.seq < ?", search.before.map(|seq| Box::new(int(seq)) as _)),
    ];
    for (part, value) in parts {
        if let Some(value) = value {
            sql.push_str(" AND ");
            sql.push_str(part);
            values.push(value);
        }
    }
    sql.push_str(" ORDER BY e.seq DESC LIMIT ?");
    let limit = search.limit.unwrap_or(VIEW_ROWS_DEFAULT);
    values.push(Box::new(rows_at_most(limit)));
    (sql, values)
}

/// A number of rows as a parameter, within the bound of one query.
fn rows_at_most(rows: usize) -> i64 {
    i64::try_from(rows.min(VIEW_ROWS)).unwrap_or(i64::MAX)
}

/// What a person typed as a question to FTS5: each word is a string of its own, so that none of it
/// is an operator.
fn words(text: &str) -> String {
    let word = |word: &str| {
        let (word, ending) = word.strip_suffix('*').map_or((word, ""), |word| (word, "*"));
        format!("\"{}\"{ending}", word.replace('"', "\"\""))
    };
    text.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// The event of a row. What was folded was readable; a later version may have folded more.
fn event(row: &Row<'_>, body: &str) -> rusqlite::Result<Option<EventRow>> {
    let Ok(event) = serde_json::from_str(body) else { return Ok(None) };
    Ok(Some(EventRow {
        seq: count(row, 0)?,
        stored_at: Time::from_micros(row.get(1)?),
        sender: row.get(2)?,
        event,
        snippet: row.get(4)?,
    }))
}

/// A number that is never negative.
fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn what_a_person_types_is_never_an_operator() {
        assert_eq!(words("file.write OR blog*"), r#""file.write" "OR" "blog"*"#);
        assert_eq!(words(r#"say "so" -x"#), r#""say" """so""" "-x""#);
        assert_eq!(words("  "), "");
    }
}
