//! Journals and snapshots with history: which files are of format 2, and that what is out of place in them is damage.

use std::sync::Arc;

use kvd_journal::{Content, History, Jump, Options, Past, Policy, Recovery, Version};
use kvd_testkit::disk::SimDisk;
use kvd_types::Revision;

use crate::support::{Commits, Store, key, options, put};

/// The version in the header of each file, by name.
fn formats(disk: &SimDisk) -> Vec<u32> {
    disk.names().iter().map(|name| u32::from_le_bytes(disk.bytes(name)[8..12].try_into().unwrap())).collect()
}

fn policy() -> Options {
    options(Policy::Always)
}

#[test]
fn only_what_has_history_is_of_format_2() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, policy()).unwrap();
    store.commit(&[put("a", "1")]);
    store.snapshot().unwrap();
    store.writer.close(0).unwrap();
    assert_eq!(formats(&disk), [1, 1]);
    let mut store = Store::open_with_history(&disk, policy()).unwrap();
    store.now_ms = 7;
    store.commit(&[put("a", "2")]);
    let times = |disk: &SimDisk| {
        let mut found = Commits::default();
        Recovery::open(Arc::new(disk.clone()), policy()).unwrap().load(&mut found).unwrap();
        found.commits.iter().map(|commit| commit.time_ms).collect::<Vec<_>>()
    };
    drop(store);
    assert_eq!(formats(&disk), [1, 1, 2], "the second segment's commits have times");
    assert_eq!(times(&disk), [Some(7)]);
    // Nothing says that the commit is durable: it is copied, and what it is copied into has its time.
    let store = Store::open(&disk, policy()).unwrap();
    store.writer.close(0).unwrap();
    assert_eq!(formats(&disk), [1, 1, 2, 2]);
    assert_eq!(times(&disk), [Some(7)]);
    Store::open(&disk, policy()).unwrap().writer.close(0).unwrap();
    assert_eq!(formats(&disk), [1, 1, 2, 2, 1], "nothing is copied: back to what every kvd reads");
}

#[test]
fn a_jump_is_told_by_the_journal_and_by_snapshots() {
    let disk = SimDisk::new();
    let jump = Jump { from: Revision(1), to: Revision(1 + (1 << 24)) };
    let mut store = Store::open_with_history(&disk, policy()).unwrap();
    assert_eq!(store.report.jumps, []);
    store.commit(&[put("a", "1")]);
    drop(store);
    drop(Store::open_with_history(&disk, policy()).unwrap());
    let mut store = Store::open_with_history(&disk, policy()).unwrap();
    let second = Jump { from: jump.to, to: Revision(jump.to.0 + (1 << 24)) };
    assert_eq!(store.report.jumps, [jump]);
    assert_eq!(store.last, second.to);
    // Two snapshots, so that the journal before them goes.
    for _ in 0..2 {
        let revision = store.commit(&[put("a", "2")]);
        store.writer.sync().unwrap();
        let mut snapshot = store.writer.snapshots().begin_with_history(store.last).unwrap();
        let content = Content::Put { value: "2".into(), content_type: None, expires_at_ms: None };
        let versions = vec![Version { revision, time_ms: Some(0), content }];
        snapshot.add_history(&History { key: key("a"), versions, is_cut: true }).unwrap();
        snapshot.set_past(Past { begins: Revision(0), jumps: vec![jump, second] });
        snapshot.finish(store.last, store.writer.durable(), 0).unwrap();
    }
    store.writer.snapshots().purge().unwrap();
    store.writer.close(0).unwrap();
    let store = Store::open_with_history(&disk, policy()).unwrap();
    assert_eq!(store.report.jumps, [jump, second]);
}

#[test]
fn records_of_format_2_in_a_file_of_format_1_are_damage() {
    let disk = SimDisk::new();
    let mut store = Store::open_with_history(&disk, policy()).unwrap();
    store.commit(&[put("a", "1")]);
    store.writer.sync().unwrap();
    let snapshot = store.writer.snapshots().begin_with_history(store.last).unwrap();
    snapshot.finish(store.last, store.writer.durable(), 0).unwrap();
    store.writer.close(0).unwrap();
    let name = disk.names().into_iter().find(|name| name.ends_with(".snapshot")).unwrap();
    let mut bytes = disk.bytes(&name);
    bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
    let sum = crc32c::crc32c(&bytes[..28]);
    bytes[28..32].copy_from_slice(&sum.to_le_bytes());
    disk.put(&name, bytes);
    let report = Store::open_with_history(&disk, policy()).unwrap().report;
    assert_eq!(report.snapshots_damaged.len(), 1, "the journal alone has it all");
}
