//! A disk that loses power. It has two images of everything: the *live* one, which a process reads, and the *durable*
//! one, which is there after a power cut; between them lies what was written and not synced, and of that any part may
//! survive. It can also fail the Nth call, and be full. Deterministic: the same calls and the same seed give the same
//! bytes.
//!
//! | a process does | the durable image, after a power cut |
//! |---|---|
//! | writes | each page has its old bytes, or those after some of the writes; or each sector of the page one of two such states |
//! | allocates, truncates | the old length or the new one |
//! | syncs a file | has its bytes and its length |
//! | makes, renames, removes a file | each of these happened or did not, whatever happened to those before |
//! | syncs the directory | has its names |
//! | syncs, and is told that it failed | never gets what was written before, also if a later sync succeeds |
//!
//! Knows nothing of what is in the files.

mod image;

use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};

use image::{Image, Write};
use kvd_journal::{Disk, DiskFile, DiskLock};

/// What a process can ask of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Take the directory.
    Lock,
    /// List its files.
    List,
    /// Make a file.
    Create,
    /// Open one.
    Open,
    /// Rename one.
    Rename,
    /// Remove one.
    Remove,
    /// Cut one.
    Truncate,
    /// Sync the directory.
    SyncDir,
    /// Ask for a length.
    Size,
    /// Read.
    Read,
    /// Write.
    Write,
    /// Take room.
    Allocate,
    /// Sync a file.
    Sync,
}

/// The units that a disk works in, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// What is written back at once.
    pub page: usize,
    /// What is never torn.
    pub sector: usize,
}

/// A simulated disk; clones are the same one.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    image: Image,
    locked: bool,
    calls: u64,
    /// Bytes that were asked for and read.
    bytes_read: u64,
    /// The call at which the power goes.
    cut_at: Option<u64>,
    dead: bool,
    /// A call has failed as it was told to.
    failed: bool,
    /// Calls that are to fail: which, how many of that kind before, and how.
    faults: Vec<(Call, u64, ErrorKind)>,
}

/// What becomes of a call.
enum Fate {
    Done,
    /// The power goes in the middle of it.
    Cut,
    /// The power is gone.
    Dead,
    Fails(ErrorKind),
}

impl SimDisk {
    /// An empty disk with pages of 4 KiB and sectors of 512 bytes.
    pub fn new() -> SimDisk {
        SimDisk::with_geometry(Geometry { page: 4096, sector: 512 })
    }

    /// An empty disk.
    ///
    /// # Panics
    /// When a page is not a multiple of a sector.
    pub fn with_geometry(geometry: Geometry) -> SimDisk {
        assert!(geometry.page.is_multiple_of(geometry.sector), "a page is whole sectors");
        SimDisk::of(Image::new(geometry))
    }

    fn of(image: Image) -> SimDisk {
        let state = State {
            image,
            locked: false,
            calls: 0,
            bytes_read: 0,
            cut_at: None,
            dead: false,
            failed: false,
            faults: Vec::new(),
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        self.state().bytes_read
    }

    /// Cuts the power during the call `calls` from now; what it does may be lost like everything that was not synced.
    pub fn cut_power_after(&self, calls: u64) {
        let mut state = self.state();
        state.cut_at = Some(state.calls + calls);
    }

    /// Whether the power is cut.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Whether a call has failed as it was told to.
    pub fn has_failed(&self) -> bool {
        self.state().failed
    }

    /// Makes the `nth` call of this kind from now fail, counted from 0.
    pub fn fail(&self, call: Call, nth: u64, kind: ErrorKind) {
        self.state().faults.push((call, nth, kind));
    }

    /// Gives the disk room for this many bytes.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().image.capacity = bytes;
    }

    /// Bytes that files take, in whole pages.
    pub fn used(&self) -> u64 {
        self.state().image.used()
    }

    /// The disk after a power cut: of what was not synced, `seed` says what survived.
    #[must_use]
    pub fn after_power_cut(&self, seed: u64) -> SimDisk {
        SimDisk::of(self.state().image.after_power_cut(seed))
    }

    /// The disk as the next process finds it when this one was killed: nothing is lost, and nothing became durable.
    pub fn restart(&self) {
        let mut state = self.state();
        (state.dead, state.failed, state.locked, state.cut_at) = (false, false, false, None);
        state.faults.clear();
        state.image.remember_names();
    }

    /// A disk of its own in the same state, as the next process finds it when this one was killed.
    #[must_use]
    pub fn fork(&self) -> SimDisk {
        SimDisk::of(self.state().image.clone())
    }

    /// A disk of its own with the same live files, all durable.
    #[must_use]
    pub fn copy(&self) -> SimDisk {
        SimDisk::of(self.state().image.settled())
    }

    /// The names of all files, sorted.
    pub fn names(&self) -> Vec<String> {
        self.state().image.names()
    }

    /// The bytes of a file.
    ///
    /// # Panics
    /// When there is none.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.state().image.file(name).expect("the file exists").clone()
    }

    /// Puts these bytes on the disk as a file, durably.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.state().image.put(name, bytes);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no call panics")
    }

    /// Runs a call that changes nothing by itself.
    fn look<T>(&self, call: Call, run: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        match state.fate(call) {
            Fate::Done => run(&mut state),
            Fate::Cut | Fate::Dead => Err(power_cut()),
            Fate::Fails(kind) => Err(kind.into()),
        }
    }

    /// Runs a call that leaves something unsynced: when the power goes meanwhile, it may have happened.
    fn change<T>(&self, call: Call, run: impl FnOnce(&mut Image) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        match state.fate(call) {
            Fate::Done => run(&mut state.image),
            Fate::Cut => run(&mut state.image).and_then(|_| Err(power_cut())),
            Fate::Dead => Err(power_cut()),
            Fate::Fails(kind) => Err(kind.into()),
        }
    }

    fn file(&self, inode: usize) -> Box<dyn DiskFile> {
        Box::new(SimFile { disk: self.clone(), inode })
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        SimDisk::new()
    }
}

impl State {
    fn fate(&mut self, call: Call) -> Fate {
        if self.dead {
            return Fate::Dead;
        }
        let at = self.calls;
        self.calls += 1;
        if self.cut_at == Some(at) {
            self.dead = true;
            return Fate::Cut;
        }
        let mut failure = None;
        self.faults.retain_mut(|(which, before, kind)| {
            if *which != call {
                return true;
            }
            let now = *before == 0;
            *before = before.saturating_sub(1);
            if now {
                failure = Some(*kind);
            }
            !now
        });
        self.failed |= failure.is_some();
        failure.map_or(Fate::Done, Fate::Fails)
    }
}

fn power_cut() -> io::Error {
    io::Error::other("the power is cut")
}

impl Disk for SimDisk {
    fn location(&self) -> String {
        "sim".to_owned()
    }

    fn lock(&self) -> io::Result<Box<dyn DiskLock>> {
        self.look(Call::Lock, |state| {
            if std::mem::replace(&mut state.locked, true) {
                return Err(ErrorKind::WouldBlock.into());
            }
            Ok(Box::new(SimLock(self.clone())) as Box<dyn DiskLock>)
        })
    }

    /// Has one holder, too: no test looks at one disk twice at the same time.
    fn lock_shared(&self) -> io::Result<Box<dyn DiskLock>> {
        self.lock()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.look(Call::List, |state| Ok(state.image.names()))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.change(Call::Create, |image| image.create(name)).map(|inode| self.file(inode))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.look(Call::Open, |state| state.image.inode(name)).map(|inode| self.file(inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(Call::Rename, |image| image.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(Call::Remove, |image| image.remove(name))
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.change(Call::Truncate, |image| image.truncate(name, len))
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        match state.fate(Call::SyncDir) {
            Fate::Done => {
                state.image.sync_names();
                Ok(())
            }
            Fate::Cut | Fate::Dead => Err(power_cut()),
            Fate::Fails(kind) => {
                state.image.forget_unsynced_names();
                Err(kind.into())
            }
        }
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        self.disk.look(Call::Size, |state| Ok(state.image.live(self.inode).len() as u64))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.look(Call::Read, |state| {
            let bytes = state.image.live(self.inode);
            let from = bytes.get(offset as usize..).and_then(|rest| rest.get(..buffer.len()));
            buffer.copy_from_slice(from.ok_or(ErrorKind::UnexpectedEof)?);
            state.bytes_read += buffer.len() as u64;
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        let mut state = self.disk.state();
        let failure = match state.fate(Call::Write) {
            Fate::Done => None,
            Fate::Dead => return Err(power_cut()),
            Fate::Cut => Some(power_cut()),
            Fate::Fails(kind) => {
                // A write that fails has come part of the way.
                bytes.truncate(bytes.len() / 2);
                Some(kind.into())
            }
        };
        state.image.write(self.inode, Write { offset: offset as usize, bytes })?;
        failure.map_or(Ok(()), Err)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.disk.change(Call::Allocate, |image| image.allocate(self.inode, len as usize))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        match state.fate(Call::Sync) {
            Fate::Done => {
                state.image.sync(self.inode);
                Ok(())
            }
            Fate::Cut | Fate::Dead => Err(power_cut()),
            Fate::Fails(kind) => {
                state.image.forget_unsynced(self.inode);
                Err(kind.into())
            }
        }
    }
}

struct SimLock(SimDisk);

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

#[cfg(test)]
mod tests;
