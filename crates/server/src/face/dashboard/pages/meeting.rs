//! One meeting, as it goes on: who is there, what is said, and what is voted on.

use maud::{Markup, html};
use sinew_model::{
    MeetingId, Role,
    limits::DASHBOARD_TEXT,
    meeting::{Outcome, Phase, Proposal, State, Vote},
};

use super::{meetings::word, task::csrf};
use crate::face::dashboard::{fault::Fault, gate::Visit, shell::Page, words};

/// Renders it.
pub(in crate::face::dashboard) async fn page(visit: &Visit, id: &MeetingId) -> Result<Page, Fault> {
    let meeting = visit.room.reader().meet(id).await?;
    let Some(state) = meeting.state() else {
        return Err(Fault::Missing(format!("meeting {id}")));
    };
    let body = html! {
        p.crumbs { a href="/meetings" { "Meetings" } }
        div.heading {
            h1 { (state.definition.title) }
            span #phase role="status" { (word(state)) }
        }
        div.columns.task {
            div {
                section aria-labelledby="said" {
                    h2 #said { "What is said" }
                    div role="log" aria-live="polite" { (agenda(state)) }
                }
            }
            div {
                (end(state))
                section aria-labelledby="there" {
                    h2 #there { "Who is there" }
                    (seats(state))
                }
                section aria-labelledby="votes" {
                    h2 #votes { "Proposals" }
                    @if state.proposals.is_empty() { p.mute { "Nothing is put to the vote." } }
                    @for (number, proposal) in (1_u32..).zip(&state.proposals) {
                        (vote(visit, state, (number, proposal)))
                    }
                }
                @if !state.actions.is_empty() { (actions(state)) }
            }
        }
    };
    Ok(Page::new(state.definition.title.clone(), body))
}

fn agenda(state: &State) -> Markup {
    let all = state.definition.agenda.iter().enumerate();
    html! {
        @for (at, item) in all {
            @let taken = state.items.get(at);
            @let now = at + 1 == state.items.len() && !state.is_closed();
            section.item id=(format!("item-{at}")) aria-label=(item.item) {
                h3 {
                    (at + 1) ". " (item.item)
                    @if now { " " (words::badge("active", "now")) }
                }
                @match taken {
                    None => p.mute { "Not taken up." },
                    Some(taken) if taken.speeches.is_empty() => p.mute { "Nobody has spoken yet." },
                    Some(taken) => ol.speeches {
                        @for (number, speech) in taken.speeches.iter().enumerate() {
                            li id=(format!("speech-{at}-{number}")) {
                                div.line { b { (speech.by) } span.mute { (words::time(speech.at)) } }
                                p.text { (words::cut(&speech.text, DASHBOARD_TEXT)) }
                            }
                        }
                    },
                }
            }
        }
    }
}

fn end(state: &State) -> Markup {
    match &state.phase {
        Phase::Closed { at, summary, .. } => html! {
            section aria-labelledby="end" {
                h2 #end { "Closed" }
                @if let Some(summary) = summary { blockquote { (summary) } }
                p.mute { (words::time(*at)) }
            }
        },
        Phase::Gathering => html! {
            p.note {
                "Waits for its quorum: " (state.members_there()) " of " (state.definition.quorum)
                " members are there."
            }
        },
        Phase::Active { .. } => html! {
            @if let Some(holder) = state.holder() { p.note { "It is the turn of " b { (holder) } "." } }
        },
    }
}

fn seats(state: &State) -> Markup {
    let members = state.definition.everybody();
    html! {
        ul.rows {
            @for role in members {
                li id=(format!("seat-{role}")) {
                    div.line {
                        b { (role) }
                        @if role == state.chair() { span.mute { "chair" } }
                        span.spacer {}
                        @if state.is_there(role) { (words::badge("good", "there")) }
                        @else if state.seats.contains_key(role) { (words::badge("mute", "left")) }
                        @else { (words::badge("mute", "not there")) }
                    }
                }
            }
        }
    }
}

fn vote(visit: &Visit, state: &State, (number, it): (u32, &Proposal)) -> Markup {
    html! {
        article.proposal id=(format!("proposal-{number}")) {
            div.line {
                b { "No. " (number) ", by " (it.by) }
                span.spacer {}
                @match it.outcome {
                    None => (words::badge("warn", "open")),
                    Some(outcome) => (words::badge(tone(outcome), outcome.word())),
                }
            }
            p.text { (words::cut(&it.text, DASHBOARD_TEXT)) }
            ul.votes {
                @for role in &it.electorate {
                    li {
                        b { (role) } " "
                        @match it.votes.get(role) {
                            Some(ballot) => {
                                span.cast { (ballot.vote.word()) }
                                @if let Some(why) = &ballot.rationale { span.mute { " – " (why) } }
                            },
                            None => span.mute { "has not voted" },
                        }
                    }
                }
            }
            @if it.outcome.is_none() && !state.is_closed() { (ballot(visit, state, (number, it))) }
        }
    }
}

const fn tone(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Approved => "good",
        Outcome::Rejected | Outcome::Vetoed => "bad",
        Outcome::Lapsed => "mute",
    }
}

/// The form by which a visitor votes: as their own role, or where they run the org as any that has
/// not voted.
fn ballot(visit: &Visit, state: &State, (number, it): (u32, &Proposal)) -> Markup {
    let missing = it.electorate.iter().filter(|role| !it.votes.contains_key(*role));
    let own = |role: &&Role| visit.is_operator() || **role == visit.grant.role;
    let voters: Vec<&Role> = missing.filter(own).collect();
    let action = format!("/meetings/{}/vote", state.meeting_id);
    html! {
        @if !voters.is_empty() {
            form.vote id=(format!("vote-{number}")) method="post" action=(action) data-keep="yes" {
                (csrf(visit))
                input type="hidden" name="proposal" value=(number);
                label { "Vote as"
                    select name="as" { @for role in voters { option value=(role) { (role) } } }
                }
                label { "Why" input name="text" autocomplete="off"; }
                div.line {
                    @for vote in Vote::ALL {
                        button type="submit" name="vote" value=(vote.word()) { (vote.word()) }
                    }
                }
            }
        }
    }
}

fn actions(state: &State) -> Markup {
    html! {
        section aria-labelledby="actions" {
            h2 #actions { "To be done" }
            ul.rows {
                @for (number, action) in state.actions.iter().enumerate() {
                    li id=(format!("action-{number}")) {
                        div.line { (words::role(&action.assignee)) }
                        p {
                            @match &action.task_id {
                                Some(id) => a href=(words::task_path(id)) { (action.action) },
                                None => (action.action),
                            }
                        }
                    }
                }
            }
        }
    }
}
