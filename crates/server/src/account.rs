//! Orgs as the server knows them: an account each, and users with signed JWTs. Whoever has the
//! data folder is the operator: [`Orgs`] keeps the keys there, mints what the server and the users
//! are shown, and writes down who got what; [`Directory`] tells a running server, which acts on it
//! at once.
//!
//! ```text
//! keys/      operator, system and platform: identity keys, and the signing keys that are used
//! orgs/ORG/  the account's identity key, its signing keys, and org.json: quotas, users, revocations
//! creds/     the users of this machine
//! audit.jsonl  every change, the newest last
//! ```
//! An account's identity key signs nothing but what the account says of its keys and users
//! ([`Orgs::statement`]), so a signing key that got out can be replaced without a new account. Keys
//! are files that only their owner may read; nothing here prints or logs one.

mod config;
mod directory;
mod expel;
mod jwt;
mod keys;
mod local;
mod orgs;
mod record;
mod refusals;
mod traffic;

pub use config::{Node, NodeError};
pub use directory::{Directory, DirectoryError};
pub use expel::{EXPELLED, Expelled};
pub use orgs::{AccountError, Minted, Orgs, write_private};

pub(crate) use config::block;
pub use record::{Issued, Quota, Record, Revoke, SigningKey};
pub use refusals::{Refusal, Refusals, Tried};
pub(crate) use traffic::Total;
