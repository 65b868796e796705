//! Counting operations without a shared cache line: each worker has counters of its own, summed when someone asks.
//! Sizes of the store are kept with the data, by `index`.

use std::sync::Arc;

use kvd_types::{Command, Revision};

use crate::sequence::Delta;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// What an engine has done and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Since the process began.
    pub operations: Operations,
    /// Of the store as of `revision`.
    pub totals: Totals,
    /// The newest commit.
    pub revision: Revision,
    /// Who watches the store's commits.
    pub watching: Watching,
    /// How often keys were found to collide by intent, and moved to where that is of no use.
    pub rekeyed: u64,
}

/// Who watches the store's commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watching {
    /// Watches there are now.
    pub watches: u64,
    /// Watches that lost their place since the process began: they were slower than the commits.
    pub lagged: u64,
}

/// Sizes of what is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Keys that have a value, those included whose time has come and that were not swept yet.
    pub keys: u64,
    /// Lengths of their keys together.
    pub key_bytes: u64,
    /// Lengths of their values together.
    pub value_bytes: u64,
    /// What the records take beside keys and values, without what the allocator adds.
    pub record_bytes: u64,
    /// Size of the index itself.
    pub index_bytes: u64,
    /// Versions beside the newest, with their nodes: kept as history, or for who reads them.
    pub history_bytes: u64,
    /// Unlinked, and not freed yet because a reader may still look at it.
    pub retired_bytes: u64,
    /// Commits that are on their way to the journal, without large values, which they share with the store.
    pub queue_bytes: u64,
    /// What is known of how often keys are used, where some are evicted.
    pub frequency_bytes: u64,
    /// What surrounds the store, as [`Buffers`](crate::Buffers) say.
    pub buffer_bytes: u64,
    /// The newest commits, kept for who watches. What of them the store has as well is counted twice.
    pub watch_bytes: u64,
    /// What open read-write transactions remember of keys and values.
    pub transactions_bytes: u64,
}

impl Totals {
    /// Everything together.
    pub fn memory_bytes(&self) -> u64 {
        let beside = self.history_bytes + self.retired_bytes + self.watch_bytes + self.transactions_bytes;
        let around = self.queue_bytes + self.frequency_bytes + self.buffer_bytes;
        self.data_bytes() + self.index_bytes + beside + around
    }

    /// The newest versions.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.key_bytes + self.value_bytes + self.record_bytes
    }

    pub(crate) fn apply(&mut self, delta: &Delta) {
        let add = |total: &mut u64, change: i64| {
            *total = total.checked_add_signed(change).expect("nothing goes that did not come");
        };
        add(&mut self.keys, delta.keys);
        add(&mut self.key_bytes, delta.key_bytes);
        add(&mut self.value_bytes, delta.value_bytes);
        add(&mut self.record_bytes, delta.record_bytes);
    }
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Operations since the process began, counted per key, not per request.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Operations { $($(#[$doc])* pub $name: u64),* }

        /// One worker's counters. Only that worker stores to them; anyone may load them.
        #[derive(Default)]
        #[repr(align(128))]
        struct Line { $($name: AtomicU64),* }

        impl Line {
            fn add_to(&self, sum: &mut Operations) {
                // Relaxed: a counter stands for nothing but itself, no other data is published by it.
                $(sum.$name += self.$name.load(Ordering::Relaxed);)*
            }
        }
    };
}

operations! {
    /// Keys asked for that had a value.
    hits,
    /// Keys asked for that had none.
    misses,
    /// Keys given a value.
    sets,
    /// Keys named in a delete that was carried out.
    deletes,
    /// Keys named in a delete that had no value.
    delete_misses,
    /// Keys whose write was refused.
    rejected,
    /// Keys removed because their time had come.
    expired,
    /// Keys removed to make room.
    evicted,
}

impl Operations {
    /// Keys asked for.
    pub fn gets(&self) -> u64 {
        self.hits + self.misses
    }

    /// Gets, sets and deletes together.
    pub fn total(&self) -> u64 {
        self.gets() + self.sets + self.deletes
    }
}

/// All workers' counters.
#[derive(Default)]
pub(crate) struct Registry {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    live: Vec<Arc<Line>>,
    /// Sum of the lines whose workers are gone.
    gone: Operations,
}

/// One worker's counters, as the worker holds them.
pub(crate) struct Counters {
    line: Arc<Line>,
    registry: Arc<Mutex<State>>,
}

impl Registry {
    pub(crate) fn counters(&self) -> Counters {
        let line = Arc::<Line>::default();
        lock(&self.state).live.push(Arc::clone(&line));
        Counters { line, registry: Arc::clone(&self.state) }
    }

    pub(crate) fn sum(&self) -> Operations {
        let state = lock(&self.state);
        let mut sum = state.gone;
        state.live.iter().for_each(|line| line.add_to(&mut sum));
        sum
    }
}

impl Counters {
    /// A key that was asked for had a value, or had none.
    #[inline]
    pub(crate) fn get(&mut self, is_hit: bool) {
        add(if is_hit { &self.line.hits } else { &self.line.misses }, 1);
    }

    /// `hits` keys that were asked for had a value, `misses` had none.
    pub(crate) fn gets(&mut self, hits: usize, misses: usize) {
        add(&self.line.hits, hits);
        add(&self.line.misses, misses);
    }

    /// `sets` keys were given a value.
    pub(crate) fn sets(&mut self, sets: usize) {
        add(&self.line.sets, sets);
    }

    /// `deletes` keys were named in a delete, `misses` of them had no value.
    pub(crate) fn deletes(&mut self, deletes: usize, misses: usize) {
        add(&self.line.deletes, deletes);
        add(&self.line.delete_misses, misses);
    }

    /// A transaction was committed.
    pub(crate) fn tally(&mut self, tally: &Tally) {
        self.gets(tally.hits, tally.misses);
        self.sets(tally.sets);
        self.deletes(tally.deletes, tally.delete_misses);
        self.rejected_keys(tally.rejected);
    }

    /// `keys` keys were removed because their time had come.
    pub(crate) fn expired(&mut self, keys: usize) {
        add(&self.line.expired, keys);
    }

    /// `keys` keys were removed to make room.
    pub(crate) fn evicted(&mut self, keys: usize) {
        add(&self.line.evicted, keys);
    }

    /// `command` was refused: counts its keys if it is a write.
    pub(crate) fn rejected(&mut self, command: &Command<'_>) {
        self.rejected_keys(keys_written(command));
    }

    /// A write of `keys` keys was refused.
    pub(crate) fn rejected_keys(&mut self, keys: usize) {
        add(&self.line.rejected, keys);
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        let mut state = lock(&self.registry);
        state.live.retain(|line| !Arc::ptr_eq(line, &self.line));
        self.line.add_to(&mut state.gone);
    }
}

/// What the commands of a transaction have done, until it is known whether they count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) hits: usize,
    pub(crate) misses: usize,
    pub(crate) sets: usize,
    pub(crate) deletes: usize,
    pub(crate) delete_misses: usize,
    pub(crate) rejected: usize,
}

impl Tally {
    /// A key that was asked for had a value, or had none.
    pub(crate) fn get(&mut self, is_hit: bool) {
        *(if is_hit { &mut self.hits } else { &mut self.misses }) += 1;
    }
}

/// Keys that `command` would change.
pub(crate) fn keys_written(command: &Command<'_>) -> usize {
    match command {
        Command::Set(_) | Command::Delete(_) | Command::Modify(_) | Command::Transfer(_) | Command::Rollback(_) => 1,
        Command::MultiSet { sets } => sets.len(),
        Command::MultiDelete { deletes, .. } => deletes.len(),
        Command::Transaction(transaction) => transaction.commands.iter().map(keys_written).sum(),
        Command::Get { .. }
        | Command::Peek { .. }
        | Command::MultiGet { .. }
        | Command::List(_)
        | Command::ListSorted(_)
        | Command::GetAt { .. }
        | Command::History { .. }
        | Command::Clear => 0,
    }
}

/// A plain load and store, for there is one writer: the worker, which lends its counters out mutably.
fn add(counter: &AtomicU64, count: usize) {
    if count > 0 {
        // Relaxed, both: see `add_to`.
        counter.store(counter.load(Ordering::Relaxed) + count as u64, Ordering::Relaxed);
    }
}
