//! An account of NATS and its users, as an operator would make them: keys, user JWTs, `.creds`
//! files. Servers that do not ask for a login take them as well.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use serde_json::{Value, json};

/// An account that vouches for users.
#[derive(Debug)]
pub struct Account(KeyPair);

/// A user with its key.
#[derive(Debug)]
pub struct User {
    /// Its public key.
    pub key: String,
    /// Its JWT.
    pub jwt: String,
    seed: String,
}

impl Default for Account {
    fn default() -> Self {
        Self::new()
    }
}

impl Account {
    /// A new account.
    #[must_use]
    pub fn new() -> Self {
        Self(KeyPair::new_account())
    }

    /// Its public key.
    #[must_use]
    pub fn key(&self) -> String {
        self.0.public_key()
    }

    /// A new user of that name, as of 1970 and for ever.
    #[must_use]
    pub fn user(&self, name: &str) -> User {
        self.user_with(name, &json!({}))
    }

    /// A new user of that name, with claims laid over the usual ones: `{"exp": 1}`.
    #[must_use]
    pub fn user_with(&self, name: &str, more: &Value) -> User {
        let pair = KeyPair::new_user();
        let mut claims = json!({
            "jti": "", "iat": 0, "iss": self.key(), "name": name, "sub": pair.public_key(),
            "nats": {
                "type": "user", "version": 2, "issuer_account": self.key(),
                "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {},
            },
        });
        let all = claims.as_object_mut().expect("claims are an object");
        all.extend(more.as_object().expect("claims are an object").clone());
        let head = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.0.sign(signed.as_bytes()).expect("an account can sign");
        let jwt = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        let seed = pair.seed().expect("a new key has a seed");
        User { key: pair.public_key(), jwt, seed }
    }
}

impl User {
    /// Writes its `.creds` file into a folder, and says where it is.
    #[must_use]
    pub fn save(&self, folder: &Path) -> PathBuf {
        let Self { key, jwt, seed } = self;
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        let path = folder.join(format!("{key}.creds"));
        std::fs::write(&path, text).expect("writing a .creds file");
        path
    }

    /// Signs as this user does: base64 without padding.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> String {
        let pair = KeyPair::from_seed(&self.seed).expect("it is the seed of a key");
        URL_SAFE_NO_PAD.encode(pair.sign(bytes).expect("a user can sign"))
    }
}
