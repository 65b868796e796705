//! Figures out of raw data: medians, and ratios within a round. A ratio is taken between turns that had the same machine a
//! moment apart, and its median over the rounds is what counts. Knows nothing of targets or tables.

use crate::keys::Dist;
use crate::measure::Work;
use crate::results::{Cell, EngineResults, Place};
use crate::sides::SideName;

/// NaN for none.
pub(super) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

pub(super) fn min(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::NAN, f64::min)
}

/// A number of keys as one says it.
pub(super) fn count(keys: usize) -> String {
    match keys {
        _ if keys >= 1_000_000 && keys.is_multiple_of(1_000_000) => format!("{} M", keys / 1_000_000),
        _ if keys >= 1_000 && keys.is_multiple_of(1_000) => format!("{} k", keys / 1_000),
        _ => keys.to_string(),
    }
}

pub(super) fn name(place: &Place) -> String {
    let Place { work, keys, dist, threads } = *place;
    let work = match work {
        Work::Get => "gets".to_owned(),
        Work::ChainedGet => "chained gets".to_owned(),
        Work::BatchedGet => "gets in batches of 16".to_owned(),
        Work::Mixed(percent) => format!("{percent}% sets"),
        Work::SetSingly => "16 single sets".to_owned(),
        Work::BatchedSet => "sets in batches of 16".to_owned(),
        Work::SetTogether => "atomic sets of 16".to_owned(),
    };
    let threads = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
    format!("{work}, {} keys, {dist}, {threads}", count(keys))
}

impl EngineResults {
    /// All cells of one side at one place; several, if it was measured beside several others in turn.
    fn cells(&self, side: SideName, place: Place) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(move |cell| cell.side == side && cell.place == place)
    }

    /// In every round.
    pub(super) fn ns(&self, side: SideName, place: Place) -> Vec<f64> {
        self.cells(side, place).flat_map(|cell| cell.ns.iter().copied()).collect()
    }

    /// What one took, divided by what the other took.
    pub(super) fn ratio(&self, above: (SideName, Place), below: (SideName, Place)) -> Option<f64> {
        let mut ratios = Vec::new();
        for above in self.cells(above.0, above.1) {
            let beside = self.cells(below.0, below.1).filter(|below| below.company == above.company);
            ratios.extend(beside.flat_map(|below| above.ns.iter().zip(&below.ns).map(|(above, below)| above / below)));
        }
        (!ratios.is_empty()).then(|| median(&ratios))
    }

    /// The map by others that took least.
    pub(super) fn best_peer(&self, place: Place) -> Option<SideName> {
        let peers = self.cells.iter().filter(|cell| cell.side.is_peer() && cell.place == place);
        let best = peers.min_by(|a, b| median(&a.ns).total_cmp(&median(&b.ns)))?;
        Some(best.side)
    }

    /// What the best map by others took at `peers`, divided by what kvd took at `own`.
    pub(super) fn against_best_peer(&self, own: Place, peers: Place) -> Option<(f64, SideName)> {
        let best = self.best_peer(peers)?;
        Some((self.ratio((best, peers), (SideName::Kvd, own))?, best))
    }

    /// How many times as many operations `threads` threads do in a second as one.
    pub(super) fn scaling(&self, side: SideName, place: Place) -> Option<f64> {
        let ratio = self.ratio((side, Place { threads: 1, ..place }), (side, place))?;
        Some(ratio * place.threads as f64)
    }

    /// Places with this work, in the order in which they were measured.
    pub(super) fn places(&self, wanted: impl Fn(&Place) -> bool) -> Vec<Place> {
        let mut places = Vec::new();
        for cell in &self.cells {
            if wanted(&cell.place) && !places.contains(&cell.place) {
                places.push(cell.place);
            }
        }
        places
    }
}

/// One key alone is a matter of scaling, not of the number of keys.
pub(super) fn is_spread(place: &Place) -> bool {
    place.dist != Dist::Hot
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::machine::Machine;

    pub(in crate::report) fn place(work: Work, threads: usize) -> Place {
        Place { work, keys: 1_000_000, dist: Dist::Zipf, threads }
    }

    pub(in crate::report) fn results(cells: Vec<(SideName, Place, usize, Vec<f64>)>) -> EngineResults {
        let cells = cells.into_iter().map(|(side, place, company, ns)| Cell { place, side, company, ns });
        EngineResults {
            machine: Machine {
                cpu: "any".to_owned(),
                cores: 2,
                memory_bytes: 1 << 30,
                kernel: "any".to_owned(),
                huge_pages: "never".to_owned(),
                load_average_before: 0.0,
                allocator: "system".to_owned(),
                commit: "unknown".to_owned(),
                versions: Default::default(),
            },
            command: "kvd-bench engine".to_owned(),
            rounds: 3,
            seconds_per_cell: 0.1,
            value_bytes: 64,
            left_out: Vec::new(),
            cells: cells.collect(),
            growth: Vec::new(),
            noise: Vec::new(),
            memory: Vec::new(),
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
        assert_eq!(min(&[3.0, 1.0, 2.0]), 1.0);
    }

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        let get = place(Work::Get, 1);
        // A machine that was three times slower in the second round changes no ratio, though it changes both medians.
        let kvd = (SideName::Kvd, get, 1, vec![100.0, 300.0, 102.0]);
        let papaya = (SideName::Papaya, get, 1, vec![200.0, 600.0, 204.0]);
        let results = results(vec![kvd, papaya]);
        assert_eq!(results.ratio((SideName::Papaya, get), (SideName::Kvd, get)), Some(2.0));
        assert_eq!(results.ratio((SideName::Scc, get), (SideName::Kvd, get)), None);
    }

    #[test]
    fn a_ratio_is_taken_beside_the_same_company() {
        let get = place(Work::Get, 1);
        let results = results(vec![
            (SideName::Kvd, get, 1, vec![100.0]),
            (SideName::Papaya, get, 1, vec![200.0]),
            (SideName::Kvd, get, 2, vec![50.0]),
            (SideName::Scc, get, 2, vec![75.0]),
        ]);
        assert_eq!(results.ratio((SideName::Scc, get), (SideName::Kvd, get)), Some(1.5));
        assert_eq!(results.against_best_peer(get, get), Some((1.5, SideName::Scc)));
        assert_eq!(results.ns(SideName::Kvd, get), [100.0, 50.0]);
    }

    #[test]
    fn twice_the_operations_are_twice_as_many() {
        let (one, two) = (place(Work::Get, 1), place(Work::Get, 2));
        let results = results(vec![(SideName::Kvd, one, 1, vec![100.0]), (SideName::Kvd, two, 1, vec![100.0])]);
        assert_eq!(results.scaling(SideName::Kvd, two), Some(2.0));
    }
}
