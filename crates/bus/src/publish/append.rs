//! The one way into the log of a task or a meeting: an append that stands only if nobody else wrote
//! to it since the writer read it.

use sinew_model::{
    Entry, OrgId, Subject, limits, meeting,
    signature::Speaker,
    stream::{MEETINGS, TASK_LOG},
    task::Actor,
};

use super::{Outgoing, PublishError};
use crate::connect::Bus;

/// Why an entry is not appended, or not known to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Somebody else wrote to the log first: read it back and decide anew.
    #[error("somebody else wrote first")]
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
        self.check_org(&entry.org_id)?;
        let subject = self.subjects().entry(&entry.task_id, entry.change.transition());
        let filter = self.subjects().log(&entry.task_id);
        let body = serde_json::to_vec(entry);
        let out = outgoing(TASK_LOG, (subject, body), &entry.by)?;
        self.append_guarded(out.expecting(&filter, expected).id(token)).await
    }

    /// Appends `entry` to its meeting's log, as [`Bus::append`] does for tasks.
    ///
    /// # Errors
    /// See [`AppendError`]. A conflict is a normal answer.
    pub(crate) async fn append_to_meeting(
        &self,
        entry: &meeting::Entry,
        expected: u64,
        token: &str,
    ) -> Result<u64, AppendError> {
        self.check_org(&entry.org_id)?;
        let subject = entry.subject(self.subjects());
        let filter = self.subjects().meeting(&entry.meeting_id);
        let body = serde_json::to_vec(entry);
        let out = outgoing(MEETINGS, (subject, body), &entry.by)?;
        self.append_guarded(out.expecting(&filter, expected).id(token)).await
    }

    fn check_org(&self, org: &OrgId) -> Result<(), AppendError> {
        if org == self.subjects().org() {
            return Ok(());
        }
        Err(AppendError::Alien { org: org.clone() })
    }

    async fn append_guarded(&self, out: Outgoing) -> Result<u64, AppendError> {
        match self.commit(out).await {
            Ok(accepted) => Ok(accepted.seq),
            Err(PublishError::Conflict { doubtful, .. }) => Err(AppendError::Conflict { doubtful }),
            Err(source) => Err(AppendError::Publish { source }),
        }
    }
}

fn outgoing(
    stream: &'static str,
    (subject, body): (Subject, serde_json::Result<Vec<u8>>),
    by: &Actor,
) -> Result<Outgoing, AppendError> {
    let body = body.map_err(|source| AppendError::Unencodable { source })?;
    if body.len() > limits::MESSAGE_BYTES {
        let source =
            PublishError::TooLarge { bytes: body.len(), limit: Some(limits::MESSAGE_BYTES) };
        return Err(AppendError::Publish { source });
    }
    let speaker = Speaker { role: Some(by.role.clone()), instance: by.instance.clone() };
    Ok(Outgoing::new(stream, subject, body).by(speaker))
}
