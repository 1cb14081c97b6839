//! The tables of a view's file, and whose file it is. Everything here is one version of the
//! schema: a change to a table is a new [`VERSION`], and a file of an earlier one is emptied.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use sinew_model::{Subjects, Time, limits};

use super::{Checkpoint, OpenError};

/// The version of the tables below, and of how they are filled: a view of version 3 could miss
/// entries that a server which had not caught up did not show.
pub(crate) const VERSION: i64 = 4;

/// What SQLite keeps in the file's header to say whose it is: `Sinw`.
const APPLICATION: i64 = 0x5369_6e77;

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 64;

/// The tables that exist once.
const COMMON: &str = "
CREATE TABLE owner (root TEXT NOT NULL, org TEXT NOT NULL) STRICT;
CREATE TABLE checkpoint (
    -- Never used again, so that whoever fills a generation can't fill another one by mistake.
    generation INTEGER PRIMARY KEY AUTOINCREMENT,
    live       INTEGER NOT NULL,
    stream     TEXT,
    seq        INTEGER NOT NULL,
    stored_at  INTEGER
) STRICT;
CREATE UNIQUE INDEX checkpoint_live ON checkpoint (live) WHERE live = 1;
";

/// The tables that exist once per generation, for which `{g}` stands.
const GENERATION: &str = "
CREATE TABLE tasks_{g} (
    task_id      TEXT NOT NULL PRIMARY KEY,
    first_seq    INTEGER,
    role         TEXT,
    delegator    TEXT,
    title        TEXT,
    parent       TEXT,
    depth        INTEGER NOT NULL,
    priority     TEXT,
    phase        TEXT,
    epoch        INTEGER NOT NULL,
    queue_seq    INTEGER,
    not_before   INTEGER,
    attempts     INTEGER NOT NULL,
    failures     INTEGER NOT NULL,
    message      TEXT,
    percent      INTEGER,
    instance     TEXT,
    created_at   INTEGER NOT NULL,
    started_at   INTEGER,
    updated_at   INTEGER NOT NULL,
    ended_at     INTEGER,
    due          INTEGER NOT NULL,
    result       TEXT,
    result_bytes INTEGER,
    dead         TEXT,
    cause        TEXT,
    last_seq     INTEGER NOT NULL,
    voids        INTEGER NOT NULL,
    asked        TEXT,
    -- The delegator by its own signature; null where there is none.
    delegated_by TEXT,
    -- The model's fold, on which the next entry builds. Last, since it is large and seldom read.
    state        TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX tasks_{g}_first     ON tasks_{g} (first_seq);
CREATE INDEX tasks_{g}_role      ON tasks_{g} (role, first_seq);
CREATE INDEX tasks_{g}_counts    ON tasks_{g} (role, phase, first_seq);
CREATE INDEX tasks_{g}_phase     ON tasks_{g} (phase, first_seq);
CREATE INDEX tasks_{g}_delegator ON tasks_{g} (delegator, first_seq);
CREATE INDEX tasks_{g}_parent    ON tasks_{g} (parent, first_seq);
CREATE INDEX tasks_{g}_unended   ON tasks_{g} (first_seq) WHERE ended_at IS NULL;
-- What each waiting task waits for, and whether it is given up where that ends otherwise than
-- completed.
CREATE TABLE waits_{g} (
    task_id TEXT NOT NULL,
    on_id   TEXT NOT NULL,
    strict  INTEGER NOT NULL,
    PRIMARY KEY (task_id, on_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX waits_{g}_on ON waits_{g} (on_id, task_id);
CREATE TABLE entries_{g} (
    seq         INTEGER PRIMARY KEY,
    task_id     TEXT NOT NULL,
    transition  TEXT NOT NULL,
    at          INTEGER NOT NULL,
    stored_at   INTEGER NOT NULL,
    by_role     TEXT NOT NULL,
    by_instance TEXT,
    attempt     INTEGER,
    body        TEXT NOT NULL,
    -- By its signature; null where it has none.
    sender      TEXT
) STRICT;
CREATE INDEX entries_{g}_task ON entries_{g} (task_id, seq);
CREATE TABLE voids_{g} (
    seq       INTEGER PRIMARY KEY,
    task_id   TEXT,
    subject   TEXT NOT NULL,
    kind      TEXT NOT NULL,
    reason    TEXT NOT NULL,
    stored_at INTEGER NOT NULL,
    body      TEXT NOT NULL
) STRICT;
CREATE INDEX voids_{g}_task ON voids_{g} (task_id, seq);
CREATE INDEX voids_{g}_kind ON voids_{g} (kind);
";

/// The tables of a generation, by the name under which queries know them.
const VIEWS: [&str; 4] = ["tasks", "waits", "entries", "voids"];

/// What a connection is set to before it does anything.
pub(super) fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(limits::VIEW_BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// Makes sure that the file is a view of this org with the tables of this version.
pub(super) fn prepare(
    connection: &mut Connection,
    path: &Path,
    subjects: &Subjects,
) -> Result<(), OpenError> {
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    // Whose file it is must be known before anything is written into it.
    check_owner(connection, path, subjects)?;
    let mode = "PRAGMA journal_mode = WAL";
    connection.query_row(mode, [], |_| Ok(())).map_err(unusable)?;
    // A view can be built again, so a power cut may cost the newest transactions.
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(unusable)?;
    let act =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unusable)?;
    // Again, since another process may have made the tables meanwhile.
    if check_owner(&act, path, subjects)? == Found::Current {
        return Ok(());
    }
    make(&act, subjects).and_then(|()| act.commit()).map_err(unusable)
}

#[derive(PartialEq, Eq)]
enum Found {
    /// Nothing, or tables of an earlier version.
    Earlier,
    /// The tables of this version.
    Current,
}

fn check_owner(
    connection: &Connection,
    path: &Path,
    subjects: &Subjects,
) -> Result<Found, OpenError> {
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let count = "SELECT count(*) FROM sqlite_master";
    let objects: i64 = connection.query_row(count, [], |row| row.get(0)).map_err(unusable)?;
    if objects == 0 {
        return Ok(Found::Earlier);
    }
    if number("application_id").map_err(unusable)? != APPLICATION {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let found = number("user_version").map_err(unusable)?;
    if found > VERSION {
        return Err(OpenError::Later { path: path.to_owned(), found, known: VERSION });
    }
    let owner = connection
        .query_row("SELECT root || '.org.' || org FROM owner", [], |row| row.get::<_, String>(0))
        .optional()
        .map_err(unusable)?;
    let wanted = format!("{}.org.{}", subjects.root(), subjects.org());
    if let Some(found) = owner.filter(|found| *found != wanted) {
        return Err(OpenError::OtherOrg { path: path.to_owned(), found, wanted });
    }
    Ok(if found < VERSION { Found::Earlier } else { Found::Current })
}

/// Empties the file and makes the tables of this version.
fn make(act: &Transaction<'_>, subjects: &Subjects) -> rusqlite::Result<()> {
    let sql = "SELECT type, name FROM sqlite_master
               WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite~_%' ESCAPE '~'
               ORDER BY type DESC";
    let old: Vec<(String, String)> = act
        .prepare(sql)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (kind, name) in old {
        act.execute_batch(&format!("DROP {kind} \"{}\"", name.replace('"', "\"\"")))?;
    }
    act.execute_batch(COMMON)?;
    let owner = params![subjects.root().as_str(), subjects.org().as_str()];
    act.execute("INSERT INTO owner (root, org) VALUES (?1, ?2)", owner)?;
    act.pragma_update(None, "application_id", APPLICATION)?;
    act.pragma_update(None, "user_version", VERSION)?;
    let generation = add_generation(act)?;
    make_live(act, generation)
}

/// Makes the empty tables of a new generation, which is not live yet.
pub(crate) fn add_generation(act: &Transaction<'_>) -> rusqlite::Result<i64> {
    act.execute("INSERT INTO checkpoint (live, seq) VALUES (0, 0)", [])?;
    let generation = act.last_insert_rowid();
    act.execute_batch(&GENERATION.replace("{g}", &generation.to_string()))?;
    Ok(generation)
}

/// Lets the queries see this generation, and drops all others.
pub(crate) fn make_live(act: &Transaction<'_>, generation: i64) -> rusqlite::Result<()> {
    act.execute("UPDATE checkpoint SET live = 0 WHERE live = 1", [])?;
    act.execute("UPDATE checkpoint SET live = 1 WHERE generation = ?1", [generation])?;
    for view in VIEWS {
        act.execute_batch(&format!(
            "DROP VIEW IF EXISTS {view};
             CREATE VIEW {view} AS SELECT * FROM {view}_{generation};"
        ))?;
    }
    drop_other_generations(act)
}

/// Drops what is not live: the generation of before, or what an interrupted rebuild left.
pub(crate) fn drop_other_generations(act: &Transaction<'_>) -> rusqlite::Result<()> {
    let old: Vec<i64> = act
        .prepare("SELECT generation FROM checkpoint WHERE live = 0")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for generation in old {
        for view in VIEWS {
            act.execute_batch(&format!("DROP TABLE {view}_{generation}"))?;
        }
        act.execute("DELETE FROM checkpoint WHERE generation = ?1", [generation])?;
    }
    Ok(())
}

/// The live generation and how far it is.
pub(crate) fn live(view: &Connection) -> rusqlite::Result<(i64, Checkpoint)> {
    let sql = "SELECT generation, stream, seq, stored_at FROM checkpoint WHERE live = 1";
    view.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, read_checkpoint(row)?)))
}

/// How far a generation is; `None` where it was dropped.
pub(crate) fn checkpoint(
    view: &Connection,
    generation: i64,
) -> rusqlite::Result<Option<Checkpoint>> {
    let sql = "SELECT generation, stream, seq, stored_at FROM checkpoint WHERE generation = ?1";
    view.prepare_cached(sql)?.query_row([generation], read_checkpoint).optional()
}

/// The generation that a rebuild fills now, and how far it is.
pub(super) fn building(view: &Connection) -> rusqlite::Result<Option<(i64, u64)>> {
    let sql = "SELECT generation, seq FROM checkpoint WHERE live = 0 ORDER BY generation DESC";
    let read = |row: &rusqlite::Row<'_>| {
        Ok((row.get(0)?, u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0)))
    };
    view.prepare_cached(sql)?.query_row([], read).optional()
}

fn read_checkpoint(row: &rusqlite::Row<'_>) -> rusqlite::Result<Checkpoint> {
    Ok(Checkpoint {
        stream: row.get(1)?,
        seq: u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
        stored_at: row.get::<_, Option<i64>>(3)?.map(Time::from_micros),
    })
}

/// Moves a generation's checkpoint.
pub(crate) fn set_checkpoint(
    act: &Transaction<'_>,
    generation: i64,
    checkpoint: &Checkpoint,
) -> rusqlite::Result<()> {
    let sql = "UPDATE checkpoint SET stream = ?2, seq = ?3, stored_at = ?4 WHERE generation = ?1";
    act.prepare_cached(sql)?.execute(params![
        generation,
        checkpoint.stream,
        i64::try_from(checkpoint.seq).unwrap_or(i64::MAX),
        checkpoint.stored_at.map(Time::micros),
    ])?;
    Ok(())
}

/// The version of the tables in the file now: another process may have brought another one.
pub(crate) fn tables_version(act: &Transaction<'_>) -> rusqlite::Result<i64> {
    act.pragma_query_value(None, "user_version", |row| row.get(0))
}
