//! Why the directory can't be used, why the journal can't go on, and why room was refused. Each error is a cause with a
//! stable code, and says what to do; who is told, and how, is the caller's business.

use std::io;

use kvd_types::Revision;

/// Something that stands in the way of the journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the directory.
    #[error("{location} is in use by another kvd: stop that one, or give this one a directory of its own")]
    InUse {
        /// The directory.
        location: String,
    },
    /// A file of a later version of kvd.
    #[error(
        "{file} has format {found}, this kvd reads up to {}: start it with the newer kvd that wrote it",
        crate::FORMAT
    )]
    NewerFormat {
        /// Which.
        file: String,
        /// Its version.
        found: u32,
    },
    /// A file does not hold what it was seen to hold, and no power cut can be the reason.
    #[error(
        "{file} is damaged at byte {offset}: {what}. Acknowledged writes may be lost, so kvd does not go on, and has changed \
         nothing; look at it with kvd check, and restore the directory from a backup or a replica"
    )]
    Damaged {
        /// Which.
        file: String,
        /// Where, in bytes.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// Batches were asked for that the journal does not have any more.
    #[error(
        "the journal begins after revision {begins}: commits after {after} are no longer kept, begin with a snapshot"
    )]
    Gone {
        /// After which revision they were to come.
        after: Revision,
        /// After which the journal begins.
        begins: Revision,
    },
    /// No room for a file that is needed.
    #[error("no space for {needed} bytes of {file}; nothing was changed. Free that much, then go on")]
    DiskFull {
        /// Which.
        file: String,
        /// How large it was to become, in bytes.
        needed: u64,
    },
    /// Who loads the data has not the memory for it.
    #[error(
        "the data takes {needed} bytes of memory, if not more, and {max} are allowed; nothing was changed. Allow as many"
    )]
    MemoryFull {
        /// What it takes, in bytes: as far as it was read, or as can be told beforehand.
        needed: u64,
        /// What is allowed, in bytes.
        max: u64,
    },
    /// The operating system refused.
    #[error("can't {action} {file}: {cause}{}", advice(cause))]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To which file.
        file: String,
        /// What the operating system says. Part of the message, so that it is no source to be printed once more.
        cause: io::Error,
    },
    /// An earlier write or sync failed. What waits is of unknown outcome, what comes is refused.
    #[error(
        "the journal has failed ({cause}): what is not on disk by now is of unknown outcome; mend the disk, then restart"
    )]
    Failed {
        /// The first failure.
        cause: String,
    },
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
    /// A batch has another revision than the next one.
    #[error("revision {found} was to be appended where {expected} is next")]
    OutOfOrder {
        /// The next revision.
        expected: Revision,
        /// What came.
        found: Revision,
    },
    /// A batch came without the reservation that was made for it.
    #[error("the batch of revision {revision} came without room of its own")]
    Unreserved {
        /// Its revision.
        revision: Revision,
    },
    /// A snapshot was to be finished whose last batches are not durable in the journal.
    #[error("the snapshot ends at revision {end}, but the journal is durable up to {durable}: sync it first")]
    NotDurable {
        /// The snapshot's R1.
        end: Revision,
        /// How far the journal is durable.
        durable: Revision,
    },
}

/// Why a reservation was not granted. Nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The flusher is to make room; ask again after its round, and once more if a larger wish was in the way.
    #[error("{needed} bytes wait for room in the journal")]
    Wait {
        /// What the write takes, in bytes.
        needed: u64,
    },
    /// The disk has no more room.
    #[error("the disk is full: {needed} bytes needed; nothing was changed. Free space, or delete keys")]
    DiskFull {
        /// What the write takes, in bytes.
        needed: u64,
    },
    /// Too many revisions are not on disk yet; ask again after a sync.
    #[error("the journal's sync is too far behind; nothing was changed")]
    Behind,
    /// The journal has failed or is closed.
    #[error("the journal takes no writes until restart; nothing was changed")]
    Failed,
}

impl Error {
    /// A stable name for scripts to compare.
    pub fn code(&self) -> &'static str {
        match self {
            Error::InUse { .. } => "directory-in-use",
            Error::NewerFormat { .. } => "newer-format",
            Error::Damaged { .. } => "damaged",
            Error::Gone { .. } => "gone",
            Error::DiskFull { .. } => "disk-full",
            Error::MemoryFull { .. } => "memory-full",
            Error::Io { cause, .. } => match cause.kind() {
                io::ErrorKind::ReadOnlyFilesystem => "read-only",
                io::ErrorKind::PermissionDenied => "permission-denied",
                _ => "io",
            },
            Error::Failed { .. } => "journal-failed",
            Error::Closed => "closed",
            Error::OutOfOrder { .. } => "out-of-order",
            Error::Unreserved { .. } => "unreserved",
            Error::NotDurable { .. } => "not-durable",
        }
    }

    pub(crate) fn damaged(file: &str, offset: u64, what: impl Into<String>) -> Error {
        Error::Damaged { file: file.to_owned(), offset, what: what.into() }
    }

    pub(crate) fn io(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> Error {
        move |cause| Error::Io { action, file: file.to_owned(), cause }
    }

    /// As [`io`](Error::io), but that a full disk is told as such.
    pub(crate) fn growing(action: &'static str, file: &str, needed: u64) -> impl FnOnce(io::Error) -> Error {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::DiskFull { file: file.to_owned(), needed }
            }
            _ => Error::Io { action, file: file.to_owned(), cause: source },
        }
    }
}

impl Refused {
    /// A stable name for scripts to compare.
    pub fn code(&self) -> &'static str {
        match self {
            Refused::Wait { .. } => "wait",
            Refused::DiskFull { .. } => "disk-full",
            Refused::Behind => "behind",
            Refused::Failed => "journal-failed",
        }
    }
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem => ". Mount it for writing, or use another directory",
        io::ErrorKind::PermissionDenied => ". Give the directory and its files to the user that kvd runs as",
        io::ErrorKind::NotFound => ". Create the directory first, and don't touch its files",
        _ => "",
    }
}
