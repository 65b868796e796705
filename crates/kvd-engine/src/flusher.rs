//! The store's side of its journal: room before a commit, and the rounds that bring what was committed to the disk. Knows both
//! the order of commits and the journal's writer; knows nothing of keys, of clocks, or of the thread that calls it.
//!
//! | a round | |
//! |---|---|
//! | seal | takes what is queued; SEALED = LAST |
//! | append, sync if the policy asks | a failure is final: see below |
//! | VISIBLE = what is on disk | where readers wait for that; never LAST, which may have moved since |
//! | hand on to who watches | after VISIBLE: no event is ahead of what readers see |
//! | wake who waits, make room for what comes | a full disk refuses the next writes, and is tried again each round |
//!
//! A committer that finds no room runs a round itself, before it has locked anything, or waits for who is running one.
//!
//! **Positions.** A command that looked at more than readers see leaves the revision in its worker that its answer must wait for:
//! a commit its own, whatever was refused by a condition, or found nothing to do, LAST after its last look. So no answer tells of
//! anything that a power cut can take back. Reads look at VISIBLE and leave none.
//!
//! **Failure.** After a failed write or sync nobody knows what is on the disk: VISIBLE stays, reads go on at it, new writes are
//! refused, and answers that wait are told that their outcome is unknown.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kvd_journal::{BatchSize, Error as JournalError, Policy, Purpose, Refused, Reservation, Room, Snapshots, Writer};
use kvd_types::{Error, Limit, LimitExceeded, Revision};

use crate::changes;
use crate::engine::{Engine, Store};
use crate::planted::{self, Bug};
use crate::sequence::Batch;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock};
use crate::waiting::Reached;

/// A journal in use.
pub(crate) struct Journal {
    /// Held for a round; before SEQ in the order of locks. None once the journal was closed.
    end: Mutex<Option<End>>,
    room: Arc<Room>,
    pub(crate) snapshots: Snapshots,
    /// A snapshot is being made.
    pub(crate) has_snapshot_begun: AtomicBool,
    policy: Policy,
    /// The newest revision on disk.
    durable: AtomicU64,
    /// Bytes of commits in the journal when it was opened, and since.
    bytes: AtomicU64,
    /// Of them, those that the newest snapshot makes unnecessary.
    bytes_in_snapshot: AtomicU64,
    /// The newest snapshot's revision; 0 without one.
    snapshot: AtomicU64,
    /// Why nothing is written any more.
    failure: OnceLock<String>,
}

struct End {
    writer: Writer,
    /// Something was appended since the last mark.
    is_marked: bool,
}

/// How a store and its disk are doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// The newest revision on disk.
    pub durable: Revision,
    /// The newest snapshot; none in the beginning.
    pub snapshot: Option<Revision>,
    /// Bytes of commits since then, as a start would read them.
    pub journal_bytes: u64,
    /// The disk has no room for further segments: writes are refused once the room in this one is used up.
    pub is_full: bool,
    /// Why no write is taken until restart.
    pub failure: Option<String>,
}

impl Journal {
    pub(crate) fn new(writer: Writer, policy: Policy, found_bytes: u64, snapshot: Option<Revision>) -> Journal {
        Journal {
            room: writer.room(),
            snapshots: writer.snapshots(),
            has_snapshot_begun: AtomicBool::new(false),
            policy,
            durable: AtomicU64::new(writer.durable().0),
            bytes: AtomicU64::new(found_bytes),
            bytes_in_snapshot: AtomicU64::new(0),
            snapshot: AtomicU64::new(snapshot.unwrap_or_default().0),
            failure: OnceLock::new(),
            end: Mutex::new(Some(End { writer, is_marked: true })),
        }
    }

    /// One round, by whoever comes; `must_sync` whatever the policy says. Returns how many commits it found.
    fn round(&self, store: &Store, now_ms: u64, must_sync: bool) -> Result<usize, JournalError> {
        let mut end = lock(&self.end);
        let Some(end) = &mut *end else { return Err(JournalError::Closed) };
        let result = self.round_of(store, end, now_ms, must_sync);
        self.note_failure(store, result)
    }

    fn round_of(&self, store: &Store, end: &mut End, now_ms: u64, must_sync: bool) -> Result<usize, JournalError> {
        let (_, batches) = store.sequence.seal();
        let count = batches.len();
        let mut appended = Vec::new();
        if count > 0 {
            let bytes: u64 = batches.iter().map(|batch| batch.encoded.size().bytes() as u64).sum();
            self.bytes.fetch_add(bytes, Ordering::Relaxed); // a figure that stands for nothing else
            let time =
                if planted::is_at_disk(Bug::TimeNotJournalled) { 0 } else { store.sequence.now_ms().max(now_ms) };
            end.is_marked = false;
            let memory_bytes = batches.iter().map(Batch::memory_bytes).sum();
            let result = end.writer.append(batches.into_iter().map(into_journal).collect(), time);
            store.sequence.note_unqueued(memory_bytes);
            appended = result?;
        }
        if planted::is_at_disk(Bug::WatchedBeforeSync) {
            store.changes.add(std::mem::take(&mut appended));
        }
        if must_sync {
            end.writer.sync()?;
        } else {
            end.writer.sync_if_due(now_ms)?;
        }
        self.publish(store, &end.writer);
        store.changes.add(appended);
        match end.writer.make_room() {
            // A new segment begins after the old one was synced.
            Ok(true) => self.publish(store, &end.writer),
            Ok(false) | Err(JournalError::DiskFull { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(count)
    }

    /// Readers see what is on disk, and who waited for it is woken.
    fn publish(&self, store: &Store, writer: &Writer) {
        let durable = writer.durable();
        self.durable.store(durable.0, Ordering::Relaxed); // a figure; what readers see is VISIBLE
        if planted::is_at_disk(Bug::VisibleIsLast) {
            store.sequence.make_all_visible();
        } else {
            store.sequence.make_visible(durable);
        }
        store.waiting.wake(&store.sequence, false);
    }

    /// A failure is final: from here on no commit passes SEQ, and nobody waits for what will not come.
    fn note_failure<T>(&self, store: &Store, result: Result<T, JournalError>) -> Result<T, JournalError> {
        if let Err(error) = &result
            && self.failure.set(error.to_string()).is_ok()
        {
            store.fail();
            store.waiting.wake(&store.sequence, true);
        }
        result
    }

    /// The newest snapshot ends at `revision`, and makes the first `bytes` unnecessary.
    pub(crate) fn note_snapshot(&self, revision: Revision, bytes: u64) {
        // Relaxed, both: figures that stand for nothing else.
        self.snapshot.store(revision.0, Ordering::Relaxed);
        self.bytes_in_snapshot.store(bytes, Ordering::Relaxed); // as above
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) // a figure that stands for nothing else
    }

    /// Puts everything up to now on disk. Returns how far that is.
    pub(crate) fn sync(&self, store: &Store, now_ms: u64) -> Result<Revision, JournalError> {
        self.round(store, now_ms, true)?;
        Ok(Revision(self.durable.load(Ordering::Relaxed))) // of the round just run, or a later one
    }
}

fn into_journal(batch: Batch) -> kvd_journal::Batch {
    let reservation = batch.reservation.expect("a commit takes room where there is a journal");
    kvd_journal::Batch { revision: batch.revision, encoded: batch.encoded, reservation }
}

/// Takes room in the journal, if there is one: with `room`, the only step of a commit that waits or is refused. No lock is held.
pub(crate) fn reserve(store: &Store, size: BatchSize, purpose: Purpose) -> Result<Option<Reservation>, Error> {
    let Some(journal) = store.durable.get() else { return Ok(None) };
    let size = if store.keeps_history() { size.timed() } else { size };
    size.check().map_err(|large| {
        let (max, actual) = (large.max as u64, Some(large.actual as u64));
        Error::LimitExceeded(LimitExceeded { limit: Limit::BatchBytes, max, actual, item: None })
    })?;
    loop {
        let refused = match journal.room.reserve(size, purpose, store.sequence.last()) {
            Ok(reservation) => return Ok(Some(reservation)),
            Err(refused) => refused,
        };
        let must_sync = match refused {
            Refused::Wait { .. } => false,
            Refused::Behind => true,
            Refused::DiskFull { needed } => return Err(Error::DiskFull { needed }),
            Refused::Failed => {
                store.check_open()?;
                return Err(Error::JournalFailed);
            }
        };
        // What it finds, a failure too, the next look at the room shows.
        let _ = journal.round(store, store.sequence.now_ms(), must_sync);
    }
}

/// Brings what was committed to the journal, and to the disk where readers wait for that: so that what is kept until then can go.
/// Returns false where that is for someone else to do, who takes what is queued.
///
/// # Errors
/// The store takes no commit any more.
pub(crate) fn catch_up(store: &Store) -> Result<bool, Error> {
    let Some(journal) = store.durable.get() else { return Ok(store.sequence.shows_at_once()) };
    let must_sync = !store.sequence.shows_at_once();
    // What it finds, the next line shows.
    let _ = journal.round(store, store.sequence.now_ms(), must_sync);
    store.check_writable().map(|()| true)
}

impl Engine {
    /// The flusher's round: what was committed goes to the journal, to the disk as the policy has it, then to readers, and then
    /// to who watches. Without a journal to these two alone. Returns how many commits there were. For the thread that also calls
    /// [`sleep_until_commits`](Engine::sleep_until_commits).
    ///
    /// # Errors
    /// All are final; a full disk is none.
    pub fn flush(&self, now_ms: u64) -> Result<usize, JournalError> {
        let store = self.parts();
        match store.durable.get() {
            Some(journal) => journal.round(store, now_ms, false),
            None => Ok(changes::relay(store)),
        }
    }

    /// The store is idle: says on disk how far the journal is durable, so that rot in its last group is told from a power cut.
    ///
    /// # Errors
    /// All are final.
    ///
    /// # Panics
    /// Without a journal.
    pub fn mark(&self, now_ms: u64) -> Result<(), JournalError> {
        let (store, journal) = (self.parts(), self.journal());
        let mut end = lock(&journal.end);
        let Some(end) = &mut *end else { return Err(JournalError::Closed) };
        if end.is_marked || journal.policy == Policy::Off {
            return Ok(());
        }
        let marked = end.writer.mark(now_ms);
        if journal.note_failure(store, marked)? {
            end.is_marked = true;
        }
        journal.publish(store, &end.writer);
        Ok(())
    }

    /// Blocks until there are commits to flush, for `timeout` at most. Returns whether there may be some.
    pub fn sleep_until_commits(&self, timeout: Duration) -> bool {
        self.parts().waiting.wait_for_commits(&self.parts().sequence, timeout)
    }

    /// Wakes who sleeps until there are commits, now or next time.
    pub fn wake_flusher(&self) {
        self.parts().waiting.ring_anyway();
    }

    /// Blocks until readers see `position`, of [`Worker::position`](crate::Worker::position): then its answer may leave.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] when the journal has failed.
    pub fn wait(&self, position: Revision) -> Result<(), Error> {
        self.parts().waiting.wait(&self.parts().sequence, position)
    }

    /// The same for who has a waker instead of a thread.
    pub fn reached(&self, position: Revision) -> Reached {
        Reached::new(self.clone(), position)
    }

    /// Ends the journal in order, after [`close`](Engine::close): everything is on disk, and the next start has nothing to cut.
    ///
    /// # Errors
    /// The stop was not in order: the journal has failed, now or before.
    ///
    /// # Panics
    /// Without a journal.
    pub fn finish(&self, now_ms: u64) -> Result<(), JournalError> {
        let (store, journal) = (self.parts(), self.journal());
        journal.round(store, now_ms, true)?;
        let Some(end) = lock(&journal.end).take() else { return Err(JournalError::Closed) };
        journal.note_failure(store, end.writer.close(store.sequence.now_ms().max(now_ms)))
    }

    /// How the store and its disk are doing; none without a journal.
    pub fn durability(&self) -> Option<Durability> {
        let journal = self.parts().durable.get()?;
        // Relaxed, all: figures that stand for nothing else.
        let snapshot = journal.snapshot.load(Ordering::Relaxed);
        Some(Durability {
            durable: Revision(journal.durable.load(Ordering::Relaxed)), // as above
            snapshot: (snapshot > 0).then_some(Revision(snapshot)),
            journal_bytes: journal.bytes().saturating_sub(journal.bytes_in_snapshot.load(Ordering::Relaxed)), // as above
            is_full: journal.room.is_full(),
            failure: journal.failure.get().cloned(),
        })
    }

    pub(crate) fn journal(&self) -> &Journal {
        self.parts().durable.get().expect("the store was opened without a journal")
    }
}
