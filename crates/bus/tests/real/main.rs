//! The bus against the real nats-server.

mod ensure;
