//! From a key to 64 bits that say where it lies. Owns the two hash functions and their secrets; knows nothing of buckets.
//!
//! | | cost | for |
//! |---|---|---|
//! | fast: rapidhash, its seed and secrets drawn from the hash key | 16 bytes in 6 ns | every store, from the start |
//! | keyed: SipHash-1-3 | 10 ns | a store whose keys were chosen to collide |
//!
//! The fast one disclaims that nobody can find colliding keys without knowing its secrets. So a bucket that is far too full is
//! taken for an attack, and the keys move to a table that is ordered by the keyed one (`rekey`).

use std::hash::Hasher;

use rapidhash::v3::{RapidSecrets, rapidhash_v3_micro_inline};
use siphasher::sip::SipHasher13;

/// The hash functions of a store.
pub(crate) struct Hashing {
    pub(super) fast: RapidSecrets,
    keyed: [u64; 2],
}

/// A key and its fast hash: what every look at the index begins with.
#[derive(Clone, Copy)]
pub(crate) struct Hashed<'k> {
    key: &'k [u8],
    fast: u64,
}

impl Hashing {
    pub(super) fn new(hash_key: [u64; 2]) -> Hashing {
        let keyed = |key: &[u8]| sip(hash_key, key);
        // One way: whoever finds the fast hash's seed out knows nothing of the key yet.
        Hashing { fast: RapidSecrets::seed(keyed(b"seed of the fast hash")), keyed: hash_key }
    }

    #[inline]
    pub(super) fn hash<'k>(&self, key: &'k [u8]) -> Hashed<'k> {
        Hashed { key, fast: rapidhash_v3_micro_inline::<true, false>(key, &self.fast) }
    }

    /// Where a key lies: by its fast hash, or by its keyed one.
    #[inline]
    pub(super) fn place(&self, key: Hashed<'_>, is_keyed: bool) -> u64 {
        if is_keyed { sip(self.keyed, key.key) } else { key.fast }
    }
}

impl<'k> Hashed<'k> {
    /// A place for one, in an array to be filled.
    pub(crate) const NONE: Hashed<'static> = Hashed { key: &[], fast: 0 };

    pub(super) fn key(&self) -> &'k [u8] {
        self.key
    }

    /// Of equal keys it is equal: for who looks for them among many.
    pub(crate) fn fast(&self) -> u64 {
        self.fast
    }
}

#[cold]
#[inline(never)]
fn sip(hash_key: [u64; 2], key: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(hash_key[0], hash_key[1]);
    hasher.write(key);
    hasher.finish()
}
