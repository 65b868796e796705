//! Crashes at every call of a workload: power cuts and kills, with any part of what was not synced surviving, on disks that are
//! full or fail at times. Owns where a life ends and what becomes of the disk; what is done in a life, and what must be there in
//! the next one, is the workload's to say.

use std::env;
use std::io::ErrorKind;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::disk::{Call, Geometry, SimDisk};
use crate::durability::Oracle;

/// What fails now and then.
const FAILING: [Call; 8] =
    [Call::Write, Call::Sync, Call::Sync, Call::SyncDir, Call::Rename, Call::Allocate, Call::Truncate, Call::Remove];

/// What a process does with its disk, drawn from a seed: the same in each life, but for what it finds.
pub trait Workload {
    /// The workload of this seed.
    fn new(seed: u64) -> Self;

    /// What the disk is made of.
    fn geometry(&self) -> Geometry;

    /// Starts, compares what is there with what the oracle knows, and works.
    ///
    /// # Errors
    /// Why it ended before its time.
    fn live(&mut self, disk: &SimDisk, oracle: &mut Oracle) -> Result<(), Ended>;
}

/// Why a life ended before its time.
#[derive(Debug)]
pub enum Ended {
    /// The power went, or a call failed.
    Dead,
    /// The disk has no room to start.
    Full,
    /// A promise was broken.
    Broken(String),
}

/// Cuts the power at every call of workloads from `seed` on, until `images` were recovered from; at each call `subsets` times,
/// since other parts survive each time.
///
/// # Errors
/// The first promise that was broken, with the seed to begin with.
pub fn explore<W: Workload>(seed: u64, images: u64, subsets: u64) -> Result<u64, String> {
    let mut done = 0;
    for seed in seed.. {
        done += workload::<W>(seed, subsets).map_err(|what| format!("KVD_CRASH_SEED={seed}: {what}"))?;
        if done >= images {
            break;
        }
    }
    Ok(done)
}

/// As `explore`; `KVD_CRASH_IMAGES` and `KVD_CRASH_SEED` make it longer, or begin elsewhere.
///
/// # Errors
/// As `explore`.
pub fn explore_as_asked<W: Workload>(images: u64, subsets: u64) -> Result<u64, String> {
    explore::<W>(number("KVD_CRASH_SEED", 1), number("KVD_CRASH_IMAGES", images), subsets)
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

fn workload<W: Workload>(seed: u64, subsets: u64) -> Result<u64, String> {
    let calls = {
        let mut workload = W::new(seed);
        let disk = SimDisk::with_geometry(workload.geometry());
        workload.live(&disk, &mut Oracle::default()).map_err(|ended| format!("without a crash: {ended:?}"))?;
        disk.calls()
    };
    let mut images = 0;
    for cut in 0..=calls {
        for subset in 0..subsets {
            images += crash::<W>(seed, cut, subset)
                .map_err(|what| format!("cut at {cut} of {calls}, subset {subset}: {what}"))?;
        }
    }
    Ok(images)
}

/// A life that ends at the call `cut`, and up to two more that end anywhere. Returns how often a store was recovered.
fn crash<W: Workload>(seed: u64, cut: u64, subset: u64) -> Result<u64, String> {
    let mut workload = W::new(seed);
    let mut random = SmallRng::seed_from_u64(seed ^ cut << 32 ^ subset << 56);
    let mut oracle = Oracle::default();
    let mut disk = SimDisk::with_geometry(workload.geometry());
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
