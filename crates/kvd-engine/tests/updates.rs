//! What an update remembers, and what it says of itself: it is bounded as a batch is, reads its own writes as they will be when
//! it has committed, is counted as a batch is, and keeps no version that its own commit replaces.
#![cfg(not(any(kvd_loom, kvd_shuttle)))]

use bytes::Bytes;
use kvd_engine::{Config, Engine, Update, Worker};
use kvd_types::*;

fn key(name: &str) -> Key<'static> {
    Key::new(name.as_bytes().to_vec()).unwrap()
}

fn set(name: &str, ttl: Ttl) -> Set<'static> {
    Set { ttl, ..Set::new(key(name), "v") }
}

fn open(limits: Limits) -> (Engine, Worker) {
    let engine = Engine::open(Config { limits, ..Config::default() });
    let worker = engine.worker();
    (engine, worker)
}

fn broken(result: Result<impl std::fmt::Debug, Error>) -> Limit {
    match result {
        Err(Error::LimitExceeded(exceeded)) => exceeded.limit,
        other => panic!("a limit is broken, and this was answered: {other:?}"),
    }
}

#[test]
fn keys_read_and_written_together_are_bounded() {
    let (engine, mut worker) = open(Limits { batch_items_max: 4, ..Limits::DEFAULT });
    let mut update = engine.update().unwrap();
    for name in ["r1", "r2", "both"] {
        assert_eq!(update.get(&engine, &mut worker, &key(name)).unwrap(), None);
    }
    update.set(set("both", Ttl::None)).unwrap();
    update.delete(key("w1")).unwrap();
    assert_eq!(broken(update.get(&engine, &mut worker, &key("r3"))), Limit::BatchItems);
    assert_eq!(broken(update.set(set("w2", Ttl::None))), Limit::BatchItems);
    assert_eq!(broken(update.delete(key("w2"))), Limit::BatchItems);
    // What it knows already takes no more room, and what was refused has left nothing.
    update.get(&engine, &mut worker, &key("r1")).unwrap();
    update.set(set("r2", Ttl::None)).unwrap();
    update.delete(key("both")).unwrap();
    assert_eq!(update.commit(&engine, &mut worker).unwrap(), Revision(1));
    assert_eq!(engine.stats().totals.keys, 1);
}

#[test]
fn bytes_of_keys_and_of_values_to_be_written_are_bounded() {
    let (engine, mut worker) = open(Limits { key_bytes_max: 20, batch_bytes_max: 100, ..Limits::DEFAULT });
    let put = |update: &mut Update, name: &str, len| update.set(Set::new(key(name), Bytes::from(vec![0; len])));
    let mut update = engine.update().unwrap();
    put(&mut update, "k1", 48).unwrap();
    put(&mut update, "k2", 48).unwrap();
    assert_eq!(broken(put(&mut update, "k3", 0)), Limit::BatchBytes);
    assert_eq!(broken(put(&mut update, "k2", 49)), Limit::BatchBytes);
    assert_eq!(broken(update.get(&engine, &mut worker, &key("k3"))), Limit::BatchBytes);
    assert_eq!(broken(update.delete(key(&"k".repeat(21)))), Limit::KeyBytes);
    // A shorter value instead of the one before makes room, and so does a delete. A read of an own write takes none away.
    put(&mut update, "k2", 40).unwrap();
    update.set(Set { ttl: Ttl::Keep, ..Set::new(key("k3"), "666666") }).unwrap();
    assert!(update.get(&engine, &mut worker, &key("k3")).unwrap().is_some());
    assert_eq!(broken(put(&mut update, "k4", 0)), Limit::BatchBytes);
    update.delete(key("k1")).unwrap();
    put(&mut update, "k4", 46).unwrap();
    assert_eq!(broken(put(&mut update, "k5", 0)), Limit::BatchBytes);
    update.commit(&engine, &mut worker).unwrap();
    assert_eq!(engine.stats().totals.value_bytes, 40 + 6 + 46);
}

/// Time is 1,000. What the store has of `k`, what an update writes, and with which expiry it then reads `k`, if at all.
#[test]
fn an_own_write_is_read_as_it_will_be() {
    type Case = (Option<Ttl>, &'static [Option<Ttl>], Option<Option<u64>>);
    let cases: &[Case] = &[
        (None, &[Some(Ttl::None)], Some(None)),
        (None, &[Some(Ttl::Ms(7))], Some(Some(1_007))),
        (None, &[Some(Ttl::At(1_001))], Some(Some(1_001))),
        (None, &[Some(Ttl::At(1_000))], None),
        (Some(Ttl::None), &[Some(Ttl::At(500))], None),
        (None, &[Some(Ttl::Ms(0))], None),
        (None, &[Some(Ttl::Keep)], Some(None)),
        (Some(Ttl::None), &[Some(Ttl::Keep)], Some(None)),
        (Some(Ttl::At(5_000)), &[Some(Ttl::Keep)], Some(Some(5_000))),
        (Some(Ttl::At(5_000)), &[Some(Ttl::None)], Some(None)),
        (Some(Ttl::At(5_000)), &[Some(Ttl::Keep), Some(Ttl::Keep)], Some(Some(5_000))),
        (Some(Ttl::At(900)), &[Some(Ttl::Keep)], Some(None)),
        (Some(Ttl::At(5_000)), &[Some(Ttl::At(6_000)), Some(Ttl::Keep)], Some(Some(6_000))),
        (Some(Ttl::At(5_000)), &[Some(Ttl::Ms(9)), Some(Ttl::Keep)], Some(Some(1_009))),
        (Some(Ttl::At(5_000)), &[Some(Ttl::None), Some(Ttl::Keep)], Some(None)),
        (Some(Ttl::At(5_000)), &[None, Some(Ttl::Keep)], Some(None)),
        (Some(Ttl::At(5_000)), &[Some(Ttl::At(500)), Some(Ttl::Keep)], Some(None)),
        (Some(Ttl::At(5_000)), &[Some(Ttl::Ms(0)), Some(Ttl::Keep)], Some(None)),
        (Some(Ttl::At(5_000)), &[None], None),
    ];
    for case in cases {
        let (stored, writes, expected) = case;
        let (engine, mut worker) = open(Limits::DEFAULT);
        if let Some(ttl) = stored {
            engine.execute(&mut worker, &Command::Set(set("k", *ttl))).unwrap();
        }
        engine.tick(1_000);
        // Once with a look at the key between the writes and the commit, once without.
        let write = |update: &mut Update| {
            for write in *writes {
                match write {
                    Some(ttl) => update.set(set("k", *ttl)).unwrap(),
                    None => update.delete(key("k")).unwrap(),
                }
            }
        };
        let mut update = engine.update().unwrap();
        write(&mut update);
        let before = engine.stats().operations;
        let seen = update.get(&engine, &mut worker, &key("k")).unwrap().map(|entry| entry.expires_at_ms);
        assert_eq!(seen, *expected, "read before the commit: {case:?}");
        assert_eq!(engine.stats().operations.gets(), before.gets() + 1, "one key was asked for: {case:?}");
        drop(update);
        let mut update = engine.update().unwrap();
        write(&mut update);
        update.commit(&engine, &mut worker).unwrap();
        let found = engine.get_with(&mut worker, b"k", |found| found.map(|found| found.expires_at_ms()));
        assert_eq!(found, *expected, "read after the commit: {case:?}");
    }
}

/// To read an own write back that keeps an expiry is to read the store.
#[test]
fn an_expiry_that_was_seen_and_changed_is_a_conflict() {
    let (engine, mut worker) = open(Limits::DEFAULT);
    for is_seen in [false, true] {
        engine.execute(&mut worker, &Command::Set(set("k", Ttl::At(10)))).unwrap();
        let mut update = engine.update().unwrap();
        update.set(set("k", Ttl::Keep)).unwrap();
        if is_seen {
            update.get(&engine, &mut worker, &key("k")).unwrap();
        }
        engine.execute(&mut worker, &Command::Set(set("k", Ttl::At(20)))).unwrap();
        let committed = update.commit(&engine, &mut worker);
        assert_eq!(committed.is_err(), is_seen, "{committed:?}");
    }
}

#[test]
fn an_update_is_counted_as_a_batch_is() {
    let (engine, mut worker) = open(Limits::DEFAULT);
    engine.execute(&mut worker, &Command::Set(set("there", Ttl::None))).unwrap();
    let mut update = engine.update().unwrap();
    update.set(set("k", Ttl::None)).unwrap();
    update.delete(key("there")).unwrap();
    update.delete(key("nothing")).unwrap();
    update.commit(&engine, &mut worker).unwrap();
    let counted = engine.stats().operations;
    assert_eq!((counted.sets, counted.deletes, counted.delete_misses, counted.rejected), (2, 2, 1, 0));

    // Without a change there is no commit, and a delete that found nothing all the same.
    let mut update = engine.update().unwrap();
    update.delete(key("nothing")).unwrap();
    update.commit(&engine, &mut worker).unwrap();
    let counted = engine.stats().operations;
    assert_eq!((counted.sets, counted.deletes, counted.delete_misses, counted.rejected), (2, 3, 2, 0));

    let mut update = engine.update().unwrap();
    update.get(&engine, &mut worker, &key("read")).unwrap();
    update.set(set("k1", Ttl::None)).unwrap();
    update.delete(key("k2")).unwrap();
    engine.execute(&mut worker, &Command::Set(set("read", Ttl::None))).unwrap();
    let refused = update.commit(&engine, &mut worker).unwrap_err();
    assert!(matches!(&refused, Error::Conflict { keys } if *keys == [key("read")]), "{refused:?}");
    let counted = engine.stats().operations;
    assert_eq!((counted.sets, counted.deletes, counted.delete_misses, counted.rejected), (3, 3, 2, 2));
}

#[test]
fn a_commit_keeps_no_version_for_itself() {
    let (engine, mut worker) = open(Limits::DEFAULT);
    for name in ["k1", "k2"] {
        engine.execute(&mut worker, &Command::Set(set(name, Ttl::None))).unwrap();
    }
    let mut update = engine.update().unwrap();
    update.get(&engine, &mut worker, &key("k1")).unwrap();
    update.set(set("k1", Ttl::None)).unwrap();
    update.set(set("k2", Ttl::None)).unwrap();
    let revision = update.commit(&engine, &mut worker).unwrap();
    assert_eq!((revision, worker.position()), (Revision(3), Revision(3)));
    assert_eq!(engine.stats().totals.history_bytes, 0);

    // Who else reads below keeps its versions.
    let view = engine.view().unwrap();
    let mut update = engine.update().unwrap();
    update.delete(key("k1")).unwrap();
    update.commit(&engine, &mut worker).unwrap();
    assert_eq!(view.get(&engine, &mut worker, &key("k1")).unwrap().unwrap().revision, revision);
    assert!(engine.stats().totals.history_bytes > 0);
}

#[test]
fn a_time_to_live_counts_from_the_commit_whichever_way_it_is_given() {
    let (engine, mut worker) = open(Limits::DEFAULT);
    engine.tick(1_000);
    engine.execute(&mut worker, &Command::Set(Set::new(key("k"), "v"))).unwrap();
    let mut update = engine.update().unwrap();
    let rule = Rule::Expire { ttl: Ttl::Ms(50), only: ExpiryCondition::Always };
    let expire = Command::Modify(Modify { key: key("k"), rule, condition: Condition::Always });
    update.execute(&engine, &mut worker, &expire).unwrap();
    update.execute(&engine, &mut worker, &Command::Set(set("set", Ttl::Ms(50)))).unwrap();
    engine.tick(2_000);
    update.commit(&engine, &mut worker).unwrap();
    for name in ["k", "set"] {
        let found = engine.get_with(&mut worker, name.as_bytes(), |found| found.map(|found| found.expires_at_ms()));
        assert_eq!(found, Some(Some(2_050)), "{name}");
    }
}
