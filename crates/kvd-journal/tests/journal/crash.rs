//! Power cuts and kills: at every call of random workloads, also during recovery, with any part of what was not synced
//! surviving, on disks that are full or fail at times. The oracle says what must be there. `KVD_CRASH_IMAGES` and
//! `KVD_CRASH_SEED` make it longer, or begin elsewhere; a failure names the seed to begin with.

use kvd_journal::{Error, Policy};
use kvd_testkit::crash::explore_as_asked;
use kvd_testkit::disk::SimDisk;
use kvd_testkit::durability::Oracle;
use kvd_types::Effect;

use crate::run::Workload;
use crate::support::{Store, options, put, recover};

/// Images of one crash point: different parts survive.
pub(crate) const SUBSETS: u64 = 3;

/// A commit that is acknowledged.
fn commit(store: &mut Store, oracle: &mut Oracle, effect: Effect<'static>) -> Result<(), Error> {
    let effects = [effect];
    let reserved = store.reserve(&effects)?.expect("the disk is large");
    let batch = store.give(reserved, &effects);
    oracle.tried(store.last, effects.to_vec());
    store.writer.append(vec![batch], 0)?;
    store.writer.sync()?;
    oracle.acknowledged(store.writer.durable());
    Ok(())
}

/// A process is killed at each call of a rotation, and then the power goes at each call of the next start: what that
/// start has only seen must not be what it relies on.
///
/// # Errors
/// The first promise that was broken.
pub(crate) fn kill_then_cut() -> Result<u64, String> {
    let rotate = |disk: &SimDisk, oracle: &mut Oracle| -> Result<(), Error> {
        let mut store = Store::open(disk, options(Policy::Always))?;
        oracle.recovered(store.report.last, &store.replica.state).expect("the first start finds nothing");
        oracle.resumed(store.last).expect("nothing was given");
        while !store.writer.make_room()? {
            let key = format!("key{}", store.last);
            commit(&mut store, oracle, put(&key, vec![7; 1000]))?;
        }
        Ok(())
    };
    let mut images = 0;
    for kill in 0.. {
        let (disk, mut oracle) = (SimDisk::new(), Oracle::default());
        disk.cut_power_after(kill);
        if rotate(&disk, &mut oracle).is_ok() {
            break;
        }
        // What the next start sees, and may have made durable when it is cut.
        let (seen, replica) = recover(&disk.fork(), options(Policy::Always)).map_err(|error| error.to_string())?;
        oracle.recovered(seen.report().last, &replica.state)?;
        for cut in 0.. {
            let again = disk.fork();
            again.cut_power_after(cut);
            let started = Store::open(&again, options(Policy::Always)).is_ok();
            for seed in 0..32 {
                let what = |what: String| format!("killed at {kill}, cut at {cut}, seed {seed}: {what}");
                let image = again.after_power_cut(seed);
                let (replayed, replica) =
                    recover(&image, options(Policy::Always)).map_err(|error| what(error.to_string()))?;
                oracle.clone().recovered(replayed.report().last, &replica.state).map_err(what)?;
                images += 1;
            }
            if started {
                break;
            }
        }
    }
    Ok(images)
}

/// The power goes at each call while snapshots are made and what they replace is removed.
///
/// # Errors
/// The first promise that was broken.
pub(crate) fn purge_then_cut() -> Result<u64, String> {
    let purge = |disk: &SimDisk, oracle: &mut Oracle| -> Result<(), Error> {
        let mut store = Store::open(disk, options(Policy::Always))?;
        for round in 0..3 {
            for key in 0..5 {
                commit(&mut store, oracle, put(&format!("key{key}"), vec![round; 1000]))?;
            }
            store.snapshot()?;
            commit(&mut store, oracle, put("between", ""))?;
            store.snapshot()?;
            store.writer.snapshots().purge()?;
        }
        Ok(())
    };
    let mut images = 0;
    for cut in 0.. {
        let (disk, mut oracle) = (SimDisk::new(), Oracle::default());
        disk.cut_power_after(cut);
        let finished = purge(&disk, &mut oracle).is_ok();
        for seed in 0..32 {
            let what = |what: String| format!("cut at {cut}, seed {seed}: {what}");
            let image = disk.after_power_cut(seed);
            let (replayed, replica) =
                recover(&image, options(Policy::Always)).map_err(|error| what(error.to_string()))?;
            oracle.clone().recovered(replayed.report().last, &replica.state).map_err(what)?;
            images += 1;
        }
        if finished {
            return Ok(images);
        }
    }
    unreachable!("a workload has an end")
}

#[test]
fn a_start_relies_on_nothing_that_it_has_only_seen() {
    let images = kill_then_cut().unwrap_or_else(|what| panic!("{what}"));
    assert!(images > 10_000, "{images}");
}

#[test]
fn a_purge_removes_nothing_that_may_be_needed() {
    let images = purge_then_cut().unwrap_or_else(|what| panic!("{what}"));
    assert!(images > 3_000, "{images}");
}

#[test]
fn what_was_acknowledged_survives_every_crash() {
    let done = explore_as_asked::<Workload>(20_000, SUBSETS).unwrap_or_else(|what| panic!("{what}"));
    println!("{done} images recovered");
}
