//! A run of buckets for all keys whose hashes begin with the same bits: one allocation, a header line and 1 to 63 bucket
//! lines. Owns that allocation, which bucket a hash has in it, and where its keys went when it was replaced; knows nothing of
//! the directory.
//!
//! ```text
//!  hash  = [ depth bits: the segment ][ the rest, as a fraction: the bucket ]
//!  word  = [ depth (6) | buckets - 1 (6) | - (4) ][ address (48) ]
//! ```
//!
//! Buckets are in order of hash, so a walk over all keys has the next hash as its cursor.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::Range;
use std::ptr::NonNull;

use super::bucket::Bucket;
use super::version;
use super::word::Word;
use crate::reclaim::{Garbage, Guard};
use crate::sync::{AtomicU64, Ordering};

/// Most buckets of a segment: it is copied as a whole when it grows. With the header that makes 4 KiB.
pub(super) const BUCKETS_MAX: usize = 63;

const DEPTH_SHIFT: u32 = 58;
const BUCKETS_SHIFT: u32 = 52;
const ADDRESS_MASK: u64 = (1 << 48) - 1;

/// Where a segment is and what shape it has: all that a reader needs, in one word of the directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentWord(pub(super) u64);

/// What writers and resizers know of a segment.
#[repr(C, align(64))]
pub(super) struct Header {
    /// The bits that all hashes in it begin with, upper bits of the word, the rest 0.
    pub(super) prefix: u64,
    /// The alignment that its memory was asked for with.
    align: usize,
    /// Keys in it, pending ones too. Counted by writers under the bucket's lock.
    pub(super) keys: AtomicU64,
    /// It is to be rebuilt when it has more keys than this. Raised when a split would not help.
    pub(super) grow_above: AtomicU64,
    /// It is to be rebuilt when it has fewer keys than this. Lowered when that would crowd what is left.
    pub(super) shrink_below: AtomicU64,
    /// No key in it expires before this, in milliseconds. Lowered by writers, recomputed by the sweep.
    pub(super) earliest_expiry: AtomicU64,
    /// The segments that have its keys now, by the hash's next bit; 0 while it is in use. Stored once, before its buckets are
    /// marked as moved. It stays 0 when they move to another table.
    forward: [AtomicU64; 2],
}

impl SegmentWord {
    /// An empty segment. It is to be rebuilt when it has fewer keys than `bounds` begin with, or more than they end with.
    pub(super) fn new(prefix: u64, depth: u32, buckets: usize, bounds: Range<u64>) -> SegmentWord {
        assert!((1..=BUCKETS_MAX).contains(&buckets) && depth < 48, "a segment of {buckets} buckets at depth {depth}");
        let (pointer, align) = allocate(buckets);
        let header = Header {
            prefix,
            align,
            keys: AtomicU64::new(0),
            grow_above: AtomicU64::new(bounds.end),
            shrink_below: AtomicU64::new(bounds.start),
            earliest_expiry: AtomicU64::new(u64::MAX),
            forward: [AtomicU64::new(0), AtomicU64::new(0)],
        };
        // SAFETY: the header lies at the beginning of the allocation.
        unsafe { pointer.cast::<Header>().write(header) };
        let word = SegmentWord(
            u64::from(depth) << DEPTH_SHIFT | (buckets as u64 - 1) << BUCKETS_SHIFT | expose(pointer.as_ptr()),
        );
        for index in 0..buckets {
            // SAFETY: the buckets lie behind the header; this one is inside the allocation.
            unsafe { word.bucket_pointer(index).write(Bucket::new()) };
        }
        word
    }

    pub(super) fn depth(self) -> u32 {
        (self.0 >> DEPTH_SHIFT) as u32
    }

    pub(super) fn buckets(self) -> usize {
        (self.0 >> BUCKETS_SHIFT & 0x3f) as usize + 1
    }

    /// Bytes of the allocation, without what is chained to buckets.
    pub(super) fn bytes(self) -> u64 {
        bytes(self.buckets()) as u64
    }

    fn pointer(self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut((self.0 & ADDRESS_MASK) as usize)
    }

    fn bucket_pointer(self, index: usize) -> *mut Bucket {
        // A header is as large as a bucket line, or a whole number of them: see `bytes`.
        self.pointer().wrapping_add(size_of::<Header>()).cast::<Bucket>().wrapping_add(index)
    }

    pub(super) fn header<'g>(self, _guard: &'g Guard<'_>) -> &'g Header {
        // SAFETY: a segment is retired, not freed, when it leaves the directory; the guard keeps it allocated.
        unsafe { &*self.pointer().cast() }
    }

    #[inline]
    pub(super) fn bucket_at<'g>(self, index: usize, _guard: &'g Guard<'_>) -> &'g Bucket {
        debug_assert!(index < self.buckets(), "a bucket of this segment");
        // SAFETY: as in `header`; `index` is below the number of buckets, which `new` has filled in.
        unsafe { &*self.bucket_pointer(index) }
    }

    /// The bucket of a hash, counted from 0: the fraction that follows the segment's bits.
    #[inline]
    pub(super) fn index_of(self, hash: u64) -> usize {
        let fraction = hash << self.depth();
        ((u128::from(fraction) * self.buckets() as u128) >> 64) as usize
    }

    /// The lowest hash above those of bucket `index`; none behind the last bucket of all.
    pub(super) fn next_hash(self, index: usize, guard: &Guard<'_>) -> Option<u64> {
        let prefix = self.header(guard).prefix;
        if index + 1 < self.buckets() {
            let fraction = ((index as u128 + 1) << 64).div_ceil(self.buckets() as u128) as u64;
            let step = 1u64 << self.depth();
            return Some(prefix + fraction.div_ceil(step));
        }
        match self.depth() {
            0 => None,
            depth => prefix.checked_add(1 << (u64::BITS - depth)),
        }
    }

    /// Says where the keys are from now on, by the bit of the hash that follows this segment's.
    pub(super) fn set_forward(self, segments: [SegmentWord; 2], guard: &Guard<'_>) {
        for (forward, segment) in self.header(guard).forward.iter().zip(segments) {
            forward.store(segment.0, Ordering::Release); // pairs with the load in `forward`
        }
    }

    /// The segment that has this hash, once this one was replaced; none if its keys moved to another table.
    pub(super) fn forward(self, hash: u64, guard: &Guard<'_>) -> Option<SegmentWord> {
        let bit = (hash << self.depth() >> 63) as usize;
        // Acquire: pairs with the store in `set_forward`, which came before the bucket was marked as moved.
        let word = self.header(guard).forward[bit].load(Ordering::Acquire);
        (word != 0).then_some(SegmentWord(word))
    }

    /// The segment as garbage, for who has unlinked it: its memory, not that of the keys.
    pub(super) fn into_garbage(self, bytes: u64) -> Garbage {
        let boxed = Box::into_raw(Box::new(self)).cast();
        // SAFETY: the caller has unlinked it; it is freed once.
        unsafe { Garbage::new(boxed, free, bytes) }
    }

    /// Frees the segment, and every key that has not moved elsewhere. Returns its bytes, roughly.
    ///
    /// # Safety
    /// Nobody can reach it; `guard` may be any guard.
    pub(super) unsafe fn free_all(self, guard: &Guard<'_>) -> u64 {
        let mut bytes = self.bytes();
        for index in 0..self.buckets() {
            let bucket = self.bucket_at(index, guard);
            if !bucket.is_moved() {
                bucket.for_each_word(guard, |word: Word| {
                    bytes += version::newest_bytes(word, guard);
                    // SAFETY: the caller's word.
                    unsafe { version::free_chain(word, guard) };
                });
            }
        }
        // SAFETY: the caller's word.
        unsafe { free_memory(self, guard) };
        bytes
    }
}

fn expose(pointer: *mut u8) -> u64 {
    let address = pointer.expose_provenance() as u64;
    assert_eq!(address & !ADDRESS_MASK, 0, "an address is below 2^48");
    address
}

/// Header and buckets, one after the other: both are whole lines.
fn bytes(buckets: usize) -> usize {
    const { assert!(size_of::<Header>().is_multiple_of(align_of::<Bucket>())) };
    size_of::<Header>() + buckets * size_of::<Bucket>()
}

fn layout(buckets: usize, align: usize) -> Layout {
    Layout::from_size_align(bytes(buckets), align).expect("63 buckets are small")
}

/// Memory for a segment, on whole lines, and the alignment it was asked for with. Allocators align blocks of these sizes to lines
/// by themselves, and take a larger block when they are asked to: so they are not asked at first.
fn allocate(buckets: usize) -> (NonNull<u8>, usize) {
    let try_with = |align: usize| {
        let layout = layout(buckets, align);
        // SAFETY: the size is not 0.
        NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
    };
    let pointer = try_with(align_of::<u64>());
    if pointer.addr().get().is_multiple_of(align_of::<Header>()) {
        return (pointer, align_of::<u64>());
    }
    // SAFETY: it was just allocated with this layout.
    unsafe { dealloc(pointer.as_ptr(), layout(buckets, align_of::<u64>())) };
    (try_with(align_of::<Header>()), align_of::<Header>())
}

/// # Safety
/// `pointer` is a boxed word of a segment that nobody can reach any more, and whose keys are elsewhere.
unsafe fn free(pointer: *mut ()) -> Option<u64> {
    // SAFETY: boxed by `into_garbage`.
    let segment = *unsafe { Box::from_raw(pointer.cast::<SegmentWord>()) };
    Guard::unprotected(|guard| {
        // SAFETY: the caller's word.
        unsafe { free_memory(segment, guard) }
    });
    None
}

/// # Safety
/// Nobody can reach the segment.
unsafe fn free_memory(segment: SegmentWord, guard: &Guard<'_>) {
    for index in 0..segment.buckets() {
        let mut chained = segment.bucket_at(index, guard).link(guard);
        while let Some(bucket) = chained {
            // SAFETY: links are boxes, owned by the bucket they hang from; nobody can reach it.
            let bucket = unsafe { Box::from_raw(bucket) };
            chained = bucket.link(guard);
        }
        // SAFETY: initialised by `new`; nobody can reach it.
        unsafe { segment.bucket_pointer(index).drop_in_place() };
    }
    // SAFETY: allocated by `new` with this layout.
    unsafe {
        let align = (*segment.pointer().cast::<Header>()).align;
        segment.pointer().cast::<Header>().drop_in_place();
        dealloc(segment.pointer(), layout(segment.buckets(), align));
    }
}
