//! What is to be known of the past: every commit there was, and from them what a history has that goes so far back. As simple as
//! can be, so that a store's answers can be compared with it. Knows effects and revisions alone.

use std::collections::BTreeMap;

use kvd_types::{Effect, Entry, Error, HistoryItem, Key, Reason, Revision};

/// All commits of a store, of those that survived.
#[derive(Clone, Debug, Default)]
pub struct Chronicle {
    commits: BTreeMap<u64, Commit>,
    /// Revisions that were passed over: behind the first, before the second.
    jumps: Vec<(u64, u64)>,
}

#[derive(Clone, Debug)]
struct Commit {
    time_ms: u64,
    effects: Vec<Effect<'static>>,
}

/// How far a history goes back.
#[derive(Clone, Copy, Debug)]
pub struct Depth {
    /// Versions beside the newest.
    pub older: usize,
    /// Deletions after which one is forgotten.
    pub deletions: usize,
}

/// A version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    revision: Revision,
    time_ms: u64,
    /// What it has; or why nothing.
    content: Result<Entry, Reason>,
}

/// What is kept of a key.
struct Kept {
    /// Newest first.
    versions: Vec<Version>,
    /// Whether older ones were pushed out.
    is_cut: bool,
    /// Of keys without a version it is known from here on that they had none.
    begin: u64,
}

impl Chronicle {
    /// A commit, at this time; 0 for one that is not kept.
    pub fn commit(&mut self, revision: Revision, time_ms: u64, effects: Vec<Effect<'static>>) {
        self.commits.insert(revision.0, Commit { time_ms, effects });
    }

    /// At a start the store was found with nothing newer than `last`, and went on after `next`. May be told again.
    pub fn resume(&mut self, last: Revision, next: Revision) {
        let is_lost = |revision: u64| last.0 < revision && revision <= next.0;
        self.commits.retain(|revision, _| !is_lost(*revision));
        if !self.jumps.contains(&(last.0, next.0)) {
            self.jumps.push((last.0, next.0));
        }
    }

    fn kept(&self, key: &Key<'_>, depth: Depth, newest: Revision) -> Kept {
        // A deletion that is not seen yet is not forgotten either.
        let forgotten = self.forgotten(depth).min(newest.0);
        let cleared = self.cleared(newest);
        let mut kept = Kept { versions: Vec::new(), is_cut: false, begin: forgotten.max(cleared) };
        for version in self.versions(key, cleared, newest) {
            if version.content.is_err() && version.revision.0 <= forgotten {
                break;
            }
            if kept.versions.len() > depth.older {
                kept.is_cut = true;
                break;
            }
            kept.versions.push(version);
        }
        kept
    }

    /// All versions of a key after a clear, newest first.
    fn versions(&self, key: &Key<'_>, cleared: u64, newest: Revision) -> impl Iterator<Item = Version> {
        self.commits.range(cleared..=newest.0).rev().flat_map(move |(revision, commit)| {
            let revision = Revision(*revision);
            let content = |effect: &Effect<'static>| match effect {
                Effect::Put { key: put, value, content_type, expires_at_ms } if put == key => Some(Ok(Entry {
                    value: value.clone(),
                    content_type: content_type.clone(),
                    expires_at_ms: *expires_at_ms,
                    revision,
                })),
                Effect::Delete { key: deleted, reason } if deleted == key => Some(Err(*reason)),
                _ => None,
            };
            let contents: Vec<_> = commit.effects.iter().filter_map(content).collect();
            contents.into_iter().map(move |content| Version { revision, time_ms: commit.time_ms, content })
        })
    }

    /// The newest deletion that is forgotten.
    fn forgotten(&self, depth: Depth) -> u64 {
        let is_deletion = |effect: &&Effect<'_>| matches!(effect, Effect::Delete { .. });
        let deletions: Vec<u64> = self
            .commits
            .iter()
            .flat_map(|(revision, commit)| commit.effects.iter().filter(is_deletion).map(|_| *revision))
            .collect();
        deletions.len().checked_sub(depth.deletions + 1).map_or(0, |at| deletions[at])
    }

    /// The newest clear.
    fn cleared(&self, newest: Revision) -> u64 {
        let clears = self.commits.range(..=newest.0).filter(|(_, commit)| commit.effects.contains(&Effect::Clear));
        clears.map(|(revision, _)| *revision).max().unwrap_or(0)
    }

    /// The versions of a key, newest first, for who sees commits up to `newest`.
    pub fn history(&self, key: &Key<'_>, depth: Depth, newest: Revision) -> Vec<HistoryItem> {
        let item = |version: Version| HistoryItem {
            revision: version.revision,
            gone: version.content.as_ref().err().copied(),
            size: version.content.as_ref().map_or(0, |entry| entry.value.len() as u64),
            time_ms: (version.time_ms > 0).then_some(version.time_ms),
        };
        self.kept(key, depth, newest).versions.into_iter().map(item).collect()
    }

    /// What a key had at a revision, for who sees commits up to `newest`.
    ///
    /// # Errors
    /// It is not known.
    pub fn at(
        &self,
        key: &Key<'_>,
        revision: Revision,
        depth: Depth,
        newest: Revision,
    ) -> Result<Option<Entry>, Error> {
        if revision > newest {
            return Err(Error::FutureRevision { revision, newest });
        }
        let kept = self.kept(key, depth, newest);
        let is_passed_over = self.jumps.iter().any(|(from, to)| *from < revision.0 && revision.0 < *to);
        match kept.versions.iter().find(|version| version.revision <= revision) {
            _ if is_passed_over => Err(Error::VersionDropped { revision }),
            Some(version) => Ok(version.content.clone().ok()),
            None if kept.is_cut || revision.0 < kept.begin => Err(Error::VersionDropped { revision }),
            None => Ok(None),
        }
    }
}

impl Chronicle {
    /// Whether a store may have let go of what it would need to say that the key had nothing at a revision before its oldest
    /// version: as many as are kept are newer than a deletion that is forgotten. It was pushed out, or forgotten before.
    pub fn may_be_cut(&self, key: &Key<'_>, depth: Depth, newest: Revision) -> bool {
        self.kept(key, depth, newest).versions.len() > depth.older
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEEP: Depth = Depth { older: 2, deletions: 1 };

    fn key(name: &'static str) -> Key<'static> {
        Key::new(name.as_bytes()).unwrap()
    }

    fn put(name: &'static str) -> Effect<'static> {
        Effect::Put { key: key(name), value: name.into(), content_type: None, expires_at_ms: None }
    }

    fn delete(name: &'static str) -> Effect<'static> {
        Effect::Delete { key: key(name), reason: Reason::Asked }
    }

    fn revisions(chronicle: &Chronicle, name: &'static str, newest: u64) -> Vec<u64> {
        let items = chronicle.history(&key(name), DEEP, Revision(newest));
        items.into_iter().map(|item| item.revision.0).collect()
    }

    #[test]
    fn the_chronicle_knows_what_is_pushed_out_forgotten_cleared_and_passed_over() {
        let mut chronicle = Chronicle::default();
        let history = [put("a"), put("a"), delete("a"), put("b"), put("a"), delete("b"), Effect::Clear, put("a")];
        let at = |chronicle: &Chronicle, name, revision, newest| {
            let found = chronicle.at(&key(name), Revision(revision), DEEP, Revision(newest));
            found.map(|entry| entry.map(|entry| entry.revision.0))
        };
        let dropped = |revision| Err(Error::VersionDropped { revision: Revision(revision) });
        for (revision, effect) in (1..).zip(history) {
            chronicle.commit(Revision(revision), 7, vec![effect]);
            match revision {
                3 => assert_eq!(revisions(&chronicle, "a", 3), [3, 2, 1]),
                5 => {
                    assert_eq!(revisions(&chronicle, "a", 5), [5, 3, 2], "one is pushed out");
                    assert_eq!((at(&chronicle, "a", 4, 5), at(&chronicle, "a", 1, 5)), (Ok(None), dropped(1)));
                    assert_eq!(at(&chronicle, "b", 3, 5), Ok(None));
                }
                6 => {
                    assert_eq!(revisions(&chronicle, "a", 6), [5], "the deletion of revision 3 is forgotten");
                    assert_eq!((at(&chronicle, "a", 2, 6), at(&chronicle, "a", 4, 6)), (dropped(2), Ok(None)));
                    assert_eq!(at(&chronicle, "b", 1, 6), dropped(1));
                }
                _ => {}
            }
        }
        assert_eq!(revisions(&chronicle, "a", 8), [8]);
        assert_eq!((at(&chronicle, "a", 6, 8), at(&chronicle, "a", 7, 8)), (dropped(6), Ok(None)));
        assert_eq!(at(&chronicle, "a", 8, 8), Ok(Some(8)));
        let future = Error::FutureRevision { revision: Revision(9), newest: Revision(8) };
        assert_eq!(at(&chronicle, "a", 9, 8), Err(future));
        chronicle.resume(Revision(7), Revision(20));
        assert_eq!(revisions(&chronicle, "a", 20), [0u64; 0]);
        assert_eq!((at(&chronicle, "a", 8, 20), at(&chronicle, "a", 20, 20)), (dropped(8), Ok(None)));
    }
}
