//! The tables of a view's file, and whose file it is. What a view holds besides the tables here is
//! said by its [`Layout`].

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use sinew_model::{Subjects, Time, limits};

use super::{Checkpoint, Layout, OpenError};

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
    layout: &Layout,
) -> Result<(), OpenError> {
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    // Whose file it is must be known before anything is written into it.
    check_owner(connection, path, subjects, layout)?;
    let mode = "PRAGMA journal_mode = WAL";
    connection.query_row(mode, [], |_| Ok(())).map_err(unusable)?;
    // A view can be built again, so a power cut may cost the newest transactions.
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(unusable)?;
    let act =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unusable)?;
    // Again, since another process may have made the tables meanwhile.
    if check_owner(&act, path, subjects, layout)? == Found::Current {
        return Ok(());
    }
    make(&act, subjects, layout).and_then(|()| act.commit()).map_err(unusable)
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
    layout: &Layout,
) -> Result<Found, OpenError> {
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let count = "SELECT count(*) FROM sqlite_master";
    let objects: i64 = connection.query_row(count, [], |row| row.get(0)).map_err(unusable)?;
    if objects == 0 {
        return Ok(Found::Earlier);
    }
    if number("application_id").map_err(unusable)? != layout.application {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let found = number("user_version").map_err(unusable)?;
    if found > layout.version {
        return Err(OpenError::Later { path: path.to_owned(), found, known: layout.version });
    }
    let owner = connection
        .query_row("SELECT root || '.org.' || org FROM owner", [], |row| row.get::<_, String>(0))
        .optional()
        .map_err(unusable)?;
    let wanted = format!("{}.org.{}", subjects.root(), subjects.org());
    if let Some(found) = owner.filter(|found| *found != wanted) {
        return Err(OpenError::OtherOrg { path: path.to_owned(), found, wanted });
    }
    Ok(if found < layout.version { Found::Earlier } else { Found::Current })
}

/// Empties the file and makes the tables of this version.
fn make(act: &Transaction<'_>, subjects: &Subjects, layout: &Layout) -> rusqlite::Result<()> {
    let sql = "SELECT type, name FROM sqlite_master
               WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite~_%' ESCAPE '~'
               -- Views stand on tables; an index of words goes with the tables that it keeps.
               ORDER BY type DESC, sql LIKE 'CREATE VIRTUAL%' DESC";
    let old: Vec<(String, String)> = act
        .prepare(sql)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (kind, name) in old {
        act.execute_batch(&format!("DROP {kind} IF EXISTS \"{}\"", name.replace('"', "\"\"")))?;
    }
    act.execute_batch(COMMON)?;
    let owner = params![subjects.root().as_str(), subjects.org().as_str()];
    act.execute("INSERT INTO owner (root, org) VALUES (?1, ?2)", owner)?;
    act.pragma_update(None, "application_id", layout.application)?;
    act.pragma_update(None, "user_version", layout.version)?;
    let generation = add_generation(act, layout)?;
    make_live(act, generation, layout)
}

/// Makes the empty tables of a new generation, which is not live yet.
pub(crate) fn add_generation(act: &Transaction<'_>, layout: &Layout) -> rusqlite::Result<i64> {
    act.execute("INSERT INTO checkpoint (live, seq) VALUES (0, 0)", [])?;
    let generation = act.last_insert_rowid();
    act.execute_batch(&layout.tables.replace("{g}", &generation.to_string()))?;
    Ok(generation)
}

/// Lets the queries see this generation, and drops all others.
pub(crate) fn make_live(
    act: &Transaction<'_>,
    generation: i64,
    layout: &Layout,
) -> rusqlite::Result<()> {
    act.execute("UPDATE checkpoint SET live = 0 WHERE live = 1", [])?;
    act.execute("UPDATE checkpoint SET live = 1 WHERE generation = ?1", [generation])?;
    for view in layout.views {
        act.execute_batch(&format!(
            "DROP VIEW IF EXISTS {view};
             CREATE VIEW {view} AS SELECT * FROM {view}_{generation};"
        ))?;
    }
    drop_other_generations(act, layout)
}

/// Drops what is not live: the generation of before, or what an interrupted rebuild left.
pub(crate) fn drop_other_generations(
    act: &Transaction<'_>,
    layout: &Layout,
) -> rusqlite::Result<()> {
    let old: Vec<i64> = act
        .prepare("SELECT generation FROM checkpoint WHERE live = 0")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for generation in old {
        for view in layout.views {
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
