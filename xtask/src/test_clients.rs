//! `cargo xtask test-clients`: the clients that people use with Redis, against the real server. redis-cli and redis-py run
//! scripted sessions, redis-benchmark its tests, in RESP2 and RESP3; none may see an error. Installs what is missing.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::packages;

/// The newest protocol needs a client that speaks it, which Debian's package does not.
const REDIS_PY: &str = "redis>=5,<9";

const SESSIONS: &str = "crates/kvd/tests/clients/redis_py.py";

/// Requests of each of redis-benchmark's tests.
const REQUESTS: &str = "20000";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where the build of kvd is
    #[arg(long, default_value = "target/debug")]
    bin_dir: PathBuf,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    // Any installation will do: Debian's is for who has none.
    let is_there = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
    };
    let needs = [
        ("redis-tools", is_there("redis-cli", &["--version"]) && is_there("redis-benchmark", &["--version"])),
        ("python3-venv", is_there("python3", &["-c", "import venv, ensurepip"])),
    ];
    let missing: Vec<_> = needs.into_iter().filter(|(_, is_there)| !is_there).map(|(package, _)| package).collect();
    packages::install_missing(&missing, "these tests need")?;
    let work = options.bin_dir.parent().unwrap_or(Path::new(".")).join("test-clients");
    if work.join("data").exists() {
        fs::remove_dir_all(work.join("data")).context("cannot remove the data of an earlier run")?;
    }
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let python = python(&work)?;
    let server = Server::start(&options.bin_dir, &work)?;

    redis_cli(&server)?;
    finished(Command::new(python).args(["-W", "ignore", SESSIONS]).arg(server.port()), "redis-py")?;
    for more in [&["-P", "1"][..], &["-P", "16"], &["-P", "64", "-r", "10000", "-3"], &["-c", "200", "-d", "4096"]] {
        redis_benchmark(&server, more)?;
    }
    anstream::println!("redis-cli, redis-py and redis-benchmark found no difference");
    Ok(ExitCode::SUCCESS)
}

/// A Python that has redis-py.
fn python(work: &Path) -> anyhow::Result<PathBuf> {
    let environment = work.join("python");
    let python = environment.join("bin/python");
    let has_client = |python: &Path| {
        let asked = Command::new(python)
            .args(["-c", "import redis; assert int(redis.__version__.split('.')[0]) >= 5"])
            .output();
        asked.is_ok_and(|output| output.status.success())
    };
    if !has_client(&python) {
        finished(Command::new("python3").args(["-m", "venv"]).arg(&environment), "python3 -m venv")?;
        finished(Command::new(&python).args(["-m", "pip", "install", "--quiet", REDIS_PY]), "pip")?;
    }
    Ok(python)
}

/// Commands in redis-cli's own ways of asking, and what it prints.
fn redis_cli(server: &Server) -> anyhow::Result<()> {
    let cli = |more: &[&str], input: &[u8]| -> anyhow::Result<Vec<u8>> {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &server.port()]).args(more);
        let output = with_input(&mut command, input)?;
        ensure!(output.status.success(), "redis-cli {more:?} ended with {}", output.status);
        Ok(output.stdout)
    };
    let binary: Vec<u8> = (0..=255).collect();
    let session = b"MULTI\nSET k 1\nINCR k\nEXEC\nGET k\nNOSUCH\n";
    let pipe: Vec<u8> = (0..1_000).flat_map(|n| format!("SET piped:{n} {n}\r\n").into_bytes()).collect();
    for (more, input, expected) in [
        (&["SET", "greeting", "hello world"][..], &b""[..], &b"OK\n"[..]),
        (&["GET", "greeting"], b"", b"hello world\n"),
        (&["--no-raw", "GET", "greeting"], b"", b"\"hello world\"\n"),
        (&["-3", "--no-raw", "CONFIG", "GET", "save"], b"", b"1# \"save\" => \"\"\n"),
        (&["-x", "SET", "binary"], &binary, b"OK\n"),
        (&["-r", "3", "INCR", "n"], b"", b"1\n2\n3\n"),
        (&[], session, b"OK\nQUEUED\nQUEUED\nOK\n2\n2\nERR unknown command 'NOSUCH', with args beginning with: \n\n"),
    ] {
        let printed = cli(more, input)?;
        ensure!(
            printed == expected,
            "redis-cli {more:?} printed {:?}, expected {:?}",
            String::from_utf8_lossy(&printed),
            String::from_utf8_lossy(expected)
        );
    }
    let read = cli(&["GET", "binary"], b"")?;
    ensure!(read == [&binary[..], b"\n"].concat(), "redis-cli read other bytes than it wrote");
    let piped = String::from_utf8_lossy(&cli(&["--pipe"], &pipe)?).into_owned();
    ensure!(piped.contains("errors: 0, replies: 1000"), "redis-cli --pipe printed {piped:?}");
    let scanned = cli(&["--scan", "--pattern", "piped:*"], b"")?;
    let lines = scanned.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"piped:")).count();
    ensure!(lines == 1_000, "redis-cli --scan printed {lines} keys");
    let biggest = String::from_utf8_lossy(&cli(&["--bigkeys", "-i", "0"], b"")?).into_owned();
    ensure!(
        biggest.contains("Biggest string found '\"binary\"' has 256 bytes"),
        "redis-cli --bigkeys printed {biggest}"
    );
    Ok(())
}

/// Its tests of what we have; it prints errors and goes on.
fn redis_benchmark(server: &Server, more: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("redis-benchmark");
    command
        .args(["-h", "127.0.0.1", "-p", &server.port(), "-q", "-n", REQUESTS, "-t", "ping,set,get,incr,mset"])
        .args(more);
    let output = with_input(&mut command, b"")?;
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let tests = printed.matches("requests per second").count();
    let is_clean = !["ERR", "rror", "WARNING"].iter().any(|word| printed.contains(word));
    ensure!(output.status.success() && is_clean && tests >= 6, "redis-benchmark {more:?} printed:\n{printed}");
    Ok(())
}

/// Runs it to its end with this input.
fn with_input(command: &mut Command, input: &[u8]) -> anyhow::Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output()?;
    writer.join().expect("the thread only writes").with_context(|| format!("{name} does not read its input"))?;
    Ok(output)
}

/// Runs it to its end, its output shown.
fn finished(command: &mut Command, name: &str) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot run {name}"))?;
    ensure!(status.success(), "{name} failed ({status})");
    Ok(())
}

/// A server on a free port, ended when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

/// What it prints first.
#[derive(Deserialize)]
struct Startup {
    resp: Vec<SocketAddr>,
}

impl Server {
    fn start(bin_dir: &Path, work: &Path) -> anyhow::Result<Server> {
        let mut command = Command::new(bin_dir.join("kvd"));
        command.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--resp",
            "127.0.0.1:0",
            "--log-format",
            "json",
            "--data-dir",
        ]);
        command
            .arg(work.join("data"))
            .args(["--log-level", "warn"])
            .env("KVD_CONFIG", "/dev/null")
            .stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start kvd")?;
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line)?;
        // From here on the child is ended whatever happens.
        let mut server = Server { child, address: ([0, 0, 0, 0], 0).into() };
        let startup: Startup =
            serde_json::from_str(&line).with_context(|| format!("kvd did not say where it listens: {line:?}"))?;
        server.address = *startup.resp.first().with_context(|| format!("kvd serves no RESP: {line:?}"))?;
        Ok(server)
    }

    fn port(&self) -> String {
        self.address.port().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What it holds is thrown away, so it need not end in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
