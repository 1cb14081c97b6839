//! Whom this process believes: what it was told when it started, and what the org's account says
//! since. The account's statement lies beside the certificates, and is looked at again now and then,
//! so that a signing key that is new, or one that was retired, and a user that was revoked are known
//! to processes that have run for long.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use nkeys::KeyPair;
use sinew_model::{
    Time,
    limits::TRUST_AGAIN,
    signature::{CertificateError, Statement, Trust},
    stream::ORG_SENDERS,
};
use tokio::time::Instant;

use super::senders::{self, NO_STREAM};
use crate::{
    clock,
    connect::Bus,
    ensure::{EnsureError, Topology},
    publish::{Outgoing, PublishError},
    request::RequestError,
};

/// Whom a process believes.
#[derive(Debug, Default)]
pub(super) struct Believed(RwLock<State>);

#[derive(Debug, Default)]
struct State {
    /// What it was told.
    told: Trust,
    /// The account whose own word counts, by its public key.
    account: Option<String>,
    /// What that said last.
    said: Option<Statement>,
    /// When that was looked for.
    looked: Option<Instant>,
    /// All of it together.
    all: Arc<Trust>,
}

impl State {
    fn settle(&mut self) {
        let said = self.said.as_ref().filter(|said| Some(&said.account) == self.account.as_ref());
        self.all = Arc::new(said.map_or_else(|| self.told.clone(), |it| self.told.with(&it.trust)));
    }
}

impl Believed {
    pub(super) fn new(told: Trust, account: Option<String>) -> Self {
        let it = Self::default();
        it.change(|state| (state.told, state.account) = (told, account));
        it
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        state.settle();
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there is anybody.
    pub(super) fn is_empty(&self) -> bool {
        self.read(|state| state.account.is_none() && state.all.is_empty())
    }

    pub(super) fn now(&self) -> Arc<Trust> {
        self.read(|state| Arc::clone(&state.all))
    }

    /// Takes what it was told in the place of what it was told before.
    pub(super) fn tell(&self, told: Trust) {
        self.change(|state| state.told = told);
    }

    /// Believes whoever vouched for the own key, and the account behind it.
    pub(super) fn believe(&self, issuer: &str, account: &str) {
        self.change(|state| {
            state.told.issuers.insert(issuer.to_owned());
            state.account.get_or_insert_with(|| account.to_owned());
        });
    }

    /// The account whose word is to be looked for again, if it is.
    fn due(&self, anyway: bool) -> Option<String> {
        self.read(|state| {
            let is_fresh =
                |at: Instant| clock::instant().saturating_duration_since(at) < TRUST_AGAIN;
            let fresh = !anyway && state.looked.is_some_and(is_fresh);
            state.account.clone().filter(|_| !fresh)
        })
    }

    fn has_looked(&self) -> bool {
        self.read(|state| state.looked.is_some())
    }

    fn hear(&self, said: Option<Statement>) {
        let known = self.read(|state| state.said.as_ref().map(|known| known.at));
        // One that is older than what is known was put there by who must not.
        let said = said.filter(|said| known.is_none_or(|known: Time| said.at >= known));
        let looked = Some(clock::instant());
        self.change(|state| {
            state.looked = looked;
            state.said = said.or_else(|| state.said.take());
        });
    }
}

/// Why it was not made known whose keys count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VouchError {
    /// It is no statement of an account.
    #[error("it is no statement of an account")]
    Statement(#[from] CertificateError),
    /// It is of none that has a public key.
    #[error("it is of no account")]
    Account,
    /// The stream of certificates is not there and can't be made.
    #[error("the stream of certificates is not there")]
    Stream(#[from] EnsureError),
    /// It was not stored, or not known to be; the same again is safe.
    #[error("the statement was not stored")]
    Publish(#[from] PublishError),
}

impl Bus {
    /// Looks at what the account says, where it was not looked at lately, or `anyway`.
    ///
    /// # Errors
    /// When it was never looked at, or it must be, and can't.
    pub(super) async fn look_at_trust(&self, anyway: bool) -> Result<(), RequestError> {
        let believed = &self.signs().believed;
        let Some(account) = believed.due(anyway) else { return Ok(()) };
        match Box::pin(fetch(self, &account)).await {
            Ok(said) => believed.hear(said),
            Err(error) if anyway || !believed.has_looked() => return Err(error),
            Err(error) => {
                tracing::debug!(%error, "whose keys count could not be looked at again");
                believed.hear(None);
            }
        }
        Ok(())
    }

    /// Makes known what the account of the org says of its keys and users: `statement` is the JWT
    /// that it has signed.
    ///
    /// # Errors
    /// See [`VouchError`].
    pub async fn vouch(&self, statement: &str) -> Result<(), VouchError> {
        let said = senders::parts(statement, Statement::read)?;
        let subject = self.subjects().sender(&said.account).ok_or(VouchError::Account)?;
        Topology::standard(self).ensure_stream(self, ORG_SENDERS).await?;
        let body = Bytes::from(statement.to_owned());
        let out = Outgoing::new(ORG_SENDERS, subject, body).id(clock::unique());
        self.send(out).await?;
        self.signs().believed.hear(Some(said));
        Ok(())
    }
}

/// What an account says; `None` where it has said nothing, or it was not the account.
async fn fetch(bus: &Bus, account: &str) -> Result<Option<Statement>, RequestError> {
    let Some(subject) = bus.subjects().sender(account) else { return Ok(None) };
    let found = match bus.last(ORG_SENDERS, subject.as_str()).await {
        Err(error) if error.refusal() == Some(NO_STREAM) => None,
        found => found?,
    };
    let Some(found) = found else { return Ok(None) };
    let jwt = String::from_utf8_lossy(&found.payload);
    let said = KeyPair::from_public_key(account)
        .map_err(|error| error.to_string())
        .and_then(|key| senders::parts_by(&key, &jwt, Statement::read));
    match said {
        Ok(said) if said.account == account => Ok(Some(said)),
        Ok(_) => Ok(None),
        Err(why) => {
            tracing::warn!(account, why, "what lies in place of an account's word is none of it");
            Ok(None)
        }
    }
}
