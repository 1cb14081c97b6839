//! Whose task it is: an assignment is taken only from who may have sent it, and the delegator that
//! a handler is shown is the one whose signature it has.

use std::sync::PoisonError;

use sinew_bus::{Delivery, HistoryError, Received};
use sinew_model::{
    Assignment, header,
    signature::{Signature, Verdict},
    stream::AGENT_TASKS,
};

use super::host::Host;

/// What is known of an assignment's sender.
pub(crate) enum Checked {
    /// It is to be taken; who delegated it.
    Good(Verdict),
    /// It is not; a record of it is kept.
    Refused(String),
}

/// Holds an assignment against the org's policy.
///
/// # Errors
/// When it can't be known now.
pub(crate) async fn check(
    host: &Host,
    delivery: &Delivery,
    assignment: &Assignment,
    epoch: u32,
) -> Result<Checked, HistoryError> {
    let failed = |source| HistoryError::Request { task: assignment.task_id.clone(), source };
    // What a schedule produced has lost its message id on the way.
    let id = header::assignment_id(&assignment.task_id, epoch);
    let mut received = delivery.received();
    received.id = received.id.or(received.signature.and(Some(id.as_str())));
    let message = host.bus.verify(&received, None).await.map_err(failed)?;
    let message = match received.signature.and_then(|text| text.parse::<Signature>().ok()) {
        Some(signature) if message.sender().is_some() && !is_first(host, &signature, &received) => {
            Verdict::Replayed
        }
        _ => message,
    };
    if !host.bus.takes(&message) {
        return Ok(refuse(host, &received, &message, assignment).await);
    }
    let bus = &host.bus;
    let delegator = bus.verify_delegator(&message, assignment, delivery.stored()).await;
    let mut delegator = delegator.map_err(failed)?;
    if delegator == Verdict::Unsigned && message.sender().is_some() {
        delegator = vouched(host, assignment).await?.unwrap_or(delegator);
    }
    if !host.bus.takes(&delegator) {
        return Ok(refuse(host, &received, &delegator, assignment).await);
    }
    Ok(Checked::Good(delegator))
}

/// Whether the very same signed message did not come from another place in the queue.
fn is_first(host: &Host, signature: &Signature, received: &Received<'_>) -> bool {
    // The memory is whole after every single step, so a panic elsewhere does no harm to it.
    let mut seen = host.seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.is_first(&signature.proof, received.seq, received.stored)
}

/// A task to judge a result is made for the delegator by whoever finds the result submitted. That
/// delegator has signed the task whose result it is, and named the role that is to judge it.
async fn vouched(host: &Host, assignment: &Assignment) -> Result<Option<Verdict>, HistoryError> {
    let Some(parent) = &assignment.parent else { return Ok(None) };
    let state = host.bus.history(parent).await?.task.state;
    let Some(judged) = state.and_then(|state| state.assignment) else { return Ok(None) };
    let same = judged.delegator == assignment.delegator;
    if !same || judged.verifier.as_ref() != Some(&assignment.role) {
        return Ok(None);
    }
    let failed = |source| HistoryError::Request { task: parent.clone(), source };
    let at = judged.created_at;
    let verdict = host.bus.verify_delegator(&Verdict::Unsigned, &judged, at).await;
    verdict.map(Some).map_err(failed)
}

async fn refuse(
    host: &Host,
    received: &Received<'_>,
    verdict: &Verdict,
    assignment: &Assignment,
) -> Checked {
    let (role, claimed) = (&host.settings.role, Some(&assignment.delegator));
    host.bus.keep_evidence((AGENT_TASKS, received), role, (verdict, claimed)).await;
    host.count_refused(verdict);
    Checked::Refused(verdict.to_string())
}
