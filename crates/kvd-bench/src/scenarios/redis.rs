//! redis-server and redis-cli from Debian's packages. Installs what is missing and tells so; without the rights to, says
//! what to type. Knows nothing of how they are used.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use procfs::process::Process;

/// redis-server brings redis-cli with it. No service is started: the benchmark has servers of its own.
const INSTALL: &str = "apt-get update && RUNLEVEL=1 apt-get install --yes --no-install-recommends redis-server";

pub(super) fn install_missing() -> anyhow::Result<()> {
    let is_there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if is_there("redis-server") && is_there("redis-cli") {
        return Ok(());
    }
    if Process::myself()?.uid()? != 0 {
        bail!("redis-server is not installed; as root: {INSTALL}; or leave it out: --without-redis");
    }
    anstream::eprintln!("installing what the comparison needs: {INSTALL}");
    let status = Command::new("sh").args(["-c", INSTALL]).status().context("cannot run apt-get")?;
    ensure!(status.success(), "apt-get failed ({status}); --without-redis measures kvd alone");
    Ok(())
}

/// What a program says first.
pub(super) fn first_line(program: &Path, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}
