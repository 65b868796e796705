//! Damage: every bit of every byte of small files is flipped, and every file is cut at every length. What opens then is
//! what was there, or what a power cut could have left, where there might have been one; everything else is refused.

use kvd_journal::{Bug, Error, Policy, What, inspect, plant};
use kvd_testkit::disk::SimDisk;
use kvd_testkit::durability::State;
use kvd_types::Revision;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{self, Store, delete, options, put};

/// The states of a store after each of its commits, and the disk that it left.
struct Left {
    disk: SimDisk,
    states: Vec<(Revision, State)>,
}

impl Left {
    fn newest(&self) -> Revision {
        self.states.last().unwrap().0
    }

    /// What opens in place of what was left: its newest revision. None when it is refused.
    ///
    /// # Panics
    /// When it is a state that never was.
    fn open(&self, disk: &SimDisk, what: &str) -> Option<Revision> {
        match support::recover(disk, options(Policy::Always)) {
            Ok((replayed, replica)) => {
                let last = replayed.report().last;
                let right = self.states.iter().any(|(revision, state)| *revision == last && *state == replica.state);
                assert!(right, "{what}: revision {last} never had these keys: {:?}", replica.state);
                Some(last)
            }
            Err(Error::Damaged { .. } | Error::NewerFormat { .. }) => None,
            Err(error) => panic!("{what}: {error}"),
        }
    }

    /// Opens the disk with each damage to each file; `cut` says where the newest revision may be less than what was left.
    fn try_all(&self, cut: impl Fn(&str, usize) -> bool) -> usize {
        let mut tried = 0;
        for name in self.disk.names() {
            let bytes = self.disk.bytes(&name);
            let damaged = self.disk.copy();
            let mut check = |bytes: Vec<u8>, at: usize, what: &str| {
                damaged.put(&name, bytes);
                let what = format!("{name} {what} at {at}");
                if let Some(last) = self.open(&damaged, &what) {
                    assert!(last == self.newest() || cut(&name, at), "{what}: only revision {last} is left");
                }
                tried += 1;
            };
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut flipped = bytes.clone();
                    flipped[at] ^= 1 << bit;
                    check(flipped, at, "flipped");
                }
            }
            for len in 0..bytes.len() {
                check(bytes[..len].to_vec(), len, "truncated");
            }
            damaged.put(&name, bytes);
        }
        tried
    }
}

/// A store with two snapshots, segments before and after, and a few commits at its end.
fn leave(end: impl FnOnce(&mut Store)) -> Left {
    let disk = SimDisk::new();
    let mut states = vec![(Revision(0), State::new())];
    let mut end = Some(end);
    for life in 0..3 {
        let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
        states.push((store.last, store.replica.state.clone()));
        for (index, name) in ["a", "b", "c", "a", "b"].into_iter().enumerate() {
            let revision = store.commit(&[put(name, format!("{life}.{index}")), delete(["c", "a", "b"][index % 3])]);
            store.writer.sync().unwrap();
            states.push((revision, store.replica.state.clone()));
        }
        if life < 2 {
            store.snapshot().unwrap();
            store.writer.close(store.now_ms).unwrap();
        } else if let Some(end) = end.take() {
            end(&mut store);
        }
    }
    Left { disk, states }
}

fn last_segment(disk: &SimDisk) -> String {
    disk.names().into_iter().rfind(|name| name.ends_with(".journal")).unwrap()
}

/// Where the last record of the last segment begins.
fn last_record(disk: &SimDisk) -> usize {
    let mut last = 0;
    inspect(disk, &last_segment(disk), &mut |part| {
        if matches!(part.what, What::Group { .. } | What::Mark { .. } | What::Resume { .. }) {
            last = part.offset;
        }
    })
    .unwrap();
    last as usize
}

#[test]
fn no_flipped_bit_and_no_cut_loses_anything_after_a_mark() {
    let left = leave(|store| assert!(store.writer.mark(5).unwrap()));
    let tried = left.try_all(|_, _| false);
    assert!(tried > 50_000, "{tried}");
}

#[test]
fn without_a_mark_only_the_last_group_can_be_taken_for_torn() {
    let left = leave(|_| {});
    let (segment, begin) = (last_segment(&left.disk), last_record(&left.disk));
    left.try_all(|name, at| name == segment && at >= begin);
}

proptest! {
    #[test]
    fn no_run_of_other_bytes_becomes_wrong_data(
        file in any::<Index>(), at in any::<Index>(), bytes in vec(any::<u8>(), 1..600), zeros in any::<bool>(),
    ) {
        let left = leave(|_| {});
        let name = file.get(&left.disk.names()).clone();
        let mut damaged = left.disk.bytes(&name);
        let at = at.index(damaged.len());
        let end = (at + bytes.len()).min(damaged.len());
        damaged[at..end].copy_from_slice(&bytes[..end - at]);
        if zeros {
            damaged[at..end].fill(0);
        }
        left.disk.put(&name, damaged);
        left.open(&left.disk, &format!("{name} overwritten from {at} to {end}"));
    }
}

/// A disk whose last segment has this part zeroed.
fn zeroed(left: &Left, at: usize, len: usize) -> SimDisk {
    let (name, disk) = (last_segment(&left.disk), left.disk.copy());
    let mut bytes = disk.bytes(&name);
    bytes[at..at + len].fill(0);
    disk.put(&name, bytes);
    disk
}

#[test]
fn whole_sectors_that_are_lost_in_the_middle_are_damage() {
    let left = leave(|store| assert!(store.writer.mark(5).unwrap()));
    for at in (0..last_record(&left.disk) - 8).step_by(8) {
        assert_eq!(left.open(&zeroed(&left, at, 8), "a word of zeros"), None.or(untouched(&left, at)), "at {at}");
    }
}

/// The newest revision where these bytes were zeros all along.
fn untouched(left: &Left, at: usize) -> Option<Revision> {
    let bytes = left.disk.bytes(&last_segment(&left.disk));
    bytes[at..at + 8].iter().all(|byte| *byte == 0).then(|| left.newest())
}

#[test]
fn what_was_lost_after_the_last_sync_is_cut_and_reported() {
    let left = leave(|store| {
        store.commit(&[put("lost", "1")]);
        store.commit(&[put("found", "2")]);
    });
    let name = last_segment(&left.disk);
    let mut groups = Vec::new();
    inspect(&left.disk, &name, &mut |part| {
        if let What::Group { .. } = part.what {
            groups.push(part.offset);
        }
    })
    .unwrap();
    let [.., lost, found] = groups[..] else { panic!("there are groups") };
    let disk = zeroed(&left, lost as usize, (found - lost) as usize);
    let (replayed, replica) = support::recover(&disk, options(Policy::Always)).unwrap();
    let cut = replayed.report().cut.clone().unwrap();
    let end = left.disk.bytes(&name).iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    assert_eq!((cut.file, cut.offset, cut.offset + cut.bytes), (name, lost, end.next_multiple_of(8)));
    assert_eq!((replayed.report().last, replica.state), left.states.last().cloned().unwrap());
}

#[test]
fn segments_whose_revisions_do_not_meet_are_damage() {
    // Two histories of one store, whose first segments end at the same byte: one commit, or two of half the size.
    let history = |commits: &[[&str; 2]]| {
        let disk = SimDisk::new();
        let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
        let effects: Vec<_> = commits.iter().map(|[key, value]| [put(key, value.to_string())]).collect();
        let mut batches = Vec::new();
        for effects in &effects {
            let reserved = store.reserve(effects).unwrap().unwrap();
            batches.push(store.give(reserved, effects));
        }
        store.writer.append(batches, 0).unwrap();
        store.writer.close(0).unwrap();
        Store::open(&disk, options(Policy::Always)).unwrap();
        disk
    };
    let (one, two) = (history(&[["key", &"v".repeat(31)]]), history(&[["key", ""], ["yek", ""]]));
    let [first, second] = &one.names()[..] else { panic!("two lives, two segments") };
    assert_eq!(one.bytes(first).len(), two.bytes(first).len());
    one.put(second, two.bytes(second));
    let error = support::recover(&one, options(Policy::Always)).err().unwrap();
    assert!(error.to_string().contains("it begins after revision 2, the segment before ends at 1"), "{error}");
}

#[test]
fn files_of_two_stores_are_damage() {
    let store_of = |epoch| {
        let options = kvd_journal::Options { epoch: kvd_types::Epoch(epoch), ..options(Policy::Always) };
        let disk = SimDisk::new();
        for _ in 0..2 {
            let mut store = Store::open(&disk, options).unwrap();
            store.commit(&[put("key", "1")]);
            store.snapshot().unwrap();
            store.writer.close(0).unwrap();
        }
        disk
    };
    let (ours, theirs) = (store_of(1), store_of(2));
    for name in ours.names().into_iter().rev() {
        let mixed = ours.copy();
        mixed.put(&name, theirs.bytes(&name));
        match support::recover(&mixed, options(Policy::Always)) {
            Err(error) => assert!(error.to_string().contains("of two stores"), "{name}: {error}"),
            // What comes before the newest snapshot is not looked at.
            Ok((replayed, _)) => {
                assert_eq!((replayed.report().last, name < ours.names()[2]), (Revision(2), true), "{name}")
            }
        }
    }
}

#[test]
fn a_stop_in_order_with_something_behind_it_was_none() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    store.commit(&[put("key", "1")]);
    store.writer.close(0).unwrap();
    let (name, mut bytes) = (last_segment(&disk), disk.bytes(&last_segment(&disk)));
    bytes[last_record(&disk) + 100] = 1;
    disk.put(&name, bytes);
    let replayed = support::recover(&disk, options(Policy::Always)).unwrap().0;
    assert!(!replayed.report().clean && replayed.report().cut.is_some());
}

#[test]
fn a_cut_that_looks_at_no_synced_is_found() {
    plant(Some(Bug::CutAnyway));
    let left = leave(|store| assert!(store.writer.mark(5).unwrap()));
    let last = left.open(&zeroed(&left, last_record(&left.disk) - 8, 8), "a word of zeros");
    assert!(last.is_some_and(|last| last < left.newest()), "the mistake loses what was acknowledged");
}

#[test]
fn a_damaged_newest_snapshot_leaves_a_way_back() {
    let left = leave(|store| {
        store.snapshot().unwrap();
        let purged = store.writer.snapshots().purge().unwrap();
        assert!(!purged.removed.is_empty());
    });
    let newest = left.disk.names().into_iter().rfind(|name| name.ends_with(".snapshot")).unwrap();
    let mut bytes = left.disk.bytes(&newest);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    left.disk.put(&newest, bytes);
    let (replayed, replica) = support::recover(&left.disk, options(Policy::Always)).unwrap();
    assert_eq!(replayed.report().snapshots_damaged[0].0, newest);
    assert_eq!((replayed.report().last, replica.state), left.states.last().cloned().unwrap());
}

#[test]
fn keeping_only_the_newest_snapshot_is_found() {
    plant(Some(Bug::PurgeToNewest));
    let left = leave(|store| {
        store.snapshot().unwrap();
        store.writer.snapshots().purge().unwrap();
    });
    let newest = left.disk.names().into_iter().rfind(|name| name.ends_with(".snapshot")).unwrap();
    left.disk.put(&newest, Vec::new());
    assert_eq!(left.open(&left.disk, "no way back"), None);
}

#[test]
fn a_missing_file_is_damage() {
    let left = leave(|_| {});
    for name in left.disk.names() {
        let disk = left.disk.copy();
        kvd_journal::Disk::remove(&disk, &name).unwrap();
        if let Some(last) = left.open(&disk, &format!("without {name}")) {
            // Older files are not needed; the last segment's commits are.
            assert_eq!(last, left.newest(), "without {name}");
        }
    }
}

#[test]
fn records_of_another_store_place_or_time_do_not_pass() {
    let ours = leave(|_| {});
    let name = last_segment(&ours.disk);
    let begin = last_record(&ours.disk);
    let bytes = ours.disk.bytes(&name);
    // A record that was valid at another place of the same file, as a value may bring it.
    let mut forged = bytes.clone();
    let record: Vec<u8> = bytes[begin..].iter().copied().take(200).collect();
    let to = begin + 400;
    forged[to..to + record.len()].copy_from_slice(&record);
    let disk = ours.disk.copy();
    disk.put(&name, forged);
    assert_eq!(ours.open(&disk, "a forged record"), Some(ours.newest()));
    // The same commits, written by another start of the same store: other secrets.
    let theirs = SimDisk::new();
    let mut other = kvd_journal::Options { entropy: 7, ..options(Policy::Always) };
    for life in 0..3 {
        other.entropy += life;
        let mut store = Store::open(&theirs, other).unwrap();
        store.commit(&[put("x", "y")]);
        store.writer.close(0).unwrap();
    }
    let theirs = theirs.bytes(&name);
    let mut mixed = bytes.clone();
    mixed[64..].copy_from_slice(&theirs[64..bytes.len()]);
    let disk = ours.disk.copy();
    disk.put(&name, mixed);
    assert_eq!(ours.open(&disk, "records of another file"), None);
}
