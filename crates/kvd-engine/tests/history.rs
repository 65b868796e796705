//! History against a chronicle of all commits: whatever sets, deletes, expiries, clears and rollbacks come, beside views that
//! keep versions of their own and growing segments, each key's history and its value at each revision are what the commits
//! say, as far back as they are kept; a rollback is a new version; and history takes as much memory as it says. The commits are
//! told by the journal's queue, which knows nothing of versions.
#![cfg(not(any(kvd_loom, kvd_shuttle)))]

use bytes::Bytes;
use kvd_engine::{Config, Engine, View, Visibility, Worker};
use kvd_testkit::chronicle::{Chronicle, Depth};
use kvd_types::*;
use proptest::collection::vec;
use proptest::prelude::*;

const KEYS: u8 = 8;

fn key(number: u8) -> Key<'static> {
    Key::new(vec![b'k'; usize::from(number)]).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Set { key: u8, size: usize, ttl: Ttl },
    MultiSet { keys: Vec<u8> },
    Delete { key: u8 },
    MultiDelete { keys: Vec<u8> },
    Rollback { key: u8, back: u64, condition: Condition },
    Tick { ms: u64 },
    Sweep,
    Clear,
    Rekey,
    Maintain,
    BeginView,
    EndViews,
    Sync,
}

struct World {
    engine: Engine,
    worker: Worker,
    depth: Depth,
    chronicle: Chronicle,
    last: Revision,
    now_ms: u64,
    views: Vec<View>,
    is_durable: bool,
}

impl World {
    fn new(older: usize, deletions: usize, is_durable: bool) -> World {
        let visibility = if is_durable { Visibility::WhenDurable } else { Visibility::Immediate };
        let (history, history_deleted_max) = (older, deletions);
        let config = Config {
            visibility,
            history,
            history_deleted_max,
            journal: true,
            segment_buckets_max: 1,
            ..Config::default()
        };
        let engine = Engine::open(config);
        World {
            worker: engine.worker(),
            engine,
            depth: Depth { older, deletions },
            chronicle: Chronicle::default(),
            last: Revision(0),
            now_ms: 0,
            views: Vec::new(),
            is_durable,
        }
    }

    fn run(&mut self, command: &Command<'_>) -> Result<Reply, Error> {
        self.engine.execute(&mut self.worker, command)
    }

    /// What was committed, as the journal has it.
    fn chronicle(&mut self) {
        let (last, batches) = self.engine.seal();
        for batch in batches {
            self.chronicle.commit(batch.revision, self.now_ms, batch.effects());
        }
        self.last = last;
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Set { key: number, size, ttl } => {
                let content_type = size.is_multiple_of(2).then(|| ContentType::new(b"text/plain").unwrap());
                let set = Set { ttl, content_type, ..Set::new(key(number), vec![b'v'; size]) };
                self.run(&Command::Set(set)).unwrap();
            }
            Step::MultiSet { keys } => {
                let value = Bytes::from(vec![b'm'; keys.len()]);
                let sets = keys.iter().map(|number| Set::new(key(*number), value.clone())).collect();
                self.run(&Command::MultiSet { sets }).unwrap();
            }
            Step::Delete { key: number } => {
                self.run(&Command::Delete(Delete::new(key(number)))).unwrap();
            }
            Step::MultiDelete { keys } => {
                let deletes = keys.iter().map(|number| Delete::new(key(*number))).collect();
                self.run(&Command::MultiDelete { deletes, require_all: false }).unwrap();
            }
            Step::Rollback { key: number, back, condition } => self.rollback(number, back, condition),
            Step::Tick { ms } => {
                self.now_ms += ms;
                self.engine.tick(self.now_ms);
            }
            Step::Sweep => {
                self.engine.sweep(&mut self.worker, usize::MAX);
            }
            Step::Clear => {
                self.run(&Command::Clear).unwrap();
            }
            // Keys that move are counted as deleted again: with few deletions kept others are forgotten the sooner.
            Step::Rekey if self.depth.deletions > 1_000 => self.engine.rekey(&mut self.worker),
            Step::Maintain => while self.engine.maintain(&mut self.worker) {},
            Step::BeginView => self.views.push(self.engine.view().unwrap()),
            Step::EndViews => self.views.clear(),
            Step::Sync if self.is_durable => self.engine.make_visible(self.last),
            Step::Rekey | Step::Sync => {}
        }
        self.chronicle();
        self.check();
    }

    fn rollback(&mut self, number: u8, back: u64, condition: Condition) {
        let key = key(number);
        let to = Revision(self.last.0.saturating_sub(back));
        let old = self.chronicle.at(&key, to, self.depth, self.last);
        let newest = self.chronicle.at(&key, self.last, self.depth, self.last).unwrap();
        let alive = newest.filter(|entry| entry.expires_at_ms.is_none_or(|at| at > self.now_ms));
        let holds = match &condition {
            Condition::Absent => alive.is_none(),
            Condition::AnyOf(tags) => alive.is_some_and(|entry| tags[0].revision == entry.revision),
            _ => true,
        };
        let reply = self.run(&Command::Rollback(Rollback { key: key.clone(), to, condition }));
        match old {
            Err(error) => assert_eq!(reply, Err(error)),
            Ok(None) => assert_eq!(reply, Err(Error::NoVersion { revision: to })),
            Ok(Some(_)) if !holds => assert!(matches!(reply, Err(Error::PreconditionFailed { .. })), "{reply:?}"),
            Ok(Some(old)) => {
                let revision = Revision(self.last.0 + 1);
                assert_eq!(reply, Ok(Reply::RolledBack { revision }));
                self.chronicle();
                let new = self.chronicle.at(&key, revision, self.depth, revision).unwrap().unwrap();
                let expected = Entry { expires_at_ms: None, revision, ..old };
                assert_eq!(new, expected, "value and content type come back, the expiry does not");
            }
        }
    }

    fn check(&mut self) {
        let newest = self.engine.revision();
        for number in 0..KEYS {
            let key = key(number);
            let versions = self.chronicle.history(&key, self.depth, newest);
            let reply = self.run(&Command::History { key: key.clone() });
            assert_eq!(reply, Ok(Reply::History { revision: newest, versions }), "{key:?}");
            for revision in (0..=newest.0 + 1).map(Revision) {
                let expected = self.chronicle.at(&key, revision, self.depth, newest);
                let found = self.run(&Command::GetAt { key: key.clone(), revision });
                let is_cut = found == Err(Error::VersionDropped { revision });
                if is_cut && expected == Ok(None) && self.chronicle.may_be_cut(&key, self.depth, newest) {
                    continue;
                }
                let expected = expected.map(|entry| {
                    let revision = entry.as_ref().map_or(revision, |entry| entry.revision);
                    Reply::Got { entry, revision }
                });
                assert_eq!(found, expected, "{key:?} at {revision} of {newest}");
            }
        }
    }
}

fn keys() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::btree_set(0..KEYS, 1..4).prop_map(|keys| keys.into_iter().collect())
}

fn step() -> impl Strategy<Value = Step> {
    let ttl = prop_oneof![3 => Just(Ttl::None), 2 => (1u64..20).prop_map(Ttl::Ms)];
    let tag = |revision| Etag { epoch: Epoch(0), revision: Revision(revision) };
    let condition = prop_oneof![
        4 => Just(Condition::Always),
        1 => Just(Condition::Absent),
        2 => (1u64..20).prop_map(move |revision| Condition::AnyOf(vec![tag(revision)])),
    ];
    let size = prop_oneof![9 => 0usize..300, 1 => Just(20_000)];
    prop_oneof![
        8 => (0..KEYS, size, ttl).prop_map(|(key, size, ttl)| Step::Set { key, size, ttl }),
        2 => keys().prop_map(|keys| Step::MultiSet { keys }),
        4 => (0..KEYS).prop_map(|key| Step::Delete { key }),
        1 => keys().prop_map(|keys| Step::MultiDelete { keys }),
        4 => (0..KEYS, 0u64..8, condition).prop_map(|(key, back, condition)| Step::Rollback { key, back, condition }),
        3 => (1u64..10).prop_map(|ms| Step::Tick { ms }),
        2 => Just(Step::Sweep),
        1 => Just(Step::Clear),
        1 => Just(Step::Rekey),
        1 => Just(Step::Maintain),
        1 => Just(Step::BeginView),
        1 => Just(Step::EndViews),
        4 => Just(Step::Sync),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_history_is_the_chronicles(
        steps in vec(step(), 0..50),
        older in 1usize..4,
        (deletions, is_durable) in prop_oneof![
            1 => (prop_oneof![Just(0usize), Just(1), Just(3)], Just(false)),
            2 => (Just(1_000_000), any::<bool>()),
        ],
    ) {
        let mut world = World::new(older, deletions, is_durable);
        for step in steps {
            world.step(step);
        }
        // Without its keys a store has no history.
        world.step(Step::EndViews);
        world.step(Step::Clear);
        world.step(Step::Sync);
        world.step(Step::Maintain);
        let totals = world.engine.stats().totals;
        prop_assert_eq!((totals.history_bytes, totals.retired_bytes), (0, 0));
    }
}

/// A store that keeps history, and a worker of it.
fn open(history: usize) -> (Engine, Worker) {
    let engine = Engine::open(Config { history, ..Config::default() });
    engine.tick(1);
    (engine.clone(), engine.worker())
}

fn set(engine: &Engine, worker: &mut Worker, number: u8, value: impl Into<Bytes>) {
    engine.execute(worker, &Command::Set(Set::new(key(number), value))).unwrap();
}

fn delete(engine: &Engine, worker: &mut Worker, number: u8) {
    engine.execute(worker, &Command::Delete(Delete::new(key(number)))).unwrap();
}

#[test]
fn without_history_each_command_says_so() {
    let (engine, mut worker) = open(0);
    set(&engine, &mut worker, 1, "1");
    let rollback = Rollback { key: key(1), to: Revision(1), condition: Condition::Always };
    for command in [
        Command::GetAt { key: key(1), revision: Revision(1) },
        Command::History { key: key(1) },
        Command::Rollback(rollback),
    ] {
        assert_eq!(engine.execute(&mut worker, &command), Err(Error::HistoryOff));
    }
    assert_eq!(engine.stats().operations.rejected, 1, "a rollback is a write, the others are none");
}

#[test]
fn a_store_without_history_pays_nothing_for_it() {
    let record_bytes = |history| {
        let (engine, mut worker) = open(history);
        set(&engine, &mut worker, 5, "value");
        engine.stats().totals
    };
    let (without, with) = (record_bytes(0), record_bytes(1));
    assert_eq!((without.record_bytes, without.history_bytes), (10, 0), "as short as ever");
    assert_eq!((with.record_bytes, with.history_bytes), (16, 0), "the time of the version");
}

#[test]
fn each_kept_version_is_counted_until_it_goes() {
    let (engine, mut worker) = open(2);
    let node = 32;
    let record = |value: u64| 16 + 5 + value;
    let held = |engine: &Engine| engine.stats().totals.history_bytes;
    set(&engine, &mut worker, 5, vec![1; 10]);
    assert_eq!(held(&engine), 0);
    set(&engine, &mut worker, 5, vec![1; 20]);
    assert_eq!(held(&engine), node + record(10));
    set(&engine, &mut worker, 5, vec![1; 40]);
    assert_eq!(held(&engine), 2 * node + record(10) + record(20));
    set(&engine, &mut worker, 5, vec![1; 80]);
    assert_eq!(held(&engine), 3 * node + record(20) + record(40), "the third node says that there was more");
    delete(&engine, &mut worker, 5);
    assert_eq!(held(&engine), 3 * node + record(40) + record(80));
    let totals = engine.stats().totals;
    assert_eq!((totals.keys, totals.key_bytes, totals.value_bytes, totals.record_bytes), (0, 0, 0, 0));
    assert_eq!(totals.memory_bytes(), totals.index_bytes + totals.history_bytes + totals.retired_bytes);
}

#[test]
fn a_rollback_is_a_set_and_never_the_old_version_itself() {
    let (engine, mut worker) = open(5);
    set(&engine, &mut worker, 1, "one");
    set(&engine, &mut worker, 1, "two");
    let tag = |revision| Condition::AnyOf(vec![Etag { epoch: Epoch(0), revision: Revision(revision) }]);
    let rollback = |condition| Command::Rollback(Rollback { key: key(1), to: Revision(1), condition });
    assert_eq!(engine.execute(&mut worker, &rollback(tag(2))), Ok(Reply::RolledBack { revision: Revision(3) }));
    let refused = engine.execute(&mut worker, &rollback(tag(1)));
    assert!(matches!(refused, Err(Error::PreconditionFailed { .. })), "the old version's tag is not the new one's");
    let Ok(Reply::Got { entry: Some(entry), .. }) = engine.execute(&mut worker, &Command::Get { key: key(1) }) else {
        panic!("it has a value")
    };
    assert_eq!((&entry.value[..], entry.revision), (&b"one"[..], Revision(3)));
    let operations = engine.stats().operations;
    assert_eq!((operations.sets, operations.gets(), operations.rejected), (3, 1, 1));
}

#[test]
fn a_get_of_the_past_is_a_get_and_a_history_is_none() {
    let (engine, mut worker) = open(1);
    set(&engine, &mut worker, 1, "1");
    for (revision, hits, misses) in [(1, 1, 0), (0, 1, 1), (7, 1, 1)] {
        let _ = engine.execute(&mut worker, &Command::GetAt { key: key(1), revision: Revision(revision) });
        engine.execute(&mut worker, &Command::History { key: key(1) }).unwrap();
        let operations = engine.stats().operations;
        assert_eq!((operations.hits, operations.misses), (hits, misses), "at {revision}");
    }
}

#[test]
fn histories_of_deleted_keys_are_bounded() {
    let engine = Engine::open(Config { history: 3, history_deleted_max: 100, ..Config::default() });
    let mut worker = engine.worker();
    let numbered = |number: u64| Key::new(number.to_le_bytes().to_vec()).unwrap();
    let mut most = 0;
    for number in 0..10_000 {
        for value in ["1", "2"] {
            engine.execute(&mut worker, &Command::Set(Set::new(numbered(number), value))).unwrap();
        }
        engine.execute(&mut worker, &Command::Delete(Delete::new(numbered(number)))).unwrap();
        most = most.max(engine.stats().totals.history_bytes);
    }
    // Two records and two nodes for each key.
    assert!(most <= 101 * 2 * (32 + 32), "{most} bytes");
    let has_history = |number: u64| {
        let command = Command::History { key: numbered(number) };
        let Ok(Reply::History { versions, .. }) = engine.execute(&mut engine.worker(), &command) else { panic!() };
        !versions.is_empty()
    };
    assert!((9_900..10_000).all(has_history) && !(0..9_900).any(has_history));
    // The index does not remember them either.
    while engine.maintain(&mut worker) {}
    assert!(engine.stats().totals.index_bytes < 64 << 10, "{:?}", engine.stats().totals);
}

#[test]
fn histories_of_deleted_keys_go_when_memory_is_short() {
    let max = 4 << 20;
    let engine = Engine::open(Config { history: 1, memory_bytes_max: max, ..Config::default() });
    let mut worker = engine.worker();
    let numbered = |number: u64| Key::new(number.to_le_bytes().to_vec()).unwrap();
    for number in 0..1_000 {
        let set = Set::new(numbered(number), vec![7; 50_000]);
        engine.execute(&mut worker, &Command::Set(set)).expect("what was deleted makes room");
        engine.execute(&mut worker, &Command::Delete(Delete::new(numbered(number)))).unwrap();
        assert!(engine.stats().totals.memory_bytes() <= max + (256 << 10), "{:?}", engine.stats().totals);
    }
    let asked = engine.execute(&mut worker, &Command::GetAt { key: numbered(0), revision: Revision(1) });
    assert_eq!(asked, Err(Error::VersionDropped { revision: Revision(1) }), "it is told that there was something");
    // Keys that are there keep theirs, and are not made to give them up.
    let full = (0..1_000).any(|number| {
        let set = Set::new(numbered(number % 10), vec![number as u8; 250_000]);
        matches!(engine.execute(&mut worker, &Command::Set(set)), Err(Error::MemoryFull { .. }))
    });
    assert!(full);
}
