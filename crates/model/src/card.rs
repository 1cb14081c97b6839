//! What a role can do: its card in the registry. It outlives restarts and the time when nobody of
//! the role is awake; the newest card of a role counts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    id::Role,
    limits::{ABOUT_BYTES, CARD_BYTES, SKILL_BYTES, SKILLS},
    time::Time,
};

/// The card of a role, on `genbrain.agents.{role}.card`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Card {
    /// The role.
    pub role: Role,
    /// When it was written.
    pub at: Time,
    /// Who wrote it.
    pub by: Role,
    /// What the role is for, in words for people and models.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// What it is good at, by which others find it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<String>,
    /// The JSON Schema of the inputs that it accepts; any if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepts: Option<Value>,
    /// The role is no longer there: it is not listed, and nothing is expected of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
    /// Fields that this version does not know; they are kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What is to be said about a role. What is not set stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Description {
    /// What the role is for.
    #[serde(default)]
    pub about: Option<String>,
    /// What it is good at, instead of what was said before.
    #[serde(default)]
    pub skills: Option<Vec<String>>,
    /// The JSON Schema of the inputs that it accepts.
    #[serde(default)]
    pub accepts: Option<Value>,
}

/// Why a card is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// The description is too long.
    #[error("the description has {bytes} bytes, over the limit of {ABOUT_BYTES}")]
    About {
        /// Its size.
        bytes: usize,
    },
    /// There are too many skills.
    #[error("{count} skills are over the limit of {SKILLS}")]
    Skills {
        /// How many.
        count: usize,
    },
    /// A skill is empty or too long.
    #[error("a skill must have 1 to {SKILL_BYTES} bytes without control characters: {skill:?}")]
    Skill {
        /// Which one.
        skill: String,
    },
    /// What it accepts is no schema: neither an object nor a truth value.
    #[error("a JSON Schema is an object, or true or false")]
    Schema,
    /// It is too large.
    #[error("the card has {bytes} bytes, over the limit of {CARD_BYTES}")]
    TooLarge {
        /// Its size as JSON.
        bytes: usize,
    },
    /// It can't be written down.
    #[error("the card can't be written: {detail}")]
    Unwritable {
        /// Why.
        detail: String,
    },
}

impl Card {
    /// A card of which nothing is known but the role.
    #[must_use]
    pub fn blank(role: Role, at: Time, by: Role) -> Self {
        Self {
            role,
            at,
            by,
            about: String::new(),
            skills: Vec::new(),
            accepts: None,
            withdrawn: false,
            extra: Map::new(),
        }
    }

    /// The card after `what` was said about the role. Of one that was withdrawn nothing is left.
    #[must_use]
    pub fn described(&self, what: &Description) -> Self {
        let mut card = if self.withdrawn {
            Self::blank(self.role.clone(), self.at, self.by.clone())
        } else {
            self.clone()
        };
        if let Some(about) = &what.about {
            card.about.clone_from(about);
        }
        if let Some(skills) = &what.skills {
            card.skills.clone_from(skills);
            card.skills.sort();
            card.skills.dedup();
        }
        if let Some(accepts) = &what.accepts {
            // True accepts everything, as does no schema at all.
            card.accepts = Some(accepts.clone()).filter(|schema| *schema != Value::Bool(true));
        }
        card
    }

    /// Whether both say the same, whoever wrote it and when.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let content = |it: &Self| {
            let Self { role, about, skills, accepts, withdrawn, extra, at: _, by: _ } = it.clone();
            (role, about, skills, accepts, withdrawn, extra)
        };
        content(self) == content(other)
    }

    /// Whether it has a skill, whatever the case of its letters.
    #[must_use]
    pub fn has_skill(&self, skill: &str) -> bool {
        let wanted = skill.to_lowercase();
        self.skills.iter().any(|it| it.to_lowercase() == wanted)
    }

    /// As it is stored.
    ///
    /// # Errors
    /// When it breaks a bound.
    pub fn encode(&self) -> Result<Vec<u8>, CardError> {
        if self.about.len() > ABOUT_BYTES {
            return Err(CardError::About { bytes: self.about.len() });
        }
        if self.skills.len() > SKILLS {
            return Err(CardError::Skills { count: self.skills.len() });
        }
        let sound = |text: &&String| {
            (1..=SKILL_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
        };
        if let Some(skill) = self.skills.iter().find(|skill| !sound(skill)) {
            let skill = crate::limits::head(skill, SKILL_BYTES).to_owned();
            return Err(CardError::Skill { skill });
        }
        if self.accepts.as_ref().is_some_and(|it| !it.is_object() && !it.is_boolean()) {
            return Err(CardError::Schema);
        }
        let body = serde_json::to_vec(self)
            .map_err(|error| CardError::Unwritable { detail: error.to_string() })?;
        if body.len() > CARD_BYTES {
            return Err(CardError::TooLarge { bytes: body.len() });
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        Card::blank("cto".parse().unwrap(), Time::from_micros(1), "ceo".parse().unwrap())
    }

    fn skills(of: &[&str]) -> Description {
        let skills = of.iter().map(|it| (*it).to_owned()).collect();
        Description { skills: Some(skills), ..Description::default() }
    }

    #[test]
    fn what_is_not_said_stays_as_it_is() {
        let about = Description { about: Some("Builds".to_owned()), ..Description::default() };
        let card = card().described(&about).described(&skills(&["rust", "Go", "rust"]));
        assert_eq!(
            (card.about.as_str(), &card.skills[..]),
            ("Builds", &["Go", "rust"].map(str::to_owned)[..])
        );
        assert!(card.has_skill("RUST") && !card.has_skill("rus"));
        let cleared = card.described(&skills(&[]));
        assert!(cleared.skills.is_empty() && cleared.about == "Builds");
    }

    #[test]
    fn a_withdrawn_role_that_is_described_again_begins_anew() {
        let old = Card { withdrawn: true, ..card().described(&skills(&["rust"])) };
        let again = old.described(&Description::default());
        assert!(again.says_the_same(&card()) && !again.says_the_same(&old));
    }

    #[test]
    fn the_schema_that_accepts_everything_is_none() {
        let accepts = |it| Description { accepts: Some(it), ..Description::default() };
        let narrow = card().described(&accepts(serde_json::json!({ "type": "object" })));
        assert!(narrow.accepts.is_some());
        assert_eq!(narrow.described(&accepts(true.into())).accepts, None);
    }

    #[test]
    fn every_bound_is_named_where_it_is_broken() {
        let check = |card: &Card, expect: &str| {
            let fault = card.encode().unwrap_err().to_string();
            assert!(fault.contains(expect), "{fault}");
        };
        check(&Card { about: "x".repeat(8_193), ..card() }, "the description has 8193");
        check(&Card { skills: vec!["x".to_owned(); 65], ..card() }, "65 skills");
        check(&Card { skills: vec!["a\x1b".to_owned()], ..card() }, "a skill must have");
        check(&Card { accepts: Some("x".into()), ..card() }, "a JSON Schema is");
        let large = serde_json::json!({ "const": "x".repeat(CARD_BYTES) });
        check(&Card { accepts: Some(large), ..card() }, "over the limit of 65536");
    }
}
