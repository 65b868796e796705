//! What can be typed: subcommands, flags and their defaults. Knows nothing of what is done with them.

use std::env;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::keys::Dist;
use crate::sides::SideName;

/// Measures kvd's engine beside other concurrent maps and the limits of the machine.
#[derive(Parser)]
#[command(name = "kvd-bench")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Measure the engine beside its peers, in one process and in turns; writes raw data and the report
    Engine(EngineOptions),
    /// Measure memory and speed of one side in this process; prints JSON
    Memory(MemoryOptions),
    /// Measure each side under each allocator, in a fresh process each; writes raw data and the report
    Allocators(AllocatorOptions),
    /// Measure what durability costs, beside redis-server in turns; writes raw data and the report
    Durable(DurableOptions),
    /// Count which share of requests is answered from a cache of a given size, beside exact LRU, the optimum and redis-server;
    /// writes raw data and the report
    Eviction(EvictionOptions),
    /// Write the report again from the raw data, without measuring
    Report(Paths),
}

#[derive(Clone, Args)]
pub(crate) struct Paths {
    /// Directory of the raw data [default: docs/bench]
    #[arg(long)]
    pub(crate) raw_dir: Option<PathBuf>,
    /// The report; only what stands between its markers is written [default: docs/BENCHMARKS.md]
    #[arg(long)]
    pub(crate) report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Gets one after another, those of kvd in batches too
    Get,
    /// Gets that each wait for the one before
    Chained,
    /// Gets with some sets of present keys
    Write,
    /// Gets of one key by all threads
    Hot,
    /// 16 keys set at once, and one by one
    Atomic,
    /// The longest put and get while a map grows
    Growth,
    /// Resident memory for each key
    Memory,
}

#[derive(Clone, Args)]
pub(crate) struct EngineOptions {
    /// What to measure
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Scenario::value_variants().to_vec())]
    pub(crate) scenarios: Vec<Scenario>,
    /// Who takes part
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = SideName::value_variants().to_vec())]
    pub(crate) sides: Vec<SideName>,
    /// Numbers of keys
    #[arg(long, value_delimiter = ',', value_parser = count, default_value = "1k,1m,10m,30m")]
    pub(crate) keys: Vec<usize>,
    /// How often each key is asked for
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [Dist::Uniform, Dist::Zipf])]
    pub(crate) dist: Vec<Dist>,
    /// Numbers of threads
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    pub(crate) threads: Vec<usize>,
    /// Shares of sets, in percent
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(0..=100), default_value = "0,1,5,50")]
    pub(crate) writes: Vec<u32>,
    /// Rounds; in each, every side has its turn at every cell
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Length of a turn
    #[arg(long, default_value_t = 0.15)]
    pub(crate) seconds_per_cell: f64,
    /// Length of the values
    #[arg(long, default_value_t = 64, value_parser = value_bytes)]
    pub(crate) value_bytes: usize,
    /// Keys that a map grows to
    #[arg(long, value_parser = count, default_value = "10m")]
    pub(crate) growth_keys: usize,
    /// How often each map grows
    #[arg(long, default_value_t = 3)]
    pub(crate) growth_rounds: u32,
    /// Numbers of keys at which memory is measured
    #[arg(long, value_delimiter = ',', value_parser = count, default_value = "1m,10m")]
    pub(crate) memory_keys: Vec<usize>,
    /// Prove that all of it runs, in seconds, on a thousand keys; what is measured means nothing, and goes to a temporary
    /// directory unless another is given
    #[arg(long)]
    pub(crate) quick: bool,
    #[command(flatten)]
    pub(crate) paths: Paths,
}

impl EngineOptions {
    /// With what `--quick` stands for.
    pub(crate) fn settled(mut self) -> Self {
        if self.quick {
            self.keys = vec![1_000];
            self.rounds = 2;
            self.seconds_per_cell = 0.001;
            self.growth_keys = 10_000;
            self.growth_rounds = 1;
            self.memory_keys = vec![1_000];
            let directory = env::temp_dir().join("kvd-bench-quick");
            self.paths.raw_dir.get_or_insert_with(|| directory.clone());
            self.paths.report.get_or_insert_with(|| directory.join("BENCHMARKS.md"));
        }
        self
    }
}

#[derive(Clone, Args)]
pub(crate) struct MemoryOptions {
    /// The side to measure
    #[arg(long, value_enum)]
    pub(crate) side: SideName,
    /// Keys to load
    #[arg(long, value_parser = count, default_value = "10m")]
    pub(crate) keys: usize,
    /// Length of the values that are loaded
    #[arg(long, default_value_t = 64, value_parser = value_bytes)]
    pub(crate) value_bytes: usize,
    /// Length of a turn of gets or sets
    #[arg(long, default_value_t = 0.15)]
    pub(crate) seconds_per_cell: f64,
    /// How the result names the environment that this process was started with
    #[arg(long, default_value = "")]
    pub(crate) variant: String,
}

#[derive(Clone, Args)]
pub(crate) struct AllocatorOptions {
    /// This program, built for one allocator; give one for each
    #[arg(long = "binary", required = true)]
    pub(crate) binaries: Vec<PathBuf>,
    /// Who takes part; the floor stores nothing and is left out
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = SideName::value_variants().to_vec())]
    pub(crate) sides: Vec<SideName>,
    /// Keys to load
    #[arg(long, value_parser = count, default_value = "10m")]
    pub(crate) keys: usize,
    /// Length of the values that are loaded
    #[arg(long, default_value_t = 64, value_parser = value_bytes)]
    pub(crate) value_bytes: usize,
    /// Rounds; in each, every side is measured under every allocator
    #[arg(long, default_value_t = 2)]
    pub(crate) rounds: u32,
    /// Length of a turn of gets or sets
    #[arg(long, default_value_t = 0.15)]
    pub(crate) seconds_per_cell: f64,
    #[command(flatten)]
    pub(crate) paths: Paths,
}

#[derive(Clone, Args)]
pub(crate) struct DurableOptions {
    /// Where the release build of kvd is
    #[arg(long, default_value = "target/release")]
    pub(crate) bin_dir: PathBuf,
    /// Where the servers' data goes, on the disk to measure; removed at the end [default: beside --bin-dir]
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Keys to make snapshots of and to restart with
    #[arg(long, value_parser = count, default_value = "10m")]
    pub(crate) keys: usize,
    /// Length of a turn, after a quarter of it as warm-up
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Rounds of writes; in each, both sides have their turn at each setting
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Rounds with many keys
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) key_rounds: u32,
    /// Measure kvd alone
    #[arg(long)]
    pub(crate) without_redis: bool,
    #[command(flatten)]
    pub(crate) paths: Paths,
}

#[derive(Clone, Args)]
pub(crate) struct EvictionOptions {
    /// Memory of each cache, in bytes
    #[arg(long, default_value_t = 32 << 20, value_parser = clap::value_parser!(u64).range(1 << 20..))]
    pub(crate) memory_bytes: u64,
    /// Keys that the popular ones are drawn from
    #[arg(long, value_parser = count, default_value = "2m")]
    pub(crate) keys: usize,
    /// Requests of each kind of traffic
    #[arg(long, value_parser = count, default_value = "8m")]
    pub(crate) requests: usize,
    /// Length of the values
    #[arg(long, default_value_t = 64, value_parser = value_bytes)]
    pub(crate) value_bytes: usize,
    /// Leave redis-server out
    #[arg(long)]
    pub(crate) without_redis: bool,
    #[command(flatten)]
    pub(crate) paths: Paths,
}

/// A number of keys, such as `1000`, `1k` or `10m`.
fn count(text: &str) -> Result<usize, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, unit) = match lower.strip_suffix(['k', 'm']) {
        Some(digits) if lower.ends_with('k') => (digits, 1_000),
        Some(digits) => (digits, 1_000_000),
        None => (lower.as_str(), 1),
    };
    let number: u32 = digits.parse().map_err(|error| format!("{error}; write a number such as 1000, 1k or 10m"))?;
    let keys = u64::from(number) * unit;
    // Sequences hold the indices of keys in 32 bits.
    if (16..=1 << 31).contains(&keys) { Ok(keys as usize) } else { Err("must be from 16 to 2^31".to_owned()) }
}

fn value_bytes(text: &str) -> Result<usize, String> {
    let bytes: usize = text.parse().map_err(|error| format!("{error}"))?;
    if (1..=4096).contains(&bytes) { Ok(bytes) } else { Err("must be from 1 to 4096".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_fit_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_number_of_keys_may_have_a_unit() {
        for (text, keys) in [("1000", 1_000), ("1k", 1_000), ("10m", 10_000_000), ("30M", 30_000_000)] {
            assert_eq!(count(text), Ok(keys), "{text}");
        }
        for text in ["", "k", "10g", "1.5m", "-1", "0", "4294967295m"] {
            assert!(count(text).is_err(), "{text}");
        }
    }
}
