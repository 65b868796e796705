//! Room for a write: the one step of a commit that waits or is refused for memory. Owns the order in which memory is found;
//! knows nothing of what is to be written but its size.

use kvd_types::Error;

use crate::engine::{Store, Worker};
use crate::reclaim::Reader;
use crate::sync::yield_now;
use crate::{history, rekey, settle};

/// Retired bytes from which on writers wait until readers let some go.
const RETIRED_BYTES_MAX: u64 = 256 << 20;

/// Of the memory limit, the part that versions for readers may take before the oldest reader loses them.
const HELD_SHARE: u64 = 8;

/// Keys settled in one slice of cleaning up.
const SETTLED_AT_ONCE: usize = 1_024;

/// Buckets re-keyed in one slice.
const MOVED_AT_ONCE: usize = 1_024;

/// Bytes of big things freed in one slice of cleaning up, one thing more at most.
const FREED_AT_ONCE_BYTES: u64 = 16 << 20;

/// The only step that waits or refuses for room. No lock is held.
pub(crate) fn make(store: &Store, worker: &mut Worker, needed: u64) -> Result<(), Error> {
    let mut freed = 0;
    while store.collector.retired_bytes() > RETIRED_BYTES_MAX && freed <= needed {
        // More than it needs is not a writer's to free: after a clear it could be gigabytes.
        store.collector.collect();
        match store.collector.free_heavy() {
            Some(bytes) => freed += bytes,
            // A reader holds its pin for one call: it is about to go on.
            None => yield_now(),
        }
    }
    if needed == 0 || store.memory_bytes_max == u64::MAX {
        return Ok(());
    }
    let fits = |memory: &Memory| memory.used.saturating_add(needed) <= store.memory_bytes_max;
    if fits(&Memory::of(store, &mut worker.reader)) {
        return Ok(());
    }
    loop {
        // A slice at a time, and no more of them than it takes.
        let more = clean_up(store, worker);
        let memory = Memory::of(store, &mut worker.reader);
        if fits(&memory) {
            return Ok(());
        }
        // Before anyone loses more than a place in the order of commits, or the past of what is deleted.
        if more || store.changes.shrink() || history::forget_some(store, worker) {
            continue;
        }
        if memory.held <= store.memory_bytes_max / HELD_SHARE || !store.sequence.revoke_oldest() {
            return Err(Error::MemoryFull { needed, used: memory.used, max: store.memory_bytes_max });
        }
    }
}

/// Memory in use, in bytes.
struct Memory {
    /// All of it.
    used: u64,
    /// Of that, versions beside the newest.
    held: u64,
}

impl Memory {
    fn of(store: &Store, reader: &mut Reader) -> Memory {
        let guard = reader.pin();
        let held = store.index.held_bytes(&guard);
        let index = store.index.bytes(&guard);
        let (retired, watched) = (store.collector.retired_bytes(), store.changes.bytes());
        let used = store.sequence.used_bytes() + index + held + retired + watched + store.transactions_bytes();
        Memory { used, held }
    }
}

/// Frees what can be freed: versions that nobody reads any more, and retired memory. A slice of that, some tens of milliseconds
/// long at most. Returns whether there may be more.
pub(crate) fn clean_up(store: &Store, worker: &mut Worker) -> bool {
    let more_to_settle = settle::settle_due(store, worker, SETTLED_AT_ONCE);
    worker.trash.hand_over();
    let more_to_collect = store.collector.collect();
    let mut freed = 0;
    while freed < FREED_AT_ONCE_BYTES {
        let Some(bytes) = store.collector.free_heavy() else { return more_to_settle || more_to_collect };
        freed += bytes;
    }
    true
}

/// For a thread that serves no one: a slice of cleaning up, and of moving keys that are to move.
pub(crate) fn maintain(store: &Store, worker: &mut Worker) -> bool {
    let more_to_move = rekey::move_some(store, worker, MOVED_AT_ONCE);
    clean_up(store, worker) || more_to_move
}
