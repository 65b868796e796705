//! Transactions: views, which read the state of one revision, and updates, which commit only if nothing they have read was
//! changed since. Owns what a transaction remembers; how it is committed is `write`'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use kvd_types::{Condition, Entry, Error, ItemFailure, Key, List, Page, Revision, Set, Ttl};

use crate::engine::{Engine, Store, Worker};
use crate::index::{At, Newest};
use crate::item::{Item, Operation};
use crate::planted::{self, Bug};
use crate::read;
use crate::sequence::Pinned;
use crate::write;

/// A read point, given up when it is dropped.
struct Point {
    store: Arc<Store>,
    pinned: Arc<Pinned>,
}

impl Point {
    fn begin(store: &Arc<Store>, at_last: bool) -> Result<Point, Error> {
        store.check_open()?;
        Ok(Point { store: Arc::clone(store), pinned: store.sequence.pin(at_last)? })
    }

    /// The store that is read, for who brings a worker of it: another's pin would protect nothing here.
    fn store<'s>(&self, engine: &'s Engine, worker: &Worker) -> &'s Store {
        let store = engine.store(worker);
        assert!(std::ptr::eq(store, &*self.store), "a transaction is used with the engine that began it");
        store
    }

    /// A key as of the read point.
    fn get(&self, worker: &mut Worker, key: &Key<'_>) -> Result<Option<Entry>, Error> {
        if planted::is(Bug::RevokedNotSeen) {
            self.pinned.check()?;
        }
        let guard = worker.reader.pin();
        let horizon = At(self.pinned.revision);
        let found = if planted::is(Bug::UpdateReadsNewest) {
            read::get_at(&self.store, key.as_bytes(), Newest, self.pinned.now_ms, &guard)
        } else {
            read::get_at(&self.store, key.as_bytes(), horizon, self.pinned.now_ms, &guard)
        };
        let entry = found.map(|found| found.entry());
        drop(guard);
        // After the read: a version that had to go meanwhile must not look like a key that is missing.
        if !planted::is(Bug::RevokedNotSeen) {
            self.pinned.check()?;
        }
        worker.counters.get(entry.is_some());
        Ok(entry)
    }
}

impl Drop for Point {
    fn drop(&mut self) {
        self.store.sequence.unpin(&self.pinned);
    }
}

/// A read-only transaction: the state of one revision. No commit of others ends it; only a lack of memory does.
pub struct View(Point);

impl View {
    pub(crate) fn begin(store: &Arc<Store>) -> Result<View, Error> {
        Point::begin(store, false).map(View)
    }

    /// The revision that is read.
    pub fn revision(&self) -> Revision {
        self.0.pinned.revision
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::SnapshotTooOld`] when the versions of this revision had to go.
    pub fn get(&self, engine: &Engine, worker: &mut Worker, key: &Key<'_>) -> Result<Option<Entry>, Error> {
        self.0.store(engine, worker);
        self.0.get(worker, key)
    }

    /// One page of all keys as of this revision: the pages of one view are of one state.
    ///
    /// # Errors
    /// As `get`; [`Error::StaleCursor`] when the cursor belongs to another store.
    pub fn list(&self, engine: &Engine, worker: &mut Worker, list: &List<'_>) -> Result<Page, Error> {
        read::list_at(self.0.store(engine, worker), worker, list, &self.0.pinned)
    }
}

/// A read-write transaction: reads are of one revision, with own writes on top; nothing is locked before the commit.
pub struct Update {
    point: Point,
    /// Keys read from the store, and what must still be true of them: the revision that was read, or that they are absent.
    reads: BTreeMap<Key<'static>, Condition>,
    /// The newest own write of each key; none to delete it.
    writes: BTreeMap<Key<'static>, Option<Set<'static>>>,
}

impl Update {
    pub(crate) fn begin(store: &Arc<Store>) -> Result<Update, Error> {
        let point = Point::begin(store, true)?;
        Ok(Update { point, reads: BTreeMap::new(), writes: BTreeMap::new() })
    }

    /// The revision that is read.
    pub fn revision(&self) -> Revision {
        self.point.pinned.revision
    }

    /// What the answer to its begin must wait for: it reads the newest commits, and a power cut can take them back.
    pub fn position(&self) -> Revision {
        if planted::is_at_disk(Bug::BeginAtOnce) { Revision(0) } else { self.revision() }
    }

    /// The value of a key: this transaction's own, or that of its revision.
    ///
    /// # Errors
    /// [`Error::SnapshotTooOld`] when the versions of this revision had to go.
    pub fn get(&mut self, engine: &Engine, worker: &mut Worker, key: &Key<'_>) -> Result<Option<Entry>, Error> {
        self.point.store(engine, worker);
        worker.position = self.position();
        if let Some(written) = self.writes.get(key) {
            let entry = written.as_ref().map(|set| self.own_entry(set));
            worker.counters.get(entry.is_some());
            return Ok(entry);
        }
        let entry = self.point.get(worker, key)?;
        let condition = entry.as_ref().map_or(Condition::Absent, |entry| Condition::Revision(entry.revision));
        if !(entry.is_none() && planted::is(Bug::AbsentNotRead)) {
            self.reads.insert(key.borrow().into_owned(), condition);
        }
        Ok(entry)
    }

    /// A value that is not committed yet, as its own transaction sees it.
    fn own_entry(&self, set: &Set<'_>) -> Entry {
        let expires_at_ms = match set.ttl {
            Ttl::Ms(ms) => Some(self.point.pinned.now_ms.saturating_add(ms)),
            Ttl::At(at) => Some(at),
            Ttl::None | Ttl::Keep => None,
        };
        let (value, content_type) = (set.value.clone(), set.content_type.clone());
        Entry { value, content_type, expires_at_ms, revision: self.revision() }
    }

    /// Gives a key a value when this commits.
    ///
    /// # Errors
    /// A limit is broken; or the set has a condition, which a transaction expresses by reading.
    pub fn set(&mut self, set: Set<'static>) -> Result<(), Error> {
        if set.condition != Condition::Always {
            let what = "a set inside a transaction takes no condition: read the key, and the commit asks that it did not change";
            return Err(Error::NotInTransaction { what });
        }
        let key = set.key.clone();
        self.point.store.limits.check(&kvd_types::Command::Set(set.clone()))?;
        self.room_for(&key)?;
        self.writes.insert(key, Some(set));
        Ok(())
    }

    /// Removes a key when this commits.
    ///
    /// # Errors
    /// A limit is broken.
    pub fn delete(&mut self, key: Key<'static>) -> Result<(), Error> {
        self.room_for(&key)?;
        self.writes.insert(key, None);
        Ok(())
    }

    /// What a transaction remembers is bounded as a batch is.
    fn room_for(&self, key: &Key<'_>) -> Result<(), Error> {
        let more = usize::from(!self.writes.contains_key(key));
        Ok(self.point.store.limits.check_batch_items(self.writes.len() + more)?)
    }

    /// Commits: every key that was read still has the version that was read, or is still absent, and all writes happen; or
    /// nothing does.
    ///
    /// # Errors
    /// [`Error::Conflict`] names the keys that were changed; begin again. Otherwise as a batch of writes.
    pub fn commit(self, engine: &Engine, worker: &mut Worker) -> Result<Revision, Error> {
        let store = self.point.store(engine, worker);
        worker.position = self.position();
        self.point.pinned.check()?;
        if self.writes.is_empty() {
            return Ok(self.revision());
        }
        let always = Condition::Always;
        let (mut items, mut sets, mut deletes) = (Vec::new(), 0, 0);
        for (key, condition) in &self.reads {
            items.push(Item { key, condition, operation: Operation::Check });
        }
        let reads = items.len();
        for (key, write) in &self.writes {
            // A key that was read and is written is judged once, by its read, and changed by its write.
            match write {
                Some(set) => items.push(Item::put(set)),
                None => items.push(Item { key, condition: &always, operation: Operation::Delete }),
            }
            *(if write.is_some() { &mut sets } else { &mut deletes }) += 1;
        }
        let items = merge_reads(items, reads);
        let committed = write::commit_many(store, worker, &items, false);
        worker.trash.tidy();
        let committed = committed.map_err(|error| conflict(error, &items))?;
        worker.counters.sets(sets);
        worker.counters.deletes(deletes, 0);
        Ok(committed.revision)
    }
}

/// Items of one key become one: what was read is its condition, what is written its operation.
fn merge_reads<'c>(items: Vec<Item<'c>>, reads: usize) -> Vec<Item<'c>> {
    let mut merged: BTreeMap<&'c Key<'c>, Item<'c>> = BTreeMap::new();
    for (at, item) in items.into_iter().enumerate() {
        match merged.get_mut(item.key) {
            Some(read) if at >= reads => read.operation = item.operation,
            _ => {
                merged.insert(item.key, item);
            }
        }
    }
    merged.into_values().collect()
}

/// In a transaction a condition that no longer holds is a conflict.
fn conflict(error: Error, items: &[Item<'_>]) -> Error {
    match error {
        Error::PreconditionFailed { failures, .. } => {
            let key = |failure: &ItemFailure| items[failure.index].key.borrow().into_owned();
            Error::Conflict { keys: failures.iter().map(key).collect() }
        }
        other => other,
    }
}
