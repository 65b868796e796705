//! The end of the journal: appends groups, syncs them, and begins the next segment in time. One thread owns it, the
//! flusher; it reads no clock and waits for nobody. Knows what is durable; not who waits for it.

use std::io::IoSlice;
use std::sync::Arc;

use kvd_types::{Epoch, Revision};

use crate::batch::{Batch, Encoded};
use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::planted::{self, Bug};
use crate::record::{self, HEAD_BYTES, Head, Kind};
use crate::recover::{self, Options};
use crate::room::{AHEAD_MAX, Room};
use crate::segment::{Draft, HEADER_BYTES, Header, Place};
use crate::snapshot::Snapshots;

/// Bytes of batches from which on the next batch begins a group of its own.
const GROUP_BYTES: usize = 8 << 20;

/// What only deletes may use, where a segment is large enough.
const HEADROOM_BYTES_MAX: u64 = 1 << 20;

/// Room that nobody can take: for the mark of a stop in order.
const SET_ASIDE_BYTES: u64 = HEAD_BYTES as u64;

const SEGMENT_BYTES_MIN: u64 = 4 << 10;

/// When the journal is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// After each append.
    Always,
    /// When the last sync is as long ago as this, in milliseconds.
    Interval(u64),
    /// When the operating system likes; and before revisions run too far ahead.
    Off,
}

/// The end of the journal.
pub struct Writer {
    disk: Arc<dyn Disk>,
    /// Holds the directory's lock too, until the writer goes and those who make snapshots; and the first failure of either.
    snapshots: Snapshots,
    options: Options,
    segment: Header,
    file: Box<dyn DiskFile>,
    room: Arc<Room>,
    /// Where the next record comes, in bytes.
    end: u64,
    /// Up to here the segment is durable.
    synced: u64,
    /// Where `end` was after the last mark.
    marked: u64,
    /// The newest revision appended.
    last: Revision,
    /// The newest revision on disk.
    durable: Revision,
    /// The store's time, as the last record has it.
    now_ms: u64,
    /// When the last sync was.
    synced_at_ms: u64,
}

/// Bytes of records that a segment has room for, at least.
pub(crate) fn segment_room(options: &Options) -> u64 {
    options.segment_bytes.max(SEGMENT_BYTES_MIN)
}

/// Bytes of a segment with room for `room` bytes of records.
pub(crate) fn segment_size(room: u64) -> u64 {
    (HEADER_BYTES + room + SET_ASIDE_BYTES).next_multiple_of(record::ALIGN)
}

impl Writer {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        snapshots: Snapshots,
        options: Options,
        segment: Header,
        file: Box<dyn DiskFile>,
        last: Revision,
        now_ms: u64,
    ) -> Writer {
        let end = segment.filled;
        let headroom = HEADROOM_BYTES_MAX.min(segment_room(&options) / 8);
        let room = Arc::new(Room::new(segment.size - end - SET_ASIDE_BYTES, headroom, last));
        Writer {
            disk,
            snapshots,
            options,
            segment,
            file,
            room,
            end,
            synced: end,
            marked: end,
            last,
            durable: last,
            now_ms,
            synced_at_ms: now_ms,
        }
    }

    /// Where committers take room.
    pub fn room(&self) -> Arc<Room> {
        Arc::clone(&self.room)
    }

    /// Makes snapshots beside the journal, on any thread.
    pub fn snapshots(&self) -> Snapshots {
        self.snapshots.clone()
    }

    /// The store's epoch.
    pub fn epoch(&self) -> Epoch {
        self.segment.epoch
    }

    /// The newest revision appended; at first the one to go on after.
    pub fn last(&self) -> Revision {
        self.last
    }

    /// The newest revision on disk.
    pub fn durable(&self) -> Revision {
        self.durable
    }

    /// The newest time that the journal has seen, in ms; the store's time begins here.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Appends batches, in order; `now_ms` is the store's time. Gives back what was appended, for who has a use for it.
    ///
    /// # Errors
    /// All are final: what was to be appended is of unknown outcome.
    pub fn append(&mut self, mut batches: Vec<Batch>, now_ms: u64) -> Result<Vec<(Revision, Encoded)>, Error> {
        self.check()?;
        let mut appended = Vec::with_capacity(batches.len());
        self.now_ms = self.now_ms.max(now_ms);
        for (index, batch) in batches.iter_mut().enumerate() {
            let (expected, found) = (Revision(self.last.0 + index as u64 + 1), batch.revision);
            if found != expected && !planted::is(Bug::AnyOrder) {
                return Err(self.fail(Error::OutOfOrder { expected, found }));
            }
            let needed = record::record_bytes(batch.encoded.len() as u64);
            if batch.reservation.bytes() < needed && !planted::is(Bug::UnreservedRoom) {
                return Err(self.fail(Error::Unreserved { revision: found }));
            }
            batch.encoded.stamp(found);
        }
        while !batches.is_empty() {
            let mut bytes = 0;
            let fits = |batch: &Batch| {
                bytes += batch.encoded.len();
                bytes <= GROUP_BYTES
            };
            // At least one, however large.
            let count = batches.iter().map(fits).take_while(|fits| *fits).count().max(1);
            let rest = batches.split_off(count);
            self.append_group(batches, &mut appended)?;
            batches = rest;
        }
        Ok(appended)
    }

    fn append_group(&mut self, batches: Vec<Batch>, appended: &mut Vec<(Revision, Encoded)>) -> Result<(), Error> {
        let body: Vec<&[u8]> = batches.iter().flat_map(|batch| batch.encoded.parts()).collect();
        let body_len: usize = body.iter().map(|part| part.len()).sum();
        let head = Head {
            body_len: u32::try_from(body_len).expect("a group is one batch or at most 8 MiB"),
            count: u32::try_from(batches.len()).expect("each has at least 16 bytes"),
            ..Head::bare(Kind::Group, self.synced, batches[0].revision, self.now_ms)
        };
        let mut spent = self.write(head, &body)?;
        self.last = Revision(self.last.0 + batches.len() as u64);
        if planted::is(Bug::DurableBeforeSync) {
            self.durable = self.last;
        }
        for batch in batches {
            let part = spent.min(batch.reservation.bytes());
            spent -= part;
            batch.reservation.spend(part);
            appended.push((batch.revision, batch.encoded));
        }
        Ok(())
    }

    /// Syncs if the policy asks for it; `now_ms` is the store's time. Returns whether it did.
    ///
    /// # Errors
    /// A failed sync is final.
    pub fn sync_if_due(&mut self, now_ms: u64) -> Result<bool, Error> {
        self.check()?;
        let due = match self.options.policy {
            Policy::Always => true,
            Policy::Interval(ms) => now_ms.saturating_sub(self.synced_at_ms) >= ms,
            Policy::Off => false,
        };
        // Long before committers have to wait for it.
        let behind = self.last.0 - self.durable.0 >= AHEAD_MAX / 2;
        if self.end == self.synced || !(due || behind) {
            return Ok(false);
        }
        self.sync()?;
        self.synced_at_ms = now_ms;
        Ok(true)
    }

    /// Puts everything that was appended on disk.
    ///
    /// # Errors
    /// A failed sync is final.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.check()?;
        if self.end > self.synced {
            if let Err(error) = self.file.sync() {
                let error = Error::io("sync", &self.segment.name())(error);
                return Err(if planted::is(Bug::SyncRetried) { error } else { self.fail(error) });
            }
            self.synced = self.end;
            self.durable = self.last;
            self.room.synced(self.durable);
        }
        Ok(())
    }

    /// Says on disk how far the journal is durable, and the store's time; syncs before and after. For when the store is
    /// idle: until then nothing protects the last group from being taken for a power cut's leftover when it rots.
    /// Returns whether there was something to say and room for it.
    ///
    /// # Errors
    /// All are final.
    pub fn mark(&mut self, now_ms: u64) -> Result<bool, Error> {
        self.sync()?;
        if self.end == self.marked && now_ms <= self.now_ms || !self.room.take(HEAD_BYTES as u64, 0) {
            return Ok(false);
        }
        self.now_ms = self.now_ms.max(now_ms);
        self.write(Head::bare(Kind::Mark, self.synced, self.last, self.now_ms), &[])?;
        self.sync()?;
        self.marked = self.end;
        Ok(true)
    }

    /// Ends the journal in order: the next start has nothing to cut and no revision to skip.
    ///
    /// # Errors
    /// As for [`sync`](Writer::sync): then the stop was not in order.
    pub fn close(mut self, now_ms: u64) -> Result<(), Error> {
        self.sync()?;
        self.room.shut();
        let now_ms = self.now_ms.max(now_ms);
        self.write(Head { clean: true, ..Head::bare(Kind::Mark, self.synced, self.last, now_ms) }, &[])?;
        self.sync()
    }

    /// Begins a new segment if the room in this one runs low, or if a reservation was refused for want of it. To be
    /// called in each round of the flusher. Returns whether it did.
    ///
    /// # Errors
    /// [`Error::DiskFull`] when there is no space for it: the journal goes on, in the room it has, and the next call
    /// tries again. All others are final.
    pub fn make_room(&mut self) -> Result<bool, Error> {
        self.check()?;
        let low = segment_room(&self.options) / 4;
        let (free, wanted) = (self.room.free_bytes(), self.room.wanted());
        let asked = if wanted > 0 { wanted + self.room.headroom() } else { 0 };
        if free >= low.max(asked) {
            return Ok(false);
        }
        let all = low.max(asked);
        let mut more = all;
        loop {
            match self.rotate(more) {
                Ok(()) => {
                    // Not before: while it is tried again the disk counts as full.
                    if more == all {
                        self.room.refuse_none();
                    }
                    return Ok(true);
                }
                Err(error @ Error::DiskFull { .. }) => {
                    // One that is too large must not keep the others waiting: perhaps there is room for half as much.
                    let less = low.max(more / 2);
                    if less == more || less <= free {
                        self.room.refuse_from(0);
                        return Err(error);
                    }
                    self.room.refuse_from(more - self.room.headroom());
                    more = less;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Goes on in a new segment, with room for `more` bytes beyond what is reserved or free in this one.
    fn rotate(&mut self, more: u64) -> Result<(), Error> {
        let remaining = self.segment.size - SET_ASIDE_BYTES - self.end;
        let room = segment_room(&self.options).max(remaining + more);
        match self.begin_segment(segment_size(room)) {
            Ok(()) => {
                self.room.give(self.segment.size - SET_ASIDE_BYTES - self.end - remaining);
                Ok(())
            }
            Err(error @ Error::DiskFull { .. }) => Err(error),
            Err(error) => Err(self.fail(error)),
        }
    }

    fn begin_segment(&mut self, size: u64) -> Result<(), Error> {
        let disk = Arc::clone(&self.disk);
        let place = Place {
            epoch: self.segment.epoch,
            number: self.segment.number + 1,
            previous_end: self.end,
            base: self.last,
            entropy: self.options.entropy,
            format: self.segment.format,
        };
        let draft = Draft::new(&*disk, place, size)?;
        // Before the new segment has its name: it is the promise that this one is durable to its end.
        if !planted::is(Bug::SegmentTooEarly) {
            self.sync()?;
        }
        let (segment, file) = draft.finish()?;
        recover::trim(&*disk, &self.segment, self.end)?;
        self.segment = segment;
        self.file = file;
        self.end = self.segment.filled;
        self.synced = self.end;
        self.marked = self.end;
        Ok(())
    }

    /// Writes one record, for which there is room.
    fn write(&mut self, head: Head, body: &[&[u8]]) -> Result<u64, Error> {
        let salt = self.segment.salt();
        let padding = record::padding(u64::from(head.body_len));
        let parts = || body.iter().copied().chain([padding]);
        let head = Head { body_sum: salt.sum(self.end, parts()), ..head };
        let bytes = head.seal(salt, self.end);
        let mut slices: Vec<IoSlice<'_>> = [&bytes[..]].into_iter().chain(parts()).map(IoSlice::new).collect();
        if let Err(error) = self.file.write_at(self.end, &mut slices) {
            return Err(self.fail(Error::io("write", &self.segment.name())(error)));
        }
        self.end += head.record_bytes();
        Ok(head.record_bytes())
    }

    fn check(&self) -> Result<(), Error> {
        // Not by who makes a snapshot, should its failure be the first.
        self.snapshots.check().inspect_err(|_| self.room.shut())
    }

    /// From here on nothing is tried any more.
    fn fail(&mut self, error: Error) -> Error {
        self.room.shut();
        self.snapshots.fail(error)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.room.shut();
    }
}
