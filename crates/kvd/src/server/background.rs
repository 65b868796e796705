//! The thread beside the serving ones: gives the store its time, removes what has expired, ends transactions that were left
//! alone, and frees what is too large or too late for a serving thread to free. Knows nothing of what it frees.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use kvd_engine::Engine;
use tracing::warn;

use super::clock::Clock;
use super::shared::Shared;

/// How long the store may be left alone.
const PERIOD: Duration = Duration::from_millis(100);

/// How long the store's time may stand still where keys end by it.
const TICK: Duration = Duration::from_millis(10);

/// Segments of the index that are swept between two looks at the clock: where many keys end together, some 100 ms of removals.
const SWEEP_SEGMENTS: usize = 512;

/// So many times in a round: all segments up to some ten million keys.
const SWEEPS: usize = 128;

/// The thread. It ends when it is told to.
pub(super) struct Background {
    /// Dropped to end the thread.
    running: Sender<()>,
    thread: JoinHandle<()>,
}

impl Background {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(shared: &Arc<Shared>) -> anyhow::Result<Background> {
        let (running, told_to_end) = channel();
        let (engine, clock) = (shared.opened().engine.clone(), shared.opened().clock);
        let beside = Arc::clone(shared);
        // Before anyone is served: a time to live counts from here.
        engine.tick(clock.now_ms());
        let work = move || {
            let mut worker = engine.worker();
            let mut rekeyed = 0;
            loop {
                let mut lag_ms = 0;
                for _ in 0..SWEEPS {
                    engine.tick(clock.now_ms());
                    lag_ms = engine.sweep(&mut worker, SWEEP_SEGMENTS).max(lag_ms);
                    // At once: where many keys end together a round takes seconds.
                    if lag_ms > 0 {
                        beside.set_expiry_lag_ms(lag_ms);
                    }
                }
                beside.set_expiry_lag_ms(lag_ms);
                beside.transactions.sweep(Instant::now());
                let before = std::mem::replace(&mut rekeyed, engine.stats().rekeyed);
                if rekeyed > before {
                    warn!(
                        "many keys have one hash, as if someone had chosen them to: all keys are placed by SipHash now"
                    );
                }
                // A slice at a time, since the store's time stands still meanwhile.
                let wait = if engine.maintain(&mut worker) { Duration::ZERO } else { PERIOD };
                if !pause(&engine, clock, &told_to_end, wait) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("kvd-background".into()).spawn(work);
        Ok(Background { running, thread: thread.context("starting a thread")? })
    }

    /// Ends the thread.
    ///
    /// # Errors
    /// It panicked.
    pub(super) fn end(self) -> anyhow::Result<()> {
        drop(self.running);
        self.thread.join().map_err(|_| anyhow!("the background thread panicked"))
    }
}

/// Waits, while the store's time goes on. Returns whether the thread is to go on too.
fn pause(engine: &Engine, clock: Clock, told_to_end: &Receiver<()>, wait: Duration) -> bool {
    let until = Instant::now() + wait;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let step = if engine.has_expiries() { left.min(TICK) } else { left };
        if told_to_end.recv_timeout(step) != Err(RecvTimeoutError::Timeout) {
            return false;
        }
        engine.tick(clock.now_ms());
        if step == left {
            return true;
        }
    }
}
