//! A table of records in order of their hashes: linear probing that keeps its slots sorted. Owns the placement of records;
//! knows nothing of locks or of what the records mean.
//!
//! # Shape
//!
//! A record's *home* is the slot its hash points to, by the bits below those that chose the shard. It lies there or in
//! the unbroken run of occupied slots that begins there; and read from left to right, the hashes never fall:
//!
//! ```text
//! home        0        1        2        3        4   (overflow)
//! slots    [ 02.. ][ 0f.. ][ 15.. ][ 2a.. ][  --  ][ 61.. ]
//!                     ^ home 0   ^ home 1, moved on by one
//! ```
//!
//! So a search ends at the first higher hash, and a walk meets all records in order of hash: growing and shrinking change
//! the distances, never the order, and a walk that goes on at a hash misses nothing and repeats nothing. The slots past
//! the last home take what the last runs push out; there is no wrapping round.

use super::Record;

/// Records in order of hash.
pub(crate) struct Table {
    slots: Vec<Slot>,
    /// The upper bits of all hashes in this table are the same, for they chose the shard; as many are passed over.
    shard_bits: u32,
    /// Homes are 2 to this power; meaningless while `slots` is empty.
    home_bits: u32,
    len: usize,
}

/// A hash and the record that has it; the hash of an empty slot means nothing.
#[derive(Default)]
struct Slot {
    hash: u64,
    record: Option<Box<Record>>,
}

/// Smallest table that is not empty, as a power of 2.
const HOME_BITS_MIN: u32 = 3;

impl Table {
    /// An empty table, which allocates nothing.
    pub(crate) fn new(shard_bits: u32) -> Table {
        Table { slots: Vec::new(), shard_bits, home_bits: 0, len: 0 }
    }

    /// Records in the table.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the slots themselves.
    pub(crate) fn slot_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// The record with this key.
    pub(crate) fn get(&self, hash: u64, key: &[u8]) -> Option<&Record> {
        self.slots[self.position(hash, key)?].record.as_deref()
    }

    /// Stores a record in place of the one with the same key, which is returned.
    pub(crate) fn insert(&mut self, hash: u64, record: Box<Record>) -> Option<Box<Record>> {
        if let Some(position) = self.position(hash, record.key()) {
            return self.slots[position].record.replace(record);
        }
        self.grow_if_full();
        // Behind all that don't exceed it, so that equal hashes stay together.
        let at = self.first_slot_where(hash, |found| found > hash);
        self.open_gap(at);
        self.slots[at] = Slot { hash, record: Some(record) };
        self.len += 1;
        None
    }

    /// Takes out the record with this key.
    pub(crate) fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Box<Record>> {
        let position = self.position(hash, key)?;
        let removed = self.slots[position].record.take();
        self.close_gap(position);
        self.len -= 1;
        self.shrink_if_sparse();
        removed
    }

    /// All records whose hash is `hash` or higher, in order of hash.
    pub(crate) fn records_from(&self, hash: u64) -> impl Iterator<Item = (u64, &Record)> {
        let begin = if self.slots.is_empty() { 0 } else { self.home(hash) };
        self.slots[begin..]
            .iter()
            .filter_map(|slot| Some((slot.hash, slot.record.as_deref()?)))
            .skip_while(move |(found, _)| *found < hash)
    }

    fn home(&self, hash: u64) -> usize {
        ((hash << self.shard_bits) >> (u64::BITS - self.home_bits)) as usize
    }

    /// From the home of `hash`, the first slot that is empty or whose hash satisfies `stop`; may be one past the last slot.
    fn first_slot_where(&self, hash: u64, stop: impl Fn(u64) -> bool) -> usize {
        let home = self.home(hash);
        let run = self.slots[home..].iter().take_while(|slot| slot.record.is_some() && !stop(slot.hash)).count();
        home + run
    }

    fn position(&self, hash: u64, key: &[u8]) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let first = self.first_slot_where(hash, |found| found >= hash);
        let equal = self.slots[first..].iter().take_while(|slot| slot.record.is_some() && slot.hash == hash);
        let offset =
            equal.map(|slot| &slot.record).position(|record| record.as_ref().is_some_and(|r| r.key() == key))?;
        Some(first + offset)
    }

    /// Makes `at` free by moving what lies there, up to the next free slot, one to the right.
    fn open_gap(&mut self, at: usize) {
        let run = self.slots[at..].iter().take_while(|slot| slot.record.is_some()).count();
        if at + run == self.slots.len() {
            self.slots.push(Slot::default());
        }
        self.slots[at..=at + run].rotate_right(1);
    }

    /// Fills the free slot `at` by moving what follows one to the left, up to the first record that is at home.
    fn close_gap(&mut self, at: usize) {
        let displaced = |(offset, slot): &(usize, &Slot)| slot.record.is_some() && self.home(slot.hash) <= at + offset;
        let run = self.slots[at + 1..].iter().enumerate().take_while(displaced).count();
        self.slots[at..=at + run].rotate_left(1);
    }

    fn grow_if_full(&mut self) {
        if self.slots.is_empty() {
            self.rebuild(HOME_BITS_MIN);
        } else if self.len >= (1 << self.home_bits) / 4 * 3 {
            self.rebuild(self.home_bits + 1);
        }
    }

    fn shrink_if_sparse(&mut self) {
        if self.len == 0 {
            self.slots = Vec::new();
        } else if self.home_bits > HOME_BITS_MIN && self.len < (1 << self.home_bits) / 8 {
            self.rebuild(self.home_bits - 1);
        }
    }

    /// Lays all records out anew over 2^`home_bits` homes. One pass, since the order stays.
    fn rebuild(&mut self, home_bits: u32) {
        let homes = 1usize << home_bits;
        // Room for what the last homes push out, so that it rarely takes a second allocation.
        let mut slots = Vec::with_capacity(homes + homes / 16 + 8);
        let old = std::mem::take(&mut self.slots);
        self.home_bits = home_bits;
        for slot in old.into_iter().filter(|slot| slot.record.is_some()) {
            let at = self.home(slot.hash).max(slots.len());
            slots.resize_with(at, Slot::default);
            slots.push(slot);
        }
        if slots.len() < homes {
            slots.resize_with(homes, Slot::default);
        }
        self.slots = slots;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use kvd_types::{Key, Revision};
    use proptest::prelude::*;

    use super::*;

    const SHARD_BITS: u32 = 4;
    /// Hashes of one shard begin alike.
    const SHARD: u64 = 0b1010 << 60;

    fn record(key: u8, revision: u64) -> Box<Record> {
        Box::new(Record::new(&Key::new(vec![key]).unwrap(), Bytes::new(), None, Revision(revision)))
    }

    /// What the module's documentation promises of the slots.
    fn assert_shape(table: &Table) {
        let mut last = 0;
        let mut run_begin = 0;
        for (position, slot) in table.slots.iter().enumerate() {
            if slot.record.is_none() {
                run_begin = position + 1;
                continue;
            }
            assert!(last <= slot.hash, "hashes fall at slot {position}");
            let home = table.home(slot.hash);
            assert!((run_begin..=position).contains(&home), "slot {position} is cut off from its home {home}");
            last = slot.hash;
        }
        assert_eq!(table.slots.iter().filter(|slot| slot.record.is_some()).count(), table.len);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8),
        Remove(u8),
    }

    proptest! {
        /// Against a map; with few distinct hashes, so that runs, overflow and equal hashes are common.
        #[test]
        fn it_holds_what_was_put_in_and_keeps_its_shape(
            steps in prop::collection::vec(
                prop_oneof![3 => any::<u8>().prop_map(Step::Insert), 2 => any::<u8>().prop_map(Step::Remove)], 0..400),
            spread in 0u32..8,
        ) {
            let hash = |key: u8| SHARD | (u64::from(key >> spread) << (52 + spread));
            let mut table = Table::new(SHARD_BITS);
            let mut model = BTreeMap::new();
            for (revision, step) in (1u64..).zip(steps) {
                match step {
                    Step::Insert(key) => {
                        let replaced = table.insert(hash(key), record(key, revision)).map(|old| old.revision().0);
                        prop_assert_eq!(replaced, model.insert(key, revision));
                    }
                    Step::Remove(key) => {
                        let removed = table.remove(hash(key), &[key]).map(|old| old.revision().0);
                        prop_assert_eq!(removed, model.remove(&key));
                    }
                }
                assert_shape(&table);
                prop_assert_eq!(table.len(), model.len());
            }
            for key in 0..=u8::MAX {
                prop_assert_eq!(table.get(hash(key), &[key]).map(|found| found.revision().0), model.get(&key).copied());
                let from_here = table.records_from(hash(key)).count();
                let expected = model.keys().filter(|other| hash(**other) >= hash(key)).count();
                prop_assert_eq!(from_here, expected);
            }
        }
    }

    #[test]
    fn memory_goes_back_after_the_records_are_gone() {
        let hash = |key: u64| SHARD | (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> SHARD_BITS);
        let mut table = Table::new(SHARD_BITS);
        let key = |n: u64| Key::new(n.to_le_bytes().to_vec()).unwrap();
        for n in 0..10_000 {
            table.insert(hash(n), Box::new(Record::new(&key(n), Bytes::new(), None, Revision(n))));
        }
        let full = table.slot_bytes();
        for n in 0..9_990 {
            assert!(table.remove(hash(n), key(n).as_bytes()).is_some());
        }
        assert_shape(&table);
        assert!(table.slot_bytes() < full / 50, "{} of {full} bytes are still held", table.slot_bytes());
        for n in 9_990..10_000 {
            assert!(table.remove(hash(n), key(n).as_bytes()).is_some());
        }
        assert_eq!(table.slot_bytes(), 0);
    }
}
