//! What was measured, as it stands in the raw data: read again when the report is written. Knows nothing of how figures are
//! shown, nor what is asked of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::args::Paths;
use crate::keys::Dist;
use crate::machine::Machine;
use crate::measure::Work;
use crate::sides::SideName;

/// One kind of work on one side, in every round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    #[serde(flatten)]
    pub(crate) place: Place,
    pub(crate) side: SideName,
    /// Which sides were in memory together: those of one number had their turns beside each other.
    pub(crate) company: usize,
    /// What a thread took for each operation, in the order of the rounds.
    pub(crate) ns: Vec<f64>,
}

/// What cells have in common that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) work: Work,
    pub(crate) keys: usize,
    pub(crate) dist: Dist,
    pub(crate) threads: usize,
}

/// One growth of one side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Growth {
    pub(crate) side: SideName,
    pub(crate) keys: usize,
    pub(crate) seconds: f64,
    pub(crate) put: Latency,
    pub(crate) get: Latency,
}

/// Nanoseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p9999: u64,
    pub(crate) max: u64,
}

/// One side under one allocator, in a process of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MemoryResult {
    pub(crate) side: SideName,
    pub(crate) allocator: String,
    /// What the environment asked of the allocator; empty for nothing.
    pub(crate) variant: String,
    pub(crate) keys: usize,
    /// After each key was given a value.
    pub(crate) loaded: Footprint,
    /// After all were given values of other sizes, half of the keys were removed, and put back.
    pub(crate) churned: Footprint,
    /// What a get took, and a set of a present key, on one thread, by uniformly drawn keys.
    pub(crate) get_ns: Vec<f64>,
    pub(crate) set_ns: Vec<f64>,
    /// How much of the memory was in huge pages at the end.
    pub(crate) huge_page_bytes: u64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Footprint {
    /// Above what the process had before it made the map.
    pub(crate) resident_bytes: u64,
    /// All bytes of keys and values.
    pub(crate) payload_bytes: u64,
}

impl Footprint {
    pub(crate) fn overhead_per_key(&self, keys: usize) -> f64 {
        (self.resident_bytes as f64 - self.payload_bytes as f64) / keys as f64
    }
}

/// What `kvd-bench engine` writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EngineResults {
    pub(crate) machine: Machine,
    pub(crate) command: String,
    pub(crate) rounds: u32,
    pub(crate) seconds_per_cell: f64,
    pub(crate) value_bytes: usize,
    /// What was asked for and could not be measured, and why.
    pub(crate) left_out: Vec<String>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) growth: Vec<Growth>,
    /// The longest gaps that a thread sees which does nothing but read the clock, on every core at once.
    pub(crate) noise: Vec<Latency>,
    pub(crate) memory: Vec<MemoryResult>,
}

/// What `kvd-bench allocators` writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AllocatorResults {
    pub(crate) machine: Machine,
    pub(crate) command: String,
    pub(crate) value_bytes: usize,
    /// One for each side, allocator, variant and round.
    pub(crate) memory: Vec<MemoryResult>,
}

/// What `kvd-bench durable` writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DurableResults {
    pub(crate) machine: Machine,
    pub(crate) command: String,
    /// Each side's version.
    pub(crate) servers: BTreeMap<String, String>,
    pub(crate) keys: usize,
    pub(crate) seconds: f64,
    pub(crate) rounds: u32,
    pub(crate) key_rounds: u32,
    /// The pace of the gets around a snapshot.
    pub(crate) gets_per_second: u32,
    /// Small writes and their fdatasync by nobody's server, in the order of the rounds.
    pub(crate) disk_syncs_per_second: Vec<f64>,
    pub(crate) writes: Vec<Writes>,
    pub(crate) many_keys: Vec<ManyKeys>,
}

/// A turn of one side at sets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Writes {
    pub(crate) round: u32,
    pub(crate) side: String,
    pub(crate) fsync: String,
    pub(crate) clients: usize,
    pub(crate) writes_per_second: f64,
    pub(crate) server_cpu_us_per_write: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_9_us: f64,
}

/// A turn of one side with many keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ManyKeys {
    pub(crate) round: u32,
    pub(crate) side: String,
    pub(crate) fill_seconds: f64,
    pub(crate) quiet: Gets,
    pub(crate) during_snapshot: Gets,
    pub(crate) snapshot_seconds: f64,
    /// From the start of the process until it answers, with a journal alone.
    pub(crate) journal_start_seconds: f64,
    pub(crate) snapshot_start_seconds: f64,
    pub(crate) journal_bytes: u64,
    pub(crate) snapshot_bytes: u64,
    /// Journal and snapshot, once the snapshot is made.
    pub(crate) total_bytes: u64,
}

/// Gets at a steady pace, their time from when they were due.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Gets {
    pub(crate) count: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_9_us: f64,
    pub(crate) longest_us: f64,
}

/// What `kvd-bench eviction` writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EvictionResults {
    pub(crate) machine: Machine,
    pub(crate) command: String,
    /// Each server's version.
    pub(crate) servers: BTreeMap<String, String>,
    /// Of each cache.
    pub(crate) memory_bytes: u64,
    pub(crate) keys: usize,
    pub(crate) requests: usize,
    pub(crate) value_bytes: usize,
    pub(crate) ratios: Vec<HitRatio>,
}

/// One cache under one kind of traffic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HitRatio {
    pub(crate) trace: String,
    pub(crate) cache: String,
    /// That it held at the end.
    pub(crate) keys: u64,
    /// Of the requests after the warm-up.
    pub(crate) hit_ratio: f64,
}

impl Paths {
    pub(crate) fn eviction(&self) -> PathBuf {
        self.raw("eviction.json")
    }

    pub(crate) fn durable(&self) -> PathBuf {
        self.raw("durable.json")
    }

    pub(crate) fn engine(&self) -> PathBuf {
        self.raw("engine.json")
    }

    pub(crate) fn allocators(&self) -> PathBuf {
        self.raw("allocators.json")
    }

    pub(crate) fn report(&self) -> &Path {
        self.report.as_deref().unwrap_or(Path::new("docs/BENCHMARKS.md"))
    }

    fn raw(&self, name: &str) -> PathBuf {
        self.raw_dir.as_deref().unwrap_or(Path::new("docs/bench")).join(name)
    }
}

/// # Errors
/// The file can't be written.
pub(crate) fn save(path: &Path, results: &impl Serialize) -> anyhow::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    }
    let json = serde_json::to_string(results)? + "\n";
    // A line for each result: small, and two runs can be told apart. Inside a string the quote would be escaped.
    let json = json.replace("},{\"", "},\n{\"");
    fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
}

/// What a file holds; nothing, if there is none.
///
/// # Errors
/// The file can't be read, or holds something else.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    let json = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let results = serde_json::from_str(&json);
    Ok(Some(results.with_context(|| format!("{} is of another version: measure again", path.display()))?))
}
