//! The thread that hands commits on to who watches, in a server that keeps nothing on disk: the place of the flusher's. It sleeps
//! for as long as nobody has ever watched. Knows nothing of what it hands on.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow};
use kvd_engine::Engine;

use super::shared::Shared;

/// The longest it sleeps; it is woken when there is something to do.
const SLEEP: Duration = Duration::from_secs(60);

/// Between two rounds: commits gather, and don't wake the thread one by one.
const GATHER: Duration = Duration::from_millis(5);

/// The thread. It ends when it is told to.
pub(super) struct Relay {
    engine: Engine,
    /// Dropped to end the thread.
    running: Sender<()>,
    thread: JoinHandle<()>,
}

impl Relay {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(shared: &Arc<Shared>) -> anyhow::Result<Relay> {
        let (running, told_to_end) = channel::<()>();
        let (engine, clock) = (shared.opened().engine.clone(), shared.opened().clock);
        let beside = engine.clone();
        let work = move || {
            loop {
                beside.sleep_until_commits(SLEEP);
                beside.flush(clock.now_ms()).expect("nothing fails without a disk");
                if told_to_end.recv_timeout(GATHER) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("kvd-relay".into()).spawn(work);
        Ok(Relay { engine, running, thread: thread.context("starting a thread")? })
    }

    /// Ends the thread.
    ///
    /// # Errors
    /// It panicked.
    pub(super) fn end(self) -> anyhow::Result<()> {
        drop(self.running);
        self.engine.wake_flusher();
        self.thread.join().map_err(|_| anyhow!("the relay's thread panicked"))
    }
}
