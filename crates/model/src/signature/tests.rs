//! Each rule of signatures, one by one.

use serde_json::json;

use super::*;

const KEY: &str = "UABCDEFGHIJKLMNOPQRSTUVWXYZ234567ABCDEFGHIJKLMNOPQRSTUVW";
const ACCOUNT: &str = "AORG";
const HOUR: i64 = 3_600_000_000;

fn at(micros: i64) -> Time {
    Time::from_micros(micros)
}

fn signature() -> Signature {
    let by =
        Speaker { role: Some("cto".parse().unwrap()), instance: Some("cto-1".parse().unwrap()) };
    Signature { key: KEY.to_owned(), at: at(10 * HOUR), due: None, by, proof: "c2ln".to_owned() }
}

fn certificate(user: User) -> Certificate {
    let (from, until) = (at(HOUR), Some(at(20 * HOUR)));
    Certificate {
        key: KEY.to_owned(),
        user,
        issuer: ACCOUNT.to_owned(),
        account: ACCOUNT.to_owned(),
        from,
        until,
    }
}

fn cto() -> Certificate {
    certificate(User::Agent("cto".parse().unwrap()))
}

fn trust() -> Trust {
    Trust { issuers: [ACCOUNT.to_owned()].into(), ..Trust::default() }
}

/// The verdict on a message that is good but for the change.
fn verdict(
    change: impl FnOnce(&mut Signature, &mut Certificate, &mut Trust, &mut Time),
) -> Verdict {
    let (mut signature, mut certificate, mut trust) = (signature(), cto(), trust());
    let mut stored = signature.at;
    change(&mut signature, &mut certificate, &mut trust, &mut stored);
    judge(&signature, Some(&certificate), || true, (&trust, stored), None)
}

#[test]
fn a_good_message_is_from_its_sender() {
    let sender = verdict(|_, _, _, _| {}).sender().cloned().unwrap();
    assert_eq!((sender.to_string().as_str(), sender.key.as_str()), ("agent-cto", KEY));
    assert_eq!(sender.by, signature().by);
}

#[test]
fn what_is_stored_long_after_it_was_signed_may_be_a_copy() {
    let mut it = signature();
    let doubt = i64::try_from(COPY_DOUBT.as_micros()).unwrap();
    assert!(!it.may_be_copy(at(10 * HOUR + doubt - 1)) && it.may_be_copy(at(10 * HOUR + doubt)));
    it.due = Some(at(11 * HOUR));
    assert!(!it.may_be_copy(at(11 * HOUR)));
}

#[test]
fn each_flaw_has_its_own_name() {
    let forged = |why| Verdict::Forged(why);
    let unknown = judge(&signature(), None, || true, (&trust(), at(10 * HOUR)), None);
    assert_eq!(unknown, forged(Forgery::Unknown));
    let other = verdict(|_, certificate, _, _| certificate.key = "UOTHER".to_owned());
    assert_eq!(other, forged(Forgery::Unknown));
    assert_eq!(verdict(|_, _, trust, _| trust.issuers.clear()), forged(Forgery::Issuer));
    assert_eq!(verdict(|_, it, _, _| it.until = Some(at(9 * HOUR))), forged(Forgery::Lapsed));
    assert_eq!(verdict(|_, it, _, _| it.from = at(11 * HOUR)), forged(Forgery::Lapsed));
    let bad = judge(&signature(), Some(&cto()), || false, (&trust(), at(10 * HOUR)), None);
    assert_eq!(bad, forged(Forgery::Signature));
    let role = |text: &str| Some(text.parse().unwrap());
    assert_eq!(verdict(|it, _, _, _| it.by.role = role("ceo")), forged(Forgery::Speaker));
    let ceo: Role = "ceo".parse().unwrap();
    let claimed = judge(&signature(), Some(&cto()), || true, (&trust(), at(10 * HOUR)), Some(&ceo));
    assert_eq!(claimed, forged(Forgery::Speaker), "the body says who it is from");
}

#[test]
fn a_revocation_holds_for_what_is_stored_after_it_and_not_for_new_credentials() {
    let revoked = |user: &str, mark: i64, from: i64| {
        verdict(|_, certificate, trust, _| {
            trust.revoked.insert(user.to_owned(), mark / 1_000_000);
            certificate.from = at(from);
        })
    };
    for user in [KEY, "*"] {
        assert_eq!(revoked(user, 9 * HOUR, HOUR), Verdict::Forged(Forgery::Revoked), "{user}");
        assert!(revoked(user, 11 * HOUR, HOUR).sender().is_some(), "it was stored before");
        assert!(revoked(user, 8 * HOUR, 9 * HOUR).sender().is_some(), "they were given out since");
    }
    assert!(revoked("UOTHER", 9 * HOUR, HOUR).sender().is_some());
}

#[test]
fn a_message_is_stored_when_it_was_signed_or_when_it_is_due() {
    let window = i64::try_from(SIGNATURE_WINDOW.as_micros()).unwrap();
    let stored = |later: i64, due: Option<i64>| {
        verdict(|signature, _, _, stored| {
            *stored = at(10 * HOUR + later);
            signature.due = due.map(|due| at(10 * HOUR + due));
        })
    };
    assert!(stored(window, None).sender().is_some());
    assert!(stored(-window, None).sender().is_some());
    assert_eq!(stored(window + 1, None), Verdict::Expired);
    assert_eq!(stored(-window - 1, None), Verdict::Expired);
    assert!(stored(5 * HOUR, Some(5 * HOUR)).sender().is_some());
    assert!(stored(8 * HOUR, Some(5 * HOUR)).sender().is_some(), "it waited for room");
    assert_eq!(stored(HOUR, Some(5 * HOUR)), Verdict::Expired, "long before it is due");
}

#[test]
fn who_may_speak_for_whom() {
    let [cto, ceo]: [Role; 2] = ["cto", "ceo"].map(|role| role.parse().unwrap());
    let agent = User::Agent(cto.clone());
    assert!(agent.speaks_for(&cto) && !agent.speaks_for(&ceo));
    assert!(User::Operator.speaks_for(&ceo) && User::Server.speaks_for(&ceo));
    assert!(!User::Observer.speaks_for(&ceo));
    for user in [agent, User::Operator, User::Observer, User::Server] {
        assert_eq!(User::named(&user.name()), Some(user));
    }
    for name in ["", "agent-", "agent-CTO", "agent-a.b", "agent-*", "root", "cto"] {
        assert_eq!(User::named(name), None, "{name}");
    }
}

#[test]
fn a_policy_takes_what_it_says() {
    let good = verdict(|_, _, _, _| {});
    let bad = Verdict::Forged(Forgery::Signature);
    let takes = |policy: Policy| {
        [&good, &Verdict::Unsigned, &bad, &Verdict::Replayed, &Verdict::Expired]
            .map(|verdict| policy.takes(verdict))
    };
    assert_eq!(takes(Policy::Off), [true; 5]);
    assert_eq!(takes(Policy::AcceptUnsigned), [true, true, false, false, false]);
    assert_eq!(takes(Policy::Require), [true, false, false, false, false]);
    for policy in Policy::ALL {
        assert_eq!(policy.word().parse(), Ok(policy));
    }
    assert!("on".parse::<Policy>().is_err());
}

#[test]
fn a_header_reads_back_and_nothing_else_is_one() {
    let full = signature();
    assert_eq!(full.to_string().parse(), Ok(full.clone()));
    let due = Some(at(7));
    let bare = Signature { by: Speaker::default(), due, ..full };
    assert_eq!(bare.to_string().parse(), Ok(bare.clone()));
    let text = bare.to_string();
    for bad in [
        String::new(),
        text.replacen('1', "2", 1),
        format!("{text} more"),
        text.replace(" c2ln", ""),
        text.replace("c2ln", "c2l="),
        text.replace("c2ln", &"x".repeat(SIGNATURE_BYTES)),
        text.replace(" 7 ", " soon "),
        text.replace(KEY, "U\n"),
    ] {
        assert_eq!(bad.parse::<Signature>(), Err(SignatureError), "{bad}");
    }
}

#[test]
fn a_jwt_is_read_as_a_certificate() {
    let head = br#"{"typ":"JWT","alg":"ed25519-nkey"}"#;
    let claims = |change: fn(&mut serde_json::Value)| {
        let mut claims = json!({
            "jti": "X", "iat": 3600, "iss": "ASIGN", "name": "agent-cto", "sub": KEY,
            "nats": { "type": "user", "version": 2, "issuer_account": ACCOUNT },
        });
        change(&mut claims);
        Certificate::read(head, claims.to_string().as_bytes())
    };
    let read = claims(|_| {}).unwrap();
    assert_eq!(read, Certificate { issuer: "ASIGN".to_owned(), until: None, ..cto() });
    assert_eq!(claims(|it| it["exp"] = 72_000.into()).unwrap().until, Some(at(20 * HOUR)));
    assert_eq!(claims(|it| it["exp"] = 0.into()).unwrap().until, None);
    assert!(matches!(claims(|it| it["name"] = "bob".into()), Err(CertificateError::Name)));
    assert!(matches!(claims(|it| it["sub"] = "A1".into()), Err(CertificateError::Kind)));
    let account = claims(|it| it["nats"]["type"] = "account".into());
    assert!(matches!(account, Err(CertificateError::Kind)));
    assert!(matches!(claims(|it| it["iat"] = "x".into()), Err(CertificateError::Claims(_))));
    let other = Certificate::read(br#"{"alg":"none"}"#, b"{}");
    assert!(other.is_err(), "a JWT that says it needs no signature");
}

#[test]
fn a_jwt_has_three_parts() {
    let parts = Parts::of("head.claims.sig\n").unwrap();
    assert_eq!((parts.signed, parts.signature), ("head.claims", "sig"));
    for bad in ["", "a", "a.b", "a.b.c.d", ".b.c"] {
        assert!(Parts::of(bad).is_err(), "{bad}");
    }
    assert!(Parts::of(&"x.y.".repeat(100_000)).is_err());
}

#[test]
fn a_copy_is_found_and_a_second_delivery_is_none() {
    let mut seen = Seen::with_room(2);
    assert!(seen.is_first("a", 1, at(0)));
    assert!(seen.is_first("a", 1, at(5)), "delivered again");
    assert!(!seen.is_first("a", 2, at(5)), "a copy");
    assert!(seen.is_first("b", 3, at(6)) && seen.is_first("c", 4, at(7)));
    assert_eq!(seen.len(), 2, "it is bounded");
    let late = at(8 + 2 * i64::try_from(SIGNATURE_WINDOW.as_micros()).unwrap());
    assert!(seen.is_first("d", 5, late));
    assert_eq!(seen.len(), 1, "what could not pass for timely any more is forgotten");
}
