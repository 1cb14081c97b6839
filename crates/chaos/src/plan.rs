//! What a run does, made from its seed and nothing else: which work is delegated, which faults
//! strike, whom, and for how long. The same seed and options make the same plan, so a run that
//! found something can be had again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Most children that one task delegates.
const CHILDREN_MOST: u64 = 3;

/// Most events that one task emits.
const EVENTS_MOST: u64 = 2;

/// The longest work of one attempt: long enough that a fault meets running attempts, short enough
/// that thousands of tasks end within minutes.
const WORK_MOST_MS: u64 = 800;

/// What a fault costs besides its own time, on average: a process that starts, a server that reads
/// its store. It only spreads the delegations over a run.
const AFTERMATH: Duration = Duration::from_millis(400);

/// A task that comes after another comes after the root task that is so many before it: more than
/// are delegated at a time, so that it mostly exists by then.
const AFTER: u64 = 16;

/// Sides of the dice that say what a root task does besides; most of them say nothing.
const TWISTS: u64 = 18;

/// One task in so many asks for a second attempt, and one in so many ends as failed.
const ODD_ONE_IN: u64 = 12;

/// Numbers from a seed: splitmix64, whose series never changes with a version of a library.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// A series of its own for each `stream` of a seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 where there is none.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or_default()
    }

    fn between(&mut self, (least, most): (u64, u64)) -> Duration {
        Duration::from_millis(least + self.below(most.saturating_sub(least) + 1))
    }
}

/// How a task is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Goal {
    /// It completes.
    Complete,
    /// Its first attempt fails, a later one completes.
    SecondTry,
    /// It ends as failed.
    Fail,
}

/// What a root task does besides its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Twist {
    /// Nothing.
    Straight,
    /// It asks its delegator a question, and holds nothing until that is answered.
    Asks,
    /// It waits for its children, and holds nothing meanwhile.
    Waits,
    /// It comes after the root task of that number, and is dead where that one does not complete.
    After {
        /// The number.
        number: u64,
    },
    /// Its result must be accepted by a verifier.
    Verified,
    /// Its result is refused once, and then accepted.
    RefusedOnce,
    /// It waits for its children, and is called off by its delegator.
    CalledOff,
}

impl Twist {
    fn rolled(dice: &mut Dice, number: u64) -> Self {
        match dice.below(TWISTS) {
            0 | 1 => Self::Asks,
            2 | 3 => Self::Waits,
            4 => number.checked_sub(AFTER).map_or(Self::Straight, |number| Self::After { number }),
            5 => Self::Verified,
            6 => Self::RefusedOnce,
            7 => Self::CalledOff,
            _ => Self::Straight,
        }
    }

    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Straight => "straight",
            Self::Asks => "asks",
            Self::Waits => "waits",
            Self::After { .. } => "after",
            Self::Verified => "verified",
            Self::RefusedOnce => "refused-once",
            Self::CalledOff => "called-off",
        }
    }

    /// Whether its result needs a verdict.
    pub(crate) const fn needs_verdict(self) -> bool {
        matches!(self, Self::Verified | Self::RefusedOnce)
    }

    /// Whether it waits for its children.
    pub(crate) const fn waits(self) -> bool {
        matches!(self, Self::Waits | Self::CalledOff)
    }
}

/// What one task is to do; it travels as the task's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Work {
    /// Tasks that it delegates.
    pub(crate) children: u64,
    /// Events that it emits.
    pub(crate) events: u64,
    /// How long one attempt takes, besides.
    pub(crate) millis: u64,
    /// How it ends.
    pub(crate) goal: Goal,
    /// What it does besides.
    pub(crate) twist: Twist,
}

impl Work {
    /// The work of the root task of that number.
    pub(crate) fn of_root(seed: u64, number: u64) -> Self {
        let mut dice = Dice::new(seed, 1_000 + number);
        let children = dice.below(CHILDREN_MOST + 1);
        let twist = Twist::rolled(&mut Dice::new(seed, 1_000_000_000 + number), number);
        Self { children, twist, ..Self::rolled(&mut dice) }
    }

    /// The work of a child, which its parent's input and its place among the children determine.
    pub(crate) fn of_child(parent: &Self, place: u64) -> Self {
        let salt = parent.millis * 31 + parent.children * 7 + parent.events;
        Self::rolled(&mut Dice::new(salt, place))
    }

    fn rolled(dice: &mut Dice) -> Self {
        let goal = match dice.below(ODD_ONE_IN) {
            0 => Goal::SecondTry,
            1 => Goal::Fail,
            _ => Goal::Complete,
        };
        let (events, millis) = (dice.below(EVENTS_MOST + 1), dice.below(WORK_MOST_MS + 1));
        Self { children: 0, events, millis, goal, twist: Twist::Straight }
    }
}

/// What strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// SIGKILL of an agent, which is started again under its name.
    KillAgent,
    /// SIGKILL of an agent that never comes back; another one of a new name takes its place.
    LoseAgent,
    /// SIGSTOP of an agent for longer than its leases last: a zombie when it goes on.
    PauseAgent,
    /// An agent's connection is closed, and none is accepted.
    CutAgent,
    /// What the server says to an agent is held up.
    DeafenAgent,
    /// An agent's link is slow.
    SlowAgent,
    /// A delegator's connection is closed, and none is accepted.
    CutDelegator,
    /// What the server answers to a delegator is held up, so that it does not know what was done.
    DeafenDelegator,
    /// The same, until long after the SDK has given up and said that nobody knows.
    SilenceDelegator,
    /// SIGKILL of a process with controllers, which is started again.
    KillController,
    /// SIGKILL of the only server, or of some node.
    KillServer,
    /// SIGKILL of the node that leads the log of tasks.
    KillLeader,
    /// SIGSTOP of the server, or of some node.
    PauseServer,
    /// SIGKILL of a node that then starts with an empty store.
    WipeNode,
    /// The power of a server fails: what it had not made durable is gone.
    PowerCut,
    /// The disk of a server is full.
    FullDisk,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 16] = [
        Self::KillAgent,
        Self::LoseAgent,
        Self::PauseAgent,
        Self::CutAgent,
        Self::DeafenAgent,
        Self::SlowAgent,
        Self::CutDelegator,
        Self::DeafenDelegator,
        Self::SilenceDelegator,
        Self::KillController,
        Self::KillServer,
        Self::KillLeader,
        Self::PauseServer,
        Self::WipeNode,
        Self::PowerCut,
        Self::FullDisk,
    ];

    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::KillAgent => "kill-agent",
            Self::LoseAgent => "lose-agent",
            Self::PauseAgent => "pause-agent",
            Self::CutAgent => "cut-agent",
            Self::DeafenAgent => "deafen-agent",
            Self::SlowAgent => "slow-agent",
            Self::CutDelegator => "cut-delegator",
            Self::DeafenDelegator => "deafen-delegator",
            Self::SilenceDelegator => "silence-delegator",
            Self::KillController => "kill-controller",
            Self::KillServer => "kill-server",
            Self::KillLeader => "kill-leader",
            Self::PauseServer => "pause-server",
            Self::WipeNode => "wipe-node",
            Self::PowerCut => "power-cut",
            Self::FullDisk => "full-disk",
        }
    }

    /// Whether it strikes an agent's process or link, which only a run with tasks in flight feels.
    pub(crate) const fn kills_an_agent(self) -> bool {
        matches!(self, Self::KillAgent | Self::LoseAgent)
    }

    /// Whether it strikes a server.
    pub(crate) const fn strikes_a_server(self) -> bool {
        matches!(
            self,
            Self::KillServer
                | Self::KillLeader
                | Self::PauseServer
                | Self::WipeNode
                | Self::PowerCut
                | Self::FullDisk
        )
    }

    /// Whether it can strike where there are so many nodes, and stores that lose what is not
    /// durable.
    pub(crate) const fn fits(self, nodes: usize, lossy: bool) -> bool {
        let of_several = matches!(self, Self::KillLeader | Self::WipeNode);
        let of_lossy = matches!(self, Self::PowerCut | Self::FullDisk);
        (nodes > 1 || !of_several) && (lossy || !of_lossy)
    }

    /// How long it lasts, in milliseconds, least and most.
    const fn lasts(self) -> (u64, u64) {
        match self {
            Self::KillAgent | Self::KillController | Self::LoseAgent => (0, 600),
            // The leases of a run last six seconds.
            Self::PauseAgent => (6_500, 9_000),
            Self::CutAgent | Self::DeafenAgent | Self::CutDelegator | Self::DeafenDelegator => {
                (200, 3_000)
            }
            // A publish is given up after twelve seconds.
            Self::SilenceDelegator => (13_000, 15_000),
            Self::SlowAgent => (500, 2_000),
            Self::KillServer | Self::KillLeader | Self::WipeNode | Self::PowerCut => (0, 1_500),
            Self::PauseServer => (200, 2_500),
            Self::FullDisk => (300, 1_500),
        }
    }
}

/// One fault of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    /// How long the run goes on before it strikes.
    pub(crate) after: Duration,
    /// What strikes.
    pub(crate) kind: Kind,
    /// Whom, among those that it can strike; counted round.
    pub(crate) victim: u64,
    /// How long it lasts.
    pub(crate) lasts: Duration,
}

/// The faults of a run: so many, of those kinds.
pub(crate) fn faults(seed: u64, count: u64, kinds: &[Kind]) -> Vec<Fault> {
    let mut dice = Dice::new(seed, 1);
    let mut plan = Vec::new();
    for _ in 0..count {
        let place = usize::try_from(dice.below(kinds.len() as u64)).unwrap_or_default();
        let Some(&kind) = kinds.get(place) else { break };
        plan.push(Fault {
            after: dice.between((20, 600)),
            kind,
            victim: dice.below(1 << 20),
            lasts: dice.between(kind.lasts()),
        });
    }
    plan
}

/// How long those faults will take, about.
pub(crate) fn span(plan: &[Fault]) -> Duration {
    plan.iter().map(|fault| fault.after + fault.lasts + AFTERMATH).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_the_whole_plan() {
        assert_eq!(faults(7, 50, &Kind::ALL), faults(7, 50, &Kind::ALL));
        assert_ne!(faults(7, 50, &Kind::ALL), faults(8, 50, &Kind::ALL));
        assert_eq!(Work::of_root(7, 3), Work::of_root(7, 3));
        // A longer plan begins as the shorter one does.
        assert_eq!(faults(7, 50, &Kind::ALL)[..10], faults(7, 10, &Kind::ALL)[..]);
    }

    #[test]
    fn every_kind_and_every_goal_comes_up() {
        let plan = faults(1, 500, &Kind::ALL);
        for kind in Kind::ALL {
            assert!(plan.iter().any(|fault| fault.kind == kind), "{}", kind.word());
        }
        let work: Vec<Work> = (0..200).map(|number| Work::of_root(1, number)).collect();
        for goal in [Goal::Complete, Goal::SecondTry, Goal::Fail] {
            assert!(work.iter().any(|work| work.goal == goal), "{goal:?}");
        }
        assert!(work.iter().any(|work| work.children == CHILDREN_MOST));
        let twists = [
            Twist::Straight,
            Twist::Asks,
            Twist::Waits,
            Twist::Verified,
            Twist::RefusedOnce,
            Twist::CalledOff,
        ];
        for twist in twists {
            assert!(work.iter().any(|work| work.twist == twist), "{twist:?}");
        }
        assert!(work.iter().any(|work| matches!(work.twist, Twist::After { .. })));
    }

    #[test]
    fn only_what_fits_is_planned_for_one_server_on_a_disk() {
        let fitting = Kind::ALL.into_iter().filter(|kind| kind.fits(1, false));
        assert_eq!(fitting.count(), 12);
    }
}
