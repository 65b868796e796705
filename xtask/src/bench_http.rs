//! `cargo xtask bench-http`: kvd's HTTP beside fasthttp, the engine under Fiber, in one run and in turns. Both answer
//! the same GETs of the same keys with the same headers, pinned to one core, while wrk asks from another. What makes
//! the comparison fair stands here; how each part is done stands in the modules below.

mod answer;
mod load;
mod report;
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use procfs::Current;

use crate::packages;
use load::Load;
use report::{Report, Run};
use server::Server;

/// The other side's tools: Go, fasthttp's source and wrk.
const PACKAGES: [&str; 4] = ["golang-go", "golang-github-valyala-fasthttp-dev", "wrk", "util-linux"];

/// Enough for a map to matter, few enough to stay in the cache: what is measured is HTTP, not memory.
const KEYS: usize = 10_000;
const VALUE_BYTES: usize = 64;
/// Requests that a connection sends before it waits for the answers.
const DEPTHS: [usize; 2] = [1, 16];
/// Load average of a machine that does nothing else.
const LOAD_QUIET_MAX: f32 = 0.5;

/// Both servers get the core SERVER_CPU in turns, wrk gets CLIENT_CPU.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where the release builds of kvd and kvcli are
    #[arg(long, default_value = "target/release")]
    bin_dir: PathBuf,
    /// Where the raw data goes
    #[arg(long, default_value = "docs/bench/http.json")]
    out: PathBuf,
    /// Rounds; in each, both servers have their turn at each depth
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of each turn in seconds, after a second of warm-up
    #[arg(long, default_value_t = 5)]
    seconds: usize,
    /// Connections that wrk keeps open
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// The core that the servers run on
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// The core that wrk runs on
    #[arg(long, default_value_t = 1)]
    client_cpu: usize,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    ensure!(options.server_cpu != options.client_cpu, "--server-cpu and --client-cpu must differ");
    ensure!(options.rounds > 0 && options.seconds > 0, "--rounds and --seconds must be at least 1");
    packages::install_missing(&PACKAGES, "the comparison needs")?;
    let load_before = procfs::LoadAverage::current()?.one;
    if load_before > LOAD_QUIET_MAX {
        anstream::eprintln!("warning: the machine is busy (load average {load_before}); the figures will be noisy");
    }

    let work = options.bin_dir.parent().unwrap_or(Path::new(".")).join("bench-http");
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let servers = [Server::kvd(options, &work)?, Server::fasthttp(options, &work)?];
    let answers = answer::same(&servers)?;

    let mut runs = Vec::new();
    for round in 1..=options.rounds {
        for depth in DEPTHS {
            // Who goes first changes, so that neither always finds the machine warmer or cooler.
            let mut turn: Vec<&Server> = servers.iter().collect();
            if round % 2 == 0 {
                turn.reverse();
            }
            for server in turn {
                let run = measure(options, server, round, depth)?;
                anstream::eprintln!("{run}");
                runs.push(run);
            }
        }
    }

    let report = Report::new(options, &servers, answers, runs, load_before)?;
    report.save(&options.out)?;
    anstream::println!("{}", report.table());
    anstream::println!("Raw data: {}", options.out.display());
    Ok(ExitCode::SUCCESS)
}

fn measure(options: &Options, server: &Server, round: usize, depth: usize) -> anyhow::Result<Run> {
    Load::run(options, server, depth, 1)?;
    let cpu_before = server.cpu_time()?;
    let load = Load::run(options, server, depth, options.seconds)?;
    let cpu = server.cpu_time()? - cpu_before;
    Ok(Run::new(round, server.name, depth, &load, cpu))
}
