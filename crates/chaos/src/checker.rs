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
    /// All tasks have ended, and this assignment is still queued.
    StillQueued(String),
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
    /// Assignments of ended tasks that their queue holds although they are acked, which the server
    /// does after its disk was full: nobody gets them any more, and they take a place.
    pub(crate) left_over: usize,
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
    if seen.open() == 0 {
        let (acked, queued): (Vec<_>, Vec<_>) = seen.queued.iter().partition(|it| it.acked);
        verdict.counts.left_over = acked.len();
        let queued = queued.into_iter().map(|it| Wrong::StillQueued(it.what.clone()));
        verdict.wrong.extend(queued);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Queued;
    use sinew_model::{
        Assignment, Entry, Time,
        task::{Actor, Change, Start, Stored},
    };

    const COMPLETE: Work = Work { children: 1, events: 1, millis: 0, goal: Goal::Complete };

    fn id(text: &str) -> TaskId {
        text.parse().unwrap()
    }

    fn assignment(id: &TaskId, work: Work) -> Assignment {
        let body = serde_json::json!({
            "taskId": id, "orgId": "acme", "role": "lead", "delegator": "chief", "title": "a task",
            "input": work, "createdAt": Time::from_micros(0),
        });
        serde_json::from_value(body).unwrap()
    }

    fn started() -> Change {
        Change::Started(Start {
            attempt: 1,
            epoch: 1,
            queue_seq: 1,
            instance: "lead-1".parse().unwrap(),
            incarnation: "i".to_owned(),
            ack: None,
        })
    }

    fn completed() -> Change {
        Change::Completed { attempt: 1, result: Value::Null, result_ref: None, verified: None }
    }

    fn failed() -> Change {
        Change::Failed { attempt: 1, cause: "it can't be done".to_owned() }
    }

    /// A task with that life after its creation.
    fn life(id: &TaskId, work: Work, changes: Vec<Change>) -> TaskSeen {
        let assignment = Box::new(assignment(id, work));
        let created = Change::Created { assignment, queue_seq: Some(1) };
        let mut seen = TaskSeen::default();
        for (seq, change) in (1..).zip([created].into_iter().chain(changes)) {
            let by = Actor { role: "lead".parse().unwrap(), instance: None };
            let at = Time::from_micros(i64::try_from(seq).unwrap());
            let entry =
                Entry { task_id: id.clone(), org_id: "acme".parse().unwrap(), at, by, change };
            seen.take(
                id,
                &Stored { seq, expected: Some(seq - 1), token: None, time: None, entry },
                at,
            );
        }
        seen
    }

    /// A run of one task with a child, as it should be; then with what `spoil` does to it.
    fn after(answer: Answer, spoil: impl FnOnce(&mut Seen, &TaskId, &TaskId)) -> Vec<Wrong> {
        let root = id("c1");
        let child = TaskId::of_effect(&root, &child_key(0));
        let mut work = Work::of_child(&COMPLETE, 0);
        let mut seen = Seen::default();
        for (id, work) in [(&root, &COMPLETE), (&child, &work)] {
            let end = if work.goal == Goal::Fail { failed() } else { completed() };
            seen.tasks.insert(id.clone(), life(id, *work, vec![started(), end]));
            seen.reports.insert(Mail::report_id(id, "end:1"), 1);
            for number in 0..work.events {
                seen.events.insert(event_id(id, number), 1);
            }
        }
        spoil(&mut seen, &root, &child);
        work = COMPLETE;
        let ledger = [(root, Asked { work, answer })].into();
        check(&ledger, &seen).wrong.into_iter().collect()
    }

    fn of_accepted(spoil: impl FnOnce(&mut Seen, &TaskId, &TaskId)) -> Vec<Wrong> {
        after(Answer::Accepted, spoil)
    }

    #[test]
    fn a_run_as_it_should_be_has_nothing_wrong() {
        assert_eq!(of_accepted(|_, _, _| {}), []);
        assert_eq!(after(Answer::Unknown, |_, _, _| {}), []);
        assert_eq!(after(Answer::Unknown, |seen, _, _| *seen = Seen::default()), []);
        assert_eq!(after(Answer::Refused, |seen, _, _| *seen = Seen::default()), []);
    }

    #[test]
    fn what_is_lost_is_found() {
        let root = id("c1");
        assert_eq!(of_accepted(|seen, _, _| *seen = Seen::default()), [Wrong::Lost(root.clone())]);
        let lost = TaskId::of_effect(&root, &child_key(0));
        let found = of_accepted(|seen, _, child| drop(seen.tasks.remove(child)));
        assert!(found.contains(&Wrong::ChildMissing(lost)), "{found:?}");
        let found = of_accepted(|seen, root, _| {
            seen.events.remove(&event_id(root, 0));
        });
        assert_eq!(found, [Wrong::EventMissing(event_id(&root, 0))]);
        let found = of_accepted(|seen, root, _| {
            seen.reports.remove(&Mail::report_id(root, "end:1"));
        });
        assert_eq!(found, [Wrong::ReportMissing(root)]);
    }

    #[test]
    fn what_did_not_end_or_ended_twice_is_found() {
        let root = id("c1");
        let with = |work: Work, changes: Vec<Change>| {
            of_accepted(|seen, root, _| {
                seen.tasks.insert(root.clone(), life(root, work, changes));
            })
        };
        let found = with(COMPLETE, vec![started()]);
        assert!(found.contains(&Wrong::Unended(root.clone())), "{found:?}");
        let found = with(COMPLETE, vec![started(), completed(), completed()]);
        assert_eq!(found, [Wrong::EndedTwice(root.clone()), Wrong::Void(root.clone())]);
        let found = with(COMPLETE, vec![started(), failed()]);
        assert!(matches!(&found[..], [Wrong::OtherEnd(of, _)] if *of == root), "{found:?}");
        let other = Work { millis: 7, ..COMPLETE };
        assert_eq!(with(other, vec![started(), completed()]), [Wrong::OtherWork(root)]);
    }

    #[test]
    fn what_nobody_asked_for_is_found() {
        let found = after(Answer::Refused, |_, _, _| {});
        assert!(found.contains(&Wrong::RefusedYetThere(id("c1"))), "{found:?}");
        let stray = id("stray");
        let found = of_accepted(|seen, _, _| {
            let life = life(&stray, COMPLETE, vec![started(), completed()]);
            seen.tasks.insert(stray.clone(), life);
        });
        assert_eq!(found, [Wrong::Unasked(stray)]);
        let found = of_accepted(|seen, _, _| {
            seen.events.insert("x:event:9".to_owned(), 1);
        });
        assert_eq!(found, [Wrong::EventUnasked("x:event:9".to_owned())]);
        let again = Mail::report_id(&id("c1"), "end:2");
        let found = of_accepted(|seen, _, _| {
            seen.reports.insert(again.clone(), 1);
        });
        assert_eq!(found, [Wrong::ReportUnasked(again)]);
        let what = "c1:1 at 3".to_owned();
        let left = Queued { what: what.clone(), acked: false };
        let found = of_accepted(|seen, _, _| seen.queued.push(left));
        assert_eq!(found, [Wrong::StillQueued(what.clone())]);
        let left = Queued { what, acked: true };
        assert_eq!(of_accepted(|seen, _, _| seen.queued.push(left)), []);
    }
}
