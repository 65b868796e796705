//! Going to many keys: to those that are named, ahead of who changes them; through all, in order of hash. Owns that order and the
//! cursor; what a reader takes of each key is `version`'s.

use super::rekey::ALL_MOVED;
use super::root::{self, Root};
use super::segment::SegmentWord;
use super::version::{self, Horizon, Version};
use super::word::Word;
use super::{Hashed, Index};
use crate::planted::{self, Bug};
use crate::reclaim::Guard;
use crate::sync::Ordering;

/// The order of a walk is not that of the index any more.
#[derive(Debug)]
pub(crate) struct Reordered;

impl Index {
    /// Asks the processor to fetch the buckets of these keys, and then their records.
    #[inline]
    pub(crate) fn prefetch(&self, keys: &[Hashed<'_>], guard: &Guard<'_>) {
        let root = self.newest(guard);
        for key in keys {
            root.table.prefetch(self.hashing.place(*key, root.is_keyed), guard);
        }
        for key in keys {
            let place = root.place(*key, &self.hashing, guard);
            place.bucket.prefetch(Word::tag_of(place.hash));
        }
    }

    /// The root that a walk at `horizon` goes through.
    pub(super) fn root_to_walk<'g>(&self, horizon: impl Horizon, guard: &'g Guard<'_>) -> &'g Root {
        let root = root::resolve(&self.root, horizon, guard);
        let is_moved = root.moved_below.load(Ordering::Acquire) == ALL_MOVED; // pairs with the exchange in `move_some`
        root.next(guard).filter(|_| is_moved).unwrap_or(root)
    }

    /// Whether a walk at `horizon` is in order of the keyed hash.
    pub(crate) fn is_keyed(&self, horizon: impl Horizon, guard: &Guard<'_>) -> bool {
        self.root_to_walk(horizon, guard).is_keyed
    }

    /// What a cursor says of the hash that is next: the hash, which no growth of the index changes.
    #[inline]
    pub(crate) fn cursor_of(&self, hash: u64, guard: &Guard<'_>) -> u64 {
        if planted::is(Bug::CursorIsPlace) { self.newest(guard).table.entry(hash) as u64 } else { hash }
    }

    /// The hash that a cursor says is next.
    pub(crate) fn hash_of_cursor(&self, cursor: u64, guard: &Guard<'_>) -> u64 {
        if planted::is(Bug::CursorIsPlace) { self.newest(guard).table.first_hash(cursor as usize) } else { cursor }
    }

    /// The versions seen at `horizon` of all keys with the hashes of the bucket of `from`, from `from` on, in order of hash.
    /// Returns the hash to go on with; none at the end. A key that is there all the time comes exactly once: growth moves keys
    /// between segments, never past a hash.
    ///
    /// # Errors
    /// Keys are not, or not all, where the hash `is_keyed` tells of puts them.
    pub(crate) fn walk<'g>(
        &self,
        from: u64,
        is_keyed: bool,
        horizon: impl Horizon,
        found: &mut Vec<(u64, Version<'g>)>,
        guard: &'g Guard<'_>,
    ) -> Result<Option<u64>, Reordered> {
        let root = self.root_to_walk(horizon, guard);
        if root.is_keyed != is_keyed {
            return Err(Reordered);
        }
        let (segment, bucket) = root.table.place(from, guard).ok_or(Reordered)?;
        let begin = found.len();
        if !cfg!(any(kvd_loom, kvd_shuttle)) {
            // All records of the bucket at once: each is a miss.
            bucket.for_each_word(guard, Word::prefetch);
        }
        bucket.for_each_word(guard, |word| {
            if let Some(version) = version::resolve(word, horizon, guard) {
                let hash = self.hashing.place(self.hash(version.record.key()), is_keyed);
                if hash >= from {
                    found.push((hash, version));
                }
            }
        });
        found[begin..].sort_unstable_by_key(|(hash, version)| (*hash, version.record.key()));
        Ok(segment.next_hash(segment.index_of(from), guard))
    }

    /// Keys of the segment of `from` that have expired at `now_ms`, and the hash of the next segment. Segments where nothing
    /// expires by then are passed over by one look at their header. While keys move, some may be passed over until later.
    pub(crate) fn expired(
        &self,
        from: u64,
        now_ms: u64,
        expired: &mut Vec<Vec<u8>>,
        guard: &Guard<'_>,
    ) -> (Option<u64>, u64) {
        let table = &self.root_to_walk(version::Newest, guard).table;
        let next_of = |segment: SegmentWord| segment.next_hash(segment.buckets() - 1, guard);
        let segment = table.segment(from, guard);
        // Relaxed: a bound, only a hint without the lock.
        let earliest = segment.header(guard).earliest_expiry.load(Ordering::Relaxed);
        if earliest > now_ms {
            return (next_of(segment), earliest);
        }
        // One bucket's lock keeps the segment from being replaced: the copy of its bound would miss what is found here.
        let Some((segment, _locked)) = table.lock(from, guard) else {
            return (next_of(table.last_place(from, guard).0), u64::MAX);
        };
        let header = segment.header(guard);
        // A bound that writers lower. It is taken away before the records are looked at, by an exchange: a writer whose record
        // is not seen below lowers it after that. Pairs with the one in `Target::account`.
        header.earliest_expiry.swap(u64::MAX, Ordering::AcqRel);
        let mut later = u64::MAX;
        for index in 0..segment.buckets() {
            let bucket = segment.bucket_at(index, guard);
            if bucket.is_moved() {
                continue; // its words are of then: what they lead to may be gone
            }
            bucket.for_each_word(guard, |word| {
                let Some(version) = version::resolve(word, version::Newest, guard) else { return };
                let Some(at) = version.record.expires_at_ms() else { return };
                // Those that have expired count too: should their removal not come about, the next sweep finds them.
                later = later.min(at);
                if at <= now_ms {
                    expired.push(version.record.key().to_vec());
                }
            });
        }
        header.earliest_expiry.fetch_min(later, Ordering::AcqRel); // as above
        (next_of(segment), later)
    }
}
