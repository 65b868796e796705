//! What the store should hold, as simple as can be: a map for each revision. Knows what commands mean; nothing of how they are
//! carried out.

use std::collections::BTreeMap;

use kvd_testkit::durability::{State, Version};
use kvd_types::*;

/// All revisions of one life, newest last.
pub(crate) struct Model {
    /// Beginning with what was recovered.
    states: Vec<(Revision, State)>,
    /// The newest commit that each key was changed by, its absence included.
    changed: BTreeMap<Vec<u8>, Revision>,
    /// The newest clear, or what the life began with.
    all_changed: Revision,
}

/// What a command is to do.
pub(crate) enum Expected {
    /// A condition does not hold.
    Refused,
    /// A commit with these effects; without any, none.
    Effects(Vec<Effect<'static>>),
}

impl Model {
    pub(crate) fn new(last: Revision, state: State) -> Model {
        Model { states: vec![(last, state)], changed: BTreeMap::new(), all_changed: last }
    }

    pub(crate) fn last(&self) -> Revision {
        self.states.last().expect("it begins with one").0
    }

    pub(crate) fn newest(&self) -> &State {
        &self.states.last().expect("it begins with one").1
    }

    /// The state that readers see whose newest commit is `revision`.
    pub(crate) fn at(&self, revision: Revision) -> Option<&State> {
        let at = self.states.binary_search_by_key(&revision, |(revision, _)| *revision).ok()?;
        Some(&self.states[at].1)
    }

    /// What an answer tells of that was judged by the newest version of these keys.
    pub(crate) fn told(&self, command: &Command<'_>) -> Revision {
        let of = |key: &Key<'_>| self.changed.get(key.as_bytes()).copied().unwrap_or_default().max(self.all_changed);
        match command {
            Command::Set(set) => of(&set.key),
            Command::Delete(delete) => of(&delete.key),
            Command::Rollback(rollback) => of(&rollback.key),
            Command::MultiSet { sets } => sets.iter().map(|set| of(&set.key)).max().unwrap_or_default(),
            Command::MultiDelete { deletes, .. } => {
                deletes.iter().map(|delete| of(&delete.key)).max().unwrap_or_default()
            }
            _ => self.last(),
        }
    }

    /// What a write is to do at this time.
    pub(crate) fn expect(&self, command: &Command<'_>, now_ms: u64) -> Expected {
        let mut effects = Vec::new();
        match command {
            Command::Set(set) => {
                if !self.put(set, now_ms, &mut effects) {
                    return Expected::Refused;
                }
            }
            Command::MultiSet { sets } => {
                if !sets.iter().all(|set| self.put(set, now_ms, &mut effects)) {
                    return Expected::Refused;
                }
            }
            Command::Delete(delete) => self.delete(delete, now_ms, &mut effects),
            Command::MultiDelete { deletes, .. } => {
                deletes.iter().for_each(|delete| self.delete(delete, now_ms, &mut effects));
            }
            Command::Clear => effects.push(Effect::Clear),
            _ => panic!("no write"),
        }
        Expected::Effects(effects)
    }

    /// The sweep removes what has expired, all at once: the store is one segment.
    pub(crate) fn expect_sweep(&self, now_ms: u64) -> Vec<Effect<'static>> {
        let expired = self.newest().iter().filter(|(_, version)| !is_alive(version, now_ms));
        let delete = |key: &Vec<u8>| Effect::Delete { key: Key::new(key.clone()).unwrap(), reason: Reason::Expired };
        expired.map(|(key, _)| delete(key)).collect()
    }

    pub(crate) fn alive(&self, key: &[u8], now_ms: u64) -> Option<&Version> {
        self.newest().get(key).filter(|version| is_alive(version, now_ms))
    }

    pub(crate) fn commit(&mut self, revision: Revision, effects: &[Effect<'static>]) {
        let mut state = self.newest().clone();
        for effect in effects {
            match effect {
                Effect::Put { key, value, content_type, expires_at_ms } => {
                    let (value, content_type) = (value.clone(), content_type.clone());
                    let version = Version { revision, value, content_type, expires_at_ms: *expires_at_ms };
                    state.insert(key.as_bytes().to_vec(), version);
                    self.changed.insert(key.as_bytes().to_vec(), revision);
                }
                Effect::Delete { key, .. } => {
                    state.remove(key.as_bytes());
                    self.changed.insert(key.as_bytes().to_vec(), revision);
                }
                Effect::Clear => {
                    state.clear();
                    self.all_changed = revision;
                }
            }
        }
        self.states.push((revision, state));
    }

    /// Whether its condition holds.
    fn put(&self, set: &Set<'_>, now_ms: u64, effects: &mut Vec<Effect<'static>>) -> bool {
        let alive = self.alive(set.key.as_bytes(), now_ms);
        let holds = match &set.condition {
            Condition::Always => true,
            Condition::Absent => alive.is_none(),
            Condition::Exists => alive.is_some(),
            other => panic!("{other:?} is not used here"),
        };
        let expires_at_ms = match set.ttl {
            Ttl::None => None,
            Ttl::Keep => alive.and_then(|version| version.expires_at_ms),
            Ttl::Ms(ms) => Some(now_ms + ms),
            Ttl::At(at) => Some(at),
        };
        let key = set.key.borrow().into_owned();
        let (value, content_type) = (set.value.clone(), set.content_type.clone());
        effects.push(Effect::Put { key, value, content_type, expires_at_ms });
        holds
    }

    fn delete(&self, delete: &Delete<'_>, now_ms: u64, effects: &mut Vec<Effect<'static>>) {
        if self.alive(delete.key.as_bytes(), now_ms).is_some() {
            effects.push(Effect::Delete { key: delete.key.borrow().into_owned(), reason: Reason::Asked });
        }
    }
}

pub(crate) fn is_alive(version: &Version, now_ms: u64) -> bool {
    version.expires_at_ms.is_none_or(|at| at > now_ms)
}
