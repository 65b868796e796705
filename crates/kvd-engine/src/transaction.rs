//! Transactions: views, which read the state of one revision, and updates, which commit only if nothing they have read was
//! changed since. Owns what a transaction remembers; what a command means in it is `overlay`'s, how it is committed `commit`'s.
//!
//! Whatever an answer tells of a key, that it was there or was not, is a read: the commit asks that it still holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use kvd_types::{Command, Condition, Delete, Entry, Error, Key, List, Page, Reply, Revision, Set};

use crate::commit::{self, Committed};
use crate::current::Current;
use crate::engine::{Engine, Store, Worker};
use crate::index::{At, Newest};
use crate::moment::Moment;
use crate::mutation::Demand;
use crate::overlay::{self, Overlay, Write};
use crate::planted::{self, Bug};
use crate::sequence::Pinned;
use crate::stats::Tally;
use crate::{judge, one_shot, read, room, sorted};

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

    /// Carries out a command that reads.
    ///
    /// # Errors
    /// As outside a transaction; [`Error::SnapshotTooOld`] when the versions of this revision had to go;
    /// [`Error::NotInTransaction`] for one that writes.
    pub fn execute(&self, engine: &Engine, worker: &mut Worker, command: &Command<'_>) -> Result<Reply, Error> {
        let store = self.0.store(engine, worker);
        worker.position = Revision(0);
        store.limits.check(command)?;
        match command {
            Command::Get { key } => Ok(Reply::Got { entry: self.get(engine, worker, key)?, revision: self.revision() }),
            Command::Peek { key } => Ok(Reply::Got { entry: self.0.read(worker, key)?, revision: self.revision() }),
            Command::MultiGet { keys, require_all } => {
                let keys = read::hash_all(store, worker, keys);
                read::multi_get_at(store, worker, &keys, *require_all, &self.0.pinned)
            }
            Command::List(list) => self.list(engine, worker, list).map(Reply::Page),
            Command::ListSorted(list) => sorted::list_at(store, worker, list, &self.0.pinned).map(Reply::SortedPage),
            _ => {
                worker.counters.rejected(command);
                Err(Error::NotInTransaction { what: "a read-only transaction takes no writes: begin a read-write one" })
            }
        }
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
    memory: Memory,
    /// What the commit counts.
    tally: Tally,
}

/// What an update knows of a key.
#[derive(Default)]
struct Remembered {
    /// What must still be true of the key at the commit, if the store was asked: the revision that was read, or its absence.
    read: Option<Condition>,
    /// The newest own write.
    write: Option<Write>,
    /// It was deleted without a look: whether it was there shows at the commit.
    is_deleted_unseen: bool,
}

/// The lengths of the keys an update knows and of the values it is to write, together; the store counts them too.
struct Memory {
    store: Arc<Store>,
    bytes: usize,
}

impl Memory {
    fn set(&mut self, bytes: usize) {
        let change = (bytes as u64).wrapping_sub(self.bytes as u64);
        self.store.transactions_bytes.fetch_add(change, Ordering::Relaxed); // a count that stands for nothing but itself
        self.bytes = bytes;
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Update {
    pub(crate) fn begin(store: &Arc<Store>) -> Result<Update, Error> {
        let memory = Memory { store: Arc::clone(store), bytes: 0 };
        Ok(Update { point: Point::begin(store, true)?, keys: BTreeMap::new(), memory, tally: Tally::default() })
    }

    /// The revision that is read.
    pub fn revision(&self) -> Revision {
        self.point.pinned.revision
    }

    /// How many keys it remembers: those that it has read, and those that it is to write.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// The lengths of these keys and of the values that it is to write, together.
    pub fn bytes(&self) -> usize {
        self.memory.bytes
    }

    /// What the answer to its begin must wait for: it reads the newest commits, and a power cut can take them back.
    pub fn position(&self) -> Revision {
        if planted::is_at_disk(Bug::BeginAtOnce) { Revision(0) } else { self.revision() }
    }

    /// Carries out a command on what this transaction sees: its revision, and its own writes on top. What the answer tells of is
    /// remembered, and must still hold at the commit. An own write, and the answer to one, has
    /// revision 0, which no commit has: the commit's is not known yet. A command that fails has changed nothing.
    ///
    /// # Errors
    /// As outside a transaction; [`Error::SnapshotTooOld`] when the versions of this revision had to go;
    /// [`Error::NotInTransaction`] for lists, clears and transactions; a limit is broken by all that is to be remembered.
    pub fn execute(&mut self, engine: &Engine, worker: &mut Worker, command: &Command<'_>) -> Result<Reply, Error> {
        let store = self.point.store(engine, worker);
        worker.position = self.position();
        let result = self.run(store, worker, command);
        if result.is_err() {
            worker.counters.rejected(command);
        }
        result
    }

    fn run(&mut self, store: &Store, worker: &mut Worker, command: &Command<'_>) -> Result<Reply, Error> {
        store.limits.check(command)?;
        let needed = one_shot::demand(store, worker, std::slice::from_ref(command)).memory_bytes;
        if needed > 0 {
            room::make(store, worker, needed)?;
        }
        let tally = self.tally;
        let mut session = Session { update: self, worker, replaced: Vec::new() };
        let result = overlay::execute(&mut session, store, command);
        let replaced = session.replaced;
        if result.is_ok() {
            let Tally { hits, misses, .. } = self.tally;
            worker.counters.gets(hits, misses);
            self.tally = Tally { hits: 0, misses: 0, ..self.tally };
        } else {
            self.tally = tally;
            replaced.into_iter().rev().for_each(|(key, write)| self.put_back(&key, write));
        }
        result
    }

    /// The value of a key: this transaction's own, or that of its revision.
    ///
    /// # Errors
    /// As `execute`.
    pub fn get(&mut self, engine: &Engine, worker: &mut Worker, key: &Key<'_>) -> Result<Option<Entry>, Error> {
        match self.execute(engine, worker, &Command::Get { key: key.borrow() })? {
            Reply::Got { entry, .. } => Ok(entry),
            other => unreachable!("{other:?} answers no get"),
        }
    }

    /// Gives a key a value when this commits. Unlike the command it doesn't look, so it is in conflict with nobody.
    ///
    /// # Errors
    /// A limit is broken; or the set has a condition, which takes a look.
    pub fn set(&mut self, set: Set<'static>) -> Result<(), Error> {
        if set.condition != Condition::Always {
            return Err(Error::NotInTransaction {
                what: "a set with a condition takes a look: execute it as a command",
            });
        }
        self.point.store.limits.check(&Command::Set(set.clone()))?;
        let write = Write::set(&set).after(self.own(&set.key), self.moment());
        self.write(&set.key, write)?;
        self.tally.sets += 1;
        Ok(())
    }

    /// Removes a key when this commits. Unlike the command it doesn't look, so it is in conflict with nobody.
    ///
    /// # Errors
    /// A limit is broken.
    pub fn delete(&mut self, key: Key<'static>) -> Result<(), Error> {
        self.point.store.limits.check(&Command::Delete(Delete::new(key.borrow())))?;
        let before = self.write(&key, Write::Delete)?;
        self.tally.deletes += 1;
        match before {
            Some(before) => self.tally.delete_misses += usize::from(!before.is_alive(self.moment())),
            None => self.keys.entry(key).or_default().is_deleted_unseen = true,
        }
        Ok(())
    }

    fn own(&self, key: &Key<'_>) -> Option<&Write> {
        self.keys.get(key.as_bytes())?.write.as_ref()
    }

    fn moment(&self) -> Moment {
        Moment::new(&self.point.store, self.point.pinned.now_ms)
    }

    /// Returns the own write that was to come until now.
    fn write(&mut self, key: &Key<'_>, write: Write) -> Result<Option<Write>, Error> {
        let before = self.own(key).map_or(0, Write::value_len);
        let bytes = self.room_for(key, before, write.value_len())?;
        self.memory.set(bytes);
        Ok(self.keys.entry(key.borrow().into_owned()).or_default().write.replace(write))
    }

    /// Takes an own write back.
    fn put_back(&mut self, key: &Key<'_>, write: Option<Write>) {
        let remembered = self.keys.get_mut(key.as_bytes()).expect("it was written");
        let after = write.as_ref().map_or(0, Write::value_len);
        let before = std::mem::replace(&mut remembered.write, write).map_or(0, |write| write.value_len());
        self.memory.set(self.memory.bytes - before + after);
    }

    /// What a transaction remembers is bounded as a batch is. Returns what it comes to in bytes with this key, and when a value
    /// to be written changes its length.
    fn room_for(&self, key: &Key<'_>, before: usize, after: usize) -> Result<usize, Error> {
        let limits = &self.point.store.limits;
        let is_new = !self.keys.contains_key(key.as_bytes());
        limits.check_batch_items(self.keys.len() + usize::from(is_new))?;
        let bytes = self.memory.bytes - before + after + if is_new { key.len() } else { 0 };
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
        let readable = self.point.pinned.check();
        let Update { point, keys, memory, mut tally } = self;
        // What was read is judged by its revision: nothing is read here any more, and nothing kept that the commit replaces.
        drop((point, memory));
        let has_writes = keys.values().any(|remembered| remembered.write.is_some());
        let committed = match readable {
            Ok(()) if has_writes => commit(store, worker, &keys, &mut tally).map(|committed| committed.revision),
            other => other.map(|()| revision),
        };
        worker.trash.tidy();
        match committed {
            Ok(_) => worker.counters.tally(&tally),
            Err(_) => worker.counters.rejected_keys(tally.sets + tally.deletes),
        }
        committed
    }
}

/// A key that was read and is written is judged by its read, and changed by its write.
fn commit(
    store: &Store,
    worker: &mut Worker,
    keys: &BTreeMap<Key<'_>, Remembered>,
    tally: &mut Tally,
) -> Result<Committed, Error> {
    let (names, remembered): (Vec<&Key<'_>>, Vec<&Remembered>) = keys.iter().unzip();
    let demand = keys.iter().fold(Demand::NONE, |demand, (key, remembered)| match &remembered.write {
        Some(Write::Put { value, content_type, .. }) => demand.put(key, value.len(), content_type.as_ref()),
        Some(Write::Delete) => demand.delete(key),
        None => demand,
    });
    let alone = planted::is(Bug::ReadSetUnlocked)
        .then(|| remembered.iter().position(|remembered| remembered.write.is_some()).unwrap_or(0));
    let expired_too = planted::is(Bug::ExpiredNotSeen);
    let mut missed = 0;
    let committed = commit::many_locking(store, worker, &names, alone, demand, |current, moment, _| {
        let is_changed = |at: &usize| {
            let held = if expired_too { current[*at].newest } else { current[*at].alive };
            remembered[*at].read.as_ref().is_some_and(|read| !judge::holds(read, held, store.epoch))
        };
        let changed = (0..names.len()).filter(is_changed);
        let changed: Vec<Key<'static>> = changed.map(|at| names[at].borrow().into_owned()).collect();
        if !changed.is_empty() {
            return Err(Error::Conflict { keys: changed }.into());
        }
        let pairs = || remembered.iter().zip(current);
        missed =
            pairs().filter(|(remembered, current)| remembered.is_deleted_unseen && current.alive.is_none()).count();
        let mutation = |(remembered, current): (&&Remembered, &Current<'_>)| {
            remembered.write.as_ref()?.mutation(current.alive, moment)
        };
        Ok(pairs().map(mutation).enumerate().filter_map(|(at, mutation)| Some((at, mutation?))).collect())
    })?;
    tally.delete_misses += missed;
    Ok(committed)
}

/// An update while it carries out a command.
struct Session<'a> {
    update: &'a mut Update,
    worker: &'a mut Worker,
    /// Own writes as they were before the command, oldest first.
    replaced: Vec<(Key<'static>, Option<Write>)>,
}

impl Overlay for Session<'_> {
    fn moment(&self) -> Moment {
        self.update.moment()
    }

    fn revision(&self) -> Revision {
        self.update.revision()
    }

    /// A key as of the read point, which the commit will ask for again.
    fn below(&mut self, key: &Key<'_>) -> Result<Option<Entry>, Error> {
        let update = &mut *self.update;
        let bytes = update.room_for(key, 0, 0)?;
        let entry = update.point.read(self.worker, key)?;
        let condition = entry.as_ref().map_or(Condition::Absent, |entry| Condition::Revision(entry.revision));
        if !(entry.is_none() && planted::is(Bug::AbsentNotRead)) {
            update.keys.entry(key.borrow().into_owned()).or_default().read = Some(condition);
            update.memory.set(bytes);
        }
        Ok(entry)
    }

    fn own(&self, key: &Key<'_>) -> Option<&Write> {
        self.update.own(key)
    }

    fn put_on_top(&mut self, key: &Key<'_>, write: Write) -> Result<(), Error> {
        let before = self.update.write(key, write)?;
        self.replaced.push((key.borrow().into_owned(), before));
        Ok(())
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.update.tally
    }
}
