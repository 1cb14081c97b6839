//! The laws of scaling, over any load, and in a small world in which instances take time to start
//! and tasks take time to end.

use std::time::Duration;

use proptest::prelude::*;
use sinew_model::{
    Time,
    limits::SCALE_STEP,
    scale::{Last, Limits, Load, decide},
};

fn limits() -> impl Strategy<Value = Limits> {
    (0..5_u32, 0..60_u32, 1..8_u32, 0..40_u64, 1..20_u32).prop_map(
        |(min, more, concurrency, cooldown, burst)| Limits {
            min,
            max: min + more,
            concurrency,
            cooldown: Duration::from_secs(cooldown),
            burst,
            patience: Duration::ZERO,
        },
    )
}

fn load() -> impl Strategy<Value = (u64, Load)> {
    (0..5_000_u64, 0..400_u64, 0..200_u64, 0..9_u64, 0..80_u32).prop_map(
        |(millis, backlog, in_flight, waiting, busy)| {
            let busy = busy.min(u32::try_from(in_flight).unwrap());
            (millis, Load { backlog, in_flight, waiting, busy, ..Load::default() })
        },
    )
}

fn at(millis: u64) -> Time {
    Time::from_micros(i64::try_from(millis).unwrap() * 1_000)
}

proptest! {
    /// Bounds, steps, cooldown, busy instances and people, whatever comes.
    #[test]
    fn every_decision_keeps_to_its_limits(
        limits in limits(),
        loads in prop::collection::vec(load(), 1..80),
        first in 0..80_u32,
    ) {
        let (mut now, mut last) = (0, Last::of(first));
        let (mut raised, mut moved) = (None, None);
        for (pass, load) in loads {
            now += pass;
            let before = last.replicas;
            let it = decide(&load, &limits, at(now), &last);
            prop_assert!(it.replicas >= load.busy, "a busy instance is scaled away");
            prop_assert!(it.replicas >= limits.min || it.replicas > before);
            prop_assert!(it.replicas <= limits.max.max(load.busy) || it.replicas <= before);
            prop_assert_eq!(it.last.replicas, it.replicas);
            if it.replicas > before {
                let given = limits.min.max(load.busy);
                let least = given.max(before + limits.burst);
                prop_assert!(it.replicas <= least, "a step is no larger than a burst");
                let early = raised.is_some_and(|at| Duration::from_millis(now - at) < SCALE_STEP);
                prop_assert!(!early || before < given, "steps have time between them");
                let work = load.backlog + load.in_flight;
                let fills = u32::try_from(work.div_ceil(u64::from(limits.concurrency))).unwrap();
                prop_assert!(it.replicas <= fills.max(limits.min).max(load.busy));
                (raised, moved) = (Some(now), Some(now));
            }
            if it.replicas < before {
                let cooled = moved.is_none_or(|at| Duration::from_millis(now - at) >= limits.cooldown);
                prop_assert!(cooled || before > limits.max.max(limits.min), "it flaps");
                moved = Some(now);
            }
            let people = Load { waiting: load.waiting + 5, ..load };
            let other = decide(&people, &limits, at(now), &last);
            prop_assert_eq!(other.replicas, it.replicas, "people need no instance");
            last = it.last;
        }
    }

    /// A heap of work in a world with delays: as many as it needs and no more, never a busy one
    /// less, and in the end none.
    #[test]
    fn a_heap_of_work_converges_without_overshoot_and_ends_at_the_minimum(
        limits in limits(),
        tasks in 1..600_u64,
        start_millis in 0..3_000_u64,
        task_millis in 100..6_000_u64,
    ) {
        prop_assume!(limits.max > 0);
        let needed = tasks.div_ceil(u64::from(limits.concurrency));
        let needed = u32::try_from(needed).unwrap().clamp(limits.min, limits.max);
        let mut world = World { queued: tasks, ..World::default() };
        let (mut last, mut most, mut now) = (Last::default(), 0, 0);
        let long = tasks * task_millis + start_millis * 60 + 200_000;
        while now < long && (world.work() > 0 || last.replicas > limits.min) {
            let it = decide(&world.load(), &limits, at(now), &last);
            last = it.last;
            world.follow(it.replicas, now + start_millis);
            world.work_until(now, limits.concurrency, task_millis);
            most = most.max(world.instances());
            now += 100;
        }
        prop_assert_eq!(world.work(), 0, "all of it is done");
        prop_assert_eq!(last.replicas, limits.min, "it sleeps in the end");
        prop_assert!(f64::from(most) <= f64::from(needed) * 1.2, "{} where {} do", most, needed);
        prop_assert_eq!(world.cut_off, 0, "a busy one was stopped");
    }
}

/// Instances with places, and tasks that end.
#[derive(Default)]
struct World {
    queued: u64,
    starting: Vec<u64>,
    /// The ends of the tasks of each instance.
    running: Vec<Vec<u64>>,
    cut_off: usize,
}

impl World {
    fn work(&self) -> u64 {
        self.queued + self.in_flight()
    }

    fn in_flight(&self) -> u64 {
        self.running.iter().map(|it| it.len() as u64).sum()
    }

    fn instances(&self) -> u32 {
        u32::try_from(self.running.len() + self.starting.len()).unwrap()
    }

    fn load(&self) -> Load {
        let busy = self.running.iter().filter(|it| !it.is_empty()).count();
        let busy = u32::try_from(busy).unwrap();
        Load { backlog: self.queued, in_flight: self.in_flight(), busy, ..Load::default() }
    }

    fn follow(&mut self, replicas: u32, ready: u64) {
        while self.instances() < replicas {
            self.starting.push(ready);
        }
        while self.instances() > replicas {
            if self.starting.pop().is_some() {
                continue;
            }
            let idle = self.running.iter().position(Vec::is_empty).unwrap_or(0);
            self.cut_off += self.running.remove(idle).len();
        }
    }

    fn work_until(&mut self, now: u64, concurrency: u32, task_millis: u64) {
        let before = self.starting.len();
        self.starting.retain(|ready| *ready > now);
        self.running.extend((self.starting.len()..before).map(|_| Vec::new()));
        for ends in &mut self.running {
            ends.retain(|end| *end > now);
            while ends.len() < concurrency as usize && self.queued > 0 {
                self.queued -= 1;
                ends.push(now + task_millis);
            }
        }
    }
}
