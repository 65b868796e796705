//! Moving all keys to a table that the keyed hash orders, bucket by bucket, while the store is in use. Owns the steps of that
//! and their order; when keys are taken for chosen is `resize`'s to say.
//!
//! | step | why in this order |
//! |---|---|
//! | lock the old bucket and the new homes of its keys, by address | no commit is under way in them; readers go on |
//! | store every word in the new bucket, nodes too, with the new tag | whoever goes on from the old bucket finds everything |
//! | note keys with older versions by their new hash | they are settled by it |
//! | mark the old bucket as moved | a reader that meets the mark goes on to the next root |
//! | unlock; when every bucket has moved: replace the root, retire the old one | |
//!
//! A key has one home at any time: its old bucket until that is marked, then its new one. The old words stay where they are, for
//! readers that were there before.

use kvd_types::Revision;

use super::bucket::{self, Bucket, Locked};
use super::root::{self, Root};
use super::segment::SegmentWord;
use super::word::Word;
use super::{Horizon, Index, version};
use crate::planted::{self, Bug};
use crate::reclaim::{Guard, Trash};
use crate::sync::{Ordering, lock};

/// `moved_below` when no bucket is left.
pub(super) const ALL_MOVED: u64 = u64::MAX;

/// `flooded` when no bucket is.
pub(super) const NONE: u64 = u64::MAX;

/// A key on its way.
struct Moving<'g> {
    word: Word,
    /// Its hash in the next root.
    hash: u64,
    segment: SegmentWord,
    bucket: &'g Bucket,
}

impl Index {
    /// Keys collide by intent: they are to be placed by the keyed hash from now on. Not if the root is another by now.
    pub(super) fn begin_rekey(&self, root: &Root, guard: &Guard<'_>) {
        let _change = lock(&self.change);
        if root.next(guard).is_none() && std::ptr::eq(self.newest(guard), root) {
            root.set_next(root.successor(self.shape));
            self.rekeyed.fetch_add(1, Ordering::Relaxed); // a count that stands for nothing but itself
        }
    }

    /// Takes all keys for chosen, whatever they look like.
    pub(crate) fn rekey(&self, guard: &Guard<'_>) {
        loop {
            let root = self.newest(guard);
            if root.is_keyed || root.next(guard).is_some() {
                return;
            }
            self.begin_rekey(root, guard);
        }
    }

    /// How often keys were found to collide by intent.
    pub(crate) fn rekeyed(&self) -> u64 {
        self.rekeyed.load(Ordering::Relaxed) // as above
    }

    /// Moves the keys of some buckets of the root at `horizon`, if they are to move. `note` is told which keys are to be settled,
    /// by their new hash, and whether they are deleted. Returns whether more are left. Without any lock held.
    #[inline]
    pub(crate) fn move_some(
        &self,
        horizon: impl Horizon,
        buckets: usize,
        mut note: impl FnMut(Revision, u64, bool),
        guard: &Guard<'_>,
        trash: &mut Trash,
    ) -> bool {
        let root = root::resolve(&self.root, horizon, guard);
        let Some(next) = root.next(guard) else { return false };
        // Relaxed: any bucket may be moved at any time; a bucket that was just found too full had better be the next.
        let flooded = root.flooded.swap(NONE, Ordering::Relaxed);
        if flooded != NONE {
            self.move_bucket(root, next, flooded, &mut note, guard, trash);
        }
        for _ in 0..buckets {
            let from = root.moved_below.load(Ordering::Acquire); // pairs with the exchange below
            if from == ALL_MOVED {
                self.end_rekey(root, guard, trash);
                return false;
            }
            let below = self.move_bucket(root, next, from, &mut note, guard, trash).unwrap_or(ALL_MOVED);
            // Who goes on from here has seen what others moved, and hands it on. Pairs with the load above.
            root.moved_below.fetch_max(below, Ordering::AcqRel);
        }
        true
    }

    /// Moves the bucket of a hash. Returns the lowest hash behind it, if there is one.
    fn move_bucket(
        &self,
        root: &Root,
        next: &Root,
        hash: u64,
        note: &mut impl FnMut(Revision, u64, bool),
        guard: &Guard<'_>,
        trash: &mut Trash,
    ) -> Option<u64> {
        loop {
            let (segment, bucket) = root.table.last_place(hash, guard);
            let end = segment.next_hash(segment.index_of(hash), guard);
            if bucket.is_moved() {
                match segment.forward(hash, guard) {
                    // It was resized just now: its keys are in a newer segment of this table.
                    Some(_) => continue,
                    None => return end,
                }
            }
            let planned = self.keys_to_move(bucket, next, guard);
            let homes = planned.iter().map(|key| key.bucket);
            let Some(locks) = bucket::lock_all(homes.chain([bucket]).collect()) else { continue };
            // What came before the lock was there may have a home that is not locked.
            let keys = self.keys_to_move(bucket, next, guard);
            if keys.iter().any(|key| lock_of(key.bucket, &locks).is_none()) {
                continue;
            }
            let old = lock_of(bucket, &locks).expect("it was locked with them");
            if planted::is(Bug::MovedBeforeStored) {
                old.set_moved();
            }
            for key in &keys {
                let home = lock_of(key.bucket, &locks).expect("that was just seen");
                self.store_moved(next, key, home, note, guard);
            }
            old.set_moved();
            drop(locks);
            for key in keys {
                if next.table.is_resize_due(key.segment, guard) {
                    self.resize(next, key.hash, guard, trash);
                }
            }
            return end;
        }
    }

    /// What a bucket holds, and where it belongs.
    fn keys_to_move<'g>(&self, bucket: &Bucket, next: &'g Root, guard: &'g Guard<'_>) -> Vec<Moving<'g>> {
        let mut keys = Vec::new();
        bucket.for_each_word(guard, |word| {
            // None in a deletion that is being let go of, whose slot is about to be empty. Not to be met under the lock.
            let Some(record) = version::any_record(word, guard) else { return };
            let place = next.place(self.hash(record.key()), &self.hashing, guard);
            keys.push(Moving { word, hash: place.hash, segment: place.segment, bucket: place.bucket });
        });
        keys
    }

    fn store_moved(
        &self,
        next: &Root,
        key: &Moving<'_>,
        home: &Locked<'_>,
        note: &mut impl FnMut(Revision, u64, bool),
        guard: &Guard<'_>,
    ) {
        let bytes = home.reserve(1, guard);
        next.table.bytes.fetch_add(bytes, Ordering::Relaxed); // a count that stands for nothing but itself
        home.vacant(guard).store(key.word.with_tag(Word::tag_of(key.hash)));
        let header = key.segment.header(guard);
        header.keys.fetch_add(1, Ordering::Relaxed); // a count: exact under all locks of the segment
        let newest = version::resolve(key.word, version::Newest, guard);
        if let Some(at) = newest.and_then(|version| version.record.expires_at_ms()) {
            header.earliest_expiry.fetch_min(at, Ordering::Relaxed); // a bound, looked at by the sweep
        }
        if key.word.is_node() {
            let is_deleted = version::deleted_at(key.word, guard).is_some();
            note(Revision(version::head_revision(key.word, guard)), key.hash, is_deleted);
        }
    }

    /// Every bucket has moved: the next root is the root.
    fn end_rekey(&self, root: &Root, guard: &Guard<'_>, trash: &mut Trash) {
        let _change = lock(&self.change);
        if !std::ptr::eq(self.newest(guard), root) {
            return;
        }
        let bytes = root.table.bytes();
        let old = root::replace(&self.root, root.hand_over(guard));
        trash.retire(Root::into_garbage(old, bytes));
    }
}

/// The lock of this bucket, if it is among them.
fn lock_of<'l, 'g>(bucket: &Bucket, locks: &'l [Locked<'g>]) -> Option<&'l Locked<'g>> {
    locks.binary_search_by_key(&bucket.address(), |lock| lock.bucket.address()).ok().map(|at| &locks[at])
}

#[cfg(test)]
mod tests {
    use kvd_types::{Command, Key, Set};

    use super::*;
    use crate::engine::{Config, Engine};
    use crate::index::bucket::SLOTS;
    use crate::index::hash::Hashing;
    use crate::index::resize::bounds;
    use crate::index::segment::BUCKETS_MAX;

    /// Lines of the longest chain, in all tables that commits look at.
    fn longest_chain(index: &Index, guard: &Guard<'_>) -> usize {
        let newest = index.newest(guard);
        let mut longest = 0;
        for root in [Some(newest), newest.next(guard)].into_iter().flatten() {
            let mut from = Some(0);
            while let Some(hash) = from {
                let (segment, bucket) = root.table.last_place(hash, guard);
                if !bucket.is_moved() {
                    let chain = std::iter::successors(Some(bucket), |bucket| bucket.chained(guard));
                    longest = longest.max(chain.count());
                }
                from = segment.next_hash(segment.index_of(hash), guard);
            }
        }
        longest
    }

    /// Counted, not timed: how many lines a get looks at, at most.
    #[test]
    fn chains_of_chosen_keys_are_bounded_and_then_gone() {
        let config = Config::default();
        let first_half = Hashing::new(config.hash_key).fast.secrets[1].to_le_bytes();
        let engine = Engine::open(config);
        let mut worker = engine.worker();
        let mut set = |key: &[u8]| {
            let set = Command::Set(Set::new(Key::new(key.to_vec()).expect("it is short"), "v"));
            engine.execute(&mut worker, &set).expect("there is room");
            let longest = longest_chain(&engine.store(&worker).index, &worker.reader.pin());
            (longest, engine.stats().rekeyed)
        };
        for number in 0..2_000u64 {
            assert!(matches!(set(&number.to_le_bytes()), (..=3, 0)), "nobody has chosen these");
        }
        let mut chosen = (0..3_000u64).map(|number| [first_half, number.to_le_bytes()].concat());
        // A segment is looked at when it grows: until then all that it has room for may be chosen.
        let room = bounds(BUCKETS_MAX, 0).end as usize;
        let noticed = chosen.by_ref().map(|key| set(&key)).find(|(longest, rekeyed)| {
            assert!(*longest <= room / SLOTS + 2, "{longest} lines unnoticed");
            *rekeyed == 1
        });
        assert!(noticed.is_some());
        while engine.maintain(&mut engine.worker()) {}
        for key in chosen {
            let (longest, _) = set(&key);
            assert!(longest <= 3, "{longest} lines after all have moved");
        }
    }
}
