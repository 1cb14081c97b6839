//! What happens, line by line, with the seconds since the begin.

use std::collections::HashMap;

use serde_json::json;
use sinew_bus::clock;
use sinew_model::{
    Entry, Role, TaskId, Transition,
    task::{Change, ReleaseReason},
};
use tokio::time::Instant;

use super::since;
use crate::{cmd::task::describe, output::Out, text};

/// Prints what happens.
#[derive(Debug)]
pub(super) struct Timeline {
    out: Out,
    begun: Instant,
    colourful: bool,
    /// Whose task each is, learned when it is created.
    roles: HashMap<TaskId, Role>,
}

impl Timeline {
    /// Begins to count.
    pub(super) fn begin(out: Out) -> Self {
        let (begun, colourful) = (clock::instant(), out.is_colourful());
        Self { out, begun, colourful, roles: HashMap::new() }
    }

    /// Whose task it is.
    pub(super) fn role(&self, task: &TaskId) -> Option<&Role> {
        self.roles.get(task)
    }

    /// Prints an entry of a task's log.
    ///
    /// # Errors
    /// When nothing can be printed.
    pub(super) fn entry(&mut self, entry: &Entry) -> anyhow::Result<()> {
        if let Change::Created { assignment, .. } = &entry.change {
            self.roles.insert(entry.task_id.clone(), assignment.role.clone());
        }
        if self.out.is_json() {
            let seconds = since(self.begun).as_secs_f64();
            return self.out.document(&json!({ "seconds": seconds, "entry": entry }));
        }
        let role = self.roles.get(&entry.task_id).map_or("?", Role::as_str);
        let word = entry.change.transition();
        self.line(role, word.word(), &describe(&entry.change), colour(&entry.change))
    }

    /// Prints what the demo itself does.
    ///
    /// # Errors
    /// When nothing can be printed.
    pub(super) fn say(&self, who: &str, what: &str, detail: &str) -> anyhow::Result<()> {
        if self.out.is_json() {
            let seconds = since(self.begun).as_secs_f64();
            return self
                .out
                .document(&json!({ "seconds": seconds, "does": what, "detail": detail }));
        }
        let detail = if detail.is_empty() { what.to_owned() } else { format!("{what} ({detail})") };
        self.line(who, "*", &detail, "35")
    }

    /// Prints how long it took.
    ///
    /// # Errors
    /// When nothing can be printed.
    pub(super) fn end(&self, sound: bool) -> anyhow::Result<()> {
        let span = since(self.begun);
        if self.out.is_json() {
            let seconds = span.as_secs_f64();
            return self.out.document(&json!({ "seconds": seconds, "sound": sound }));
        }
        let words = if sound { "All is sound" } else { "Something is BROKEN: see above" };
        self.out.line(format_args!("\n{words}, after {}.", text::span(span)))
    }

    fn line(&self, who: &str, word: &str, text: &str, colour: &str) -> anyhow::Result<()> {
        let seconds = since(self.begun).as_secs_f64();
        let text = text::short(text, 100);
        if self.colourful {
            return self.out.line(format_args!(
                "{seconds:7.2}s  {who:<10}\x1b[{colour}m{word:<10}\x1b[0m{text}"
            ));
        }
        self.out.line(format_args!("{seconds:7.2}s  {who:<10}{word:<10}{text}"))
    }
}

/// The colour of a transition on a terminal.
const fn colour(change: &Change) -> &'static str {
    if let Change::Released { reason: ReleaseReason::Failed, .. } = change {
        return "31";
    }
    match change.transition() {
        Transition::Completed => "32",
        Transition::Failed | Transition::Cancelled | Transition::Dead => "31",
        Transition::Released | Transition::Blocked | Transition::Refused => "33",
        Transition::Started => "36",
        Transition::Created
        | Transition::Enqueued
        | Transition::Progress
        | Transition::Effect
        | Transition::Answered
        | Transition::Waiting
        | Transition::Resumed
        | Transition::Submitted
        | Transition::Escalated
        | Transition::Revived => "0",
    }
}
