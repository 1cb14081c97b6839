//! What a program's stdout says, line by line. Nothing here waits or writes, so that every kind of
//! output is tested in a moment.

use serde_json::{Map, Value};
use sinew_model::limits::OUTPUT_BYTES;

/// Said in place of what was too much.
const CUT: &str = "\n[the rest of the output was too long]";

/// A line that reports something.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    /// How far it is.
    Progress { message: String, percent: Option<u8> },
    /// Something that it did and that others may want to know.
    Event(Value),
    /// What it needs from somebody before it can go on.
    Blocked(String),
}

/// What a program printed so far.
#[derive(Debug)]
pub(super) struct Output {
    /// Most bytes of the begun line and the text together.
    limit: usize,
    /// The begun line.
    line: Vec<u8>,
    text: String,
    cut: bool,
    result: Option<Value>,
}

impl Default for Output {
    fn default() -> Self {
        Self::bounded(OUTPUT_BYTES)
    }
}

impl Output {
    fn bounded(limit: usize) -> Self {
        Self { limit, line: Vec::new(), text: String::new(), cut: false, result: None }
    }

    /// Takes the next bytes, and gives what whole lines report.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            // A line that never ends is kept up to the bound, and is text.
            let held = self.line.len().saturating_add(self.text.len());
            let room = self.limit.saturating_sub(held);
            self.cut |= part.len() > room;
            self.line.extend_from_slice(part.get(..room).unwrap_or(part));
            if part.ends_with(b"\n") {
                lines.extend(self.end_line());
            }
        }
        lines
    }

    /// The program has ended, perhaps in the middle of a line.
    pub(super) fn finish(&mut self) -> Option<Line> {
        if self.line.is_empty() { None } else { self.end_line() }
    }

    /// What it leaves as the task's result: what it said is the result, else its text.
    pub(super) fn into_result(self) -> Value {
        if let Some(result) = self.result {
            return result;
        }
        let mut text = self.text.trim_end().to_owned();
        if self.cut {
            text.push_str(CUT);
        }
        Value::String(text)
    }

    fn end_line(&mut self) -> Option<Line> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        match object(&line).map(|(key, value)| (reading(&key), value)) {
            Some((Some(Reading::Progress), value)) => Some(progress(&value)),
            Some((Some(Reading::Event), value)) => Some(Line::Event(value)),
            Some((Some(Reading::Blocked), value)) => Some(Line::Blocked(words(&value))),
            Some((Some(Reading::Result), value)) => {
                self.result = Some(value);
                None
            }
            Some((None, _)) | None => {
                self.keep(&line);
                None
            }
        }
    }

    fn keep(&mut self, line: &str) {
        if self.text.len().saturating_add(line.len()) <= self.limit {
            self.text.push_str(line);
        } else {
            self.cut = true;
        }
    }
}

enum Reading {
    Progress,
    Event,
    Result,
    Blocked,
}

fn reading(key: &str) -> Option<Reading> {
    match key {
        "progress" => Some(Reading::Progress),
        "event" => Some(Reading::Event),
        "result" => Some(Reading::Result),
        "blocked" => Some(Reading::Blocked),
        _ => None,
    }
}

/// The key and value of a line that is a JSON object with one key.
fn object(line: &str) -> Option<(String, Value)> {
    let line = line.trim();
    if !line.starts_with('{') {
        return None;
    }
    let fields: Map<String, Value> = serde_json::from_str(line).ok()?;
    if fields.len() == 1 { fields.into_iter().next() } else { None }
}

/// Progress is a text, a percentage, or an object with `message` and `percent`.
fn progress(value: &Value) -> Line {
    let percent_of = |value: &Value| {
        let percent = value.as_f64()?.clamp(0.0, 100.0);
        // Between 0 and 100 after the clamp, so it fits.
        (0..=100_u8).rev().find(|whole| f64::from(*whole) <= percent)
    };
    match value {
        Value::Object(fields) => Line::Progress {
            message: fields.get("message").map(words).unwrap_or_default(),
            percent: fields.get("percent").and_then(percent_of),
        },
        Value::Number(_) => Line::Progress { message: String::new(), percent: percent_of(value) },
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) => {
            Line::Progress { message: words(value), percent: None }
        }
    }
}

fn words(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LIMIT: usize = 50_000;

    fn all(text: &str, step: usize) -> (Vec<Line>, Value) {
        let mut output = Output::bounded(LIMIT);
        let mut lines = Vec::new();
        for bytes in text.as_bytes().chunks(step) {
            lines.extend(output.take(bytes));
        }
        lines.extend(output.finish());
        (lines, output.into_result())
    }

    #[test]
    fn lines_report_and_the_rest_is_the_result_however_the_bytes_come() {
        let text = "hello\n{\"progress\":\"half\"}\nw\u{f6}rld\n{\"progress\":{\"message\":\"most\",\
                    \"percent\":70.9}}\n{\"event\":{\"action\":\"x\"}}\n{\"a\":1,\"progress\":2}\n{\"no\":1}";
        for step in [1, 3, 1_000] {
            let (lines, result) = all(text, step);
            let expected = [
                Line::Progress { message: "half".into(), percent: None },
                Line::Progress { message: "most".into(), percent: Some(70) },
                Line::Event(json!({ "action": "x" })),
            ];
            assert_eq!(lines, expected, "in steps of {step}");
            assert_eq!(result, "hello\nw\u{f6}rld\n{\"a\":1,\"progress\":2}\n{\"no\":1}");
        }
    }

    #[test]
    fn a_result_line_beats_the_text_and_the_last_one_counts() {
        let (_, result) = all("text\n{\"result\":1}\n{\"result\":{\"words\":[2]}}\n", 7);
        assert_eq!(result, json!({ "words": [2] }));
        assert_eq!(all("", 1).1, "");
        assert_eq!(all("{\"result\":null}", 1).1, Value::Null);
    }

    #[test]
    fn output_without_end_is_bounded_and_says_so() {
        let (lines, result) = all(&"x".repeat(3 * LIMIT), 4_096);
        assert!(lines.is_empty());
        assert!(result.as_str().unwrap().len() <= LIMIT + CUT.len());
        assert!(result.as_str().unwrap().ends_with(CUT));
        let many = "a line\n".repeat(LIMIT);
        assert!(all(&many, 65_536).1.as_str().unwrap().len() <= LIMIT + CUT.len());
    }

    #[test]
    fn a_percentage_alone_is_progress() {
        let (lines, _) = all("{\"progress\":250}\n{\"blocked\":\"which one?\"}\n", 9);
        let expected = [
            Line::Progress { message: String::new(), percent: Some(100) },
            Line::Blocked("which one?".into()),
        ];
        assert_eq!(lines, expected);
    }
}
