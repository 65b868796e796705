//! How much may still be written: the preallocated, synced bytes that nobody has taken yet. Committers take from it
//! without I/O and without a lock; the flusher adds to it. Knows nothing of files.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kvd_types::Revision;

use crate::batch_size::BatchSize;
use crate::error::Refused;
use crate::planted::{self, Bug};
use crate::record::record_bytes;

/// LAST may run this far ahead of the last sync. The other half of the jump is for those who passed the check together.
pub(crate) const AHEAD_MAX: u64 = crate::REVISION_JUMP / 2;

/// What a reservation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A commit that only deletes, which may use the last of the room: how else would a full disk get empty?
    Delete,
    /// Any other.
    Write,
}

/// The room in the journal. Committers share it with the flusher.
#[derive(Debug)]
pub struct Room {
    /// Bytes that are preallocated and that nobody has taken.
    free: AtomicU64,
    /// What only deletes may take of them.
    headroom: u64,
    /// The newest revision on disk.
    durable: AtomicU64,
    /// Most bytes that were refused since room was last made.
    wanted: AtomicU64,
    /// The disk has no room for batches from this size on; all ones while it has.
    refused: AtomicU64,
    /// No write is taken any more.
    shut: AtomicBool,
}

/// Room that was taken. Goes back when dropped, but for what was written.
#[derive(Debug)]
pub struct Reservation {
    room: Arc<Room>,
    bytes: u64,
}

impl Room {
    pub(crate) fn new(free: u64, headroom: u64, durable: Revision) -> Room {
        Room {
            free: AtomicU64::new(free),
            headroom,
            durable: AtomicU64::new(durable.0),
            wanted: AtomicU64::new(0),
            refused: AtomicU64::new(u64::MAX),
            shut: AtomicBool::new(false),
        }
    }

    /// Takes room for a batch that becomes at most this long, before anything of its commit has happened. `last` is the
    /// newest revision given. What is not needed in the end goes back.
    ///
    /// # Errors
    /// [`Refused`]; nothing was taken.
    pub fn reserve(
        self: &Arc<Room>,
        batch: BatchSize,
        purpose: Purpose,
        last: Revision,
    ) -> Result<Reservation, Refused> {
        // At worst it is a group of its own.
        let needed = record_bytes(batch.bytes() as u64);
        if planted::is(Bug::UnreservedRoom) {
            return Ok(Reservation { room: Arc::clone(self), bytes: 0 });
        }
        // Pairs with the store in `shut`.
        if self.shut.load(Ordering::Acquire) {
            return Err(Refused::Failed);
        }
        // Pairs with the store in `synced`; an older value only refuses too much.
        if last.0.saturating_sub(self.durable.load(Ordering::Acquire)) >= AHEAD_MAX {
            return Err(Refused::Behind);
        }
        let kept = if purpose == Purpose::Delete { 0 } else { self.headroom };
        if self.take(needed, kept) {
            return Ok(Reservation { room: Arc::clone(self), bytes: needed });
        }
        // Pairs with the swap in `wanted`.
        self.wanted.fetch_max(needed, Ordering::AcqRel);
        // Pairs with the stores in `refuse_from` and `refuse_none`.
        let full = needed >= self.refused.load(Ordering::Acquire);
        Err(if full { Refused::DiskFull { needed } } else { Refused::Wait { needed } })
    }

    /// Bytes that nobody has taken.
    pub fn free_bytes(&self) -> u64 {
        self.free.load(Ordering::Relaxed) // a figure that stands for nothing else
    }

    /// Whether the last try to make room found the disk full.
    pub fn is_full(&self) -> bool {
        self.refused.load(Ordering::Acquire) != u64::MAX // pairs with the stores in `refuse_from` and `refuse_none`
    }

    /// What only deletes may take.
    pub(crate) fn headroom(&self) -> u64 {
        self.headroom
    }

    /// Takes `bytes` if `kept` remain.
    pub(crate) fn take(&self, bytes: u64, kept: u64) -> bool {
        let less = |free: u64| free.checked_sub(bytes).filter(|rest| *rest >= kept);
        // Only the number itself matters: the space it stands for was synced before it was counted.
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    pub(crate) fn give(&self, bytes: u64) {
        self.free.fetch_add(bytes, Ordering::Relaxed); // as in `take`
    }

    /// What was refused since the last call.
    pub(crate) fn wanted(&self) -> u64 {
        self.wanted.swap(0, Ordering::AcqRel) // pairs with `fetch_max` in `reserve`
    }

    /// The disk has no room for batches from this size on; with 0, for none that does not fit what is free.
    pub(crate) fn refuse_from(&self, bytes: u64) {
        self.refused.store(bytes, Ordering::Release); // pairs with the loads in `reserve` and `is_full`
    }

    /// Whether the disk has room is to be seen.
    pub(crate) fn refuse_none(&self) {
        self.refused.store(u64::MAX, Ordering::Release); // pairs with the loads in `reserve` and `is_full`
    }

    pub(crate) fn synced(&self, durable: Revision) {
        self.durable.store(durable.0, Ordering::Release); // pairs with the load in `reserve`
    }

    pub(crate) fn shut(&self) {
        self.shut.store(true, Ordering::Release); // pairs with the load in `reserve`
    }
}

impl Reservation {
    /// Of what was taken, `bytes` were written.
    pub(crate) fn spend(mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.room.give(self.bytes);
    }
}
