//! What the client is told when a command was carried out. Refusals are [`Error`]s.

use bytes::Bytes;

use crate::{ContentType, Cursor, Error, ItemFailure, Key, Reason, Revision};

/// The answer to a [`Command`](crate::Command).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To a get, of now or of a revision, or to a peek.
    Got {
        /// What the key holds, if anything.
        entry: Option<Entry>,
        /// The key's own revision on a hit; on a miss a revision at which it was missing.
        revision: Revision,
    },
    /// To a multi-get.
    MultiGot {
        /// The one revision all of it was read at.
        revision: Revision,
        /// In the order of the command's keys.
        entries: Vec<Option<Entry>>,
    },
    /// To a set.
    Set {
        /// The commit's.
        revision: Revision,
        /// Whether the key had no value before.
        created: bool,
    },
    /// To a multi-set. Every item has the commit's revision.
    MultiSet {
        /// The commit's.
        revision: Revision,
        /// Keys that had no value before.
        created: usize,
        /// Keys that had one.
        replaced: usize,
    },
    /// To a delete.
    Deleted {
        /// The commit's; where nothing was deleted, the one at which the key was missing.
        revision: Revision,
        /// Whether the key had a value.
        found: bool,
    },
    /// To a multi-delete.
    MultiDeleted {
        /// The commit's; where nothing was deleted, the one at which all keys were missing.
        revision: Revision,
        /// Keys that had a value.
        deleted: usize,
        /// Keys that had none (a key named twice is missing the second time).
        missing: usize,
    },
    /// To a modify.
    Modified {
        /// The commit's; where nothing was changed, the newest one looked at.
        revision: Revision,
        /// What the key holds now, if anything.
        entry: Option<Entry>,
        /// Whether it was changed.
        changed: bool,
    },
    /// To a transfer.
    Transferred {
        /// The commit's; where nothing was changed, the newest one looked at.
        revision: Revision,
        /// What happened.
        outcome: Transferred,
    },
    /// To a transaction.
    Transaction {
        /// The commit's; where nothing was changed, the one that was read.
        revision: Revision,
        /// Checks that did not hold, by their position: the answers are those to `otherwise` if there are any, else those to
        /// `commands`.
        failed_checks: Vec<ItemFailure>,
        /// One for each command, in order. An error only where others were to go on.
        replies: Vec<Result<Reply, Error>>,
    },
    /// To a list.
    Page(Page),
    /// To a sorted list.
    SortedPage(SortedPage),
    /// To a clear.
    Cleared {
        /// The commit's.
        revision: Revision,
        /// Keys that went, those included whose time had come.
        deleted: u64,
    },
    /// To a history.
    History {
        /// The one revision all of it was read at.
        revision: Revision,
        /// Newest first. Empty where none is kept.
        versions: Vec<HistoryItem>,
    },
    /// To a rollback.
    RolledBack {
        /// The commit's.
        revision: Revision,
    },
}

/// One of the versions that are kept of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryItem {
    /// The commit it comes from.
    pub revision: Revision,
    /// Why the key has had no value from then on; none where it has had one.
    pub gone: Option<Reason>,
    /// The value's length in bytes; 0 without one.
    pub size: u64,
    /// When that was, in milliseconds since 1970 of the store's time; none of what was written while no history was kept.
    pub time_ms: Option<u64>,
}

/// What became of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transferred {
    /// The target has what the source had.
    Done,
    /// The source holds nothing.
    NoSource,
    /// The target has a value and was not to be replaced.
    TargetExists,
}

/// One version of a key: what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value, shared with the store.
    pub value: Bytes,
    /// None stands for [`ContentType::DEFAULT`].
    pub content_type: Option<ContentType>,
    /// When it goes by itself, in milliseconds since 1970 of the store's time; none for never.
    pub expires_at_ms: Option<u64>,
    /// The commit that wrote it.
    pub revision: Revision,
}

/// Part of a walk over the keys, all of one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The one revision all of it was read at.
    pub revision: Revision,
    /// In index order, which is no order of keys. May be empty although more follow.
    pub items: Vec<PageItem>,
    /// Where to go on; none when the walk has ended.
    pub cursor: Option<Cursor>,
}

/// Part of the keys in the order of their bytes, all of one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SortedPage {
    /// The one revision all of it was read at.
    pub revision: Revision,
    /// In the order of their bytes.
    pub items: Vec<PageItem>,
    /// What keys beside the items begin with, up to the delimiter and with it, in the order of their bytes.
    pub prefixes: Vec<Key<'static>>,
    /// What to go on after; none when nothing follows.
    pub after: Option<Key<'static>>,
}

/// One key of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageItem {
    /// The key.
    pub key: Key<'static>,
    /// What it holds.
    pub entry: Entry,
}
