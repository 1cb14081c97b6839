//! What an entry of a task's log says, in words for a person.

use serde_json::Value;
use sinew_agent::Client;
use sinew_model::{
    Claim, TaskId,
    task::{Change, Effect, EscalationReason, Phase, Question, State},
};

use crate::{
    output::Out,
    text::{self, short, span},
};

/// Characters of a cause or message that fit on a line.
const WIDE: usize = 100;

/// What happened, without the word of the transition itself.
pub(crate) fn describe(change: &Change) -> String {
    match change {
        Change::Created { assignment, .. } => {
            let title = short(&assignment.title, WIDE);
            format!("{} delegates to {}: {title}", assignment.delegator, assignment.role)
        }
        Change::Enqueued { epoch, reason, not_before, .. } => {
            let when = not_before.map(|at| format!(" at {at}")).unwrap_or_default();
            format!("{}{when} (epoch {epoch})", reason.words())
        }
        Change::Started(start) => format!("attempt {} on {}", start.attempt, start.instance),
        Change::Progress { message, percent, .. } => {
            let message = short(message, WIDE);
            percent.map_or_else(|| message.clone(), |percent| format!("{percent}% {message}"))
        }
        Change::Effect { key, effect, .. } => {
            let (what, to, title) = match &**effect {
                Effect::Delegate { assignment } => {
                    ("delegates to", assignment.role.to_string(), &assignment.title)
                }
                Effect::Send { mail, .. } => ("sends to", mail.to.to_string(), &mail.kind),
            };
            format!("{what} {to}: {} ({})", short(title, WIDE), short(key, WIDE))
        }
        Change::Blocked { question, .. } => {
            format!("asks {}: {}", question.to, short(&question.text, WIDE))
        }
        Change::Answered { answer, .. } => short(&text::result(answer), WIDE),
        Change::Waiting { on, .. } => format!("for {}", names(on)),
        Change::Resumed { cycle } if cycle.is_empty() => "what it waited for has ended".to_owned(),
        Change::Resumed { cycle } => format!("tasks wait for each other: {}", names(cycle)),
        Change::Submitted { attempt, result, result_ref } => {
            format!("attempt {attempt}, {} to be verified", size(result, result_ref.as_ref()))
        }
        Change::Refused { reason, escalated_to, .. } => {
            let to = escalated_to.as_ref().map(|to| format!(" ({to} is to decide)"));
            format!("{}{}", short(reason, WIDE), to.unwrap_or_default())
        }
        Change::Escalated { to, reason } => {
            let why = match reason {
                EscalationReason::Unanswered => "nobody answered in time",
                EscalationReason::Unverified => "its verification came to no verdict",
            };
            format!("{why}: {to} is asked")
        }
        Change::Revived {} => "by hand".to_owned(),
        Change::Released { attempt, reason, cause, .. } => {
            let why = reason.words();
            let cause = cause.as_deref().map(|cause| format!(": {}", short(cause, WIDE)));
            format!("attempt {attempt} {why}{}", cause.unwrap_or_default())
        }
        Change::Completed { attempt, result, result_ref, verified } => {
            let by = verified.as_ref().map(|verified| format!(", accepted by {}", verified.by));
            let bytes = size(result, result_ref.as_ref());
            format!("attempt {attempt}, {bytes}{}", by.unwrap_or_default())
        }
        Change::Failed { attempt, cause } => format!("attempt {attempt}: {}", short(cause, WIDE)),
        Change::Cancelled { reason } => short(reason, WIDE),
        Change::Dead { cause, detail, .. } => format!("{}: {}", cause.words(), short(detail, WIDE)),
    }
}

/// How large a result is, and where it lies if not in its entry.
fn size(result: &Value, claim: Option<&Claim>) -> String {
    match claim {
        Some(claim) => format!("{} bytes of result in {}", claim.bytes, claim.object),
        None => format!("{} bytes of result", result.to_string().len()),
    }
}

/// Tells on stderr what a person may do for a task that came to `state`, if that is still so: the
/// log may have gone on since.
///
/// # Errors
/// When the log can't be read.
pub(super) async fn tell_way_on(
    client: &Client,
    id: &TaskId,
    state: &State,
    out: Out,
) -> anyhow::Result<()> {
    if way_on(id, state).is_some()
        && let Some(now) = client.state(id).await?
        && let Some(way) = way_on(id, &now)
    {
        out.note(way);
    }
    Ok(())
}

/// What a person may do for a task that waits for one: the exact command, or commands.
pub(super) fn way_on(id: &TaskId, state: &State) -> Option<String> {
    match &state.phase {
        Phase::Blocked { question, .. } => Some(answering(id, question)),
        Phase::Submitted { escalated_to: Some(_), .. } => {
            Some(format!("judge it: sinew task accept {id} | sinew task refuse {id} --reason WHY"))
        }
        Phase::Queued { .. }
        | Phase::Running { .. }
        | Phase::Released { .. }
        | Phase::Waiting { .. }
        | Phase::Submitted { .. }
        | Phase::Ready { .. }
        | Phase::Ended { .. } => None,
    }
}

/// How a question is answered: one command for each answer that it offers.
fn answering(id: &TaskId, question: &Question) -> String {
    if question.choices.is_empty() {
        return format!("answer it: sinew task answer {id} 'YOUR ANSWER'");
    }
    let answer = |choice: &String| {
        let dash = if choice.starts_with('-') { "-- " } else { "" };
        format!("sinew task answer {id} {dash}{}", quoted(choice))
    };
    let ways: Vec<String> = question.choices.iter().map(answer).collect();
    format!("answer it: {}", ways.join(" | "))
}

/// A word as a shell takes it.
fn quoted(text: &str) -> String {
    let text = text::clean(text);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Tasks, for a line.
fn names(tasks: &[TaskId]) -> String {
    let names: Vec<&str> = tasks.iter().map(TaskId::as_str).collect();
    short(&names.join(", "), WIDE)
}

/// How long it has been from one moment to another, for a line of a life.
pub(super) fn after(at: sinew_model::Time, since: sinew_model::Time) -> String {
    format!("+{}", span(at.since(since)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_on_can_be_pasted_into_a_shell() {
        let id: TaskId = "T1".parse().unwrap();
        let mut question = Question {
            key: "k".into(),
            text: "Which?".into(),
            to: "ceo".parse().unwrap(),
            choices: vec!["red".into(), "it's $5".into(), "-x".into()],
            escalate_at: None,
        };
        assert_eq!(
            answering(&id, &question),
            r"answer it: sinew task answer T1 red | sinew task answer T1 'it'\''s $5' | sinew task answer T1 -- -x"
        );
        question.choices.clear();
        assert_eq!(answering(&id, &question), "answer it: sinew task answer T1 'YOUR ANSWER'");
    }
}
