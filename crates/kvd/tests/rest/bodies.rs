//! Bodies: large ones stream both ways, bounded ones are refused in time, broken ones change nothing.

use std::fs;

use kvd_testkit::{RawConnection, Server};

use crate::support::{ask, client, code, request};

const MIB: usize = 1 << 20;

/// Bytes that differ everywhere, so that a piece that is lost or moved shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length / 4 + 1).flat_map(|n| (n as u32).wrapping_mul(2_654_435_761).to_le_bytes()).take(length).collect()
}

/// The most memory the process ever had, in bytes.
fn peak_resident_bytes(server: &Server) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

#[test]
fn a_value_of_the_largest_size_goes_in_and_out_with_bounded_buffers() {
    let server = Server::start();
    let client = client(&server);
    let value = pattern(64 * MIB);
    client.set("big", value.clone()).unwrap();
    for _ in 0..3 {
        assert!(client.get("big").unwrap().unwrap().bytes == value, "not the same bytes");
    }
    // The value itself, and a little for everything else.
    let peak = peak_resident_bytes(&server);
    assert!(peak < 64 * MIB + 32 * MIB, "{} MiB for one value of 64 MiB", peak / MIB);
    let part = ask(server.address(), "GET /v1/keys/big\nRange: bytes=33554430-33554433\n", b"");
    assert_eq!((part.status, &part.body[..]), (206, &value[33_554_430..33_554_434]));
}

#[test]
fn a_value_can_come_in_chunks_of_unknown_number() {
    let server = Server::start();
    let value = pattern(3 * MIB + 5);
    let mut connection = RawConnection::open(server.address());
    connection.send(b"PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in value.chunks(100_001) {
        connection.send(format!("{:x}\r\n", chunk.len()).as_bytes());
        connection.send(chunk);
        connection.send(b"\r\n");
    }
    connection.send(b"0\r\n\r\n");
    assert_eq!(connection.read_response().status, 201);
    assert!(ask(server.address(), "GET /v1/keys/k", b"").body == value);
}

#[test]
fn a_client_that_disappears_within_a_body_changes_nothing() {
    let server = Server::start();
    client(&server).set("k", "old").unwrap();
    let batch = br#"{"items":[{"key":"a","value":"1"},{"key":"k","value":"2"}]}"#;
    for (head, body) in [
        ("PUT /v1/keys/k", &pattern(200_000)[..]),
        ("PUT /v1/keys/new", b"12"),
        ("POST /v1/mset\nContent-Type: application/json\n", batch),
    ] {
        let whole = request(head, body);
        for missing in [1, body.len() / 2, body.len()] {
            let mut connection = RawConnection::open(server.address());
            connection.send(&whole[..whole.len() - missing]);
            connection.finish_sending();
            // Whether it gets an answer or not: the server has seen the end when the connection is closed.
            connection.wait_until_closed();
        }
    }
    let stats = client(&server).stats().unwrap();
    // What is kept for who watches stays, bodies don't.
    assert_eq!((stats.keys, stats.revision, stats.memory.buffers), (1, 1, stats.watch.retained_bytes));
    assert_eq!(client(&server).get("k").unwrap().unwrap().bytes, "old");
}

#[test]
fn what_is_too_large_is_refused_and_named() {
    let server = Server::start_with(&["--set", "limits.value_bytes_max=1000", "--set", "limits.batch_bytes_max=2000"]);
    let limit_of = |response: &kvd_testkit::RawResponse| -> (u16, String, u64) {
        let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        (response.status, problem["limit_name"].as_str().unwrap().to_owned(), problem["limit"].as_u64().unwrap())
    };
    assert_eq!(ask(server.address(), "PUT /v1/keys/k", &pattern(1000)).status, 201);
    let refused = ask(server.address(), "PUT /v1/keys/k", &pattern(1001));
    assert_eq!(code(&refused), "limit-exceeded");
    assert_eq!(limit_of(&refused), (413, "value_bytes_max".to_owned(), 1000), "{}", refused.text());
    let refused = ask(server.address(), "POST /v1/mset\nContent-Type: application/json\n", &pattern(2001));
    assert_eq!(limit_of(&refused), (413, "batch_bytes_max".to_owned(), 2000), "{}", refused.text());
    // In chunks, where nobody knows before.
    let chunked = b"PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut connection = RawConnection::open(server.address());
    connection.send(chunked);
    for _ in 0..3 {
        connection.send(&[b"190\r\n", &pattern(400)[..], b"\r\n"].concat());
    }
    connection.send(b"0\r\n\r\n");
    assert_eq!(limit_of(&connection.read_response()).0, 413);
    assert_eq!(client(&server).stats().unwrap().revision, 1);
}

#[test]
fn a_client_that_sends_too_much_gets_to_read_why() {
    let server = Server::start_with(&["--set", "limits.value_bytes_max=1MiB"]);
    // Far more than any socket buffer: if the server just closed, the answer would be lost in a reset.
    let error = client(&server).set("k", pattern(40 * MIB)).unwrap_err();
    assert_eq!(error.code(), Some("limit-exceeded"), "{error}");
}

#[test]
fn an_answer_of_many_values_is_bounded_too() {
    let server = Server::start_with(&["--set", "limits.value_bytes_max=1000", "--set", "limits.batch_bytes_max=2000"]);
    ask(server.address(), "PUT /v1/keys/k", &pattern(900));
    let ask = |body: &[u8]| ask(server.address(), "POST /v1/mget\nContent-Type: application/json\n", body);
    assert_eq!(ask(br#"{"keys":["k","k"]}"#).status, 200);
    let refused = ask(br#"{"keys":["k","k","k"]}"#);
    assert_eq!((refused.status, code(&refused).as_str()), (413, "limit-exceeded"));
}
