//! Transactions: views, which read the state of one revision, and updates, which commit only if nothing they have read was
//! changed since. Owns what a transaction remembers; how it is committed is `write`'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use kvd_types::{Command, Condition, Delete, Entry, Error, ItemFailure, Key, List, Page, Revision, Set, Ttl};

use crate::engine::{Engine, Store, Worker};
use crate::index::{At, Newest};
use crate::item::{Item, Operation};
use crate::planted::{self, Bug};
use crate::read;
use crate::sequence::Pinned;
use crate::write::{self, Committed};

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

    /// A key as of the read point. Who asks counts it.
    fn read(&self, worker: &mut Worker, key: &Key<'_>) -> Result<Option<Entry>, Error> {
        if planted::is(Bug::RevokedNotSeen) {
            self.pinned.check()?;
        }
        worker.uses.note(self.store.index.hash(key.as_bytes()).fast());
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
        let entry = self.0.read(worker, key)?;
        worker.counters.get(entry.is_some());
        Ok(entry)
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
    /// Every key that was read or is to be written.
    keys: BTreeMap<Key<'static>, Remembered>,
    /// Their lengths and those of the values to be written, together.
    bytes: usize,
}

/// What an update knows of a key.
#[derive(Default)]
struct Remembered {
    /// What must still be true of the key at the commit, if the store was asked: the revision that was read, or its absence.
    read: Option<Condition>,
    /// The newest own write.
    write: Option<Write>,
}

/// What is to happen to a key.
enum Write {
    Put(Set<'static>),
    Delete,
}

impl Write {
    fn value_len(&self) -> usize {
        match self {
            Write::Put(set) => set.value.len(),
            Write::Delete => 0,
        }
    }
}

impl Update {
    pub(crate) fn begin(store: &Arc<Store>) -> Result<Update, Error> {
        Ok(Update { point: Point::begin(store, true)?, keys: BTreeMap::new(), bytes: 0 })
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
    /// [`Error::SnapshotTooOld`] when the versions of this revision had to go; a limit is broken, since what was read is
    /// remembered.
    pub fn get(&mut self, engine: &Engine, worker: &mut Worker, key: &Key<'_>) -> Result<Option<Entry>, Error> {
        self.point.store(engine, worker);
        worker.position = self.position();
        let own = match self.keys.get(key).and_then(|remembered| remembered.write.as_ref()) {
            None => None,
            Some(Write::Delete) => Some(None),
            Some(Write::Put(set)) => Some(Some(set.clone())),
        };
        let entry = match own {
            None => self.read(worker, key)?,
            Some(None) => None,
            Some(Some(set)) => self.own_entry(worker, set)?,
        };
        worker.counters.get(entry.is_some());
        Ok(entry)
    }

    /// A key as of the read point, which the commit will ask for again.
    fn read(&mut self, worker: &mut Worker, key: &Key<'_>) -> Result<Option<Entry>, Error> {
        let bytes = self.room_for(key, 0, 0)?;
        let entry = self.point.read(worker, key)?;
        let condition = entry.as_ref().map_or(Condition::Absent, |entry| Condition::Revision(entry.revision));
        if !(entry.is_none() && planted::is(Bug::AbsentNotRead)) {
            self.keys.entry(key.borrow().into_owned()).or_default().read = Some(condition);
            self.bytes = bytes;
        }
        Ok(entry)
    }

    /// A value that is not committed yet, as its own transaction sees it: at its time, and with the expiry that it keeps.
    fn own_entry(&mut self, worker: &mut Worker, set: Set<'static>) -> Result<Option<Entry>, Error> {
        let now_ms = self.point.pinned.now_ms;
        let expires_at_ms = match set.ttl {
            Ttl::None => None,
            Ttl::Keep => self.read(worker, &set.key)?.and_then(|entry| entry.expires_at_ms),
            Ttl::Ms(ms) => Some(now_ms.saturating_add(ms)),
            Ttl::At(at) => Some(at),
        };
        let entry =
            Entry { value: set.value, content_type: set.content_type, expires_at_ms, revision: self.revision() };
        Ok(expires_at_ms.is_none_or(|at| at > now_ms).then_some(entry))
    }

    /// Gives a key a value when this commits.
    ///
    /// # Errors
    /// A limit is broken; or the set has a condition, which a transaction expresses by reading.
    pub fn set(&mut self, mut set: Set<'static>) -> Result<(), Error> {
        if set.condition != Condition::Always {
            let what = "a set inside a transaction takes no condition: read the key, and the commit asks that it did not change";
            return Err(Error::NotInTransaction { what });
        }
        self.point.store.limits.check(&Command::Set(set.clone()))?;
        if set.ttl == Ttl::Keep {
            set.ttl = self.kept(&set.key);
        }
        self.write(set.key.clone(), Write::Put(set))
    }

    /// Removes a key when this commits.
    ///
    /// # Errors
    /// A limit is broken.
    pub fn delete(&mut self, key: Key<'static>) -> Result<(), Error> {
        self.point.store.limits.check(&Command::Delete(Delete::new(key.borrow())))?;
        self.write(key, Write::Delete)
    }

    /// What a set of `key` keeps: the expiry of an own write before it, or else that of the store, which the commit finds.
    fn kept(&self, key: &Key<'_>) -> Ttl {
        match self.keys.get(key).and_then(|remembered| remembered.write.as_ref()) {
            None => Ttl::Keep,
            Some(Write::Delete) => Ttl::None,
            Some(Write::Put(Set { ttl: Ttl::At(at), .. })) if *at <= self.point.pinned.now_ms => Ttl::None,
            Some(Write::Put(Set { ttl: Ttl::Ms(0), .. })) => Ttl::None,
            Some(Write::Put(set)) => set.ttl,
        }
    }

    fn write(&mut self, key: Key<'static>, write: Write) -> Result<(), Error> {
        let before = self.keys.get(&key).and_then(|remembered| remembered.write.as_ref());
        let bytes = self.room_for(&key, before.map_or(0, Write::value_len), write.value_len())?;
        self.keys.entry(key).or_default().write = Some(write);
        self.bytes = bytes;
        Ok(())
    }

    /// What a transaction remembers is bounded as a batch is. Returns what it comes to in bytes with this key, and when a value
    /// to be written changes its length.
    fn room_for(&self, key: &Key<'_>, before: usize, after: usize) -> Result<usize, Error> {
        let limits = &self.point.store.limits;
        let is_new = !self.keys.contains_key(key);
        limits.check_batch_items(self.keys.len() + usize::from(is_new))?;
        let bytes = self.bytes - before + after + if is_new { key.len() } else { 0 };
        limits.check_batch_bytes(bytes)?;
        Ok(bytes)
    }

    /// Commits: every key that was read still has the version that was read, or is still absent, and all writes happen; or
    /// nothing does.
    ///
    /// # Errors
    /// [`Error::Conflict`] names the keys that were changed; begin again. Otherwise as a batch of writes.
    pub fn commit(self, engine: &Engine, worker: &mut Worker) -> Result<Revision, Error> {
        let store = self.point.store(engine, worker);
        let revision = self.revision();
        worker.position = self.position();
        let puts = self.keys.values().filter(|key| matches!(key.write, Some(Write::Put(_)))).count();
        let deletes = self.keys.values().filter(|key| matches!(key.write, Some(Write::Delete))).count();
        let readable = self.point.pinned.check();
        // What was read is judged by its revision: nothing is read here any more, and nothing kept that the commit replaces.
        drop(self.point);
        if puts + deletes == 0 {
            return readable.map(|()| revision);
        }
        let committed = readable.and_then(|()| commit(store, worker, &self.keys));
        worker.trash.tidy();
        match &committed {
            Ok(committed) => {
                worker.counters.sets(puts);
                // Every put changes its key, a delete only one that is there.
                worker.counters.deletes(deletes, puts + deletes - committed.changed);
            }
            Err(_) => worker.counters.rejected_keys(puts + deletes),
        }
        committed.map(|committed| committed.revision)
    }
}

/// A key that was read and is written is judged by its read, and changed by its write.
fn commit(store: &Store, worker: &mut Worker, keys: &BTreeMap<Key<'_>, Remembered>) -> Result<Committed, Error> {
    let item = |(key, remembered)| {
        let Remembered { read, write }: &Remembered = remembered;
        let condition = read.as_ref().unwrap_or(&Condition::Always);
        let operation = match write {
            Some(Write::Put(set)) => Item::put(set).operation,
            Some(Write::Delete) => Operation::Delete,
            None => Operation::Check,
        };
        Item { key, condition, operation }
    };
    let items: Vec<Item<'_>> = keys.iter().map(item).collect();
    write::commit_many(store, worker, &items, false).map_err(|error| conflict(error, &items))
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
