//! Bodies that are too large for a message. They lie in the org's object store, and the message has
//! a [`Claim`] in their place: where the body lies, how large it is, and its hash. When such an
//! object may go is decided here as well.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    id::TaskId,
    task::{Effect, State},
};

/// What stands in a message for a body that lies in the object store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The name of the object: `{taskId}/input/{sha256}` or `{taskId}/result/{sha256}`.
    pub object: String,
    /// The size of the body, in bytes of JSON.
    pub bytes: u64,
    /// SHA-256 of the body, in small hexadecimal digits.
    pub sha256: String,
}

/// Which body of a task it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What it was delegated with.
    Input,
    /// What came out.
    Result,
}

impl Side {
    const fn word(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Result => "result",
        }
    }
}

impl Claim {
    /// The claim on `body`. The same body of the same task has the same claim, so that who
    /// delegates again stores nothing twice and asks for the same work.
    #[must_use]
    pub fn of(task: &TaskId, side: Side, body: &[u8]) -> Self {
        let sha256 = digest(body);
        let object = format!("{task}/{}/{sha256}", side.word());
        Self { object, bytes: u64::try_from(body.len()).unwrap_or(u64::MAX), sha256 }
    }

    /// Whether `body` is what was claimed.
    #[must_use]
    pub fn fits(&self, body: &[u8]) -> bool {
        u64::try_from(body.len()) == Ok(self.bytes) && digest(body) == self.sha256
    }
}

fn digest(body: &[u8]) -> String {
    crate::id::hex(&Sha256::digest(body), Sha256::output_size())
}

/// The task whose body the object of that name is; `None` for an object that Sinew did not name.
#[must_use]
pub fn owner(object: &str) -> Option<TaskId> {
    let mut parts = object.split('/');
    let (task, side) = (parts.next()?, parts.next()?);
    let known = [Side::Input, Side::Result].iter().any(|it| it.word() == side);
    if known { task.parse().ok() } else { None }
}

impl State {
    /// Whether the task's log has a claim on the object: on its input, on its result, or on the
    /// input of a task that it has recorded to delegate.
    #[must_use]
    pub fn claims(&self, object: &str) -> bool {
        let input = self.assignment.as_ref().and_then(|assignment| assignment.input_ref.as_ref());
        let children = self.effects.values().filter_map(|effect| match effect {
            Effect::Delegate { assignment } => assignment.input_ref.as_ref(),
            Effect::Send { .. } => None,
        });
        children.chain(input).chain(&self.result_ref).any(|claim| claim.object == object)
    }
}

/// What is known of an object that perhaps nobody needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// How long ago it was stored, or stored again.
    pub age: Duration,
    /// Whether the log of its task, or of the task on whose behalf that was delegated, claims it.
    pub claimed: bool,
    /// Whether its task has a log at all.
    pub logged: bool,
    /// Whether an assignment of its task lies on a queue or a schedule; only asked where it has
    /// no log.
    pub queued: bool,
}

/// Whether an object may be deleted. One that was stored a while ago may still be about to be
/// claimed, so it is kept for `keep` whatever the log says; and an assignment that waits is as good
/// as a claim, since whoever delegated it may have died before the log said so.
#[must_use]
pub fn may_go(evidence: Evidence, keep: Duration) -> bool {
    let Evidence { age, claimed, logged, queued } = evidence;
    age >= keep && !claimed && (logged || !queued)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_names_its_task_and_fits_its_body_alone() {
        let task: TaskId = "T1".parse().unwrap();
        let claim = Claim::of(&task, Side::Input, b"\"body\"");
        assert_eq!(claim, Claim::of(&task, Side::Input, b"\"body\""));
        assert_ne!(claim.object, Claim::of(&task, Side::Result, b"\"body\"").object);
        assert!(claim.object.starts_with("T1/input/") && claim.sha256.len() == 64);
        assert!(claim.fits(b"\"body\"") && !claim.fits(b"\"bodi\"") && !claim.fits(b""));
        assert_eq!(owner(&claim.object), Some(task));
        assert_eq!(owner("T1/else/00"), None);
        assert_eq!(owner("report.pdf"), None);
        assert_eq!(owner("a b/input/00"), None);
    }

    #[test]
    fn only_what_is_old_and_wanted_by_nobody_goes() {
        let keep = Duration::from_secs(10);
        let old = Evidence { age: keep, claimed: false, logged: true, queued: false };
        assert!(may_go(old, keep));
        assert!(may_go(Evidence { logged: false, ..old }, keep));
        assert!(!may_go(Evidence { age: Duration::from_secs(9), ..old }, keep));
        assert!(!may_go(Evidence { claimed: true, ..old }, keep));
        assert!(!may_go(Evidence { logged: false, queued: true, ..old }, keep));
        assert!(may_go(Evidence { queued: true, ..old }, keep), "the log knows better");
    }
}
