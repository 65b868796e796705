//! Where records are found: shards of hash-ordered tables, each behind a lock of its own. Owns the hash function, the locks
//! and the sizes of what is stored; knows nothing of revisions, conditions or where changes come from.

mod record;
mod shard;
mod table;

use std::hash::Hasher;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kvd_types::Key;
use siphasher::sip::SipHasher13;

pub(crate) use record::Record;
pub(crate) use shard::Shard;
pub use shard::Totals;

/// All records, spread over shards by the upper bits of their keys' hashes.
pub(crate) struct Index {
    shards: Box<[Padded]>,
    shard_bits: u32,
    hash_key: [u64; 2],
}

/// A lock on a cache line of its own, so that taking one doesn't slow its neighbours.
#[repr(align(64))]
struct Padded(RwLock<Shard>);

/// A shard, locked for reading.
pub(crate) type Reading<'a> = RwLockReadGuard<'a, Shard>;

/// A shard, locked for writing.
pub(crate) type Writing<'a> = RwLockWriteGuard<'a, Shard>;

impl Index {
    pub(crate) fn new(shard_bits: u32, hash_key: [u64; 2]) -> Index {
        let shards = (0..1usize << shard_bits).map(|_| Padded(RwLock::new(Shard::new(shard_bits)))).collect();
        Index { shards, shard_bits, hash_key }
    }

    /// The hash of `key`: SipHash-1-3, so that who doesn't know the hash key can't make keys collide.
    pub(crate) fn hash(&self, key: &Key<'_>) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.hash_key[0], self.hash_key[1]);
        hasher.write(key.as_bytes());
        hasher.finish()
    }

    /// The shard that holds keys with this hash. Shards are in order of hash: all hashes of one are below those of the next.
    pub(crate) fn shard_of(&self, hash: u64) -> usize {
        hash.checked_shr(u64::BITS - self.shard_bits).map_or(0, |shard| shard as usize)
    }

    /// The lowest hash of a shard; none for the shard after the last.
    pub(crate) fn first_hash(&self, shard: usize) -> Option<u64> {
        (shard < self.shards.len()).then(|| (shard as u64).checked_shl(u64::BITS - self.shard_bits).unwrap_or(0))
    }

    /// Locks one shard for reading. Who holds several takes them lowest first.
    pub(crate) fn read(&self, shard: usize) -> Reading<'_> {
        // A commit that panicked may have left a shard half changed: everyone who meets it stops as well.
        self.shards[shard].0.read().expect("no commit panicked on this shard")
    }

    /// Locks one shard for writing. Who holds several takes them lowest first.
    pub(crate) fn write(&self, shard: usize) -> Writing<'_> {
        self.shards[shard].0.write().expect("no commit panicked on this shard")
    }

    /// Sizes of all that is stored, at one moment, and what `at_that_moment` returns.
    pub(crate) fn totals<T>(&self, at_that_moment: impl FnOnce() -> T) -> (Totals, T) {
        let shards: Vec<_> = (0..self.shards.len()).map(|shard| self.read(shard)).collect();
        let moment = at_that_moment();
        let mut totals = Totals::default();
        shards.iter().for_each(|shard| totals.add(&shard.totals()));
        totals.index_bytes += size_of_val(&*self.shards) as u64;
        (totals, moment)
    }

    /// Returns once every lock that was held for writing has been given up.
    pub(crate) fn wait_for_writers(&self) {
        for Padded(shard) in &self.shards {
            drop(shard.read().unwrap_or_else(PoisonError::into_inner));
        }
    }
}
