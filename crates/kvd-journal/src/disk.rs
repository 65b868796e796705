//! What the journal asks of a disk: files of one directory, and when what is written may be relied on. A seam for tests,
//! which bring a disk that loses power; knows nothing of what is in the files.

use std::io::{self, IoSlice};

/// A directory of files. Names are relative to it, without `/`.
///
/// Making, renaming and removing a file is durable after [`sync_dir`](Disk::sync_dir), its bytes after
/// [`DiskFile::sync`]; before that a power cut may lose each of them alone, in any order.
///
/// # Errors
/// Each method has those of the file system, told by [`io::ErrorKind`]: `StorageFull`, `PermissionDenied` and so on.
pub trait Disk: Send + Sync {
    /// The directory, as people know it; for messages.
    fn location(&self) -> String;

    /// Takes the directory for this process, until the lock is dropped.
    ///
    /// # Errors
    /// `WouldBlock` when another one has it.
    fn lock(&self) -> io::Result<Box<dyn DiskLock>>;

    /// Keeps the directory from those who [`lock`](Disk::lock) it, until the lock is dropped; for who only reads, also where
    /// nothing can be written. Others may do the same at the same time.
    ///
    /// # Errors
    /// `WouldBlock` when another one has it.
    fn lock_shared(&self) -> io::Result<Box<dyn DiskLock>>;

    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file, to be read and written.
    ///
    /// # Errors
    /// `AlreadyExists` when there is one.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file to read it.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, and takes the place of what has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Cuts a file to `len` bytes.
    fn truncate(&self, name: &str, len: u64) -> io::Result<()>;

    /// Makes the names of all files durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// An open file. Offsets and lengths are in bytes.
///
/// # Errors
/// As for [`Disk`].
pub trait DiskFile: Send + Sync {
    /// Its length.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes the parts, one after the other, from `offset` on.
    fn write_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()>;

    /// Makes the file `len` bytes long, in zeros, with room on the disk for each of them.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes its bytes and its length durable.
    fn sync(&self) -> io::Result<()>;
}

/// Holds a directory for a process.
pub trait DiskLock: Send + Sync {}
