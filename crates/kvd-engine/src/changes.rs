//! The newest commits, for who watches: each is kept once, however many watch, and of a watch nothing is kept but its place. Owns
//! how long commits are kept and who waits for more; knows nothing of keys, and of effects only that they are encoded.
//!
//! | what is promised | because |
//! |---|---|
//! | no watch is ahead of what readers see | a round of the flusher moves VISIBLE, and then adds |
//! | every commit after a place is seen, once, in order | the queue has the order and no gap; a place that is gone is an error |
//! | memory is bounded | `watch_bytes` are kept, at most one commit more; the oldest goes, whoever has not seen it |
//! | no wake-up is lost | who waits looks and registers under the lock that who adds takes |
//!
//! A store without a journal queues nothing until the first watch begins; from then on it does, and what is kept begins there.
//! Nothing is kept over a restart: it begins after the newest commit, and behind every revision that a start has skipped; who
//! has seen that commit goes on there.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use kvd_journal::{Encoded, Jump, Place};
use kvd_types::{Effect, Revision};

use crate::engine::{Engine, Store};
use crate::planted::{self, Bug};
use crate::sequence::Batch;
use crate::stats::Watching;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};

/// A commit, as who watches is shown it.
#[derive(Debug)]
pub struct Change {
    revision: Revision,
    encoded: Encoded,
}

impl Change {
    /// The commit's.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Memory that it holds, in bytes.
    pub fn bytes(&self) -> u64 {
        self.encoded.memory_bytes() as u64
    }

    /// How many effects it has.
    pub fn effects_count(&self) -> usize {
        self.encoded.count()
    }

    /// All its effects.
    pub fn effects(&self) -> Vec<Effect<'static>> {
        self.encoded.effects()
    }

    /// The next effect that is on a key that is `wanted`, or on all keys; none after the last.
    pub fn next_effect(&self, place: &mut Place, wanted: impl Fn(&[u8]) -> bool) -> Option<Effect<'_>> {
        self.encoded.next_effect(place, wanted)
    }
}

/// What is to be watched next is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotKept {
    /// The commit that was to come next.
    pub wanted: Revision,
    /// The oldest commit that is kept, or the one to come.
    pub oldest: Revision,
    /// The newest that readers see.
    pub newest: Revision,
}

impl std::error::Error for NotKept {}

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotKept { wanted, oldest, newest } = self;
        if wanted > newest {
            return write!(
                f,
                "there was no commit {wanted} yet, the newest is {newest}: it is another store's, or a mistake"
            );
        }
        write!(
            f,
            "the commits from {wanted} on are not kept any more, only those from {oldest} on: read what is there, and watch \
             from the revision after it"
        )
    }
}

/// The newest commits, and who waits for more.
pub(crate) struct Changes {
    kept: Mutex<Kept>,
    /// So many bytes are kept at least, once there were as many.
    bytes_min: u64,
    /// What is kept, for who asks without the lock.
    bytes: AtomicU64,
    /// Watches there are.
    watches: AtomicU64,
    /// Watches that have lost their place.
    lagged: AtomicU64,
}

struct Kept {
    /// One for each revision before `next`, as far back as they are kept.
    commits: VecDeque<Arc<Change>>,
    /// The revision of the commit to come.
    next: u64,
    /// What this start has skipped, if anything.
    skipped: Skipped,
    bytes: u64,
    /// By ticket.
    waiting: BTreeMap<u64, Waker>,
    next_ticket: u64,
    /// Watches end when they have seen all.
    is_over: bool,
}

/// Revisions that no commit has, right before the first commit after a start.
#[derive(Default)]
struct Skipped {
    /// Where each of the jumps begins: for who has seen everything before it, what comes next is `to`.
    from: Vec<Revision>,
    to: Revision,
}

impl Skipped {
    /// Those before `to`: this start's, and those of starts before it after which nothing was committed.
    fn new(jumps: &[Jump], to: Revision) -> Skipped {
        let mut from: Vec<Revision> = Vec::new();
        for jump in jumps.iter().rev() {
            if after(jump.to) != *from.last().unwrap_or(&to) {
                break;
            }
            from.push(after(jump.from));
        }
        Skipped { from, to }
    }

    /// The commit that comes next where this one was to come.
    fn pass(&self, wanted: Revision) -> Revision {
        if self.from.contains(&wanted) { self.to } else { wanted }
    }
}

fn after(revision: Revision) -> Revision {
    Revision(revision.0 + 1)
}

impl Kept {
    fn oldest(&self) -> u64 {
        self.next - self.commits.len() as u64
    }

    fn drop_oldest(&mut self) -> Option<Arc<Change>> {
        let oldest = self.commits.pop_front()?;
        self.bytes -= oldest.bytes();
        Some(oldest)
    }
}

impl Changes {
    pub(crate) fn new(bytes_min: u64) -> Changes {
        let commits = VecDeque::new();
        let (skipped, waiting) = (Skipped::default(), BTreeMap::new());
        let kept = Kept { commits, next: 1, skipped, bytes: 0, waiting, next_ticket: 0, is_over: false };
        Changes {
            kept: Mutex::new(kept),
            bytes_min,
            bytes: AtomicU64::new(0),
            watches: AtomicU64::new(0),
            lagged: AtomicU64::new(0),
        }
    }

    /// Begins after what was loaded, and after these jumps of revisions. Before anyone else knows the store.
    pub(crate) fn resume(&self, last: Revision, jumps: &[Jump]) {
        let mut kept = lock(&self.kept);
        kept.next = last.0 + 1;
        kept.skipped = Skipped::new(jumps, after(last));
    }

    /// Bytes of what is kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) // a figure that stands for nothing else
    }

    pub(crate) fn watching(&self) -> Watching {
        // Relaxed, both: figures that stand for nothing else.
        let watches = self.watches.load(Ordering::Relaxed);
        Watching { watches, lagged: self.lagged.load(Ordering::Relaxed) } // as above
    }

    /// The next commits, which readers see.
    pub(crate) fn add(&self, commits: Vec<(Revision, Encoded)>) {
        if !commits.is_empty() {
            self.add_under(lock(&self.kept), commits);
        }
    }

    fn add_under(&self, mut kept: MutexGuard<'_, Kept>, commits: Vec<(Revision, Encoded)>) {
        let mut gone = Vec::new();
        for (revision, encoded) in commits {
            if revision.0 != kept.next {
                // Someone else took what came between: what is kept has no gap.
                while let Some(oldest) = kept.drop_oldest() {
                    gone.push(oldest);
                }
            }
            let change = Change { revision, encoded };
            kept.next = revision.0 + 1;
            kept.bytes += change.bytes();
            kept.commits.push_back(Arc::new(change));
            while kept.commits.front().is_some_and(|oldest| kept.bytes - oldest.bytes() >= self.bytes_min) {
                gone.extend(kept.drop_oldest());
            }
        }
        self.bytes.store(kept.bytes, Ordering::Relaxed); // a figure, see `bytes`
        let waiting = std::mem::take(&mut kept.waiting);
        drop(kept);
        // Freed and woken without the lock.
        drop(gone);
        waiting.into_values().for_each(Waker::wake);
    }

    /// Memory is short: keeps no more than is promised, not even a commit that is larger. Returns whether something went.
    pub(crate) fn shrink(&self) -> bool {
        let mut kept = lock(&self.kept);
        let mut gone = Vec::new();
        while kept.bytes > self.bytes_min {
            gone.extend(kept.drop_oldest());
        }
        self.bytes.store(kept.bytes, Ordering::Relaxed); // a figure, see `bytes`
        drop(kept);
        !gone.is_empty()
    }
}

/// The flusher's round of a store without a journal: what was committed goes to readers and to who watches. Returns how many
/// commits there were.
pub(crate) fn relay(store: &Store) -> usize {
    // Taken before SEQ: who comes at the same time must not come between.
    let kept = lock(&store.changes.kept);
    let (sealed, batches) = store.sequence.seal();
    store.sequence.note_unqueued(batches.iter().map(Batch::memory_bytes).sum());
    store.sequence.make_visible(sealed);
    let count = batches.len();
    if count > 0 {
        store.changes.add_under(kept, batches.into_iter().map(|batch| (batch.revision, batch.encoded)).collect());
    }
    store.waiting.wake(&store.sequence, false);
    count
}

/// One who watches: a place in the order of commits. What comes after it is there when a round of [`Engine::flush`] has handed
/// it on.
pub struct Watch {
    engine: Engine,
    /// The commit that it sees next.
    next: Revision,
    /// Under which it is registered.
    ticket: Option<u64>,
    has_lagged: bool,
}

impl Watch {
    /// The newest commit that it has seen, or was to begin after.
    pub fn place(&self) -> Revision {
        Revision(self.next.0 - 1)
    }

    /// Bytes of commits that it may fall behind, at least.
    pub fn kept_bytes_min(&self) -> u64 {
        self.engine.parts().changes.bytes_min
    }

    /// It has seen the commits up to this one.
    pub fn saw(&mut self, revision: Revision) {
        self.next = self.next.max(Revision(revision.0 + 1));
    }

    /// The next commits, in order, at most so many. They stay the next ones until it [`saw`](Watch::saw) them. None at all: it
    /// has seen everything, and [`Engine::end_watches`] was called.
    ///
    /// # Errors
    /// [`NotKept`]: it was too slow.
    pub fn poll_commits(&mut self, context: &mut Context<'_>, most: usize) -> Poll<Result<Vec<Arc<Change>>, NotKept>> {
        let store = self.engine.parts();
        let mut kept = lock(&store.changes.kept);
        let (next, oldest) = (self.next.0, kept.oldest());
        if next < oldest {
            if !std::mem::replace(&mut self.has_lagged, true) {
                store.changes.lagged.fetch_add(1, Ordering::Relaxed); // a figure, see `watching`
            }
            let newest = store.sequence.visible();
            return Poll::Ready(Err(NotKept { wanted: self.next, oldest: Revision(oldest), newest }));
        }
        if next < kept.next {
            let from = usize::try_from(next - oldest).expect("so many commits are in memory");
            return Poll::Ready(Ok(kept.commits.range(from..).take(most).cloned().collect()));
        }
        if kept.is_over {
            return Poll::Ready(Ok(Vec::new()));
        }
        if planted::is(Bug::CheckedThenRegistered) {
            drop(kept);
            kept = lock(&store.changes.kept);
        }
        let ticket = self.ticket.unwrap_or(kept.next_ticket);
        kept.next_ticket = kept.next_ticket.max(ticket + 1);
        self.ticket = Some(ticket);
        kept.waiting.insert(ticket, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let changes = &self.engine.parts().changes;
        changes.watches.fetch_sub(1, Ordering::Relaxed); // a figure, see `watching`
        if let Some(ticket) = self.ticket {
            let waker = lock(&changes.kept).waiting.remove(&ticket);
            // Without the lock: it may be the last of what it wakes.
            drop(waker);
        }
    }
}

impl Engine {
    /// Watches commits, from that of this revision on; without one, from the next on. Right after the last commit that a start
    /// has found, the next is the first behind the revisions that it skipped. Of a store without a journal the first
    /// watch begins what they all see, and its commits must be handed on by [`flush`](Engine::flush) from then on.
    ///
    /// # Errors
    /// [`NotKept`]: it is older than what is kept, or was not given yet.
    pub fn watch(&self, from: Option<Revision>) -> Result<Watch, NotKept> {
        let store = self.parts();
        let mut kept = lock(&store.changes.kept);
        if !store.sequence.queues() {
            kept.next = store.sequence.start_queueing().0 + 1;
        }
        let (oldest, newest) = (Revision(kept.oldest()), store.sequence.visible());
        let upcoming = Revision(newest.0 + 1);
        // There is no commit 0: it stands for the first.
        let next = from.map_or(upcoming.max(oldest), |from| kept.skipped.pass(from.max(Revision(1))));
        if next < oldest || next > upcoming.max(oldest) {
            return Err(NotKept { wanted: next, oldest, newest });
        }
        store.changes.watches.fetch_add(1, Ordering::Relaxed); // a figure, see `watching`
        Ok(Watch { engine: self.clone(), next, ticket: None, has_lagged: false })
    }

    /// Watches end when they have seen what is there: nobody waits for commits that no one will make.
    pub fn end_watches(&self) {
        let mut kept = lock(&self.parts().changes.kept);
        kept.is_over = true;
        let waiting = std::mem::take(&mut kept.waiting);
        drop(kept);
        waiting.into_values().for_each(Waker::wake);
    }
}
