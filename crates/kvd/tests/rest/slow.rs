//! Clients that are slow, silent or many: each has its time, then its connection ends, and others are served meanwhile.
//! The server's limits are short here; no test waits for longer than it has to.

use kvd_testkit::{RawConnection, Server};

use crate::support::{ask, client, code};

const SHORT: &[&str] = &[
    "--set",
    "limits.header_timeout=200ms",
    "--set",
    "limits.body_idle_timeout=200ms",
    "--set",
    "limits.keep_alive_timeout=400ms",
];

#[test]
fn half_a_head_and_an_idle_connection_are_closed() {
    let server = Server::start_with(SHORT);
    let mut half = RawConnection::open(server.address());
    half.send(b"GET /v1/keys/a HTTP/1.1\r\nHost: loc");
    let mut idle = RawConnection::open(server.address());
    idle.send(b"GET /v1/keys/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(idle.read_response().status, 404);
    let mut silent = RawConnection::open(server.address());
    assert!(half.is_closed() && idle.is_closed() && silent.is_closed());
}

#[test]
fn a_body_that_pauses_for_too_long_is_answered_408() {
    let server = Server::start_with(SHORT);
    let mut slow = RawConnection::open(server.address());
    slow.send(b"PUT /v1/keys/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345");
    let answer = slow.read_response();
    assert_eq!((answer.status, code(&answer).as_str()), (408, "request-timeout"));
    assert_eq!(client(&server).stats().unwrap().keys, 0);
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let server = Server::start_with(SHORT);
    client(&server).set("big", vec![7; 60 << 20]).unwrap();
    let mut lazy = RawConnection::open(server.address());
    lazy.send(b"GET /v1/keys/big HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // It is cut off when the server no longer counts it: only this question's connection is left.
    let connections = || {
        let stats = ask(server.address(), "GET /v1/stats\nConnection: close\n", b"");
        serde_json::from_slice::<serde_json::Value>(&stats.body).unwrap()["connections"].as_u64().unwrap()
    };
    while connections() > 1 {
        std::thread::yield_now();
    }
}

#[test]
fn bodies_together_are_bounded() {
    let limits = ["value_bytes_max=1MiB", "batch_bytes_max=1MiB", "inbound_bytes_max=2MiB"];
    let limits = limits.map(|limit| format!("limits.{limit}"));
    let args: Vec<&str> = limits.iter().flat_map(|limit| ["--set", limit.as_str()]).collect();
    let server = Server::start_with(&args);
    // Two that have sent all but a byte of a megabyte each.
    let mut begun: Vec<RawConnection> = (0..2).map(|_| RawConnection::open(server.address())).collect();
    for connection in &mut begun {
        connection.send(b"PUT /v1/keys/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048576\r\n\r\n");
        connection.send(&vec![1; (1 << 20) - 1]);
    }
    // Without what is kept for who watches.
    let inbound = || {
        let stats = client(&server).stats().unwrap();
        stats.memory.buffers - stats.watch.retained_bytes
    };
    while inbound() < (2 << 20) - 2 {
        std::thread::yield_now();
    }
    let refused = ask(server.address(), "PUT /v1/keys/b", &[2; 1000]);
    assert_eq!((refused.status, code(&refused).as_str()), (503, "busy"));
    assert!(refused.header("retry-after").is_some());
    for connection in &mut begun {
        connection.send(b"1");
        assert!(matches!(connection.read_response().status, 201 | 204));
    }
    assert_eq!(ask(server.address(), "PUT /v1/keys/b", &[2; 1000]).status, 201);
    assert_eq!(inbound(), 0);
}

#[test]
fn more_connections_than_allowed_wait_their_turn() {
    let server = Server::start_with(&["--set", "limits.connections_max=10"]);
    let mut open: Vec<RawConnection> = (0..10).map(|_| RawConnection::open(server.address())).collect();
    for connection in &mut open {
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(connection.read_response().status, 200);
    }
    let mut waiting = RawConnection::open(server.address());
    waiting.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    drop(open.pop());
    assert_eq!(waiting.read_response().status, 200);
}
