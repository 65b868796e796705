//! Emptying a large store: one commit, whatever it holds. What was there goes on being shown to who began to read before, is
//! counted, and its memory comes back in slices; when there is no room for it the reader is told.
#![cfg(not(any(kvd_loom, kvd_shuttle)))]

use bytes::Bytes;
use kvd_engine::{Config, Engine, Visibility, Worker};
use kvd_types::*;

fn key(number: usize) -> Key<'static> {
    Key::new(format!("k{number}").into_bytes()).unwrap()
}

fn fill(engine: &Engine, worker: &mut Worker, keys: usize, value: &Bytes) {
    for first in (0..keys).step_by(1_000) {
        let sets = (first..keys.min(first + 1_000)).map(|number| Set::new(key(number), value.clone())).collect();
        engine.execute(worker, &Command::MultiSet { sets }).unwrap();
    }
}

fn clear(engine: &Engine, worker: &mut Worker) -> u64 {
    match engine.execute(worker, &Command::Clear) {
        Ok(Reply::Cleared { deleted, .. }) => deleted,
        other => panic!("a clear is not refused: {other:?}"),
    }
}

fn is_found(engine: &Engine, worker: &mut Worker, number: usize) -> bool {
    engine.get_with(worker, key(number).as_bytes(), |found| found.is_some())
}

#[test]
fn a_million_keys_go_at_once_and_their_memory_in_slices() {
    const KEYS: usize = 1_000_000;
    let engine = Engine::open(Config::default());
    let mut worker = engine.worker();
    fill(&engine, &mut worker, KEYS, &Bytes::from(vec![b'v'; 300]));
    while engine.maintain(&mut worker) {}
    let full = engine.stats().totals;
    let view = engine.view().unwrap();

    assert_eq!(clear(&engine, &mut worker), KEYS as u64);
    let totals = engine.stats().totals;
    assert_eq!((totals.keys, totals.key_bytes, totals.value_bytes, totals.record_bytes), (0, 0, 0, 0));
    assert_eq!(totals.history_bytes, full.memory_bytes(), "all of it is kept for the view");
    assert!(totals.index_bytes < 1_000, "a new index of {} bytes", totals.index_bytes);
    assert!((0..KEYS).step_by(10_007).all(|number| !is_found(&engine, &mut worker, number)));
    for number in (0..KEYS).step_by(10_007) {
        let entry = view.get(&engine, &mut worker, &key(number)).unwrap();
        assert_eq!(entry.expect("the view began before the clear").value.len(), 300);
    }
    fill(&engine, &mut worker, 100, &Bytes::from_static(b"new"));
    while engine.maintain(&mut worker) {}
    let list = List { prefix: Key::empty(), limit: 1_000, cursor: None, values: ListValues::None };
    let page = view.list(&engine, &mut worker, &list).unwrap();
    assert!(page.items.len() == 1_000 && page.cursor.is_some(), "a page of what was before");
    assert_eq!(engine.stats().totals.history_bytes, full.memory_bytes());

    drop(view);
    // Each slice gives some back, and none all: freeing a gigabyte at once would stall whoever does it.
    let mut left = Vec::new();
    while engine.maintain(&mut worker) {
        let totals = engine.stats().totals;
        assert_eq!(totals.history_bytes, 0, "nobody reads there");
        left.push(totals.retired_bytes);
    }
    assert!(left.len() > 2 && left.is_sorted_by(|before, after| before >= after), "{left:?} bytes after each slice");
    assert!(left[0] > full.memory_bytes() / 4, "{} of {} bytes after one slice", left[0], full.memory_bytes());
    let totals = engine.stats().totals;
    assert_eq!((totals.keys, totals.value_bytes, totals.retired_bytes, totals.history_bytes), (100, 300, 0, 0));
}

#[test]
fn a_clear_makes_room_by_and_by_and_readers_lose_what_does_not_fit() {
    const KEYS: usize = 5_000;
    let engine = Engine::open(Config { memory_bytes_max: 8 << 20, ..Config::default() });
    let mut worker = engine.worker();
    let value = Bytes::from(vec![b'v'; 1_000]);
    fill(&engine, &mut worker, KEYS, &value);
    let (view, mut update) = (engine.view().unwrap(), engine.update().unwrap());
    assert!(update.get(&engine, &mut worker, &key(1)).unwrap().is_some());
    assert_eq!(clear(&engine, &mut worker), KEYS as u64);
    assert!(view.get(&engine, &mut worker, &key(1)).unwrap().is_some());
    // What was cleared and what comes don't fit together: as many as there were fit only when the old ones go.
    fill(&engine, &mut worker, KEYS, &value);
    let too_old = |error: Error| assert!(matches!(error, Error::SnapshotTooOld { .. }), "{error}");
    too_old(view.get(&engine, &mut worker, &key(1)).unwrap_err());
    too_old(update.get(&engine, &mut worker, &key(1)).unwrap_err());
    let list = List { prefix: Key::empty(), limit: 10, cursor: None, values: ListValues::None };
    too_old(view.list(&engine, &mut worker, &list).unwrap_err());
    while engine.maintain(&mut worker) {}
    let totals = engine.stats().totals;
    assert_eq!((totals.keys, totals.history_bytes, totals.retired_bytes), (KEYS as u64, 0, 0));
    assert!((0..KEYS).all(|number| is_found(&engine, &mut worker, number)));
}

#[test]
fn clears_one_after_the_other_under_views_keep_each_state() {
    let engine = Engine::open(Config::default());
    let mut worker = engine.worker();
    let mut views = Vec::new();
    for round in 1..=4 {
        fill(&engine, &mut worker, 100 * round, &Bytes::from(round.to_string()));
        views.push((round, engine.view().unwrap()));
        assert_eq!(clear(&engine, &mut worker), 100 * round as u64);
        while engine.maintain(&mut worker) {}
    }
    let held = engine.stats().totals.history_bytes;
    // The oldest last: one in the middle keeps nothing of the others.
    views.rotate_left(1);
    let mut last = held;
    while !views.is_empty() {
        for (round, view) in &views {
            for (number, there) in [(0, true), (100 * round - 1, true), (100 * round, false)] {
                let entry = view.get(&engine, &mut worker, &key(number)).unwrap();
                assert_eq!(entry.map(|entry| entry.value), there.then(|| Bytes::from(round.to_string())));
            }
        }
        views.remove(0);
        while engine.maintain(&mut worker) {}
        let held = engine.stats().totals.history_bytes;
        assert!(held <= last, "{held} bytes kept, {last} before");
        last = held;
    }
    assert_eq!(last, 0);
    assert_eq!(engine.stats().totals.retired_bytes, 0);
}

/// Thousands of cleared states that someone may read, or that wait for the disk together, are a chain that must not be gone
/// through by recursion, and only those that someone reads stay.
#[test]
fn many_clears_in_a_row_are_let_go() {
    const CLEARS: usize = 30_000;
    for visibility in [Visibility::Immediate, Visibility::WhenDurable] {
        let engine = Engine::open(Config { visibility, ..Config::default() });
        let mut worker = engine.worker();
        let view = engine.view().unwrap();
        for _ in 0..CLEARS {
            engine.execute(&mut worker, &Command::Set(Set::new(key(1), "v"))).unwrap();
            clear(&engine, &mut worker);
        }
        engine.stats();
        let (sealed, _) = engine.seal();
        engine.make_visible(sealed);
        drop(view);
        while engine.maintain(&mut worker) {}
        let totals = engine.stats().totals;
        assert_eq!((totals.keys, totals.history_bytes, totals.retired_bytes), (0, 0, 0));
    }
}
