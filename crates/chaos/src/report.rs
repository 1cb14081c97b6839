//! What a run says when it is over: as text for a person, as JSON for a program.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    io::Write as _,
};

use serde_json::{Value, json};

use crate::{
    checker::Verdict,
    options::Options,
    recovery::{Recovery, Times},
    world::Struck,
};

/// How many points are listed in the text; the JSON has all.
const WRONG_SHOWN: usize = 20;

/// The outcome of a run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) options: Options,
    pub(crate) verdict: Verdict,
    pub(crate) struck: Vec<Struck>,
    pub(crate) recovery: Recovery,
    /// Processes that ended by themselves.
    pub(crate) exits: u32,
    /// What the servers of a cluster do not hold alike in the end.
    pub(crate) apart: Option<String>,
    /// Whether everything came to rest.
    pub(crate) rested: bool,
    pub(crate) seconds: f64,
}

impl Report {
    /// Whether nothing is wrong.
    pub(crate) fn is_good(&self) -> bool {
        self.verdict.wrong.is_empty() && self.apart().next().is_none()
    }

    /// What the servers did not come to hold alike, after a fault or in the end.
    fn apart(&self) -> impl Iterator<Item = &String> {
        self.struck.iter().filter_map(|struck| struck.apart.as_ref()).chain(&self.apart)
    }

    fn faults(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for struck in &self.struck {
            *counts.entry(struck.kind.word()).or_default() += 1;
        }
        counts
    }

    /// The report for a program.
    pub(crate) fn json(&self) -> Value {
        let by_kind = |times: &BTreeMap<_, Times>| {
            times
                .iter()
                .map(|(kind, times): (&crate::plan::Kind, _)| {
                    (kind.word().to_owned(), times.json())
                })
                .collect::<serde_json::Map<_, _>>()
        };
        json!({
            "good": self.is_good(),
            "options": self.options,
            "seconds": self.seconds,
            "counts": self.verdict.counts,
            "wrong": self.verdict.wrong,
            "faults": self.faults(),
            "struck": self.struck,
            "overtakenFaults": self.recovery.overtaken,
            "nextEndAfterFault": self.recovery.next_end_of_all.json(),
            "nextEndAfterFaultByKind": by_kind(&self.recovery.next_end),
            "taskAgainAfterKill": by_kind(&self.recovery.task_again),
            "endedByThemselves": self.exits,
            "apart": self.apart().collect::<Vec<_>>(),
            "caughtUpAfterWell": self.recovery.caught_up.json(),
            "rested": self.rested,
        })
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { seed, nodes, durability, store, .. } = &self.options;
        let counts = &self.verdict.counts;
        writeln!(
            f,
            "seed {seed}, {nodes} server(s), durability {durability:?}, store {store:?}, {:.0} s",
            self.seconds
        )?;
        writeln!(
            f,
            "delegated  {} accepted, {} refused, {} unknown of which {} exist",
            counts.accepted, counts.refused, counts.unknown, counts.unknown_found
        )?;
        writeln!(
            f,
            "tasks      {} ({} of them children) in {} attempts, ended {:?}",
            counts.tasks, counts.children, counts.attempts, counts.ends
        )?;
        writeln!(f, "ways       {:?}, {} verdicts", counts.ways, counts.verdicts)?;
        writeln!(
            f,
            "effects    {} events, {} reports; {} stored again under a known id",
            counts.events, counts.reports, counts.repeats
        )?;
        if counts.left_over > 0 {
            writeln!(f, "left over  {} acked assignments in the queues", counts.left_over)?;
        }
        writeln!(f, "faults     {} {:?}", self.struck.len(), self.faults())?;
        line(f, "next end after a fault", &self.recovery.next_end_of_all)?;
        if self.recovery.overtaken > 0 {
            let overtaken = self.recovery.overtaken;
            writeln!(
                f,
                "  ({overtaken} more were overtaken by the next fault before any task ended)"
            )?;
        }
        for (kind, times) in &self.recovery.next_end {
            line(f, &format!("  after {}", kind.word()), times)?;
        }
        for (kind, times) in &self.recovery.task_again {
            line(f, &format!("task again after {}", kind.word()), times)?;
        }
        if self.exits > 0 {
            writeln!(f, "processes that ended by themselves: {}", self.exits)?;
        }
        if self.options.nodes > 1 {
            line(f, "caught up after \"well\"", &self.recovery.caught_up)?;
        }
        for apart in self.apart() {
            writeln!(f, "the servers do not hold the same: {apart}")?;
        }
        if self.is_good() {
            return write!(
                f,
                "good: nothing is lost, nothing ended twice, every effect is there once"
            );
        }
        write!(f, "WRONG in {} points", self.verdict.wrong.len())?;
        for wrong in self.verdict.wrong.iter().take(WRONG_SHOWN) {
            write!(f, "\n  {wrong:?}")?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, what: &str, times: &Times) -> fmt::Result {
    let shown = |percent| times.percentile(percent).map_or("-".to_owned(), |ms| format!("{ms}"));
    let (half, most, all) = (shown(50), shown(99), shown(100));
    writeln!(
        f,
        "{what:<32} p50 {half:>6} ms, p99 {most:>6} ms, max {all:>6} ms of {}",
        times.count()
    )
}

/// Tells whoever watches how far the run is.
pub(crate) fn say(what: impl Display) {
    // Whoever does not watch closes it, and the run goes on.
    drop(writeln!(std::io::stderr(), "chaos: {what}"));
}
