//! How things are written on all pages: moments, phases, roles, tasks, and what somebody else wrote.

use maud::{Markup, html};
use serde_json::Value;
use sinew_model::{
    Role, TaskId, Time, limits::DASHBOARD_TEXT, presence::standing::Standing, task::Actor,
};
use sinew_views::task::TaskRow;

/// A moment. The script of the page writes how long ago it was; without it, it stands as it is.
pub(super) fn time(at: Time) -> Markup {
    let full = at.to_string();
    let text = full.get(..19).unwrap_or(&full).replace('T', " ");
    html! { time datetime=(full) title=(format!("{text} UTC")) { (text) } }
}

/// Where a task stands, as a word with a colour that says the same.
pub(super) fn phase(word: &str) -> Markup {
    let tone = match word {
        "running" => "active",
        "queued" | "scheduled" | "waiting" => "calm",
        "retrying" | "blocked" | "submitted" => "warn",
        "completed" => "good",
        "failed" | "dead" => "bad",
        _ => "mute",
    };
    badge(tone, word)
}

/// How an agent or a role stands.
pub(super) fn standing(it: Standing) -> Markup {
    let tone = match it {
        Standing::Busy => "active",
        Standing::Idle => "good",
        Standing::Paused | Standing::Draining | Standing::Stale => "warn",
        Standing::Asleep => "calm",
        Standing::Gone => "mute",
    };
    badge(tone, it.word())
}

/// A word on a quiet ground.
pub(super) fn badge(tone: &'static str, word: &str) -> Markup {
    html! { span class=(format!("badge {tone}")) { (word) } }
}

/// A role, which leads to its tasks.
pub(super) fn role(role: &Role) -> Markup {
    html! { a.role href=(format!("/tasks?role={role}")) { (role) } }
}

/// The role of a task; `-` for a message that could not be read.
pub(super) fn role_if(it: Option<&Role>) -> Markup {
    it.map_or_else(|| html! { span.mute { "–" } }, role)
}

/// Who wrote an entry.
pub(super) fn actor(by: &Actor) -> Markup {
    html! {
        span.actor {
            (by.role)
            @if let Some(instance) = &by.instance {
                @if instance.as_str() != by.role.as_str() {
                    span.mute { " " (instance) }
                }
            }
        }
    }
}

/// The end of an id: ids begin alike where tasks began at the same time.
pub(super) fn short(id: &TaskId) -> Markup {
    let text = id.as_str();
    let from = text.len().saturating_sub(8);
    let tail = text.get(from..).unwrap_or(text);
    html! { code.id title=(text) { @if from > 0 { "…" } (tail) } }
}

/// A task, which leads to its page.
pub(super) fn task(row: &TaskRow) -> Markup {
    html! { a.task href=(task_path(&row.task_id)) { (title(row)) } }
}

/// What a task is called.
pub(super) fn title(row: &TaskRow) -> &str {
    if row.title.trim().is_empty() { "(a message that could not be read)" } else { &row.title }
}

/// Where the page of a task is.
pub(super) fn task_path(id: &TaskId) -> String {
    format!("/tasks/{id}")
}

/// How far a task is.
pub(super) fn progress(row: &TaskRow) -> Markup {
    html! {
        @if let Some(percent) = row.percent {
            progress value=(percent) max="100" aria-label="Progress" { (percent) "%" }
        }
        @if let Some(message) = &row.message {
            span.message { (cut(message, 140)) }
        }
    }
}

/// At most so many characters of a text.
pub(super) fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let head: String = text.chars().take(longest.saturating_sub(1)).collect();
    format!("{head}…")
}

/// What somebody else wrote: a text as it is, everything else as JSON.
pub(super) fn value(value: &Value) -> Markup {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => return html! { p.mute { "Nothing." } },
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            serde_json::to_string_pretty(value).unwrap_or_default()
        }
    };
    let shown = cut(&text, DASHBOARD_TEXT);
    html! {
        pre tabindex="0" { (shown) }
        @if shown.len() < text.len() {
            p.mute { "This is the beginning of it; the command line shows all." }
        }
    }
}

/// The beginning of a sentence.
pub(super) fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A number with what it counts: `1 task`, `12,000 tasks`.
pub(super) fn count(number: u64, one: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {one}{ending}", number_text(number))
}

/// A number with commas between thousands.
pub(super) fn number_text(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What is said where there is nothing to show, and what to do about it.
pub(super) fn empty(what: &str, hint: Markup) -> Markup {
    html! { div.empty { p { (what) } div.hint { (hint) } } }
}

/// A command that can be copied.
pub(super) fn command(text: &str) -> Markup {
    html! { pre.command tabindex="0" { code { (text) } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        let check = |number, expect| assert_eq!(number_text(number), expect);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(1_234_567, "1,234,567");
        assert_eq!(count(1, "task"), "1 task");
        assert_eq!(count(12_000, "task"), "12,000 tasks");
    }

    #[test]
    fn hostile_text_is_text() {
        let hostile = "<script>alert(1)</script>\r\n\" onload=x";
        let shown = value(&Value::String(hostile.to_owned())).into_string();
        assert!(!shown.contains("<script"), "{shown}");
        assert!(shown.contains("&lt;script&gt;"), "{shown}");
        let shown = command(hostile).into_string();
        assert!(!shown.contains("<script"), "{shown}");
    }

    #[test]
    fn a_cut_text_says_that_it_is_cut() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("äöüß", 3), "äö…");
    }
}
