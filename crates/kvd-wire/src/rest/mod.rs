//! The REST protocol. `request` reads what a client asks, `response` and `problem` write what it is told, `batch` holds the
//! bodies of both directions, `access` keeps browsers of other sites out. docs/PROTOCOL.md is the contract in words.

pub mod access;
pub mod batch;
pub mod code;
pub mod condition;
mod head;
pub mod history;
mod negotiate;
pub mod path;
pub mod problem;
pub mod query;
mod range;
pub mod request;
pub mod response;
