//! The data directory as the process side sees it: the names of its files. Knows nothing of what is in them.

use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use rustix::fs::{Access, access};

use super::pidfile;

/// A data directory.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    dir: PathBuf,
}

impl Home {
    /// Names a directory, which need not exist.
    pub(crate) fn new(dir: &Path) -> Self {
        Home { dir: dir.to_owned() }
    }

    /// Makes the directory, for its owner alone, unless it exists; it must be one that this process can use.
    pub(crate) fn create(dir: &Path) -> anyhow::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("can't make the data directory {} (--data-dir names another)", dir.display()))?;
        // Told here, as what it is: else the first file that can't be written would have to tell.
        access(dir, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from).map_err(
            |error| {
                let advice = match error.kind() {
                    ErrorKind::ReadOnlyFilesystem => "mount it for writing",
                    ErrorKind::PermissionDenied => "give it to the user that kvd runs as",
                    _ => "see to that",
                };
                anyhow!(
                    "can't use the data directory {}: {error}; {advice}, or name another by --data-dir",
                    dir.display()
                )
            },
        )?;
        Ok(Home::new(dir))
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is said when no server is found by this directory, and how another one is.
    pub(super) fn not_running(&self) -> String {
        let nearby = pidfile::holder(&Home::new(Path::new("data")));
        let hint = match nearby {
            Ok(Some(_)) => "one is running with ./data: add --data-dir ./data",
            _ => "one with another directory is found by the --data-dir or --config that it was started with",
        };
        format!("kvd is not running with the data directory {}\n{hint}", self.dir.display())
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.dir.join("kvd.pid")
    }

    pub(crate) fn ready_file(&self) -> PathBuf {
        self.dir.join("kvd.ready")
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.dir.join("kvd.log")
    }
}
