//! What was measured: every run as raw data, and the table of medians. A ratio is taken within a round, where both
//! sides had the same machine, and its median over the rounds is what counts; the rest is for orientation.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use procfs::Current;
use serde::Serialize;

use super::answer::Headers;
use super::load::Load;
use super::server::Server;
use super::{DEPTHS, KEYS, Options, PACKAGES, VALUE_BYTES};
use crate::packages;

/// One turn of one server.
#[derive(Clone, Serialize)]
pub(super) struct Run {
    round: usize,
    server: &'static str,
    depth: usize,
    requests: u64,
    requests_per_second: f64,
    server_cpu_us_per_request: f64,
    /// How much of its core the server used; far below 1 the client was the slower side.
    server_cpu_share: f64,
    latency_us_p50: u64,
    latency_us_p99: u64,
}

#[derive(Serialize)]
pub(super) struct Report {
    machine: BTreeMap<&'static str, String>,
    versions: BTreeMap<&'static str, Option<String>>,
    settings: BTreeMap<&'static str, usize>,
    answers: BTreeMap<&'static str, Headers>,
    /// After the last round.
    resident_bytes: BTreeMap<&'static str, u64>,
    runs: Vec<Run>,
}

impl Run {
    pub(super) fn new(round: usize, server: &'static str, depth: usize, load: &Load, cpu: Duration) -> Run {
        let seconds = load.duration_us as f64 / 1e6;
        Run {
            round,
            server,
            depth,
            requests: load.requests,
            requests_per_second: (load.requests as f64 / seconds).round(),
            server_cpu_us_per_request: round_to(cpu.as_secs_f64() * 1e6 / load.requests as f64, 4),
            server_cpu_share: round_to(cpu.as_secs_f64() / seconds, 3),
            latency_us_p50: load.latency_us_p50,
            latency_us_p99: load.latency_us_p99,
        }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Run { round, server, depth, requests_per_second, server_cpu_us_per_request, server_cpu_share, .. } = self;
        write!(f, "round {round}, {depth:2} deep, {server:8}: {requests_per_second:7.0} requests/s, ")?;
        write!(f, "{server_cpu_us_per_request:6.3} us of CPU each, {:3.0}% of the core", server_cpu_share * 100.0)
    }
}

impl Report {
    pub(super) fn new(
        options: &Options,
        servers: &[Server],
        answers: BTreeMap<&'static str, Headers>,
        runs: Vec<Run>,
        load_before: f32,
    ) -> anyhow::Result<Report> {
        let cpus = procfs::CpuInfo::current()?;
        let mut versions: BTreeMap<_, _> = packages::versions(&PACKAGES).into_iter().collect();
        versions.insert("kvd", first_line(&options.bin_dir.join("kvd"), "version"));
        versions.insert("kernel", first_line(Path::new("uname"), "--kernel-release"));
        versions.insert("go", first_line(Path::new("go"), "version"));
        let resident = servers.iter().map(|server| Ok((server.name, server.resident_bytes()?)));
        Ok(Report {
            machine: BTreeMap::from([
                ("cpu", cpus.model_name(0).unwrap_or("unknown").to_owned()),
                ("cores", cpus.num_cores().to_string()),
                ("load_average_before", load_before.to_string()),
            ]),
            versions,
            settings: BTreeMap::from([
                ("rounds", options.rounds),
                ("seconds", options.seconds),
                ("connections", options.connections),
                ("keys", KEYS),
                ("value_bytes", VALUE_BYTES),
            ]),
            answers,
            resident_bytes: resident.collect::<anyhow::Result<_>>()?,
            runs,
        })
    }

    pub(super) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(self)? + "\n";
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        }
        fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Medians over the rounds, in Markdown.
    pub(super) fn table(&self) -> String {
        let mut table = String::from("| pipelined | what | kvd | fasthttp | kvd / fasthttp |\n|---|---|---|---|---|\n");
        for depth in DEPTHS {
            let mut row = |what: &str, digits: usize, figure: fn(&Run) -> f64| {
                let [kvd, fasthttp] = ["kvd", "fasthttp"].map(|server| self.figures(server, depth, figure));
                let ratio = median(kvd.iter().zip(&fasthttp).map(|(kvd, fasthttp)| kvd / fasthttp).collect());
                let [kvd, fasthttp] = [kvd, fasthttp].map(median);
                writeln!(table, "| {depth} | {what} | {kvd:.digits$} | {fasthttp:.digits$} | {ratio:.2} |")
                    .expect("a string takes all that is written");
            };
            row("server CPU per request, us", 2, |run| run.server_cpu_us_per_request);
            row("requests per second", 0, |run| run.requests_per_second);
            row("share of the server's core", 2, |run| run.server_cpu_share);
            row("latency p50, us", 0, |run| run.latency_us_p50 as f64);
            row("latency p99, us", 0, |run| run.latency_us_p99 as f64);
        }
        let [kvd, fasthttp] = ["kvd", "fasthttp"].map(|server| self.resident_bytes[server] as f64 / f64::from(1 << 20));
        let ratio = kvd / fasthttp;
        table + &format!("| | resident memory, MiB, {KEYS} keys | {kvd:.1} | {fasthttp:.1} | {ratio:.2} |\n")
    }

    /// One figure of one server at one depth, in the order of the rounds.
    fn figures(&self, server: &str, depth: usize, figure: fn(&Run) -> f64) -> Vec<f64> {
        let mine = self.runs.iter().filter(|run| run.server == server && run.depth == depth);
        mine.map(figure).collect()
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}

fn round_to(figure: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (figure * scale).round() / scale
}

fn first_line(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(round: usize, server: &'static str, depth: usize, requests: u64, cpu_ms: u64) -> Run {
        let load = Load { requests, duration_us: 1_000_000, failed: 0, latency_us_p50: 100, latency_us_p99: 900 };
        Run::new(round, server, depth, &load, Duration::from_millis(cpu_ms))
    }

    #[test]
    fn the_table_shows_medians_and_the_median_of_the_ratios_within_rounds() {
        let mut runs = Vec::new();
        for depth in DEPTHS {
            for (round, kvd_ms, fasthttp_ms) in [(1, 500, 1000), (2, 600, 800), (3, 700, 1000)] {
                runs.push(run(round, "kvd", depth, 100_000, kvd_ms));
                runs.push(run(round, "fasthttp", depth, 80_000, fasthttp_ms));
            }
        }
        let report = Report {
            machine: BTreeMap::new(),
            versions: BTreeMap::new(),
            settings: BTreeMap::new(),
            answers: BTreeMap::new(),
            resident_bytes: BTreeMap::from([("kvd", 8 << 20), ("fasthttp", 16 << 20)]),
            runs,
        };
        let table = report.table();
        // 5, 6, 7 us beside 12.5, 10, 12.5: the ratios are 0.40, 0.60 and 0.56.
        assert!(table.contains("| 1 | server CPU per request, us | 6.00 | 12.50 | 0.56 |\n"), "{table}");
        assert!(table.contains("| 16 | requests per second | 100000 | 80000 | 1.25 |\n"), "{table}");
        assert!(table.ends_with("| | resident memory, MiB, 10000 keys | 8.0 | 16.0 | 0.50 |\n"), "{table}");
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median(vec![4.0, 1.0, 2.0, 8.0]), 3.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
