//! Settling later: keys whose older versions had to stay when they were overwritten, because someone was reading there. Owns the
//! list of them and when it is their turn; which versions may go is decided by `index`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use kvd_types::Revision;

use crate::engine::{Store, Worker};
use crate::index::ReadPoints;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// Keys that wait, by the revision that the oldest read point must have reached. A slot with more than one version that waits
/// for that stands here; one that was settled meanwhile does no harm.
#[derive(Default)]
pub(crate) struct Settling {
    waiting: Mutex<BinaryHeap<Reverse<(u64, u64)>>>,
    /// How many wait: who finds none doesn't take the lock.
    len: AtomicU64,
}

impl Settling {
    /// The key with this hash waits until no one reads below `revision`.
    pub(crate) fn note(&self, revision: Revision, hash: u64) {
        let mut waiting = lock(&self.waiting);
        waiting.push(Reverse((revision.0, hash)));
        self.len.store(waiting.len() as u64, Ordering::Relaxed); // a hint, only stored under the lock
    }

    fn pop(&self, oldest_read_point: u64) -> Option<u64> {
        // Relaxed: a hint; what is missed now is met by the next commit.
        if self.len.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut waiting = lock(&self.waiting);
        let Reverse((revision, _)) = waiting.peek()?;
        if *revision > oldest_read_point {
            return None;
        }
        let Reverse((_, hash)) = waiting.pop()?;
        self.len.store(waiting.len() as u64, Ordering::Relaxed); // a hint, only stored under the lock
        Some(hash)
    }
}

/// Settles at most `keys` keys whose turn has come. Returns whether more may wait. Without any lock held, unpinned.
pub(crate) fn settle_due(store: &Store, worker: &mut Worker, keys: usize) -> bool {
    settle_roots(store, worker);
    for _ in 0..keys {
        let Some(hash) = store.settling.pop(store.sequence.oldest_read_point()) else { return false };
        settle_one(store, worker, hash);
    }
    true
}

/// Settles the keys with this hash. Without any lock held, unpinned.
pub(crate) fn settle_one(store: &Store, worker: &mut Worker, hash: u64) {
    let guard = worker.reader.pin();
    let copy = |points: &mut ReadPoints| store.sequence.enter().read_points(points);
    let left = store.index.settle_hash(hash, &mut worker.points, copy, &guard, &mut worker.trash);
    drop(guard);
    if let Some(revision) = left {
        store.settling.note(revision, hash);
    }
    worker.trash.tidy();
}

/// Lets go of what was cleared, once nobody reads there any more.
fn settle_roots(store: &Store, worker: &mut Worker) {
    let guard = worker.reader.pin();
    if store.index.is_settling_due(store.sequence.oldest_read_point(), &guard) {
        let copy = |points: &mut ReadPoints| store.sequence.enter().read_points(points);
        store.index.settle_roots(&mut worker.points, copy, &guard, &mut worker.trash);
    }
}
