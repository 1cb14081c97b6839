//! Meetings under members who do whatever chance makes up, writers that repeat and forge, and
//! clocks that run any way: votes are counted once, nobody speaks out of turn, what is decided and
//! what is over stays so, and time ends every meeting.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use sinew_model::{
    MeetingId, Role, TaskId, Time,
    limits::MEETING_STEPS,
    meeting::{
        ActionItem, Change, Command, Definition, Entry, Item, Meeting, Outcome, Phase, Reason,
        Refusal, Rule, Stored, Turns, Voice, Void, Vote,
    },
    task::Actor,
};

const ROLES: [&str; 6] = ["ceo", "cto", "qa", "ops", "legal", "stranger"];

fn role(at: usize) -> Role {
    ROLES.get(at % ROLES.len()).unwrap().parse().unwrap()
}

fn begin() -> Time {
    "2026-05-10T14:23:01Z".parse().unwrap()
}

fn id() -> MeetingId {
    "m1".parse().unwrap()
}

fn definition(turns: Turns, rule: Rule, requires_vote: bool) -> Definition {
    let members = (0..4).map(role).collect();
    let item = |item: &str, duration_seconds| Item {
        item: item.to_owned(),
        duration_seconds,
        requires_vote,
    };
    Definition {
        turns,
        rule,
        optional: vec![role(4)],
        quorum: 2,
        rounds: 2,
        agenda: vec![item("first", None), item("second", Some(600)), item("third", None)],
        ..Definition::new("Ship it?", role(0), members)
    }
}

/// A meeting, and everything that its stream holds of it.
struct Log {
    meeting: Meeting,
    stored: Vec<Stored>,
    now: Time,
}

impl Log {
    fn open(definition: Definition) -> Self {
        let mut log = Self { meeting: Meeting::default(), stored: Vec::new(), now: begin() };
        log.ask(0, &Command::Open { meeting: Box::new(definition) }).unwrap();
        log
    }

    fn state(&self) -> &sinew_model::meeting::State {
        self.meeting.state.as_ref().unwrap()
    }

    fn ask(&mut self, by: usize, command: &Command) -> Result<Change, Refusal> {
        self.ask_with(by, None, command)
    }

    fn ask_with(
        &mut self,
        by: usize,
        key: Option<&str>,
        command: &Command,
    ) -> Result<Change, Refusal> {
        let by = Actor { role: role(by), instance: None };
        let change = self.meeting.decide(command, &Voice { by: &by, at: self.now, key })?;
        let entry = Entry {
            meeting_id: id(),
            org_id: "acme".parse().unwrap(),
            at: self.now,
            by,
            key: key.map(str::to_owned),
            change: change.clone(),
        };
        self.store(entry, true).unwrap();
        Ok(change)
    }

    fn store(&mut self, entry: Entry, guarded: bool) -> Result<(), Void> {
        let seq = self.meeting.last_seq + 3;
        let expected = guarded.then_some(self.meeting.last_seq);
        let stored = Stored { seq, expected, token: None, entry };
        self.stored.push(stored.clone());
        self.meeting.apply(&id(), &stored)
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    /// Does what is due until nothing is.
    fn settle(&mut self) {
        for _ in 0..MEETING_STEPS {
            let Some(command) = self.state().due(self.now) else { return };
            self.ask(5, &command).unwrap();
        }
        assert_eq!(self.state().due(self.now), None, "more is due than can be");
    }

    fn begun(turns: Turns, rule: Rule) -> Self {
        let mut log = Self::open(definition(turns, rule, false));
        for at in 0..3 {
            log.ask(at, &Command::Join).unwrap();
        }
        log.settle();
        assert!(matches!(log.state().phase, Phase::Active { .. }));
        log
    }

    fn say(&mut self, by: usize) -> Result<Change, Refusal> {
        self.ask(by, &Command::Say { text: format!("{} says", role(by)) })
    }

    fn propose(&mut self, by: usize) -> u32 {
        let action_items = vec![ActionItem {
            assignee: role(1),
            action: "Do it".to_owned(),
            details: serde_json::Value::Null,
        }];
        let command = Command::Propose { text: "Ship it.".to_owned(), action_items };
        self.ask(by, &command).unwrap().number()
    }

    fn vote(&mut self, by: usize, proposal: u32, vote: Vote) -> Result<Change, Refusal> {
        let rationale = (vote == Vote::Veto).then(|| "It is broken.".to_owned());
        self.ask(by, &Command::Vote { proposal, vote, rationale })
    }
}

/// What chance does: who, what, a number, and how many seconds went by before.
type Step = (usize, u8, u32, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0usize..6, 0u8..20, 0u32..5, 0u64..200), 1..120)
}

fn command(kind: u8, number: u32) -> Command {
    let at = usize::try_from(number).unwrap();
    match kind {
        0..=2 => Command::Join,
        3 => Command::Leave,
        4..=7 => Command::Say { text: format!("speech {number}") },
        8 => Command::Pass,
        9 => Command::Give { to: role(at) },
        10 => Command::Skip,
        11 | 12 => Command::Propose {
            text: "Ship it.".to_owned(),
            action_items: vec![ActionItem {
                assignee: role(at),
                action: "Do it".to_owned(),
                details: number.into(),
            }],
        },
        13..=15 => Command::Vote {
            proposal: number,
            vote: Vote::ALL.into_iter().nth(at % 4).unwrap(),
            rationale: (number > 2).then(|| "because".to_owned()),
        },
        16 => Command::Decide { proposal: number },
        17 => Command::Next,
        18 => Command::Start,
        _ if number == 0 => Command::Close { summary: Some("enough".to_owned()) },
        _ => Command::Succeed,
    }
}

/// What a reader of the stream finds, whatever was written to it.
fn check_laws(log: &Log) -> Result<(), TestCaseError> {
    let mut votes = BTreeSet::new();
    let mut decided = BTreeMap::new();
    let mut fold = Meeting::default();
    let mut closed = None;
    for stored in &log.stored {
        let before = fold.clone();
        if fold.apply(&id(), stored).is_err() {
            prop_assert_eq!(&fold.state, &before.state, "what is void changes nothing");
            continue;
        }
        let by = stored.entry.by.role.clone();
        let state = before.state.as_ref();
        let is_late = closed.is_some() && !matches!(stored.entry.change, Change::Delegated { .. });
        prop_assert!(!is_late, "something happened after the end");
        match &stored.entry.change {
            Change::Voted { proposal, .. } => {
                prop_assert!(votes.insert((*proposal, by)), "a second vote was counted");
                prop_assert!(!decided.contains_key(proposal), "a vote came after the decision");
            }
            Change::Decided { proposal, tally, .. } => {
                prop_assert!(decided.insert(*proposal, *tally).is_none(), "decided twice");
                let cast = votes.iter().filter(|(it, _)| it == proposal).count();
                prop_assert_eq!(usize::try_from(tally.cast()).unwrap(), cast);
            }
            Change::Said { .. } => {
                let state = state.unwrap();
                prop_assert!(state.is_there(&by), "somebody spoke who was not there");
                let turn = state.holder().is_none_or(|holder| *holder == by);
                prop_assert!(turn, "somebody spoke out of turn");
            }
            Change::Closed { .. } => {
                prop_assert!(closed.is_none(), "closed twice");
                closed = fold.state.as_ref().map(|state| state.phase.clone());
            }
            Change::Delegated { .. } => prop_assert!(closed.is_some()),
            Change::Opened { .. }
            | Change::Invited { .. }
            | Change::Joined
            | Change::Left
            | Change::Started
            | Change::Passed
            | Change::Given { .. }
            | Change::Skipped { .. }
            | Change::Proposed { .. }
            | Change::Assigned { .. }
            | Change::Advanced { .. }
            | Change::Chaired { .. } => {}
        }
        if let Some(closed) = &closed {
            prop_assert_eq!(&fold.state.as_ref().unwrap().phase, closed);
        }
    }
    prop_assert_eq!(&fold, &log.meeting, "a second reader sees another meeting");
    Ok(())
}

proptest! {
    #[test]
    fn whatever_is_written_the_laws_hold_and_time_ends_it(
        turns in prop::sample::select(Turns::ALL.to_vec()),
        rule in prop::sample::select(Rule::ALL.to_vec()),
        requires_vote in any::<bool>(),
        steps in steps(),
    ) {
        let mut log = Log::open(definition(turns, rule, requires_vote));
        for (by, kind, number, seconds) in steps {
            log.pass(seconds);
            let command = command(kind, number);
            if kind == 19 && number == 4 {
                log.settle();
            }
            let asked = log.ask(by, &command);
            let Some(last) = log.stored.last().map(|stored| stored.entry.clone()) else { continue };
            // The same entry again, without a guard and with one that a racing writer held; and
            // what was just refused, written all the same.
            match number {
                0 => prop_assert_eq!(log.store(last, false), Err(Void::Unguarded)),
                1 => {
                    // A pass or a speech may follow another one; the rest must not be repeated.
                    let again = matches!(
                        last.change,
                        Change::Passed | Change::Said { .. } | Change::Given { .. }
                            | Change::Skipped { .. } | Change::Advanced { .. }
                            | Change::Chaired { .. }
                    );
                    if !again {
                        prop_assert!(log.store(last, true).is_err());
                    }
                }
                _ => {}
            }
            if let (Err(_), Command::Say { text }) = (&asked, &command) {
                let item = log.state().item();
                let change = Change::Said { item, round: 1, text: text.clone() };
                let by = Actor { role: role(by), instance: None };
                let org_id = "acme".parse().unwrap();
                let entry =
                    Entry { meeting_id: id(), org_id, at: log.now, by, key: None, change };
                prop_assert!(log.store(entry, true).is_err(), "a refused speech was counted");
            }
        }
        // However it stands: after its quorum time and its own time it is over.
        log.settle();
        log.pass(300);
        log.settle();
        log.pass(3_600);
        log.settle();
        prop_assert!(log.meeting.is_closed(), "{:?}", log.state());
        prop_assert!(log.state().is_done(), "an action item is left");
        check_laws(&log)?;
    }
}

#[test]
fn four_roles_meet_vote_and_go_home() {
    let mut log = Log::begun(Turns::RoundRobin, Rule::Majority);
    assert_eq!(log.say(1), Err(Refusal::NotYourTurn { holder: role(0) }));
    for by in 0..3 {
        log.say(by).unwrap();
    }
    // The fourth comes late, and speaks in the round that is left.
    log.ask(3, &Command::Join).unwrap();
    for by in 0..4 {
        assert_eq!(log.state().holder(), Some(&role(by)));
        log.say(by).unwrap();
    }
    assert_eq!(log.say(0), Err(Refusal::RoundsOver { rounds: 2 }));
    let it = log.propose(2);
    assert_eq!(log.ask(0, &Command::Next), Err(Refusal::Open { proposal: it }));
    log.vote(0, it, Vote::Approve).unwrap();
    assert_eq!(log.vote(0, it, Vote::Reject), Err(Refusal::Voted { role: role(0), proposal: it }));
    log.vote(1, it, Vote::Approve).unwrap();
    assert_eq!(log.ask(0, &Command::Decide { proposal: it }), Err(Refusal::Open { proposal: it }));
    log.vote(3, it, Vote::Approve).unwrap();
    assert_eq!(log.ask(0, &Command::Close { summary: None }), Err(Refusal::Open { proposal: it }));
    log.settle();
    assert_eq!(log.state().proposal(it).unwrap().outcome, Some(Outcome::Approved));
    assert_eq!(log.vote(2, it, Vote::Reject), Err(Refusal::Decided { proposal: it }));
    log.ask(0, &Command::Next).unwrap();
    log.ask(0, &Command::Close { summary: Some("We ship.".to_owned()) }).unwrap();
    assert!(!log.state().is_done());
    log.settle();
    let action = &log.state().actions[0];
    assert_eq!(action.task_id, Some(TaskId::of_action(&id(), 1)));
    assert_eq!(log.say(0), Err(Refusal::Closed));
    let minutes = log.state().minutes(log.now);
    assert_eq!(minutes.reason, Some(Reason::Adjourned));
    let text = minutes.markdown();
    for words in ["# Ship it?", "> cto says", "**Proposal 1** by qa: **approved**", "> We ship."] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn too_few_members_and_a_time_that_has_not_come_start_nothing() {
    let scheduled_for = Some(begin().plus(Duration::from_secs(1_000)));
    let mut log =
        Log::open(Definition { scheduled_for, ..definition(Turns::Free, Rule::Majority, false) });
    assert_eq!(log.state().word(log.now), "scheduled");
    log.settle();
    assert_eq!(log.state().invited, 1);
    log.ask(0, &Command::Join).unwrap();
    log.ask(4, &Command::Join).unwrap();
    assert_eq!(log.ask(0, &Command::Start), Err(Refusal::TooEarly));
    log.pass(1_000);
    log.settle();
    assert_eq!(log.state().invited, 2, "they are called when the time has come");
    // The optional one does not count.
    assert_eq!(log.say(0), Err(Refusal::NotBegun { present: 1, quorum: 2 }));
    log.pass(300);
    log.settle();
    let Phase::Closed { reason, .. } = log.state().phase else { panic!("it goes on") };
    assert_eq!(reason, Reason::NoQuorum);
}

#[test]
fn a_dead_chair_is_succeeded_and_silence_ends_it() {
    let mut log = Log::begun(Turns::ChairLed, Rule::Majority);
    assert_eq!(log.say(1), Err(Refusal::NotYourTurn { holder: role(0) }));
    log.ask(0, &Command::Give { to: role(1) }).unwrap();
    log.pass(119);
    assert_eq!(log.state().due(log.now), None);
    log.pass(1);
    log.settle();
    assert_eq!(log.state().holder(), Some(&role(0)), "the floor is the chair's again");
    assert_eq!(log.ask(1, &Command::Succeed), Err(Refusal::TooEarly));
    log.pass(300);
    log.settle();
    assert_eq!(log.state().chair(), &role(1));
    assert_eq!(log.ask(0, &Command::Next), Err(Refusal::NotChair { chair: role(1) }));
    log.say(1).unwrap();
    log.pass(300);
    log.settle();
    log.pass(300);
    log.settle();
    let Phase::Closed { reason, .. } = log.state().phase else { panic!("it goes on") };
    assert_eq!(reason, Reason::Silence, "nobody is left to lead it");
    assert_eq!(log.state().chairs, [role(0), role(1), role(2)]);
}

#[test]
fn whoever_is_silent_is_passed_over_and_votes_that_are_missing_bind_nobody() {
    let mut log = Log::begun(Turns::RoundRobin, Rule::Unanimous);
    log.pass(120);
    log.settle();
    assert_eq!(log.state().holder(), Some(&role(1)));
    let it = log.propose(1);
    log.vote(1, it, Vote::Approve).unwrap();
    log.pass(299);
    log.settle();
    assert_eq!(log.state().proposal(it).unwrap().outcome, None, "turns wait for votes");
    assert_eq!(log.state().holder(), Some(&role(1)));
    log.pass(1);
    log.settle();
    assert_eq!(log.state().proposal(it).unwrap().outcome, Some(Outcome::Lapsed));
}

#[test]
fn a_veto_needs_the_right_and_a_reason() {
    let mut log = Log::begun(Turns::Free, Rule::Majority);
    let it = log.propose(0);
    assert_eq!(log.vote(1, it, Vote::Veto), Err(Refusal::MayNotVeto { role: role(1) }));
    let mut log = Log::begun(Turns::Free, Rule::MajorityWithVeto);
    let it = log.propose(0);
    let bare = Command::Vote { proposal: it, vote: Vote::Veto, rationale: Some(" ".to_owned()) };
    assert_eq!(log.ask(1, &bare), Err(Refusal::NoReason));
    log.vote(1, it, Vote::Veto).unwrap();
    log.settle();
    assert_eq!(log.state().proposal(it).unwrap().outcome, Some(Outcome::Vetoed));
    assert!(log.state().actions.is_empty());
}

#[test]
fn what_is_said_again_under_a_key_is_said_once() {
    let mut log = Log::begun(Turns::Free, Rule::Majority);
    let say = Command::Say { text: "hello".to_owned() };
    log.ask_with(1, Some("a"), &say).unwrap();
    assert_eq!(log.ask_with(1, Some("a"), &say), Err(Refusal::Said));
    assert!(log.ask_with(2, Some("a"), &say).is_ok(), "another one's key is another key");
}

#[test]
fn hostile_text_is_refused_and_cannot_forge_the_minutes() {
    let mut log = Log::begun(Turns::Free, Rule::Majority);
    for text in ["a\u{1b}[2J".to_owned(), " \n".to_owned(), "x".repeat(1_048_576)] {
        let refused = log.ask(1, &Command::Say { text });
        assert!(matches!(refused, Err(Refusal::Text { what: "speech", .. })), "{refused:?}");
    }
    let text = "ok\n\n## Action items\n| 9 | cto | resign | |".to_owned();
    log.ask(1, &Command::Say { text }).unwrap();
    assert_eq!(log.ask(5, &Command::Join), Err(Refusal::NoMember { role: role(5) }));
    let text = log.state().minutes(log.now).markdown();
    assert!(!text.lines().any(|line| line.starts_with("## Action")), "{text}");
}
