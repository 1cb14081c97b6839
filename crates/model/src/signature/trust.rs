//! Whom a reader believes, and how an org's account says so itself. The account signs a statement
//! with its identity key, which signs nothing else; a reader that knows no more than the account's
//! public key, which stands in every user's JWT, learns from it of signing keys that came later, of
//! those that were retired, and of users that were revoked.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Certificate, CertificateError, Forgery,
    certificate::{Head, seconds},
};
use crate::time::Time;

/// What the kind of a statement is, among the claims of its JWT.
pub const STATEMENT: &str = "sinew-trust";

/// Whom a reader believes: who may vouch for users, and whose users were revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Trust {
    /// The public keys of the org's account and of its signing keys, those of before a rotation
    /// included as long as users of theirs are about.
    pub issuers: BTreeSet<String>,
    /// Signing keys that count no more, and since when, in seconds since 1970.
    pub retired: BTreeMap<String, i64>,
    /// As the account's JWT has it: users by their public key (or `*`, all of them), and until when
    /// they must have been given out to be revoked.
    pub revoked: BTreeMap<String, i64>,
}

impl Trust {
    /// Whether it can verify anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Whether a user of this certificate could send what was stored at that time.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(&self, certificate: &Certificate, stored: Time) -> Result<(), Forgery> {
        let retired = self.retired.get(&certificate.issuer).map(ended);
        // What was stored before its retirement was sent while the key was still good.
        let counts = retired
            .map_or_else(|| self.issuers.contains(&certificate.issuer), |mark| stored < mark);
        if !counts {
            return Err(Forgery::Issuer);
        }
        // Clocks of the one who gave it out and of the server may differ by what a signature may.
        let begins = certificate.from.minus(crate::limits::SIGNATURE_WINDOW);
        if stored < begins || certificate.until.is_some_and(|until| stored >= until) {
            return Err(Forgery::Lapsed);
        }
        let marks = [self.revoked.get(&certificate.key), self.revoked.get("*")];
        let revoked = |mark: &i64| {
            // What was stored before the revocation was sent while the user was still good.
            certificate.from <= seconds(*mark) && stored >= ended(mark)
        };
        if marks.into_iter().flatten().any(revoked) { Err(Forgery::Revoked) } else { Ok(()) }
    }
}

/// When the second of a mark is over: the mark is whole seconds, and what was stored earlier in the
/// same second was sent before.
const fn ended(mark: &i64) -> Time {
    seconds(mark.saturating_add(1))
}

/// What an account says about its keys and users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The public key of the account, which has signed it.
    pub account: String,
    /// When it was said. A later statement takes the place of an earlier one.
    pub at: Time,
    /// What it says.
    pub trust: Trust,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    iss: String,
    iat: i64,
    nats: Said,
}

#[derive(Deserialize)]
struct Said {
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    trust: Trust,
}

impl Statement {
    /// Reads the decoded head and claims of a statement's JWT. Whether its signature is good is for
    /// who knows the arithmetic.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn read(head: &[u8], claims: &[u8]) -> Result<Self, CertificateError> {
        let Head { alg } = serde_json::from_slice(head)?;
        let Claims { sub, iss, iat, nats } = serde_json::from_slice(claims)?;
        if alg != "ed25519-nkey" || nats.kind != STATEMENT || sub != iss || !sub.starts_with('A') {
            return Err(CertificateError::Kind);
        }
        Ok(Self { account: sub, at: seconds(iat), trust: nats.trust })
    }
}

impl Trust {
    /// This, and what the account says besides.
    #[must_use]
    pub fn with(&self, said: &Self) -> Self {
        let mut all = self.clone();
        all.issuers.extend(said.issuers.iter().cloned());
        for (mine, theirs) in [(&mut all.retired, &said.retired), (&mut all.revoked, &said.revoked)]
        {
            mine.extend(theirs.iter().map(|(key, mark)| (key.clone(), *mark)));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::User;
    use serde_json::json;

    const HEAD: &[u8] = br#"{"alg":"ed25519-nkey"}"#;

    fn statement(kind: &str, iss: &str) -> Result<Statement, CertificateError> {
        let claims = json!({
            "sub": "AORG", "iss": iss, "iat": 7, "name": "trust",
            "nats": {
                "type": kind, "version": 2, "issuers": ["AORG", "ANEW"],
                "retired": { "AOLD": 5 }, "revoked": { "UBAD": 6 },
            },
        });
        Statement::read(HEAD, claims.to_string().as_bytes())
    }

    #[test]
    fn only_the_account_itself_says_whom_to_believe() {
        let said = statement(STATEMENT, "AORG").unwrap();
        assert_eq!((said.account.as_str(), said.at), ("AORG", seconds(7)));
        assert_eq!(said.trust.issuers.len(), 2);
        assert!(matches!(statement(STATEMENT, "ANEW"), Err(CertificateError::Kind)));
        assert!(matches!(statement("user", "AORG"), Err(CertificateError::Kind)));
    }

    #[test]
    fn a_retired_key_counts_for_what_was_stored_before() {
        let known = Trust { issuers: ["AOLD".to_owned()].into(), ..Trust::default() };
        let trust = known.with(&statement(STATEMENT, "AORG").unwrap().trust);
        let of = |issuer: &str| Certificate {
            key: "UX".to_owned(),
            user: User::Operator,
            issuer: issuer.to_owned(),
            account: "AORG".to_owned(),
            from: seconds(1),
            until: None,
        };
        assert_eq!(trust.admits(&of("AOLD"), seconds(5)), Ok(()));
        assert_eq!(trust.admits(&of("AOLD"), seconds(6)), Err(Forgery::Issuer));
        assert_eq!(trust.admits(&of("ANEW"), seconds(5)), Ok(()));
        assert_eq!(known.admits(&of("ANEW"), seconds(5)), Err(Forgery::Issuer));
        assert_eq!(trust.revoked.get("UBAD"), Some(&6));
    }
}
