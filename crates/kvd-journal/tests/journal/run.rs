//! One life of a store, from its start until the power goes or it stops: recovery, then commits, syncs, marks,
//! rotations, snapshots and purges in any order, each told to the oracle before and after.

use bytes::Bytes;
use kvd_journal::{Error, Options, Policy, Refused};
use kvd_testkit::crash::{self, Ended};
use kvd_testkit::disk::{Geometry, SimDisk};
use kvd_testkit::durability::Oracle;
use kvd_types::{ContentType, Effect, Reason};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::support::{self, Store, entry, key};

/// Few, so that they meet. A commit names each at most once.
const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", ""];

/// What a workload is like, drawn from its seed.
pub(crate) struct Workload {
    options: Options,
    geometry: Geometry,
    random: SmallRng,
    steps: usize,
}

impl crash::Workload for Workload {
    fn new(seed: u64) -> Workload {
        let mut random = SmallRng::seed_from_u64(seed);
        let policy = [Policy::Always, Policy::Interval(20), Policy::Off][random.random_range(0..3)];
        // Small pages, so that what is lost ends in the middle of a record as often as between two.
        let (page, sector) = [(64, 16), (256, 64), (512, 512), (4096, 512)][random.random_range(0..4)];
        let options = Options { entropy: random.random(), ..support::options(policy) };
        let steps = random.random_range(5..40);
        Workload { options, geometry: Geometry { page, sector }, random, steps }
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn live(&mut self, disk: &SimDisk, oracle: &mut Oracle) -> Result<(), Ended> {
        let (replayed, replica) =
            support::recover(disk, self.options).map_err(|error| ended(disk, "recovery refuses", &error))?;
        let report = replayed.report().clone();
        if !report.snapshots_damaged.is_empty() {
            return Err(Ended::Broken(format!("snapshots are damaged: {:?}", report.snapshots_damaged)));
        }
        oracle.recovered(report.last, &replica.state).map_err(Ended::Broken)?;
        let writer = replayed.resume(0).map_err(|error| match error {
            Error::DiskFull { .. } => Ended::Full,
            error => ended(disk, "resume fails", &error),
        })?;
        oracle.resumed(writer.last()).map_err(Ended::Broken)?;
        let mut store = Store::of(writer, replica, report);
        for _ in 0..self.steps {
            self.step(&mut store, oracle).map_err(|error| ended(disk, "a step fails", &error))?;
        }
        if self.random.random() {
            store.writer.close(store.now_ms).map_err(|error| ended(disk, "close fails", &error))?;
            oracle.acknowledged(store.last);
        }
        Ok(())
    }
}

impl Workload {
    fn step(&mut self, store: &mut Store, oracle: &mut Oracle) -> Result<(), Error> {
        store.now_ms += self.random.random_range(0..10);
        match self.random.random_range(0..100) {
            0..70 => self.commit(store, oracle)?,
            70..76 => store.writer.sync()?,
            76..82 => drop(store.writer.mark(store.now_ms)?),
            82..88 => drop(unless_full(store.writer.make_room())?),
            _ => {
                for _ in 0..self.random.random_range(1..4) {
                    unless_full(self.snapshot(store, oracle))?;
                }
                if self.random.random() {
                    store.writer.snapshots().purge()?;
                }
            }
        }
        oracle.acknowledged(store.writer.durable());
        Ok(())
    }

    /// A group of commits.
    fn commit(&mut self, store: &mut Store, oracle: &mut Oracle) -> Result<(), Error> {
        let mut batches = Vec::new();
        for _ in 0..self.random.random_range(1..4) {
            let effects = self.effects();
            match store.reserve(&effects)? {
                Ok(reserved) if self.random.random_range(0..10) > 0 => {
                    batches.push(store.give(reserved, &effects));
                    oracle.tried(store.last, effects);
                }
                // Taken back before it has a revision, or refused.
                Ok(_) | Err(Refused::DiskFull { .. }) => {}
                Err(refused) => panic!("no other reason: {refused}"),
            }
        }
        store.writer.append(batches, store.now_ms)?;
        store.writer.sync_if_due(store.now_ms)?;
        oracle.acknowledged(store.writer.durable());
        Ok(())
    }

    fn effects(&mut self) -> Vec<Effect<'static>> {
        if self.random.random_range(0..25) == 0 {
            return vec![Effect::Clear];
        }
        let mut keys = KEYS.to_vec();
        let count = self.random.random_range(1..4);
        let mut effects = Vec::new();
        for _ in 0..count {
            let key = keys.swap_remove(self.random.random_range(0..keys.len()));
            effects.push(self.effect(key));
        }
        effects
    }

    fn effect(&mut self, name: &str) -> Effect<'static> {
        let key = key(name);
        if self.random.random_range(0..4) == 0 {
            let reason = [Reason::Asked, Reason::Expired, Reason::Evicted][self.random.random_range(0..3)];
            return Effect::Delete { key, reason };
        }
        let len = [0, 10, 100, 700, 5000][[0, 0, 1, 1, 1, 2, 2, 2, 3, 4][self.random.random_range(0..10)]];
        Effect::Put {
            key,
            value: Bytes::from(vec![self.random.random::<u8>(); len]),
            content_type: self.random.random::<bool>().then(|| ContentType::new(b"text/plain").unwrap()),
            expires_at_ms: self.random.random::<bool>().then(|| self.random.random()),
        }
    }

    /// A fuzzy one: commits go on while it walks the keys.
    fn snapshot(&mut self, store: &mut Store, oracle: &mut Oracle) -> Result<(), Error> {
        let mut snapshot = store.writer.snapshots().begin(store.last)?;
        let mut keys = KEYS.to_vec();
        while !keys.is_empty() {
            let key = keys.swap_remove(self.random.random_range(0..keys.len())).as_bytes();
            if let Some(version) = store.replica.state.get(key) {
                snapshot.add(&entry(key, version))?;
            }
            if self.random.random_range(0..3) == 0 {
                self.commit(store, oracle)?;
            }
        }
        let end = store.last;
        if self.random.random() {
            store.writer.sync()?;
            oracle.acknowledged(store.writer.durable());
        }
        match snapshot.finish(end, store.writer.durable(), store.now_ms) {
            Err(Error::NotDurable { .. }) if store.writer.durable() < end => Ok(()),
            other => other,
        }
    }
}

/// Nothing of it has happened, and the store goes on.
fn unless_full<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Err(Error::DiskFull { .. }) => Ok(None),
        other => other.map(Some),
    }
}

fn ended(disk: &SimDisk, what: &str, error: &Error) -> Ended {
    if disk.is_dead() || disk.has_failed() { Ended::Dead } else { Ended::Broken(format!("{what}: {error}")) }
}
