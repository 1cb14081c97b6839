//! Single decisions, as a person would make them.

use super::*;

const COOL: Duration = Duration::from_secs(60);

fn limits(min: u32, max: u32) -> Limits {
    Limits { min, max, concurrency: 5, cooldown: COOL, burst: 10, patience: Duration::ZERO }
}

fn at(seconds: i64) -> Time {
    Time::from_micros(seconds * 1_000_000)
}

fn load(backlog: u64, in_flight: u64, busy: u32) -> Load {
    Load { backlog, in_flight, busy, ..Load::default() }
}

#[test]
fn a_single_task_wakes_a_role_at_once() {
    let it = decide(&load(1, 0, 0), &limits(0, 3), at(0), &Last::default());
    assert_eq!((it.replicas, it.reason), (1, Reason::Raised));
}

#[test]
fn it_grows_by_steps_and_no_further_than_the_work_fills() {
    let (work, limits) = (load(120, 0, 0), limits(0, 100));
    let first = decide(&work, &limits, at(0), &Last::default());
    assert_eq!(first.replicas, 10);
    let soon = decide(&work, &limits, at(0), &first.last);
    assert_eq!((soon.replicas, soon.reason), (10, Reason::Stepping));
    let second = decide(&work, &limits, at(1), &first.last);
    let third = decide(&work, &limits, at(2), &second.last);
    assert_eq!((second.replicas, third.replicas), (20, 24));
}

#[test]
fn it_shrinks_after_the_cooldown_to_the_most_that_was_needed_within_it() {
    let limits = limits(0, 10);
    let mut last = Last::of(8);
    for (second, work, expect) in [(0, 0, 8), (30, 15, 8), (59, 0, 8), (60, 0, 3), (61, 0, 3)] {
        let it = decide(&load(work, 0, 0), &limits, at(second), &last);
        assert_eq!(it.replicas, expect, "after {second} s");
        last = it.last;
    }
    let it = decide(&load(0, 0, 0), &limits, at(121), &last);
    assert_eq!((it.replicas, it.reason), (0, Reason::Lowered));
}

#[test]
fn a_busy_instance_stays_whatever_the_bounds_say() {
    let it = decide(&load(0, 4, 4), &limits(0, 1), at(0), &Last::of(6));
    assert_eq!((it.replicas, it.reason), (4, Reason::KeptBusy));
    let mut last = Last::of(4);
    for second in 0..200 {
        let it = decide(&load(0, 4, 4), &limits(0, 10), at(second), &last);
        assert_eq!(it.replicas, 4, "four instances with one long task each");
        last = it.last;
    }
}

#[test]
fn people_are_waited_for_asleep() {
    let work = Load { waiting: 7, ..Load::default() };
    let it = decide(&work, &limits(0, 3), at(0), &Last::default());
    assert_eq!((it.replicas, it.reason), (0, Reason::WaitsForPeople));
}

#[test]
fn bounds_hold_at_once() {
    let it = decide(&Load::default(), &limits(15, 20), at(0), &Last::default());
    assert_eq!(it.replicas, 15, "a minimum is no step");
    let it = decide(&Load::default(), &limits(0, 2), at(0), &Last::of(9));
    assert_eq!(it.replicas, 2);
    let it = decide(&load(100, 0, 0), &limits(0, 3), at(0), &Last::of(3));
    assert_eq!((it.replicas, it.reason), (3, Reason::AtMaximum));
    let it = decide(&load(0, 0, 0), &limits(1, 3), at(0), &Last::of(1));
    assert_eq!(it.reason, Reason::AtMinimum);
}

#[test]
fn short_tasks_ask_for_fewer_where_patience_is_allowed() {
    let second = Duration::from_secs(1);
    let rates = Rates { arrived: 0, departed: 10, worked: second, over: second };
    let work = Load { backlog: 500, rates, ..Load::default() };
    let mut limits = limits(0, 200);
    limits.burst = 200;
    assert_eq!(decide(&work, &limits, at(0), &Last::default()).replicas, 100);
    // 500 tasks of 100 ms are 50 s of work; five places do 50 s in ten.
    limits.patience = Duration::from_secs(10);
    assert_eq!(decide(&work, &limits, at(0), &Last::default()).replicas, 1);
    limits.patience = Duration::from_secs(1);
    assert_eq!(decide(&work, &limits, at(0), &Last::default()).replicas, 10);
}

#[test]
fn a_clock_that_is_set_back_stops_nothing() {
    let limits = limits(0, 100);
    let up = decide(&load(50, 0, 0), &limits, at(1_000), &Last::default());
    let again = decide(&load(100, 0, 0), &limits, at(0), &up.last);
    assert_eq!(again.replicas, 20);
    let quiet = decide(&load(0, 0, 0), &limits, at(1_000), &again.last);
    let back = decide(&load(0, 0, 0), &limits, at(0), &quiet.last);
    assert_eq!(decide(&load(0, 0, 0), &limits, at(60), &back.last).replicas, 0);
}
