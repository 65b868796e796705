//! From a directory to a store: the snapshot's entries by several threads, then what came after it, in order. Knows the journal
//! and the index; the rule by which effects apply is the journal's.
//!
//! Nobody else knows the store yet, so keys are put where they belong without a commit each. The sizes are counted from what each
//! step found and left, as commits do.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use kvd_journal::{Disk, Entry, Error, Options, Policy, Recovery, Report, Snapshot};
use kvd_types::{ContentType, Effect, Reason, Revision};

use crate::commit;
use crate::engine::{Config, Engine, Store, Worker};
use crate::flusher::Journal;
use crate::index::Hashed;
use crate::mutation::Mutation;
use crate::sequence::{Delta, Visibility};
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use crate::walk::Walk;

/// How far a start has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loading {
    /// Keys of the snapshot.
    pub entries_total: u64,
    /// Of them, those that are loaded.
    pub entries: u64,
    /// Commits that were replayed after it.
    pub batches: u64,
}

impl Engine {
    /// Opens the store of a directory, new or not: its epoch, keys, revisions and time go on. `now_ms` is the wall clock's, and
    /// `options` say when commits are synced; with [`Policy::Always`] readers see what is on disk. `progress` is called now
    /// and then, from any thread.
    ///
    /// # Errors
    /// The directory is in use, damaged, of a newer format, full, or what the operating system says; it is as it was.
    pub fn recover(
        config: Config,
        disk: Arc<dyn Disk>,
        options: Options,
        now_ms: u64,
        threads: usize,
        progress: &(dyn Fn(Loading) + Sync),
    ) -> Result<(Engine, Report), Error> {
        let recovery = Recovery::open(disk, options)?;
        let visibility = if options.policy == Policy::Always { Visibility::WhenDurable } else { Visibility::Immediate };
        let engine = Engine::open(Config { epoch: recovery.epoch(), visibility, journal: true, ..config });
        let store = engine.parts();
        let mut loading = Loading::default();
        if let Some(snapshot) = recovery.snapshot() {
            loading.entries_total = snapshot.entries_count();
            load(&engine, snapshot, threads.max(1), &|entries| progress(Loading { entries, ..loading }))?;
            loading.entries = loading.entries_total;
        }
        let mut worker = engine.worker();
        let replayed = recovery.replay(&mut |revision, effects| {
            replay(store, &mut worker, revision, effects);
            loading.batches += 1;
            if loading.batches.is_multiple_of(PROGRESS_BATCHES) {
                progress(loading);
            }
        })?;
        drop(worker);
        let report = replayed.report().clone();
        let writer = replayed.resume(now_ms)?;
        store.sequence.resume(writer.last(), writer.now_ms());
        store.changes.resume(writer.last());
        let journal = Journal::new(writer, options.policy, report.journal_bytes, report.snapshot);
        assert!(store.durable.set(journal).is_ok(), "a store is recovered once");
        Ok((engine, report))
    }
}

/// Commits between two words on the progress.
const PROGRESS_BATCHES: u64 = 10_000;

/// The entries of a snapshot, a chunk at a time to whichever thread is free.
fn load(engine: &Engine, snapshot: &Snapshot, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> Result<(), Error> {
    let (next, loaded) = (AtomicUsize::new(0), AtomicU64::new(0));
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let work = || {
        let (store, mut worker) = (engine.parts(), engine.worker());
        loop {
            let chunk = next.fetch_add(1, Ordering::Relaxed); // only the number itself matters
            if chunk >= snapshot.chunks_count() || lock(&failure).is_some() {
                return;
            }
            match snapshot.entries(chunk) {
                Ok(entries) => {
                    let count = entries.len() as u64;
                    load_chunk(store, &mut worker, entries);
                    progress(loaded.fetch_add(count, Ordering::Relaxed) + count); // a figure that stands for nothing else
                }
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

fn load_chunk(store: &Store, worker: &mut Worker, entries: Vec<Entry<'static>>) {
    let mut delta = Delta::default();
    for Entry { key, value, content_type, expires_at_ms, revision } in entries {
        let put = put(value, content_type, expires_at_ms);
        apply(store, worker, key.as_bytes(), revision, &put, &mut delta);
    }
    store.sequence.enter().count(&delta);
    worker.trash.tidy();
}

fn put(value: Bytes, content_type: Option<ContentType>, expires_at_ms: Option<u64>) -> Mutation<'static> {
    Mutation::Put { value: Cow::Owned(value), content_type: content_type.map(Cow::Owned), expires_at_ms }
}

/// One commit of the journal.
fn replay(store: &Store, worker: &mut Worker, revision: Revision, effects: Vec<Effect<'static>>) {
    let mut delta = Delta::default();
    for effect in effects {
        match effect {
            Effect::Put { key, value, content_type, expires_at_ms } => {
                let put = put(value, content_type, expires_at_ms);
                apply(store, worker, key.as_bytes(), revision, &put, &mut delta);
            }
            Effect::Delete { key, reason } => {
                apply(store, worker, key.as_bytes(), revision, &Mutation::Delete(reason), &mut delta);
            }
            Effect::Clear => clear(store, worker, revision, &mut delta),
        }
    }
    store.sequence.enter().count(&delta);
    worker.trash.tidy();
}

/// An effect on one key counts unless the key is there with this revision or a higher one.
fn apply(
    store: &Store,
    worker: &mut Worker,
    key: &[u8],
    revision: Revision,
    mutation: &Mutation<'_>,
    delta: &mut Delta,
) {
    let hashed = store.index.hash(key);
    let guard = worker.reader.pin();
    let home = store.index.lock(store.index.newest(&guard), hashed, &guard);
    let (target, newest) = home.find(&store.index, hashed, &guard);
    let is_put = matches!(mutation, Mutation::Put { .. });
    if !newest.map_or(is_put, |version| version.revision < revision) {
        return;
    }
    let (change, expires_at_ms) = (mutation.change(key), mutation.expires_at_ms());
    delta.replace(newest.map(|version| version.record), &change);
    let target = target.unwrap_or_else(|| {
        home.reserve(1, &guard);
        home.vacant(&store.index, hashed, &guard)
    });
    let gone = target.replace(change, revision);
    let counted = target.account(&store.index, expires_at_ms, &guard);
    drop(home);
    if let Some(record) = gone {
        worker.trash.retire(record.into_garbage());
    }
    drop(guard);
    let keys: &[Hashed<'_>] = &[hashed];
    commit::after_commit(store, worker, if counted { keys } else { &[] });
}

/// Keys that are older than the clear go. Those of a fuzzy snapshot that are newer stay.
fn clear(store: &Store, worker: &mut Worker, revision: Revision, delta: &mut Delta) {
    let mut walk = Walk::new(store, worker);
    loop {
        let mut older = Vec::new();
        let found = walk.bucket(store, worker, |version| {
            if version.revision < revision {
                older.push(version.record.key().to_vec());
            }
        });
        for key in older {
            apply(store, worker, &key, revision, &Mutation::Delete(Reason::Asked), delta);
        }
        match found {
            Ok(true) => {}
            Ok(false) => return,
            // What is gone already is not found again.
            Err(_) => walk = Walk::new(store, worker),
        }
    }
}
