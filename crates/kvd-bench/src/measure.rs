//! One turn of one side: threads on cores of their own, the loop around an operation, and the clock. Knows nothing of rounds
//! or of what the operations do.
//!
//! The clock is read once in some thousand operations. Gets that follow each other overlap in the processor as far as the side
//! lets them; to measure how long one takes by itself, a chained get takes its key from a byte that the one before it read.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

use crate::keys::{self, KEY_BYTES, Walk};
use crate::sides::{Access, BATCH, Handle, Side};

/// Keys in a batch of gets, and in an atomic set.
pub(crate) const TOGETHER: usize = 16;
/// Batches between two looks at the clock.
const BATCHES_PER_LOOK: u64 = 16;
/// This part of a turn goes by before it counts, so that the last side's data has left the cache.
const WARM_UP: f64 = 0.1;

/// What each operation of a turn is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    Get,
    /// A get that can't begin before the last has ended.
    ChainedGet,
    /// Gets of [`TOGETHER`] keys by one call.
    BatchedGet,
    /// Gets, and this percentage of sets, evenly spread.
    Mixed(u32),
    /// Sets of [`TOGETHER`] keys one by one.
    SetSingly,
    /// Sets of [`TOGETHER`] keys by one call, each by itself.
    BatchedSet,
    /// Sets of [`TOGETHER`] keys at once, all or none.
    SetTogether,
}

pub(crate) struct Job<'a> {
    pub(crate) work: Work,
    pub(crate) threads: usize,
    pub(crate) keys: usize,
    /// Each thread begins at another place of it.
    pub(crate) sequence: &'a [u32],
    /// Where the first thread begins.
    pub(crate) start: usize,
    pub(crate) seconds: f64,
}

/// Nanoseconds that a thread takes for each operation; those on one key, where an operation has many.
///
/// # Errors
/// There are fewer cores than threads.
pub(crate) fn measure<S: Side>(side: &S, value: &Bytes, job: &Job<'_>) -> anyhow::Result<f64> {
    let cores = cores()?;
    ensure!(job.threads <= cores.len(), "{} threads need as many cores, there are {}", job.threads, cores.len());
    let barrier = Barrier::new(job.threads);
    let nanoseconds = thread::scope(|scope| {
        let threads: Vec<_> = (0..job.threads)
            .map(|index| {
                let (barrier, core) = (&barrier, cores[index]);
                // A reference count of its own, so that threads don't meet at that.
                let value = Bytes::copy_from_slice(value);
                let start = job.start + index * (job.sequence.len() / job.threads);
                scope.spawn(move || {
                    pin(core)?;
                    let mut walk = Walk::new(job.sequence, start);
                    let mut handle = side.handle();
                    let mut out = vec![0; value.len()];
                    let mut turn = Turn { walk: &mut walk, keys: job.keys, value: &value, out: &mut out };
                    Ok(turn.run(&mut handle, job, barrier))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a panic has said why"))
            .collect::<anyhow::Result<Vec<f64>>>()
    })?;
    // Rates add up, times don't: the mean time is that of the mean rate.
    let rate: f64 = nanoseconds.iter().map(|nanoseconds| 1.0 / nanoseconds).sum();
    Ok(job.threads as f64 / rate)
}

/// The cores that this process may use.
pub(crate) fn cores() -> anyhow::Result<Vec<usize>> {
    let set = sched_getaffinity(None).context("cannot read which cores may be used")?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// Keeps the calling thread on `core`.
pub(crate) fn pin(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("cannot run on core {core} alone"))
}

/// A thread's part of a turn.
struct Turn<'a> {
    walk: &'a mut Walk<'a>,
    keys: usize,
    value: &'a Bytes,
    /// Where gets copy the value to.
    out: &'a mut [u8],
}

impl Turn<'_> {
    fn run(&mut self, handle: &mut impl Handle, job: &Job<'_>, barrier: &Barrier) -> f64 {
        match job.work {
            Work::Get => time(handle, job, barrier, |access| self.get::<false>(access)),
            Work::ChainedGet => time(handle, job, barrier, |access| self.get::<true>(access)),
            Work::BatchedGet => time(handle, job, barrier, |access| self.get_batched(access)),
            Work::Mixed(percent) => {
                let mut due = 0;
                time(handle, job, barrier, |access| self.mixed(access, percent, &mut due))
            }
            Work::SetSingly => time(handle, job, barrier, |access| self.set_singly(access)),
            Work::BatchedSet => time(handle, job, barrier, |access| self.set_batched(access)),
            Work::SetTogether => time(handle, job, barrier, |access| self.set_together(access)),
        }
    }

    #[inline]
    fn get_one(&mut self, access: &mut impl Access, index: u32) {
        let found = access.get(&keys::key(index), self.out);
        black_box(&*self.out);
        assert!(found.is_some(), "every key has a value");
    }

    fn get<const CHAINED: bool>(&mut self, access: &mut impl Access) {
        for _ in 0..BATCH {
            let mut index = self.walk.next();
            if CHAINED {
                // The first byte of all values is 0, which the processor can't know before it has it.
                index ^= u32::from(self.out[0]);
            }
            self.get_one(access, index);
        }
    }

    fn get_batched(&mut self, access: &mut impl Access) {
        for _ in 0..BATCH / TOGETHER {
            let keys: [_; TOGETHER] = std::array::from_fn(|_| keys::key(self.walk.next()));
            let found = access.get_many(&borrowed(&keys), self.out);
            assert!(found == TOGETHER, "every key has a value");
        }
    }

    fn mixed(&mut self, access: &mut impl Access, percent: u32, due: &mut u32) {
        for _ in 0..BATCH {
            let index = self.walk.next();
            *due += percent;
            if *due >= 100 {
                *due -= 100;
                access.set(&keys::key(index), self.value);
            } else {
                self.get_one(access, index);
            }
        }
    }

    fn set_singly(&mut self, access: &mut impl Access) {
        for _ in 0..BATCH / TOGETHER {
            for key in self.neighbours() {
                access.set(&key, self.value);
            }
        }
    }

    fn set_batched(&mut self, access: &mut impl Access) {
        for _ in 0..BATCH / TOGETHER {
            access.set_each(&borrowed(&self.neighbours()), self.value);
        }
    }

    fn set_together(&mut self, access: &mut impl Access) {
        for _ in 0..BATCH / TOGETHER {
            access.set_many(&borrowed(&self.neighbours()), self.value);
        }
    }

    /// Keys that differ, as those of one atomic set must. Neighbours by index are no neighbours by hash.
    fn neighbours(&mut self) -> [[u8; KEY_BYTES]; TOGETHER] {
        let first = self.walk.next() as usize;
        std::array::from_fn(|offset| keys::key(((first + offset) % self.keys) as u32))
    }
}

fn borrowed(keys: &[[u8; KEY_BYTES]; TOGETHER]) -> [&[u8]; TOGETHER] {
    keys.each_ref().map(|key| &key[..])
}

/// Nanoseconds for each of the operations, of which `batch` does [`BATCH`].
fn time<H: Handle>(handle: &mut H, job: &Job<'_>, barrier: &Barrier, mut batch: impl FnMut(&mut H::Access<'_>)) -> f64 {
    let mut run_for = |seconds: f64| {
        let (begin, length) = (Instant::now(), Duration::from_secs_f64(seconds));
        let mut operations = 0;
        loop {
            for _ in 0..BATCHES_PER_LOOK {
                batch(&mut handle.batch());
            }
            operations += BATCHES_PER_LOOK * BATCH as u64;
            let elapsed = begin.elapsed();
            if elapsed >= length {
                return elapsed.as_nanos() as f64 / operations as f64;
            }
        }
    };
    barrier.wait();
    run_for(job.seconds * WARM_UP);
    run_for(job.seconds)
}
