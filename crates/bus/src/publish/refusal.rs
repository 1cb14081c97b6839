//! What the server's error numbers mean for a publish. Seen on nats-server 2.15.1; a number that is
//! not here is a refusal of its own kind, and is shown as it came.

use crate::request::ApiError;

/// The stream takes no batches at all.
pub(crate) const BATCHES_DISABLED: u32 = 10_174;

/// Too many batches are open on the stream.
pub(crate) const BATCHES_OPEN: u32 = 10_210;

/// There is no stream of this name.
pub(crate) const STREAM_NOT_FOUND: u32 = 10_059;

/// The subject belongs to another stream than the one that was named.
const OTHER_STREAM: u32 = 10_060;

/// The message is larger than the stream takes.
pub(crate) const MESSAGE_TOO_LARGE: u32 = 10_054;

/// The stream could not store it: for the reason that the text gives.
const STORE_FAILED: u32 = 10_077;

/// Memory or disk of the account or the server are used up.
const RESOURCES: [u32; 4] = [10_002, 10_023, 10_028, 10_047];

/// The guard does not hold.
pub(crate) const WRONG_SEQUENCE: u32 = 10_071;

/// Another write that the guard watches is on its way to the replicas: the guard will not hold,
/// unless that write fails, or is one's own.
pub(crate) const WRITE_ON_ITS_WAY: u32 = 10_164;

/// It will answer in a moment: the same id is on its way, a guard can't be checked yet, or the
/// server has too much to do.
const PASSING: [u32; 3] = [10_158, 10_163, 10_167];

/// What a refusal means for the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Asking again helps.
    Passing,
    /// No room, until somebody makes some.
    Full,
    /// Too large for the stream.
    TooLarge,
    /// Somebody else was first.
    Conflict,
    /// No such stream, or not its subject.
    NoStream,
    /// Anything else.
    Other,
}

impl Refusal {
    pub(crate) fn of(fault: &ApiError) -> Self {
        match fault.err_code {
            STORE_FAILED if fault.description.contains("maximum") => Self::Full,
            STORE_FAILED => Self::Other,
            code if RESOURCES.contains(&code) => Self::Full,
            code if PASSING.contains(&code) => Self::Passing,
            MESSAGE_TOO_LARGE => Self::TooLarge,
            WRONG_SEQUENCE | WRITE_ON_ITS_WAY => Self::Conflict,
            STREAM_NOT_FOUND | OTHER_STREAM => Self::NoStream,
            // Too many open batches come as 429, a cluster without a leader as 503.
            _ if [429, 503].contains(&fault.code) && fault.err_code != BATCHES_OPEN => {
                Self::Passing
            }
            _ => Self::Other,
        }
    }
}

/// What the client itself refuses to send, in the server's form.
pub(crate) const fn unsendable(description: String) -> ApiError {
    ApiError { code: 400, err_code: 0, description }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_its_meaning() {
        let check = |code: u16, err_code: u32, text: &str, expect: Refusal| {
            let fault = ApiError { code, err_code, description: text.to_owned() };
            assert_eq!(Refusal::of(&fault), expect, "{fault}");
        };
        check(503, 10_077, "maximum messages exceeded", Refusal::Full);
        check(503, 10_077, "maximum bytes exceeded", Refusal::Full);
        check(503, 10_077, "no space left on device", Refusal::Other);
        check(400, 10_047, "insufficient storage resources available", Refusal::Full);
        check(400, 10_054, "message size exceeds maximum allowed", Refusal::TooLarge);
        check(400, 10_071, "wrong last sequence: 3", Refusal::Conflict);
        check(400, 10_164, "wrong last sequence", Refusal::Conflict);
        check(409, 10_158, "duplicate message id is in process", Refusal::Passing);
        check(503, 10_163, "", Refusal::Passing);
        check(429, 10_167, "", Refusal::Passing);
        check(503, 10_008, "JetStream system temporarily unavailable", Refusal::Passing);
        check(400, 10_060, "expected stream does not match", Refusal::NoStream);
        check(429, 10_210, "too many open batches", Refusal::Other);
        check(400, 10_201, "duplicate message id", Refusal::Other);
    }
}
