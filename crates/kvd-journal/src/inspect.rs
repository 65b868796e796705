//! Looking at a file record by record, for people: what stands where, and what is wrong there. Goes on after what is
//! wrong, changes nothing, and takes no lock, which is the caller's; judges no directory as a whole, which is recovery's.

use bytes::Bytes;
use kvd_types::Revision;

use crate::disk::Disk;
use crate::error::Error;
use crate::group::{Commit, Group};
use crate::read::Source;
use crate::record::{ALIGN, Head, Kind, Salt};
use crate::segment::{self, HEADER_BYTES, Header};
use crate::snapshot::{self, Entry, History, Past, Sums};

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// What it is.
    pub what: What,
}

/// What stands in a part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The header of a segment.
    Segment {
        /// Its number.
        number: u64,
        /// Bytes of the file.
        size: u64,
        /// Written and synced before it got its name, up to here.
        filled: u64,
        /// Where the segment before ends.
        previous_end: u64,
        /// The newest revision before it.
        base: Revision,
    },
    /// The header of a snapshot.
    Snapshot {
        /// R0.
        begin: Revision,
    },
    /// Batches.
    Group {
        /// How far the journal was durable.
        synced: u64,
        /// The store's time, in ms.
        now_ms: u64,
        /// In order.
        batches: Vec<Commit>,
    },
    /// A mark.
    Mark {
        /// How far the journal was durable.
        synced: u64,
        /// The store's time, in ms.
        now_ms: u64,
        /// The newest revision.
        last: Revision,
        /// The store was stopped in order.
        clean: bool,
    },
    /// The begin of a run.
    Resume {
        /// The store's time, in ms.
        now_ms: u64,
        /// Revisions go on after this one.
        last: Revision,
    },
    /// A chunk of a snapshot.
    Entries(Vec<Entry<'static>>),
    /// A chunk of a snapshot with older versions.
    Histories(Vec<History<'static>>),
    /// What a snapshot with older versions says of revisions.
    Past(Past),
    /// A snapshot's end.
    Trailer {
        /// R1.
        end: Revision,
        /// The store's time, in ms.
        now_ms: u64,
        /// Keys in it.
        entries: u64,
        /// Batches of its tail.
        batches: u64,
    },
    /// No record, up to the next one or to the end of what was written.
    Bad(String),
    /// Zeros up to the file's end: room.
    Unused,
}

/// Shows every part of the segment or snapshot `name`, from its begin to its end. Whether a bad part may be what a power
/// cut left is told by `synced` of those after it, and by [`Recovery`](crate::Recovery).
///
/// # Errors
/// It can't be read, or has no header, or one of a newer format.
pub fn inspect(disk: &dyn Disk, name: &str, visit: &mut dyn FnMut(Inspected)) -> Result<(), Error> {
    let mut source = Source::open(disk, name)?;
    let (salt, mut offset, what) = if let Some(number) = segment::number_in(name, ".journal") {
        let header = Header::read(source.file(), number)?;
        let Header { number, size, filled, previous_end, base, .. } = header;
        (header.salt(), HEADER_BYTES, What::Segment { number, size, filled, previous_end, base })
    } else if segment::number_in(name, ".snapshot").is_some() {
        let (salt, begin) = snapshot::Header::read(source.file(), name)?.describe();
        (salt, snapshot::HEADER_BYTES, What::Snapshot { begin })
    } else {
        return Err(Error::damaged(name, 0, "its name is neither a segment's nor a snapshot's"));
    };
    visit(Inspected { offset: 0, bytes: offset, what });
    while offset < source.len() {
        let inspected = part(&mut source, salt, offset)?;
        offset += inspected.bytes;
        visit(inspected);
    }
    Ok(())
}

/// What stands at `offset`.
fn part(source: &mut Source, salt: Salt, offset: u64) -> Result<Inspected, Error> {
    let flaw = match source.record(salt, offset)? {
        Ok((head, body)) => {
            let what = decode(&head, body).unwrap_or_else(What::Bad);
            return Ok(Inspected { offset, bytes: head.record_bytes(), what });
        }
        Err(flaw) => flaw,
    };
    let (next, used_end) = source.search(salt, offset, |at, _| at > offset)?;
    Ok(match next {
        Some(next) => Inspected { offset, bytes: next - offset, what: What::Bad(flaw.to_owned()) },
        None if used_end == offset => Inspected { offset, bytes: source.len() - offset, what: What::Unused },
        None => Inspected { offset, bytes: used_end - offset, what: What::Bad(flaw.to_owned()) },
    })
}

fn decode(head: &Head, body: Bytes) -> Result<What, String> {
    let Head { synced, now_ms, revision: last, clean, .. } = *head;
    Ok(match head.kind {
        Kind::Group => {
            let mut batches = Vec::new();
            let group = Group::new(&"".into(), 0, head, Revision(0), body);
            let all = group.commits(&mut |commit| {
                batches.push(commit);
                Ok(())
            });
            all.map_err(|error| match error {
                Error::Damaged { what, .. } => what,
                other => other.to_string(),
            })?;
            What::Group { synced, now_ms, batches }
        }
        Kind::Mark => What::Mark { synced, now_ms, last, clean },
        Kind::Resume => What::Resume { now_ms, last },
        Kind::Entries => {
            let entries = snapshot::decode_entries(&body, head.count).map(|entry| entry.map(Entry::into_owned));
            What::Entries(entries.collect::<Result<_, _>>()?)
        }
        Kind::Histories => What::Histories(snapshot::decode_histories(&body, head.count)?),
        Kind::Past => What::Past(Past::parse(&body, head.count)?),
        Kind::Trailer => {
            let Sums { entries, batches } = Sums::parse(&body).ok_or("a trailer has another length")?;
            What::Trailer { end: last, now_ms, entries, batches }
        }
    })
}

const _: () = assert!(HEADER_BYTES.is_multiple_of(ALIGN) && snapshot::HEADER_BYTES.is_multiple_of(ALIGN));
