//! `kvd-bench engine`: rounds of turns. A group is what is compared within a round: every side, at every number of threads,
//! at one kind of work on the same keys. Knows nothing of how a turn is timed.

use std::collections::BTreeMap;
use std::env;

use anyhow::ensure;
use procfs::Current;

use super::{growth, memory};
use crate::args::{EngineOptions, Scenario};
use crate::keys::{self, Dist};
use crate::machine::Machine;
use crate::measure::{self, Job, Work};
use crate::results::{Cell, EngineResults, Place};
use crate::sides::{Loaded, SideName};
use crate::{report, results};

/// Sides that are in memory at the same time.
type Present = BTreeMap<SideName, Box<dyn Loaded>>;

struct Run<'a> {
    options: &'a EngineOptions,
    sequences: BTreeMap<(usize, u8), Vec<u32>>,
    cells: Vec<Cell>,
    left_out: Vec<String>,
    /// The number of the sides that are in memory now.
    company: usize,
}

/// A turn of one side in each round of a group.
#[derive(Clone, Copy)]
struct Lane {
    side: SideName,
    work: Work,
    threads: usize,
}

/// # Errors
/// There are fewer cores than threads, a child process fails, or a file can't be written.
pub(crate) fn engine(options: &EngineOptions) -> anyhow::Result<()> {
    let cores = measure::cores()?.len();
    ensure!(
        options.threads.iter().all(|threads| (1..=cores).contains(threads)),
        "--threads: from 1 to {cores}, the cores"
    );
    ensure!(options.seconds_per_cell > 0.0, "--seconds-per-cell: more than 0");
    let machine = Machine::current()?;
    let mut run = Run { options, sequences: BTreeMap::new(), cells: Vec::new(), left_out: Vec::new(), company: 0 };
    run.cells()?;
    let (growth, noise) = if run.wants(Scenario::Growth) { growth::rounds(options)? } else { Default::default() };
    let memory = if run.wants(Scenario::Memory) { memory::of_engine(options)? } else { Vec::new() };

    let results = EngineResults {
        machine,
        command: command(),
        rounds: options.rounds,
        seconds_per_cell: options.seconds_per_cell,
        value_bytes: options.value_bytes,
        left_out: run.left_out,
        cells: run.cells,
        growth,
        noise,
        memory,
    };
    results::save(&options.paths.engine(), &results)?;
    report::write(&options.paths)
}

/// How this process was started, without where its program stands.
pub(crate) fn command() -> String {
    ["kvd-bench".to_owned()].into_iter().chain(env::args().skip(1)).collect::<Vec<_>>().join(" ")
}

impl Run<'_> {
    fn wants(&self, scenario: Scenario) -> bool {
        self.options.scenarios.contains(&scenario)
    }

    fn cells(&mut self) -> anyhow::Result<()> {
        let timed = [Scenario::Get, Scenario::Chained, Scenario::Write, Scenario::Hot, Scenario::Atomic];
        if !timed.into_iter().any(|scenario| self.wants(scenario)) {
            return Ok(());
        }
        let mut sizes = self.options.keys.clone();
        sizes.sort_unstable();
        sizes.dedup();
        for keys in sizes {
            if self.fits(&self.options.sides, keys) {
                self.all_together(keys)?;
            } else {
                self.one_peer_at_a_time(keys)?;
            }
            self.sequences.clear();
        }
        Ok(())
    }

    fn all_together(&mut self, keys: usize) -> anyhow::Result<()> {
        let mut present = Present::new();
        for &side in &self.options.sides {
            self.load(&mut present, side, keys);
        }
        self.work(&present, keys)
    }

    /// kvd and the floor stay in memory, and each peer has its turns beside them.
    fn one_peer_at_a_time(&mut self, keys: usize) -> anyhow::Result<()> {
        let (peers, others): (Vec<SideName>, Vec<SideName>) =
            self.options.sides.iter().partition(|side| side.is_peer());
        let mut present = Present::new();
        for guest in if peers.is_empty() { vec![None] } else { peers.into_iter().map(Some).collect() } {
            let company: Vec<SideName> = others.iter().copied().chain(guest).collect();
            let absent = company.iter().copied().filter(|side| !present.contains_key(side)).collect::<Vec<_>>();
            if !self.fits(&absent, keys) {
                let names = company.iter().map(SideName::to_string).collect::<Vec<_>>().join(", ");
                let text = format!("{keys} keys in {names}: not enough memory is available");
                anstream::eprintln!("warning: left out: {text}");
                self.left_out.push(text);
                continue;
            }
            for side in absent {
                self.load(&mut present, side, keys);
            }
            self.work(&present, keys)?;
            if let Some(guest) = guest {
                present.remove(&guest);
            }
        }
        Ok(())
    }

    /// Everything that is measured beside each other.
    fn work(&mut self, present: &Present, keys: usize) -> anyhow::Result<()> {
        self.company += 1;
        let threads = self.options.threads.clone();
        for dist in self.options.dist.clone() {
            self.gets(present, keys, dist, &threads)?;
            if self.wants(Scenario::Write) {
                for percent in self.options.writes.clone().into_iter().filter(|&percent| percent > 0) {
                    self.group(present, keys, dist, maps(present, Work::Mixed(percent), &threads))?;
                }
            }
        }
        if self.wants(Scenario::Hot) {
            self.group(present, keys, Dist::Hot, maps(present, Work::Get, &threads))?;
        }
        if self.wants(Scenario::Atomic) && present.contains_key(&SideName::Kvd) {
            let lanes = [Work::SetSingly, Work::BatchedSet, Work::SetTogether].map(|work| Lane {
                side: SideName::Kvd,
                work,
                threads: 1,
            });
            self.group(present, keys, Dist::Uniform, lanes.to_vec())?;
        }
        Ok(())
    }

    fn gets(&mut self, present: &Present, keys: usize, dist: Dist, threads: &[usize]) -> anyhow::Result<()> {
        if self.wants(Scenario::Get) {
            let mut lanes = lanes(present.keys(), Work::Get, threads);
            if present.contains_key(&SideName::Kvd) {
                lanes.extend(self::lanes([&SideName::Kvd], Work::BatchedGet, threads));
            }
            self.group(present, keys, dist, lanes)?;
        }
        if self.wants(Scenario::Chained) {
            self.group(present, keys, dist, lanes(present.keys(), Work::ChainedGet, &[1]))?;
        }
        Ok(())
    }

    fn load(&self, present: &mut Present, side: SideName, keys: usize) {
        anstream::eprintln!("{keys} keys: loading {side}");
        present.insert(side, side.load(keys, &keys::value(self.options.value_bytes)));
    }

    /// All rounds of what is compared with each other.
    fn group(&mut self, present: &Present, keys: usize, dist: Dist, mut lanes: Vec<Lane>) -> anyhow::Result<()> {
        let first = self.cells.len();
        self.cells.extend(lanes.iter().map(|&Lane { side, work, threads }| Cell {
            place: Place { work, keys, dist, threads },
            side,
            company: self.company,
            ns: Vec::new(),
        }));
        let sequence = self.sequences.entry((keys, dist as u8)).or_insert_with(|| keys::sequence(dist, keys));
        for round in 0..self.options.rounds as usize {
            for &Lane { side, work, threads } in &lanes {
                // Not the keys that the last round left in the cache.
                let start = round * sequence.len() / self.options.rounds as usize;
                let job = Job { work, threads, keys, sequence, start, seconds: self.options.seconds_per_cell };
                let ns = present[&side].measure(&job)?;
                let place = Place { work, keys, dist, threads };
                let cell = self.cells[first..].iter_mut().find(|cell| cell.side == side && cell.place == place);
                cell.expect("each lane has its cell").ns.push((ns * 100.0).round() / 100.0);
            }
            // Who goes first changes, so that nobody always finds the machine warmer or cooler.
            lanes.rotate_left(1);
        }
        for cell in &self.cells[first..] {
            anstream::eprintln!("{}", report::line(cell));
        }
        Ok(())
    }

    fn fits(&self, sides: &[SideName], keys: usize) -> bool {
        let needed: usize = sides.iter().map(|side| keys * side.bytes_per_key_max(self.options.value_bytes)).sum();
        // What can't be read is not in the way: a machine that is too small says so by itself.
        let available = procfs::Meminfo::current().ok().and_then(|memory| memory.mem_available);
        available.is_none_or(|available| (needed as u64) < available)
    }
}

fn lanes<'a>(sides: impl IntoIterator<Item = &'a SideName>, work: Work, threads: &[usize]) -> Vec<Lane> {
    let of_side = |&side: &SideName| threads.iter().map(move |&threads| Lane { side, work, threads });
    sides.into_iter().flat_map(of_side).collect()
}

fn maps(present: &Present, work: Work, threads: &[usize]) -> Vec<Lane> {
    lanes(present.keys().filter(|side| side.is_map()), work, threads)
}
