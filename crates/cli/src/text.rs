//! Words for a person: spans of time, tables, and text from elsewhere that a terminal can stand.

use std::time::Duration;

use comfy_table::{ContentArrangement, Table, TableStyle};
use serde_json::Value;
use sinew_bus::clock;
use sinew_model::{Time, stream::Span};

pub(crate) use sinew_model::time::spoken as span;

use crate::exit::Fault;

/// Characters of a moment with all its digits, so that what stands behind moments is in line.
pub(crate) const AT_WIDE: usize = 27;

/// How long ago a moment was.
pub(crate) fn ago(at: Time) -> String {
    format!("{} ago", span(clock::now().since(at)))
}

/// Text that somebody else wrote, without what would move the cursor of a terminal.
pub(crate) fn clean(text: &str) -> String {
    let harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    text.chars().map(|c| if harmless(c) { c } else { '\u{fffd}' }).collect()
}

/// The same on one line of at most `longest` characters.
pub(crate) fn short(text: &str, longest: usize) -> String {
    let line = clean(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= longest {
        return line;
    }
    let head: String = line.chars().take(longest.saturating_sub(1)).collect();
    format!("{head}\u{2026}")
}

/// A result as a person reads it: a text as it is, everything else as JSON.
pub(crate) fn result(value: &Value) -> String {
    match value {
        Value::String(text) => clean(text),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            serde_json::to_string_pretty(value).unwrap_or_default()
        }
    }
}

/// A table without lines: a head, and rows.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head);
    table.add_rows(rows);
    // Every cell has a blank on either side.
    let lines = table.lines().map(|line| line.get(1..).unwrap_or_default().trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// A moment from the command line: RFC 3339, or a span from now on as `90s` or `2h`.
///
/// # Errors
/// When it is neither.
pub(crate) fn moment(text: &str) -> Result<Time, Fault> {
    if let Ok(Span(span)) = text.parse() {
        return Ok(clock::now().plus(span));
    }
    text.parse().map_err(|_no_time: sinew_model::time::TimeError| {
        Fault::usage(format!(
            "{text:?} is no moment: say 2026-05-10T14:23:01Z, or a span from now on as 90s or 2h"
        ))
    })
}

/// A moment of the past from the command line: RFC 3339, or a span back from now as `2h`.
///
/// # Errors
/// When it is neither.
pub(crate) fn moment_back(text: &str) -> Result<Time, String> {
    if let Ok(Span(span)) = text.parse() {
        return Ok(clock::now().minus(span));
    }
    text.parse().map_err(|_no_time: sinew_model::time::TimeError| {
        "say 2026-05-10T14:23:01Z, or a span back from now as 90s or 2h".to_owned()
    })
}

/// A span from the command line, as `20s`.
///
/// # Errors
/// When it is none.
pub(crate) fn given_span(text: &str) -> Result<Duration, String> {
    text.parse::<Span>().map(|Span(span)| span)
}

/// A number from the command line, from 1 on.
///
/// # Errors
/// When it is none, or too large.
pub(crate) fn number_to<const MOST: usize>(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MOST).contains(number));
    number.ok_or_else(|| format!("it must be a number from 1 to {MOST}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_cannot_move_the_cursor() {
        assert_eq!(clean("a\x1b[2Jb\tc\n"), "a\u{fffd}[2Jb\tc\n");
        assert_eq!(short("a\n b\x07 c", 9), "a b\u{fffd} c");
        assert_eq!(short("abcdef", 4), "abc\u{2026}");
    }

    #[test]
    fn a_moment_is_a_time_or_a_span() {
        assert_eq!(moment("2026-05-10T14:23:01Z").unwrap().to_string(), "2026-05-10T14:23:01Z");
        assert!(moment("2h").unwrap() > clock::now().plus(Duration::from_secs(7_000)));
        assert!(moment("tomorrow").is_err());
    }

    #[test]
    fn a_table_has_a_head_and_no_blanks_at_its_end() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        assert_eq!(
            table(&["A", "B"], [row("x", "yy"), row("long", "")]),
            "A     B\nx     yy\nlong"
        );
    }
}
