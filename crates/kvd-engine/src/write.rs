//! Commits: the file where conditions, the order of commits and the index meet. Owns the steps and their order; how versions
//! are kept is the index's business, what a revision is `sequence`'s.
//!
//! | step | can it fail? |
//! |---|---|
//! | make room, in memory and in the journal | refused: nothing has happened |
//! | lock the homes of all keys read or written, by address | no |
//! | judge conditions on the newest commits, at NOW | refused, or nothing to do: unlock |
//! | build the records, find the slots, install nodes | no |
//! | SEQ: has a record judged alive expired? was the store cleared, or closed? | take the nodes back; again, or refused |
//! | SEQ: revision, queue, publish | no: this is the commit |
//! | settle each key, unlock, retire what went | no |
//!
//! *Short cut*: one key, and nobody reads below the newest (seen inside SEQ): no node; the slot takes the record at once.

use kvd_journal::{Encoded, Reservation};
use kvd_types::{Delete, Effect, Error, ItemFailure, Reply, Revision, Set};

use crate::engine::{Store, Worker};
use crate::index::{Change, Commit, Draft, Hashed, Home, Index, ReadPoints, Record, Root, Target, Version};
use crate::item::{self, Item, Operation};
use crate::judge::{etag, holds};
use crate::planted::{self, Bug};
use crate::reclaim::{Guard, Trash};
use crate::sequence::{Batch, Delta, Seq};
use crate::{duplicates, flusher, history, rekey, room, settle};

/// Keys that every commit settles beside its own, so that what transactions held back is freed in passing.
const SETTLED_IN_PASSING: usize = 4;

/// Buckets that every commit re-keys while keys are moving.
const MOVED_IN_PASSING: usize = 2;

/// What a commit did.
pub(crate) struct Committed {
    /// The commit's; if it changed nothing, LAST when that was seen.
    pub(crate) revision: Revision,
    /// Keys that had a value before, of those to be changed.
    pub(crate) existed: usize,
    /// Keys that were changed.
    pub(crate) changed: usize,
    /// Whether keys came or went, so that segments may have to grow or shrink.
    counted: bool,
}

pub(crate) fn set(store: &Store, worker: &mut Worker, set: &Set<'_>) -> Result<Reply, Error> {
    let committed = commit_one(store, worker, Item::put(set), None)?;
    worker.counters.sets(1);
    Ok(Reply::Set { revision: committed.revision, created: committed.existed == 0 })
}

pub(crate) fn delete(store: &Store, worker: &mut Worker, delete: &Delete<'_>) -> Result<Reply, Error> {
    let committed = commit_one(store, worker, Item::removal(delete), None)?;
    worker.counters.deletes(1, 1 - committed.existed);
    Ok(Reply::Deleted { revision: committed.revision, found: committed.existed == 1 })
}

pub(crate) fn multi_set(store: &Store, worker: &mut Worker, sets: &[Set<'_>]) -> Result<Reply, Error> {
    let items: Vec<Item<'_>> = sets.iter().map(Item::put).collect();
    duplicates::refuse(&items)?;
    let committed = commit_many(store, worker, &items, false)?;
    worker.counters.sets(sets.len());
    let replaced = committed.existed;
    Ok(Reply::MultiSet { revision: committed.revision, created: sets.len() - replaced, replaced })
}

pub(crate) fn multi_delete(
    store: &Store,
    worker: &mut Worker,
    deletes: &[Delete<'_>],
    require_all: bool,
) -> Result<Reply, Error> {
    let items: Vec<Item<'_>> = deletes.iter().map(Item::removal).collect();
    let committed = commit_many(store, worker, &items, require_all)?;
    let deleted = committed.existed;
    let missing = deletes.len() - deleted;
    worker.counters.deletes(deletes.len(), missing);
    Ok(Reply::MultiDeleted { revision: committed.revision, deleted, missing })
}

/// A key's state before a commit, under the lock of its home.
struct Current<'g> {
    target: Option<Target<'g>>,
    /// What is stored, expired or not.
    newest: Option<Version<'g>>,
    /// What readers would find.
    alive: Option<Version<'g>>,
}

impl<'g> Current<'g> {
    fn find(index: &Index, home: &Home<'g>, key: Hashed<'_>, now_ms: u64, guard: &'g Guard<'_>) -> Current<'g> {
        let (target, newest) = home.find(index, key, guard);
        Current { target, newest, alive: newest.filter(|version| !version.record.is_expired(now_ms)) }
    }

    /// Whether the operation changes anything here.
    fn is_changed_by(&self, operation: &Operation<'_>) -> bool {
        match operation {
            Operation::Put { .. } => true,
            Operation::Delete => self.alive.is_some(),
            Operation::Expire => self.newest.is_some() && self.alive.is_none(),
            Operation::Check => false,
        }
    }

    /// When what was judged alive goes by itself.
    fn ends_at_ms(&self) -> Option<u64> {
        self.alive?.record.expires_at_ms()
    }

    /// What putting `draft` here, or nothing, does to the sizes. By what is stored, not by what the reply says: an expired key
    /// counts until it is removed or overwritten.
    fn delta(&self, draft: Option<&Draft>, delta: &mut Delta) {
        let gone = if planted::is(Bug::CountedByReply) { self.alive } else { self.newest };
        if let Some(newest) = gone {
            delta.count(newest.record, -1);
        }
        if let Some(draft) = draft {
            delta.count(draft.record(), 1);
        }
    }
}

/// The commit of a single key. If it is to have again what it had at the version `old`, that must still be kept.
pub(crate) fn commit_one(
    store: &Store,
    worker: &mut Worker,
    item: Item<'_>,
    old: Option<Revision>,
) -> Result<Committed, Error> {
    room::make(store, worker, item.needs_bytes())?;
    let key = store.index.hash(item.key.as_bytes());
    let (size, purpose) = item::journal_size(std::slice::from_ref(&item));
    let committed = loop {
        let reservation = flusher::reserve(store, size, purpose)?;
        if let Some(outcome) = try_commit_one(store, worker, &item, key, old, reservation) {
            break note_position(store, worker, outcome)?;
        }
    };
    after_commit(store, worker, &[key][..usize::from(committed.counted)]);
    Ok(committed)
}

/// None if time has passed that makes a difference, or the store was cleared: again.
fn try_commit_one(
    store: &Store,
    worker: &mut Worker,
    item: &Item<'_>,
    key: Hashed<'_>,
    old: Option<Revision>,
    reservation: Option<Reservation>,
) -> Option<Result<Committed, Error>> {
    let guard = worker.reader.pin();
    let root = store.index.newest(&guard);
    let home = store.index.lock(root, key, &guard);
    let now_ms = store.sequence.now_ms();
    let current = Current::find(&store.index, &home, key, now_ms, &guard);
    let premise = Premise { store, root, guard: &guard, ends_at_ms: current.ends_at_ms() };
    if !holds(item.condition, current.alive, store) {
        let failure = ItemFailure { index: 0, have: current.alive.map(|version| etag(store, version)) };
        return Some(Err(Error::PreconditionFailed { failures: vec![failure], total: 1 }));
    }
    let old = old.map(|old| history::kept(store, &home, key, old, &guard)).transpose();
    let old = match old {
        Ok(old) => old,
        Err(dropped) => return Some(Err(dropped)),
    };
    let existed = usize::from(current.alive.is_some());
    if !current.is_changed_by(&item.operation) {
        let revision = last_under(store, root, &guard)?;
        return Some(Ok(Committed { revision, existed, changed: 0, counted: false }));
    }
    let time_ms = store.version_time(now_ms);
    let change = item.change(current.alive, now_ms, time_ms);
    let expires_at_ms = change.expires_at_ms();
    let batch = store.journal.then(|| batch(time_ms, &[item.effect(&change)], reservation));
    let target = current.target.unwrap_or_else(|| {
        home.reserve(1, &guard);
        home.vacant(&store.index, key, &guard)
    });
    let mut delta = Delta::default();
    current.delta(change.draft(), &mut delta);

    if target.is_plain() && !store.sequence.keeps_versions() {
        let seq = store.sequence.enter();
        if let Err(refusal) = premise.check(&seq) {
            return refusal.map(Err);
        }
        if !seq.keeps_versions() || planted::is(Bug::NeedNotChecked) {
            let (revision, gone) = replace(store, seq, &target, change, &delta, batch);
            let counted = target.account(&store.index, expires_at_ms, &guard);
            drop(home);
            if let Some(record) = gone {
                worker.trash.retire(record.into_garbage());
            }
            return Some(Ok(Committed { revision, existed, changed: 1, counted }));
        }
        // Someone began to read in between: with a node after all.
    }
    if planted::is(Bug::RollbackReinstalls)
        && let Some((record, old_revision)) = old
    {
        let publish = |_| target.put_back(record, old_revision);
        let revision = store.sequence.enter().commit(&delta, batch, publish);
        return Some(Ok(Committed { revision, existed, changed: 1, counted: false }));
    }
    target.install(change, None);
    let mut seq = store.sequence.enter();
    if let Err(refusal) = premise.check(&seq) {
        drop(seq);
        target.undo(&guard, &mut worker.trash);
        return refusal.map(Err);
    }
    let revision = seq.commit(&delta, batch, |revision| target.set_revision(revision, &guard));
    seq.read_points(&mut worker.points);
    settle_target(store, &worker.points, &mut worker.trash, &target, &guard);
    let counted = target.account(&store.index, expires_at_ms, &guard);
    Some(Ok(Committed { revision, existed, changed: 1, counted }))
}

/// What a commit relies on that others may have changed by the time it is inside SEQ.
struct Premise<'a> {
    store: &'a Store,
    /// The root it began under.
    root: &'a Root,
    guard: &'a Guard<'a>,
    /// When the first of the keys that were judged alive goes by itself.
    ends_at_ms: Option<u64>,
}

impl Premise<'_> {
    /// Whether the commit may go on. Inside SEQ.
    ///
    /// # Errors
    /// The refusal; none if it is to begin again.
    fn check(&self, seq: &Seq<'_>) -> Result<(), Option<Error>> {
        self.store.check_writable().map_err(Some)?;
        let has_ended = self.ends_at_ms.is_some_and(|at| at <= seq.now_ms()) && !planted::is(Bug::NoExpiryRecheck);
        if has_ended || !self.store.index.is_newest(self.root, self.guard) { Err(None) } else { Ok(()) }
    }
}

/// The short cut's commit: the slot takes the record, or nothing, inside SEQ. Returns what it held.
fn replace(
    store: &Store,
    mut seq: Seq<'_>,
    target: &Target<'_>,
    change: Change,
    delta: &Delta,
    batch: Option<Box<Batch>>,
) -> (Revision, Option<Record<'static>>) {
    if let Some(bug) = planted::one_of([Bug::RevisionOutsideSeq, Bug::QueuedOutsideSeq, Bug::CountedOutsideSeq]) {
        return replace_wrongly(bug, store, seq, target, change, delta, batch);
    }
    let mut gone = None;
    let revision = seq.commit(delta, batch, |revision| gone = target.replace(change, revision));
    (revision, gone)
}

/// Mistakes to be planted: something happens after SEQ that belongs inside.
fn replace_wrongly(
    bug: Bug,
    store: &Store,
    mut seq: Seq<'_>,
    target: &Target<'_>,
    change: Change,
    delta: &Delta,
    batch: Option<Box<Batch>>,
) -> (Revision, Option<Record<'static>>) {
    let mut gone = None;
    let revision;
    match bug {
        Bug::RevisionOutsideSeq => {
            revision = seq.commit(delta, batch, |_| {});
            drop(seq);
            gone = target.replace(change, revision);
        }
        Bug::QueuedOutsideSeq => {
            revision = seq.commit(delta, None, |revision| gone = target.replace(change, revision));
            drop(seq);
            store.sequence.enter().queue(batch, revision);
        }
        _ => {
            revision = seq.commit(&Delta::default(), batch, |revision| gone = target.replace(change, revision));
            drop(seq);
            store.sequence.enter().count(delta);
        }
    }
    (revision, gone)
}

/// A mistake to be planted: the journal is not told of what the sweep removes.
fn is_forgotten(operation: &Operation<'_>) -> bool {
    planted::is_at_disk(Bug::SweepNotJournalled) && matches!(operation, Operation::Expire)
}

/// A commit as the journal has it, encoded before it has a revision.
fn batch(time_ms: Option<u64>, effects: &[Effect<'_>], reservation: Option<Reservation>) -> Box<Batch> {
    Batch::new(Encoded::at(time_ms, effects).expect("a size that is too large was refused before"), reservation)
}

/// Leaves in the worker what the answer must wait for: what was looked at was the newest, seen by readers or not.
fn note_position(store: &Store, worker: &mut Worker, outcome: Result<Committed, Error>) -> Result<Committed, Error> {
    match &outcome {
        Ok(committed) => worker.position = committed.revision,
        // After the last look, and no later than that: see `flusher`.
        Err(Error::PreconditionFailed { .. } | Error::Missing { .. } | Error::VersionDropped { .. }) => {
            if !planted::is_at_disk(Bug::RefusedAtOnce) {
                worker.position = store.sequence.last();
            }
        }
        // Nothing that was looked at shows in these.
        Err(_) => {}
    }
    outcome
}

/// LAST, for an answer that nothing was to do. None if the store was cleared since `root` was found: keys may be back by then.
fn last_under(store: &Store, root: &Root, guard: &Guard<'_>) -> Option<Revision> {
    let last = store.sequence.last(); // before the root: a clear that it counts is seen
    store.index.is_newest(root, guard).then_some(last)
}

/// The commit of many keys: all change by one store.
pub(crate) fn commit_many(
    store: &Store,
    worker: &mut Worker,
    items: &[Item<'_>],
    require_all: bool,
) -> Result<Committed, Error> {
    if items.is_empty() {
        return Err(Error::EmptyBatch);
    }
    room::make(store, worker, items.iter().map(Item::needs_bytes).sum())?;
    let keys: Vec<Hashed<'_>> = items.iter().map(|item| store.index.hash(item.key.as_bytes())).collect();
    store.index.prefetch(&keys, &worker.reader.pin());
    let earlier = duplicates::earlier(items, &keys);
    let (size, purpose) = item::journal_size(items);
    let committed = loop {
        let reservation = flusher::reserve(store, size, purpose)?;
        if let Some(outcome) = try_commit_many(store, worker, items, &keys, &earlier, require_all, reservation) {
            break note_position(store, worker, outcome)?;
        }
    };
    after_commit(store, worker, if committed.counted { &keys } else { &[] });
    Ok(committed)
}

fn try_commit_many(
    store: &Store,
    worker: &mut Worker,
    items: &[Item<'_>],
    keys: &[Hashed<'_>],
    earlier: &[bool],
    require_all: bool,
    reservation: Option<Reservation>,
) -> Option<Result<Committed, Error>> {
    let guard = worker.reader.pin();
    let root = store.index.newest(&guard);
    let (homes, home_of) = if planted::is(Bug::ReadSetUnlocked) {
        let writes = items.iter().zip(keys).filter(|(item, _)| !matches!(item.operation, Operation::Check));
        let first = writes.map(|(_, key)| *key).next().unwrap_or(keys[0]);
        let (homes, _) = store.index.lock_many(root, &[first], &guard);
        (homes, vec![0; items.len()])
    } else {
        store.index.lock_many(root, keys, &guard)
    };
    let now_ms = store.sequence.now_ms();
    let find =
        |at: usize| -> Current<'_> { Current::find(&store.index, &homes[home_of[at]], keys[at], now_ms, &guard) };
    let mut current: Vec<Current<'_>> = (0..items.len()).map(find).collect();
    if let Err(error) = judge(store, items, &current) {
        return Some(Err(error));
    }
    let is_missing = |at: &usize| current[*at].alive.is_none() || earlier[*at];
    let changes_key = |at: &usize| !matches!(items[*at].operation, Operation::Check);
    let missing: Vec<usize> = (0..items.len()).filter(changes_key).filter(is_missing).collect();
    if require_all && !missing.is_empty() {
        return Some(Err(Error::Missing { missing, total: items.len() }));
    }
    let existed = (0..items.len()).filter(changes_key).count() - missing.len();
    let to_change: Vec<usize> =
        (0..items.len()).filter(|at| !earlier[*at] && current[*at].is_changed_by(&items[*at].operation)).collect();
    if to_change.is_empty() {
        let revision = last_under(store, root, &guard)?;
        return Some(Ok(Committed { revision, existed, changed: 0, counted: false }));
    }

    // New keys need slots: all are made sure of first, since that may move words, and then every slot is looked for again.
    let mut new_keys = vec![0; homes.len()];
    for at in to_change.iter().filter(|at| current[**at].target.is_none()) {
        new_keys[home_of[*at]] += 1;
    }
    for (home, new_keys) in homes.iter().zip(&new_keys) {
        home.reserve(if planted::is(Bug::RoomForEachAlone) { 0 } else { *new_keys }, &guard);
    }
    for at in to_change.iter().filter(|at| new_keys[home_of[**at]] > 0) {
        current[*at] = find(*at);
    }

    let commit = Commit::new();
    let time_ms = store.version_time(now_ms);
    let mut delta = Delta::default();
    let mut effects = Vec::with_capacity(if store.journal { to_change.len() } else { 0 });
    let mut targets: Vec<(Target<'_>, Option<u64>)> = Vec::with_capacity(to_change.len());
    for at in to_change {
        let change = items[at].change(current[at].alive, now_ms, time_ms);
        if store.journal && !is_forgotten(&items[at].operation) {
            effects.push(items[at].effect(&change));
        }
        current[at].delta(change.draft(), &mut delta);
        let expires_at_ms = change.expires_at_ms();
        // Each slot is taken before the next is looked for: two new keys of one bucket can't get the same.
        let home = &homes[home_of[at]];
        let target = current[at].target.take().unwrap_or_else(|| {
            if planted::is(Bug::RoomForEachAlone) {
                home.reserve(1, &guard);
            }
            home.vacant(&store.index, keys[at], &guard)
        });
        target.install(change, Some(commit));
        targets.push((target, expires_at_ms));
    }
    let batch = store.journal.then(|| batch(time_ms, &effects, reservation));

    let ends_at_ms = current.iter().filter_map(Current::ends_at_ms).min();
    let premise = Premise { store, root, guard: &guard, ends_at_ms };
    let mut seq = store.sequence.enter();
    if let Err(refusal) = premise.check(&seq) {
        drop(seq);
        let skipped = usize::from(planted::is(Bug::UndoForgetsSlot));
        targets.iter().skip(skipped).for_each(|(target, _)| target.undo(&guard, &mut worker.trash));
        worker.trash.retire(commit.as_garbage());
        return refusal.map(Err);
    }
    if planted::is(Bug::CommitKeyByKey) {
        for (target, _) in &targets {
            seq.commit(&Delta::default(), None, |revision| target.set_revision(revision, &guard));
            drop(seq);
            seq = store.sequence.enter();
        }
    }
    let revision = seq.commit(&delta, batch, |revision| commit.store(revision));
    seq.read_points(&mut worker.points);
    let mut counted = false;
    for (target, expires_at_ms) in &targets {
        target.set_revision(revision, &guard);
        settle_target(store, &worker.points, &mut worker.trash, target, &guard);
        counted |= target.account(&store.index, *expires_at_ms, &guard);
    }
    drop(homes);
    worker.trash.retire(commit.as_garbage());
    Some(Ok(Committed { revision, existed, changed: targets.len(), counted }))
}

/// Settles one key after its commit, under the lock of its home.
fn settle_target(store: &Store, points: &ReadPoints, trash: &mut Trash, target: &Target<'_>, guard: &Guard<'_>) {
    // A key that had more than one version waits already, unless they were kept as history alone.
    if let Some(revision) = target.settle(points, guard, trash)
        && (target.is_plain() || points.history > 0)
    {
        store.settling.note(revision, target.hash());
    }
    if points.history > 0
        && let Some(revision) = target.deleted_at(guard)
    {
        store.history.note_deleted(revision, target.hash());
    }
}

/// What comes after a commit, when no lock is held any more.
pub(crate) fn after_commit(store: &Store, worker: &mut Worker, counted: &[Hashed<'_>]) {
    if !counted.is_empty() {
        store.index.resize_due(counted, &worker.reader.pin(), &mut worker.trash);
    }
    if store.journal {
        store.waiting.ring();
    }
    settle::settle_due(store, worker, SETTLED_IN_PASSING);
    history::forget_due(store, worker);
    rekey::move_some(store, worker, MOVED_IN_PASSING);
}

/// All conditions, on the state before the commit.
fn judge(store: &Store, items: &[Item<'_>], current: &[Current<'_>]) -> Result<(), Error> {
    let expired_too = planted::is(Bug::ExpiredNotSeen);
    let failed = |(_, (item, current)): &(usize, (&Item<'_>, &Current<'_>))| {
        !holds(item.condition, if expired_too { current.newest } else { current.alive }, store)
    };
    let failure = |(index, (_, current)): (usize, (&Item<'_>, &Current<'_>))| ItemFailure {
        index,
        have: current.alive.map(|version| etag(store, version)),
    };
    let failures: Vec<ItemFailure> = items.iter().zip(current).enumerate().filter(failed).map(failure).collect();
    if failures.is_empty() { Ok(()) } else { Err(Error::PreconditionFailed { failures, total: items.len() }) }
}
