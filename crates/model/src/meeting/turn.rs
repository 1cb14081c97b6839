//! Whose turn it is, and who may speak.

use super::{
    command::Refusal,
    definition::Turns,
    state::{Phase, State, number},
};
use crate::id::Role;

impl State {
    /// Whose turn it is; `None` where everybody may speak, or nobody any more.
    #[must_use]
    pub fn holder(&self) -> Option<&Role> {
        if !matches!(self.phase, Phase::Active { .. }) {
            return None;
        }
        match self.definition.turns {
            Turns::Free => None,
            Turns::ChairLed => {
                let holder = self.floor.as_ref().unwrap_or_else(|| self.chair());
                (self.is_there(holder) && self.turns_left(holder) > 0).then_some(holder)
            }
            Turns::RoundRobin => self
                .present()
                .min_by_key(|role| self.taken(role))
                .filter(|role| self.turns_left(role) > 0),
        }
    }

    /// Whether nobody who is there has a turn left on this item.
    #[must_use]
    pub fn is_talked_out(&self) -> bool {
        !self.present().any(|role| self.turns_left(role) > 0)
    }

    /// How many rounds everybody who is there has had.
    pub(super) fn round(&self) -> u32 {
        self.present().map(|role| self.taken(role)).min().unwrap_or_default()
    }

    /// How many turns somebody has used up on this item.
    pub(super) fn taken(&self, role: &Role) -> u32 {
        let item = self.items.last();
        item.and_then(|item| item.taken.get(role)).copied().unwrap_or_default()
    }

    /// How many turns somebody has left on this item.
    pub(super) fn turns_left(&self, role: &Role) -> u32 {
        let rounds = self.definition.rounds;
        let most = match self.definition.turns {
            // The chair answers everybody.
            Turns::ChairLed if role == self.chair() => {
                rounds.saturating_mul(number(self.definition.everybody().count()))
            }
            Turns::ChairLed | Turns::RoundRobin | Turns::Free => rounds,
        };
        most.saturating_sub(self.taken(role))
    }

    /// Whether somebody who is there may speak now.
    pub(super) fn may_speak(&self, role: &Role) -> Result<(), Refusal> {
        let rounds = self.definition.rounds;
        match self.holder() {
            Some(holder) if holder != role => Err(Refusal::NotYourTurn { holder: holder.clone() }),
            Some(_) => Ok(()),
            None if self.definition.turns == Turns::Free && self.turns_left(role) > 0 => Ok(()),
            // The chair's place is empty; whoever takes it goes on.
            None if self.definition.turns == Turns::ChairLed && !self.is_there(self.chair()) => {
                Err(Refusal::NotYourTurn { holder: self.chair().clone() })
            }
            None => Err(Refusal::RoundsOver { rounds }),
        }
    }
}
