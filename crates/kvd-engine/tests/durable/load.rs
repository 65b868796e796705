//! What a start loads: the same store from one thread and from several, clears among the commits; that of the older snapshot
//! where the newest is damaged; an index that was made for more keys than came shrinks like any other; and no more than the
//! memory that is allowed.

use std::sync::Arc;

use kvd_engine::{Config, Engine};
use kvd_journal::{Error as JournalError, Policy};
use kvd_testkit::disk::SimDisk;
use kvd_testkit::durability::State;
use kvd_types::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::life::{open, options, replica};

fn numbered(number: u64) -> Key<'static> {
    Key::new(number.to_le_bytes().to_vec()).unwrap()
}

fn run(engine: &Engine, command: Command<'_>) {
    engine.execute(&mut engine.worker(), &command).unwrap();
}

fn set(engine: &Engine, number: u64, value: Vec<u8>) {
    run(engine, Command::Set(Set::new(numbered(number), value)));
}

/// Makes a snapshot.
fn snapshot(engine: &Engine) {
    let mut worker = engine.worker();
    let mut run = engine.begin_snapshot(&mut worker).unwrap().unwrap();
    while run.advance(&mut worker, 1_000).unwrap() {}
    run.finish(1).unwrap();
}

/// Ends the engine in order.
fn end(engine: &Engine) {
    engine.close();
    engine.finish(1).unwrap();
}

/// Whether the store has exactly these keys, with their values and revisions.
fn is(engine: &Engine, state: &State) {
    let totals = engine.stats().totals;
    let bytes = state.values().map(|version| version.value.len() as u64).sum::<u64>();
    assert_eq!((totals.keys, totals.value_bytes), (state.len() as u64, bytes));
    let mut worker = engine.worker();
    for (key, version) in state {
        engine.get_with(&mut worker, key, |found| {
            let found = found.expect("it is there");
            assert_eq!((found.value(), found.revision()), (&version.value[..], version.revision));
        });
    }
}

#[test]
fn several_threads_load_what_one_does() {
    let disk = SimDisk::new();
    let options = kvd_journal::Options { segment_bytes: 1 << 20, ..options(Policy::Off) };
    let (engine, _) = open(&disk, options, 1).unwrap();
    let mut random = SmallRng::seed_from_u64(1);
    for step in 0..20_000 {
        let number = random.random_range(0..3_000);
        match random.random_range(0..10) {
            0..6 => set(&engine, number, vec![step as u8; random.random_range(0..200)]),
            6..8 => run(&engine, Command::Delete(Delete::new(numbered(number)))),
            8 if step % 7 == 0 => set(&engine, number, vec![step as u8; 20 << 10]),
            _ => {
                let sets = (0..4).map(|more| Set::new(numbered(number + more), step.to_string().into_bytes()));
                run(&engine, Command::MultiSet { sets: sets.collect() });
            }
        }
        match step {
            5_000 => snapshot(&engine),
            4_000 | 9_000 | 15_000 => run(&engine, Command::Clear),
            step if step % 50 == 0 => drop(engine.flush(1).unwrap()),
            _ => {}
        }
    }
    end(&engine);
    let (report, state) = replica(&disk.fork(), options).unwrap();
    assert!(report.snapshot.is_some() && report.batches > 10_000 && state.len() > 1_000, "{report:?}");
    for threads in [1, 2, 5] {
        let (engine, _) = open(&disk.fork(), options, threads).unwrap();
        is(&engine, &state);
    }
}

#[test]
fn behind_a_damaged_snapshot_is_the_store_of_the_older_one() {
    let disk = SimDisk::new();
    let options = kvd_journal::Options { segment_bytes: 8 << 20, ..options(Policy::Off) };
    let (engine, _) = open(&disk, options, 1).unwrap();
    (0..500).for_each(|number| set(&engine, number, vec![1; 10_000]));
    snapshot(&engine);
    (0..400).for_each(|number| run(&engine, Command::Delete(Delete::new(numbered(number)))));
    (400..900).for_each(|number| set(&engine, number, vec![2; 10_000]));
    snapshot(&engine);
    (0..10).for_each(|number| set(&engine, number, vec![3; 10]));
    end(&engine);
    let (_, state) = replica(&disk.fork(), options).unwrap();
    let newest = disk.names().into_iter().rfind(|name| name.ends_with(".snapshot")).unwrap();
    let mut bytes = disk.bytes(&newest);
    assert!(bytes.len() > 4 << 20, "several chunks");
    let at = bytes.len() - 2_000;
    bytes[at] ^= 1;
    disk.put(&newest, bytes);
    for threads in [1, 3] {
        let (engine, report) = open(&disk.fork(), options, threads).unwrap();
        assert_eq!((&report.snapshots_damaged[0].0, report.snapshot), (&newest, Some(Revision(500))));
        is(&engine, &state);
    }
}

#[test]
fn an_index_that_was_made_for_more_keys_shrinks() {
    const KEYS: u64 = 20_000;
    let disk = SimDisk::new();
    let options = kvd_journal::Options { segment_bytes: 4 << 20, ..options(Policy::Off) };
    let (engine, _) = open(&disk, options, 1).unwrap();
    (0..KEYS).for_each(|number| set(&engine, number, vec![1; 8]));
    snapshot(&engine);
    let before = engine.stats().totals.index_bytes;
    end(&engine);
    let (engine, _) = open(&disk.fork(), options, 2).unwrap();
    let loaded = engine.stats().totals.index_bytes;
    assert!((before * 8 / 10..before * 12 / 10).contains(&loaded), "{loaded} bytes, and {before} before");
    (0..KEYS).for_each(|number| run(&engine, Command::Delete(Delete::new(numbered(number)))));
    while engine.maintain(&mut engine.worker()) {}
    let left = engine.stats().totals.index_bytes;
    assert!(left < loaded / 20, "{left} bytes without keys, {loaded} with all");
}

#[test]
fn more_than_the_memory_that_is_allowed_stops_the_start() {
    let disk = SimDisk::new();
    let options = kvd_journal::Options { segment_bytes: 4 << 20, ..options(Policy::Off) };
    let open = |disk: &SimDisk, memory_bytes_max, threads| {
        let config = Config { memory_bytes_max, ..Config::default() };
        Engine::recover(config, Arc::new(disk.clone()), options, 0, threads, &|_| {})
    };
    let (engine, _) = open(&disk, u64::MAX, 1).unwrap();
    (0..2_000).for_each(|number| set(&engine, number, vec![1; 1_000]));
    engine.flush(1).unwrap();
    let totals = engine.stats().totals;
    // Commits kept for watches are not loaded.
    let used = totals.memory_bytes() - totals.watch_bytes;
    let journal_alone = disk.fork();
    snapshot(&engine);
    end(&engine);
    for (disk, is_told_before) in [(&disk, true), (&journal_alone, false)] {
        let names = disk.names();
        for threads in [1, 3] {
            // As it was when it was full; a little less; much less.
            assert_eq!(open(&disk.fork(), used, threads).unwrap().0.stats().totals.keys, 2_000);
            for max in [used / 2, used / 10] {
                let refused = disk.fork();
                let error = open(&refused, max, threads).err().expect("it does not fit");
                let JournalError::MemoryFull { needed, max: told } = error else { panic!("{error}") };
                assert_eq!(told, max);
                let expected = if is_told_before { used * 9 / 10..used * 11 / 10 } else { max..used * 11 / 10 };
                assert!(expected.contains(&needed), "{needed} bytes, of {used}");
                assert_eq!(refused.names(), names, "nothing was changed");
            }
        }
    }
}

#[test]
fn a_closed_journal_says_so() {
    let disk = SimDisk::new();
    let (engine, _) = open(&disk, options(Policy::Always), 1).unwrap();
    set(&engine, 1, vec![1]);
    let mut worker = engine.worker();
    let run = engine.begin_snapshot(&mut worker).unwrap().unwrap();
    end(&engine);
    let after = [engine.flush(2).map(drop), engine.mark(2), engine.finish(2), run.finish(2).map(drop)];
    for result in after {
        let error = result.expect_err("nothing is written any more");
        assert_eq!(error.code(), "closed", "{error}");
    }
}
