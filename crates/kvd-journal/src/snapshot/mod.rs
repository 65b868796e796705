//! A snapshot: one file with the newest version of each key, and the batches that went on meanwhile. Here is its format,
//! with that of older versions in `history`; `write` makes it, `load` reads it. Knows nothing of where entries come from or go
//! to.
//!
//! # Source
//! `docs/FORMAT.md`, "Snapshots".

mod history;
mod load;
mod write;

use bytes::{Buf, BufMut, Bytes};
use kvd_types::{ContentType, Effect, Epoch, Key, Revision};

pub(crate) use history::decode_histories;
pub use history::{Content, History, Past, Version};
pub use load::{Chunk, Snapshot};
pub use write::{SnapshotWriter, Snapshots};

use crate::batch::{Values, decode_effect, encode_put, take};
use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::record::Salt;
use crate::segment;

/// Bytes of a header; the first record follows.
pub(crate) const HEADER_BYTES: u64 = 32;

const MAGIC: &[u8; 8] = b"kvdsnap\0";

/// What an entry takes beside its key, its value and what few have: its revision, its kind and two lengths.
pub const ENTRY_BYTES: u64 = 20;

/// A snapshot that is not finished yet.
const DRAFT: &str = "snapshot.new";

/// One key of a snapshot: its newest version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key.
    pub key: Key<'a>,
    /// Its value.
    pub value: Bytes,
    /// Stored with it.
    pub content_type: Option<ContentType>,
    /// When it goes by itself, in milliseconds since 1970; none for never.
    pub expires_at_ms: Option<u64>,
    /// The commit it comes from.
    pub revision: Revision,
}

impl Entry<'_> {
    fn encode(&self, to: &mut Vec<u8>) {
        to.put_u64_le(self.revision.0);
        encode_put(to, &self.key, &self.value, self.content_type.as_ref(), self.expires_at_ms);
    }

    /// The same entry, owning its key.
    pub(crate) fn into_owned(self) -> Entry<'static> {
        let Entry { key, value, content_type, expires_at_ms, revision } = self;
        Entry { key: key.into_owned(), value, content_type, expires_at_ms, revision }
    }
}

impl<'a> Entry<'a> {
    fn decode(values: Values<'_>, from: &mut &'a [u8]) -> Result<Entry<'a>, &'static str> {
        let revision = Revision(take(from, 8)?.get_u64_le());
        match decode_effect(values, from)? {
            Effect::Put { key, value, content_type, expires_at_ms } => {
                Ok(Entry { key, value, content_type, expires_at_ms, revision })
            }
            _ => Err("an entry is no put"),
        }
    }
}

/// What a snapshot says of itself at its begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    epoch: Epoch,
    /// R0: the newest revision when the walk began.
    begin: Revision,
    /// A number that only the file tells.
    secret: u32,
    /// Of which version of the format its records are.
    format: u32,
}

impl Header {
    fn salt(&self) -> Salt {
        Salt::of(self.epoch, self.begin.0, self.secret)
    }

    fn to_bytes(self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        let mut to = &mut bytes[..];
        to.put_slice(MAGIC);
        to.put_u32_le(self.format);
        to.put_u32_le(self.epoch.0);
        to.put_u64_le(self.begin.0);
        to.put_u32_le(self.secret);
        let sum = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(crate) fn read(file: &dyn DiskFile, name: &str) -> Result<Header, Error> {
        let (format, bytes): (_, [u8; HEADER_BYTES as usize]) = segment::read_header(file, name, MAGIC)?;
        let mut from = &bytes[12..];
        let (epoch, begin) = (Epoch(from.get_u32_le()), Revision(from.get_u64_le()));
        Ok(Header { epoch, begin, secret: from.get_u32_le(), format })
    }

    /// The file's salt and R0, for who looks at its records.
    pub(crate) fn describe(&self) -> (Salt, Revision) {
        (self.salt(), self.begin)
    }
}

/// The sums at a snapshot's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Keys, those included that only have older versions.
    pub(crate) entries: u64,
    /// Batches of the tail.
    pub(crate) batches: u64,
}

impl Sums {
    fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.entries.to_le_bytes());
        bytes[8..].copy_from_slice(&self.batches.to_le_bytes());
        bytes
    }

    pub(crate) fn parse(mut from: &[u8]) -> Option<Sums> {
        (from.len() == 16).then(|| Sums { entries: from.get_u64_le(), batches: from.get_u64_le() })
    }
}

/// The entries of a chunk, one after the other; the first thing that is wrong, although the checksum is right, ends them.
pub(crate) fn decode_entries(whole: &Bytes, count: u32) -> impl Iterator<Item = Result<Entry<'_>, &'static str>> {
    let (mut body, mut left) = (&whole[..], count);
    std::iter::from_fn(move || {
        if body.is_empty() || left == 0 {
            let is_right = body.is_empty() && left == 0;
            (body, left) = (&[], 0);
            return (!is_right).then_some(Err("a chunk has another number of entries than it says"));
        }
        left -= 1;
        let entry = Entry::decode(Values::Shared(whole), &mut body);
        if entry.is_err() {
            (body, left) = (&[], 0);
        }
        Some(entry)
    })
}

/// The name of the snapshot that ends at `revision`.
pub(crate) fn name(revision: Revision) -> String {
    format!("{:020}.snapshot", revision.0)
}

/// The revisions of the snapshots in a directory, rising.
pub(crate) fn revisions(names: &[String]) -> Vec<Revision> {
    let mut revisions: Vec<Revision> =
        names.iter().filter_map(|name| segment::number_in(name, ".snapshot")).map(Revision).collect();
    revisions.sort_unstable();
    revisions
}

/// Removes what an interrupted process left unfinished.
pub(crate) fn remove_leftover(disk: &dyn Disk) -> Result<(), Error> {
    segment::remove_leftover(disk, DRAFT)
}
