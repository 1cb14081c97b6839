//! The roll of a message to everybody says of each role exactly one thing, in whatever order the
//! acknowledgements are read.

use proptest::prelude::*;
use sinew_model::{
    Role, Time,
    mail::{Acknowledgement, Mail, roll},
};

const ROLES: [&str; 6] = ["ceo", "cto", "cfo", "writer", "artist", "lawyer"];

fn role(at: usize) -> Role {
    ROLES.get(at % ROLES.len()).unwrap().parse().unwrap()
}

fn mail(audience: &[usize], by: Option<i64>) -> Mail {
    let audience: Vec<Role> = audience.iter().map(|at| role(*at)).collect();
    serde_json::from_value(serde_json::json!({
        "id": "b1", "type": "message", "from": "ceo", "to": "broadcast",
        "at": Time::from_micros(0), "audience": audience,
        "acknowledgeBy": by.map(Time::from_micros),
    }))
    .unwrap()
}

fn said(of: usize, at: i64) -> (Acknowledgement, Time) {
    let at = Time::from_micros(at);
    let it = Acknowledgement {
        broadcast: "b1".parse().unwrap(),
        by: role(of),
        at,
        note: Some(at.micros().to_string()),
        extra: serde_json::Map::new(),
    };
    (it, at)
}

proptest! {
    #[test]
    fn each_role_is_either_there_or_missing(
        audience in prop::collection::vec(0_usize..6, 0..8),
        acks in prop::collection::vec((0_usize..6, 0_i64..100), 0..12),
        by in prop::option::of(0_i64..100),
        now in 0_i64..200,
    ) {
        let mail = mail(&audience, by);
        let stored: Vec<_> = acks.iter().map(|(of, at)| said(*of, *at)).collect();
        let it = roll(&mail, stored.clone(), Time::from_micros(now));
        for role in &mail.audience {
            let there = it.acknowledged.iter().filter(|ack| ack.role == *role).count();
            let missing = it.missing.iter().filter(|missing| *missing == role).count();
            prop_assert_eq!(there + missing, 1, "{}", role);
        }
        for ack in &it.acknowledged {
            let first = stored.iter().filter(|(it, _)| it.by == ack.role).map(|(_, at)| *at).min();
            prop_assert_eq!(Some(ack.at), first);
            prop_assert_eq!(ack.note.clone(), first.map(|at| at.micros().to_string()));
            prop_assert_eq!(ack.late, by.is_some_and(|by| ack.at.micros() > by));
            prop_assert_eq!(ack.expected, mail.audience.contains(&ack.role));
        }
        let mut turned = stored;
        turned.reverse();
        prop_assert_eq!(roll(&mail, turned, Time::from_micros(now)), it);
    }
}
