//! What `sinew doctor` sees of a whole deployment: the servers that serve the org, who leads the
//! scalers, and whether every role that has work has somebody to do it.

use sinew_bus::Bus;
use sinew_model::stream::ORG_EVIDENCE;

use super::Finding;
use crate::{
    cmd::scale::status::{self, Status},
    exit::told,
};

const NO_RIGHT: &str = "let the login read the stream SYSTEM";

/// Looks at the deployment.
pub(super) async fn findings(bus: &Bus) -> Vec<Finding> {
    let mut findings = vec![servers(bus).await];
    match status::look(bus).await {
        Ok(Some(status)) => findings.extend(scaling(&status)),
        // Whoever starts agents by hand needs no scaler.
        Ok(None) => findings.push(Finding::well("scaling", "no team is scaled").note()),
        Err(error) => {
            findings.push(Finding::wrong("scaling", told(&error.into()), NO_RIGHT).note())
        }
    }
    findings
}

/// What was refused for its signature, and who was cut off.
pub(super) async fn incidents(bus: &Bus) -> Finding {
    match bus.stream_state(ORG_EVIDENCE).await {
        Ok(state) if state.messages == 0 => Finding::well("incidents", "none"),
        Ok(state) => {
            let found = format!("{} records of refused messages and incidents", state.messages);
            Finding::wrong("incidents", found, "`sinew evidence` shows them").note()
        }
        Err(error) => {
            let mend =
                "`sinew topology apply` makes the stream ORG_EVIDENCE; let the login read it";
            Finding::wrong("incidents", format!("{error}"), mend).note()
        }
    }
}

async fn servers(bus: &Bus) -> Finding {
    let health = match status::health(bus).await {
        Ok(health) => health,
        Err(error) => return Finding::wrong("servers", told(&error.into()), NO_RIGHT).note(),
    };
    let ill: Vec<String> = health
        .values()
        .filter(|it| !it.ready)
        .map(|it| format!("{}: {}", it.server, it.faults.join("; ")))
        .collect();
    match (health.len(), ill.is_empty()) {
        (0, _) => {
            let mend = "run `sinew up` or `sinew server`: nobody moves waiting tasks on";
            Finding::wrong("servers", "no server tells how it fares", mend).note()
        }
        (all, true) => Finding::well("servers", format!("{all} well")),
        (_, false) => {
            Finding::wrong("servers", ill.join(", "), "what is not well is in its log on stderr")
        }
    }
}

fn scaling(status: &Status) -> Vec<Finding> {
    let mut findings = vec![match &status.scaler {
        Some(leader) if !status.stale => {
            let found = format!("{} leads {} roles", leader.holder, status.roles.len());
            Finding::well("scaler", found)
        }
        Some(_) | None => {
            let mend = "run `sinew up --team team.toml`, or `sinew scale run --team team.toml`";
            Finding::wrong("scaler", "nobody leads: roles stay as they are", mend).note()
        }
    }];
    for it in &status.roles {
        let policy = format!(
            "{}: {} of {}..{}, {} at a time: {}",
            it.role,
            it.running,
            it.min,
            it.max,
            it.concurrency,
            it.reason.words()
        );
        let crash = status.crashing.iter().find(|crash| crash.role == it.role);
        findings.push(match crash {
            Some(crash) => {
                let found = format!("{}: crashed {} times: {}", it.role, crash.times, crash.why);
                Finding::wrong("role", found, "mend its command in the team file")
            }
            None if it.stuck_since.is_some() => {
                let found = format!("{}: {} tasks and no instance", it.role, it.backlog);
                let mend =
                    "see whoever starts its instances: `sinew scale status` names the actuator";
                Finding::wrong("role", found, mend)
            }
            None if it.max == 0 && it.backlog > 0 => {
                let found = format!("{}: {} tasks and no instance allowed", it.role, it.backlog);
                Finding::wrong("role", found, "raise its max in the team file")
            }
            None => Finding::well("role", policy),
        });
    }
    findings
}
