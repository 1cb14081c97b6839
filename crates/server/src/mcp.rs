//! agent-hub: an MCP server, by which an LLM host does everything that an agent does. It holds no
//! state of its own but the attempts that its sessions hold: everything else is asked of the SDK
//! and the views.
//!
//! [`hub`] is one session: the role that it speaks for, and the tasks that it holds. `face` is
//! what MCP asks of it; the tools are in `tools`, one file for each noun, the resources in
//! `resource`, the prompts in `prompt`. [`stdio`] serves one host that started this process;
//! [`http`] serves many, each let in by a token of [`token`]. [`install`] knows the
//! configuration files of hosts.

pub mod http;
pub mod hub;
pub mod install;
pub mod stdio;

mod face;
mod prompt;
mod reply;
mod resource;
mod schema;
mod tools;

pub use crate::token;
pub use face::Face;
pub use hub::Origin;
