//! The server as a process, on the real binary: it is found by its data directory, there is never more than one for
//! each, it says when it is ready, it tells why when it can't be, and it ends when told to. A file that a killed server
//! left behind neither stops the next one nor gets an innocent process killed.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use kvd_testkit::{RawConnection, Server, on_terminal, wait_for_exit};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getsid, kill_process, pidfd_open};
use serde_json::Value;

/// A directory in which `kvd` is run, and the end of the server it may leave behind.
struct Place {
    dir: tempfile::TempDir,
}

/// What a command printed, and how it ended.
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Place {
    fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap() }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// `kvd` with these arguments alone: no variables and no files of whoever runs the test.
    fn bare_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvd"));
        command.env_clear().env("HOME", self.dir.path()).env("KVD_CONFIG", "/dev/null");
        // The default port is one for all tests.
        command.env("KVD_RESP__LISTEN", "127.0.0.1:0");
        command.current_dir(self.dir.path()).stdin(Stdio::null()).args(args);
        command
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.bare_command(args);
        command.args(["--data-dir", "data"]);
        command
    }

    fn kvd(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.command(args).output().unwrap())
    }

    fn start(&self) -> Outcome {
        self.kvd(&["start", "--listen", "127.0.0.1:0", "--log-format", "json"])
    }

    fn pid(&self) -> Pid {
        let pid = fs::read_to_string(self.data().join("kvd.pid")).unwrap();
        Pid::from_raw(pid.trim_end().parse().unwrap()).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Whatever the test left running; the answer matters no more.
        drop(self.command(&["stop", "--timeout", "10s"]).output());
    }
}

impl Outcome {
    fn of(output: Output) -> Outcome {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    #[track_caller]
    fn ends_with(self, code: i32) -> Outcome {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// The startup line as JSON.
    #[track_caller]
    fn ready(self) -> Value {
        let outcome = self.ends_with(0);
        assert_eq!(outcome.stdout.lines().count(), 1, "{}", outcome.stdout);
        serde_json::from_str(&outcome.stdout).unwrap()
    }
}

#[test]
fn start_returns_when_the_server_answers_and_stop_when_it_is_gone() {
    let place = Place::new();
    let ready = place.start().ready();
    assert_eq!(ready["pid"], place.pid().as_raw_nonzero().get());
    assert_eq!((&ready["policy"], &ready["keys"]), (&Value::from("interval"), &Value::from(0)));
    assert_eq!(ready["data_dir"], place.data().to_str().unwrap());
    let address = ready["listen"][0].as_str().unwrap();
    let resp = ready["resp"][0].as_str().unwrap();
    let mut connection = RawConnection::open(address.parse().unwrap());
    connection.send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(connection.read_response().status, 200);

    let status = place.kvd(&["status"]).ends_with(0);
    for part in
        ["kvd is ready\n", &format!("http://{address} redis://{resp}\n"), "data/kvd.log\n", "interval\n", "uptime"]
    {
        assert!(status.stdout.contains(part), "{part:?} is not in {}", status.stdout);
    }

    place.kvd(&["stop"]).ends_with(0);
    let status = place.kvd(&["status"]).ends_with(3);
    assert!(status.stdout.starts_with("kvd is not running with the data directory /"), "{}", status.stdout);
    assert!(
        status.stdout.ends_with("found by the --data-dir or --config that it was started with\n"),
        "{}",
        status.stdout
    );
    assert!(!place.data().join("kvd.pid").exists() && !place.data().join("kvd.ready").exists());
    place.kvd(&["stop"]).ends_with(0);
}

#[test]
fn who_forgets_the_data_directory_is_told_of_the_one_that_make_run_uses() {
    let place = Place::new();
    place.start().ready();
    for command in ["status", "stop"] {
        let outcome = Outcome::of(place.bare_command(&[command, "--data-dir", "elsewhere"]).output().unwrap());
        let expected = format!(
            "kvd is not running with the data directory {}\none is running with ./data: add --data-dir ./data\n",
            place.dir.path().canonicalize().unwrap().join("elsewhere").display()
        );
        assert_eq!(outcome.stdout, expected);
    }
    place.kvd(&["status"]).ends_with(0);
}

#[test]
fn a_daemon_belongs_to_nobody_and_its_files_to_its_owner() {
    let place = Place::new();
    place.start().ready();
    let pid = place.pid();
    assert_eq!(getsid(Some(pid)).unwrap(), pid);
    assert_eq!(fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero())).unwrap().to_str(), Some("/"));
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(place.data()), mode(place.data().join("kvd.log"))), (0o700, 0o600));
}

#[test]
fn a_data_directory_has_one_server() {
    let place = Place::new();
    place.start().ready();
    let pid = place.pid();
    let second = place.start().ends_with(1);
    assert!(second.stderr.contains(&format!("already running with the data directory {}", place.data().display())));
    let third = place.kvd(&["serve", "--listen", "127.0.0.1:0"]).ends_with(1);
    assert!(third.stderr.contains("kvd is already running with this data directory (pid"), "{}", third.stderr);
    assert_eq!((place.pid(), place.kvd(&["status"]).code), (pid, Some(0)));
}

#[test]
fn of_servers_started_at_once_exactly_one_comes_up() {
    let place = Place::new();
    let start = || {
        let mut command = place.command(&["start", "--listen", "127.0.0.1:0"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut starting: Vec<_> = std::iter::repeat_with(start).take(8).collect();
    let up = starting.iter_mut().filter_map(|start| wait_for_exit(start).success().then_some(())).count();
    assert_eq!(up, 1);
    place.kvd(&["status"]).ends_with(0);
}

#[test]
fn what_a_killed_server_left_behind_is_no_obstacle() {
    let place = Place::new();
    place.start().ready();
    let killed = place.pid();
    let process = pidfd_open(killed, PidfdFlags::empty()).unwrap();
    kill_process(killed, Signal::KILL).unwrap();
    poll(&mut [PollFd::new(&process, PollFlags::IN)], None).unwrap();
    place.kvd(&["status"]).ends_with(3);
    place.kvd(&["stop"]).ends_with(0);
    assert!(place.data().join("kvd.pid").exists());
    place.start().ready();
    assert_ne!(place.pid(), killed);
}

#[test]
fn a_pid_file_that_nobody_holds_gets_nobody_killed() {
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    let mut innocent = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    fs::write(place.data().join("kvd.pid"), format!("{}\n", innocent.id())).unwrap();
    let stop = place.kvd(&["stop"]).ends_with(0);
    assert!(stop.stdout.starts_with("kvd is not running"), "{}", stop.stdout);
    assert_eq!(innocent.try_wait().unwrap(), None);
    drop(innocent.stdin.take());
    assert!(wait_for_exit(&mut innocent).success());
}

#[test]
fn a_failed_start_shows_what_this_server_logged_and_nothing_older() {
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    fs::write(place.data().join("kvd.log"), "of an earlier life\n").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let failed = place.kvd(&["start", "--listen", &address]).ends_with(1);
    assert_eq!(failed.stdout, "");
    assert!(failed.stderr.contains(&address) && failed.stderr.contains("in use"), "{}", failed.stderr);
    assert!(failed.stderr.contains("data/kvd.log") && !failed.stderr.contains("earlier life"), "{}", failed.stderr);
    place.kvd(&["status"]).ends_with(3);
    place.start().ready();
}

#[test]
fn a_wrong_configuration_starts_nothing() {
    let place = Place::new();
    place.kvd(&["start", "--set", "limits.value_bytes_max=-1"]).ends_with(2);
    place.kvd(&["serve", "--listen", "0.0.0.0:0"]).ends_with(2);
    assert!(!place.data().exists());
}

#[test]
fn a_server_that_has_not_said_so_is_not_ready() {
    let place = Place::new();
    place.start().ready();
    fs::remove_file(place.data().join("kvd.ready")).unwrap();
    let status = place.kvd(&["status"]).ends_with(4);
    assert!(status.stdout.starts_with("kvd is starting (pid "), "{}", status.stdout);
}

#[test]
fn stop_gives_up_in_time_and_says_what_to_do() {
    let place = Place::new();
    place.start().ready();
    let pid = place.pid();
    kill_process(pid, Signal::STOP).unwrap();
    let late = place.kvd(&["stop", "--timeout", "50ms"]).ends_with(1);
    let advice = format!("process {} has not ended within 50ms", pid.as_raw_nonzero());
    assert!(late.stderr.contains(&advice) && late.stderr.contains("kill -9"), "{}", late.stderr);
    kill_process(pid, Signal::CONT).unwrap();
    place.kvd(&["stop"]).ends_with(0);
}

#[test]
fn in_the_foreground_a_signal_ends_it_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start();
        server.signal(signal);
        let status = server.wait();
        assert_eq!((status.code(), server.further_output()), (Some(0), String::new()));
        let files =
            fs::read_dir(server.data_dir()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<String> = files.collect();
        files.sort();
        assert_eq!(files, ["00000000000000000001.journal", "journal.lock"]);
    }
}

#[test]
fn what_becomes_of_the_data_is_said_at_the_start() {
    let server = Server::start_with(&["--in-memory"]);
    assert!(!server.data_dir().join("journal.lock").exists());
    let place = Place::new();
    let start = |more: &str| place.kvd(&["start", "--listen", "127.0.0.1:0", more]).ends_with(0);
    let line = format!("data directory {}, policy in-memory (data is gone when it stops)", place.data().display());
    assert!(start("--in-memory").stdout.contains(&line));
    place.kvd(&["stop"]).ends_with(0);
    let started = start("--fsync=always");
    let line = format!("data directory {}, policy always (0 keys loaded)", place.data().display());
    assert!(started.stdout.starts_with("kvd 0.1.0 is ready: http://127.0.0.1:"), "{}", started.stdout);
    assert!(started.stdout.contains(&line), "{}", started.stdout);
}

/// One key, in a snapshot.
fn with_a_snapshot(place: &Place) {
    let ready = place.start().ready();
    let ask = |line: &str| {
        let mut connection = RawConnection::open(ready["listen"][0].as_str().unwrap().parse().unwrap());
        connection.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").as_bytes());
        connection.read_response()
    };
    assert_eq!(ask("PUT /v1/keys/a").status, 201);
    assert_eq!(ask("POST /v1/admin/snapshot").status, 202);
    let has_snapshot = || {
        let stats: Value = serde_json::from_slice(&ask("GET /v1/stats").body).unwrap();
        stats["durability"]["snapshot_revision"].is_u64()
    };
    // Asking is what takes the time: there is nothing else to wait for.
    while !has_snapshot() {}
    place.kvd(&["stop"]).ends_with(0);
}

#[test]
fn how_far_the_loading_is_shows_on_a_terminal_and_nowhere_else() {
    let place = Place::new();
    with_a_snapshot(&place);
    let start = || place.command(&["start", "--listen", "127.0.0.1:0"]);
    let piped = Outcome::of(start().output().unwrap()).ends_with(0);
    assert!(piped.stdout.starts_with("kvd 0.1.0 is ready") && piped.stdout.lines().count() == 1, "{}", piped.stdout);
    assert_eq!(piped.stderr, "");
    place.kvd(&["stop"]).ends_with(0);
    let shown = on_terminal(start());
    let (loading, ready) = shown.rsplit_once("\r\x1b[K").expect("the line is taken away");
    assert_eq!(loading, "\r\x1b[Kloading: 1 keys of the snapshot (100%)");
    assert!(ready.starts_with("kvd 0.1.0 is ready") && ready.lines().count() == 1, "{ready}");
}

#[test]
fn a_server_without_durability_has_its_files_in_the_runtime_directory() {
    let place = Place::new();
    let run = place.dir.path().join("run");
    let kvd = |args: &[&str]| {
        let mut command = place.bare_command(args);
        Outcome::of(command.env("XDG_RUNTIME_DIR", &run).arg("--in-memory").output().unwrap())
    };
    kvd(&["start", "--listen", "127.0.0.1:0"]).ends_with(0);
    assert!(run.join("kvd/kvd.pid").is_file() && run.join("kvd/kvd.log").is_file());
    let elsewhere = place.kvd(&["status"]).code;
    kvd(&["stop"]).ends_with(0);
    assert_eq!(elsewhere, Some(3));
}

#[test]
fn after_a_crash_it_can_be_started_again() {
    let mut server = Server::start();
    let first = server.pid();
    server.kill();
    server.restart();
    assert_ne!(server.pid(), first);
    assert!(server.stop().success());
}
