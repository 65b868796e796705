//! Helping keys on to the table of the keyed hash, for threads that come by. Knows nothing of how they move: that is `index`'s.

use crate::engine::{Store, Worker};
use crate::index::{Horizon, Newest};

/// Moves the keys of some buckets if keys are moving. Returns whether more are left. Without any lock held, unpinned.
#[inline]
pub(crate) fn move_some(store: &Store, worker: &mut Worker, buckets: usize) -> bool {
    move_some_at(store, worker, Newest, buckets)
}

/// As `move_some`, for who reads at `horizon` and needs all keys in one order.
pub(crate) fn move_all_at(store: &Store, worker: &mut Worker, horizon: impl Horizon) {
    while move_some_at(store, worker, horizon, 256) {
        worker.trash.tidy();
    }
}

fn move_some_at(store: &Store, worker: &mut Worker, horizon: impl Horizon, buckets: usize) -> bool {
    let guard = worker.reader.pin();
    let note = |revision, hash, is_deleted| {
        store.settling.note(revision, hash);
        if is_deleted && store.keeps_history() {
            // Its old hash finds nothing any more.
            store.history.note_deleted(revision, hash);
        }
    };
    store.index.move_some(horizon, buckets, note, &guard, &mut worker.trash)
}
