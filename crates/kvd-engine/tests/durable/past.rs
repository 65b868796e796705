//! The past after a start: what each key had, at each revision, is what it was before, by whatever road it comes back: the
//! journal alone, a snapshot that was made under load with its tail, several threads, a kill; and with other settings than
//! before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kvd_engine::{Config, Engine, Worker};
use kvd_journal::{Disk, Options, Policy, RealDisk};
use kvd_testkit::disk::SimDisk;
use kvd_types::*;

use crate::life::{KEYS, key, open_with, options};

/// A store with this history, in a directory.
fn start(disk: &SimDisk, history: usize, history_deleted_max: usize) -> (Engine, Worker) {
    let config = Config { history, history_deleted_max, ..Config::default() };
    let (engine, _) = open_with(config, disk, options(Policy::Always), 2).unwrap();
    let worker = engine.worker();
    (engine, worker)
}

fn stop(engine: Engine, worker: Worker) {
    drop(worker);
    engine.close();
    engine.finish(1_000).unwrap();
}

fn snapshot(engine: &Engine, worker: &mut Worker) {
    let mut run = engine.begin_snapshot(worker).unwrap().unwrap();
    while run.advance(worker, 100).unwrap() {}
    run.finish(1_000).unwrap();
}

fn set(engine: &Engine, worker: &mut Worker, name: &str, value: &'static str) {
    engine.execute(worker, &Command::Set(Set::new(key(name), value))).unwrap();
    engine.flush(1).unwrap();
}

fn delete(engine: &Engine, worker: &mut Worker, name: &str) {
    engine.execute(worker, &Command::Delete(Delete::new(key(name)))).unwrap();
    engine.flush(1).unwrap();
}

fn versions(engine: &Engine, worker: &mut Worker, name: &Key<'_>) -> Vec<HistoryItem> {
    match engine.execute(worker, &Command::History { key: name.borrow() }) {
        Ok(Reply::History { versions, .. }) => versions,
        other => panic!("{other:?}"),
    }
}

/// A key's history, and what it had at each revision.
type WholePast = (Vec<HistoryItem>, Vec<Result<Reply, Error>>);

/// What all keys had at all revisions up to `newest`.
fn all_past(engine: &Engine, worker: &mut Worker, newest: u64) -> Vec<WholePast> {
    let past = |name: &&str| {
        let at = |revision, worker: &mut Worker| {
            engine.execute(worker, &Command::GetAt { key: key(name), revision: Revision(revision) })
        };
        let values = (0..=newest).map(|revision| at(revision, worker)).collect();
        (versions(engine, worker, &key(name)), values)
    };
    KEYS.iter().map(past).collect()
}

#[test]
fn what_was_answered_before_a_stop_or_a_kill_is_answered_after_it() {
    for has_snapshot in [false, true] {
        for is_killed in [false, true] {
            let disk = SimDisk::new();
            let (engine, mut worker) = start(&disk, 2, 2);
            engine.tick(7);
            for name in &KEYS[..6] {
                for value in ["1", "22", "333", "4444"] {
                    set(&engine, &mut worker, name, value);
                }
            }
            engine.tick(9);
            // Five deletions, of which two are remembered; one key is back.
            for name in &KEYS[..5] {
                delete(&engine, &mut worker, name);
            }
            if has_snapshot {
                snapshot(&engine, &mut worker);
            }
            set(&engine, &mut worker, KEYS[4], "back");
            set(&engine, &mut worker, KEYS[5], "55555");
            let newest = engine.revision().0;
            let before = all_past(&engine, &mut worker, newest);
            assert_eq!(before[3].0.iter().map(|item| item.size).collect::<Vec<_>>(), [0, 4, 3], "remembered");
            assert_eq!((before[3].0[0].time_ms, before[3].0[1].time_ms), (Some(9), Some(7)));
            assert!(before[0].0.is_empty(), "forgotten");
            if is_killed {
                drop((engine, worker));
            } else {
                stop(engine, worker);
            }
            let disk = if is_killed { disk.after_power_cut(1) } else { disk };
            for _ in 0..2 {
                let (engine, mut worker) = start(&disk, 2, 2);
                assert_eq!(
                    all_past(&engine, &mut worker, newest),
                    before,
                    "snapshot: {has_snapshot}, killed: {is_killed}"
                );
                stop(engine, worker);
            }
        }
    }
}

#[test]
fn other_depths_count_from_a_start_on() {
    let disk = SimDisk::new();
    let dropped = |revision| Err(Error::VersionDropped { revision: Revision(revision) });
    let at = |engine: &Engine, worker: &mut Worker, revision| {
        let command = Command::GetAt { key: key("a"), revision: Revision(revision) };
        engine.execute(worker, &command).map(|reply| match reply {
            Reply::Got { entry, .. } => entry.map(|entry| entry.revision.0),
            other => panic!("{other:?}"),
        })
    };
    let revisions = |engine: &Engine, worker: &mut Worker| {
        versions(engine, worker, &key("a")).iter().map(|item| item.revision.0).collect::<Vec<_>>()
    };
    let (engine, mut worker) = start(&disk, 3, 10);
    set(&engine, &mut worker, "other", "");
    for value in ["1", "2", "3", "4"] {
        set(&engine, &mut worker, "a", value);
    }
    assert_eq!(revisions(&engine, &mut worker), [5, 4, 3, 2]);
    assert_eq!(at(&engine, &mut worker, 1), Ok(None), "it had none");
    snapshot(&engine, &mut worker);
    stop(engine, worker);
    // Less: what is too much is dropped, and that is known.
    let (engine, mut worker) = start(&disk, 1, 10);
    assert_eq!(revisions(&engine, &mut worker), [5, 4]);
    assert_eq!((at(&engine, &mut worker, 4), at(&engine, &mut worker, 3)), (Ok(Some(4)), dropped(3)));
    stop(engine, worker);
    // More: as much as the snapshot has, which is from before.
    let (engine, mut worker) = start(&disk, 5, 10);
    assert_eq!(revisions(&engine, &mut worker), [5, 4, 3, 2]);
    set(&engine, &mut worker, "a", "6");
    assert_eq!((revisions(&engine, &mut worker), at(&engine, &mut worker, 1)), (vec![6, 5, 4, 3, 2], Ok(None)));
    stop(engine, worker);
    // Off: no history, and no snapshot with one.
    let (engine, mut worker) = start(&disk, 0, 10);
    assert_eq!(at(&engine, &mut worker, 5), Err(Error::HistoryOff));
    set(&engine, &mut worker, "a", "7");
    snapshot(&engine, &mut worker);
    stop(engine, worker);
    // On again: nothing is known of before.
    let (engine, mut worker) = start(&disk, 5, 10);
    assert_eq!(revisions(&engine, &mut worker), [7]);
    assert_eq!(versions(&engine, &mut worker, &key("a"))[0].time_ms, None, "no time was kept");
    assert_eq!((at(&engine, &mut worker, 7), at(&engine, &mut worker, 6)), (Ok(Some(7)), dropped(6)));
    engine.tick(1_000);
    set(&engine, &mut worker, "a", "8");
    assert_eq!(revisions(&engine, &mut worker), [8, 7]);
    assert_eq!(at(&engine, &mut worker, 6), dropped(6));
    stop(engine, worker);
}

#[test]
fn revisions_that_a_crash_passed_over_are_not_known() {
    let disk = SimDisk::new();
    let (engine, mut worker) = start(&disk, 1, 10);
    set(&engine, &mut worker, "a", "1");
    drop((engine, worker));
    let jump = 1 << 24;
    let ask = |engine: &Engine, revision| {
        engine.execute(&mut engine.worker(), &Command::GetAt { key: key("a"), revision: Revision(revision) })
    };
    for has_snapshot in [false, true, false] {
        let (engine, mut worker) = start(&disk, 1, 10);
        for revision in [2, 1000, jump] {
            assert_eq!(ask(&engine, revision), Err(Error::VersionDropped { revision: Revision(revision) }));
        }
        for revision in [1, 1 + jump] {
            assert!(matches!(ask(&engine, revision), Ok(Reply::Got { entry: Some(_), .. })), "{revision}");
        }
        if has_snapshot {
            // Twice, so that the journal from before is gone.
            for _ in 0..2 {
                set(&engine, &mut worker, "b", "");
                snapshot(&engine, &mut worker);
            }
        }
        stop(engine, worker);
    }
}

#[test]
fn a_snapshot_under_load_and_its_journal_bring_back_the_past() {
    const COUNT: u64 = 3_000;
    let numbered = |number: u64| Key::new(number.to_le_bytes().to_vec()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.path()));
    let options = Options { segment_bytes: 1 << 20, ..options(Policy::Interval(5)) };
    let start = |threads| {
        let config = Config { history: 3, ..Config::default() };
        Engine::recover(config, Arc::clone(&disk), options, 1, threads, &|_| {}).unwrap()
    };
    let past = |engine: &Engine| -> BTreeMap<u64, Vec<HistoryItem>> {
        let mut worker = engine.worker();
        (0..2 * COUNT).map(|number| (number, versions(engine, &mut worker, &numbered(number)))).collect()
    };
    let (engine, _) = start(1);
    let has_stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut worker = engine.worker();
            for number in (0..COUNT).cycle().take(30_000) {
                let command = match number % 7 {
                    0 | 3 => Command::Delete(Delete::new(numbered(number))),
                    1 => Command::Set(Set::new(numbered(number), number.to_string().into_bytes())),
                    2 => Command::Set(Set { ttl: Ttl::Ms(3), ..Set::new(numbered(number), "goes") }),
                    _ => {
                        let sets = [number, number - 1, COUNT + number];
                        let sets = sets.map(|number| Set::new(numbered(number), "x")).to_vec();
                        Command::MultiSet { sets }
                    }
                };
                engine.execute(&mut worker, &command).unwrap();
                if number.is_multiple_of(100) {
                    engine.tick(number + 1);
                    engine.sweep(&mut worker, 10);
                    engine.flush(number + 1).unwrap();
                }
            }
            has_stopped.store(true, Ordering::Release); // pairs with the load below
        });
        let mut worker = engine.worker();
        let mut snapshots = 0;
        // Acquire: pairs with the store above.
        while !has_stopped.load(Ordering::Acquire) || snapshots < 2 {
            let mut run = engine.begin_snapshot(&mut worker).unwrap().unwrap();
            while run.advance(&mut worker, 50).unwrap() {}
            run.finish(3).unwrap();
            snapshots += 1;
        }
    });
    let expected = past(&engine);
    let (held, deleted) =
        (engine.stats().totals.history_bytes, expected.values().flatten().filter(|item| item.gone.is_some()));
    assert!(held > 0 && deleted.count() > 100);
    engine.close();
    engine.finish(10_000).unwrap();
    drop(engine);
    for threads in [1, 4] {
        let (engine, report) = start(threads);
        assert!(report.clean && report.snapshot.is_some(), "{report:?}");
        assert!(past(&engine) == expected);
        assert_eq!(engine.stats().totals.history_bytes, held, "to the byte");
        engine.close();
        engine.finish(10_000).unwrap();
    }
}

#[test]
fn a_past_that_memory_was_short_for_does_not_stop_the_start() {
    let config = |history_deleted_max, memory_bytes_max| Config {
        history: 1,
        history_deleted_max,
        memory_bytes_max,
        ..Config::default()
    };
    // Forgotten for want of memory; forgotten because it was so long ago.
    for history_deleted_max in [100_000, 10] {
        for has_snapshot in [false, true] {
            let disk = SimDisk::new();
            let config = || config(history_deleted_max, 1 << 20);
            let (engine, _) = open_with(config(), &disk, options(Policy::Off), 1).unwrap();
            let mut worker = engine.worker();
            for number in 0..1_000_u64 {
                let key = || Key::new(number.to_le_bytes().to_vec()).unwrap();
                engine.execute(&mut worker, &Command::Set(Set::new(key(), vec![1; 4_000]))).unwrap();
                engine.execute(&mut worker, &Command::Delete(Delete::new(key()))).unwrap();
                if number == 500 && has_snapshot {
                    snapshot(&engine, &mut worker);
                }
            }
            stop(engine, worker);
            for threads in [1, 3] {
                let disk = disk.fork();
                let (engine, _) = open_with(config(), &disk, options(Policy::Off), threads).unwrap();
                let totals = engine.stats().totals;
                // An eighth more than the limit, and what each thread has retired and not handed over yet.
                let most = (1 << 20) + (1 << 17) + threads as u64 * (256 << 10);
                assert!(totals.keys == 0 && totals.memory_bytes() <= most, "{totals:?}");
                let mut worker = engine.worker();
                let newest = Key::new(999_u64.to_le_bytes().to_vec()).unwrap();
                assert_eq!(versions(&engine, &mut worker, &newest).len(), 2, "the newest deletions are remembered");
            }
        }
    }
}
