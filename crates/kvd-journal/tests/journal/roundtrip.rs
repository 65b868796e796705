//! What was committed is what comes back, by whatever road: from the journal, over rotations and restarts, as batches or
//! record by record. And `durable` moves when the policy says so.

use bytes::Bytes;
use kvd_journal::{Commit, Policy, REVISION_JUMP, What, between, inspect};
use kvd_testkit::disk::SimDisk;
use kvd_types::{ContentType, Effect, Reason, Revision};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::support::{self, Store, options, put};

fn commit() -> impl Strategy<Value = Vec<Effect<'static>>> {
    let change = prop_oneof![
        3 => (vec(any::<u8>(), 0..900), any::<bool>(), any::<Option<u64>>()).prop_map(Some),
        1 => Just(None),
    ];
    let effects = btree_map(0..20_u8, change, 1..4).prop_map(|changes| {
        let named = changes.into_iter().map(|(key, change)| (support::key(&key.to_string()), change));
        let effects = named.map(|(key, change)| match change {
            Some((value, typed, expires_at_ms)) => {
                let content_type = typed.then(|| ContentType::new(b"application/json").unwrap());
                Effect::Put { key, value: Bytes::from(value), content_type, expires_at_ms }
            }
            None => Effect::Delete { key, reason: Reason::Expired },
        });
        effects.collect()
    });
    prop_oneof![20 => effects, 1 => Just(vec![Effect::Clear])]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_commit_comes_back_in_order(lives in vec(vec(commit(), 0..20), 1..4)) {
        let disk = SimDisk::new();
        let mut committed = Vec::new();
        for commits in &lives {
            let mut store = Store::open(&disk, options(Policy::Off)).unwrap();
            for effects in commits {
                committed.push((store.commit(effects), effects.clone()));
            }
            store.writer.close(7).unwrap();
        }
        let store = Store::open(&disk, options(Policy::Off)).unwrap();
        prop_assert_eq!(store.last, Revision(committed.len() as u64));
        prop_assert!(store.report.clean && store.report.cut.is_none());
        prop_assert_eq!(store.report.now_ms, 7);
        let mut replica = kvd_testkit::durability::Replica::default();
        committed.iter().for_each(|(revision, effects)| replica.apply(*revision, effects));
        prop_assert_eq!(&replica.state, &store.replica.state);
        let middle = Revision(committed.len() as u64 / 2);
        let mut found = Vec::new();
        between(&disk, middle, store.last, &mut |Commit { revision, effects, .. }| {
            found.push((revision, effects));
            Ok(())
        }).unwrap();
        prop_assert_eq!(&found[..], &committed[middle.0 as usize..]);
    }
}

#[test]
fn every_part_of_a_file_can_be_looked_at() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    let revision = store.commit(&[put("key", "value")]);
    store.writer.mark(3).unwrap();
    store.commit(&[put("key", "other")]);
    store.writer.close(4).unwrap();
    let name = &disk.names()[0];
    let mut parts = Vec::new();
    inspect(&disk, name, &mut |part| parts.push(part)).unwrap();
    let mut end = 0;
    for part in &parts {
        assert_eq!(part.offset, end, "no byte is left out");
        end += part.bytes;
    }
    assert_eq!(end, disk.bytes(name).len() as u64);
    let what: Vec<_> = parts.into_iter().map(|part| part.what).collect();
    let [What::Segment { base, .. }, What::Resume { last, .. }, What::Group { batches, .. }, rest @ ..] = &what[..]
    else {
        panic!("{what:?}")
    };
    let commit = Commit { revision, time_ms: None, effects: vec![put("key", "value")] };
    assert_eq!((*base, *last, &batches[..]), (Revision(0), Revision(0), &[commit][..]));
    let [
        What::Mark { clean: false, now_ms: 3, .. },
        What::Group { .. },
        What::Mark { clean: true, now_ms: 4, .. },
        What::Unused,
    ] = rest
    else {
        panic!("{rest:?}")
    };
}

#[test]
fn looking_goes_on_behind_what_is_bad() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    for _ in 0..3 {
        store.commit(&[put("key", "value")]);
    }
    let name = &disk.names()[0];
    let mut groups = Vec::new();
    inspect(&disk, name, &mut |part| groups.extend(matches!(part.what, What::Group { .. }).then_some(part.offset)))
        .unwrap();
    let mut bytes = disk.bytes(name);
    bytes[groups[1] as usize + 50] ^= 1;
    disk.put(name, bytes);
    let mut bad = Vec::new();
    let mut after = 0;
    inspect(&disk, name, &mut |part| match part.what {
        What::Bad(_) => bad.push((part.offset, part.bytes)),
        What::Group { .. } if part.offset > groups[1] => after += 1,
        _ => {}
    })
    .unwrap();
    assert_eq!((bad, after), (vec![(groups[1], groups[2] - groups[1])], 1));
}

#[test]
fn the_policy_says_when_to_sync() {
    let due = |policy, times: [u64; 4]| {
        let mut store = Store::open(&SimDisk::new(), options(policy)).unwrap();
        times.map(|now_ms| {
            store.commit(&[put("key", "")]);
            store.writer.sync_if_due(now_ms).unwrap() && store.writer.durable() == store.last
        })
    };
    assert_eq!(due(Policy::Always, [0, 0, 1, 1]), [true; 4]);
    assert_eq!(due(Policy::Interval(100), [99, 100, 199, 200]), [false, true, false, true]);
    assert_eq!(due(Policy::Off, [0, 1_000, 100_000, u64::MAX]), [false; 4]);
}

#[test]
fn nothing_is_synced_twice_and_nothing_said_twice() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    store.commit(&[put("key", "")]);
    assert!(store.writer.mark(5).unwrap());
    let calls = disk.calls();
    assert!(!store.writer.mark(5).unwrap() && !store.writer.sync_if_due(9).unwrap());
    store.writer.sync().unwrap();
    assert_eq!(disk.calls(), calls);
    assert!(store.writer.mark(6).unwrap(), "time has moved");
}

#[test]
fn only_an_unclean_stop_jumps() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    store.commit(&[put("key", "")]);
    store.writer.close(0).unwrap();
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    assert_eq!((store.last, store.report.clean), (Revision(1), true));
    store.commit(&[put("key", "")]);
    drop(store);
    let store = Store::open(&disk, options(Policy::Always)).unwrap();
    assert_eq!((store.last, store.report.clean), (Revision(2 + REVISION_JUMP), false));
    drop(store);
    let store = Store::open(&disk, options(Policy::Always)).unwrap();
    assert_eq!(store.last, Revision(2 + 2 * REVISION_JUMP), "also when nothing was written");
}

#[test]
fn the_stores_time_never_goes_back() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(Policy::Always)).unwrap();
    store.now_ms = 1_000;
    store.commit(&[put("key", "")]);
    store.now_ms = 5;
    store.commit(&[put("key", "")]);
    drop(store);
    assert_eq!(Store::open(&disk, options(Policy::Always)).unwrap().now_ms, 1_000);
}
