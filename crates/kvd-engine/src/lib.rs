//! The key-value store: an index of records, commits that change any number of keys at once, and the counters.
//!
//! ```
//! use kvd_engine::{Config, Engine};
//! use kvd_types::{Command, Condition, Key, Reply, Set};
//!
//! let engine = Engine::open(Config::default());
//! let mut worker = engine.worker();
//! let key = Key::new(b"greeting")?;
//! let set = Set { key: key.borrow(), value: "hello".into(), content_type: None, condition: Condition::Absent };
//! engine.execute(&mut worker, &Command::Set(set))?;
//! let Reply::Got { entry: Some(entry), .. } = engine.execute(&mut worker, &Command::Get { key })? else { panic!() };
//! assert_eq!(entry.value, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The door
//!
//! [`Engine::open`], [`Engine::execute`], [`Engine::stats`], [`Engine::close`]. Each thread that serves brings a [`Worker`],
//! so that counting takes no shared cache line. The engine never sees a socket, and reads no clock, no randomness and no
//! environment: what it needs of those comes in [`Config`].
//!
//! # How a command runs
//!
//! Keys are spread by hash over shards, each a lock over its own part of the index. Commands on keys of different shards
//! never meet.
//!
//! | step | one key | many keys |
//! |---|---|---|
//! | lock | its shard | the shards of all keys, lowest first |
//! | judge | the condition on the current record | all conditions; one that fails refuses all |
//! | order | take the next revision | take one revision for all |
//! | apply | the effect | all effects |
//!
//! The locks are held from the first step to the last. So a commit is seen by others as a whole or not at all; revisions are
//! given out in an order that agrees with what readers can see; and while a reader holds its locks, the last revision given
//! out is exact for its keys: a commit that had it and wasn't applied yet would still hold one of those locks.

mod engine;
mod index;
mod read;
mod sequence;
mod stats;
mod write;

pub use engine::{Config, Engine, Worker};
pub use index::Totals;
pub use stats::{Operations, Stats};
