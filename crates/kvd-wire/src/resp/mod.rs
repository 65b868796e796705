//! The Redis protocol: bytes to commands and replies to bytes, without I/O.
//!
//! | file | what it owns |
//! |---|---|
//! | `parse`, `inline` | bytes to requests, however they arrive |
//! | `commands` | the one table of commands, and how the arguments of each become commands for the store |
//! | `docs`, `syntax` | what COMMAND says of them |
//! | `reply`, `error` | the store's replies and refusals, as Redis would give them |
//! | `encode` | the shapes of RESP2 and RESP3 |
//! | `glob`, `number` | patterns and numbers, as Redis reads them |
//!
//! What a connection remembers, and what only a server can answer (INFO, CLIENT, SCAN, ..), is the server's: it gets those as
//! an [`Action`](commands::Action).

pub mod commands;
pub mod docs;
pub mod encode;
pub mod error;
pub mod glob;
mod inline;
mod number;
pub mod parse;
pub mod reply;
mod syntax;
