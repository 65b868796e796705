//! Writers in a store that is full and evicts, beside readers: every write succeeds, what is evicted does not come back by
//! itself, and the journal knows of all of it.

use std::collections::BTreeMap;

use kvd_engine::{Batch, Config, Engine, MemoryPolicy};
use kvd_types::{Command, Effect, Set};

use crate::client::{Client, key, spawn};
use crate::run::passes;

const MEMORY_BYTES: u64 = 10_000;

/// Some seven of them fit, beside what is queued.
const VALUE_BYTES: usize = 1_000;

fn open() -> Engine {
    let (memory_bytes_max, memory_policy) = (MEMORY_BYTES, MemoryPolicy::Evict);
    Engine::open(Config { memory_bytes_max, memory_policy, segment_buckets_max: 1, journal: true, ..Config::default() })
}

/// Some sets, and what is queued after each: that is inside the limit, too.
fn write(client: &mut Client, numbers: impl Iterator<Item = u64>) -> Vec<Batch> {
    let mut batches = Vec::new();
    for number in numbers {
        let set = Set::new(key(number), vec![number as u8; VALUE_BYTES]);
        client.execute(&Command::Set(set)).expect("others make room");
        batches.extend(client.engine.seal().1);
    }
    batches
}

fn is_there(client: &mut Client, number: u64) -> bool {
    client.engine.get_with(&mut client.worker, key(number).as_bytes(), |found| found.is_some())
}

/// Two writers, each of more than fits, and the thread that evicts ahead; a reader of a key that nobody writes any more.
fn writers_at_the_limit() {
    let engine = open();
    let mut client = Client::new(&engine);
    let mut batches = write(&mut client, 0..6);
    let writers = [10, 20].map(|first| spawn(&engine, move |client| write(client, first..first + 3)));
    let background = spawn(&engine, |client| {
        client.engine.maintain(&mut client.worker);
    });
    let reader = spawn(&engine, |client| {
        let seen = [0; 3].map(|number| is_there(client, number));
        assert!(seen.is_sorted_by(|before, after| before >= after), "it came back: {seen:?}");
    });
    for writer in writers {
        batches.extend(writer.join().unwrap());
    }
    background.join().unwrap();
    reader.join().unwrap();
    batches.extend(engine.seal().1);
    batches.sort_by_key(|batch| batch.revision);

    let mut replayed = BTreeMap::new();
    for (at, batch) in batches.iter().enumerate() {
        assert_eq!(batch.revision.0, at as u64 + 1, "revisions have no gaps");
        for effect in batch.effects() {
            match effect {
                Effect::Put { key, .. } => assert!(replayed.insert(key, batch.revision).is_none(), "each comes once"),
                Effect::Delete { key, .. } => assert!(replayed.remove(&key).is_some(), "only what is there goes"),
                Effect::Clear => panic!("nobody clears"),
            }
        }
    }
    let stats = engine.stats();
    assert_eq!((stats.totals.keys, stats.operations.evicted), (replayed.len() as u64, 12 - replayed.len() as u64));
    assert!(stats.operations.evicted > 0);
    for number in (0..6).chain(10..13).chain(20..23) {
        assert_eq!(is_there(&mut client, number), replayed.contains_key(&key(number)), "{number}");
    }
}

#[test]
fn writers_make_room_for_each_other() {
    passes(writers_at_the_limit);
}
