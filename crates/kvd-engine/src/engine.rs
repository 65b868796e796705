//! The engine's door: open, execute, transactions, time, stats, close. Owns the parts and brings each command to the one that
//! carries it out; knows nothing of how they do it.

use std::sync::{Arc, OnceLock};

use kvd_types::{Command, Cursor, Epoch, Error, Limits, Reply, Revision};

use crate::buffers::Buffers;
use crate::changes::Changes;
use crate::evict::{Eviction, MemoryPolicy};
use crate::flusher::Journal;
use crate::history::History;
use crate::index::{Index, Newest, ReadPoints, Shape};
use crate::read::Found;
use crate::reclaim::{Collector, Reader, Trash};
use crate::sequence::{Batch, PINS_AT_FIRST, Sequence, Visibility};
use crate::settle::Settling;
use crate::stats::{Counters, Registry, Stats};
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crate::transaction::{Update, View};
use crate::uses::Uses;
use crate::waiting::Waiting;
use crate::{clear, expire, history, one_shot, own_writes, read, room, sorted, write};

/// Of the memory limit, the part that commits kept for who watches may take.
const WATCH_SHARE: u64 = 8;

/// What a store is opened with. The engine draws no random numbers of its own, so the same configuration and the same
/// commands give the same store.
#[derive(Clone, Debug)]
pub struct Config {
    /// Names this store in entity tags; random, drawn when the store is created.
    pub epoch: Epoch,
    /// Key of the hash function; random and secret, or strangers can choose keys that collide.
    pub hash_key: [u64; 2],
    /// Enforced on every command.
    pub limits: Limits,
    /// When readers see a commit.
    pub visibility: Visibility,
    /// Whether commits are queued for someone who takes them by [`Engine::seal`]. [`Engine::recover`] brings a journal itself.
    pub journal: bool,
    /// Bytes of the newest commits that are kept for who watches, once there is a journal or somebody does: at least so many, and
    /// at most one commit more; under a memory limit an eighth of that at most.
    pub watch_bytes: u64,
    /// How long a value stays whose set says nothing of that, in milliseconds; none for ever.
    pub default_ttl_ms: Option<u64>,
    /// Older versions kept of each key; 0 for those alone that someone reads.
    pub history: usize,
    /// The history of a deleted key is kept until so many keys were deleted after it.
    pub history_deleted_max: usize,
    /// Most bytes of memory, for everything that [`Totals::memory_bytes`](crate::Totals::memory_bytes) counts. What a write adds
    /// to the index, what others bring at the same moment, and what a worker has retired and not handed over yet (256 KiB at
    /// most, and one thing more) may exceed it. Data that takes an eighth more is not loaded.
    pub memory_bytes_max: u64,
    /// What happens to a write that brings more, whatever it replaces.
    pub memory_policy: MemoryPolicy,
    /// What surrounds the store and is inside its limit.
    pub buffers: Buffers,
    /// Most transactions at one time; what commands read at a revision for the length of one call is not counted.
    pub transactions_max: usize,
    /// Most buckets of a segment of the index, 1 to 63; few make tests meet splits earlier.
    pub segment_buckets_max: usize,
}

impl Default for Config {
    /// For tests and examples: a fixed epoch and hash key.
    fn default() -> Self {
        Config {
            epoch: Epoch(0),
            hash_key: [0; 2],
            limits: Limits::DEFAULT,
            visibility: Visibility::Immediate,
            journal: false,
            watch_bytes: 64 << 20,
            default_ttl_ms: None,
            history: 0,
            history_deleted_max: 100_000,
            memory_bytes_max: u64::MAX,
            memory_policy: MemoryPolicy::Reject,
            buffers: Buffers::default(),
            transactions_max: 1_024,
            segment_buckets_max: 63,
        }
    }
}

/// An in-memory key-value store, shared by all threads that serve it. Clones are the same store.
#[derive(Clone)]
pub struct Engine(Arc<Store>);

/// The parts of an engine.
pub(crate) struct Store {
    pub(crate) index: Index,
    pub(crate) sequence: Sequence,
    pub(crate) collector: Arc<Collector>,
    pub(crate) settling: Settling,
    pub(crate) history: History,
    pub(crate) epoch: Epoch,
    /// Names the order of walks in cursors: that of this store under this hash key, which another run does not have.
    pub(crate) walks: Epoch,
    pub(crate) limits: Limits,
    /// Where commits go; none where someone else takes them, or nobody. Set once, before anyone commits.
    pub(crate) durable: OnceLock<Journal>,
    /// Who waits for what is queued.
    pub(crate) waiting: Waiting,
    /// The newest commits, for who watches.
    pub(crate) changes: Changes,
    pub(crate) memory_bytes_max: u64,
    pub(crate) eviction: Eviction,
    /// Memory outside of the store that its limit counts.
    pub(crate) buffers: Buffers,
    /// What open updates remember, in bytes. Each adds what it learns, and takes it away at its end. The standard library's also
    /// under a model checker: it orders nothing, and would only multiply the schedules.
    pub(crate) transactions_bytes: std::sync::atomic::AtomicU64,
    pub(crate) default_ttl_ms: Option<u64>,
    /// Where the next sweep begins: a hash.
    pub(crate) sweep_from: AtomicU64,
    registry: Registry,
    /// Set once, by `close`.
    closed: AtomicBool,
    /// Set once, when the journal fails.
    failed: AtomicBool,
}

/// A thread's own part of an engine: its counters, its pin, and what it has retired. Make one for each thread that executes
/// commands.
pub struct Worker {
    store: Arc<Store>,
    pub(crate) counters: Counters,
    /// What it has used of late, where keys are evicted.
    pub(crate) uses: Uses,
    pub(crate) reader: Reader,
    pub(crate) trash: Trash,
    /// Room for the read points of a commit, so that none is allocated inside SEQ.
    pub(crate) points: ReadPoints,
    /// What the answer to the last command waits for.
    pub(crate) position: Revision,
}

impl Worker {
    /// What the answer to the last command must wait for, by [`Engine::wait`] or [`Engine::reached`]: until readers see this
    /// revision, a power cut can take back what it tells of. Revision 0 for what may leave at once.
    pub fn position(&self) -> Revision {
        self.position
    }
}

impl Engine {
    /// Opens an empty store.
    pub fn open(config: Config) -> Engine {
        Engine::with(config, None)
    }

    /// An empty store that is to be loaded, and will have so many keys at least.
    pub(crate) fn to_load(config: Config, keys: u64) -> Engine {
        let engine = Engine::with(config, Some(keys));
        // Nobody reads until it is resumed: all is visible, so that what history lets go of goes.
        engine.0.sequence.resume(Revision(u64::MAX), 0);
        engine
    }

    fn with(config: Config, to_load: Option<u64>) -> Engine {
        let index = Index::new(Shape { buckets_max: config.segment_buckets_max }, config.hash_key, to_load);
        let walks = Epoch(config.epoch.0 ^ index.hash(b"").fast() as u32);
        Engine(Arc::new(Store {
            index,
            sequence: Sequence::new(config.visibility, config.history, config.transactions_max, config.journal),
            collector: Collector::new(),
            settling: Settling::default(),
            history: History::new(config.history_deleted_max),
            epoch: config.epoch,
            walks,
            limits: config.limits,
            durable: OnceLock::new(),
            waiting: Waiting::default(),
            changes: Changes::new(config.watch_bytes.min(config.memory_bytes_max / WATCH_SHARE)),
            memory_bytes_max: config.memory_bytes_max,
            eviction: Eviction::new(config.memory_policy),
            buffers: config.buffers,
            transactions_bytes: std::sync::atomic::AtomicU64::new(0),
            default_ttl_ms: config.default_ttl_ms,
            sweep_from: AtomicU64::new(0),
            registry: Registry::default(),
            closed: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }))
    }

    /// A worker of this engine. What it counted stays in the engine's statistics when it is dropped.
    pub fn worker(&self) -> Worker {
        let (reader, trash) = self.0.collector.join();
        let (counters, uses) = (self.0.registry.counters(), self.0.eviction.join());
        let points = ReadPoints { points: Vec::with_capacity(PINS_AT_FIRST + 2), ..ReadPoints::default() };
        let position = Revision(0);
        Worker { store: Arc::clone(&self.0), counters, uses, reader, trash, points, position }
    }

    /// The store, for who brings no worker.
    pub(crate) fn parts(&self) -> &Store {
        &self.0
    }

    /// The store, for who brings one of its own workers.
    #[inline]
    pub(crate) fn store(&self, worker: &Worker) -> &Store {
        assert!(Arc::ptr_eq(&self.0, &worker.store), "a worker serves the engine that made it");
        &self.0
    }

    /// Carries out one command.
    ///
    /// # Errors
    /// A refusal: nothing of the command has happened.
    pub fn execute(&self, worker: &mut Worker, command: &Command<'_>) -> Result<Reply, Error> {
        let store = self.store(worker);
        worker.position = Revision(0);
        let result = run(store, worker, command);
        if result.is_err() {
            worker.counters.rejected(command);
        }
        worker.trash.tidy();
        result
    }

    /// Carries out many commands of one client in order, each by itself, and hands each answer out with its position when it is
    /// there. What they need of memory is asked for ahead, which makes short ones faster than one by one.
    ///
    /// `unanswered` is the highest position of this client's earlier answers that have not left. A client sees its own writes: a
    /// get, a peek or a multi-get behind one that readers don't see yet looks at the newest commit. A list does not.
    pub fn execute_batch(
        &self,
        worker: &mut Worker,
        commands: &[Command<'_>],
        mut unanswered: Revision,
        mut answer: impl FnMut(usize, Result<Reply, Error>, Revision),
    ) {
        for (chunk, some) in commands.chunks(read::BATCH_KEYS).enumerate() {
            read::prefetch(self.store(worker), worker, some.iter().filter_map(Command::single_key));
            for (at, command) in some.iter().enumerate() {
                let result = match own_writes::needed(self.revision(), unanswered, command) {
                    false => self.execute(worker, command),
                    true => own_writes::read(command, |transaction| self.execute(worker, transaction)),
                };
                unanswered = unanswered.max(worker.position);
                answer(chunk * read::BATCH_KEYS + at, result, worker.position);
            }
        }
        worker.position = unanswered;
    }

    /// Where a walk begins that is to see the keys from this hash on, in the order that the newest commit has. Hashes are spread
    /// evenly over the numbers of 64 bits.
    pub fn cursor_at(&self, worker: &mut Worker, next_hash: u64) -> Cursor {
        let store = self.store(worker);
        let is_keyed = store.index.is_keyed(Newest, &worker.reader.pin());
        Cursor { epoch: store.walks, next_hash, is_keyed }
    }

    /// Looks a key up and shows what it holds, without copying or allocating. `take` must be short, since nothing that others
    /// retire is freed meanwhile, and must not write by another worker: a write may wait for memory that `take` holds back.
    #[inline]
    pub fn get_with<R>(&self, worker: &mut Worker, key: &[u8], take: impl FnOnce(Option<Found<'_>>) -> R) -> R {
        read::get_with(self.store(worker), worker, key, take)
    }

    /// Looks many keys up, each as `get_with` does: their memory is asked for ahead, which is several times faster than one by
    /// one. Not of one revision; for that there is [`Command::MultiGet`].
    pub fn get_many(&self, worker: &mut Worker, keys: &[&[u8]], take: impl FnMut(usize, Option<Found<'_>>)) {
        read::get_many(self.store(worker), worker, keys, take);
    }

    /// A read-only transaction: the state of one revision, for as long as it is held. No commit of others ends it.
    ///
    /// # Errors
    /// [`Error::TooManyTransactions`].
    pub fn view(&self) -> Result<View, Error> {
        View::begin(&self.0)
    }

    /// A read-write transaction: reads of one revision, own writes on top, committed together if nothing that was read has
    /// changed since.
    ///
    /// # Errors
    /// [`Error::TooManyTransactions`].
    pub fn update(&self) -> Result<Update, Error> {
        Update::begin(&self.0)
    }

    /// Moves the store's time. It never goes back, and stands still between calls.
    ///
    /// # Units
    /// Milliseconds since 1970.
    pub fn tick(&self, now_ms: u64) {
        self.0.sequence.tick(now_ms);
    }

    /// Whether any key has ever been given an expiry: without, it is of no use to move the time often.
    pub fn has_expiries(&self) -> bool {
        self.0.index.has_expiries()
    }

    /// Removes keys whose time has come, in at most `segments` segments of the index. Returns how long the one that waited
    /// longest had been due, in milliseconds. While keys move to another table, some may be passed over until they have moved.
    pub fn sweep(&self, worker: &mut Worker, segments: usize) -> u64 {
        let lag_ms = expire::sweep(self.store(worker), worker, segments);
        worker.trash.tidy();
        lag_ms
    }

    /// Frees what can be freed: retired memory, large values among it, and versions that nobody reads any more; where keys are
    /// evicted, evicts before writers have to. A slice of some tens of milliseconds, for a thread that serves no one, which calls
    /// it several times a second. Returns whether there may be more.
    pub fn maintain(&self, worker: &mut Worker) -> bool {
        room::maintain(self.store(worker), worker)
    }

    /// Places all keys by a hash that nobody can make them collide in, for who has reason to think that they were chosen to. The
    /// store does so by itself when far too many fall together. Keys move while the store is in use, with its commits and
    /// `maintain`; the fast hash does not come back.
    pub fn rekey(&self, worker: &mut Worker) {
        self.store(worker).index.rekey(&worker.reader.pin());
    }

    /// For who takes what is queued: ends a group of commits and takes what is queued, in order of revision. The revision is that
    /// of the last one.
    pub fn seal(&self) -> (Revision, Vec<Batch>) {
        let (sealed, batches) = self.0.sequence.seal();
        self.0.sequence.note_unqueued(batches.iter().map(Batch::memory_bytes).sum());
        (sealed, batches)
    }

    /// For who takes what is queued: what was sealed up to `revision` is on disk. Readers see it from now on.
    pub fn make_visible(&self, revision: Revision) {
        self.0.sequence.make_visible(revision);
        self.0.waiting.wake(&self.0.sequence, false);
    }

    /// Counters of this process and sizes of the store. The sizes of the data are those of one revision.
    pub fn stats(&self) -> Stats {
        let (mut totals, revision) = self.0.sequence.enter().totals();
        let (mut reader, _trash) = self.0.collector.join();
        let guard = reader.pin();
        totals.index_bytes = self.0.index.bytes(&guard);
        totals.history_bytes = self.0.index.held_bytes(&guard);
        totals.retired_bytes = self.0.collector.retired_bytes();
        totals.queue_bytes = self.0.sequence.queue_bytes();
        totals.frequency_bytes = self.0.eviction.bytes();
        totals.buffer_bytes = self.0.buffers.bytes();
        totals.watch_bytes = self.0.changes.bytes();
        totals.transactions_bytes = self.0.transactions_bytes();
        let (operations, rekeyed) = (self.0.registry.sum(), self.0.index.rekeyed());
        Stats { operations, totals, revision, rekeyed, watching: self.0.changes.watching() }
    }

    /// Which store this is.
    pub fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    /// Older versions kept of each key; 0 where no history is kept.
    pub fn history_versions(&self) -> usize {
        self.0.depth().older
    }

    /// Most bytes of memory, and what happens to a write that brings more; none without a limit.
    pub fn memory_limit(&self) -> Option<(u64, MemoryPolicy)> {
        let max = self.0.memory_bytes_max;
        (max != u64::MAX).then(|| (max, self.0.eviction.policy()))
    }

    /// The store's time, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.0.sequence.now_ms()
    }

    /// The newest commit that readers see.
    pub fn revision(&self) -> Revision {
        self.0.sequence.visible()
    }

    /// Ends the store: commits under way finish, later ones are refused with [`Error::Closed`].
    pub fn close(&self) {
        // Release: pairs with the load in `check_open`.
        self.0.closed.store(true, Ordering::Release);
        // A commit looks at `closed` inside SEQ; having been in it once, none can still be on its way.
        drop(self.0.sequence.enter());
    }
}

impl Store {
    /// # Errors
    /// [`Error::Closed`] once `close` was called.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        // Acquire: pairs with the store in `close`.
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    /// Whether a commit may have its revision. Inside SEQ.
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        self.check_open()?;
        // Acquire: pairs with the store in `fail`.
        if self.failed.load(Ordering::Acquire) { Err(Error::JournalFailed) } else { Ok(()) }
    }

    /// What open updates remember, in bytes.
    pub(crate) fn transactions_bytes(&self) -> u64 {
        self.transactions_bytes.load(std::sync::atomic::Ordering::Relaxed) // a count that stands for nothing but itself
    }

    /// The journal takes nothing any more: commits under way finish, later ones are refused.
    pub(crate) fn fail(&self) {
        // Release: pairs with the load in `check_writable`.
        self.failed.store(true, Ordering::Release);
        // As in `close`.
        drop(self.sequence.enter());
    }
}

fn run(store: &Store, worker: &mut Worker, command: &Command<'_>) -> Result<Reply, Error> {
    store.limits.check(command)?;
    store.check_open()?;
    match command {
        Command::Get { key } => Ok(read::get(store, worker, key)),
        _ => run_other(store, worker, command),
    }
}

/// A function of its own, so that a get's has no locked instruction: `tests/assembly.rs` looks at it.
#[inline(never)]
fn run_other(store: &Store, worker: &mut Worker, command: &Command<'_>) -> Result<Reply, Error> {
    match command {
        Command::Get { .. } => unreachable!("carried out by who calls"),
        Command::Peek { key } => Ok(read::peek(store, worker, key)),
        Command::MultiGet { keys, require_all } => read::multi_get(store, worker, keys, *require_all),
        Command::List(list) => read::list(store, worker, list),
        Command::ListSorted(list) => sorted::list(store, worker, list),
        Command::Set(set) => write::set(store, worker, set),
        Command::MultiSet { sets } => write::multi_set(store, worker, sets),
        Command::Delete(delete) => write::delete(store, worker, delete),
        Command::MultiDelete { deletes, require_all } => write::multi_delete(store, worker, deletes, *require_all),
        Command::Modify(modify) => write::modify(store, worker, modify),
        Command::Transfer(transfer) => one_shot::transfer(store, worker, transfer),
        Command::Transaction(transaction) => one_shot::transaction(store, worker, transaction),
        Command::Clear => clear::clear(store, worker),
        Command::GetAt { key, revision } => history::get_at(store, worker, key, *revision),
        Command::History { key } => history::history(store, worker, key),
        Command::Rollback(rollback) => history::rollback(store, worker, rollback),
    }
}
