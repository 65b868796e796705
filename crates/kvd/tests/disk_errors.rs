//! Disks that fail, directories that can't be used and files that are too new, on the real binary: each is a clear message with
//! exit status 1 where the server can't start, and a state that /readyz and the statistics tell where it is running; reads go on,
//! nothing acknowledged is lost, and what can be mended is, without a restart where that is safe.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use kvd_client::blocking::Client;
use kvd_testkit::{Faults, Launch, RawConnection, RawResponse, Server, not_tested, without_override};
use serde_json::Value;

fn client(server: &Server) -> Client {
    Client::new(kvd_client::Client::new(&server.url()).unwrap()).unwrap()
}

fn ask(server: &Server, line: &str) -> RawResponse {
    let mut connection = RawConnection::open(server.address());
    connection.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").as_bytes());
    connection.read_response()
}

/// The problem code that a call was answered with.
#[track_caller]
fn code<T>(result: Result<T, kvd_client::Error>) -> String {
    let error = result.err().expect("it is refused");
    error.problem().unwrap_or_else(|| panic!("{error} is no answer")).code().to_owned()
}

/// What a command says that fails.
#[track_caller]
fn failure(output: Output) -> String {
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(1), true), "{error}");
    error
}

/// All files but the log, with what is in them.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// The journal of this server has failed, for this reason: it says so, reads go on, and nothing is written.
fn is_failed(server: &Server, reason: &str) {
    let client = client(server);
    assert_eq!(code(client.set("refused", "1")), "journal-failed");
    assert_eq!(code(client.delete("before")), "journal-failed");
    assert_eq!(client.get("before").unwrap().unwrap().bytes, "1");
    assert!(client.get("refused").unwrap().is_none());
    let ready = ask(server, "GET /readyz");
    let problem: Value = serde_json::from_slice(&ready.body).unwrap();
    assert_eq!((ready.status, &problem["code"]), (503, &Value::from("journal-failed")));
    let told = client.stats().unwrap().durability.error.unwrap();
    for text in [problem["detail"].as_str().unwrap(), &told] {
        assert!(text.contains(reason) && text.contains(".journal") && text.contains("os error 5"), "{text}");
    }
    assert_eq!(ask(server, "GET /healthz").status, 200);
}

#[test]
fn a_failed_sync_ends_writes_until_restart_and_nothing_acknowledged_is_lost() {
    let faults = Faults::build();
    let mut server = Server::launched(faults.of_syncs(&["--fsync", "always"]));
    let before = client(&server);
    before.set("before", "1").unwrap();
    faults.break_syncs();
    assert_eq!(code(before.set("during", "1")), "outcome-unknown");
    assert!(before.get("during").unwrap().is_none(), "nobody reads what is not on disk");
    is_failed(&server, "can't sync");
    // The kernel may have thrown the pages away: a disk that is well again makes no difference.
    faults.mend_syncs();
    is_failed(&server, "can't sync");
    assert!(server.log().contains("Reads go on, writes are refused until kvd is restarted"), "{}", server.log());
    assert_eq!(server.stop().code(), Some(1), "the stop is not in order");
    assert!(server.log().contains("the journal can't be ended in order"), "{}", server.log());
    server.restart();
    let after = client(&server);
    assert_eq!((ask(&server, "GET /readyz").status, after.stats().unwrap().durability.error), (200, None));
    assert_eq!(after.get("before").unwrap().unwrap().bytes, "1");
    after.set("during", "2").unwrap();
    assert!(server.stop().success());
}

#[test]
fn a_failed_write_ends_writes_until_restart_and_leaves_no_hole() {
    let faults = Faults::build();
    let mut server = Server::launched(faults.of_writes_from(64 << 10, &[]));
    let before = client(&server);
    before.set("before", "1").unwrap();
    // Acknowledged at once, and written a little later.
    let count = (0_u64..).find(|number| before.set(format!("key{number}"), vec![7; 1_000]).is_err()).unwrap();
    assert!(count > 50, "{count}");
    is_failed(&server, "can't write");
    assert_eq!(server.stop().code(), Some(1), "the stop is not in order");
    server.launch_mut().env.clear();
    server.restart();
    let after = client(&server);
    assert_eq!(after.get("before").unwrap().unwrap().bytes, "1");
    let is_there = |number: &u64| after.get(format!("key{number}")).unwrap().is_some();
    let there = (0..count).take_while(is_there).count() as u64;
    assert!(there > 50 && after.stats().unwrap().keys == there + 1, "{there} keys, and others behind a hole");
}

#[test]
fn a_file_of_a_newer_format_is_named_and_left_alone() {
    let mut server = Server::start();
    client(&server).set("key", "1").unwrap();
    client(&server).snapshot().unwrap();
    // Asking is what takes the time: there is nothing else to wait for.
    while client(&server).stats().unwrap().durability.snapshot_revision.is_none() {}
    server.stop();
    for suffix in ["snapshot", "journal"] {
        let is_wanted = |path: &PathBuf| path.extension().is_some_and(|extension| extension == suffix);
        let path = files(&server.data_dir()).into_keys().find(is_wanted).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut newer = whole.clone();
        newer[8] = 3;
        fs::write(&path, newer).unwrap();
        let left = files(&server.data_dir());
        let name = path.file_name().unwrap().to_str().unwrap();
        let says = format!("{name} has format 3, this kvd reads up to 2: start it with the newer kvd that wrote it");
        for output in [server.failing_start(), kvd(&server, "check")] {
            let error = failure(output);
            assert!(error.contains(&says), "{error}");
        }
        let dump = kvd(&server, "dump");
        assert!(!dump.status.success() && String::from_utf8_lossy(&dump.stderr).contains(&says), "{dump:?}");
        assert!(files(&server.data_dir()) == left, "nothing was changed");
        fs::write(&path, whole).unwrap();
    }
    server.restart();
    assert_eq!(client(&server).stats().unwrap().keys, 1);
}

fn kvd(server: &Server, command: &str) -> Output {
    let under = Launch { under: server.launch().under.clone(), ..Launch::default() };
    under.command("kvd").arg(command).arg(server.data_dir()).output().unwrap()
}

/// The directory's mode, and that of all its files; the directory's is enough to make, rename or remove any.
fn set_modes(dir: &Path, of_dir: u32, of_files: u32) {
    for file in fs::read_dir(dir).unwrap() {
        fs::set_permissions(file.unwrap().path(), Permissions::from_mode(of_files)).unwrap();
    }
    fs::set_permissions(dir, Permissions::from_mode(of_dir)).unwrap();
}

#[test]
fn a_directory_without_permission_is_told_with_what_to_do() {
    let under = match without_override() {
        Ok(under) => under,
        Err(why) => return not_tested(&format!("a data directory without permission: {why}")),
    };
    let mut server = Server::launched(Launch { under, ..Launch::default() });
    let dir = server.data_dir();
    client(&server).set("key", "1").unwrap();

    // While it runs: no snapshot can be made, which is told and tried again; everything else goes on.
    set_modes(&dir, 0o500, 0o600);
    client(&server).snapshot().unwrap();
    // Looking is what takes the time: there is nothing else to wait for.
    while !server.log().contains("no snapshot: can't create snapshot.new: Permission denied") {}
    assert!(server.log().contains("Give the directory and its files to the user that kvd runs as"), "{}", server.log());
    assert_eq!(ask(&server, "GET /readyz").status, 200);
    client(&server).set("key", "2").unwrap();
    set_modes(&dir, 0o700, 0o600);
    client(&server).snapshot().unwrap();
    // As above.
    while client(&server).stats().unwrap().durability.snapshot_revision != Some(2) {}
    server.stop();

    set_modes(&dir, 0o500, 0o600);
    let left = files(&dir);
    let error = failure(server.failing_start());
    let says = format!("can't use the data directory {}: Permission denied", dir.display());
    assert!(error.contains(&says) && error.contains("give it to the user that kvd runs as"), "{error}");
    // Looking needs no more than the right to read.
    set_modes(&dir, 0o500, 0o400);
    let check = kvd(&server, "check");
    assert!(check.status.success() && check.stdout.ends_with(b"ok\n"), "{check:?}");
    assert!(kvd(&server, "dump").status.success());
    set_modes(&dir, 0o700, 0o000);
    for output in [server.failing_start(), kvd(&server, "check")] {
        let error = failure(output);
        assert!(error.contains("Permission denied") && error.contains("to the user that kvd runs as"), "{error}");
    }
    set_modes(&dir, 0o700, 0o600);
    assert!(files(&dir) == left, "nothing was changed");
    server.restart();
    assert_eq!(client(&server).get("key").unwrap().unwrap().bytes, "2");
    server.stop();
}

#[test]
fn a_second_server_is_refused_also_where_the_pid_file_is_gone() {
    let server = Server::start();
    client(&server).set("key", "1").unwrap();
    let error = failure(server.failing_start());
    assert!(error.contains("kvd is already running with this data directory"), "{error}");
    fs::remove_file(server.data_dir().join("kvd.pid")).unwrap();
    let error = failure(server.failing_start());
    let says = format!("{} is in use by another kvd: stop that one", server.data_dir().display());
    assert!(error.contains(&says), "{error}");
    for command in ["check", "dump"] {
        let error = failure(kvd(&server, command));
        assert!(error.contains(&says), "{error}");
    }
    client(&server).set("key", "2").unwrap();
    assert_eq!(client(&server).get("key").unwrap().unwrap().bytes, "2");
}

#[test]
fn a_directory_without_data_is_not_whole() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), "not kvd's").unwrap();
    for command in ["check", "dump"] {
        let error = failure(Launch::default().command("kvd").arg(command).arg(dir.path()).output().unwrap());
        assert!(error.contains(&format!("there is no data of kvd in {}", dir.path().display())), "{command}: {error}");
    }
}

#[test]
fn looking_at_a_copy_leaves_nothing_in_it() {
    let mut server = Server::start();
    client(&server).set("key", "1").unwrap();
    server.stop();
    fs::remove_file(server.data_dir().join("journal.lock")).unwrap();
    let left = files(&server.data_dir());
    for command in ["check", "dump"] {
        assert!(kvd(&server, command).status.success());
        assert!(files(&server.data_dir()) == left, "{command} changes nothing");
    }
}
