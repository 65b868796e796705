//! From a directory to a store: what the journal gives at a start goes to the threads that put it into the index. Owns their
//! number, the room that is made beforehand, and the word on the progress; how a key is put there is `load`'s.
//!
//! ```text
//!  snapshot   each thread takes the next chunk: read, check, decode, apply      no key is in two chunks
//!  journal    read and check --> blocks of groups --> each thread: decode, apply the keys that are its own, in order
//!             a clear waits until all threads have come that far
//! ```

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use kvd_journal::{Disk, ENTRY_BYTES, Error, Group, Jump, Load, Options, Policy, Recovery, Report, Share, Snapshot};
use kvd_types::Epoch;

use crate::engine::{Config, Engine};
use crate::flusher::Journal;
use crate::index;
use crate::load::{self, Part};
use crate::room;
use crate::sequence::Visibility;

/// How far a start has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loading {
    /// Keys of the snapshot.
    pub entries_total: u64,
    /// Of them, those that are loaded.
    pub entries: u64,
    /// Commits that were read after it.
    pub batches: u64,
    /// How much of the journal they are.
    pub journal: Share,
}

impl Engine {
    /// Opens the store of a directory, new or not: its epoch, keys, revisions and time go on. `now_ms` is the wall clock's, and
    /// `options` say when commits are synced; with [`Policy::Always`] readers see what is on disk. `threads` load it beside the
    /// one that calls; with 1 that one does all by itself. `progress` is called now and then, from any thread.
    ///
    /// # Errors
    /// The directory is in use, damaged, of a newer format, full, its data needs more memory than is allowed, or what the
    /// operating system says; it is as it was.
    pub fn recover(
        config: Config,
        disk: Arc<dyn Disk>,
        options: Options,
        now_ms: u64,
        threads: usize,
        progress: &(dyn Fn(Loading) + Sync),
    ) -> Result<(Engine, Report), Error> {
        let visibility = if options.policy == Policy::Always { Visibility::WhenDurable } else { Visibility::Immediate };
        let config = Config { visibility, journal: true, ..config };
        let mut recovery = Recovery::open(disk, options)?;
        if config.history > 0 {
            recovery = recovery.keep_history();
        }
        let mut loader =
            Loader { config, threads: threads.max(1), progress, loading: Loading::default(), replay: None };
        let loaded = recovery.load(&mut loader);
        // After an error, too: no thread may go on when this returns.
        let applied = loader.replay.take().map(Replay::end);
        let (replayed, engine) = (loaded?, applied.expect("loading has begun")?);
        let report = replayed.report().clone();
        let writer = replayed.resume(now_ms)?;
        let store = engine.parts();
        let mut jumps = report.jumps.clone();
        if writer.last() > report.last {
            jumps.push(Jump { from: report.last, to: writer.last() });
        }
        store.changes.resume(writer.last(), &jumps);
        store.history.resume(jumps);
        store.sequence.resume(writer.last(), writer.now_ms());
        let journal = Journal::new(writer, options.policy, report.journal_bytes, report.snapshot);
        assert!(store.durable.set(journal).is_ok(), "a store is recovered once");
        Ok((engine, report))
    }
}

/// A start that is under way.
struct Loader<'a> {
    config: Config,
    threads: usize,
    progress: &'a (dyn Fn(Loading) + Sync),
    loading: Loading,
    /// The store, and who applies the journal to it; none before it has begun.
    replay: Option<Replay>,
}

impl Load for Loader<'_> {
    fn begin(&mut self, epoch: Epoch, snapshot: Option<&Snapshot>) -> Result<(), Error> {
        if let Some(replay) = self.replay.take() {
            // What a damaged snapshot has left goes first: there may be no memory for both.
            drop(replay.end());
        }
        self.loading = Loading::default();
        let config = Config { epoch, ..self.config.clone() };
        let Some(snapshot) = snapshot else {
            self.replay = Some(Replay::new(Engine::to_load(config, 0), self.threads));
            return Ok(());
        };
        let keys = snapshot.entries_count();
        if snapshot.past().is_none() {
            // Told beforehand: it may take minutes to find out, and who then has no memory at all is killed. How much of older
            // versions is kept shows only when they are loaded.
            let values = snapshot.entries_bytes().saturating_sub(keys * (ENTRY_BYTES - load::RECORD_BYTES));
            room::check_loaded(values + keys * index::KEY_BYTES, config.memory_bytes_max)?;
        }
        let engine = Engine::to_load(config, keys);
        // One without history knows nothing of before.
        engine.parts().history.begin_at(snapshot.past().map_or(snapshot.revision(), |past| past.begins));
        self.loading.entries_total = keys;
        let loading = self.loading;
        load::snapshot(&engine, snapshot, self.threads, &|entries| (self.progress)(Loading { entries, ..loading }))?;
        self.loading.entries = keys;
        self.replay = Some(Replay::new(engine, self.threads));
        Ok(())
    }

    fn group(&mut self, group: Group, journal: Share) -> Result<(), Error> {
        let before = self.loading.batches;
        self.loading.batches += group.commits_count();
        self.loading.journal = journal;
        if before / PROGRESS_BATCHES != self.loading.batches / PROGRESS_BATCHES {
            (self.progress)(self.loading);
        }
        self.replay.as_mut().expect("a snapshot or nothing comes first").take(group)
    }
}

/// Commits between two words on the progress.
const PROGRESS_BATCHES: u64 = 10_000;

/// Bytes of commits that go to the threads at once: so many that handing them over costs nothing, so few that all have work.
const BLOCK_BYTES: u64 = 256 << 10;

/// Groups that do so: small ones have costs of their own.
const BLOCK_GROUPS: usize = 4_096;

/// Blocks that wait for a thread at most.
const BLOCKS_AHEAD: usize = 4;

/// The journal on its way into the store.
struct Replay {
    engine: Engine,
    threads: usize,
    /// The block that is being filled.
    block: Vec<Group>,
    block_bytes: u64,
    /// Who applies blocks; none between two clears, and none ever where one thread does all.
    appliers: Vec<Applier>,
}

/// A thread that applies every block's keys that are its own.
struct Applier {
    blocks: SyncSender<Arc<Vec<Group>>>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Replay {
    fn new(engine: Engine, threads: usize) -> Replay {
        Replay { engine, threads, block: Vec::new(), block_bytes: 0, appliers: Vec::new() }
    }

    fn take(&mut self, group: Group) -> Result<(), Error> {
        if group.has_clear() {
            self.settle()?;
            return load::block(&self.engine, &mut self.engine.worker(), &[group], Part::ALL);
        }
        self.block_bytes += group.bytes();
        self.block.push(group);
        if self.block_bytes >= BLOCK_BYTES || self.block.len() >= BLOCK_GROUPS { self.apply() } else { Ok(()) }
    }

    /// Applies the block, or has it applied.
    fn apply(&mut self) -> Result<(), Error> {
        let block = Arc::new(std::mem::take(&mut self.block));
        self.block_bytes = 0;
        if self.threads == 1 {
            return load::block(&self.engine, &mut self.engine.worker(), &block, Part::ALL);
        }
        if self.appliers.is_empty() {
            self.appliers = (0..self.threads).map(|index| Applier::start(&self.engine, index, self.threads)).collect();
        }
        // One that has ended has found an error, which its end tells.
        let is_sent = |applier: &Applier| applier.blocks.send(Arc::clone(&block)).is_ok();
        if self.appliers.iter().all(is_sent) { Ok(()) } else { self.settle() }
    }

    /// Waits until everything that was taken is applied.
    fn settle(&mut self) -> Result<(), Error> {
        let applied = if self.block.is_empty() { Ok(()) } else { self.apply() };
        // All of them, whatever the first says: none may go on when this returns.
        let ended: Vec<_> = self.appliers.drain(..).map(Applier::end).collect();
        ended.into_iter().collect::<Result<(), Error>>().and(applied)
    }

    fn end(mut self) -> Result<Engine, Error> {
        self.settle()?;
        self.engine.parts().index.end_loading(&self.engine.worker().reader.pin());
        Ok(self.engine)
    }
}

impl Applier {
    fn start(engine: &Engine, index: usize, threads: usize) -> Applier {
        let (blocks, waiting) = sync_channel::<Arc<Vec<Group>>>(BLOCKS_AHEAD);
        let engine = engine.clone();
        let work = move || {
            let mut worker = engine.worker();
            waiting
                .into_iter()
                .try_for_each(|block| load::block(&engine, &mut worker, &block, Part::of(index, threads)))
        };
        Applier { blocks, thread: std::thread::spawn(work) }
    }

    /// Waits until it has applied what it was sent.
    fn end(self) -> Result<(), Error> {
        drop(self.blocks);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
