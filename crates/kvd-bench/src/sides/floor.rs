//! What any map must pay for a cold get: hash the key, load a line that can't be guessed, find in it where the next line is,
//! load that, and copy the value out. No tag or key is compared, nothing is guarded. Two dependent cache misses remain.
//!
//! There is a line of the first kind for every five keys, as in an index of buckets that is well filled; the key's hash picks
//! the line, and one of its sixteen places. A place belongs to the first key that picked it, so that some keys share a
//! record: of N keys, 86% have one of their own.

use std::hash::BuildHasher;

use bytes::Bytes;

use super::{Access, Handle, Hasher, Side};
use crate::keys;

const LINE_BYTES: usize = 64;
const PLACES: usize = LINE_BYTES / size_of::<u32>();
const KEYS_PER_BUCKET: usize = 5;
const FREE: u32 = u32::MAX;

#[derive(Clone)]
#[repr(align(64))]
struct Bucket([u32; PLACES]);

pub(super) struct Floor {
    buckets: Vec<Bucket>,
    /// One after another from `first` on, each on lines of its own.
    records: Vec<u8>,
    /// Where the first cache line of `records` begins.
    first: usize,
    record_bytes: usize,
    value_bytes: usize,
    hasher: Hasher,
}

impl Floor {
    fn place(&self, key: &[u8]) -> (usize, usize) {
        let hash = self.hasher.hash_one(key);
        let bucket = (u128::from(hash) * self.buckets.len() as u128) >> 64;
        (bucket as usize, hash as usize % PLACES)
    }
}

impl Side for Floor {
    type Handle<'a> = &'a Floor;

    fn empty(keys: usize, value_bytes: usize) -> Self {
        let record_bytes = value_bytes.next_multiple_of(LINE_BYTES);
        let records = vec![0; keys * record_bytes + LINE_BYTES];
        Floor {
            buckets: vec![Bucket([FREE; PLACES]); keys.div_ceil(KEYS_PER_BUCKET)],
            first: records.as_ptr().align_offset(LINE_BYTES),
            records,
            record_bytes,
            value_bytes,
            hasher: Hasher::default(),
        }
    }

    fn load(keys: usize, value: &Bytes) -> Self {
        let mut floor = Self::empty(keys, value.len());
        let mut records = 0;
        for index in 0..keys {
            let (bucket, place) = floor.place(&keys::key(index as u32));
            let place = &mut floor.buckets[bucket].0[place];
            if *place == FREE {
                *place = records;
                let at = floor.first + records as usize * floor.record_bytes;
                floor.records[at..at + value.len()].copy_from_slice(value);
                records += 1;
            }
        }
        floor
    }

    fn handle(&self) -> &Floor {
        self
    }
}

impl Handle for &Floor {
    type Access<'a>
        = &'a Floor
    where
        Self: 'a;

    fn batch(&mut self) -> &Floor {
        self
    }
}

impl Access for &Floor {
    #[inline]
    fn get(&mut self, key: &[u8], out: &mut [u8]) -> Option<usize> {
        let (bucket, place) = self.place(key);
        let at = self.first + self.buckets[bucket].0[place] as usize * self.record_bytes;
        out[..self.value_bytes].copy_from_slice(self.records.get(at..at + self.value_bytes)?);
        Some(self.value_bytes)
    }

    fn insert(&mut self, _key: &[u8], _value: &Bytes) {
        read_only();
    }

    fn set(&mut self, _key: &[u8], _value: &Bytes) {
        read_only();
    }

    fn remove(&mut self, _key: &[u8]) {
        read_only();
    }
}

fn read_only() -> ! {
    unreachable!("no scenario writes to the floor: see SideName::is_map")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_leads_to_a_record_and_most_to_one_of_their_own() {
        let value = keys::value(100);
        let floor = Floor::load(10_000, &value);
        let places = floor.buckets.iter().flat_map(|bucket| bucket.0);
        let own = places.filter(|&place| place != FREE).count();
        assert!((8_400..8_800).contains(&own), "{own}");
        let mut out = [0xff; 128];
        for index in 0..10_000 {
            assert_eq!((&floor).get(&keys::key(index), &mut out), Some(100));
            assert_eq!(out[..100], value[..]);
        }
    }
}
