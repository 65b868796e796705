//! What recovery found, for a log line, a metric and a person. Decides nothing.

use kvd_types::Revision;

/// What a directory held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The revision of the snapshot that was loaded, its R1.
    pub snapshot: Option<Revision>,
    /// Entries in it.
    pub snapshot_entries: u64,
    /// Newer snapshots that were damaged, each with what is wrong. Nothing was lost: the journal from the older one on
    /// is whole.
    pub snapshots_damaged: Vec<(String, String)>,
    /// Segments that were read.
    pub segments: u64,
    /// Bytes of records in them.
    pub journal_bytes: u64,
    /// Batches that were replayed, those of the snapshot's tail too.
    pub batches: u64,
    /// The newest revision found.
    pub last: Revision,
    /// The newest time found, in ms.
    pub now_ms: u64,
    /// What was written at the end and did not count.
    pub cut: Option<Cut>,
    /// The store was stopped in order, or is new.
    pub clean: bool,
    /// Where revisions went on after a stop that was not in order, as far as that is known; oldest first.
    pub jumps: Vec<Jump>,
}

/// Revisions that no commit has that is left: some may have been given and lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    /// The newest revision that was found.
    pub from: Revision,
    /// The one after which they went on.
    pub to: Revision,
}

impl Jump {
    /// Whether it passes over this revision.
    pub fn is_over(&self, revision: Revision) -> bool {
        self.from < revision && revision < self.to
    }
}

/// The unsynced end of a journal, which nobody was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// In which segment.
    pub file: String,
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}
