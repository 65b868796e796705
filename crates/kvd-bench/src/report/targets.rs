//! What the engine is to reach, and whether it did. Owns the figures that were promised; knows nothing of tables.

use super::figures::{self, median};
use crate::keys::Dist;
use crate::measure::Work;
use crate::results::{EngineResults, Growth, Latency, Place};
use crate::sides::SideName;

/// Numbers of keys for which something was promised.
const KEYS: [usize; 3] = [1_000_000, 10_000_000, 30_000_000];

/// What was promised, and what the measurement says.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) what: String,
    pub(super) measured: f64,
    pub(super) bound: Bound,
    /// Such as which side it was compared with.
    pub(super) note: String,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    sense: Sense,
    pub(super) target: f64,
    pub(super) stretch: f64,
    pub(super) unit: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Sense {
    AtLeast,
    AtMost,
}

impl Bound {
    const fn at_least(target: f64, stretch: f64) -> Bound {
        Bound { sense: Sense::AtLeast, target, stretch, unit: "x" }
    }

    const fn at_most(target: f64, stretch: f64, unit: &'static str) -> Bound {
        Bound { sense: Sense::AtMost, target, stretch, unit }
    }

    pub(super) fn words(&self) -> &'static str {
        match self.sense {
            Sense::AtLeast => "at least",
            Sense::AtMost => "at most",
        }
    }

    /// A figure that could not be taken meets nothing.
    fn admits(&self, measured: f64, limit: f64) -> bool {
        match self.sense {
            Sense::AtLeast => measured >= limit,
            Sense::AtMost => measured <= limit,
        }
    }
}

impl Verdict {
    pub(super) fn result(&self) -> &'static str {
        if self.bound.admits(self.measured, self.bound.stretch) {
            "met, stretch too"
        } else if self.bound.admits(self.measured, self.bound.target) {
            "met"
        } else {
            "missed"
        }
    }
}

/// Everything that was promised of what was measured. Speed is compared as the time of the other divided by kvd's, cost as
/// kvd's time divided by the other's.
pub(super) fn verdicts(results: &EngineResults) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let promised = |place: &Place| KEYS.contains(&place.keys) && figures::is_spread(place);
    for place in results.places(promised) {
        reads(results, place, &mut verdicts);
    }
    for place in results.places(promised) {
        writes(results, place, &mut verdicts);
    }
    let scales = |place: &Place| place.threads == 2 && place.work == Work::Get && place.dist != Dist::Uniform;
    for place in results.places(|place| scales(place) && KEYS.contains(&place.keys)) {
        let scaling = results.scaling(SideName::Kvd, place);
        push(&mut verdicts, "1 -> 2 threads", place, scaling, Bound::at_least(1.9, 1.95), "throughput");
    }
    for memory in results.memory.iter().filter(|memory| memory.side == SideName::Kvd && KEYS.contains(&memory.keys)) {
        verdicts.push(Verdict {
            what: format!("memory above key and value, {} keys", figures::count(memory.keys)),
            measured: memory.loaded.overhead_per_key(memory.keys),
            bound: Bound::at_most(32.0, 22.0, " B"),
            note: "resident, after loading".to_owned(),
        });
    }
    pauses(results, &mut verdicts);
    verdicts
}

fn reads(results: &EngineResults, place: Place, verdicts: &mut Vec<Verdict>) {
    let kvd = (SideName::Kvd, place);
    match (place.work, place.threads) {
        (Work::Get | Work::ChainedGet, 1) => {
            against_peers(results, verdicts, place, Bound::at_least(1.1, 1.3));
            let floor = results.ratio(kvd, (SideName::Floor, place));
            push(verdicts, "cost against the floor", place, floor, Bound::at_most(1.4, 1.2, "x"), "floor");
        }
        (Work::BatchedGet, 1) if place.keys == 10_000_000 => {
            let single = Place { work: Work::Get, ..place };
            let own = results.ratio((SideName::Kvd, single), kvd);
            push(verdicts, "speed against own single gets", place, own, Bound::at_least(3.0, 4.0), "kvd");
            if let Some((ratio, best)) = results.against_best_peer(place, single) {
                let what = "speed against the best map's gets";
                push(verdicts, what, place, Some(ratio), Bound::at_least(3.0, 4.0), &best.to_string());
            }
        }
        _ => {}
    }
}

fn writes(results: &EngineResults, place: Place, verdicts: &mut Vec<Verdict>) {
    match (place.work, place.threads) {
        (Work::Mixed(1), 2) => against_peers(results, verdicts, place, Bound::at_least(1.3, 1.6)),
        (Work::Mixed(5), _) => against_peers(results, verdicts, place, Bound::at_least(1.2, 1.5)),
        (Work::Mixed(50), _) => against_peers(results, verdicts, place, Bound::at_least(0.9, 1.2)),
        (Work::SetTogether, 1) => {
            let singly = Place { work: Work::SetSingly, ..place };
            let ratio = results.ratio((SideName::Kvd, place), (SideName::Kvd, singly));
            push(verdicts, "cost against single sets", place, ratio, Bound::at_most(1.2, 0.8, "x"), "kvd");
        }
        _ => {}
    }
}

fn pauses(results: &EngineResults, verdicts: &mut Vec<Verdict>) {
    let mut longest = |what: &str, of: fn(&Growth) -> Latency, bound| {
        let growths: Vec<&Growth> = results.growth.iter().filter(|growth| growth.side == SideName::Kvd).collect();
        if let Some(first) = growths.first() {
            let ms = growths.iter().map(|growth| of(growth).max as f64 / 1e6).collect::<Vec<_>>();
            let noise = results.noise.iter().map(|noise| noise.max as f64 / 1e6).collect::<Vec<_>>();
            verdicts.push(Verdict {
                what: format!("longest {what} while growing to {} keys", figures::count(first.keys)),
                measured: median(&ms),
                bound,
                note: format!("the machine itself paused for {:.2} ms", median(&noise)),
            });
        }
    };
    longest("put", |growth| growth.put, Bound::at_most(1.0, 0.2, " ms"));
    longest("get", |growth| growth.get, Bound::at_most(0.3, 0.1, " ms"));
}

fn against_peers(results: &EngineResults, verdicts: &mut Vec<Verdict>, place: Place, bound: Bound) {
    if let Some((ratio, best)) = results.against_best_peer(place, place) {
        push(verdicts, "speed against the best map", place, Some(ratio), bound, &best.to_string());
    }
}

fn push(verdicts: &mut Vec<Verdict>, what: &str, place: Place, measured: Option<f64>, bound: Bound, note: &str) {
    if let Some(measured) = measured {
        let what = format!("{}: {what}", figures::name(&place));
        verdicts.push(Verdict { what, measured, bound, note: note.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::tests::{place, results};

    #[test]
    fn a_figure_on_the_bound_meets_it() {
        let verdict = |measured, bound| Verdict { what: String::new(), measured, bound, note: String::new() }.result();
        let speed = Bound::at_least(1.1, 1.3);
        assert_eq!([1.0, 1.1, 1.3].map(|measured| verdict(measured, speed)), ["missed", "met", "met, stretch too"]);
        let cost = Bound::at_most(1.4, 1.2, "x");
        assert_eq!([1.5, 1.4, 1.2].map(|measured| verdict(measured, cost)), ["missed", "met", "met, stretch too"]);
        assert_eq!(verdict(f64::NAN, cost), "missed");
    }

    #[test]
    fn each_promise_is_judged_by_its_own_ratio() {
        let (get, two, mixed) = (place(Work::Get, 1), place(Work::Get, 2), place(Work::Mixed(1), 2));
        let (singly, together) = (place(Work::SetSingly, 1), place(Work::SetTogether, 1));
        let results = results(vec![
            (SideName::Kvd, get, 1, vec![100.0]),
            (SideName::Papaya, get, 1, vec![120.0]),
            (SideName::Scc, get, 1, vec![150.0]),
            (SideName::Floor, get, 1, vec![50.0]),
            (SideName::Kvd, two, 1, vec![104.0]),
            (SideName::Kvd, mixed, 1, vec![100.0]),
            (SideName::Dashmap, mixed, 1, vec![160.0]),
            (SideName::Kvd, singly, 1, vec![200.0]),
            (SideName::Kvd, together, 1, vec![220.0]),
        ]);
        let found = verdicts(&results);
        let found: Vec<_> =
            found.iter().map(|verdict| (verdict.measured, verdict.note.as_str(), verdict.result())).collect();
        assert_eq!(
            found,
            [
                (1.2, "papaya", "met"),
                (2.0, "floor", "missed"),
                (1.6, "dashmap", "met, stretch too"),
                (1.1, "kvd", "met"),
                (100.0 / 104.0 * 2.0, "throughput", "met"),
            ]
        );
    }
}
