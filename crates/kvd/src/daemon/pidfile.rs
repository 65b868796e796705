//! One server per data directory: the pid file and its lock.
//!
//! The lock is a POSIX record lock: the kernel drops it when the process ends, however that happens, and tells who
//! holds it without taking it. So a file left behind is no obstacle, a recycled process id is never mistaken for a
//! server, and asking never gets in the way of one that is starting. (`flock` can only be asked by trying to lock.)
//! What is written in the file is for people.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};

use super::Home;

/// The right to serve a data directory; ends with the value, or with the process.
///
/// Closing any handle of the file would drop a POSIX lock, so this process opens it only here.
#[derive(Debug)]
pub(crate) struct PidFile {
    /// Holds the lock.
    _file: File,
    path: PathBuf,
    ready_path: PathBuf,
}

impl PidFile {
    /// Takes the lock and writes this process's id.
    ///
    /// # Errors
    /// When another server has the lock, and when the file can't be written.
    pub(crate) fn acquire(home: &Home) -> anyhow::Result<Self> {
        let path = home.pid_file();
        let mut file = lock(home).with_context(|| format!("can't use the pid file {}", path.display()))?;
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        // What a killed server left behind: it names another server's addresses.
        remove_if_present(&home.ready_file())?;
        Ok(PidFile { _file: file, path, ready_path: home.ready_file() })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        for path in [&self.ready_path, &self.path] {
            if let Err(error) = remove_if_present(path) {
                tracing::warn!("{error:#}");
            }
        }
    }
}

/// The process that serves the data directory, if one does.
pub(super) fn holder(home: &Home) -> anyhow::Result<Option<Pid>> {
    let path = home.pid_file();
    let context = || format!("can't read the pid file {}", path.display());
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(context)?,
    };
    let wanted = Flock::from(FlockType::WriteLock);
    match fcntl_getlk(&file, &wanted).with_context(context)? {
        None => Ok(None),
        Some(held) => match held.pid {
            Some(pid) => Ok(Some(pid)),
            None => bail!("{} is locked by a process of another container or machine", path.display()),
        },
    }
}

fn lock(home: &Home) -> anyhow::Result<File> {
    let path = home.pid_file();
    loop {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o644).open(&path)?;
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::AGAIN | Errno::ACCESS) => match holder(home)? {
                Some(pid) => bail!("kvd is already running with this data directory (pid {})", pid.as_raw_nonzero()),
                None => continue,
            },
            locked => locked?,
        }
        // A server that ended between the two calls has removed the file: its name is now nobody's, or another's.
        if is_at(&file, &path)? {
            return Ok(file);
        }
    }
}

fn is_at(file: &File, path: &Path) -> std::io::Result<bool> {
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (file.metadata()?.dev(), file.metadata()?.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn remove_if_present(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_clears_away_what_a_killed_server_said_and_its_end_clears_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        fs::write(home.ready_file(), "{}").unwrap();
        fs::write(home.pid_file(), "4194304, a longer number than ours\n").unwrap();
        let pid_file = PidFile::acquire(&home).unwrap();
        assert!(!home.ready_file().exists());
        assert_eq!(fs::read_to_string(home.pid_file()).unwrap(), format!("{}\n", std::process::id()));
        drop(pid_file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_on_a_file_that_has_lost_its_name_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kvd.pid");
        let file = File::create(&path).unwrap();
        assert!(is_at(&file, &path).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!is_at(&file, &path).unwrap());
        File::create(&path).unwrap();
        assert!(!is_at(&file, &path).unwrap());
    }
}
