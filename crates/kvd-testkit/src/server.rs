//! Real processes: the binaries under test, and `kvd` servers on free ports with data directories of their own. Knows
//! of a server only its startup line and its signals.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than any stop of a test takes, in seconds; a server that is still there by then hangs.
const EXIT_TIMEOUT_S: u64 = 60;

/// A running `kvd serve`, killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Open for the server's life, although it writes nothing after the startup line.
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
    launch: Launch,
    /// None where the Redis protocol is not served.
    resp_address: Option<SocketAddr>,
    /// Holds the data directory, and the log beside it.
    dir: TempDir,
}

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// Flags of `kvd serve`.
    pub args: Vec<String>,
    /// Variables of its environment.
    pub env: Vec<(String, String)>,
    /// A command that runs another, which it is started by.
    pub under: Vec<String>,
}

impl Launch {
    /// With these flags.
    pub fn with(args: &[&str]) -> Launch {
        Launch { args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..Launch::default() }
    }

    /// A command that runs one of the workspace's binaries in this way, flags excluded.
    ///
    /// # Panics
    /// As [`binary`].
    pub fn command(&self, name: &str) -> Command {
        let binary = binary(name);
        let mut command = match &self.under[..] {
            [] => Command::new(binary),
            [program, args @ ..] => {
                let mut command = Command::new(program);
                command.args(args).arg(binary);
                command
            }
        };
        // Neither the caller's environment nor a kvd.toml of the machine may change what is tested.
        for (variable, _) in env::vars_os().filter(|(variable, _)| variable.as_encoded_bytes().starts_with(b"KVD_")) {
            command.env_remove(variable);
        }
        command.env("KVD_CONFIG", "/dev/null").envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1 and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready; shows its log.
    pub fn start() -> Server {
        Server::start_with(&[])
    }

    /// As [`start`](Server::start), with further arguments: flags of `kvd serve`.
    ///
    /// # Panics
    /// When it does not become ready; shows its log.
    pub fn start_with(args: &[&str]) -> Server {
        Server::launched(Launch::with(args))
    }

    /// As [`start`](Server::start), in this way.
    ///
    /// # Panics
    /// When it does not become ready; shows its log.
    pub fn launched(launch: Launch) -> Server {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let Spawned { child, stdout, address, resp_address } = spawn(dir.path(), &launch);
        Server { child, stdout, address, launch, resp_address, dir }
    }

    /// How it is started.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// The same, for [`restart`](Server::restart) to go by: to be changed while it is not running.
    pub fn launch_mut(&mut self) -> &mut Launch {
        &mut self.launch
    }

    /// `kvd serve` once more on its data directory, where it is expected not to start.
    ///
    /// # Panics
    /// When it can't be run, or serves.
    pub fn failing_start(&self) -> Output {
        let mut command = serve(self.dir.path(), &self.launch);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kvd can be run");
        wait_for_exit(&mut child);
        child.wait_with_output().expect("what it said can be read")
    }

    /// The address where it serves REST.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address where it serves the Redis protocol.
    ///
    /// # Panics
    /// When it was started with `--resp off`.
    pub fn resp_address(&self) -> SocketAddr {
        self.resp_address.expect("the Redis protocol is served")
    }

    /// The address as `kvcli --url` takes it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its `--data-dir`.
    pub fn data_dir(&self) -> PathBuf {
        data_dir(self.dir.path())
    }

    /// Everything it has logged, earlier lives included.
    ///
    /// # Panics
    /// When the log can't be read.
    pub fn log(&self) -> String {
        fs::read_to_string(log_file(self.dir.path())).expect("the server's log can be read")
    }

    /// Sends a signal and does not wait.
    ///
    /// # Panics
    /// When the process has ended already.
    pub fn signal(&self, signal: Signal) {
        kill_process(pid_of(&self.child), signal).expect("the server is running");
    }

    /// Ends it in order (SIGTERM) and waits for that.
    ///
    /// # Panics
    /// When it doesn't end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for a server that was told to end by [`signal`](Server::signal).
    ///
    /// # Panics
    /// When it doesn't end.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for_exit(&mut self.child)
    }

    /// What it has written to standard output after its startup line; to be asked when it has ended.
    ///
    /// # Panics
    /// When that can't be read.
    pub fn further_output(&mut self) -> String {
        let mut output = String::new();
        self.stdout.read_to_string(&mut output).expect("the server's output can be read");
        output
    }

    /// Ends it as a crash does (SIGKILL).
    ///
    /// # Panics
    /// When it can't be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server can be waited for");
    }

    /// Starts it again after [`stop`](Server::stop) or [`kill`](Server::kill), with the same arguments and data
    /// directory, and another port.
    ///
    /// # Panics
    /// When it does not become ready; shows its log.
    pub fn restart(&mut self) {
        let Spawned { child, stdout, address, resp_address } = spawn(self.dir.path(), &self.launch);
        (self.child, self.stdout, self.address, self.resp_address) = (child, stdout, address, resp_address);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended before; what can't be killed now is of no more use to the test.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Where cargo put one of the workspace's binaries.
///
/// # Panics
/// When it isn't there: cargo builds the binaries of the crate under test, but not those of the others.
pub fn binary(name: &str) -> PathBuf {
    let test = env::current_exe().expect("the running test is a file");
    // target/debug/deps/test-0123 and target/debug/kvd
    let found = test.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("there is no `{name}` beside {}: build it with `cargo build -p {name}`", test.display())
    })
}

/// Waits for a process that was told to end.
///
/// # Panics
/// When it is still there after a minute.
pub fn wait_for_exit(child: &mut Child) -> ExitStatus {
    let handle = pidfd_open(pid_of(child), PidfdFlags::empty()).expect("the process has not been waited for");
    let limit = Timespec::try_from(Duration::from_secs(EXIT_TIMEOUT_S)).expect("a minute fits");
    let ended = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit)).expect("a process can be polled");
    assert_eq!(ended, 1, "process {} has not ended {EXIT_TIMEOUT_S} s after it was told to", child.id());
    child.wait().expect("the process can be waited for")
}

/// A server that is ready.
struct Spawned {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
    resp_address: Option<SocketAddr>,
}

fn serve(dir: &Path, launch: &Launch) -> Command {
    let mut command = launch.command("kvd");
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--set", "resp.listen=127.0.0.1:0"])
        .args(["--log-format", "json", "--data-dir"])
        .arg(data_dir(dir))
        .args(&launch.args)
        .current_dir(dir);
    command
}

fn spawn(dir: &Path, launch: &Launch) -> Spawned {
    let log = File::options().append(true).create(true).open(log_file(dir)).expect("the log can be written");
    let mut child = serve(dir, launch).stdout(Stdio::piped()).stderr(log).spawn().expect("kvd can be run");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    stdout.read_line(&mut line).expect("the startup line can be read");
    let address = address_in(&line, "listen").unwrap_or_else(|| {
        drop(child.kill());
        let status = child.wait().expect("the server can be waited for");
        let log = fs::read_to_string(log_file(dir)).unwrap_or_default();
        panic!("kvd did not become ready ({status}); it said {line:?} and logged:\n{log}")
    });
    Spawned { child, stdout, address, resp_address: address_in(&line, "resp") }
}

fn address_in(startup_line: &str, key: &str) -> Option<SocketAddr> {
    let ready: Value = serde_json::from_str(startup_line).ok()?;
    ready[key][0].as_str()?.parse().ok()
}

fn data_dir(dir: &Path) -> PathBuf {
    dir.join("data")
}

fn log_file(dir: &Path) -> PathBuf {
    dir.join("kvd.log")
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}
