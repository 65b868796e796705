//! What a store may hold after a crash. The oracle knows every commit that was tried, which of them were acknowledged,
//! and says whether what recovery found is one of the states that were promised. The replica is a store as simple as the
//! rule of replay allows. Both know effects and revisions alone, no file.

use std::collections::BTreeMap;

use bytes::Bytes;
use kvd_journal::{Entry, Error, Group, Load, Share, Snapshot};
use kvd_types::{ContentType, Effect, Epoch, Revision};

/// What a key has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The commit it comes from.
    pub revision: Revision,
    /// Its value.
    pub value: Bytes,
    /// Stored with it.
    pub content_type: Option<ContentType>,
    /// When it goes.
    pub expires_at_ms: Option<u64>,
}

/// All keys.
pub type State = BTreeMap<Vec<u8>, Version>;

/// A store that is built by replay.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// What it holds.
    pub state: State,
}

/// What was promised to whom.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// What the store resumed with, or nothing.
    base: State,
    /// The newest commits that recoveries have found since then.
    found: Vec<u64>,
    /// Commits since then, refused ones not among them.
    tried: BTreeMap<u64, Vec<Effect<'static>>>,
    /// The newest revision that someone was told is safe.
    acknowledged: u64,
    /// The newest revision that was ever given.
    given: u64,
}

impl Replica {
    /// Puts a key as a snapshot has it.
    pub fn load(&mut self, key: &[u8], version: Version) {
        self.state.insert(key.to_vec(), version);
    }

    /// Applies a batch: an effect counts if its revision is above the key's, and a clear takes only what is older.
    pub fn apply(&mut self, revision: Revision, effects: &[Effect<'_>]) {
        for effect in effects {
            match effect {
                Effect::Clear => self.state.retain(|_, version| version.revision > revision),
                Effect::Put { key, .. } | Effect::Delete { key, .. } => {
                    if self.state.get(key.as_bytes()).is_none_or(|version| version.revision < revision) {
                        apply(&mut self.state, revision, effect);
                    }
                }
            }
        }
    }
}

/// What a directory holds, by the rule of replay and nothing else.
impl Load for Replica {
    fn begin(&mut self, _epoch: Epoch, snapshot: Option<&Snapshot>) -> Result<(), Error> {
        self.state.clear();
        let Some(snapshot) = snapshot else { return Ok(()) };
        for index in 0..snapshot.chunks_count() {
            for entry in snapshot.chunk(index)?.entries() {
                let Entry { key, value, content_type, expires_at_ms, revision } = entry?;
                self.load(key.as_bytes(), Version { revision, value, content_type, expires_at_ms });
            }
        }
        Ok(())
    }

    fn group(&mut self, group: Group, _replayed: Share) -> Result<(), Error> {
        group.commits(&mut |commit| {
            self.apply(commit.revision, &commit.effects);
            Ok(())
        })
    }
}

impl Oracle {
    /// A commit got its revision; from now on it may survive.
    ///
    /// # Panics
    /// When the revision was given before.
    pub fn tried(&mut self, revision: Revision, effects: Vec<Effect<'static>>) {
        assert!(revision.0 > self.given, "revision {revision} is given twice, {} was given already", self.given);
        self.given = revision.0;
        self.tried.insert(revision.0, effects);
    }

    /// All commits up to this one are promised to survive.
    pub fn acknowledged(&mut self, revision: Revision) {
        self.acknowledged = self.acknowledged.max(revision.0);
    }

    /// The newest revision that was promised to survive.
    pub fn promised(&self) -> Revision {
        Revision(self.acknowledged)
    }

    /// Recovery found this state, and `last` as the newest revision. Until the store has resumed, a further crash may
    /// still leave more or less than that.
    ///
    /// # Errors
    /// What was promised otherwise.
    pub fn recovered(&mut self, last: Revision, found: &State) -> Result<(), String> {
        if last.0 < self.acknowledged {
            return Err(format!("the newest revision is {last}, but {} was acknowledged", self.acknowledged));
        }
        // A revision that was never given is that of a resumption which a crash has ended: it went on from what was
        // found then.
        let ends = if last.0 > self.given { self.found.clone() } else { vec![last.0] };
        let mut told = format!("revision {last} was never given");
        for end in ends {
            match difference(&self.state_at(end), found) {
                None => {
                    self.found.push(end);
                    return Ok(());
                }
                Some(difference) => told = format!("at revision {end} {difference}"),
            }
        }
        Err(told)
    }

    /// The store goes on after this revision, and that and all it found is durable.
    ///
    /// # Errors
    /// Later ones were given.
    ///
    /// # Panics
    /// Before anything was recovered.
    pub fn resumed(&mut self, last: Revision) -> Result<(), String> {
        if last.0 < self.given {
            return Err(format!("revisions go on after {last}, but {} was given already", self.given));
        }
        self.base = self.state_at(*self.found.last().expect("a store recovers before it resumes"));
        self.tried.clear();
        self.found.clear();
        (self.given, self.acknowledged) = (last.0, last.0);
        Ok(())
    }

    fn state_at(&self, end: u64) -> State {
        let mut state = self.base.clone();
        for (revision, effects) in self.tried.range(..=end) {
            effects.iter().for_each(|effect| apply(&mut state, Revision(*revision), effect));
        }
        state
    }
}

/// In order, each effect is simply the newest.
fn apply(state: &mut State, revision: Revision, effect: &Effect<'_>) {
    match effect {
        Effect::Put { key, value, content_type, expires_at_ms } => {
            let (value, content_type, expires_at_ms) = (value.clone(), content_type.clone(), *expires_at_ms);
            state.insert(key.as_bytes().to_vec(), Version { revision, value, content_type, expires_at_ms });
        }
        Effect::Delete { key, .. } => {
            state.remove(key.as_bytes());
        }
        Effect::Clear => state.clear(),
    }
}

fn difference(expected: &State, found: &State) -> Option<String> {
    let keys = expected.keys().chain(found.keys());
    let key = keys.into_iter().find(|key| expected.get(*key) != found.get(*key))?;
    let told = |state: &State| {
        state.get(key).map_or("absent".to_owned(), |version| {
            format!("revision {}, {} bytes, expires {:?}", version.revision, version.value.len(), version.expires_at_ms)
        })
    };
    Some(format!("key {:?} is {}, and should be {}", key.escape_ascii().to_string(), told(found), told(expected)))
}

#[cfg(test)]
mod tests {
    use kvd_types::{Key, Reason};

    use super::*;

    fn put(key: &'static str, value: &'static str) -> Effect<'static> {
        let key = Key::new(key.as_bytes()).unwrap();
        Effect::Put { key, value: value.into(), content_type: None, expires_at_ms: None }
    }

    fn delete(key: &'static str) -> Effect<'static> {
        Effect::Delete { key: Key::new(key.as_bytes()).unwrap(), reason: Reason::Asked }
    }

    fn state_of(batches: &[(u64, Effect<'static>)]) -> State {
        let mut replica = Replica::default();
        batches.iter().for_each(|(revision, effect)| replica.apply(Revision(*revision), std::slice::from_ref(effect)));
        replica.state
    }

    #[test]
    fn a_replica_leaves_alone_what_is_newer() {
        let newer = |key| (9, put(key, "new"));
        assert_eq!(state_of(&[newer("a"), (5, put("a", "old"))]), state_of(&[newer("a")]));
        assert_eq!(state_of(&[newer("a"), (5, delete("a"))]), state_of(&[newer("a")]));
        assert_eq!(state_of(&[newer("a"), (3, put("b", "old")), (5, Effect::Clear)]), state_of(&[newer("a")]));
    }

    #[test]
    fn the_oracle_allows_each_prefix_from_what_was_acknowledged_on() {
        let history = [put("a", "1"), put("b", "2"), delete("a")];
        for kept in 0..=3 {
            let mut oracle = Oracle::default();
            for (index, effect) in history.iter().enumerate() {
                oracle.tried(Revision(index as u64 + 1), vec![effect.clone()]);
            }
            oracle.acknowledged(Revision(1));
            let numbered: Vec<_> = (1..).zip(history[..kept].iter().cloned()).collect();
            let found = oracle.recovered(Revision(kept as u64), &state_of(&numbered));
            assert_eq!(found.is_ok(), kept >= 1, "{found:?}");
        }
    }

    #[test]
    fn the_oracle_sees_holes_and_what_comes_back() {
        let mut oracle = Oracle::default();
        oracle.tried(Revision(1), vec![put("a", "1")]);
        oracle.tried(Revision(2), vec![put("b", "2")]);
        assert!(oracle.clone().recovered(Revision(2), &state_of(&[(2, put("b", "2"))])).is_err());
        oracle.recovered(Revision(1), &state_of(&[(1, put("a", "1"))])).unwrap();
        assert!(oracle.clone().resumed(Revision(1)).is_err(), "revision 2 was given");
        oracle.resumed(Revision(10)).unwrap();
        let both = state_of(&[(1, put("a", "1")), (2, put("b", "2"))]);
        assert!(oracle.recovered(Revision(10), &both).is_err(), "what was lost stays lost");
    }
}
