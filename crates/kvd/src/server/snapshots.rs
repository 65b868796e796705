//! The thread that makes snapshots: when the journal has grown, when the last one is old, and when someone asks. In slices,
//! with other threads' turns between them. Owns who asks, and what they are told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, anyhow};
use kvd_engine::{Engine, Snapshotted, Worker};
use kvd_journal::Error;
use tokio::sync::watch;
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
        self.shared.snapshots.ask();
        self.thread.join().map_err(|_| anyhow!("the snapshots' thread panicked"))
    }
}

fn run(shared: &Shared, durability: Durability, is_ending: &AtomicBool) {
    let (engine, clock) = (&shared.opened().engine, shared.opened().clock);
    let mut worker = engine.worker();
    let mut last = Instant::now();
    loop {
        let asked = shared.snapshots.wait(PERIOD);
        // Acquire: pairs with the store in `end`.
        if is_ending.load(Ordering::Acquire) {
            return;
        }
        if asked.is_none() && !is_due(engine, &durability, last) {
            continue;
        }
        let begun = Instant::now();
        // One that failed is tried again as late as one that was made.
        last = begun;
        let made = shared.snapshots.while_made(asked, || make(engine, &mut worker, clock, is_ending));
        match made {
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

/// Who asks for a snapshot, and the newest one: between those who ask and the thread.
pub(super) struct Asked {
    /// The newest request, and the newest that the thread has taken up.
    tickets: Mutex<Tickets>,
    is_asked: Condvar,
    outcome: watch::Sender<Outcome>,
}

/// Requests for snapshots, numbered from 1.
#[derive(Default)]
struct Tickets {
    asked: u64,
    begun: u64,
}

/// What became of the newest snapshot.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// All requests up to this one have got theirs.
    ticket: u64,
    /// Whether one is being made now.
    is_under_way: bool,
    /// When the last one that was made was, by the wall clock in ms since 1970; the start of the process before the first.
    pub(super) made_ms: u64,
    /// Why the newest attempt made none.
    pub(super) failure: Option<String>,
}

impl Asked {
    pub(super) fn new() -> Asked {
        let outcome = Outcome { ticket: 0, is_under_way: false, made_ms: wall_ms(), failure: None };
        Asked { tickets: Mutex::default(), is_asked: Condvar::new(), outcome: watch::Sender::new(outcome) }
    }

    /// Has one made that begins after now. Returns what to wait for.
    pub(super) fn ask(&self) -> u64 {
        let mut tickets = self.tickets();
        tickets.asked += 1;
        let ticket = tickets.asked;
        drop(tickets);
        self.is_asked.notify_all();
        ticket
    }

    /// Waits for the outcome of what was asked for.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn made(&self, ticket: u64) -> Result<(), String> {
        let mut outcomes = self.outcome.subscribe();
        let outcome = outcomes.wait_for(|outcome| outcome.ticket >= ticket).await;
        let failure = outcome.map(|outcome| outcome.failure.clone()).map_err(|_| "the server has ended".to_owned())?;
        failure.map_or(Ok(()), Err)
    }

    /// What became of the newest one.
    pub(super) fn last(&self) -> Outcome {
        self.outcome.borrow().clone()
    }

    /// Whether one is being made now.
    pub(super) fn is_under_way(&self) -> bool {
        self.outcome.borrow().is_under_way
    }

    /// Waits until someone asks, for `timeout` at most. Returns the newest request.
    fn wait(&self, timeout: Duration) -> Option<u64> {
        let waited =
            self.is_asked.wait_timeout_while(self.tickets(), timeout, |tickets| tickets.asked == tickets.begun);
        let mut tickets = waited.unwrap_or_else(PoisonError::into_inner).0;
        let is_new = tickets.asked > tickets.begun;
        tickets.begun = tickets.asked;
        is_new.then_some(tickets.begun)
    }

    /// Tells what becomes of a snapshot, and to whom.
    fn while_made(
        &self,
        asked: Option<u64>,
        make: impl FnOnce() -> Result<Option<Snapshotted>, Error>,
    ) -> Result<Option<Snapshotted>, Error> {
        self.outcome.send_modify(|outcome| outcome.is_under_way = true);
        let made = make();
        self.outcome.send_modify(|outcome| {
            outcome.is_under_way = false;
            outcome.ticket = asked.unwrap_or(outcome.ticket);
            match &made {
                Ok(Some(_)) => (outcome.made_ms, outcome.failure) = (wall_ms(), None),
                Ok(None) => outcome.failure = Some("the server is being stopped".to_owned()),
                Err(error) => outcome.failure = Some(error.to_string()),
            }
        });
        made
    }

    /// They are whole between any two statements.
    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For people: no order depends on it.
fn wall_ms() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |wall| wall.as_millis() as u64)
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
