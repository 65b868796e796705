//! Where records are found: a directory of segments of buckets of slots. Owns the hash function and all memory that keys take;
//! knows nothing of the order of commits, of conditions, or of where changes come from.
//!
//! # A get, step by step
//!
//! | step | loads | cold |
//! |---|---|---|
//! | hash the key | | |
//! | root: the table since the last clear | 3 words | cached |
//! | directory entry: segment and its shape | 8 bytes for some 200 keys | cached |
//! | bucket: header, then up to seven slots, compared by 16 bits of the hash | one line | miss |
//! | record: key compared, value at hand | one line or more | miss |
//!
//! Readers load and nothing else. What they find is kept allocated by their pin (`reclaim`), and what they take of it is decided
//! by `version`.

mod bucket;
mod hash;
mod history;
mod record;
mod rekey;
mod resize;
mod root;
mod scan;
mod search;
mod segment;
mod table;
mod version;
mod word;

use bucket::{Bucket, Locked, Slot};
pub(crate) use hash::Hashed;
use hash::Hashing;
pub(crate) use history::{Content, Depth, Kept, Past};
pub(crate) use record::{Draft, EXPIRES_AT_MS_MAX, Record, SHARED_BYTES};
pub(crate) use resize::KEY_BYTES;
use resize::Step;
use root::Place;
pub(crate) use root::Root;
pub(crate) use scan::Reordered;
use segment::SegmentWord;
pub(crate) use table::Shape;
pub(crate) use version::{At, Change, Commit, Horizon, Newest, ReadPoints, Version};
pub(crate) use word::{Removal, Word};

use crate::planted::{self, Bug};
use crate::reclaim::{Guard, Trash};
use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, Mutex, Ordering, lock};
use kvd_types::{Error, Revision};

/// All records of a store.
pub(crate) struct Index {
    /// The newest root. Stored under `change`, Release; loaded Acquire.
    root: AtomicPtr<Root>,
    /// Held by who changes the root, or where a root leads.
    change: Mutex<()>,
    hashing: Hashing,
    shape: Shape,
    /// Whether any key has ever been given an expiry: without, there is nothing to sweep.
    expires: AtomicBool,
    /// How often keys were found to collide by intent.
    rekeyed: AtomicU64,
    /// The oldest read point when cleared roots were last settled.
    settled_at: AtomicU64,
}

/// A key's home: its bucket, locked, so that this thread alone may change the key.
pub(crate) struct Home<'g> {
    locked: Locked<'g>,
    segment: SegmentWord,
    root: &'g Root,
}

/// A key's slot under its home's lock, and what it held before this commit.
#[derive(Clone, Copy)]
pub(crate) struct Target<'g> {
    slot: Slot<'g>,
    /// What the slot held: what a commit is judged on, and what undoing it puts back.
    before: Word,
    /// The key's hash in its root.
    hash: u64,
    segment: SegmentWord,
    root: &'g Root,
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
    /// Empty. One `to_load` waits for so many keys at least, until [`end_loading`](Index::end_loading).
    pub(crate) fn new(shape: Shape, hash_key: [u64; 2], to_load: Option<u64>) -> Index {
        let root = to_load.map_or_else(|| Root::new(shape, false), |keys| Root::to_load(shape, keys));
        Index {
            root: AtomicPtr::new(Box::into_raw(root)),
            change: Mutex::new(()),
            hashing: Hashing::new(hash_key),
            shape,
            expires: AtomicBool::new(false),
            rekeyed: AtomicU64::new(0),
            settled_at: AtomicU64::new(u64::MAX),
        }
    }

    /// All keys have come: from now on it is as full as it is to be.
    pub(crate) fn end_loading(&self, guard: &Guard<'_>) {
        self.newest(guard).table.end_loading(guard);
    }

    /// A key and its hash, for the other calls.
    #[inline]
    pub(crate) fn hash<'k>(&self, key: &'k [u8]) -> Hashed<'k> {
        self.hashing.hash(key)
    }

    /// Whether any key was ever given an expiry.
    pub(crate) fn has_expiries(&self) -> bool {
        self.expires.load(Ordering::Relaxed) // stands for nothing but itself
    }

    /// Bytes of the index itself, without the records.
    pub(crate) fn bytes(&self, guard: &Guard<'_>) -> u64 {
        self.newest(guard).index_bytes(guard)
    }

    /// Bytes of versions beside the newest, and of what was cleared and someone still reads.
    pub(crate) fn held_bytes(&self, guard: &Guard<'_>) -> u64 {
        self.newest(guard).held_bytes(guard)
    }

    /// The newest clear; 0 without one.
    pub(crate) fn cleared_at(&self, guard: &Guard<'_>) -> Revision {
        self.newest(guard).since()
    }

    /// The root that commits change. Who has loaded it outside SEQ asks inside whether it still is.
    #[inline]
    pub(crate) fn newest<'g>(&self, guard: &'g Guard<'_>) -> &'g Root {
        root::newest(&self.root, guard)
    }

    #[inline]
    fn place<'g>(&self, key: Hashed<'_>, horizon: impl Horizon, guard: &'g Guard<'_>) -> Place<'g> {
        let root = root::resolve(&self.root, horizon, guard);
        if planted::is(Bug::IgnoreMoved) {
            let hash = self.hashing.place(key, root.is_keyed);
            let (segment, bucket) = root.table.first_place(hash, guard);
            return Place { root, hash, segment, bucket };
        }
        root.place(key, &self.hashing, guard)
    }

    /// The version of a key that is seen at `horizon`. Loads only.
    #[inline(always)]
    pub(crate) fn get<'g>(&self, key: Hashed<'_>, horizon: impl Horizon, guard: &'g Guard<'_>) -> Option<Version<'g>> {
        let Place { root, bucket, hash, .. } = self.place(key, horizon, guard);
        if planted::is(Bug::MovedTakenForMissing) && root.is_keyed != root::newest(&self.root, guard).is_keyed {
            return None;
        }
        match bucket.find_plain(Word::tag_of(hash), key.key(), guard) {
            Some(record) => version::plain(record, horizon),
            None => get_slowly(bucket, hash, key, horizon, guard),
        }
    }

    /// As `get`, and with it what tells a later look whether the key came and went in between.
    pub(crate) fn look<'g>(&self, key: Hashed<'_>, horizon: impl Horizon, guard: &'g Guard<'_>) -> Seen<'g> {
        let Place { bucket, hash, .. } = self.place(key, horizon, guard);
        // The count before the slots: a change that the slots show comes with a later count at the latest at its unlock.
        let changes = bucket.changes();
        let version = version::resolve(bucket.find(Word::tag_of(hash), key.key(), guard), horizon, guard);
        Seen { version, bucket, changes }
    }

    /// Locks the home of one key.
    pub(crate) fn lock<'g>(&self, root: &'g Root, key: Hashed<'_>, guard: &'g Guard<'_>) -> Home<'g> {
        loop {
            let Place { root, segment, bucket, .. } = root.place(key, &self.hashing, guard);
            let locked = bucket.lock();
            if !bucket.is_moved() {
                return Home { locked, segment, root };
            }
        }
    }

    /// Locks the homes of many keys, each once, lowest address first. The second tells for each key which home it has.
    pub(crate) fn lock_many<'g>(
        &self,
        root: &'g Root,
        keys: &[Hashed<'_>],
        guard: &'g Guard<'_>,
    ) -> (Vec<Home<'g>>, Vec<usize>) {
        'again: loop {
            let places: Vec<_> = keys.iter().map(|key| root.place(*key, &self.hashing, guard)).collect();
            let mut order: Vec<usize> = (0..places.len()).collect();
            order.sort_unstable_by_key(|at| places[*at].bucket.address());
            let mut homes: Vec<Home<'g>> = Vec::with_capacity(places.len());
            let mut home_of = vec![0; places.len()];
            for at in order {
                let Place { root, segment, bucket, .. } = places[at];
                if homes.last().is_none_or(|home| !std::ptr::eq(home.locked.bucket, bucket)) {
                    let locked = bucket.lock();
                    if bucket.is_moved() {
                        continue 'again;
                    }
                    homes.push(Home { locked, segment, root });
                }
                home_of[at] = homes.len() - 1;
            }
            return (homes, home_of);
        }
    }

    /// Whether a commit that began under `root` may go on. Inside SEQ.
    #[inline]
    pub(crate) fn is_newest(&self, root: &Root, guard: &Guard<'_>) -> bool {
        std::ptr::eq(self.newest(guard), root) || planted::is(Bug::RootNotChecked)
    }

    /// Grows or shrinks the segments of these keys as far as it is time. Without any lock held.
    pub(crate) fn resize_due(&self, keys: &[Hashed<'_>], guard: &Guard<'_>, trash: &mut Trash) {
        // A step for each in turn: if one went down all its splits before the others, the directory would be long for a few.
        let mut again = true;
        while again {
            again = false;
            for key in keys {
                let place = self.place(*key, Newest, guard);
                if place.root.table.is_resize_due(place.segment, guard) {
                    again |= self.resize_step(place.root, place.hash, guard, trash) == Step::Again;
                }
            }
        }
    }

    #[cold]
    fn resize(&self, root: &Root, hash: u64, guard: &Guard<'_>, trash: &mut Trash) {
        while self.resize_step(root, hash, guard, trash) == Step::Again {}
    }

    fn resize_step(&self, root: &Root, hash: u64, guard: &Guard<'_>, trash: &mut Trash) -> Step {
        let hash_of = |record: Record<'_>| self.hashing.place(self.hash(record.key()), root.is_keyed);
        let step = root.table.resize(hash, &hash_of, guard, trash);
        if step == Step::Flooded && !root.is_keyed {
            root.flooded.store(hash, Ordering::Relaxed); // a hint, see `move_some`
            self.begin_rekey(root, guard);
        }
        step
    }

    /// Settles the keys that have this hash in their root and more than one version. `copy` takes the read points; under the
    /// lock, so that no version can come, and a reader for it, that they don't know. Returns the newest revision of what still
    /// has more than one. Without any lock held.
    pub(crate) fn settle_hash(
        &self,
        hash: u64,
        points: &mut ReadPoints,
        copy: impl Fn(&mut ReadPoints),
        guard: &Guard<'_>,
        trash: &mut Trash,
    ) -> Option<Revision> {
        let root = self.newest(guard);
        let mut left = None;
        // While keys move the hash may be of this root or of the next. In the other it settles what may be settled anyway.
        for root in [Some(root), root.next(guard)].into_iter().flatten() {
            let Some((segment, locked)) = root.table.lock(hash, guard) else { continue };
            copy(points);
            let mut emptied = 0;
            locked.nodes(Word::tag_of(hash), guard, |slot| {
                let before = slot.word();
                let settled = version::settle(before, points, guard, trash);
                root.count_held(0, settled.freed_bytes);
                if settled.word != before {
                    slot.store(settled.word);
                }
                if settled.waits {
                    left = left.max(Some(Revision(version::head_revision(settled.word, guard))));
                }
                emptied += u64::from(settled.word.is_empty());
            });
            segment.header(guard).keys.fetch_sub(emptied, Ordering::Relaxed); // a count, exact under the bucket's locks
            drop(locked);
            if root.table.is_resize_due(segment, guard) {
                self.resize(root, hash, guard, trash);
            }
        }
        left
    }

    /// Empties the store: `commit` gives the new root its revision inside SEQ, or refuses.
    pub(crate) fn clear<T>(
        &self,
        guard: &Guard<'_>,
        trash: &mut Trash,
        commit: impl FnOnce(&Root) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _change = lock(&self.change);
        let newest = self.newest(guard);
        let is_keyed = newest.is_keyed || newest.next(guard).is_some();
        let root = root::install(&self.root, Root::new(self.shape, is_keyed), guard);
        let committed = commit(root);
        self.settled_at.store(u64::MAX, Ordering::Relaxed); // there is a root more: see `is_settling_due`
        if committed.is_err() {
            trash.retire(Root::into_garbage(root::undo(&self.root, root), root.index_bytes(guard)));
        }
        committed
    }

    /// Whether what was cleared may go now, since the oldest read point is not what it was when that was last tried.
    pub(crate) fn is_settling_due(&self, oldest_read_point: u64, guard: &Guard<'_>) -> bool {
        // Relaxed: only which of them tries matters.
        self.newest(guard).has_before() && self.settled_at.load(Ordering::Relaxed) != oldest_read_point
    }

    /// Lets go of what was cleared, as far as nobody reads there. `copy` takes the read points; under the lock, so that nothing
    /// is cleared meanwhile for a reader that they don't know.
    pub(crate) fn settle_roots(
        &self,
        points: &mut ReadPoints,
        copy: impl FnOnce(&mut ReadPoints),
        guard: &Guard<'_>,
        trash: &mut Trash,
    ) {
        let _change = lock(&self.change);
        copy(points);
        self.settled_at.store(points.oldest(), Ordering::Relaxed); // as above
        self.newest(guard).settle(points, guard, |root| trash.retire(root));
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        // SAFETY: the store is being dropped: nobody can reach it. Acquire: pairs with the stores in `root`.
        unsafe { Root::free_all(self.root.load(Ordering::Acquire)) };
    }
}

/// The version of a key that is not there, or has several versions, or is in a full bucket.
#[cold]
fn get_slowly<'g>(
    bucket: &Bucket,
    hash: u64,
    key: Hashed<'_>,
    horizon: impl Horizon,
    guard: &'g Guard<'_>,
) -> Option<Version<'g>> {
    version::resolve(bucket.find(Word::tag_of(hash), key.key(), guard), horizon, guard)
}

impl<'g> Home<'g> {
    /// The slot of a key and its newest version.
    pub(crate) fn find(
        &self,
        index: &Index,
        key: Hashed<'_>,
        guard: &'g Guard<'_>,
    ) -> (Option<Target<'g>>, Option<Version<'g>>) {
        let hash = index.hashing.place(key, self.root.is_keyed);
        let Some(slot) = self.locked.find(Word::tag_of(hash), key.key(), guard) else { return (None, None) };
        let before = slot.word();
        let newest = version::resolve(before, Newest, guard);
        if newest.is_none() && planted::is(Bug::SecondSlot) {
            return (None, None);
        }
        (Some(Target { slot, before, hash, segment: self.segment, root: self.root, is_new: false }), newest)
    }

    /// Makes sure of so many empty slots. Slots found before may hold other keys afterwards: look again.
    pub(crate) fn reserve(&self, slots: usize, guard: &Guard<'_>) {
        let bytes = self.locked.reserve(slots, guard);
        self.root.table.bytes.fetch_add(bytes, Ordering::Relaxed); // a count that stands for nothing but itself
    }

    /// An empty slot of those reserved, for a key that has none.
    pub(crate) fn vacant(&self, index: &Index, key: Hashed<'_>, guard: &'g Guard<'_>) -> Target<'g> {
        let hash = index.hashing.place(key, self.root.is_keyed);
        let slot = self.locked.vacant(guard);
        Target { slot, before: Word::EMPTY, hash, segment: self.segment, root: self.root, is_new: true }
    }
}

impl Target<'_> {
    fn tag(&self) -> u16 {
        Word::tag_of(self.hash)
    }

    /// The key's hash in its root: what it is settled by later.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

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
                self.slot.store(Word::record(record, self.tag()));
            }
            Change::Delete(_) => self.slot.store(Word::EMPTY),
        }
        self.before.is_record().then(|| Record::from_address(self.before.address()))
    }

    /// The slot takes a node: readers see what it held before until the commit has a revision.
    pub(crate) fn install(&self, change: Change, commit: Option<&Commit>) {
        let node = version::Node::new(change.word(self.tag()), self.before, commit);
        if let Change::Put(draft) = change {
            draft.publish();
        }
        self.slot.store(Word::node(node, self.tag()));
    }

    /// Gives the installed node its commit's revision.
    pub(crate) fn set_revision(&self, revision: Revision, guard: &Guard<'_>) {
        version::set_head_revision(self.slot.word(), revision, guard);
    }

    /// Takes the installed node back, for a commit that has no revision and never will.
    pub(crate) fn undo(&self, guard: &Guard<'_>, trash: &mut Trash) {
        self.slot.store(version::undo(self.slot.word(), guard, trash));
    }

    /// Drops what nobody needs of the key's versions. Returns the newest revision if more than one had to stay.
    pub(crate) fn settle(&self, points: &ReadPoints, guard: &Guard<'_>, trash: &mut Trash) -> Option<Revision> {
        let held = version::held_bytes(self.before, guard);
        let before = self.slot.word();
        let settled = version::settle(before, points, guard, trash);
        if settled.word != before {
            self.slot.store(settled.word);
        }
        self.root.count_held(held, settled.freed_bytes);
        settled.waits.then(|| Revision(version::head_revision(settled.word, guard)))
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
            header.earliest_expiry.fetch_min(at, Ordering::AcqRel); // pairs with the exchange of the sweep
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
