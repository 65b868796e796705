//! The versions of one key: a chain of nodes behind its slot while more than the newest is needed, or while a commit is under
//! way. Owns which version a reader takes and which versions may go; knows nothing of where slots are.
//!
//! ```text
//!  settled            slot -> record
//!  commit under way   slot -> node { new: record', old: record, revision: 0 }          readers take old
//!  committed          slot -> node { new: record', old: record, revision: 7 }          readers of 7 and later take new
//!  settled            slot -> record', with revision 7 filled in                       nobody reads below 7
//!  kept               slot -> node 9 -> node 7 -> record                               a read point lies in 7..9
//!  history of 1       slot -> node 9 -> node 7 -> dropped                              there was a version before 7
//! ```
//!
//! All nodes of one commit point at one [`Commit`], whose revision is stored once: so all its keys change by one store. Later,
//! still under the bucket's lock, each node gets the revision itself, and the `Commit` is retired.

use kvd_types::Revision;

use super::record::{self, Draft, Record};
use super::word::{Removal, View, Word};
use crate::planted::{self, Bug};
use crate::reclaim::{Garbage, Guard, Trash};
use crate::sync::{AtomicU64, Ordering};

/// A version of a key and what came before it.
pub(super) struct Node {
    /// This version: a record or a tombstone. Never changes.
    pub(super) new: Word,
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

    pub(super) fn old(&self) -> Word {
        Word(self.old.load(Ordering::Acquire)) // pairs with the stores in `set_old` and of the slot that published the node
    }

    fn set_old(&self, old: Word) {
        self.old.store(old.0, Ordering::Release); // pairs with the load in `old`
    }

    /// The commit's revision, 0 while it has none.
    pub(super) fn revision(&self) -> u64 {
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
            View::Empty | View::Tombstone(_) | View::Dropped | View::Link(_) => return None,
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
            View::Empty | View::Tombstone(_) | View::Dropped | View::Link(_) => return None,
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
    Delete(Removal),
}

impl Change {
    pub(super) fn word(&self, tag: u16) -> Word {
        match self {
            Change::Put(draft) => Word::record(draft.record(), tag),
            Change::Delete(removal) => Word::tombstone(*removal, tag),
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
    /// No history goes back to a deletion of this revision or an earlier one.
    pub(crate) forgotten: u64,
}

impl ReadPoints {
    /// Nobody reads, and everything is visible.
    pub(crate) fn of_nobody(history: usize, forgotten: u64) -> ReadPoints {
        ReadPoints { points: vec![u64::MAX], visible: u64::MAX, history, forgotten }
    }

    /// Whether a history ends before this version: it is a deletion that is forgotten.
    fn forgets(&self, version: Word, guard: &Guard<'_>) -> bool {
        let View::Node(node) = version.view(guard) else { return false };
        // Not before readers see it: until then they have what was before.
        !node.new.is_record() && node.revision() <= self.forgotten.min(self.visible)
    }

    /// The oldest.
    pub(crate) fn oldest(&self) -> u64 {
        *self.points.first().expect("VISIBLE is one of them")
    }

    /// What is behind `older` versions of a history when one behind them goes that had `rest` behind it. Where it is pushed out
    /// by newer ones a mark stays; where it is forgotten `forgotten` says so.
    fn rest(&self, rest: Word, older: usize) -> Word {
        match rest.is_end() {
            true if self.history > 0 && older >= self.history => Word::DROPPED,
            true => Word::EMPTY,
            false => rest,
        }
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

/// Takes a version out of its chain. Returns what was behind it.
fn retire(word: Word, freed_bytes: &mut u64, guard: &Guard<'_>, trash: &mut Trash) -> Word {
    match word.view(guard) {
        View::Record(record) => {
            *freed_bytes += record.bytes();
            trash.retire(record.into_garbage());
            Word::EMPTY
        }
        View::Node(node) => {
            if let View::Record(record) = node.new.view(guard) {
                *freed_bytes += record.bytes();
                trash.retire(record.into_garbage());
            }
            *freed_bytes += size_of::<Node>() as u64;
            trash.retire(node.into_garbage());
            node.old()
        }
        View::Dropped => Word::DROPPED,
        View::Empty | View::Tombstone(_) | View::Link(_) => Word::EMPTY,
    }
}

/// Takes all versions out. Returns their bytes and those of their nodes.
pub(super) fn retire_all(mut word: Word, guard: &Guard<'_>, trash: &mut Trash) -> u64 {
    let mut freed_bytes = 0;
    while !word.is_end() {
        word = retire(word, &mut freed_bytes, guard, trash);
    }
    freed_bytes
}

/// Drops the versions behind `head` that nobody needs, and makes a lone visible version plain again. Under the bucket's lock,
/// after the commit has its revision and with read points taken under SEQ after that.
///
/// What a history has to have stays in any case: the versions that readers don't see yet, the one that they see, and so many
/// before that. So there is no gap between these; behind them there may be.
pub(super) fn settle(head: Word, points: &ReadPoints, guard: &Guard<'_>, trash: &mut Trash) -> Settled {
    let mut freed_bytes = 0;
    let mut successor = head;
    // Versions that history wants, without the newest; of them, those that are older than what readers see.
    let (mut wanted, mut older, mut waits) = (0, 0, false);
    let mut has_history = points.history > 0 && !points.forgets(head, guard);
    while let View::Node(node) = successor.view(guard) {
        let old = node.old();
        let from = match old.view(guard) {
            View::Record(record) => record.revision().0,
            View::Node(node) => node.revision(),
            View::Empty | View::Tombstone(_) | View::Dropped | View::Link(_) => break,
        };
        has_history = has_history && !points.forgets(old, guard);
        // Where history ends before it is full, the deletion stays between it and what readers need, and goes with that.
        let is_end = older < points.history && points.forgets(old, guard);
        let is_hidden = node.revision() > points.visible;
        let is_wanted = has_history && (is_hidden || older < points.history);
        let is_needed = points.need(from, node.revision());
        if is_wanted || is_needed || is_end {
            waits |= is_hidden || is_needed && !is_wanted;
            wanted += usize::from(is_wanted);
            older += usize::from(is_wanted && !is_hidden);
            successor = old;
        } else {
            let rest = retire(old, &mut freed_bytes, guard, trash);
            node.set_old(points.rest(rest, older));
        }
    }
    while let Some((last, before)) = trailing_tombstone(head, wanted, guard) {
        let rest = retire(last, &mut freed_bytes, guard, trash);
        before.set_old(points.rest(rest, older));
    }
    if let View::Node(node) = head.view(guard) {
        let is_alone = node.old().is_end();
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
/// chain could be left without any record to tell its key by. The `wanted` newest older versions stay for who lists them.
fn trailing_tombstone<'g>(head: Word, wanted: usize, guard: &'g Guard<'_>) -> Option<(Word, &'g Node)> {
    let View::Node(mut before) = head.view(guard) else { return None };
    let mut older = 1;
    loop {
        let word = before.old();
        let View::Node(node) = word.view(guard) else { return None };
        if node.old().is_end() {
            return (!node.new.is_record() && older > wanted).then_some((word, before));
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

/// The revision of the newest version, if that is a deletion.
pub(super) fn deleted_at(word: Word, guard: &Guard<'_>) -> Option<Revision> {
    match word.view(guard) {
        View::Node(node) if !node.new.is_record() => Some(Revision(node.revision())),
        _ => None,
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
            View::Empty | View::Tombstone(_) | View::Dropped | View::Link(_) => return,
        }
    }
}
