//! What a program's stdout says, line by line. Nothing here waits or writes, so that every kind of
//! output is tested in a moment.

use serde::Deserialize;
use serde_json::{Map, Value};
use sinew_model::{Role, TaskId, limits::OUTPUT_BYTES, stream::Span};

use crate::ask::Ask;

/// Said in place of what was too much.
const CUT: &str = "\n[the rest of the output was too long]";

/// A line that reports something.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    /// How far it is.
    Progress { message: String, percent: Option<u8> },
    /// Something that it did and that others may want to know.
    Event(Value),
}

/// What a program that ends well leaves behind.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Left {
    /// Its result.
    Result(Value),
    /// A question, without whose answer it can't go on.
    Question(Ask),
    /// Tasks, before whose end it can't go on.
    Tasks(Vec<TaskId>),
    /// A line that was to be one of these, and what is wrong with it.
    Fault(String),
}

/// A question as a program prints it, where it is more than its words.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    question: String,
    key: Option<String>,
    to: Option<Role>,
    #[serde(default)]
    choices: Vec<String>,
    escalate_after: Option<Span>,
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
    /// What the last line said that says what it leaves.
    left: Option<Left>,
}

impl Default for Output {
    fn default() -> Self {
        Self::bounded(OUTPUT_BYTES)
    }
}

impl Output {
    fn bounded(limit: usize) -> Self {
        Self { limit, line: Vec::new(), text: String::new(), cut: false, left: None }
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

    /// What it leaves: what it said last of that, else its text as the result.
    pub(super) fn into_left(self) -> Left {
        if let Some(left) = self.left {
            return left;
        }
        let mut text = self.text.trim_end().to_owned();
        if self.cut {
            text.push_str(CUT);
        }
        Left::Result(Value::String(text))
    }

    fn end_line(&mut self) -> Option<Line> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        match object(&line).map(|(key, value)| (reading(&key), value)) {
            Some((Some(Reading::Progress), value)) => Some(progress(&value)),
            Some((Some(Reading::Event), value)) => Some(Line::Event(value)),
            Some((Some(Reading::Blocked), value)) => self.leave(question(value)),
            Some((Some(Reading::Waiting), value)) => self.leave(tasks(value)),
            Some((Some(Reading::Result), value)) => self.leave(Left::Result(value)),
            Some((None, _)) | None => {
                self.keep(&line);
                None
            }
        }
    }

    fn leave(&mut self, left: Left) -> Option<Line> {
        self.left = Some(left);
        None
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
    Waiting,
}

fn reading(key: &str) -> Option<Reading> {
    match key {
        "progress" => Some(Reading::Progress),
        "event" => Some(Reading::Event),
        "result" => Some(Reading::Result),
        "blocked" => Some(Reading::Blocked),
        "waiting" => Some(Reading::Waiting),
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

/// A question is a text, or an object with `question` and perhaps more.
fn question(value: Value) -> Left {
    if let Value::String(text) = value {
        return Left::Question(Ask::new(text).keyed_by_text());
    }
    let Asked { question, key, to, choices, escalate_after } = match serde_json::from_value(value) {
        Ok(asked) => asked,
        Err(error) => return Left::Fault(format!("the line `blocked` is no question: {error}")),
    };
    let mut ask = Ask::new(question).choices(choices);
    if let Some(key) = key {
        ask = ask.key(key);
    }
    if let Some(to) = to {
        ask = ask.to(to);
    }
    if let Some(Span(time)) = escalate_after {
        ask = ask.escalate_after(time);
    }
    Left::Question(ask.keyed_by_text())
}

/// The tasks to wait for: their ids in a list, or one.
fn tasks(value: Value) -> Left {
    let list = if value.is_string() { Value::Array(vec![value]) } else { value };
    match serde_json::from_value::<Vec<TaskId>>(list) {
        Ok(tasks) if tasks.is_empty() => Left::Fault("the line `waiting` names no task".to_owned()),
        Ok(tasks) => Left::Tasks(tasks),
        Err(error) => Left::Fault(format!("the line `waiting` is no list of tasks: {error}")),
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
        let (lines, left) = ends(text, step);
        let Left::Result(result) = left else { panic!("{left:?} is no result") };
        (lines, result)
    }

    fn ends(text: &str, step: usize) -> (Vec<Line>, Left) {
        let mut output = Output::bounded(LIMIT);
        let mut lines = Vec::new();
        for bytes in text.as_bytes().chunks(step) {
            lines.extend(output.take(bytes));
        }
        lines.extend(output.finish());
        (lines, output.into_left())
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
        let (lines, _) = all("{\"progress\":250}\n", 9);
        assert_eq!(lines, [Line::Progress { message: String::new(), percent: Some(100) }]);
    }

    #[test]
    fn the_last_line_that_says_what_is_left_counts() {
        let left = |text: &str| ends(text, 5).1;
        let asks = Left::Question(Ask::new("which?").key("which?"));
        assert_eq!(
            left("{\"result\":1}\ntext\n{\"blocked\":\"which?\"}\n{\"progress\":1}\n"),
            asks
        );
        assert_eq!(left("{\"blocked\":\"which?\"}\n{\"result\":1}\n"), Left::Result(1.into()));
        let whole = r#"{"blocked":{"question":"which?","key":"k","to":"ceo","choices":["a","b"],"escalateAfter":"2h"}}"#;
        let asks = Ask::new("which?").key("k").to("ceo".parse().unwrap()).choices(["a", "b"]);
        let asks = asks.escalate_after(std::time::Duration::from_secs(7_200));
        assert_eq!(left(whole), Left::Question(asks));
        let tasks = Left::Tasks(vec!["T1".parse().unwrap(), "T2".parse().unwrap()]);
        assert_eq!(left("{\"blocked\":\"which?\"}\n{\"waiting\":[\"T1\",\"T2\"]}"), tasks);
        assert_eq!(left("{\"waiting\":\"T1\"}"), Left::Tasks(vec!["T1".parse().unwrap()]));
    }

    #[test]
    fn what_was_to_be_a_question_or_a_wait_and_is_none_says_why() {
        let fault = |text: &str| {
            let (_, left) = ends(text, 64);
            let Left::Fault(fault) = left else { panic!("{left:?}") };
            fault
        };
        assert!(fault(r#"{"blocked":{"questoin":"which?"}}"#).contains("questoin"));
        assert!(fault(r#"{"blocked":{"question":"?","choices":"red"}}"#).contains("red"));
        assert!(fault(r#"{"blocked":{"question":"?","escalateAfter":"soon"}}"#).contains("soon"));
        assert!(fault(r#"{"waiting":[]}"#).contains("no task"));
        assert!(fault(r#"{"waiting":["a.b"]}"#).contains("a.b"));
    }
}
