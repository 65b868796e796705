//! What was measured on and with: processor, kernel, allocator, versions. Knows nothing of what was measured.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use procfs::Current;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::allocator;

/// Load average of a machine that does nothing else.
const LOAD_QUIET_MAX: f32 = 0.5;
/// Whose versions matter.
const CRATES: [&str; 10] = [
    "dashmap",
    "hashbrown",
    "kvd-engine",
    "libmimalloc-sys",
    "papaya",
    "parking_lot",
    "rapidhash",
    "scc",
    "seize",
    "tikv-jemalloc-sys",
];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
    /// The kernel's setting for transparent huge pages.
    pub(crate) huge_pages: String,
    /// Over the minute before; about 0 on a machine that does nothing else.
    pub(crate) load_average_before: f32,
    /// Of this process.
    pub(crate) allocator: String,
    /// Which state of the repository was measured.
    pub(crate) commit: String,
    pub(crate) versions: BTreeMap<String, String>,
}

impl Machine {
    /// # Errors
    /// /proc can't be read.
    pub(crate) fn current() -> anyhow::Result<Machine> {
        let load_average_before = procfs::LoadAverage::current()?.one;
        if load_average_before > LOAD_QUIET_MAX {
            anstream::eprintln!(
                "warning: the machine is busy (load average {load_average_before}); figures will be noisy"
            );
        }
        let cpus = procfs::CpuInfo::current()?;
        Ok(Machine {
            cpu: cpus.model_name(0).unwrap_or("unknown").to_owned(),
            cores: cpus.num_cores(),
            memory_bytes: procfs::Meminfo::current()?.mem_total,
            kernel: line("/proc/sys/kernel/osrelease"),
            huge_pages: line("/sys/kernel/mm/transparent_hugepage/enabled"),
            load_average_before,
            allocator: allocator::NAME.to_owned(),
            commit: commit(),
            versions: versions(),
        })
    }
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// A benchmark may also run outside the repository; then there is no commit to name.
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

/// As this program was built with. Several versions of one crate are named together.
fn versions() -> BTreeMap<String, String> {
    let lock: Table = include_str!("../../../Cargo.lock").parse().expect("cargo has read its own file");
    let mut versions: BTreeMap<String, String> = BTreeMap::new();
    for package in lock.get("package").and_then(Value::as_array).into_iter().flatten() {
        let [name, version] = ["name", "version"].map(|field| package.get(field).and_then(Value::as_str).unwrap_or(""));
        if CRATES.contains(&name) {
            let all = versions.entry(name.to_owned()).or_default();
            *all = if all.is_empty() { version.to_owned() } else { format!("{all}, {version}") };
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_that_matters_has_its_version() {
        assert_eq!(versions().len(), CRATES.len(), "{:?}", versions());
    }
}
