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
            Command::Modify(modify) => of(&modify.key),
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
            Command::Modify(modify) => effects.extend(self.append(modify, now_ms)),
            Command::Transfer(transfer) => self.transfer(transfer, now_ms, &mut effects),
            Command::Transaction(transaction) => return self.expect_transaction(transaction, now_ms),
            Command::Clear => effects.push(Effect::Clear),
            _ => panic!("no write"),
        }
        Expected::Effects(effects)
    }

    /// One command after the other on a state of its own; what differs in the end is the commit.
    fn expect_transaction(&self, transaction: &Transaction<'_>, now_ms: u64) -> Expected {
        let holds = transaction.checks.iter().all(|check| self.holds(&check.key, &check.condition, now_ms));
        let branch = if holds { Some(&transaction.commands) } else { transaction.otherwise.as_ref() };
        let Some(branch) = branch else { return Expected::Refused };
        let mut scratch = Model::new(self.last(), self.newest().clone());
        let mut last = BTreeMap::new();
        for command in branch {
            let Expected::Effects(effects) = scratch.expect(command, now_ms) else { return Expected::Refused };
            scratch.commit(Revision(scratch.last().0 + 1), &effects);
            for effect in effects {
                if let Effect::Put { key, .. } | Effect::Delete { key, .. } = &effect {
                    last.insert(key.as_bytes().to_vec(), effect);
                }
            }
        }
        let was_there = |key: &Vec<u8>| self.alive(key, now_ms).is_some();
        let differs = |(key, effect): &(Vec<u8>, Effect<'_>)| matches!(effect, Effect::Put { .. }) || was_there(key);
        Expected::Effects(last.into_iter().filter(differs).map(|(_, effect)| effect).collect())
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

    fn holds(&self, key: &Key<'_>, condition: &Condition, now_ms: u64) -> bool {
        let alive = self.alive(key.as_bytes(), now_ms);
        match condition {
            Condition::Always => true,
            Condition::Absent => alive.is_none(),
            Condition::Exists => alive.is_some(),
            other => panic!("{other:?} is not used here"),
        }
    }

    fn append(&self, modify: &Modify<'_>, now_ms: u64) -> Option<Effect<'static>> {
        let Rule::Append { bytes } = &modify.rule else { panic!("another rule is not used here") };
        let alive = self.alive(modify.key.as_bytes(), now_ms);
        let old = alive.map_or(&b""[..], |version| &version.value);
        let key = modify.key.borrow().into_owned();
        (alive.is_none() || !bytes.is_empty()).then(|| Effect::Put {
            key,
            value: [old, bytes].concat().into(),
            content_type: alive.and_then(|version| version.content_type.clone()),
            expires_at_ms: alive.and_then(|version| version.expires_at_ms),
        })
    }

    /// Any target is replaced.
    fn transfer(&self, transfer: &Transfer<'_>, now_ms: u64, effects: &mut Vec<Effect<'static>>) {
        let (from, to) = (transfer.from.borrow().into_owned(), transfer.to.borrow().into_owned());
        let Some(source) = self.alive(from.as_bytes(), now_ms).filter(|_| from != to) else { return };
        let Version { value, content_type, expires_at_ms, .. } = source.clone();
        effects.push(Effect::Put { key: to, value, content_type, expires_at_ms });
        if !transfer.keep {
            effects.push(Effect::Delete { key: from, reason: Reason::Asked });
        }
    }

    /// Whether its condition holds.
    fn put(&self, set: &Set<'_>, now_ms: u64, effects: &mut Vec<Effect<'static>>) -> bool {
        let alive = self.alive(set.key.as_bytes(), now_ms);
        let holds = self.holds(&set.key, &set.condition, now_ms);
        let expires_at_ms = match set.ttl {
            Ttl::None | Ttl::Default => None,
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
