//! Many meetings at once, with the members in processes of their own, some of which are killed, and a
//! server that dies and comes back.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use sinew_model::{
    meeting::{Change, Rule, Tally},
    stream::AGENT_TASKS,
};

use super::*;

/// Meetings, and members of each.
const MEETINGS_AT_ONCE: usize = 20;
const MEMBERS: usize = 10;

/// Entries until everybody is there: each meeting is opened, called, joined by all, and begun.
const GATHERED: u64 = (MEETINGS_AT_ONCE * (3 + MEMBERS)) as u64;

/// Longer than it all takes on a machine that does much else.
const CROWD: Duration = Duration::from_secs(150);

/// A process with one member of each meeting. It is killed when it is dropped.
struct Process {
    child: Child,
    seen: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The example that the members run; it is built with the tests and lies beside them.
fn member() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let path = this.parent().and_then(Path::parent).unwrap().join("examples/member");
    assert!(path.is_file(), "{} is not built: run all targets of the crate", path.display());
    path
}

fn name(meeting: usize) -> String {
    format!("m{meeting:02}")
}

/// Starts a process, for the `life`th time.
fn start(org: &Org, number: usize, life: usize) -> Process {
    let seen = org.dir.join(format!("{number}-{life}"));
    let mut command = Command::new(member());
    command.arg(org.server.url()).arg(number.to_string());
    command.args((0..MEETINGS_AT_ONCE).map(name)).stdin(Stdio::null());
    command.stdout(File::create(&seen).unwrap()).stderr(Stdio::null());
    Process { child: command.spawn().unwrap(), seen }
}

impl Process {
    /// What was seen of each meeting, in order. A line that was cut off by a death counts for nothing.
    fn seen(&self) -> BTreeMap<String, Vec<(u64, String)>> {
        let text = std::fs::read_to_string(&self.seen).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for line in whole.lines() {
            let [id, seq, word] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line:?}")
            };
            all.entry(id.to_owned()).or_default().push((seq.parse().unwrap(), word.to_owned()));
        }
        all
    }
}

/// Waits until so much has happened in all meetings.
async fn entries(org: &Org, least: u64) {
    wait::until("the meetings to go on", CROWD, async || {
        let state = org.bus.stream_state(MEETINGS).await.map_err(|error| error.to_string())?;
        if state.messages >= least { Ok(()) } else { Err(state.messages.to_string()) }
    })
    .await;
}

/// Half of them take turns, in half of them everybody speaks at will.
async fn open_all(org: &Org) {
    for at in 0..MEETINGS_AT_ONCE {
        let members: Vec<Role> =
            (0..MEMBERS).map(|number| role(&format!("{}-{number}", name(at)))).collect();
        let what = Definition {
            turns: if at % 2 == 0 { Turns::RoundRobin } else { Turns::Free },
            // With a veto for everybody, nothing is decided before the last vote.
            rule: Rule::MajorityWithVeto,
            quorum: u32::try_from(MEMBERS).unwrap(),
            rounds: 1,
            // Longer than a process is away, or the talk is over before its chair is back.
            turn_seconds: 20,
            ..Definition::new("Ship it?", role(&format!("{}-0", name(at))), members)
        };
        let id = Some(name(at).parse().unwrap());
        org.client("operator").open_meeting(id, what).await.unwrap();
    }
}

/// What a meeting's log says to everybody, each entry with its place.
async fn told(org: &Org, id: &MeetingId) -> (Vec<(u64, String)>, Vec<Entry>) {
    let mut follow = org.client("operator").meet(id).await.unwrap().follow().await.unwrap();
    let (mut places, mut all) = (Vec::new(), Vec::new());
    while let Some(entry) = follow.next().await.unwrap() {
        places.push((follow.given(), entry.change.word().to_owned()));
        all.push(entry);
    }
    (places, all)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_members_see_one_order_and_decide_once_while_processes_and_the_server_die() {
    let org = Org::start().await;
    let first = org.serve("a.db").await;
    open_all(&org).await;
    let mut living: Vec<Process> = (0..MEMBERS).map(|number| start(&org, number, 0)).collect();
    let mut dead = Vec::new();
    // The chairs and two more die while they speak, the server in the midst of it.
    entries(&org, GATHERED + 20).await;
    for number in [0, 4, 7] {
        living[number].child.kill().unwrap();
        dead.push(std::mem::replace(&mut living[number], start(&org, number, 1)));
    }
    entries(&org, GATHERED + 100).await;
    first.stop().await;
    org.server.kill();
    org.server.restart();
    let second = org.serve("b.db").await;
    living[9].child.kill().unwrap();
    dead.push(std::mem::replace(&mut living[9], start(&org, 9, 1)));
    for at in 0..MEETINGS_AT_ONCE {
        let id = name(at).parse().unwrap();
        org.until(&id, "its end", State::is_done).await;
    }
    for process in &mut living {
        let ended = wait::until("a member to go home", CROWD, || {
            let ended = process.child.try_wait().unwrap();
            async move { ended.ok_or("it is still there".to_owned()) }
        });
        assert!(ended.await.success());
    }
    for at in 0..MEETINGS_AT_ONCE {
        let id: MeetingId = name(at).parse().unwrap();
        let (order, record) = told(&org, &id).await;
        for process in &living {
            assert_eq!(process.seen()[&name(at)], order, "whoever lives sees all of it");
        }
        for process in &dead {
            let seen = process.seen().remove(&name(at)).unwrap_or_default();
            assert!(order.starts_with(&seen), "{seen:?} is no beginning of {order:?}");
        }
        judge(&org, &id, &record).await;
    }
    let tasks = org.bus.stream_state(AGENT_TASKS).await.unwrap().messages;
    assert_eq!(tasks, MEETINGS_AT_ONCE as u64, "each decision is one task");
    second.stop().await;
}

/// Everybody's vote counts once, and it is decided once.
async fn judge(org: &Org, id: &MeetingId, record: &[Entry]) {
    let count = |word| record.iter().filter(|it| it.change.word() == word).count();
    assert_eq!((count("proposed"), count("voted"), count("decided")), (1, MEMBERS, 1), "{id}");
    assert_eq!((count("closed"), count("delegated")), (1, 1), "{id}");
    let meeting = org.client("operator").meet(id).await.unwrap();
    let proposal = meeting.state().unwrap().proposal(1).unwrap();
    assert_eq!(proposal.votes.len(), MEMBERS);
    assert_eq!(proposal.outcome, Some(Outcome::Approved));
    let tally = record.iter().find_map(|it| {
        if let Change::Decided { tally, .. } = &it.change { Some(*tally) } else { None }
    });
    let expect = Tally { approve: 9, reject: 1, ..Tally::default() };
    assert_eq!(tally, Some(expect), "{id}");
}
