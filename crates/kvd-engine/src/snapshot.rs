//! Snapshots while the store is in use: a walk over the newest commits, that pins nothing and keeps nobody waiting; the journal's
//! tail makes one state of it. Owns the order of the steps; walks in slices, so that its caller can see to other things.
//!
//! Where history is kept it has that too, of each key as of one moment.
//!
//! R0 = LAST; walk; R1 = LAST; the journal is put on disk to R1; its batches R0+1 to R1 are appended, and it gets its name. Then
//! what is not needed any more goes.

use kvd_journal::{Content, Entry, Error, History, Purged, SnapshotWriter, Version};
use kvd_types::{Key, Revision};

use crate::engine::{Engine, Store, Worker};
use crate::index::{self, Past};
use crate::planted::{self, Bug};
use crate::sync::Ordering;
use crate::walk::Walk;

/// A snapshot that is being made. Dropped before its end, it is gone.
pub struct SnapshotRun {
    engine: Engine,
    /// None while it begins again.
    writer: Option<SnapshotWriter>,
    walk: Walk,
    /// Bytes of the journal when it was begun.
    bytes: u64,
}

/// What a snapshot has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshotted {
    /// The state of which revision it is.
    pub revision: Revision,
    /// What was not needed any more.
    pub purged: Purged,
}

impl Engine {
    /// Begins a snapshot; none if one is being made.
    ///
    /// # Errors
    /// No room, or what the operating system says.
    ///
    /// # Panics
    /// Without a journal.
    pub fn begin_snapshot(&self, worker: &mut Worker) -> Result<Option<SnapshotRun>, Error> {
        let (store, journal) = (self.store(worker), self.journal());
        // AcqRel: pairs with itself and the store in `drop`. Two would write to one file.
        if journal.has_snapshot_begun.swap(true, Ordering::AcqRel) {
            return Ok(None);
        }
        let mut run = SnapshotRun { engine: self.clone(), writer: None, walk: Walk::new(store, worker), bytes: 0 };
        run.begin(worker)?;
        Ok(Some(run))
    }
}

impl SnapshotRun {
    fn begin(&mut self, worker: &mut Worker) -> Result<(), Error> {
        let (store, journal) = (self.engine.store(worker), self.engine.journal());
        // The file of the one before goes first: they have one name.
        self.writer = None;
        self.bytes = journal.bytes();
        let begin = store.sequence.last();
        self.writer = Some(if store.keeps_history() {
            journal.snapshots.begin_with_history(begin)?
        } else {
            journal.snapshots.begin(begin)?
        });
        self.walk = Walk::new(store, worker);
        Ok(())
    }

    /// Walks over some buckets. Returns whether more follow.
    ///
    /// # Errors
    /// No room, or what the operating system says: drop it.
    pub fn advance(&mut self, worker: &mut Worker, buckets: usize) -> Result<bool, Error> {
        let (mut entries, mut histories) = (Vec::new(), Vec::new());
        for _ in 0..buckets {
            let store = self.engine.store(worker);
            let walked = if store.keeps_history() {
                self.walk.histories(store, worker, store.depth(), |key, past| histories.extend(history(key, past)))
            } else {
                self.walk.bucket(store, worker, |version| entries.push(entry(version)))
            };
            let Ok(has_more) = walked else {
                // A key must not come twice: all of it again. A store turns to the other order once.
                self.begin(worker)?;
                entries.clear();
                histories.clear();
                continue;
            };
            // Not in the walk, which keeps memory from being freed.
            let writer = self.writer.as_mut().expect("it has begun");
            entries.drain(..).try_for_each(|entry| writer.add(&entry))?;
            histories.drain(..).try_for_each(|history| writer.add_history(&history))?;
            if !has_more {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends it, and removes what the two newest snapshots don't need.
    ///
    /// # Errors
    /// No room, or what the operating system says. If the journal has failed, there is none; and it has, if names could not be
    /// made durable.
    pub fn finish(mut self, now_ms: u64) -> Result<Snapshotted, Error> {
        let (store, journal) = (self.engine.parts(), self.engine.journal());
        // Before the end: what is cleared later is in the tail.
        let past = past(store);
        // Inside SEQ: what the walk has seen of a commit that was just under way has its revision counted there.
        let (end, time) = {
            let seq = store.sequence.enter();
            (seq.totals().1, seq.now_ms())
        };
        let durable = if planted::is_at_disk(Bug::SnapshotNotSynced) {
            self.engine.flush(now_ms)?;
            end
        } else {
            journal.sync(store, now_ms)?
        };
        let mut writer = self.writer.take().expect("it has begun");
        writer.set_past(past);
        let purged = writer.finish(end, durable, time).and_then(|()| {
            journal.note_snapshot(end, self.bytes);
            journal.snapshots.purge()
        });
        if purged.is_err() && journal.snapshots.check().is_err() {
            // It was final for the journal too: who waits for that is told now.
            self.engine.flush(now_ms)?;
        }
        Ok(Snapshotted { revision: end, purged: purged? })
    }
}

fn key_of(bytes: &[u8]) -> Key<'static> {
    Key::new(bytes.to_vec()).expect("was a key when it was stored")
}

fn entry(version: index::Version<'_>) -> Entry<'static> {
    let entry = version.record.entry(version.revision);
    Entry {
        key: key_of(version.record.key()),
        value: entry.value,
        content_type: entry.content_type,
        expires_at_ms: entry.expires_at_ms,
        revision: version.revision,
    }
}

/// None of a key of which nothing is kept.
fn history(key: &[u8], past: &Past<'_>) -> Option<History<'static>> {
    let version = |kept: &index::Kept<'_>| {
        let (time_ms, content) = match kept.content {
            index::Content::Gone(removal) => (removal.time_ms, Content::Gone(removal.reason)),
            index::Content::Value(record) => {
                let entry = record.entry(kept.revision);
                let (value, content_type, expires_at_ms) = (entry.value, entry.content_type, entry.expires_at_ms);
                (record.written_at_ms(), Content::Put { value, content_type, expires_at_ms })
            }
        };
        Version { revision: kept.revision, time_ms, content }
    };
    let mut versions: Vec<Version> = past.versions.iter().map(version).collect();
    if planted::is_at_disk(Bug::SnapshotWithoutPast) {
        versions.truncate(1);
    }
    (!versions.is_empty()).then(|| History { key: key_of(key), versions, is_cut: past.is_cut })
}

/// What is known of the past beside the keys.
fn past(store: &Store) -> kvd_journal::Past {
    let (mut reader, _trash) = store.collector.join();
    let cleared = store.index.cleared_at(&reader.pin());
    let begins = store.history_begin(store.depth(), cleared);
    kvd_journal::Past { begins, jumps: store.history.jumps().to_vec() }
}

impl Drop for SnapshotRun {
    fn drop(&mut self) {
        self.writer = None;
        self.engine.journal().has_snapshot_begun.store(false, Ordering::Release); // pairs with the swap in `begin_snapshot`
    }
}
