//! Tests of the subjects, by example; the round trip is a law.

use super::*;

fn acme() -> Subjects {
    Subjects::new(Root::default(), "acme".parse().unwrap())
}

#[test]
fn the_seeds_subjects_are_built_as_written() {
    let s = acme();
    let role: Role = "marketing".parse().unwrap();
    let meeting: MeetingId = "m1".parse().unwrap();
    let check = |subject: Subject, expect| assert_eq!(subject.as_str(), expect);
    check(s.tasks(&role, Band::Normal), "genbrain.agents.marketing.tasks");
    check(s.tasks(&role, Band::Urgent), "genbrain.agents.marketing.tasks.urgent");
    check(s.inbox(&role), "genbrain.agents.marketing.inbox");
    check(s.meetings(&role), "genbrain.agents.marketing.meetings");
    check(s.heartbeat(&role), "genbrain.agents.marketing.heartbeat");
    check(s.broadcast(), "genbrain.agents.broadcast");
    check(s.events(), "genbrain.org.acme.events");
    check(s.transition(Transition::Created), "genbrain.org.acme.tasks.created");
    check(s.transition(Transition::Completed), "genbrain.org.acme.tasks.completed");
    check(s.metrics(), "genbrain.org.acme.metrics");
    check(s.system_health(), "genbrain.org.system.health");
    check(s.system_scaling(), "genbrain.org.system.scaling");
    check(s.meeting_messages(&meeting), "genbrain.meetings.m1.messages");
    check(s.meeting_decisions(&meeting), "genbrain.meetings.m1.decisions");
}

#[test]
fn every_band_gets_its_share_of_turns() {
    let first = |band| (0..160).filter(|turn| Band::order(*turn)[0] == band).count();
    assert_eq!(Band::ALL.map(first), [120, 30, 10]);
    for turn in 0..16 {
        let mut order = Band::order(turn);
        order.sort();
        assert_eq!(order, Band::ALL, "turn {turn} leaves a band out");
    }
    assert_eq!(Band::order(0), Band::ALL, "a single task is looked for by urgency");
    assert_eq!(Band::order(u64::MAX)[0], Band::Low, "the count of turns may overflow");
}

#[test]
fn foreign_and_broken_subjects_are_nothing() {
    let s = acme();
    for subject in [
        "",
        "genbrain",
        "genbrain.",
        "genbrainx.agents.cto.tasks",
        "other.agents.cto.tasks",
        "genbrain.agents.cto",
        "genbrain.agents.CTO.tasks",
        "genbrain.agents.cto.tasks.someday",
        "genbrain.agents.system.tasks",
        "genbrain.org.acme.tasks.T1.created.more",
        "genbrain.agents.*.tasks",
    ] {
        assert_eq!(s.parse(subject), None, "{subject}");
    }
}
