//! How long one operation can take while a map grows from nothing: one thread puts, and another gets keys that are there, at
//! fixed times, so that a wait also counts for those who would have come during it. Owns the measure of the machine's own
//! pauses too, without which the longest time says nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use hdrhistogram::Histogram;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::args::EngineOptions;
use crate::keys;
use crate::measure;
use crate::results::{Growth, Latency};
use crate::sides::{Access, BATCH, Handle, Side};

/// Between the times at which two gets are to begin.
const GET_INTERVAL_NS: u64 = 2_000;

/// One growth, without the name of the side.
pub(crate) struct Grown {
    seconds: f64,
    put: Latency,
    get: Latency,
}

/// All growths, and the machine's pauses once per round.
///
/// # Errors
/// There are fewer than two cores.
pub(super) fn rounds(options: &EngineOptions) -> anyhow::Result<(Vec<Growth>, Vec<Latency>)> {
    let value = keys::value(options.value_bytes);
    let mut maps: Vec<_> = options.sides.iter().copied().filter(|side| side.is_map()).collect();
    let (mut growth, mut noise) = (Vec::new(), Vec::new());
    for _ in 0..options.growth_rounds {
        let mut seconds = 0.0;
        for &side in &maps {
            let grown = side.grow(options.growth_keys, &value)?;
            anstream::eprintln!(
                "{side} grows to {} keys: longest put {} ns, get {} ns",
                options.growth_keys,
                grown.put.max,
                grown.get.max
            );
            seconds += grown.seconds / maps.len() as f64;
            growth.push(Growth {
                side,
                keys: options.growth_keys,
                seconds: grown.seconds,
                put: grown.put,
                get: grown.get,
            });
        }
        noise.push(pauses(Duration::from_secs_f64(seconds))?);
        if !maps.is_empty() {
            maps.rotate_left(1);
        }
    }
    Ok((growth, noise))
}

/// # Errors
/// There are fewer than two cores.
pub(crate) fn grow<S: Side>(keys: usize, value: &Bytes) -> anyhow::Result<Grown> {
    let cores = measure::cores()?;
    ensure!(cores.len() >= 2, "one thread puts while another gets: that needs two cores");
    let side = S::empty(keys, value.len());
    let progress = Progress { keys: AtomicUsize::new(0), done: AtomicBool::new(false) };
    let begin = Instant::now();
    let (put, get) = thread::scope(|scope| {
        let get = scope.spawn(|| measure::pin(cores[1]).map(|()| get(&side, value.len(), &progress)));
        let put = scope.spawn(|| measure::pin(cores[0]).map(|()| put(&side, keys, value, &progress)));
        let put = put.join().expect("a panic has said why");
        (put, get.join().expect("a panic has said why"))
    });
    Ok(Grown { seconds: begin.elapsed().as_secs_f64(), put: put?, get: get? })
}

/// What the thread that gets has to know of the one that puts.
struct Progress {
    /// Keys that are there, from 0 on.
    keys: AtomicUsize,
    /// Whether all are there.
    done: AtomicBool,
}

fn put(side: &impl Side, keys: usize, value: &Bytes, progress: &Progress) -> Latency {
    // The other thread waits for this, also if a put fails.
    let _done = Done(&progress.done);
    let mut times = histogram();
    let mut handle = side.handle();
    let mut index = 0;
    let mut before = Instant::now();
    while index < keys {
        let end = keys.min(index + BATCH);
        // Beginning and ending a batch counts for a put too: somebody waits for it.
        let mut access = handle.batch();
        for index in index..end {
            access.insert(&keys::key(index as u32), value);
            let now = Instant::now();
            times.saturating_record((now - before).as_nanos() as u64);
            before = now;
        }
        index = end;
        // Release: pairs with the load in `get`, which then finds these keys.
        progress.keys.store(index, Ordering::Release);
    }
    latency(&times)
}

fn get(side: &impl Side, value_bytes: usize, progress: &Progress) -> Latency {
    let mut times = histogram();
    let mut handle = side.handle();
    let mut random = SmallRng::seed_from_u64(1);
    let mut out = vec![0; value_bytes];
    // Acquire: pairs with the store in `put`.
    while progress.keys.load(Ordering::Acquire) == 0 {
        // Relaxed: a putter that ended early has put nothing to be seen.
        if progress.done.load(Ordering::Relaxed) {
            return latency(&times);
        }
        std::hint::spin_loop();
    }
    let begin = Instant::now();
    let mut due = 0;
    // Relaxed: nothing is read that depends on it.
    while !progress.done.load(Ordering::Relaxed) {
        let mut access = handle.batch();
        for _ in 0..BATCH {
            while (begin.elapsed().as_nanos() as u64) < due {
                std::hint::spin_loop();
            }
            // Acquire: pairs with the store in `put`.
            let there = progress.keys.load(Ordering::Acquire);
            let found = access.get(&keys::key(random.random_range(0..there as u32)), &mut out);
            assert!(found.is_some(), "a key that was put has a value");
            times.saturating_record(begin.elapsed().as_nanos() as u64 - due);
            due += GET_INTERVAL_NS;
        }
    }
    latency(&times)
}

struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        // Relaxed: nothing is read that depends on it.
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Gaps between two looks at the clock, by a thread on every core that does nothing else.
fn pauses(length: Duration) -> anyhow::Result<Latency> {
    let cores = measure::cores()?;
    let all = thread::scope(|scope| {
        let threads: Vec<_> = cores.iter().map(|&core| scope.spawn(move || gaps(core, length))).collect();
        let mut all = histogram();
        for thread in threads {
            all.add(thread.join().expect("a panic has said why")?).expect("both have the same bounds");
        }
        anyhow::Ok(all)
    })?;
    Ok(latency(&all))
}

fn gaps(core: usize, length: Duration) -> anyhow::Result<Histogram<u64>> {
    measure::pin(core)?;
    let mut times = histogram();
    let begin = Instant::now();
    let mut before = begin;
    while before - begin < length {
        let now = Instant::now();
        times.saturating_record((now - before).as_nanos() as u64);
        before = now;
    }
    Ok(times)
}

/// Nanoseconds up to a minute, three digits of them exact.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order")
}

fn latency(times: &Histogram<u64>) -> Latency {
    let at = |quantile| times.value_at_quantile(quantile);
    Latency { count: times.len(), p50: at(0.5), p99: at(0.99), p9999: at(0.9999), max: times.max() }
}
