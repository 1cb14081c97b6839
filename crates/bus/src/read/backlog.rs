//! What a consumer still has to hand out, and what it has handed out and nobody ended.

use serde::Deserialize;
use serde_json::Value;

use super::CONSUMER_NOT_FOUND;
use crate::{connect::Bus, request::RequestError};

/// What a consumer has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Backlog {
    /// Messages that nobody has got yet.
    #[serde(rename = "num_pending")]
    pub waiting: u64,
    /// Messages that somebody has got and nobody has ended.
    #[serde(rename = "num_ack_pending")]
    pub open: u64,
}

impl Bus {
    /// What a consumer has left, as its leader knows it; `None` where there is no such consumer.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn backlog(
        &self,
        stream: &str,
        consumer: &str,
    ) -> Result<Option<Backlog>, RequestError> {
        match self.api(&format!("CONSUMER.INFO.{stream}.{consumer}"), &Value::Null).await {
            Ok(backlog) => Ok(Some(backlog)),
            Err(error) if error.refusal() == Some(CONSUMER_NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
