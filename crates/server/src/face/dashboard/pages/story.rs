//! What an entry of a task's log says, in words for a person.

use std::time::Duration;

use maud::{Markup, html};
use sinew_model::{
    Entry, TaskId, Time,
    task::{Change, Effect, EscalationReason, Transition},
    time::spoken,
};
use sinew_views::task::EntryRow;

use crate::face::dashboard::words;

/// Characters of a cause or message on the timeline.
const WIDE: usize = 400;

/// A life as a timeline.
pub(super) fn timeline(entries: &[EntryRow], more: bool) -> Markup {
    let begun = entries.first().map(|first| first.stored_at);
    html! {
        ol.timeline {
            @for row in entries {
                li id=(format!("entry-{}", row.seq)) class=(tone(row.transition)) {
                    div.line {
                        b { (word(row.transition)) }
                        span.mute { (after(row.stored_at, begun)) }
                        span.spacer {}
                        (words::actor(&row.by))
                    }
                    (describe(row))
                    p.mute { (words::time(row.stored_at)) }
                }
            }
        }
        @if more { p.mute { "There is more than fits here: sinew task show has all of it." } }
    }
}

fn after(at: Time, begun: Option<Time>) -> String {
    let since = at.since(begun.unwrap_or(at));
    if since < Duration::from_millis(5) { String::new() } else { format!("+{}", spoken(since)) }
}

const fn word(transition: Transition) -> &'static str {
    match transition {
        Transition::Created => "Delegated",
        Transition::Enqueued => "Queued again",
        Transition::Started => "Started",
        Transition::Progress => "Progress",
        Transition::Effect => "Acted",
        Transition::Blocked => "Asked",
        Transition::Answered => "Answered",
        Transition::Waiting => "Waits",
        Transition::Resumed => "Goes on",
        Transition::Submitted => "Submitted",
        Transition::Refused => "Refused",
        Transition::Escalated => "Escalated",
        Transition::Released => "Given back",
        Transition::Revived => "Revived",
        Transition::Completed => "Completed",
        Transition::Failed => "Failed",
        Transition::Cancelled => "Cancelled",
        Transition::Dead => "Given up",
    }
}

const fn tone(transition: Transition) -> &'static str {
    match transition {
        Transition::Completed => "good",
        Transition::Failed | Transition::Dead => "bad",
        Transition::Blocked
        | Transition::Refused
        | Transition::Escalated
        | Transition::Released
        | Transition::Submitted => "warn",
        Transition::Started | Transition::Progress | Transition::Effect => "active",
        Transition::Created
        | Transition::Enqueued
        | Transition::Answered
        | Transition::Waiting
        | Transition::Resumed
        | Transition::Revived
        | Transition::Cancelled => "calm",
    }
}

/// What an entry says besides its word.
fn describe(row: &EntryRow) -> Markup {
    match serde_json::from_value::<Entry>(row.body.clone()) {
        Ok(entry) => change(&entry.change),
        // A later version wrote it, and this one shows what it can.
        Err(_) => html! { p.mute { "This version can’t read the rest of the entry." } },
    }
}

fn change(change: &Change) -> Markup {
    match change {
        Change::Created { assignment, .. } => html! {
            p { (assignment.delegator) " delegates to " (assignment.role) "." }
        },
        Change::Enqueued { reason, not_before, .. } => html! {
            p { (words::sentence(reason.words())) @if let Some(at) = not_before { ", from " (words::time(*at)) " on" } "." }
        },
        Change::Started(start) => html! {
            p { "Attempt " (start.attempt) ", on " code { (start.instance) } "." }
        },
        Change::Progress { message, percent, .. } => html! {
            p {
                @if let Some(percent) = percent { span.percent { (percent) "%" } " " }
                (words::cut(message, WIDE))
            }
        },
        Change::Effect { effect, .. } => html! {
            @match &**effect {
                Effect::Delegate { assignment } => p {
                    "Delegates to " (assignment.role) ": "
                    a href=(words::task_path(&assignment.task_id)) { (words::cut(&assignment.title, WIDE)) }
                },
                Effect::Send { mail, .. } => p { "Sends " (words::cut(&mail.kind, WIDE)) " to " (mail.to) "." },
            }
        },
        Change::Blocked { question, .. } => html! {
            p { "Asks " (question.to) ":" }
            blockquote { (words::cut(&question.text, WIDE)) }
        },
        Change::Answered { answer, .. } => html! { blockquote { (said(answer)) } },
        Change::Waiting { on, .. } => html! { p { "For " (tasks(on)) "." } },
        Change::Resumed { cycle } => html! {
            @if cycle.is_empty() { p { "What it waited for has ended." } }
            @else { p { "These tasks wait for each other: " (tasks(cycle)) "." } }
        },
        Change::Submitted { attempt, .. } => html! {
            p { "Attempt " (attempt) " has a result, which must be accepted." }
        },
        Change::Refused { .. }
        | Change::Escalated { .. }
        | Change::Revived {}
        | Change::Released { .. }
        | Change::Completed { .. }
        | Change::Failed { .. }
        | Change::Cancelled { .. }
        | Change::Dead { .. } => turn(change),
    }
}

/// What gives a task another turn, or ends it.
fn turn(change: &Change) -> Markup {
    match change {
        Change::Refused { reason, escalated_to, .. } => html! {
            p { (words::cut(reason, WIDE)) }
            @if let Some(to) = escalated_to { p { (to) " is to decide." } }
        },
        Change::Escalated { to, reason } => html! {
            p {
                @match reason {
                    EscalationReason::Unanswered => { "Nobody answered in time: " }
                    EscalationReason::Unverified => { "Its verification came to no verdict: " }
                }
                (to) " is asked."
            }
        },
        Change::Revived {} => html! { p { "By hand." } },
        Change::Released { attempt, reason, cause, retry_at } => html! {
            p { "Attempt " (attempt) " " (reason.words()) "." }
            @if let Some(cause) = cause { pre tabindex="0" { (words::cut(cause, WIDE)) } }
            @if let Some(at) = retry_at { p.mute { "The next attempt begins " (words::time(*at)) "." } }
        },
        Change::Completed { attempt, verified, .. } => html! {
            p {
                "Attempt " (attempt) " did it."
                @if let Some(verified) = verified { " Accepted by " (verified.by) "." }
            }
        },
        Change::Failed { cause, .. } => html! { pre tabindex="0" { (words::cut(cause, WIDE)) } },
        Change::Cancelled { reason } => html! {
            @if reason.trim().is_empty() { p.mute { "Without a reason." } }
            @else { p { (words::cut(reason, WIDE)) } }
        },
        Change::Dead { cause, detail, .. } => html! {
            p { "Because " (cause.words()) "." }
            @if !detail.is_empty() { pre tabindex="0" { (words::cut(detail, WIDE)) } }
        },
        Change::Created { .. }
        | Change::Enqueued { .. }
        | Change::Started(_)
        | Change::Progress { .. }
        | Change::Effect { .. }
        | Change::Blocked { .. }
        | Change::Answered { .. }
        | Change::Waiting { .. }
        | Change::Resumed { .. }
        | Change::Submitted { .. } => html! {},
    }
}

fn tasks(ids: &[TaskId]) -> Markup {
    html! {
        @for (at, id) in ids.iter().enumerate() {
            @if at > 0 { ", " }
            a href=(words::task_path(id)) { (words::short(id)) }
        }
    }
}

fn said(answer: &serde_json::Value) -> String {
    let text = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
    words::cut(&text, WIDE)
}
