//! The versions of one key: a chain of nodes behind its slot while more than the newest is needed, or while a commit is under
//! way. Owns which version a reader takes and which versions may go; knows nothing of where slots are.
//!
//! ```text
//!  settled            slot -> record
//!  commit under way   slot -> node { new: record', old: record, revision: 0 }          readers take old
//!  committed          slot -> node { new: record', old: record, revision: 7 }          readers of 7 and later take new
//!  settled            slot -> record', with revision 7 filled in                       nobody reads below 7
//!  kept               slot -> node 9 -> node 7 -> record                               a read point lies in 7..9
//! ```
//!
//! All nodes of one commit point at one [`Commit`], whose revision is stored once: so all its keys change by one store. Later,
//! still under the bucket's lock, each node gets the revision itself, and the `Commit` is retired.

use kvd_types::{Reason, Revision};

use super::record::{self, Draft, Record};
use super::word::{View, Word};
use crate::planted::{self, Bug};
use crate::reclaim::{Garbage, Guard, Trash};
use crate::sync::{AtomicU64, Ordering};

/// A version of a key and what came before it.
pub(super) struct Node {
    /// This version: a record or a tombstone. Never changes.
    new: Word,
    /// The version before: a word like a slot's. Stored under the bucket's lock, Release; loaded by readers, Acquire.
    old: AtomicU64,
    /// The commit's revision; 0 as long as it is not known here. Stored by the commit, Release; loaded by readers, Acquire.
    revision: AtomicU64,
    /// Where a commit of many keys stores its revision for all of them; null for a commit of one key.
    commit: *const Commit,
}

// SAFETY: all that changes is atomic, and the commit outlives every reader that can see `revision` 0.
unsafe impl Sync for Node {}

/// The one revision of a commit of many keys.
pub(crate) struct Commit(AtomicU64);

/// Which commits a reader sees. Asked afresh for every node: an answer that was remembered would mix states.
pub(crate) trait Horizon: Copy {
    /// Whether the commit `revision`, which is known to be committed, is seen.
    fn shows(&self, revision: u64) -> bool;

    /// Whether a version in a plain slot is seen. All but readers at a fixed revision see every one.
    fn shows_plain(&self, _revision: u64) -> bool {
        true
    }
}

/// Sees every commit: for who holds the bucket's lock.
#[derive(Clone, Copy)]
pub(crate) struct Newest;

impl Horizon for Newest {
    fn shows(&self, _: u64) -> bool {
        true
    }
}

/// Sees the commits up to one revision.
#[derive(Clone, Copy)]
pub(crate) struct At(pub(crate) Revision);

impl Horizon for At {
    fn shows(&self, revision: u64) -> bool {
        revision <= self.0.0
    }

    fn shows_plain(&self, revision: u64) -> bool {
        revision <= self.0.0
    }
}

/// A version that a reader took, and the commit that wrote it.
#[derive(Clone, Copy)]
pub(crate) struct Version<'g> {
    pub(crate) record: Record<'g>,
    pub(crate) revision: Revision,
}

impl Commit {
    /// A commit without a revision. Not owned by who makes it: nodes point at it until it is retired, whatever happens.
    pub(crate) fn new() -> &'static Commit {
        Box::leak(Box::new(Commit(AtomicU64::new(0))))
    }

    /// Makes the commit known to all its nodes at once.
    pub(crate) fn store(&self, revision: Revision) {
        self.0.store(revision.0, planted::publish()); // Release: pairs with the load in `Node::revision`
    }

    /// For who has filled the revision into all nodes.
    pub(crate) fn as_garbage(&'static self) -> Garbage {
        let bytes = size_of::<Commit>() as u64;
        let pointer = std::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: readers that pin from now on find the revision in the nodes and never come here; it came from a box.
        unsafe { Garbage::new(pointer, free_boxed::<Commit>, bytes) }
    }
}

impl Node {
    /// A node for a commit that has no revision yet.
    pub(super) fn new(new: Word, old: Word, commit: Option<&Commit>) -> *mut Node {
        let commit = commit.map_or(std::ptr::null(), std::ptr::from_ref);
        Box::into_raw(Box::new(Node { new, old: AtomicU64::new(old.0), revision: AtomicU64::new(0), commit }))
    }

    fn old(&self) -> Word {
        Word(self.old.load(Ordering::Acquire)) // pairs with the stores in `set_old` and of the slot that published the node
    }

    fn set_old(&self, old: Word) {
        self.old.store(old.0, Ordering::Release); // pairs with the load in `old`
    }

    /// The commit's revision, 0 while it has none.
    fn revision(&self) -> u64 {
        // Acquire: pairs with the store in `set_revision`.
        let revision = self.revision.load(Ordering::Acquire);
        if revision != 0 || self.commit.is_null() {
            return revision;
        }
        // SAFETY: `commit` is retired after `revision` was filled in; a reader that still found 0 was pinned before.
        let commit = unsafe { &*self.commit };
        commit.0.load(Ordering::Acquire) // pairs with the store in `Commit::store`
    }

    /// Gives the node its commit's revision: the commit itself, if it has one key; otherwise after it.
    pub(super) fn set_revision(&self, revision: Revision) {
        self.revision.store(revision.0, planted::publish()); // Release: pairs with the load in `revision`
    }

    fn into_garbage(self: &Node) -> Garbage {
        let pointer = std::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the caller has unlinked it; it came from a box.
        unsafe { Garbage::new(pointer, free_boxed::<Node>, size_of::<Node>() as u64) }
    }
}

/// # Safety
/// `pointer` came from `Box::<T>::into_raw`, and nobody can reach it any more.
unsafe fn free_boxed<T>(pointer: *mut ()) -> Option<u64> {
    // SAFETY: the caller's word.
    drop(unsafe { Box::from_raw(pointer.cast::<T>()) });
    None
}

/// The version that a reader takes from `word`. Loads only, no retry, no wait.
#[inline]
pub(super) fn resolve<'g>(mut word: Word, horizon: impl Horizon, guard: &'g Guard<'_>) -> Option<Version<'g>> {
    loop {
        match word.view(guard) {
            View::Record(record) => return plain(record, horizon),
            View::Node(node) => {
                // The order is the protocol: what `old` shows is only right if the node isn't seen *after* it was loaded.
                let (old, revision);
                if planted::is(Bug::RevisionBeforeOld) {
                    revision = node.revision();
                    let shown = revision != 0 && horizon.shows(revision);
                    old = node.old();
                    if !shown {
                        word = old;
                        continue;
                    }
                } else {
                    old = node.old();
                    revision = node.revision();
                }
                if revision == 0 || !horizon.shows(revision) {
                    word = old;
                    continue;
                }
                let View::Record(record) = node.new.view(guard) else { return None };
                return Some(Version { record, revision: Revision(revision) });
            }
            View::Empty | View::Tombstone | View::Link(_) => return None,
        }
    }
}

/// The version in a plain slot.
#[inline]
pub(super) fn plain<'g>(record: Record<'g>, horizon: impl Horizon) -> Option<Version<'g>> {
    let revision = record.revision();
    horizon.shows_plain(revision.0).then_some(Version { record, revision })
}

/// Any record of the chain: they all have the key. None in an empty slot.
#[inline]
pub(super) fn any_record<'g>(mut word: Word, guard: &'g Guard<'_>) -> Option<Record<'g>> {
    loop {
        match word.view(guard) {
            View::Record(record) => return Some(record),
            View::Node(node) => match node.new.view(guard) {
                View::Record(record) => return Some(record),
                _ => word = node.old(),
            },
            View::Empty | View::Tombstone | View::Link(_) => return None,
        }
    }
}

/// Whether the chain is that of `key`.
#[inline]
pub(super) fn has_key(word: Word, key: &[u8], guard: &Guard<'_>) -> bool {
    any_record(word, guard).is_some_and(|record| record.has_key(key))
}

/// What a commit puts into a slot.
pub(crate) enum Change {
    Put(Draft),
    Delete(Reason),
}

impl Change {
    pub(super) fn word(&self, tag: u16) -> Word {
        match self {
            Change::Put(draft) => Word::record(draft.record(), tag),
            Change::Delete(reason) => Word::tombstone(*reason, tag),
        }
    }
}

/// The revisions at which someone may still read: sorted, without duplicates. The first is the oldest.
#[derive(Default)]
pub(crate) struct ReadPoints {
    /// Pins, the sealed revision and the visible one.
    pub(crate) points: Vec<u64>,
    /// What is visible now.
    pub(crate) visible: u64,
    /// Older versions kept of each key, whether or not someone reads there.
    pub(crate) history: usize,
}

impl ReadPoints {
    /// The oldest.
    pub(crate) fn oldest(&self) -> u64 {
        *self.points.first().expect("VISIBLE is one of them")
    }

    /// Whether a reader may ask for the version `from`, whose successor is of revision `to`.
    pub(super) fn need(&self, from: u64, to: u64) -> bool {
        let first = self.points.partition_point(|point| *point < from);
        self.points.get(first).is_some_and(|point| *point < to)
    }
}

/// What settling a slot did.
pub(super) struct Settled {
    /// What the slot is to hold now.
    pub(super) word: Word,
    /// Bytes of the versions that went.
    pub(super) freed_bytes: u64,
    /// Whether more is to be done once the oldest read point has moved.
    pub(super) waits: bool,
}

/// Drops the versions behind `head` that nobody needs, and makes a lone visible version plain again. Under the bucket's lock,
/// after the commit has its revision and with read points taken under SEQ after that.
pub(super) fn settle(head: Word, points: &ReadPoints, guard: &Guard<'_>, trash: &mut Trash) -> Settled {
    let mut freed_bytes = 0;
    let mut retire = |word: Word, trash: &mut Trash| -> Word {
        match word.view(guard) {
            View::Record(record) => {
                freed_bytes += record.bytes();
                trash.retire(record.into_garbage());
                Word::EMPTY
            }
            View::Node(node) => {
                if let View::Record(record) = node.new.view(guard) {
                    freed_bytes += record.bytes();
                    trash.retire(record.into_garbage());
                }
                freed_bytes += size_of::<Node>() as u64;
                trash.retire(node.into_garbage());
                node.old()
            }
            View::Empty | View::Tombstone | View::Link(_) => Word::EMPTY,
        }
    };
    let mut successor = head;
    let (mut kept, mut waits) = (0, false);
    while let View::Node(node) = successor.view(guard) {
        let old = node.old();
        let from = match old.view(guard) {
            View::Record(record) => record.revision().0,
            View::Node(node) => node.revision(),
            View::Empty | View::Tombstone | View::Link(_) => break,
        };
        if kept < points.history || points.need(from, node.revision()) {
            waits |= kept >= points.history;
            kept += 1;
            successor = old;
        } else {
            node.set_old(retire(old, trash));
        }
    }
    while let Some((last, before)) = trailing_tombstone(head, points.history, guard) {
        before.set_old(retire(last, trash));
    }
    if let View::Node(node) = head.view(guard) {
        let is_alone = node.old().is_empty();
        let is_tombstone = !node.new.is_record();
        if is_alone && (is_tombstone || node.revision() <= points.visible) {
            // The record lives on in the slot itself.
            if let View::Record(record) = node.new.view(guard) {
                record.set_revision(Revision(node.revision()));
            }
            // With the slot's tag: the keys of a re-keyed store have another one than when the node was made.
            let word = if is_tombstone { Word::EMPTY } else { node.new.with_tag(head.tag()) };
            freed_bytes += size_of::<Node>() as u64;
            trash.retire(node.into_garbage());
            return Settled { word, freed_bytes, waits: false };
        }
        waits |= is_alone;
    }
    Settled { word: head, freed_bytes, waits }
}

/// A deletion with nothing older behind it, and the node before it: to every reader it is the same as nothing. If it stayed, a
/// chain could be left without any record to tell its key by. The last `history` versions stay for who lists them.
fn trailing_tombstone<'g>(head: Word, history: usize, guard: &'g Guard<'_>) -> Option<(Word, &'g Node)> {
    let View::Node(mut before) = head.view(guard) else { return None };
    let mut older = 1;
    loop {
        let word = before.old();
        let View::Node(node) = word.view(guard) else { return None };
        if node.old().is_empty() {
            return (!node.new.is_record() && older > history).then_some((word, before));
        }
        before = node;
        older += 1;
    }
}

/// Takes back a commit that has no revision and never will: the slot's old word. Readers that hold the node find revision 0
/// for ever and take `old`; the record may be looked at by who compares keys, so it is retired.
pub(super) fn undo(word: Word, guard: &Guard<'_>, trash: &mut Trash) -> Word {
    let View::Node(node) = word.view(guard) else { return word };
    if let View::Record(record) = node.new.view(guard) {
        trash.retire(record.into_garbage());
    }
    trash.retire(node.into_garbage());
    node.old()
}

/// Bytes of the newest version's record.
pub(super) fn newest_bytes(word: Word, guard: &Guard<'_>) -> u64 {
    resolve(word, Newest, guard).map_or(0, |version| version.record.bytes())
}

/// Bytes that a commit over `before` keeps beside the newest version, until they are settled.
pub(super) fn held_bytes(before: Word, guard: &Guard<'_>) -> u64 {
    newest_bytes(before, guard) + size_of::<Node>() as u64
}

/// Gives the head of a chain its revision.
pub(super) fn set_head_revision(word: Word, revision: Revision, guard: &Guard<'_>) {
    if let View::Node(node) = word.view(guard) {
        node.set_revision(revision);
    }
}

/// Revision of the newest version: that of the node, or of the record.
pub(super) fn head_revision(word: Word, guard: &Guard<'_>) -> u64 {
    match word.view(guard) {
        View::Node(node) => node.revision(),
        View::Record(record) => record.revision().0,
        _ => 0,
    }
}

/// Frees a whole chain in an index that nobody can reach any more.
///
/// # Safety
/// Nobody can reach the chain, and `guard` may be any guard: nothing else is protected by it.
pub(super) unsafe fn free_chain(mut word: Word, guard: &Guard<'_>) {
    loop {
        match word.view(guard) {
            // SAFETY: the caller's word.
            View::Record(record) => return unsafe { record::free_record(record) },
            View::Node(node) => {
                if let View::Record(record) = node.new.view(guard) {
                    // SAFETY: the caller's word.
                    unsafe { record::free_record(record) };
                }
                word = node.old();
                // SAFETY: the caller's word; it came from a box.
                unsafe { free_boxed::<Node>(std::ptr::from_ref(node).cast_mut().cast()) };
            }
            View::Empty | View::Tombstone | View::Link(_) => return,
        }
    }
}
