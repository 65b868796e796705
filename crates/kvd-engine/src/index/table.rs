//! The directory of segments: which one has a hash, now. Owns the directory's memory; growing and shrinking is `resize`'s.
//!
//! ```text
//!  directory of 8            segments
//!  000 001 --------------->  [ depth 2, prefix 00 ]
//!  010 ------------------->  [ depth 3, prefix 010 ]
//!  011 ------------------->  [ depth 3, prefix 011 ]
//!  100 101 110 111 ------->  [ depth 1, prefix 1 ]
//! ```

use super::bucket::{Bucket, Locked};
use super::resize::{bounds, sized_for};
use super::segment::{BUCKETS_MAX, SegmentWord};
use crate::reclaim::{Garbage, Guard};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

/// Segments that are freed in one go: some 2,000 keys, which a thread that serves can bear.
const FREED_SEGMENTS: usize = 8;

const BITS_SHIFT: u32 = 58;
const ADDRESS_MASK: u64 = (1 << 48) - 1;

/// Keys in order of one hash.
pub(crate) struct Table {
    /// Address of the entries and their number's binary logarithm. Stored under `growth`, Release; loaded Acquire.
    directory: AtomicU64,
    /// Held by who changes the directory.
    pub(super) growth: Mutex<Growth>,
    /// Bytes of directory, segments and chained buckets.
    pub(super) bytes: AtomicU64,
    pub(super) shape: Shape,
    /// Many keys are to come and nobody reads yet.
    pub(super) is_loading: AtomicBool,
}

/// How large parts may be; smaller ones make tests meet splits earlier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Most buckets of a segment, 1 to 63.
    pub(crate) buckets_max: usize,
}

/// What is known of the directory under its lock.
pub(super) struct Growth {
    /// Segments there are.
    pub(super) segments: u64,
    /// Of them, those as deep as the directory: when there are none it can be halved.
    pub(super) deepest: u64,
}

impl Table {
    pub(crate) fn new(shape: Shape) -> Table {
        Table::with_capacity(shape, 0)
    }

    /// To load a store: with room for so many keys, in segments that don't shrink for having too few until `end_loading`.
    pub(super) fn to_load(shape: Shape, keys: u64) -> Table {
        Table { is_loading: AtomicBool::new(true), ..Table::with_capacity(shape, keys) }
    }

    fn with_capacity(shape: Shape, keys: u64) -> Table {
        assert!((1..=BUCKETS_MAX).contains(&shape.buckets_max), "a segment has 1 to {BUCKETS_MAX} buckets");
        let (bits, buckets) = sized_for(keys, shape);
        let segments = 1_u64 << bits;
        let most = bounds(buckets, bits).end;
        // In two steps, since a shift by 64 is none.
        let segment = |index: u64| SegmentWord::new(index << (63 - bits) << 1, bits, buckets, 0..most);
        let entries: Vec<AtomicU64> = (0..segments).map(|index| AtomicU64::new(segment(index).0)).collect();
        let first = SegmentWord(entries[0].load(Ordering::Relaxed)); // nobody else knows it yet
        Table {
            bytes: AtomicU64::new(segments * (first.bytes() + 8)),
            directory: AtomicU64::new(publishable(entries)),
            growth: Mutex::new(Growth { segments, deepest: segments }),
            shape,
            is_loading: AtomicBool::new(false),
        }
    }

    /// Bytes of the index itself.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) // a count that stands for nothing but itself
    }

    #[inline]
    fn entry_of(directory: u64, hash: u64) -> usize {
        // In two steps, since a shift by 64 is none.
        (hash >> 1 >> (63 - (directory >> BITS_SHIFT))) as usize
    }

    /// The place of a hash in the directory as it is now.
    pub(super) fn entry(&self, hash: u64) -> usize {
        Table::entry_of(self.directory.load(Ordering::Acquire), hash) // pairs with the store in `replace_directory`
    }

    /// The lowest hash at a place in the directory as it is now.
    pub(super) fn first_hash(&self, entry: usize) -> u64 {
        let bits = self.directory.load(Ordering::Acquire) >> BITS_SHIFT; // pairs with the store in `replace_directory`
        (entry as u64) << (63 - bits) << 1
    }

    /// The directory's entries. Valid as long as `_guard`, or under `growth`.
    pub(super) fn entries<'g>(&self, _guard: &'g Guard<'_>) -> (&'g [AtomicU64], u32) {
        let directory = self.directory.load(Ordering::Acquire); // pairs with the store in `replace_directory`
        let bits = (directory >> BITS_SHIFT) as u32;
        let pointer = std::ptr::with_exposed_provenance((directory & ADDRESS_MASK) as usize);
        // SAFETY: `publishable` leaked a slice of this length; it is retired when it is replaced, and the guard keeps it.
        (unsafe { std::slice::from_raw_parts(pointer, 1 << bits) }, bits)
    }

    /// Publishes other entries. Under `growth`. Returns the old ones, to be retired.
    pub(super) fn replace_directory(&self, entries: Vec<AtomicU64>) -> Garbage {
        let old = self.directory.swap(publishable(entries), Ordering::AcqRel); // pairs with the load in `entries`
        let boxed = Box::into_raw(Box::new(old)).cast();
        // SAFETY: unlinked by the swap; freed once.
        unsafe { Garbage::new(boxed, free_directory, 8 << (old >> BITS_SHIFT)) }
    }

    /// The segment that the directory has for a hash; it may have been replaced since.
    #[inline]
    pub(super) fn segment(&self, hash: u64, _guard: &Guard<'_>) -> SegmentWord {
        let directory = self.directory.load(Ordering::Acquire); // pairs with the store in `replace_directory`
        let pointer: *const AtomicU64 = std::ptr::with_exposed_provenance((directory & ADDRESS_MASK) as usize);
        let index = Table::entry_of(directory, hash);
        // SAFETY: as in `entries`; the index has as many bits as the directory.
        let entry = unsafe { &*pointer.add(index) };
        SegmentWord(entry.load(Ordering::Acquire)) // pairs with the store in `resize`
    }

    /// The bucket that has a hash: by the directory, and on from segments that were replaced. No retry, no wait: each step is
    /// towards newer segments. None if the bucket has moved to another table.
    pub(super) fn place<'g>(&self, hash: u64, guard: &'g Guard<'_>) -> Option<(SegmentWord, &'g Bucket)> {
        let (mut segment, mut bucket) = self.first_place(hash, guard);
        while bucket.is_moved() {
            segment = segment.forward(hash, guard)?;
            bucket = segment.bucket_at(segment.index_of(hash), guard);
        }
        Some((segment, bucket))
    }

    /// The bucket that the directory has for a hash; it may have moved since.
    #[inline]
    pub(super) fn first_place<'g>(&self, hash: u64, guard: &'g Guard<'_>) -> (SegmentWord, &'g Bucket) {
        let segment = self.segment(hash, guard);
        (segment, segment.bucket_at(segment.index_of(hash), guard))
    }

    /// The newest bucket of a hash in this table, whether or not its keys are in another table now.
    pub(super) fn last_place<'g>(&self, hash: u64, guard: &'g Guard<'_>) -> (SegmentWord, &'g Bucket) {
        let mut segment = self.segment(hash, guard);
        while let Some(newer) = segment.forward(hash, guard) {
            segment = newer;
        }
        (segment, segment.bucket_at(segment.index_of(hash), guard))
    }

    /// Locks the bucket of a hash; none if it has moved to another table.
    pub(super) fn lock<'g>(&self, hash: u64, guard: &'g Guard<'_>) -> Option<(SegmentWord, Locked<'g>)> {
        loop {
            let (segment, bucket) = self.place(hash, guard)?;
            let locked = bucket.lock();
            if !bucket.is_moved() {
                return Some((segment, locked));
            }
        }
    }

    /// Asks the processor to fetch the bucket of a hash.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64, guard: &Guard<'_>) {
        super::prefetch(std::ptr::from_ref(self.first_place(hash, guard).1).cast());
    }

    /// Frees some segments, with the keys of buckets that have not moved, from entry `from` of the directory on; at the end the
    /// directory. Returns the entry to go on with, and the bytes of the segments; none when all is gone.
    ///
    /// # Safety
    /// Nobody can reach the table. After none was returned it is not used again.
    pub(super) unsafe fn free_piece(&mut self, from: usize) -> Option<(usize, u64)> {
        let (mut at, mut bytes) = (from, 0);
        let is_end = Guard::unprotected(|guard| {
            let (entries, bits) = self.entries(guard);
            for _ in 0..FREED_SEGMENTS {
                if at == entries.len() {
                    break;
                }
                let segment = SegmentWord(entries[at].load(Ordering::Acquire)); // nobody else is left to store
                at += 1 << (bits - segment.depth());
                // SAFETY: the caller's word. Each is met once: by its first entry.
                bytes += unsafe { segment.free_all(guard) };
            }
            at == from
        });
        if !is_end {
            return Some((at, bytes));
        }
        let directory = Box::into_raw(Box::new(self.directory.load(Ordering::Acquire))).cast(); // as above
        // SAFETY: the caller's word.
        unsafe { free_directory(directory) };
        None
    }
}

/// Moves the entries where readers find them.
fn publishable(entries: Vec<AtomicU64>) -> u64 {
    let bits = entries.len().ilog2();
    assert_eq!(entries.len(), 1 << bits, "a directory's size is a power of 2");
    let address = Box::into_raw(entries.into_boxed_slice()).cast::<AtomicU64>().expose_provenance() as u64;
    assert_eq!(address & !ADDRESS_MASK, 0, "an address is below 2^48");
    address | u64::from(bits) << BITS_SHIFT
}

/// # Safety
/// `pointer` is a boxed directory word that nobody can reach any more.
unsafe fn free_directory(pointer: *mut ()) -> Option<u64> {
    // SAFETY: boxed by `replace_directory`.
    let directory = *unsafe { Box::from_raw(pointer.cast::<u64>()) };
    let entries: *mut AtomicU64 = std::ptr::with_exposed_provenance_mut((directory & ADDRESS_MASK) as usize);
    let entries = std::ptr::slice_from_raw_parts_mut(entries, 1 << (directory >> BITS_SHIFT));
    // SAFETY: leaked by `publishable`.
    drop(unsafe { Box::from_raw(entries) });
    None
}
