//! What a start has read, into the index. Nobody else knows the store yet, so keys are put where they belong without a commit
//! each; the sizes are counted from what each step found and left, as commits do. Owns the rule by which effects apply, and the
//! order of memory accesses; which thread is given what is `recover`'s.

use std::sync::atomic::AtomicUsize;

use kvd_journal::{COPIED_BYTES_MIN, Entry, Error, Group, Snapshot};
use kvd_types::{Effect, Reason, Revision};

use crate::engine::{Engine, Store, Worker};
use crate::index::{Change, Draft, Hashed, SHARED_BYTES};
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
    let mut window = Window::new(engine, worker, Part::ALL);
    let mut count = 0;
    for entry in chunk.entries() {
        let Entry { key, value, content_type, expires_at_ms, revision } = entry?;
        window.add(revision, Effect::Put { key, value, content_type, expires_at_ms });
        count += 1;
    }
    window.end()?;
    Ok(count)
}

/// The effects of these groups on the keys of `part`, in order. A clear is for who has all keys.
pub(crate) fn block(engine: &Engine, worker: &mut Worker, groups: &[Group], part: Part) -> Result<(), Error> {
    let mut window = Window::new(engine, worker, part);
    for group in groups {
        group.effects(|revision, effect| {
            match effect {
                Effect::Clear => window.clear(revision),
                effect => window.add(revision, effect),
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
    effects: Vec<(Revision, Effect<'b>)>,
    delta: Delta,
}

impl<'e, 'b> Window<'e, 'b> {
    fn new(engine: &'e Engine, worker: &'e mut Worker, part: Part) -> Window<'e, 'b> {
        let store = engine.parts();
        Window { store, worker, part, effects: Vec::with_capacity(WINDOW), delta: Delta::default() }
    }

    fn add(&mut self, revision: Revision, effect: Effect<'b>) {
        self.effects.push((revision, effect));
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

    /// Keys that are older than the clear go. Those of a fuzzy snapshot that are newer stay.
    fn clear(&mut self, revision: Revision) {
        self.apply();
        let (store, worker) = (self.store, &mut *self.worker);
        let mut walk = Walk::new(store, worker);
        loop {
            let mut older = Vec::new();
            let found = walk.bucket(store, worker, |version| {
                if version.revision < revision {
                    older.push(version.record.key().to_vec());
                }
            });
            let delete = |key: &Vec<u8>| {
                let key = kvd_types::Key::new(key.clone()).expect("was a key when it was stored");
                (revision, Effect::Delete { key, reason: Reason::Asked })
            };
            let deletes: Vec<_> = older.iter().map(delete).collect();
            apply(store, worker, self.part, &deletes, &mut self.delta);
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
        self.store.sequence.enter().count(&self.delta);
        self.worker.trash.tidy();
        room::check_loading(self.store, self.worker)
    }
}

fn apply(store: &Store, worker: &mut Worker, part: Part, effects: &[(Revision, Effect<'_>)], delta: &mut Delta) {
    let mut keys: Vec<Hashed<'_>> = Vec::with_capacity(effects.len());
    let mut own: Vec<&(Revision, Effect<'_>)> = Vec::with_capacity(effects.len());
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
        let (revision, effect) = own.next().expect("one for each key");
        apply_one(store, &guard, &mut worker.trash, *key, *revision, effect, delta)
    });
    drop(guard);
    commit::after_commit(store, worker, &keys);
}

/// An effect on one key counts unless the key is there with this revision or a higher one. Returns whether the key came or went.
fn apply_one(
    store: &Store,
    guard: &Guard<'_>,
    trash: &mut Trash,
    key: Hashed<'_>,
    revision: Revision,
    effect: &Effect<'_>,
    delta: &mut Delta,
) -> bool {
    let home = store.index.lock(store.index.newest(guard), key, guard);
    let (target, newest) = home.find(&store.index, key, guard);
    let is_put = matches!(effect, Effect::Put { .. });
    if !newest.map_or(is_put, |version| version.revision < revision) {
        return false;
    }
    let change = match effect {
        Effect::Put { key, value, content_type, expires_at_ms } => {
            Change::Put(Draft::new(key.as_bytes(), value, content_type.as_ref(), *expires_at_ms))
        }
        Effect::Delete { reason, .. } => Change::Delete(*reason),
        Effect::Clear => unreachable!("a clear is no effect on a key"),
    };
    let expires_at_ms = if let Effect::Put { expires_at_ms, .. } = effect { *expires_at_ms } else { None };
    delta.replace(newest.map(|version| version.record), &change);
    let target = target.unwrap_or_else(|| {
        home.reserve(1, guard);
        home.vacant(&store.index, key, guard)
    });
    let gone = target.replace(change, revision);
    let is_counted = target.account(&store.index, expires_at_ms, guard);
    drop(home);
    if let Some(record) = gone {
        trash.retire(record.into_garbage());
    }
    is_counted
}
