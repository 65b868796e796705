//! The REST contract of docs/PROTOCOL.md, from the outside: each file holds one of its promises.

mod access;
mod answers;
mod batches;
mod conditions;
mod lists;
mod problems;
mod properties;
mod ranges;
mod routes;
mod support;
