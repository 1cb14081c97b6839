//! Meetings by many clients at once: one order for all, every vote once, every decision once, and a
//! clear answer to whatever is not allowed.

use futures::StreamExt as _;
use serde_json::json;
use sinew_agent::{Client, MeetError, Meeting};
use sinew_bus::{Outgoing, PublishError};
use sinew_model::{
    MeetingId, Role, TaskId,
    mail::Mail,
    meeting::{ActionItem, Change, Definition, Entry, Outcome, Phase, Refusal, Rule, Turns, Vote},
    stream::{AGENT_MAIL, MEETINGS},
};
use sinew_testkit::wait;

use crate::kit::{Backbone, PATIENCE, connect, role};

fn definition(turns: Turns, members: &[&str]) -> Definition {
    let members: Vec<Role> = members.iter().map(|name| role(name)).collect();
    let chair = members.first().cloned().unwrap();
    Definition { turns, ..Definition::new("Ship it?", chair, members) }
}

fn action(assignee: &str) -> ActionItem {
    ActionItem { assignee: role(assignee), action: "Do it".to_owned(), details: json!({ "a": 1 }) }
}

fn refusal(error: &MeetError) -> Refusal {
    error.refusal().cloned().unwrap()
}

/// Opens a meeting in which all of them are.
async fn begun(backbone: &Backbone, what: Definition) -> (MeetingId, Vec<Meeting>) {
    let opened = backbone.client("operator").open_meeting(None, what.clone()).await.unwrap();
    let id = opened.meeting.id().clone();
    let mut all = Vec::new();
    for member in &what.members {
        let mut meeting = backbone.client(member.as_str()).meet(&id).await.unwrap();
        meeting.join().await.unwrap();
        all.push(meeting);
    }
    (id, all)
}

/// Everything that a meeting's log holds, as it is when the meeting is over.
async fn record(client: &Client, id: &MeetingId) -> Vec<Entry> {
    let follow = client.meet(id).await.unwrap().follow().await.unwrap();
    follow.into_stream().map(|entry| entry.unwrap()).collect().await
}

#[tokio::test]
async fn four_roles_meet_decide_and_what_they_agreed_on_becomes_tasks() {
    let backbone = Backbone::start().await;
    let (id, mut all) =
        begun(&backbone, definition(Turns::RoundRobin, &["ceo", "cto", "qa", "ops"])).await;
    let subject = backbone.bus.subjects().meetings(&role("qa"));
    let invited = backbone.stored(AGENT_MAIL, subject.as_str()).await;
    let invited: Mail = serde_json::from_slice(&invited.first().unwrap().payload).unwrap();
    assert_eq!(
        (invited.kind.as_str(), &invited.body["meetingId"]),
        ("meeting.invitation", &json!(id))
    );
    let error = all[1].say("me first").await.unwrap_err();
    assert_eq!(refusal(&error), Refusal::NotYourTurn { holder: role("ceo") });
    for meeting in &mut all {
        meeting.refresh().await.unwrap();
        let holder = meeting.state().unwrap().holder().cloned().unwrap();
        meeting.say(format!("{holder} thinks so")).await.unwrap();
    }
    let number = all[2].propose("Ship it today.", vec![action("cto"), action("qa")]).await.unwrap();
    assert_eq!(number, 1);
    assert_eq!(all[0].vote(1, Vote::Approve, None).await.unwrap(), None);
    assert_eq!(all[1].vote(1, Vote::Abstain, None).await.unwrap(), None);
    assert_eq!(all[2].vote(1, Vote::Approve, None).await.unwrap(), None);
    assert_eq!(all[3].vote(1, Vote::Reject, None).await.unwrap(), Some(Outcome::Approved));
    all[0].assign(action("ops")).await.unwrap();
    all[0].close(Some("We ship.".to_owned())).await.unwrap();
    for (number, who) in [(1, "cto"), (2, "qa"), (3, "ops")] {
        let task = TaskId::of_action(&id, number);
        let state = backbone.client("ceo").state(&task).await.unwrap().unwrap();
        let assignment = state.assignment.unwrap();
        assert_eq!((assignment.role, assignment.delegator), (role(who), role("ceo")));
        assert_eq!(assignment.input["meetingId"], json!(id));
    }
    let minutes = all[3].minutes().await.unwrap().unwrap();
    assert_eq!(minutes.state, "active", "it has not looked since");
    all[3].refresh().await.unwrap();
    let minutes = all[3].minutes().await.unwrap().unwrap();
    assert_eq!(minutes.action_items.iter().filter(|it| it.task_id.is_some()).count(), 3);
    let words: Vec<_> =
        record(&backbone.client("qa"), &id).await.iter().map(|it| it.change.word()).collect();
    assert_eq!(words.first(), Some(&"opened"));
    assert_eq!(words.iter().filter(|word| **word == "decided").count(), 1);
    assert_eq!(words.last(), Some(&"delegated"));
    let listed = backbone.client("ceo").meetings(None, 10, |_| true).await.unwrap();
    assert_eq!((listed.meetings.len(), listed.older), (1, None));
}

#[tokio::test]
async fn votes_that_race_from_many_connections_are_counted_once() {
    let backbone = Backbone::start().await;
    let names = ["a", "b", "c", "d", "e"];
    let what = Definition { rule: Rule::Unanimous, ..definition(Turns::Free, &names) };
    let (id, mut all) = begun(&backbone, what).await;
    all[0].propose("Ship it.", vec![action("a")]).await.unwrap();
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..4 {
        for name in names {
            let (bus, id) = (connect(&backbone.server).await, id.clone());
            racing.spawn(async move {
                let mut meeting = Client::new(bus, role(name)).meet(&id).await.unwrap();
                match meeting.vote(1, Vote::Approve, None).await {
                    Ok(_) => true,
                    Err(error) => {
                        let said = refusal(&error);
                        let late = matches!(said, Refusal::Voted { .. } | Refusal::Decided { .. });
                        assert!(late, "{said:?}");
                        false
                    }
                }
            });
        }
    }
    let counted = racing.join_all().await.into_iter().filter(|it| *it).count();
    assert_eq!(counted, 5);
    all[0].close(None).await.unwrap();
    let record = record(&backbone.client("a"), &id).await;
    let count = |word| record.iter().filter(|it| it.change.word() == word).count();
    assert_eq!((count("voted"), count("decided"), count("delegated")), (5, 1, 1));
    assert!(record.iter().any(|it| matches!(
        it.change,
        Change::Decided { outcome: Outcome::Approved, tally, .. } if tally.approve == 5
    )));
}

#[tokio::test]
async fn hostile_words_and_strangers_get_a_clear_answer_and_change_nothing() {
    let backbone = Backbone::start().await;
    let what = definition(Turns::Free, &["ceo", "cto"]);
    let (id, mut all) = begun(&backbone, what.clone()).await;
    for text in ["\u{1b}[2J".to_owned(), String::new(), "x".repeat(1_048_576)] {
        let said = refusal(&all[1].say(text).await.unwrap_err());
        assert!(matches!(said, Refusal::Text { what: "speech", .. }), "{said:?}");
    }
    all[0].propose("Ship it.", Vec::new()).await.unwrap();
    let said = refusal(&all[1].vote(1, Vote::Veto, None).await.unwrap_err());
    assert_eq!(said, Refusal::MayNotVeto { role: role("cto") });
    let said = refusal(&all[1].vote(9, Vote::Approve, None).await.unwrap_err());
    assert_eq!(said, Refusal::NoProposal { proposal: 9 });
    let mut stranger = backbone.client("stranger").meet(&id).await.unwrap();
    for said in [stranger.join().await, stranger.vote(1, Vote::Approve, None).await.map(|_| ())] {
        let said = refusal(&said.unwrap_err());
        assert_eq!(said, Refusal::NoMember { role: role("stranger") });
    }
    let nobody: MeetingId = "none".parse().unwrap();
    let error = backbone.client("ceo").meet(&nobody).await.unwrap_err();
    assert!(matches!(error, MeetError::NoMeeting { .. }), "{error:?}");
    let client = backbone.client("operator");
    assert!(client.open_meeting(Some(id.clone()), what.clone()).await.unwrap().existed);
    let other = Definition { quorum: 1, ..what };
    let said = client.open_meeting(Some(id.clone()), other).await.unwrap_err();
    assert_eq!(refusal(&said), Refusal::IdTaken);
    // Nobody gets past the guard with a bare publish through the bus.
    let subject = backbone.bus.subjects().meeting_messages(&id);
    let bare = backbone.bus.publish(Outgoing::new(MEETINGS, subject, "{}")).await;
    assert!(matches!(bare, Err(PublishError::TaskLog { .. })), "{bare:?}");
    all[0].close(None).await.unwrap();
    assert_eq!(refusal(&all[1].say("late").await.unwrap_err()), Refusal::Closed);
    assert_eq!(refusal(&all[0].close(None).await.unwrap_err()), Refusal::Closed);
}

#[tokio::test]
async fn what_is_said_again_under_a_key_has_the_number_that_it_got() {
    let backbone = Backbone::start().await;
    let (id, mut all) = begun(&backbone, definition(Turns::Free, &["ceo", "cto"])).await;
    for _ in 0..3 {
        let again = backbone.client("ceo").meet(&id).await.unwrap();
        let number = again.key("ship").propose("Ship it.", Vec::new()).await.unwrap();
        assert_eq!(number, 1);
        let again = backbone.client("cto").meet(&id).await.unwrap();
        again.key("hello").say("hello").await.unwrap();
    }
    all[0].refresh().await.unwrap();
    let state = all[0].state().unwrap();
    assert_eq!((state.proposals.len(), state.items[0].speeches.len()), (1, 1));
}

#[tokio::test]
async fn a_meeting_outlives_the_server_and_late_joiners_get_the_record() {
    let backbone = Backbone::start().await;
    let (id, mut all) = begun(&backbone, definition(Turns::Free, &["ceo", "cto"])).await;
    all[0].say("before").await.unwrap();
    let mut follow = all[1].follow().await.unwrap();
    while follow.next().await.unwrap().unwrap().change.word() != "said" {}
    let proposal = all[0].propose("Ship it.", Vec::new()).await.unwrap();
    backbone.server.restart();
    all[1].vote(proposal, Vote::Approve, None).await.unwrap();
    let outcome = all[0].vote(proposal, Vote::Approve, None).await.unwrap();
    assert_eq!(outcome, Some(Outcome::Approved));
    all[0].close(None).await.unwrap();
    let mut heard = Vec::new();
    while let Some(entry) = follow.next().await.unwrap() {
        heard.push(entry.change.word());
    }
    assert_eq!(heard, ["proposed", "voted", "voted", "decided", "closed"]);
    let late = backbone.client("auditor").meet(&id).await.unwrap();
    let text = late.minutes().await.unwrap().unwrap().markdown();
    assert!(text.contains("> before") && text.contains("**approved**"), "{text}");
}

/// One participant: comes in, follows, speaks once in each round, votes on what is proposed, and
/// gives the whole record when the meeting is over.
async fn take_part(client: Client, id: MeetingId) -> Vec<String> {
    let mut meeting = client.meet(&id).await.unwrap();
    meeting.join().await.unwrap();
    let chair = meeting.state().unwrap().chair() == client.role();
    let mut follow = meeting.follow().await.unwrap();
    let mut heard = Vec::new();
    let mut spoke = false;
    while let Some(entry) = follow.next().await.unwrap() {
        if let Change::Proposed { proposal, .. } = &entry.change {
            meeting.vote(*proposal, Vote::Approve, None).await.unwrap();
        } else if matches!(entry.change, Change::Decided { .. }) && chair {
            meeting.close(None).await.unwrap();
        }
        heard.push(serde_json::to_string(&entry).unwrap());
        let state = follow.state().unwrap();
        let active = matches!(state.phase, Phase::Active { .. });
        if active && !spoke && state.present().count() == state.definition.members.len() {
            spoke = true;
            meeting.say(format!("{} is for it", client.role())).await.unwrap();
            if chair {
                meeting.propose("Ship it.", vec![action("cto")]).await.unwrap();
            }
        }
    }
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_participants_of_twenty_meetings_see_one_order_each() {
    const MEETINGS_HELD: usize = 20;
    const EACH: usize = 10;
    let backbone = Backbone::start().await;
    let mut running = tokio::task::JoinSet::new();
    let names: Vec<String> = (0..EACH).map(|at| format!("r{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for at in 0..MEETINGS_HELD {
        let what =
            Definition { rule: Rule::Unanimous, quorum: 10, ..definition(Turns::Free, &names) };
        let id: MeetingId = format!("m{at}").parse().unwrap();
        backbone.client("operator").open_meeting(Some(id.clone()), what).await.unwrap();
        let bus = connect(&backbone.server).await;
        for name in &names {
            let client = Client::new(bus.clone(), role(name));
            let id = id.clone();
            running.spawn(async move { (at, take_part(client, id).await) });
        }
    }
    let records = tokio::time::timeout(PATIENCE * 4, running.join_all()).await.unwrap();
    for at in 0..MEETINGS_HELD {
        let mut of: Vec<_> = records.iter().filter(|(it, _)| *it == at).map(|(_, it)| it).collect();
        assert_eq!(of.len(), EACH);
        of.dedup();
        assert_eq!(of.len(), 1, "meeting {at} was seen in several orders");
        let record = of.first().unwrap();
        let count = |word: &str| record.iter().filter(|it| it.contains(word)).count();
        let counted = ["voted", "decided", "said", "delegated"]
            .map(|word| count(&format!("\"kind\":\"{word}\"")));
        assert_eq!(counted, [EACH, 1, EACH, 1]);
    }
    wait::until("one task for each meeting", PATIENCE, async || match backbone.queued().await {
        20 => Ok(()),
        queued => Err(format!("{queued} queued")),
    })
    .await;
}
