//! The one way into a task's log: an append that stands only if nobody else wrote to the task
//! since the writer read it.

use sinew_model::{Entry, OrgId, limits, signature::Speaker, stream::TASK_LOG};

use super::{Outgoing, PublishError};
use crate::connect::Bus;

/// Why an entry is not appended, or not known to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Somebody else wrote to the task first: read it back and decide anew.
    #[error("somebody else wrote to the task first")]
    Conflict {
        /// The answer to an earlier try was lost, so the first writer may have been oneself: look
        /// for the own token in the log.
        doubtful: bool,
    },
    /// The entry is of another org than the connection.
    #[error("the entry is of {org}, which this connection does not serve")]
    Alien {
        /// The entry's org.
        org: OrgId,
    },
    /// The entry can't be written as JSON.
    #[error("the entry can't be encoded")]
    Unencodable {
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// It could not be published; after [`PublishError::Unknown`] it may be in the log all the
    /// same.
    #[error("the entry could not be appended")]
    Publish {
        /// Why not.
        #[source]
        source: PublishError,
    },
}

impl Bus {
    /// Appends `entry` to its task's log if the newest entry of the task still has the sequence
    /// `expected` (0: the task has none), and gives the sequence of the new one.
    ///
    /// `token` becomes the message id: a word of the writer's own, by which it knows its entry
    /// again after an unknown outcome.
    ///
    /// # Errors
    /// See [`AppendError`]. A conflict is a normal answer.
    pub async fn append(
        &self,
        entry: &Entry,
        expected: u64,
        token: &str,
    ) -> Result<u64, AppendError> {
        if entry.org_id != *self.subjects().org() {
            return Err(AppendError::Alien { org: entry.org_id.clone() });
        }
        let body =
            serde_json::to_vec(entry).map_err(|source| AppendError::Unencodable { source })?;
        if body.len() > limits::MESSAGE_BYTES {
            let source =
                PublishError::TooLarge { bytes: body.len(), limit: Some(limits::MESSAGE_BYTES) };
            return Err(AppendError::Publish { source });
        }
        let subject = self.subjects().entry(&entry.task_id, entry.change.transition());
        let out = Outgoing::new(TASK_LOG, subject, body)
            .expecting(&self.subjects().log(&entry.task_id), expected)
            .id(token)
            .by(Speaker { role: Some(entry.by.role.clone()), instance: entry.by.instance.clone() });
        match self.commit(out).await {
            Ok(accepted) => Ok(accepted.seq),
            Err(PublishError::Conflict { doubtful, .. }) => Err(AppendError::Conflict { doubtful }),
            Err(source) => Err(AppendError::Publish { source }),
        }
    }
}
