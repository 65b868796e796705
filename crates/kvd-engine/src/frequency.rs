//! How often keys were used of late, of all keys at once and in a few bytes each: a count-min sketch whose counts fade. Owns
//! counting, fading and its size; knows nothing of keys but their hashes, nor of who asks.
//!
//! ```text
//!  hash = [ line, as a fraction (32) | - (12) | four places in it (20) ]   line = 64 bytes = 128 counters, 32 for each place
//! ```
//!
//! A key has four counters, all in one line: one cache miss. Its frequency is the least of them, since others can only add to a
//! counter. A use raises those that are at the least, and no others, so that keys add less to each other's (*conservative
//! update*). Keys that are not stored are counted too: one that keeps coming back is known when it does.
//!
//! **Fading.** Line after line is halved, in turn and a little with each use, so that every counter is halved once in
//! [`USES_PER_HALVING`] uses for each key stored. There is no moment at which all of it is gone through.

/// A line of counters.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u64; WORDS]);

const WORDS: usize = 8;

/// What a counter counts to.
const COUNT_MAX: u64 = 15;

/// Keys stored for each line: 8 counters a key, 4 bytes. Twice as many would tell more, and cost more hits by the keys that their
/// memory would have held.
const KEYS_PER_LINE: u64 = 16;

/// Uses for each key stored between two halvings of a counter. More tell the frequencies of steady traffic apart better, fewer
/// follow a change of the traffic sooner: figures are in decision 8.
const USES_PER_HALVING: u64 = 8;

/// The counts of a store.
pub(crate) struct Frequency {
    /// In order of hash.
    lines: Vec<Line>,
    /// The line to be halved next.
    fading: usize,
    /// Uses since a line was halved.
    uses: u64,
    /// Uses between two of these.
    interval: u64,
}

impl Frequency {
    pub(crate) fn new() -> Frequency {
        let mut frequency = Frequency { lines: vec![Line([0; WORDS])], fading: 0, uses: 0, interval: 1 };
        frequency.fit(0);
        frequency
    }

    /// Memory it takes.
    pub(crate) fn bytes(&self) -> u64 {
        size_of_val(&*self.lines) as u64
    }

    /// Makes it as large as it should be for so many keys. Counts stay.
    pub(crate) fn fit(&mut self, keys: u64) {
        let wanted = keys.div_ceil(KEYS_PER_LINE).max(1);
        let lines = self.lines.len() as u64;
        // It does not follow every wave.
        if lines < wanted || lines > 2 * wanted {
            self.resize(wanted + wanted / 8);
        }
        self.interval = (USES_PER_HALVING * keys / self.lines.len() as u64).max(1);
    }

    /// Each new line takes over what the old ones had that its hashes may have been in.
    fn resize(&mut self, lines: u64) {
        let old = self.lines.len() as u64;
        let line = |at: u64| {
            let mut line = Line([0; WORDS]);
            let (first, last) = (at * old / lines, ((at + 1) * old - 1) / lines);
            self.lines[first as usize..=last as usize].iter().for_each(|old| line.take_higher(old));
            line
        };
        self.lines = (0..lines).map(line).collect();
        self.fading = 0;
    }

    /// Counts a use.
    pub(crate) fn count(&mut self, hash: u64) {
        let at = self.line_of(hash);
        let least = self.lines[at].least(hash);
        if least < COUNT_MAX {
            self.lines[at].raise(hash, least);
        }
        self.uses += 1;
        if self.uses >= self.interval {
            self.uses = 0;
            self.lines[self.fading].halve();
            self.fading = (self.fading + 1) % self.lines.len();
        }
    }

    /// How often a hash was counted of late: at least, and hardly ever more; up to 15.
    pub(crate) fn of(&self, hash: u64) -> u64 {
        self.lines[self.line_of(hash)].least(hash)
    }

    fn line_of(&self, hash: u64) -> usize {
        (((hash >> 32) * self.lines.len() as u64) >> 32) as usize
    }
}

/// A hash's counters: the word of each, and by how much it is to be shifted.
fn places(hash: u64) -> [(usize, u32); 4] {
    std::array::from_fn(|place| {
        let bits = hash >> (5 * place);
        (2 * place + (bits & 1) as usize, 4 * (bits >> 1 & 15) as u32)
    })
}

impl Line {
    fn least(&self, hash: u64) -> u64 {
        places(hash).map(|(word, shift)| self.0[word] >> shift & COUNT_MAX).into_iter().min().unwrap_or(0)
    }

    /// Raises the counters that stand at `least`.
    fn raise(&mut self, hash: u64, least: u64) {
        for (word, shift) in places(hash) {
            if self.0[word] >> shift & COUNT_MAX == least {
                self.0[word] += 1 << shift;
            }
        }
    }

    fn halve(&mut self) {
        // Each counter's lowest bit would become its neighbour's highest.
        self.0.iter_mut().for_each(|word| *word = *word >> 1 & 0x7777_7777_7777_7777);
    }

    fn take_higher(&mut self, other: &Line) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            let higher = |shift: u32| (*own >> shift & COUNT_MAX).max(other >> shift & COUNT_MAX) << shift;
            *own = (0..u64::BITS).step_by(4).map(higher).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes as good as random.
    fn hash(number: u64) -> u64 {
        let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    #[test]
    fn frequent_keys_are_told_from_rare_ones() {
        const KEYS: u64 = 10_000;
        let mut frequency = Frequency::new();
        frequency.fit(KEYS);
        for round in 0..5 {
            // One in ten keys comes each time, of the others each once.
            (0..KEYS / 10).for_each(|key| frequency.count(hash(key)));
            (0..KEYS / 5).for_each(|key| frequency.count(hash(KEYS + round * KEYS / 5 + key)));
        }
        assert!((0..KEYS / 10).all(|key| frequency.of(hash(key)) >= 2), "a count is never too low but by fading");
        let looks_used = (0..KEYS).filter(|key| frequency.of(hash(10 * KEYS + key)) > 0).count() as u64;
        assert!(looks_used < KEYS / 10, "{looks_used} of {KEYS} keys that never came look used");
        let twice = (0..KEYS).filter(|key| frequency.of(hash(KEYS + key)) > 1).count() as u64;
        assert!(twice < KEYS / 20, "{twice} of {KEYS} keys that came once look as if they had come twice");
    }

    #[test]
    fn what_is_not_used_any_more_fades() {
        const KEYS: u64 = 1_000;
        let mut frequency = Frequency::new();
        frequency.fit(KEYS);
        (0..20).for_each(|_| frequency.count(hash(1)));
        assert_eq!(frequency.of(hash(1)), COUNT_MAX);
        // Of others, none of which comes twice, so many that each line is halved twice.
        (0..2 * USES_PER_HALVING * KEYS + KEYS).for_each(|key| frequency.count(hash(2 + key)));
        let left = frequency.of(hash(1));
        assert!((3..=4).contains(&left), "halved twice, or a little later once more: {left}");
    }

    #[test]
    fn counts_survive_growth_and_shrinking() {
        let mut frequency = Frequency::new();
        frequency.fit(100);
        for key in 0..50 {
            (0..1 + key % 3).for_each(|_| frequency.count(hash(key)));
        }
        let counts = |frequency: &Frequency| (0..50).map(|key| frequency.of(hash(key))).collect::<Vec<_>>();
        let (before, bytes) = (counts(&frequency), frequency.bytes());
        frequency.fit(1_000_000);
        assert_eq!(counts(&frequency), before);
        assert!(frequency.bytes() > 1_000 * bytes && frequency.bytes() <= 5 * 1_000_000);
        frequency.fit(100);
        assert!(counts(&frequency).iter().zip(&before).all(|(after, before)| after >= before));
        assert_eq!(frequency.bytes(), bytes);
    }
}
