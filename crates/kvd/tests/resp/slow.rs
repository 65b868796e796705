//! Clients that are slow or silent: an idle connection may stay, one that owes the rest of a request or does not read is cut in
//! the end, and a slow reader costs no more memory than its share.

use kvd_testkit::{RespConnection, Server, resp_request};

const SHORT: &[&str] = &[
    "--set",
    "limits.header_timeout=100ms",
    "--set",
    "limits.body_idle_timeout=200ms",
    "--set",
    "limits.keep_alive_timeout=100ms",
];

#[test]
fn half_a_request_is_cut_and_an_idle_connection_is_not() {
    let server = Server::start_with(SHORT);
    let mut idle = RespConnection::open(server.resp_address());
    assert_eq!(idle.tell("PING"), "PONG");
    let mut untouched = RespConnection::open(server.resp_address());
    for half in [&b"*2\r\n$3\r\nGET\r\n"[..], b"GET a", b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\nxxx"] {
        let mut connection = RespConnection::open(server.resp_address());
        connection.send(half);
        assert!(connection.is_closed());
    }
    // Longer than all limits has passed by now.
    assert_eq!(idle.tell("PING"), "PONG");
    assert_eq!(untouched.tell("PING"), "PONG");
}

#[test]
fn a_client_that_does_not_read_is_held_back_and_then_cut() {
    let server = Server::start_with(SHORT);
    let mut lazy = RespConnection::open(server.resp_address());
    lazy.tell(&format!("SET k {}", "v".repeat(10_000)));
    // Answers of gigabytes, if they were all written.
    let gets = resp_request(&["GET", "k"]).repeat(10_000);
    while lazy.try_send(&gets).is_ok() {}
    let mut other = RespConnection::open(server.resp_address());
    while !other.tell("INFO clients").contains("connected_clients:1\\r") {
        std::thread::yield_now();
    }
    let info = other.tell("INFO memory");
    let rss: u64 = info.split("used_memory_rss:").nth(1).unwrap().split("\\r").next().unwrap().parse().unwrap();
    assert!(rss < 200 << 20, "{rss} bytes resident");
}

#[test]
fn many_connections_can_be_idle() {
    let server = Server::start();
    let mut idle: Vec<_> = (0..500).map(|_| RespConnection::open(server.resp_address())).collect();
    idle.iter_mut().for_each(|connection| assert_eq!(connection.tell("INCR n"), connection_number()));
    fn connection_number() -> String {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        format!("(integer) {}", NEXT.fetch_add(1, Ordering::Relaxed)) // a count by itself
    }
}
