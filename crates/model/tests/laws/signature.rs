//! What a signature covers is told apart by its bytes, and no reader takes what it must not.

use proptest::prelude::*;
use sinew_model::{
    OrgId, Role, Time,
    grant::User,
    signature::{Certificate, Covered, Policy, Seen, Signature, Speaker, Trust, Verdict, judge},
};

fn text() -> impl Strategy<Value = String> {
    // Line breaks and digits before a colon are what could shift a border.
    "[a-z0-9:\n.]{0,8}"
}

fn some_text() -> impl Strategy<Value = Option<String>> {
    prop::option::of(text())
}

type Fields = (String, Option<String>, Option<String>, Option<String>, Vec<u8>);

fn fields() -> impl Strategy<Value = Fields> {
    (text(), some_text(), some_text(), some_text(), prop::collection::vec(any::<u8>(), 0..4))
}

fn signature() -> impl Strategy<Value = Signature> {
    let role = prop::option::of("[a-z]{1,3}".prop_map(|text| text.parse().unwrap()));
    let instance = prop::option::of("[a-z]{1,3}".prop_map(|text| text.parse().unwrap()));
    ("U[A-Z]{1,3}", 0..5_000_000_000_i64, prop::option::of(0..5_000_000_000_i64), role, instance)
        .prop_map(|(key, at, due, role, instance)| Signature {
            key,
            at: Time::from_micros(at),
            due: due.map(Time::from_micros),
            by: Speaker { role, instance },
            proof: "x".to_owned(),
        })
}

fn bytes(org: &OrgId, (subject, id, epoch, guard, body): &Fields, by: &Signature) -> Vec<u8> {
    let (id, epoch, guard) = (id.as_deref(), epoch.as_deref(), guard.as_deref());
    Covered { org, subject, id, epoch, guard, body }.bytes(by)
}

proptest! {
    #[test]
    fn different_messages_have_different_bytes(
        (one, other) in (fields(), fields()),
        (first, second) in (signature(), signature()),
    ) {
        let org: OrgId = "acme".parse().unwrap();
        let same = one == other && first == second;
        prop_assert_eq!(bytes(&org, &one, &first) == bytes(&org, &other, &second), same);
        let elsewhere: OrgId = "acme2".parse().unwrap();
        prop_assert_ne!(bytes(&org, &one, &first), bytes(&elsewhere, &one, &first));
    }

    #[test]
    fn every_header_reads_back(it in signature()) {
        prop_assert_eq!(it.to_string().parse(), Ok(it));
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "[ -~\n]{0,80}") {
        let _read = text.parse::<Signature>();
    }

    #[test]
    fn only_a_genuine_message_of_a_trusted_user_is_verified(
        it in signature(),
        (issuer, genuine) in (prop::sample::select(vec!["A", "B"]), any::<bool>()),
        owner in "[a-z]{1,2}",
        (claims, stored) in ("[a-z]{1,2}", 0..10_000_000_000_i64),
        revoked in prop::option::of(0..10_000_i64),
    ) {
        let owner: Role = owner.parse().unwrap();
        let certificate = Certificate {
            key: it.key.clone(),
            user: User::Agent(owner.clone()),
            issuer: issuer.to_owned(),
            account: issuer.to_owned(),
            from: Time::from_micros(0),
            until: None,
        };
        let revoked = revoked.map(|mark| ("*".to_owned(), mark)).into_iter().collect();
        let trust = Trust { issuers: ["A".to_owned()].into(), revoked, ..Trust::default() };
        let claims: Role = claims.parse().unwrap();
        let stored = Time::from_micros(stored);
        let verdict = judge(&it, Some(&certificate), || genuine, (&trust, stored), Some(&claims));
        if let Verdict::Verified(sender) = &verdict {
            prop_assert!(genuine && issuer == "A" && claims == owner);
            prop_assert!(it.by.role.is_none_or(|role| role == owner));
            prop_assert!(trust.revoked.values().all(|mark| stored.micros() < (mark + 1) * 1_000_000));
            prop_assert_eq!(&sender.user, &User::Agent(owner));
        }
        prop_assert_eq!(Policy::Require.takes(&verdict), verdict.sender().is_some());
    }

    #[test]
    fn of_each_signature_one_place_is_taken_and_the_memory_is_bounded(
        takes in prop::collection::vec(("[a-d]", 1..5_u64), 0..60),
        room in 4..8_usize,
    ) {
        let mut seen = Seen::with_room(room);
        let mut first = std::collections::BTreeMap::new();
        for (proof, seq) in takes {
            let place = *first.entry(proof.clone()).or_insert(seq);
            prop_assert_eq!(seen.is_first(&proof, seq, Time::from_micros(0)), place == seq);
            prop_assert!(seen.len() <= room);
        }
    }
}
