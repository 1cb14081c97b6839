//! `sinew meeting open`: calls a meeting.

use std::time::Duration;

use serde_json::json;
use sinew_model::{
    MeetingId, Role,
    limits::{CHAIR_SECONDS, MEETING_SECONDS, QUORUM_SECONDS, ROUNDS, TURN_SECONDS, VOTE_SECONDS},
    meeting::{Definition, Item, Rule, Turns},
};

use super::client;
use crate::{
    args::Global,
    exit::{Code, Fault},
    output::Out,
    text::{given_span, moment},
};

/// Call a meeting, and invite its members.
///
/// It begins when its quorum has joined, at the earliest at the time of --at, and goes through its
/// agenda. It ends with the agenda, when the chair closes it, and at the latest when its time is up;
/// what was agreed on becomes tasks then. Whoever is silent is passed over, and a chair that is
/// silent is followed by the next member. The same again under the same --id changes nothing.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew meeting open \"Ship 2.0?\" --members ceo,cto,qa --rule majority-with-veto --veto qa
  sinew meeting open Standup --members cto,qa,ops --turns round-robin --rounds 1 --for 10m
  sinew meeting open Retro --members cto,qa --agenda \"What went well\" --agenda \"What did not\" --at 2h
  sinew meeting open Design --members cto,qa --agenda '{\"item\":\"Which store?\",\"requiresVote\":true}'")]
pub(crate) struct Args {
    /// What it is about, in one line
    title: String,
    /// Who is to be there, in the order of turns and of succession
    #[arg(long, value_name = "ROLE,...", value_delimiter = ',', required = true)]
    members: Vec<Role>,
    /// Who may be there besides; they do not count for the quorum
    #[arg(long, value_name = "ROLE,...", value_delimiter = ',')]
    optional: Vec<Role>,
    /// Who leads it; the first member if not said
    #[arg(long, value_name = "ROLE")]
    chair: Option<Role>,
    /// An item of the agenda, as often as there are items: a line, or JSON with item, requiresVote
    /// and durationSeconds; the title if there is none
    #[arg(long, value_name = "ITEM|JSON")]
    agenda: Vec<String>,
    /// How many members must be there; more than half if not said
    #[arg(long, value_name = "N")]
    quorum: Option<u32>,
    /// Who may speak when: chair-led, round-robin or free
    #[arg(long, value_name = "ORDER", default_value = "round-robin")]
    turns: Turns,
    /// How votes become a decision: majority, unanimous or majority-with-veto
    #[arg(long, value_name = "RULE", default_value = "majority")]
    rule: Rule,
    /// Who may veto under majority-with-veto; everybody if not said
    #[arg(long, value_name = "ROLE,...", value_delimiter = ',')]
    veto: Vec<Role>,
    /// How often each may speak about one item of the agenda
    #[arg(long, value_name = "N", default_value_t = ROUNDS)]
    rounds: u32,
    /// How long it lasts at most, as 30m; 1h if not said
    #[arg(long = "for", value_name = "SPAN", value_parser = given_span)]
    lasts: Option<Duration>,
    /// When it begins at the earliest: a moment, or a span from now on as 2h
    #[arg(long, value_name = "T")]
    at: Option<String>,
    /// How long it waits for its quorum; 5m if not said
    #[arg(long, value_name = "SPAN", value_parser = given_span)]
    quorum_wait: Option<Duration>,
    /// Silence after which whoever has the turn is passed over; 2m if not said
    #[arg(long, value_name = "SPAN", value_parser = given_span)]
    turn_time: Option<Duration>,
    /// How long votes are taken; 5m if not said
    #[arg(long, value_name = "SPAN", value_parser = given_span)]
    vote_time: Option<Duration>,
    /// Silence after which another one takes the chair; 5m if not said
    #[arg(long, value_name = "SPAN", value_parser = given_span)]
    chair_time: Option<Duration>,
    /// What kind of meeting it is, as standup or incident_response
    #[arg(long = "type", value_name = "WORD")]
    kind: Option<String>,
    /// An id of your own
    #[arg(long, value_name = "ID")]
    id: Option<MeetingId>,
}

/// Opens it.
///
/// # Errors
/// When it is not acceptable, or the backbone does not take it.
pub(crate) async fn run(mut args: Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let id = args.id.take();
    let definition = definition(args)?;
    let opened = client(global).await?.open_meeting(id, definition).await?;
    let id = opened.meeting.id();
    let document =
        json!({ "meetingId": id, "existed": opened.existed, "meeting": opened.meeting.state() });
    out.either(&document, id)?;
    if opened.existed && !out.is_json() {
        out.note("it was open before; nothing was changed");
    }
    Ok(Code::Done)
}

fn definition(args: Args) -> Result<Definition, Fault> {
    let first = args.members.first().cloned();
    let chair = args.chair.or(first).ok_or_else(|| Fault::usage("a meeting needs members"))?;
    let mut it = Definition::new(args.title, chair, args.members);
    if !args.agenda.is_empty() {
        it.agenda = args.agenda.iter().map(|text| item(text)).collect::<Result<_, _>>()?;
    }
    it.optional = args.optional;
    it.quorum = args.quorum.unwrap_or(it.quorum);
    it.turns = args.turns;
    it.rule = args.rule;
    it.veto_roles = args.veto;
    it.rounds = args.rounds;
    it.meeting_type = args.kind;
    it.scheduled_for = args.at.as_deref().map(moment).transpose()?;
    it.duration_seconds = seconds("--for", args.lasts, MEETING_SECONDS)?;
    it.quorum_seconds = seconds("--quorum-wait", args.quorum_wait, QUORUM_SECONDS)?;
    it.turn_seconds = seconds("--turn-time", args.turn_time, TURN_SECONDS)?;
    it.vote_seconds = seconds("--vote-time", args.vote_time, VOTE_SECONDS)?;
    it.chair_seconds = seconds("--chair-time", args.chair_time, CHAIR_SECONDS)?;
    it.check().map_err(|error| Fault::usage(error.to_string()))?;
    Ok(it)
}

/// An item of the agenda: a line, or JSON.
fn item(text: &str) -> Result<Item, Fault> {
    if !text.trim_start().starts_with('{') {
        return Ok(Item { item: text.to_owned(), duration_seconds: None, requires_vote: false });
    }
    serde_json::from_str(text).map_err(|error| {
        Fault::usage(format!("an item of the agenda is not readable: {error}"))
            .hint("say --agenda '{\"item\":\"Ship it?\",\"requiresVote\":true}'")
    })
}

fn seconds(flag: &str, span: Option<Duration>, usual: u64) -> Result<u64, Fault> {
    match span {
        None => Ok(usual),
        Some(span) if span.subsec_nanos() == 0 => Ok(span.as_secs()),
        Some(_) => Err(Fault::usage(format!("{flag} takes whole seconds"))),
    }
}
