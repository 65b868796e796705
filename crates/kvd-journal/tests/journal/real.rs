//! On a real directory: the same promises as far as a process that ends can show them, and errors as the operating
//! system makes them.

use std::fs;

use kvd_journal::{Error, Policy, RealDisk};
use kvd_testkit::durability::State;

use crate::support::{Store, options, put, recover};

#[test]
fn a_real_directory_keeps_what_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(dir.path());
    let mut there = State::new();
    for life in 0..4_u8 {
        let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
        assert_eq!(store.replica.state, there);
        assert_eq!(store.report.clean, life % 2 == 0, "life {life}");
        for index in 0..20 {
            store.commit(&[put(&format!("key{index}"), vec![life; 400])]);
            store.writer.sync_if_due(0).unwrap();
        }
        store.snapshot().unwrap();
        store.writer.snapshots().purge().unwrap();
        store.commit(&[put("last", vec![life])]);
        there = store.replica.state.clone();
        if life % 2 == 1 {
            store.writer.close(0).unwrap();
        }
    }
    let (replayed, replica) = recover(&disk, options(Policy::Always)).unwrap();
    assert_eq!(replica.state, there);
    assert!(replayed.report().clean);
}

#[test]
fn a_group_of_more_parts_than_one_call_takes_is_written_whole() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(dir.path());
    let large = kvd_journal::Options { segment_bytes: 1 << 20, ..options(Policy::Always) };
    let mut store = Store::open(&disk, large).unwrap();
    let mut batches = Vec::new();
    for index in 0..3_000 {
        let effects = [put(&format!("key{index}"), "value")];
        let reserved = store.reserve(&effects).unwrap().unwrap();
        batches.push(store.give(reserved, &effects));
    }
    store.writer.append(batches, 0).unwrap();
    let there = store.replica.state.clone();
    drop(store);
    assert_eq!(recover(&disk, large).unwrap().1.state, there);
}

#[test]
fn a_directory_that_is_missing_or_in_use_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let error = Store::open(&RealDisk::new(dir.path().join("no")), options(Policy::Always)).err().unwrap();
    assert!(matches!(error, Error::Io { action: "lock", .. }) && error.to_string().contains("Create the directory"));
    let store = Store::open(&RealDisk::new(dir.path()), options(Policy::Always)).unwrap();
    let error = Store::open(&RealDisk::new(dir.path()), options(Policy::Always)).err().unwrap();
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    drop(store);
}

#[test]
fn other_files_in_the_directory_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["kvd.pid", "1.journal", "x.snapshot"] {
        fs::write(dir.path().join(name), "not ours").unwrap();
    }
    let disk = RealDisk::new(dir.path());
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    store.commit(&[put("key", "")]);
    store.snapshot().unwrap();
    store.snapshot().unwrap();
    store.writer.snapshots().purge().unwrap();
    for name in ["kvd.pid", "1.journal", "x.snapshot"] {
        assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), "not ours");
    }
}
