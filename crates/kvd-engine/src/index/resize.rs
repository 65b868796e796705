//! Growing and shrinking, one segment at a time: it is copied into one with more or fewer buckets, into two, or together with
//! its neighbour into one. Owns when that happens and the order of its steps; knows nothing of what is in the records.
//!
//! | step | why in this order |
//! |---|---|
//! | lock all buckets of the old segments, by address | no commit is under way in them; readers go on |
//! | copy every word, nodes too | whoever goes on from the old segment finds everything |
//! | lock the directory | one resize at a time changes it |
//! | say where it went, mark every bucket as moved | a reader that meets the mark knows where to go on |
//! | change the directory | later readers come here directly |
//! | unlock, retire | readers still in the old segment saw it as it was when they came |
//!
//! The growth is by a quarter or less, not by double: the index stays 58 to 71% full, and each step copies at most 63 buckets.

use std::ops::Range;

use super::bucket::{self, Locked};
use super::record::Record;
use super::segment::SegmentWord;
use super::table::{Growth, Shape, Table};
use super::version;
use super::word::Word;
use crate::planted;
use crate::reclaim::{Guard, Trash};
use crate::sync::{AtomicU64, MutexGuard, Ordering, lock};

/// A segment grows when it has more keys than this for each of its buckets: of seven slots five are taken then, and one
/// bucket in eight has more than seven keys.
const KEYS_PER_BUCKET_MAX: u64 = if cfg!(kvd_loom) { 1 } else { 5 };

/// So many keys at most a bucket has after that, in hundredths.
const KEYS_PER_BUCKET_GROWN_CENTI: u64 = if cfg!(kvd_loom) { 70 } else { 440 };

/// The same while a store is loaded: a third of the copies is worth a sixth more of memory for the index.
const KEYS_PER_BUCKET_LOADING_CENTI: u64 = if cfg!(kvd_loom) { 70 } else { 330 };

/// Bytes of the index that a key takes otherwise.
pub(crate) const KEY_BYTES: u64 = 64 * 100 / KEYS_PER_BUCKET_GROWN_CENTI;

/// A segment shrinks when it has fewer keys than this for each bucket.
const KEYS_PER_BUCKET_MIN: u64 = 2;

/// The directory is not doubled when it has more entries for each segment than this: few hashes agree in so many bits, unless
/// they were chosen or the others are gone.
const ENTRIES_PER_SEGMENT_MAX: u64 = 64;

/// No segment is split that needs fewer buckets than this, or than the most that the shape allows.
const BUCKETS_OF_SMALLEST_SPLIT: usize = 39;

/// Keys of one bucket from which on they are taken for chosen.
const FLOODED_KEYS: usize = 48;

/// Keys of one bucket that no shrinking brings about: what is left after deletions in order of hash lies close together.
const CROWDED_KEYS: usize = 21;

/// Keys below which a segment of so many buckets is to shrink, and above which it is to grow.
pub(super) fn bounds(buckets: usize, depth: u32) -> Range<u64> {
    let is_least = buckets == 1 && depth == 0;
    let fewest = if is_least { 0 } else { buckets as u64 * KEYS_PER_BUCKET_MIN };
    fewest..buckets as u64 * KEYS_PER_BUCKET_MAX
}

fn has_too_few(segment: SegmentWord, keys: u64, guard: &Guard<'_>) -> bool {
    keys < segment.header(guard).shrink_below.load(Ordering::Relaxed) // a hint
}

/// Buckets for so many keys. With its header a segment has 4 to 7 times a power of 2 lines: allocators round other sizes up to
/// these, and can use the memory of one segment for the next.
fn buckets_for(keys: u64, keys_per_bucket_centi: u64) -> usize {
    let lines = (keys * 100).div_ceil(keys_per_bucket_centi).max(1) as usize + 1;
    lines.next_multiple_of((lines.next_power_of_two() / 8).max(1)) - 1
}

/// Bits of a directory for so many keys, and buckets of each of its segments: those that will have the most do not split soon.
pub(super) fn sized_for(keys: u64, shape: Shape) -> (u32, usize) {
    let buckets_max = shape.buckets_max.min(BUCKETS_OF_SMALLEST_SPLIT);
    let most = (buckets_max as u64 * KEYS_PER_BUCKET_GROWN_CENTI / 100).max(1);
    let mut bits = 0;
    while keys >> bits > most {
        bits += 1;
    }
    // As full as segments are on the average, not as just after they have grown: the index is to be no larger than before.
    let each = (keys >> bits) * (KEYS_PER_BUCKET_GROWN_CENTI + KEYS_PER_BUCKET_MAX * 100) / 2;
    let each = each.div_ceil(KEYS_PER_BUCKET_MAX * 100);
    (bits, buckets_for(each, KEYS_PER_BUCKET_GROWN_CENTI).min(shape.buckets_max))
}

/// What one step of resizing came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Another may help.
    Again,
    /// Nothing is left to do.
    Done,
    /// More keys have one bucket than chance would give.
    Flooded,
}

/// Whether a segment that has just grown, and has room for its keys, has a bucket with far too many: some five are expected; that
/// chance puts more than 48 there has a probability below 10^-30.
fn is_flooded(segment: SegmentWord, guard: &Guard<'_>) -> bool {
    let header = segment.header(guard);
    // Relaxed, both: its locks are not held any more, but a few keys more or fewer make no difference.
    let has_room = header.keys.load(Ordering::Relaxed) <= header.grow_above.load(Ordering::Relaxed);
    has_room && most_keys(segment, guard) > FLOODED_KEYS
}

/// Keys of the fullest bucket.
fn most_keys(segment: SegmentWord, guard: &Guard<'_>) -> usize {
    let keys = |index: usize| {
        let mut keys = 0;
        segment.bucket_at(index, guard).for_each_word(guard, |_| keys += 1);
        keys
    };
    (0..segment.buckets()).map(keys).max().unwrap_or(0)
}

/// A slot's word and the hash of its key.
type Placed = (u64, Word);

impl Table {
    /// Whether a segment has more or fewer keys than it should.
    #[inline]
    pub(super) fn is_resize_due(&self, segment: SegmentWord, guard: &Guard<'_>) -> bool {
        let header = segment.header(guard);
        // Relaxed, both: hints; the count is exact under the locks.
        let keys = header.keys.load(Ordering::Relaxed);
        keys > header.grow_above.load(Ordering::Relaxed) || has_too_few(segment, keys, guard)
    }

    /// Resizes the segment of `hash` if it has more or fewer keys than it should: one step, after which more may be due.
    pub(super) fn resize(
        &self,
        hash: u64,
        hash_of: &impl Fn(Record<'_>) -> u64,
        guard: &Guard<'_>,
        trash: &mut Trash,
    ) -> Step {
        let Some((segment, _)) = self.place(hash, guard) else { return Step::Done };
        if !self.is_resize_due(segment, guard) {
            return Step::Done;
        }
        let keys = segment.header(guard).keys.load(Ordering::Relaxed); // a hint, as above
        let is_growing = !has_too_few(segment, keys, guard);
        let sibling = self.sibling_to_merge(segment, guard);
        if sibling.is_none() && !is_growing && self.buckets_for(keys) >= segment.buckets() {
            return Step::Done;
        }
        let mut old = vec![segment];
        old.extend(sibling);
        let Some(locks) = lock_segments(&old, guard) else { return Step::Done };
        let new = self.copy(&old, hash_of, guard);
        let header = segment.header(guard);
        let keys = header.keys.load(Ordering::Relaxed); // exact under the locks
        if !is_growing && new.iter().any(|segment| most_keys(*segment, guard) > CROWDED_KEYS) {
            new.into_iter().for_each(|segment| self.discard(segment, guard, trash));
            header.shrink_below.store(keys / 2, Ordering::Relaxed); // a hint, as above
            return Step::Done;
        }
        let mut growth = lock(&self.growth);
        if new.iter().any(|segment| !self.has_room_for(segment.depth(), &mut growth, guard, trash)) {
            // The directory would be long for a few: the keys chain, and it is tried again with a quarter more.
            drop(growth);
            new.into_iter().for_each(|segment| self.discard(segment, guard, trash));
            header.grow_above.store(keys + keys / 4 + 1, Ordering::Relaxed); // a hint, as above
            return if most_keys(segment, guard) > FLOODED_KEYS { Step::Flooded } else { Step::Done };
        }
        self.publish(&old, &new, &mut growth, &locks, guard, trash);
        self.maybe_halve(&mut growth, guard, trash);
        if is_growing && new.iter().any(|segment| is_flooded(*segment, guard)) { Step::Flooded } else { Step::Again }
    }

    fn buckets_for(&self, keys: u64) -> usize {
        let is_loading = self.is_loading.load(Ordering::Relaxed); // only how much room is left depends on it
        buckets_for(keys, if is_loading { KEYS_PER_BUCKET_LOADING_CENTI } else { KEYS_PER_BUCKET_GROWN_CENTI })
    }

    /// The store is loaded: segments that were made for keys to come shrink from now on when they have too few.
    pub(super) fn end_loading(&self, guard: &Guard<'_>) {
        self.is_loading.store(false, Ordering::Relaxed); // as in `buckets_for`
        let (entries, bits) = self.entries(guard);
        let mut at = 0;
        while at < entries.len() {
            let segment = SegmentWord(entries[at].load(Ordering::Acquire)); // pairs with the store in `publish`
            let fewest = bounds(segment.buckets(), segment.depth()).start;
            segment.header(guard).shrink_below.store(fewest, Ordering::Relaxed); // a hint, as above
            at += 1 << (bits - segment.depth());
        }
    }

    /// The other half of what was one segment once, if together they fit well into one.
    fn sibling_to_merge(&self, segment: SegmentWord, guard: &Guard<'_>) -> Option<SegmentWord> {
        let keys = |segment: SegmentWord| segment.header(guard).keys.load(Ordering::Relaxed); // a hint
        let depth = segment.depth();
        if depth == 0 || !has_too_few(segment, keys(segment), guard) {
            return None;
        }
        let sibling = self.segment(segment.header(guard).prefix ^ bit(depth - 1), guard);
        let fits = self.buckets_for(keys(segment) + keys(sibling)) <= self.shape.buckets_max.div_ceil(2);
        (sibling.depth() == depth && fits).then_some(sibling)
    }

    /// Buckets from which on a segment is split. Segments differ in that by chance: if all grew in step, they would leave the
    /// allocator the memory of one size all at once, and ask for another.
    fn buckets_max(&self, prefix: u64, depth: u32) -> usize {
        const SIZES: [usize; 4] = [BUCKETS_OF_SMALLEST_SPLIT, 47, 55, 63];
        let draw = (prefix | u64::from(depth)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 62;
        SIZES[draw as usize].min(self.shape.buckets_max)
    }

    /// A new segment with these keys.
    fn fill(&self, prefix: u64, depth: u32, placed: &[Placed], guard: &Guard<'_>) -> SegmentWord {
        let buckets = self.buckets_for(placed.len() as u64).min(self.shape.buckets_max);
        let segment = SegmentWord::new(prefix, depth, buckets, bounds(buckets, depth));
        let mut bytes = segment.bytes();
        for (hash, word) in placed {
            bytes += segment.bucket_at(segment.index_of(*hash), guard).fill(*word, guard);
        }
        // Relaxed, both: published with the segment; a count.
        segment.header(guard).keys.store(placed.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        segment
    }

    /// What these segments hold, in one or two new ones. All their buckets are locked.
    fn copy(&self, old: &[SegmentWord], hash_of: &impl Fn(Record<'_>) -> u64, guard: &Guard<'_>) -> Vec<SegmentWord> {
        let mut placed = Vec::new();
        for segment in old {
            for index in 0..segment.buckets() {
                segment.bucket_at(index, guard).for_each_word(guard, |word| placed.push((0, word)));
            }
        }
        hash_all(&mut placed, hash_of, guard);
        let (depth, prefix) = (old[0].depth(), old[0].header(guard).prefix);
        if old.len() == 2 {
            vec![self.fill(prefix & !bit(depth - 1), depth - 1, &placed, guard)]
        } else if self.buckets_for(placed.len() as u64) <= self.buckets_max(prefix, depth) {
            vec![self.fill(prefix, depth, &placed, guard)]
        } else {
            let is_upper = |(hash, _): &&Placed| hash & bit(depth) != 0;
            let (upper, lower): (Vec<Placed>, Vec<Placed>) = placed.iter().partition(is_upper);
            vec![self.fill(prefix, depth + 1, &lower, guard), self.fill(prefix | bit(depth), depth + 1, &upper, guard)]
        }
    }

    /// Whether the directory tells segments of this depth apart. It is doubled for that, unless it is long for a few already.
    fn has_room_for(
        &self,
        depth: u32,
        growth: &mut MutexGuard<'_, Growth>,
        guard: &Guard<'_>,
        trash: &mut Trash,
    ) -> bool {
        let (entries, bits) = self.entries(guard);
        if depth <= bits {
            return true;
        }
        if entries.len() as u64 * 2 > growth.segments * ENTRIES_PER_SEGMENT_MAX {
            return false;
        }
        // In one go, since it may be megabytes and others may wait for it.
        let mut doubled = Vec::with_capacity(2 * entries.len());
        for entry in entries {
            let segment = entry.load(Ordering::Relaxed); // the directory only changes under the lock that is held
            doubled.extend([AtomicU64::new(segment), AtomicU64::new(segment)]);
        }
        self.bytes.fetch_add(8 * entries.len() as u64, Ordering::Relaxed); // a count
        trash.retire(self.replace_directory(doubled));
        growth.deepest = 0;
        true
    }

    /// Readers and writers go to `new` from here on.
    fn publish(
        &self,
        old: &[SegmentWord],
        new: &[SegmentWord],
        growth: &mut MutexGuard<'_, Growth>,
        locks: &[Locked<'_>],
        guard: &Guard<'_>,
        trash: &mut Trash,
    ) {
        let earliest = |segment: &SegmentWord| segment.header(guard).earliest_expiry.load(Ordering::Relaxed); // a bound
        let earliest = old.iter().map(earliest).min().unwrap_or(u64::MAX);
        for segment in new {
            segment.header(guard).earliest_expiry.store(earliest, Ordering::Relaxed); // published with the segment
        }
        for segment in old {
            segment.set_forward([new[0], *new.last().expect("at least one")], guard);
        }
        locks.iter().for_each(Locked::set_moved);
        let (entries, bits) = self.entries(guard);
        for segment in new {
            let first = (segment.header(guard).prefix >> 1 >> (63 - bits)) as usize;
            for entry in &entries[first..first + (1 << (bits - segment.depth()))] {
                entry.store(segment.0, planted::publish()); // Release: pairs with the load in `Table::segment`
            }
        }
        let deepest =
            |segments: &[SegmentWord]| segments.iter().filter(|segment| segment.depth() == bits).count() as u64;
        growth.segments = growth.segments + new.len() as u64 - old.len() as u64;
        growth.deepest = growth.deepest + deepest(new) - deepest(old);
        for segment in old {
            self.discard(*segment, guard, trash);
        }
    }

    /// Retires a segment that is not in use any more, or never was: its memory, not that of its keys.
    fn discard(&self, segment: SegmentWord, guard: &Guard<'_>, trash: &mut Trash) {
        let mut bytes = segment.bytes();
        for index in 0..segment.buckets() {
            let mut chained = segment.bucket_at(index, guard).chained(guard);
            while let Some(bucket) = chained {
                bytes += size_of_val(bucket) as u64;
                chained = bucket.chained(guard);
            }
        }
        self.bytes.fetch_sub(bytes, Ordering::Relaxed); // a count
        trash.retire(segment.into_garbage(bytes));
    }

    /// Gives back half of the directory while no segment needs all of its bits.
    fn maybe_halve(&self, growth: &mut MutexGuard<'_, Growth>, guard: &Guard<'_>, trash: &mut Trash) {
        while growth.deepest == 0 {
            let (entries, bits) = self.entries(guard);
            if bits == 0 {
                return;
            }
            // Relaxed, all: the directory only changes under the lock that is held; a count.
            let every_other = entries.iter().step_by(2).map(|entry| entry.load(Ordering::Relaxed));
            let halved: Vec<u64> = every_other.collect();
            self.bytes.fetch_sub(4 * entries.len() as u64, Ordering::Relaxed); // a count
            let mut at = 0;
            while at < halved.len() {
                let depth = SegmentWord(halved[at]).depth();
                growth.deepest += u64::from(depth == bits - 1);
                at += 1 << (bits - 1 - depth);
            }
            trash.retire(self.replace_directory(halved.into_iter().map(AtomicU64::new).collect()));
        }
    }
}

/// The bit of a hash that tells segments of depth `depth + 1` apart.
fn bit(depth: u32) -> u64 {
    1 << (63 - depth)
}

/// All buckets of these segments, locked; none if one has moved.
fn lock_segments<'g>(segments: &[SegmentWord], guard: &'g Guard<'_>) -> Option<Vec<Locked<'g>>> {
    let buckets = |segment: &SegmentWord| {
        let segment = *segment;
        (0..segment.buckets()).map(move |index| segment.bucket_at(index, guard))
    };
    bucket::lock_all(segments.iter().flat_map(buckets).collect())
}

/// Fills in the hashes. The records are asked for ahead, or each would cost a miss of its own.
fn hash_all(placed: &mut [Placed], hash_of: &impl Fn(Record<'_>) -> u64, guard: &Guard<'_>) {
    for (_, word) in placed.iter() {
        if word.is_record() {
            word.prefetch();
        }
    }
    for (hash, word) in placed {
        *hash = hash_of(version::any_record(*word, guard).expect("what is not empty has a record"));
    }
}
