//! Reading a snapshot: first its heads, which say where everything is; then its chunks, each by itself and once, by as many
//! threads as the caller likes. A snapshot has no torn end, since it has its name only when it is whole: whatever is wrong is
//! damage, and shows at the latest when the chunk that has it is read.

use std::sync::Arc;

use bytes::Bytes;
use kvd_types::{Epoch, Revision};

use super::{Entry, HEADER_BYTES, Header, History, Past, Sums, decode_entries, decode_histories, name};
use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::group::Group;
use crate::record::{HEAD_BYTES, Head, Kind};

/// A snapshot whose heads are all right.
#[derive(Clone)]
pub struct Snapshot {
    file: Arc<dyn DiskFile>,
    name: Arc<str>,
    header: Header,
    /// The chunks of entries, each with where it is.
    chunks: Vec<(u64, Head)>,
    /// The groups of the tail.
    groups: Vec<(u64, Head)>,
    /// R1.
    end: Revision,
    now_ms: u64,
    sums: Sums,
    /// Of one with history.
    past: Option<Past>,
}

/// Keys of a snapshot, as they were read: their checksum is right.
pub struct Chunk {
    file: Arc<str>,
    /// Of the record, in the file.
    offset: u64,
    count: u32,
    /// Whether its keys have their older versions.
    has_history: bool,
    body: Bytes,
}

impl Snapshot {
    /// Opens the snapshot that ends at `revision`, and reads all of it but the bodies.
    pub(crate) fn open(disk: &dyn Disk, revision: Revision) -> Result<Snapshot, Error> {
        let name = name(revision);
        let file = disk.open(&name).map_err(Error::io("open", &name))?;
        let size = file.size().map_err(Error::io("measure", &name))?;
        let header = Header::read(&*file, &name)?;
        let damaged = |at, what: &str| Error::damaged(&name, at, what);
        let (mut chunks, mut groups, mut found) = (Vec::new(), Vec::new(), Sums::default());
        let has_history = header.format == crate::FORMAT_HISTORY;
        let keys = if has_history { Kind::Histories } else { Kind::Entries };
        let (mut offset, mut past) = (HEADER_BYTES, None);
        let trailer = loop {
            let head = read_head(&*file, &name, size, &header, offset)?;
            match head.kind {
                kind if kind == keys && groups.is_empty() && past.is_none() => {
                    chunks.push((offset, head));
                    found.entries += u64::from(head.count);
                }
                Kind::Past if past.is_none() && has_history => past = Some((offset, head)),
                Kind::Group if past.is_none() && head.revision.0 == header.begin.0 + found.batches + 1 => {
                    groups.push((offset, head));
                    found.batches += u64::from(head.count);
                }
                Kind::Trailer => break head,
                _ => return Err(damaged(offset, "a record has no place here")),
            }
            offset += head.record_bytes();
        };
        if size != offset + trailer.record_bytes() {
            return Err(damaged(offset, "bytes follow its end"));
        }
        let (file, name) = (Arc::from(file), Arc::from(name));
        let (now_ms, sums) = (trailer.now_ms, found);
        let mut snapshot = Snapshot { file, name, header, chunks, groups, end: revision, now_ms, sums, past: None };
        if let Some((at, head)) = past {
            let parsed = Past::parse(&snapshot.body(&(at, head))?, head.count);
            snapshot.past = Some(parsed.map_err(|flaw| snapshot.damaged(at, flaw))?);
        }
        let sums = Sums::parse(&snapshot.body(&(offset, trailer))?);
        let is_whole = sums == Some(found)
            && snapshot.past.is_some() == has_history
            && trailer.revision.0 == header.begin.0 + found.batches;
        if is_whole && trailer.revision == revision {
            Ok(snapshot)
        } else {
            Err(snapshot.damaged(offset, "its sums are not those of what it holds"))
        }
    }

    /// Reads all of it, and keeps nothing.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.chunks.iter().chain(&self.groups).try_for_each(|record| self.body(record).map(drop))
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

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Keys in it.
    pub fn entries_count(&self) -> u64 {
        self.sums.entries
    }

    /// Bytes of the entries: of each its key, value and content type, and [some more](crate::ENTRY_BYTES).
    pub fn entries_bytes(&self) -> u64 {
        self.chunks.iter().map(|(_, head)| u64::from(head.body_len)).sum()
    }

    /// Chunks of entries. Each can be loaded for itself, on any thread and in any order; no key is in two.
    pub fn chunks_count(&self) -> usize {
        self.chunks.len()
    }

    /// What is known of revisions beside the keys; none where no history was kept.
    pub fn past(&self) -> Option<&Past> {
        self.past.as_ref()
    }

    /// Reads and checks one chunk.
    ///
    /// # Errors
    /// Damage, or it can't be read.
    ///
    /// # Panics
    /// From [`chunks_count`](Snapshot::chunks_count) on.
    pub fn chunk(&self, index: usize) -> Result<Chunk, Error> {
        let record = &self.chunks[index];
        let body = self.body(record)?;
        let has_history = record.1.kind == Kind::Histories;
        Ok(Chunk { file: Arc::clone(&self.name), offset: record.0, count: record.1.count, has_history, body })
    }

    /// The batches after R0 up to R1, in order; to be applied after all entries are loaded.
    pub(crate) fn tail(&self) -> impl Iterator<Item = Result<Group, Error>> {
        self.groups.iter().map(|record| {
            let (offset, head) = record;
            Ok(Group::new(&self.name, *offset, head, Revision(0), self.body(record)?))
        })
    }

    /// The body of a record, without its padding.
    fn body(&self, (offset, head): &(u64, Head)) -> Result<Bytes, Error> {
        let mut body = vec![0; head.record_bytes() as usize - HEAD_BYTES];
        self.file.read_at(offset + HEAD_BYTES as u64, &mut body).map_err(Error::io("read", &self.name))?;
        if self.header.salt().sum(*offset, [&body[..]]) != head.body_sum {
            return Err(self.damaged(*offset, "the checksum of a record's body is wrong"));
        }
        let mut body = Bytes::from(body);
        body.truncate(head.body_len as usize);
        Ok(body)
    }

    fn damaged(&self, offset: u64, what: &str) -> Error {
        Error::damaged(&self.name, offset, what)
    }
}

impl Chunk {
    /// The keys with their older versions; none where they have been stored without.
    ///
    /// # Errors
    /// Damage.
    pub fn histories(&self) -> Result<Option<Vec<History<'static>>>, Error> {
        let decode = || decode_histories(&self.body, self.count).map_err(|what| self.damaged(what));
        self.has_history.then(decode).transpose()
    }

    /// The keys that have a value, without older versions, one after the other. A value that is kept may keep all of the chunk's
    /// bytes, but for one of [`COPIED_BYTES_MIN`](crate::COPIED_BYTES_MIN) or more.
    ///
    /// # Errors
    /// Damage, which ends them.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry<'_>, Error>> {
        let (histories, failure) = match self.histories() {
            Ok(histories) => (histories.unwrap_or_default(), None),
            Err(error) => (Vec::new(), Some(Err(error))),
        };
        let plain = (!self.has_history).then(|| decode_entries(&self.body, self.count));
        let plain = plain.into_iter().flatten().map(|entry| entry.map_err(|what| self.damaged(what)));
        let of_histories = histories.into_iter().filter_map(|history| history.into_entry().map(Ok));
        plain.chain(of_histories).chain(failure)
    }

    fn damaged(&self, what: &str) -> Error {
        Error::damaged(&self.file, self.offset, what)
    }
}

/// The head at `offset` of a file of `size` bytes, which has room for its body too.
fn read_head(file: &dyn DiskFile, name: &str, size: u64, header: &Header, offset: u64) -> Result<Head, Error> {
    let damaged = |what: &str| Error::damaged(name, offset, what);
    let too_long = || damaged("a record reaches beyond the file's end");
    let body_at = offset.saturating_add(HEAD_BYTES as u64);
    if body_at > size {
        return Err(too_long());
    }
    let mut bytes = [0; HEAD_BYTES];
    file.read_at(offset, &mut bytes).map_err(Error::io("read", name))?;
    let head = Head::parse(&bytes, header.salt(), offset)
        .ok_or_else(|| damaged("the checksum of a record's head is wrong"))?;
    if offset + head.record_bytes() > size { Err(too_long()) } else { Ok(head) }
}
