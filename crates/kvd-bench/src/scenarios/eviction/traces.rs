//! The traffic that caches are compared by: which key is asked for when, drawn before anything runs, the same for all. Knows
//! nothing of caches.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Zipf};

use crate::keys::scramble;

/// Parts of a trace between which the popular keys change.
const SHIFTS: usize = 8;

/// Of a trace with scans, one request in so many belongs to a scan.
const SCAN_SHARE: usize = 4;

/// New keys for each request of traffic that follows what is new, one in so many.
const NEW_SHARE: usize = 8;

/// Values of the trace with different sizes: powers of 2 between, all equally common.
const SIZES_LOG2: std::ops::RangeInclusive<u32> = 4..=13;

/// What the traffic is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Zipf99,
    Zipf70,
    ZipfSizes,
    ZipfScans,
    Shifting,
    Recent,
    Loop,
}

pub(super) const ALL: [Kind; 7] =
    [Kind::Zipf99, Kind::Zipf70, Kind::ZipfSizes, Kind::ZipfScans, Kind::Shifting, Kind::Recent, Kind::Loop];

/// How much of it there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Keys that the popular ones are drawn from.
    pub(super) keys: usize,
    pub(super) requests: usize,
    /// Keys that fit into the caches, roughly.
    pub(super) fitting: usize,
    /// Length of a value where all have the same.
    pub(super) value_bytes: usize,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Zipf99 => "Zipf 0.99",
            Kind::Zipf70 => "Zipf 0.7",
            Kind::ZipfSizes => "Zipf 0.99, values of 16 B to 8 KiB",
            Kind::ZipfScans => "Zipf 0.99, a quarter of it scans",
            Kind::Shifting => "Zipf 0.99 that moves to other keys",
            Kind::Recent => "new keys, and Zipf 0.99 by their age",
            Kind::Loop => "a loop over 1.5 times what fits",
        }
    }

    /// Length of a key's value, the same each time.
    pub(super) fn value_bytes(self, key: u32, extent: Extent) -> usize {
        if self != Kind::ZipfSizes {
            return extent.value_bytes;
        }
        let count = SIZES_LOG2.end() - SIZES_LOG2.start() + 1;
        1 << (SIZES_LOG2.start() + key.wrapping_mul(0x9e37_79b9) % count)
    }

    /// The keys, in the order in which they are asked for.
    pub(super) fn requests(self, extent: Extent) -> Vec<u32> {
        let Extent { keys, requests, fitting, .. } = extent;
        let mut random = SmallRng::seed_from_u64(0x6576_6963);
        let exponent = if self == Kind::Zipf70 { 0.7 } else { 0.99 };
        let zipf = Zipf::new(keys as f64, exponent).expect("there are keys, and the exponent is positive");
        let mut rank = || zipf.sample(&mut random) as usize - 1;
        match self {
            Kind::Zipf99 | Kind::Zipf70 | Kind::ZipfSizes => (0..requests).map(|_| scramble(rank(), keys)).collect(),
            Kind::ZipfScans => {
                // Bursts of keys in order, each asked for once, behind those of the popular ones.
                let (burst, mut scanned) = (fitting / 2, 0);
                let is_scan = |at: usize| at % (SCAN_SHARE * burst) >= (SCAN_SHARE - 1) * burst;
                let request = |at: usize| {
                    if !is_scan(at) {
                        return scramble(rank(), keys);
                    }
                    scanned += 1;
                    (keys + scanned) as u32
                };
                (0..requests).map(request).collect()
            }
            Kind::Shifting => {
                let shift = |at: usize| at * SHIFTS / requests * (keys / SHIFTS);
                (0..requests).map(|at| scramble((rank() + shift(at)) % keys, keys)).collect()
            }
            // At the begin there are as many keys as popular ones are drawn from.
            Kind::Recent => (0..requests).map(|at| (keys + at / NEW_SHARE - rank()) as u32).collect(),
            Kind::Loop => {
                let length = fitting * 3 / 2;
                (0..requests).map(|at| (at % length) as u32).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const EXTENT: Extent = Extent { keys: 10_000, requests: 40_000, fitting: 1_000, value_bytes: 64 };

    #[test]
    fn a_quarter_of_a_trace_with_scans_is_asked_for_once() {
        let requests = Kind::ZipfScans.requests(EXTENT);
        let scanned: Vec<u32> = requests.iter().copied().filter(|key| *key as usize >= EXTENT.keys).collect();
        assert_eq!(scanned.len(), EXTENT.requests / SCAN_SHARE);
        assert_eq!(scanned.iter().collect::<HashSet<_>>().len(), scanned.len());
    }

    #[test]
    fn the_popular_keys_of_one_part_are_not_those_of_the_next() {
        let requests = Kind::Shifting.requests(EXTENT);
        let part = requests.len() / SHIFTS;
        let most_asked = |part: &[u32]| {
            let count = |key: u32| part.iter().filter(|&&each| each == key).count();
            part.iter().copied().max_by_key(|key| count(*key)).unwrap()
        };
        let popular: HashSet<u32> = (0..SHIFTS).map(|at| most_asked(&requests[at * part..][..500])).collect();
        assert_eq!(popular.len(), SHIFTS);
    }

    #[test]
    fn sizes_belong_to_keys_and_differ() {
        let sizes: HashSet<usize> = (0..1_000).map(|key| Kind::ZipfSizes.value_bytes(key, EXTENT)).collect();
        assert_eq!((sizes.len(), sizes.iter().min(), sizes.iter().max()), (10, Some(&16), Some(&8192)));
    }
}
