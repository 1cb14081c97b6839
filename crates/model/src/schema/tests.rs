//! The committed contract is the one that the types have, and real messages keep it.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};

use super::*;
use crate::task::Transition;

#[test]
fn the_committed_files_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas");
    let mut expected = BTreeSet::new();
    for (name, text) in files().unwrap() {
        let committed = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(
            committed == text,
            "docs/schemas/{name} is not what the types say. Run\n    \
             cargo run -p sinew-model --example schemas\nand read the diff: it is the contract"
        );
        expected.insert(name);
    }
    let names = std::fs::read_dir(folder).unwrap();
    let names: BTreeSet<String> =
        names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, expected, "a file too many");
}

/// What the schema of that name says against a document.
fn faults(schema: &str, document: &Value) -> Vec<String> {
    let (_, schema) = schemas().into_iter().find(|(name, _)| *name == schema).unwrap();
    let validator = jsonschema::validator_for(schema.as_value()).unwrap();
    validator.iter_errors(document).map(|fault| fault.to_string()).collect()
}

fn with(mut document: Value, field: &str, value: Value) -> Value {
    document[field] = value;
    document
}

fn without(mut document: Value, field: &str) -> Value {
    document.as_object_mut().unwrap().remove(field).unwrap();
    document
}

/// Both the schema and the type take `document`, and `field` must be there and be a text.
fn check<T: serde::de::DeserializeOwned + Serialize>(schema: &str, document: &Value, field: &str) {
    assert_eq!(faults(schema, document), [""; 0], "{document}");
    let read: T = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(faults(schema, &serde_json::to_value(read).unwrap()), [""; 0], "written again");
    for broken in [without(document.clone(), field), with(document.clone(), field, 7.into())] {
        assert!(!faults(schema, &broken).is_empty(), "{broken}");
        assert!(serde_json::from_value::<T>(broken).is_err());
    }
    let newer = with(document.clone(), "later", json!({ "x": 1 }));
    assert_eq!(faults(schema, &newer), [""; 0], "a field of a later version");
}

fn seed() -> Value {
    json!({
        "type": "agent.action", "timestamp": "2026-05-10T14:23:01Z", "agentRole": "marketing",
        "orgId": "org_abc123", "action": "file.write",
        "details": { "path": "/workspace/blog/new-post.md", "sizeBytes": 4523 },
        "taskId": "task_xyz789", "sessionId": "sess_def456"
    })
}

fn assignment() -> Value {
    json!({
        "taskId": "T1", "orgId": "acme", "role": "cto", "delegator": "ceo", "title": "Count",
        "input": { "to": 3 }, "parent": "T0", "depth": 1, "priority": "urgent",
        "createdAt": "2026-05-10T14:23:01Z", "deadline": "2026-05-11T14:23:01Z", "maxAttempts": 5,
        "after": ["T9"], "afterAny": true, "verifier": "qa", "escalateTo": "operator",
    })
}

/// One entry of each kind, as it looks on the wire.
fn entry(transition: Transition) -> Value {
    let change = match transition {
        Transition::Created => json!({ "assignment": assignment(), "queueSeq": 7 }),
        Transition::Enqueued => json!({
            "epoch": 2, "notBefore": "2026-05-10T14:23:31Z", "reason": "retry",
        }),
        Transition::Started => json!({
            "attempt": 1, "epoch": 2, "queueSeq": 8, "instance": "cto-0", "incarnation": "i1",
            "ack": "$JS.ACK.AGENT_TASKS.cto-agent-consumer.1.8.8.1778423011000000000.0",
        }),
        Transition::Progress => json!({ "attempt": 1, "message": "half", "percent": 50 }),
        Transition::Effect => json!({
            "attempt": 1, "key": "0",
            "effect": { "kind": "delegate", "assignment": assignment() },
        }),
        Transition::Blocked => json!({
            "attempt": 1, "question": {
                "key": "#0", "text": "Which?", "to": "ceo", "choices": ["a", "b"],
                "escalateAt": "2026-05-11T14:24:01Z",
            },
        }),
        Transition::Answered => json!({ "key": "#0", "answer": "a" }),
        Transition::Waiting => json!({ "attempt": 1, "on": ["T2", "T3"] }),
        Transition::Resumed => json!({ "cycle": ["T1", "T2", "T1"] }),
        Transition::Submitted => json!({ "attempt": 1, "result": { "count": 3 } }),
        Transition::Refused => json!({ "attempt": 1, "reason": "4", "escalatedTo": "ceo" }),
        Transition::Escalated => json!({ "to": "ceo", "reason": "unanswered" }),
        Transition::Revived => json!({}),
        Transition::Released => json!({
            "attempt": 1, "reason": "failed", "cause": "exit 1", "retryAt": "2026-05-10T14:24:01Z",
        }),
        Transition::Completed => json!({
            "attempt": 1, "result": { "count": 3 }, "verified": { "by": "qa", "evidence": "seen" },
        }),
        Transition::Failed => json!({ "attempt": 1, "cause": "no such file" }),
        Transition::Cancelled => json!({ "reason": "not needed" }),
        Transition::Dead => json!({
            "cause": "undecodable", "detail": "expected value", "bytes": "eA==",
        }),
    };
    let mut it = json!({
        "taskId": "T1", "orgId": "acme", "at": "2026-05-10T14:23:01Z",
        "by": { "role": "cto", "instance": "cto-0" }, "transition": transition.word(),
    });
    for (field, value) in change.as_object().unwrap() {
        it[field] = value.clone();
    }
    it
}

#[test]
fn the_seeds_event_keeps_the_contract() {
    check::<Event>("event", &seed(), "agentRole");
}

#[test]
fn every_kind_of_entry_keeps_the_contract() {
    for transition in Transition::ALL {
        check::<Entry>("entry", &entry(transition), "taskId");
        // A field of the kind itself is demanded too.
        let field = match transition {
            Transition::Created => "assignment",
            Transition::Cancelled | Transition::Enqueued => "reason",
            Transition::Answered => "key",
            Transition::Waiting => "on",
            Transition::Escalated => "to",
            Transition::Resumed | Transition::Revived => "transition",
            Transition::Dead => "detail",
            Transition::Started
            | Transition::Progress
            | Transition::Effect
            | Transition::Released
            | Transition::Blocked
            | Transition::Submitted
            | Transition::Refused
            | Transition::Completed
            | Transition::Failed => "attempt",
        };
        let broken = without(entry(transition), field);
        assert!(!faults("entry", &broken).is_empty(), "{transition:?} without {field}");
    }
    let unknown = with(entry(Transition::Failed), "transition", "pondered".into());
    assert!(!faults("entry", &unknown).is_empty());
}

#[test]
fn assignments_mail_and_heartbeats_keep_the_contract() {
    check::<Assignment>("assignment", &assignment(), "title");
    let bad_role = with(assignment(), "role", "C.T.O".into());
    assert!(!faults("assignment", &bad_role).is_empty());
    let mail = json!({
        "id": "T1:report:completed", "type": "task.completed", "from": "cto", "to": "ceo",
        "at": "2026-05-10T14:23:01Z", "taskId": "T1", "correlationId": "T0", "body": { "x": 1 },
    });
    check::<Mail>("mail", &mail, "from");
    let everybody = json!({
        "id": "b1", "type": "message", "from": "ceo", "to": "broadcast",
        "at": "2026-05-10T14:23:01Z", "acknowledgeBy": "2026-05-10T15:23:01Z",
        "audience": ["cto"], "priority": "urgent", "inReplyTo": "m0", "replyTo": "cto",
    });
    check::<Mail>("mail", &everybody, "to");
    let note = json!({ "broadcast": "b1", "by": "cto", "at": "2026-05-10T14:24:01Z", "note": "x" });
    check::<Acknowledgement>("acknowledgement", &note, "by");
    let card = json!({
        "role": "cto", "at": "2026-05-10T14:23:01Z", "by": "cto", "about": "Builds",
        "skills": ["rust"], "accepts": { "type": "object" },
    });
    check::<Card>("card", &card, "role");
    let heartbeat = json!({
        "role": "cto", "instance": "cto-0", "incarnation": "i1", "at": "2026-05-10T14:23:01Z",
        "concurrency": 5, "holds": [{ "taskId": "T1", "attempt": 1 }], "leaving": false,
    });
    check::<Heartbeat>("heartbeat", &heartbeat, "instance");
    let schedule = json!({
        "definition": {
            "name": "nightly", "role": "cto", "title": "Count", "overlap": "skip",
            "priority": "low",
            "timing": { "kind": "cron", "expression": "0 2 * * *", "timeZone": "Europe/Berlin" },
        },
        "orgId": "acme", "delegator": "ceo", "createdAt": "2026-05-10T14:23:01Z",
        "standing": "active", "next": "2026-05-11T00:00:00Z", "runs": 0, "skipped": 0,
        "change": "added", "at": "2026-05-10T14:23:01Z", "by": "ceo",
    });
    check::<Schedule>("schedule", &schedule, "delegator");
}

#[test]
fn the_asyncapi_document_is_whole() {
    let document = asyncapi();
    let files: BTreeSet<String> = files().unwrap().into_iter().map(|(name, _)| name).collect();
    let mut references = 0;
    let mut open = vec![&document];
    while let Some(value) = open.pop() {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            references += 1;
            match target.strip_prefix("./") {
                Some(file) => assert!(files.contains(file), "{target}"),
                None => assert!(document.pointer(&target[1..]).is_some(), "{target}"),
            }
        }
        open.extend(value.as_object().into_iter().flat_map(|object| object.values()));
        open.extend(value.as_array().into_iter().flatten());
    }
    assert!(references > 40, "{references}");
    for (name, channel) in document["channels"].as_object().unwrap() {
        let address = channel["address"].as_str().unwrap();
        let parameters = channel["parameters"].as_object().map_or(0, serde_json::Map::len);
        assert_eq!(address.matches('{').count(), parameters, "{name}");
    }
}

#[test]
fn the_asyncapi_document_has_the_seeds_subjects() {
    let document = asyncapi();
    let addresses: BTreeSet<&str> = document["channels"]
        .as_object()
        .unwrap()
        .values()
        .map(|channel| channel["address"].as_str().unwrap())
        .collect();
    for subject in [
        "genbrain.agents.{role}.inbox",
        "genbrain.agents.{role}.tasks",
        "genbrain.agents.{role}.heartbeat",
        "genbrain.agents.broadcast",
        "genbrain.org.{orgId}.events",
        "genbrain.org.{orgId}.tasks.{transition}",
        "genbrain.org.{orgId}.tasks.{taskId}.{transition}",
    ] {
        assert!(addresses.contains(subject), "{subject} is not in {addresses:?}");
    }
}
