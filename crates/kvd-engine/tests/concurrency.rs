//! The engine under threads: a commit of many keys is seen as a whole or not at all, of two writers with one condition
//! exactly one wins, and a walk meets every key that stays. Threads begin together at a barrier and end when the work is
//! done; nothing depends on who is faster.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use kvd_engine::{Config, Engine};
use kvd_types::*;

fn key(name: &str) -> Key<'_> {
    Key::new(name.as_bytes()).unwrap()
}

fn set<'a>(name: &'a str, value: &str, condition: Condition) -> Set<'a> {
    Set { condition, ..Set::new(key(name), Bytes::copy_from_slice(value.as_bytes())) }
}

/// Tells the others to stop when it goes, in a panic too: a test that fails must not hang.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed); // only tells when to stop, as the loads do
    }
}

#[test]
fn a_reader_never_sees_half_a_commit() {
    let engine = Engine::open(Config::default());
    let names = ["k1", "k2"];
    let done = AtomicBool::new(false);
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        let _stop = StopAtEnd(&done);
        let writer = |mark: &'static str| {
            let (engine, barrier) = (&engine, &barrier);
            scope.spawn(move || {
                let mut worker = engine.worker();
                barrier.wait();
                for n in 0..20_000 {
                    let value = format!("{mark}{n}");
                    if n % 5 == 4 {
                        let deletes = names.map(|name| Delete { key: key(name), condition: Condition::Always }).into();
                        engine.execute(&mut worker, &Command::MultiDelete { deletes, require_all: false }).unwrap();
                    } else {
                        let sets = names.map(|name| set(name, &value, Condition::Always)).into();
                        engine.execute(&mut worker, &Command::MultiSet { sets }).unwrap();
                    }
                }
            })
        };
        let writers = [writer("a"), writer("b")];
        for _ in 0..2 {
            scope.spawn(|| {
                let mut worker = engine.worker();
                let mut last = Revision(0);
                barrier.wait();
                // Relaxed: only tells when to stop.
                while !done.load(Ordering::Relaxed) {
                    let command = Command::MultiGet { keys: names.map(key).into(), require_all: false };
                    let Ok(Reply::MultiGot { revision, entries }) = engine.execute(&mut worker, &command) else {
                        panic!("a multi-get of missing keys is no error")
                    };
                    assert_eq!(entries[0], entries[1], "a mix of two commits at {revision}");
                    assert!(entries.iter().flatten().all(|entry| entry.revision <= revision));
                    assert!(revision >= last, "revisions went back");
                    last = revision;
                }
            });
        }
        for writer in writers {
            writer.join().unwrap();
        }
    });
}

#[test]
fn of_many_writers_with_one_condition_exactly_one_wins() {
    const WRITERS: usize = 4;
    const ROUNDS: usize = 2_000;
    let engine = Engine::open(Config::default());
    let barrier = Barrier::new(WRITERS);
    engine.execute(&mut engine.worker(), &Command::Set(set("k", "", Condition::Always))).unwrap();
    // Nothing panics between two barriers, where the others would wait for ever: what was answered is looked at afterwards.
    let answers: Vec<Result<Reply, Error>> = thread::scope(|scope| {
        let writer = || {
            let mut worker = engine.worker();
            let mut answers = Vec::new();
            for _ in 0..ROUNDS {
                // All read the same revision, then all write on the condition that it is current.
                barrier.wait();
                let revision = engine.get_with(&mut worker, b"k", |found| found.map(|found| found.revision()));
                barrier.wait();
                let condition = Condition::Revision(revision.unwrap_or_default());
                answers.push(engine.execute(&mut worker, &Command::Set(set("k", "", condition))));
            }
            answers
        };
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(writer)).collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), ROUNDS);
    let is_refusal = |answer: &Result<_, _>| matches!(answer, Err(Error::PreconditionFailed { .. }));
    assert!(lost.iter().all(is_refusal), "{:?}", lost.iter().find(|answer| !is_refusal(answer)));
    let stats = engine.stats();
    assert_eq!(stats.revision, Revision(ROUNDS as u64 + 1));
    assert_eq!(stats.operations.rejected, (ROUNDS * (WRITERS - 1)) as u64);
}

#[test]
fn a_walk_meets_every_key_that_stays_exactly_once() {
    let engine = Engine::open(Config { segment_buckets_max: 2, ..Config::default() });
    let stable: Vec<String> = (0..2_000).map(|n| format!("stable{n}")).collect();
    let mut worker = engine.worker();
    for name in &stable {
        engine.execute(&mut worker, &Command::Set(set(name, "", Condition::Always))).unwrap();
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopAtEnd(&done);
        // Makes the tables grow and shrink all the time.
        scope.spawn(|| {
            let mut worker = engine.worker();
            let names: Vec<String> = (0..20_000).map(|n| format!("passing{n}")).collect();
            // Relaxed: only tells when to stop.
            while !done.load(Ordering::Relaxed) {
                for name in &names {
                    engine.execute(&mut worker, &Command::Set(set(name, "", Condition::Always))).unwrap();
                }
                for name in &names {
                    let delete = Delete { key: key(name), condition: Condition::Always };
                    engine.execute(&mut worker, &Command::Delete(delete)).unwrap();
                }
            }
        });
        for _ in 0..20 {
            let mut seen = Vec::new();
            let mut cursor = None;
            loop {
                let list = List { prefix: key("stable"), limit: 37, cursor, values: ListValues::None };
                let Ok(Reply::Page(page)) = engine.execute(&mut worker, &Command::List(list)) else {
                    panic!("refused")
                };
                seen.extend(page.items.iter().map(|item| item.key.as_text().unwrap().to_owned()));
                cursor = page.cursor;
                if cursor.is_none() {
                    break;
                }
            }
            seen.sort();
            let mut expected = stable.clone();
            expected.sort();
            assert_eq!(seen, expected);
        }
    });
}

#[test]
fn sizes_are_exact_after_threads_fought_over_few_keys() {
    let engine = Engine::open(Config::default());
    thread::scope(|scope| {
        for thread in 0..4usize {
            let engine = &engine;
            scope.spawn(move || {
                let mut worker = engine.worker();
                for n in 0..20_000usize {
                    let name = format!("k{}", (n * 7 + thread) % 50);
                    let command = if n % 3 == 0 {
                        Command::Delete(Delete { key: key(&name), condition: Condition::Always })
                    } else {
                        Command::Set(set(&name, &"v".repeat(n % 11), Condition::Always))
                    };
                    engine.execute(&mut worker, &command).unwrap();
                }
            });
        }
    });
    let list = List { prefix: Key::empty(), limit: 1_000, cursor: None, values: ListValues::Full };
    let Ok(Reply::Page(page)) = engine.execute(&mut engine.worker(), &Command::List(list)) else { panic!("refused") };
    let stats = engine.stats();
    assert_eq!(stats.totals.keys, page.items.len() as u64);
    assert_eq!(stats.totals.value_bytes, page.items.iter().map(|item| item.entry.value.len() as u64).sum::<u64>());
    assert_eq!(stats.totals.key_bytes, page.items.iter().map(|item| item.key.len() as u64).sum::<u64>());
    assert_eq!(stats.operations.sets + stats.operations.deletes, 80_000);
}

#[test]
fn batches_of_new_keys_fill_shared_buckets() {
    const KEYS: usize = 100_000;
    for segment_buckets_max in [1, 3, 63] {
        let engine = Engine::open(Config { segment_buckets_max, ..Config::default() });
        let mut worker = engine.worker();
        let names: Vec<String> = (0..KEYS).map(|n| format!("k{n}")).collect();
        for batch in names.chunks(2_000) {
            let sets = batch.iter().map(|name| set(name, name, Condition::Absent)).collect();
            engine.execute(&mut worker, &Command::MultiSet { sets }).unwrap();
        }
        for name in &names {
            engine.get_with(&mut worker, name.as_bytes(), |found| {
                assert_eq!(found.map(|found| found.value()), Some(name.as_bytes()));
            });
        }
        for batch in names.chunks(2_000) {
            let deletes = batch.iter().map(|name| Delete::new(key(name))).collect();
            engine.execute(&mut worker, &Command::MultiDelete { deletes, require_all: true }).unwrap();
        }
        let totals = engine.stats().totals;
        assert_eq!((totals.keys, totals.key_bytes, totals.value_bytes, totals.record_bytes), (0, 0, 0, 0));
        assert!(totals.index_bytes < 100_000, "the index keeps {} bytes for nothing", totals.index_bytes);
    }
}
