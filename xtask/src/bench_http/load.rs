//! One run of wrk against one server. The requests are made by bench/http/load.lua, which also says as JSON what
//! happened.

use std::process::Command;

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::server::Server;
use super::{KEYS, Options};

#[derive(Deserialize)]
pub(super) struct Load {
    /// Answers that came.
    pub(super) requests: u64,
    pub(super) duration_us: u64,
    /// Answers with an error's status, and connections that broke.
    pub(super) failed: u64,
    /// From the write of a batch to each of its answers.
    pub(super) latency_us_p50: u64,
    pub(super) latency_us_p99: u64,
}

impl Load {
    pub(super) fn run(options: &Options, server: &Server, depth: usize, seconds: usize) -> anyhow::Result<Load> {
        let output = Command::new("taskset")
            .args(["--cpu-list", &options.client_cpu.to_string(), "wrk", "--threads", "1"])
            .args(["--connections", &options.connections.to_string(), "--duration", &seconds.to_string()])
            .args(["--script", "bench/http/load.lua", &format!("http://{}", server.address), "--"])
            .args([depth.to_string(), KEYS.to_string()])
            .output()
            .context("cannot run wrk")?;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let line = stdout.lines().rfind(|line| line.starts_with('{'));
        let line = line.with_context(|| format!("wrk failed ({}): {stdout}{stderr}", output.status))?;
        let load: Load = serde_json::from_str(line).with_context(|| format!("wrk's script printed {line}"))?;
        ensure!(load.failed == 0, "{}: {} of wrk's requests failed", server.name, load.failed);
        ensure!(load.requests > 0 && load.duration_us > 0, "{}: wrk had no answer", server.name);
        Ok(load)
    }
}
