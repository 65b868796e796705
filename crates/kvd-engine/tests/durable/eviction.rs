//! Evicting stores on disks that lose power: a key that was found missing stays missing until someone sets it again, and what
//! comes back is what the journal holds. One thread, and `fsync always`, so that what a reader was shown is promised to stay.

use std::collections::BTreeMap;
use std::sync::Arc;

use kvd_engine::{Bug, Config, Engine, MemoryPolicy, Worker, plant};
use kvd_journal::{Options, Policy};
use kvd_testkit::crash::{self, Ended};
use kvd_testkit::disk::{Geometry, SimDisk};
use kvd_testkit::durability::Oracle;
use kvd_types::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::life::{options, replica};

const KEYS: u64 = 24;

/// Some ten of the values fit.
const MEMORY_BYTES: u64 = 16 << 10;
const VALUE_BYTES: usize = 1_200;

struct Evicting {
    random: SmallRng,
    steps: usize,
    /// Names the next value: each is written once.
    next: u64,
    /// What a reader may be shown of each key: what it was shown last, and what was written since.
    possible: BTreeMap<u64, Possible>,
}

#[derive(Default)]
struct Possible {
    /// None before anything was set.
    seen: Option<u64>,
    /// By position of the commit; all ones for one whose outcome is not known.
    written: Vec<(Revision, u64)>,
}

fn key(number: u64) -> Key<'static> {
    Key::new(number.to_le_bytes().to_vec()).unwrap()
}

fn open(disk: &SimDisk, options: Options) -> Result<Engine, kvd_journal::Error> {
    let config = Config { memory_bytes_max: MEMORY_BYTES, memory_policy: MemoryPolicy::Evict, ..Config::default() };
    Engine::recover(config, Arc::new(disk.clone()), options, 0, 1, &|_| {}).map(|(engine, _)| engine)
}

fn read(engine: &Engine, worker: &mut Worker, number: u64) -> Option<u64> {
    let name = |value: &[u8]| u64::from_le_bytes(value[..8].try_into().unwrap());
    engine.get_with(worker, key(number).as_bytes(), |found| found.map(|found| name(found.value())))
}

impl Evicting {
    /// A reader is shown a key. Missing is always possible: it may have been evicted.
    fn look(&mut self, engine: &Engine, worker: &mut Worker, number: u64) -> Result<(), Ended> {
        let found = read(engine, worker, number);
        let visible = engine.revision();
        let possible = self.possible.entry(number).or_default();
        let is_possible =
            |value: u64| possible.seen == Some(value) || possible.written.iter().any(|(_, written)| *written == value);
        if let Some(value) = found.filter(|value| !is_possible(*value)) {
            let (seen, written) = (possible.seen, &possible.written);
            return Err(Ended::Broken(format!(
                "key {number} is {value}, after it was found {seen:?}; since then {written:?} were written"
            )));
        }
        possible.seen = found;
        possible.written.retain(|(position, _)| *position > visible);
        Ok(())
    }

    fn set(&mut self, engine: &Engine, worker: &mut Worker, number: u64, disk: &SimDisk) -> Result<(), Ended> {
        self.next += 1;
        let mut value = self.next.to_le_bytes().to_vec();
        value.resize(VALUE_BYTES, 0);
        let result = engine.execute(worker, &Command::Set(Set::new(key(number), value)));
        let position = if result.is_ok() { worker.position() } else { Revision(u64::MAX) };
        self.possible.entry(number).or_default().written.push((position, self.next));
        match result {
            Ok(_) | Err(Error::DiskFull { .. }) => Ok(()),
            Err(_) if disk.is_dead() || disk.has_failed() => Err(Ended::Dead),
            Err(error) => Err(Ended::Broken(format!("a write that fits is refused: {error}"))),
        }
    }
}

impl crash::Workload for Evicting {
    fn new(seed: u64) -> Evicting {
        let mut random = SmallRng::seed_from_u64(seed);
        let steps = random.random_range(20..80);
        Evicting { random, steps, next: 0, possible: BTreeMap::new() }
    }

    fn geometry(&self) -> Geometry {
        Geometry { page: 512, sector: 512 }
    }

    fn live(&mut self, disk: &SimDisk, _: &mut Oracle) -> Result<(), Ended> {
        let options = Options { segment_bytes: 64 << 10, ..options(Policy::Always) };
        let dead = |error: kvd_journal::Error| match error {
            _ if disk.is_dead() || disk.has_failed() => Ended::Dead,
            kvd_journal::Error::DiskFull { .. } => Ended::Full,
            error => Ended::Broken(format!("a start fails: {error}")),
        };
        let (_, state) = replica(disk, options).map_err(dead)?;
        let engine = open(disk, options).map_err(dead)?;
        let mut worker = engine.worker();
        if engine.stats().totals.keys != state.len() as u64 {
            return Err(Ended::Broken(format!(
                "{} keys, and the journal has {}",
                engine.stats().totals.keys,
                state.len()
            )));
        }
        for number in 0..KEYS {
            self.look(&engine, &mut worker, number)?;
        }
        for _ in 0..self.steps {
            let number = self.random.random_range(0..KEYS);
            match self.random.random_range(0..10) {
                0..5 => self.set(&engine, &mut worker, number, disk)?,
                5..8 => self.look(&engine, &mut worker, number)?,
                8 => engine.flush(0).map(drop).map_err(dead)?,
                _ => {
                    engine.maintain(&mut worker);
                }
            }
            // Without what a start has replayed and the next write frees.
            let totals = engine.stats().totals;
            let used = totals.memory_bytes() - totals.retired_bytes;
            if used > 2 * MEMORY_BYTES {
                return Err(Ended::Broken(format!("{used} bytes are in use")));
            }
        }
        for number in 0..KEYS {
            self.look(&engine, &mut worker, number)?;
        }
        Ok(())
    }
}

#[test]
fn what_was_found_evicted_stays_so_in_every_crash() {
    let images = crash::explore_as_asked::<Evicting>(300, 1).unwrap_or_else(|what| panic!("{what}"));
    println!("{images} images recovered");
}

#[test]
fn an_eviction_that_the_journal_does_not_know_of_is_found() {
    plant(Some(Bug::EvictionNotJournalled));
    let found = crash::explore::<Evicting>(1, 10_000, 1).expect_err("the mistake is found");
    // Keys that come back may also be too many for the limit.
    let symptoms = ["after it was found", "and the journal has", "a start fails: the data takes"];
    assert!(symptoms.iter().any(|symptom| found.contains(symptom)), "{found}");
}

#[test]
fn a_full_store_on_disk_takes_every_write_and_keeps_what_fits() {
    let disk = SimDisk::new();
    let engine = open(&disk, Options { segment_bytes: 64 << 10, ..options(Policy::Always) }).unwrap();
    let mut worker = engine.worker();
    for number in 0..500_u64 {
        // Nobody else brings commits to the disk, so that evicted versions could go: the writer does.
        let set = Set::new(key(number), vec![7; VALUE_BYTES]);
        engine.execute(&mut worker, &Command::Set(set)).unwrap();
        let totals = engine.stats().totals;
        assert!(number < 8 || totals.keys >= 5, "{} keys are left after {number}", totals.keys);
    }
    assert!(engine.stats().operations.evicted >= 480);
}
