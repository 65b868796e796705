//! Mistakes that the tests must find: each is planted by name in a build with the feature `planted`, and a test shows
//! that it is caught. In every other build there are none, and the code that asks compiles to nothing.

/// A mistake from the protocol's list, or a neighbour of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "planted"), expect(unreachable_pub, reason = "exported for tests alone"))]
pub enum Bug {
    /// What was appended is called durable before the sync.
    DurableBeforeSync,
    /// Batches are taken in any order.
    AnyOrder,
    /// A bad record followed by a valid one is always damage.
    NaiveTail,
    /// The journal is cut at the first bad record, whatever `synced` says.
    CutAnyway,
    /// A new segment begins before the old one is synced.
    SegmentTooEarly,
    /// Revisions go on where they were after an unclean stop.
    NoJump,
    /// What was not known to be durable stays in the old segment.
    TailStays,
    /// A start relies on names that it has only seen.
    NamesNotSynced,
    /// A snapshot is finished before its last batches are durable.
    SnapshotTooEarly,
    /// A snapshot's name is not made durable before others are removed.
    SnapshotNameNotSynced,
    /// A snapshot has no tail.
    NoTail,
    /// Only the newest snapshot is kept.
    PurgeToNewest,
    /// Room is granted without having it.
    UnreservedRoom,
    /// A failed sync is tried again.
    SyncRetried,
}

#[cfg(feature = "planted")]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a mistake into everything that this thread runs.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.with(|planted| planted.set(bug));
}

/// Whether `bug` is planted.
#[inline(always)]
pub(crate) fn is(bug: Bug) -> bool {
    #[cfg(feature = "planted")]
    return PLANTED.with(|planted| planted.get() == Some(bug));
    #[cfg(not(feature = "planted"))]
    {
        let _ = bug;
        false
    }
}
