//! Memory: a write that does not fit is refused and nothing of it happens, deletes still work, and room comes back. When what
//! transactions keep takes too much, the oldest is told so; it never mistakes a version that had to go for a missing key. Large
//! values are shared, not copied, and what goes is freed.
#![cfg(not(any(kvd_loom, kvd_shuttle)))]

use bytes::Bytes;
use kvd_engine::{Config, Engine};
use kvd_types::*;

fn key(number: usize) -> Key<'static> {
    Key::new(number.to_string().into_bytes()).unwrap()
}

fn set(number: usize, size: usize) -> Command<'static> {
    Command::Set(Set::new(key(number), vec![number as u8; size]))
}

#[test]
fn a_full_store_refuses_writes_takes_deletes_and_recovers() {
    let engine = Engine::open(Config { memory_bytes_max: 1 << 20, ..Config::default() });
    let mut worker = engine.worker();
    let mut stored = 0;
    let refused = loop {
        match engine.execute(&mut worker, &set(stored, 1_000)) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::MemoryFull { max, used, needed } if used + needed > max), "{refused}");
    assert!((800..1_049).contains(&stored), "{stored} values of 1,000 bytes fit 1 MiB");
    let before = engine.stats().totals;
    let sets = vec![Set::new(key(0), "replaced"), Set::new(key(9_999), vec![0; 100_000])];
    assert!(matches!(engine.execute(&mut worker, &Command::MultiSet { sets }), Err(Error::MemoryFull { .. })));
    assert_eq!(engine.stats().totals.value_bytes, before.value_bytes, "all or nothing");
    for number in 0..stored {
        let found =
            engine.get_with(&mut worker, key(number).as_bytes(), |found| found.map(|found| found.value().len()));
        assert_eq!(found, Some(1_000));
    }
    for number in 0..100 {
        engine.execute(&mut worker, &Command::Delete(Delete::new(key(number)))).unwrap();
    }
    for number in 0..50 {
        engine.execute(&mut worker, &set(number, 1_000)).unwrap();
    }
}

#[test]
fn a_view_whose_versions_had_to_go_says_so() {
    let engine = Engine::open(Config { memory_bytes_max: 4 << 20, ..Config::default() });
    let mut worker = engine.worker();
    for number in 0..1_000 {
        engine.execute(&mut worker, &set(number, 1_000)).unwrap();
    }
    let view = engine.view().unwrap();
    let mut update = engine.update().unwrap();
    assert!(update.get(&engine, &mut worker, &key(7)).unwrap().is_some());
    // Deletes alone: to a reader that looked at the store without its pin the keys would just be missing.
    for round in 0..4 {
        for number in 0..1_000 {
            engine.execute(&mut worker, &Command::Delete(Delete::new(key(number)))).unwrap();
        }
        for number in 0..1_000 {
            engine.execute(&mut worker, &set(number, 900 + round)).unwrap();
        }
    }
    for number in 0..1_000 {
        match view.get(&engine, &mut worker, &key(number)) {
            Ok(entry) => assert_eq!(entry.expect("it was there at the view's revision").value.len(), 1_000),
            Err(error) => assert!(matches!(error, Error::SnapshotTooOld { .. }), "{error}"),
        }
    }
    // More than fits: the versions of the view and the update have to make room.
    for number in 2_000..8_000 {
        if engine.execute(&mut worker, &set(number, 1_000)).is_err() {
            break;
        }
    }
    assert!(matches!(view.get(&engine, &mut worker, &key(0)), Err(Error::SnapshotTooOld { .. })));
    let list = List { prefix: Key::empty(), limit: 10, cursor: None, values: ListValues::Meta };
    assert!(matches!(view.list(&engine, &mut worker, &list), Err(Error::SnapshotTooOld { .. })));
    update.set(Set::new(key(7), "x")).unwrap();
    assert!(matches!(update.commit(&engine, &mut worker), Err(Error::SnapshotTooOld { .. })));
}

#[test]
fn more_transactions_than_there_may_be_are_refused() {
    let engine = Engine::open(Config { transactions_max: 2, ..Config::default() });
    let first = engine.view().unwrap();
    let _second = engine.update().unwrap();
    assert!(matches!(engine.view().map(drop), Err(Error::TooManyTransactions { max: 2 })));
    drop(first);
    engine.view().unwrap();
}

#[test]
fn large_values_are_shared_and_freed() {
    let engine = Engine::open(Config::default());
    let mut worker = engine.worker();
    let value = Bytes::from(vec![7; 8 << 20]);
    engine.execute(&mut worker, &Command::Set(Set::new(key(1), value.clone()))).unwrap();
    let Ok(Reply::Got { entry: Some(entry), .. }) = engine.execute(&mut worker, &Command::Get { key: key(1) }) else {
        panic!("it was set")
    };
    assert_eq!(entry.value.as_ptr(), value.as_ptr(), "handed out as it was handed in");
    engine.execute(&mut worker, &Command::Delete(Delete::new(key(1)))).unwrap();
    drop(entry);
    while engine.maintain(&mut worker) {}
    assert!(value.is_unique(), "the store let go of it");
    assert_eq!(engine.stats().totals.retired_bytes, 0);
}

#[test]
fn keys_and_values_of_every_length_class_come_back() {
    let engine = Engine::open(Config::default());
    let mut worker = engine.worker();
    let content_type = ContentType::new(b"text/plain; charset=utf-8").unwrap();
    let lengths = [0, 1, 255, 256, 16_383, 16_384, 65_535, 65_536, 70_000];
    for key_len in lengths.into_iter().filter(|len| *len <= KEY_BYTES_CEILING) {
        for value_len in lengths {
            for (content_type, ttl) in
                [(None, Ttl::None), (Some(content_type.clone()), Ttl::None), (None, Ttl::At(1 << 40))]
            {
                let key = Key::new(vec![b'k'; key_len]).unwrap();
                let value = Bytes::from(vec![b'v'; value_len]);
                let set = Set { content_type: content_type.clone(), ttl, ..Set::new(key.clone(), value.clone()) };
                engine.execute(&mut worker, &Command::Set(set)).unwrap();
                let reply = engine.execute(&mut worker, &Command::Get { key: key.clone() });
                let Ok(Reply::Got { entry: Some(entry), .. }) = reply else { panic!("{key_len} {value_len}") };
                assert_eq!((entry.value, entry.content_type), (value, content_type.clone()));
                assert_eq!(entry.expires_at_ms, (ttl != Ttl::None).then_some(1 << 40));
            }
        }
    }
    let totals = engine.stats().totals;
    assert_eq!(totals.key_bytes, lengths.into_iter().filter(|len| *len <= KEY_BYTES_CEILING).sum::<usize>() as u64);
}

#[test]
#[should_panic(expected = "with the engine that began it")]
fn a_transaction_of_another_engine_is_refused() {
    let (engine, other) = (Engine::open(Config::default()), Engine::open(Config::default()));
    let view = engine.view().unwrap();
    let _ = view.get(&other, &mut other.worker(), &key(1));
}
