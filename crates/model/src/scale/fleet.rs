//! Which instances of a role to start and which to let go, once it is known how many there are to
//! be. A busy one is never let go, and neither is one that has not come up yet: it would not hear
//! that it is to leave.

/// One instance that was started here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its place among those of the role; part of its name.
    pub slot: u32,
    /// What it does.
    pub doing: Doing,
    /// Whether it was started as the role is to be started now.
    pub current: bool,
}

/// What an instance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It comes up.
    Starting,
    /// It waits for work.
    Idle,
    /// It works.
    Busy,
    /// It was told to bring its work to an end, and leaves.
    Leaving,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Places in which an instance is to be started.
    pub start: Vec<u32>,
    /// Places whose instance is to leave when it has brought its work to an end.
    pub leave: Vec<u32>,
}

/// Plans for one role: `replicas` in all, of which `foreign` were started elsewhere.
#[must_use]
pub fn plan(replicas: u32, foreign: u32, instances: &[Instance]) -> Plan {
    let mut plan = Plan::default();
    let stays = |it: &&Instance| it.doing != Doing::Leaving;
    // One that was started otherwise makes way also while it is busy: it ends its work first.
    for it in instances.iter().filter(stays).filter(|it| !it.current) {
        if it.doing != Doing::Starting {
            plan.leave.push(it.slot);
        }
    }
    let current: Vec<&Instance> = instances.iter().filter(stays).filter(|it| it.current).collect();
    let wanted = usize::try_from(replicas.saturating_sub(foreign)).unwrap_or(usize::MAX);
    let mut free = (0..).filter(|slot| instances.iter().all(|it| it.slot != *slot));
    for _ in current.len()..wanted {
        plan.start.extend(free.next());
    }
    let mut idle: Vec<u32> =
        current.iter().filter(|it| it.doing == Doing::Idle).map(|it| it.slot).collect();
    idle.sort_unstable_by(|a, b| b.cmp(a));
    plan.leave.extend(idle.into_iter().take(current.len().saturating_sub(wanted)));
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(all: &[(u32, Doing)]) -> Vec<Instance> {
        all.iter()
            .map(|(slot, doing)| Instance { slot: *slot, doing: *doing, current: true })
            .collect()
    }

    #[test]
    fn free_places_are_filled_from_below_also_while_one_leaves() {
        let all = now(&[(0, Doing::Leaving), (2, Doing::Busy)]);
        assert_eq!(plan(3, 0, &all), Plan { start: vec![1, 3], leave: vec![] });
        assert_eq!(plan(3, 1, &all).start, [1], "who was started elsewhere counts");
        assert_eq!(plan(1, 5, &all), Plan::default());
    }

    #[test]
    fn only_the_idle_are_let_go_the_last_first() {
        let all =
            now(&[(0, Doing::Idle), (1, Doing::Busy), (2, Doing::Starting), (3, Doing::Idle)]);
        assert_eq!(plan(3, 0, &all).leave, [3]);
        assert_eq!(plan(0, 0, &all).leave, [3, 0]);
        assert!(plan(0, 0, &now(&[(0, Doing::Busy), (1, Doing::Starting)])).leave.is_empty());
    }

    #[test]
    fn one_that_was_started_otherwise_makes_way_for_another() {
        let mut all = now(&[(0, Doing::Busy), (1, Doing::Idle), (2, Doing::Starting)]);
        for it in &mut all {
            it.current = false;
        }
        assert_eq!(plan(2, 0, &all), Plan { start: vec![3, 4], leave: vec![0, 1] });
    }
}
