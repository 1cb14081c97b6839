//! Logs to fold: made by the model's own `decide`, with everything mixed in that a log may hold
//! besides; and a way to compare two views table by table.

use std::{collections::BTreeMap, path::Path, time::Duration};

use rusqlite::types::Value as Sql;
use serde_json::json;
use sinew_model::{
    Address, Assignment, Entry, Role, Root, Subjects, TaskId, Time, Transition,
    task::{
        Actor, Change, Command, DeadCause, Effect, EnqueueReason, EscalationReason, Phase,
        Question, ReleaseReason, State, Stored, Task,
    },
};
use sinew_views::{Batch, Message, Origin};

pub(crate) const STREAM: &str = "2026-05-10T14:00:00Z";

pub(crate) fn subjects() -> Subjects {
    Subjects::new(Root::default(), "acme".parse().unwrap())
}

pub(crate) fn id(number: u8) -> TaskId {
    format!("T{number}").parse().unwrap()
}

fn role(name: &str) -> Role {
    name.parse().unwrap()
}

/// What comes next in a log.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// What a command of this kind makes of the task, if it applies.
    Lawful(u8, u8),
    /// The same, without saying what the writer expected.
    Unguarded(u8, u8),
    /// The same, with a wrong expectation. A server would refuse it.
    Misguarded(u8, u8),
    /// The newest message of the task once more.
    Repeated(u8),
    /// A transition of a later version.
    Unknown(u8),
    /// Bytes that are no entry.
    Garbage(u8),
    /// An entry that contradicts its subject.
    Alien(u8),
    /// A subject whose task can't be one.
    NoTask,
    /// Sequences that hold nothing (any more).
    Gap(u8),
}

/// A log with what the model makes of it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) subjects: Subjects,
    pub(crate) log: Vec<Message>,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    seq: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { subjects: subjects(), log: Vec::new(), tasks: BTreeMap::new(), seq: 0 }
    }

    pub(crate) fn of(steps: &[Step]) -> Self {
        let mut world = Self::new();
        for step in steps {
            world.step(*step);
        }
        world
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.seq
    }

    pub(crate) fn now(&self) -> Time {
        let micros = i64::try_from(self.seq).unwrap() * 1_000_003;
        Time::from_micros(1_778_423_000_000_000 + micros)
    }

    pub(crate) fn step(&mut self, step: Step) {
        match step {
            Step::Lawful(task, what) => self.write(task, what, Some),
            Step::Unguarded(task, what) => self.write(task, what, |_| None),
            Step::Misguarded(task, what) => self.write(task, what, |last| Some(last + 1)),
            Step::Repeated(task) => {
                let log = self.subjects.log(&id(task));
                let log = log.as_str().trim_end_matches('*');
                let last = self.log.iter().rev().find(|old| old.subject.starts_with(log));
                if let Some(old) = last.cloned() {
                    self.push(old.subject, None, old.payload.to_vec());
                }
            }
            Step::Unknown(task) => {
                let subject = format!("genbrain.org.acme.tasks.{}.verified", id(task));
                self.push(subject, None, b"{}".to_vec());
            }
            Step::Garbage(task) => {
                let subject = self.subjects.entry(&id(task), Transition::Progress);
                self.push(subject.into(), None, b"\xff\x00{".to_vec());
            }
            Step::Alien(task) => {
                let subject = self.subjects.entry(&id(task), Transition::Cancelled);
                let change = Change::Cancelled { reason: "not mine".to_owned() };
                let body = serde_json::to_vec(&self.entry(id(task.wrapping_add(1)), change));
                self.push(subject.into(), None, body.unwrap());
            }
            Step::NoTask => {
                self.push("genbrain.org.acme.tasks.-T.created".to_owned(), None, b"{}".to_vec());
            }
            Step::Gap(length) => self.seq += u64::from(length),
        }
    }

    /// Runs a command that must apply.
    pub(crate) fn must(&mut self, task: &TaskId, command: &Command) {
        let state = self.tasks.entry(task.clone()).or_default().clone();
        let now = self.now();
        let change = state.decide(command, now).unwrap();
        self.append(task, change, Some(state.last_seq));
    }

    pub(crate) fn must_step(&mut self, step: Step) {
        let before = self.log.len();
        self.step(step);
        assert!(self.log.len() > before, "{step:?} does not apply");
    }

    fn write(&mut self, task: u8, what: u8, expect: impl Fn(u64) -> Option<u64>) {
        let task = id(task);
        let state = self.tasks.get(&task).cloned().unwrap_or_default();
        let command = self.command(&task, &state, what);
        if let Ok(change) = state.decide(&command, self.now()) {
            self.append(&task, change, expect(state.last_seq));
        }
    }

    fn append(&mut self, task: &TaskId, change: Change, expected: Option<u64>) {
        let subject = self.subjects.entry(task, change.transition());
        let body = serde_json::to_vec(&self.entry(task.clone(), change)).unwrap();
        self.push(subject.into(), expected, body);
    }

    fn entry(&self, task_id: TaskId, change: Change) -> Entry {
        let by = Actor { role: role("cto"), instance: Some("cto-0".parse().unwrap()) };
        Entry { task_id, org_id: "acme".parse().unwrap(), at: self.now(), by, change }
    }

    fn push(&mut self, subject: String, expected: Option<u64>, payload: Vec<u8>) {
        let stored_at = self.now();
        self.seq += 1;
        let seq = self.seq;
        let token = Some(format!("token-{seq}"));
        match (Entry::decode(&self.subjects, &subject, &payload), self.subjects.parse(&subject)) {
            (Ok(entry), _) => {
                let task = entry.task_id.clone();
                let (token, time) = (token.clone(), Some(stored_at));
                let stored = Stored { seq, expected, token, time, entry };
                // What is void is counted in the task itself.
                self.tasks.entry(task.clone()).or_default().apply(&task, &stored).ok();
            }
            (Err(_), Some(Address::Entry(_, task, _))) => {
                self.tasks.entry(task).or_default().skip(seq);
            }
            (Err(_), _) => {}
        }
        let payload = payload.into();
        self.log.push(Message {
            seq,
            subject,
            stored_at,
            expected,
            token,
            payload,
            origin: Origin::default(),
        });
    }

    pub(crate) fn assignment(&self, task: &TaskId, role_name: &str) -> Box<Assignment> {
        let body = json!({
            "taskId": task, "orgId": "acme", "role": role_name, "delegator": "ceo",
            "title": format!("Do 100% of {task}"), "input": { "n": self.seq },
            "createdAt": self.now(),
        });
        Box::new(serde_json::from_value(body).unwrap())
    }

    fn command(&self, task: &TaskId, state: &Task, what: u8) -> Command {
        let known = state.state.as_ref();
        let attempt = known.map_or(1, |state| state.attempts);
        let epoch = known.map_or(1, |state| state.epoch);
        let queue_seq = known.and_then(State::queue_seq).unwrap_or(self.seq);
        match (known.map(|state| &state.phase), what % 10) {
            (None, 9) => Command::Bury {
                cause: DeadCause::Undecodable,
                detail: "no JSON".to_owned(),
                bytes: None,
            },
            (None, _) => self.creation(task, what),
            (Some(Phase::Ended { .. }), _) => Command::Revive,
            (_, 0) => Command::Cancel { reason: "no more".to_owned() },
            (_, 1) => {
                Command::Bury { cause: DeadCause::Lost, detail: "gone".to_owned(), bytes: None }
            }
            (Some(Phase::Running { .. }), _) => self.work(task, attempt, what),
            (Some(Phase::Submitted { .. } | Phase::Blocked { .. } | Phase::Waiting { .. }), _) => {
                parked(known, what)
            }
            (Some(Phase::Ready { reason }), _) => Command::Enqueue {
                epoch: epoch + 1,
                queue_seq: Some(self.seq),
                not_before: None,
                reason: *reason,
            },
            (Some(_), 7) => Command::Enqueue {
                epoch: epoch + 1,
                queue_seq: None,
                not_before: Some(self.now()),
                reason: EnqueueReason::Retry,
            },
            (Some(_), _) => Command::Start {
                epoch,
                queue_seq,
                instance: format!("cto-{}", what % 3).parse().unwrap(),
                incarnation: format!("process {}", self.seq),
                ack: None,
                over: None,
            },
        }
    }

    fn creation(&self, task: &TaskId, what: u8) -> Command {
        let mut assignment =
            self.assignment(task, if what.is_multiple_of(3) { "qa" } else { "cto" });
        if what.is_multiple_of(7) && what > 0 {
            assignment.verifier = Some(role("judge"));
        }
        if what.is_multiple_of(11) && what > 0 {
            assignment.after = vec![id(what % 5)];
            assignment.after_any = what.is_multiple_of(2);
            return Command::Create { assignment, queue_seq: None };
        }
        Command::Create { assignment, queue_seq: Some(self.seq) }
    }

    /// What a running attempt does.
    fn work(&self, task: &TaskId, attempt: u32, what: u8) -> Command {
        let retry = what.is_multiple_of(2).then_some(Duration::ZERO);
        match what % 10 {
            2 => Command::Complete { attempt, result: json!({ "text": "x".repeat(what.into()) }) },
            3 | 4 => Command::Fail { attempt, cause: format!("cause {what}"), retry },
            5 => Command::Release { attempt, reason: ReleaseReason::Drained, retry },
            8 if what >= 128 => {
                let on = vec![id(what % 5), id(what % 7)];
                Command::Wait { attempt, on }
            }
            7 if what >= 128 => {
                let to = role("ceo");
                let question = Question {
                    key: what.to_string(),
                    text: "which?".to_owned(),
                    to,
                    choices: Vec::new(),
                    escalate_at: None,
                };
                Command::Block { attempt, question: Box::new(question) }
            }
            6 => {
                let key = what.to_string();
                let mut child = self.assignment(&TaskId::of_effect(task, &key), "qa");
                child.parent = Some(task.clone());
                let effect = Box::new(Effect::Delegate { assignment: *child });
                Command::Effect { attempt, key, effect }
            }
            _ => Command::Progress {
                attempt,
                message: format!("step {what}"),
                percent: what.is_multiple_of(2).then_some(what % 101),
            },
        }
    }
}

/// What ends the wait of a task that waits for something else than a worker.
fn parked(state: Option<&State>, what: u8) -> Command {
    match (state.map(|state| &state.phase), what % 10) {
        (Some(Phase::Submitted { .. }), 2..=4) => {
            Command::Accept { by: role("qa"), evidence: json!(what) }
        }
        (Some(Phase::Submitted { .. }), 5 | 6) => {
            Command::Refuse { by: role("qa"), reason: "no".to_owned() }
        }
        (Some(Phase::Submitted { .. }), _) => {
            Command::Escalate { reason: EscalationReason::Unverified }
        }
        (Some(Phase::Blocked { .. }), 2..=6) => {
            Command::Answer { key: None, answer: json!("this") }
        }
        (Some(Phase::Blocked { .. }), _) => {
            Command::Escalate { reason: EscalationReason::Unanswered }
        }
        _ => Command::Resume { cycle: Vec::new() },
    }
}

/// A part of a log: what lies after one sequence, up to another.
pub(crate) fn batch(log: &[Message], after: u64, through: u64) -> Batch {
    let inside = |message: &&Message| message.seq > after && message.seq <= through;
    let messages = log.iter().filter(inside).cloned().collect();
    Batch { stream: STREAM.to_owned(), after, through, messages }
}

/// A whole table as the queries see it, in the order of its key.
pub(crate) fn table(file: &Path, name: &str) -> Vec<Vec<Sql>> {
    let view = rusqlite::Connection::open(file).unwrap();
    let key = if name == "waits" { "1, 2" } else { "1" };
    let mut question = view.prepare(&format!("SELECT * FROM {name} ORDER BY {key}")).unwrap();
    let columns = question.column_count();
    let rows = question.query_map([], |row| (0..columns).map(|at| row.get(at)).collect());
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

/// All tables, without the number of the generation.
pub(crate) fn tables(file: &Path) -> Vec<(&'static str, Vec<Vec<Sql>>)> {
    let checkpoint = "(SELECT stream, seq, stored_at FROM checkpoint WHERE live = 1)";
    ["tasks", "waits", "entries", "voids", checkpoint]
        .map(|name| (name, table(file, name)))
        .to_vec()
}
