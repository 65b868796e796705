//! What a key holds before a commit, under the lock of its home. Knows nothing of what is to be decided by it.

use kvd_types::Revision;

use crate::index::{Change, Depth, Hashed, Home, Index, Past, Root, Target, Version};
use crate::planted::{self, Bug};
use crate::reclaim::Guard;
use crate::sequence::Delta;
use crate::uses::Uses;

/// A key's state before a commit.
pub(crate) struct Current<'g> {
    pub(crate) target: Option<Target<'g>>,
    /// What is stored, expired or not.
    pub(crate) newest: Option<Version<'g>>,
    /// What readers would find.
    pub(crate) alive: Option<Version<'g>>,
    /// Where it was looked for.
    root: &'g Root,
    guard: &'g Guard<'g>,
}

impl<'g> Current<'g> {
    pub(crate) fn find(
        index: &Index,
        home: &Home<'g>,
        key: Hashed<'_>,
        now_ms: u64,
        guard: &'g Guard<'_>,
    ) -> Current<'g> {
        let (target, newest) = home.find(index, key, guard);
        let alive = newest.filter(|version| !version.record.is_expired(now_ms));
        Current { target, newest, alive, root: home.root(), guard }
    }

    /// What is kept of the key's past, newest commits included, and the newest clear.
    pub(crate) fn past(&self, depth: Depth) -> (Past<'g>, Revision) {
        let empty = Past { depth, ..Past::default() };
        (self.target.map_or(empty, |target| target.past(depth, self.guard)), self.root.since())
    }

    /// When what was judged alive goes by itself.
    pub(crate) fn ends_at_ms(&self) -> Option<u64> {
        self.alive?.record.expires_at_ms()
    }

    /// An overwrite is a use of its key. A new key was asked for before, if someone uses it, and is not counted twice.
    pub(crate) fn note_use(&self, change: &Change, key: Hashed<'_>, uses: &mut Uses) {
        if self.alive.is_some() && matches!(change, Change::Put(_)) {
            uses.note(key.fast());
        }
    }

    /// What `change` does to the sizes here. By what is stored, not by what the reply says: an expired key counts until it is
    /// removed or overwritten.
    pub(crate) fn count(&self, change: &Change, delta: &mut Delta) {
        let gone = if planted::is(Bug::CountedByReply) { self.alive } else { self.newest };
        delta.replace(gone.map(|version| version.record), change);
    }
}
