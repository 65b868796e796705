//! Reading records in order: of one segment with the rule for its end, and of a journal that is in use. Owns the
//! decision between what a power cut may lose and what is damage; knows nothing of snapshots, and writes nothing.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use kvd_types::Revision;

use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::group::{Commit, Group};
use crate::planted::{self, Bug};
use crate::record::{ALIGN, HEAD_BYTES, Head, Kind, Salt};
use crate::segment::{self, HEADER_BYTES, Header};

/// Bytes that are read from a file at once.
const WINDOW_BYTES: u64 = 1 << 20;

/// A file that is read from front to back, through a window.
pub(crate) struct Source {
    file: Box<dyn DiskFile>,
    name: String,
    len: u64,
    /// Shared with the bodies of records that were read.
    window: Bytes,
    /// Where in the file the window begins.
    window_at: u64,
}

impl Source {
    pub(crate) fn open(disk: &dyn Disk, name: &str) -> Result<Source, Error> {
        let file = disk.open(name).map_err(Error::io("open", name))?;
        let len = file.size().map_err(Error::io("measure", name))?;
        Ok(Source { file, name: name.to_owned(), len, window: Bytes::new(), window_at: 0 })
    }

    pub(crate) fn file(&self) -> &dyn DiskFile {
        &*self.file
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// These bytes; none where the file ends before.
    pub(crate) fn bytes(&mut self, offset: u64, count: u64) -> Result<Option<&[u8]>, Error> {
        if offset.checked_add(count).is_none_or(|end| end > self.len) {
            return Ok(None);
        }
        let window_end = self.window_at + self.window.len() as u64;
        if offset < self.window_at || offset + count > window_end {
            let wanted = count.max(WINDOW_BYTES).min(self.len - offset);
            let mut window = vec![0; wanted as usize];
            self.window.clear();
            if let Err(error) = self.file.read_at(offset, &mut window) {
                let len = self.file.size().map_err(Error::io("measure", &self.name))?;
                // A segment that is in use is cut to its end when the next one begins.
                if error.kind() == ErrorKind::UnexpectedEof && len < self.len {
                    self.len = len;
                    return self.bytes(offset, count);
                }
                return Err(Error::io("read", &self.name)(error));
            }
            (self.window, self.window_at) = (window.into(), offset);
        }
        let at = (offset - self.window_at) as usize;
        Ok(Some(&self.window[at..at + count as usize]))
    }

    /// The head at `offset`.
    fn head(&mut self, salt: Salt, offset: u64) -> Result<Option<Head>, Error> {
        let bytes = self.bytes(offset, HEAD_BYTES as u64)?;
        Ok(bytes.and_then(|bytes| Head::parse(bytes.try_into().expect("asked for as many"), salt, offset)))
    }

    /// The record at `offset`; what is wrong where there is none.
    pub(crate) fn record(&mut self, salt: Salt, offset: u64) -> Result<Result<(Head, Bytes), &'static str>, Error> {
        let Some(head) = self.head(salt, offset)? else {
            return Ok(Err("the checksum of a record's head is wrong"));
        };
        let body_at = offset + HEAD_BYTES as u64;
        let padded = head.record_bytes() - HEAD_BYTES as u64;
        Ok(match self.bytes(body_at, padded)? {
            None => Err("a record reaches beyond the file's end"),
            Some(body) if salt.sum(offset, [body]) != head.body_sum => Err("the checksum of a record's body is wrong"),
            Some(_) => {
                let at = (body_at - self.window_at) as usize;
                Ok((head, self.window.slice(at..at + head.body_len as usize)))
            }
        })
    }

    /// Looks from `from` on, to the end: the first head that `wanted` accepts, and the end of what is not zero.
    pub(crate) fn search(
        &mut self,
        salt: Salt,
        from: u64,
        wanted: impl Fn(u64, &Head) -> bool,
    ) -> Result<(Option<u64>, u64), Error> {
        let (mut found, mut used_end, mut at) = (None, from, from);
        while at < self.len {
            let count = ALIGN.min(self.len - at);
            let word = self.bytes(at, count)?.expect("inside the file");
            if word.iter().any(|byte| *byte != 0) {
                used_end = at + count;
                // A head has its kind in its first word.
                if found.is_none() && self.head(salt, at)?.is_some_and(|head| wanted(at, &head)) {
                    found = Some(at);
                }
            }
            at += ALIGN;
        }
        Ok((found, used_end))
    }
}

/// How a segment ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// Behind the last record that counts.
    pub(crate) offset: u64,
    /// Behind the last record that is known to be durable, and the newest revision there.
    pub(crate) durable: (u64, Revision),
    /// Bytes behind the last record that were written and do not count.
    pub(crate) cut_bytes: u64,
    /// The last record is that of a stop in order.
    pub(crate) clean: bool,
}

/// Is given a record with its offset; may end the walk.
type Visit<'a> = dyn FnMut(u64, &Head, Bytes) -> Result<ControlFlow<()>, Error> + 'a;

/// Reads one segment. `last` is the newest revision before, and then the newest in it; `until` is where the segment's
/// successor says that it ends.
///
/// # Errors
/// Damage, or a file that can't be read.
pub(crate) fn segment(
    source: &mut Source,
    header: &Header,
    until: Option<u64>,
    last: &mut Revision,
    visit: &mut Visit<'_>,
) -> Result<End, Error> {
    let salt = header.salt();
    let name = source.name().to_owned();
    let mut end = End { offset: HEADER_BYTES, durable: (HEADER_BYTES, *last), cut_bytes: 0, clean: false };
    // Where records end, and the newest revision there, from the last one on that is known to be durable.
    let mut unproven = VecDeque::new();
    let mut synced = header.filled;
    while until.is_none_or(|until| end.offset < until) {
        let (head, body) = match source.record(salt, end.offset)? {
            Ok(record) => record,
            Err(flaw) if until.is_some() || end.offset < header.filled => {
                return Err(Error::damaged(&name, end.offset, flaw));
            }
            Err(flaw) => {
                end.cut_bytes = cut(source, salt, end.offset, flaw)?;
                break;
            }
        };
        let newest = follow(&head, *last).map_err(|what| Error::damaged(&name, end.offset, what))?;
        let wanted = visit(end.offset, &head, body)?;
        *last = newest;
        end.offset += head.record_bytes();
        unproven.push_back((end.offset, newest));
        synced = synced.max(head.synced);
        while let Some(proven) = unproven.pop_front_if(|(offset, _)| *offset <= synced) {
            end.durable = proven;
        }
        end.clean = head.kind == Kind::Mark && head.clean;
        if wanted.is_break() {
            break;
        }
    }
    match until {
        Some(until) if end.offset > until => {
            Err(Error::damaged(&name, until, "a record reaches beyond where the next segment says that this one ends"))
        }
        _ => Ok(end),
    }
}

/// The newest revision after this record.
fn follow(head: &Head, last: Revision) -> Result<Revision, String> {
    let expected = match head.kind {
        Kind::Group => Revision(last.0 + 1),
        Kind::Mark => last,
        Kind::Resume if head.revision >= last => return Ok(head.revision),
        Kind::Resume | Kind::Entries | Kind::Trailer | Kind::Histories | Kind::Past => {
            return Err(format!("a {:?} has no place here", head.kind));
        }
    };
    if head.revision != expected {
        return Err(format!("a record is of revision {} where {expected} comes next", head.revision));
    }
    if head.kind == Kind::Group { Ok(Revision(last.0 + u64::from(head.count))) } else { Ok(last) }
}

/// Whether everything from the bad record at `offset` on may be what a power cut left; then its length.
///
/// # Errors
/// A record behind it says that it was durable.
fn cut(source: &mut Source, salt: Salt, offset: u64, flaw: &str) -> Result<u64, Error> {
    // The head alone is enough: it was written when `offset` was durable, whatever became of its body.
    let says_durable = |_, head: &Head| head.synced > offset || planted::is(Bug::NaiveTail);
    let (evidence, used_end) = source.search(salt, offset + ALIGN, says_durable)?;
    match evidence {
        Some(at) if !planted::is(Bug::CutAnyway) => {
            let what = format!("{flaw}, and a record at byte {at} says that it was on disk");
            Err(Error::damaged(source.name(), offset, what))
        }
        _ if used_end > offset + ALIGN => Ok(used_end - offset),
        _ => {
            let word = source.bytes(offset, ALIGN)?.unwrap_or_default();
            Ok(if word.iter().any(|byte| *byte != 0) { ALIGN } else { 0 })
        }
    }
}

/// The batches after `after` up to `through`, in order, of a journal that may be in use. `through` must be durable.
///
/// # Errors
/// [`Error::Gone`] when not all of them are there any more, damage, or what `visit` returns.
pub fn between(
    disk: &dyn Disk,
    after: Revision,
    through: Revision,
    visit: &mut dyn FnMut(Commit) -> Result<(), Error>,
) -> Result<(), Error> {
    let directory = disk.location();
    let names = disk.list().map_err(Error::io("list", &directory))?;
    let mut chain = Vec::new();
    for number in segment::numbers(&names).into_iter().rev() {
        let source = Source::open(disk, &segment::name(number))?;
        let header = Header::read(source.file(), number)?;
        chain.push((source, header));
        if header.base <= after {
            break;
        }
    }
    let mut last = chain.last().map_or(Revision(0), |(_, header)| header.base);
    if last > after {
        return Err(Error::Gone { after, begins: last });
    }
    while let Some((mut source, header)) = chain.pop() {
        if last >= through {
            break;
        }
        let name: Arc<str> = source.name().into();
        let until = chain.last().map(|(_, next)| next.previous_end);
        segment(&mut source, &header, until, &mut last, &mut |offset, head, body| {
            if head.kind == Kind::Group {
                Group::new(&name, offset, head, after, body).commits(&mut |commit| {
                    if commit.revision <= through { visit(commit) } else { Ok(()) }
                })?;
            }
            let newest = head.revision.0 + u64::from(head.count.saturating_sub(1));
            Ok(if newest >= through.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
    }
    if last < through {
        return Err(Error::damaged(&directory, 0, format!("the journal ends at revision {last}, before {through}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::RealDisk;

    #[test]
    fn a_file_that_is_cut_while_it_is_read_ends_there() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path());
        disk.create("a").unwrap().write_at(0, &mut [IoSlice::new(&[7; 100])]).unwrap();
        let mut source = Source::open(&disk, "a").unwrap();
        disk.truncate("a", 50).unwrap();
        assert_eq!(source.bytes(40, 10).unwrap(), Some(&[7; 10][..]));
        assert_eq!(source.bytes(40, 11).unwrap(), None);
    }
}
