//! When the controllers are in an org. An org that nobody uses holds no connection of theirs; one
//! that stirs is entered at once, and left when it has been quiet for long and nothing is left to
//! be done in it.

use std::time::Duration;

use crate::time::Time;

/// What is to be done about an org.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Stay,
    /// Go in.
    Enter,
    /// See whether anything is left to be done, and leave if not.
    AskToLeave,
}

/// Whether the controllers are in an org, and since when it is quiet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attendance {
    inside: bool,
    quiet: Option<Time>,
}

impl Attendance {
    /// Whether the controllers are in it.
    #[must_use]
    pub const fn is_inside(&self) -> bool {
        self.inside
    }

    /// Whether the controllers are alone in it.
    #[must_use]
    pub const fn is_quiet(&self) -> bool {
        self.quiet.is_some()
    }

    /// What follows from a look: `others` are the connections that are not the controllers' own;
    /// `call` is another reason to go in.
    #[must_use]
    pub fn decide(&self, others: u64, call: bool, (now, patience): (Time, Duration)) -> Step {
        match (self.inside, others > 0 || call) {
            (false, true) => Step::Enter,
            (false, false) | (true, true) => Step::Stay,
            (true, false) => match self.quiet {
                Some(since) if now.since(since) >= patience => Step::AskToLeave,
                Some(_) | None => Step::Stay,
            },
        }
    }

    /// The attendance after a look and after what was done about it.
    #[must_use]
    pub fn after(self, others: u64, inside: bool, now: Time) -> Self {
        let quiet = if inside && others == 0 { self.quiet.or(Some(now)) } else { None };
        Self { inside, quiet }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn at(second: i64) -> Time {
        Time::from_micros(second * 1_000_000)
    }

    #[test]
    fn who_stirs_is_entered_and_who_is_quiet_for_long_is_left() {
        let out = Attendance::default();
        assert_eq!(out.decide(0, false, (at(0), PATIENCE)), Step::Stay);
        assert_eq!(out.decide(1, false, (at(0), PATIENCE)), Step::Enter);
        assert_eq!(out.decide(0, true, (at(0), PATIENCE)), Step::Enter);
        let inside = out.after(1, true, at(0));
        assert_eq!(inside.decide(1, false, (at(1_000), PATIENCE)), Step::Stay);
        let quiet = inside.after(0, true, at(10));
        assert_eq!(quiet.decide(0, false, (at(69), PATIENCE)), Step::Stay);
        assert_eq!(quiet.decide(0, false, (at(70), PATIENCE)), Step::AskToLeave);
        // Somebody came meanwhile, so the time begins anew.
        let again = quiet.after(2, true, at(20)).after(0, true, at(30));
        assert_eq!(again.decide(0, false, (at(89), PATIENCE)), Step::Stay);
    }

    proptest! {
        #[test]
        fn nobody_is_left_alone_while_connected(looks in prop::collection::vec((0_u64..3, 0_i64..90), 1..40)) {
            let (mut attendance, mut now, mut quiet_for) = (Attendance::default(), 0, 0);
            for (others, span) in looks {
                now += span;
                quiet_for = if others > 0 || !attendance.is_inside() { 0 } else { quiet_for + span };
                let step = attendance.decide(others, false, (at(now), PATIENCE));
                if step == Step::AskToLeave {
                    prop_assert!(others == 0 && attendance.is_inside());
                    prop_assert!(quiet_for >= 60);
                }
                prop_assert_eq!(step == Step::Enter, others > 0 && !attendance.is_inside());
                let inside = step == Step::Enter || (attendance.is_inside() && step == Step::Stay);
                attendance = attendance.after(others, inside, at(now));
            }
        }
    }
}
