//! Removing keys to make room: which ones, and when. An eviction is a commit like any other, with a revision and an effect, so
//! that the journal and watchers see it, and what a reader found missing stays missing. Owns the choice; how much room is to be
//! made is `room`'s, how often a key was used `frequency`'s.
//!
//! # The choice
//!
//! | step | |
//! |---|---|
//! | take what the workers have used since the last time, and count it | `uses`, `frequency` |
//! | look at the next keys in order of hash, some 64 | a walk that goes round and round: each key has its turn |
//! | those go that bring the fewest hits for their bytes | frequency / bytes; of those that are hardly used the oldest first |
//!
//! New keys have had no time to be used. So of the keys looked at the youngest, by revision, count as used once more
//! than they were: a key that nobody asks for again falls behind by itself as others come after it, and a scan through many keys
//! pushes out little but itself.
//!
//! The choice is made under a lock, loads alone; the commit comes after it. A key that was written meanwhile stays.

use kvd_types::{Error, Key, Reason, Revision};

use crate::commit;
use crate::current::Current;
use crate::engine::{Store, Worker};
use crate::frequency::Frequency;
use crate::index::{Newest, Reordered, Version};
use crate::mutation::{Demand, Mutation};
use crate::rekey;
use crate::room::Memory;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};
use crate::uses::{Taker, Uses};

/// What happens to a write that finds memory full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryPolicy {
    /// It is refused.
    #[default]
    Reject,
    /// The keys of least use make room for it.
    Evict,
}

/// Keys looked at in one step.
const CANDIDATES: usize = if cfg!(any(kvd_loom, kvd_shuttle)) { 4 } else { 64 };

/// Of so many keys looked at one goes.
const CANDIDATES_PER_VICTIM: usize = if cfg!(any(kvd_loom, kvd_shuttle)) { 2 } else { 16 };

/// Empty buckets in a row after which a step gives up: what is left of a store whose keys are gone.
const BUCKETS_AT_ONCE: usize = 4_096;

/// What a key takes of the index and of the allocator beside its record, in bytes.
const SLOT_BYTES: u64 = 24;

/// Of the keys looked at, the share of the youngest that are spared as if they had been used once more: 1 / 8.
const YOUNG_SHARE: usize = 8;

/// From so many uses on a key is known by them, and its age says nothing more. If the oldest of these went first, of keys that
/// are asked for in turn each would go just before it is due: what stays is then always the same part of them.
const USES_KNOWN: u64 = 3;

/// Of the memory limit, the part that is kept free by who serves no one, so that writers find room.
const SLACK_SHARE: u64 = 128;
const SLACK_BYTES_MAX: u64 = 64 << 20;

/// Steps between two looks at what else is to be done: some tens of milliseconds.
const STEPS_AHEAD: usize = 1_024;

/// What a store needs to evict.
pub(crate) struct Eviction {
    /// None where nothing is evicted. Its lock is taken while no other is held.
    chooser: Option<Mutex<Chooser>>,
    /// Memory of the frequencies, for who asks without the lock.
    bytes: AtomicU64,
}

/// Who chooses.
struct Chooser {
    /// One for each worker.
    takers: Vec<Taker>,
    frequency: Frequency,
    /// The hash at which the next step begins.
    from: u64,
}

/// A key that is to go.
struct Victim {
    key: Key<'static>,
    /// The version that was judged; a newer one stays.
    revision: Revision,
}

/// A key that was looked at.
struct Candidate<'g> {
    version: Version<'g>,
    /// The key's.
    hash: u64,
    /// How often it was used of late.
    uses: u64,
    bytes: u64,
}

impl Eviction {
    pub(crate) fn new(policy: MemoryPolicy) -> Eviction {
        let chooser = || Mutex::new(Chooser { takers: Vec::new(), frequency: Frequency::new(), from: 0 });
        Eviction { chooser: (policy == MemoryPolicy::Evict).then(chooser), bytes: AtomicU64::new(0) }
    }

    pub(crate) fn policy(&self) -> MemoryPolicy {
        if self.chooser.is_some() { MemoryPolicy::Evict } else { MemoryPolicy::Reject }
    }

    /// Memory that is kept free by evicting ahead.
    pub(crate) fn slack(&self, max: u64) -> u64 {
        if self.chooser.is_some() { (max / SLACK_SHARE).min(SLACK_BYTES_MAX) } else { 0 }
    }

    /// For a new worker: where it notes what it uses.
    pub(crate) fn join(&self) -> Uses {
        let Some(chooser) = &self.chooser else { return Uses::unnoted() };
        let (uses, taker) = Uses::new();
        let mut chooser = lock(chooser);
        // Or those of workers that are gone would gather where nothing is evicted for long.
        chooser.take_uses();
        chooser.takers.push(taker);
        uses
    }

    /// Who chooses, knowing all that was used up to now.
    fn learn<'e>(&self, store: &Store, chooser: &'e Mutex<Chooser>) -> MutexGuard<'e, Chooser> {
        let keys = store.sequence.enter().totals().0.keys;
        let mut chooser = lock(chooser);
        chooser.frequency.fit(keys);
        chooser.take_uses();
        self.bytes.store(chooser.frequency.bytes(), Ordering::Relaxed); // as in `bytes`
        chooser
    }

    /// Memory that the choice takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) // a figure that stands for nothing else
    }
}

impl Chooser {
    fn take_uses(&mut self) {
        let Chooser { takers, frequency, .. } = self;
        takers.retain_mut(|taker| {
            // Before what it noted last is taken: then nothing can come any more.
            let is_over = taker.is_over();
            taker.take(|hash| frequency.count(hash));
            !is_over
        });
    }

    /// Looks at the next keys, and says which of them are to go.
    ///
    /// # Errors
    /// Keys are on their way to another order.
    fn choose(&mut self, store: &Store, worker: &mut Worker) -> Result<Vec<Victim>, Reordered> {
        let guard = worker.reader.pin();
        let is_keyed = store.index.is_keyed(Newest, &guard);
        let mut found = Vec::new();
        let mut candidates: Vec<Candidate<'_>> = Vec::with_capacity(CANDIDATES + 16);
        for _ in 0..BUCKETS_AT_ONCE {
            let next = store.index.walk(self.from, is_keyed, Newest, &mut found, &guard)?;
            self.from = next.unwrap_or(0);
            candidates.extend(found.drain(..).map(|(_, version)| self.candidate(store, version)));
            // Not past the end: of a few keys none may come twice.
            if candidates.len() >= CANDIDATES || next.is_none() && !candidates.is_empty() {
                break;
            }
        }
        Ok(least_useful(candidates).map(Victim::new).collect())
    }

    fn candidate<'g>(&self, store: &Store, version: Version<'g>) -> Candidate<'g> {
        let hash = store.index.hash(version.record.key()).fast();
        Candidate { version, hash, uses: self.frequency.of(hash), bytes: version.record.bytes() + SLOT_BYTES }
    }
}

impl Victim {
    fn new(candidate: Candidate<'_>) -> Victim {
        let Version { record, revision } = candidate.version;
        Victim { key: Key::new(record.key().to_vec()).expect("was a key when it was stored"), revision }
    }
}

/// As good as random, and always the same for a key.
fn fraction(hash: u64) -> f64 {
    f64::from(hash as u16) / f64::from(u16::MAX)
}

/// Those of the candidates that bring the fewest hits for their bytes.
fn least_useful(mut candidates: Vec<Candidate<'_>>) -> impl Iterator<Item = Candidate<'_>> {
    candidates.sort_unstable_by_key(|candidate| candidate.version.revision);
    let len = candidates.len();
    let young_from = len - len / YOUNG_SHARE;
    let mut worth: Vec<(f64, Candidate<'_>)> = Vec::with_capacity(len);
    for (rank, candidate) in candidates.into_iter().enumerate() {
        // Less than a use.
        let among_equals =
            if candidate.uses < USES_KNOWN { rank as f64 / len as f64 } else { fraction(candidate.hash) };
        let spared = if rank >= young_from { 1.0 } else { 0.0 };
        worth.push(((candidate.uses as f64 + spared + among_equals) / candidate.bytes as f64, candidate));
    }
    worth.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    worth.into_iter().map(|(_, candidate)| candidate).take(len.div_ceil(CANDIDATES_PER_VICTIM))
}

/// Removes some keys. Returns whether there were any, and any are evicted here.
///
/// # Errors
/// Why the store takes no commit.
pub(crate) fn step(store: &Store, worker: &mut Worker) -> Result<bool, Error> {
    let Some(chooser) = &store.eviction.chooser else { return Ok(false) };
    let victims = loop {
        let mut chooser = store.eviction.learn(store, chooser);
        let chosen = chooser.choose(store, worker);
        drop(chooser);
        match chosen {
            Ok(victims) => break victims,
            Err(Reordered) => rekey::move_all_at(store, worker, Newest),
        }
    };
    if victims.is_empty() {
        return Ok(false);
    }
    remove(store, worker, &victims).map(|()| true)
}

fn remove(store: &Store, worker: &mut Worker, victims: &[Victim]) -> Result<(), Error> {
    let keys: Vec<&Key<'_>> = victims.iter().map(|victim| &victim.key).collect();
    let demand = keys.iter().fold(Demand::NONE, |demand, key| demand.delete(key));
    // The answer of whoever makes room waits for its own commit, which comes after this one.
    let position = worker.position;
    let committed = commit::many(store, worker, &keys, demand, |current, _, _| {
        let is_judged = |(at, current): &(usize, &Current<'_>)| {
            current.newest.is_some_and(|newest| newest.revision == victims[*at].revision)
        };
        let judged = current.iter().enumerate().filter(is_judged);
        Ok(judged.map(|(at, _)| (at, Mutation::Delete(Reason::Evicted))).collect())
    });
    worker.position = position;
    worker.counters.evicted(committed?.changed);
    Ok(())
}

/// For who serves no one: counts what was used, and evicts until some memory is free, so that writers need not. Returns whether
/// there is more to do.
pub(crate) fn ahead(store: &Store, worker: &mut Worker) -> bool {
    let Some(chooser) = &store.eviction.chooser else { return false };
    drop(store.eviction.learn(store, chooser));
    let target = store.memory_bytes_max - store.eviction.slack(store.memory_bytes_max);
    for _ in 0..STEPS_AHEAD {
        let memory = Memory::of(store, &mut worker.reader);
        // As in `room`: what is too much without any key is not made to fit by taking them all.
        if memory.used - memory.leaving() <= target || memory.staying() > target {
            return false;
        }
        // Refused when the store is closed, or its disk full or failed: then writes are refused, too, and are told why.
        if !matches!(step(store, worker), Ok(true)) {
            return false;
        }
        worker.trash.tidy();
    }
    true
}
