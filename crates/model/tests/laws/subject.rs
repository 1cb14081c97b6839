//! What is built can be parsed back, for every name that the border lets in.

use proptest::prelude::*;
use sinew_model::{
    Address, Band, BroadcastId, InstanceId, MeetingId, OrgId, Role, Root, ScheduleName, Subjects,
    TaskId, Transition, control::Target,
};

fn role() -> impl Strategy<Value = Role> {
    "[a-z0-9][a-z0-9_-]{0,20}".prop_filter_map("reserved", |text| text.parse().ok())
}

fn org() -> impl Strategy<Value = OrgId> {
    "[a-z0-9][a-z0-9_-]{0,20}".prop_filter_map("reserved", |text| text.parse().ok())
}

fn band() -> impl Strategy<Value = Band> {
    prop::sample::select(Band::ALL.to_vec())
}

proptest! {
    #[test]
    fn build_and_parse_agree(
        (root, org, role, band) in ("[a-z][a-z0-9]{0,9}", org(), role(), band()),
        (task, meeting) in ("[A-Za-z0-9][A-Za-z0-9_-]{0,63}", "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"),
        name in "[a-z0-9][a-z0-9_-]{0,39}",
        key in "U[A-Z2-7]{55}",
        instance in "[A-Za-z0-9][A-Za-z0-9_-]{0,63}",
        transition in prop::sample::select(Transition::ALL.to_vec()),
    ) {
        let name: ScheduleName = name.parse().unwrap();
        let (task, meeting): (TaskId, MeetingId) = (task.parse().unwrap(), meeting.parse().unwrap());
        let s = Subjects::new(root.parse::<Root>().unwrap(), org.clone());
        let instance: InstanceId = instance.parse().unwrap();
        let broadcast: BroadcastId = task.as_str().parse().unwrap();
        let word = transition.word().to_owned();
        let cases = [
            (s.tasks(&role, band), Address::Tasks(role.clone(), band)),
            (s.due(&role, band), Address::Due(role.clone(), band)),
            (s.inbox_of(&role, band), Address::Inbox(role.clone(), band)),
            (s.card(&role), Address::Card(role.clone())),
            (
                s.acknowledged(&role, &broadcast),
                Address::Acknowledged(role.clone(), broadcast),
            ),
            (s.meetings(&role), Address::Meetings(role.clone())),
            (s.control(&Target::Role(role.clone())), Address::RoleControl(role.clone())),
            (
                s.control(&Target::Instance(role.clone(), instance.clone())),
                Address::InstanceControl(role.clone(), instance),
            ),
            (s.heartbeat(&role), Address::Heartbeat(role)),
            (s.broadcast(), Address::Broadcast),
            (s.entry(&task, transition), Address::Entry(org.clone(), task.clone(), word.clone())),
            (s.transition(transition), Address::Transition(org.clone(), word)),
            (s.events(), Address::Events(org.clone())),
            (s.sender(&key).unwrap(), Address::Sender(org.clone(), key)),
            (s.evidence("S", 7), Address::Evidence(org.clone(), "S".to_owned(), 7)),
            (
                s.incident("flood", "U1"),
                Address::Incident(org.clone(), "flood".to_owned(), "U1".to_owned()),
            ),
            (s.metrics(), Address::Metrics(org)),
            (s.meeting_messages(&meeting), Address::MeetingMessages(meeting.clone())),
            (s.meeting_decisions(&meeting), Address::MeetingDecisions(meeting)),
            (s.system_health(), Address::SystemHealth),
            (s.system_scaling(), Address::SystemScaling),
            (s.schedule(&task), Address::Schedule(task)),
            (s.recurring(&name), Address::Recurring(name.clone())),
            (s.trigger(&name), Address::Trigger(name.clone())),
            (s.fired(&name), Address::Fired(name)),
        ];
        for (subject, address) in cases {
            prop_assert_eq!(s.parse(subject.as_str()), Some(address), "{}", subject);
        }
    }

    #[test]
    fn parsing_anything_never_panics(text in "[a-z.*>]{0,60}") {
        let s = Subjects::new(Root::default(), "acme".parse().unwrap());
        let _address = s.parse(&text);
        let _address = s.parse(&format!("genbrain.{text}"));
    }
}
