//! What a scaler of somebody else's, which asks instead of following, is told of one role: whether
//! it is to be awake, and how many instances it is to have.
//!
//! It is told the leader's own number and none that it could work out another from, so that what is
//! true of [`decide`](super::decide), above all that no busy instance is scaled away, is true there
//! too. Where nobody has decided for long there is no answer: ignorance is no reason to scale.

use super::{RoleSignal, Signal};
use crate::{
    id::{OrgId, Role},
    limits::SIGNAL_EVERY,
    time::Time,
};

/// Signals that may be missing before the last one is too old to act on.
const MISSING: u32 = 3;

/// The name of the one number that is told.
pub const INSTANCES: &str = "sinew-instances";

/// How many instances one of [`INSTANCES`] stands for: itself.
pub const INSTANCES_EACH: u32 = 1;

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    role: Role,
}

/// Why a question makes no sense here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuestionError {
    /// The role is missing.
    #[error("the metadata name no `role`")]
    NoRole,
    /// The role has a name that no role can have.
    #[error("`{0}` is no name of a role")]
    BadRole(String),
    /// The question is meant for the scaler of another org.
    #[error("this is the scaler of the org {here}, not of `{asked}`")]
    OtherOrg {
        /// The org that is served.
        here: OrgId,
        /// The org that is asked about.
        asked: String,
    },
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoAnswer {
    /// No scaler ever decided anything.
    #[error("no scaler has decided anything for this org")]
    Nobody,
    /// The last decision is too old.
    #[error("no scaler has decided anything since {0}")]
    Stale(Time),
    /// The team has no such role.
    #[error("the team has no role {0}")]
    UnknownRole(Role),
}

impl Question {
    /// Reads a question from its metadata: `role`, and `org` where whoever asks wants to be sure.
    ///
    /// # Errors
    /// See [`QuestionError`].
    pub fn read<'a>(
        get: impl Fn(&str) -> Option<&'a str>,
        here: &OrgId,
    ) -> Result<Self, QuestionError> {
        if let Some(asked) = get("org").filter(|asked| *asked != here.as_str()) {
            return Err(QuestionError::OtherOrg { here: here.clone(), asked: asked.to_owned() });
        }
        let role = get("role").ok_or(QuestionError::NoRole)?;
        match role.parse() {
            Ok(role) => Ok(Self { role }),
            Err(_) => Err(QuestionError::BadRole(role.to_owned())),
        }
    }

    /// What the last signal says of it.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub fn answer(&self, last: Option<&Signal>, now: Time) -> Result<Answer, NoAnswer> {
        let signal = last.ok_or(NoAnswer::Nobody)?;
        if signal.is_stale(now) {
            return Err(NoAnswer::Stale(signal.at));
        }
        let role = signal.roles.iter().find(|it| it.role == self.role);
        role.map(Answer::of).ok_or_else(|| NoAnswer::UnknownRole(self.role.clone()))
    }
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether there is to be any instance.
    pub active: bool,
    /// How many there are to be.
    pub instances: u32,
}

impl Answer {
    const fn of(role: &RoleSignal) -> Self {
        // An instance that still works keeps its role awake, whatever the number says.
        let instances = if role.replicas < role.busy { role.busy } else { role.replicas };
        Self { active: instances > 0, instances }
    }
}

impl Signal {
    /// Whether so many of its followers are missing that nobody can still lead.
    #[must_use]
    pub fn is_stale(&self, now: Time) -> bool {
        now.since(self.at) > MISSING * SIGNAL_EVERY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn signal(replicas: u32, busy: u32) -> Signal {
        serde_json::from_value(json!({
            "at": "2026-05-10T14:23:01Z", "orgId": "acme", "by": "a", "term": 1,
            "roles": [{
                "role": "cto", "replicas": replicas, "reason": "enough", "min": 0, "max": 9,
                "concurrency": 5, "running": busy, "busy": busy, "backlog": 3, "inFlight": busy,
                "waiting": 0,
            }],
        }))
        .unwrap()
    }

    fn ask(metadata: &[(&str, &'static str)]) -> Result<Question, QuestionError> {
        let get = |key: &str| metadata.iter().find(|(name, _)| *name == key).map(|it| it.1);
        Question::read(get, &"acme".parse().unwrap())
    }

    #[test]
    fn a_question_names_a_role_of_this_org() {
        assert!(ask(&[("role", "cto")]).is_ok());
        assert!(ask(&[("role", "cto"), ("org", "acme"), ("scalerAddress", "x:1")]).is_ok());
        assert_eq!(ask(&[]), Err(QuestionError::NoRole));
        assert_eq!(ask(&[("role", "c.*")]), Err(QuestionError::BadRole("c.*".to_owned())));
        let other = ask(&[("role", "cto"), ("org", "globex")]).unwrap_err();
        assert_eq!(other.to_string(), "this is the scaler of the org acme, not of `globex`");
    }

    #[test]
    fn ignorance_is_no_answer() {
        let (signal, now) = (signal(2, 0), "2026-05-10T14:23:31Z".parse().unwrap());
        let cto = ask(&[("role", "cto")]).unwrap();
        assert_eq!(cto.answer(None, now), Err(NoAnswer::Nobody));
        assert_eq!(cto.answer(Some(&signal), now), Ok(Answer { active: true, instances: 2 }));
        let later = "2026-05-10T14:23:32Z".parse().unwrap();
        assert_eq!(cto.answer(Some(&signal), later), Err(NoAnswer::Stale(signal.at)));
        let nobody = ask(&[("role", "cfo")]).unwrap().answer(Some(&signal), now);
        assert_eq!(nobody, Err(NoAnswer::UnknownRole("cfo".parse().unwrap())));
    }

    proptest! {
        #[test]
        fn a_role_sleeps_only_when_nobody_is_needed_and_nobody_works(
            replicas in 0..9_u32,
            busy in 0..9_u32,
        ) {
            let signal = signal(replicas, busy);
            let answer = ask(&[("role", "cto")]).unwrap().answer(Some(&signal), signal.at).unwrap();
            prop_assert_eq!(answer.active, replicas > 0 || busy > 0);
            prop_assert!(answer.instances >= busy && answer.instances >= replicas);
            prop_assert!(answer.instances == replicas || answer.instances == busy);
        }
    }
}
