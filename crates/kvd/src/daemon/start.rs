//! `kvd start`: leaves a server behind in the background. Runs this binary again as `serve` and waits for its startup
//! line, however long it loads; the new process makes itself a daemon. Knows nothing of what the server does.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use super::{Home, pidfile};
use crate::config::Config;
use crate::{progress, say};

/// Of a failed start, so much of the log is shown, in bytes.
const TAIL_BYTES_MAX: u64 = 8 << 10;

/// Starts a server with this configuration and returns when it is ready.
pub(crate) fn start(config: &Config) -> anyhow::Result<ExitCode> {
    let home = Home::create(&config.data_dir)?;
    if let Some(pid) = pidfile::holder(&home)? {
        bail!(
            "already running with the data directory {} (pid {}); `kvd stop` ends it",
            home.dir().display(),
            pid.as_raw_nonzero()
        );
    }
    let mut log = open_log(&home)?;
    let log_start = log.metadata()?.len();
    // `start` is the first argument and has the flags of `serve`.
    let mut child = Command::new(env::current_exe().context("can't find this binary")?)
        .args(["serve", "--daemon"])
        .args(env::args_os().skip(2))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.try_clone()?)
        .spawn()
        .context("can't run this binary again")?;
    let stdout = child.stdout.take().expect("stdout is piped");
    let line = startup_line(BufReader::new(stdout)).context("can't read from the new server")?;
    if line.ends_with('\n') {
        say(line.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let status = child.wait()?;
    let tail = read_tail(&mut log, log_start).context("can't read the new server's log")?;
    bail!("the server did not start ({status}); {} says:\n{}", home.log_file().display(), tail.trim_end())
}

/// The first line that is not about the progress, which is shown meanwhile. Without an end if the server ended before.
fn startup_line(mut stdout: impl BufRead) -> std::io::Result<String> {
    let shown = progress::Line::new();
    loop {
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        match progress::received(&line) {
            Some(text) => shown.show(text),
            None => return Ok(line),
        }
    }
}

fn open_log(home: &Home) -> anyhow::Result<File> {
    let path = home.log_file();
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    options.open(&path).with_context(|| format!("can't open the log {}", path.display()))
}

/// The end of what was logged from `start` on.
fn read_tail(log: &mut File, start: u64) -> std::io::Result<String> {
    let length = log.metadata()?.len();
    log.seek(SeekFrom::Start(start.max(length.saturating_sub(TAIL_BYTES_MAX))))?;
    let mut tail = Vec::new();
    log.read_to_end(&mut tail)?;
    Ok(String::from_utf8_lossy(&tail).into_owned())
}
