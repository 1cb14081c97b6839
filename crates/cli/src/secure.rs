//! Encryption and signatures on the command line: the flags, then the environment, then the
//! context.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sinew_agent::{Config, Program};
use sinew_bus::connect::Tls;
use sinew_model::signature::{Policy, Trust};

use crate::{env, exit::Fault};

/// What every verb takes besides where it connects.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Secure {
    /// The authority that must have signed the server's certificate (PEM); nothing is sent in the
    /// clear then [env: SINEW_TLS_CA]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    tls_ca: Option<PathBuf>,
    /// The certificate to show to the server (PEM) [env: SINEW_TLS_CERT]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    tls_cert: Option<PathBuf>,
    /// The private key of that certificate (PEM) [env: SINEW_TLS_KEY]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    tls_key: Option<PathBuf>,
    /// What is asked of messages: off, accept-unsigned, or require; if nothing says otherwise what
    /// the context says, and without one accept-unsigned [env: SINEW_SIGNATURES]
    #[arg(long, global = true, value_name = "POLICY", help_heading = "Connection")]
    signatures: Option<Policy>,
    /// A JSON file with who vouches for senders, and whose keys are revoked [env: SINEW_TRUST]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    trust: Option<PathBuf>,
}

impl Secure {
    /// Lays what was said over what the connection has by its context.
    ///
    /// # Errors
    /// When the environment, or the file with the trust, makes no sense.
    pub(crate) fn apply(&self, config: &mut Config) -> anyhow::Result<()> {
        let file = |flag: &Option<PathBuf>, name| flag.clone().or_else(|| env::path(name));
        let known = std::mem::take(&mut config.tls);
        config.tls = Tls {
            ca: file(&self.tls_ca, env::TLS_CA).or(known.ca),
            cert: file(&self.tls_cert, env::TLS_CERT).or(known.cert),
            key: file(&self.tls_key, env::TLS_KEY).or(known.key),
        };
        config.signing.policy = self.policy()?.unwrap_or(config.signing.policy);
        if let Some(path) = file(&self.trust, env::TRUST) {
            config.signing.trust = trust(&path)?;
        }
        Ok(())
    }

    /// What is asked of messages, where that was said.
    ///
    /// # Errors
    /// When the environment names something else.
    pub(crate) fn policy(&self) -> Result<Option<Policy>, Fault> {
        self.signatures.map_or_else(|| env::parsed(env::SIGNATURES), |it| Ok(Some(it)))
    }

    /// Hands it on to a program, so that a `sinew` command in it connects as this one does.
    ///
    /// # Errors
    /// When a path can't be made absolute.
    pub(crate) fn hand_on(&self, config: &Config, program: Program) -> anyhow::Result<Program> {
        let trust = self.trust.clone().or_else(|| env::path(env::TRUST));
        let files = [
            (env::TLS_CA, &config.tls.ca),
            (env::TLS_CERT, &config.tls.cert),
            (env::TLS_KEY, &config.tls.key),
            (env::TRUST, &trust),
        ];
        let mut program = program.env(env::SIGNATURES, config.signing.policy.word());
        for (name, path) in files {
            let Some(path) = path else { continue };
            let path = std::path::absolute(path).context("the folder of a certificate")?;
            program = program.env(name, path);
        }
        Ok(program)
    }
}

fn trust(path: &Path) -> Result<Trust, Fault> {
    let bad = |why: &dyn std::fmt::Display| {
        Fault::usage(format!("{}: {why}", path.display()))
            .hint("it is JSON like {\"issuers\": [\"A...\"], \"revoked\": {\"U...\": 1767225600}}")
    };
    let text = std::fs::read(path).map_err(|error| bad(&error))?;
    serde_json::from_slice(&text).map_err(|error| bad(&error))
}
