//! The store of a server: opened from its data directory or empty, with a word on the progress for whoever waits. Knows where
//! data is kept and how its policy is spelt; what is in the files is the journal's.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use kvd_engine::{Engine, Loading};
use kvd_journal::{Disk, Error, Options, Policy, RealDisk, Report};
use kvd_types::Epoch;
use tracing::{info, warn};

use super::clock::Clock;
use super::shared::Shared;
use crate::config::{Config, Durability, Fsync, MemoryPolicy};

/// Bytes of a journal's segment: few enough to be had on any disk, so many that a new one is rare.
const SEGMENT_BYTES: u64 = 64 << 20;

/// The same where there is no room for so many: enough to serve reads, and to delete.
const SEGMENT_BYTES_ON_FULL_DISK: u64 = 1 << 20;

/// How often the progress is told.
const PROGRESS_PERIOD: Duration = Duration::from_millis(200);

/// A wall clock that stands this far before the store's own time, in ms, is worth a word.
const CLOCK_LAG_MAX_MS: u64 = 60_000;

/// A store that is open, and what goes with it.
pub(super) struct Opened {
    pub(super) engine: Engine,
    pub(super) clock: Clock,
    pub(super) loaded: Loaded,
}

/// What was found on disk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loaded {
    pub(super) keys: u64,
    /// Of keys and values.
    pub(super) bytes: u64,
}

/// Opens the store; takes as long as there is data. `show` is given a line on the progress now and then.
///
/// # Errors
/// The directory can't be used; the error says why and what to do. The system gives no random numbers.
pub(super) fn open(config: &Config, shared: &Shared, show: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Opened> {
    let wall = SystemTime::UNIX_EPOCH.elapsed().context("the system's clock stands before 1970")?;
    let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
    let random = || getrandom::u64().context("the system gives no random numbers");
    let epoch = Epoch(getrandom::u32().context("the system gives no random numbers")?);
    let engine_config = kvd_engine::Config {
        epoch,
        hash_key: [random()?, random()?],
        limits: config.limits.clone(),
        history: config.history.versions,
        history_deleted_max: config.history.deleted_keys,
        memory_bytes_max: config.memory.max.map_or(u64::MAX, |max| max as u64),
        memory_policy: match config.memory.policy {
            MemoryPolicy::Reject => kvd_engine::MemoryPolicy::Reject,
            MemoryPolicy::Evict => kvd_engine::MemoryPolicy::Evict,
        },
        buffers: shared.buffers.clone(),
        watch_bytes: config.watch_bytes,
        transactions_max: config.limits.transactions_max,
        default_ttl_ms: config.default_ttl_ms,
        ..kvd_engine::Config::default()
    };
    let Some(durability) = config.durability else {
        let engine = Engine::open(engine_config);
        return Ok(Opened { engine, clock: Clock::new(wall_ms), loaded: Loaded::default() });
    };
    let options = Options { epoch, entropy: random()?, segment_bytes: SEGMENT_BYTES, policy: policy(&durability) };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(&config.data_dir));
    let (progress, begun) = (Progress::new(shared, show), Instant::now());
    let recover = |options| {
        let (config, disk, threads) = (engine_config.clone(), Arc::clone(&disk), config.workers);
        Engine::recover(config, disk, options, wall_ms, threads, &|loading| progress.tell(loading))
    };
    let mut recovered = recover(options);
    if let Err(error @ Error::DiskFull { .. }) = &recovered {
        warn!("{error}. Trying with less: reads are served, and deletes have some room; restart when there is space");
        recovered = recover(Options { segment_bytes: SEGMENT_BYTES_ON_FULL_DISK, ..options });
    }
    let dir = config.data_dir.display();
    let what = match &recovered {
        Err(Error::MemoryFull { .. }) => format!("--max-memory (memory.max) is too small for the data in {dir}"),
        _ => format!("the data in {dir}"),
    };
    let (engine, report) = recovered.context(what)?;
    let totals = engine.stats().totals;
    let loaded = Loaded { keys: totals.keys, bytes: totals.key_bytes + totals.value_bytes };
    tell(&report, loaded, &engine, begun.elapsed());
    let store_ms = engine.now_ms();
    if store_ms > wall_ms.saturating_add(CLOCK_LAG_MAX_MS) {
        warn!(
            behind_ms = store_ms - wall_ms,
            "the system's clock was set back since the store last ran; the store's time goes on from where it was"
        );
    }
    Ok(Opened { engine, clock: Clock::new(wall_ms.max(store_ms)), loaded })
}

fn policy(durability: &Durability) -> Policy {
    match durability.fsync {
        Fsync::Always => Policy::Always,
        Fsync::Interval => Policy::Interval(u64::try_from(durability.interval.as_millis()).unwrap_or(u64::MAX)),
        Fsync::Off => Policy::Off,
    }
}

/// What a start found, for the log.
fn tell(report: &Report, loaded: Loaded, engine: &Engine, took: Duration) {
    let took_ms = took.as_millis() as u64;
    let (keys, bytes, revision) = (loaded.keys, loaded.bytes, engine.revision().0);
    let (snapshot, batches) = (report.snapshot.map(|revision| revision.0), report.batches);
    info!(keys, bytes, revision, snapshot, batches, took_ms, "the data is loaded");
    for (file, what) in &report.snapshots_damaged {
        warn!("{file} is damaged ({what}); nothing is lost, an older snapshot and the journal since have it all");
    }
    if let Some(cut) = &report.cut {
        let (file, offset, bytes) = (&cut.file, cut.offset, cut.bytes);
        warn!(file, offset, bytes, "the journal's end was not on disk when kvd ended: it is cut; see storage.fsync");
    } else if !report.clean {
        info!("kvd did not end in order the last time; nothing of the journal had to be cut");
    }
}

/// Tells how far a start has come: probes by the server's state, people by who started it.
struct Progress<'s> {
    shared: &'s Shared,
    /// When it was told last; threads that find it taken have nothing to tell.
    told: Mutex<Option<Instant>>,
    show: &'s (dyn Fn(&str) + Sync),
}

impl<'s> Progress<'s> {
    fn new(shared: &'s Shared, show: &'s (dyn Fn(&str) + Sync)) -> Progress<'s> {
        Progress { shared, told: Mutex::new(None), show }
    }

    fn tell(&self, loading: Loading) {
        let Ok(mut told) = self.told.try_lock() else { return };
        if told.is_some_and(|told| told.elapsed() < PROGRESS_PERIOD) {
            return;
        }
        *told = Some(Instant::now());
        let text = text(&loading);
        (self.show)(&text);
        self.shared.set_progress(text);
    }
}

/// One line, without an end.
fn text(loading: &Loading) -> String {
    let percent = |part: u64, all: u64| (u128::from(part) * 100).checked_div(u128::from(all)).unwrap_or(0);
    let Loading { entries, entries_total, batches, journal } = *loading;
    if batches == 0 {
        return format!("loading: {entries} keys of the snapshot ({}%)", percent(entries, entries_total));
    }
    let first = if entries > 0 { format!("{entries} keys, then ") } else { String::new() };
    format!("loading: {first}{batches} commits of the journal ({}%)", percent(journal.bytes, journal.bytes_total))
}
