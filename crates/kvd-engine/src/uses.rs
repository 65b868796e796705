//! What a worker has used of late, for who chooses what to evict: a ring of hashes on lines that the worker alone stores to, by
//! plain stores, as it does with its counters. Owns the ring and both its ends; knows nothing of what becomes of a use.
//!
//! A get takes nothing, so it can't leave a mark with the key. It leaves the hash here; who evicts takes it from time to time.
//! What was overwritten by then is lost: many uses between two evictions are a sample of themselves.

use std::sync::Arc;

use crate::sync::{AtomicU64, Ordering, Padded};

/// Uses that a ring holds, a power of 2: 16 KiB, so that it stays in a core's own caches.
const SLOTS: usize = if cfg!(any(kvd_loom, kvd_shuttle)) { 4 } else { 2_048 };

/// A worker's uses, newest over oldest.
struct Ring {
    /// Uses noted since the worker began. Stored by the worker alone.
    noted: Padded<AtomicU64>,
    /// The hashes of the last of them: the use numbered `n` has the slot `n % SLOTS`.
    slots: [AtomicU64; SLOTS],
}

/// A worker's end.
pub(crate) struct Uses(Option<Arc<Ring>>);

/// The end of who takes what was noted.
pub(crate) struct Taker {
    ring: Arc<Ring>,
    /// Uses taken, or lost, so far.
    taken: u64,
}

impl Uses {
    /// For a store that evicts nothing.
    pub(crate) fn unnoted() -> Uses {
        Uses(None)
    }

    pub(crate) fn new() -> (Uses, Taker) {
        let slots = std::array::from_fn(|_| AtomicU64::new(0));
        let ring = Arc::new(Ring { noted: Padded(AtomicU64::new(0)), slots });
        (Uses(Some(Arc::clone(&ring))), Taker { ring, taken: 0 })
    }

    /// A key with this hash was asked for, or overwritten. Two stores to the worker's own lines.
    #[inline]
    pub(crate) fn note(&mut self, hash: u64) {
        let Some(ring) = &self.0 else { return };
        let noted = ring.noted.load(Ordering::Relaxed); // stored here alone
        ring.slots[noted as usize % SLOTS].store(hash, Ordering::Relaxed); // published by the next store
        ring.noted.store(noted + 1, Ordering::Release); // pairs with the load in `take`
    }
}

impl Taker {
    /// Shows what was noted since the last time, as far as it is still there.
    pub(crate) fn take(&mut self, visit: impl FnMut(u64)) {
        let noted = self.ring.noted.load(Ordering::Acquire); // pairs with the store in `note`
        let first = self.taken.max(noted.saturating_sub(SLOTS as u64));
        // Relaxed: a slot that is overwritten meanwhile holds a later use, which is as good.
        (first..noted).map(|at| self.ring.slots[at as usize % SLOTS].load(Ordering::Relaxed)).for_each(visit);
        self.taken = noted;
    }

    /// Whether the worker is gone.
    pub(crate) fn is_over(&self) -> bool {
        Arc::strong_count(&self.ring) == 1
    }
}

#[cfg(all(test, not(any(kvd_loom, kvd_shuttle))))]
mod tests {
    use super::*;

    fn taken(taker: &mut Taker) -> Vec<u64> {
        let mut taken = Vec::new();
        taker.take(|hash| taken.push(hash));
        taken
    }

    #[test]
    fn what_was_noted_is_taken_once_and_in_order() {
        let (mut uses, mut taker) = Uses::new();
        [7, 8, 7].into_iter().for_each(|hash| uses.note(hash));
        assert_eq!(taken(&mut taker), [7, 8, 7]);
        assert_eq!(taken(&mut taker), [0; 0]);
        uses.note(9);
        assert!(!taker.is_over());
        drop(uses);
        assert!(taker.is_over());
        assert_eq!(taken(&mut taker), [9], "what a worker noted outlives it");
    }

    #[test]
    fn of_too_many_uses_the_last_are_kept() {
        let (mut uses, mut taker) = Uses::new();
        let count = 3 * SLOTS as u64 + 5;
        (0..count).for_each(|hash| uses.note(hash));
        assert_eq!(taken(&mut taker), (count - SLOTS as u64..count).collect::<Vec<_>>());
    }
}
