//! What a projection is fed with: messages as a stream stored them, and batches that say which
//! part of the stream they are. How they were read is not known here.

use bytes::Bytes;
use sinew_model::Time;

/// A message as the stream stored it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its sequence in the stream.
    pub seq: u64,
    /// The subject on which it was published.
    pub subject: String,
    /// When the server stored it.
    pub stored_at: Time,
    /// The sequence that its writer expected the newest message of its task to have.
    pub expected: Option<u64>,
    /// The word by which its writer recognises it.
    pub token: Option<String>,
    /// The body.
    pub payload: Bytes,
    /// What its signature says.
    pub origin: Origin,
}

/// What the signature of a message says, as whoever read it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Its sender; `None` where that can't be known.
    pub sender: Option<String>,
    /// Who delegated the task that it is the first entry of.
    pub delegator: Option<String>,
    /// Why it is not to be taken, if it is not.
    pub refused: Option<String>,
}

/// All that one part of a stream holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The stream, by the time of its creation as the server writes it: a stream that was deleted
    /// and made anew counts its sequences from 1 again, and is another one.
    pub stream: String,
    /// The sequence after which this part begins.
    pub after: u64,
    /// The sequence at which it ends. There may be no message at it any more.
    pub through: u64,
    /// The messages between the two, in order. What is missing was purged.
    pub messages: Vec<Message>,
}
