//! Other people's tools, from Debian's packages. Installs what is missing and tells so; without the rights to, says what to type.

use std::process::Command;

use anyhow::{Context, bail, ensure};
use procfs::process::Process;

/// Installs those of `packages` that are missing; `who` needs them.
pub(crate) fn install_missing(packages: &[&str], who: &str) -> anyhow::Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| version(package).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get update && apt-get install --yes --no-install-recommends {}", missing.join(" "));
    if Process::myself()?.uid()? != 0 {
        bail!("{who} Debian packages that are not installed; as root: {install}");
    }
    anstream::eprintln!("installing what {who}: {install}");
    let status = Command::new("sh").args(["-c", &install]).status().context("cannot run apt-get")?;
    ensure!(status.success(), "apt-get failed ({status})");
    Ok(())
}

/// The version of an installed package.
pub(crate) fn version(package: &str) -> Option<String> {
    let output = Command::new("dpkg-query").args(["--show", "--showformat=${Version}", package]).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !version.is_empty()).then_some(version)
}

/// All of `packages` with their versions, for a report.
pub(crate) fn versions<'p>(packages: &[&'p str]) -> Vec<(&'p str, Option<String>)> {
    packages.iter().map(|package| (*package, version(package))).collect()
}
