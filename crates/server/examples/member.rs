//! A process whose roles take part in meetings until all of them are over. The tests start many of
//! them, kill some, and start those again.
//!
//! ```text
//! member URL NUMBER MEETING...      in each MEETING it is the role MEETING-NUMBER
//! ```
//!
//! It prints a line for each entry that a role sees: the meeting, the sequence, and what happened.

use std::{error::Error, io::Write as _, time::Duration};

use serde_json::json;
use sinew_agent::{Bus, Client, Config, MeetError, Meeting};
use sinew_bus::clock;
use sinew_model::{
    MeetingId, Role,
    meeting::{ActionItem, State, Vote},
};

/// How long a role waits for something to happen before it looks whether it has something to do.
const LOOK: Duration = Duration::from_millis(500);

/// Under which each speaks once, and the chair proposes once.
const WORD: &str = "word";
const MOTION: &str = "motion";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (url, number) = args.next().zip(args.next()).ok_or("member URL NUMBER MEETING...")?;
    let bus = Bus::connect(Config::new(url, "acme".parse()?)).await?;
    let mut all = Vec::new();
    for meeting in args {
        let role: Role = format!("{meeting}-{number}").parse()?;
        let id: MeetingId = meeting.parse()?;
        all.push(take_part(Client::new(bus.clone(), role), id));
    }
    futures::future::try_join_all(all).await?;
    Ok(())
}

async fn take_part(client: Client, id: MeetingId) -> Result<(), Box<dyn Error>> {
    let mut follow = loop {
        match async { client.meet(&id).await?.follow().await }.await {
            Ok(follow) => break follow,
            Err(error) => passes(&error).await,
        }
    };
    loop {
        match tokio::time::timeout(LOOK, follow.next()).await {
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(entry))) => {
                let (seq, word) = (follow.given(), entry.change.word());
                writeln!(std::io::stdout(), "{id} {seq} {word}")?;
            }
            Ok(Err(error)) => passes(&error).await,
            Err(_) => {}
        }
        // What is refused was done by somebody else, or is not due yet.
        if let Some(state) = follow.state()
            && let Err(error) = act(&client, state).await
            && error.refusal().is_none()
        {
            passes(&error).await;
        }
    }
}

/// The server is away, and comes back.
async fn passes(error: &MeetError) {
    eprintln(&format!("{error:?}"));
    clock::pause(LOOK).await;
}

fn eprintln(line: &str) {
    // Nobody may be there to read it any more.
    writeln!(std::io::stderr(), "{line}").ok();
}

/// Does what is for this role to do now.
async fn act(client: &Client, state: &State) -> Result<(), MeetError> {
    let own = client.role();
    if state.is_closed() {
        return Ok(());
    }
    let meeting = async || client.meet(&state.meeting_id).await;
    if !state.is_there(own) {
        return meeting().await?.join().await;
    }
    let mut unvoted = state.open_proposals().filter(|(_, it)| !it.votes.contains_key(own));
    if let Some((number, _)) = unvoted.next() {
        return vote(meeting().await?, number, own).await;
    }
    let Some(item) = state.items.last() else { return Ok(()) };
    let has_had_turn = |role: &Role| {
        item.taken.contains_key(role) || item.speeches.iter().any(|speech| speech.by == *role)
    };
    let may_speak = state.holder().is_none_or(|holder| holder == own);
    if !has_had_turn(own) && may_speak {
        return meeting().await?.key(WORD).say(format!("{own} is here")).await;
    }
    if state.chair() != own || !state.present().all(has_had_turn) {
        return Ok(());
    }
    match state.proposal(1) {
        None => propose(meeting().await?).await,
        Some(proposal) if proposal.outcome.is_some() => meeting().await?.close(None).await,
        Some(_) => Ok(()),
    }
}

/// Everybody agrees but one.
async fn vote(mut meeting: Meeting, number: u32, own: &Role) -> Result<(), MeetError> {
    let vote = if own.as_str().ends_with("-3") { Vote::Reject } else { Vote::Approve };
    meeting.vote(number, vote, None).await.map(drop)
}

async fn propose(meeting: Meeting) -> Result<(), MeetError> {
    let action = "Do what was decided".to_owned();
    let Ok(assignee) = "doer".parse() else { return Ok(()) };
    let item = ActionItem { assignee, action, details: json!(null) };
    meeting.key(MOTION).propose("Let us do it", vec![item]).await.map(drop)
}
