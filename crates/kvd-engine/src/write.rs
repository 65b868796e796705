//! Commands that change the store: judged, given a revision and applied under the locks of all their keys. The file where
//! conditions, the order of commits and the index meet. How a record is placed is the index's business.

use bytes::Bytes;
use kvd_types::{Condition, Delete, Effect, Error, Etag, ItemFailure, Reply, Revision, Set};

use crate::engine::{Engine, Worker};
use crate::index::{Record, Writing};

/// One key's part of a commit: what is to happen if the condition holds.
struct Write<'c> {
    condition: &'c Condition,
    effect: Effect<'c>,
}

/// What a commit did.
struct Committed {
    /// The commit's; if it changed nothing, the last one given out when that was seen.
    revision: Revision,
    /// Keys that had a value before.
    existed: usize,
}

pub(crate) fn set(engine: &Engine, worker: &mut Worker, set: &Set<'_>) -> Result<Reply, Error> {
    let committed = commit_one(engine, put(set))?;
    worker.counters.sets(1);
    Ok(Reply::Set { revision: committed.revision, created: committed.existed == 0 })
}

pub(crate) fn delete(engine: &Engine, worker: &mut Worker, delete: &Delete<'_>) -> Result<Reply, Error> {
    let committed = commit_one(engine, removal(delete))?;
    worker.counters.deletes(1, 1 - committed.existed);
    Ok(Reply::Deleted { revision: committed.revision, found: committed.existed == 1 })
}

pub(crate) fn multi_set(engine: &Engine, worker: &mut Worker, sets: &[Set<'_>]) -> Result<Reply, Error> {
    let batch = Batch::new(engine, sets.iter().map(put).collect())?;
    batch.refuse_duplicates()?;
    let committed = batch.commit(engine, false)?;
    worker.counters.sets(sets.len());
    let replaced = committed.existed;
    Ok(Reply::MultiSet { revision: committed.revision, created: sets.len() - replaced, replaced })
}

pub(crate) fn multi_delete(
    engine: &Engine,
    worker: &mut Worker,
    deletes: &[Delete<'_>],
    require_all: bool,
) -> Result<Reply, Error> {
    let batch = Batch::new(engine, deletes.iter().map(removal).collect())?;
    let committed = batch.commit(engine, require_all)?;
    let deleted = committed.existed;
    let missing = deletes.len() - deleted;
    worker.counters.deletes(deletes.len(), missing);
    Ok(Reply::MultiDeleted { revision: committed.revision, deleted, missing })
}

fn put<'c>(set: &'c Set<'_>) -> Write<'c> {
    let (value, content_type) = (set.value.clone(), set.content_type.clone());
    Write { condition: &set.condition, effect: Effect::Put { key: set.key.borrow(), value, content_type } }
}

fn removal<'c>(delete: &'c Delete<'_>) -> Write<'c> {
    Write { condition: &delete.condition, effect: Effect::Delete { key: delete.key.borrow() } }
}

/// The commit of a single key: one lock, no list of anything.
fn commit_one(engine: &Engine, write: Write<'_>) -> Result<Committed, Error> {
    let key = write.effect.key().as_bytes();
    let hash = engine.index.hash(write.effect.key());
    let mut shard = engine.index.write(engine.index.shard_of(hash));
    engine.check_open()?;

    let current = shard.get(hash, key);
    if !holds(write.condition, current, engine) {
        let failure = ItemFailure { index: 0, have: current.map(|record| etag(engine, record)) };
        return Err(Error::PreconditionFailed { failures: vec![failure], total: 1 });
    }
    let existed = current.is_some();
    if !existed && matches!(write.effect, Effect::Delete { .. }) {
        return Ok(Committed { revision: engine.sequence.last(), existed: 0 });
    }
    // From here on nothing can fail.
    let revision = engine.sequence.next();
    let gone = shard.apply(hash, write.effect, revision);
    drop(shard);
    // A large value is freed when the lock is given up.
    drop(gone);
    Ok(Committed { revision, existed: usize::from(existed) })
}

/// The commit of many keys, before any lock is taken.
struct Batch<'c> {
    writes: Vec<Write<'c>>,
    /// Hash and position of each write, by hash, key and position: shards come lowest first, equal keys side by side.
    order: Vec<(u64, usize)>,
}

impl<'c> Batch<'c> {
    fn new(engine: &Engine, writes: Vec<Write<'c>>) -> Result<Batch<'c>, Error> {
        if writes.is_empty() {
            return Err(Error::EmptyBatch);
        }
        let hash = |(item, write): (usize, &Write<'_>)| (engine.index.hash(write.effect.key()), item);
        let mut order: Vec<_> = writes.iter().enumerate().map(hash).collect();
        order.sort_unstable_by_key(|(hash, item)| (*hash, writes[*item].effect.key(), *item));
        Ok(Batch { writes, order })
    }

    /// The lowest pair of items that name one key, if there is one.
    fn refuse_duplicates(&self) -> Result<(), Error> {
        let lowest = (0..self.order.len()).filter_map(|at| Some((self.order[at].1, self.earlier(at)?))).min();
        lowest.map_or(Ok(()), |(second, first)| Err(Error::DuplicateKey { first, second }))
    }

    /// The item before `order[at]` that names the same key.
    fn earlier(&self, at: usize) -> Option<usize> {
        let (_, before) = self.order[at.checked_sub(1)?];
        let (_, item) = self.order[at];
        (self.writes[before].effect.key() == self.writes[item].effect.key()).then_some(before)
    }

    fn commit(self, engine: &Engine, require_all: bool) -> Result<Committed, Error> {
        let mut shards = Locked::new(engine, &self.order);
        engine.check_open()?;
        self.judge(engine, &shards)?;
        let is_missing = |at: &usize| {
            let (hash, item) = self.order[*at];
            shards.get(engine, hash, self.writes[item].effect.key().as_bytes()).is_none() || self.earlier(*at).is_some()
        };
        let mut missing: Vec<usize> = (0..self.order.len()).filter(is_missing).map(|at| self.order[at].1).collect();
        if require_all && !missing.is_empty() {
            missing.sort_unstable();
            return Err(Error::Missing { missing, total: self.writes.len() });
        }
        let existed = self.writes.len() - missing.len();
        if existed == 0 && self.writes.iter().all(|write| matches!(write.effect, Effect::Delete { .. })) {
            return Ok(Committed { revision: engine.sequence.last(), existed });
        }
        // From here on nothing can fail.
        let revision = engine.sequence.next();
        let mut writes: Vec<Option<Write<'_>>> = self.writes.into_iter().map(Some).collect();
        let mut gone = Vec::with_capacity(existed);
        for (hash, item) in self.order {
            let write = writes[item].take().expect("each item stands in the order once");
            gone.extend(shards.get_mut(engine, hash).apply(hash, write.effect, revision));
        }
        drop(shards);
        // What went is freed when the locks are given up.
        drop(gone);
        Ok(Committed { revision, existed })
    }

    /// All conditions, on the state before the commit.
    fn judge(&self, engine: &Engine, shards: &Locked<'_>) -> Result<(), Error> {
        let mut failures = Vec::new();
        for (hash, item) in &self.order {
            let write = &self.writes[*item];
            let current = shards.get(engine, *hash, write.effect.key().as_bytes());
            if !holds(write.condition, current, engine) {
                failures.push(ItemFailure { index: *item, have: current.map(|record| etag(engine, record)) });
            }
        }
        if failures.is_empty() {
            return Ok(());
        }
        failures.sort_unstable_by_key(|failure| failure.index);
        Err(Error::PreconditionFailed { failures, total: self.writes.len() })
    }
}

/// The shards of a batch, locked in their order.
struct Locked<'a> {
    numbers: Vec<usize>,
    guards: Vec<Writing<'a>>,
}

impl<'a> Locked<'a> {
    fn new(engine: &'a Engine, order: &[(u64, usize)]) -> Locked<'a> {
        let mut numbers: Vec<usize> = order.iter().map(|(hash, _)| engine.index.shard_of(*hash)).collect();
        numbers.dedup();
        let guards = numbers.iter().map(|number| engine.index.write(*number)).collect();
        Locked { numbers, guards }
    }

    fn position(&self, engine: &Engine, hash: u64) -> usize {
        self.numbers.binary_search(&engine.index.shard_of(hash)).expect("the shards of all items are locked")
    }

    fn get(&self, engine: &Engine, hash: u64, key: &[u8]) -> Option<&Record> {
        self.guards[self.position(engine, hash)].get(hash, key)
    }

    fn get_mut(&mut self, engine: &Engine, hash: u64) -> &mut Writing<'a> {
        let position = self.position(engine, hash);
        &mut self.guards[position]
    }
}

/// Whether `condition` is true of a key's current record.
fn holds(condition: &Condition, current: Option<&Record>, engine: &Engine) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Absent => current.is_none(),
        Condition::Exists => current.is_some(),
        Condition::Revision(revision) => current.is_some_and(|record| record.revision() == *revision),
        Condition::AnyOf(tags) => current.is_some_and(|record| tags.contains(&etag(engine, record))),
        Condition::NoneOf(tags) => current.is_none_or(|record| !tags.contains(&etag(engine, record))),
        Condition::Value(value) => current.map(Record::value).is_some_and(|current: &Bytes| current == value),
    }
}

fn etag(engine: &Engine, record: &Record) -> Etag {
    Etag { epoch: engine.epoch, revision: record.revision() }
}
