//! Removing keys whose time has come. To readers they are missing already; the sweep gives their memory back, by commits like
//! any other, so that the journal and watchers see them go. Owns how far the sweep has come.

use kvd_types::Key;

use crate::engine::{Store, Worker};
use crate::sync::Ordering;
use crate::write;

/// Looks at `segments` segments, from where the last sweep ended. Returns how long the oldest key found had been due.
pub(crate) fn sweep(store: &Store, worker: &mut Worker, segments: usize) -> u64 {
    let mut lag_ms = 0;
    if !store.index.has_expiries() {
        return lag_ms;
    }
    for _ in 0..segments {
        let from = store.sweep_from.load(Ordering::Relaxed); // where to begin: any place will do
        let now_ms = store.sequence.now_ms();
        let mut expired = Vec::new();
        let guard = worker.reader.pin();
        let (next, earliest) = store.index.expired(from, now_ms, &mut expired, &guard);
        drop(guard);
        store.sweep_from.store(next.unwrap_or(0), Ordering::Relaxed); // as above
        if !expired.is_empty() {
            lag_ms = lag_ms.max(now_ms - earliest);
            remove(store, worker, expired);
        }
        if next.is_none() {
            break;
        }
    }
    lag_ms
}

fn remove(store: &Store, worker: &mut Worker, expired: Vec<Vec<u8>>) {
    let keys: Vec<Key<'_>> = expired.into_iter().filter_map(|key| Key::new(key).ok()).collect();
    let keys: Vec<&Key<'_>> = keys.iter().collect();
    // Refused when the store is closed, or its disk full or failed: then they stay, unseen, and the next sweep finds them.
    if let Ok(removed) = write::expire(store, worker, &keys) {
        worker.counters.expired(removed);
    }
}
