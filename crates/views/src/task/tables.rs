//! The tables of the view of tasks. A change to one of them is a new [`VERSION`], and a file of an
//! earlier one is emptied and filled again.

/// The version of the tables below, and of how they are filled: a view of version 3 could miss
/// entries that a server which had not caught up did not show.
pub(super) const VERSION: i64 = 4;

/// The tables that exist once per generation, for which `{g}` stands.
pub(super) const TABLES: &str = "
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
pub(super) const VIEWS: [&str; 4] = ["tasks", "waits", "entries", "voids"];
