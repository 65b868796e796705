//! A segment: one file of the journal. Its name, its header, and how it comes to be: whole and synced, before it has its
//! name. Knows nothing of batches, nor of when a segment is full.
//!
//! # Source
//! `docs/FORMAT.md`, "Segments".

use std::io::IoSlice;

use bytes::{Buf, BufMut};
use kvd_types::{Epoch, Revision};

use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::planted::{self, Bug};
use crate::record::{self, Head, Salt};

/// Bytes of a header; the first record follows.
pub(crate) const HEADER_BYTES: u64 = 64;

const MAGIC: &[u8; 8] = b"kvdjrnl\0";

/// A segment that is not ready yet.
const DRAFT: &str = "journal.new";

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The store it belongs to.
    pub(crate) epoch: Epoch,
    /// Counted from 1, without gaps.
    pub(crate) number: u64,
    /// Bytes of the file, preallocated.
    pub(crate) size: u64,
    /// Up to here everything was written and synced before the segment got its name.
    pub(crate) filled: u64,
    /// Where the segment before ends; what it holds beyond is void. 0 for the first.
    pub(crate) previous_end: u64,
    /// The newest revision before this segment.
    pub(crate) base: Revision,
    /// A number that only the file tells.
    pub(crate) secret: u32,
    /// Of which version of the format its records are.
    pub(crate) format: u32,
}

impl Header {
    pub(crate) fn salt(&self) -> Salt {
        Salt::of(self.epoch, self.number, self.secret)
    }

    pub(crate) fn name(&self) -> String {
        name(self.number)
    }

    fn to_bytes(self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        let mut to = &mut bytes[..];
        to.put_slice(MAGIC);
        to.put_u32_le(self.format);
        to.put_u32_le(self.epoch.0);
        to.put_u64_le(self.number);
        to.put_u64_le(self.size);
        to.put_u64_le(self.filled);
        to.put_u64_le(self.previous_end);
        to.put_u64_le(self.base.0);
        to.put_u32_le(self.secret);
        let sum = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads the header of segment `number`.
    ///
    /// # Errors
    /// It is damaged, of a newer format, or can't be read.
    pub(crate) fn read(file: &dyn DiskFile, number: u64) -> Result<Header, Error> {
        let name = name(number);
        let (format, bytes): (_, [u8; HEADER_BYTES as usize]) = read_header(file, &name, MAGIC)?;
        let mut from = &bytes[12..];
        let header = Header {
            format,
            epoch: Epoch(from.get_u32_le()),
            number: from.get_u64_le(),
            size: from.get_u64_le(),
            filled: from.get_u64_le(),
            previous_end: from.get_u64_le(),
            base: Revision(from.get_u64_le()),
            secret: from.get_u32_le(),
        };
        if header.number != number {
            return Err(Error::damaged(&name, 16, format!("it says that it is segment {}", header.number)));
        }
        Ok(header)
    }
}

/// The version of a file's format and its first bytes, with magic, version and checksum looked at. The checksum is in the last
/// four bytes.
pub(crate) fn read_header<const N: usize>(
    file: &dyn DiskFile,
    name: &str,
    magic: &[u8; 8],
) -> Result<(u32, [u8; N]), Error> {
    let mut bytes = [0; N];
    if file.size().map_err(Error::io("measure", name))? < N as u64 {
        return Err(Error::damaged(name, 0, "it is shorter than its header"));
    }
    file.read_at(0, &mut bytes).map_err(Error::io("read", name))?;
    if bytes[..8] != magic[..] {
        return Err(Error::damaged(name, 0, "it does not begin as this kind of file does"));
    }
    // Before the checksum: a newer format may have its own in another place.
    let found = (&bytes[8..]).get_u32_le();
    if found > crate::FORMAT {
        return Err(Error::NewerFormat { file: name.to_owned(), found });
    }
    let (said, sum) = ((&bytes[N - 4..]).get_u32_le(), crc32c::crc32c(&bytes[..N - 4]));
    if found == 0 || said != sum {
        return Err(Error::damaged(name, 0, "the checksum of its header is wrong"));
    }
    Ok((found, bytes))
}

/// The name of segment `number`.
pub(crate) fn name(number: u64) -> String {
    format!("{number:020}.journal")
}

/// The number in a name of this kind of file, spelt as we spell it.
pub(crate) fn number_in(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let number = digits.parse().ok()?;
    (digits == format!("{number:020}")).then_some(number)
}

/// The numbers of the segments in a directory, rising.
pub(crate) fn numbers(names: &[String]) -> Vec<u64> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_in(name, ".journal")).collect();
    numbers.sort_unstable();
    numbers
}

/// A segment that is being made.
pub(crate) struct Draft<'a> {
    disk: &'a dyn Disk,
    file: Box<dyn DiskFile>,
    header: Header,
}

/// Where a draft comes in the journal.
pub(crate) struct Place {
    pub(crate) epoch: Epoch,
    pub(crate) number: u64,
    pub(crate) previous_end: u64,
    pub(crate) base: Revision,
    /// The caller's randomness.
    pub(crate) entropy: u64,
    /// Of which version of the format its records may be.
    pub(crate) format: u32,
}

impl<'a> Draft<'a> {
    /// Makes the file, with room on the disk for `size` bytes.
    ///
    /// # Errors
    /// A full disk is told as such; what was made then is gone again.
    pub(crate) fn new(disk: &'a dyn Disk, place: Place, size: u64) -> Result<Draft<'a>, Error> {
        remove_leftover(disk, DRAFT)?;
        let Place { epoch, number, previous_end, base, entropy, format } = place;
        let secret = record::secret(entropy, number);
        let header = Header { epoch, number, size, filled: HEADER_BYTES, previous_end, base, secret, format };
        let file = disk.create(DRAFT).map_err(Error::growing("create", DRAFT, size))?;
        let draft = Draft { disk, file, header };
        let allocated = if planted::is(Bug::UnreservedRoom) {
            draft.file.write_at(size - 1, &mut [IoSlice::new(&[0])])
        } else {
            draft.file.allocate(size)
        };
        draft.cleared(allocated.map_err(Error::growing("make room for", &header.name(), size)))?;
        Ok(draft)
    }

    /// Writes a record, which is durable when the segment is.
    pub(crate) fn fill(&mut self, head: Head, body: &[u8]) -> Result<(), Error> {
        let (offset, salt) = (self.header.filled, self.header.salt());
        let padding = record::padding(body.len() as u64);
        let head = Head { body_sum: salt.sum(offset, [body, padding]), synced: HEADER_BYTES, ..head };
        let bytes = head.seal(salt, offset);
        let written =
            self.file.write_at(offset, &mut [IoSlice::new(&bytes), IoSlice::new(body), IoSlice::new(padding)]);
        self.cleared(written.map_err(Error::growing("write", &self.header.name(), self.header.size)))?;
        self.header.filled += head.record_bytes();
        Ok(())
    }

    /// Syncs the segment and gives it its name, durably.
    ///
    /// # Errors
    /// As in `new` up to the name; an error after that is final.
    pub(crate) fn finish(self) -> Result<(Header, Box<dyn DiskFile>), Error> {
        let (name, size) = (self.header.name(), self.header.size);
        let written = self.file.write_at(0, &mut [IoSlice::new(&self.header.to_bytes())]);
        self.cleared(written.map_err(Error::growing("write", &name, size)))?;
        self.cleared(self.file.sync().map_err(Error::growing("sync", &name, size)))?;
        self.cleared(self.disk.rename(DRAFT, &name).map_err(Error::growing("name", &name, size)))?;
        self.disk.sync_dir().map_err(Error::io("make the name durable of", &name))?;
        Ok((self.header, self.file))
    }

    /// Frees what a draft has taken that will not be finished: the room may be needed to get out of this.
    fn cleared<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_err() {
            // The first error is the one to tell. Should this fail too, the next draft tries again, and tells.
            let _ = self.disk.remove(DRAFT);
        }
        result
    }
}

/// Removes what an interrupted process left unfinished.
pub(crate) fn remove_leftover(disk: &dyn Disk, name: &str) -> Result<(), Error> {
    match disk.remove(name) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", name)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_segments() {
        let names = [3, 1, 12].map(name);
        let other = ["1.journal", "journal.new", "00000000000000000001.snapshot", "0000000000000000000x.journal", "a"];
        let all: Vec<String> = names.into_iter().chain(other.map(str::to_owned)).collect();
        assert_eq!(numbers(&all), [1, 3, 12]);
    }
}
