//! What the tests of Sinew stand on: the real nats-server, a cluster of it, a faulty link to it,
//! and the one way to wait. It knows no Sinew crate and no NATS client, so that every crate can
//! use it. There is no fake server here and no skipping: what is missing is an error that names
//! the script that installs it.
//!
//! ```
//! use sinew_testkit::NatsServer;
//!
//! let server = NatsServer::start();
//! assert!(server.url().starts_with("nats://127.0.0.1:"));
//! server.kill(); // as a power cut would
//! server.restart(); // same port, same data
//! ```
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helper code of tests: what goes wrong here must end the test with a message"
)]

pub mod cluster;
pub mod dir;
pub mod install;
pub mod keys;
pub mod node;
pub mod power;
pub mod proxy;
pub mod python;
pub mod script;
pub mod server;
pub mod wait;

mod monitor;
mod port;

pub use cluster::NatsCluster;
pub use dir::TempDir;
pub use node::Node;
pub use port::Port;
pub use power::PowerStore;
pub use proxy::FaultProxy;
pub use python::Python;
pub use script::Script;
pub use server::NatsServer;
