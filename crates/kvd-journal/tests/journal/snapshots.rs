//! Snapshots: entries and tail are exactly one state, chunks can be loaded by many threads, and what is purged is not
//! needed.

use std::sync::Arc;

use kvd_journal::{Error, Policy, Recovery};
use kvd_testkit::disk::SimDisk;
use kvd_testkit::durability::{Replica, Version};
use kvd_types::{Effect, Revision};

use crate::support::{self, Store, delete, entry, options, put};

#[test]
fn a_clear_in_the_tail_spares_what_came_after_it() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    store.commit(&[put("old", "1"), put("gone", "1")]);
    let mut snapshot = store.writer.snapshots().begin(store.last).unwrap();
    snapshot.add(&entry(b"old", &store.replica.state[&b"old"[..]])).unwrap();
    store.commit(&[Effect::Clear]);
    store.commit(&[put("new", "1")]);
    snapshot.add(&entry(b"new", &store.replica.state[&b"new"[..]])).unwrap();
    store.commit(&[delete("gone"), put("later", "1")]);
    store.writer.sync().unwrap();
    snapshot.finish(store.last, store.writer.durable(), 0).unwrap();
    let there = store.replica.state.clone();
    drop(store);
    let (replayed, replica) = support::recover(&disk, options(Policy::Always)).unwrap();
    assert_eq!(replayed.report().snapshot, Some(Revision(4)));
    assert_eq!((replayed.report().snapshot_entries, replayed.report().batches), (2, 3));
    assert_eq!(replica.state, there);
}

#[test]
fn a_snapshot_waits_for_the_journal() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Off)).unwrap();
    store.commit(&[put("key", "1")]);
    let snapshot = store.writer.snapshots().begin(store.last).unwrap();
    let error = snapshot.finish(store.last, store.writer.durable(), 0).unwrap_err();
    assert!(matches!(error, Error::NotDurable { end: Revision(1), durable: Revision(0) }), "{error}");
    assert!(disk.names().iter().all(|name| !name.contains("snapshot")), "{:?}", disk.names());
}

#[test]
fn chunks_are_loaded_by_many_threads() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Off)).unwrap();
    for index in 0..40 {
        store.commit(&[put(&format!("key{index}"), vec![index; 100_000])]);
    }
    store.snapshot().unwrap();
    let there = store.replica.state.clone();
    drop(store);
    let recovery = Recovery::open(Arc::new(disk), options(Policy::Off)).unwrap();
    let snapshot = recovery.snapshot().unwrap();
    assert!(snapshot.chunks_count() >= 4, "{}", snapshot.chunks_count());
    let chunks: Vec<_> = std::thread::scope(|scope| {
        let load = |chunk| scope.spawn(move || snapshot.entries(chunk).unwrap());
        let loads: Vec<_> = (0..snapshot.chunks_count()).map(load).collect();
        loads.into_iter().flat_map(|load| load.join().unwrap()).collect()
    });
    let mut replica = Replica::default();
    for kvd_journal::Entry { key, value, content_type, expires_at_ms, revision } in chunks {
        replica.load(key.as_bytes(), Version { revision, value, content_type, expires_at_ms });
    }
    assert_eq!(replica.state, there);
}

#[test]
fn a_purge_keeps_two_ways_back() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    let fill = |store: &mut Store| {
        for index in 0..30 {
            store.commit(&[put(&format!("key{}", index % 7), vec![index; 300])]);
        }
        store.writer.sync().unwrap();
    };
    fill(&mut store);
    store.snapshot().unwrap();
    let purged = store.writer.snapshots().purge().unwrap();
    assert!(purged.removed.is_empty(), "one snapshot is no way back: {purged:?}");
    for _ in 0..3 {
        fill(&mut store);
        store.snapshot().unwrap();
    }
    let purged = store.writer.snapshots().purge().unwrap();
    assert_eq!(purged.removed.iter().filter(|name| name.ends_with(".snapshot")).count(), 2, "{purged:?}");
    assert!(purged.removed.iter().filter(|name| name.ends_with(".journal")).count() > 3, "{purged:?}");
    let there = store.replica.state.clone();
    let snapshots: Vec<_> = disk.names().into_iter().filter(|name| name.ends_with(".snapshot")).collect();
    assert_eq!(snapshots.len(), 2);
    for damaged in [None, Some(&snapshots[1])] {
        let copy = disk.copy();
        if let Some(name) = damaged {
            copy.put(name, b"no snapshot".to_vec());
        }
        assert_eq!(support::recover(&copy, options(Policy::Always)).unwrap().1.state, there);
    }
}

#[test]
fn a_damaged_snapshot_is_no_way_back_for_a_purge() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    for index in 0..3 {
        for _ in 0..20 {
            store.commit(&[put("key", vec![index; 300])]);
        }
        store.snapshot().unwrap();
    }
    let newest = disk.names().into_iter().rfind(|name| name.ends_with(".snapshot")).unwrap();
    disk.put(&newest, b"no snapshot".to_vec());
    let purged = store.writer.snapshots().purge().unwrap();
    assert_eq!(purged.damaged[0].0, newest);
    assert!(purged.removed.iter().all(|name| name.ends_with(".journal")), "two whole ones stay: {purged:?}");
    let there = store.replica.state.clone();
    drop(store);
    assert_eq!(support::recover(&disk, options(Policy::Always)).unwrap().1.state, there);
}

#[test]
fn a_purge_that_was_interrupted_leaves_gaps_that_nobody_needs() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    for _ in 0..3 {
        for index in 0..30 {
            store.commit(&[put("key", vec![index; 300])]);
        }
        store.snapshot().unwrap();
    }
    let there = store.replica.state.clone();
    store.writer.snapshots().purge().unwrap();
    let purged = disk.copy();
    let names = disk.names();
    let oldest = names.iter().find(|name| name.ends_with(".journal")).unwrap();
    // A segment from before, as if its removal were lost, with a gap behind it.
    let number: u64 = oldest.trim_end_matches(".journal").parse().unwrap();
    purged.put(&format!("{:020}.journal", number - 2), disk.bytes(oldest));
    assert_eq!(support::recover(&purged, options(Policy::Always)).unwrap().1.state, there);
}
