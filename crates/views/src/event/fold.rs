//! Folds events into one generation of the tables.

use rusqlite::{Transaction, params};
use sinew_model::{
    Subjects,
    event::Event,
    limits::{VIEW_VOID_BYTES, head},
};

use crate::{
    message::{Batch, Message},
    task::FoldError,
};

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// Folds the messages above `before`.
pub(super) fn fold(
    act: &Transaction<'_>,
    subjects: &Subjects,
    generation: i64,
    batch: &Batch,
    before: u64,
) -> Result<(), FoldError> {
    for message in batch.messages.iter().filter(|message| message.seq > before) {
        match read(subjects, message) {
            Ok(event) => keep(act, generation, message, &event)?,
            Err(reason) => stray(act, generation, message, &reason)?,
        }
    }
    Ok(())
}

/// The event that a message is, or why it counts for nothing.
fn read(subjects: &Subjects, message: &Message) -> Result<Event, String> {
    if let Some(reason) = &message.origin.refused {
        return Err(reason.clone());
    }
    let event: Event = serde_json::from_slice(&message.payload)
        .map_err(|error| format!("it is no event: {error}"))?;
    if &event.org_id == subjects.org() { Ok(event) } else { Err("it is of another org".to_owned()) }
}

fn keep(
    act: &Transaction<'_>,
    generation: i64,
    message: &Message,
    event: &Event,
) -> rusqlite::Result<()> {
    let (seq, at) = (signed(message.seq), message.stored_at.micros());
    let (role, kind, action) = (event.agent_role.as_str(), &event.kind, &event.action);
    let task = event.task_id.as_ref().map(|task| task.as_str());
    let details = if event.details.is_null() { String::new() } else { event.details.to_string() };
    let body = String::from_utf8_lossy(&message.payload);
    let sql = format!(
        "INSERT INTO events_{generation}
             (seq, stored_at, kind, role, action, task_id, sender, details, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
    );
    let sender = &message.origin.sender;
    let row = params![seq, at, kind, role, action, task, sender, details, body];
    act.prepare_cached(&sql)?.execute(row)?;
    let sql = format!(
        "INSERT INTO words_{generation} (rowid, kind, role, action, details)
         VALUES (?1, ?2, ?3, ?4, ?5)"
    );
    act.prepare_cached(&sql)?.execute(params![seq, kind, role, action, details])?;
    let sql = format!(
        "INSERT INTO daily_{generation} (day, role, kind, events) VALUES (?1, ?2, ?3, 1)
         ON CONFLICT DO UPDATE SET events = events + 1"
    );
    act.prepare_cached(&sql)?.execute(params![at.div_euclid(DAY), role, kind])?;
    let sql = format!(
        "INSERT INTO actors_{generation} (role, events, first_at, last_at, last_action, last_task)
         VALUES (?1, 1, ?2, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET events = events + 1, last_at = ?2, last_action = ?3,
             last_task = coalesce(?4, last_task)"
    );
    act.prepare_cached(&sql)?.execute(params![role, at, action, task])?;
    Ok(())
}

fn stray(
    act: &Transaction<'_>,
    generation: i64,
    message: &Message,
    reason: &str,
) -> rusqlite::Result<()> {
    let sql =
        format!("INSERT INTO strays_{generation} (seq, stored_at, reason) VALUES (?1, ?2, ?3)");
    let reason = head(reason, VIEW_VOID_BYTES);
    let row = params![signed(message.seq), message.stored_at.micros(), reason];
    act.prepare_cached(&sql)?.execute(row)?;
    Ok(())
}

/// A sequence as a column.
fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
