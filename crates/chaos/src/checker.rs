//! What is wrong with a run: a pure function over the ledger and what the streams hold. It knows
//! what each task was to do, so it knows every child, event and report that must be there, by id,
//! and finds what is missing, what is double, and what nobody asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use sinew_model::{
    TaskId,
    mail::Mail,
    task::{DeadCause, End, State},
};

use crate::{
    ledger::{Answer, Asked, CallOff},
    observe::{Seen, TaskSeen},
    plan::{Goal, Twist, Work},
    work::{ROLES, answer_for},
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
    /// It began or ended before what it was to wait for had ended.
    TooEarly(TaskId),
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
    /// Verdicts that were asked for, each a task of its own.
    pub(crate) verdicts: usize,
    /// Root tasks by what they did besides their work.
    pub(crate) ways: BTreeMap<&'static str, usize>,
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
    /// What it was to do; `None` for a verdict on another task.
    work: Option<Work>,
    must: bool,
    /// Whether it was called off, by itself or with its parent.
    call_off: Option<CallOff>,
}

/// What must be there, or may be, and of which task it is; by id.
#[derive(Default)]
struct Effects(BTreeMap<String, (bool, TaskId)>);

/// Judges a run.
pub(crate) fn check(ledger: &BTreeMap<TaskId, Asked>, seen: &Seen) -> Verdict {
    let mut verdict = Verdict::default();
    let expected = expected(ledger, seen, &mut verdict);
    let mut events = Effects::default();
    let mut reports = Effects::default();
    for (id, expected) in &expected {
        let Some(task) = seen.tasks.get(id) else {
            if expected.must {
                verdict.wrong.insert(Wrong::Lost(id.clone()));
            }
            continue;
        };
        task_is_right((id, task), expected, seen, &mut verdict);
        let Some((state, end)) =
            task.task.state.as_ref().and_then(|state| Some((state, state.end()?)))
        else {
            continue;
        };
        for number in 0..expected.work.map_or(0, |work| work.events) {
            events.0.insert(event_id(id, number), (is_own(end), id.clone()));
        }
        let report = Mail::report_id(id, &format!("end:{}", state.epoch));
        reports.0.insert(report, (true, id.clone()));
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
        let work = Some(asked.work);
        all.insert(id.clone(), Expected { work, must, call_off: asked.call_off });
        *counts.ways.entry(asked.work.twist.word()).or_default() += usize::from(there);
        // Whoever is called off may have its children called off, too.
        let call_off = asked.call_off.map(|_| CallOff::Unknown);
        // An attempt that ended has made all of its effects; one that did not may have made some.
        let state = seen.tasks.get(id).and_then(|task| task.task.state.as_ref());
        let ended = state.and_then(State::end).is_some_and(is_own);
        for number in 0..asked.work.children {
            let child = TaskId::of_effect(id, &child_key(number));
            if ended && !seen.tasks.contains_key(&child) {
                verdict.wrong.insert(Wrong::ChildMissing(child.clone()));
            }
            counts.children += usize::from(seen.tasks.contains_key(&child));
            let work = Some(Work::of_child(&asked.work, number));
            all.insert(child, Expected { work, must: false, call_off });
        }
        let submitted = if asked.work.twist.needs_verdict() { attempts(state) } else { 0 };
        for attempt in 1..=submitted {
            let judging = TaskId::of_effect(id, &format!("verify:{attempt}"));
            if seen.tasks.contains_key(&judging) {
                counts.verdicts += 1;
                all.insert(judging, Expected { work: None, must: false, call_off: None });
            }
        }
    }
    all
}

fn attempts(state: Option<&State>) -> u32 {
    state.map_or(0, |state| state.attempts)
}

/// Whether a task came to this end by its own attempt, which then has made all of its effects.
const fn is_own(end: &End) -> bool {
    matches!(end, End::Completed { .. } | End::Failed { .. })
}

fn task_is_right(
    (id, task): (&TaskId, &TaskSeen),
    expected: &Expected,
    seen: &Seen,
    verdict: &mut Verdict,
) {
    let counts = &mut verdict.counts;
    counts.tasks += 1;
    if task.ends > 1 {
        verdict.wrong.insert(Wrong::EndedTwice(id.clone()));
    }
    if task.task.voids > 0 {
        verdict.wrong.insert(Wrong::Void(id.clone()));
    }
    let Some(state) = &task.task.state else {
        verdict.wrong.insert(Wrong::Unended(id.clone()));
        return;
    };
    counts.attempts += u64::from(state.attempts);
    if expected.work.is_some_and(|work| !is_the_work(state, work)) {
        verdict.wrong.insert(Wrong::OtherWork(id.clone()));
    }
    let Some(end) = state.end() else {
        verdict.wrong.insert(Wrong::Unended(id.clone()));
        return;
    };
    *counts.ends.entry(end.transition().word().to_owned()).or_default() += 1;
    if !is_as_wanted((id, state), end, expected, seen) {
        verdict.wrong.insert(Wrong::OtherEnd(id.clone(), format!("{end:?}")));
    }
    if expected.work.is_some_and(|work| is_too_early((id, task), (state, end), work, seen)) {
        verdict.wrong.insert(Wrong::TooEarly(id.clone()));
    }
}

fn is_as_wanted(
    (id, state): (&TaskId, &State),
    end: &End,
    expected: &Expected,
    seen: &Seen,
) -> bool {
    // A verifier judges, whatever it has to judge.
    let Some(work) = expected.work else { return matches!(end, End::Completed { .. }) };
    let broken = comes_after(state, seen).is_some_and(|before| !has_completed(before));
    if is_own(end) && (broken || expected.call_off == Some(CallOff::Stopped)) {
        return false;
    }
    match end {
        End::Completed { result, verified } => {
            let number = |name: &str| result.get(name).and_then(Value::as_u64).unwrap_or_default();
            let by = verified.as_ref().map(|verified| verified.by.as_str());
            let [_, verifier] = ROLES;
            let answer = result.get("answer");
            let waited = if work.twist.waits() { work.children } else { 0 };
            work.goal != Goal::Fail
                && (work.twist != Twist::Asks || answer == Some(&answer_for(id)))
                && number("waited") == waited
                && number("refused") == u64::from(work.twist == Twist::RefusedOnce)
                && by == work.twist.needs_verdict().then_some(verifier)
        }
        End::Failed { .. } => work.goal == Goal::Fail,
        End::Cancelled { .. } => expected.call_off.is_some_and(|it| it != CallOff::TooLate),
        End::Dead { cause, .. } => broken && *cause == DeadCause::DependencyFailed,
    }
}

/// Whether it began before what it comes after had ended, or ended by itself before the children
/// had for which it waited.
fn is_too_early(
    (id, task): (&TaskId, &TaskSeen),
    (state, end): (&State, &End),
    work: Work,
    seen: &Seen,
) -> bool {
    let is_before = |at, other: Option<&TaskSeen>| {
        other.and_then(TaskSeen::ended).is_none_or(|ended| at < ended)
    };
    let began = task.began().filter(|_| matches!(work.twist, Twist::After { .. }));
    let completed = matches!(end, End::Completed { .. });
    let ended = task.ended().filter(|_| work.twist.waits() && completed);
    let mut children = (0..work.children).map(|number| TaskId::of_effect(id, &child_key(number)));
    began.is_some_and(|at| is_before(at, comes_after(state, seen)))
        || ended.is_some_and(|at| children.any(|child| is_before(at, seen.tasks.get(&child))))
}

/// The task that a task comes after.
fn comes_after<'a>(state: &State, seen: &'a Seen) -> Option<&'a TaskSeen> {
    seen.tasks.get(state.assignment.as_ref()?.after.first()?)
}

fn has_completed(task: &TaskSeen) -> bool {
    let end = task.task.state.as_ref().and_then(State::end);
    matches!(end, Some(End::Completed { .. }))
}

fn is_the_work(state: &State, work: Work) -> bool {
    let input = state.assignment.as_ref().map(|assignment| &assignment.input);
    serde_json::to_value(work).is_ok_and(|work: Value| input == Some(&work))
}

fn effects_are_right(events: &Effects, reports: &Effects, seen: &Seen, verdict: &mut Verdict) {
    let Verdict { wrong, counts } = verdict;
    counts.events = seen.events.len();
    counts.reports = seen.reports.len();
    let all = seen.events.values().chain(seen.reports.values());
    counts.repeats = all.map(|times| u64::from(times.saturating_sub(1))).sum();
    let missing = events.missing(&seen.events);
    wrong.extend(missing.map(|(event, _)| Wrong::EventMissing(event.clone())));
    let missing = reports.missing(&seen.reports);
    wrong.extend(missing.map(|(_, task)| Wrong::ReportMissing(task.clone())));
    if seen.open() > 0 {
        // What has not ended may have emitted already; it is found as not ended.
        return;
    }
    wrong.extend(events.unasked(&seen.events).cloned().map(Wrong::EventUnasked));
    wrong.extend(reports.unasked(&seen.reports).cloned().map(Wrong::ReportUnasked));
}

impl Effects {
    fn missing(&self, there: &BTreeMap<String, u32>) -> impl Iterator<Item = (&String, &TaskId)> {
        let must = self.0.iter().filter(|(id, (must, _))| *must && !there.contains_key(*id));
        must.map(|(id, (_, task))| (id, task))
    }

    fn unasked<'a>(&self, there: &'a BTreeMap<String, u32>) -> impl Iterator<Item = &'a String> {
        there.keys().filter(|id| !self.0.contains_key(*id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Queued;
    use sinew_model::{
        Assignment, Entry, Time,
        task::{Actor, Change, Start, Stored},
    };

    const COMPLETE: Work =
        Work { children: 1, events: 1, millis: 0, goal: Goal::Complete, twist: Twist::Straight };

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

    fn progress() -> Change {
        Change::Progress { attempt: 1, message: "on the way".to_owned(), percent: None }
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
        let ledger = [(root, Asked { work, answer, call_off: None })].into();
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
    /// What is wrong with a task of that twist with a child, called off or not, that ended so.
    fn of_twist(twist: Twist, call_off: Option<CallOff>, end: Change) -> Vec<Wrong> {
        let (root, work) = (id("c1"), Work { twist, events: 0, ..COMPLETE });
        let child = TaskId::of_effect(&root, &child_key(0));
        let of_child = Work::of_child(&work, 0);
        let mut seen = Seen::default();
        let end_of_child = if of_child.goal == Goal::Fail { failed() } else { completed() };
        let child_life = life(&child, of_child, vec![started(), end_of_child]);
        seen.tasks.insert(child.clone(), child_life);
        seen.tasks.insert(root.clone(), life(&root, work, vec![started(), end]));
        for id in [&root, &child] {
            seen.reports.insert(Mail::report_id(id, "end:1"), 1);
        }
        for number in 0..of_child.events {
            seen.events.insert(event_id(&child, number), 1);
        }
        let asked = Asked { work, answer: Answer::Accepted, call_off };
        check(&[(root, asked)].into(), &seen).wrong.into_iter().collect()
    }

    fn completed_with(result: Value) -> Change {
        Change::Completed { attempt: 1, result, result_ref: None, verified: None }
    }

    #[test]
    fn what_is_called_off_ends_so_or_it_was_too_late() {
        let cancelled = || Change::Cancelled { reason: "no".to_owned() };
        let waited = || completed_with(serde_json::json!({ "waited": 1 }));
        let is_good = |call_off, end| of_twist(Twist::CalledOff, call_off, end).is_empty();
        assert!(is_good(Some(CallOff::Stopped), cancelled()));
        assert!(!is_good(Some(CallOff::Stopped), waited()));
        assert!(is_good(Some(CallOff::TooLate), waited()));
        assert!(!is_good(Some(CallOff::TooLate), cancelled()));
        assert!(is_good(Some(CallOff::Unknown), cancelled()));
        assert!(is_good(Some(CallOff::Unknown), waited()));
        assert!(!is_good(None, cancelled()));
    }

    #[test]
    fn what_asks_waits_or_needs_a_verdict_ends_with_what_it_got() {
        let of = |twist, result| of_twist(twist, None, completed_with(result));
        let answer = answer_for(&id("c1"));
        assert_eq!(of(Twist::Asks, serde_json::json!({ "answer": answer })), []);
        assert_ne!(of(Twist::Asks, serde_json::json!({ "answer": "no" })), []);
        assert_eq!(of(Twist::Waits, serde_json::json!({ "waited": 1 })), []);
        assert_ne!(of(Twist::Waits, Value::Null), []);
        assert_ne!(of(Twist::Verified, Value::Null), [], "nobody accepted it");
    }

    #[test]
    fn nothing_begins_or_ends_before_what_it_waits_for() {
        let (root, child) = (id("c1"), TaskId::of_effect(&id("c1"), &child_key(0)));
        let work = Work { twist: Twist::Waits, ..COMPLETE };
        let waited = completed_with(serde_json::json!({ "waited": 1 }));
        let parent = life(&root, work, vec![started(), waited]);
        let mut seen = Seen::default();
        let late = vec![started(), progress(), completed()];
        seen.tasks.insert(child.clone(), life(&child, Work::of_child(&work, 0), late));
        seen.tasks.insert(root.clone(), parent);
        let asked = Asked { work, answer: Answer::Accepted, call_off: None };
        let found = check(&[(root.clone(), asked)].into(), &seen).wrong;
        assert!(found.contains(&Wrong::TooEarly(root)), "{found:?}");
    }
}
