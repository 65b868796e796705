//! Resident memory for each key, after loading and after churn, and the speed under the allocator that this program was built
//! with. Every result comes from a process of its own, since memory that one map gave back would be there for the next.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use bytes::Bytes;
use procfs::process::Process;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::allocator::VARIANTS;
use crate::args::{AllocatorOptions, EngineOptions, MemoryOptions};
use crate::keys::{self, Dist, KEY_BYTES};
use crate::machine::Machine;
use crate::measure::{self, Job, Work};
use crate::results::{AllocatorResults, Footprint, MemoryResult};
use crate::sides::{Access, BATCH, Handle, Side, SideName};
use crate::{allocator, report, results};

/// Turns of gets and of sets.
const ROUNDS: usize = 5;
/// Lengths of values after churn, evenly drawn.
const CHURNED_BYTES: std::ops::RangeInclusive<usize> = 32..=256;

/// `kvd-bench memory`: measures in this process and prints the result as JSON.
///
/// # Errors
/// The side is no map, or /proc can't be read.
#[expect(clippy::print_stdout, reason = "the result is for another process")]
pub(crate) fn memory(options: &MemoryOptions) -> anyhow::Result<()> {
    let result = options.side.remember(options)?;
    println!("{}", serde_json::to_string(&result)?);
    Ok(())
}

/// # Errors
/// /proc can't be read.
pub(crate) fn remember<S: Side>(options: &MemoryOptions) -> anyhow::Result<MemoryResult> {
    let keys = options.keys;
    let value = keys::value(options.value_bytes);
    // All that is not the map is made before, or it would count for the map.
    let sequence = keys::sequence(Dist::Uniform, keys);
    let churn = Churn::new(keys);
    let before = resident_bytes()?;
    let footprint = |payload_bytes| {
        anyhow::Ok(Footprint { resident_bytes: resident_bytes()?.saturating_sub(before), payload_bytes })
    };

    let side = S::load(keys, &value);
    let loaded = footprint((keys * (KEY_BYTES + value.len())) as u64)?;
    let (mut get_ns, mut set_ns) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for (work, ns) in [(Work::Get, &mut get_ns), (Work::Mixed(100), &mut set_ns)] {
            let start = round * sequence.len() / ROUNDS;
            let seconds = options.seconds_per_cell;
            let job = Job { work, threads: 1, keys, sequence: &sequence, start, seconds };
            ns.push(measure::measure(&side, &value, &job)?);
        }
    }
    churn.run(&mut side.handle());
    let churned = footprint(churn.payload_bytes())?;
    let maps = Process::myself()?.smaps_rollup()?.memory_map_rollup.0;
    let huge_page_bytes = maps.iter().filter_map(|map| map.extension.map.get("AnonHugePages")).sum();
    // The process ends now, which frees it faster.
    std::mem::forget(side);
    Ok(MemoryResult {
        side: options.side,
        allocator: allocator::NAME.to_owned(),
        variant: options.variant.clone(),
        keys,
        loaded,
        churned,
        get_ns,
        set_ns,
        huge_page_bytes,
    })
}

/// What happens to the keys after they were loaded, drawn before memory is measured.
struct Churn {
    /// Longest value, of which others are the front.
    longest: Bytes,
    /// Of each key's value at the end.
    lengths: Vec<u16>,
    /// Which keys are removed and put back.
    removed: Vec<bool>,
}

impl Churn {
    fn new(keys: usize) -> Churn {
        let mut random = SmallRng::seed_from_u64(2);
        Churn {
            longest: keys::value(*CHURNED_BYTES.end()),
            lengths: (0..keys).map(|_| random.random_range(CHURNED_BYTES) as u16).collect(),
            removed: (0..keys).map(|_| random.random()).collect(),
        }
    }

    /// Overwrites every value by one of another size, removes half of the keys and puts them back, in no order that an
    /// allocator could like.
    fn run(&self, handle: &mut impl Handle) {
        let keys = self.lengths.len();
        let removed = |index: u32| self.removed[index as usize];
        each(handle, keys, |access, index| {
            let last = self.length(index);
            // As evenly drawn as the last one, and another for nearly all.
            let length = if removed(index) { CHURNED_BYTES.start() + CHURNED_BYTES.end() - last } else { last };
            access.set(&keys::key(index), &self.longest.slice(..length));
        });
        each(handle, keys, |access, index| {
            if removed(index) {
                access.remove(&keys::key(index));
            }
        });
        each(handle, keys, |access, index| {
            if removed(index) {
                access.insert(&keys::key(index), &self.longest.slice(..self.length(index)));
            }
        });
    }

    fn length(&self, index: u32) -> usize {
        usize::from(self.lengths[index as usize])
    }

    /// Bytes of all keys and values at the end.
    fn payload_bytes(&self) -> u64 {
        self.lengths.iter().map(|&length| KEY_BYTES as u64 + u64::from(length)).sum()
    }
}

fn each<H: Handle>(handle: &mut H, keys: usize, mut operation: impl FnMut(&mut H::Access<'_>, u32)) {
    let mut ranks = 0..keys;
    while !ranks.is_empty() {
        let mut access = handle.batch();
        for rank in ranks.by_ref().take(BATCH) {
            operation(&mut access, keys::scramble(rank, keys));
        }
    }
}

fn resident_bytes() -> anyhow::Result<u64> {
    let pages = Process::myself().and_then(|process| process.statm()).context("cannot read /proc/self/statm")?.resident;
    Ok(pages * procfs::page_size())
}

/// Every map at every number of keys, each in a process of this program.
///
/// # Errors
/// A child process fails.
pub(super) fn of_engine(options: &EngineOptions) -> anyhow::Result<Vec<MemoryResult>> {
    let program = env::current_exe().context("cannot find this program again")?;
    let mut results = Vec::new();
    for &keys in &options.memory_keys {
        for side in options.sides.iter().copied().filter(|side| side.is_map()) {
            let (value_bytes, seconds_per_cell) = (options.value_bytes, options.seconds_per_cell);
            let task = MemoryOptions { side, keys, value_bytes, seconds_per_cell, variant: String::new() };
            results.push(Child { binary: program.clone(), task, variable: None }.run()?);
        }
    }
    Ok(results)
}

/// `kvd-bench allocators`: every map under every allocator, and kvd with and without huge pages.
///
/// # Errors
/// A child process fails, or a file can't be written.
pub(crate) fn allocators(options: &AllocatorOptions) -> anyhow::Result<()> {
    let AllocatorOptions { keys, value_bytes, seconds_per_cell, .. } = *options;
    let mut children: Vec<Child> = Vec::new();
    for side in options.sides.iter().copied().filter(|side| side.is_map()) {
        for binary in &options.binaries {
            let mut add = |variant: &str, variable| {
                let task = MemoryOptions { side, keys, value_bytes, seconds_per_cell, variant: variant.to_owned() };
                children.push(Child { binary: binary.clone(), task, variable });
            };
            add("", None);
            if side == SideName::Kvd {
                let name = allocator_of(binary)?;
                for (_, variant, key, value) in VARIANTS.into_iter().filter(|(allocator, ..)| *allocator == name) {
                    add(variant, Some((key, value)));
                }
            }
        }
    }
    let machine = Machine::current()?;
    let mut memory = Vec::new();
    for _ in 0..options.rounds {
        for child in &children {
            memory.push(child.run()?);
        }
    }
    let results = AllocatorResults { machine, command: super::engine::command(), value_bytes, memory };
    results::save(&options.paths.allocators(), &results)?;
    report::write(&options.paths)
}

/// Asks the smallest question of it.
fn allocator_of(binary: &Path) -> anyhow::Result<String> {
    let (keys, value_bytes, seconds_per_cell) = (1_000, 64, 0.001);
    let task = MemoryOptions { side: SideName::Shards, keys, value_bytes, seconds_per_cell, variant: String::new() };
    Ok(Child { binary: binary.to_owned(), task, variable: None }.run()?.allocator)
}

/// `kvd-bench memory` in a process of its own.
struct Child {
    binary: PathBuf,
    task: MemoryOptions,
    /// Of its environment, beside those of this process.
    variable: Option<(&'static str, &'static str)>,
}

impl Child {
    /// # Errors
    /// The process can't be started, or fails.
    fn run(&self) -> anyhow::Result<MemoryResult> {
        let Child { binary, task, variable } = self;
        let output = Command::new(binary)
            .args(["memory", "--side", &task.side.flag(), "--keys", &task.keys.to_string()])
            .args(["--value-bytes", &task.value_bytes.to_string(), "--variant", &task.variant])
            .args(["--seconds-per-cell", &task.seconds_per_cell.to_string()])
            .envs(*variable)
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        ensure!(output.status.success(), "{} memory of {}: {}", binary.display(), task.side, output.status);
        let result = serde_json::from_slice(&output.stdout);
        let result: MemoryResult = result.context("a child printed something else than a result")?;
        let MemoryResult { side, allocator, variant, keys, .. } = &result;
        let [loaded, churned] =
            [result.loaded, result.churned].map(|footprint| footprint.resident_bytes / *keys as u64);
        anstream::eprintln!("{side}, {allocator} {variant}, {keys} keys: {loaded} bytes each, {churned} after churn");
        Ok(result)
    }
}
