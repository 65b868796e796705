//! What a start has read, into the index. Nobody else knows the store yet, so keys are put where they belong without a commit
//! each; the sizes are counted from what each step found and left, as commits do. Owns the rule by which effects apply, and the
//! order of memory accesses; which thread is given what is `recover`'s.

use std::sync::atomic::AtomicUsize;

use kvd_journal::{COPIED_BYTES_MIN, Content, Entry, Error, Group, History, Snapshot, Stamp, Version};
use kvd_types::{Effect, Revision};

use crate::engine::{Engine, Store, Worker};
use crate::index::{Change, Depth, Draft, Hashed, ReadPoints, Removal, SHARED_BYTES};
use crate::reclaim::{Guard, Trash};
use crate::sequence::Delta;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use crate::walk::Walk;
use crate::{commit, room};

/// What a record takes beside a short key and value.
pub(crate) const RECORD_BYTES: u64 = 10;

/// Keys whose memory is asked for ahead.
const WINDOW: usize = 32;

// A value that a record shares is no part of a chunk or a group, which it would keep.
const _: () = assert!(COPIED_BYTES_MIN <= SHARED_BYTES);

/// The keys that one of several threads applies: a range of hashes.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    index: u64,
    parts: u64,
}

impl Part {
    /// Every key.
    pub(crate) const ALL: Part = Part { index: 0, parts: 1 };

    pub(crate) fn of(index: usize, parts: usize) -> Part {
        Part { index: index as u64, parts: parts as u64 }
    }

    fn has(self, hashed: Hashed<'_>) -> bool {
        // By the upper bits, so that each thread has segments of its own.
        self.parts == 1 || (u128::from(hashed.fast()) * u128::from(self.parts)) >> 64 == u128::from(self.index)
    }
}

/// The entries of a snapshot, a chunk at a time to whichever thread is free.
pub(crate) fn snapshot(
    engine: &Engine,
    snapshot: &Snapshot,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), Error> {
    let (next, loaded) = (AtomicUsize::new(0), AtomicU64::new(0));
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let work = || {
        let mut worker = engine.worker();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed); // only the number itself matters
            if index >= snapshot.chunks_count() || lock(&failure).is_some() {
                return;
            }
            match chunk(engine, &mut worker, snapshot, index) {
                Ok(count) => progress(loaded.fetch_add(count, Ordering::Relaxed) + count), // a figure for people
                Err(error) => {
                    lock(&failure).get_or_insert(error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(snapshot.chunks_count()) {
            scope.spawn(work);
        }
        work();
    });
    match lock(&failure).take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Returns how many entries it has.
fn chunk(engine: &Engine, worker: &mut Worker, snapshot: &Snapshot, index: usize) -> Result<u64, Error> {
    let chunk = snapshot.chunk(index)?;
    let store = engine.parts();
    if store.keeps_history()
        && let Some(histories) = chunk.histories()?
    {
        let (count, mut delta) = (histories.len() as u64, Delta::default());
        histories.into_iter().for_each(|one| history(store, worker, one, &mut delta));
        end(store, worker, &delta)?;
        return Ok(count);
    }
    let mut window = Window::new(engine, worker, Part::ALL);
    let mut count = 0;
    for entry in chunk.entries() {
        let Entry { key, value, content_type, expires_at_ms, revision } = entry?;
        let stamp = Stamp { revision, time_ms: None };
        window.add(stamp, Effect::Put { key, value, content_type, expires_at_ms });
        count += 1;
    }
    window.end()?;
    Ok(count)
}

/// The effects of these groups on the keys of `part`, in order. A clear is for who has all keys.
pub(crate) fn block(engine: &Engine, worker: &mut Worker, groups: &[Group], part: Part) -> Result<(), Error> {
    let mut window = Window::new(engine, worker, part);
    for group in groups {
        group.effects(|stamp, effect| {
            match effect {
                Effect::Clear => window.clear(stamp.revision),
                effect => window.add(stamp, effect),
            }
            Ok(())
        })?;
    }
    window.end()
}

/// Effects that are applied together, in order.
struct Window<'e, 'b> {
    store: &'e Store,
    worker: &'e mut Worker,
    part: Part,
    effects: Vec<(Stamp, Effect<'b>)>,
    delta: Delta,
}

impl<'e, 'b> Window<'e, 'b> {
    fn new(engine: &'e Engine, worker: &'e mut Worker, part: Part) -> Window<'e, 'b> {
        let store = engine.parts();
        Window { store, worker, part, effects: Vec::with_capacity(WINDOW), delta: Delta::default() }
    }

    fn add(&mut self, stamp: Stamp, effect: Effect<'b>) {
        self.effects.push((stamp, effect));
        if self.effects.len() == WINDOW {
            self.apply();
        }
    }

    fn apply(&mut self) {
        let effects = std::mem::take(&mut self.effects);
        apply(self.store, self.worker, self.part, &effects, &mut self.delta);
        self.effects = effects;
        self.effects.clear();
    }

    /// Keys that are older than the clear go, with all that is kept of them. Those of a fuzzy snapshot that are newer stay.
    fn clear(&mut self, revision: Revision) {
        self.apply();
        let (store, worker) = (self.store, &mut *self.worker);
        store.history.begin_at(revision);
        let mut walk = Walk::new(store, worker);
        loop {
            let mut older = Vec::new();
            let found = walk.histories(store, worker, Depth::default(), |key, past| {
                if past.versions.first().is_some_and(|newest| newest.revision < revision) {
                    older.push(key.to_vec());
                }
            });
            older.iter().for_each(|key| erase(store, worker, key, &mut self.delta));
            match found {
                Ok(true) => {}
                Ok(false) => return,
                // What is gone already is not found again.
                Err(_) => walk = Walk::new(store, worker),
            }
        }
    }

    fn end(mut self) -> Result<(), Error> {
        self.apply();
        end(self.store, self.worker, &self.delta)
    }
}

/// Counts what came and went.
fn end(store: &Store, worker: &mut Worker, delta: &Delta) -> Result<(), Error> {
    store.sequence.enter().count(delta);
    worker.trash.tidy();
    room::check_loading(store, worker)
}

fn apply(store: &Store, worker: &mut Worker, part: Part, effects: &[(Stamp, Effect<'_>)], delta: &mut Delta) {
    let mut keys: Vec<Hashed<'_>> = Vec::with_capacity(effects.len());
    let mut own: Vec<&(Stamp, Effect<'_>)> = Vec::with_capacity(effects.len());
    for one in effects {
        let (Effect::Put { key, .. } | Effect::Delete { key, .. }) = &one.1 else {
            unreachable!("a clear is no effect on a key")
        };
        let key = store.index.hash(key.as_bytes());
        if part.has(key) {
            keys.push(key);
            own.push(one);
        }
    }
    let guard = worker.reader.pin();
    store.index.prefetch(&keys, &guard);
    let mut own = own.into_iter();
    keys.retain(|key| {
        let (stamp, effect) = own.next().expect("one for each key");
        apply_one(store, &guard, &mut worker.trash, *key, *stamp, effect, delta)
    });
    drop(guard);
    commit::after_commit(store, worker, &keys);
}

/// An effect on one key counts unless the key has this revision or a higher one. Returns whether the key came or went. Where
/// history is kept, what stays of the key is what its commit left.
fn apply_one(
    store: &Store,
    guard: &Guard<'_>,
    trash: &mut Trash,
    key: Hashed<'_>,
    stamp: Stamp,
    effect: &Effect<'_>,
    delta: &mut Delta,
) -> bool {
    let home = store.index.lock(store.index.newest(guard), key, guard);
    let (target, newest) = home.find(&store.index, key, guard);
    let has = target.map_or(Revision(0), |target| target.head_revision(guard));
    if has >= stamp.revision || newest.is_none() && matches!(effect, Effect::Delete { .. }) {
        return false;
    }
    let time_ms = stamp.time_ms.filter(|_| store.keeps_history());
    let change = match effect {
        Effect::Put { key, value, content_type, expires_at_ms } => {
            Change::Put(Draft::new(key.as_bytes(), value, content_type.as_ref(), *expires_at_ms, time_ms))
        }
        Effect::Delete { reason, .. } => Change::Delete(Removal { reason: *reason, time_ms }),
        Effect::Clear => unreachable!("a clear is no effect on a key"),
    };
    let expires_at_ms = if let Effect::Put { expires_at_ms, .. } = effect { *expires_at_ms } else { None };
    delta.replace(newest.map(|version| version.record), &change);
    let target = target.unwrap_or_else(|| {
        home.reserve(1, guard);
        home.vacant(&store.index, key, guard)
    });
    if store.keeps_history() {
        let Depth { older, forgotten } = store.depth();
        target.install(change, None);
        target.set_revision(stamp.revision, guard);
        target.settle(&ReadPoints::of_nobody(older, forgotten), guard, trash);
        if let Some(revision) = target.deleted_at(guard) {
            store.history.note_deleted(revision, target.hash());
        }
    } else if let Some(record) = target.replace(change, stamp.revision) {
        trash.retire(record.into_garbage());
    }
    target.account(&store.index, expires_at_ms, guard)
}

/// A key with its older versions, as many as are kept.
fn history(store: &Store, worker: &mut Worker, one: History<'static>, delta: &mut Delta) {
    let History { key, mut versions, is_cut } = one;
    let wanted = store.depth().older + 1;
    let is_cut = is_cut || versions.len() > wanted;
    versions.truncate(wanted);
    if !versions.iter().any(|version| matches!(version.content, Content::Put { .. })) {
        return; // it has nothing to be told of
    }
    let change = |version: &Version| {
        let change = match &version.content {
            Content::Put { value, content_type, expires_at_ms } => {
                let content_type = content_type.as_ref();
                Change::Put(Draft::new(key.as_bytes(), value, content_type, *expires_at_ms, version.time_ms))
            }
            Content::Gone(reason) => Change::Delete(Removal { reason: *reason, time_ms: version.time_ms }),
        };
        (version.revision, change)
    };
    let changes: Vec<(Revision, Change)> = versions.iter().rev().map(change).collect();
    let newest = &changes.last().expect("there is one").1;
    delta.replace(None, newest);
    let expires_at_ms = match newest {
        Change::Put(draft) => draft.record().expires_at_ms(),
        Change::Delete(_) => None,
    };
    let hashed = store.index.hash(key.as_bytes());
    let guard = worker.reader.pin();
    let home = store.index.lock(store.index.newest(&guard), hashed, &guard);
    home.reserve(1, &guard);
    let target = home.vacant(&store.index, hashed, &guard);
    target.fill(changes.into_iter(), is_cut, &guard);
    if let Some(revision) = target.deleted_at(&guard) {
        store.history.note_deleted(revision, target.hash());
    }
    let counted = target.account(&store.index, expires_at_ms, &guard);
    drop(home);
    drop(guard);
    commit::after_commit(store, worker, &[hashed][..usize::from(counted)]);
}

/// Nothing of the key stays.
fn erase(store: &Store, worker: &mut Worker, key: &[u8], delta: &mut Delta) {
    let hashed = store.index.hash(key);
    let guard = worker.reader.pin();
    let home = store.index.lock(store.index.newest(&guard), hashed, &guard);
    let (Some(target), newest) = home.find(&store.index, hashed, &guard) else { return };
    delta.replace(newest.map(|version| version.record), &Change::Delete(Removal::default()));
    target.erase(&guard, &mut worker.trash);
    let counted = target.account(&store.index, None, &guard);
    drop(home);
    drop(guard);
    commit::after_commit(store, worker, &[hashed][..usize::from(counted)]);
}
