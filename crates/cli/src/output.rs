//! What is printed, and where: data on stdout, as text or as JSON, and everything else on stderr.
//! This is the one place that writes to either.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
};

use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::{
    args::{Command, Global},
    cmd::{agent, scale},
    env,
    exit::Fault,
};

/// Nobody reads stdout any more, as after `| head`. That is no error: there is nothing left to do.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub(crate) struct Closed;

/// How data is printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    json: bool,
}

impl Out {
    /// JSON, or text.
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Text.
    pub(crate) const fn text() -> Self {
        Self { json: false }
    }

    /// Whether data is printed as JSON.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Whether a person looks at stdout, so that colour is of use.
    pub(crate) fn is_colourful(self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// Prints a line of data.
    ///
    /// # Errors
    /// [`Closed`], or what the system says.
    pub(crate) fn line(self, text: impl Display) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(whole(text).as_bytes()).and_then(|()| stdout.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
            written => Ok(written?),
        }
    }

    /// Prints a JSON document on one line.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub(crate) fn document(self, value: &impl Serialize) -> anyhow::Result<()> {
        self.line(serde_json::to_string(value)?)
    }

    /// Prints data in the form that was asked for.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub(crate) fn either(self, value: &impl Serialize, text: impl Display) -> anyhow::Result<()> {
        if self.json { self.document(value) } else { self.line(text) }
    }

    /// Says something to the person who ran the command.
    pub(crate) fn note(self, text: impl Display) {
        // Where stderr is closed there is nobody to tell.
        io::stderr().lock().write_all(whole(text).as_bytes()).ok();
    }
}

/// A line that is written at once: stderr has no buffer, and whoever reads it at the other end of a
/// pipe would get it in pieces, with the lines of others between them.
fn whole(text: impl Display) -> String {
    format!("{text}\n")
}

/// Sends the log to stderr. Verbs that go on for long say what they do; the others only warn.
///
/// # Errors
/// When the filter is not one.
pub(crate) fn log_to_stderr(global: &Global, command: &Command) -> anyhow::Result<()> {
    let goes_on = matches!(
        command,
        Command::Up(_)
            | Command::Server(_)
            | Command::Agent(agent::Command::Run(_))
            | Command::Scale(scale::Command::Run(_))
    );
    let usual = if goes_on { "warn,sinew=info" } else { "error,sinew=warn" };
    let filter = global.log.clone().map_or_else(|| env::text(env::LOG), |text| Ok(Some(text)))?;
    let filter = filter.as_deref().unwrap_or(usual);
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Fault::usage(format!("{filter:?} is no filter for the log: {error}")))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
    Ok(())
}
