//! Waiting for other tasks: when a wait is over, and when it could never be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    entry::{DeadCause, Transition},
    phase::Phase,
    state::State,
};
use crate::id::TaskId;

/// What is known of the tasks that are waited for: how each has ended, or that it has not.
pub type Ends = BTreeMap<TaskId, Option<Transition>>;

/// What becomes of a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on, for this task among others.
    Still(TaskId),
    /// It is over.
    Over,
    /// It is over, and the task must not begin: one that it depends on did not complete.
    Broken {
        /// The kind of cause.
        cause: DeadCause,
        /// In words.
        detail: String,
    },
}

/// Judges a wait. `None` for a task that does not wait. A task of which nothing is known counts as
/// one that has not ended.
#[must_use]
pub fn judge(state: &State, ends: &Ends) -> Option<Outcome> {
    let Phase::Waiting { on } = &state.phase else { return None };
    let end_of = |task: &TaskId| ends.get(task).copied().flatten();
    let assignment = state.assignment.as_deref()?;
    // Before its first attempt it waits for what it was delegated to come after.
    if state.attempts == 0 && !assignment.after_any {
        let broken = on.iter().find_map(|task| {
            end_of(task).filter(|end| *end != Transition::Completed).map(|end| (task, end))
        });
        if let Some((task, end)) = broken {
            let detail = format!("it comes after {task}, which ended as {}", end.word());
            return Some(Outcome::Broken { cause: DeadCause::DependencyFailed, detail });
        }
    }
    Some(match on.iter().find(|task| end_of(task).is_none()) {
        Some(task) => Outcome::Still(task.clone()),
        None => Outcome::Over,
    })
}

/// The waits of some tasks: what each waits for.
pub type Waits = BTreeMap<TaskId, Vec<TaskId>>;

/// The shortest chain of waits that leads from `start` back to it: `start` first and last.
#[must_use]
pub fn cycle(start: &TaskId, waits: &Waits) -> Option<Vec<TaskId>> {
    let mut came_from: BTreeMap<&TaskId, &TaskId> = BTreeMap::new();
    let mut seen = BTreeSet::from([start]);
    let mut open = VecDeque::from([start]);
    while let Some(task) = open.pop_front() {
        for next in waits.get(task).into_iter().flatten() {
            if next == start {
                let mut chain = vec![start.clone(), task.clone()];
                let mut at = task;
                while let Some(before) = came_from.get(at) {
                    chain.push((*before).clone());
                    at = before;
                }
                chain.reverse();
                return Some(chain);
            }
            if seen.insert(next) {
                came_from.insert(next, task);
                open.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(edges: &[(&str, &[&str])]) -> Waits {
        let id = |it: &&str| it.parse().unwrap();
        edges.iter().map(|(from, to)| (id(from), to.iter().map(id).collect())).collect()
    }

    #[test]
    fn a_cycle_is_named_from_the_start_and_back_to_it() {
        let chain = |start: &str, edges: &[(&str, &[&str])]| {
            cycle(&start.parse().unwrap(), &waits(edges))
                .map(|chain| chain.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(chain("A", &[("A", &["A"])]).unwrap(), "A A");
        assert_eq!(chain("A", &[("A", &["B"]), ("B", &["A"])]).unwrap(), "A B A");
        let long = [("A", &["X", "B"][..]), ("B", &["C"]), ("C", &["D", "A"]), ("X", &["Y"])];
        assert_eq!(chain("A", &long).unwrap(), "A B C A");
        // A circle that the task is not part of is none of its own.
        assert_eq!(chain("A", &[("A", &["B"]), ("B", &["C"]), ("C", &["B"])]), None);
        assert_eq!(chain("A", &[("A", &["B", "C"]), ("B", &["D"]), ("C", &["D"])]), None);
    }
}
