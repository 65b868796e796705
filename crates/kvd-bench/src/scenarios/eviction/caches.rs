//! The caches in this process: kvd's engine as it is, and two to compare it with that know only which keys they would hold: exact
//! LRU, and Belady's, which looks into the future. Knows nothing of what is asked for.

use std::collections::BinaryHeap;

use bytes::Bytes;
use kvd_engine::{Config, Engine, MemoryPolicy, Worker};
use kvd_types::{Command, Key, Set};

use crate::keys::{KEY_BYTES, key};

/// Requests between two visits of the thread that cleans up.
const MAINTAINED_EVERY: usize = 8_192;

/// A cache that is asked for some keys at once, and then given those that it did not have.
pub(super) trait Cache {
    /// Returns which of these keys it had.
    ///
    /// # Errors
    /// It does not answer.
    fn ask(&mut self, keys: &[u32]) -> anyhow::Result<Vec<bool>>;

    /// A value for a key that it did not have.
    ///
    /// # Errors
    /// It does not take it.
    fn give(&mut self, missed: &[u32]) -> anyhow::Result<()>;
}

/// Asks for all, and counts the hits behind the first `warm_up` requests.
///
/// # Errors
/// The cache fails.
pub(super) fn hit_ratio(cache: &mut impl Cache, requests: &[u32], warm_up: usize) -> anyhow::Result<f64> {
    /// As many as a client would send together.
    const AT_ONCE: usize = 32;
    let (mut hits, mut at) = (0, 0);
    for keys in requests.chunks(AT_ONCE) {
        let had = cache.ask(keys)?;
        let missed: Vec<u32> = keys.iter().zip(&had).filter(|(_, had)| !**had).map(|(key, _)| *key).collect();
        cache.give(&missed)?;
        if at >= warm_up {
            hits += keys.len() - missed.len();
        }
        at += keys.len();
    }
    let counted = requests.len() - warm_up.next_multiple_of(AT_ONCE).min(requests.len());
    Ok(hits as f64 / counted as f64)
}

/// Lengths of values.
pub(super) type ValueBytes<'a> = &'a dyn Fn(u32) -> usize;

/// kvd's engine.
pub(super) struct Kvd<'a> {
    engine: Engine,
    worker: Worker,
    /// Of the thread that serves no one.
    background: Worker,
    value_bytes: ValueBytes<'a>,
    /// The longest value, of which others are the front.
    value: Bytes,
    asked: usize,
}

impl<'a> Kvd<'a> {
    pub(super) fn new(memory_bytes: u64, value_bytes: ValueBytes<'a>, longest: usize) -> Kvd<'a> {
        let (memory_bytes_max, memory_policy) = (memory_bytes, MemoryPolicy::Evict);
        let engine = Engine::open(Config { memory_bytes_max, memory_policy, ..Config::default() });
        let (worker, background) = (engine.worker(), engine.worker());
        Kvd { engine, worker, background, value_bytes, value: vec![0; longest].into(), asked: 0 }
    }

    /// Keys it holds, and what each of them takes beside key and value.
    pub(super) fn holds(&self) -> (u64, f64) {
        let totals = self.engine.stats().totals;
        let overhead = totals.record_bytes + totals.index_bytes;
        (totals.keys, overhead as f64 / totals.keys as f64)
    }
}

impl Cache for Kvd<'_> {
    fn ask(&mut self, keys: &[u32]) -> anyhow::Result<Vec<bool>> {
        let keys: Vec<[u8; KEY_BYTES]> = keys.iter().map(|index| key(*index)).collect();
        let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        let mut had = vec![false; keys.len()];
        self.engine.get_many(&mut self.worker, &keys, |at, found| had[at] = found.is_some());
        self.asked += keys.len();
        if self.asked >= MAINTAINED_EVERY {
            self.asked = 0;
            while self.engine.maintain(&mut self.background) {}
        }
        Ok(had)
    }

    fn give(&mut self, missed: &[u32]) -> anyhow::Result<()> {
        for index in missed {
            let bytes = key(*index);
            let set = Set::new(Key::new(&bytes)?, self.value.slice(..(self.value_bytes)(*index)));
            self.engine.execute(&mut self.worker, &Command::Set(set))?;
        }
        Ok(())
    }
}

/// Exact LRU: a list of keys, last used first.
pub(super) struct Lru<'a> {
    /// What may be stored.
    bytes_max: f64,
    bytes: f64,
    /// Beside key and value.
    overhead: f64,
    value_bytes: ValueBytes<'a>,
    /// The neighbours of each key, before and after; those of `HEAD` are the ends. `NONE` for a key that is not there.
    links: Vec<[u32; 2]>,
}

const NONE: u32 = u32::MAX;
const HEAD: usize = 0;

impl<'a> Lru<'a> {
    /// For keys below `keys_end`.
    pub(super) fn new(bytes_max: u64, overhead: f64, value_bytes: ValueBytes<'a>, keys_end: u32) -> Lru<'a> {
        let mut links = vec![[NONE; 2]; keys_end as usize + 1];
        links[HEAD] = [HEAD as u32; 2];
        Lru { bytes_max: bytes_max as f64, bytes: 0.0, overhead, value_bytes, links }
    }

    /// Keys it holds.
    pub(super) fn keys(&self) -> u64 {
        self.links.iter().skip(HEAD + 1).filter(|links| **links != [NONE; 2]).count() as u64
    }

    fn bytes_of(&self, key: u32) -> f64 {
        (KEY_BYTES + (self.value_bytes)(key)) as f64 + self.overhead
    }

    fn unlink(&mut self, at: usize) {
        let [before, after] = self.links[at];
        self.links[before as usize][1] = after;
        self.links[after as usize][0] = before;
        self.links[at] = [NONE; 2];
    }

    fn push(&mut self, at: usize) {
        let first = self.links[HEAD][1];
        self.links[at] = [HEAD as u32, first];
        self.links[first as usize][0] = at as u32;
        self.links[HEAD][1] = at as u32;
    }
}

impl Cache for Lru<'_> {
    fn ask(&mut self, keys: &[u32]) -> anyhow::Result<Vec<bool>> {
        let mut ask = |key: &u32| {
            let at = *key as usize + 1;
            let is_there = self.links[at] != [NONE; 2];
            if is_there {
                self.unlink(at);
                self.push(at);
            }
            is_there
        };
        Ok(keys.iter().map(&mut ask).collect())
    }

    fn give(&mut self, missed: &[u32]) -> anyhow::Result<()> {
        for key in missed {
            let at = *key as usize + 1;
            if self.links[at] != [NONE; 2] {
                continue; // asked for twice at once
            }
            self.bytes += self.bytes_of(*key);
            self.push(at);
            while self.bytes > self.bytes_max {
                let last = self.links[HEAD][0] as usize;
                self.unlink(last);
                self.bytes -= self.bytes_of(last as u32 - 1);
            }
        }
        Ok(())
    }
}

/// The hit ratio of who knows the future, for values of one length: what is needed last goes first, be it the new one. No cache
/// of `fitting` keys can do better.
pub(super) fn optimum(requests: &[u32], fitting: usize, warm_up: usize) -> f64 {
    let keys_end = requests.iter().max().map_or(0, |key| *key as usize + 1);
    let never = requests.len();
    let mut next = vec![never; keys_end];
    let mut next_use: Vec<usize> = requests
        .iter()
        .rev()
        .enumerate()
        .map(|(back, key)| std::mem::replace(&mut next[*key as usize], never - 1 - back))
        .collect();
    next_use.reverse();
    // When each key that is held is needed next; `never + 1` for one that is not.
    let mut held = vec![never + 1; keys_end];
    let (mut count, mut hits) = (0, 0);
    // What was true when it was pushed; looked at again when it comes out.
    let mut by_need: BinaryHeap<(usize, u32)> = BinaryHeap::new();
    for (at, key) in requests.iter().enumerate() {
        let had = held[*key as usize] != never + 1;
        hits += usize::from(had && at >= warm_up);
        count += usize::from(!had);
        held[*key as usize] = next_use[at];
        by_need.push((next_use[at], *key));
        while count > fitting {
            let (need, key) = by_need.pop().expect("what is held was pushed");
            if held[key as usize] == need {
                held[key as usize] = never + 1;
                count -= 1;
            }
        }
    }
    hits as f64 / (requests.len() - warm_up) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lru_holds_what_was_used_last() {
        let mut lru = Lru::new(3 * 32, 8.0, &|_| 8, 10);
        let mut use_all = |keys: &[u32]| {
            for key in keys {
                if !lru.ask(&[*key]).unwrap()[0] {
                    lru.give(&[*key]).unwrap();
                }
            }
            (0..10).filter(|key| lru.links[*key as usize + 1] != [NONE; 2]).collect::<Vec<u32>>()
        };
        assert_eq!(use_all(&[1, 2, 3]), [1, 2, 3]);
        assert_eq!(use_all(&[1, 4]), [1, 3, 4]);
        assert_eq!(use_all(&[0, 9]), [0, 4, 9]);
    }

    #[test]
    fn the_optimum_of_a_loop_holds_a_part_of_it() {
        // Of four keys in turn two can be held for ever, and the third keeps what comes next.
        let requests: Vec<u32> = (0..400).map(|at| at % 4).collect();
        let ratio = optimum(&requests, 3, 100);
        assert!((0.66..0.76).contains(&ratio), "{ratio}");
        assert_eq!(optimum(&requests, 4, 100), 1.0);
        assert_eq!(optimum(&(0..100).collect::<Vec<u32>>(), 4, 0), 0.0);
    }

    #[test]
    fn kvd_holds_what_fits() {
        let mut kvd = Kvd::new(1 << 20, &|_| 64, 64);
        let requests: Vec<u32> = (0..40_000).map(|at| if at % 2 == 0 { at / 2 } else { at % 500 }).collect();
        let ratio = hit_ratio(&mut kvd, &requests, 10_000).unwrap();
        assert!((0.45..0.55).contains(&ratio), "500 keys come again and again, the others once: {ratio}");
        let (keys, overhead) = kvd.holds();
        assert!((5_000..12_000).contains(&keys) && (10.0..80.0).contains(&overhead), "{keys} keys, {overhead} bytes");
    }
}
