//! The catalogue as it stands, so that a change of it is read by somebody.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn standard() -> Catalogue {
    Catalogue::standard(&Subjects::new(crate::id::Root::default(), "acme".parse().unwrap()))
}

#[test]
fn the_streams_are_as_reviewed() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&standard().streams).unwrap());
}

#[test]
fn the_work_consumers_are_as_reviewed() {
    let role = "marketing".parse().unwrap();
    let all = Band::ALL.map(|band| standard().work_consumer(&role, band));
    insta::assert_snapshot!(serde_json::to_string_pretty(&all).unwrap());
}

#[test]
fn the_seeds_numbers_are_the_defaults() {
    let it = standard();
    let tasks = serde_json::to_value(it.stream(AGENT_TASKS).unwrap()).unwrap();
    let seed = json!({
        "name": "AGENT_TASKS", "retention": "workqueue", "storage": "file",
        "max_msgs": 100_000, "duplicate_window": 60_000_000_000_u64, "max_msg_size": 1_048_576,
    });
    for (key, value) in seed.as_object().unwrap() {
        assert_eq!(&tasks[key], value, "{key}");
    }
    let consumer = it.work_consumer(&"marketing".parse().unwrap(), Band::Normal);
    let consumer = serde_json::to_value(consumer).unwrap();
    let seed = json!({
        "durable_name": "marketing-agent-consumer",
        "filter_subject": "genbrain.agents.marketing.tasks",
        "ack_policy": "explicit", "ack_wait": 300_000_000_000_u64, "deliver_policy": "all",
    });
    for (key, value) in seed.as_object().unwrap() {
        assert_eq!(&consumer[key], value, "{key}");
    }
}

#[test]
fn a_source_is_made_before_the_stream_that_sources_it() {
    let mut made = Vec::new();
    for stream in standard().streams {
        for source in &stream.sources {
            assert!(made.contains(&source.name), "{} comes before {}", stream.name, source.name);
        }
        made.push(stream.name);
    }
}

#[test]
fn a_fired_schedule_still_fits_into_the_queue() {
    let it = standard();
    let [schedules, tasks] = [TASK_SCHEDULES, AGENT_TASKS].map(|name| it.stream(name).unwrap());
    // The header that tells where a message was sourced from, with the longest names.
    assert!(schedules.max_msg_size + 2_048 <= tasks.max_msg_size);
    // What is accepted on the spot can also be accepted for later.
    assert!(schedules.max_msg_size - 8_192 >= bytes(crate::limits::BODY_BYTES));
}

#[test]
fn no_two_consumers_share_a_name() {
    let roles: Vec<Role> = [
        "cto",
        "cto-agent-consumer",
        "cto-agent-consumer-urgent",
        "cto-agent-consumer-low",
        "cto-urgent",
        "urgent",
        "low",
    ]
    .map(|role| role.parse().unwrap())
    .into();
    let mut names = std::collections::BTreeSet::new();
    for role in &roles {
        for band in Band::ALL {
            assert!(names.insert(work_consumer_name(role, band)), "{role} {band:?}");
        }
    }
    assert_eq!(work_consumer_of("cto"), None);
    assert_eq!(work_consumer_of("-agent-consumer"), None);
}

proptest! {
    #[test]
    fn a_consumers_name_tells_whose_it_is(
        role in "[a-z0-9]([a-z0-9_-]|-agent-consumer|-urgent|-low){0,4}",
        band in prop::sample::select(&Band::ALL[..]),
    ) {
        if let Ok(role) = role.parse::<Role>() {
            prop_assert_eq!(work_consumer_of(&work_consumer_name(&role, band)), Some((role, band)));
        }
    }
}

fn laid(overlay: serde_json::Value) -> Result<Catalogue, String> {
    let overlay: Overlay = serde_json::from_value(overlay).map_err(|fault| fault.to_string())?;
    standard().overlaid(&overlay).map_err(|fault| fault.to_string())
}

#[test]
fn an_overlay_sets_what_it_names_and_nothing_else() {
    let it = laid(json!({
        "streams": { "AGENT_TASKS": { "max_msgs": 5000, "discard": "old", "replicas": 5 },
                     "ORG_EVENTS": { "max_age": "1d" } },
        "consumers": { "ack_wait": "20s" },
    }))
    .unwrap();
    let mut expect = standard();
    expect.streams[1].max_msgs = 5000;
    expect.streams[1].discard = Discard::Old;
    expect.streams[1].replicas = Some(5);
    expect.streams[6].max_age = Duration::from_secs(86_400);
    expect.consumers.ack_wait = Duration::from_secs(20);
    assert_eq!(it, expect);
}

#[test]
fn every_wrong_value_is_refused_with_the_key() {
    let check = |overlay, expect: &str| {
        let fault = laid(overlay).unwrap_err();
        assert!(fault.contains(expect), "{fault}");
    };
    let tasks = |values| json!({ "streams": { "AGENT_TASKS": values } });
    check(json!({ "stream": {} }), "unknown field `stream`");
    check(tasks(json!({ "max_messages": 1 })), "unknown field `max_messages`");
    check(tasks(json!({ "retention": "limits" })), "unknown field `retention`");
    check(tasks(json!({ "discard": "newest" })), "unknown variant `newest`");
    check(tasks(json!({ "max_age": "7 days" })), "\"7 days\" is not a time");
    check(tasks(json!({ "max_age": "99999999999999999d" })), "is not a time");
    check(tasks(json!({ "max_msgs": 0 })), "streams.AGENT_TASKS.max_msgs must be above 0");
    check(tasks(json!({ "max_bytes": -2 })), "streams.AGENT_TASKS.max_bytes must be above 0");
    check(tasks(json!({ "max_msg_size": -1 })), "AGENT_TASKS.max_msg_size must be 1 to");
    check(tasks(json!({ "replicas": 2 })), "streams.AGENT_TASKS.replicas must be 1, 3 or 5");
    check(tasks(json!({ "duplicate_window": "9ms" })), "duplicate_window must be 100ms");
    check(tasks(json!({ "max_age": "1s" })), "duplicate_window must be no longer than max_age");
    check(
        json!({ "streams": { "TASKS": {} } }),
        "there is no stream \"TASKS\"; there are TASK_SCH",
    );
    check(
        json!({ "streams": { "TASK_SCHEDULES": { "discard": "new" } } }),
        "streams.TASK_SCHEDULES.discard must be \"old\"",
    );
    check(json!({ "consumers": { "ack_wait": "0s" } }), "consumers.ack_wait must be longer");
    check(json!({ "consumers": { "max_waiting": 0 } }), "consumers.max_waiting must be above 0");
}
