//! What a program reads: the assignment, with the attempt and its fence, and what came of what
//! earlier attempts had asked and waited for.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Map, Value, json};
use sinew_model::{
    TaskId,
    limits::{CAUSE_BYTES, ENDED_RESULTS_BYTES, TASKS_READ_AT_ONCE, head},
    task::{Change, End},
};

use crate::{context::Context, handler::Failure};

/// The document, and what of it counts when the program ends.
pub(super) struct Document {
    /// One line of JSON.
    pub(super) bytes: Vec<u8>,
    /// The tasks whose end it tells.
    pub(super) ended: BTreeSet<TaskId>,
}

/// Puts the document together.
pub(super) async fn of(task: &Context) -> Result<Document, Failure> {
    let ends = ends(task).await?;
    let mut value = serde_json::to_value(task.assignment()).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("attempt".to_owned(), task.attempt().into());
        fields.insert("fence".to_owned(), task.fence().into());
        let by = task.delegated_by().map(ToString::to_string);
        fields.insert("delegatedBy".to_owned(), by.into());
        let answers: Map<String, Value> = task
            .answers()
            .iter()
            .map(|(key, it)| {
                let by = &it.by.role;
                (key.clone(), json!({ "question": it.question, "answer": it.answer, "by": by }))
            })
            .collect();
        fields.insert("answers".to_owned(), answers.into());
        let refusals: Vec<Value> = task
            .refusals()
            .iter()
            .map(|it| json!({ "attempt": it.attempt, "reason": it.reason, "by": it.by.role }))
            .collect();
        fields.insert("refusals".to_owned(), refusals.into());
        fields.insert("ended".to_owned(), told(&ends).into());
    }
    let mut bytes = value.to_string().into_bytes();
    bytes.push(b'\n');
    Ok(Document { bytes, ended: ends.into_iter().map(|(task, _)| task).collect() })
}

/// The ends of the tasks that it came after, and that earlier attempts of it waited for.
async fn ends(task: &Context) -> Result<Vec<(TaskId, End)>, Failure> {
    let mut tasks: BTreeSet<TaskId> = task.assignment().after.iter().cloned().collect();
    let bus = task.client().bus();
    // A first attempt has none before it that may have waited.
    if task.attempt() > 1 {
        for logged in bus.history(task.id()).await?.entries {
            if let (Change::Waiting { on, .. }, None) = (logged.stored.entry.change, logged.void) {
                tasks.extend(on);
            }
        }
    }
    let reading = futures::stream::iter(tasks.into_iter().map(|id| async move {
        let state = bus.history(&id).await?.task.state;
        Ok::<_, Failure>(state.and_then(|state| state.end().cloned()).map(|end| (id, end)))
    }));
    let ends: Vec<_> = reading.buffered(TASKS_READ_AT_ONCE).try_collect().await?;
    Ok(ends.into_iter().flatten().collect())
}

fn told(ends: &[(TaskId, End)]) -> Map<String, Value> {
    let mut room = ENDED_RESULTS_BYTES;
    let mut told = Map::new();
    for (task, end) in ends {
        let word = end.transition();
        let how = match end {
            End::Completed { result, .. } => {
                json!({ "transition": word, "result": fitting(result, &mut room) })
            }
            End::Failed { cause } => json!({ "transition": word, "cause": cause }),
            End::Cancelled { reason } => json!({ "transition": word, "cause": reason }),
            End::Dead { detail, .. } => json!({ "transition": word, "cause": detail }),
        };
        told.insert(task.to_string(), how);
    }
    told
}

/// The result, or its beginning where there is no room any more for all of it.
fn fitting(result: &Value, room: &mut usize) -> Value {
    let text = result.to_string();
    if let Some(left) = room.checked_sub(text.len()) {
        *room = left;
        return result.clone();
    }
    json!({ "truncated": true, "bytes": text.len(), "head": head(&text, CAUSE_BYTES) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_told_and_no_more_of_the_results_than_fits() {
        let id = |text: &str| -> TaskId { text.parse().unwrap() };
        let large = Value::String("x".repeat(ENDED_RESULTS_BYTES - 2));
        let ends = [
            (id("T1"), End::completed(large.clone())),
            (id("T2"), End::completed(json!(12))),
            (id("T3"), End::Failed { cause: "no".into() }),
            (id("T4"), End::Cancelled { reason: "late".into() }),
        ];
        let told = told(&ends);
        assert_eq!(told["T1"], json!({ "transition": "completed", "result": large }));
        let cut = json!({ "truncated": true, "bytes": 2, "head": "12" });
        assert_eq!(told["T2"], json!({ "transition": "completed", "result": cut }));
        assert_eq!(told["T3"], json!({ "transition": "failed", "cause": "no" }));
        assert_eq!(told["T4"], json!({ "transition": "cancelled", "cause": "late" }));
    }
}
