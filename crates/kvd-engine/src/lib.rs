//! The key-value store: an index of records, commits that change any number of keys at once, and the counters.
//!
//! ```
//! use kvd_engine::{Config, Engine};
//! use kvd_types::{Command, Condition, Key, Reply, Set};
//!
//! let engine = Engine::open(Config::default());
//! let mut worker = engine.worker();
//! let key = Key::new(b"greeting")?;
//! let set = Set { condition: Condition::Absent, ..Set::new(key.borrow(), "hello") };
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
mod engine;
mod expire;
mod index;
mod planted;
mod read;
mod reclaim;
mod room;
mod sequence;
mod settle;
mod stats;
mod sync;
mod transaction;
mod write;

pub use engine::{Config, Engine, Worker};
pub use read::Found;
pub use sequence::{Batch, Visibility};
pub use stats::{Operations, Stats, Totals};
pub use transaction::{Update, View};

#[cfg(any(kvd_loom, kvd_shuttle))]
pub use planted::{Bug, plant};
