//! What befell an org and is told to its operator, on
//! `genbrain.org.{orgId}.evidence.incident.{kind}.{id}`: who did what, and what was done about it.
//! Messages that were refused for their signature have records of their own, in
//! [`evidence`](crate::evidence).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{id::OrgId, time::Time};

/// The kind of incident that is a user who sent so fast that others suffered.
pub const FLOOD: &str = "flood";

/// The kind of incident that is messages of one stream in another: somebody pulled from a queue
/// and had the server answer onto a subject of that other stream.
pub const ASTRAY: &str = "astray";

/// An incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Incident {
    /// When it was found, by the finder's clock.
    pub at: Time,
    /// The org in which it was found.
    pub org_id: OrgId,
    /// `flood`: a user sent so fast that others suffered. `astray`: messages of one stream lie in
    /// another.
    pub kind: String,
    /// The public key of the user that did it; none where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What the user is called, where the org gave it its credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What was found, in words.
    pub found: String,
    /// What was done about it, in words.
    pub done: String,
    /// Fields that this version does not know; they are kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
