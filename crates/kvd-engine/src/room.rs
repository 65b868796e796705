//! Room for a write: the one step of a commit that waits or is refused for memory. Owns the order in which memory is found;
//! knows nothing of what is to be written but its size, nor of which keys are evicted for it.
//!
//! | what is looked for, in this order | |
//! |---|---|
//! | versions that nobody reads any more, retired memory that no reader holds | freed |
//! | retired memory that a reader holds, if that is much or nothing is evicted | waited for: that is the length of one call |
//! | commits that wait for the journal, versions that are kept until their removal is on disk | a round of the flusher |
//! | versions that transactions keep, beyond their share | the oldest transaction loses them |
//! | keys of little use, where the policy says so | evicted, a few at a time |
//! | | refused |

use kvd_journal::Error as JournalError;
use kvd_types::Error;

use crate::engine::{Store, Worker};
use crate::reclaim::Reader;
use crate::sync::yield_now;
use crate::{evict, flusher, history, rekey, settle};

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
    let max = store.memory_bytes_max;
    if needed == 0 || max == u64::MAX {
        return Ok(());
    }
    let fits = |used: u64| used.saturating_add(needed) <= max;
    if fits(Memory::of(store, &mut worker.reader).used) {
        return Ok(());
    }
    // Since a key was evicted.
    let mut is_flushed = false;
    loop {
        // A slice at a time, and no more of them than it takes.
        let more = clean_up(store, worker);
        let memory = Memory::of(store, &mut worker.reader);
        if fits(memory.used) {
            return Ok(());
        }
        // Before anyone loses more than a place in the order of commits, or the past of what is deleted.
        if more || store.changes.shrink() || history::forget_some(store, worker) {
            continue;
        }
        if fits(memory.used - memory.retired) && memory.retired > store.eviction.slack(max) {
            // A reader holds its pin for one call, as above.
            yield_now();
            continue;
        }
        let refused = Err(Error::MemoryFull { needed, used: memory.used, max });
        if !is_flushed && fits(memory.used - memory.leaving()) {
            // Commits wait for the journal, or what was removed is kept because its removal is not on disk.
            if !flusher::catch_up(store)? {
                return refused;
            }
            is_flushed = true;
            continue;
        }
        if memory.held > max / HELD_SHARE && store.sequence.revoke_oldest() {
            continue;
        }
        // All that there is in vain, for what can't fit, would be too much.
        if !fits(memory.fixed) || !evict::step(store, worker)? {
            return refused;
        }
        is_flushed = false;
    }
}

/// While a store is loaded, the part of the limit that it may exceed it by. A store that was full must come back, and its index
/// depends on the order in which keys came; writes then have to wait for deletes.
const LOADING_SHARE: u64 = 8;

/// Whether data that takes `needed` bytes may be loaded.
///
/// # Errors
/// [`JournalError::MemoryFull`].
pub(crate) fn check_loaded(needed: u64, max: u64) -> Result<(), JournalError> {
    if needed > max.saturating_add(max / LOADING_SHARE) {
        Err(JournalError::MemoryFull { needed, max })
    } else {
        Ok(())
    }
}

/// Whether what was loaded so far is not too much.
///
/// # Errors
/// [`JournalError::MemoryFull`].
pub(crate) fn check_loading(store: &Store, worker: &mut Worker) -> Result<(), JournalError> {
    let max = store.memory_bytes_max;
    if max == u64::MAX {
        return Ok(());
    }
    loop {
        let memory = Memory::of(store, &mut worker.reader);
        let checked = check_loaded(memory.used, max);
        if checked.is_ok() {
            return checked;
        }
        if clean_up(store, worker) {
            continue;
        }
        if check_loaded(memory.used - memory.retired, max).is_ok() {
            // A thread that loads beside this one holds its pin for a few keys: it is about to go on.
            yield_now();
            continue;
        }
        // As for a write: the past of what is deleted goes first, and may all be there again, out of the journal.
        if !history::forget_some(store, worker) {
            return checked;
        }
    }
}

/// Memory in use, in bytes.
pub(crate) struct Memory {
    /// All of it.
    pub(crate) used: u64,
    /// Of that, versions beside the newest.
    held: u64,
    /// Of that, what is unlinked and waits for its last reader.
    retired: u64,
    /// Of that, what waits for the journal.
    queue: u64,
    /// Of that, what stays whatever is evicted.
    fixed: u64,
}

impl Memory {
    pub(crate) fn of(store: &Store, reader: &mut Reader) -> Memory {
        let guard = reader.pin();
        let held = store.index.held_bytes(&guard);
        let (retired, watched) = (store.collector.retired_bytes(), store.changes.bytes());
        let keys = store.sequence.used_bytes() + store.index.bytes(&guard);
        let queue = store.sequence.queue_bytes();
        let beside = store.eviction.bytes() + store.buffers.bytes() + watched + store.transactions_bytes();
        let fixed = queue + beside;
        Memory { used: keys + held + retired + fixed, held, retired, queue, fixed }
    }

    /// What goes without any key being evicted: when readers have gone on, and commits are in the journal.
    pub(crate) fn leaving(&self) -> u64 {
        self.held + self.retired + self.queue
    }

    /// What stays when all that has gone, and every key.
    pub(crate) fn staying(&self) -> u64 {
        self.fixed - self.queue
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

/// For a thread that serves no one: a slice of cleaning up, of moving keys that are to move, and of evicting ahead.
pub(crate) fn maintain(store: &Store, worker: &mut Worker) -> bool {
    let more_to_move = rekey::move_some(store, worker, MOVED_AT_ONCE);
    let more_to_evict = evict::ahead(store, worker);
    clean_up(store, worker) || more_to_move || more_to_evict
}
