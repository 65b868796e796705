//! Who holds a read point: transactions, which are bounded, and commands for the length of one call, which are not. However many
//! there are, each keeps the state it reads, and nothing is kept when they are gone.
#![cfg(not(any(kvd_loom, kvd_shuttle)))]

use std::sync::mpsc;
use std::thread;

use kvd_engine::{Config, Engine, View, Worker};
use kvd_types::*;

fn key(name: &str) -> Key<'static> {
    Key::new(name.as_bytes().to_vec()).unwrap()
}

fn set(engine: &Engine, worker: &mut Worker, name: &str, value: &str) {
    engine.execute(worker, &Command::Set(Set::new(key(name), value.to_owned()))).unwrap();
}

fn is_too_many(begun: &Result<View, Error>) -> bool {
    matches!(begun, Err(Error::TooManyTransactions { max: 1 }))
}

#[test]
fn lists_take_no_transactions_place() {
    let engine = Engine::open(Config { transactions_max: 1, ..Config::default() });
    for number in 0..5_000 {
        set(&engine, &mut engine.worker(), &format!("k{number}"), "v");
    }
    thread::scope(|scope| {
        let (begins, lists) = mpsc::sync_channel(0);
        let engine = &engine;
        scope.spawn(move || {
            let mut worker = engine.worker();
            for _ in 0..20 {
                if begins.send(()).is_err() {
                    return;
                }
                let list = List { prefix: Key::empty(), limit: 10_000, cursor: None, values: ListValues::None };
                engine.execute(&mut worker, &Command::List(list)).unwrap();
            }
        });
        while lists.recv().is_ok() {
            for _ in 0..1_000 {
                engine.view().expect("no other transaction is open");
            }
        }
    });
    let view = engine.view();
    assert!(is_too_many(&engine.view()), "one is open");
    drop(view);
    engine.view().unwrap();
}

#[test]
fn a_transaction_that_was_ended_gives_its_place_up_once() {
    const HELD: usize = 1_000;
    let engine = Engine::open(Config { transactions_max: 1, memory_bytes_max: 4 << 20, ..Config::default() });
    let mut worker = engine.worker();
    set(&engine, &mut worker, "k", "v");
    let ended = engine.view().unwrap();
    // What it keeps, and then so much that this has to go.
    let value = "v".repeat(1_000);
    for number in 0..HELD {
        set(&engine, &mut worker, &format!("held{number}"), &value);
    }
    let second = engine.view();
    assert!(is_too_many(&second), "one is open");
    drop(ended);
    let ended = engine.view().unwrap();
    for number in 0..HELD {
        engine.execute(&mut worker, &Command::Delete(Delete::new(key(&format!("held{number}"))))).unwrap();
    }
    let mut number = 0;
    while ended.get(&engine, &mut worker, &key("k")).is_ok() {
        set(&engine, &mut worker, &format!("new{number}"), &value);
        number += 1;
    }
    let view = engine.view().expect("the one before was ended");
    drop(ended);
    assert!(is_too_many(&engine.view()), "one is open still");
    drop(view);
    engine.view().unwrap();
}

#[test]
fn hundreds_of_read_points_are_each_kept() {
    const VIEWS: usize = 400;
    let engine = Engine::open(Config::default());
    let mut worker = engine.worker();
    set(&engine, &mut worker, "both", "");
    let mut views = Vec::new();
    for number in 0..VIEWS {
        set(&engine, &mut worker, "k", &number.to_string());
        views.push((number, engine.view().unwrap()));
    }
    // A worker that is new to so many.
    let mut worker = engine.worker();
    for value in ["one", "two", "three"] {
        let sets = vec![Set::new(key("k"), value), Set::new(key("both"), value)];
        engine.execute(&mut worker, &Command::MultiSet { sets }).unwrap();
    }
    let held = engine.stats().totals.history_bytes;
    while !views.is_empty() {
        for (number, view) in &views {
            let entry = view.get(&engine, &mut worker, &key("k")).unwrap().expect("it is there at each of them");
            assert_eq!(entry.value, number.to_string());
        }
        // Every third goes, those in the middle too, until there is none.
        views = views.into_iter().enumerate().filter(|(at, _)| at % 3 != 0).map(|(_, view)| view).collect();
        while engine.maintain(&mut worker) {}
    }
    assert!(held > (VIEWS * 8) as u64, "{held} bytes held at first");
    assert_eq!(engine.stats().totals.history_bytes, 0);
}
