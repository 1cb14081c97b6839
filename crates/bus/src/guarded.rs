//! The patience of whoever writes to a log by compare-and-set, whatever the log is of: a lost race
//! is read back and decided anew, and an answer that got lost is looked for in the log by the
//! writer's own word. The rules are `model`'s; [`crate::task`] and [`crate::meeting`] say which.

use sinew_model::{Time, limits::APPEND_ROUNDS};

use crate::{
    clock,
    publish::{AppendError, PublishError},
};

/// A log as one writer holds it.
pub(crate) trait Log: Send {
    /// What it may be asked.
    type Command: Sync;
    /// What follows.
    type Entry: Send + Sync;
    /// Why nothing does.
    type Refusal: Send;
    /// Why it can't be read.
    type Unreadable: Send;

    /// What time it is for the next decision.
    fn now(&self) -> impl Future<Output = Result<Time, Self::Unreadable>> + Send;

    /// The entry that follows from a command, on what is known of the log.
    fn decide(&self, command: &Self::Command, at: Time) -> Result<Self::Entry, Self::Refusal>;

    /// Stores it, if nobody wrote since what is known.
    fn append(
        &self,
        entry: &Self::Entry,
        token: &str,
    ) -> impl Future<Output = Result<u64, AppendError>> + Send;

    /// Takes over what was just stored, without reading it back.
    fn stored(&mut self, seq: u64, token: String, entry: &Self::Entry);

    /// Reads what is new, and finds the entry whose token begins with the writer's word.
    fn reread(
        &mut self,
        word: &str,
    ) -> impl Future<Output = Result<Option<(u64, Self::Entry)>, Self::Unreadable>> + Send;
}

/// Why a command was not carried out.
pub(crate) enum Failed<R, U> {
    Refused(R),
    Rejected(AppendError),
    Unreachable(AppendError),
    Unknown(AppendError),
    Unreadable(U),
    Crowded,
}

/// Asks a log to move, and gives the entry that did it. A refusal was decided on the newest state.
pub(crate) async fn execute<L: Log>(
    log: &mut L,
    command: &L::Command,
) -> Result<(u64, L::Entry), Failed<L::Refusal, L::Unreadable>> {
    let word = clock::unique();
    let mut fresh = false;
    let mut lost = None;
    for round in 0..APPEND_ROUNDS {
        let at = log.now().await.map_err(Failed::Unreadable)?;
        let entry = match log.decide(command, at) {
            Ok(entry) => entry,
            // What is known here may be old; the log may see it otherwise.
            Err(_) if !fresh => {
                if let Some(done) = log.reread(&word).await.map_err(Failed::Unreadable)? {
                    return Ok(done);
                }
                fresh = true;
                continue;
            }
            Err(refusal) => return Err(Failed::Refused(refusal)),
        };
        let token = format!("{word}-{round}");
        match log.append(&entry, &token).await {
            Ok(seq) => {
                log.stored(seq, token, &entry);
                return Ok((seq, entry));
            }
            Err(AppendError::Conflict { .. }) => {}
            Err(error @ AppendError::Publish { source: PublishError::Unknown { .. } }) => {
                if lost.is_some() {
                    return Err(Failed::Unknown(error));
                }
                lost = Some(error);
            }
            Err(error) => return Err(failed(error)),
        }
        match log.reread(&word).await {
            Ok(Some(done)) => return Ok(done),
            Ok(None) => fresh = true,
            // The log is out of reach, so the lost answer stays lost.
            Err(error) => return Err(lost.map_or(Failed::Unreadable(error), Failed::Unknown)),
        }
    }
    Err(Failed::Crowded)
}

fn failed<R, U>(error: AppendError) -> Failed<R, U> {
    match &error {
        AppendError::Publish {
            source: PublishError::Unreachable { .. } | PublishError::Full { .. },
        } => Failed::Unreachable(error),
        AppendError::Publish { .. }
        | AppendError::Conflict { .. }
        | AppendError::Alien { .. }
        | AppendError::Unencodable { .. } => Failed::Rejected(error),
    }
}
