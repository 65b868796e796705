//! Keys, and the order in which they are asked for. All of it is drawn before anything is timed, so that a side pays for a
//! sequential load and a few instructions, the same for all. Knows nothing of maps.

use std::fmt;

use bytes::Bytes;
use clap::ValueEnum;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};
use serde::{Deserialize, Serialize};

pub(crate) const KEY_BYTES: usize = 16;

/// The usual exponent of cache benchmarks since YCSB.
const ZIPF_EXPONENT: f64 = 0.99;
const SEQUENCE_MAX: usize = 1 << 22;
/// For few keys a short sequence, which does not push them out of the cache; long enough not to be learnt by heart.
const SEQUENCE_MIN: usize = 1 << 16;
/// Larger than any number of keys, so that multiplying by it permutes them.
const PRIME: u64 = 4_294_967_291;

/// The key with this index. Computed and not stored: loading it would be a third cache miss, the same size as the others.
#[inline]
pub(crate) fn key(index: u32) -> [u8; KEY_BYTES] {
    let wide = u64::from(index) + 1;
    let mixed = wide.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&(mixed ^ (mixed >> 32)).to_le_bytes());
    key[8..].copy_from_slice(&wide.to_le_bytes());
    key
}

/// A permutation of `0..keys` without any order that an allocator or a prefetcher could see.
pub(crate) fn scramble(rank: usize, keys: usize) -> u32 {
    (rank as u64 * PRIME % keys as u64) as u32
}

/// The first byte of every value is 0, so that a get can be made to wait for the one before: see `measure`.
pub(crate) fn value(bytes: usize) -> Bytes {
    (0..bytes).map(|index| index as u8).collect::<Vec<u8>>().into()
}

/// How often each key is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dist {
    /// All alike
    Uniform,
    /// Zipf's law with exponent 0.99, the ranks scattered over the keys
    Zipf,
    /// One key alone
    #[value(skip)]
    Hot,
}

impl fmt::Display for Dist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dist::Uniform => "uniform",
            Dist::Zipf => "Zipf",
            Dist::Hot => "one key",
        })
    }
}

/// Indices of keys, in the order in which they are asked for.
pub(crate) fn sequence(dist: Dist, keys: usize) -> Vec<u32> {
    let mut random = SmallRng::seed_from_u64(0x6b76_6400 + keys as u64);
    let length = (4 * keys).clamp(SEQUENCE_MIN, SEQUENCE_MAX);
    match dist {
        Dist::Uniform => (0..length).map(|_| random.random_range(0..keys as u32)).collect(),
        Dist::Zipf => {
            let zipf = Zipf::new(keys as f64, ZIPF_EXPONENT).expect("there are keys, and the exponent is positive");
            (0..length).map(|_| scramble(zipf.sample(&mut random) as usize - 1, keys)).collect()
        }
        Dist::Hot => vec![0; SEQUENCE_MIN],
    }
}

/// A walk around a sequence.
pub(crate) struct Walk<'a> {
    sequence: &'a [u32],
    at: usize,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(sequence: &'a [u32], start: usize) -> Self {
        Walk { sequence, at: start % sequence.len() }
    }

    #[inline]
    pub(crate) fn next(&mut self) -> u32 {
        let index = self.sequence[self.at];
        self.at += 1;
        if self.at == self.sequence.len() {
            self.at = 0;
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_differ_and_scrambling_loses_none() {
        for keys in [16, 1_000, 4_096, 100_000] {
            let distinct: HashSet<_> = (0..keys).map(|rank| key(scramble(rank, keys))).collect();
            assert_eq!(distinct.len(), keys);
        }
    }

    #[test]
    fn zipf_asks_for_the_first_rank_most_and_uniform_for_none() {
        let keys = 1_000;
        let share = |dist, index| {
            let sequence = sequence(dist, keys);
            sequence.iter().filter(|&&each| each == index).count() as f64 / sequence.len() as f64
        };
        // The sum of rank^-0.99 over a thousand ranks is 7.73.
        let (first, tenth) = (share(Dist::Zipf, scramble(0, keys)), share(Dist::Zipf, scramble(9, keys)));
        assert!((0.12..0.14).contains(&first), "{first}");
        assert!((0.011..0.016).contains(&tenth), "{tenth}");
        let any = share(Dist::Uniform, 17);
        assert!((0.0005..0.0015).contains(&any), "{any}");
    }

    #[test]
    fn a_walk_comes_around() {
        let mut walk = Walk::new(&[7, 8, 9], 5);
        assert_eq!([walk.next(), walk.next(), walk.next(), walk.next()], [9, 7, 8, 9]);
    }
}
