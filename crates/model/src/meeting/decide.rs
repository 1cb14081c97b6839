//! What a meeting does when it is asked: the entry that follows, or why none does. It is asked
//! before an entry is written, and again of each entry that is read.

use super::{
    command::{Command, Refusal, Voice},
    definition::{ActionItem, TextError, Turns, text},
    entry::{Change, Reason},
    state::{Meeting, Phase, State, index, number},
    vote::Vote,
};
use crate::{
    id::{Role, TaskId},
    limits::{
        ACTIONS, ACTIONS_PER_PROPOSAL, EFFECT_KEY_BYTES, MEETING_ENTRIES, MEETING_TEXT_BYTES,
        PROPOSAL_BYTES, PROPOSALS, RATIONALE_BYTES, SPEECH_BYTES, SUMMARY_BYTES,
    },
    time::Time,
};

impl Meeting {
    /// The entry that follows from a request.
    ///
    /// # Errors
    /// Why none does.
    pub fn decide(&self, command: &Command, voice: &Voice<'_>) -> Result<Change, Refusal> {
        if voice.key.is_some_and(|key| key.is_empty() || key.len() > EFFECT_KEY_BYTES) {
            return Err(Refusal::Key);
        }
        match (&self.state, command) {
            (None, Command::Open { meeting }) => {
                meeting.check()?;
                Ok(Change::Opened { meeting: meeting.clone() })
            }
            (None, _) => Err(Refusal::NoMeeting),
            (Some(state), Command::Open { meeting }) if state.definition == **meeting => {
                Err(Refusal::AlreadyOpen)
            }
            (Some(_), Command::Open { .. }) => Err(Refusal::IdTaken),
            (Some(state), command) => state.decide(command, voice),
        }
    }
}

impl State {
    fn decide(&self, command: &Command, voice: &Voice<'_>) -> Result<Change, Refusal> {
        let now = voice.at.max(self.last_at);
        let who = &voice.by.role;
        match (&self.phase, command) {
            (Phase::Closed { .. }, Command::Delegate { number, task_id }) => {
                return self.delegate(*number, task_id);
            }
            (Phase::Closed { .. }, _) => return Err(Refusal::Closed),
            (_, Command::Close { summary }) => return self.end(who, summary.as_ref(), now),
            (Phase::Gathering | Phase::Active { .. }, _) => {}
        }
        // Votes that were cast are counted all the same.
        if self.entries >= MEETING_ENTRIES && !matches!(command, Command::Decide { .. }) {
            return Err(Refusal::Full { what: "entries" });
        }
        let known = |key: &str| self.keys.contains_key(&(who.clone(), key.to_owned()));
        if voice.key.is_some_and(known) {
            return Err(Refusal::Said);
        }
        match command {
            Command::Invite { number } => {
                let due = self.invitation(now) == Some(*number);
                if due { Ok(Change::Invited { number: *number }) } else { Err(Refusal::TooEarly) }
            }
            Command::Join => self.join(who),
            Command::Leave => self.must_be_there(who).map(|()| Change::Left),
            Command::Start => self.start(now),
            Command::Say { text } => self.say(who, text),
            Command::Pass => self.pass(who),
            Command::Give { to } => self.give(who, to),
            Command::Skip => self.skip(who, now),
            Command::Propose { text, action_items } => self.propose(who, text, action_items),
            Command::Vote { proposal, vote, rationale } => {
                self.vote(who, *proposal, *vote, rationale.as_ref())
            }
            Command::Decide { proposal } => self.count(*proposal, now),
            Command::Assign { action_item } => self.assign(who, action_item),
            Command::Next => self.next(who, now),
            Command::Succeed => {
                let chair = self.successor(now).ok_or(Refusal::TooEarly)?;
                Ok(Change::Chaired { chair: chair.clone() })
            }
            // Both were seen to above.
            Command::Open { .. } | Command::Close { .. } => Err(Refusal::AlreadyOpen),
            Command::Delegate { number, .. } => Err(Refusal::NoAction { number: *number }),
        }
    }

    fn must_be_member(&self, who: &Role) -> Result<(), Refusal> {
        if self.definition.has(who) {
            return Ok(());
        }
        Err(Refusal::NoMember { role: who.clone() })
    }

    fn must_be_there(&self, who: &Role) -> Result<(), Refusal> {
        self.must_be_member(who)?;
        if self.is_there(who) { Ok(()) } else { Err(Refusal::NotThere { role: who.clone() }) }
    }

    fn must_have_begun(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Active { .. } | Phase::Closed { .. } => Ok(()),
            Phase::Gathering => {
                let quorum = self.definition.quorum;
                Err(Refusal::NotBegun { present: self.members_there(), quorum })
            }
        }
    }

    /// Whoever takes part: a member who is there, in a meeting that has begun.
    fn must_take_part(&self, who: &Role) -> Result<(), Refusal> {
        self.must_be_member(who)?;
        self.must_have_begun()?;
        self.must_be_there(who)
    }

    fn must_lead(&self, who: &Role) -> Result<(), Refusal> {
        self.must_take_part(who)?;
        if who == self.chair() {
            return Ok(());
        }
        Err(Refusal::NotChair { chair: self.chair().clone() })
    }

    fn text(&self, what: &'static str, it: &str, limit: usize) -> Result<(), Refusal> {
        text(it, limit).map_err(|why| Refusal::Text { what, why })?;
        if self.text_bytes.saturating_add(it.len()) > MEETING_TEXT_BYTES {
            return Err(Refusal::Full { what: "bytes of text" });
        }
        Ok(())
    }

    fn join(&self, who: &Role) -> Result<Change, Refusal> {
        self.must_be_member(who)?;
        if self.is_there(who) {
            return Err(Refusal::ThereAlready { role: who.clone() });
        }
        Ok(Change::Joined)
    }

    fn start(&self, now: Time) -> Result<Change, Refusal> {
        if self.must_have_begun().is_ok() {
            return Err(Refusal::Begun);
        }
        if now < self.starts_at() {
            return Err(Refusal::TooEarly);
        }
        if self.members_there() < self.definition.quorum {
            self.must_have_begun()?;
        }
        Ok(Change::Started)
    }

    fn say(&self, who: &Role, speech: &str) -> Result<Change, Refusal> {
        self.must_take_part(who)?;
        self.may_speak(who)?;
        self.text("speech", speech, SPEECH_BYTES)?;
        let round = self.taken(who).saturating_add(1);
        Ok(Change::Said { item: self.item(), round, text: speech.to_owned() })
    }

    fn pass(&self, who: &Role) -> Result<Change, Refusal> {
        self.must_take_part(who)?;
        if self.definition.turns == Turns::Free {
            return Err(Refusal::NoTurns);
        }
        self.may_speak(who).map(|()| Change::Passed)
    }

    fn give(&self, who: &Role, to: &Role) -> Result<Change, Refusal> {
        if self.definition.turns != Turns::ChairLed {
            return Err(Refusal::NoTurns);
        }
        self.must_lead(who)?;
        self.must_be_there(to)?;
        if self.turns_left(to) == 0 {
            return Err(Refusal::RoundsOver { rounds: self.definition.rounds });
        }
        Ok(Change::Given { to: to.clone() })
    }

    fn skip(&self, who: &Role, now: Time) -> Result<Change, Refusal> {
        self.must_have_begun()?;
        let Some(holder) = self.holder() else { return Err(Refusal::NoTurns) };
        let by_chair = who == self.chair() && self.is_there(who) && who != holder;
        if by_chair || self.may_skip(now) {
            return Ok(Change::Skipped { role: holder.clone() });
        }
        Err(Refusal::TooEarly)
    }

    fn propose(&self, who: &Role, it: &str, actions: &[ActionItem]) -> Result<Change, Refusal> {
        self.must_take_part(who)?;
        self.text("proposal", it, PROPOSAL_BYTES)?;
        if self.proposals.len() >= PROPOSALS {
            return Err(Refusal::Full { what: "proposals" });
        }
        if actions.len() > ACTIONS_PER_PROPOSAL {
            return Err(Refusal::Full { what: "action items of a proposal" });
        }
        // Those of open proposals may all come to be.
        let promised: usize = self.open_proposals().map(|(_, it)| it.action_items.len()).sum();
        self.check_actions(actions, promised)?;
        Ok(Change::Proposed {
            proposal: number(self.proposals.len() + 1),
            item: self.item(),
            text: it.to_owned(),
            action_items: actions.to_vec(),
        })
    }

    fn check_actions(&self, actions: &[ActionItem], promised: usize) -> Result<(), Refusal> {
        let what = "action item";
        for action in actions {
            action.check().map_err(|why: TextError| Refusal::Text { what, why })?;
        }
        if self.actions.len() + promised + actions.len() > ACTIONS {
            return Err(Refusal::Full { what: "action items" });
        }
        Ok(())
    }

    fn vote(
        &self,
        who: &Role,
        proposal: u32,
        vote: Vote,
        rationale: Option<&String>,
    ) -> Result<Change, Refusal> {
        self.must_take_part(who)?;
        let it = self.proposal(proposal).ok_or(Refusal::NoProposal { proposal })?;
        if it.outcome.is_some() {
            return Err(Refusal::Decided { proposal });
        }
        if it.votes.contains_key(who) {
            return Err(Refusal::Voted { role: who.clone(), proposal });
        }
        if vote == Vote::Veto {
            if !self.definition.may_veto(who) {
                return Err(Refusal::MayNotVeto { role: who.clone() });
            }
            if rationale.is_none_or(|reason| reason.trim().is_empty()) {
                return Err(Refusal::NoReason);
            }
        }
        if let Some(reason) = rationale {
            self.text("rationale", reason, RATIONALE_BYTES)?;
        }
        Ok(Change::Voted { proposal, vote, rationale: rationale.cloned() })
    }

    fn count(&self, proposal: u32, now: Time) -> Result<Change, Refusal> {
        let it = self.proposal(proposal).ok_or(Refusal::NoProposal { proposal })?;
        if it.outcome.is_some() {
            return Err(Refusal::Decided { proposal });
        }
        let (outcome, tally) = self.result(it, now).ok_or(Refusal::Open { proposal })?;
        Ok(Change::Decided { proposal, outcome, tally })
    }

    fn assign(&self, who: &Role, action: &ActionItem) -> Result<Change, Refusal> {
        self.must_lead(who)?;
        let promised: usize = self.open_proposals().map(|(_, it)| it.action_items.len()).sum();
        self.check_actions(std::slice::from_ref(action), promised)?;
        let number = number(self.actions.len() + 1);
        Ok(Change::Assigned { number, action_item: action.clone() })
    }

    fn next(&self, who: &Role, now: Time) -> Result<Change, Refusal> {
        self.must_have_begun()?;
        if !self.may_advance(now) {
            self.must_lead(who)?;
            if let Some((proposal, _)) = self.open_proposals().next() {
                return Err(Refusal::Open { proposal });
            }
            if self.needs_vote() {
                return Err(Refusal::NeedsVote);
            }
        }
        let item = self.item().saturating_add(1);
        if self.is_last_item() {
            return Err(Refusal::LastItem);
        }
        Ok(Change::Advanced { item })
    }

    fn end(&self, who: &Role, summary: Option<&String>, now: Time) -> Result<Change, Refusal> {
        let own = who == self.chair() || *who == self.opened_by;
        if let Some((proposal, _)) =
            self.open_proposals().find(|(_, it)| self.result(it, now).is_some())
        {
            // Votes that were cast are counted before anything else.
            return Err(Refusal::Open { proposal });
        }
        if let Some(summary) = summary {
            let checked = text(summary, SUMMARY_BYTES);
            checked.map_err(|why| Refusal::Text { what: "summary", why })?;
        }
        let reason = match (self.ending(now), &self.phase) {
            (Some(reason), _) => reason,
            (None, _) if !own => return Err(Refusal::NotChair { chair: self.chair().clone() }),
            (None, Phase::Gathering) => Reason::CalledOff,
            (None, _) if self.is_last_item() && !self.needs_vote() => Reason::AgendaDone,
            (None, Phase::Active { .. } | Phase::Closed { .. }) => Reason::Adjourned,
        };
        // Only whoever leads the meeting has the last word on it.
        Ok(Change::Closed { reason, summary: summary.filter(|_| own).cloned() })
    }

    fn delegate(&self, number: u32, task_id: &TaskId) -> Result<Change, Refusal> {
        let action = index(number).and_then(|at| self.actions.get(at));
        let action = action.ok_or(Refusal::NoAction { number })?;
        if *task_id != TaskId::of_action(&self.meeting_id, number) {
            return Err(Refusal::NoAction { number });
        }
        if action.task_id.is_some() {
            return Err(Refusal::Delegated { number });
        }
        Ok(Change::Delegated { number, task_id: task_id.clone() })
    }
}
