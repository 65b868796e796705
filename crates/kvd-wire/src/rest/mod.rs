//! The REST protocol. `request` reads what a client asks, `response` and `problem` write what it is told, `batch` holds the
//! bodies of both directions, `watch` writes commits as events, `access` keeps browsers of other sites out.
//! docs/PROTOCOL.md is the contract in words.

pub mod access;
pub mod batch;
pub mod code;
pub mod condition;
mod head;
pub mod history;
mod negotiate;
mod one_key;
pub mod path;
pub mod problem;
pub mod query;
mod range;
mod refuse;
pub mod request;
pub mod response;
pub mod transaction;
pub mod ttl;
pub mod watch;
