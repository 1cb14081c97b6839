//! A delegator's own word for a task, which stays with the assignment: a worker that gives it back,
//! or a controller that puts it on its queue again, sends it under another signature.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Certificate, Forgery, Sender, Speaker, Trust, Verdict, digest, fields};
use crate::{id::Role, limits::SIGNATURE_WINDOW, task::Assignment, time::Time};

/// The delegator's signature over an assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// The public key of the user that signed.
    pub key: String,
    /// When it was signed, by the server's clock.
    pub at: Time,
    /// The ed25519 signature over the assignment without this field, in base64 without padding.
    pub signature: String,
}

impl Assignment {
    /// The bytes that its delegator signs: all of it but the proof, as JSON without blanks and with
    /// the fields of each object in the order of their names, so that who reads it and writes it
    /// again changes nothing.
    #[must_use]
    pub fn proven(&self, key: &str, at: Time) -> Vec<u8> {
        let bare = Self { proof: None, ..self.clone() };
        // What is signed is what a reader of the written text would see.
        let value = serde_json::to_vec(&bare)
            .and_then(|text| serde_json::from_slice::<Self>(&text))
            .and_then(serde_json::to_value)
            .unwrap_or_default();
        let mut text = String::new();
        write(&value, &mut text);
        let at = at.micros().to_string();
        fields(&[
            Some("sinew-delegation"),
            Some("1"),
            Some(self.org_id.as_str()),
            Some(key),
            Some(&at),
            Some(&digest(text.as_bytes())),
        ])
    }
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (place, (name, field)) in sorted.into_iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(field, out);
            }
            out.push('}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
    }
}

/// What a delegator's proof is worth; see [`super::judge`] for the arguments. The certificate counts
/// as it was when the proof was made: a task may be tried again long after its delegator has gone.
#[must_use]
pub fn judge_proof(
    (proof, delegator): (&Proof, &Role),
    certificate: Option<&Certificate>,
    genuine: impl FnOnce() -> bool,
    (trust, stored): (&Trust, Time),
) -> Verdict {
    let Some(certificate) = certificate.filter(|it| it.key == proof.key) else {
        return Verdict::Forged(Forgery::Unknown);
    };
    if let Err(why) = trust.admits(certificate, proof.at) {
        return Verdict::Forged(why);
    }
    if !genuine() {
        return Verdict::Forged(Forgery::Signature);
    }
    if !certificate.user.speaks_for(delegator) {
        return Verdict::Forged(Forgery::Speaker);
    }
    if proof.at > stored.plus(SIGNATURE_WINDOW) {
        return Verdict::Expired;
    }
    let by = Speaker { role: Some(delegator.clone()), instance: None };
    Verdict::Verified(Sender { user: certificate.user.clone(), key: proof.key.clone(), by })
}

/// Who delegated the task that a message brings: by the assignment's own proof; where it has none,
/// the message's sender, if that may speak for the delegator. `message` is a verdict that was
/// reached without a claim of the body.
#[must_use]
pub fn judge_delegator(message: &Verdict, proof: Option<Verdict>, delegator: &Role) -> Verdict {
    match (proof, message) {
        (Some(proven), _) => proven,
        (None, Verdict::Verified(sender)) if sender.user.speaks_for(delegator) => message.clone(),
        // An agent says that another role has delegated this, and has nothing to show for it.
        (None, Verdict::Verified(_)) => Verdict::Unsigned,
        (None, other) => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::grant::User;

    const MOMENT: Time = Time::from_micros(10_000_000_000);

    fn assignment() -> Assignment {
        let value = json!({
            "taskId": "T1", "orgId": "acme", "role": "cto", "delegator": "ceo", "title": "Count",
            "createdAt": "2026-05-10T14:23:01Z", "input": { "b": 0.1, "a": [1, null, "ä\n"] },
            "later": { "z": 1, "y": 2 },
        });
        serde_json::from_value(value).unwrap()
    }

    fn sender(user: User) -> Verdict {
        Verdict::Verified(Sender { user, key: "U".to_owned(), by: Speaker::default() })
    }

    #[test]
    fn what_is_written_again_is_what_was_proven() {
        let first = assignment();
        let again = Assignment::decode(&first.encode().unwrap()).unwrap();
        assert_eq!(first.proven("U", MOMENT), again.proven("U", MOMENT));
        let proof = Proof { key: "U".to_owned(), at: MOMENT, signature: "x".to_owned() };
        let signed = Assignment { proof: Some(proof), ..first.clone() };
        assert_eq!(signed.proven("U", MOMENT), first.proven("U", MOMENT));
        assert!(signed.same_work(&first));
        let other = Assignment { title: "Other".to_owned(), ..first.clone() };
        assert_ne!(other.proven("U", MOMENT), first.proven("U", MOMENT));
        assert_ne!(first.proven("V", MOMENT), first.proven("U", MOMENT));
    }

    #[test]
    fn objects_are_written_in_the_order_of_their_names() {
        let mut text = String::new();
        write(&json!({ "b": [1.5, true, null], "a": { "é": "q\"" } }), &mut text);
        assert_eq!(text, r#"{"a":{"é":"q\""},"b":[1.5,true,null]}"#);
    }

    #[test]
    fn the_delegator_is_whom_the_proof_names_or_else_the_sender() {
        let ceo: Role = "ceo".parse().unwrap();
        let (boss, cto) = (User::Agent(ceo.clone()), User::Agent("cto".parse().unwrap()));
        let judged = |message: Verdict, proof| judge_delegator(&message, proof, &ceo);
        assert_eq!(judged(sender(boss.clone()), None), sender(boss.clone()));
        assert_eq!(judged(sender(cto.clone()), None), Verdict::Unsigned, "put on its queue again");
        assert_eq!(judged(sender(cto), Some(sender(boss.clone()))), sender(boss.clone()));
        assert_eq!(judged(Verdict::Unsigned, None), Verdict::Unsigned);
        let forged = Verdict::Forged(Forgery::Signature);
        assert_eq!(judged(sender(boss), Some(forged.clone())), forged);
    }

    #[test]
    fn a_proof_counts_as_of_when_it_was_made() {
        let ceo: Role = "ceo".parse().unwrap();
        let proof = Proof { key: "U1".to_owned(), at: MOMENT, signature: "x".to_owned() };
        let certificate = Certificate {
            key: "U1".to_owned(),
            user: User::Agent(ceo.clone()),
            issuer: "A".to_owned(),
            account: "A".to_owned(),
            from: MOMENT,
            until: Some(MOMENT.plus(SIGNATURE_WINDOW)),
        };
        let trust = Trust { issuers: ["A".to_owned()].into(), ..Trust::default() };
        let judged = |role: &Role, genuine, stored| {
            judge_proof((&proof, role), Some(&certificate), || genuine, (&trust, stored))
        };
        let later = MOMENT.plus(SIGNATURE_WINDOW * 100);
        assert!(judged(&ceo, true, later).sender().is_some(), "its delegator has gone since");
        assert_eq!(judged(&ceo, false, later), Verdict::Forged(Forgery::Signature));
        let cto: Role = "cto".parse().unwrap();
        assert_eq!(judged(&cto, true, later), Verdict::Forged(Forgery::Speaker));
        let early = MOMENT.minus(SIGNATURE_WINDOW * 2);
        assert_eq!(judged(&ceo, true, early), Verdict::Expired, "it is from the future");
    }
}
