//! Cuts off users who send so fast that other orgs suffer: the server has no limit on how fast
//! an org publishes. Who does so is decided by [`sinew_model::flood`]; what is here reads the
//! server's counters, revokes the user and keeps a record.
//!
//! The user is revoked, for good, and not kept out for a while: nothing of Sinew sends like this, so
//! somebody else has the credentials, and would go on with the next connection or after the
//! while. Whoever is meant to have them gets new ones from the operator. The controllers of an org
//! are never put out: they commit for other processes. It may run several times: a user that was
//! put out stays out, and leaves one record.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sinew_bus::{Bus, ConnectError, TopologyError, VouchError, clock};
use sinew_model::{
    OrgId, Time,
    flood::{Gauge, Rate, Sample, Verdict},
    grant::User,
    incident::{FLOOD, Incident},
    limits::{FLOOD_LOOK_EVERY, INCIDENT_TEXT_BYTES, TRY_AGAIN, head},
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{org::records, sweep::CONTROLLERS};
use crate::{
    account::{AccountError, Directory, DirectoryError, Expelled, Orgs, Total},
    context::Context,
};

/// Why a user was not put out, or its record not kept.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the records of the orgs can't be used")]
    Account(#[from] AccountError),
    #[error("the server was not told")]
    Directory(#[from] DirectoryError),
    #[error("the org can't be connected to")]
    Connect(#[from] ConnectError),
    #[error("the org's streams are not as they may be")]
    Topology(#[from] TopologyError),
    #[error("whose signatures count could not be made known")]
    Vouch(#[from] VouchError),
    #[error("the record was not stored: {0}")]
    Keep(String),
}

/// Watches the orgs of a data folder.
#[derive(Clone, Debug)]
pub struct Guard {
    orgs: Orgs,
    context: Context,
}

/// What is known while it runs.
#[derive(Debug)]
struct State {
    /// What each server had counted of each account, and when that was asked.
    totals: BTreeMap<(String, String), Total>,
    asked: Option<Instant>,
    /// The users of each org that sends fast.
    gauges: BTreeMap<OrgId, BTreeMap<String, Gauge>>,
    /// Records on their way.
    records: JoinSet<()>,
}

impl Guard {
    /// The orgs of the context's data folder.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self { orgs: Orgs::new(&context.data_dir, context.root.clone()), context }
    }

    /// Watches until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut state = State {
            totals: BTreeMap::new(),
            asked: None,
            gauges: BTreeMap::new(),
            records: JoinSet::new(),
        };
        let watching = async {
            loop {
                if let Err(error) = self.watch(&mut state).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "how fast the orgs send can't be seen now"
                    );
                }
                clock::pause(TRY_AGAIN).await;
            }
        };
        shutdown.run_until_cancelled(Box::pin(watching)).await;
    }

    async fn watch(&self, state: &mut State) -> Result<(), DirectoryError> {
        let directory = Directory::connect(&self.context.url, &self.orgs.system_creds()).await?;
        loop {
            self.look(state, &directory).await?;
            while state.records.try_join_next().is_some() {}
            clock::pause(FLOOD_LOOK_EVERY).await;
        }
    }

    /// One look: first at the sums, which cost little however many orgs there are, and then at the
    /// connections of those that send too fast for one connection.
    async fn look(&self, state: &mut State, directory: &Directory) -> Result<(), DirectoryError> {
        let totals = directory.totals().await?;
        let now = clock::instant();
        let span = state.asked.replace(now).map(|earlier| now.duration_since(earlier));
        let earlier = std::mem::replace(&mut state.totals, totals);
        let fast = fast(&earlier, &state.totals, span);
        if fast.is_empty() && state.gauges.is_empty() {
            return Ok(());
        }
        let Some(records) = records(&self.orgs) else { return Ok(()) };
        // Who was fast a moment ago is looked at until nothing is held against it.
        let watched: Vec<_> = records
            .iter()
            .filter(|(org, it)| fast.contains(&it.account) || state.gauges.contains_key(org))
            .collect();
        state.gauges.retain(|org, _| watched.iter().any(|(it, _)| it == org));
        for (org, record) in watched {
            let which = (org, record.account.as_str(), fast.contains(&record.account));
            for (user, rate) in self.too_fast(state, directory, which).await? {
                self.cut(state, directory, (org, &user, rate)).await;
            }
        }
        Ok(())
    }

    /// Who is to be cut off in an org, and how fast each was.
    async fn too_fast(
        &self,
        state: &mut State,
        directory: &Directory,
        (org, account, is_fast): (&OrgId, &str, bool),
    ) -> Result<Vec<(String, Rate)>, DirectoryError> {
        let mut users: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for flow in directory.flows(account).await? {
            users.entry(flow.user).or_default().push(flow.seen);
        }
        let gauges = state.gauges.entry(org.clone()).or_default();
        gauges.retain(|user, _| users.contains_key(user));
        let (mut cut, mut is_calm) = (Vec::new(), true);
        for (user, seen) in users {
            let gauge = gauges.entry(user.clone()).or_default();
            if let Verdict::Cut(rate) = gauge.look(&seen) {
                cut.push((user, rate));
            }
            is_calm &= gauge.is_calm();
        }
        if is_calm && !is_fast {
            state.gauges.remove(org);
        }
        Ok(cut)
    }

    /// Puts a user out and tells the server, which cuts its connections. The record follows by
    /// itself: the look at others does not wait for it.
    async fn cut(
        &self,
        state: &mut State,
        directory: &Directory,
        (org, user, rate): (&OrgId, &str, Rate),
    ) {
        let found = format!(
            "it sent {} messages and {} bytes a second, and went on",
            rate.messages, rate.bytes
        );
        match self.put_out(directory, (org, user, &found)).await {
            Ok(Some(expelled)) => {
                tracing::warn!(%org, user, name = expelled.name, found, "a user is cut off");
                let incident = Incident {
                    at: clock::now(),
                    org_id: org.clone(),
                    kind: FLOOD.to_owned(),
                    user: Some(user.to_owned()),
                    name: expelled.name,
                    found: head(&found, INCIDENT_TEXT_BYTES).to_owned(),
                    done: "it was revoked, and its connections were cut".to_owned(),
                    extra: serde_json::Map::new(),
                };
                let (guard, org) = (self.clone(), org.clone());
                let key = user.to_owned();
                state.records.spawn(async move { guard.keep((&org, &key), &incident).await });
            }
            Ok(None) => {}
            Err(error) => tracing::error!(
                %org, user, found,
                error = &error as &dyn std::error::Error,
                "a user that does harm is not cut off"
            ),
        }
    }

    async fn put_out(
        &self,
        directory: &Directory,
        (org, user, found): (&OrgId, &str, &str),
    ) -> Result<Option<Expelled>, Fault> {
        let expelled = self.orgs.expel(org, user, found)?;
        if expelled.is_some() {
            // Also where it was out already: whoever put it out may have told nobody.
            directory.put(&self.orgs.org_jwt(org)?).await?;
            self.orgs.renew_revoked(org)?;
        }
        Ok(expelled)
    }

    async fn keep(&self, (org, user): (&OrgId, &str), incident: &Incident) {
        if let Err(error) = self.record((org, user), incident).await {
            tracing::error!(
                %org,
                error = &error as &dyn std::error::Error,
                "the org has no record of an incident; the operator's audit has it"
            );
        }
    }

    /// Says it in the org itself, and that the user's signatures count no more.
    async fn record(&self, (org, user): (&OrgId, &str), incident: &Incident) -> Result<(), Fault> {
        let creds = self.orgs.ensure_local(org, &User::Server)?;
        let mut config = self.context.org_config(org, creds);
        config.name = format!("sinew guard of {org}");
        let bus = Bus::connect(config).await?;
        let topology = self.orgs.record(org)?.quota.topology(&bus)?;
        bus.keep_incident(&topology, (user, incident), CONTROLLERS).await.map_err(Fault::Keep)?;
        bus.vouch(&self.orgs.statement(org)?).await?;
        Ok(())
    }
}

/// The accounts from which more came in `span` than one connection may send.
fn fast(
    earlier: &BTreeMap<(String, String), Total>,
    later: &BTreeMap<(String, String), Total>,
    span: Option<Duration>,
) -> BTreeSet<String> {
    let Some(span) = span else { return BTreeSet::new() };
    let sample = |at: Time, it: Total| Sample { at, messages: it.messages, bytes: it.bytes };
    let begin = Time::from_micros(0);
    let mut sums: BTreeMap<&str, (Total, Total)> = BTreeMap::new();
    for (key, total) in later {
        // An account that was not there a look ago began meanwhile.
        let before = earlier.get(key).copied().unwrap_or_default();
        let (one, other) = sums.entry(key.0.as_str()).or_default();
        (one.messages, one.bytes) =
            (one.messages.saturating_add(before.messages), one.bytes.saturating_add(before.bytes));
        (other.messages, other.bytes) = (
            other.messages.saturating_add(total.messages),
            other.bytes.saturating_add(total.bytes),
        );
    }
    let is_fast = |(one, other): &(Total, Total)| {
        Rate::between(&sample(begin, *one), &sample(begin.plus(span), *other))
            .is_some_and(|rate| rate.is_over())
    };
    sums.iter().filter(|(_, it)| is_fast(it)).map(|(account, _)| (*account).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_fast_by_what_all_servers_counted_of_it() {
        let of = |account: &str, server: &str, messages| {
            ((account.to_owned(), server.to_owned()), Total { messages, bytes: 0 })
        };
        let earlier = [of("A", "1", 5), of("B", "1", 1_000_000)].into();
        let later = [of("A", "1", 35_005), of("A", "2", 35_000), of("B", "1", 1_000_100)].into();
        let second = Some(Duration::from_secs(1));
        assert_eq!(fast(&earlier, &later, second), ["A".to_owned()].into());
        assert_eq!(fast(&earlier, &later, None), BTreeSet::new());
        // A server that began anew counts from nothing: it is seen at the next look.
        assert_eq!(fast(&later, &earlier, second), BTreeSet::new());
    }
}
