//! The simulated disk keeps what was synced, loses what was not, and does each of the things that it says a power cut
//! may do.

use std::collections::BTreeSet;

use super::*;

fn write(file: &dyn DiskFile, offset: u64, bytes: &[u8]) {
    file.write_at(offset, &mut [IoSlice::new(bytes)]).unwrap();
}

/// Everything that a power cut may leave, by the name and bytes of files.
fn outcomes(disk: &SimDisk) -> BTreeSet<Vec<(String, Vec<u8>)>> {
    let files = |disk: SimDisk| disk.names().into_iter().map(|name| (name.clone(), disk.bytes(&name))).collect();
    (0..30_000).map(|seed| files(disk.after_power_cut(seed))).collect()
}

fn contents(disk: &SimDisk, name: &str) -> BTreeSet<Vec<u8>> {
    outcomes(disk).into_iter().flatten().filter(|(other, _)| other == name).map(|(_, bytes)| bytes).collect()
}

#[test]
fn what_was_synced_stays_and_nothing_else_is_certain() {
    let disk = SimDisk::new();
    let file = disk.create("a").unwrap();
    write(&*file, 0, b"one");
    assert_eq!(outcomes(&disk).len(), 4, "no file, an empty one, zeros, a whole one");
    disk.sync_dir().unwrap();
    assert_eq!(outcomes(&disk).len(), 3);
    file.sync().unwrap();
    assert_eq!(outcomes(&disk), [vec![("a".to_owned(), b"one".to_vec())]].into());
    write(&*file, 1, b"xx");
    assert_eq!(contents(&disk, "a"), [b"one".to_vec(), b"oxx".to_vec()].into());
}

#[test]
fn a_name_whose_sync_failed_is_not_synced_by_a_later_one() {
    let disk = SimDisk::new();
    disk.create("a").unwrap();
    disk.fail(Call::SyncDir, 0, ErrorKind::Other);
    disk.sync_dir().unwrap_err();
    disk.create("b").unwrap();
    disk.sync_dir().unwrap();
    assert_eq!(disk.names(), ["a", "b"], "the process sees both");
    for seed in 0..20 {
        assert_eq!(disk.after_power_cut(seed).names(), ["b"]);
    }
}

#[test]
fn pages_are_lost_in_any_order_and_sectors_are_torn() {
    let disk = SimDisk::with_geometry(Geometry { page: 4, sector: 2 });
    let file = disk.create("a").unwrap();
    file.allocate(8).unwrap();
    file.sync().unwrap();
    disk.sync_dir().unwrap();
    write(&*file, 0, b"abcd");
    write(&*file, 0, b"ABCDEFGH");
    let halves = |left: [&str; 3], right: [&'static str; 3]| -> Vec<String> {
        left.iter().flat_map(|left| right.map(|right| format!("{left}{right}"))).collect()
    };
    let firsts = halves(["\0\0", "ab", "AB"], ["\0\0", "cd", "CD"]);
    let seconds = ["\0\0\0\0", "EFGH", "EF\0\0", "\0\0GH"];
    let all = firsts.iter().flat_map(|first| seconds.map(|second| (first.clone() + second).into_bytes()));
    assert_eq!(contents(&disk, "a"), all.collect());
}

#[test]
fn names_are_lost_one_by_one() {
    let disk = SimDisk::new();
    disk.put("old", b"1".to_vec());
    disk.put("other", b"2".to_vec());
    disk.rename("old", "new").unwrap();
    disk.remove("other").unwrap();
    let names: BTreeSet<Vec<String>> =
        outcomes(&disk).into_iter().map(|files| files.into_iter().map(|(name, _)| name).collect()).collect();
    let all = [vec!["old", "other"], vec!["new", "other"], vec!["old"], vec!["new"]];
    assert_eq!(names, all.map(|names| names.into_iter().map(str::to_owned).collect()).into());
}

#[test]
fn a_sync_that_failed_does_not_come_true_later() {
    let disk = SimDisk::new();
    disk.put("a", b"....".to_vec());
    let file = disk.state().image.inode("a").map(|inode| disk.file(inode)).unwrap();
    write(&*file, 0, b"AB");
    disk.fail(Call::Sync, 0, ErrorKind::Other);
    assert!(file.sync().is_err());
    file.sync().unwrap();
    assert_eq!(contents(&disk, "a"), [b"....".to_vec()].into());
    assert_eq!(disk.bytes("a"), b"AB..", "a process still sees it");
}

#[test]
fn the_nth_call_fails_and_a_failed_write_may_have_begun() {
    let disk = SimDisk::new();
    let file = disk.create("a").unwrap();
    disk.fail(Call::Write, 1, ErrorKind::StorageFull);
    write(&*file, 0, b"abcd");
    let error = file.write_at(0, &mut [IoSlice::new(b"ABCD")]).unwrap_err();
    assert_eq!((error.kind(), disk.bytes("a")), (ErrorKind::StorageFull, b"ABcd".to_vec()));
    write(&*file, 0, b"....");
}

#[test]
fn after_the_cut_no_call_succeeds_until_the_next_process() {
    let disk = SimDisk::new();
    let lock = disk.lock().unwrap();
    assert_eq!(disk.lock().err().map(|error| error.kind()), Some(ErrorKind::WouldBlock));
    disk.cut_power_after(1);
    let file = disk.create("a").unwrap();
    assert!(file.write_at(0, &mut [IoSlice::new(b"abcd")]).is_err());
    assert!(file.write_at(0, &mut [IoSlice::new(b"ABCD")]).is_err());
    assert!(disk.is_dead() && disk.list().is_err());
    assert_eq!(contents(&disk, "a"), [b"".to_vec(), vec![0; 4], b"abcd".to_vec()].into());
    drop(lock);
    disk.restart();
    assert_eq!(disk.list().unwrap(), ["a"]);
}

#[test]
fn a_full_disk_takes_nothing_and_gives_room_back() {
    let disk = SimDisk::with_geometry(Geometry { page: 4, sector: 2 });
    disk.set_capacity(8);
    let file = disk.create("a").unwrap();
    file.allocate(5).unwrap();
    assert_eq!(disk.used(), 8);
    let other = disk.create("b").unwrap();
    let full = other.write_at(0, &mut [IoSlice::new(b"x")]).map_err(|error| error.kind());
    assert_eq!(full, Err(ErrorKind::StorageFull));
    write(&*file, 0, b"12345678");
    disk.truncate("a", 4).unwrap();
    write(&*other, 0, b"x");
}
