//! The key and the JWT of a `.creds` file. Nothing of the key is ever shown.

use std::{io, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use sinew_model::{
    grant::User,
    signature::{Certificate, CertificateError},
};

use super::senders;

/// Why a `.creds` file has nothing to sign with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredsError {
    /// The file can't be read.
    #[error("the file can't be read")]
    File(#[from] io::Error),
    /// It has no user JWT.
    #[error("there is no user JWT in it")]
    NoJwt,
    /// It has no key, or none that is one.
    #[error("there is no key in it")]
    NoKey,
    /// The JWT is of another key.
    #[error("its JWT is of another key")]
    Mixed,
}

/// The JWT, what it says, and the key.
pub(super) type Read = (String, Certificate, KeyPair);

/// Reads the file; `None` where its user is none of an org, so that nobody would know whose
/// signature it is: the login of the system account, for instance.
pub(super) async fn read(path: &Path) -> Result<Option<Read>, CredsError> {
    parse(&tokio::fs::read_to_string(path).await?)
}

/// What the JWT of a `.creds` file claims, whoever vouches for it; `None` where there is none.
pub(crate) async fn claims(path: &Path) -> Option<serde_json::Value> {
    let text = tokio::fs::read_to_string(path).await.ok()?;
    let claims = part(&text, "JWT")?.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

fn parse(text: &str) -> Result<Option<Read>, CredsError> {
    let jwt = part(text, "JWT").ok_or(CredsError::NoJwt)?;
    let seed = part(text, "NKEY SEED").ok_or(CredsError::NoKey)?;
    // What the crate says about a bad seed could quote it.
    let pair = KeyPair::from_seed(seed).ok().ok_or(CredsError::NoKey)?;
    match senders::decode(jwt) {
        Ok(certificate) if certificate.key == pair.public_key() => {
            Ok(Some((jwt.to_owned(), certificate, pair)))
        }
        Ok(_) => Err(CredsError::Mixed),
        Err(CertificateError::Shape) => Err(CredsError::NoJwt),
        Err(why) => {
            tracing::debug!(%why, "this login has no name of Sinew's, so it signs nothing");
            Ok(None)
        }
    }
}

/// The user of a `.creds` file, by its text; `None` where it is none of an org.
#[must_use]
pub fn user_of(creds: &str) -> Option<User> {
    senders::decode(part(creds, "JWT")?).ok().map(|certificate| certificate.user)
}

/// The line after the one that begins a part.
pub(crate) fn part<'a>(text: &'a str, what: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with("-----BEGIN ") && line.contains(what))?;
    lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, of: &KeyPair, seed: &str) -> String {
        let head = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
        let claims = format!(
            r#"{{"iat":1,"iss":"A","name":"{name}","sub":"{}","nats":{{"type":"user"}}}}"#,
            of.public_key()
        );
        let claims = URL_SAFE_NO_PAD.encode(claims);
        format!(
            "-----BEGIN NATS USER JWT-----\n{head}.{claims}.x\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }

    #[test]
    fn a_login_of_an_org_has_a_key_and_others_have_none() {
        let key = KeyPair::new_user();
        let seed = key.seed().unwrap();
        let (_, certificate, pair) = parse(&file("agent-cto", &key, &seed)).unwrap().unwrap();
        assert_eq!(certificate.key, pair.public_key());
        assert!(parse(&file("sys", &key, &seed)).unwrap().is_none());
        let mixed = parse(&file("agent-cto", &KeyPair::new_user(), &seed));
        assert!(matches!(mixed, Err(CredsError::Mixed)));
    }

    #[test]
    fn a_bad_file_is_refused_without_showing_what_is_in_it() {
        let key = KeyPair::new_user();
        for bad in [file("agent-cto", &key, "SUSECRET"), "nothing SECRET".to_owned()] {
            let error = parse(&bad).map(|_| ()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
        }
    }
}
