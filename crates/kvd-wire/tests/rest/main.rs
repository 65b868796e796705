//! The REST contract of docs/PROTOCOL.md, from the outside: each file holds one of its promises.

mod access;
mod answers;
mod batches;
mod conditions;
mod history;
mod hostile;
mod keys;
mod lists;
mod one_key;
mod problems;
mod ranges;
mod roundtrips;
mod routes;
mod strategies;
mod support;
mod transactions;
mod watch;
