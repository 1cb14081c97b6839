//! Takes away a consumer of work that nobody uses, so that a role that sleeps costs nothing. What
//! waits on the queue is not touched, and whoever comes next makes the consumer again.

use serde::Deserialize;
use serde_json::Value;

use crate::{connect::Bus, request::RequestError};

/// The server's number for a consumer that it does not have.
const CONSUMER_NOT_FOUND: u32 = 10_014;

#[derive(Deserialize)]
struct Use {
    num_ack_pending: u64,
    num_waiting: u64,
    num_pending: u64,
}

impl Bus {
    /// Deletes a consumer if nobody pulls from it, no delivery of it is open, and nothing waits for
    /// it. Says whether it is gone. A runtime that begins at this very moment finds that it is gone,
    /// and makes it again.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn retire_consumer(&self, stream: &str, name: &str) -> Result<bool, RequestError> {
        let about = format!("CONSUMER.INFO.{stream}.{name}");
        let found: Use = match self.api(&about, &Value::Null).await {
            Err(error) if error.refusal() == Some(CONSUMER_NOT_FOUND) => return Ok(true),
            found => found?,
        };
        if found.num_ack_pending > 0 || found.num_waiting > 0 || found.num_pending > 0 {
            return Ok(false);
        }
        match self.api::<Value>(&format!("CONSUMER.DELETE.{stream}.{name}"), &Value::Null).await {
            Err(error) if error.refusal() == Some(CONSUMER_NOT_FOUND) => Ok(true),
            Err(error) => Err(error),
            Ok(_) => Ok(true),
        }
    }
}
