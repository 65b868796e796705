//! `kvd stop`: ends the server of a data directory and waits for it. The process is held by a pidfd, so that neither
//! the signal nor the waiting can hit another one.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{Home, pidfile};
use crate::config::Config;
use crate::say;

/// What a server may take beyond its own `server.stop_timeout`.
const MARGIN: Duration = Duration::from_secs(5);

/// Sends SIGTERM and returns when the process has ended.
pub(crate) fn stop(config: &Config, timeout: Option<Duration>) -> anyhow::Result<ExitCode> {
    let timeout = timeout.unwrap_or(config.stop_timeout + MARGIN);
    let home = Home::new(&config.data_dir);
    let not_running = || {
        say(&home.not_running())?;
        Ok(ExitCode::SUCCESS)
    };
    let Some(pid) = pidfile::holder(&home)? else { return not_running() };
    let number = pid.as_raw_nonzero();
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return not_running(),
        opened => opened.with_context(|| format!("can't reach process {number}"))?,
    };
    // Between the two calls the server may have ended and its number been given away.
    if pidfile::holder(&home)? != Some(pid) {
        return not_running();
    }
    match pidfd_send_signal(&process, Signal::TERM) {
        Err(Errno::SRCH) => return not_running(),
        sent => sent.with_context(|| format!("can't signal process {number}"))?,
    }
    // Readable once the process has ended.
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    let limit = Timespec::try_from(timeout).context("the timeout is too long")?;
    if retry_on_intr(|| poll(&mut ended, Some(&limit)))? == 0 {
        bail!(
            "process {number} has not ended within {}: it was told to stop and is finishing the requests under way. \
             `kvd stop` once more ends it without waiting for them; if it hangs, `kill -9 {number}`",
            humantime::format_duration(timeout)
        );
    }
    say(&format!("kvd has stopped (pid {number})"))?;
    Ok(ExitCode::SUCCESS)
}
