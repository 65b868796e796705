//! The other side's tools, from Debian's packages: Go, fasthttp's source and wrk. Installs what is missing and tells
//! so; without the rights to, says what to type.

use std::process::Command;

use anyhow::{Context, bail, ensure};
use procfs::process::Process;

const PACKAGES: [&str; 4] = ["golang-go", "golang-github-valyala-fasthttp-dev", "wrk", "util-linux"];

pub(super) fn install_missing() -> anyhow::Result<()> {
    let missing: Vec<&str> = PACKAGES.into_iter().filter(|package| version(package).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get update && apt-get install --yes --no-install-recommends {}", missing.join(" "));
    if Process::myself()?.uid()? != 0 {
        bail!("the comparison needs Debian packages that are not installed; as root: {install}");
    }
    anstream::eprintln!("installing what the comparison needs: {install}");
    let status = Command::new("sh").args(["-c", &install]).status().context("cannot run apt-get")?;
    ensure!(status.success(), "apt-get failed ({status})");
    Ok(())
}

/// The version of an installed package.
pub(super) fn version(package: &str) -> Option<String> {
    let output = Command::new("dpkg-query").args(["--show", "--showformat=${Version}", package]).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !version.is_empty()).then_some(version)
}

/// All of them with their versions, for the report.
pub(super) fn versions() -> Vec<(&'static str, Option<String>)> {
    PACKAGES.into_iter().map(|package| (package, version(package))).collect()
}
