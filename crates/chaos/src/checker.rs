//! What is wrong with a run: a pure function over the ledger and what the streams hold. It knows
//! what each task was to do, so it knows every child, event and report that must be there, by id,
//! and finds what is missing, what is double, and what nobody asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use sinew_model::{
    TaskId,
    mail::Mail,
    task::{End, State},
};

use crate::{
    ledger::{Answer, Asked},
    observe::{Seen, TaskSeen},
    plan::{Goal, Work},
};

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "wrong", content = "of", rename_all = "kebab-case")]
pub(crate) enum Wrong {
    /// A task that was accepted has no log.
    Lost(TaskId),
    /// A task has not ended.
    Unended(TaskId),
    /// More than one entry of its log ends it.
    EndedTwice(TaskId),
    /// Its log holds entries that break the law.
    Void(TaskId),
    /// It ended otherwise than its work says.
    OtherEnd(TaskId, String),
    /// Its log is of other work than was delegated under its id.
    OtherWork(TaskId),
    /// It was refused, and is there.
    RefusedYetThere(TaskId),
    /// Nobody asked for it.
    Unasked(TaskId),
    /// A child that it was to delegate is not there.
    ChildMissing(TaskId),
    /// An event that it was to emit is not there.
    EventMissing(String),
    /// An event that nobody was to emit.
    EventUnasked(String),
    /// Its end was not reported.
    ReportMissing(TaskId),
    /// A report about an end that is not so.
    ReportUnasked(String),
    /// All tasks have ended, and assignments are still queued.
    StillQueued(u64),
}

/// What was counted on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counts {
    /// Delegations that were accepted.
    pub(crate) accepted: usize,
    /// Delegations of which nobody knew the outcome.
    pub(crate) unknown: usize,
    /// Of these, those that exist.
    pub(crate) unknown_found: usize,
    /// Delegations that were refused.
    pub(crate) refused: usize,
    /// Tasks in the log, children among them.
    pub(crate) tasks: usize,
    /// Children in the log.
    pub(crate) children: usize,
    /// Attempts that were begun.
    pub(crate) attempts: u64,
    /// Tasks by how they ended.
    pub(crate) ends: BTreeMap<String, usize>,
    /// Events, by id.
    pub(crate) events: usize,
    /// Reports of an end, by id.
    pub(crate) reports: usize,
    /// Events and reports that are stored again under an id that a reader knows by then.
    pub(crate) repeats: u64,
}

/// What the checker says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// Everything that is wrong. Empty is good.
    pub(crate) wrong: BTreeSet<Wrong>,
    /// What was counted.
    pub(crate) counts: Counts,
}

/// A task that must exist, or may.
struct Expected {
    work: Work,
    must: bool,
}

/// Judges a run.
pub(crate) fn check(ledger: &BTreeMap<TaskId, Asked>, seen: &Seen) -> Verdict {
    let mut verdict = Verdict::default();
    let expected = expected(ledger, seen, &mut verdict);
    let mut events = BTreeSet::new();
    let mut reports = BTreeSet::new();
    for (id, expected) in &expected {
        let Some(task) = seen.tasks.get(id) else {
            if expected.must {
                verdict.wrong.insert(Wrong::Lost(id.clone()));
            }
            continue;
        };
        task_is_right(id, expected.work, task, &mut verdict);
        let Some(state) = task.task.state.as_ref().filter(|state| state.end().is_some()) else {
            continue;
        };
        for number in 0..expected.work.events {
            events.insert(event_id(id, number));
        }
        reports.insert((Mail::report_id(id, &format!("end:{}", state.epoch)), id.clone()));
    }
    for id in seen.tasks.keys().filter(|id| !expected.contains_key(*id)) {
        let refused = ledger.get(id).is_some_and(|asked| asked.answer == Answer::Refused);
        let wrong = if refused { Wrong::RefusedYetThere } else { Wrong::Unasked };
        verdict.wrong.insert(wrong(id.clone()));
    }
    effects_are_right(&events, &reports, seen, &mut verdict);
    if seen.open() == 0 && seen.queued > 0 {
        verdict.wrong.insert(Wrong::StillQueued(seen.queued));
    }
    verdict
}

/// The id of a task's event of that number.
pub(crate) fn event_id(task: &TaskId, number: u64) -> String {
    format!("{task}:event:{}", event_key(number))
}

/// What a task calls its event of that number.
pub(crate) fn event_key(number: u64) -> String {
    format!("e{number}")
}

/// What a task calls its child of that number.
pub(crate) fn child_key(number: u64) -> String {
    format!("child-{number}")
}

/// All tasks that there must or may be: those of the ledger, and the children of those that ended.
fn expected(
    ledger: &BTreeMap<TaskId, Asked>,
    seen: &Seen,
    verdict: &mut Verdict,
) -> BTreeMap<TaskId, Expected> {
    let mut all = BTreeMap::new();
    let counts = &mut verdict.counts;
    for (id, asked) in ledger {
        let there = seen.tasks.contains_key(id);
        match asked.answer {
            Answer::Refused => {
                counts.refused += 1;
                continue;
            }
            Answer::Unknown => {
                counts.unknown += 1;
                counts.unknown_found += usize::from(there);
            }
            Answer::Accepted => counts.accepted += 1,
        }
        let must = asked.answer == Answer::Accepted;
        all.insert(id.clone(), Expected { work: asked.work, must });
        // An attempt that ended has made all of its effects; one that did not may have made some.
        let ended = seen.tasks.get(id).is_some_and(|task| task.task.has_ended());
        for number in 0..asked.work.children {
            let child = TaskId::of_effect(id, &child_key(number));
            if ended && !seen.tasks.contains_key(&child) {
                verdict.wrong.insert(Wrong::ChildMissing(child.clone()));
            }
            counts.children += usize::from(seen.tasks.contains_key(&child));
            all.insert(child, Expected { work: Work::of_child(&asked.work, number), must: false });
        }
    }
    all
}

fn task_is_right(id: &TaskId, work: Work, seen: &TaskSeen, verdict: &mut Verdict) {
    let counts = &mut verdict.counts;
    counts.tasks += 1;
    if seen.ends > 1 {
        verdict.wrong.insert(Wrong::EndedTwice(id.clone()));
    }
    if seen.task.voids > 0 {
        verdict.wrong.insert(Wrong::Void(id.clone()));
    }
    let Some(state) = &seen.task.state else {
        verdict.wrong.insert(Wrong::Unended(id.clone()));
        return;
    };
    counts.attempts += u64::from(state.attempts);
    if !is_the_work(state, work) {
        verdict.wrong.insert(Wrong::OtherWork(id.clone()));
    }
    let Some(end) = state.end() else {
        verdict.wrong.insert(Wrong::Unended(id.clone()));
        return;
    };
    *counts.ends.entry(end.transition().word().to_owned()).or_default() += 1;
    let as_wanted = match end {
        End::Completed { .. } => work.goal != Goal::Fail,
        End::Failed { .. } => work.goal == Goal::Fail,
        End::Cancelled { .. } | End::Dead { .. } => false,
    };
    if !as_wanted {
        verdict.wrong.insert(Wrong::OtherEnd(id.clone(), format!("{end:?}")));
    }
}

fn is_the_work(state: &State, work: Work) -> bool {
    let input = state.assignment.as_ref().map(|assignment| &assignment.input);
    serde_json::to_value(work).is_ok_and(|work: Value| input == Some(&work))
}

fn effects_are_right(
    events: &BTreeSet<String>,
    reports: &BTreeSet<(String, TaskId)>,
    seen: &Seen,
    verdict: &mut Verdict,
) {
    let Verdict { wrong, counts } = verdict;
    counts.events = seen.events.len();
    counts.reports = seen.reports.len();
    let all = seen.events.values().chain(seen.reports.values());
    counts.repeats = all.map(|times| u64::from(times.saturating_sub(1))).sum();
    let missing = events.iter().filter(|id| !seen.events.contains_key(*id));
    wrong.extend(missing.cloned().map(Wrong::EventMissing));
    let missing = reports.iter().filter(|(id, _)| !seen.reports.contains_key(id));
    wrong.extend(missing.map(|(_, task)| Wrong::ReportMissing(task.clone())));
    if seen.open() > 0 {
        // What has not ended may have emitted already; it is found as not ended.
        return;
    }
    let unasked = seen.events.keys().filter(|id| !events.contains(*id));
    wrong.extend(unasked.cloned().map(Wrong::EventUnasked));
    let known: BTreeSet<&String> = reports.iter().map(|(id, _)| id).collect();
    let unasked = seen.reports.keys().filter(|id| !known.contains(id));
    wrong.extend(unasked.cloned().map(Wrong::ReportUnasked));
}
