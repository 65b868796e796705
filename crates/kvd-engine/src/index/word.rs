//! What a slot holds, in 64 bits: nothing, or a pointer to a record, a node, a link to more slots, or the mark of a deletion,
//! beside 16 bits of the key's hash. Owns packing and unpacking; knows nothing of when a word may be read or written.
//!
//! ```text
//!   63          48 47                         3 2    0
//!  [ tag          | address / 8                | kind ]
//!  [ tag          | time, in ms       | reason | kind ]     of a deletion; the time up to the year 2248
//! ```

use kvd_types::Reason;

use super::bucket::Bucket;
use super::record::Record;
use super::version::Node;
use crate::reclaim::Guard;

/// A slot's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(super) u64);

const KIND_MASK: u64 = 0b111;
const ADDRESS_MASK: u64 = 0x0000_ffff_ffff_fff8;
const TAG_SHIFT: u32 = 48;

const RECORD: u64 = 1;
const NODE: u64 = 2;
const LINK: u64 = 3;
const TOMBSTONE: u64 = 4;
const DROPPED: u64 = 5;

const REASON_SHIFT: u32 = 3;
const REASON_MASK: u64 = 0b11;
const TIME_SHIFT: u32 = 5;
/// The latest time that a deletion can have.
const TIME_MAX_MS: u64 = (1 << (TAG_SHIFT - TIME_SHIFT)) - 1;

/// That a key went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removal {
    /// Why.
    pub(crate) reason: Reason,
    /// When, where that is kept.
    pub(crate) time_ms: Option<u64>,
}

/// A word, unpacked.
#[derive(Clone, Copy)]
pub(super) enum View<'g> {
    /// No key.
    Empty,
    /// A key whose newest version this is, visible to everyone.
    Record(Record<'g>),
    /// A key with several versions, or one that is not visible to everyone yet.
    Node(&'g Node),
    /// More slots of the same bucket.
    Link(&'g Bucket),
    /// As a version: the key is deleted.
    Tombstone(Removal),
    /// As a version: there were some, which are not kept any more.
    Dropped,
}

impl Word {
    pub(crate) const EMPTY: Word = Word(0);

    /// Behind a version: older ones were dropped.
    pub(super) const DROPPED: Word = Word(DROPPED);

    /// The tag of a key with this hash: its lower bits, since the upper ones say where it is.
    pub(super) fn tag_of(hash: u64) -> u16 {
        hash as u16
    }

    fn pack(address: usize, kind: u64, tag: u16) -> Word {
        let address = address as u64;
        assert_eq!(address & !ADDRESS_MASK, 0, "an allocation is aligned to 8 bytes and below 2^48");
        Word(address | kind | u64::from(tag) << TAG_SHIFT)
    }

    pub(super) fn record(record: Record<'_>, tag: u16) -> Word {
        Word::pack(record.address(), RECORD, tag)
    }

    pub(super) fn node(node: *mut Node, tag: u16) -> Word {
        Word::pack(node.expose_provenance(), NODE, tag)
    }

    pub(super) fn link(bucket: *mut Bucket) -> Word {
        Word::pack(bucket.expose_provenance(), LINK, 0)
    }

    pub(super) fn tombstone(removal: Removal, tag: u16) -> Word {
        let reason = match removal.reason {
            Reason::Asked => 0,
            Reason::Expired => 1,
            Reason::Evicted => 2,
        };
        // No deletion is of the begin of 1970: 0 stands for none.
        let time = removal.time_ms.map_or(0, |time| time.min(TIME_MAX_MS));
        Word(u64::from(tag) << TAG_SHIFT | time << TIME_SHIFT | reason << REASON_SHIFT | TOMBSTONE)
    }

    /// What a tombstone says.
    fn removal(self) -> Removal {
        let reason = match self.0 >> REASON_SHIFT & REASON_MASK {
            0 => Reason::Asked,
            1 => Reason::Expired,
            _ => Reason::Evicted,
        };
        let time = self.0 >> TIME_SHIFT & TIME_MAX_MS;
        Removal { reason, time_ms: (time > 0).then_some(time) }
    }

    pub(super) fn tag(self) -> u16 {
        (self.0 >> TAG_SHIFT) as u16
    }

    /// The same for a key with another hash.
    pub(super) fn with_tag(self, tag: u16) -> Word {
        Word(self.0 & !(u64::from(u16::MAX) << TAG_SHIFT) | u64::from(tag) << TAG_SHIFT)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether no version follows.
    pub(super) fn is_end(self) -> bool {
        self == Word::EMPTY || self == Word::DROPPED
    }

    pub(super) fn is_node(self) -> bool {
        self.0 & KIND_MASK == NODE
    }

    pub(super) fn is_record(self) -> bool {
        self.0 & KIND_MASK == RECORD
    }

    pub(super) fn address(self) -> usize {
        (self.0 & ADDRESS_MASK) as usize
    }

    /// Asks the processor to fetch what the word leads to.
    #[inline]
    pub(super) fn prefetch(self) {
        super::prefetch(std::ptr::without_provenance(self.address()));
        self.prefetch_rest();
    }

    /// Asks for the second line of that: few records with their values lie in one, and how long one is stands in the first.
    #[inline]
    pub(super) fn prefetch_rest(self) {
        super::prefetch(std::ptr::without_provenance(self.address().wrapping_add(64)));
    }

    /// The record, if the word is of a key with this tag that has one version alone. As `view`.
    #[inline]
    pub(super) fn plain_record<'g>(self, tag: u16, _guard: &'g Guard<'_>) -> Option<Record<'g>> {
        let is_plain = self.0 & !ADDRESS_MASK == u64::from(tag) << TAG_SHIFT | RECORD;
        is_plain.then(|| Record::from_address(self.address()))
    }

    /// Looks behind the word.
    ///
    /// The word must have been loaded from the index, with Acquire, while `_guard` was held (or under the lock of its
    /// bucket): then what it points to was initialised before, and stays allocated as long as the guard.
    #[inline]
    pub(super) fn view<'g>(self, _guard: &'g Guard<'_>) -> View<'g> {
        match self.0 & KIND_MASK {
            RECORD => View::Record(Record::from_address(self.address())),
            // SAFETY: only `Word::node` packs this kind, from a live `Node` that is retired, not freed, when it is unlinked;
            // the guard keeps it allocated, and all that changes in it is atomic.
            NODE => View::Node(unsafe { &*std::ptr::with_exposed_provenance(self.address()) }),
            // SAFETY: only `Word::link` packs this kind, from a live `Bucket`; otherwise as above.
            LINK => View::Link(unsafe { &*std::ptr::with_exposed_provenance(self.address()) }),
            TOMBSTONE => View::Tombstone(self.removal()),
            DROPPED => View::Dropped,
            _ => View::Empty,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_says_why_and_when() {
        for reason in [Reason::Asked, Reason::Expired, Reason::Evicted] {
            for time_ms in [None, Some(1), Some(1_700_000_000_000), Some(TIME_MAX_MS)] {
                let removal = Removal { reason, time_ms };
                let word = Word::tombstone(removal, 0xffff);
                assert_eq!((word.removal(), word.tag()), (removal, 0xffff));
                let found =
                    Guard::unprotected(|guard| matches!(word.view(guard), View::Tombstone(seen) if seen == removal));
                assert!(found && !word.is_end());
            }
        }
        let late = Word::tombstone(Removal { reason: Reason::Asked, time_ms: Some(u64::MAX) }, 0);
        assert_eq!((late.removal().time_ms, late.tag()), (Some(TIME_MAX_MS), 0));
    }
}
