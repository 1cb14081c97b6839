//! What is kept of a message that was refused for its signature, on
//! `genbrain.org.{orgId}.evidence.{stream}.{seq}`: who found it, where it lay, what it claimed, and its bytes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    id::{OrgId, Role},
    signature::{Forgery, Verdict},
    time::Time,
};

/// A refused message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// When it was found, by the finder's clock.
    pub at: Time,
    /// The org in which it lay.
    pub org_id: OrgId,
    /// The role that found it.
    pub found_by: Role,
    /// The stream in which it lay.
    pub stream: String,
    /// Its sequence there.
    pub seq: u64,
    /// When it was stored.
    pub stored_at: Time,
    /// The subject on which it came.
    pub subject: String,
    /// `unsigned`, `forged`, `replayed` or `expired`.
    pub verdict: String,
    /// The same in words.
    pub reason: String,
    /// The role that it claimed to be from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<Role>,
    /// Its signature as it stood in its header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The size of its body.
    pub bytes: u64,
    /// The beginning of its body, in base64.
    pub body: String,
    /// Fields that this version does not know; they are kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How a reader counts what it refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Without a signature where one is required.
    pub unsigned: u64,
    /// Not from who they say.
    pub forged: u64,
    /// Copies of what was taken before.
    pub replayed: u64,
    /// Not signed when they were stored.
    pub expired: u64,
}

impl Refused {
    /// Counts one more.
    pub const fn count(&mut self, verdict: &Verdict) {
        let count = match verdict {
            Verdict::Verified(_) => return,
            Verdict::Unsigned => &mut self.unsigned,
            Verdict::Forged(
                Forgery::Malformed
                | Forgery::Unknown
                | Forgery::Issuer
                | Forgery::Lapsed
                | Forgery::Revoked
                | Forgery::Signature
                | Forgery::Speaker,
            ) => &mut self.forged,
            Verdict::Replayed => &mut self.replayed,
            Verdict::Expired => &mut self.expired,
        };
        *count = count.saturating_add(1);
    }

    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.unsigned
            .saturating_add(self.forged)
            .saturating_add(self.replayed)
            .saturating_add(self.expired)
    }
}
