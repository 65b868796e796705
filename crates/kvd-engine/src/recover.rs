//! From a directory to a store: the snapshot's keys by several threads, then what came after it, in order. Knows the journal
//! and the index; the rule by which effects apply is the journal's.
//!
//! Nobody else knows the store yet, so keys are put where they belong without a commit each. The sizes are counted from what each
//! step found and left, as commits do. Where history is kept each step leaves the versions that its commit left.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use kvd_journal::{
    Chunk, Commit, Content, Disk, Entry, Error, History, Jump, Options, Policy, Recovery, Report, Snapshot, Version,
};
use kvd_types::{ContentType, Effect, Revision};

use crate::commit;
use crate::engine::{Config, Engine, Store, Worker};
use crate::flusher::Journal;
use crate::index::{Change, Depth, Draft, Hashed, ReadPoints, Removal};
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
        let mut recovery = Recovery::open(disk, options)?;
        if config.history > 0 {
            recovery = recovery.keep_history();
        }
        let visibility = if options.policy == Policy::Always { Visibility::WhenDurable } else { Visibility::Immediate };
        let engine = Engine::open(Config { epoch: recovery.epoch(), visibility, journal: true, ..config });
        let store = engine.parts();
        let mut loading = Loading::default();
        // From where on the past is known: a snapshot without history knows nothing of before.
        let mut begin = Revision(0);
        if let Some(snapshot) = recovery.snapshot() {
            loading.entries_total = snapshot.entries_count();
            load(&engine, snapshot, threads.max(1), &|entries| progress(Loading { entries, ..loading }))?;
            loading.entries = loading.entries_total;
            begin = snapshot.past().map_or(snapshot.revision(), |past| past.begins);
        }
        let mut worker = engine.worker();
        let replayed = recovery.replay(&mut |commit| {
            if commit.effects.contains(&Effect::Clear) {
                begin = begin.max(commit.revision);
            }
            replay(store, &mut worker, commit);
            loading.batches += 1;
            if loading.batches.is_multiple_of(PROGRESS_BATCHES) {
                progress(loading);
            }
        })?;
        drop(worker);
        let report = replayed.report().clone();
        let writer = replayed.resume(now_ms)?;
        let mut jumps = report.jumps.clone();
        if writer.last() > report.last {
            jumps.push(Jump { from: report.last, to: writer.last() });
        }
        store.history.resume(begin, jumps);
        store.sequence.resume(writer.last(), writer.now_ms());
        store.changes.resume(writer.last());
        let journal = Journal::new(writer, options.policy, report.journal_bytes, report.snapshot);
        assert!(store.durable.set(journal).is_ok(), "a store is recovered once");
        Ok((engine, report))
    }
}

/// Commits between two words on the progress.
const PROGRESS_BATCHES: u64 = 10_000;

/// The keys of a snapshot, a chunk at a time to whichever thread is free.
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
            match snapshot.chunk(chunk) {
                Ok(chunk) => {
                    let count = chunk.len() as u64;
                    load_chunk(store, &mut worker, chunk);
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

fn load_chunk(store: &Store, worker: &mut Worker, chunk: Chunk) {
    let mut delta = Delta::default();
    match chunk {
        Chunk::Histories(histories) if store.keeps_history() => {
            histories.into_iter().for_each(|history| load_history(store, worker, history, &mut delta));
        }
        chunk => {
            for Entry { key, value, content_type, expires_at_ms, revision } in chunk.into_entries() {
                let put = put(value, content_type, expires_at_ms);
                apply(store, worker, key.as_bytes(), Told { revision, time_ms: None }, &put, &mut delta);
            }
        }
    }
    store.sequence.enter().count(&delta);
    worker.trash.tidy();
}

/// A key with its older versions, as many as are kept.
fn load_history(store: &Store, worker: &mut Worker, history: History<'static>, delta: &mut Delta) {
    let History { key, mut versions, is_cut } = history;
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

/// A commit, as the effects of it are told of.
#[derive(Clone, Copy)]
struct Told {
    revision: Revision,
    time_ms: Option<u64>,
}

fn put(value: Bytes, content_type: Option<ContentType>, expires_at_ms: Option<u64>) -> Mutation<'static> {
    Mutation::Put { value: Cow::Owned(value), content_type: content_type.map(Cow::Owned), expires_at_ms }
}

/// One commit of the journal.
fn replay(store: &Store, worker: &mut Worker, commit: Commit) {
    let mut delta = Delta::default();
    let Commit { revision, time_ms, effects } = commit;
    let told = Told { revision, time_ms };
    for effect in effects {
        match effect {
            Effect::Put { key, value, content_type, expires_at_ms } => {
                let put = put(value, content_type, expires_at_ms);
                apply(store, worker, key.as_bytes(), told, &put, &mut delta);
            }
            Effect::Delete { key, reason } => {
                apply(store, worker, key.as_bytes(), told, &Mutation::Delete(reason), &mut delta);
            }
            Effect::Clear => clear(store, worker, revision, &mut delta),
        }
    }
    store.sequence.enter().count(&delta);
    worker.trash.tidy();
}

/// An effect on one key counts unless the key has this revision or a higher one.
fn apply(store: &Store, worker: &mut Worker, key: &[u8], told: Told, mutation: &Mutation<'_>, delta: &mut Delta) {
    let hashed = store.index.hash(key);
    let guard = worker.reader.pin();
    let home = store.index.lock(store.index.newest(&guard), hashed, &guard);
    let (target, newest) = home.find(&store.index, hashed, &guard);
    let has = target.map_or(Revision(0), |target| target.head_revision(&guard));
    if has >= told.revision || newest.is_none() && matches!(mutation, Mutation::Delete(_)) {
        return;
    }
    let time_ms = told.time_ms.filter(|_| store.keeps_history());
    let (change, expires_at_ms) = (mutation.change(key, time_ms), mutation.expires_at_ms());
    delta.replace(newest.map(|version| version.record), &change);
    let target = target.unwrap_or_else(|| {
        home.reserve(1, &guard);
        home.vacant(&store.index, hashed, &guard)
    });
    if store.keeps_history() {
        let Depth { older, forgotten } = store.depth();
        target.install(change, None);
        target.set_revision(told.revision, &guard);
        target.settle(&ReadPoints::of_nobody(older, forgotten), &guard, &mut worker.trash);
        if let Some(revision) = target.deleted_at(&guard) {
            store.history.note_deleted(revision, target.hash());
        }
    } else if let Some(record) = target.replace(change, told.revision) {
        worker.trash.retire(record.into_garbage());
    }
    let counted = target.account(&store.index, expires_at_ms, &guard);
    drop(home);
    drop(guard);
    commit::after_commit(store, worker, &[hashed][..usize::from(counted)]);
}

/// Keys that are older than the clear go, with all that is kept of them. Those of a fuzzy snapshot that are newer stay.
fn clear(store: &Store, worker: &mut Worker, revision: Revision, delta: &mut Delta) {
    let mut walk = Walk::new(store, worker);
    loop {
        let mut older = Vec::new();
        let found = walk.histories(store, worker, Depth::default(), |key, past| {
            if past.versions.first().is_some_and(|newest| newest.revision < revision) {
                older.push(key.to_vec());
            }
        });
        for key in older {
            erase(store, worker, &key, delta);
        }
        match found {
            Ok(true) => {}
            Ok(false) => return,
            // What is gone already is not found again.
            Err(_) => walk = Walk::new(store, worker),
        }
    }
}

fn erase(store: &Store, worker: &mut Worker, key: &[u8], delta: &mut Delta) {
    let hashed: Hashed<'_> = store.index.hash(key);
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
