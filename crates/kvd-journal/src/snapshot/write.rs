//! Making a snapshot: entries in chunks, the journal's batches since it began, the sums; then a name, durably. Reads the
//! tail from the journal's own files; walks no index and waits for no sync.

use std::io::IoSlice;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use kvd_types::{Epoch, Revision};

use super::{DRAFT, Entry, HEADER_BYTES, Header, History, Past, Sums, name, remove_leftover};
use crate::batch::Encoded;
use crate::disk::{Disk, DiskFile, DiskLock};
use crate::error::Error;
use crate::planted::{self, Bug};
use crate::purge::{self, Purged};
use crate::read;
use crate::record::{self, Head, Kind};

/// Bytes of a chunk from which on the next entry begins another.
const CHUNK_BYTES: usize = 1 << 20;

/// Makes snapshots beside a journal that is in use, one at a time.
#[derive(Clone)]
pub struct Snapshots {
    disk: Arc<dyn Disk>,
    /// Keeps the directory from others for as long as something may be written.
    _lock: Arc<dyn DiskLock>,
    epoch: Epoch,
    entropy: u64,
    /// Snapshots that this process has read and found whole: a purge need not read them again.
    whole: Arc<Mutex<Vec<Revision>>>,
    /// The first failure in the directory, the journal's or a snapshot's: the kernel may take what was not synced for clean, so
    /// nothing is tried after it.
    failed: Arc<OnceLock<String>>,
}

/// A snapshot that is being made. Dropped before its end, it is gone.
pub struct SnapshotWriter {
    /// As in `Snapshots`, with its lock.
    snapshots: Snapshots,
    file: Box<dyn DiskFile>,
    header: Header,
    /// Where the next record comes, in bytes.
    offset: u64,
    /// The body of the next record.
    chunk: Vec<u8>,
    /// Entries or batches in it.
    count: u32,
    /// The first revision in it, of batches.
    first: Revision,
    sums: Sums,
    /// What goes before the sums, of one with history.
    past: Past,
    /// It has its name: nothing is to be removed.
    finished: bool,
}

impl Snapshots {
    /// `loaded` is the snapshot that the store was loaded from.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        lock: Arc<dyn DiskLock>,
        epoch: Epoch,
        entropy: u64,
        loaded: Option<Revision>,
    ) -> Snapshots {
        let whole = Arc::new(Mutex::new(loaded.into_iter().collect()));
        Snapshots { disk, _lock: lock, epoch, entropy, whole, failed: Arc::default() }
    }

    /// Begins a snapshot. `begin` is R0: the newest revision given, loaded before the walk over the keys.
    ///
    /// # Errors
    /// No room, or what the operating system says.
    pub fn begin(&self, begin: Revision) -> Result<SnapshotWriter, Error> {
        self.begin_of(begin, crate::FORMAT_PLAIN)
    }

    /// The same for one with older versions: keys are added by [`add_history`](SnapshotWriter::add_history).
    ///
    /// # Errors
    /// As `begin`.
    pub fn begin_with_history(&self, begin: Revision) -> Result<SnapshotWriter, Error> {
        self.begin_of(begin, crate::FORMAT_HISTORY)
    }

    fn begin_of(&self, begin: Revision, format: u32) -> Result<SnapshotWriter, Error> {
        self.check()?;
        remove_leftover(&*self.disk)?;
        let file = self.disk.create(DRAFT).map_err(Error::growing("create", DRAFT, HEADER_BYTES))?;
        // Other secrets than those of segments.
        let secret = record::secret(!self.entropy, begin.0);
        let header = Header { epoch: self.epoch, begin, secret, format };
        let mut writer = SnapshotWriter {
            snapshots: self.clone(),
            file,
            header,
            offset: 0,
            chunk: Vec::new(),
            count: 0,
            first: begin,
            sums: Sums::default(),
            past: Past::default(),
            finished: false,
        };
        writer.write(&mut [IoSlice::new(&header.to_bytes())])?;
        Ok(writer)
    }

    /// Removes what the two newest whole snapshots don't need. With fewer than two, nothing: a damaged newest one must
    /// leave a way back.
    ///
    /// # Errors
    /// What the operating system says; some files may be gone then, none that is needed. If the names can't be made durable, the
    /// journal has failed too.
    pub fn purge(&self) -> Result<Purged, Error> {
        self.check()?;
        // What is guarded is whole between any two statements.
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        purge::purge(self, &*self.disk, &mut whole)
    }

    /// Whether anything may still be tried.
    ///
    /// # Errors
    /// [`Error::Failed`] after the first failure that is final, here or in the journal.
    pub fn check(&self) -> Result<(), Error> {
        match self.failed.get() {
            Some(cause) => Err(Error::Failed { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// From here on nothing is tried any more, here and in the journal.
    pub(crate) fn fail(&self, error: Error) -> Error {
        self.failed.get_or_init(|| error.to_string());
        error
    }

    /// Makes names durable. A failure is final: tried again it could succeed, and the names be lost all the same.
    pub(crate) fn sync_dir(&self, action: &'static str, name: &str) -> Result<(), Error> {
        self.disk.sync_dir().map_err(|error| self.fail(Error::io(action, name)(error)))
    }
}

impl SnapshotWriter {
    /// Adds a key's newest version. Each key at most once, in any order.
    ///
    /// # Errors
    /// No room, or what the operating system says: drop it.
    ///
    /// # Panics
    /// In one with older versions.
    pub fn add(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        assert_eq!(self.keys(), Kind::Entries, "a snapshot has older versions of all keys, or of none");
        entry.encode(&mut self.chunk);
        self.added()
    }

    /// Adds a key with its older versions, also one that has no value now. Each key at most once, in any order.
    ///
    /// # Errors
    /// As `add`.
    ///
    /// # Panics
    /// In one without older versions.
    pub fn add_history(&mut self, history: &History<'_>) -> Result<(), Error> {
        assert_eq!(self.keys(), Kind::Histories, "a snapshot has older versions of all keys, or of none");
        history.encode(&mut self.chunk);
        self.added()
    }

    /// What a snapshot with older versions says of revisions, at its end.
    pub fn set_past(&mut self, past: Past) {
        self.past = past;
    }

    fn added(&mut self) -> Result<(), Error> {
        self.count += 1;
        self.sums.entries += 1;
        if self.chunk.len() >= CHUNK_BYTES { self.flush(self.keys()) } else { Ok(()) }
    }

    /// What its records of keys are.
    fn keys(&self) -> Kind {
        if self.header.format == crate::FORMAT_HISTORY { Kind::Histories } else { Kind::Entries }
    }

    /// Appends the tail, and gives the snapshot its name. `end` is R1: the newest revision given, loaded after the walk.
    /// `durable` is how far the journal is on disk, and must have reached R1. `now_ms` is the store's time at R1.
    ///
    /// # Errors
    /// [`Error::NotDurable`], no room, or what the operating system says; then there is no snapshot. If its name can't be made
    /// durable, the journal has failed too.
    pub fn finish(mut self, end: Revision, durable: Revision, now_ms: u64) -> Result<(), Error> {
        if durable < end && !planted::is(Bug::SnapshotTooEarly) {
            return Err(Error::NotDurable { end, durable });
        }
        self.snapshots.check()?;
        self.flush(self.keys())?;
        self.first.0 += 1;
        let disk = Arc::clone(&self.snapshots.disk);
        if !planted::is(Bug::NoTail) {
            read::between(&*disk, self.header.begin, end, &mut |commit| {
                let mut batch = Encoded::at(commit.time_ms, &commit.effects).expect("it was in the journal");
                batch.stamp(commit.revision);
                batch.parts().for_each(|part| self.chunk.extend_from_slice(part));
                self.count += 1;
                self.sums.batches += 1;
                if self.chunk.len() >= CHUNK_BYTES { self.flush(Kind::Group) } else { Ok(()) }
            })?;
            self.flush(Kind::Group)?;
        }
        if self.header.format == crate::FORMAT_HISTORY {
            let past = self.past.to_bytes();
            let body_len = u32::try_from(past.len()).expect("few jumps are kept");
            let count = u32::try_from(self.past.jumps.len()).expect("few jumps are kept");
            self.record(Head { body_len, count, ..Head::bare(Kind::Past, 0, end, 0) }, &past)?;
        }
        let sums = self.sums.to_bytes();
        let trailer = Head { body_len: sums.len() as u32, ..Head::bare(Kind::Trailer, 0, end, now_ms) };
        self.record(trailer, &sums)?;
        let name = name(end);
        self.file.sync().map_err(Error::growing("sync", &name, self.offset))?;
        disk.rename(DRAFT, &name).map_err(Error::growing("name", &name, self.offset))?;
        self.finished = true;
        if !planted::is(Bug::SnapshotNameNotSynced) {
            self.snapshots.sync_dir("make the name durable of", &name)?;
        }
        Ok(())
    }

    /// Writes the chunk as a record.
    fn flush(&mut self, kind: Kind) -> Result<(), Error> {
        if self.count == 0 {
            return Ok(());
        }
        let body = std::mem::take(&mut self.chunk);
        let body_len = u32::try_from(body.len()).expect("one entry or batch more than 1 MiB, each less than 2 GiB");
        let head = Head { body_len, count: self.count, ..Head::bare(kind, 0, self.first, 0) };
        self.record(head, &body)?;
        if kind == Kind::Group {
            self.first.0 += u64::from(self.count);
        }
        self.count = 0;
        self.chunk = body;
        self.chunk.clear();
        Ok(())
    }

    fn record(&mut self, head: Head, body: &[u8]) -> Result<(), Error> {
        let salt = self.header.salt();
        let padding = record::padding(u64::from(head.body_len));
        let head = Head { body_sum: salt.sum(self.offset, [body, padding]), ..head };
        let bytes = head.seal(salt, self.offset);
        self.write(&mut [IoSlice::new(&bytes), IoSlice::new(body), IoSlice::new(padding)])
    }

    fn write(&mut self, parts: &mut [IoSlice<'_>]) -> Result<(), Error> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.file.write_at(self.offset, parts).map_err(Error::growing("write", DRAFT, len as u64))?;
        self.offset += len as u64;
        Ok(())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.finished {
            // Gives the room back soon. Should it fail: the next snapshot and the next start remove it too, and say why
            // they can't.
            let _ = self.snapshots.disk.remove(DRAFT);
        }
    }
}

#[cfg(test)]
mod tests {
    use kvd_types::Effect;

    use super::*;
    use crate::snapshot::Snapshot;
    use crate::{Group, Load, Options, Policy, RealDisk, Recovery, Share};

    /// Who loads an empty directory.
    struct Nothing;

    impl Load for Nothing {
        fn begin(&mut self, _: Epoch, _: Option<&Snapshot>) -> Result<(), Error> {
            Ok(())
        }

        fn group(&mut self, _: Group, _: Share) -> Result<(), Error> {
            unreachable!("the directory is empty")
        }
    }

    /// A snapshot after revision 0 whose tail has a batch of each of these revisions, whatever they are.
    fn with_tail(revisions: &[u64]) -> Result<Snapshot, Error> {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.path()));
        let options = Options { epoch: Epoch(1), entropy: 2, segment_bytes: 0, policy: Policy::Always };
        let recovery = Recovery::open(Arc::clone(&disk), options).unwrap();
        let journal = recovery.load(&mut Nothing).unwrap().resume(0).unwrap();
        let mut writer = journal.snapshots().begin(Revision(0)).unwrap();
        for revision in revisions {
            let mut batch = Encoded::new(&[Effect::Clear]).unwrap();
            batch.stamp(Revision(*revision));
            batch.parts().for_each(|part| writer.chunk.extend_from_slice(part));
            (writer.count, writer.first) = (1, Revision(*revision));
            writer.flush(Kind::Group).unwrap();
        }
        let end = Revision(revisions.len() as u64);
        let sums = Sums { entries: 0, batches: end.0 }.to_bytes();
        let trailer = Head { body_len: sums.len() as u32, ..Head::bare(Kind::Trailer, 0, end, 0) };
        writer.record(trailer, &sums).unwrap();
        disk.rename(DRAFT, &name(end)).unwrap();
        Snapshot::open(&*disk, end)
    }

    #[test]
    fn a_tail_with_a_gap_is_damage() {
        assert!(with_tail(&[1, 2]).is_ok());
        for revisions in [&[1, 3][..], &[2, 1], &[1, 1], &[2]] {
            let error = with_tail(revisions).err().unwrap();
            assert!(matches!(error, Error::Damaged { .. }), "{revisions:?}: {error}");
        }
    }
}
