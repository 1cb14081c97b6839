//! What may be asked of the view of tasks. Every answer is bounded, in rows and in bytes, and
//! says where the next page begins.

use rusqlite::{Connection, params, params_from_iter, types::Value as Sql};
use serde::Serialize;
use serde_json::Value;
use sinew_model::{
    InstanceId, Role, TaskId, Time,
    limits::{
        TITLE_BYTES, TREE_DEPTH, VIEW_CANDIDATES, VIEW_PAGE_BYTES, VIEW_ROWS, VIEW_ROWS_DEFAULT,
        head,
    },
    task::{Actor, State, Task, Transition},
};

use super::{
    fold::VoidKind,
    row::{COLUMNS, TaskRow, int, moment, parsed, parsed_if, time, uint},
};
use crate::store::{QueryError, Store};

/// Every word for where a task stands, from its queue to its end.
pub const PHASES: [&str; 11] = [
    "scheduled",
    "queued",
    "running",
    "retrying",
    "blocked",
    "waiting",
    "submitted",
    "completed",
    "failed",
    "cancelled",
    "dead",
];

/// Which tasks to list. What is left out does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Those of this role.
    pub role: Option<Role>,
    /// Those that this role delegated.
    pub delegator: Option<Role>,
    /// The children of this task.
    pub parent: Option<TaskId>,
    /// Those in one of these [`PHASES`].
    pub phases: Vec<String>,
    /// Those that something happened to at this moment or later.
    pub since: Option<Time>,
    /// Those with this text in the title or id, in whatever case.
    pub search: Option<String>,
    /// Those that have ended, or have not.
    pub ended: Option<bool>,
    /// So many at most; never more than [`VIEW_ROWS`].
    pub limit: Option<usize>,
    /// The page after this one: [`Page::next`].
    pub after: Option<u64>,
}

/// Some tasks, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// The tasks.
    pub tasks: Vec<TaskRow>,
    /// Where the next page begins; `None` where this is the last one.
    pub next: Option<u64>,
}

/// A lawful entry of a task's log.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryRow {
    /// Its sequence in the stream.
    pub seq: u64,
    /// The task.
    pub task_id: TaskId,
    /// What happened.
    pub transition: Transition,
    /// When it was written, by the writer's clock.
    pub at: Time,
    /// When the server stored it.
    pub stored_at: Time,
    /// Who wrote it.
    pub by: Actor,
    /// The attempt that it is of.
    pub attempt: Option<u32>,
    /// Who sent it, by its signature.
    pub sender: Option<String>,
    /// The whole entry as it was written.
    pub body: Value,
}

/// A message on the log's subjects that changed no task.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VoidRow {
    /// Its sequence in the stream.
    pub seq: u64,
    /// The task that its subject names, if it names one.
    pub task_id: Option<TaskId>,
    /// The subject.
    pub subject: String,
    /// The kind of reason.
    pub kind: VoidKind,
    /// The reason in words.
    pub reason: String,
    /// When the server stored it.
    pub stored_at: Time,
    /// The beginning of its body.
    pub body: String,
}

/// The whole life of a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Life {
    /// The task.
    pub task: TaskRow,
    /// Its lawful entries in order.
    pub entries: Vec<EntryRow>,
    /// Where the next page of entries begins; `None` where these are all.
    pub next: Option<u64>,
}

/// A task with its descendants.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tree {
    /// The root, then its children, then theirs; none where there is no such task.
    pub tasks: Vec<TaskRow>,
    /// Whether there are more than an answer holds. Whoever needs all walks by pages of children.
    pub cut: bool,
}

/// How many tasks of a role stand somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Count {
    /// The role; `None` for messages that could not be decoded.
    pub role: Option<Role>,
    /// One of [`PHASES`].
    pub phase: String,
    /// How many.
    pub tasks: u64,
}

/// What a prefix of an id stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Candidates {
    /// No task.
    None,
    /// This task.
    One(TaskId),
    /// Several; the first [`VIEW_CANDIDATES`] of them.
    Many(Vec<TaskId>),
}

/// One step of a round over the tasks that have not ended.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Where the step before ended ([`Unended::first_seq`] of its last task); 0 at the beginning.
    pub after: u64,
    /// So many at most.
    pub limit: usize,
    /// Tasks that something happened to later than this are left out, unless they are overdue.
    pub quiet_since: Time,
    /// Tasks that are due by now are overdue.
    pub now: Time,
}

/// A task that has not ended, as the sweep judges it.
#[derive(Clone, Debug, PartialEq)]
pub struct Unended {
    /// The task.
    pub task_id: TaskId,
    /// The sequence of its first entry: the place in the round.
    pub first_seq: u64,
    /// The sequence of the newest message on its subjects, which an append must expect.
    pub last_seq: u64,
    /// Its state.
    pub state: State,
}

impl Store {
    /// Lists tasks, the newest first.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn list(&self, filter: Filter) -> Result<Page, QueryError> {
        if let Some(word) = filter.phases.iter().find(|word| !PHASES.contains(&word.as_str())) {
            return Err(QueryError::Phase(word.clone()));
        }
        self.read(move |view| list(view, &filter)).await
    }

    /// The children of a task, a page at a time, the newest first.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn children(&self, parent: TaskId, after: Option<u64>) -> Result<Page, QueryError> {
        let parent = Some(parent);
        self.list(Filter { parent, after, limit: Some(VIEW_ROWS), ..Filter::default() }).await
    }

    /// A task and the first page of its life; `None` where there is no such task.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn show(&self, id: TaskId) -> Result<Option<Life>, QueryError> {
        self.read(move |view| {
            let Some(task) = TaskRow::find(view, &id)? else { return Ok(None) };
            let (entries, next) = entries(view, &id, 0)?;
            Ok(Some(Life { task, entries, next }))
        })
        .await
    }

    /// The entries of a task after a sequence, and where the next page begins.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn entries(
        &self,
        id: TaskId,
        after: u64,
    ) -> Result<(Vec<EntryRow>, Option<u64>), QueryError> {
        self.read(move |view| Ok(entries(view, &id, after)?)).await
    }

    /// The messages that changed no task, of one task or of all, after a sequence.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn voids(&self, id: Option<TaskId>, after: u64) -> Result<Vec<VoidRow>, QueryError> {
        self.read(move |view| Ok(voids(view, id.as_ref(), after)?)).await
    }

    /// How many messages changed no task, by the kind of reason.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn void_counts(&self) -> Result<Vec<(VoidKind, u64)>, QueryError> {
        self.read(|view| {
            let mut counts = Vec::new();
            for kind in VoidKind::ALL {
                let sql = "SELECT count(*) FROM voids WHERE kind = ?1";
                let count = view.prepare_cached(sql)?.query_row([kind.word()], |row| row.get(0))?;
                counts.push((kind, uint(count)));
            }
            Ok(counts)
        })
        .await
    }

    /// A task with all tasks below it, in the order of their depth.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn tree(&self, root: TaskId) -> Result<Tree, QueryError> {
        self.read(move |view| Ok(tree(view, &root)?)).await
    }

    /// How many tasks of each role stand where.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn counts(&self) -> Result<Vec<Count>, QueryError> {
        self.read(|view| {
            let sql = "SELECT role, phase, count(*) FROM tasks WHERE first_seq IS NOT NULL
                       GROUP BY role, phase ORDER BY role, phase";
            let mut question = view.prepare_cached(sql)?;
            let counts = question.query_map([], |row| {
                Ok(Count { role: parsed_if(row, 0)?, phase: row.get(1)?, tasks: uint(row.get(2)?) })
            })?;
            Ok(counts.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The next tasks of a round over all that have not ended, in the order of their first
    /// entries. A round that begins again at 0 when a step comes back empty looks at every task,
    /// however many there are and whatever becomes of them meanwhile. A step is also bounded in
    /// bytes, so it may give fewer than asked for before the end.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn unended(&self, round: Round) -> Result<Vec<Unended>, QueryError> {
        self.read(move |view| unended(view, &round)).await
    }

    /// What a prefix of a task's id stands for. A whole id always stands for itself.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn resolve(&self, prefix: String) -> Result<Candidates, QueryError> {
        self.read(move |view| Ok(resolve(view, &prefix)?)).await
    }
}

fn list(view: &Connection, filter: &Filter) -> Result<Page, QueryError> {
    let limit = filter.limit.unwrap_or(VIEW_ROWS_DEFAULT).clamp(1, VIEW_ROWS);
    let (conditions, mut values) = conditions(filter);
    values.push(Sql::Integer(i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX)));
    let sql = format!(
        "SELECT {COLUMNS} FROM tasks WHERE first_seq IS NOT NULL{conditions}
         ORDER BY first_seq DESC LIMIT ?{}",
        values.len()
    );
    let mut question = view.prepare_cached(&sql)?;
    let mut tasks: Vec<TaskRow> =
        question.query_map(params_from_iter(values), TaskRow::read)?.collect::<Result<_, _>>()?;
    let more = tasks.len() > limit;
    tasks.truncate(limit);
    let next = tasks.last().filter(|_| more).map(|task| task.first_seq);
    Ok(Page { tasks, next })
}

/// The conditions of a filter, with the values that their numbered parameters stand for.
fn conditions(filter: &Filter) -> (String, Vec<Sql>) {
    let mut sql = String::new();
    let mut values = Vec::new();
    let mut add = |text: &str, value: Sql| {
        values.push(value);
        sql.push_str(&text.replace('?', &format!("?{}", values.len())));
    };
    if let Some(role) = &filter.role {
        add(" AND role = ?", Sql::Text(role.to_string()));
    }
    if let Some(role) = &filter.delegator {
        add(" AND delegator = ?", Sql::Text(role.to_string()));
    }
    if let Some(parent) = &filter.parent {
        add(" AND parent = ?", Sql::Text(parent.to_string()));
    }
    if let Some(since) = filter.since {
        add(" AND updated_at >= ?", Sql::Integer(moment(since)));
    }
    if let Some(after) = filter.after {
        add(" AND first_seq < ?", Sql::Integer(int(after)));
    }
    if let Some(text) = &filter.search {
        let text = head(text, TITLE_BYTES).replace('~', "~~").replace('%', "~%").replace('_', "~_");
        let like = " AND (title LIKE ? ESCAPE '~' OR task_id LIKE ? ESCAPE '~')";
        add(like, Sql::Text(format!("%{text}%")));
    }
    for (at, phase) in filter.phases.iter().enumerate() {
        let begin = if at == 0 { " AND phase IN (?" } else { ", ?" };
        add(begin, Sql::Text(phase.clone()));
    }
    if !filter.phases.is_empty() {
        sql.push(')');
    }
    match filter.ended {
        Some(true) => sql.push_str(" AND ended_at IS NOT NULL"),
        Some(false) => sql.push_str(" AND ended_at IS NULL"),
        None => {}
    }
    (sql, values)
}

fn entries(
    view: &Connection,
    id: &TaskId,
    after: u64,
) -> rusqlite::Result<(Vec<EntryRow>, Option<u64>)> {
    let sql = "SELECT seq, task_id, transition, at, stored_at, by_role, by_instance, attempt, body,
                      sender
               FROM entries WHERE task_id = ?1 AND seq > ?2 ORDER BY seq";
    let mut question = view.prepare_cached(sql)?;
    let mut rows = question.query(params![id.as_str(), int(after)])?;
    let (mut entries, mut bytes) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next()? {
        let body: String = row.get(8)?;
        bytes = bytes.saturating_add(body.len());
        let full = entries.len() >= VIEW_ROWS || bytes > VIEW_PAGE_BYTES;
        let last = entries.last().map(|entry: &EntryRow| entry.seq);
        if last.is_some() && full {
            return Ok((entries, last));
        }
        entries.push(read_entry(row, body)?);
    }
    Ok((entries, None))
}

fn read_entry(row: &rusqlite::Row<'_>, body: String) -> rusqlite::Result<EntryRow> {
    let word: String = row.get(2)?;
    let transition = Transition::of_word(&word)
        .ok_or_else(|| rusqlite::Error::InvalidColumnName(format!("transition {word}")))?;
    Ok(EntryRow {
        seq: uint(row.get(0)?),
        task_id: parsed(row, 1)?,
        transition,
        at: time(row, 3)?,
        stored_at: time(row, 4)?,
        by: Actor { role: parsed(row, 5)?, instance: parsed_if::<InstanceId>(row, 6)? },
        attempt: row.get(7)?,
        sender: row.get(9)?,
        // It was decoded before it was stored, so this is JSON; else show it as it is.
        body: serde_json::from_str(&body).unwrap_or(Value::String(body)),
    })
}

fn voids(view: &Connection, id: Option<&TaskId>, after: u64) -> rusqlite::Result<Vec<VoidRow>> {
    let condition = if id.is_some() { "task_id = ?3 AND" } else { "?3 IS NULL AND" };
    let sql = format!(
        "SELECT seq, task_id, subject, kind, reason, stored_at, body FROM voids
         WHERE {condition} seq > ?1 ORDER BY seq LIMIT ?2"
    );
    let limit = i64::try_from(VIEW_ROWS).unwrap_or(i64::MAX);
    let mut question = view.prepare_cached(&sql)?;
    let rows = question.query_map(params![int(after), limit, id.map(TaskId::as_str)], |row| {
        let word: String = row.get(3)?;
        let kind = VoidKind::of_word(&word)
            .ok_or_else(|| rusqlite::Error::InvalidColumnName(format!("kind {word}")))?;
        Ok(VoidRow {
            seq: uint(row.get(0)?),
            task_id: parsed_if(row, 1)?,
            subject: row.get(2)?,
            kind,
            reason: row.get(4)?,
            stored_at: time(row, 5)?,
            body: row.get(6)?,
        })
    })?;
    rows.collect()
}

fn tree(view: &Connection, root: &TaskId) -> rusqlite::Result<Tree> {
    // A task has one parent, so this grows with the tree alone; the depth ends what foreign
    // entries may have closed into a ring.
    let sql = format!(
        "WITH RECURSIVE below (id, level) AS (
             VALUES (?1, 0)
             UNION
             SELECT child.task_id, below.level + 1 FROM below JOIN tasks AS child
             ON child.parent = below.id WHERE below.level <= ?2 LIMIT ?3
         ), once (id, level) AS (SELECT id, min(level) FROM below GROUP BY id)
         SELECT {COLUMNS} FROM once JOIN tasks ON task_id = id WHERE first_seq IS NOT NULL
         ORDER BY level, first_seq"
    );
    let limit = i64::try_from(VIEW_ROWS.saturating_add(1)).unwrap_or(i64::MAX);
    let mut question = view.prepare_cached(&sql)?;
    let rows = question.query_map(params![root.as_str(), TREE_DEPTH, limit], TaskRow::read)?;
    let mut tasks: Vec<TaskRow> = rows.collect::<Result<_, _>>()?;
    let cut = tasks.len() > VIEW_ROWS;
    tasks.truncate(VIEW_ROWS);
    // Children whose parent is unknown are no tree.
    if tasks.first().is_none_or(|first| &first.task_id != root) {
        tasks.clear();
    }
    Ok(Tree { tasks, cut })
}

fn unended(view: &Connection, round: &Round) -> Result<Vec<Unended>, QueryError> {
    // As far in the future as the rest is in the past: there the clock of this machine is wrong, and
    // what it says about quiet is no reason to leave a task out.
    let sql = "SELECT task_id, first_seq, state FROM tasks
               WHERE ended_at IS NULL AND first_seq > ?1
                 AND (updated_at <= ?2 OR due <= ?3 OR updated_at >= 2 * ?3 - ?2)
               ORDER BY first_seq LIMIT ?4";
    let limit = i64::try_from(round.limit).unwrap_or(i64::MAX);
    let mut question = view.prepare_cached(sql)?;
    let (quiet, now) = (moment(round.quiet_since), moment(round.now));
    let mut rows = question.query(params![int(round.after), quiet, now, limit])?;
    let (mut found, mut bytes) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next()? {
        let state: String = row.get(2)?;
        bytes = bytes.saturating_add(state.len());
        if !found.is_empty() && bytes > VIEW_PAGE_BYTES {
            break;
        }
        let task_id: TaskId = parsed(row, 0)?;
        let task: Task = serde_json::from_str(&state)
            .map_err(|source| QueryError::State { task: task_id.to_string(), source })?;
        let Some(state) = task.state else { continue };
        let first_seq = uint(row.get(1)?);
        found.push(Unended { task_id, first_seq, last_seq: task.last_seq, state });
    }
    Ok(found)
}

fn resolve(view: &Connection, prefix: &str) -> rusqlite::Result<Candidates> {
    // Ids are ASCII letters, digits, '-' and '_', so a tilde sorts after all that begin so.
    let sql = "SELECT task_id FROM tasks
               WHERE task_id >= ?1 AND task_id < ?1 || '~' AND first_seq IS NOT NULL
               ORDER BY task_id LIMIT ?2";
    let limit = i64::try_from(VIEW_CANDIDATES).unwrap_or(i64::MAX);
    let mut question = view.prepare_cached(sql)?;
    let rows = question.query_map(params![prefix, limit], |row| parsed(row, 0))?;
    let ids: Vec<TaskId> = rows.collect::<Result<_, _>>()?;
    Ok(match ids.as_slice() {
        [] => Candidates::None,
        [id] => Candidates::One(id.clone()),
        [id, ..] if id.as_str() == prefix => Candidates::One(id.clone()),
        [..] => Candidates::Many(ids),
    })
}
