//! A store that is full and evicts: every write that can fit succeeds, what goes is gone by a commit that the journal knows, the
//! sizes are exact and memory stays in its limit. What is used stays, and a scan takes away little but itself.
#![cfg(not(any(kvd_loom, kvd_shuttle)))]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use bytes::Bytes;
use kvd_engine::{Batch, Buffers, Config, Engine, MemoryPolicy, Visibility, Worker};
use kvd_types::*;
use proptest::collection::vec;
use proptest::prelude::*;

const MAX: u64 = 1 << 20;

/// What a worker may have retired and not handed over, and what a write adds to the index.
const MARGIN: u64 = (256 << 10) + (64 << 10);

fn full_store(config: Config) -> Engine {
    Engine::open(Config { memory_bytes_max: MAX, memory_policy: MemoryPolicy::Evict, ..config })
}

fn key(number: u64) -> Key<'static> {
    Key::new(format!("key-{number:08}").into_bytes()).unwrap()
}

fn set(engine: &Engine, worker: &mut Worker, number: u64, bytes: usize) -> Result<Reply, Error> {
    engine.execute(worker, &Command::Set(Set::new(key(number), vec![number as u8; bytes])))
}

fn is_there(engine: &Engine, worker: &mut Worker, number: u64) -> bool {
    engine.get_with(worker, key(number).as_bytes(), |found| found.is_some())
}

/// What the journal was told, as a store.
#[derive(Default)]
struct Replayed {
    entries: BTreeMap<Vec<u8>, (Bytes, Revision)>,
    revision: u64,
    evicted: u64,
}

impl Replayed {
    fn apply(&mut self, batches: &[Batch]) {
        for batch in batches {
            assert_eq!(batch.revision.0, self.revision + 1, "revisions have no gaps");
            self.revision += 1;
            for effect in batch.effects() {
                match effect {
                    Effect::Put { key, value, .. } => {
                        self.entries.insert(key.as_bytes().to_vec(), (value, batch.revision));
                    }
                    Effect::Delete { key, reason } => {
                        let gone = self.entries.remove(key.as_bytes());
                        assert!(gone.is_some(), "{key:?} goes by {reason:?} and is not there");
                        self.evicted += u64::from(reason == Reason::Evicted);
                    }
                    Effect::Clear => self.entries.clear(),
                }
            }
        }
    }

    fn assert_is(&self, engine: &Engine, worker: &mut Worker) {
        let stats = engine.stats();
        assert_eq!(stats.operations.evicted, self.evicted);
        assert_eq!(stats.revision.0, self.revision);
        assert_eq!(stats.totals.keys, self.entries.len() as u64);
        let key_bytes: usize = self.entries.keys().map(Vec::len).sum();
        let value_bytes: usize = self.entries.values().map(|(value, _)| value.len()).sum();
        assert_eq!((stats.totals.key_bytes, stats.totals.value_bytes), (key_bytes as u64, value_bytes as u64));
        for (key, (value, revision)) in &self.entries {
            let found = engine.get_with(worker, key, |found| {
                found.map(|found| (Bytes::copy_from_slice(found.value()), found.revision()))
            });
            assert_eq!(found.as_ref(), Some(&(value.clone(), *revision)), "{key:?}");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Set(u64, usize),
    MultiSet(Vec<(u64, usize)>),
    Delete(u64),
    Get(u64),
    Maintain,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    // The last length is shared and not copied.
    let bytes = || prop_oneof![6 => 0usize..500, 3 => 500usize..10_000, 1 => 16_384usize..60_000];
    let number = || 0u64..400;
    prop_oneof![
        20 => (number(), bytes()).prop_map(|(number, bytes)| Step::Set(number, bytes)),
        4 => vec((number(), bytes()), 1..8).prop_map(Step::MultiSet),
        3 => number().prop_map(Step::Delete),
        10 => number().prop_map(Step::Get),
        1 => Just(Step::Maintain),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_evicted_is_gone_by_a_commit(
        steps in vec(step(), 1..500),
        segment_buckets_max in 1usize..8,
        with_view in any::<bool>(),
        is_rekeyed in any::<bool>(),
    ) {
        let engine = full_store(Config { segment_buckets_max, journal: true, ..Config::default() });
        let mut worker = engine.worker();
        let mut replayed = Replayed::default();
        // Nearly full from the begin.
        for number in 0..400 {
            set(&engine, &mut worker, number, 2_000).unwrap();
        }
        // What waits for the journal is inside the limit, and here it would wait for ever.
        replayed.apply(&engine.seal().1);
        // It keeps versions from being freed, until it loses them.
        let view = with_view.then(|| engine.view().unwrap());
        if is_rekeyed {
            engine.rekey(&mut worker);
        }
        for step in &steps {
            let mut numbers = Vec::new();
            match step {
                Step::Set(number, bytes) => {
                    set(&engine, &mut worker, *number, *bytes).unwrap();
                    numbers.push(*number);
                }
                Step::MultiSet(items) => {
                    let items: BTreeMap<u64, usize> = items.iter().copied().collect();
                    let sets = items.iter().map(|(number, bytes)| Set::new(key(*number), vec![7; *bytes])).collect();
                    engine.execute(&mut worker, &Command::MultiSet { sets }).unwrap();
                    numbers.extend(items.keys());
                }
                Step::Delete(number) => {
                    engine.execute(&mut worker, &Command::Delete(Delete::new(key(*number)))).unwrap();
                }
                Step::Get(number) => {
                    is_there(&engine, &mut worker, *number);
                }
                Step::Maintain => while engine.maintain(&mut worker) {},
                Step::Clear => {
                    engine.execute(&mut worker, &Command::Clear).unwrap();
                }
            }
            for number in numbers {
                prop_assert!(is_there(&engine, &mut worker, number), "what was just written is there");
            }
            let used = engine.stats().totals.memory_bytes();
            prop_assert!(used <= MAX + MARGIN, "{} bytes of {}", used, MAX);
            replayed.apply(&engine.seal().1);
        }
        replayed.assert_is(&engine, &mut worker);
        drop(view);
    }
}

#[test]
fn what_is_used_stays_while_others_come_and_go() {
    const HOT: u64 = 500;
    let engine = full_store(Config::default());
    let (mut worker, mut background) = (engine.worker(), engine.worker());
    for number in 0..HOT {
        set(&engine, &mut worker, number, 500).unwrap();
        // Often enough to be told from what comes once.
        for _ in 0..4 {
            is_there(&engine, &mut worker, number);
        }
    }
    for scanned in 0..20_000 {
        // A key that comes once, as a scan through a cache brings it; and one of those that come again.
        assert!(!is_there(&engine, &mut worker, HOT + scanned));
        set(&engine, &mut worker, HOT + scanned, 500).unwrap();
        is_there(&engine, &mut worker, scanned % HOT);
        if scanned % 1_000 == 0 {
            while engine.maintain(&mut background) {}
        }
    }
    let left = (0..HOT).filter(|number| is_there(&engine, &mut worker, *number)).count();
    assert!(left as u64 > HOT * 98 / 100, "{left} of {HOT}");
    assert!(engine.stats().operations.evicted > 18_000);
}

#[test]
fn nothing_goes_ahead_for_what_is_too_much_without_any_key() {
    let buffers = Buffers::default();
    let engine = full_store(Config { buffers: buffers.clone(), ..Config::default() });
    let mut worker = engine.worker();
    for number in 0..2_000 {
        set(&engine, &mut worker, number, 1_000).unwrap();
    }
    while engine.maintain(&mut worker) {}
    let keys = engine.stats().totals.keys;

    buffers.add(MAX);
    while engine.maintain(&mut worker) {}
    assert_eq!(engine.stats().totals.keys, keys);

    // What can be made room for is.
    buffers.remove(MAX / 2);
    while engine.maintain(&mut worker) {}
    let left = engine.stats().totals.keys;
    assert!((keys / 4..keys * 3 / 4).contains(&left), "{left} of {keys}");
}

#[test]
fn keys_that_were_just_set_are_not_the_first_to_go() {
    let engine = full_store(Config::default());
    let mut worker = engine.worker();
    for number in 0..10_000 {
        set(&engine, &mut worker, number, 500).unwrap();
        // All that are there are used, so that only their age speaks for the new ones.
        for back in [1, 10, 50] {
            is_there(&engine, &mut worker, number.saturating_sub(back));
        }
    }
    let left = (9_900..10_000).filter(|number| is_there(&engine, &mut worker, *number)).count();
    assert!(left > 90, "{left} of the last 100");
}

#[test]
fn large_values_make_room_for_many_small_ones() {
    let engine = full_store(Config::default());
    let mut worker = engine.worker();
    set(&engine, &mut worker, 0, 400 << 10).unwrap();
    for number in 1..5_000 {
        set(&engine, &mut worker, number, 200).unwrap();
    }
    assert!(!is_there(&engine, &mut worker, 0));
    assert!(engine.stats().totals.keys > 3_000);
}

#[test]
fn what_can_never_fit_is_refused_and_evicts_nothing() {
    let buffers = Buffers::default();
    let engine = full_store(Config { buffers: buffers.clone(), ..Config::default() });
    let mut worker = engine.worker();
    for number in 0..100 {
        set(&engine, &mut worker, number, 500).unwrap();
    }
    let refused = set(&engine, &mut worker, 1_000, 2 << 20);
    assert!(matches!(refused, Err(Error::MemoryFull { max: MAX, .. })), "{refused:?}");
    // What surrounds the store is inside its limit.
    buffers.add(MAX - (200 << 10));
    let refused = set(&engine, &mut worker, 1_000, 300 << 10);
    assert!(matches!(refused, Err(Error::MemoryFull { .. })), "{refused:?}");
    let stats = engine.stats();
    assert_eq!((stats.totals.keys, stats.operations.evicted, stats.operations.rejected), (100, 0, 2));
    set(&engine, &mut worker, 1_000, 150 << 10).unwrap();
    buffers.remove(MAX - (200 << 10));
    assert!(engine.stats().operations.evicted > 0);
}

#[test]
fn the_thread_beside_evicts_before_writers_have_to() {
    let engine = full_store(Config::default());
    let (mut worker, mut background) = (engine.worker(), engine.worker());
    for number in 0..3_000 {
        set(&engine, &mut worker, number, 500).unwrap();
        let before = engine.stats().operations.evicted;
        while engine.maintain(&mut background) {}
        let slack = MAX - engine.stats().totals.memory_bytes();
        assert!(slack >= MAX / 128, "{slack} bytes are free");
        set(&engine, &mut worker, 10_000 + number, 500).unwrap();
        assert!(engine.stats().operations.evicted <= before + 16, "a few for what came");
    }
}

/// Readers that see a commit only later hold back what was evicted until then: it is not taken for too little.
#[test]
fn what_is_not_visible_yet_is_not_evicted_again() {
    let engine = full_store(Config { visibility: Visibility::WhenDurable, journal: true, ..Config::default() });
    let mut worker = engine.worker();
    let mut evicted = 0;
    for number in 0..4_000 {
        match set(&engine, &mut worker, number, 500) {
            Ok(_) => {}
            Err(Error::MemoryFull { .. }) => {
                // Who takes what is queued has not come yet: for a store with a journal the writer does that itself.
                let (sealed, _) = engine.seal();
                engine.make_visible(sealed);
                set(&engine, &mut worker, number, 500).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        let stats = engine.stats();
        assert!(stats.totals.memory_bytes() <= MAX + MARGIN);
        assert!(stats.operations.evicted <= evicted + 300, "{} at once", stats.operations.evicted - evicted);
        evicted = stats.operations.evicted;
        if number % 50 == 0 {
            let (sealed, _) = engine.seal();
            engine.make_visible(sealed);
        }
    }
    assert!(engine.stats().totals.keys > 1_000, "{} keys are left", engine.stats().totals.keys);
}

/// Threads that write at the limit beside some that read and one that cleans up: no write is refused, values are those of their
/// keys, memory is in its limit, and what the journal was told is what is there.
#[test]
fn threads_at_the_limit() {
    const WRITES: u64 = 1_500;
    let engine = full_store(Config { journal: true, ..Config::default() });
    let (running, most_used) = (AtomicBool::new(true), AtomicU64::new(0));
    let batches = Mutex::new(Vec::new());
    // Writers themselves: what is queued is inside the limit, too.
    let take_queued = || batches.lock().unwrap().extend(engine.seal().1);
    thread::scope(|scope| {
        let writers = [0, 1].map(|writer| {
            let (engine, most_used, take_queued) = (&engine, &most_used, &take_queued);
            scope.spawn(move || {
                let mut worker = engine.worker();
                for at in 0..WRITES {
                    let number = (at * 7 + writer * 3_001) % 5_000;
                    set(engine, &mut worker, number, 100 + (at % 13) as usize * 100).unwrap();
                    if at % 16 == 0 {
                        take_queued();
                        let used = engine.stats().totals.memory_bytes();
                        most_used.fetch_max(used, Ordering::Relaxed); // a figure
                    }
                    if at % 5 == 0 {
                        engine.execute(&mut worker, &Command::Delete(Delete::new(key(number)))).unwrap();
                    }
                }
            })
        });
        for reader in 0..2 {
            let (engine, running) = (&engine, &running);
            scope.spawn(move || {
                let mut worker = engine.worker();
                let mut number = reader;
                // Acquire: pairs with the store below.
                while running.load(Ordering::Acquire) {
                    number = (number * 5 + 17) % 5_000;
                    engine.get_with(&mut worker, key(number).as_bytes(), |found| {
                        let value = found.map(|found| found.value()).unwrap_or_default();
                        assert!(value.iter().all(|byte| *byte == number as u8));
                    });
                }
            });
        }
        let background = scope.spawn(|| {
            let mut worker = engine.worker();
            // Acquire: pairs with the store below.
            while running.load(Ordering::Acquire) {
                engine.maintain(&mut worker);
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        running.store(false, Ordering::Release); // pairs with the loads above
        background.join().unwrap();
    });
    take_queued();
    let batches = batches.into_inner().unwrap();
    let most_used = most_used.into_inner();
    assert!(most_used <= MAX + 2 * MARGIN, "{most_used} bytes of {MAX}");
    let mut replayed = Replayed::default();
    replayed.apply(&batches);
    assert!(replayed.evicted > 300, "{}", replayed.evicted);
    replayed.assert_is(&engine, &mut engine.worker());
}
