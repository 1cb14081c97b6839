//! A task's log under many writers whose view of it is late, who repeat themselves and crash:
//! one writer wins each place, one entry ends the task, a lost fence stays lost, and whatever the
//! sweep finds gone, it gets the task to an end.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use sinew_model::task::{
    Actor, Assignment, Change, Command, DeadCause, EnqueueReason, Entry, EscalationReason, Phase,
    Question, Refusal, ReleaseReason, Stored, Task, Void, sweep,
};
use sinew_model::{TaskId, Time, limits};

fn id() -> TaskId {
    "T1".parse().unwrap()
}

fn assignment() -> Box<Assignment> {
    let value = json!({
        "taskId": "T1", "orgId": "acme", "role": "cto", "delegator": "ceo",
        "title": "Count", "createdAt": "2026-05-10T14:23:01Z",
    });
    Box::new(serde_json::from_value(value).unwrap())
}

fn start_of_time() -> Time {
    assignment().created_at
}

fn entry(change: Change, at: Time) -> Entry {
    let by = Actor { role: "cto".parse().unwrap(), instance: None };
    Entry { task_id: id(), org_id: "acme".parse().unwrap(), at, by, change }
}

/// The stream as the server keeps it: an append is stored if its expectation holds.
#[derive(Default)]
struct Log {
    stored: Vec<Stored>,
    last: u64,
}

impl Log {
    fn append(&mut self, change: Change, expected: u64, at: Time) -> bool {
        if expected != self.last {
            return false;
        }
        self.force(change, Some(expected), at);
        true
    }

    /// What a writer does who knows no law.
    fn force(&mut self, change: Change, expected: Option<u64>, at: Time) {
        self.last += 3; // other tasks have entries in between
        let seq = self.last;
        self.stored.push(Stored {
            seq,
            expected,
            token: None,
            time: None,
            entry: entry(change, at),
        });
    }

    fn fold(&self, upto: usize) -> Task {
        let mut task = Task::default();
        for stored in self.stored.iter().take(upto) {
            let _void = task.apply(&id(), stored);
        }
        task
    }
}

fn command(kind: u8, attempt: u32, writer: u8) -> Command {
    let instance = || format!("cto-{writer}").parse().unwrap();
    match kind {
        0 => {
            let mut assignment = assignment();
            // One of the writers wants its result verified.
            assignment.verifier = (writer == 2).then(|| "qa".parse().unwrap());
            Command::Create { assignment, queue_seq: Some(1) }
        }
        1 => Command::Start {
            epoch: attempt,
            queue_seq: attempt.into(),
            instance: instance(),
            incarnation: format!("{writer}"),
            ack: None,
            over: Some(attempt),
        },
        2 => Command::Progress { attempt, message: "half".into(), percent: Some(200) },
        3 => Command::Complete { attempt, result: json!(42) },
        4 => Command::Fail { attempt, cause: "x".into(), retry: Some(Duration::ZERO) },
        5 => Command::Fail { attempt, cause: "x".into(), retry: None },
        6 => Command::Release { attempt, reason: ReleaseReason::Drained, retry: None },
        7 => Command::Enqueue {
            epoch: attempt,
            queue_seq: Some(attempt.into()),
            not_before: None,
            reason: EnqueueReason::Retry,
        },
        8 => Command::Cancel { reason: "no".into() },
        9 => Command::Bury { cause: DeadCause::Lost, detail: "gone".into(), bytes: None },
        10 => Command::Block { attempt, question: question(attempt) },
        11 => Command::Answer { key: None, answer: json!("yes") },
        12 => Command::Wait { attempt, on: vec!["T2".parse().unwrap()] },
        13 => Command::Resume { cycle: Vec::new() },
        14 => Command::Accept { by: role(writer), evidence: json!("seen") },
        15 => Command::Refuse { by: role(writer), reason: "wrong".into() },
        16 => Command::Escalate {
            reason: if attempt.is_multiple_of(2) {
                EscalationReason::Unanswered
            } else {
                EscalationReason::Unverified
            },
        },
        _ => Command::Revive,
    }
}

const KINDS: u8 = 18;

/// The worker's own role for one of the writers, another for the others.
fn role(writer: u8) -> sinew_model::Role {
    if writer == 0 { "cto".parse().unwrap() } else { "qa".parse().unwrap() }
}

fn question(attempt: u32) -> Box<Question> {
    Box::new(Question {
        key: format!("which-{attempt}"),
        text: "Which one?".into(),
        to: "ceo".parse().unwrap(),
        choices: Vec::new(),
        escalate_at: Some(start_of_time()),
    })
}

/// One step of one writer: what it asks, and how many entries its view of the log lacks.
type Step = (u8, u32, u8, usize);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Ends are rare, so that most logs get long before one comes.
    let kind = prop_oneof![
        40 => 0u8..3, 40 => 6u8..8, 10 => Just(4u8), 3 => Just(3u8), 1 => Just(5u8), 1 => 8u8..10,
        30 => 10u8..KINDS,
    ];
    prop::collection::vec((kind, 1u32..6, 0u8..3, 0usize..4), 1..80)
}

fn ends(log: &Log) -> usize {
    log.stored.iter().filter(|stored| stored.entry.change.transition().is_end()).count()
}

fn revivals(log: &Log) -> usize {
    let revived = |stored: &&Stored| matches!(stored.entry.change, Change::Revived {});
    log.stored.iter().filter(revived).count()
}

/// The log that one writer with a true view makes of the steps.
fn run(steps: Vec<Step>) -> Log {
    let mut log = Log::default();
    for (kind, attempt, writer, _) in steps {
        let view = log.fold(usize::MAX);
        if let Ok(change) = view.decide(&command(kind, attempt, writer), start_of_time()) {
            log.append(change, view.last_seq, start_of_time());
        }
    }
    log
}

proptest! {
    #[test]
    fn guarded_writers_with_late_views_never_break_the_law(steps in steps()) {
        let mut log = Log::default();
        for (kind, attempt, writer, lack) in steps {
            let view = log.fold(log.stored.len().saturating_sub(lack));
            if let Ok(change) = view.decide(&command(kind, attempt, writer), start_of_time()) {
                log.append(change, view.last_seq, start_of_time());
            }
        }
        let mut task = Task::default();
        for stored in &log.stored {
            prop_assert_eq!(task.apply(&id(), stored), Ok(()), "{:?}", stored);
        }
        let lives = revivals(&log) + 1;
        prop_assert!(ends(&log) <= lives, "one entry ends a life");
        prop_assert_eq!(task.has_ended(), ends(&log) == lives);
        // Attempts are numbered without a gap: each fence is newer than the one before.
        let starts: Vec<u32> = log.stored.iter().filter_map(|stored| {
            let Change::Started(start) = &stored.entry.change else { return None };
            Some(start.attempt)
        }).collect();
        prop_assert!(starts.iter().copied().eq(1..=u32::try_from(starts.len()).unwrap()));
    }

    #[test]
    fn what_unlawful_writers_add_changes_nothing(
        steps in steps(),
        noise in prop::collection::vec((0u8..KINDS, 1u32..6, 0usize..80, prop::option::of(0u64..9)), 0..20),
    ) {
        let mut log = Log::default();
        let mut lawful: Vec<Change> = Vec::new();
        for (at, (kind, attempt, writer, _)) in steps.into_iter().enumerate() {
            for (kind, attempt, place, expected) in &noise {
                if *place != at { continue; }
                // An entry decided on an empty log, or one with a wrong expectation.
                let mut other = log.fold(usize::MAX);
                other.state = log.fold(at / 2).state;
                let wrong = expected.filter(|expected| *expected != log.last);
                if let Ok(change) = other.decide(&command(*kind, *attempt, 9), start_of_time()) {
                    log.force(change, wrong, start_of_time());
                }
            }
            let view = log.fold(usize::MAX);
            if let Ok(change) = view.decide(&command(kind, attempt, writer), start_of_time())
                && log.append(change.clone(), view.last_seq, start_of_time())
            {
                lawful.push(change);
            }
        }
        let mut clean = Log::default();
        for change in lawful {
            let last = clean.last;
            clean.append(change, last, start_of_time());
        }
        prop_assert_eq!(log.fold(usize::MAX).state, clean.fold(usize::MAX).state);
        let voids = log.stored.len() - clean.stored.len();
        prop_assert_eq!(usize::try_from(log.fold(usize::MAX).voids).unwrap(), voids);
    }

    #[test]
    fn even_a_well_guarded_entry_cannot_undo_an_end_or_go_back_an_epoch(
        steps in steps(),
        (kind, attempt) in (0u8..KINDS, 1u32..6),
    ) {
        let log = run(steps);
        // Decided on some earlier state of the task, yet with the newest expectation.
        let before = log.fold(usize::MAX);
        for upto in 0..log.stored.len() {
            let late = log.fold(upto);
            let Ok(change) = late.decide(&command(kind, attempt, 9), start_of_time()) else { continue };
            let stored = Stored {
                seq: log.last + 1,
                expected: Some(log.last),
                token: None,
                time: None,
                entry: entry(change.clone(), start_of_time()),
            };
            let mut after = before.clone();
            let applied = after.apply(&id(), &stored);
            let revives = matches!(change, Change::Revived {});
            if before.has_ended() && !(revives && applied.is_ok()) {
                prop_assert_eq!(applied, Err(Void::AfterEnd), "{:?}", change);
                prop_assert_eq!(&after.state, &before.state);
            }
            if let Change::Enqueued { epoch, .. } = change {
                let current = before.state.as_ref().map_or(0, |state| state.epoch);
                prop_assert!(applied.is_err() || epoch > current, "{} after {}", epoch, current);
            }
        }
    }

    #[test]
    fn an_entry_stored_twice_counts_once(steps in steps(), twice in 0usize..80) {
        let mut log = run(steps);
        let before = log.fold(usize::MAX);
        if let Some(again) = log.stored.get(twice).cloned() {
            log.force(again.entry.change, again.expected, again.entry.at);
            let after = log.fold(usize::MAX);
            prop_assert_eq!(after.state, before.state);
            prop_assert_eq!(after.voids, before.voids + 1);
        }
    }

    #[test]
    fn a_lost_fence_stays_lost(steps in steps(), late in 3u8..7) {
        let log = run(steps);
        let task = log.fold(usize::MAX);
        let running = task.state.as_ref().and_then(|state| state.running()).map(|start| start.attempt);
        for attempt in 0..=task.state.as_ref().map_or(0, |state| state.attempts) {
            if Some(attempt) == running { continue; }
            let refused = task.decide(&command(late, attempt, 0), start_of_time());
            prop_assert!(
                matches!(refused, Err(Refusal::Fenced { .. } | Refusal::Ended(_) | Refusal::NoTask)),
                "{:?}", refused
            );
            // Nor does it help to write without asking, even with the right expectation.
            if late == 3 && task.state.is_some() {
                let stored = Stored {
                    seq: log.last + 1,
                    expected: Some(log.last),
                    token: None,
                    time: None,
                    entry: entry(
                        Change::Completed {
                            attempt, result: json!(1), result_ref: None, verified: None,
                        },
                        start_of_time(),
                    ),
                };
                let mut zombie = task.clone();
                let void = zombie.apply(&id(), &stored);
                prop_assert!(matches!(void, Err(Void::Fence | Void::AfterEnd)), "{:?}", void);
                prop_assert_eq!(zombie.state, task.state.clone());
            }
        }
    }

    #[test]
    fn whatever_is_gone_the_sweep_moves_every_task_that_has_not_ended(steps in steps()) {
        let log = run(steps);
        let task = log.fold(usize::MAX);
        let Some(state) = task.state.clone().filter(|state| state.end().is_none()) else {
            return Ok(());
        };
        let later = state.last_at.plus(limits::SWEEP_GRACE);
        let gone = sweep::Evidence { there: false, parked: false, alive: false };
        let mut moved = log;
        // What the sweep says is done, one thing after the other, until it finds the task well.
        for _ in 0..4 {
            let state = moved.fold(usize::MAX).state.unwrap();
            let carried = match sweep::judge(&state, gone, later, Duration::ZERO) {
                _ if state.queue_seq() == Some(99) => break,
                sweep::Verdict::Fine => break,
                sweep::Verdict::Requeue => {
                    let (epoch, queue_seq) = (state.epoch + 1, Some(99));
                    let reason = EnqueueReason::Lost;
                    Command::Enqueue { epoch, queue_seq, not_before: None, reason }
                }
                sweep::Verdict::ReleaseAndRequeue { attempt } => {
                    let reason = ReleaseReason::Orphaned;
                    Command::Release { attempt, reason, retry: None }
                }
                sweep::Verdict::Resume => Command::Resume { cycle: Vec::new() },
                sweep::Verdict::Escalate(reason) => Command::Escalate { reason },
                sweep::Verdict::Bury { .. } => panic!("{state:?} is not past its time"),
            };
            let view = moved.fold(usize::MAX);
            let change = view.decide(&carried, later).unwrap();
            prop_assert!(moved.append(change, view.last_seq, later));
        }
        let well = moved.fold(usize::MAX).state.unwrap();
        let asks_a_person = matches!(
            &well.phase,
            Phase::Blocked { escalated_to: Some(_), .. } | Phase::Submitted { escalated_to: Some(_), .. }
        );
        prop_assert!(well.queue_seq() == Some(99) || asks_a_person, "{:?}", well.phase);
        // A message of an earlier epoch that turns up after all begins nothing.
        let stale = moved.fold(usize::MAX).decide(&command(1, state.epoch, 0), later);
        prop_assert!(
            matches!(stale, Err(Refusal::StaleEpoch { .. } | Refusal::Parked(_))), "{:?}", stale
        );
        // And when its time is over, it ends whatever is found.
        let over = state.due.plus(Duration::from_secs(1));
        let there = sweep::Evidence { there: true, parked: false, alive: true };
        let bury = sweep::judge(&state, there, over, limits::SWEEP_GRACE);
        let buried = matches!(bury, sweep::Verdict::Bury { cause: DeadCause::DeadlinePassed, .. });
        prop_assert!(buried);
    }

    /// Hours ahead or behind, as the writer's clock and the sweep's own may be.
    #[test]
    fn no_clock_that_is_set_wrong_hides_a_task_from_the_sweep(
        (writer, sweeper) in (-1_000i64..1_000, -1_000i64..1_000),
    ) {
        let off = |hours: i64| Time::from_micros(start_of_time().micros() + hours * 3_600_000_000);
        let mut log = Log::default();
        log.append(Change::Created { assignment: assignment(), queue_seq: Some(1) }, 0, off(writer));
        let mut stored = log.stored.remove(0);
        stored.time = Some(start_of_time());
        let mut task = Task::default();
        task.apply(&id(), &stored).unwrap();
        let state = task.state.unwrap();
        prop_assert_eq!(state.last_at, start_of_time(), "the server's clock counts");
        let grace = limits::SWEEP_GRACE;
        // A while later, whatever the sweep's own clock says by then.
        let now = off(sweeper).plus(grace);
        let gone = sweep::Evidence { there: false, parked: false, alive: false };
        prop_assert_ne!(sweep::judge(&state, gone, now, grace), sweep::Verdict::Fine);
    }
}

#[test]
fn a_live_attempt_whose_message_is_gone_is_left_alone() {
    let mut log = Log::default();
    log.append(
        Change::Created { assignment: assignment(), queue_seq: Some(1) },
        0,
        start_of_time(),
    );
    let start = log.fold(9).decide(&command(1, 1, 0), start_of_time()).unwrap();
    let expected = log.last;
    log.append(start, expected, start_of_time());
    let state = log.fold(9).state.unwrap();
    assert!(matches!(state.phase, Phase::Running { .. }));
    let later = state.last_at.plus(limits::SWEEP_GRACE);
    let judge = |there, alive| {
        sweep::judge(
            &state,
            sweep::Evidence { there, parked: false, alive },
            later,
            limits::SWEEP_GRACE,
        )
    };
    assert_eq!(judge(false, true), sweep::Verdict::Fine);
    assert_eq!(judge(true, false), sweep::Verdict::Fine, "the server's ack wait moves it");
    assert_eq!(judge(false, false), sweep::Verdict::ReleaseAndRequeue { attempt: 1 });
}

#[test]
fn the_last_failed_attempt_is_a_death_with_its_cause_and_can_be_revived() {
    let mut log = Log::default();
    let mut ask = |command: Command| {
        let task = log.fold(usize::MAX);
        let change = task.decide(&command, start_of_time())?;
        assert!(log.append(change.clone(), task.last_seq, start_of_time()));
        Ok::<_, Refusal>(change)
    };
    ask(command(0, 1, 0)).unwrap();
    for attempt in 1..=limits::FAILED_ATTEMPTS {
        let Command::Start { instance, incarnation, ack, .. } = command(1, 1, 0) else { return };
        ask(Command::Start { epoch: 1, queue_seq: 1, instance, incarnation, ack, over: None })
            .unwrap();
        let last = ask(command(4, attempt, 0)).unwrap();
        if attempt < limits::FAILED_ATTEMPTS {
            assert!(matches!(last, Change::Released { .. }), "{last:?}");
        } else {
            assert!(matches!(
                last,
                Change::Dead { cause: DeadCause::AttemptsExhausted, ref detail, .. } if detail == "x"
            ));
        }
    }
    assert_eq!(
        ask(command(7, 2, 0)),
        Err(Refusal::Ended(sinew_model::Transition::Dead)),
        "only a revival brings it back"
    );
    ask(Command::Revive).unwrap();
    assert_eq!(ask(Command::Revive), Err(Refusal::NotDead));
    assert_eq!(ask(command(1, 1, 0)), Err(Refusal::Parked("between two epochs")));
    assert!(matches!(ask(command(1, 2, 0)), Err(Refusal::Ahead { .. })), "it is on its queue");
    let reason = EnqueueReason::Revived;
    ask(Command::Enqueue { epoch: 2, queue_seq: Some(2), not_before: None, reason }).unwrap();
    ask(command(1, 2, 0)).unwrap();
    ask(command(3, 4, 0)).unwrap();
    assert!(log.fold(usize::MAX).has_ended());
    assert_eq!(log.fold(usize::MAX).voids, 0);
}
