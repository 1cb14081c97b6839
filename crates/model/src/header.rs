//! The names of message headers, in one place. `Nats-*` names are the server's own.

use crate::id::TaskId;

/// The server's id of a message for its dedup window; for an assignment `{taskId}:{epoch}`.
pub const MSG_ID: &str = "Nats-Msg-Id";
/// The epoch of an assignment, also on one that a schedule produced (those carry no message id).
pub const EPOCH: &str = "Sinew-Epoch";
/// Compare-and-set: the sequence that the newest message of the guarded subject must have.
pub const EXPECTED_SEQ: &str = "Nats-Expected-Last-Subject-Sequence";
/// Compare-and-set: the guarded subject, here the filter over a whole task.
pub const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
/// The stream that a publish is meant for: one that another stream would take is refused.
pub const EXPECTED_STREAM: &str = "Nats-Expected-Stream";
/// Names an atomic batch: its messages are stored together or not at all.
pub const BATCH_ID: &str = "Nats-Batch-Id";
/// The place of a message in its batch, counted from 1.
pub const BATCH_SEQ: &str = "Nats-Batch-Sequence";
/// On the last message of a batch: store it now.
pub const BATCH_COMMIT: &str = "Nats-Batch-Commit";
/// The subject of a message that a committer is asked to publish for its sender.
pub const TARGET: &str = "Sinew-Subject";
/// Who sent a message, with what proves it: see `model::signature`.
pub const SIGNATURE: &str = "Sinew-Signature";
/// When a scheduled message fires: `@at 2026-05-10T14:23:01Z`.
pub const SCHEDULE: &str = "Nats-Schedule";
/// The subject on which a scheduled message appears.
pub const SCHEDULE_TARGET: &str = "Nats-Schedule-Target";
/// How long a fired message is kept in the schedule stream after it was moved on.
pub const SCHEDULE_TTL: &str = "Nats-Schedule-TTL";
/// W3C trace context.
/// How long the stream keeps the message: whole seconds, as `60s`.
pub const TTL: &str = "Nats-TTL";
/// W3C trace context of the message.
pub const TRACEPARENT: &str = "traceparent";

/// The message id of a task's assignment in one epoch.
#[must_use]
pub fn assignment_id(task: &TaskId, epoch: u32) -> String {
    format!("{task}:{epoch}")
}

/// The epoch of an assignment from its headers: [`EPOCH`] where it is set, else the message id.
/// A bare client that sends neither has sent epoch 1. `None`: what is there makes no sense.
#[must_use]
pub fn epoch(task: &TaskId, epoch: Option<&str>, msg_id: Option<&str>) -> Option<u32> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|epoch| *epoch >= 1);
    match (epoch, msg_id) {
        (Some(text), _) => number(text),
        (None, Some(id)) => {
            match id.strip_prefix(task.as_str()).and_then(|rest| rest.strip_prefix(':')) {
                Some(text) => number(text),
                None => Some(1),
            }
        }
        (None, None) => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_read_from_either_header() {
        let task: TaskId = "T1".parse().unwrap();
        let check =
            |header, id, expect| assert_eq!(epoch(&task, header, id), expect, "{header:?} {id:?}");
        check(None, None, Some(1));
        check(None, Some("T1:7"), Some(7));
        check(Some("3"), Some("T1:7"), Some(3));
        check(None, Some("my-own-id"), Some(1));
        check(None, Some("T1:x"), None);
        check(Some("0"), None, None);
        check(Some("-1"), None, None);
    }
}
