//! Reports about a task, into the inbox of the role that delegated it. A report may be sent twice
//! after a crash, always under the same id; the inbox drops the second within its dedup window,
//! and a reader drops an id that it knows.

use serde_json::{Map, Value, json};
use sinew_bus::{Bus, Outgoing, PublishError, clock};
use sinew_model::{
    Band, Role, Transition,
    limits::{CAUSE_BYTES, REPORT_RESULT_BYTES, head},
    mail::Mail,
    signature::Speaker,
    stream::AGENT_MAIL,
    task::{Assignment, End, Phase, State},
};

/// Tells the delegator how the task ended.
///
/// # Errors
/// When the inbox did not take it.
pub async fn ended(bus: &Bus, from: &Role, state: &State) -> Result<(), PublishError> {
    let (Some(assignment), Some(end)) = (&state.assignment, state.end()) else { return Ok(()) };
    let mut body = match end {
        // The log of the task says where the whole result lies; the inbox never has it.
        End::Completed { result, verified } => match &state.result_ref {
            Some(claim) => json!({
                "result": { "truncated": true, "bytes": claim.bytes },
                "resultRef": claim,
                "verified": verified,
            }),
            None => json!({ "result": bounded(result), "verified": verified }),
        },
        End::Failed { cause } => json!({ "cause": cause }),
        End::Cancelled { reason } => json!({ "reason": reason }),
        End::Dead { cause, detail } => json!({ "cause": cause, "detail": detail }),
    };
    if let Some(fields) = body.as_object_mut() {
        fields.insert("attempts".to_owned(), state.attempts.into());
    }
    // An end belongs to an epoch: a task that was revived may end a second time.
    let label = format!("end:{}", state.epoch);
    let to = &assignment.delegator;
    send(bus, (from, to), (assignment, end.transition(), &label), body).await
}

/// Asks who is to be asked now: for the answer to a question, or for the verdict on a result that
/// its verifier did not accept.
///
/// # Errors
/// When the inbox did not take it.
pub async fn question(bus: &Bus, from: &Role, state: &State) -> Result<(), PublishError> {
    let Some(assignment) = &state.assignment else { return Ok(()) };
    let (to, transition, attempt, mut body);
    if let Phase::Blocked { attempt: of, question, escalated_to } = &state.phase {
        let escalated = escalated_to.as_ref().map(|to| (to, Transition::Escalated));
        (to, transition) = escalated.unwrap_or((&question.to, Transition::Blocked));
        (attempt, body) = (of, json!({ "question": question }));
    } else if let Phase::Submitted { attempt: of, result, escalated_to: Some(role) } = &state.phase
    {
        (to, transition) = (role, Transition::Escalated);
        let result = bounded(result);
        (attempt, body) = (of, json!({ "result": result, "refusals": state.refusals }));
    } else {
        return Ok(());
    }
    if let Some(fields) = body.as_object_mut() {
        fields.insert("attempt".to_owned(), (*attempt).into());
    }
    let label = format!("{}:{attempt}", transition.word());
    send(bus, (from, to), (assignment, transition, &label), body).await
}

/// Tells the delegator how far an attempt is.
///
/// # Errors
/// When the inbox did not take it.
pub async fn progress(
    bus: &Bus,
    from: &Role,
    assignment: &Assignment,
    (attempt, number): (u32, u32),
    (message, percent): (&str, Option<u8>),
) -> Result<(), PublishError> {
    let body = json!({ "attempt": attempt, "message": message, "percent": percent });
    let label = format!("progress:{attempt}:{number}");
    let to = &assignment.delegator;
    send(bus, (from, to), (assignment, Transition::Progress, &label), body).await
}

async fn send(
    bus: &Bus,
    (from, to): (&Role, &Role),
    (assignment, transition, label): (&Assignment, Transition, &str),
    mut body: Value,
) -> Result<(), PublishError> {
    if let Some(fields) = body.as_object_mut() {
        fields.insert("transition".to_owned(), transition.word().into());
        fields.insert("title".to_owned(), assignment.title.clone().into());
    }
    let task = &assignment.task_id;
    let mail = Mail {
        id: Mail::report_id(task, label),
        kind: Mail::report_kind(transition),
        from: from.clone(),
        to: to.clone().into(),
        at: clock::now(),
        task_id: Some(task.clone()),
        correlation_id: Some(task.to_string()),
        in_reply_to: None,
        reply_to: None,
        priority: Band::Normal,
        acknowledge_by: None,
        audience: Vec::new(),
        body,
        extra: Map::new(),
    };
    let subject = bus.subjects().inbox(to);
    let payload = serde_json::to_vec(&mail).unwrap_or_default();
    let out = Outgoing::new(AGENT_MAIL, subject, payload).id(mail.id).by(speaker(from));
    bus.publish(out).await.map(|_| ())
}

/// For whom a message of that role speaks.
pub(crate) fn speaker(role: &Role) -> Speaker {
    Speaker { role: Some(role.clone()), instance: None }
}

/// The result as far as it fits into an inbox; the whole is in the task's log.
fn bounded(result: &Value) -> Value {
    let text = result.to_string();
    if text.len() <= REPORT_RESULT_BYTES {
        return result.clone();
    }
    json!({ "truncated": true, "bytes": text.len(), "head": head(&text, CAUSE_BYTES) })
}
