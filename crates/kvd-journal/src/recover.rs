//! From a directory to a store that can go on: lock, snapshot, replay, a new segment. Owns what is needed of which
//! files, and in which order things become durable at a start; knows nothing of keys. Each step is a type, so that none
//! can be left out:
//!
//! ```text
//! Recovery::open -> load: the newest whole snapshot, then the journal, each read once -> Replayed::resume -> Writer
//! ```

use std::ops::ControlFlow;
use std::sync::Arc;

use kvd_types::{Epoch, Revision};

use crate::disk::{Disk, DiskLock};
use crate::error::Error;
use crate::group::Group;
use crate::planted::{self, Bug};
use crate::read::{self, End, Source};
use crate::record::{Head, Kind};
use crate::report::{Cut, Jump, Report};
use crate::segment::{self, Draft, Header, Place};
use crate::snapshot::{self, Snapshot, Snapshots};
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

/// Who is given what a directory holds.
///
/// # Errors
/// Each call's ends the loading, and is what [`Recovery::load`] returns.
pub trait Load {
    /// An empty store of this epoch, then the snapshot's entries if there is one. When it comes again the snapshot before was
    /// damaged, and everything that was taken is void.
    fn begin(&mut self, epoch: Epoch, snapshot: Option<&Snapshot>) -> Result<(), Error>;

    /// The next commits, to be applied by the [rule](crate#the-rule-of-replay).
    fn group(&mut self, group: Group, replayed: Share) -> Result<(), Error>;
}

/// A part of the journal's bytes. The last segment counts with the room that it has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Up to here.
    pub bytes: u64,
    /// All of them.
    pub bytes_total: u64,
}

/// A directory whose files have been chosen; nothing was changed in it.
pub struct Recovery {
    disk: Arc<dyn Disk>,
    lock: Arc<dyn DiskLock>,
    options: Options,
    names: Vec<String>,
    /// Snapshots that were not looked at, rising.
    older: Vec<Revision>,
    plan: Plan,
    report: Report,
    /// Of which version the next files are.
    format: u32,
}

/// What is needed of a directory.
struct Plan {
    epoch: Epoch,
    snapshot: Option<Snapshot>,
    /// The segments that are needed, oldest first; none in a new directory.
    chain: Vec<Header>,
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

/// What a start would find, and whether there could be one. Changes nothing, and needs no right to write.
///
/// # Errors
/// As for [`Recovery::open`] and [`Recovery::load`].
pub fn check(disk: Arc<dyn Disk>, target: &mut dyn Load) -> Result<(Epoch, Report), Error> {
    let lock = lock_shared(&*disk)?;
    // Only for a directory that is to be written to.
    let options = Options { epoch: Epoch(0), entropy: 0, segment_bytes: 0, policy: Policy::Off };
    let Replayed { epoch, report, .. } = Recovery::of(disk, lock, options)?.load(target)?;
    Ok((epoch, report))
}

/// Takes the directory to look at it: no kvd can start there meanwhile, and none may be running.
///
/// # Errors
/// In use, or what the operating system says.
pub fn lock_shared(disk: &dyn Disk) -> Result<Arc<dyn DiskLock>, Error> {
    locked(disk, disk.lock_shared())
}

impl Recovery {
    /// Locks the directory and finds the newest snapshot that may be whole, and the journal after it.
    ///
    /// # Errors
    /// In use, newer format, damage, or what the operating system says. Nothing was changed.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Recovery, Error> {
        let lock = locked(&*disk, disk.lock())?;
        Recovery::of(disk, lock, options)
    }

    /// From now on commits are written with their time, and snapshots with older versions.
    #[must_use]
    pub fn keep_history(mut self) -> Recovery {
        self.format = crate::FORMAT_HISTORY;
        self
    }

    fn of(disk: Arc<dyn Disk>, lock: Arc<dyn DiskLock>, options: Options) -> Result<Recovery, Error> {
        let names = disk.list().map_err(Error::io("list", &disk.location()))?;
        let (mut older, mut report) = (snapshot::revisions(&names), Report::default());
        let plan = plan(&*disk, &names, &mut older, options.epoch, &mut report)?;
        Ok(Recovery { disk, lock, options, names, older, plan, report, format: crate::FORMAT_PLAIN })
    }

    /// Gives the newest snapshot that is whole, and then everything after it in the order of revisions.
    ///
    /// # Errors
    /// Damage, a file that can't be read, or what `target` returns: what it was given is void. Nothing was changed on disk.
    pub fn load(mut self, target: &mut dyn Load) -> Result<Replayed, Error> {
        let tail_batches = loop {
            match self.load_snapshot(target) {
                Err(Error::Damaged { file, what, .. }) if self.plan.is_snapshot(&file) => {
                    self.report.snapshots_damaged.push((file, what));
                    let epoch = self.options.epoch;
                    self.plan = plan(&*self.disk, &self.names, &mut self.older, epoch, &mut self.report)?;
                }
                loaded => break loaded?,
            }
        };
        self.report.batches = tail_batches;
        self.replay(target)
    }

    /// Entries and tail. Returns how many batches the tail has.
    fn load_snapshot(&self, target: &mut dyn Load) -> Result<u64, Error> {
        let Plan { epoch, snapshot, .. } = &self.plan;
        target.begin(*epoch, snapshot.as_ref())?;
        let mut batches = 0;
        for group in snapshot.iter().flat_map(Snapshot::tail) {
            let group = group?;
            batches += group.commits_count();
            target.group(group, Share::default())?;
        }
        Ok(batches)
    }

    /// The journal, from the snapshot's revision on.
    fn replay(mut self, target: &mut dyn Load) -> Result<Replayed, Error> {
        let Plan { epoch, snapshot, chain } = self.plan;
        let report = &mut self.report;
        let start = snapshot.as_ref().map_or(Revision(0), Snapshot::revision);
        report.now_ms = snapshot.as_ref().map_or(0, Snapshot::now_ms);
        report.jumps = snapshot.as_ref().and_then(Snapshot::past).map_or_else(Vec::new, |past| past.jumps.clone());
        report.segments = chain.len() as u64;
        let ends = || chain[1.min(chain.len())..].iter().map(|next| next.previous_end);
        let bytes_total = ends().sum::<u64>() + chain.last().map_or(0, |last| last.size);
        let mut bytes_before = 0;
        let mut last = chain.first().map_or(Revision(0), |header| header.base);
        // The newest revision before a record that is looked at.
        let mut before = last;
        let mut tail = None;
        for (header, until) in chain.iter().zip(ends().map(Some).chain([None])) {
            let name: Arc<str> = header.name().into();
            let mut source = Source::open(&*self.disk, &name)?;
            if last != header.base {
                let what = format!("it begins after revision {}, the segment before ends at {last}", header.base);
                return Err(Error::damaged(&name, 0, what));
            }
            if until.is_none() && source.len() != header.size {
                let what = format!("it has {} bytes, and was made with {}", source.len(), header.size);
                return Err(Error::damaged(&name, source.len(), what));
            }
            let end = read::segment(&mut source, header, until, &mut last, &mut |offset, head, body| {
                report.now_ms = report.now_ms.max(head.now_ms);
                report.journal_bytes += head.record_bytes();
                if head.kind == Kind::Group {
                    before = Revision(head.revision.0 + u64::from(head.count.saturating_sub(1)));
                    let group = Group::new(&name, offset, head, start, body);
                    report.batches += group.commits_count();
                    target.group(group, Share { bytes: bytes_before + offset, bytes_total })?;
                } else if head.kind == Kind::Resume && head.revision > before {
                    let jump = Jump { from: before, to: head.revision };
                    // The snapshot may know it already.
                    if report.jumps.last().is_none_or(|known| known.to < jump.to) {
                        report.jumps.push(jump);
                    }
                    before = jump.to;
                }
                Ok(ControlFlow::Continue(()))
            })?;
            bytes_before += end.offset;
            tail = Some((*header, end));
        }
        if last < start {
            let what = format!("the journal ends at revision {last}, before the snapshot of {start}");
            return Err(Error::damaged(&self.disk.location(), 0, what));
        }
        report.last = last;
        report.clean = tail.is_none_or(|(_, end)| end.clean && end.cut_bytes == 0);
        report.cut = tail.filter(|(_, end)| end.cut_bytes > 0).map(|(header, end)| Cut {
            file: header.name(),
            offset: end.offset,
            bytes: end.cut_bytes,
        });
        let Recovery { disk, lock, options, report, format, .. } = self;
        Ok(Replayed { disk, lock, options, epoch, tail, report, format })
    }
}

impl Plan {
    fn is_snapshot(&self, file: &str) -> bool {
        self.snapshot.as_ref().is_some_and(|snapshot| snapshot.name() == file)
    }
}

impl Replayed {
    /// What was found.
    pub fn report(&self) -> &Report {
        &self.report
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
        let snapshots = Snapshots::new(Arc::clone(&disk), lock, epoch, options.entropy, report.snapshot);
        Ok(Writer::new(disk, snapshots, options, segment, file, last, now_ms))
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
            draft.fill(head, &body)?;
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

fn locked(disk: &dyn Disk, lock: std::io::Result<Box<dyn DiskLock>>) -> Result<Arc<dyn DiskLock>, Error> {
    lock.map(Arc::from).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => Error::InUse { location: disk.location() },
        _ => Error::io("lock", &disk.location())(error),
    })
}

/// The newest snapshot of `older` that may be whole, and what follows it. `epoch` is a new store's.
fn plan(
    disk: &dyn Disk,
    names: &[String],
    older: &mut Vec<Revision>,
    epoch: Epoch,
    report: &mut Report,
) -> Result<Plan, Error> {
    let location = disk.location();
    let snapshot = choose(disk, older, report)?;
    report.snapshot = snapshot.as_ref().map(Snapshot::revision);
    report.snapshot_entries = snapshot.as_ref().map_or(0, Snapshot::entries_count);
    let chain = chain(disk, names, report.snapshot.unwrap_or_default(), report)?;
    if chain.is_empty() && (snapshot.is_some() || !report.snapshots_damaged.is_empty()) {
        return Err(Error::damaged(&location, 0, "there are snapshots, and no journal"));
    }
    let epochs = chain.iter().map(|header| header.epoch).chain(snapshot.as_ref().map(Snapshot::epoch));
    let epoch = chain.last().map_or(epoch, |header| header.epoch);
    if let Some(other) = epochs.into_iter().find(|other| *other != epoch) {
        return Err(Error::damaged(&location, 0, format!("its files are of two stores, {epoch} and {other}")));
    }
    Ok(Plan { epoch, snapshot, chain })
}

/// The newest snapshot whose heads are right. Those that were looked at are taken out of `older`.
fn choose(disk: &dyn Disk, older: &mut Vec<Revision>, report: &mut Report) -> Result<Option<Snapshot>, Error> {
    while let Some(revision) = older.pop() {
        match Snapshot::open(disk, revision) {
            Ok(snapshot) => return Ok(Some(snapshot)),
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
