//! REST end to end: the real server, asked by a plain socket or by the client library. One behaviour per file.

mod anomalies;
mod atomic;
mod bodies;
mod browsers;
mod conditions;
mod counters;
mod deleting;
mod expiry;
mod folders;
mod histories;
mod history;
mod hostile;
mod keys;
mod memory;
mod slow;
mod stopping;
mod support;
mod transactions;
mod txn;
mod watching;
