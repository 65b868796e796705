//! Scripts of commands with the answers that Redis 7 gives: the server gives the same. Where redis-server is installed, it is
//! asked too, so that the scripts can't come to tell of something else.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use kvd_testkit::{Server, run_script};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/resp/scripts");

fn scripts() -> Vec<(String, String)> {
    let files = fs::read_dir(SCRIPTS).unwrap().map(|file| file.unwrap().path());
    let mut scripts: Vec<_> =
        files.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap())).collect();
    scripts.sort();
    assert!(scripts.len() >= 5);
    scripts
}

#[test]
fn the_server_answers_as_the_scripts_say() {
    for (name, script) in scripts() {
        println!("{name}");
        run_script(Server::start().resp_address(), &script, false);
    }
}

#[test]
fn redis_answers_as_the_scripts_say() {
    for (name, script) in scripts() {
        let Some(redis) = Redis::start() else {
            return println!("not compared with Redis: redis-server is not installed");
        };
        println!("{name}");
        run_script(redis.address, &script, true);
    }
}

/// A redis-server with nothing in it, killed when this is dropped.
struct Redis {
    child: Child,
    address: SocketAddr,
    /// Its directory.
    _dir: tempfile::TempDir,
}

impl Redis {
    /// None where it is not installed.
    fn start() -> Option<Redis> {
        loop {
            // A port that is free now; should another take it meanwhile, the next one.
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let dir = tempfile::tempdir().unwrap();
            let port = address.port().to_string();
            let mut command = Command::new("redis-server");
            command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--dir"]).arg(dir.path());
            let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
            let mut redis = Redis { child: child.ok()?, address, _dir: dir };
            let lines = BufReader::new(redis.child.stdout.take().unwrap()).lines();
            let is_ready = lines.map_while(Result::ok).any(|line| line.contains("Ready to accept connections"));
            if is_ready && TcpStream::connect(address).is_ok() {
                return Some(redis);
            }
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
