//! The section's text and tables, in Markdown. Knows nothing of how a figure is taken out of the raw data.

use std::collections::BTreeSet;

use super::figures::{self, median, min};
use super::targets::{self, Verdict};
use crate::keys::Dist;
use crate::machine::Machine;
use crate::measure::Work;
use crate::results::{AllocatorResults, EngineResults, Growth, Latency, MemoryResult, Place};
use crate::sides::SideName;

const SIDES: &str = "\
kvd's engine, in process, beside maps that others wrote: papaya, dashmap, scc, and \"shards\", which is 256 tables of hashbrown
behind parking_lot's reader-writer locks. kvd hashes by itself, the others by rapidhash; all have the same allocator, and a get
copies the value out. The floor is no map: it hashes the key, loads one line of memory that can't be guessed, learns from
it where another is, and copies the value from there. It compares and guards nothing.

All sides take turns within every round. A cell is the median over the rounds, the least in brackets; a ratio is taken within
a round, and its median is what counts.
";

pub(super) fn engine(results: &EngineResults) -> String {
    let EngineResults { rounds, seconds_per_cell, value_bytes, .. } = results;
    let mut text = format!("{SIDES}\n{}\n", machine(&results.machine, &results.command));
    text += &format!("{rounds} rounds of {seconds_per_cell} s a cell; keys of 16 bytes, values of {value_bytes}.\n");
    for left_out in &results.left_out {
        text += &format!("\nLeft out: {left_out}.\n");
    }
    section(&mut text, "Targets", "", verdicts(&targets::verdicts(results)));
    let threads: BTreeSet<usize> = results.cells.iter().map(|cell| cell.place.threads).collect();
    for threads in threads {
        let of = |work: fn(&Work) -> bool| results.places(|place| place.threads == threads && work(&place.work));
        let named = |what: &str| format!("{what}, {threads} thread{}", if threads == 1 { "" } else { "s" });
        let gets = of(|work| matches!(work, Work::Get | Work::BatchedGet));
        section(&mut text, &named("Gets"), GETS, costs(results, &gets));
        section(&mut text, &named("Chained gets"), CHAINED, costs(results, &of(|work| *work == Work::ChainedGet)));
        section(&mut text, &named("Gets and sets"), SETS, costs(results, &of(|work| matches!(work, Work::Mixed(_)))));
        let together = of(|work| matches!(work, Work::SetSingly | Work::BatchedSet | Work::SetTogether));
        section(&mut text, &named("Atomic sets"), ATOMIC, costs(results, &together));
    }
    section(&mut text, "More threads", SCALING, scaling(results));
    section(&mut text, "Growing from nothing", GROWTH, growth(results));
    section(&mut text, "Memory", MEMORY, memory(&results.memory));
    text
}

pub(super) fn allocators(results: &AllocatorResults) -> String {
    let mut text = String::new();
    let facts = machine(&results.machine, &results.command);
    let under = format!("{ALLOCATORS}\n\n{}", facts.trim_end());
    section(&mut text, "Allocators", &under, memory(&results.memory));
    text
}

const GETS: &str = "\
Nanoseconds for each get on each thread. Gets that follow each other overlap in the processor, as far as the side lets them; a
batch is one call for 16 keys.";
const CHAINED: &str = "\
The same, but each get takes its key from a byte that the one before it read, so that none begins before the last has ended.";
const SETS: &str = "Nanoseconds for each operation on each thread; sets are of keys that are there.";
const ATOMIC: &str = "Nanoseconds for each key: 16 keys one by one, by one call, and at once, all or none.";
const SCALING: &str = "How many times as many gets a second as one thread does.";
const GROWTH: &str = "\
One thread puts into a map that was empty, another gets a key that is there every 2 us, and the time of a get counts from when it
was due. The longest put and get are medians over the growths, the worst of all in brackets. The machine's row is the longest
gap between two looks at the clock by threads that do nothing else, on all cores: nothing below that can be told apart from the
machine's own pauses. Milliseconds but for p50.";
const MEMORY: &str = "\
Resident bytes for each key above its key and value, after loading, and after churn: every value was overwritten by one of 32 to
256 bytes, half of the keys were removed and put back. Nanoseconds for a get and a set of uniformly drawn keys on one thread.
Each figure comes from a process of its own.";
const ALLOCATORS: &str = "The same under each allocator, and for kvd with and without huge pages.";

/// Nothing, for a table without rows.
fn section(text: &mut String, title: &str, words: &str, table: Option<String>) {
    if let Some(table) = table {
        let words = if words.is_empty() { String::new() } else { format!("{words}\n\n") };
        *text += &format!("\n### {title}\n\n{words}{table}");
    }
}

fn machine(machine: &Machine, command: &str) -> String {
    let Machine { cpu, cores, kernel, huge_pages, load_average_before, allocator, commit, versions, .. } = machine;
    let gib = machine.memory_bytes as f64 / f64::from(1 << 30);
    let versions: Vec<String> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let rows = [
        ("machine", format!("{cpu}, {cores} cores, {gib:.1} GiB, Linux {kernel}, huge pages: {huge_pages}")),
        ("load average before", load_average_before.to_string()),
        ("commit", commit.clone()),
        ("allocator", allocator.clone()),
        ("versions", versions.join(", ")),
        ("command", format!("`{command}`")),
    ];
    table(&["", ""], rows.into_iter().map(|(what, value)| vec![what.to_owned(), value]).collect()).unwrap_or_default()
}

fn verdicts(verdicts: &[Verdict]) -> Option<String> {
    let rows = verdicts.iter().map(|verdict| {
        let Verdict { what, measured, bound, note } = verdict;
        let figure = |value: f64| format!("{}{}", short(value), bound.unit);
        let target = format!("{} {}", bound.words(), figure(bound.target));
        let result = verdict.result().to_owned();
        vec![what.clone(), figure(*measured), note.clone(), target, figure(bound.stretch), result]
    });
    table(&["what", "measured", "beside", "target", "stretch", "result"], rows.collect())
}

/// A row for each place, a column for each side that was there.
fn costs(results: &EngineResults, places: &[Place]) -> Option<String> {
    let sides = sides(results, places);
    let with = |wanted: fn(SideName) -> bool| sides.iter().any(|&side| wanted(side));
    let (peers, floor) = (with(SideName::is_peer), with(|side| side == SideName::Floor));
    let mut head: Vec<String> = vec!["what".to_owned()];
    head.extend(sides.iter().map(SideName::to_string));
    head.extend(peers.then(|| "best map / kvd".to_owned()));
    head.extend(floor.then(|| "kvd / floor".to_owned()));
    let rows = places.iter().map(|&place| {
        // A batch of kvd's stands beside the single gets of all others.
        let others = if place.work == Work::BatchedGet { Place { work: Work::Get, ..place } } else { place };
        let mut row = vec![figures::name(&place)];
        row.extend(sides.iter().map(|&side| cost(&results.ns(side, place))));
        row.extend(
            peers.then(|| results.against_best_peer(place, others).map_or(String::new(), |(ratio, _)| short(ratio))),
        );
        let against_floor = results.ratio((SideName::Kvd, place), (SideName::Floor, others));
        row.extend(floor.then(|| against_floor.map_or(String::new(), short)));
        row
    });
    table(&head, rows.collect())
}

fn scaling(results: &EngineResults) -> Option<String> {
    let places = results.places(|place| place.threads > 1 && place.work == Work::Get && place.dist != Dist::Uniform);
    let sides = sides(results, &places);
    let head: Vec<String> = ["what".to_owned()].into_iter().chain(sides.iter().map(SideName::to_string)).collect();
    let rows = places.iter().map(|&place| {
        let scaling = sides.iter().map(|&side| results.scaling(side, place).map_or(String::new(), short));
        [figures::name(&place)].into_iter().chain(scaling).collect()
    });
    table(&head, rows.collect())
}

fn sides(results: &EngineResults, places: &[Place]) -> Vec<SideName> {
    let here = results.cells.iter().filter(|cell| places.contains(&cell.place));
    here.map(|cell| cell.side).collect::<BTreeSet<_>>().into_iter().collect()
}

fn growth(results: &EngineResults) -> Option<String> {
    let named: BTreeSet<SideName> = results.growth.iter().map(|growth| growth.side).collect();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for side in named {
        let growths: Vec<&Growth> = results.growth.iter().filter(|growth| growth.side == side).collect();
        let seconds: Vec<f64> = growths.iter().map(|growth| growth.seconds).collect();
        let mut row = vec![side.to_string(), short(median(&seconds))];
        for of in [(|growth| growth.put) as fn(&Growth) -> Latency, |growth| growth.get] {
            row.extend(latencies(&growths.iter().map(|growth| of(growth)).collect::<Vec<_>>()));
        }
        rows.push(row);
    }
    if !results.noise.is_empty() && !rows.is_empty() {
        let mut row = vec!["the machine".to_owned(), String::new()];
        row.extend(latencies(&results.noise));
        row.resize(8, String::new());
        rows.push(row);
    }
    let head =
        ["side", "seconds", "put p50, ns", "put p99.99", "longest put", "get p50, ns", "get p99.99", "longest get"];
    table(&head, rows)
}

/// The usual, the rare and the longest.
fn latencies(rounds: &[Latency]) -> [String; 3] {
    let of = |figure: fn(&Latency) -> u64| rounds.iter().map(|latency| figure(latency) as f64).collect::<Vec<f64>>();
    let ms = |ns: f64| format!("{:.3}", ns / 1e6);
    let longest = of(|latency| latency.max);
    let worst = longest.iter().copied().fold(0.0, f64::max);
    let p9999 = ms(median(&of(|latency| latency.p9999)));
    [short(median(&of(|latency| latency.p50))), p9999, format!("{} ({})", ms(median(&longest)), ms(worst))]
}

fn memory(results: &[MemoryResult]) -> Option<String> {
    let mut groups: Vec<Vec<&MemoryResult>> = Vec::new();
    for result in results {
        let same = |other: &&MemoryResult| {
            let of =
                |result: &MemoryResult| (result.side, result.keys, result.allocator.clone(), result.variant.clone());
            of(result) == of(other)
        };
        match groups.iter_mut().find(|group| group.iter().any(same)) {
            Some(group) => group.push(result),
            None => groups.push(vec![result]),
        }
    }
    let rows = groups.iter().map(|group| {
        let first = group[0];
        let each = |figure: fn(&MemoryResult) -> f64| group.iter().map(|result| figure(result)).collect::<Vec<_>>();
        let all =
            |ns: fn(&MemoryResult) -> &Vec<f64>| group.iter().flat_map(|result| ns(result).clone()).collect::<Vec<_>>();
        let allocator = if first.variant.is_empty() { "" } else { ", " };
        vec![
            first.side.to_string(),
            figures::count(first.keys),
            format!("{}{allocator}{}", first.allocator, first.variant),
            short(median(&each(|result| result.loaded.overhead_per_key(result.keys)))),
            short(median(&each(|result| result.churned.overhead_per_key(result.keys)))),
            cost(&all(|result| &result.get_ns)),
            cost(&all(|result| &result.set_ns)),
            short(median(&each(|result| result.huge_page_bytes as f64 / f64::from(1 << 20)))),
        ]
    });
    let head = ["side", "keys", "allocator", "loaded, B", "churned, B", "get, ns", "set, ns", "huge pages, MiB"];
    table(&head, rows.collect())
}

/// The median, and the least in brackets.
fn cost(ns: &[f64]) -> String {
    if ns.is_empty() { String::new() } else { format!("{} ({})", short(median(ns)), short(min(ns))) }
}

/// Three digits are more than the machine's noise leaves.
pub(super) fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 || size == 0.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

pub(super) fn table(head: &[impl AsRef<str>], rows: Vec<Vec<String>>) -> Option<String> {
    if rows.is_empty() {
        return None;
    }
    let head: Vec<&str> = head.iter().map(AsRef::as_ref).collect();
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        text += &format!("| {} |\n", row.join(" | "));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::tests::{place, results};

    #[test]
    fn a_row_has_all_sides_and_both_ratios() {
        let get = place(Work::Get, 1);
        let results = results(vec![
            (SideName::Kvd, get, 1, vec![100.0, 90.0, 110.0]),
            (SideName::Papaya, get, 1, vec![150.0, 135.0, 165.0]),
            (SideName::Floor, get, 1, vec![80.0, 72.0, 88.0]),
        ]);
        assert_eq!(
            costs(&results, &[get]).unwrap(),
            "| what | kvd | papaya | floor | best map / kvd | kvd / floor |\n\
             |---|---|---|---|---|---|\n\
             | gets, 1 M keys, Zipf, 1 thread | 100 (90.0) | 150 (135) | 80.0 (72.0) | 1.50 | 1.25 |\n"
        );
    }

    #[test]
    fn what_was_not_measured_has_no_section() {
        let text = engine(&results(Vec::new()));
        assert!(!text.contains("###"), "{text}");
        assert!(text.contains("`kvd-bench engine`"));
    }
}
