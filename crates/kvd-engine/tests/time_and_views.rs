//! Time, versions and transactions against a model: whatever sets with an expiry, deletes, ticks, sweeps, views and updates come,
//! one after the other, every view keeps showing the state it began with, an expired key is missing at once and counted until
//! it is swept, and the journal's queue replays to what is stored. Segments are tiny, so that keys move in between.
#![cfg(not(any(kvd_loom, kvd_shuttle)))]

use std::collections::BTreeMap;

use bytes::Bytes;
use kvd_engine::{Config, Engine, Update, View, Visibility, Worker};
use kvd_types::*;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Set { key: u8, size: usize, ttl: Ttl },
    MultiSet { keys: Vec<u8>, ttl: Ttl },
    Delete { key: u8 },
    MultiDelete { keys: Vec<u8> },
    Tick { ms: u64 },
    Sweep,
    Clear,
    Rekey,
    Maintain,
    BeginView,
    EndView { nth: usize },
    BeginUpdate,
    ReadInUpdate { key: u8 },
    CommitUpdate { key: u8 },
    Seal,
    Sync,
}

#[derive(Clone, Debug, PartialEq)]
struct Stored {
    value: Bytes,
    expires_at_ms: Option<u64>,
    revision: u64,
}

type State = BTreeMap<Vec<u8>, Stored>;

/// Keys that an update has read, and the revisions it found.
type Reads = BTreeMap<Vec<u8>, Option<u64>>;

fn key(number: u8) -> Key<'static> {
    Key::new(vec![b'k'; usize::from(number)]).unwrap()
}

fn alive(state: &State, now_ms: u64, key: &Key<'_>) -> Option<Stored> {
    let stored = state.get(key.as_bytes())?;
    stored.expires_at_ms.is_none_or(|at| at > now_ms).then(|| stored.clone())
}

fn stored(entry: Entry) -> Stored {
    Stored { value: entry.value, expires_at_ms: entry.expires_at_ms, revision: entry.revision.0 }
}

/// The engine and what it should be.
struct World {
    engine: Engine,
    worker: Worker,
    durable: bool,
    /// The newest commits.
    state: State,
    /// The states of all revisions, for those that become visible later.
    history: Vec<State>,
    now_ms: u64,
    /// Whether keys may be moving to the keyed hash.
    is_rekeying: bool,
    sealed: usize,
    visible: usize,
    views: Vec<(View, State, u64)>,
    update: Option<(Update, State, u64, Reads)>,
    journal: Vec<Effect<'static>>,
    replayed: State,
    replayed_revision: u64,
}

impl World {
    fn new(durable: bool, history: usize) -> World {
        let visibility = if durable { Visibility::WhenDurable } else { Visibility::Immediate };
        let config = Config { visibility, history, journal: true, segment_buckets_max: 1, ..Config::default() };
        let engine = Engine::open(config);
        World {
            worker: engine.worker(),
            engine,
            durable,
            state: State::new(),
            history: vec![State::new()],
            now_ms: 0,
            is_rekeying: false,
            sealed: 0,
            visible: 0,
            views: Vec::new(),
            update: None,
            journal: Vec::new(),
            replayed: State::new(),
            replayed_revision: 0,
        }
    }

    fn committed(&mut self) {
        self.history.push(self.state.clone());
        if !self.durable {
            self.visible = self.history.len() - 1;
        }
    }

    fn revision(&self) -> u64 {
        self.history.len() as u64
    }

    fn put(&mut self, key: &Key<'_>, value: Bytes, ttl: Ttl) {
        let expires_at_ms = match ttl {
            Ttl::None | Ttl::Default => None,
            Ttl::Keep => alive(&self.state, self.now_ms, key).and_then(|stored| stored.expires_at_ms),
            Ttl::Ms(ms) => Some(self.now_ms + ms),
            Ttl::At(at) => Some(at),
        };
        self.state.insert(key.as_bytes().to_vec(), Stored { value, expires_at_ms, revision: self.revision() });
    }

    /// The keys of `keys` that are alive, deleted.
    fn remove(&mut self, keys: &[Key<'_>]) -> usize {
        let before = self.state.len();
        for key in keys {
            if alive(&self.state, self.now_ms, key).is_some() {
                self.state.remove(key.as_bytes());
            }
        }
        before - self.state.len()
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Set { key: number, size, ttl } => {
                let (key, value) = (key(*number), Bytes::from(vec![b'v'; *size]));
                let existed = alive(&self.state, self.now_ms, &key).is_some();
                let set = Set { ttl: *ttl, ..Set::new(key.clone(), value.clone()) };
                let reply = self.engine.execute(&mut self.worker, &Command::Set(set)).unwrap();
                assert_eq!(reply, Reply::Set { revision: Revision(self.revision()), created: !existed });
                self.put(&key, value, *ttl);
                self.committed();
            }
            Step::MultiSet { keys, ttl } => {
                let value = Bytes::from(vec![b'm'; keys.len()]);
                let set = |number: &u8| Set { ttl: *ttl, ..Set::new(key(*number), value.clone()) };
                let sets: Vec<_> = keys.iter().map(set).collect();
                self.engine.execute(&mut self.worker, &Command::MultiSet { sets }).unwrap();
                keys.iter().for_each(|number| self.put(&key(*number), value.clone(), *ttl));
                self.committed();
            }
            Step::Delete { key: number } => {
                let reply = self.engine.execute(&mut self.worker, &Command::Delete(Delete::new(key(*number)))).unwrap();
                let found = self.remove(&[key(*number)]) > 0;
                assert!(matches!(reply, Reply::Deleted { found: answered, .. } if answered == found));
                if found {
                    self.committed();
                }
            }
            Step::MultiDelete { keys } => {
                let keys: Vec<_> = keys.iter().map(|number| key(*number)).collect();
                let deletes = keys.iter().map(|key| Delete::new(key.clone())).collect();
                let command = Command::MultiDelete { deletes, require_all: false };
                let reply = self.engine.execute(&mut self.worker, &command).unwrap();
                let removed = self.remove(&keys);
                assert!(matches!(reply, Reply::MultiDeleted { deleted, .. } if deleted == removed));
                if removed > 0 {
                    self.committed();
                }
            }
            Step::Tick { ms } => {
                self.now_ms += ms;
                self.engine.tick(self.now_ms);
                // Time never goes back.
                self.engine.tick(self.now_ms.saturating_sub(1));
            }
            Step::Sweep => {
                // While keys move some are passed over: a second sweep, when all have moved, finds them.
                self.engine.sweep(&mut self.worker, usize::MAX);
                while self.engine.maintain(&mut self.worker) {}
                self.engine.sweep(&mut self.worker, usize::MAX);
                if self.is_rekeying {
                    // What moves meanwhile may be passed over until it has moved.
                    while self.engine.maintain(&mut self.worker) {}
                    self.is_rekeying = false;
                    self.engine.sweep(&mut self.worker, usize::MAX);
                }
                // A sweep is a commit for each segment with expired keys: how many is the index's business.
                let now_ms = self.now_ms;
                self.state.retain(|_, stored| stored.expires_at_ms.is_none_or(|at| at > now_ms));
                let revision = self.engine.stats().revision.0 as usize;
                while self.history.len() <= revision {
                    self.committed();
                }
            }
            Step::Clear => {
                let reply = self.engine.execute(&mut self.worker, &Command::Clear).unwrap();
                let deleted = self.state.len() as u64;
                assert_eq!(reply, Reply::Cleared { revision: Revision(self.revision()), deleted });
                self.state.clear();
                self.committed();
            }
            Step::Rekey => {
                self.engine.rekey(&mut self.worker);
                self.is_rekeying = true;
            }
            Step::Maintain => {
                while self.engine.maintain(&mut self.worker) {}
                self.is_rekeying = false;
            }
            Step::BeginView => {
                let view = self.engine.view().unwrap();
                assert_eq!(view.revision().0 as usize, self.visible);
                self.views.push((view, self.history[self.visible].clone(), self.now_ms));
            }
            Step::EndView { nth } if !self.views.is_empty() => {
                let nth = nth % self.views.len();
                self.views.swap_remove(nth);
            }
            Step::BeginUpdate => {
                let update = self.engine.update().unwrap();
                self.update = Some((update, self.state.clone(), self.now_ms, BTreeMap::new()));
            }
            Step::ReadInUpdate { key: number } => {
                let Some((update, begun, now_ms, reads)) = &mut self.update else { return };
                let key = key(*number);
                let entry = update.get(&self.engine, &mut self.worker, &key).unwrap().map(stored);
                assert_eq!(entry, alive(begun, *now_ms, &key));
                reads.insert(key.as_bytes().to_vec(), entry.map(|stored| stored.revision));
            }
            Step::CommitUpdate { key: number } => {
                let Some((mut update, _, _, reads)) = self.update.take() else { return };
                let key = key(*number);
                update.set(Set::new(key.clone(), "u")).unwrap();
                let now = |key: &Vec<u8>| {
                    let key = Key::new(&key[..]).unwrap();
                    alive(&self.state, self.now_ms, &key).map(|stored| stored.revision)
                };
                let unchanged = reads.iter().all(|(key, revision)| now(key) == *revision);
                let committed = update.commit(&self.engine, &mut self.worker);
                assert_eq!(committed.is_ok(), unchanged, "{committed:?} after {reads:?}");
                if unchanged {
                    self.put(&key, Bytes::from_static(b"u"), Ttl::None);
                    self.committed();
                }
            }
            Step::Seal => {
                let (revision, batches) = self.engine.seal();
                self.sealed = revision.0 as usize;
                for batch in batches {
                    assert_eq!(batch.revision.0, self.replayed_revision + 1, "the journal has no gap");
                    self.replayed_revision = batch.revision.0;
                    for effect in &batch.effects() {
                        apply(&mut self.replayed, effect, batch.revision.0);
                    }
                    self.journal.extend(batch.effects());
                }
                assert_eq!(self.replayed, self.history[self.sealed], "the journal replays to what is stored");
            }
            Step::Sync if self.durable => {
                self.engine.make_visible(Revision(self.sealed as u64));
                self.visible = self.visible.max(self.sealed);
            }
            Step::EndView { .. } | Step::Sync => {}
        }
        self.check();
    }

    fn check(&mut self) {
        for number in 0..KEYS {
            let key = key(number);
            let expected = alive(&self.history[self.visible], self.now_ms, &key);
            let found = self
                .engine
                .get_with(&mut self.worker, key.as_bytes(), |found| found.map(|found| stored(found.entry())));
            assert_eq!(found, expected, "{key:?}");
            for (view, state, now_ms) in &self.views {
                let entry = view.get(&self.engine, &mut self.worker, &key).unwrap().map(stored);
                assert_eq!(entry, alive(state, *now_ms, &key), "{key:?} at {}", view.revision());
            }
        }
        let keys: Vec<_> = (0..KEYS).map(key).collect();
        let command = Command::MultiGet { keys, require_all: false };
        let Ok(Reply::MultiGot { entries, .. }) = self.engine.execute(&mut self.worker, &command) else {
            panic!("refused")
        };
        for (number, entry) in entries.into_iter().enumerate() {
            let expected = alive(&self.history[self.visible], self.now_ms, &key(number as u8));
            assert_eq!(entry.map(stored), expected);
        }
        for (view, state, now_ms) in &self.views {
            let list = List { prefix: Key::empty(), limit: 1_000, cursor: None, values: ListValues::Full };
            let page = view.list(&self.engine, &mut self.worker, &list).unwrap();
            let mut listed: Vec<_> =
                page.items.into_iter().map(|item| (item.key.as_bytes().to_vec(), stored(item.entry))).collect();
            listed.sort_by(|a, b| a.0.cmp(&b.0));
            let alive = state.iter().filter(|(_, stored)| stored.expires_at_ms.is_none_or(|at| at > *now_ms));
            assert_eq!(listed, alive.map(|(key, stored)| (key.clone(), stored.clone())).collect::<Vec<_>>());
        }
        let totals = self.engine.stats().totals;
        assert_eq!(totals.keys, self.state.len() as u64);
        assert_eq!(totals.value_bytes, self.state.values().map(|stored| stored.value.len() as u64).sum::<u64>());
    }
}

fn apply(state: &mut State, effect: &Effect<'_>, revision: u64) {
    match effect {
        Effect::Put { key, value, expires_at_ms, .. } => {
            let stored = Stored { value: value.clone(), expires_at_ms: *expires_at_ms, revision };
            state.insert(key.as_bytes().to_vec(), stored);
        }
        Effect::Delete { key, .. } => assert!(state.remove(key.as_bytes()).is_some(), "only what is there goes"),
        Effect::Clear => state.clear(),
    }
}

const KEYS: u8 = 10;

fn ttl() -> impl Strategy<Value = Ttl> {
    prop_oneof![
        3 => Just(Ttl::None),
        1 => Just(Ttl::Keep),
        3 => (1u64..30).prop_map(Ttl::Ms),
        1 => (0u64..60).prop_map(Ttl::At),
    ]
}

fn keys() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::btree_set(0..KEYS, 1..5).prop_map(|keys| keys.into_iter().collect())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..KEYS, 0usize..300, ttl()).prop_map(|(key, size, ttl)| Step::Set { key, size, ttl }),
        2 => (keys(), ttl()).prop_map(|(keys, ttl)| Step::MultiSet { keys, ttl }),
        3 => (0..KEYS).prop_map(|key| Step::Delete { key }),
        1 => keys().prop_map(|keys| Step::MultiDelete { keys }),
        3 => (1u64..10).prop_map(|ms| Step::Tick { ms }),
        1 => Just(Step::Sweep),
        1 => Just(Step::Clear),
        1 => Just(Step::Rekey),
        1 => Just(Step::Maintain),
        2 => Just(Step::BeginView),
        2 => (0usize..4).prop_map(|nth| Step::EndView { nth }),
        1 => Just(Step::BeginUpdate),
        2 => (0..KEYS).prop_map(|key| Step::ReadInUpdate { key }),
        1 => (0..KEYS).prop_map(|key| Step::CommitUpdate { key }),
        2 => Just(Step::Seal),
        2 => Just(Step::Sync),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn every_state_is_the_models(steps in vec(step(), 0..60), durable in any::<bool>(), history in 0usize..3) {
        let mut world = World::new(durable, history);
        for step in &steps {
            world.step(step);
        }
        // When nobody reads below the newest any more, nothing old is left.
        world.views.clear();
        world.update = None;
        world.step(&Step::Seal);
        world.step(&Step::Sync);
        world.step(&Step::Maintain);
        let totals = world.engine.stats().totals;
        prop_assert_eq!(totals.retired_bytes, 0);
        prop_assert!(history > 0 || totals.history_bytes == 0, "{totals:?}");
    }
}
