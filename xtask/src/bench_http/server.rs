//! A server under test: started on its core, filled, asked by the system for its CPU time and memory, and ended when
//! dropped. Both print one line of JSON with their address when they are ready; beyond that this knows no protocol.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use procfs::WithCurrentSystemInfo;
use procfs::process::{Process, Stat};
use serde::Deserialize;

use super::{KEYS, Options, VALUE_BYTES};

pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    child: Child,
}

/// What both print first.
#[derive(Deserialize)]
struct Startup {
    listen: Vec<SocketAddr>,
}

impl Server {
    /// One worker, since it gets one core; the keys come by kvcli, as they would in life.
    pub(super) fn kvd(options: &Options, work: &Path) -> anyhow::Result<Server> {
        let mut command = pinned(options, &options.bin_dir.join("kvd"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--resp", "off", "--workers", "1", "--log-format", "json"]);
        command.arg("--data-dir").arg(work.join("data"));
        let server = Server::start("kvd", command)?;

        let mut load = Command::new(options.bin_dir.join("kvcli"))
            .args(["--url", &format!("http://{}", server.address), "set", "--from", "-", "--format", "tsv"])
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot run kvcli")?;
        let mut stdin = load.stdin.take().expect("stdin is piped");
        let value = "v".repeat(VALUE_BYTES);
        let pairs: String = (0..KEYS).map(|i| format!("key:{i:08}\t{value}\n")).collect();
        stdin.write_all(pairs.as_bytes()).context("kvcli does not read the pairs")?;
        drop(stdin);
        let status = load.wait()?;
        ensure!(status.success(), "kvcli could not load the keys ({status})");
        Ok(server)
    }

    /// Built from Debian's package of its source, without a network; it fills itself.
    pub(super) fn fasthttp(options: &Options, work: &Path) -> anyhow::Result<Server> {
        let source = Path::new("bench/http/fasthttp");
        let binary = work.canonicalize()?.join("fasthttp");
        let status = Command::new("go")
            .args(["build", "-trimpath", "-o"])
            .arg(&binary)
            .arg("main.go")
            .current_dir(source)
            .envs([("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode"), ("GOFLAGS", "")])
            .env("GOCACHE", work.canonicalize()?.join("go-cache"))
            .status()
            .context("cannot run go")?;
        ensure!(status.success(), "go could not build {} ({status})", source.display());
        let mut command = pinned(options, &binary);
        command.args(["--keys", &KEYS.to_string(), "--value-bytes", &VALUE_BYTES.to_string()]);
        Server::start("fasthttp", command)
    }

    fn start(name: &'static str, mut command: Command) -> anyhow::Result<Server> {
        let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {name}"))?;
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line)?;
        // From here on the child is ended whatever happens.
        let mut server = Server { name, address: ([0, 0, 0, 0], 0).into(), child };
        let startup: Startup =
            serde_json::from_str(&line).with_context(|| format!("{name} did not say where it listens: {line:?}"))?;
        server.address = *startup.listen.first().with_context(|| format!("{name} listens nowhere: {line:?}"))?;
        Ok(server)
    }

    /// User and system time since it started, in the kernel's ticks of 10 ms.
    pub(super) fn cpu_time(&self) -> anyhow::Result<Duration> {
        let stat = self.stat()?;
        let ticks = stat.utime + stat.stime;
        Ok(Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64))
    }

    pub(super) fn resident_bytes(&self) -> anyhow::Result<u64> {
        Ok(self.stat()?.rss_bytes().get())
    }

    fn stat(&self) -> anyhow::Result<Stat> {
        let pid = i32::try_from(self.child.id())?;
        Process::new(pid).and_then(|process| process.stat()).with_context(|| format!("{} has ended", self.name))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It keeps nothing, so it need not end in order; one that has ended already is no news here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// taskset becomes the program, so the child's id is the server's.
fn pinned(options: &Options, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &options.server_cpu.to_string()]).arg(program);
    command
}
