//! Snapshots: entries and tail are exactly one state, chunks can be loaded by many threads, and what is purged is not
//! needed.

use std::sync::Arc;

use kvd_journal::{Chunk, Entry, Error, Group, Load, Policy, Recovery, Share, Snapshot};
use kvd_testkit::disk::SimDisk;
use kvd_testkit::durability::{Replica, Version};
use kvd_types::{Effect, Epoch, Revision};

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
    let mut threads = Threads::default();
    Recovery::open(Arc::new(disk), options(Policy::Off)).unwrap().load(&mut threads).unwrap();
    assert!(threads.chunks_count >= 4, "{}", threads.chunks_count);
    assert_eq!(threads.replica.state, there);
}

/// Loads each chunk on a thread of its own.
#[derive(Default)]
struct Threads {
    chunks_count: usize,
    replica: Replica,
}

impl Load for Threads {
    fn begin(&mut self, _: Epoch, snapshot: Option<&Snapshot>) -> Result<(), Error> {
        let snapshot = snapshot.unwrap();
        self.chunks_count = snapshot.chunks_count();
        let chunks: Vec<_> = std::thread::scope(|scope| {
            let loads: Vec<_> =
                (0..self.chunks_count).map(|index| scope.spawn(move || snapshot.chunk(index).unwrap())).collect();
            loads.into_iter().map(|load| load.join().unwrap()).collect()
        });
        for Entry { key, value, content_type, expires_at_ms, revision } in
            chunks.iter().flat_map(Chunk::entries).map(Result::unwrap)
        {
            self.replica.load(key.as_bytes(), Version { revision, value, content_type, expires_at_ms });
        }
        Ok(())
    }

    fn group(&mut self, group: Group, replayed: Share) -> Result<(), Error> {
        self.replica.group(group, replayed)
    }
}

/// Damage to what is read first, in the middle and last of the newest snapshot.
#[test]
fn what_was_loaded_of_a_damaged_snapshot_is_void() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    store.commit(&[put("gone", "1"), put("stays", "1")]);
    store.snapshot().unwrap();
    let mut snapshot = store.writer.snapshots().begin(store.last).unwrap();
    for index in 0..3 {
        store.commit(&[put(&format!("large{index}"), vec![index; 1 << 20])]);
    }
    for (key, version) in &store.replica.state {
        snapshot.add(&entry(key, version)).unwrap();
    }
    store.commit(&[delete("gone"), put("tail", vec![7; 1000])]);
    store.writer.sync().unwrap();
    snapshot.finish(store.last, store.writer.durable(), 0).unwrap();
    let there = store.replica.state.clone();
    drop(store);
    let newest = disk.names().into_iter().rfind(|name| name.ends_with(".snapshot")).unwrap();
    let bytes = disk.bytes(&newest);
    for at in [100, bytes.len() / 2, bytes.len() - 500, bytes.len() - 1] {
        let copy = disk.copy();
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        copy.put(&newest, damaged);
        let (replayed, replica) = support::recover(&copy, options(Policy::Always)).unwrap();
        let report = replayed.report();
        assert_eq!(report.snapshots_damaged.len(), 1, "at {at}");
        assert_eq!((report.snapshot, report.snapshot_entries, report.batches), (Some(Revision(1)), 2, 4), "at {at}");
        assert_eq!(replica.state, there, "at {at}");
    }
}

/// What a snapshot costs to read: all of it once at a start, nothing at the purge after that.
#[test]
fn a_snapshot_is_read_once() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    for index in 0..3 {
        store.commit(&[put("key", vec![index; 2 << 20])]);
        store.snapshot().unwrap();
    }
    store.writer.close(0).unwrap();
    let store = Store::open(&disk, options(Policy::Always)).unwrap();
    let newest = disk.names().into_iter().rfind(|name| name.ends_with(".snapshot")).unwrap();
    let size = disk.bytes(&newest).len();
    // The newest was loaded; the one before is read now, and known at the next purge.
    for expected in [1, 0] {
        let before = disk.bytes_read();
        store.writer.snapshots().purge().unwrap();
        let read = disk.bytes_read() - before;
        assert_eq!(read / size as u64, expected, "{read} bytes of snapshots of {size}");
    }
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
