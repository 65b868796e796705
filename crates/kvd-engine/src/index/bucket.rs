//! One bucket: a cache line of a header and seven slots, and the further lines chained to it when they are full. Owns its lock
//! and the search in its slots; knows nothing of where buckets are or of what a commit is.
//!
//! ```text
//!  header: changes (61 bits) | moved | waiters | locked      slot 0 .. slot 6, the last may be a link to seven more
//! ```
//!
//! A key is guarded by the lock of its home bucket, and all its versions stay in one slot. Readers ignore the lock: they load
//! slots, and whatever they find is whole.

use super::record::Record;
use super::word::{View, Word};
use super::{search, version};
use crate::planted;
use crate::reclaim::Guard;
use crate::sync::{AtomicU64, Ordering, yield_now};

/// Slots of a bucket.
pub(super) const SLOTS: usize = if cfg!(kvd_loom) { 2 } else { 7 };

const LOCKED: u64 = 1 << 0;
const WAITERS: u64 = 1 << 1;
const MOVED: u64 = 1 << 2;
const CHANGE: u64 = 1 << 3;

/// Tries before a waiting writer leaves the processor to others.
const SPINS: usize = 64;

/// A line of the index.
#[repr(C, align(64))]
pub(crate) struct Bucket {
    header: AtomicU64,
    pub(super) slots: [AtomicU64; SLOTS],
}

// As `search` has it.
#[cfg(not(any(kvd_loom, kvd_shuttle)))]
const _: () = assert!(std::mem::offset_of!(Bucket, slots) == 8 && size_of::<Bucket>() == 64);

/// A locked bucket. It unlocks when dropped.
pub(crate) struct Locked<'g> {
    pub(super) bucket: &'g Bucket,
}

/// These buckets, each locked once, lowest address first; none if one has moved.
pub(super) fn lock_all(mut buckets: Vec<&Bucket>) -> Option<Vec<Locked<'_>>> {
    buckets.sort_unstable_by_key(|bucket| bucket.address());
    buckets.dedup_by_key(|bucket| bucket.address());
    let mut locks = Vec::with_capacity(buckets.len());
    for bucket in buckets {
        let locked = bucket.lock();
        if bucket.is_moved() {
            return None;
        }
        locks.push(locked);
    }
    Some(locks)
}

/// A slot under its bucket's lock.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'g>(&'g AtomicU64);

impl Bucket {
    pub(super) fn new() -> Bucket {
        Bucket { header: AtomicU64::new(0), slots: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// What locks are taken in the order of.
    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Whether the bucket's keys are elsewhere now. Once true it stays so.
    #[inline]
    pub(super) fn is_moved(&self) -> bool {
        self.header.load(Ordering::Acquire) & MOVED != 0 // pairs with the store in `set_moved`
    }

    /// How often the bucket was changed, and whether it is being changed.
    pub(super) fn changes(&self) -> u64 {
        self.header.load(Ordering::Acquire) & !(WAITERS | MOVED) // pairs with the unlock
    }

    /// Whether no key came or went between two counts, and none is on its way: a slot may have been emptied by a commit that
    /// is not visible yet, and holds the lock until it is.
    pub(super) fn is_unchanged(before: u64, after: u64) -> bool {
        before == after && before & LOCKED == 0
    }

    /// The record of `key`, if it is the only version and lies where most do: in the first slot of this line that has the key's
    /// tag. None says nothing.
    #[inline]
    pub(super) fn find_plain<'g>(&self, tag: u16, key: &[u8], guard: &'g Guard<'_>) -> Option<Record<'g>> {
        // All slots before any branch: a search that stopped at its slot would be predicted wrong nearly every time, and the
        // processor could not begin the next get before this one's bucket has come.
        let candidates = search::slots_with_tag(self, tag);
        let slot = self.slots.get(candidates.trailing_zeros() as usize)?;
        let word = Word(slot.load(Ordering::Acquire)); // pairs with the store in `Slot::store`
        word.prefetch_rest();
        word.plain_record(tag, guard).filter(|record| record.has_key(key))
    }

    /// The slot with `key`, as a reader finds it: its word, loaded once.
    pub(super) fn find(&self, tag: u16, key: &[u8], guard: &Guard<'_>) -> Word {
        let mut bucket = self;
        loop {
            let mut candidates = search::slots_with_tag(bucket, tag);
            while candidates != 0 {
                let slot = &bucket.slots[candidates.trailing_zeros() as usize];
                let word = Word(slot.load(Ordering::Acquire)); // pairs with the store in `Slot::store`
                if word.tag() == tag && version::has_key(word, key, guard) {
                    return word;
                }
                candidates &= candidates - 1;
            }
            let Some(next) = bucket.chained(guard) else { return Word::EMPTY };
            bucket = next;
        }
    }

    /// The words of all slots, links followed.
    pub(super) fn for_each_word(&self, guard: &Guard<'_>, mut visit: impl FnMut(Word)) {
        let mut next = Some(self);
        while let Some(bucket) = next.take() {
            for slot in &bucket.slots {
                let word = Word(slot.load(Ordering::Acquire)); // pairs with the store in `Slot::store`
                match word.view(guard) {
                    View::Link(link) => next = Some(link),
                    View::Empty => {}
                    _ => visit(word),
                }
            }
        }
    }

    /// Waits until the bucket is this thread's to change. Who needs several takes them by address, lowest first.
    pub(super) fn lock(&self) -> Locked<'_> {
        let mut spins = 0;
        loop {
            let header = self.header.load(Ordering::Relaxed); // only a guess, the exchange below decides
            let unlocked = header & !LOCKED;
            // Acquire: pairs with the unlock. Relaxed on failure: another try follows.
            let exchange =
                self.header.compare_exchange_weak(unlocked, header | LOCKED, Ordering::Acquire, Ordering::Relaxed);
            if exchange.is_ok() {
                return Locked { bucket: self };
            }
            if cfg!(any(kvd_loom, kvd_shuttle)) {
                yield_now();
            } else if header & LOCKED != 0 {
                spins += 1;
                if spins < SPINS {
                    std::hint::spin_loop();
                } else {
                    self.wait();
                }
            }
        }
    }

    /// Sleeps until the lock was given up, if it is still held.
    #[cold]
    fn wait(&self) {
        // Relaxed, all: what matters is decided by the exchange in `lock`; the parking lot's own lock orders the rest.
        let marked = self.header.fetch_or(WAITERS, Ordering::Relaxed);
        if marked & LOCKED == 0 {
            return;
        }
        let still_held = || {
            let header = self.header.load(Ordering::Relaxed); // see above
            header & (LOCKED | WAITERS) == LOCKED | WAITERS
        };
        // SAFETY: the address is this bucket's header, which nobody else parks on; the callbacks do not park, and don't panic.
        unsafe {
            parking_lot_core::park(
                &raw const self.header as usize,
                still_held,
                || {},
                |_, _| {},
                parking_lot_core::DEFAULT_PARK_TOKEN,
                None,
            );
        }
    }

    #[cold]
    fn wake(&self) {
        // SAFETY: as in `wait`. All are woken: they are few, and each takes its chance again.
        unsafe {
            parking_lot_core::unpark_all(&raw const self.header as usize, parking_lot_core::DEFAULT_UNPARK_TOKEN);
        }
    }

    /// Asks the processor to fetch the record of the first slot with this tag.
    #[inline]
    pub(super) fn prefetch(&self, tag: u16) {
        let candidates = search::slots_with_tag(self, tag);
        if let Some(slot) = self.slots.get(candidates.trailing_zeros() as usize) {
            Word(slot.load(Ordering::Relaxed)).prefetch(); // only a hint: nothing is looked at
        }
    }

    /// The line chained to this one.
    pub(super) fn chained<'g>(&self, guard: &'g Guard<'_>) -> Option<&'g Bucket> {
        let word = Word(self.slots[SLOTS - 1].load(Ordering::Acquire)); // pairs with the store in `Slot::store`
        match word.view(guard) {
            View::Link(bucket) => Some(bucket),
            _ => None,
        }
    }

    /// For the segment that frees its own lines.
    pub(super) fn link(&self, guard: &Guard<'_>) -> Option<*mut Bucket> {
        self.chained(guard).map(|bucket| std::ptr::from_ref(bucket).cast_mut())
    }

    /// Puts `word` into a bucket that is not published yet. Returns bytes allocated for it.
    pub(super) fn fill(&self, word: Word, guard: &Guard<'_>) -> u64 {
        let bytes = self.reserve(1, guard);
        self.vacant(guard).store(word);
        bytes
    }

    /// Makes the chain longer until it has `slots` empty slots. Words may change their slot: by then none must be known.
    /// Returns bytes allocated.
    fn reserve(&self, slots: usize, guard: &Guard<'_>) -> u64 {
        let (mut empty, mut bytes) = (0, 0);
        let mut bucket = self;
        loop {
            empty += bucket.slots.iter().filter(|slot| Slot(slot).word().is_empty()).count();
            if empty >= slots {
                return bytes;
            }
            bucket = bucket.chained(guard).unwrap_or_else(|| {
                let last = Slot(&bucket.slots[SLOTS - 1]);
                empty -= usize::from(last.word().is_empty());
                let more = Bucket::new();
                // A reader finds the word of the last slot here or there: the copy is complete before the link is stored.
                more.slots[0].store(last.word().0, Ordering::Relaxed); // published by the store of the link
                last.store(Word::link(Box::into_raw(Box::new(more))));
                bytes += size_of::<Bucket>() as u64;
                bucket.chained(guard).expect("it was just chained")
            });
        }
    }

    /// An empty slot. There is one: it was reserved.
    fn vacant<'g>(&'g self, guard: &'g Guard<'_>) -> Slot<'g> {
        let mut bucket = self;
        loop {
            if let Some(slot) = bucket.slots.iter().find(|slot| Slot(slot).word().is_empty()) {
                return Slot(slot);
            }
            bucket = bucket.chained(guard).expect("an empty slot was reserved");
        }
    }
}

impl<'g> Locked<'g> {
    /// The slot with `key`, if it has one.
    pub(crate) fn find(&self, tag: u16, key: &[u8], guard: &'g Guard<'_>) -> Option<Slot<'g>> {
        let mut bucket = self.bucket;
        'chain: loop {
            for slot in &bucket.slots {
                let word = Slot(slot).word();
                if let View::Link(next) = word.view(guard) {
                    bucket = next;
                    continue 'chain;
                }
                if word.tag() == tag && version::has_key(word, key, guard) {
                    return Some(Slot(slot));
                }
            }
            return None;
        }
    }

    /// Makes sure of so many empty slots, before any slot of this bucket is looked for: words may change theirs. Returns bytes
    /// allocated.
    pub(super) fn reserve(&self, slots: usize, guard: &Guard<'_>) -> u64 {
        self.bucket.reserve(slots, guard)
    }

    /// An empty slot of those reserved, for a key that has none.
    pub(super) fn vacant(&self, guard: &'g Guard<'_>) -> Slot<'g> {
        self.bucket.vacant(guard)
    }

    /// The slots that hold nodes with this tag.
    pub(super) fn nodes(&self, tag: u16, guard: &'g Guard<'_>, mut visit: impl FnMut(Slot<'g>)) {
        let mut next = Some(self.bucket);
        while let Some(bucket) = next.take() {
            for slot in &bucket.slots {
                let word = Slot(slot).word();
                match word.view(guard) {
                    View::Link(link) => next = Some(link),
                    View::Node(_) if word.tag() == tag => visit(Slot(slot)),
                    _ => {}
                }
            }
        }
    }

    /// Tells all who come that the keys are elsewhere. The copy must be complete and its place known.
    pub(super) fn set_moved(&self) {
        self.bucket.header.fetch_or(MOVED, planted::publish()); // Release: pairs with the load in `is_moved`
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Release: pairs with the exchange in `lock`, and with the load in `changes`. LOCKED is set, so the sum takes it away.
        let header = self.bucket.header.fetch_add(CHANGE - LOCKED, Ordering::Release);
        if header & WAITERS != 0 {
            // Relaxed: who marks it again afterwards finds the lock free, or parks behind a new holder.
            self.bucket.header.fetch_and(!WAITERS, Ordering::Relaxed);
            self.bucket.wake();
        }
    }
}

impl Slot<'_> {
    /// What the slot holds. Under its bucket's lock nobody else stores to it.
    pub(crate) fn word(self) -> Word {
        Word(self.0.load(Ordering::Acquire)) // pairs with the stores of those who held the lock before
    }

    pub(super) fn store(self, word: Word) {
        self.0.store(word.0, planted::publish()); // Release: pairs with the loads in `find` and `for_each_word`
    }
}
