//! Many keys that move to the keyed hash while the store is in use, by real threads and in slices: they are found all the
//! while, they end when their time comes, and nobody looks at what is freed, which AddressSanitizer and valgrind see.
#![cfg(not(any(kvd_loom, kvd_shuttle)))]

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
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

#[test]
fn threads_find_what_moves_and_lose_nothing() {
    const STABLE: usize = 5_000;
    const PASSING: usize = 2_000;
    let engine = Engine::open(Config { segment_buckets_max: 4, ..Config::default() });
    multi_set(&engine, &mut engine.worker(), 0..STABLE, "stays", Ttl::None);
    let (begin, done) = (Barrier::new(4), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut worker = engine.worker();
            begin.wait();
            // Relaxed: only tells when to stop.
            while !done.load(Ordering::Relaxed) {
                for number in (0..STABLE).step_by(7) {
                    assert!(value_is(&engine, &mut worker, number, "stays"), "k{number} is always there");
                }
            }
        });
        scope.spawn(|| {
            let mut worker = engine.worker();
            begin.wait();
            // Relaxed: only tells when to stop.
            while !done.load(Ordering::Relaxed) {
                walk(&engine, &mut worker, STABLE);
            }
        });
        scope.spawn(|| {
            let mut worker = engine.worker();
            begin.wait();
            for round in 0..4 {
                let first = STABLE + round * PASSING;
                multi_set(&engine, &mut worker, first..first + PASSING, "passes", Ttl::None);
                for number in first..first + PASSING {
                    engine.execute(&mut worker, &Command::Delete(Delete::new(key(number)))).unwrap();
                }
            }
            done.store(true, Ordering::Relaxed); // only tells when to stop, as the loads do
        });
        let mut worker = engine.worker();
        begin.wait();
        engine.rekey(&mut worker);
        while engine.maintain(&mut worker) {}
    });
    let mut worker = engine.worker();
    while engine.maintain(&mut worker) {}
    let stats = engine.stats();
    assert_eq!((stats.totals.keys, stats.totals.history_bytes, stats.rekeyed), (STABLE as u64, 0, 1));
}
