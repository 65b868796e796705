//! A server under test as a process: started on a free port with its data in a directory of its own, asked for what it
//! did, and ended in order or by SIGKILL. Knows what each side calls these things, and nothing of what is measured.

use std::fs;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use procfs::process::Process;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::wire::{Request, Side, VALUE, key};

/// Most items of one mset, by default.
const BATCH: usize = 10_000;

/// When a write is put on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fsync {
    /// Before it is answered.
    Always,
    /// Each second.
    Second,
    /// Nothing is written to disk.
    Never,
}

impl Fsync {
    pub(super) fn name(self) -> &'static str {
        match self {
            Fsync::Always => "always",
            Fsync::Second => "each second",
            Fsync::Never => "never",
        }
    }
}

pub(super) struct Server {
    pub(super) side: Side,
    pub(super) address: SocketAddr,
    /// From the start of the process until it answered.
    pub(super) started: Duration,
    child: Child,
}

impl Server {
    /// `programs` is where kvd is.
    ///
    /// # Errors
    /// It can't be started, or ends before it is ready.
    pub(super) fn start(programs: &Path, side: Side, fsync: Fsync, data: &Path) -> anyhow::Result<Server> {
        let (mut command, port) = match side {
            Side::Kvd => (kvd(programs, fsync, data), 0),
            Side::Redis => {
                // It has no way to choose a port itself: one that is free now.
                let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
                (redis(fsync, data, port), port)
            }
        };
        let begun = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let child = child.with_context(|| format!("cannot start {command:?}"))?;
        // From here on the process is ended whatever happens.
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut server = Server { side, address, started: Duration::ZERO, child };
        server.wait_until_ready()?;
        server.started = begun.elapsed();
        Ok(server)
    }

    /// Both say on standard output that they are ready; then they are asked.
    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let mut output = BufReader::new(self.child.stdout.take().context("stdout is piped")?);
        let mut said = String::new();
        loop {
            let begin = said.len();
            let read = output.read_line(&mut said)?;
            ensure!(read > 0, "{} ended before it was ready: {said}", self.side.name());
            let line = &said[begin..];
            match self.side {
                Side::Kvd => {
                    let startup: Value = serde_json::from_str(line).with_context(|| format!("kvd said {line:?}"))?;
                    let address = startup["listen"][0].as_str().with_context(|| format!("kvd said {line:?}"))?;
                    self.address = address.parse()?;
                    self.http("GET", "/readyz")?;
                    break;
                }
                Side::Redis if line.contains("Ready to accept connections") => {
                    let pong = self.resp("PING")?;
                    ensure!(pong == "PONG", "redis answers {pong} to PING");
                    break;
                }
                Side::Redis => {}
            }
        }
        // What is said later is of no interest, but must not fill the pipe.
        thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Ok(())
    }

    /// Sets keys 0 to `keys`, many at a time: kvd by mset, redis by its client's pipe.
    ///
    /// # Errors
    /// A set is refused, or there are other keys afterwards.
    pub(super) fn fill(&self, keys: u32) -> anyhow::Result<()> {
        match self.side {
            Side::Kvd => self.fill_by_mset(keys)?,
            Side::Redis => self.fill_by_pipe(keys)?,
        }
        self.check_keys(keys)
    }

    fn fill_by_mset(&self, keys: u32) -> anyhow::Result<()> {
        let value = std::str::from_utf8(&VALUE)?;
        for first in (0..keys).step_by(BATCH) {
            let batch = first..keys.min(first.saturating_add(BATCH as u32));
            let items: Vec<Value> = batch.map(|index| json!({"key": key(index), "value": value})).collect();
            let body = json!({ "items": items }).to_string();
            let head = "POST /v1/mset HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
            self.ask(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))?;
        }
        Ok(())
    }

    fn fill_by_pipe(&self, keys: u32) -> anyhow::Result<()> {
        let mut client = Command::new("redis-cli");
        client.args(["-h", "127.0.0.1", "-p", &self.address.port().to_string(), "--pipe"]);
        let child = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot run {client:?}"))?;
        let mut stdin = BufWriter::with_capacity(1 << 16, child.stdin.take().context("stdin is piped")?);
        let mut set = Vec::new();
        for index in 0..keys {
            set.clear();
            self.side.encode(Request::Set, index, &mut set);
            stdin.write_all(&set).context("redis-cli does not read the sets")?;
        }
        stdin.flush()?;
        drop(stdin);
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{client:?}: {}", String::from_utf8_lossy(&output.stdout));
        Ok(())
    }

    /// # Errors
    /// It has another number of keys.
    pub(super) fn check_keys(&self, keys: u32) -> anyhow::Result<()> {
        let has: u64 = match self.side {
            Side::Kvd => self.stats()?["keys"].as_u64().context("kvd's stats have no keys")?,
            Side::Redis => self.resp("DBSIZE")?.parse()?,
        };
        ensure!(has == u64::from(keys), "{} has {has} keys, not {keys}", self.side.name());
        Ok(())
    }

    /// Begins a snapshot in the background.
    pub(super) fn begin_snapshot(&self) -> anyhow::Result<()> {
        match self.side {
            Side::Kvd => self.http("POST", "/v1/admin/snapshot").map(drop),
            Side::Redis => self.resp("BGSAVE").map(drop),
        }
    }

    /// Whether the snapshot of all that was written is on disk; nothing is written meanwhile.
    pub(super) fn has_snapshot(&self) -> anyhow::Result<bool> {
        match self.side {
            Side::Kvd => {
                let stats = self.stats()?;
                Ok(stats["durability"]["snapshot_revision"] == stats["revision"])
            }
            Side::Redis => {
                let info = self.resp("INFO persistence")?;
                ensure!(info.contains("rdb_last_bgsave_status:ok"), "BGSAVE failed: {info}");
                Ok(info.contains("rdb_bgsave_in_progress:0"))
            }
        }
    }

    /// Whether all that was written is on disk.
    pub(super) fn is_durable(&self) -> anyhow::Result<bool> {
        match self.side {
            Side::Kvd => {
                let stats = self.stats()?;
                Ok(stats["durability"]["revision_durable"] == stats["revision"])
            }
            Side::Redis => Ok(self.resp("INFO persistence")?.contains("aof_pending_bio_fsync:0")),
        }
    }

    /// User and system time of all its threads, in the kernel's ticks of 10 ms.
    pub(super) fn cpu_time(&self) -> anyhow::Result<Duration> {
        let stat = Process::new(i32::try_from(self.child.id())?).and_then(|process| process.stat());
        let stat = stat.with_context(|| format!("{} has ended", self.side.name()))?;
        Ok(Duration::from_secs_f64((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64))
    }

    /// Ends it in order.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "{} ended with {status}", self.side.name());
        Ok(())
    }

    /// Ends it as a crash would.
    pub(super) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn stats(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.http("GET", "/v1/stats")?)?)
    }

    fn http(&self, method: &str, path: &str) -> anyhow::Result<String> {
        self.ask(&format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"))
    }

    fn resp(&self, command: &str) -> anyhow::Result<String> {
        self.ask(&format!("{command}\r\n"))
    }

    fn ask(&self, request: &str) -> anyhow::Result<String> {
        let asked = request.lines().next().unwrap_or_default().to_owned();
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(request.as_bytes())?;
        let (mut answer, mut part) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            let read = stream.read(&mut part).with_context(|| format!("no answer to {asked}"))?;
            ensure!(read > 0, "{} closed the connection at {asked}", self.side.name());
            answer.extend_from_slice(&part[..read]);
            if let Some(body) = self.side.decode(&answer).with_context(|| asked.clone())? {
                return Ok(String::from_utf8_lossy(body).into_owned());
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has been stopped is no news here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Snapshots are made when asked for: one that begins by itself would fall into one turn and not into another.
fn kvd(programs: &Path, fsync: Fsync, data: &Path) -> Command {
    let mut command = Command::new(programs.join("kvd"));
    command.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--resp",
        "off",
        "--log-format",
        "json",
        "--set",
        "log.level=warn",
    ]);
    command.args(["--set", "storage.snapshot_journal_bytes=1TiB", "--set", "storage.snapshot_interval=24h"]);
    command.arg("--data-dir").arg(data);
    match fsync {
        Fsync::Always => command.args(["--fsync", "always"]),
        Fsync::Second => command.args(["--fsync", "interval"]),
        Fsync::Never => command.arg("--in-memory"),
    };
    command
}

fn redis(fsync: Fsync, data: &Path, port: u16) -> Command {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--daemonize", "no"]);
    command.args(["--auto-aof-rewrite-percentage", "0", "--dir"]).arg(data);
    match fsync {
        Fsync::Always => command.args(["--appendonly", "yes", "--appendfsync", "always"]),
        Fsync::Second => command.args(["--appendonly", "yes", "--appendfsync", "everysec"]),
        Fsync::Never => command.args(["--appendonly", "no"]),
    };
    command
}

/// What the files below take of the disk whose names fit.
pub(super) fn bytes_on_disk(directory: &Path, fits: &dyn Fn(&str) -> bool) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            bytes += bytes_on_disk(&entry.path(), fits)?;
        } else if fits(&entry.file_name().to_string_lossy()) {
            // The kernel counts blocks of 512 bytes, whatever the file system's are.
            bytes += metadata.blocks() * 512;
        }
    }
    Ok(bytes)
}
