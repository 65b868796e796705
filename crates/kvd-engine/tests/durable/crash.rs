//! Power cuts and kills at calls of random workloads, also during a start, with any part of what was not synced surviving, on
//! disks that are full or fail at times. `KVD_CRASH_IMAGES` and `KVD_CRASH_SEED` make it longer, or begin elsewhere; a
//! failure names the seed to begin with.

use std::env;
use std::io::ErrorKind;

use kvd_testkit::disk::{Call, SimDisk};
use kvd_testkit::durability::Oracle;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::life::{Ended, Workload};

/// What fails now and then.
const FAILING: [Call; 7] =
    [Call::Write, Call::Sync, Call::Sync, Call::SyncDir, Call::Rename, Call::Allocate, Call::Truncate];

/// Cuts the power at every call of workloads from `seed` on, until `images` were recovered from.
///
/// # Errors
/// The first promise that was broken, with the seed to begin with.
pub(crate) fn explore(seed: u64, images: u64) -> Result<u64, String> {
    let mut done = 0;
    for seed in seed.. {
        done += workload(seed).map_err(|what| format!("KVD_CRASH_SEED={seed}: {what}"))?;
        if done >= images {
            break;
        }
    }
    Ok(done)
}

fn workload(seed: u64) -> Result<u64, String> {
    let calls = {
        let mut workload = Workload::new(seed);
        let disk = SimDisk::with_geometry(workload.geometry);
        workload.live(&disk, &mut Oracle::default()).map_err(|ended| format!("without a crash: {ended:?}"))?;
        disk.calls()
    };
    let mut images = 0;
    for cut in 0..=calls {
        images += crash(seed, cut).map_err(|what| format!("cut at {cut} of {calls}: {what}"))?;
    }
    Ok(images)
}

/// A life that ends at the call `cut`, and up to two more that end anywhere. Returns how often a store was recovered.
fn crash(seed: u64, cut: u64) -> Result<u64, String> {
    let mut workload = Workload::new(seed);
    let mut random = SmallRng::seed_from_u64(seed ^ cut << 32);
    let mut oracle = Oracle::default();
    let mut disk = SimDisk::with_geometry(workload.geometry);
    let mut cut = cut;
    let lives = random.random_range(2..4);
    let mut capacity = [u64::MAX, random.random_range(20 << 10..80 << 10)][usize::from(random.random_range(0..4) == 0)];
    for life in 0..lives {
        disk.cut_power_after(cut);
        disk.set_capacity(capacity);
        if random.random_range(0..4) == 0 {
            let call = FAILING[random.random_range(0..FAILING.len())];
            disk.fail(call, random.random_range(0..20), ErrorKind::Other);
        }
        match workload.live(&disk, &mut oracle) {
            Ok(()) | Err(Ended::Dead) => {}
            Err(Ended::Full) => capacity = u64::MAX,
            Err(Ended::Broken(what)) => return Err(format!("life {life}: {what}")),
        }
        if random.random_range(0..4) == 0 {
            // The process alone was killed: the next one reads what never reached the disk.
            disk.restart();
        } else {
            disk = disk.after_power_cut(random.random());
        }
        cut = if life + 2 < lives { random.random_range(0..150) } else { u64::MAX / 2 };
    }
    Ok(lives - 1)
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

#[test]
fn what_was_answered_survives_every_crash() {
    let (seed, images) = (number("KVD_CRASH_SEED", 1), number("KVD_CRASH_IMAGES", 5_000));
    let done = explore(seed, images).unwrap_or_else(|what| panic!("{what}"));
    println!("{done} images recovered");
}
