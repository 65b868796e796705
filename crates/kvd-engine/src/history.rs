//! The past of keys, for who asks for it: the value at a revision, the versions that are kept, and an old value made new. Owns
//! from when on the past is known, and how long that of a deleted key is; which versions stay is `index`'s.
//!
//! | what | how long it is known |
//! |---|---|
//! | a key's newest version, and `history` older ones | until newer ones push them out |
//! | the same of a deleted key | until so many keys were deleted after it, or memory is short |
//! | anything before a clear, or before history was kept | not |
//!
//! So there is one revision for the whole store, the *begin*, and before it a key without a version may have had one: who asks is
//! told that it is not known. From the begin on a key without a version had none. A key whose older versions were pushed out has
//! a mark behind the oldest. All of this is a matter of commits, not of time: what was answered for a revision is answered again,
//! or not known any more; an expired key is there until the commit that removes it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::OnceLock;

use kvd_journal::Jump;
use kvd_types::{Entry, Error, HistoryItem, Key, Reply, Revision, Rollback};

use crate::current::Current;
use crate::engine::{Store, Worker};
use crate::index::{Content, Depth, Kept, Past};
use crate::mutation::{Demand, Mutation};
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use crate::{commit, judge, settle};

/// Jumps of revisions that are remembered, the newest ones: there is one for each start after a crash.
pub(crate) const JUMPS_MAX: usize = 1_000;

/// Deletions forgotten at once when memory is short.
const FORGOTTEN_AT_ONCE: usize = 256;

/// What is known of the past beside the versions.
#[derive(Default)]
pub(crate) struct History {
    /// So many deletions are remembered.
    deleted_max: usize,
    /// Keys that were deleted, by revision and hash, the oldest first. One that is back, or was cleared, does no harm.
    deleted: Mutex<BinaryHeap<Reverse<(u64, u64)>>>,
    /// What was loaded is known from here on. Raised before anyone reads.
    begin: AtomicU64,
    /// Revisions that may have been given and lost. Set before anyone reads.
    jumps: OnceLock<Vec<Jump>>,
}

impl History {
    pub(crate) fn new(deleted_max: usize) -> History {
        History { deleted_max, ..History::default() }
    }

    /// While a store is loaded: its past is not known before `begin`.
    pub(crate) fn begin_at(&self, begin: Revision) {
        self.begin.fetch_max(begin.0, Ordering::Relaxed); // nobody reads it yet
    }

    /// The store goes on after these jumps.
    pub(crate) fn resume(&self, mut jumps: Vec<Jump>) {
        jumps.drain(..jumps.len().saturating_sub(JUMPS_MAX));
        assert!(self.jumps.set(jumps).is_ok(), "a store is loaded once");
    }

    pub(crate) fn jumps(&self) -> &[Jump] {
        self.jumps.get().map_or(&[], |jumps| jumps)
    }

    /// The key with this hash was deleted.
    pub(crate) fn note_deleted(&self, revision: Revision, hash: u64) {
        lock(&self.deleted).push(Reverse((revision.0, hash)));
    }

    /// The oldest deletion, if there are more than `kept` or if one of its commit is forgotten.
    fn pop_deleted(&self, kept: usize, forgotten: u64) -> Option<(Revision, u64)> {
        let mut deleted = lock(&self.deleted);
        let Reverse((revision, _)) = deleted.peek()?;
        if deleted.len() <= kept && *revision > forgotten {
            return None;
        }
        deleted.pop().map(|Reverse((revision, hash))| (Revision(revision), hash))
    }
}

impl Store {
    /// How deep histories are.
    pub(crate) fn depth(&self) -> Depth {
        self.sequence.depth()
    }

    pub(crate) fn keeps_history(&self) -> bool {
        self.sequence.keeps_history()
    }

    /// The time of a commit as its versions keep it.
    pub(crate) fn version_time(&self, now_ms: u64) -> Option<u64> {
        (self.keeps_history() && now_ms > 0).then_some(now_ms)
    }

    /// From which revision on keys without a version are known to have had none.
    pub(crate) fn history_begin(&self, depth: Depth, cleared: Revision) -> Revision {
        let loaded = self.history.begin.load(Ordering::Relaxed); // raised before anyone reads
        Revision(loaded.max(depth.forgotten)).max(cleared)
    }

    /// # Errors
    /// Nothing is known of what a key had then.
    fn check_known(&self, revision: Revision, newest: Revision) -> Result<(), Error> {
        if revision > newest {
            return Err(Error::FutureRevision { revision, newest });
        }
        if self.history.jumps().iter().any(|jump| jump.is_over(revision)) {
            return Err(Error::VersionDropped { revision });
        }
        Ok(())
    }
}

/// Lets go of the history of keys that were deleted so long ago. Without any lock held, unpinned.
pub(crate) fn forget_due(store: &Store, worker: &mut Worker) {
    if store.keeps_history() {
        forget(store, worker, store.history.deleted_max);
    }
}

/// The same for some more keys, for want of memory. Returns whether there were any.
pub(crate) fn forget_some(store: &Store, worker: &mut Worker) -> bool {
    let deleted = lock(&store.history.deleted).len();
    deleted > 0 && forget(store, worker, deleted.saturating_sub(FORGOTTEN_AT_ONCE))
}

fn forget(store: &Store, worker: &mut Worker, kept: usize) -> bool {
    let mut has_forgotten = false;
    while let Some((revision, hash)) = store.history.pop_deleted(kept, store.depth().forgotten) {
        // Before its versions go, so that who misses one sees why.
        store.sequence.forget(revision);
        settle::settle_one(store, worker, hash);
        has_forgotten = true;
    }
    has_forgotten
}

/// What a key had at a revision that readers see.
pub(crate) fn get_at(store: &Store, worker: &mut Worker, key: &Key<'_>, revision: Revision) -> Result<Reply, Error> {
    let entry = entry_at(store, worker, key, revision, || store.sequence.visible())?;
    worker.counters.get(entry.is_some());
    let revision = entry.as_ref().map_or(revision, |entry| entry.revision);
    Ok(Reply::Got { entry, revision })
}

/// What histories have whose newest commit is `newest`: a deletion that is not seen yet is not forgotten either.
fn depth_at(store: &Store, newest: Revision) -> (Revision, Depth) {
    let Depth { older, forgotten } = store.depth();
    (newest, Depth { older, forgotten: forgotten.min(newest.0) })
}

/// What it had; `newest` is up to where commits are looked at.
fn entry_at(
    store: &Store,
    worker: &mut Worker,
    key: &Key<'_>,
    revision: Revision,
    newest: impl Fn() -> Revision,
) -> Result<Option<Entry>, Error> {
    if !store.keeps_history() {
        return Err(Error::HistoryOff);
    }
    let guard = worker.reader.pin();
    let look = || depth_at(store, newest());
    let (visible, past, cleared) = store.index.history(store.index.hash(key.as_bytes()), look, &guard);
    store.check_known(revision, visible)?;
    match past.at(revision) {
        Some(Kept { revision, content: Content::Value(record) }) => Ok(Some(record.entry(*revision))),
        Some(Kept { content: Content::Gone(_), .. }) => Ok(None),
        None if past.is_cut || revision < store.history_begin(past.depth, cleared) => {
            Err(Error::VersionDropped { revision })
        }
        None => Ok(None),
    }
}

/// The versions of a key that are kept and that readers see.
pub(crate) fn history(store: &Store, worker: &mut Worker, key: &Key<'_>) -> Result<Reply, Error> {
    if !store.keeps_history() {
        return Err(Error::HistoryOff);
    }
    let guard = worker.reader.pin();
    let look = || depth_at(store, store.sequence.visible());
    let (revision, Past { versions, .. }, _) = store.index.history(store.index.hash(key.as_bytes()), look, &guard);
    Ok(Reply::History { revision, versions: versions.iter().map(item).collect() })
}

fn item(version: &Kept<'_>) -> HistoryItem {
    let (gone, size, time_ms) = match version.content {
        Content::Value(record) => (None, record.value_len() as u64, record.written_at_ms()),
        Content::Gone(removal) => (Some(removal.reason), 0, removal.time_ms),
    };
    HistoryItem { revision: version.revision, gone, size, time_ms }
}

/// A commit that gives a key what it had at a revision: a new version, with a copy of the old one's record.
pub(crate) fn rollback(store: &Store, worker: &mut Worker, rollback: &Rollback<'_>) -> Result<Reply, Error> {
    if !store.keeps_history() {
        return Err(Error::HistoryOff);
    }
    let demand = demand(store, worker, rollback);
    let committed = commit::one(store, worker, &rollback.key, demand, |current, _, demand| {
        let mutation = restored(store, current, rollback.to)?;
        judge::one(&rollback.condition, current.alive, store.epoch)?;
        commit::check_room(demand, Demand::NONE.mutation(&rollback.key, &mutation))?;
        Ok(Some(mutation))
    })?;
    worker.counters.sets(1);
    Ok(Reply::RolledBack { revision: committed.revision })
}

/// Room for what a look promises; under the lock it may turn out to be more.
fn demand(store: &Store, worker: &mut Worker, rollback: &Rollback<'_>) -> Demand {
    let seen = entry_at(store, worker, &rollback.key, rollback.to, || store.sequence.last());
    match seen {
        Ok(Some(entry)) => Demand::NONE.put(&rollback.key, entry.value.len(), entry.content_type.as_ref()),
        Ok(None) | Err(_) => Demand::NONE,
    }
}

/// What a key had at a revision, under the lock of its home: value and content type, without an expiry.
fn restored(store: &Store, current: &Current<'_>, to: Revision) -> Result<Mutation<'static>, Error> {
    let (newest, depth) = depth_at(store, store.sequence.last());
    store.check_known(to, newest)?;
    let (past, cleared) = current.past(depth);
    match past.at(to) {
        Some(Kept { revision, content: Content::Value(record) }) => {
            let entry = record.entry(*revision);
            Ok(Mutation::to(Some(&Entry { expires_at_ms: None, ..entry })))
        }
        Some(Kept { content: Content::Gone(_), .. }) => Err(Error::NoVersion { revision: to }),
        None if past.is_cut || to < store.history_begin(depth, cleared) => Err(Error::VersionDropped { revision: to }),
        None => Err(Error::NoVersion { revision: to }),
    }
}
