//! Who is given up for gone, over heartbeats, ends of connections, cuts and canaries in any order:
//! nobody who could have been alive unheard, and everybody who is dead, once.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use serde_json::json;
use sinew_model::{
    Time,
    limits::{CANARY_GAP, CANARY_LATE, HEARTBEAT_SILENCE, ORPHAN_GRACE},
    presence::{
        Connection, Heartbeat,
        orphan::{Gone, Sign, Watch},
    },
};

#[derive(Clone, Debug)]
enum Step {
    Pass(Duration),
    /// A heartbeat of a process, over its nth connection.
    Heard(u8, u64, bool),
    Ended(u8, u64),
    CutOff,
    /// A canary comes back that was sent so long ago.
    Canary(Duration),
}

fn connection(process: u8, nth: u64) -> Connection {
    Connection { server: "NA".to_owned(), client: u64::from(process) * 10 + nth }
}

fn heartbeat(process: u8, nth: u64, leaving: bool) -> Heartbeat {
    serde_json::from_value(json!({
        "role": "cto", "instance": format!("i{}", process / 2),
        "incarnation": format!("{process}"), "at": "2026-05-10T14:23:01Z", "concurrency": 5,
        "holds": [{ "taskId": "T1", "attempt": 1 }], "leaving": leaving,
        "connection": connection(process, nth),
    }))
    .unwrap()
}

fn process_of(gone: &Gone) -> u8 {
    gone.incarnation.parse().unwrap()
}

fn step() -> impl Strategy<Value = Step> {
    let millis = |most: u64| (0..most).prop_map(Duration::from_millis);
    prop_oneof![
        3 => millis(1_500).prop_map(Step::Pass),
        3 => (0..4_u8, 0..3_u64, prop::bool::weighted(0.1)).prop_map(|(a, b, c)| Step::Heard(a, b, c)),
        2 => (0..4_u8, 0..3_u64).prop_map(|(a, b)| Step::Ended(a, b)),
        1 => Just(Step::CutOff),
        4 => millis(1_500).prop_map(Step::Canary),
    ]
}

/// What is true of a process, told without the code under test.
#[derive(Clone, Copy, Default)]
struct Truth {
    heard: Option<(Time, u64)>,
    ended: Option<Time>,
}

proptest! {
    #[test]
    fn nobody_is_given_up_who_could_have_been_alive_unheard(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut watch = Watch::default();
        let mut now = Time::from_micros(0);
        let mut truths: BTreeMap<u8, Truth> = BTreeMap::new();
        let (mut hearing_since, mut canary) = (now, None::<Time>);
        for step in steps {
            match step {
                Step::Pass(span) => now = now.plus(span),
                Step::Heard(process, nth, leaving) => {
                    watch.heard(&heartbeat(process, nth, leaving), now);
                    let heard = (!leaving).then_some((now, nth));
                    truths.insert(process, Truth { heard, ended: None });
                }
                Step::Ended(process, nth) => {
                    watch.disconnected(&connection(process, nth), now);
                    let truth = truths.entry(process).or_default();
                    if truth.heard.is_some_and(|(_, newest)| newest == nth) {
                        truth.ended.get_or_insert(now);
                    }
                }
                Step::CutOff => {
                    watch.cut_off(now);
                    hearing_since = now;
                    truths.values_mut().for_each(|truth| truth.ended = None);
                }
                Step::Canary(late) => {
                    let sent = now.minus(late);
                    if late <= CANARY_LATE {
                        if canary.is_none_or(|before| now.since(before) > CANARY_GAP) {
                            hearing_since = now;
                            truths.values_mut().for_each(|truth| truth.ended = None);
                        }
                        canary = Some(now);
                    }
                    for gone in watch.canary(sent, now) {
                        prop_assert!(late <= CANARY_LATE, "a late canary proves nothing");
                        let truth = truths.insert(process_of(&gone), Truth::default()).unwrap();
                        let (heard, _) = truth.heard.expect("it was heard, and given up once");
                        let from = match gone.sign {
                            Sign::Disconnected => truth.ended.expect("its newest connection ended"),
                            Sign::Silent => heard.max(hearing_since).plus(HEARTBEAT_SILENCE),
                        };
                        prop_assert!(from >= hearing_since, "it may have been heard by others since");
                        prop_assert!(sent >= from.plus(ORPHAN_GRACE), "{gone:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn everybody_who_is_dead_is_given_up_once_while_canaries_flow(
        steps in prop::collection::vec(step(), 0..60),
        disconnects in any::<bool>(),
    ) {
        let mut watch = Watch::default();
        let mut now = Time::from_micros(0);
        for step in steps {
            match step {
                Step::Pass(span) => now = now.plus(span),
                Step::Heard(process, nth, leaving) => watch.heard(&heartbeat(process, nth, leaving), now),
                Step::Ended(process, nth) => watch.disconnected(&connection(process, nth), now),
                Step::CutOff => watch.cut_off(now),
                Step::Canary(late) => drop(watch.canary(now.minus(late), now)),
            }
        }
        drop(watch.canary(now, now));
        watch.heard(&heartbeat(7, 0, false), now);
        if disconnects {
            watch.disconnected(&connection(7, 0), now);
        }
        let begin = now;
        let mut found = Vec::new();
        while now.since(begin) < Duration::from_secs(20) {
            now = now.plus(watch.next(now).map_or(Duration::from_secs(1), |next| next.min(Duration::from_secs(1))));
            let gone = watch.canary(now, now);
            found.extend(gone.into_iter().map(|gone| (process_of(&gone), now.since(begin), gone.sign)));
        }
        let mine: Vec<_> = found.iter().copied().filter(|(process, ..)| *process == 7).collect();
        let (after, sign) = if disconnects {
            (ORPHAN_GRACE, Sign::Disconnected)
        } else {
            (HEARTBEAT_SILENCE + ORPHAN_GRACE, Sign::Silent)
        };
        prop_assert_eq!(mine, vec![(7, after, sign)]);
        prop_assert_eq!(watch.next(now), None, "nobody is left");
    }
}

#[test]
fn a_sign_of_life_within_the_grace_cancels_and_a_controller_is_nobody() {
    let (mut watch, start) = (Watch::default(), Time::from_micros(0));
    let at = |millis| start.plus(Duration::from_millis(millis));
    let mut canary = heartbeat(1, 0, false);
    canary.concurrency = 0;
    watch.heard(&canary, start);
    assert_eq!(watch.next(start), None);
    assert!(watch.canary(start, start).is_empty());
    watch.heard(&heartbeat(0, 0, false), start);
    watch.disconnected(&connection(0, 0), at(100));
    watch.heard(&heartbeat(0, 1, false), at(1_000));
    // What the server says late of the connection of before is about nobody.
    watch.disconnected(&connection(0, 0), at(1_050));
    assert!(watch.canary(at(2_000), at(2_000)).is_empty());
    watch.disconnected(&connection(0, 1), at(2_100));
    assert!(watch.canary(at(3_099), at(3_099)).is_empty());
    let gone = watch.canary(at(3_100), at(3_100));
    let [gone] = gone.as_slice() else { panic!("{gone:?}") };
    assert_eq!((gone.sign, gone.holds.len()), (Sign::Disconnected, 1));
    assert!(!watch.knows(&gone.instance, &gone.incarnation));
}
