//! SEQ, the one order of all commits: a small mutex in which a commit gets its revision, is queued for the journal, and becomes
//! visible. Owns revisions, the store's time, read points and the sizes of what is stored; knows nothing of keys.
//!
//! | number | what it says | who stores it |
//! |---|---|---|
//! | LAST | the newest commit | every commit |
//! | VISIBLE | the newest commit that readers see | every commit; with [`Visibility::WhenDurable`] the flusher |
//! | SEALED | the last commit of the group being synced | the flusher |
//! | NOW | the store's time | `tick` |
//!
//! All are stored inside SEQ, Release, and loaded outside, Acquire: who sees commit `r` sees all commits up to `r`.

use std::sync::Arc;

use kvd_journal::{Encoded, Reservation};
use kvd_types::{Effect, Error, Revision};

use crate::index::{Depth, Horizon, ReadPoints};
use crate::planted::{self, Bug};
use crate::stats::Totals;
use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, Padded, lock};

/// Room for pins from the start; more is made when it is needed, outside SEQ.
pub(crate) const PINS_AT_FIRST: usize = 64;

/// When readers see a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    /// At once.
    #[default]
    Immediate,
    /// When the journal says that it is on disk ([`Engine::make_visible`](crate::Engine::make_visible)).
    WhenDurable,
}

/// One commit, as the journal and who watches get it.
#[derive(Debug)]
pub struct Batch {
    /// The commit's.
    pub revision: Revision,
    /// What it changed, all or nothing, as bytes.
    pub(crate) encoded: Encoded,
    /// Its room in the journal; none where someone else than a journal takes what is queued.
    pub(crate) reservation: Option<Reservation>,
    /// The commit queued before it.
    before: Option<Box<Batch>>,
}

impl Batch {
    pub(crate) fn new(encoded: Encoded, reservation: Option<Reservation>) -> Box<Batch> {
        Box::new(Batch { revision: Revision(0), encoded, reservation, before: None })
    }

    /// Memory it takes, without large values, which it shares with the store.
    pub(crate) fn memory_bytes(&self) -> u64 {
        (size_of::<Batch>() + self.encoded.own_bytes()) as u64
    }

    /// What it changed, all or nothing.
    pub fn effects(&self) -> Vec<Effect<'static>> {
        self.encoded.effects()
    }
}

/// A change of the sizes: what came and what went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delta {
    pub(crate) keys: i64,
    pub(crate) key_bytes: i64,
    pub(crate) value_bytes: i64,
    /// What records take beside keys and values.
    pub(crate) record_bytes: i64,
}

/// The order of commits.
pub(crate) struct Sequence {
    /// SEQ.
    state: Mutex<State>,
    visible: Padded<AtomicU64>,
    last: Padded<AtomicU64>,
    now: Padded<AtomicU64>,
    /// The oldest pin; all ones without any.
    oldest_pin: AtomicU64,
    /// Bytes of records, for who asks without SEQ.
    used: AtomicU64,
    /// Bytes that were ever queued. Stored inside SEQ.
    queued: AtomicU64,
    /// Of them, those that are in memory no more.
    unqueued: AtomicU64,
    /// Whether commits are queued: there is a journal, or someone watches. Stored inside SEQ, and never taken back.
    queues: AtomicBool,
    visibility: Visibility,
    history: usize,
    /// No history goes back to a deletion of this revision or an earlier one. Only grows.
    forgotten: AtomicU64,
    transactions_max: usize,
}

struct State {
    last: u64,
    sealed: u64,
    totals: Totals,
    /// By revision, which only grows: new ones come at the end.
    pins: Vec<Arc<Pinned>>,
    /// How many of them are transactions'.
    transactions: usize,
    /// The newest queued commit; each leads to the one before.
    queue: Option<Box<Batch>>,
}

/// A read point that someone holds.
pub(crate) struct Pinned {
    /// The revision that is read.
    pub(crate) revision: Revision,
    /// The store's time there.
    pub(crate) now_ms: u64,
    /// Held from request to request, and counted; else for one call.
    is_transaction: bool,
    /// Set when its versions had to go.
    revoked: AtomicBool,
}

/// The critical section.
pub(crate) struct Seq<'a> {
    state: MutexGuard<'a, State>,
    sequence: &'a Sequence,
}

/// Sees the commits up to VISIBLE, as it is at each look.
#[derive(Clone, Copy)]
pub(crate) struct Visible<'a>(pub(crate) &'a Sequence);

impl Horizon for Visible<'_> {
    fn shows(&self, revision: u64) -> bool {
        revision <= self.0.visible().0
    }
}

impl Sequence {
    pub(crate) fn new(visibility: Visibility, history: usize, transactions_max: usize, queues: bool) -> Sequence {
        let pins = Vec::with_capacity(PINS_AT_FIRST);
        let state = State { last: 0, sealed: 0, totals: Totals::default(), pins, transactions: 0, queue: None };
        Sequence {
            state: Mutex::new(state),
            visible: Padded(AtomicU64::new(0)),
            last: Padded(AtomicU64::new(0)),
            now: Padded(AtomicU64::new(0)),
            oldest_pin: AtomicU64::new(u64::MAX),
            used: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            unqueued: AtomicU64::new(0),
            queues: AtomicBool::new(queues),
            visibility,
            history,
            forgotten: AtomicU64::new(0),
            transactions_max,
        }
    }

    pub(crate) fn enter(&self) -> Seq<'_> {
        Seq { state: lock(&self.state), sequence: self }
    }

    /// The newest commit that readers see.
    #[inline]
    pub(crate) fn visible(&self) -> Revision {
        Revision(self.visible.load(Ordering::Acquire)) // pairs with the stores in `commit` and `make_visible`
    }

    /// The newest commit.
    pub(crate) fn last(&self) -> Revision {
        Revision(self.last.load(Ordering::Acquire)) // pairs with the store in `commit`
    }

    /// The store's time, in milliseconds.
    #[inline]
    pub(crate) fn now_ms(&self) -> u64 {
        self.now.load(Ordering::Acquire) // pairs with the store in `tick`
    }

    /// Bytes of all records, as of some recent commit.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed) // a hint that stands for nothing but itself
    }

    /// How deep histories are.
    pub(crate) fn depth(&self) -> Depth {
        match self.history {
            0 => Depth::default(),
            // Acquire: pairs with the exchange in `forget`.
            older => Depth { older, forgotten: self.forgotten.load(Ordering::Acquire) },
        }
    }

    /// Whether any history is kept.
    pub(crate) fn keeps_history(&self) -> bool {
        self.history > 0
    }

    /// No history goes back to this deletion from now on.
    pub(crate) fn forget(&self, deletion: Revision) {
        self.forgotten.fetch_max(deletion.0, Ordering::AcqRel); // pairs with the load in `depth`
    }

    /// Bytes of commits that are queued, or were taken from the queue and are still in memory.
    pub(crate) fn queue_bytes(&self) -> u64 {
        // Relaxed, both: figures. The smaller first, since what is queued in between is taken later.
        let unqueued = self.unqueued.load(Ordering::Relaxed);
        self.queued.load(Ordering::Relaxed).saturating_sub(unqueued) // as above
    }

    /// Of what was queued, so many bytes are in memory no more.
    pub(crate) fn note_unqueued(&self, bytes: u64) {
        self.unqueued.fetch_add(bytes, Ordering::Relaxed); // a figure, see `queue_bytes`
    }

    /// Whether readers see a commit at once.
    pub(crate) fn shows_at_once(&self) -> bool {
        self.visibility == Visibility::Immediate
    }

    /// Whether commits are queued. Outside SEQ a hint: `Seq::queues` decides.
    #[inline]
    pub(crate) fn queues(&self) -> bool {
        self.queues.load(Ordering::Relaxed) // a hint, see above
    }

    /// From now on every commit is queued. Returns the newest one that may not have been.
    pub(crate) fn start_queueing(&self) -> Revision {
        let seq = self.enter();
        self.queues.store(true, Ordering::Relaxed); // SEQ makes it known to who decides, see `Seq::queues`
        Revision(seq.state.last)
    }

    /// Whether versions are kept now, for someone who reads below the newest. A hint: `Seq::keeps_versions` decides.
    pub(crate) fn keeps_versions(&self) -> bool {
        self.visibility == Visibility::WhenDurable
            || self.history > 0
            || self.oldest_pin.load(Ordering::Relaxed) != u64::MAX // a hint, see above
    }

    /// No one reads below this revision.
    pub(crate) fn oldest_read_point(&self) -> u64 {
        // Acquire: pairs with the stores in `pin` and `unpin`; a pin that comes later is not older than VISIBLE.
        self.visible().0.min(self.oldest_pin.load(Ordering::Acquire))
    }

    /// Moves the store's time, forward only.
    pub(crate) fn tick(&self, now_ms: u64) {
        let _seq = self.enter();
        if now_ms > self.now_ms() {
            self.now.store(now_ms, Ordering::Release); // pairs with the load in `now_ms`
        }
    }

    /// A read point for a transaction: at VISIBLE, or at LAST.
    ///
    /// # Errors
    /// As many are open as there may be.
    pub(crate) fn pin(&self, at_last: bool) -> Result<Arc<Pinned>, Error> {
        let outside = planted::is(Bug::PinWithoutSeq).then(|| self.visible().0);
        let revision = |state: &State| outside.unwrap_or(if at_last { state.last } else { self.visible().0 });
        self.pin_at(true, revision).ok_or(Error::TooManyTransactions { max: self.transactions_max })
    }

    /// A read point at VISIBLE for the length of one call.
    pub(crate) fn pin_briefly(&self) -> Arc<Pinned> {
        self.pin_at(false, |_| self.visible().0).expect("calls are not counted")
    }

    /// None for a transaction too many.
    fn pin_at(&self, is_transaction: bool, revision: impl Fn(&State) -> u64) -> Option<Arc<Pinned>> {
        // All memory comes from outside SEQ, and what is left over goes back there.
        let revoked = AtomicBool::new(false);
        let mut pinned = Arc::new(Pinned { revision: Revision(0), now_ms: 0, is_transaction, revoked });
        let mut room = Vec::new();
        loop {
            let mut seq = self.enter();
            let state = &mut *seq.state;
            if is_transaction && state.transactions >= self.transactions_max {
                return None;
            }
            let pins = state.pins.len();
            if pins == state.pins.capacity() {
                if room.capacity() <= pins {
                    drop(seq);
                    room = Vec::with_capacity(2 * (pins + 1));
                    continue;
                }
                room.append(&mut state.pins);
                std::mem::swap(&mut room, &mut state.pins);
            }
            let new = Arc::get_mut(&mut pinned).expect("nobody else has it yet");
            (new.revision, new.now_ms) = (Revision(revision(state)), self.now_ms());
            let at = state.pins.partition_point(|other| other.revision <= new.revision);
            state.pins.insert(at, Arc::clone(&pinned));
            state.transactions += usize::from(is_transaction);
            seq.note_oldest();
            drop(seq);
            return Some(pinned);
        }
    }

    /// Gives a read point up. One that was revoked is gone already.
    pub(crate) fn unpin(&self, pinned: &Arc<Pinned>) {
        let mut seq = self.enter();
        if let Some(at) = seq.state.pins.iter().position(|other| Arc::ptr_eq(other, pinned)) {
            seq.take_out(at);
        }
    }

    /// Takes the oldest read point from who holds it. Returns whether there was one.
    pub(crate) fn revoke_oldest(&self) -> bool {
        let mut seq = self.enter();
        let Some(oldest) = seq.state.pins.first() else { return false };
        // Release: pairs with the load in `is_revoked`. Before the versions go, so that who misses one sees why.
        oldest.revoked.store(true, Ordering::Release);
        seq.take_out(0);
        true
    }

    /// Ends the group of commits to be synced next: takes what is queued.
    pub(crate) fn seal(&self) -> (Revision, Vec<Batch>) {
        let mut seq = self.enter();
        seq.state.sealed = seq.state.last;
        let (sealed, mut queue) = (Revision(seq.state.sealed), seq.state.queue.take());
        drop(seq);
        let mut batches = Vec::new();
        while let Some(mut batch) = queue {
            queue = batch.before.take();
            batches.push(*batch);
        }
        batches.reverse();
        (sealed, batches)
    }

    /// A mistake to be planted: readers see what came while the group was synced.
    pub(crate) fn make_all_visible(&self) {
        let seq = self.enter();
        self.visible.store(seq.state.last, Ordering::Release); // pairs with the load in `visible`
    }

    /// Whether commits are queued.
    pub(crate) fn has_queued(&self) -> bool {
        self.enter().state.queue.is_some()
    }

    /// Begins where a store was left: all that was loaded is visible. Before anyone else knows the store.
    pub(crate) fn resume(&self, last: Revision, now_ms: u64) {
        let mut seq = self.enter();
        (seq.state.last, seq.state.sealed) = (last.0, last.0);
        self.used.store(seq.state.totals.data_bytes(), Ordering::Relaxed); // a hint, see `used_bytes`
        // Release, all: pair with the loads in `last`, `visible` and `now_ms`.
        self.last.store(last.0, Ordering::Release);
        self.visible.store(last.0, Ordering::Release); // as above
        self.now.store(now_ms.max(self.now_ms()), Ordering::Release); // as above
    }

    /// The commits up to `revision` are on disk.
    pub(crate) fn make_visible(&self, revision: Revision) {
        let seq = self.enter();
        assert!(revision.0 <= seq.state.sealed, "only what was sealed can be on disk");
        if revision > self.visible() {
            self.visible.store(revision.0, planted::publish()); // Release: pairs with the load in `visible`
        }
    }
}

impl Seq<'_> {
    pub(crate) fn now_ms(&self) -> u64 {
        self.sequence.now_ms()
    }

    /// Whether this commit must be queued. One that began without knowing begins again.
    pub(crate) fn queues(&self) -> bool {
        self.sequence.queues() // stored inside SEQ, where this is
    }

    /// Whether someone may read below the commit that comes next.
    pub(crate) fn keeps_versions(&self) -> bool {
        self.sequence.visibility == Visibility::WhenDurable || self.sequence.history > 0 || !self.state.pins.is_empty()
    }

    /// The commit: it gets the next revision, is queued, and `publish` makes it known. Nothing can fail any more.
    pub(crate) fn commit(
        &mut self,
        delta: &Delta,
        batch: Option<Box<Batch>>,
        publish: impl FnOnce(Revision),
    ) -> Revision {
        self.count(delta);
        self.commit_batch(batch, publish)
    }

    /// The commit that empties the store: `publish` is told the bytes of what goes, too. Returns how many keys went.
    pub(crate) fn commit_clear(
        &mut self,
        batch: Option<Box<Batch>>,
        publish: impl FnOnce(Revision, u64),
    ) -> (Revision, u64) {
        let cleared = std::mem::take(&mut self.state.totals);
        self.count(&Delta::default());
        let revision = self.commit_batch(batch, |revision| publish(revision, cleared.data_bytes()));
        (revision, cleared.keys)
    }

    fn commit_batch(&mut self, batch: Option<Box<Batch>>, publish: impl FnOnce(Revision)) -> Revision {
        let revision = Revision(self.state.last + 1);
        self.state.last = revision.0;
        self.queue(batch, revision);
        publish(revision);
        self.sequence.last.store(revision.0, Ordering::Release); // pairs with the load in `last`
        if self.sequence.visibility == Visibility::Immediate {
            // After `publish`: who sees this revision sees what it changed. Release: pairs with the load in `visible`.
            self.sequence.visible.store(revision.0, planted::publish()); // as above
        }
        revision
    }

    /// Queues a commit for the journal and for who watches, if there is one.
    pub(crate) fn queue(&mut self, batch: Option<Box<Batch>>, revision: Revision) {
        if let Some(mut batch) = batch {
            batch.revision = revision;
            // Relaxed, both: a figure, only stored inside SEQ.
            let queued = self.sequence.queued.load(Ordering::Relaxed) + batch.memory_bytes();
            self.sequence.queued.store(queued, Ordering::Relaxed); // as above
            batch.before = self.state.queue.take();
            self.state.queue = Some(batch);
        }
    }

    /// Changes the sizes.
    pub(crate) fn count(&mut self, delta: &Delta) {
        self.state.totals.apply(delta);
        self.sequence.used.store(self.state.totals.data_bytes(), Ordering::Relaxed); // a hint, see `used_bytes`
    }

    /// Sizes of what is stored, and the commit as of which.
    pub(crate) fn totals(&self) -> (Totals, Revision) {
        (self.state.totals, Revision(self.state.last))
    }

    /// The revisions at which someone may still read; ends the section. Where `points` has too little room it gets more outside,
    /// and those of then are taken: later ones serve as well, if the lock of the key's bucket is held all the while.
    pub(crate) fn read_points(mut self, points: &mut ReadPoints) {
        // The pins, VISIBLE and SEALED.
        while points.points.capacity() < self.state.pins.len() + 2 {
            let (sequence, needed) = (self.sequence, self.state.pins.len() + 2);
            drop(self);
            points.points = Vec::with_capacity(2 * needed);
            self = sequence.enter();
        }
        let visible = self.sequence.visible().0;
        let sealed = if planted::is(Bug::SettleForgetsSealed) { visible } else { self.state.sealed.max(visible) };
        points.points.clear();
        points.points.extend(self.state.pins.iter().map(|pin| pin.revision.0));
        for point in [visible, sealed] {
            if let Err(at) = points.points.binary_search(&point) {
                points.points.insert(at, point);
            }
        }
        points.visible = visible;
        let depth = self.sequence.depth();
        (points.history, points.forgotten) = (depth.older, depth.forgotten);
    }

    /// Takes a pin out of the list. Who holds it frees it: it has its own reference as long as it is listed.
    fn take_out(&mut self, at: usize) {
        let pinned = self.state.pins.remove(at);
        self.state.transactions -= usize::from(pinned.is_transaction);
        self.note_oldest();
    }

    fn note_oldest(&mut self) {
        let oldest = self.state.pins.first().map_or(u64::MAX, |pin| pin.revision.0);
        self.sequence.oldest_pin.store(oldest, Ordering::Release); // pairs with the load in `oldest_read_point`
    }
}

impl Pinned {
    /// # Errors
    /// The versions of this read point had to go.
    pub(crate) fn check(&self) -> Result<(), Error> {
        // Acquire: pairs with the store in `revoke_oldest`.
        if self.revoked.load(Ordering::Acquire) {
            return Err(Error::SnapshotTooOld { revision: self.revision });
        }
        Ok(())
    }
}

impl Drop for State {
    /// One after the other: a long queue must not end in a deep recursion.
    fn drop(&mut self) {
        let mut queue = self.queue.take();
        while let Some(mut batch) = queue {
            queue = batch.before.take();
        }
    }
}
