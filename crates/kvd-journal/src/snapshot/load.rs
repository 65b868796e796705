//! Reading a snapshot: first all of it is checked, then its chunks are decoded, by as many threads as the caller likes.
//! A snapshot has no torn end, since it has its name only when it is whole: whatever is wrong is damage.

use std::sync::Arc;

use kvd_types::{Epoch, Revision};

use super::{Chunk, Entry, HEADER_BYTES, Header, Past, Sums, decode_entries, decode_histories, name};
use crate::batch::Commit;
use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::read::{self, Source};
use crate::record::{HEAD_BYTES, Head, Kind};

/// A snapshot whose checksums are all right.
#[derive(Clone)]
pub struct Snapshot {
    file: Arc<dyn DiskFile>,
    name: String,
    header: Header,
    /// Where the chunks of entries are.
    chunks: Vec<u64>,
    /// Where the groups of the tail are.
    groups: Vec<u64>,
    /// R1.
    end: Revision,
    now_ms: u64,
    sums: Sums,
    /// Of one with history.
    past: Option<Past>,
}

impl Snapshot {
    /// Opens the snapshot that ends at `revision`, and reads it once to check it.
    pub(crate) fn open(disk: &dyn Disk, revision: Revision) -> Result<Snapshot, Error> {
        let name = name(revision);
        let mut source = Source::open(disk, &name)?;
        let header = Header::read(source.file(), &name)?;
        let (salt, damaged) = (header.salt(), |at, what: &str| Error::damaged(&name, at, what));
        let (mut chunks, mut groups, mut found) = (Vec::new(), Vec::new(), Sums::default());
        let (mut offset, mut past) = (HEADER_BYTES, None);
        let has_history = header.format == crate::FORMAT_HISTORY;
        let (trailer, sums) = loop {
            let (head, body) = source.record(salt, offset)?.map_err(|flaw| damaged(offset, flaw))?;
            match head.kind {
                Kind::Entries if groups.is_empty() && !has_history => {
                    chunks.push(offset);
                    found.entries += u64::from(head.count);
                }
                Kind::Histories if groups.is_empty() && past.is_none() && has_history => {
                    chunks.push(offset);
                    found.entries += u64::from(head.count);
                }
                Kind::Past if past.is_none() && has_history => {
                    past = Some(Past::parse(body, head.count).map_err(|flaw| damaged(offset, flaw))?);
                }
                Kind::Group if past.is_none() && head.revision.0 == header.begin.0 + found.batches + 1 => {
                    groups.push(offset);
                    found.batches += u64::from(head.count);
                }
                Kind::Trailer => break (head, Sums::parse(body)),
                _ => return Err(damaged(offset, "a record has no place here")),
            }
            offset += head.record_bytes();
        };
        let whole = sums == Some(found)
            && past.is_some() == has_history
            && trailer.revision.0 == header.begin.0 + found.batches;
        if !whole || trailer.revision != revision {
            return Err(damaged(offset, "its sums are not those of what it holds"));
        }
        if source.len() != offset + trailer.record_bytes() {
            return Err(damaged(offset, "bytes follow its end"));
        }
        let file = source.into_file().into();
        Ok(Snapshot { file, name, header, chunks, groups, end: revision, now_ms: trailer.now_ms, sums: found, past })
    }

    /// R1: the revision whose state it is, once its tail is replayed.
    pub fn revision(&self) -> Revision {
        self.end
    }

    /// The store's time at R1, in ms.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.header.epoch
    }

    /// Keys in it.
    pub fn entries_count(&self) -> u64 {
        self.sums.entries
    }

    /// Chunks of entries. Each can be loaded for itself, on any thread and in any order; no key is in two.
    pub fn chunks_count(&self) -> usize {
        self.chunks.len()
    }

    /// What is known of revisions beside the keys; none where no history was kept.
    pub fn past(&self) -> Option<&Past> {
        self.past.as_ref()
    }

    /// The keys of one chunk.
    ///
    /// # Errors
    /// It can't be read, or is not what it was when the snapshot was opened.
    ///
    /// # Panics
    /// From [`chunks_count`](Snapshot::chunks_count) on.
    pub fn chunk(&self, chunk: usize) -> Result<Chunk, Error> {
        let offset = self.chunks[chunk];
        let (head, body) = self.record(offset)?;
        let body = &body[..head.body_len as usize];
        let decoded = match head.kind {
            Kind::Histories => decode_histories(body, head.count).map(Chunk::Histories),
            _ => decode_entries(body, head.count).map(Chunk::Entries),
        };
        decoded.map_err(|what| self.damaged(offset, what))
    }

    /// The same without older versions: the keys that have a value.
    ///
    /// # Errors
    /// As `chunk`.
    ///
    /// # Panics
    /// As `chunk`.
    pub fn entries(&self, chunk: usize) -> Result<Vec<Entry<'static>>, Error> {
        self.chunk(chunk).map(Chunk::into_entries)
    }

    /// The batches after R0 up to R1, in order; to be replayed after all entries are loaded.
    pub(crate) fn tail(&self, visit: &mut dyn FnMut(Commit)) -> Result<(), Error> {
        for offset in &self.groups {
            let (head, body) = self.record(*offset)?;
            let mut always = |commit| {
                visit(commit);
                Ok(())
            };
            let body = &body[..head.body_len as usize];
            read::batches(&head, body, &mut always, |what| self.damaged(*offset, &what))?;
        }
        Ok(())
    }

    /// A record that was right when the snapshot was opened; its body with the padding.
    fn record(&self, offset: u64) -> Result<(Head, Vec<u8>), Error> {
        let salt = self.header.salt();
        let changed = || self.damaged(offset, "it changed while it was read");
        let mut head = [0; HEAD_BYTES];
        self.file.read_at(offset, &mut head).map_err(Error::io("read", &self.name))?;
        let head = Head::parse(&head, salt, offset).ok_or_else(changed)?;
        let mut body = vec![0; head.record_bytes() as usize - HEAD_BYTES];
        self.file.read_at(offset + HEAD_BYTES as u64, &mut body).map_err(Error::io("read", &self.name))?;
        if salt.sum(offset, [&body[..]]) == head.body_sum { Ok((head, body)) } else { Err(changed()) }
    }

    fn damaged(&self, offset: u64, what: &str) -> Error {
        Error::damaged(&self.name, offset, what)
    }
}
