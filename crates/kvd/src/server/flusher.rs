//! The thread that brings commits to the disk, round by round, and says so when the disk fails or is full. What a round is,
//! is the engine's.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow};
use kvd_engine::Engine;
use tracing::{error, info, warn};

use super::clock::Clock;
use crate::config::{Durability, Fsync};

/// Without commits for so long the store counts as idle; a full disk is tried again as often.
const IDLE: Duration = Duration::from_secs(1);

/// Between two rounds where nobody waits for them: commits gather, and don't wake the thread one by one.
const GATHER: Duration = Duration::from_millis(5);

/// The thread. It ends when it is told to, and when the journal fails.
pub(super) struct Flusher {
    engine: Engine,
    clock: Clock,
    /// Dropped to end the thread.
    running: Sender<()>,
    thread: JoinHandle<()>,
}

impl Flusher {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(engine: &Engine, clock: Clock, durability: Durability) -> anyhow::Result<Flusher> {
        let (running, told_to_end) = channel::<()>();
        let idle = if durability.fsync == Fsync::Interval { durability.interval.clamp(GATHER, IDLE) } else { IDLE };
        let gather = if durability.fsync == Fsync::Always { Duration::ZERO } else { GATHER };
        let beside = engine.clone();
        let work = move || {
            let engine = beside;
            let mut was_full = false;
            loop {
                let is_woken = engine.sleep_until_commits(idle);
                let flushed = engine.flush(clock.now_ms()).map(drop);
                let done = if is_woken { flushed } else { flushed.and_then(|()| engine.mark(clock.now_ms())) };
                if let Err(error) = done {
                    error!("{error}. Reads go on, writes are refused until kvd is restarted");
                    return;
                }
                let is_full = engine.durability().is_some_and(|durability| durability.is_full);
                match (was_full, is_full) {
                    (false, true) => warn!("the disk has no room for more of the journal: writes are refused soon"),
                    (true, false) => info!("there is room on the disk again"),
                    _ => {}
                }
                was_full = is_full;
                let wait = if is_woken { gather } else { Duration::ZERO };
                if told_to_end.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("kvd-flusher".into()).spawn(work);
        Ok(Flusher { engine: engine.clone(), clock, running, thread: thread.context("starting a thread")? })
    }

    /// Ends the thread, and with it the journal in order: everything is on disk. The store is closed.
    ///
    /// # Errors
    /// The journal has failed: the stop is not in order.
    pub(super) fn end(self) -> anyhow::Result<()> {
        drop(self.running);
        self.engine.wake_flusher();
        self.thread.join().map_err(|_| anyhow!("the flusher's thread panicked"))?;
        self.engine.finish(self.clock.now_ms()).context("the journal can't be ended in order")
    }
}

/// What a server does that keeps its data.
pub(super) struct Keeping {
    pub(super) flusher: Flusher,
    pub(super) snapshots: super::snapshots::Snapshots,
}

impl Keeping {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives none.
    pub(super) fn start(shared: &Arc<super::shared::Shared>, durability: Durability) -> anyhow::Result<Keeping> {
        let opened = shared.opened();
        let flusher = Flusher::start(&opened.engine, opened.clock, durability)?;
        let snapshots = super::snapshots::Snapshots::start(shared, durability)?;
        Ok(Keeping { flusher, snapshots })
    }
}
