//! The rules of a question: whoever is asked must be able to read it, and to answer it.

use super::entry::Question;
use crate::limits::{CAUSE_BYTES, CHOICE_BYTES, CHOICES, EFFECT_KEY_BYTES, head};

/// What makes a question one that can't be asked.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuestionError {
    /// There are no words in it.
    #[error("a question has words")]
    Empty,
    /// The key is empty or too long.
    #[error("the key of a question has 1 to {EFFECT_KEY_BYTES} bytes")]
    Key,
    /// There are too many choices.
    #[error("a question offers at most {CHOICES} choices")]
    Choices,
    /// A choice is empty or too long, or offered twice.
    #[error("a choice has 1 to {CHOICE_BYTES} bytes, and is offered once")]
    Choice,
}

impl Question {
    /// The key of a question that comes without one: the question itself, as far as it fits.
    #[must_use]
    pub fn key_of(text: &str) -> String {
        head(text.trim(), EFFECT_KEY_BYTES).to_owned()
    }

    /// The question as it is kept: its text cut at 8 KiB.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn checked(mut self) -> Result<Self, QuestionError> {
        if self.text.trim().is_empty() {
            return Err(QuestionError::Empty);
        }
        if self.key.is_empty() || self.key.len() > EFFECT_KEY_BYTES {
            return Err(QuestionError::Key);
        }
        if self.choices.len() > CHOICES {
            return Err(QuestionError::Choices);
        }
        let mut seen = std::collections::BTreeSet::new();
        let sound = |choice: &String| !choice.is_empty() && choice.len() <= CHOICE_BYTES;
        if !self.choices.iter().all(|choice| sound(choice) && seen.insert(choice)) {
            return Err(QuestionError::Choice);
        }
        self.text = head(&self.text, CAUSE_BYTES).to_owned();
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_nobody_could_answer_is_none() {
        let check = |change: &dyn Fn(&mut Question)| {
            let mut question = Question {
                key: "k".into(),
                text: "Which?".into(),
                to: "ceo".parse().unwrap(),
                choices: vec!["a".into(), "b".into()],
                escalate_at: None,
            };
            change(&mut question);
            question.checked().map(|question| question.text.len())
        };
        assert_eq!(check(&|_| {}), Ok(6));
        assert_eq!(check(&|it| it.text = "x".repeat(2 * CAUSE_BYTES)), Ok(CAUSE_BYTES));
        assert_eq!(check(&|it| it.text = " \n".into()), Err(QuestionError::Empty));
        assert_eq!(check(&|it| it.key.clear()), Err(QuestionError::Key));
        assert_eq!(check(&|it| it.key = "x".repeat(EFFECT_KEY_BYTES + 1)), Err(QuestionError::Key));
        let many = |it: &mut Question| it.choices = (0..=CHOICES).map(|n| n.to_string()).collect();
        assert_eq!(check(&many), Err(QuestionError::Choices));
        assert_eq!(check(&|it| it.choices.push("a".into())), Err(QuestionError::Choice));
        assert_eq!(check(&|it| it.choices.push(String::new())), Err(QuestionError::Choice));
    }

    #[test]
    fn the_key_of_a_long_question_fits() {
        assert_eq!(Question::key_of(" Which?\n"), "Which?");
        assert!(Question::key_of(&"\u{f6}".repeat(CAUSE_BYTES)).len() <= EFFECT_KEY_BYTES);
    }
}
