//! The thread that makes snapshots: when the journal has grown, when the last one is old, and when someone asks. In slices,
//! with other threads' turns between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use kvd_engine::{Engine, Snapshotted, Worker};
use kvd_journal::Error;
use tracing::{info, warn};

use super::clock::Clock;
use super::shared::Shared;
use crate::config::Durability;

/// How often it is looked whether one is due.
const PERIOD: Duration = Duration::from_secs(1);

/// Buckets of a slice: some thousand keys.
const SLICE_BUCKETS: usize = 512;

/// The thread. It ends when it is told to, if need be in the middle of a snapshot, which is gone then.
pub(super) struct Snapshots {
    shared: Arc<Shared>,
    is_ending: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Snapshots {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(shared: &Arc<Shared>, durability: Durability) -> anyhow::Result<Snapshots> {
        let is_ending = Arc::new(AtomicBool::new(false));
        let (beside, ending) = (Arc::clone(shared), Arc::clone(&is_ending));
        let work = move || run(&beside, durability, &ending);
        let thread = std::thread::Builder::new().name("kvd-snapshots".into()).spawn(work);
        Ok(Snapshots { shared: Arc::clone(shared), is_ending, thread: thread.context("starting a thread")? })
    }

    /// Ends the thread.
    ///
    /// # Errors
    /// It panicked.
    pub(super) fn end(self) -> anyhow::Result<()> {
        self.is_ending.store(true, Ordering::Release); // pairs with the loads in `run` and `make`
        self.shared.ask_for_snapshot();
        self.thread.join().map_err(|_| anyhow!("the snapshots' thread panicked"))
    }
}

fn run(shared: &Shared, durability: Durability, is_ending: &AtomicBool) {
    let (engine, clock) = (&shared.opened().engine, shared.opened().clock);
    let mut worker = engine.worker();
    let mut last = Instant::now();
    loop {
        let is_asked = shared.wait_for_snapshot(PERIOD);
        // Acquire: pairs with the store in `end`.
        if is_ending.load(Ordering::Acquire) {
            return;
        }
        if !is_asked && !is_due(engine, &durability, last) {
            continue;
        }
        let begun = Instant::now();
        // One that failed is tried again as late as one that was made.
        last = begun;
        match make(engine, &mut worker, clock, is_ending) {
            Ok(Some(made)) => {
                let took_ms = begun.elapsed().as_millis() as u64;
                let removed = made.purged.removed.len();
                info!(revision = made.revision.0, took_ms, removed, "a snapshot is made");
                for (file, what) in made.purged.damaged {
                    warn!("{file} is damaged ({what}); two newer snapshots will take its place");
                }
            }
            Ok(None) => {}
            Err(error) => warn!("no snapshot: {error}"),
        }
    }
}

fn is_due(engine: &Engine, durability: &Durability, last: Instant) -> bool {
    let Some(now) = engine.durability() else { return false };
    if now.failure.is_some() || now.journal_bytes == 0 {
        return false;
    }
    let totals = engine.stats().totals;
    // Not more often than there is as much news as there is data: the work stays in proportion.
    let has_grown = now.journal_bytes >= durability.snapshot_journal_bytes.max(totals.key_bytes + totals.value_bytes);
    has_grown || last.elapsed() >= durability.snapshot_interval
}

/// None when it is told to end meanwhile.
fn make(
    engine: &Engine,
    worker: &mut Worker,
    clock: Clock,
    is_ending: &AtomicBool,
) -> Result<Option<Snapshotted>, Error> {
    let Some(mut run) = engine.begin_snapshot(worker)? else { return Ok(None) };
    while run.advance(worker, SLICE_BUCKETS)? {
        // Acquire: pairs with the store in `end`.
        if is_ending.load(Ordering::Acquire) {
            return Ok(None);
        }
        std::thread::yield_now();
    }
    run.finish(clock.now_ms()).map(Some)
}
