//! Disks that are full or can't be written to, as file systems of their own, on the real binary. A full one refuses writes before
//! anything has happened, takes deletes, and is taken up again without a restart; a start on one that is nearly full serves
//! what is there; one that is mounted read-only is refused as that, and can be looked at. Where no file system can be mounted
//! each says aloud that it tests nothing.

use std::fs;
use std::process::{Command, Output};

use kvd_client::blocking::Client;
use kvd_testkit::{Launch, Mount, RawConnection, RawResponse, Server, not_tested};

fn client(server: &Server) -> Client {
    Client::new(kvd_client::Client::new(&server.url()).unwrap()).unwrap()
}

fn ask(server: &Server, line: &str) -> RawResponse {
    let mut connection = RawConnection::open(server.address());
    connection.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").as_bytes());
    connection.read_response()
}

/// A server whose data directory is a file system of its own; not started yet.
fn server_on_mount(megabytes: u32, args: &[&str]) -> Option<(Server, Mount)> {
    let mut server = Server::start_with(args);
    server.stop();
    match Mount::new(&server.data_dir(), megabytes) {
        Ok(mount) => {
            server.launch_mut().under = mount.under();
            Some((server, mount))
        }
        Err(why) => {
            not_tested(&format!("a file system that is full or read-only, since none can be mounted: {why}"));
            None
        }
    }
}

fn kvd(server: &Server, command: &str) -> Output {
    let under = Launch { under: server.launch().under.clone(), ..Launch::default() };
    let mut kvd: Command = under.command("kvd");
    kvd.arg(command).arg(server.data_dir()).output().unwrap()
}

#[test]
fn a_full_disk_refuses_takes_deletes_and_recovers_without_a_restart() {
    let Some((mut server, mount)) = server_on_mount(220, &["--fsync", "always"]) else { return };
    let filler = mount.path().join("filler");
    fs::write(&filler, vec![0; 140 << 20]).unwrap();
    server.restart();
    let before = client(&server);
    let refused = |error: kvd_client::Error| {
        let problem = error.problem().expect("it is an answer").code().to_owned();
        assert_eq!(problem, "disk-full", "{error}");
    };
    let mut count = 0;
    loop {
        match before.set(format!("key{count}"), vec![7; 1 << 20]) {
            Ok(_) => count += 1,
            Err(error) => break refused(error),
        }
    }
    assert!(count > 40, "{count} MiB in a segment of 64");
    assert_eq!(ask(&server, "GET /readyz").status, 503);
    assert!(before.stats().unwrap().durability.error.is_some());
    assert!(before.delete("key0").unwrap().found, "deletes have room kept for them");
    assert_eq!(before.get("key1").unwrap().unwrap().bytes, vec![7; 1 << 20], "reads go on");
    refused(before.set("refused", vec![7; 1 << 20]).unwrap_err());
    fs::remove_file(&filler).unwrap();
    // Asking is what takes the time: there is nothing else to wait for.
    while ask(&server, "GET /readyz").status != 200 {}
    assert!(before.stats().unwrap().durability.error.is_none());
    before.set("after", vec![7; 1 << 20]).unwrap();
    server.kill();
    server.restart();
    let after = client(&server);
    assert_eq!(after.stats().unwrap().keys, count);
    assert!(after.get("refused").unwrap().is_none() && after.get("key0").unwrap().is_none());
    server.stop();

    // A start on a disk that is all but full serves what is there.
    let fillers = (0..).map(|number| mount.path().join(format!("filler{number}")));
    let fillers: Vec<_> = fillers.take_while(|filler| fs::write(filler, vec![0; 4 << 20]).is_ok()).collect();
    fs::remove_file(&fillers[0]).unwrap();
    server.restart();
    let after = client(&server);
    assert_eq!(after.get("after").unwrap().unwrap().bytes, vec![7; 1 << 20]);
    assert!(after.delete("after").unwrap().found);
    server.stop();
}

#[test]
fn a_read_only_file_system_is_refused_as_that_and_can_be_looked_at() {
    let Some((mut server, mount)) = server_on_mount(150, &[]) else { return };
    server.restart();
    client(&server).set("key", "1").unwrap();
    server.stop();
    mount.make_read_only();
    let start = server.failing_start();
    let error = String::from_utf8(start.stderr).unwrap();
    assert_eq!((start.status.code(), start.stdout.is_empty()), (Some(1), true), "{error}");
    let says = format!("can't use the data directory {}: Read-only file system", server.data_dir().display());
    assert!(error.contains(&says) && error.contains("mount it for writing"), "{error}");
    let check = kvd(&server, "check");
    assert!(check.status.success() && check.stdout.ends_with(b"ok\n"), "{check:?}");
    let dump = String::from_utf8(kvd(&server, "dump").stdout).unwrap();
    assert!(dump.contains("put \"key\", 1 bytes: \"1\""), "{dump}");
}
