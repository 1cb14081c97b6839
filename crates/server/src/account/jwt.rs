//! The JWTs of NATS, version 2: claims of an operator, of accounts and of users, signed with the
//! keys of the `nkeys` crate. Only what Sinew uses is here.

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use nkeys::KeyPair;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha512_256};
use sinew_model::{
    OrgId, Root, Time,
    grant::Allowed,
    signature::{STATEMENT, Trust},
};

use super::record::{Quota, Record};

const HEAD: &str = r#"{"typ":"JWT","alg":"ed25519-nkey"}"#;

/// No limit, as the server writes it.
const NO_LIMIT: i64 = -1;

#[derive(Serialize)]
struct Claims<'a> {
    jti: String,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    iss: String,
    name: &'a str,
    sub: &'a str,
    nats: Value,
}

/// What is said about whom, and from when to when.
pub(super) struct Subject<'a> {
    /// Its name, for people.
    pub(super) name: &'a str,
    /// Its public key.
    pub(super) key: &'a str,
    pub(super) from: Time,
    pub(super) until: Option<Time>,
}

/// Whole seconds since 1970, as JWTs have them.
pub(super) fn seconds(time: Time) -> i64 {
    time.micros().div_euclid(1_000_000)
}

fn mint(signer: &KeyPair, about: &Subject<'_>, nats: Value) -> Result<String, nkeys::error::Error> {
    let mut claims = Claims {
        jti: String::new(),
        iat: seconds(about.from),
        exp: about.until.map(seconds),
        iss: signer.public_key(),
        name: about.name,
        sub: about.key,
        nats,
    };
    claims.jti = BASE32_NOPAD.encode(&Sha512_256::digest(json(&claims)));
    let (head, body) =
        (BASE64URL_NOPAD.encode(HEAD.as_bytes()), BASE64URL_NOPAD.encode(&json(&claims)));
    let text = format!("{head}.{body}");
    let signature = signer.sign(text.as_bytes())?;
    Ok(format!("{text}.{}", BASE64URL_NOPAD.encode(&signature)))
}

fn json(claims: &Claims<'_>) -> Vec<u8> {
    // Numbers, words and maps with words for keys always are JSON.
    serde_json::to_vec(claims).unwrap_or_default()
}

/// The operator, by its own identity key: which key signs accounts, and which account is the
/// server's own.
pub(super) fn operator(
    identity: &KeyPair,
    signing: &str,
    system: &str,
    now: Time,
) -> Result<String, nkeys::error::Error> {
    let key = identity.public_key();
    let about = Subject { name: "sinew", key: &key, from: now, until: None };
    let nats = json!({
        "type": "operator", "version": 2, "signing_keys": [signing], "system_account": system,
    });
    mint(identity, &about, nats)
}

/// An account without JetStream and without limits: those of the server and of the platform.
pub(super) fn plain_account(
    signer: &KeyPair,
    about: &Subject<'_>,
    signing: &str,
    imports: Vec<Value>,
) -> Result<String, nkeys::error::Error> {
    let nats = json!({
        "type": "account", "version": 2, "signing_keys": [signing], "imports": imports,
        "limits": limits(&Quota::NONE, false),
    });
    mint(signer, about, nats)
}

/// The account of an org.
pub(super) fn org_account(
    signer: &KeyPair,
    (root, org): (&Root, &OrgId),
    record: &Record,
    now: Time,
) -> Result<String, nkeys::error::Error> {
    let about = Subject { name: org.as_str(), key: &record.account, from: now, until: None };
    let keys: Vec<&str> = record.signing.iter().map(|key| key.public.as_str()).collect();
    let exports: Vec<Value> = watched(root, org)
        .into_iter()
        .map(|subject| json!({ "name": subject, "subject": subject, "type": "stream" }))
        .collect();
    let nats = json!({
        "type": "account", "version": 2, "signing_keys": keys, "exports": exports,
        "revocations": record.revoked, "limits": limits(&record.quota, true),
    });
    mint(signer, &about, nats)
}

/// What the platform hears of an org: what was taken, and never a request.
pub(super) fn watched(root: &Root, org: &OrgId) -> [String; 3] {
    ["tasks.*", "events", "metrics"].map(|rest| format!("{root}.org.{org}.{rest}"))
}

/// What the platform's account takes over from an org's. The account is named by its key, so no
/// other org can pass for it.
pub(super) fn imports(root: &Root, org: &OrgId, account: &str) -> Vec<Value> {
    let import =
        |subject: String| json!({ "subject": subject, "account": account, "type": "stream" });
    watched(root, org).into_iter().map(import).collect()
}

fn limits(quota: &Quota, jetstream: bool) -> Value {
    let mut limits = Map::new();
    let mut set = |name: &str, value: i64| limits.insert(name.to_owned(), value.into());
    for name in ["subs", "data", "payload", "imports", "exports"] {
        set(name, NO_LIMIT);
    }
    set("conn", quota.connections);
    // Neither other servers nor other protocols join by way of an org.
    set("leaf", 0);
    if jetstream {
        set("mem_storage", quota.memory_bytes);
        set("disk_storage", quota.storage_bytes);
        set("streams", quota.streams);
        set("consumer", quota.consumers);
    }
    limits.insert("wildcards".to_owned(), true.into());
    limits.insert("disallow_bearer".to_owned(), true.into());
    limits.into()
}

/// A user of `account`; `allowed` is all that it may do, `None` everything.
pub(super) fn user(
    signer: &KeyPair,
    about: &Subject<'_>,
    account: &str,
    allowed: Option<&Allowed>,
) -> Result<String, nkeys::error::Error> {
    let list = |subjects: Option<&Vec<String>>| match subjects {
        Some(subjects) => json!({ "allow": subjects }),
        None => json!({}),
    };
    let nats = json!({
        "type": "user", "version": 2, "issuer_account": account,
        "subs": NO_LIMIT, "data": NO_LIMIT, "payload": NO_LIMIT,
        "pub": list(allowed.map(|it| &it.publish)),
        "sub": list(allowed.map(|it| &it.subscribe)),
    });
    mint(signer, about, nats)
}

/// The order to forget accounts.
pub(super) fn deletion(
    signer: &KeyPair,
    accounts: &[&str],
    now: Time,
) -> Result<String, nkeys::error::Error> {
    // The server wants it to be about the key that signs it.
    let key = signer.public_key();
    let about = Subject { name: "delete", key: &key, from: now, until: None };
    mint(signer, &about, json!({ "type": "generic", "version": 2, "accounts": accounts }))
}

/// A `.creds` file.
pub(super) fn creds(jwt: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         ************************* IMPORTANT *************************\n\
         The seed below proves who you are. Whoever has it is you: keep it secret.\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

/// Whether a `.creds` file gives exactly the rights that the user of its key is to have.
pub(super) fn gives(creds: &str, rights: impl FnOnce(&str) -> Allowed) -> bool {
    let token = creds.lines().find(|line| line.starts_with("ey"));
    let claims = token.and_then(|token| token.split('.').nth(1));
    let claims = claims.and_then(|text| BASE64URL_NOPAD.decode(text.as_bytes()).ok());
    let claims = claims.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    claims.is_some_and(|claims| {
        let key = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        let allowed = rights(key);
        [("pub", &allowed.publish), ("sub", &allowed.subscribe)]
            .into_iter()
            .all(|(way, list)| claims.pointer(&format!("/nats/{way}/allow")) == Some(&json!(list)))
    })
}

/// What the account of an org says of its keys and users, by its identity key.
pub(super) fn statement(
    identity: &KeyPair,
    trust: &Trust,
    now: Time,
) -> Result<String, nkeys::error::Error> {
    let key = identity.public_key();
    let about = Subject { name: "trust", key: &key, from: now, until: None };
    let nats = json!({
        "type": STATEMENT, "version": 2, "issuers": trust.issuers, "retired": trust.retired,
        "revoked": trust.revoked,
    });
    mint(identity, &about, nats)
}

#[cfg(test)]
mod tests {
    use sinew_model::limits::{ENGINE_PAYLOAD_BYTES, NAME_BYTES, ORGS};

    use super::*;

    #[test]
    fn the_platform_of_as_many_orgs_as_there_may_be_can_be_told_to_a_server() {
        let (key, root) = (KeyPair::new_account(), Root::default());
        let account = key.public_key();
        let imported = (0..ORGS).flat_map(|number| {
            let org = format!("{number:o<NAME_BYTES$}").parse().unwrap();
            imports(&root, &org, &account)
        });
        let now = Time::from_micros(0);
        let about = Subject { name: "platform", key: &account, from: now, until: None };
        let jwt = plain_account(&key, &about, &account, imported.collect()).unwrap();
        let size = jwt.len();
        assert!(size < ENGINE_PAYLOAD_BYTES && size > ENGINE_PAYLOAD_BYTES / 2, "{size} bytes");
    }

    #[test]
    fn a_jwt_is_signed_and_named_by_its_content() {
        let key = KeyPair::new_account();
        let user_key = KeyPair::new_user().public_key();
        let about = Subject {
            name: "agent-cto",
            key: &user_key,
            from: Time::from_micros(1_500_000),
            until: Some(Time::from_micros(9_000_000)),
        };
        let jwt = user(&key, &about, "A", Some(&Allowed::default())).unwrap();
        assert!(gives(&creds(&jwt, "S"), |_| Allowed::default()));
        let more = Allowed { publish: vec!["a".to_owned()], ..Allowed::default() };
        assert!(!gives(&creds(&jwt, "S"), |_| more.clone()) && !gives("", |_| more.clone()));
        let parts: Vec<&str> = jwt.split('.').collect();
        let signature = BASE64URL_NOPAD.decode(parts[2].as_bytes()).unwrap();
        let signed = format!("{}.{}", parts[0], parts[1]);
        key.verify(signed.as_bytes(), &signature).unwrap();
        let text = BASE64URL_NOPAD.decode(parts[1].as_bytes()).unwrap();
        let claims: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((&claims["iat"], &claims["exp"]), (&1.into(), &9.into()));
        assert_eq!(claims["iss"], key.public_key());
        let jti = format!("\"jti\":{}", claims["jti"]);
        let unnamed = String::from_utf8(text).unwrap().replace(&jti, "\"jti\":\"\"");
        let hash = BASE32_NOPAD.encode(&Sha512_256::digest(unnamed));
        assert_eq!(claims["jti"], hash);
    }
}
