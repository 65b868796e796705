//! The engine's door: open, execute, stats, close. Owns the parts and brings each command to the one that carries it out;
//! knows nothing of how they do it.

use std::sync::atomic::{AtomicBool, Ordering};

use kvd_types::{Command, Epoch, Error, Limits, Reply};

use crate::index::Index;
use crate::sequence::Sequence;
use crate::stats::{Counters, Registry, Stats};
use crate::{read, write};

/// What a store is opened with. The engine draws no random numbers of its own, so the same configuration and the same
/// commands give the same store.
#[derive(Clone, Debug)]
pub struct Config {
    /// Names this store in entity tags and cursors; random, drawn when the store is created.
    pub epoch: Epoch,
    /// Key of the hash function; random and secret, or strangers can choose keys that collide.
    pub hash_key: [u64; 2],
    /// Enforced on every command.
    pub limits: Limits,
    /// Shards are 2 to this power. More shards, less contention; each costs 64 bytes when empty.
    pub shard_bits: u32,
}

impl Default for Config {
    /// For tests and examples: a fixed epoch and hash key.
    fn default() -> Self {
        Config { epoch: Epoch(0), hash_key: [0; 2], limits: Limits::DEFAULT, shard_bits: 10 }
    }
}

/// An in-memory key-value store, shared by all threads that serve it.
pub struct Engine {
    pub(crate) index: Index,
    pub(crate) sequence: Sequence,
    pub(crate) epoch: Epoch,
    pub(crate) limits: Limits,
    registry: Registry,
    /// Set once, by `close`.
    closed: AtomicBool,
}

/// A thread's own part of an engine: its counters. Make one for each thread that executes commands.
pub struct Worker {
    pub(crate) counters: Counters,
}

impl Engine {
    /// Opens an empty store.
    pub fn open(config: Config) -> Engine {
        Engine {
            index: Index::new(config.shard_bits, config.hash_key),
            sequence: Sequence::default(),
            epoch: config.epoch,
            limits: config.limits,
            registry: Registry::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// A worker of this engine. What it counted stays in the engine's statistics when it is dropped.
    pub fn worker(&self) -> Worker {
        Worker { counters: self.registry.counters() }
    }

    /// Carries out one command.
    ///
    /// # Errors
    /// A refusal: nothing of the command has happened.
    pub fn execute(&self, worker: &mut Worker, command: &Command<'_>) -> Result<Reply, Error> {
        let result = self.run(worker, command);
        if result.is_err() {
            worker.counters.rejected(command);
        }
        result
    }

    fn run(&self, worker: &mut Worker, command: &Command<'_>) -> Result<Reply, Error> {
        self.limits.check(command)?;
        self.check_open()?;
        match command {
            Command::Get { key } => Ok(read::get(self, worker, key)),
            Command::MultiGet { keys, require_all } => read::multi_get(self, worker, keys, *require_all),
            Command::List(list) => read::list(self, list),
            Command::Set(set) => write::set(self, worker, set),
            Command::MultiSet { sets } => write::multi_set(self, worker, sets),
            Command::Delete(delete) => write::delete(self, worker, delete),
            Command::MultiDelete { deletes, require_all } => write::multi_delete(self, worker, deletes, *require_all),
        }
    }

    /// Counters of this process and sizes of the store. The sizes are those of one revision.
    pub fn stats(&self) -> Stats {
        let (totals, revision) = self.index.totals(|| self.sequence.last());
        Stats { operations: self.registry.sum(), totals, revision }
    }

    /// Which store this is.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The newest commit.
    pub fn revision(&self) -> kvd_types::Revision {
        self.sequence.last()
    }

    /// Ends the store: commands under way finish, later ones are refused with [`Error::Closed`].
    pub fn close(&self) {
        // Release: pairs with the load in `check_open`.
        self.closed.store(true, Ordering::Release);
        // A write looks at `closed` again under its locks; having held each lock once, none can still be on its way.
        self.index.wait_for_writers();
    }

    /// # Errors
    /// [`Error::Closed`] once `close` was called.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        // Acquire: pairs with the store in `close`.
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }
}
