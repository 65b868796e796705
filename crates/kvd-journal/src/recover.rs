//! From a directory to a store that can go on: lock, snapshot, replay, a new segment. Owns what is needed of which
//! files, and in which order things become durable at a start; knows nothing of keys. Each step is a type, so that none
//! can be left out:
//!
//! ```text
//! Recovery::open -> load the snapshot's entries -> replay -> Replayed::resume -> Writer
//! ```

use std::ops::ControlFlow;
use std::sync::Arc;

use kvd_types::{Epoch, Revision};

use crate::batch::Commit;
use crate::disk::{Disk, DiskLock};
use crate::error::Error;
use crate::planted::{self, Bug};
use crate::read::{self, End, Source};
use crate::record::{Head, Kind};
use crate::report::{Cut, Jump, Report};
use crate::segment::{self, Draft, Header, Place};
use crate::snapshot::{self, Snapshot};
use crate::writer::{self, Policy, Writer};

/// How to open a directory.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The store's epoch, where the directory is empty.
    pub epoch: Epoch,
    /// 64 random bits, new at each start: they make checksums that nobody can foretell.
    pub entropy: u64,
    /// Bytes of a segment; it grows for what is larger. Less than 4 KiB counts as that.
    pub segment_bytes: u64,
    /// When to sync.
    pub policy: Policy,
}

/// A directory whose files have been chosen; nothing was changed in it.
pub struct Recovery {
    disk: Arc<dyn Disk>,
    lock: Arc<dyn DiskLock>,
    options: Options,
    epoch: Epoch,
    snapshot: Option<Snapshot>,
    /// The segments that are needed, oldest first; none in a new directory.
    chain: Vec<Header>,
    report: Report,
    /// Of which version the next files are.
    format: u32,
}

/// A directory that was read to its end; nothing was changed in it.
pub struct Replayed {
    disk: Arc<dyn Disk>,
    lock: Arc<dyn DiskLock>,
    options: Options,
    epoch: Epoch,
    /// The last segment, and how it ended.
    tail: Option<(Header, End)>,
    report: Report,
    /// As in `Recovery`.
    format: u32,
}

impl Recovery {
    /// Locks the directory and finds the newest snapshot that is whole, and the journal after it.
    ///
    /// # Errors
    /// In use, newer format, damage, or what the operating system says. Nothing was changed.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Recovery, Error> {
        let location = disk.location();
        let lock = disk.lock().map(Arc::from).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => Error::InUse { location: location.clone() },
            _ => Error::io("lock", &location)(error),
        })?;
        let names = disk.list().map_err(Error::io("list", &location))?;
        let mut report = Report::default();
        let snapshot = choose(&*disk, &names, &mut report)?;
        let start = snapshot.as_ref().map_or(Revision(0), Snapshot::revision);
        let chain = chain(&*disk, &names, start, &report)?;
        if chain.is_empty() && (snapshot.is_some() || !report.snapshots_damaged.is_empty()) {
            return Err(Error::damaged(&location, 0, "there are snapshots, and no journal"));
        }
        let epochs = chain.iter().map(|header| header.epoch).chain(snapshot.as_ref().map(Snapshot::epoch));
        let epoch = chain.last().map_or(options.epoch, |header| header.epoch);
        if let Some(other) = epochs.into_iter().find(|other| *other != epoch) {
            return Err(Error::damaged(&location, 0, format!("its files are of two stores, {epoch} and {other}")));
        }
        Ok(Recovery { disk, lock, options, epoch, snapshot, chain, report, format: crate::FORMAT_PLAIN })
    }

    /// From now on commits are written with their time, and snapshots with older versions.
    #[must_use]
    pub fn keep_history(mut self) -> Recovery {
        self.format = crate::FORMAT_HISTORY;
        self
    }

    /// The store's epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What to load before the replay.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// Gives everything after the snapshot's entries, in the order of revisions, to be applied by the
    /// [rule](crate#the-rule-of-replay).
    ///
    /// # Errors
    /// Damage, or a file that can't be read: what was visited is void. Nothing was changed on disk.
    pub fn replay(mut self, visit: &mut dyn FnMut(Commit)) -> Result<Replayed, Error> {
        self.report.segments = self.chain.len() as u64;
        let Report { batches, now_ms, journal_bytes, jumps, .. } = &mut self.report;
        let mut start = Revision(0);
        if let Some(snapshot) = &self.snapshot {
            start = snapshot.revision();
            *now_ms = snapshot.now_ms();
            jumps.extend(snapshot.past().iter().flat_map(|past| past.jumps.iter().copied()));
            snapshot.tail(&mut |commit| {
                *batches += 1;
                visit(commit);
            })?;
        }
        let mut last = self.chain.first().map_or(Revision(0), |header| header.base);
        // The newest revision before a record that is visited.
        let mut before = last;
        let mut tail = None;
        for (index, header) in self.chain.iter().enumerate() {
            let name = header.name();
            let mut source = Source::open(&*self.disk, &name)?;
            let next = self.chain.get(index + 1);
            if last != header.base {
                let what = format!("it begins after revision {}, the segment before ends at {last}", header.base);
                return Err(Error::damaged(&name, 0, what));
            }
            if next.is_none() && source.len() != header.size {
                let what = format!("it has {} bytes, and was made with {}", source.len(), header.size);
                return Err(Error::damaged(&name, source.len(), what));
            }
            let until = next.map(|next| next.previous_end);
            let end = read::segment(&mut source, header, until, &mut last, &mut |offset, head, body| {
                *now_ms = (*now_ms).max(head.now_ms);
                *journal_bytes += head.record_bytes();
                let mut wanted = |commit: Commit| {
                    before = commit.revision;
                    if commit.revision > start {
                        *batches += 1;
                        visit(commit);
                    }
                    Ok(())
                };
                if head.kind == Kind::Group {
                    read::batches(head, body, &mut wanted, |what| Error::damaged(&name, offset, what))?;
                } else if head.kind == Kind::Resume && head.revision > before {
                    let jump = Jump { from: before, to: head.revision };
                    // The snapshot may know it already.
                    if jumps.last().is_none_or(|known| known.to < jump.to) {
                        jumps.push(jump);
                    }
                    before = jump.to;
                }
                Ok(ControlFlow::Continue(()))
            })?;
            tail = Some((*header, end));
        }
        if last < start {
            let what = format!("the journal ends at revision {last}, before the snapshot of {start}");
            return Err(Error::damaged(&self.disk.location(), 0, what));
        }
        self.report.last = last;
        self.report.clean = tail.is_none_or(|(_, end)| end.clean && end.cut_bytes == 0);
        self.report.cut = tail.filter(|(_, end)| end.cut_bytes > 0).map(|(header, end)| Cut {
            file: header.name(),
            offset: end.offset,
            bytes: end.cut_bytes,
        });
        let Recovery { disk, lock, options, epoch, report, format, .. } = self;
        Ok(Replayed { disk, lock, options, epoch, tail, report, format })
    }
}

impl Replayed {
    /// What was found.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The store's epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Begins a new segment with what was not known to be durable, and only then can something be acknowledged.
    /// [`Writer::last`] is the revision to go on after, [`Writer::now_ms`] the earliest time.
    ///
    /// # Errors
    /// No room, or what the operating system says. The directory is as good as before.
    pub fn resume(self, now_ms: u64) -> Result<Writer, Error> {
        let Replayed { disk, lock, options, epoch, tail, report, format } = self;
        snapshot::remove_leftover(&*disk)?;
        // A process that was killed may have left names that were seen and are not durable; the new segment relies on them.
        if !planted::is(Bug::NamesNotSynced) {
            disk.sync_dir().map_err(Error::io("make the names durable of", &disk.location()))?;
        }
        let now_ms = now_ms.max(report.now_ms);
        let entropy = options.entropy;
        let mut place = Place { epoch, number: 1, previous_end: 0, base: Revision(0), entropy, format };
        let mut copied = 0..0;
        if let Some((header, end)) = &tail {
            let stays = planted::is(Bug::TailStays);
            let (durable_end, base) = if stays { (end.offset, report.last) } else { end.durable };
            place = Place { number: header.number + 1, previous_end: durable_end, base, ..place };
            copied = durable_end..end.offset;
            if base < report.last {
                // Groups are copied, and stay of their version.
                place.format = place.format.max(header.format);
            }
        }
        let room = writer::segment_room(&options) + (copied.end - copied.start);
        let mut draft = Draft::new(&*disk, place, writer::segment_size(room))?;
        if let Some((header, _)) = &tail {
            copy(&*disk, header, copied, &mut draft)?;
        }
        let jump = if report.clean || planted::is(Bug::NoJump) { 0 } else { crate::REVISION_JUMP };
        let last = Revision(report.last.0 + jump);
        draft.fill(Head::bare(Kind::Resume, 0, last, now_ms), &[])?;
        let (segment, file) = draft.finish()?;
        if let Some((header, _)) = &tail {
            trim(&*disk, header, segment.previous_end)?;
        }
        Ok(Writer::new(disk, lock, options, segment, file, last, now_ms))
    }
}

/// Copies the groups of a segment that lie in `range`.
fn copy(disk: &dyn Disk, header: &Header, range: std::ops::Range<u64>, draft: &mut Draft<'_>) -> Result<(), Error> {
    let mut source = Source::open(disk, &header.name())?;
    let mut offset = range.start;
    while offset < range.end {
        let damaged = |flaw: &str| Error::damaged(&header.name(), offset, format!("{flaw}, which was right before"));
        let (head, body) = source.record(header.salt(), offset)?.map_err(damaged)?;
        if head.kind == Kind::Group {
            draft.fill(head, body)?;
        }
        offset += head.record_bytes();
    }
    Ok(())
}

/// Gives back the room that a finished segment doesn't need; its successor is durable.
pub(crate) fn trim(disk: &dyn Disk, header: &Header, end: u64) -> Result<(), Error> {
    let name = header.name();
    disk.truncate(&name, end).map_err(Error::io("cut", &name))
}

/// The newest snapshot that is whole.
fn choose(disk: &dyn Disk, names: &[String], report: &mut Report) -> Result<Option<Snapshot>, Error> {
    for revision in snapshot::revisions(names).into_iter().rev() {
        match Snapshot::open(disk, revision) {
            Ok(snapshot) => {
                report.snapshot = Some(snapshot.revision());
                report.snapshot_entries = snapshot.entries_count();
                return Ok(Some(snapshot));
            }
            Err(Error::Damaged { file, what, .. }) => report.snapshots_damaged.push((file, what)),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The segments from the one with the first revision after `start` on. Older ones may be there, and may have gaps
/// between them: an interrupted purge leaves them.
fn chain(disk: &dyn Disk, names: &[String], start: Revision, report: &Report) -> Result<Vec<Header>, Error> {
    let mut chain: Vec<Header> = Vec::new();
    for number in segment::numbers(names).into_iter().rev() {
        let successor = chain.last().map(|header| header.number);
        if successor.is_some_and(|successor| successor != number + 1) {
            break;
        }
        let name = segment::name(number);
        let file = disk.open(&name).map_err(Error::io("open", &name))?;
        chain.push(Header::read(&*file, number)?);
        if chain.last().is_some_and(|header| header.base <= start) {
            break;
        }
    }
    if let Some(first) = chain.last().filter(|header| header.base > start) {
        let mut what = format!("revisions {} to {} are missing", start.0 + 1, first.base);
        for (file, flaw) in &report.snapshots_damaged {
            what += &format!("; {file} is damaged ({flaw})");
        }
        return Err(Error::damaged(&first.name(), 0, what));
    }
    chain.reverse();
    Ok(chain)
}
