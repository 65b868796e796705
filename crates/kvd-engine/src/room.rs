//! Room for a write: the one step of a commit that waits or is refused for memory. Owns the order in which memory is found;
//! knows nothing of what is to be written but its size.

use kvd_types::Error;

use crate::engine::{Store, Worker};
use crate::settle;
use crate::sync::{Ordering, yield_now};

/// Retired bytes from which on writers wait until readers let some go.
const RETIRED_BYTES_MAX: u64 = 256 << 20;

/// Of the memory limit, the part that versions for readers may take before the oldest reader loses them.
const HELD_SHARE: u64 = 8;

/// The only step that waits or refuses for room. No lock is held.
pub(crate) fn make(store: &Store, worker: &mut Worker, needed: u64) -> Result<(), Error> {
    while store.collector.retired_bytes() > RETIRED_BYTES_MAX {
        // A reader holds its pin for one call: it is about to go on.
        store.collector.collect();
        if !store.collector.free_heavy() {
            yield_now();
        }
    }
    if needed == 0 || store.memory_bytes_max == u64::MAX {
        return Ok(());
    }
    let held = || store.held.load(Ordering::Relaxed); // a count that stands for nothing but itself
    let used = || store.sequence.used_bytes() + store.index.bytes() + held() + store.collector.retired_bytes();
    let is_short = || used().saturating_add(needed) > store.memory_bytes_max;
    if !is_short() {
        return Ok(());
    }
    clean_up(store, worker);
    while is_short() && held() > store.memory_bytes_max / HELD_SHARE && store.sequence.revoke_oldest() {
        clean_up(store, worker);
    }
    if is_short() {
        return Err(Error::MemoryFull { needed, used: used(), max: store.memory_bytes_max });
    }
    Ok(())
}

/// Frees all that can be freed: versions that nobody reads any more, and retired memory.
pub(crate) fn clean_up(store: &Store, worker: &mut Worker) {
    while settle::settle_due(store, worker, 256) {}
    worker.trash.hand_over();
    store.collector.collect();
    while store.collector.free_heavy() {}
}
