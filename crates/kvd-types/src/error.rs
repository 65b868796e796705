//! Why a command was not carried out. An error is a cause with a stable code and properties; how a protocol words its
//! answer, and with which status, is the wire's business.

use crate::{Etag, Key, LimitExceeded, Revision};

/// A command that was refused: nothing of it has happened. But for one, [`OutcomeUnknown`](Error::OutcomeUnknown).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Every key was required and some are missing.
    #[error("{} of {total} keys are missing", missing.len())]
    Missing {
        /// Positions of the missing keys in the command.
        missing: Vec<usize>,
        /// Keys in the command.
        total: usize,
    },
    /// A condition did not hold.
    #[error("{} of {total} items failed their condition; nothing was changed", failures.len())]
    PreconditionFailed {
        /// Which, and what was found instead.
        failures: Vec<ItemFailure>,
        /// Items in the command.
        total: usize,
    },
    /// One key was given two values at once.
    #[error("items {first} and {second} name the same key; nothing was changed")]
    DuplicateKey {
        /// Position of the first item with the key.
        first: usize,
        /// Position of the second.
        second: usize,
    },
    /// A batch without items.
    #[error("a batch needs at least one item")]
    EmptyBatch,
    /// Something is larger than the configured limit.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// The cursor is of another store, of this one before it was restarted, or of before its keys were put into another order.
    #[error("the cursor is of another store, or of another order of its keys; begin the walk again without a cursor")]
    StaleCursor,
    /// The state that a transaction, a list or an export was reading is no longer kept: it grew too old, or memory ran short.
    #[error("the state of revision {revision} is no longer kept; begin again at the newest")]
    SnapshotTooOld {
        /// The revision that was read.
        revision: Revision,
    },
    /// Old versions are asked for, and none are kept.
    #[error(
        "this store keeps no older versions; start it with --history N, or history.versions in its configuration, to keep N of \
         each key from then on"
    )]
    HistoryOff,
    /// What the key had at a revision is no longer known.
    #[error("what the key had at revision {revision} is no longer kept; its history tells which versions are")]
    VersionDropped {
        /// The revision that was asked for.
        revision: Revision,
    },
    /// A rollback to a revision at which the key had no value.
    #[error("the key had no value at revision {revision}; nothing was changed")]
    NoVersion {
        /// The revision that was asked for.
        revision: Revision,
    },
    /// A revision that no commit has yet.
    #[error("revision {revision} has not been given yet; the newest is {newest}")]
    FutureRevision {
        /// The revision that was asked for.
        revision: Revision,
        /// The newest one.
        newest: Revision,
    },
    /// A key that a transaction has read was changed by another commit. Nothing of the transaction has happened.
    #[error("{} of the keys this transaction read have changed since; nothing was changed, begin it again", keys.len())]
    Conflict {
        /// Which keys.
        keys: Vec<Key<'static>>,
    },
    /// A command that a transaction of this mode can't carry out.
    #[error("{what}")]
    NotInTransaction {
        /// What it was and what to do instead.
        what: &'static str,
    },
    /// A value that was to be added to is no decimal integer of 64 bits.
    #[error("the value is not a decimal integer of 64 bits; nothing was changed")]
    NotAnInteger,
    /// A value that was to be added to is no decimal number.
    #[error("the value is not a decimal number; nothing was changed")]
    NotANumber,
    /// A sum does not fit.
    #[error("the sum is out of range; nothing was changed")]
    Overflow,
    /// A command of a transaction failed, and so nothing of the transaction has happened.
    #[error("operation {index}: {error}")]
    OperationFailed {
        /// Position of the command; `otherwise` counts on after `commands`.
        index: usize,
        /// What was wrong with it.
        error: Box<Error>,
    },
    /// All places for open transactions are taken.
    #[error("{max} transactions are open, which is the most there may be; end one, or wait")]
    TooManyTransactions {
        /// The limit.
        max: usize,
    },
    /// There is no room for what was to be written. Deletes still work.
    #[error(
        "memory is full: {needed} bytes needed, {used} of {max} in use; nothing was changed. Delete keys, raise the limit \
         (memory.max), or let keys of little use make room (memory.policy = \"evict\")"
    )]
    MemoryFull {
        /// What the write would have taken, in bytes.
        needed: u64,
        /// What is in use, in bytes.
        used: u64,
        /// The limit, in bytes.
        max: u64,
    },
    /// There is no room on the disk. Deletes still work as long as some is left for them.
    #[error("the disk is full: {needed} bytes needed; nothing was changed. Free space on it, or delete keys")]
    DiskFull {
        /// What the write would have taken, in bytes.
        needed: u64,
    },
    /// A write to the disk has failed: until a restart no write is taken, and reads go on.
    #[error("the journal has failed and takes no writes until the server is restarted; nothing was changed")]
    JournalFailed,
    /// A write to the disk has failed while the command waited for it.
    #[error(
        "the journal failed before this was known to be on disk: it may or may not be there after a restart; look before \
         you try again"
    )]
    OutcomeUnknown,
    /// The store is stopping.
    #[error("the store is closed")]
    Closed,
}

/// An item whose condition did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemFailure {
    /// Position of the item in the command.
    pub index: usize,
    /// The key's current version; none when it is absent.
    pub have: Option<Etag>,
}

impl Error {
    /// A stable name for scripts to compare.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Missing { .. } => "not-found",
            Error::PreconditionFailed { .. } => "precondition-failed",
            Error::DuplicateKey { .. } => "duplicate-key",
            Error::EmptyBatch => "empty-batch",
            Error::LimitExceeded(_) => "limit-exceeded",
            Error::StaleCursor => "stale-cursor",
            Error::SnapshotTooOld { .. } => "snapshot-too-old",
            Error::HistoryOff => "history-off",
            Error::VersionDropped { .. } => "version-dropped",
            Error::NoVersion { .. } => "not-found",
            Error::FutureRevision { .. } => "future-revision",
            Error::Conflict { .. } => "conflict",
            Error::NotInTransaction { .. } => "not-in-transaction",
            Error::NotAnInteger => "not-an-integer",
            Error::NotANumber => "not-a-number",
            Error::Overflow => "overflow",
            Error::OperationFailed { error, .. } => error.code(),
            Error::TooManyTransactions { .. } => "too-many-transactions",
            Error::MemoryFull { .. } => "memory-full",
            Error::DiskFull { .. } => "disk-full",
            Error::JournalFailed => "journal-failed",
            Error::OutcomeUnknown => "outcome-unknown",
            Error::Closed => "closed",
        }
    }

    /// Whether the same command can succeed later without being changed.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Error::OperationFailed { error, .. } if error.is_retryable()
        ) || matches!(
            self,
            Error::Closed
                | Error::Conflict { .. }
                | Error::TooManyTransactions { .. }
                | Error::MemoryFull { .. }
                | Error::DiskFull { .. }
                | Error::JournalFailed
        )
    }
}
