//! What survives the end of a server, on the real binary: a stop in order, a kill at any moment under load, a snapshot in
//! between. What was acknowledged or read is there again, with its version; damage stops the start; `kvd check` and `kvd
//! dump` say what is on the disk. `KVD_KILL_CYCLES` makes the kills more.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use kvd_client::blocking::Client;
use kvd_client::{Key, Set};
use kvd_testkit::{RawConnection, RawResponse, Server, binary};
use serde_json::Value;

const WRITERS: usize = 3;

fn client(server: &Server) -> Client {
    Client::new(kvd_client::Client::new(&server.url()).unwrap()).unwrap()
}

fn ask(server: &Server, line: &str) -> RawResponse {
    let mut connection = RawConnection::open(server.address());
    connection.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").as_bytes());
    connection.read_response()
}

/// Status and body of the answer to a request; none when the server goes away meanwhile.
fn ask_while_there(address: SocketAddr, head: &str, body: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let length = body.len();
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let head =
        format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
    stream.write_all((head + body).as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.to_owned(), body.to_owned()))
}

fn kvd(server: &Server, command: &str) -> Output {
    Command::new(binary("kvd")).arg(command).arg(server.data_dir()).output().unwrap()
}

fn set(name: String, value: String) -> Set<'static> {
    Set::new(Key::new(name.into_bytes()).unwrap(), value)
}

/// A number that a key has; 0 without one.
fn number(client: &Client, name: &str) -> u64 {
    let value = client.get(name).unwrap();
    value.map_or(0, |value| String::from_utf8(value.bytes.to_vec()).unwrap().parse().unwrap())
}

#[test]
fn a_stop_and_a_kill_leave_values_versions_types_and_sizes() {
    for (fsync, is_killed) in [("always", true), ("always", false), ("interval", false), ("off", false)] {
        let mut server = Server::start_with(&["--fsync", fsync]);
        let before = client(&server);
        before.set("a", "1").unwrap();
        before.set("b", vec![7; 100_000]).unwrap();
        before.delete("a").unwrap();
        let mut connection = RawConnection::open(server.address());
        let head = "PUT /v1/keys/typed HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2";
        connection.send(format!("{head}\r\n\r\nhi").as_bytes());
        assert_eq!(connection.read_response().status, 201);
        let (heads, stats) = ([before.head("b").unwrap(), before.head("typed").unwrap()], before.stats().unwrap());
        assert_eq!(stats.durability.policy, fsync);
        if is_killed {
            server.kill();
        } else {
            assert!(server.stop().success());
        }
        server.restart();
        let after = client(&server);
        let now = after.stats().unwrap();
        assert_eq!([after.head("b").unwrap(), after.head("typed").unwrap()], heads);
        assert_eq!(after.get("b").unwrap().unwrap().bytes, vec![7; 100_000]);
        assert!(after.get("a").unwrap().is_none());
        let sizes = |stats: &kvd_client::StatsAnswer| (stats.keys, stats.key_bytes, stats.value_bytes);
        assert_eq!(sizes(&now), sizes(&stats));
        assert_eq!((now.durability.loaded_keys, now.ops.total), (2, 0));
        let expected = if is_killed { stats.revision + (1 << 24) } else { stats.revision };
        assert_eq!(now.revision, expected, "no revision is given twice");
        assert!(after.set("c", "3").unwrap().etag.unwrap().revision.0 > stats.revision);
    }
}

/// Load until the server is gone: each writer puts rising numbers into two keys at once, and a reader looks at them.
struct Load {
    /// What each writer was told is safe, and what it tried.
    acknowledged: [AtomicU64; WRITERS],
    tried: [AtomicU64; WRITERS],
    /// What the reader saw of each.
    seen: [AtomicU64; WRITERS],
}

impl Load {
    fn write(&self, writer: usize, client: &Client) {
        // Relaxed, all: read after the threads are joined, or only to wait for some.
        for number in self.tried[writer].load(Ordering::Relaxed) + 1.. {
            self.tried[writer].store(number, Ordering::Relaxed); // as above
            let sets = ["left", "right"].map(|side| set(format!("{side}{writer}"), number.to_string())).to_vec();
            if client.set_many(sets).is_err() {
                return;
            }
            self.acknowledged[writer].store(number, Ordering::Relaxed); // as above
        }
    }

    fn read(&self, client: &Client) {
        for writer in (0..WRITERS).cycle() {
            let Ok(value) = client.get(format!("right{writer}")) else { return };
            if let Some(value) = value {
                let number = std::str::from_utf8(&value.bytes).unwrap().parse().unwrap();
                self.seen[writer].fetch_max(number, Ordering::Relaxed); // as in `write`
            }
        }
    }

    /// Read-write transactions read the newest commits, which the disk may not have yet: their begin has to wait for it.
    fn read_in_transactions(&self, address: SocketAddr) -> Option<()> {
        for writer in (0..WRITERS).cycle() {
            let (_, begun) = ask_while_there(address, "POST /v1/tx", r#"{"mode":"read-write"}"#)?;
            let begun: Value = serde_json::from_str(&begun).unwrap();
            let id = begun["id"].as_str().unwrap();
            let get = format!("GET /v1/keys/right{writer}\nKvd-Tx: {id}\r\n");
            let (status, value) = ask_while_there(address, &get, "")?;
            if status == "200" {
                self.seen[writer].fetch_max(value.parse().unwrap(), Ordering::Relaxed); // as in `write`
            }
            ask_while_there(address, &format!("DELETE /v1/tx/{id}"), "")?;
        }
        None
    }
}

#[test]
fn a_kill_under_load_loses_nothing_that_was_told() {
    let cycles = std::env::var("KVD_KILL_CYCLES").map_or(20, |text| text.parse().expect("KVD_KILL_CYCLES is a number"));
    // Snapshots as often as they can be.
    let mut server = Server::start_with(&["--fsync", "always", "--set", "storage.snapshot_journal_bytes=1MiB"]);
    let load = Load { acknowledged: Default::default(), tried: Default::default(), seen: Default::default() };
    for cycle in 0..cycles {
        let enough = load.acknowledged[0].load(Ordering::Relaxed) + 20 + cycle % 7 * 10; // as in `write`
        let url = server.url();
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (client, load) = (client(&server), &load);
                scope.spawn(move || load.write(writer, &client));
            }
            let reader = client(&server);
            let load = &load;
            scope.spawn(move || load.read(&reader));
            let address = server.address();
            scope.spawn(move || load.read_in_transactions(address));
            // Relaxed: as in `write`.
            while load.acknowledged[0].load(Ordering::Relaxed) < enough {
                thread::yield_now();
            }
            if cycle % 3 == 0 {
                assert_eq!(ask(&server, "POST /v1/admin/snapshot").status, 202);
            }
            server.kill();
        });
        server.restart();
        let client = client(&server);
        for writer in 0..WRITERS {
            let told = |numbers: &[AtomicU64; WRITERS]| numbers[writer].load(Ordering::Relaxed); // as in `write`
            let (left, right) = (number(&client, &format!("left{writer}")), number(&client, &format!("right{writer}")));
            let (acknowledged, seen, tried) = (told(&load.acknowledged), told(&load.seen), told(&load.tried));
            let what = format!("cycle {cycle}, {url}: {acknowledged} acknowledged, {seen} seen, {tried} tried");
            assert_eq!(left, right, "half of a commit; {what}");
            assert!((acknowledged.max(seen)..=tried).contains(&left), "{left} is there; {what}");
            // What was not acknowledged and is there counts from now on; what is not there may be tried again.
            load.tried[writer].store(left, Ordering::Relaxed); // as in `write`
            load.acknowledged[writer].store(left, Ordering::Relaxed); // as in `write`
        }
    }
    server.kill();
    let check = kvd(&server, "check");
    assert!(check.status.success(), "{check:?}");
}

#[test]
fn a_stop_under_load_loses_nothing_and_has_nothing_to_cut() {
    let mut server = Server::start();
    let load = Load { acknowledged: Default::default(), tried: Default::default(), seen: Default::default() };
    let status = thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (client, load) = (client(&server), &load);
            scope.spawn(move || load.write(writer, &client));
        }
        // Relaxed: as in `write`.
        while load.acknowledged[0].load(Ordering::Relaxed) < 200 {
            thread::yield_now();
        }
        server.stop()
    });
    assert!(status.success());
    let check = String::from_utf8(kvd(&server, "check").stdout).unwrap();
    assert!(check.contains("stopped in order") && check.ends_with("ok\n"), "{check}");
    server.restart();
    let client = client(&server);
    for writer in 0..WRITERS {
        let found = number(&client, &format!("left{writer}"));
        let acknowledged = load.acknowledged[writer].load(Ordering::Relaxed); // after the threads have ended
        assert!(found >= acknowledged, "{found} of {acknowledged}");
    }
}

#[test]
fn a_snapshot_on_demand_is_made_and_loaded() {
    let mut server = Server::start();
    let before = client(&server);
    for number in 0..500_u64 {
        before.set(format!("key{number}"), number.to_string()).unwrap();
    }
    before.snapshot().unwrap();
    // Asking is what takes the time: there is nothing else to wait for.
    while before.stats().unwrap().durability.snapshot_revision != Some(500) {}
    before.set("after", "1").unwrap();
    server.stop();
    let check = String::from_utf8(kvd(&server, "check").stdout).unwrap();
    for part in ["snapshot   revision 500, 500 keys", "journal    1 segments"] {
        assert!(check.contains(part), "{part:?} is not in {check}");
    }
    let dump = String::from_utf8(kvd(&server, "dump").stdout).unwrap();
    for part in ["500 keys", "put \"after\", 1 bytes: \"1\"", "commit 501", "stopped in order: revision 501"] {
        assert!(dump.contains(part), "{part:?} is not in {dump}");
    }
    server.restart();
    let stats = client(&server).stats().unwrap();
    assert_eq!((stats.keys, stats.durability.snapshot_revision), (501, Some(500)));
}

#[test]
fn a_journal_that_has_grown_makes_a_snapshot() {
    let server = Server::start_with(&["--set", "storage.snapshot_journal_bytes=1MiB"]);
    let client = client(&server);
    for _ in 0..30 {
        client.set("hot", vec![7; 100_000]).unwrap();
    }
    // Asking is what takes the time: there is nothing else to wait for.
    while client.stats().unwrap().durability.snapshot_revision.is_none() {}
    assert!(client.stats().unwrap().durability.journal_bytes < 1 << 20);
}

#[test]
fn damage_stops_the_start_and_is_named() {
    let mut server = Server::start();
    let before = client(&server);
    for number in 0..50 {
        before.set(format!("key{number}"), "value").unwrap();
    }
    server.stop();
    let journal = server.data_dir().join("00000000000000000001.journal");
    let mut bytes = fs::read(&journal).unwrap();
    bytes[600] ^= 1;
    fs::write(&journal, bytes).unwrap();
    let check = kvd(&server, "check");
    assert_eq!(check.status.code(), Some(1));
    let start = server.failing_start();
    assert_eq!((start.status.code(), start.stdout.is_empty()), (Some(1), true));
    for output in [check, start] {
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("00000000000000000001.journal is damaged at byte"), "{error}");
    }
    let dump = String::from_utf8(kvd(&server, "dump").stdout).unwrap();
    assert!(dump.contains("bad: "), "{dump}");
}

#[test]
fn a_server_in_memory_has_nothing_to_put_into_a_snapshot() {
    let server = Server::start_with(&["--in-memory"]);
    let refused = ask(&server, "POST /v1/admin/snapshot");
    let problem: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!((refused.status, &problem["code"]), (400, &Value::from("unsupported")));
    assert_eq!(client(&server).stats().unwrap().durability.policy, "in-memory");
}

#[test]
fn data_that_does_not_fit_into_memory_is_told_with_what_to_set() {
    let mut server = Server::start();
    for number in 0..60 {
        client(&server).set(format!("key{number}"), vec![7; 500_000]).unwrap();
    }
    server.stop();
    server.launch_mut().args = vec!["--max-memory".to_owned(), "16MiB".to_owned()];
    let start = server.failing_start();
    let error = String::from_utf8(start.stderr).unwrap();
    assert_eq!((start.status.code(), start.stdout.is_empty()), (Some(1), true), "{error}");
    for part in ["--max-memory (memory.max) is too small", "and 16777216 are allowed; nothing was changed"] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
    server.launch_mut().args = vec!["--max-memory".to_owned(), "64MiB".to_owned()];
    server.restart();
    assert_eq!(client(&server).stats().unwrap().keys, 60);
}

#[test]
fn a_directory_that_is_none_is_told() {
    let nowhere = Command::new(binary("kvd")).args(["check", "/nowhere/at/all"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8(nowhere.stderr).unwrap().contains("/nowhere/at/all is no directory"));
}
