//! The only reader of the environment. Every variable that Sinew knows is in one table, which is
//! also what the help prints.

use std::{ffi::OsString, path::PathBuf};

use crate::exit::Fault;

/// Where the backbone is.
pub(crate) const URL: &str = "SINEW_URL";
/// A `.creds` file that lets in.
pub(crate) const CREDS: &str = "SINEW_CREDS";
/// The org to act in.
pub(crate) const ORG: &str = "SINEW_ORG";
/// The role to act as.
pub(crate) const ROLE: &str = "SINEW_ROLE";
/// The context that `sinew up` wrote.
pub(crate) const CONTEXT: &str = "SINEW_CONTEXT";
/// The authority of the server's certificate.
pub(crate) const TLS_CA: &str = "SINEW_TLS_CA";
/// The certificate to show to the server.
pub(crate) const TLS_CERT: &str = "SINEW_TLS_CERT";
/// The private key of that certificate.
pub(crate) const TLS_KEY: &str = "SINEW_TLS_KEY";
/// What is asked of messages.
pub(crate) const SIGNATURES: &str = "SINEW_SIGNATURES";
/// Who vouches for senders.
pub(crate) const TRUST: &str = "SINEW_TRUST";
/// The nats-server program that `sinew up` runs.
pub(crate) const NATS_SERVER: &str = "SINEW_NATS_SERVER";
/// What is logged.
pub(crate) const LOG: &str = "SINEW_LOG";
/// The task on whose behalf a command acts.
pub(crate) const TASK_ID: &str = "SINEW_TASK_ID";
/// The attempt of that task.
pub(crate) const ATTEMPT: &str = "SINEW_ATTEMPT";
/// The number that shuts out earlier attempts.
pub(crate) const FENCE: &str = "SINEW_FENCE";
/// A folder of the attempt's own.
pub(crate) const CALLS: &str = "SINEW_CALLS";
/// The instance that works.
pub(crate) const INSTANCE: &str = "SINEW_INSTANCE";

/// Every variable, and what it says.
pub(crate) const TABLE: [(&str, &str); 17] = [
    (URL, "where the backbone is: nats://HOST:PORT, several divided by commas"),
    (CREDS, "the .creds file that lets in"),
    (ORG, "the org to act in"),
    (ROLE, "the role to act as"),
    (CONTEXT, "the context file (or its folder) that `sinew up` wrote"),
    (TLS_CA, "the authority that must have signed the server's certificate"),
    (TLS_CERT, "the certificate to show to the server"),
    (TLS_KEY, "the private key of that certificate"),
    (SIGNATURES, "what is asked of messages: off, accept-unsigned, require"),
    (TRUST, "the JSON file with who vouches for senders, and whose keys are revoked"),
    (NATS_SERVER, "the nats-server program that `sinew up` runs"),
    (LOG, "what is logged on stderr: error, warn, info, debug"),
    (TASK_ID, "the task on whose behalf a command acts; set for programs by `agent run`"),
    (ATTEMPT, "the attempt of that task; set by `agent run`"),
    (FENCE, "a number that rises with each attempt, for systems outside; set by `agent run`"),
    (CALLS, "the folder in which the calls of an attempt are numbered; set by `agent run`"),
    (INSTANCE, "the name of the instance, for `agent run`, which also sets it for programs"),
];

/// A variable of the table as text; one that is empty counts as not set.
///
/// # Errors
/// When it is not UTF-8.
pub(crate) fn text(name: &str) -> Result<Option<String>, Fault> {
    let Some(value) = raw(name) else { return Ok(None) };
    match value.into_string() {
        Ok(text) => Ok(Some(text)),
        Err(value) => Err(Fault::usage(format!("{name} is not UTF-8: {}", value.display()))),
    }
}

/// A variable of the table, parsed.
///
/// # Errors
/// When it is not what it is to be.
pub(crate) fn parsed<T>(name: &str) -> Result<Option<T>, Fault>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let Some(text) = text(name)? else { return Ok(None) };
    text.parse().map(Some).map_err(|error| Fault::usage(format!("{name}: {error}")))
}

/// A variable of the table that names a file or folder.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    raw(name).map(PathBuf::from)
}

/// The home folder of the person.
pub(crate) fn home() -> Option<PathBuf> {
    raw("HOME").map(PathBuf::from)
}

/// Where programs are looked for.
pub(crate) fn search_path() -> Option<OsString> {
    std::env::var_os("PATH")
}

fn raw(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
