//! Commits: the file where the order of commits and the index meet. Owns the steps and their order. What is decided on the way,
//! and by which conditions, is told by who calls; how versions are kept is the index's business, what a revision is `sequence`'s.
//!
//! | step | can it fail? |
//! |---|---|
//! | make room, in memory and in the journal | refused: nothing has happened |
//! | lock the homes of all keys read or written, by address | no |
//! | **decide** by the newest commits, at NOW | refused; nothing to do; or it takes more room than was made: unlock, again |
//! | build the records, find the slots, install nodes | no |
//! | SEQ: has a record judged alive expired? was the store cleared, or closed? | take the nodes back; again, or refused |
//! | SEQ: is it to be queued by now, for someone who began to watch? | take the nodes back; again |
//! | SEQ: revision, queue, publish | no: this is the commit |
//! | settle each key, unlock, retire what went | no |
//!
//! *Short cut*: one key, and nobody reads below the newest (seen inside SEQ): no node; the slot takes the record at once.
//!
//! Since deciding comes after the locks, what was looked at holds until the commit: no conflict, no loop under contention. How
//! large a result is may show only then; it must not wait for room with locks held, so it begins again with what it needs.

use kvd_journal::{Encoded, Reservation};
use kvd_types::{Effect, Error, Key, Reason, Revision};

use crate::current::Current;
use crate::engine::{Store, Worker};
use crate::index::{Change, Commit, Hashed, ReadPoints, Record, Root, Target};
use crate::moment::Moment;
use crate::mutation::{Demand, Mutation};
use crate::planted::{self, Bug};
use crate::reclaim::{Guard, Trash};
use crate::sequence::{Batch, Delta, Seq};
use crate::{flusher, history, rekey, room, settle};

/// Keys that every commit settles beside its own, so that what transactions held back is freed in passing.
const SETTLED_IN_PASSING: usize = 4;

/// Buckets that every commit re-keys while keys are moving.
const MOVED_IN_PASSING: usize = 2;

/// What a commit did.
pub(crate) struct Committed {
    /// The commit's; if it changed nothing, LAST when that was seen.
    pub(crate) revision: Revision,
    /// Keys that were changed.
    pub(crate) changed: usize,
    /// Whether keys came or went, so that segments may have to grow or shrink.
    counted: bool,
}

/// Why a try ended without an answer, or with a refusal. Nothing has happened.
pub(crate) enum Stop {
    /// Time has passed that makes a difference, or the store was cleared: begin again.
    Again,
    /// It takes this much room: begin again with that.
    Short(Demand),
    Refused(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Refused(error)
    }
}

/// Whether what was decided has the room that it takes.
pub(crate) fn check_room(granted: &Demand, needed: Demand) -> Result<(), Stop> {
    if granted.covers(&needed) || planted::is_at_disk(Bug::RoomByEstimate) { Ok(()) } else { Err(Stop::Short(needed)) }
}

/// What is decided for keys of a commit, each by its position.
pub(crate) type Mutations<'c> = Vec<(usize, Mutation<'c>)>;

/// The commit of a single key. `decide` is called under the lock of its home, as often as it must begin again, and told what
/// room there is.
pub(crate) fn one<'c>(
    store: &Store,
    worker: &mut Worker,
    key: &'c Key<'_>,
    demand: Demand,
    mut decide: impl FnMut(&Current<'_>, Moment, &Demand) -> Result<Option<Mutation<'c>>, Stop>,
) -> Result<Committed, Error> {
    let hashed = store.index.hash(key.as_bytes());
    let committed = attempt(store, worker, demand, |worker, demand, reservation| {
        let decide = |current: &Current<'_>, moment: Moment| decide(current, moment, demand);
        try_one(store, worker, key, hashed, reservation, decide)
    })?;
    after_commit(store, worker, &[hashed][..usize::from(committed.counted)]);
    Ok(committed)
}

/// The commit of many keys: all change by one store. A key may be named more than once, and changed once.
pub(crate) fn many<'c>(
    store: &Store,
    worker: &mut Worker,
    keys: &[&'c Key<'_>],
    demand: Demand,
    decide: impl FnMut(&[Current<'_>], Moment, &Demand) -> Result<Mutations<'c>, Stop>,
) -> Result<Committed, Error> {
    many_locking(store, worker, keys, None, demand, decide)
}

/// As `many`. A mistake to be planted: the home of this key alone is locked.
pub(crate) fn many_locking<'c>(
    store: &Store,
    worker: &mut Worker,
    keys: &[&'c Key<'_>],
    alone: Option<usize>,
    demand: Demand,
    mut decide: impl FnMut(&[Current<'_>], Moment, &Demand) -> Result<Mutations<'c>, Stop>,
) -> Result<Committed, Error> {
    let hashed: Vec<Hashed<'_>> = keys.iter().map(|key| store.index.hash(key.as_bytes())).collect();
    store.index.prefetch(&hashed, &worker.reader.pin());
    let committed = attempt(store, worker, demand, |worker, demand, reservation| {
        let decide = |current: &[Current<'_>], moment: Moment| decide(current, moment, demand);
        try_many(store, worker, Keys { keys, hashed: &hashed, alone }, reservation, decide)
    })?;
    after_commit(store, worker, if committed.counted { &hashed } else { &[] });
    Ok(committed)
}

/// Makes room and tries, until there is an answer. Leaves in the worker what it must wait for: what was looked at was the newest,
/// seen by readers or not.
fn attempt(
    store: &Store,
    worker: &mut Worker,
    mut demand: Demand,
    mut try_it: impl FnMut(&mut Worker, &Demand, Option<Reservation>) -> Result<Committed, Stop>,
) -> Result<Committed, Error> {
    room::make(store, worker, demand.memory_bytes)?;
    loop {
        let reservation = flusher::reserve(store, demand.journal, demand.purpose)?;
        match try_it(worker, &demand, reservation) {
            Ok(committed) => {
                worker.position = committed.revision;
                return Ok(committed);
            }
            Err(Stop::Again) => {}
            Err(Stop::Short(needed)) => {
                demand = needed;
                room::make(store, worker, demand.memory_bytes)?;
            }
            Err(Stop::Refused(error)) => {
                // Nothing that was looked at shows in those two, and they must not wait for a journal that has failed.
                let shows_nothing = matches!(error, Error::Closed | Error::JournalFailed);
                if !shows_nothing && !planted::is_at_disk(Bug::RefusedAtOnce) {
                    // After the last look, and no later than that: see `flusher`.
                    worker.position = store.sequence.last();
                }
                return Err(error);
            }
        }
    }
}

fn try_one<'c>(
    store: &Store,
    worker: &mut Worker,
    key: &'c Key<'_>,
    hashed: Hashed<'_>,
    reservation: Option<Reservation>,
    decide: impl FnOnce(&Current<'_>, Moment) -> Result<Option<Mutation<'c>>, Stop>,
) -> Result<Committed, Stop> {
    let guard = worker.reader.pin();
    let root = store.index.newest(&guard);
    let home = store.index.lock(root, hashed, &guard);
    let now_ms = store.sequence.now_ms();
    let current = Current::find(&store.index, &home, hashed, now_ms, &guard);
    let Some(mutation) = decide(&current, Moment::new(store, now_ms))? else {
        let revision = last_under(store, root, &guard)?;
        return Ok(Committed { revision, changed: 0, counted: false });
    };
    let time_ms = store.version_time(now_ms);
    let (change, expires_at_ms) = (mutation.change(key.as_bytes(), time_ms), mutation.expires_at_ms());
    current.note_use(&change, hashed, &mut worker.uses);
    let batch = store.sequence.queues().then(|| batch(time_ms, &[mutation.effect(key)], reservation));
    let (ends_at_ms, is_queued) = (current.ends_at_ms(), batch.is_some());
    let premise = Premise { store, root, guard: &guard, ends_at_ms, is_queued };
    let target = current.target.unwrap_or_else(|| {
        home.reserve(1, &guard);
        home.vacant(&store.index, hashed, &guard)
    });
    let mut delta = Delta::default();
    current.count(&change, &mut delta);

    if target.is_plain() && !store.sequence.keeps_versions() {
        let seq = store.sequence.enter();
        premise.check(&seq)?;
        if !seq.keeps_versions() || planted::is(Bug::NeedNotChecked) {
            let (revision, gone) = replace(store, seq, &target, change, &delta, batch);
            let counted = target.account(&store.index, expires_at_ms, &guard);
            drop(home);
            if let Some(record) = gone {
                worker.trash.retire(record.into_garbage());
            }
            return Ok(Committed { revision, changed: 1, counted });
        }
        // Someone began to read in between: with a node after all.
    }
    if planted::is(Bug::RollbackReinstalls)
        && let Some((record, old)) = target.older_like(&change, &guard)
    {
        let publish = |_| target.put_back(record, old);
        let revision = store.sequence.enter().commit(&delta, batch, publish);
        return Ok(Committed { revision, changed: 1, counted: false });
    }
    target.install(change, None);
    let mut seq = store.sequence.enter();
    if let Err(stop) = premise.check(&seq) {
        drop(seq);
        target.undo(&guard, &mut worker.trash);
        return Err(stop);
    }
    let revision = seq.commit(&delta, batch, |revision| target.set_revision(revision, &guard));
    seq.read_points(&mut worker.points);
    settle_target(store, &worker.points, &mut worker.trash, &target, &guard);
    let counted = target.account(&store.index, expires_at_ms, &guard);
    Ok(Committed { revision, changed: 1, counted })
}

/// The keys of a commit of many.
struct Keys<'a, 'c, 'k> {
    keys: &'a [&'c Key<'k>],
    hashed: &'a [Hashed<'a>],
    /// See `many_locking`.
    alone: Option<usize>,
}

fn try_many<'c>(
    store: &Store,
    worker: &mut Worker,
    Keys { keys, hashed, alone }: Keys<'_, 'c, '_>,
    reservation: Option<Reservation>,
    decide: impl FnOnce(&[Current<'_>], Moment) -> Result<Mutations<'c>, Stop>,
) -> Result<Committed, Stop> {
    let guard = worker.reader.pin();
    let root = store.index.newest(&guard);
    let (homes, home_of) = match alone {
        Some(alone) => (store.index.lock_many(root, &[hashed[alone]], &guard).0, vec![0; keys.len()]),
        None => store.index.lock_many(root, hashed, &guard),
    };
    let now_ms = store.sequence.now_ms();
    let find =
        |at: usize| -> Current<'_> { Current::find(&store.index, &homes[home_of[at]], hashed[at], now_ms, &guard) };
    let mut current: Vec<Current<'_>> = (0..keys.len()).map(find).collect();
    let mutations = decide(&current, Moment::new(store, now_ms))?;
    if mutations.is_empty() {
        let revision = last_under(store, root, &guard)?;
        return Ok(Committed { revision, changed: 0, counted: false });
    }

    // New keys need slots: all are made sure of first, since that may move words, and then every slot is looked for again.
    let mut new_keys = vec![0; homes.len()];
    for (at, _) in mutations.iter().filter(|(at, _)| current[*at].target.is_none()) {
        new_keys[home_of[*at]] += 1;
    }
    for (home, new_keys) in homes.iter().zip(&new_keys) {
        home.reserve(if planted::is(Bug::RoomForEachAlone) { 0 } else { *new_keys }, &guard);
    }
    for (at, _) in mutations.iter().filter(|(at, _)| new_keys[home_of[*at]] > 0) {
        current[*at] = find(*at);
    }

    let commit = Commit::new();
    let time_ms = store.version_time(now_ms);
    let mut delta = Delta::default();
    let is_queued = store.sequence.queues();
    let mut effects = Vec::with_capacity(if is_queued { mutations.len() } else { 0 });
    let mut targets: Vec<(Target<'_>, Option<u64>)> = Vec::with_capacity(mutations.len());
    for (at, mutation) in mutations {
        let (change, expires_at_ms) = (mutation.change(keys[at].as_bytes(), time_ms), mutation.expires_at_ms());
        current[at].note_use(&change, hashed[at], &mut worker.uses);
        if is_queued && !is_forgotten(&mutation) {
            effects.push(mutation.effect(keys[at]));
        }
        current[at].count(&change, &mut delta);
        // Each slot is taken before the next is looked for: two new keys of one bucket can't get the same.
        let home = &homes[home_of[at]];
        let target = current[at].target.take().unwrap_or_else(|| {
            if planted::is(Bug::RoomForEachAlone) {
                home.reserve(1, &guard);
            }
            home.vacant(&store.index, hashed[at], &guard)
        });
        target.install(change, Some(commit));
        targets.push((target, expires_at_ms));
    }
    let batch = is_queued.then(|| batch(time_ms, &effects, reservation));

    let ends_at_ms = current.iter().filter_map(Current::ends_at_ms).min();
    let premise = Premise { store, root, guard: &guard, ends_at_ms, is_queued };
    let mut seq = store.sequence.enter();
    if let Err(stop) = premise.check(&seq) {
        drop(seq);
        let skipped = usize::from(planted::is(Bug::UndoForgetsSlot));
        targets.iter().skip(skipped).for_each(|(target, _)| target.undo(&guard, &mut worker.trash));
        worker.trash.retire(commit.as_garbage());
        return Err(stop);
    }
    if planted::is(Bug::CommitKeyByKey) {
        for (target, _) in &targets {
            seq.commit(&Delta::default(), None, |revision| target.set_revision(revision, &guard));
            drop(seq);
            seq = store.sequence.enter();
        }
    }
    let revision = seq.commit(&delta, batch, |revision| commit.store(revision));
    seq.read_points(&mut worker.points);
    let mut counted = false;
    for (target, expires_at_ms) in &targets {
        target.set_revision(revision, &guard);
        settle_target(store, &worker.points, &mut worker.trash, target, &guard);
        counted |= target.account(&store.index, *expires_at_ms, &guard);
    }
    drop(homes);
    worker.trash.retire(commit.as_garbage());
    Ok(Committed { revision, changed: targets.len(), counted })
}

/// What a commit relies on that others may have changed by the time it is inside SEQ.
struct Premise<'a> {
    store: &'a Store,
    /// The root it began under.
    root: &'a Root,
    guard: &'a Guard<'a>,
    /// When the first of the keys that were judged alive goes by itself.
    ends_at_ms: Option<u64>,
    /// It has a batch to be queued, which it has not if nobody watched when it began.
    is_queued: bool,
}

impl Premise<'_> {
    /// Whether the commit may go on. Inside SEQ.
    fn check(&self, seq: &Seq<'_>) -> Result<(), Stop> {
        self.store.check_writable()?;
        let has_ended = self.ends_at_ms.is_some_and(|at| at <= seq.now_ms()) && !planted::is(Bug::NoExpiryRecheck);
        let is_missed = seq.queues() && !self.is_queued && !planted::is(Bug::QueueNotChecked);
        if has_ended || is_missed || !self.store.index.is_newest(self.root, self.guard) {
            Err(Stop::Again)
        } else {
            Ok(())
        }
    }
}

/// The short cut's commit: the slot takes the record, or nothing, inside SEQ. Returns what it held.
fn replace(
    store: &Store,
    mut seq: Seq<'_>,
    target: &Target<'_>,
    change: Change,
    delta: &Delta,
    batch: Option<Box<Batch>>,
) -> (Revision, Option<Record<'static>>) {
    if let Some(bug) = planted::one_of([Bug::RevisionOutsideSeq, Bug::QueuedOutsideSeq, Bug::CountedOutsideSeq]) {
        return replace_wrongly(bug, store, seq, target, change, delta, batch);
    }
    let mut gone = None;
    let revision = seq.commit(delta, batch, |revision| gone = target.replace(change, revision));
    (revision, gone)
}

/// Mistakes to be planted: something happens after SEQ that belongs inside.
fn replace_wrongly(
    bug: Bug,
    store: &Store,
    mut seq: Seq<'_>,
    target: &Target<'_>,
    change: Change,
    delta: &Delta,
    batch: Option<Box<Batch>>,
) -> (Revision, Option<Record<'static>>) {
    let mut gone = None;
    let revision;
    match bug {
        Bug::RevisionOutsideSeq => {
            revision = seq.commit(delta, batch, |_| {});
            drop(seq);
            gone = target.replace(change, revision);
        }
        Bug::QueuedOutsideSeq => {
            revision = seq.commit(delta, None, |revision| gone = target.replace(change, revision));
            drop(seq);
            store.sequence.enter().queue(batch, revision);
        }
        _ => {
            revision = seq.commit(&Delta::default(), batch, |revision| gone = target.replace(change, revision));
            drop(seq);
            store.sequence.enter().count(delta);
        }
    }
    (revision, gone)
}

/// Mistakes to be planted: the journal is not told of what the sweep removes, or of what makes room.
fn is_forgotten(mutation: &Mutation<'_>) -> bool {
    match mutation {
        Mutation::Delete(Reason::Expired) => planted::is_at_disk(Bug::SweepNotJournalled),
        Mutation::Delete(Reason::Evicted) => planted::is_at_disk(Bug::EvictionNotJournalled),
        _ => false,
    }
}

/// A commit as the journal and who watches have it, encoded before it has a revision.
fn batch(time_ms: Option<u64>, effects: &[Effect<'_>], reservation: Option<Reservation>) -> Box<Batch> {
    Batch::new(Encoded::at(time_ms, effects).expect("a size that is too large was refused before"), reservation)
}

/// LAST, for an answer that nothing was to do. Begins again if the store was cleared since `root` was found: keys may be back by
/// then.
fn last_under(store: &Store, root: &Root, guard: &Guard<'_>) -> Result<Revision, Stop> {
    let last = store.sequence.last(); // before the root: a clear that it counts is seen
    if store.index.is_newest(root, guard) { Ok(last) } else { Err(Stop::Again) }
}

/// Settles one key after its commit, under the lock of its home.
fn settle_target(store: &Store, points: &ReadPoints, trash: &mut Trash, target: &Target<'_>, guard: &Guard<'_>) {
    // A key that had more than one version waits already, unless they were kept as history alone.
    if let Some(revision) = target.settle(points, guard, trash)
        && (target.is_plain() || points.history > 0)
    {
        store.settling.note(revision, target.hash());
    }
    if points.history > 0
        && let Some(revision) = target.deleted_at(guard)
    {
        store.history.note_deleted(revision, target.hash());
    }
}

/// What comes after a commit, when no lock is held any more.
pub(crate) fn after_commit(store: &Store, worker: &mut Worker, counted: &[Hashed<'_>]) {
    if !counted.is_empty() {
        store.index.resize_due(counted, &worker.reader.pin(), &mut worker.trash);
    }
    if store.sequence.queues() {
        store.waiting.ring();
    }
    settle::settle_due(store, worker, SETTLED_IN_PASSING);
    history::forget_due(store, worker);
    rekey::move_some(store, worker, MOVED_IN_PASSING);
}
