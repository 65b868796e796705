//! Calls that fail: the first failed write or sync ends the journal until restart, whatever comes after. What was
//! durable by then is there after the restart, and nothing was acknowledged that is not. A start that can't be done says
//! why, and changes nothing.

use std::io::ErrorKind;

use kvd_journal::{Batch, Bug, Encoded, Error, Policy, Purpose, Refused, plant};
use kvd_testkit::disk::{Call, SimDisk};
use kvd_types::Revision;

use crate::support::{self, Store, options, put};

/// A store with one durable commit and one that is appended.
fn store(disk: &SimDisk) -> Store {
    let mut store = Store::open(disk, options(Policy::Always)).unwrap();
    store.commit(&[put("durable", "1")]);
    store.writer.sync().unwrap();
    store.commit(&[put("unknown", "2")]);
    store
}

fn is_shut(store: &mut Store) {
    let again = [store.writer.sync(), store.writer.mark(0).map(drop), store.writer.make_room().map(drop)];
    assert!(again.iter().all(|result| matches!(result, Err(Error::Failed { .. }))), "{again:?}");
    let refused = store.reserve(&[put("refused", "3")]).unwrap().map(drop);
    assert_eq!(refused, Err(Refused::Failed));
}

#[test]
fn a_failed_sync_is_final() {
    let disk = SimDisk::new();
    let mut store = store(&disk);
    let before = store.writer.durable();
    disk.fail(Call::Sync, 0, ErrorKind::Other);
    let error = store.writer.sync().unwrap_err();
    assert!(matches!(error, Error::Io { action: "sync", .. }), "{error}");
    assert_eq!(store.writer.durable(), before);
    is_shut(&mut store);
    drop(store);
    // The process restarts and sees what the disk does not have. From then on it is there.
    let store = Store::open(&disk, options(Policy::Always)).unwrap();
    let seen = store.replica.state.clone();
    assert!(seen.contains_key(&b"durable"[..]) && seen.contains_key(&b"unknown"[..]));
    let after = support::recover(&disk.after_power_cut(3), options(Policy::Always)).unwrap().1;
    assert_eq!(after.state, seen);
}

#[test]
fn a_sync_that_is_tried_again_is_found() {
    plant(Some(Bug::SyncRetried));
    let disk = SimDisk::new();
    let mut store = store(&disk);
    disk.fail(Call::Sync, 0, ErrorKind::Other);
    store.writer.sync().unwrap_err();
    store.writer.sync().unwrap();
    let promised = store.writer.durable();
    let replayed = support::recover(&disk.after_power_cut(3), options(Policy::Always)).unwrap().0;
    assert!(replayed.report().last < promised, "the mistake acknowledges what the disk does not have");
}

#[test]
fn a_failed_write_is_final_and_half_of_it_is_cut() {
    let disk = SimDisk::new();
    let mut store = store(&disk);
    store.writer.sync().unwrap();
    let effects = [put("half", vec![7; 500])];
    let reserved = store.reserve(&effects).unwrap().unwrap();
    let before = store.replica.state.clone();
    let batch = store.give(reserved, &effects);
    disk.fail(Call::Write, 0, ErrorKind::Other);
    assert!(matches!(store.writer.append(vec![batch], 0), Err(Error::Io { action: "write", .. })));
    is_shut(&mut store);
    drop(store);
    let (replayed, replica) = support::recover(&disk, options(Policy::Always)).unwrap();
    assert!(replayed.report().cut.as_ref().is_some_and(|cut| cut.bytes > 48));
    assert_eq!(replica.state, before);
}

#[test]
fn each_call_of_a_start_can_fail_and_the_next_start_is_as_good() {
    let calls = [Call::Lock, Call::List, Call::Create, Call::Open, Call::Rename, Call::Truncate, Call::SyncDir];
    for call in calls.into_iter().chain([Call::Size, Call::Read, Call::Write, Call::Allocate, Call::Sync]) {
        for nth in 0..3 {
            let disk = SimDisk::new();
            let mut store = store(&disk);
            store.snapshot().unwrap();
            let there = store.replica.state.clone();
            drop(store);
            disk.fail(call, nth, ErrorKind::Other);
            let failed = Store::open(&disk, options(Policy::Always)).err();
            if let Some(error) = failed {
                assert!(matches!(error, Error::Io { .. }), "{call:?} {nth}: {error}");
            }
            disk.restart();
            let store = Store::open(&disk, options(Policy::Always)).unwrap();
            assert_eq!(store.replica.state, there, "{call:?} {nth}");
        }
    }
}

#[test]
fn a_rotation_that_fails_is_final_unless_the_disk_is_full() {
    for (call, kind, is_final) in [
        (Call::Allocate, ErrorKind::StorageFull, false),
        (Call::Create, ErrorKind::QuotaExceeded, false),
        (Call::Allocate, ErrorKind::Other, true),
        (Call::Rename, ErrorKind::Other, true),
        (Call::SyncDir, ErrorKind::StorageFull, true),
        (Call::Sync, ErrorKind::StorageFull, true),
    ] {
        let disk = SimDisk::new();
        let mut store = store(&disk);
        while store.writer.room().free_bytes() > 1000 {
            store.commit(&[put("fill", vec![7; 100])]);
        }
        disk.fail(call, 0, kind);
        let error = store.writer.make_room().unwrap_err();
        assert_eq!(matches!(error, Error::DiskFull { .. }), !is_final, "{call:?} {kind}: {error}");
        if is_final {
            is_shut(&mut store);
        } else {
            assert!(store.writer.make_room().unwrap(), "{call:?} {kind}");
        }
    }
}

#[test]
fn a_snapshot_that_fails_leaves_no_trace_and_no_harm() {
    let calls = [Call::Create, Call::Write, Call::Sync, Call::Rename, Call::Read];
    for (call, kind) in calls.into_iter().flat_map(|call| [(call, ErrorKind::Other), (call, ErrorKind::StorageFull)]) {
        let disk = SimDisk::new();
        let mut store = store(&disk);
        store.writer.sync().unwrap();
        let names = disk.names();
        disk.fail(call, 0, kind);
        let error = store.snapshot().unwrap_err();
        let full = kind == ErrorKind::StorageFull && call != Call::Read;
        assert_eq!(matches!(error, Error::DiskFull { .. }), full, "{call:?} {kind}: {error}");
        assert_eq!(disk.names(), names, "{call:?} {kind}");
        store.commit(&[put("after", "1")]);
        store.writer.sync().unwrap();
        store.snapshot().unwrap();
    }
}

/// What a failed sync of the directory was about is not asked for again: a later one says nothing of it.
#[test]
fn a_snapshot_whose_name_can_not_be_made_durable_is_final_and_nothing_is_removed_for_it() {
    for (kind, nth) in
        [ErrorKind::Other, ErrorKind::StorageFull].into_iter().flat_map(|kind| [(kind, 0), (kind, 1), (kind, 2)])
    {
        let disk = SimDisk::new();
        let mut store = store(&disk);
        store.snapshot().unwrap();
        store.commit(&[put("between", "1")]);
        store.writer.sync().unwrap();
        let before = store.replica.state.clone();
        let snapshots = store.writer.snapshots();
        // Of the second snapshot's name, of all names before a purge, and of what it has removed.
        disk.fail(Call::SyncDir, nth, kind);
        let error = store.snapshot().and_then(|()| snapshots.purge().map(drop)).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{nth} {kind}: {error}");
        let names = disk.names();
        let again = [snapshots.purge().map(drop), snapshots.begin(Revision(0)).map(drop), store.snapshot()];
        assert!(again.iter().all(|result| matches!(result, Err(Error::Failed { .. }))), "{nth} {kind}: {again:?}");
        assert_eq!(disk.names(), names, "{nth} {kind}");
        is_shut(&mut store);
        drop((store, snapshots));
        for seed in 0..20 {
            let after = support::recover(&disk.after_power_cut(seed), options(Policy::Always)).unwrap().1;
            assert_eq!(after.state, before, "{nth} {kind} {seed}");
        }
    }
}

#[test]
fn batches_out_of_order_are_refused_and_if_not_they_are_damage() {
    let append = |disk: &SimDisk, order: &[u64]| {
        let mut store = store(disk);
        let last = store.last.0;
        let room = store.writer.room();
        let batch = |ahead| {
            let encoded = Encoded::new(&[put("key", format!("{ahead}"))]).unwrap();
            let reservation = room.reserve(encoded.size(), Purpose::Write, store.last).unwrap();
            Batch { revision: Revision(last + ahead), encoded, reservation }
        };
        let batches = order.iter().copied().map(batch).collect();
        let appended = store.writer.append(batches, 0);
        if appended.is_ok() {
            store.writer.sync().unwrap();
        }
        appended
    };
    for order in [&[2, 1][..], &[1, 3], &[1, 1], &[2], &[0]] {
        plant(None);
        assert!(matches!(append(&SimDisk::new(), order), Err(Error::OutOfOrder { .. })));
        plant(Some(Bug::AnyOrder));
        let disk = SimDisk::new();
        append(&disk, order).unwrap();
        let error = support::recover(&disk, options(Policy::Always)).err().unwrap();
        assert!(matches!(error, Error::Damaged { .. }), "{order:?}: {error}");
    }
}

#[test]
fn a_batch_needs_the_room_that_was_reserved_for_it() {
    let disk = SimDisk::new();
    let mut store = store(&disk);
    let small = Encoded::new(&[put("key", "")]).unwrap();
    let large = Encoded::new(&[put("key", vec![0; 2000])]).unwrap();
    let reservation = store.writer.room().reserve(small.size(), Purpose::Write, store.last).unwrap();
    let batch = Batch { revision: Revision(store.last.0 + 1), encoded: large, reservation };
    assert!(matches!(store.writer.append(vec![batch], 0), Err(Error::Unreserved { .. })));
}

#[test]
fn a_second_store_on_the_directory_is_refused() {
    let disk = SimDisk::new();
    let first = store(&disk);
    let error = Store::open(&disk, options(Policy::Always)).err().unwrap();
    assert_eq!(error.code(), "directory-in-use", "{error}");
    drop(first);
    Store::open(&disk, options(Policy::Always)).unwrap();
}

#[test]
fn errors_say_what_to_do() {
    for (kind, code, advice) in [
        (ErrorKind::ReadOnlyFilesystem, "read-only", "Mount it for writing"),
        (ErrorKind::PermissionDenied, "permission-denied", "to the user that kvd runs as"),
        (ErrorKind::StorageFull, "disk-full", "Free that much"),
    ] {
        let disk = SimDisk::new();
        disk.fail(Call::Create, 0, kind);
        let error = Store::open(&disk, options(Policy::Always)).err().unwrap();
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains(advice), "{error}");
    }
}

#[test]
fn a_newer_format_is_refused_by_name() {
    for suffix in [".journal", ".snapshot"] {
        let disk = SimDisk::new();
        store(&disk).snapshot().unwrap();
        let name = disk.names().into_iter().find(|name| name.ends_with(suffix)).unwrap();
        let mut bytes = disk.bytes(&name);
        bytes[8] = 3;
        disk.put(&name, bytes);
        let error = Store::open(&disk, options(Policy::Always)).err().unwrap();
        assert!(matches!(&error, Error::NewerFormat { file, found: 3 } if *file == name), "{error}");
    }
}
