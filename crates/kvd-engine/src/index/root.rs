//! The root of the index: one table of all keys, and what was before it while someone may read there. Owns the chain of roots
//! that clears leave, which of them a reader takes, and freeing those that are done with; knows nothing of what is in a table.
//!
//! ```text
//!  settled            root -> R1
//!  clear under way    root -> R2 { since: 0, before: R1 }          readers take R1
//!  cleared at 8       root -> R2 { since: 8, before: R1 }          readers of 8 and later take R2
//!  settled            root -> R2                                   nobody reads below 8; R1 is retired
//!
//!  re-keying          root -> R1 { next: K }                       keys of buckets marked as moved are in K
//!  re-keyed           root -> K                                    R1 is retired, its keys stay
//! ```
//!
//! A root is to a clear what a node is to the commit of one key: see `version`. All that changes in the chain does so under the
//! index's `change` lock, but for `since`, which is the clear's commit.

use std::ptr::null_mut;
use std::sync::Arc;

use kvd_types::Revision;

use super::bucket::Bucket;
use super::hash::{Hashed, Hashing};
use super::rekey;
use super::segment::SegmentWord;
use super::table::{Shape, Table};
use super::version::{Horizon, Newest, ReadPoints};
use crate::planted;
use crate::reclaim::{Garbage, Guard};
use crate::sync::{AtomicPtr, AtomicU64, Ordering};

/// All keys since the last clear.
#[repr(align(64))]
pub(crate) struct Root {
    /// What was there before the clear that made this root; null once nobody can read it any more. Stored Release, loaded
    /// Acquire.
    before: AtomicPtr<Root>,
    /// The revision of that clear, 0 while it has none. Stored inside SEQ, Release; loaded Acquire.
    since: AtomicU64,
    pub(super) table: Table,
    /// Whether the keyed hash says where keys lie.
    pub(super) is_keyed: bool,
    /// Where the keys of moved buckets are; null while none moves. Stored Release, loaded Acquire.
    next: AtomicPtr<Root>,
    /// All buckets of lower hashes have moved to `next`; none is left when it is all ones. Raised by who has moved one, Release;
    /// loaded Acquire: who sees it sees them moved.
    pub(super) moved_below: AtomicU64,
    /// A hash of the bucket that was last found to have far too many keys: it is moved before the others.
    pub(super) flooded: AtomicU64,
    /// Bytes of versions beside the newest of each key. One count with the root that keys move to: what is kept in one may go in
    /// the other.
    held: Arc<AtomicU64>,
    /// Bytes of the newest versions when they were cleared; 0 before.
    cleared: AtomicU64,
}

/// Where a key lies.
#[derive(Clone, Copy)]
pub(super) struct Place<'g> {
    pub(super) root: &'g Root,
    /// The key's hash in this root.
    pub(super) hash: u64,
    pub(super) segment: SegmentWord,
    pub(super) bucket: &'g Bucket,
}

impl Root {
    pub(super) fn new(shape: Shape, is_keyed: bool) -> Box<Root> {
        Root::counting(Table::new(shape), is_keyed, Arc::new(AtomicU64::new(0)))
    }

    /// For a store to be loaded, which will have so many keys at least.
    pub(super) fn to_load(shape: Shape, keys: u64) -> Box<Root> {
        Root::counting(Table::to_load(shape, keys), false, Arc::new(AtomicU64::new(0)))
    }

    /// The root that the keys of this one move to.
    pub(super) fn successor(&self, shape: Shape) -> Box<Root> {
        Root::counting(Table::new(shape), true, Arc::clone(&self.held))
    }

    fn counting(table: Table, is_keyed: bool, held: Arc<AtomicU64>) -> Box<Root> {
        Box::new(Root {
            before: AtomicPtr::new(null_mut()),
            since: AtomicU64::new(0),
            table,
            is_keyed,
            next: AtomicPtr::new(null_mut()),
            moved_below: AtomicU64::new(0),
            flooded: AtomicU64::new(rekey::NONE),
            held,
            cleared: AtomicU64::new(0),
        })
    }

    /// Where a key lies: here or, once its bucket has moved, in the next root. Loads only.
    #[inline]
    pub(super) fn place<'g>(&'g self, key: Hashed<'_>, hashing: &Hashing, guard: &'g Guard<'_>) -> Place<'g> {
        let hash = hashing.place(key, self.is_keyed);
        let (segment, bucket) = self.table.first_place(hash, guard);
        if !bucket.is_moved() {
            return Place { root: self, hash, segment, bucket };
        }
        self.place_on(key, hash, hashing, guard)
    }

    /// The same for a key whose bucket has moved.
    #[cold]
    fn place_on<'g>(&'g self, key: Hashed<'_>, hash: u64, hashing: &Hashing, guard: &'g Guard<'_>) -> Place<'g> {
        match self.table.place(hash, guard) {
            Some((segment, bucket)) => Place { root: self, hash, segment, bucket },
            None => {
                let next = self.next(guard).expect("a bucket moves only once there is a next root");
                next.place(key, hashing, guard)
            }
        }
    }

    /// Where keys are moving to, if they are.
    #[inline]
    pub(super) fn next<'g>(&'g self, _guard: &'g Guard<'_>) -> Option<&'g Root> {
        // SAFETY: null or a live root; it is not retired before this one is, and the guard keeps that one. Acquire: pairs with
        // the store in `set_next`.
        unsafe { self.next.load(Ordering::Acquire).as_ref() }
    }

    /// Says where keys are moving to. Once.
    pub(super) fn set_next(&self, next: Box<Root>) {
        self.next.store(Box::into_raw(next), Ordering::Release); // pairs with the load in `next`
    }

    /// What was there before the last clear, while someone may read it.
    #[inline]
    fn before<'g>(&'g self, _guard: &'g Guard<'_>) -> Option<&'g Root> {
        // SAFETY: as in `next`. Acquire: pairs with the stores in `install` and `settle`.
        unsafe { self.before.load(Ordering::Acquire).as_ref() }
    }

    /// Whether cleared keys are kept because someone may read them.
    pub(super) fn has_before(&self) -> bool {
        !self.before.load(Ordering::Relaxed).is_null() // a hint
    }

    /// The clear that made this root has its revision, and `before` held `data_bytes` then. Inside SEQ.
    pub(crate) fn set_since(&self, revision: Revision, data_bytes: u64, guard: &Guard<'_>) {
        if let Some(before) = self.before(guard) {
            before.cleared.store(data_bytes, Ordering::Relaxed); // a count
        }
        self.since.store(revision.0, planted::publish()); // Release: pairs with the load in `resolve`
    }

    /// The clear that made this root; 0 without one.
    pub(crate) fn since(&self) -> Revision {
        Revision(self.since.load(Ordering::Acquire)) // pairs with the store in `set_since`
    }

    /// Bytes of the table, and of that which keys move to.
    pub(super) fn index_bytes(&self, guard: &Guard<'_>) -> u64 {
        self.table.bytes() + self.next(guard).map_or(0, |next| next.table.bytes())
    }

    /// `kept` bytes of older versions came, `freed` went.
    pub(super) fn count_held(&self, kept: u64, freed: u64) {
        self.held.fetch_add(kept.wrapping_sub(freed), Ordering::Relaxed); // a count that stands for nothing but itself
    }

    /// Bytes of versions beside the newest of each key, and of all that was cleared and is still kept.
    pub(super) fn held_bytes(&self, guard: &Guard<'_>) -> u64 {
        let mut bytes = self.held.load(Ordering::Relaxed); // a count, as above
        let mut root = self;
        while let Some(before) = root.before(guard) {
            bytes += before.all_bytes(guard);
            root = before;
        }
        bytes
    }

    /// Everything that goes with a cleared root.
    fn all_bytes(&self, guard: &Guard<'_>) -> u64 {
        // Relaxed, both: counts.
        self.cleared.load(Ordering::Relaxed) + self.index_bytes(guard) + self.held.load(Ordering::Relaxed)
    }

    /// The next root takes this one's place, whose every bucket has moved: with its history of clears.
    pub(super) fn hand_over(&self, guard: &Guard<'_>) -> *mut Root {
        let next = self.next(guard).expect("it was re-keyed");
        // Relaxed, all: only changed under the lock that is held; published by the store of the root.
        next.before.store(self.before.load(Ordering::Relaxed), Ordering::Relaxed);
        next.since.store(self.since.load(Ordering::Relaxed), Ordering::Relaxed); // as above
        self.next.load(Ordering::Relaxed) // as above
    }

    /// Unlinks the cleared roots that no read point needs, as `version::settle` does with nodes, and hands them to `retire`.
    pub(super) fn settle(&self, points: &ReadPoints, guard: &Guard<'_>, mut retire: impl FnMut(Garbage)) {
        let mut successor = self;
        while let Some(before) = successor.before(guard) {
            // Acquire, both: pair with the store in `set_since`.
            let (from, to) = (before.since.load(Ordering::Acquire), successor.since.load(Ordering::Acquire));
            if points.need(from, to) {
                successor = before;
                continue;
            }
            let bytes = before.all_bytes(guard);
            let older = before.before.load(Ordering::Relaxed); // only changed under the lock that is held
            let unlinked = successor.before.swap(older, Ordering::AcqRel); // pairs with the load in `before`
            let next = before.next.load(Ordering::Relaxed); // no keys begin to move once they are cleared
            retire(Dying::garbage([unlinked, next].into_iter().filter(|root| !root.is_null()).collect(), bytes));
        }
    }

    /// As garbage, for who has unlinked it: what was before it and what it moves to have others who know them.
    pub(super) fn into_garbage(root: *mut Root, bytes: u64) -> Garbage {
        Dying::garbage(vec![root], bytes)
    }

    /// Frees a root, all it leads to, and all keys.
    ///
    /// # Safety
    /// Nobody can reach it.
    pub(super) unsafe fn free_all(root: *mut Root) {
        let (mut roots, mut last) = (Vec::new(), root);
        // SAFETY: the caller's word; every link is null or leads to a live root.
        while let Some(root) = unsafe { last.as_ref() } {
            let next = root.next.load(Ordering::Acquire); // pairs with the store in `set_next`
            roots.extend([last, next].iter().filter(|root| !root.is_null()));
            last = root.before.load(Ordering::Acquire); // pairs with the stores in `install` and `settle`
        }
        let mut dying = Dying { roots, from: 0 };
        while dying.free_piece().is_some() {}
    }
}

/// The root that a reader takes. Loads only, no retry, no wait.
#[inline]
pub(super) fn resolve<'g>(slot: &AtomicPtr<Root>, horizon: impl Horizon, guard: &'g Guard<'_>) -> &'g Root {
    // SAFETY: never null; a root is retired, not freed, when it is unlinked, and the guard keeps it. Acquire: pairs with the
    // stores in `install` and `replace`.
    let root: &'g Root = unsafe { &*slot.load(Ordering::Acquire) };
    match root.before(guard) {
        None => root,
        Some(before) => resolve_cleared(root, before, horizon, guard),
    }
}

/// The same while someone may read what was cleared.
#[cold]
fn resolve_cleared<'g>(
    mut root: &'g Root,
    mut before: &'g Root,
    horizon: impl Horizon,
    guard: &'g Guard<'_>,
) -> &'g Root {
    loop {
        // After `before`, as in a node: what that shows is only right if the clear isn't seen after it was loaded.
        let since = root.since.load(Ordering::Acquire); // pairs with the store in `set_since`
        if since != 0 && horizon.shows(since) {
            return root;
        }
        root = before;
        match root.before(guard) {
            None => return root,
            Some(older) => before = older,
        }
    }
}

/// The root that commits change.
#[inline]
pub(super) fn newest<'g>(slot: &AtomicPtr<Root>, guard: &'g Guard<'_>) -> &'g Root {
    resolve(slot, Newest, guard)
}

/// Begins a clear: a root without keys is to follow the present one.
pub(super) fn install<'g>(slot: &AtomicPtr<Root>, new: Box<Root>, _guard: &'g Guard<'_>) -> &'g Root {
    // Relaxed, both: only changed under the lock that is held; published by the next store.
    new.before.store(slot.load(Ordering::Relaxed), Ordering::Relaxed);
    let new = Box::into_raw(new);
    slot.store(new, planted::publish()); // Release: pairs with the load in `resolve`
    // SAFETY: a live root; it is retired, not freed, when it is unlinked.
    unsafe { &*new }
}

/// Takes the newest root out, for another in its place. Returns it.
pub(super) fn replace(slot: &AtomicPtr<Root>, new: *mut Root) -> *mut Root {
    slot.swap(new, Ordering::AcqRel) // pairs with the load in `resolve`
}

/// Takes a clear back that has no revision and never will. Returns its root.
pub(super) fn undo(slot: &AtomicPtr<Root>, installed: &Root) -> *mut Root {
    replace(slot, installed.before.load(Ordering::Relaxed)) // only changed under the lock that is held
}

/// Roots that nobody can reach, being freed.
struct Dying {
    roots: Vec<*mut Root>,
    /// Where freeing the last of them goes on: an entry of its directory.
    from: usize,
}

impl Dying {
    fn garbage(roots: Vec<*mut Root>, bytes: u64) -> Garbage {
        let boxed = Box::into_raw(Box::new(Dying { roots, from: 0 })).cast();
        // SAFETY: the caller has unlinked the roots; `free_dying` frees them on any thread.
        unsafe { Garbage::new(boxed, free_dying, bytes) }
    }

    /// Frees some thousand keys. Returns their bytes; none when all is gone.
    fn free_piece(&mut self) -> Option<u64> {
        let root = *self.roots.last()?;
        // SAFETY: nobody can reach it: it was unlinked, and two epochs have passed.
        let dying = unsafe { &mut *root };
        // SAFETY: as above.
        if let Some((from, bytes)) = unsafe { dying.table.free_piece(self.from) } {
            self.from = from;
            return Some(bytes);
        }
        self.roots.pop();
        self.from = 0;
        // SAFETY: it came from a box, and its table is gone.
        drop(unsafe { Box::from_raw(root) });
        Some(0)
    }
}

/// # Safety
/// `pointer` is a boxed `Dying` whose roots nobody can reach any more.
unsafe fn free_dying(pointer: *mut ()) -> Option<u64> {
    let pointer = pointer.cast::<Dying>();
    // SAFETY: boxed by `garbage`; only this thread has it.
    let freed = unsafe { &mut *pointer }.free_piece();
    if freed.is_none() {
        // SAFETY: as above; nothing is left to free.
        drop(unsafe { Box::from_raw(pointer) });
    }
    freed
}
