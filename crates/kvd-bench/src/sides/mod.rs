//! What is compared: kvd's engine, maps that others wrote, and the floor below them all. Owns what each of them must be able
//! to do, and which there are; knows nothing of what is measured or for how long.
//!
//! All sides have the same keys and values, and the same allocator; kvd hashes by itself, the others by rapidhash. A get
//! copies the value out, since that is what a server does with it. Each side works in batches of [`BATCH`] operations, so that
//! one which has to pin does so once per batch, as its authors advise.

mod dashmap;
mod floor;
mod kvd;
mod papaya;
mod scc;
mod shards;

use std::fmt;

use bytes::Bytes;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::args::MemoryOptions;
use crate::keys;
use crate::measure::{self, Job};
use crate::results::MemoryResult;
use crate::scenarios::{self, Grown};

/// Operations between two pins.
pub(crate) const BATCH: usize = 64;

/// The hash function of all sides but kvd.
type Hasher = rapidhash::fast::RandomState;

/// One map, shared by all threads.
pub(crate) trait Side: Sync + Sized {
    /// What a thread keeps for itself.
    type Handle<'a>: Handle
    where
        Self: 'a;

    /// An empty map that grows as it needs; only the floor has to know how many keys will come.
    fn empty(keys: usize, value_bytes: usize) -> Self;

    fn handle(&self) -> Self::Handle<'_>;

    /// A map with this many keys, all of the same value.
    fn load(keys: usize, value: &Bytes) -> Self {
        let side = Self::empty(keys, value.len());
        insert_all(&side, keys, value);
        side
    }
}

pub(crate) trait Handle {
    type Access<'a>: Access
    where
        Self: 'a;

    /// What may be done until the next batch begins.
    fn batch(&mut self) -> Self::Access<'_>;
}

pub(crate) trait Access {
    /// Copies the value to the front of `out` and says how long it is.
    fn get(&mut self, key: &[u8], out: &mut [u8]) -> Option<usize>;

    /// Gives a value to a key that has none.
    fn insert(&mut self, key: &[u8], value: &Bytes);

    /// Gives another value to a key that has one.
    fn set(&mut self, key: &[u8], value: &Bytes);

    fn remove(&mut self, key: &[u8]);

    /// Gets each key in turn; a side that can do better together does. Says how many were found.
    fn get_many(&mut self, keys: &[&[u8]], out: &mut [u8]) -> usize {
        keys.iter().filter(|key| self.get(key, out).is_some()).count()
    }

    /// Sets each key in turn; a side that can do better together does.
    fn set_each(&mut self, keys: &[&[u8]], value: &Bytes) {
        for key in keys {
            self.set(key, value);
        }
    }

    /// Sets each key in turn; a side that can do it at once, all or none, does.
    fn set_many(&mut self, keys: &[&[u8]], value: &Bytes) {
        self.set_each(keys, value);
    }
}

/// Inserts the keys from 0 on.
pub(crate) fn insert_all(side: &impl Side, keys: usize, value: &Bytes) {
    let mut handle = side.handle();
    let mut index = 0;
    while index < keys {
        let mut access = handle.batch();
        let end = keys.min(index + BATCH);
        for index in index..end {
            access.insert(&keys::key(index as u32), value);
        }
        index = end;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SideName {
    /// kvd's engine
    Kvd,
    /// papaya::HashMap
    Papaya,
    /// dashmap::DashMap
    Dashmap,
    /// scc::HashMap
    Scc,
    /// 256 shards of hashbrown, each behind a reader-writer lock
    Shards,
    /// A walk over memory that misses the cache twice, with nothing of a map
    Floor,
}

impl SideName {
    /// Whether it is a map that others wrote.
    pub(crate) fn is_peer(self) -> bool {
        !matches!(self, SideName::Kvd | SideName::Floor)
    }

    /// The floor is built once and only read.
    pub(crate) fn is_map(self) -> bool {
        self != SideName::Floor
    }

    /// Resident bytes that a key of `value_bytes` needs at most, for deciding what fits into memory.
    pub(crate) fn bytes_per_key_max(self, value_bytes: usize) -> usize {
        value_bytes
            + match self {
                SideName::Kvd => 120,
                SideName::Floor => 40,
                _ => 180,
            }
    }

    /// As it is typed.
    pub(crate) fn flag(self) -> String {
        self.to_possible_value().expect("no side is hidden").get_name().to_owned()
    }

    pub(crate) fn load(self, keys: usize, value: &Bytes) -> Box<dyn Loaded> {
        fn loaded<S: Side + 'static>(keys: usize, value: &Bytes) -> Box<dyn Loaded> {
            Box::new(Map { side: S::load(keys, value), value: value.clone() })
        }
        match self {
            SideName::Kvd => loaded::<kvd::Kvd>(keys, value),
            SideName::Papaya => loaded::<papaya::Papaya>(keys, value),
            SideName::Dashmap => loaded::<dashmap::Dashmap>(keys, value),
            SideName::Scc => loaded::<scc::Scc>(keys, value),
            SideName::Shards => loaded::<shards::Shards>(keys, value),
            SideName::Floor => loaded::<floor::Floor>(keys, value),
        }
    }

    /// # Errors
    /// The floor is not a map.
    pub(crate) fn grow(self, keys: usize, value: &Bytes) -> anyhow::Result<Grown> {
        match self {
            SideName::Kvd => scenarios::grow::<kvd::Kvd>(keys, value),
            SideName::Papaya => scenarios::grow::<papaya::Papaya>(keys, value),
            SideName::Dashmap => scenarios::grow::<dashmap::Dashmap>(keys, value),
            SideName::Scc => scenarios::grow::<scc::Scc>(keys, value),
            SideName::Shards => scenarios::grow::<shards::Shards>(keys, value),
            SideName::Floor => anyhow::bail!("the floor is not a map: it does not grow"),
        }
    }

    /// # Errors
    /// The floor is not a map.
    pub(crate) fn remember(self, task: &MemoryOptions) -> anyhow::Result<MemoryResult> {
        match self {
            SideName::Kvd => scenarios::remember::<kvd::Kvd>(task),
            SideName::Papaya => scenarios::remember::<papaya::Papaya>(task),
            SideName::Dashmap => scenarios::remember::<dashmap::Dashmap>(task),
            SideName::Scc => scenarios::remember::<scc::Scc>(task),
            SideName::Shards => scenarios::remember::<shards::Shards>(task),
            SideName::Floor => anyhow::bail!("the floor is not a map: it has no overhead to measure"),
        }
    }
}

impl fmt::Display for SideName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SideName::Kvd => "kvd",
            SideName::Papaya => "papaya",
            SideName::Dashmap => "dashmap",
            SideName::Scc => "scc",
            SideName::Shards => "shards",
            SideName::Floor => "floor",
        })
    }
}

/// A side with its keys, of whichever type.
pub(crate) trait Loaded {
    /// Nanoseconds that a thread takes for each operation.
    fn measure(&self, job: &Job<'_>) -> anyhow::Result<f64>;
}

struct Map<S> {
    side: S,
    value: Bytes,
}

impl<S: Side> Loaded for Map<S> {
    fn measure(&self, job: &Job<'_>) -> anyhow::Result<f64> {
        measure::measure(&self.side, &self.value, job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behaves<S: Side>() {
        let value = keys::value(64);
        let side = S::load(1_000, &value);
        let mut handle = side.handle();
        let mut access = handle.batch();
        let mut out = [0xff; 128];
        for index in 0..1_000 {
            assert_eq!(access.get(&keys::key(index), &mut out), Some(64));
            assert_eq!(out[..64], value[..]);
        }
        assert_eq!(access.get(&keys::key(1_000), &mut out), None);
        let keys: Vec<[u8; 16]> = (990..1_010).map(keys::key).collect();
        let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        assert_eq!(access.get_many(&keys, &mut out), 10);

        access.set(keys[0], &keys::value(100));
        assert_eq!(access.get(keys[0], &mut out), Some(100));
        access.set_many(&keys[..10], &keys::value(33));
        assert_eq!(access.get(keys[9], &mut out), Some(33));
        access.remove(keys[0]);
        assert_eq!(access.get(keys[0], &mut out), None);
        access.insert(keys[0], &value);
        assert_eq!(access.get(keys[0], &mut out), Some(64));
    }

    #[test]
    fn every_map_keeps_what_it_is_given() {
        behaves::<kvd::Kvd>();
        behaves::<papaya::Papaya>();
        behaves::<dashmap::Dashmap>();
        behaves::<scc::Scc>();
        behaves::<shards::Shards>();
    }
}
