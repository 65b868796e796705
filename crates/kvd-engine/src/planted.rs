//! Mistakes that the tests must find: each is planted by name in a build for a model checker, or with the feature `planted`,
//! and a test shows that it is caught. In every other build there are none, and the code that asks compiles to nothing.

use crate::sync::Ordering;

/// A mistake from the protocol's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(any(kvd_loom, kvd_shuttle, feature = "planted")),
    expect(unreachable_pub, reason = "exported for tests alone")
)]
pub enum Bug {
    /// The revision is taken outside SEQ, and published afterwards.
    RevisionOutsideSeq,
    /// A read point is VISIBLE loaded without SEQ.
    PinWithoutSeq,
    /// A get loads a node's revision before its old version.
    RevisionBeforeOld,
    /// Slots and VISIBLE are stored Relaxed.
    RelaxedPublish,
    /// Settling forgets the group that is being synced.
    SettleForgetsSealed,
    /// A read-write transaction locks only what it writes.
    ReadSetUnlocked,
    /// Each key of a commit has its own store.
    CommitKeyByKey,
    /// A multi-get takes one pass for enough.
    SingleCollect,
    /// Absent keys of a multi-get are compared by emptiness alone.
    AbsentByEmptiness,
    /// An update reads the newest version instead of that at its revision.
    UpdateReadsNewest,
    /// An update does not remember keys it found absent.
    AbsentNotRead,
    /// Expiry is not checked again inside SEQ.
    NoExpiryRecheck,
    /// A get loads NOW after the slot.
    NowAfterSlot,
    /// Readers ignore that a bucket has moved.
    IgnoreMoved,
    /// Taking a commit back forgets one slot.
    UndoForgetsSlot,
    /// Memory is freed one epoch early.
    FreedEarly,
    /// A bucket is marked as moved before its keys are in the next table.
    MovedBeforeStored,
    /// A commit doesn't look inside SEQ whether the store was cleared meanwhile.
    RootNotChecked,
    /// A reader that meets a bucket whose keys have moved takes them for missing.
    MovedTakenForMissing,
    /// VISIBLE is loaded once for a batch of gets.
    VisibleRemembered,
    /// Whether anyone needs what a commit overwrites is looked at before SEQ alone.
    NeedNotChecked,
    /// A key that is deleted, and kept for readers, takes a second slot when it comes again.
    SecondSlot,
    /// Each new key of a commit makes room for itself when its turn comes.
    RoomForEachAlone,
    /// An update's commit judges what it has read by what is stored, expired or not.
    ExpiredNotSeen,
    /// A transaction asks before its read whether its versions had to go, and not after it.
    RevokedNotSeen,
    /// A commit is queued for the journal after SEQ.
    QueuedOutsideSeq,
    /// A cursor is a place in the directory.
    CursorIsPlace,
    /// A page may end between keys of one hash.
    PageEndsBetweenEqual,
    /// The sizes change after SEQ.
    CountedOutsideSeq,
    /// The sizes change by what the reply says: an expired key that is overwritten counts as new.
    CountedByReply,
    /// Who waits for an answer, or for a commit, looks first, and takes the lock to wait afterwards.
    CheckedThenRegistered,
    /// A commit doesn't look inside SEQ whether someone watches by now.
    QueueNotChecked,
    /// Who watches is shown commits before they are on disk.
    WatchedBeforeSync,
    /// What a condition refuses is answered before what it was judged by is on disk.
    RefusedAtOnce,
    /// What a client reads behind a write of its own that was not answered is as other readers see it.
    OwnWritesNotSeen,
    /// The begin of an update is answered before what it reads is on disk.
    BeginAtOnce,
    /// After a sync readers see what was committed meanwhile, too.
    VisibleIsLast,
    /// The sweep removes keys without a word to the journal.
    SweepNotJournalled,
    /// Keys are evicted without a word to the journal.
    EvictionNotJournalled,
    /// Groups don't carry the store's time.
    TimeNotJournalled,
    /// A rollback brings back the old version itself, with its revision.
    RollbackReinstalls,
    /// The past of a key is read without its bucket's lock.
    PastUnlocked,
    /// A snapshot leaves older versions out.
    SnapshotWithoutPast,
    /// A snapshot gets its name before its last commits are on disk.
    SnapshotNotSynced,
    /// A rule is applied to what the key held before its home was locked.
    RuleBeforeLock,
    /// A result that takes more room than was made for it is committed all the same.
    RoomByEstimate,
    /// A transaction's checks are judged before the homes of its keys are locked.
    ChecksBeforeLock,
}

#[cfg(any(kvd_loom, kvd_shuttle, feature = "planted"))]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a mistake into everything this thread of the operating system runs. The checkers run all threads of a model on one.
#[cfg(any(kvd_loom, kvd_shuttle, feature = "planted"))]
pub fn plant(bug: Option<Bug>) {
    PLANTED.with(|planted| planted.set(bug));
}

/// Whether `bug` is planted.
#[inline(always)]
pub(crate) fn is(bug: Bug) -> bool {
    #[cfg(any(kvd_loom, kvd_shuttle))]
    return PLANTED.with(|planted| planted.get() == Some(bug));
    #[cfg(not(any(kvd_loom, kvd_shuttle)))]
    {
        let _ = bug;
        false
    }
}

/// Which of these is planted.
#[inline(always)]
pub(crate) fn one_of<const N: usize>(bugs: [Bug; N]) -> Option<Bug> {
    bugs.into_iter().find(|bug| is(*bug))
}

/// The same where the disk is far slower than asking, and in tests on simulated disks too.
pub(crate) fn is_at_disk(bug: Bug) -> bool {
    #[cfg(any(kvd_loom, kvd_shuttle, feature = "planted"))]
    return PLANTED.with(|planted| planted.get() == Some(bug));
    #[cfg(not(any(kvd_loom, kvd_shuttle, feature = "planted")))]
    {
        let _ = bug;
        false
    }
}

/// The ordering of a store that publishes.
#[inline(always)]
pub(crate) fn publish() -> Ordering {
    // Release, but where the mistake is planted; each use names its partner.
    if is(Bug::RelaxedPublish) { Ordering::Relaxed } else { Ordering::Release }
}
