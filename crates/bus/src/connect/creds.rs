//! A `.creds` file: the user's JWT, and the key that proves that it is theirs. It is read again at
//! each connection, so that a file which was replaced while the connection stood lets in again.
//! Nothing of it is ever logged.

use std::{io, path::Path, sync::Arc};

use async_nats::{Auth, AuthError, ConnectOptions};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use serde::Deserialize;
use sinew_model::grant::inbox_prefix;

use crate::sign::part;

/// What is read of a user's JWT.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    name: String,
}

/// How to connect with the file. Replies come back on a prefix of the user's own, since a user of
/// Sinew may listen to no other.
pub(super) async fn options(path: &Path) -> io::Result<ConnectOptions> {
    let (jwt, _) = read(path).await?;
    let path: Arc<Path> = path.into();
    let options = ConnectOptions::with_auth_callback(move |nonce| {
        let path = Arc::clone(&path);
        async move { prove(&path, &nonce).await.map_err(AuthError::new) }
    });
    Ok(match name(&jwt) {
        Some(name) => options.custom_inbox_prefix(inbox_prefix(&name)),
        None => options,
    })
}

async fn prove(path: &Path, nonce: &[u8]) -> io::Result<Auth> {
    let (jwt, key) = read(path).await?;
    let mut auth = Auth::new();
    auth.signature = Some(key.sign(nonce).map_err(|error| invalid(&error.to_string()))?);
    auth.jwt = Some(jwt);
    Ok(auth)
}

async fn read(path: &Path) -> io::Result<(String, KeyPair)> {
    let text = tokio::fs::read_to_string(path).await?;
    let jwt = part(&text, "JWT").ok_or_else(|| invalid("there is no user JWT in it"))?;
    let seed = part(&text, "NKEY SEED").ok_or_else(|| invalid("there is no key in it"))?;
    // What the crate says about a bad seed could quote it.
    let key = KeyPair::from_seed(seed).map_err(|_bad| invalid("its key is not one"))?;
    Ok((jwt.to_owned(), key))
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

/// The user's name, where it can be a token of a subject.
fn name(jwt: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1)?).ok()?;
    let Claims { name } = serde_json::from_slice(&claims).ok()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (!name.is_empty() && name.chars().all(fits)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinew_testkit::TempDir;

    fn file(name: &str, seed: &str) -> String {
        let claims = URL_SAFE_NO_PAD.encode(format!("{{\"name\":\"{name}\"}}"));
        format!(
            "-----BEGIN NATS USER JWT-----\nx.{claims}.y\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }

    #[test]
    fn only_a_name_that_is_a_token_becomes_a_prefix() {
        let jwt = |name: &str| {
            format!("x.{}.y", URL_SAFE_NO_PAD.encode(format!("{{\"name\":\"{name}\"}}")))
        };
        assert_eq!(name(&jwt("agent-cto")).as_deref(), Some("agent-cto"));
        for odd in ["", "*", ">", "a.b", "a b", "ä"] {
            assert_eq!(name(&jwt(odd)), None, "{odd}");
        }
        assert_eq!(name("no jwt"), None);
    }

    #[tokio::test]
    async fn a_bad_file_is_refused_without_showing_what_is_in_it() {
        let folder = TempDir::new("creds");
        let path = folder.join("a.creds");
        let key = KeyPair::new_user();
        std::fs::write(&path, file("agent-cto", &key.seed().unwrap())).unwrap();
        let (_, read_back) = read(&path).await.unwrap();
        assert_eq!(read_back.public_key(), key.public_key());
        for bad in [file("a", "SUSECRET"), "nothing".to_owned()] {
            std::fs::write(&path, bad).unwrap();
            let error = read(&path).await.err().unwrap();
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
    }
}
