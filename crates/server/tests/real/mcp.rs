//! The MCP server, as hosts meet it.

mod hostile;
mod http;
mod kit;
mod story;
mod team;
mod thinking;
