//! Keys that were chosen to fall together: they are noticed, placed by a hash that nobody can choose for, and found all the
//! while; keys that nobody chose never raise that alarm. Who chooses is taken to know the order of the fast hash, and in one
//! test even its secrets.
#![cfg(not(any(kvd_loom, kvd_shuttle)))]

use std::hash::Hasher;

use kvd_engine::{Config, Engine, Worker};
use kvd_types::*;
use rapidhash::v3::RapidSecrets;
use siphasher::sip::SipHasher13;

const HASH_KEY: [u64; 2] = [7, 11];

/// Keys to choose from.
const CANDIDATES: usize = 1_000_000;

/// Keys that nobody has chosen, in each test. The choosing takes a million more without an alarm.
const UNCHOSEN: usize = 100_000;

fn open(segment_buckets_max: usize) -> (Engine, Worker) {
    let engine = Engine::open(Config { hash_key: HASH_KEY, segment_buckets_max, ..Config::default() });
    let worker = engine.worker();
    (engine, worker)
}

fn candidate(number: usize) -> Key<'static> {
    Key::new(format!("user:{number}").into_bytes()).unwrap()
}

fn set(engine: &Engine, worker: &mut Worker, key: &Key<'static>) {
    engine.execute(worker, &Command::Set(Set::new(key.clone(), key.as_bytes().to_vec()))).unwrap();
}

fn multi_set(engine: &Engine, worker: &mut Worker, keys: &[Key<'static>]) {
    let sets = keys.iter().map(|key| Set::new(key.clone(), key.as_bytes().to_vec())).collect();
    engine.execute(worker, &Command::MultiSet { sets }).unwrap();
}

fn assert_found(engine: &Engine, worker: &mut Worker, keys: &[Key<'static>]) {
    for key in keys {
        let is_found =
            |found: Option<kvd_engine::Found<'_>>| found.is_some_and(|found| found.value() == key.as_bytes());
        assert!(engine.get_with(worker, key.as_bytes(), is_found), "{key:?}");
    }
}

/// The first keys in order of hash, page by page.
fn list(engine: &Engine, worker: &mut Worker, most: usize) -> Vec<Key<'static>> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    while keys.len() < most {
        let list = List { prefix: Key::empty(), limit: 1_000, cursor, values: ListValues::None };
        let Ok(Reply::Page(page)) = engine.execute(worker, &Command::List(list)) else { panic!("refused") };
        keys.extend(page.items.into_iter().map(|item| item.key));
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    keys.truncate(most);
    keys
}

/// The keys of a million whose hashes begin with the most zeros.
fn chosen(most: usize) -> Vec<Key<'static>> {
    let (engine, mut worker) = open(63);
    let keys: Vec<_> = (0..CANDIDATES).map(candidate).collect();
    keys.chunks(1_000).for_each(|keys| multi_set(&engine, &mut worker, keys));
    assert_eq!(engine.stats().rekeyed, 0, "nobody has chosen them yet");
    list(&engine, &mut worker, most)
}

/// All that there is about keys that were put into a store and are to be there.
fn assert_whole(engine: &Engine, worker: &mut Worker, keys: &[Key<'static>]) {
    assert_found(engine, worker, keys);
    assert_eq!(engine.stats().totals.keys, keys.len() as u64);
    let (mut listed, mut expected) = (list(engine, worker, usize::MAX), keys.to_vec());
    listed.sort();
    expected.sort();
    assert!(listed == expected, "each key is listed once");
}

#[test]
fn keys_chosen_by_their_order_are_noticed_and_found() {
    let keys = chosen(2_000);
    for segment_buckets_max in [1, 8, 63] {
        let (engine, mut worker) = open(segment_buckets_max);
        for (number, key) in keys.iter().enumerate() {
            set(&engine, &mut worker, key);
            if number % 97 == 0 {
                assert_found(&engine, &mut worker, &keys[..=number]);
            }
        }
        assert_eq!(engine.stats().rekeyed, 1, "{segment_buckets_max} buckets a segment");
        assert_whole(&engine, &mut worker, &keys);
        while engine.maintain(&mut worker) {}
        assert_whole(&engine, &mut worker, &keys);
        let totals = engine.stats().totals;
        assert!(totals.index_bytes < 100 * totals.keys, "{} bytes for {} keys", totals.index_bytes, totals.keys);
        assert_eq!(totals.retired_bytes, 0);
    }
}

/// So many keys of one hash, of all its 64 bits: the fast hash multiplies by their first half, xor a secret, and here that is 0.
fn keys_of_one_hash(count: u64) -> Vec<Key<'static>> {
    let mut seed = SipHasher13::new_with_keys(HASH_KEY[0], HASH_KEY[1]);
    seed.write(b"seed of the fast hash");
    let first_half = RapidSecrets::seed(seed.finish()).secrets[1].to_le_bytes();
    (0..count).map(|number| Key::new([first_half, number.to_le_bytes()].concat()).unwrap()).collect()
}

#[test]
fn keys_of_one_hash_are_noticed_and_found() {
    let keys = keys_of_one_hash(2_000);
    let unchosen: Vec<_> = (0..20_000).map(candidate).collect();
    for batch in [1, 100, 2_000] {
        let (engine, mut worker) = open(63);
        unchosen.chunks(1_000).for_each(|keys| multi_set(&engine, &mut worker, keys));
        for keys in keys.chunks(batch) {
            multi_set(&engine, &mut worker, keys);
        }
        assert_eq!(engine.stats().rekeyed, 1, "batches of {batch}");
        assert_found(&engine, &mut worker, &keys);
        assert_whole(&engine, &mut worker, &[&keys[..], &unchosen].concat());
    }
}

#[test]
fn unchosen_keys_one_by_one_raise_no_alarm() {
    let (engine, mut worker) = open(63);
    (0..UNCHOSEN).for_each(|number| set(&engine, &mut worker, &candidate(number)));
    assert_eq!(engine.stats().rekeyed, 0);
}

#[test]
fn batches_of_unchosen_keys_raise_no_alarm() {
    for segment_buckets_max in [1, 63] {
        let (engine, mut worker) = open(segment_buckets_max);
        let keys: Vec<_> = (0..UNCHOSEN).map(|number| candidate(CANDIDATES + number)).collect();
        keys.chunks(10_000).for_each(|keys| multi_set(&engine, &mut worker, keys));
        assert_eq!(engine.stats().rekeyed, 0, "{segment_buckets_max} buckets a segment");
    }
}

/// Whoever goes through a list and deletes what it names leaves the rest close together.
#[test]
fn deletions_in_order_of_hash_raise_no_alarm() {
    for keys in [1_000, 5_000, 50_000] {
        for at_once in [1, 100, 1_000, 5_000] {
            let (engine, mut worker) = open(63);
            let keys: Vec<_> = (0..keys).map(candidate).collect();
            keys.chunks(1_000).for_each(|keys| multi_set(&engine, &mut worker, keys));
            let full = engine.stats().totals.index_bytes;
            let listed = list(&engine, &mut worker, usize::MAX);
            for (round, deleted) in listed.chunks(at_once).enumerate() {
                let deletes = deleted.iter().cloned().map(Delete::new).collect();
                engine.execute(&mut worker, &Command::MultiDelete { deletes, require_all: true }).unwrap();
                // One new key for twenty that go: where there is room, and where there is not.
                let new = (round * at_once / 20..(round + 1) * at_once / 20).map(|n| candidate(CANDIDATES + n));
                new.for_each(|key| set(&engine, &mut worker, &key));
            }
            assert_eq!(engine.stats().rekeyed, 0, "{} keys, {at_once} at once", keys.len());
            let left = list(&engine, &mut worker, usize::MAX);
            assert_eq!(engine.stats().totals.keys, left.len() as u64);
            assert_found(&engine, &mut worker, &left);
            let totals = engine.stats().totals;
            assert!(totals.index_bytes < full / 3, "{} of {full} bytes for {} keys", totals.index_bytes, left.len());
        }
    }
}
