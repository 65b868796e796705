//! The versions of a key that history keeps: listing them, putting them back when a store is loaded, walking through those of all
//! keys. Owns where a history begins and ends; which versions stay is `version`'s, how many the caller's to say.
//!
//! All of it happens under the lock of a bucket. A reader without it could go from a version to one that is not the next older
//! one any more: what was between may just have been let go of.

use kvd_types::Revision;

use super::record::Record;
use super::scan::Reordered;
use super::version::{self, At, Change, Newest, Node};
use super::word::{Removal, View, Word};
use super::{Hashed, Home, Index, Root, Target, root};
use crate::planted::{self, Bug};
use crate::reclaim::{Guard, Trash};

/// How far a history goes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Depth {
    /// Older versions than the newest.
    pub(crate) older: usize,
    /// It doesn't go back to a deletion of this revision or an earlier one.
    pub(crate) forgotten: u64,
}

/// The versions that are kept of a key.
#[derive(Default)]
pub(crate) struct Past<'g> {
    /// Newest first, without a gap.
    pub(crate) versions: Vec<Kept<'g>>,
    /// Whether older ones were dropped.
    pub(crate) is_cut: bool,
    /// How far it goes.
    pub(crate) depth: Depth,
}

/// One of them.
#[derive(Clone, Copy)]
pub(crate) struct Kept<'g> {
    /// The commit it comes from.
    pub(crate) revision: Revision,
    pub(crate) content: Content<'g>,
}

/// What a key has at a version.
#[derive(Clone, Copy)]
pub(crate) enum Content<'g> {
    Value(Record<'g>),
    Gone(Removal),
}

impl<'g> Past<'g> {
    /// The versions behind `head` from the newest that is not newer than `visible` on. Under the bucket's lock, where every node
    /// has its revision.
    fn of(head: Word, visible: Revision, depth: Depth, guard: &'g Guard<'_>) -> Past<'g> {
        let mut past = Past { depth, ..Past::default() };
        let mut next = head;
        loop {
            let (revision, content, old) = match next.view(guard) {
                View::Record(record) => (record.revision(), Content::Value(record), Word::EMPTY),
                View::Node(node) => {
                    let content = match node.new.view(guard) {
                        View::Record(record) => Content::Value(record),
                        View::Tombstone(removal) => Content::Gone(removal),
                        _ => unreachable!("a node is of a record or of a deletion"),
                    };
                    (Revision(node.revision()), content, node.old())
                }
                View::Dropped => {
                    past.is_cut = true;
                    return past;
                }
                View::Empty | View::Tombstone(_) | View::Link(_) => return past,
            };
            if revision <= visible {
                if matches!(content, Content::Gone(_)) && revision.0 <= depth.forgotten {
                    return past;
                }
                if past.versions.len() > depth.older {
                    past.is_cut = true;
                    return past;
                }
                past.versions.push(Kept { revision, content });
            }
            next = old;
        }
    }

    /// What the key had at a revision; none where no kept version is so old.
    pub(crate) fn at(&self, revision: Revision) -> Option<&Kept<'g>> {
        self.versions.iter().find(|version| version.revision <= revision)
    }
}

impl Index {
    /// What readers may see of a key's history. `look` says up to which revision that is and how deep it goes; it is asked under
    /// the lock. Returns that, the history, and the newest clear.
    pub(crate) fn history<'g>(
        &self,
        key: Hashed<'_>,
        look: impl Fn() -> (Revision, Depth),
        guard: &'g Guard<'_>,
    ) -> (Revision, Past<'g>, Revision) {
        loop {
            let (visible, _) = look();
            let root = root::resolve(&self.root, At(visible), guard);
            if planted::is(Bug::PastUnlocked) {
                let place = root.place(key, &self.hashing, guard);
                let (visible, depth) = look();
                let word = place.bucket.find(Word::tag_of(place.hash), key.key(), guard);
                return (visible, Past::of(word, visible, depth, guard), root.since());
            }
            let home = self.lock(root, key, guard);
            // Afresh: what came meanwhile may have pushed versions out, and every commit of the key up to this is done.
            let (visible, depth) = look();
            if !std::ptr::eq(root, root::resolve(&self.root, At(visible), guard)) {
                continue; // it was cleared, or all keys have moved
            }
            let past = home.past(self, key, visible, depth, guard);
            return (visible, past, root.since());
        }
    }

    /// All keys with the hashes of the bucket of `from`, from `from` on, deleted ones included, each with its history, newest
    /// commits included. Otherwise as `walk`.
    ///
    /// # Errors
    /// As `walk`.
    pub(crate) fn walk_histories<'g>(
        &self,
        from: u64,
        is_keyed: bool,
        depth: Depth,
        found: &mut Vec<(&'g [u8], Past<'g>)>,
        guard: &'g Guard<'_>,
    ) -> Result<Option<u64>, Reordered> {
        let root = self.root_to_walk(Newest, guard);
        if root.is_keyed != is_keyed {
            return Err(Reordered);
        }
        let (segment, locked) = root.table.lock(from, guard).ok_or(Reordered)?;
        locked.bucket.for_each_word(guard, |word| {
            let Some(record) = version::any_record(word, guard) else { return };
            let hash = self.hashing.place(self.hash(record.key()), is_keyed);
            // A bucket of a segment that grew meanwhile begins before.
            if hash >= from {
                found.push((record.key(), Past::of(word, Revision(u64::MAX), depth, guard)));
            }
        });
        Ok(segment.next_hash(segment.index_of(from), guard))
    }
}

impl<'g> Home<'g> {
    /// The root under which the key was looked for.
    pub(crate) fn root(&self) -> &'g Root {
        self.root
    }

    /// What readers may see of the history of a key that lives here.
    fn past(&self, index: &Index, key: Hashed<'_>, visible: Revision, depth: Depth, guard: &'g Guard<'_>) -> Past<'g> {
        match self.find(index, key, guard).0 {
            Some(target) => Past::of(target.slot.word(), visible, depth, guard),
            None => Past { depth, ..Past::default() },
        }
    }
}

impl<'g> Target<'g> {
    /// What is kept of the key, newest commits included, as it was before this commit.
    pub(crate) fn past(&self, depth: Depth, guard: &'g Guard<'_>) -> Past<'g> {
        Past::of(self.before, Revision(u64::MAX), depth, guard)
    }

    /// The newest commit that changed the key and is known here; 0 for a key that has no slot.
    pub(crate) fn head_revision(&self, guard: &Guard<'_>) -> Revision {
        Revision(version::head_revision(self.before, guard))
    }

    /// The deletion that the key's newest version is, after the commit.
    pub(crate) fn deleted_at(&self, guard: &Guard<'_>) -> Option<Revision> {
        version::deleted_at(self.slot.word(), guard)
    }

    /// Gives a slot that was empty the versions of a key, oldest first. Nobody else knows the store.
    pub(crate) fn fill(&self, versions: impl Iterator<Item = (Revision, Change)>, is_cut: bool, guard: &Guard<'_>) {
        let mut word = if is_cut { Word::DROPPED } else { Word::EMPTY };
        let mut bytes = 0;
        for (revision, change) in versions {
            let new = change.word(self.tag());
            if let Change::Put(draft) = change {
                let record = draft.publish();
                record.set_revision(revision);
                bytes += record.bytes();
            }
            if word.is_empty() && new.is_record() {
                word = new;
                continue;
            }
            let node = Node::new(new, word, None);
            word = Word::node(node, self.tag());
            version::set_head_revision(word, revision, guard);
            bytes += size_of::<Node>() as u64;
        }
        self.slot.store(word);
        self.root.count_held(bytes - version::newest_bytes(word, guard), 0);
    }

    /// Takes the key out with all its versions, at once. Nobody else knows the store.
    pub(crate) fn erase(&self, guard: &Guard<'_>, trash: &mut Trash) {
        let newest_bytes = version::newest_bytes(self.before, guard);
        self.slot.store(Word::EMPTY);
        let freed_bytes = version::retire_all(self.before, guard, trash);
        self.root.count_held(0, freed_bytes - newest_bytes);
    }

    /// For a mistake to be planted: the older version that has the value which a change brings.
    pub(crate) fn older_like(&self, change: &Change, guard: &'g Guard<'_>) -> Option<(Record<'g>, Revision)> {
        let Change::Put(draft) = change else { return None };
        let past = self.past(Depth { older: usize::MAX - 1, forgotten: 0 }, guard);
        let like = |kept: &Kept<'g>| match kept.content {
            Content::Value(record) if record.value() == draft.record().value() => Some((record, kept.revision)),
            _ => None,
        };
        past.versions.iter().skip(1).find_map(like)
    }

    /// A mistake to be planted: the slot takes a record that it had before, with the revision that it had.
    pub(crate) fn put_back(&self, record: Record<'_>, revision: Revision) {
        record.set_revision(revision);
        self.slot.store(Word::record(record, self.tag()));
    }
}
