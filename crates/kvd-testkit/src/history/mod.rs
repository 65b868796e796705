//! Histories: what concurrent clients asked a store and were answered, and whether a store that keeps its promises could
//! have answered so. Knows nothing of kvd: an adapter records, in the vocabulary of this module.
//!
//! Each thread records into a [`Process`] of its own; [`merge`] makes one history of them.
//!
//! | promise | checker |
//! |---|---|
//! | single keys are linearizable | [`linearizable::check`] |
//! | transactions are strictly serializable, in the order of their revisions | [`serializable::check`] |
//!
//! Neither checker accuses a correct store, whatever was not answered or can't be known; what each may overlook instead
//! is said where it stands. Both want **values that are written once**: a read then says by itself which write it saw.
//! Stores begin empty; what a test fills in beforehand is part of its history.
//!
//! ```
//! use std::thread;
//!
//! use kvd_testkit::history::linearizable::{Answer, Condition, KeyOperation, Operation, assert_linearizable};
//! use kvd_testkit::history::{LogicalClock, Process, Version, merge};
//! # use std::sync::Mutex;
//! # let store = Mutex::new((0, 0));
//! # let get = || *store.lock().unwrap();
//! # let set = |value| { let mut s = store.lock().unwrap(); *s = (value, s.1 + 1); s.1 };
//!
//! let clock = LogicalClock::new();
//! let client = |id: u32| {
//!     let mut process = Process::new(id, || clock.tick());
//!     for round in 0..100 {
//!         let value = u64::from(id) * 1_000 + round;
//!         let invocation = process.invoke();
//!         let answer = Answer::Done { revision: Some(set(value)) };
//!         let operation = Operation::Set { value, condition: Condition::Always, answer };
//!         process.respond(invocation, KeyOperation { key: 7, operation });
//!         let invocation = process.invoke();
//!         let (value, revision) = get();
//!         let found = Some(Version { value, revision: Some(revision) });
//!         process.respond(invocation, KeyOperation { key: 7, operation: Operation::Get { found, at_least: None } });
//!     }
//!     process.into_records()
//! };
//! let records = thread::scope(|scope| {
//!     let client = &client;
//!     let clients: Vec<_> = (1..=2).map(|id| scope.spawn(move || client(id))).collect();
//!     clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
//! });
//! assert_linearizable(&merge(records));
//! ```

pub mod linearizable;
#[cfg(test)]
mod long_histories;
mod record;
pub mod serializable;

pub use record::{Invocation, LogicalClock, Process, Record, merge};

/// What a read found under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// The value.
    pub value: u64,
    /// The revision of the commit that wrote it, if the answer said it.
    pub revision: Option<u64>,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.value, at(self.revision))
    }
}

/// ` @ 7`, or nothing for a revision that isn't known.
fn at(revision: Option<u64>) -> String {
    revision.map(|revision| format!(" @ {revision}")).unwrap_or_default()
}
