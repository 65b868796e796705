//! Where records are found: a directory of segments of buckets of slots. Owns the hash function and all memory that keys take;
//! knows nothing of the order of commits, of conditions, or of where changes come from.
//!
//! # A get, step by step
//!
//! | step | loads | cold |
//! |---|---|---|
//! | hash the key | | |
//! | directory entry: segment and its shape | 8 bytes for some 200 keys | cached |
//! | bucket: header, then up to seven slots, compared by 16 bits of the hash | one line | miss |
//! | record: key compared, value at hand | one line or more | miss |
//!
//! Readers load and nothing else. What they find is kept allocated by their pin (`reclaim`), and what they take of it is decided
//! by `version`.

mod bucket;
mod record;
mod resize;
mod scan;
mod segment;
mod table;
mod version;
mod word;

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use bucket::{Bucket, Locked, Slot};
pub(crate) use record::{Draft, Record};
use segment::SegmentWord;
pub(crate) use table::Shape;
use table::Table;
pub(crate) use version::{At, Change, Commit, Horizon, Newest, ReadPoints, Version};
pub(crate) use word::Word;

use crate::reclaim::{Guard, Trash};
use crate::sync::{AtomicBool, Ordering};
use kvd_types::Revision;

/// All records of a store.
pub(crate) struct Index {
    table: Table,
    hash_key: [u64; 2],
    /// Whether any key has ever been given an expiry: without, there is nothing to sweep.
    expires: AtomicBool,
}

/// A key's home: its bucket, locked, so that this thread alone may change the key.
pub(crate) struct Home<'g> {
    locked: Locked<'g>,
    segment: SegmentWord,
}

/// A key's slot under its home's lock, and what it held before this commit.
#[derive(Clone, Copy)]
pub(crate) struct Target<'g> {
    slot: Slot<'g>,
    /// What the slot held: what a commit is judged on, and what undoing it puts back.
    before: Word,
    tag: u16,
    segment: SegmentWord,
    /// Whether the slot was empty: the key is new in its segment.
    is_new: bool,
}

/// Where a reader found a key, or did not: enough to see whether that changed.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'g> {
    pub(crate) version: Option<Version<'g>>,
    bucket: &'g Bucket,
    changes: u64,
}

impl Index {
    pub(crate) fn new(shape: Shape, hash_key: [u64; 2]) -> Index {
        Index { table: Table::new(shape), hash_key, expires: AtomicBool::new(false) }
    }

    /// The hash of a key: SipHash-1-3, so that who doesn't know the hash key can't make keys collide.
    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.hash_key[0], self.hash_key[1]);
        hasher.write(key);
        hasher.finish()
    }

    /// Whether any key was ever given an expiry.
    pub(crate) fn has_expiries(&self) -> bool {
        self.expires.load(Ordering::Relaxed) // stands for nothing but itself
    }

    /// Bytes of the index itself, without the records.
    pub(crate) fn bytes(&self) -> u64 {
        self.table.bytes()
    }

    /// The version of a key that is seen at `horizon`. Loads only.
    #[inline]
    pub(crate) fn get<'g>(
        &self,
        hash: u64,
        key: &[u8],
        horizon: &impl Horizon,
        guard: &'g Guard<'_>,
    ) -> Option<Version<'g>> {
        let bucket = self.table.place_to_read(hash, guard);
        version::resolve(bucket.find(Word::tag_of(hash), key, guard), horizon, guard)
    }

    /// As `get`, and with it what tells a later look whether the key came and went in between.
    pub(crate) fn look<'g>(&self, hash: u64, key: &[u8], horizon: &impl Horizon, guard: &'g Guard<'_>) -> Seen<'g> {
        let bucket = self.table.place_to_read(hash, guard);
        // The count before the slots: a change that the slots show comes with a later count at the latest at its unlock.
        let changes = bucket.changes();
        let version = version::resolve(bucket.find(Word::tag_of(hash), key, guard), horizon, guard);
        Seen { version, bucket, changes }
    }

    /// Asks the processor to fetch the bucket of a hash.
    #[inline]
    pub(crate) fn prefetch_bucket(&self, hash: u64, guard: &Guard<'_>) {
        self.table.prefetch(hash, guard);
    }

    /// Asks the processor to fetch the record of a key. Its bucket should be at hand.
    #[inline]
    pub(crate) fn prefetch_record(&self, hash: u64, guard: &Guard<'_>) {
        let bucket = self.table.place_to_read(hash, guard);
        bucket.prefetch(Word::tag_of(hash));
    }

    /// Locks the home of one key.
    pub(crate) fn lock<'g>(&self, hash: u64, guard: &'g Guard<'_>) -> Home<'g> {
        let (segment, locked) = self.table.lock(hash, guard);
        Home { locked, segment }
    }

    /// Locks the homes of many keys, each once, lowest address first. The second tells for each hash which home it has.
    pub(crate) fn lock_many<'g>(&self, hashes: &[u64], guard: &'g Guard<'_>) -> (Vec<Home<'g>>, Vec<usize>) {
        'again: loop {
            let places: Vec<_> = hashes.iter().map(|hash| self.table.place(*hash, guard)).collect();
            let mut order: Vec<usize> = (0..places.len()).collect();
            order.sort_unstable_by_key(|at| std::ptr::from_ref(places[*at].1).addr());
            let mut homes: Vec<Home<'g>> = Vec::with_capacity(places.len());
            let mut home_of = vec![0; places.len()];
            for at in order {
                let (segment, bucket) = places[at];
                if homes.last().is_none_or(|home| !std::ptr::eq(home.locked.bucket, bucket)) {
                    let locked = bucket.lock();
                    if bucket.is_moved() {
                        continue 'again;
                    }
                    homes.push(Home { locked, segment });
                }
                home_of[at] = homes.len() - 1;
            }
            return (homes, home_of);
        }
    }

    /// Whether the segment of `hash` is due for `resize`.
    #[inline]
    pub(crate) fn is_resize_due_at(&self, hash: u64, guard: &Guard<'_>) -> bool {
        self.table.is_resize_due(self.table.segment(hash, guard), guard)
    }

    /// Grows or shrinks the segment of `hash` if it is time. Without any lock held.
    #[cold]
    pub(crate) fn resize(&self, hash: u64, guard: &Guard<'_>, trash: &mut Trash) {
        self.table.resize(hash, &|record| self.hash(record.key()), guard, trash);
    }

    /// Settles the keys that have this hash and more than one version. `copy` takes the read points; under the lock, so that
    /// no version can come, and a reader for it, that they don't know. Returns the newest revision of what still has, and the
    /// bytes that went.
    pub(crate) fn settle_hash(
        &self,
        hash: u64,
        points: &mut ReadPoints,
        copy: impl FnOnce(&mut ReadPoints),
        guard: &Guard<'_>,
        trash: &mut Trash,
    ) -> (Option<Revision>, u64) {
        let home = self.lock(hash, guard);
        copy(points);
        let (mut left, mut freed) = (None, 0);
        let mut emptied = 0;
        home.locked.nodes(Word::tag_of(hash), guard, |slot| {
            let before = slot.word();
            let settled = version::settle(before, points, guard, trash);
            freed += settled.freed_bytes;
            if settled.word != before {
                slot.store(settled.word);
            }
            if settled.waits {
                left = left.max(Some(Revision(version::head_revision(settled.word, guard))));
            }
            emptied += u64::from(settled.word.is_empty());
        });
        home.segment.header(guard).keys.fetch_sub(emptied, Ordering::Relaxed); // a count, exact under the bucket's locks
        (left, freed)
    }
}

impl<'g> Home<'g> {
    /// The slot of a key and its newest version.
    pub(crate) fn find(
        &self,
        hash: u64,
        key: &[u8],
        guard: &'g Guard<'_>,
    ) -> (Option<Target<'g>>, Option<Version<'g>>) {
        let tag = Word::tag_of(hash);
        let Some(slot) = self.locked.find(tag, key, guard) else { return (None, None) };
        let before = slot.word();
        let target = Target { slot, before, tag, segment: self.segment, is_new: false };
        (Some(target), version::resolve(before, &Newest, guard))
    }

    /// Makes sure of so many empty slots. Slots found before may hold other keys afterwards: look again.
    pub(crate) fn reserve(&self, index: &Index, slots: usize, guard: &Guard<'_>) {
        let bytes = self.locked.reserve(slots, guard);
        index.table.bytes.fetch_add(bytes, Ordering::Relaxed); // a count that stands for nothing but itself
    }

    /// An empty slot of those reserved, for a key that has none.
    pub(crate) fn vacant(&self, hash: u64, guard: &'g Guard<'_>) -> Target<'g> {
        let slot = self.locked.vacant(guard);
        Target { slot, before: Word::EMPTY, tag: Word::tag_of(hash), segment: self.segment, is_new: true }
    }
}

impl Target<'_> {
    /// Whether the slot holds one version that everyone sees, or nothing.
    pub(crate) fn is_plain(&self) -> bool {
        !self.before.is_node()
    }

    /// The short cut: the slot takes the record, or nothing, at once. Inside SEQ, just before VISIBLE. Returns what it held.
    pub(crate) fn replace(&self, change: Change, revision: Revision) -> Option<Record<'static>> {
        match change {
            Change::Put(draft) => {
                let record = draft.publish();
                record.set_revision(revision);
                self.slot.store(Word::record(record, self.tag));
            }
            Change::Delete(_) => self.slot.store(Word::EMPTY),
        }
        self.before.is_record().then(|| Record::from_address(self.before.address()))
    }

    /// The slot takes a node: readers see what it held before until the commit has a revision.
    pub(crate) fn install(&self, change: Change, commit: Option<&Commit>) {
        let node = version::Node::new(change.word(self.tag), self.before, commit);
        if let Change::Put(draft) = change {
            draft.publish();
        }
        self.slot.store(Word::node(node, self.tag));
    }

    /// Bytes that the installed node keeps beside the newest version.
    pub(crate) fn held_bytes(&self, guard: &Guard<'_>) -> u64 {
        version::held_bytes(self.before, guard)
    }

    /// Gives the installed node its commit's revision.
    pub(crate) fn set_revision(&self, revision: Revision, guard: &Guard<'_>) {
        version::set_head_revision(self.slot.word(), revision, guard);
    }

    /// Takes the installed node back, for a commit that has no revision and never will.
    pub(crate) fn undo(&self, guard: &Guard<'_>, trash: &mut Trash) {
        self.slot.store(version::undo(self.slot.word(), guard, trash));
    }

    /// Drops what nobody needs of the key's versions. Returns the newest revision if more than one had to stay, and the bytes
    /// that went.
    pub(crate) fn settle(&self, points: &ReadPoints, guard: &Guard<'_>, trash: &mut Trash) -> (Option<Revision>, u64) {
        let before = self.slot.word();
        let settled = version::settle(before, points, guard, trash);
        if settled.word != before {
            self.slot.store(settled.word);
        }
        let left = settled.waits.then(|| Revision(version::head_revision(settled.word, guard)));
        (left, settled.freed_bytes)
    }

    /// Counts the key in or out of its segment, and notes when it expires. Under the bucket's lock, after the commit. Returns
    /// whether the segment has more or fewer keys now. An overwrite leaves the segment's header alone: it would cost a miss.
    pub(crate) fn account(&self, index: &Index, expires_at_ms: Option<u64>, guard: &Guard<'_>) -> bool {
        let is_empty = self.slot.word().is_empty();
        let is_counted = self.is_new != is_empty;
        if !is_counted && expires_at_ms.is_none() {
            return false;
        }
        let header = self.segment.header(guard);
        let change = u64::from(!is_empty).wrapping_sub(u64::from(!self.is_new));
        header.keys.fetch_add(change, Ordering::Relaxed); // a count: a hint, but exact under all locks of the segment
        if let Some(at) = expires_at_ms {
            header.earliest_expiry.fetch_min(at, Ordering::Relaxed); // a bound, looked at by the sweep
            index.expires.store(true, Ordering::Relaxed); // stands for nothing but itself: the next sweep will do
        }
        is_counted
    }
}

impl Seen<'_> {
    /// Whether two looks found the same: the same record, or no record and no change to the bucket between them.
    pub(crate) fn is_same(&self, later: &Seen<'_>) -> bool {
        match (&self.version, &later.version) {
            (Some(one), Some(other)) => one.record.is_same(other.record) && one.revision == other.revision,
            (None, None) => {
                std::ptr::eq(self.bucket, later.bucket) && Bucket::is_unchanged(self.changes, later.changes)
            }
            _ => false,
        }
    }

    /// The count again, after the slots: for the second look.
    pub(crate) fn recount(mut self) -> Self {
        self.changes = self.bucket.changes();
        self
    }
}

/// Asks the processor to fetch a line. A hint: any address will do.
#[inline]
fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
