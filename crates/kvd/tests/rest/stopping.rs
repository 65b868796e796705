//! The end: what was acknowledged is in, what is under way finishes, nothing new begins.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kvd_testkit::{RawConnection, Server};
use rustix::process::Signal;

use crate::support::client;

#[test]
fn a_request_under_way_is_finished_and_idle_connections_end() {
    let mut server = Server::start();
    let mut idle = RawConnection::open(server.address());
    idle.send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(idle.read_response().status, 200);
    let mut begun = RawConnection::open(server.address());
    begun.send(b"PUT /v1/keys/a HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n");
    assert_eq!(begun.read_response().status, 100, "the server has begun with the body");

    server.signal(Signal::TERM);
    assert!(idle.is_closed());
    begun.send(b"0123456789");
    assert_eq!(begun.read_response().status, 201);
    assert!(begun.is_closed());
    assert!(server.wait().success());
}

#[test]
fn a_request_that_does_not_finish_is_cut_after_the_timeout() {
    let mut server = Server::start_with(&["--set", "server.stop_timeout=200ms"]);
    let mut begun = RawConnection::open(server.address());
    begun.send(b"PUT /v1/keys/a HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n");
    assert_eq!(begun.read_response().status, 100);
    server.signal(Signal::TERM);
    assert!(!server.wait().success());
    assert!(server.log().contains("1 connections were still busy"), "{}", server.log());
}

#[test]
fn under_load_every_request_is_answered_whole_or_not_at_all() {
    let mut server = Server::start();
    let acknowledged = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..4 {
            let (server, acknowledged) = (&server, &acknowledged);
            let client = client(server);
            scope.spawn(move || {
                for n in 0.. {
                    match client.set(format!("{thread}/{n}"), "v") {
                        Ok(written) => assert!(written.created),
                        // Refused connection, or one that ended: never half an answer.
                        Err(error) => {
                            assert!(error.status().is_none(), "{error}");
                            break;
                        }
                    }
                    acknowledged.fetch_add(1, Ordering::Relaxed); // a count by itself
                }
            });
        }
        // Relaxed: a count by itself.
        while acknowledged.load(Ordering::Relaxed) < 1000 {
            thread::yield_now();
        }
        server.signal(Signal::TERM);
    });
    assert!(server.wait().success());
    // The log's last line tells how many keys there were.
    let log = server.log();
    let keys: usize =
        log.rsplit("\"keys\":").next().and_then(|rest| rest.split([',', '}']).next()).unwrap().parse().unwrap();
    let acknowledged = acknowledged.into_inner();
    assert!(keys >= acknowledged, "{keys} keys for {acknowledged} acknowledged sets:\n{log}");
}
