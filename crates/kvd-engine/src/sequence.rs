//! The one order of all commits: gives out revisions. Knows nothing of keys; that a revision is taken only while all locks of
//! its commit are held is `write`'s part.

use std::sync::atomic::{AtomicU64, Ordering};

use kvd_types::Revision;

/// The last revision given out.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct Sequence(AtomicU64);

impl Sequence {
    /// The next revision, for a commit that holds all its locks and can't fail any more.
    pub(crate) fn next(&self) -> Revision {
        // AcqRel: pairs with the load in `last`: who sees this revision sees what was committed before it was taken.
        Revision(self.0.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// The last revision given out.
    pub(crate) fn last(&self) -> Revision {
        // Acquire: pairs with `next`.
        Revision(self.0.load(Ordering::Acquire))
    }
}
