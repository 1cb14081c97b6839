//! What was asked of Sinew and what it answered, kept in a file beside it: the side of the books
//! that no fault touches. One JSON object a line; a line is written before the question is asked,
//! and another one with the answer.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use sinew_model::TaskId;

use crate::plan::Work;

/// What is known of one delegation. The order is that of their weight: what was once accepted
/// stays so, whatever a repetition of the question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Answer {
    /// Refused, or not sent: nothing may be left of it.
    Refused,
    /// Asked, without an answer, or with the answer that nobody knows: it exists or it does not,
    /// and if it does, it ends once.
    Unknown,
    /// Accepted: it must end, once.
    Accepted,
}

/// What is known of calling a task off. The order is that of their weight: of several answers the
/// heaviest holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum CallOff {
    /// Asked, without an answer, or with the answer that nobody knows.
    Unknown,
    /// The task had ended before.
    TooLate,
    /// It is called off: it must have ended so.
    Stopped,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    id: TaskId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    work: Option<Work>,
    answer: Option<Answer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call_off: Option<CallOff>,
}

/// The file, open for writing.
#[derive(Debug)]
pub(crate) struct Ledger(Mutex<File>);

impl Ledger {
    /// An empty one.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(Mutex::new(File::create(path).context("making the ledger")?)))
    }

    /// Writes down what is about to be asked.
    ///
    /// # Errors
    /// When it cannot be written; then it must not be asked.
    pub(crate) fn asked(&self, id: &TaskId, work: Work) -> anyhow::Result<()> {
        let (id, work) = (id.clone(), Some(work));
        self.write(&Line { id, work, answer: None, why: None, call_off: None })
    }

    /// Writes down what was answered.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn answered(
        &self,
        id: &TaskId,
        answer: Answer,
        why: Option<String>,
    ) -> anyhow::Result<()> {
        let (id, answer) = (id.clone(), Some(answer));
        self.write(&Line { id, work: None, answer, why, call_off: None })
    }

    /// Writes down that a task is about to be called off, or what came of it.
    ///
    /// # Errors
    /// When it cannot be written; then it must not be called off.
    pub(crate) fn called_off(&self, id: &TaskId, call_off: CallOff) -> anyhow::Result<()> {
        let (id, call_off) = (id.clone(), Some(call_off));
        self.write(&Line { id, work: None, answer: None, why: None, call_off })
    }

    fn write(&self, line: &Line) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&text).context("writing the ledger")
    }
}

/// One delegation as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// What it was to do.
    pub(crate) work: Work,
    /// What is known of it.
    pub(crate) answer: Answer,
    /// Whether it was called off.
    pub(crate) call_off: Option<CallOff>,
}

/// The whole ledger, read back from its file.
///
/// # Errors
/// When the file cannot be read, or is no ledger.
pub(crate) fn read(path: &Path) -> anyhow::Result<BTreeMap<TaskId, Asked>> {
    fold(&std::fs::read_to_string(path).context("reading the ledger")?)
}

/// What the lines about one delegation say.
#[derive(Default)]
struct Lines {
    work: Option<Work>,
    /// Each time that it was asked.
    answers: Vec<Option<Answer>>,
    call_off: Option<CallOff>,
}

fn fold(text: &str) -> anyhow::Result<BTreeMap<TaskId, Asked>> {
    let mut all: BTreeMap<TaskId, Lines> = BTreeMap::new();
    for line in text.lines() {
        let line: Line = serde_json::from_str(line).context("a line of the ledger")?;
        let known = all.entry(line.id).or_default();
        known.work = known.work.or(line.work);
        match line.answer {
            None if line.call_off.is_some() => known.call_off = known.call_off.max(line.call_off),
            None => known.answers.push(None),
            answer => {
                if let Some(open) = known.answers.last_mut() {
                    *open = answer;
                }
            }
        }
    }
    let folded = all.into_iter().filter_map(|(id, Lines { work, answers, call_off })| {
        // A question without an answer may have been heard.
        let answer = answers.into_iter().map(|answer| answer.unwrap_or(Answer::Unknown)).max();
        Some((id, Asked { work: work?, answer: answer.unwrap_or(Answer::Unknown), call_off }))
    });
    Ok(folded.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(answers: &[Option<Answer>]) -> Answer {
        let dir = sinew_testkit::TempDir::new("ledger");
        let path = dir.join("ledger.jsonl");
        let ledger = Ledger::create(&path).unwrap();
        let id: TaskId = "t1".parse().unwrap();
        for answer in answers {
            ledger.asked(&id, Work::of_root(1, 1)).unwrap();
            if let Some(answer) = answer {
                ledger.answered(&id, *answer, None).unwrap();
            }
        }
        read(&path).unwrap()[&id].answer
    }

    #[test]
    fn a_question_without_an_answer_may_have_been_heard() {
        assert_eq!(read_back(&[None]), Answer::Unknown);
        assert_eq!(read_back(&[Some(Answer::Refused)]), Answer::Refused);
        assert_eq!(read_back(&[None, Some(Answer::Refused)]), Answer::Unknown);
        assert_eq!(read_back(&[Some(Answer::Unknown), Some(Answer::Accepted)]), Answer::Accepted);
        assert_eq!(read_back(&[Some(Answer::Accepted), Some(Answer::Refused)]), Answer::Accepted);
    }
    #[test]
    fn what_was_called_off_stays_so() {
        let dir = sinew_testkit::TempDir::new("ledger");
        let path = dir.join("ledger.jsonl");
        let ledger = Ledger::create(&path).unwrap();
        let id: TaskId = "t1".parse().unwrap();
        ledger.asked(&id, Work::of_root(1, 1)).unwrap();
        ledger.answered(&id, Answer::Accepted, None).unwrap();
        assert_eq!(read(&path).unwrap()[&id].call_off, None);
        for call_off in [CallOff::Unknown, CallOff::Stopped, CallOff::Unknown] {
            ledger.called_off(&id, call_off).unwrap();
        }
        let asked = read(&path).unwrap()[&id].clone();
        assert_eq!((asked.answer, asked.call_off), (Answer::Accepted, Some(CallOff::Stopped)));
    }
}
