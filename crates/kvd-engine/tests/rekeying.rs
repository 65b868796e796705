//! Many keys that move to the keyed hash while the store is in use, by real threads and in slices: they are found all the
//! while, they end when their time comes, and nobody looks at what is freed, which AddressSanitizer and valgrind see.
#![cfg(not(any(kvd_loom, kvd_shuttle)))]

use std::sync::mpsc;
use std::thread;

use kvd_engine::{Config, Engine, Worker};
use kvd_types::*;

fn key(number: usize) -> Key<'static> {
    Key::new(format!("k{number}").into_bytes()).unwrap()
}

fn multi_set(engine: &Engine, worker: &mut Worker, numbers: std::ops::Range<usize>, value: &'static str, ttl: Ttl) {
    let sets = numbers.map(|number| Set { ttl, ..Set::new(key(number), value) }).collect();
    engine.execute(worker, &Command::MultiSet { sets }).unwrap();
}

fn value_is(engine: &Engine, worker: &mut Worker, number: usize, value: &str) -> bool {
    engine
        .get_with(worker, key(number).as_bytes(), |found| found.is_some_and(|found| found.value() == value.as_bytes()))
}

/// Some buckets have moved, and what they held was overwritten there and freed, when the sweep comes by.
#[test]
fn the_sweep_looks_at_keys_where_they_are() {
    const KEYS: usize = 10_000;
    let engine = Engine::open(Config::default());
    let mut worker = engine.worker();
    for first in (0..KEYS).step_by(1_000) {
        multi_set(&engine, &mut worker, first..first + 1_000, "ends", Ttl::At(10));
    }
    engine.rekey(&mut worker);
    assert!(engine.maintain(&mut worker), "a slice is not all");
    multi_set(&engine, &mut worker, 0..KEYS, "ends later", Ttl::At(20));
    engine.tick(10);
    engine.sweep(&mut worker, usize::MAX);
    assert_eq!(engine.stats().totals.keys, KEYS as u64, "none has ended");
    while engine.maintain(&mut worker) {}
    assert!((0..KEYS).all(|number| value_is(&engine, &mut worker, number, "ends later")));
    engine.tick(20);
    for _ in 0..2 {
        engine.sweep(&mut worker, usize::MAX);
    }
    assert_eq!(engine.stats().totals.keys, 0, "all have ended");
    assert_eq!(engine.stats().operations.expired, KEYS as u64);
}

/// A walk in pages, which meets at least `least` keys, unless their order changes meanwhile.
fn walk(engine: &Engine, worker: &mut Worker, least: usize) {
    let (mut met, mut cursor) = (0, None);
    loop {
        let list = List { prefix: Key::empty(), limit: 1_000, cursor, values: ListValues::None };
        match engine.execute(worker, &Command::List(list)) {
            Ok(Reply::Page(page)) => (met, cursor) = (met + page.items.len(), page.cursor),
            Err(Error::StaleCursor) => return,
            other => panic!("a list is not refused otherwise: {other:?}"),
        }
        if cursor.is_none() {
            break;
        }
    }
    assert!(met >= least, "a walk met {met} keys, of {least} that are always there");
}

/// The move goes on with this thread's commits, two buckets with each, and between two of them a reader has taken a step. Then a
/// walk comes, which ends it. Steps are handed over: whoever panics ends the others.
#[test]
fn threads_find_what_moves_and_lose_nothing() {
    const STABLE: usize = 20_000;
    const PASSING: usize = 20;
    const SLICES: usize = 300;
    let engine = Engine::open(Config { segment_buckets_max: 4, ..Config::default() });
    let mut worker = engine.worker();
    for first in (0..STABLE).step_by(1_000) {
        multi_set(&engine, &mut worker, first..first + 1_000, "stays", Ttl::None);
    }
    thread::scope(|scope| {
        let (step, steps) = mpsc::sync_channel(0);
        let engine = &engine;
        scope.spawn(move || {
            let mut worker = engine.worker();
            let mut numbers = (0..STABLE).step_by(7).cycle();
            while step.send(()).is_ok() {
                for number in numbers.by_ref().take(100) {
                    assert!(value_is(engine, &mut worker, number, "stays"), "k{number} is always there");
                }
            }
        });
        // New keys come for a while, and go again: tables grow and shrink while keys move.
        let mut slice = |at: usize| {
            let (at, goes) = (at % SLICES % (SLICES / 2), at % SLICES >= SLICES / 2);
            let numbers = STABLE + at * PASSING..STABLE + (at + 1) * PASSING;
            if goes {
                let deletes = numbers.map(|number| Delete::new(key(number))).collect();
                engine.execute(&mut worker, &Command::MultiDelete { deletes, require_all: true }).unwrap();
            } else {
                multi_set(engine, &mut worker, numbers, "passes", Ttl::None);
            }
            steps.recv().expect("the reader goes on");
        };
        engine.rekey(&mut engine.worker());
        (0..SLICES).for_each(&mut slice);
        assert!(engine.maintain(&mut engine.worker()), "keys are moving still");
        let walker = scope.spawn(|| {
            let mut worker = engine.worker();
            (0..3).for_each(|_| walk(engine, &mut worker, STABLE));
        });
        let mut at = 0;
        while !walker.is_finished() || at % SLICES > 0 {
            slice(at);
            at += 1;
        }
    });
    while engine.maintain(&mut worker) {}
    let stats = engine.stats();
    assert_eq!((stats.totals.keys, stats.totals.history_bytes, stats.rekeyed), (STABLE as u64, 0, 1));
}
