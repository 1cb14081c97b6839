//! The AsyncAPI 3.0 document: what flows on which subject. It lists what has a body of its own.

use serde_json::{Map, Value, json};

use crate::{
    control::Target,
    header,
    id::{BroadcastId, MeetingId, OrgId, Role, Root, ScheduleName, TaskId},
    stream,
    subject::{Band, Subject, Subjects},
    task::Transition,
};

/// One subject of the contract.
struct Channel {
    name: &'static str,
    /// With the placeholder of [`sample`] where a name goes.
    subject: Subject,
    /// The stream that keeps what is sent there, if one does.
    stream: Option<&'static str>,
    about: &'static str,
    /// The schema of the body.
    body: &'static str,
    /// Names of headers, each one of [`HEADERS`].
    headers: &'static [&'static str],
    /// What a program in another language does there.
    actions: &'static [&'static str],
}

/// Every header, and what it says.
const HEADERS: [(&str, &str); 9] = [
    (
        header::MSG_ID,
        "The id under which a repeated publish is dropped; for an assignment {taskId}:{epoch}.",
    ),
    (header::EPOCH, "The epoch of an assignment; without it and without a message id it is 1."),
    (
        header::EXPECTED_SEQ,
        "The sequence of the newest entry of the task or meeting that the writer has read; 0 for none.",
    ),
    (
        header::EXPECTED_SUBJECT,
        "The filter over the whole task or meeting, byte for byte the subject with * as its last token.",
    ),
    (header::SCHEDULE, "When the assignment is put on its queue: @at and an RFC 3339 time."),
    (header::SCHEDULE_TARGET, "genbrain.due.{role}.tasks, with .urgent or .low for those bands."),
    (header::SCHEDULE_TTL, "How long it is kept once it has fired: 3600s."),
    (header::TRACEPARENT, "W3C trace context."),
    (
        header::SIGNATURE,
        "Who sent it: 1 KEY SIGNED-AT DUE ROLE INSTANCE SIGNATURE, see docs/signing.md. Every \
            message that a stream keeps may have it.",
    ),
];

const PARAMETERS: [(&str, &str); 9] = [
    ("role", "A job that agents fill: lower case letters, digits, - and _."),
    ("orgId", "The organisation: lower case letters, digits, - and _."),
    ("taskId", "The task: letters, digits, - and _; an id is never used again."),
    ("meetingId", "The meeting: letters, digits, - and _."),
    ("broadcastId", "The id of a message to everybody: letters, digits, - and _."),
    ("transition", "What happened to the task."),
    ("stream", "The stream in which the message lay."),
    ("sequence", "Its sequence there."),
    ("scheduleName", "The recurring task: lower case letters, digits, - and _."),
];

/// Names that stand for any name; [`address`] makes parameters of them.
struct Sample {
    subjects: Subjects,
    role: Role,
    task: TaskId,
    meeting: MeetingId,
    schedule: ScheduleName,
    broadcast: BroadcastId,
}

fn sample() -> Option<Sample> {
    let org: OrgId = "orgid".parse().ok()?;
    Some(Sample {
        subjects: Subjects::new(Root::default(), org),
        role: "role".parse().ok()?,
        task: "taskId".parse().ok()?,
        meeting: "meetingId".parse().ok()?,
        schedule: "schedulename".parse().ok()?,
        broadcast: "broadcastId".parse().ok()?,
    })
}

/// The subject with a parameter for each name.
fn address(subject: &Subject, channel: &str) -> String {
    let mut tokens: Vec<&str> = subject
        .as_str()
        .split('.')
        .map(|token| match token {
            "role" => "{role}",
            "orgid" => "{orgId}",
            "taskId" => "{taskId}",
            "meetingId" => "{meetingId}",
            "broadcastId" => "{broadcastId}",
            "schedulename" => "{scheduleName}",
            "stream" => "{stream}",
            "0" => "{sequence}",
            other => other,
        })
        .collect();
    if matches!(channel, "log" | "transitions")
        && let Some(last) = tokens.last_mut()
    {
        *last = "{transition}";
    }
    tokens.join(".")
}

fn channels() -> Vec<Channel> {
    let Some(sample) = sample() else { return Vec::new() };
    let mut all = tasks(&sample);
    all.extend(history(&sample));
    all.extend(meetings(&sample));
    all.extend(others(&sample));
    all.extend(registry(&sample));
    all
}

fn tasks(Sample { subjects, role, task, schedule, .. }: &Sample) -> Vec<Channel> {
    let queue = |name, band, about| Channel {
        name,
        subject: subjects.tasks(role, band),
        stream: Some(stream::AGENT_TASKS),
        about,
        body: "assignment",
        headers: &[header::MSG_ID, header::EPOCH, header::TRACEPARENT],
        actions: &["send", "receive"],
    };
    vec![
        queue("tasks", Band::Normal, "Assignments to a role."),
        queue("tasksUrgent", Band::Urgent, "Assignments that come before all others."),
        queue("tasksLow", Band::Low, "Assignments for when nothing else is there to do."),
        Channel {
            name: "schedules",
            subject: subjects.schedule(task),
            stream: Some(stream::TASK_SCHEDULES),
            about: "An assignment that is put on its queue later.",
            body: "assignment",
            headers: &[
                header::SCHEDULE,
                header::SCHEDULE_TARGET,
                header::SCHEDULE_TTL,
                header::EPOCH,
            ],
            actions: &["send"],
        },
        Channel {
            name: "recurring",
            subject: subjects.recurring(schedule),
            stream: Some(stream::TASK_RECURRING),
            about: "A recurring task after the last thing that happened to it.",
            body: "schedule",
            headers: &[header::MSG_ID, header::EXPECTED_SEQ, header::EXPECTED_SUBJECT],
            actions: &["receive"],
        },
    ]
}

fn history(Sample { subjects, task, .. }: &Sample) -> Vec<Channel> {
    // The last token becomes a parameter, so it does not matter which transition it is.
    let any = Transition::Created;
    vec![
        Channel {
            name: "log",
            subject: subjects.entry(task, any),
            stream: Some(stream::TASK_LOG),
            about: "A request to write to a task's log; it may be refused.",
            body: "entry",
            headers: &[
                header::EXPECTED_SEQ,
                header::EXPECTED_SUBJECT,
                header::MSG_ID,
                header::TRACEPARENT,
            ],
            actions: &["send"],
        },
        Channel {
            name: "transitions",
            subject: subjects.transition(any),
            stream: None,
            about: "What was written to a task's log: the truth, and the same body again.",
            body: "entry",
            headers: &[],
            actions: &["receive"],
        },
    ]
}

fn meetings(Sample { subjects, role, meeting, .. }: &Sample) -> Vec<Channel> {
    let log = |name, subject, about| Channel {
        name,
        subject,
        stream: Some(stream::MEETINGS),
        about,
        body: "meeting",
        headers: &[header::EXPECTED_SEQ, header::EXPECTED_SUBJECT, header::MSG_ID],
        actions: &["send", "receive"],
    };
    let said = "What happens in a meeting; it is guarded over the whole meeting, and counts where \
        the meeting allowed it.";
    let decided = "What a meeting decided, its action items and its end; guarded and counted as \
        what it says.";
    vec![
        log("meetingMessages", subjects.meeting_messages(meeting), said),
        log("meetingDecisions", subjects.meeting_decisions(meeting), decided),
        Channel {
            body: "mail",
            stream: Some(stream::AGENT_MAIL),
            headers: &[header::MSG_ID],
            ..log("meetings", subjects.meetings(role), "Invitations to meetings.")
        },
    ]
}

fn others(Sample { subjects, role, .. }: &Sample) -> Vec<Channel> {
    let plain = |name, subject, stream, about, body| Channel {
        name,
        subject,
        stream: Some(stream),
        about,
        body,
        headers: &[header::MSG_ID, header::TRACEPARENT],
        actions: &["send", "receive"],
    };
    let reports = "Direct messages to a role, and reports about what it delegated.";
    let everybody = "Messages to everybody in the org.";
    let alive = "Signs of life of a role's instances.";
    let flow = "What holds for the flow of work to a role; .instance.{name} in place of .all says it \
        of one instance.";
    let role_control = subjects.control(&Target::Role(role.clone()));
    let actions = "Significant actions of agents.";
    let refused = "Records of messages that were refused for their signature.";
    let befell = "What befell the org, and what was done about it.";
    let fares = "How a server fares, every 15 seconds.";
    let replicas = "How many instances each role is to have. Of two terms the higher one counts.";
    vec![
        plain("inbox", subjects.inbox(role), stream::AGENT_MAIL, reports, "mail"),
        plain("broadcast", subjects.broadcast(), stream::AGENT_MAIL, everybody, "mail"),
        plain("heartbeat", subjects.heartbeat(role), stream::AGENT_PRESENCE, alive, "heartbeat"),
        Channel {
            headers: &[header::MSG_ID, header::EXPECTED_SEQ, header::EXPECTED_SUBJECT],
            ..plain("roleControl", role_control, stream::AGENT_CONTROL, flow, "control")
        },
        plain("events", subjects.events(), stream::ORG_EVENTS, actions, "event"),
        Channel {
            actions: &["receive"],
            ..plain(
                "evidence",
                subjects.evidence("stream", 0),
                stream::ORG_EVIDENCE,
                refused,
                "evidence",
            )
        },
        Channel {
            actions: &["receive"],
            ..plain(
                "incident",
                subjects.incident("flood", "key"),
                stream::ORG_EVIDENCE,
                befell,
                "incident",
            )
        },
        Channel {
            actions: &["receive"],
            ..plain("health", subjects.system_health(), stream::SYSTEM, fares, "health")
        },
        Channel {
            actions: &["receive"],
            ..plain("scaling", subjects.system_scaling(), stream::SYSTEM, replicas, "scaling")
        },
    ]
}

fn registry(Sample { subjects, role, broadcast, .. }: &Sample) -> Vec<Channel> {
    let guarded = &[header::MSG_ID, header::EXPECTED_SEQ, header::EXPECTED_SUBJECT];
    let inbox = |name, band, about| Channel {
        name,
        subject: subjects.inbox_of(role, band),
        stream: Some(stream::AGENT_MAIL),
        about,
        body: "mail",
        headers: &[header::MSG_ID, header::TRACEPARENT],
        actions: &["send", "receive"],
    };
    vec![
        inbox("inboxUrgent", Band::Urgent, "Direct messages that are read before all others."),
        inbox("inboxLow", Band::Low, "Direct messages that are read after all others."),
        Channel {
            name: "acknowledged",
            subject: subjects.acknowledged(role, broadcast),
            stream: Some(stream::AGENT_MAIL),
            about: "That a role has taken note of a message to everybody; once for each role.",
            body: "acknowledgement",
            headers: guarded,
            actions: &["send", "receive"],
        },
        Channel {
            name: "card",
            subject: subjects.card(role),
            stream: Some(stream::AGENT_CARDS),
            about: "What a role can do; the newest counts.",
            body: "card",
            headers: guarded,
            actions: &["send", "receive"],
        },
    ]
}

/// The contract as an AsyncAPI 3.0 document; bodies are referred to by the names of their files.
#[must_use]
pub fn asyncapi() -> Value {
    let (mut all, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    for channel in channels() {
        let name = channel.name;
        for action in channel.actions {
            let operation = json!({
                "action": action,
                "channel": { "$ref": format!("#/channels/{name}") },
                "messages": [{ "$ref": format!("#/channels/{name}/messages/{}", channel.body) }],
            });
            operations.insert(format!("{name}.{action}"), operation);
        }
        messages.insert(name.to_owned(), message(&channel));
        all.insert(name.to_owned(), described(&channel));
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sinew",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What agents and programs in any language say to each other over NATS. \
                Bodies are JSON; fields that a reader does not know are kept.",
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "channels": all,
        "operations": operations,
        "components": { "messages": messages },
    })
}

fn described(channel: &Channel) -> Value {
    let address = address(&channel.subject, channel.name);
    let mut parameters = Map::new();
    for (name, about) in PARAMETERS {
        if address.contains(&format!("{{{name}}}")) {
            parameters.insert(name.to_owned(), parameter(name, about));
        }
    }
    let message = format!("#/components/messages/{}", channel.name);
    let messages = Map::from_iter([(channel.body.to_owned(), json!({ "$ref": message }))]);
    let mut it = Map::from_iter([
        ("address".to_owned(), address.into()),
        ("description".to_owned(), channel.about.into()),
        ("messages".to_owned(), messages.into()),
    ]);
    if !parameters.is_empty() {
        it.insert("parameters".to_owned(), parameters.into());
    }
    if let Some(stream) = channel.stream {
        it.insert("x-stream".to_owned(), stream.into());
    }
    it.into()
}

fn parameter(name: &str, about: &str) -> Value {
    if name == "transition" {
        json!({ "description": about, "enum": Transition::ALL.map(Transition::word) })
    } else {
        json!({ "description": about })
    }
}

fn message(channel: &Channel) -> Value {
    let headers: Map<String, Value> = HEADERS
        .iter()
        .filter(|(name, _)| {
            let signed = *name == header::SIGNATURE && channel.stream.is_some();
            signed || channel.headers.contains(name)
        })
        .map(|(name, about)| {
            ((*name).to_owned(), json!({ "type": "string", "description": about }))
        })
        .collect();
    json!({
        "name": channel.body,
        "contentType": "application/json",
        "headers": { "type": "object", "properties": headers },
        "payload": {
            "schemaFormat": "application/schema+json;version=2020-12",
            "schema": { "$ref": format!("./{}.json", channel.body) },
        },
    })
}
