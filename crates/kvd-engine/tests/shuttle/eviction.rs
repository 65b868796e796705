//! Writers in a store that is full and evicts, beside readers: every write succeeds, what is evicted does not come back by itself,
//! and the journal knows of all of it.

use kvd_engine::{Batch, Config, Engine, MemoryPolicy};

use crate::client::{Client, Journal, spawn};
use crate::run::passes;

/// An empty store takes a fifth of it, what is queued as much again.
const MEMORY_BYTES: u64 = 1_100;

/// As long as a number can be.
const LARGE: u64 = u64::MAX - 100;

fn open() -> Engine {
    let (memory_bytes_max, memory_policy) = (MEMORY_BYTES, MemoryPolicy::Evict);
    Engine::open(Config { memory_bytes_max, memory_policy, segment_buckets_max: 1, journal: true, ..Config::default() })
}

/// Some sets, and what is queued after each: that is inside the limit, too.
fn write(client: &mut Client, keys: impl Iterator<Item = u64>) -> Vec<Batch> {
    let mut batches = Vec::new();
    for key in keys {
        client.set(key, LARGE + key);
        batches.extend(client.engine.seal().1);
    }
    batches
}

/// Two writers, each of more than fits, and the thread that evicts ahead; a reader of a key that nobody writes any more.
fn writers_at_the_limit() {
    let engine = open();
    let mut batches = write(&mut Client::new(&engine), 0..8);
    let writers = [10, 20].map(|first| spawn(&engine, move |client| write(client, first..first + 4)));
    let background = spawn(&engine, |client| {
        client.engine.maintain(&mut client.worker);
    });
    let reader = spawn(&engine, |client| {
        let seen = [client.get_once(7), client.get_once(7), client.get_once(7)];
        assert!(seen.windows(2).all(|pair| pair[0].is_some() || pair[1].is_none()), "it came back: {seen:?}");
    });
    for writer in writers {
        batches.extend(writer.join().unwrap());
    }
    background.join().unwrap();
    reader.join().unwrap();
    assert!(engine.stats().operations.evicted > 0);
    batches.sort_by_key(|batch| batch.revision);
    Journal::after(&engine, batches);
}

#[test]
fn writers_make_room_for_each_other() {
    passes(writers_at_the_limit);
}
