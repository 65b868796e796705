//! A directory of the operating system: std for files, rustix for what std has no call for. Nothing here retries a sync.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::disk::{Disk, DiskFile, DiskLock};

/// Held for as long as a process has the directory.
const LOCK: &str = "journal.lock";

/// A directory on a real disk.
#[derive(Clone, Debug)]
pub struct RealDisk {
    path: PathBuf,
}

impl RealDisk {
    /// The directory at `path`, which must exist.
    pub fn new(path: impl AsRef<Path>) -> RealDisk {
        RealDisk { path: path.as_ref().to_owned() }
    }
}

impl Disk for RealDisk {
    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn lock(&self) -> io::Result<Box<dyn DiskLock>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.path.join(LOCK))?;
        locked(file.try_lock())?;
        Ok(Box::new(RealLock { _file: Some(file) }))
    }

    fn lock_shared(&self) -> io::Result<Box<dyn DiskLock>> {
        let file = match File::open(self.path.join(LOCK)) {
            Ok(file) => file,
            // A copy of what a kvd has left: nobody has ever had it, and who comes now makes the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Box::new(RealLock { _file: None })),
            Err(error) => return Err(error),
        };
        locked(file.try_lock_shared())?;
        Ok(Box::new(RealLock { _file: Some(file) }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            // A name that is no UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        // All data is in it, and a directory that was there before may be open to others.
        options.create_new(true).read(true).write(true).mode(0o600);
        let file = options.open(self.path.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(File::open(self.path.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.path.join(name))?.set_len(len)
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

fn locked(tried: Result<(), TryLockError>) -> io::Result<()> {
    tried.map_err(|error| match error {
        TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        TryLockError::Error(error) => error,
    })
}

/// The kernel gives the lock back when the file closes, also when the process is killed.
struct RealLock {
    _file: Option<File>,
}

impl DiskLock for RealLock {}

struct RealFile(File);

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, mut offset: u64, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        // Takes empty parts off the front, so that nothing written means that the disk takes nothing.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match rustix::io::pwritev(&self.0, parts, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut parts, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            // Some file systems can't promise room without bytes: give them the bytes.
            Err(Errno::OPNOTSUPP) => write_zeros(self, len),
            done => Ok(done?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

fn write_zeros(file: &RealFile, len: u64) -> io::Result<()> {
    static BLOCK: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = file.size()?;
    while at < len {
        let count = (len - at).min(BLOCK.len() as u64);
        file.write_at(at, &mut [IoSlice::new(&BLOCK[..count as usize])])?;
        at += count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back_what_was_written_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path());
        let file = disk.create("a").unwrap();
        file.allocate(100).unwrap();
        file.write_at(3, &mut [IoSlice::new(b""), IoSlice::new(b"ab"), IoSlice::new(b"c"), IoSlice::new(b"")]).unwrap();
        file.sync().unwrap();
        disk.rename("a", "b").unwrap();
        disk.sync_dir().unwrap();
        let file = disk.open("b").unwrap();
        let mut bytes = [1; 6];
        file.read_at(2, &mut bytes).unwrap();
        assert_eq!((&bytes, file.size().unwrap()), (b"\0abc\0\0", 100));
        disk.truncate("b", 4).unwrap();
        assert_eq!(file.read_at(2, &mut bytes).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(disk.list().unwrap(), ["b"]);
    }

    #[test]
    fn files_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let _file = RealDisk::new(dir.path()).create("a").unwrap();
        let mode = dir.path().join("a").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }

    #[test]
    fn zeros_are_written_where_room_can_not_be_promised() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealFile(File::create_new(dir.path().join("a")).unwrap());
        write_zeros(&file, (64 << 10) + 5).unwrap();
        assert_eq!(file.size().unwrap(), (64 << 10) + 5);
    }

    #[test]
    fn a_directory_has_one_holder() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path());
        drop(disk.lock_shared().unwrap());
        assert!(disk.list().unwrap().is_empty(), "who only reads leaves nothing");
        let lock = disk.lock().unwrap();
        let other = RealDisk::new(dir.path());
        for tried in [other.lock(), other.lock_shared()] {
            assert_eq!(tried.err().map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
        }
        drop(lock);
        let readers = [disk.lock_shared().unwrap(), other.lock_shared().unwrap()];
        assert_eq!(disk.lock().err().map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
        drop(readers);
        disk.lock().unwrap();
    }
}
