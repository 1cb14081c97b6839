//! Bounds of scaling, of leases among controllers, and of samples of health.

use std::time::Duration;

/// Roles that one team may have. Each is looked at whenever the queue stirs, and named in every
/// signal, which must fit a message.
pub const TEAM_ROLES: usize = 1_000;

/// Size of a team file, in bytes: each of its roles in a thousand bytes.
pub const TEAM_BYTES: u64 = 1_048_576;

/// Instances that one role may have at most, by its policy.
pub const REPLICAS_MAX: u32 = 1_000;

/// Instances that a role may have where its policy does not say: what a laptop bears.
pub const REPLICAS_DEFAULT: u32 = 1;

/// Instances by which a role grows in one step where its policy does not say.
pub const SCALE_BURST: u32 = 10;

/// Time between two steps up of one role: an instance that was just started has not shown yet what
/// it takes off the queue.
pub const SCALE_STEP: Duration = Duration::from_secs(1);

/// Time for which a role must need fewer instances before it gets fewer, where its policy does not
/// say. A program that is started takes about as long to be of use.
pub const SCALE_COOLDOWN: Duration = Duration::from_secs(60);

/// Windows in which another minimum and maximum hold, of one role.
pub const SCALE_WINDOWS: usize = 20;

/// Longest such window: a week, after which a schedule of the week begins anew.
pub const SCALE_WINDOW_LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Longest cooldown and patience of a policy.
pub const SCALE_SPAN_LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Time between two looks at the queue where nothing was heard: what a schedule puts there is not
/// heard.
pub const SCALE_EVERY: Duration = Duration::from_millis(500);

/// Shortest time between two looks, however much is heard.
pub const SCALE_SOONEST: Duration = Duration::from_millis(50);

/// Longest time between two signals, so that whoever was away knows where things stand.
pub const SIGNAL_EVERY: Duration = Duration::from_secs(10);

/// Time over which the rates of a role are taken.
pub const RATES_OVER: Duration = Duration::from_secs(30);

/// Time between two looks at a team file for changes.
pub const TEAM_EVERY: Duration = Duration::from_millis(500);

/// How long a lease among controllers holds without a renewal. A leader that was killed is followed
/// by another one after this time.
pub const LEASE_TTL: Duration = Duration::from_secs(5);

/// Part of a lease's time that its holder does not use, for clocks that run at another speed.
pub const LEASE_MARGIN: Duration = Duration::from_millis(500);

/// Renewals within the time of a lease, so that two may be lost.
pub const LEASE_RENEWALS: u32 = 4;

/// Time between two looks of a candidate at a lease that another one holds.
pub const LEASE_LOOK: Duration = Duration::from_millis(250);

/// Time between two samples of health.
pub const HEALTH_EVERY: Duration = Duration::from_secs(15);

/// Time after which a server that sent no sample of health counts as gone: three are lost.
pub const HEALTH_SILENCE: Duration = Duration::from_secs(50);

/// Newest samples that are read to find that of each server.
pub const HEALTH_READ: u64 = 200;

/// Time that one look at the state of a server may take, before it counts as not ready.
pub const HEALTH_PATIENCE: Duration = Duration::from_secs(2);

/// Samples and signals that are kept: a sample of each of three servers every [`HEALTH_EVERY`] for
/// five days. The oldest go.
pub const SYSTEM_STORED: i64 = 100_000;

/// How long samples and signals are kept.
pub const SYSTEM_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Entries of a view behind the log from which on a server is not ready: what it answers is old.
pub const VIEW_BEHIND: u64 = 10_000;

/// Time before a command that crashed is started again; twice as long after each further crash.
pub const CRASH_FIRST: Duration = Duration::from_millis(500);

/// Longest time before a command that crashed is started again.
pub const CRASH_LONGEST: Duration = Duration::from_secs(60);

/// Time that an agent must have run for its end not to count as a crash in a row.
pub const CRASH_STEADY: Duration = Duration::from_secs(10);

/// How long an instance may take from its start to its first sign of life, before it is taken for
/// one that hangs and is ended.
pub const INSTANCE_START: Duration = Duration::from_secs(60);

/// How long agents may take after SIGTERM when their `up` ends, before SIGKILL: the time that
/// running programs have to end, the grace of those that do not, and a little for the last word.
pub const TEAM_STOP: Duration = Duration::from_secs(20);

/// How long the agents of a team let running programs go on after `up` was told to end.
pub const TEAM_DRAIN: Duration = Duration::from_secs(10);

/// How long an instance that is scaled away may go on with what it has begun: no task is cut off
/// because the queue got empty.
pub const SCALED_AWAY_DRAIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// Lines of an agent's output that are kept for telling why it crashed.
pub const CRASH_LINES: usize = 5;

/// Bytes of such a line.
pub const CRASH_LINE_BYTES: usize = 500;

/// Time for which a role has work and no instance before it counts as stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(10);

/// Steps of the controller of a team that may wait: each child sends one.
pub const TEAM_EVENTS: usize = 1_024;

/// Roles whose consumers are taken away at one look, so that no signal waits for it.
pub const RETIRED_AT_ONCE: usize = 20;

/// Streams of answers that scalers of somebody else's may hold open at once: one for each role of a
/// team, from two of them.
pub const OUTSIDE_STREAMS: usize = 2 * TEAM_ROLES;
