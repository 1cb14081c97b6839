//! Recurring tasks under controllers that are late, doubled and interrupted, and with clocks that
//! jump: a moment is one task, moments that went by are one firing, and nothing fires that does not
//! stand for it.

use proptest::prelude::*;
use serde_json::json;
use sinew_model::{
    Role, Schedule, TaskId, Time,
    schedule::{Definition, Overlap, Standing},
};

fn by() -> Role {
    "operator".parse().unwrap()
}

fn begin() -> Time {
    "2026-05-10T14:23:01.5Z".parse().unwrap()
}

fn definition(timing: serde_json::Value, overlap: Overlap) -> Definition {
    let value = json!({
        "name": "nightly", "role": "cto", "title": "Count", "timing": timing, "overlap": overlap,
    });
    serde_json::from_value(value).unwrap()
}

fn timing() -> impl Strategy<Value = serde_json::Value> {
    let cron = |expression: &str| json!({ "kind": "cron", "expression": expression, "timeZone": "Europe/Berlin" });
    prop_oneof![
        (1u64..100_000).prop_map(|seconds| json!({ "kind": "every", "seconds": seconds })),
        Just(cron("*/5 * * * *")),
        Just(cron("30 2 * * *")),
        Just(cron("0 9 * * MON-FRI")),
    ]
}

fn added(timing: serde_json::Value, overlap: Overlap) -> Schedule {
    let org = "acme".parse().unwrap();
    Schedule::add(definition(timing, overlap), org, by(), begin()).unwrap()
}

/// What somebody does, and by how many seconds the server's clock moved before: also backwards.
type Step = (u8, i64, bool);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0u8..9, -100_000i64..400_000, any::<bool>()), 1..60)
}

fn step(it: &Schedule, kind: u8, open: bool, now: Time) -> Option<Schedule> {
    match kind {
        0..=3 => it.fire(it.next?, open, (&by(), now)).unwrap(),
        4 | 5 => it.delegated(&by(), now),
        6 => it.pause(&by(), now).ok(),
        7 => Some(it.resume(&by(), now).ok()?.unwrap()),
        _ => it.run(&by(), now).ok(),
    }
}

proptest! {
    #[test]
    fn a_moment_fires_once_and_never_early(
        timing in timing(),
        allow in any::<bool>(),
        steps in steps(),
    ) {
        let overlap = if allow { Overlap::Allow } else { Overlap::Skip };
        let mut it = added(timing, overlap);
        let mut now = begin();
        for (kind, moved, open) in steps {
            now = Time::from_micros(now.micros() + moved * 1_000_000);
            let Some(after) = step(&it, kind, open, now) else { continue };
            if after.runs > it.runs {
                let firing = after.pending.clone().unwrap();
                prop_assert!(firing.moment <= now, "it fired early");
                prop_assert_eq!(it.standing, Standing::Active);
                prop_assert!(allow || !open, "the last one had not ended");
                prop_assert!(it.pending.is_none(), "a firing was forgotten");
                prop_assert_eq!(TaskId::of_firing(it.name(), firing.moment), firing.task_id.clone());
            }
            if let Some(next) = after.next && after.next != it.next {
                prop_assert!(next > now, "moments that went by are one firing");
            }
            prop_assert_eq!(after.next.is_some(), after.standing == Standing::Active);
            // The same trigger once more, or another controller with the same one.
            let again = it.next.and_then(|moment| after.fire(moment, open, (&by(), now)).unwrap());
            prop_assert!(again.is_none() || it.next == after.next);
            it = after;
        }
    }
}

#[test]
fn a_firing_that_is_still_to_be_delegated_is_kept_over_everything_else() {
    let it = added(json!({ "kind": "every", "seconds": 60 }), Overlap::Allow);
    let moment = it.next.unwrap();
    let fired = it.fire(moment, false, (&by(), moment)).unwrap().unwrap();
    let pending = fired.pending.clone();
    assert!(pending.is_some());
    let next = fired.next.unwrap();
    let skipped = fired.fire(next, false, (&by(), next)).unwrap().unwrap();
    assert_eq!((skipped.runs, skipped.skipped), (1, 1));
    for after in [skipped, fired.pause(&by(), next).unwrap(), fired.remove(&by(), next).unwrap()] {
        assert_eq!(after.pending, pending);
        assert_eq!(after.delegated(&by(), next).unwrap().last, pending);
    }
    assert!(fired.run(&by(), next).is_err());
}

#[test]
fn it_ends_with_its_last_run_or_its_last_moment() {
    let mut definition = definition(json!({ "kind": "every", "seconds": 60 }), Overlap::Skip);
    definition.max_runs = Some(1);
    let org = || "acme".parse().unwrap();
    let it = Schedule::add(definition.clone(), org(), by(), begin()).unwrap();
    let moment = it.next.unwrap();
    let done = it.fire(moment, false, (&by(), moment)).unwrap().unwrap();
    assert_eq!((done.standing, done.next, done.runs), (Standing::Ended, None, 1));
    assert!(done.pending.is_some());

    definition.max_runs = None;
    definition.until = Some(moment);
    let it = Schedule::add(definition.clone(), org(), by(), begin()).unwrap();
    let done = it.fire(moment, true, (&by(), moment)).unwrap().unwrap();
    assert_eq!((done.standing, done.skipped, done.runs), (Standing::Ended, 1, 0));

    definition.until = Some(begin());
    assert!(Schedule::add(definition, org(), by(), begin()).is_err());
}
