//! Room: a full disk refuses before anything has happened, deletes have the last of it, and it recovers by itself.
//! Nobody gets room twice, and nobody runs further ahead of the disk than a restart jumps.

use std::sync::Arc;

use kvd_journal::{Batch, Bug, Encoded, Error, Policy, Purpose, REVISION_JUMP, Refused, What, inspect, plant};
use kvd_testkit::disk::SimDisk;
use kvd_types::{Effect, Revision};

use crate::support::{self, Store, delete, options, put};

fn refused(store: &mut Store, effects: &[Effect<'static>]) -> Refused {
    store.reserve(effects).unwrap().map(drop).expect_err("it is refused")
}

/// Commits values until one is refused.
fn fill(store: &mut Store) -> Refused {
    loop {
        let effects = [put(&format!("key{}", store.last), vec![7; 300])];
        match store.reserve(&effects).unwrap() {
            Ok(reserved) => {
                let batch = store.give(reserved, &effects);
                store.writer.append(vec![batch], 0).unwrap();
                store.writer.sync().unwrap();
            }
            Err(refused) => return refused,
        }
    }
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let disk = SimDisk::new();
    disk.set_capacity(40 << 10);
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    assert!(matches!(fill(&mut store), Refused::DiskFull { .. }));
    assert!(store.writer.room().is_full());
    assert!(matches!(store.writer.make_room(), Err(Error::DiskFull { .. })));
    let there = store.replica.state.clone();
    drop(store);
    disk.set_capacity(60 << 10);
    let store = Store::open(&disk.after_power_cut(1), options(Policy::Always)).unwrap();
    assert_eq!(store.replica.state, there);
}

#[test]
fn deletes_have_the_last_of_the_room() {
    let disk = SimDisk::new();
    disk.set_capacity(40 << 10);
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    fill(&mut store);
    let small = [put("small", "")];
    while store.reserve(&small).unwrap().is_ok() {
        store.commit(&small);
    }
    let deletes: usize = (0..)
        .take_while(|index| {
            store.reserve(&[delete(&format!("key{index}"))]).unwrap().map(|_| ()).is_ok() && {
                store.commit(&[delete(&format!("key{index}"))]);
                *index < 1000
            }
        })
        .count();
    assert!(deletes >= 5, "{deletes}");
    assert!(matches!(refused(&mut store, &[delete("key0")]), Refused::DiskFull { .. }));
    // Even then it stops in order.
    store.writer.close(0).unwrap();
    let replayed = support::recover(&disk, options(Policy::Always)).unwrap().0;
    assert!(replayed.report().clean);
}

#[test]
fn room_comes_back_without_a_restart() {
    let disk = SimDisk::new();
    disk.set_capacity(40 << 10);
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    fill(&mut store);
    disk.set_capacity(80 << 10);
    store.writer.make_room().unwrap();
    assert!(!store.writer.room().is_full());
    store.commit(&[put("again", vec![7; 300])]);
    store.writer.sync().unwrap();
    let there = store.replica.state.clone();
    let store = Store::open(&disk.after_power_cut(1), options(Policy::Always)).unwrap();
    assert_eq!(store.replica.state, there);
}

#[test]
fn a_purge_makes_room() {
    let disk = SimDisk::new();
    disk.set_capacity(64 << 10);
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    for round in 0..200 {
        store.commit(&[put("key", vec![round; 2000])]);
        if round % 5 == 0 {
            store.snapshot().unwrap();
            store.writer.snapshots().purge().unwrap();
        }
    }
}

#[test]
fn room_that_is_found_missing_at_the_write_is_found() {
    plant(Some(Bug::UnreservedRoom));
    let disk = SimDisk::new();
    disk.set_capacity(40 << 10);
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    let error = (0..1000).find_map(|_| {
        let effects = [put("key", vec![7; 300])];
        let reserved = store.reserve(&effects).unwrap().unwrap();
        let batch = store.give(reserved, &effects);
        store.writer.append(vec![batch], 0).err()
    });
    let error = error.expect("a write fails, where a reservation should have been refused");
    assert!(matches!(error, Error::Io { .. }), "{error}");
    disk.set_capacity(1 << 20);
    assert!(matches!(store.writer.make_room(), Err(Error::Failed { .. })), "and it does not recover");
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_that_fits() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    store.commit(&[put("large", vec![1; 100_000])]);
    store.commit(&[put("small", "1")]);
    store.writer.sync().unwrap();
    let there = store.replica.state.clone();
    let store = Store::open(&disk.after_power_cut(1), options(Policy::Always)).unwrap();
    assert_eq!(store.replica.state, there);
}

#[test]
fn one_batch_that_is_too_large_keeps_no_other_waiting() {
    let disk = SimDisk::new();
    disk.set_capacity(64 << 10);
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    for _ in 0..40 {
        assert!(matches!(refused(&mut store, &[put("large", vec![1; 100_000])]), Refused::DiskFull { .. }));
        store.commit(&[put("small", vec![7; 300])]);
    }
}

#[test]
fn what_was_reserved_fits_also_when_a_segment_ends_meanwhile() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    let mut waiting = Vec::new();
    for index in 0..50 {
        let effects = [put(&format!("key{index}"), vec![index; 500])];
        let reserved = store.reserve(&effects).unwrap().unwrap();
        waiting.push((reserved, effects));
    }
    for (reserved, effects) in waiting {
        let batch = store.give(reserved, &effects);
        store.writer.append(vec![batch], 0).unwrap();
    }
    store.writer.sync().unwrap();
    let there = store.replica.state.clone();
    let store = Store::open(&disk.after_power_cut(1), options(Policy::Always)).unwrap();
    assert_eq!(store.replica.state, there);
}

#[test]
fn room_that_is_given_back_is_all_there_again() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    let free = store.writer.room().free_bytes();
    for _ in 0..100 {
        drop(store.reserve(&[put("key", vec![7; 300])]).unwrap().unwrap());
    }
    assert_eq!(store.writer.room().free_bytes(), free);
    // Two commits in one group take less than each for itself.
    let effects = [put("key", "")];
    let batches: Vec<Batch> = (0..2)
        .map(|_| {
            let reserved = store.reserve(&effects).unwrap().unwrap();
            store.give(reserved, &effects)
        })
        .collect();
    store.writer.append(batches, 0).unwrap();
    assert_eq!(free - store.writer.room().free_bytes(), 48 + 2 * (16 + 12 + 3) + 2);
}

#[test]
fn no_room_is_lost_and_none_is_invented() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    for round in 0..200_usize {
        if round % 7 == 0 {
            store.writer.mark(round as u64).unwrap();
        }
        // Now and then one that is larger than a segment.
        let len = if round % 29 == 0 { 9_000 } else { 37 * (round % 23) };
        store.commit(&[put("key", vec![7; len])]);
        drop(store.reserve(&[put("undone", vec![7; len])]).unwrap());
        let segment = disk.names().into_iter().rfind(|name| name.ends_with(".journal")).unwrap();
        let mut unused = 0;
        inspect(&disk, &segment, &mut |part| unused = if part.what == What::Unused { part.bytes } else { 0 }).unwrap();
        assert_eq!(
            store.writer.room().free_bytes(),
            unused - 48,
            "round {round}: all but the last mark's place is free"
        );
    }
    assert!(disk.names().len() > 20, "segments have ended meanwhile");
}

#[test]
fn nobody_runs_further_ahead_of_the_disk_than_a_restart_jumps() {
    let disk = SimDisk::new();
    let store = Store::open(&disk, options(Policy::Off)).unwrap();
    let room = store.writer.room();
    let encoded = Encoded::new(&[put("key", "")]).unwrap();
    let at = |last| room.reserve(encoded.size(), Purpose::Write, Revision(last)).map(drop);
    assert_eq!(at(REVISION_JUMP / 2 - 1), Ok(()));
    assert_eq!(at(REVISION_JUMP / 2), Err(Refused::Behind));
}

#[test]
fn many_committers_never_get_more_than_there_is() {
    let disk = SimDisk::new();
    let store = Store::open(&disk, options(Policy::Always)).unwrap();
    let room = store.writer.room();
    let free = room.free_bytes();
    let taken: u64 = std::thread::scope(|scope| {
        let takers: Vec<_> = (0..4)
            .map(|_| {
                let room = Arc::clone(&room);
                scope.spawn(move || {
                    let encoded = Encoded::new(&[put("key", vec![7; 100])]).unwrap();
                    let all: Vec<_> =
                        std::iter::from_fn(|| room.reserve(encoded.size(), Purpose::Delete, Revision(0)).ok())
                            .collect();
                    let len = all.len() as u64;
                    std::mem::forget(all);
                    len
                })
            })
            .collect();
        takers.into_iter().map(|taker| taker.join().unwrap()).sum()
    });
    assert!(taken > 0 && room.free_bytes() < 200 && room.free_bytes() < free);
    assert_eq!((free - room.free_bytes()) % taken, 0);
}
