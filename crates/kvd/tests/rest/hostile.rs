//! Requests that are broken or meant to harm: each is answered or its connection closed, none hangs, and the server serves
//! others as before.

use kvd_testkit::{RawConnection, Server};

use crate::support::{ask, client};

/// Request heads by themselves: what the HTTP parser must refuse.
const BROKEN_FRAMES: &[&[u8]] = &[
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n",
    b"GET /v1/keys/a\r\n\r\n",
    b"GET  /v1/keys/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /v1/keys/a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /v1/keys/a HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"G\x00T /v1/keys/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /v1/keys/a HTTP/1.1\r\nHost : localhost\r\n\r\n",
    b"GET /v1/keys/a HTTP/1.1\r\nHost: localhost\r\n folded: yes\r\n\r\n",
    b"GET /v1/keys/a HTTP/1.1\r\nHost: local\x00host\r\n\r\n",
    b"PUT /v1/keys/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"PUT /v1/keys/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"PUT /v1/keys/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1x\r\n\r\na",
    b"PUT /v1/keys/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\na",
    b"PUT /v1/keys/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\na",
    b"PUT /v1/keys/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\na\r\n0\r\n\r\n",
    b"PUT /v1/keys/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    b"PUT /v1/keys/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\na\r\n0\r\n\r\n",
];

#[test]
fn a_broken_frame_ends_its_own_connection_and_changes_nothing() {
    let server = Server::start();
    for frame in BROKEN_FRAMES {
        let mut connection = RawConnection::open(server.address());
        connection.send(frame);
        connection.finish_sending();
        let answer = connection.wait_until_closed();
        let accepted = answer.windows(4).any(|window| window == b" 20\x00") || answer.starts_with(b"HTTP/1.1 2");
        assert!(!accepted, "{} was accepted: {}", frame.escape_ascii(), answer.escape_ascii());
    }
    assert_eq!(client(&server).stats().unwrap().revision, 0);
}

#[test]
fn a_request_with_two_framings_can_smuggle_nothing() {
    let server = Server::start();
    let mut connection = RawConnection::open(server.address());
    connection.send(
        b"PUT /v1/keys/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
          0\r\n\r\nPUT /v1/keys/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
    );
    connection.finish_sending();
    connection.wait_until_closed();
    assert!(client(&server).get("smuggled").unwrap().is_none());
}

#[test]
fn heads_that_are_too_much_are_refused() {
    let server = Server::start();
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let large = format!("x: {}\r\n", "y".repeat(200_000));
    let long = "k".repeat(70_000);
    for (request, status) in [
        (format!("GET /v1/keys/k HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"), 431),
        (format!("GET /v1/keys/k HTTP/1.1\r\nHost: localhost\r\n{large}\r\n"), 431),
        (format!("GET /v1/keys/{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"), 414),
    ] {
        let mut connection = RawConnection::open(server.address());
        // The server may close while the rest is on its way.
        drop(connection.try_send(request.as_bytes()));
        assert_eq!(connection.read_response().status, status);
    }
}

#[test]
fn well_formed_nonsense_is_answered_with_what_is_wrong() {
    let server = Server::start();
    let json = "Content-Type: application/json\n";
    for (head, body, status) in [
        ("GET /", &b""[..], 404),
        ("GET /v1", b"", 404),
        ("GET /v2/keys/a", b"", 404),
        ("GET /v1/keys/%", b"", 400),
        ("GET /v1/keys/%zz", b"", 400),
        ("GET /v1/keys/%F", b"", 400),
        ("GET /v1/k64/", b"", 400),
        ("GET /v1/k64/a", b"", 400),
        ("GET /v1/k64/YQ==", b"", 400),
        ("GET /v1/k64/YR", b"", 400),
        ("GET /v1/k64/a+b/", b"", 400),
        ("POST /v1/keys/a", b"x", 405),
        ("PATCH /v1/stats", b"", 405),
        ("BREW /v1/stats", b"", 405),
        ("GET /v1/mget", b"", 405),
        ("GET /v1/keys/a?what=1", b"", 400),
        ("GET /v1/keys/a?rev=1", b"", 409),
        ("GET /v1/keys?limit=0", b"", 400),
        ("GET /v1/keys?limit=10001", b"", 400),
        ("GET /v1/keys?limit=x", b"", 400),
        ("GET /v1/keys?cursor=x", b"", 400),
        ("GET /v1/keys?prefix=a&prefix=b", b"", 400),
        ("GET /v1/keys?delimiter=", b"", 400),
        ("GET /v1/keys?sort=size", b"", 400),
        ("GET /v1/keys?sort=key&limit=10001", b"", 400),
        ("GET /v1/keys/a", b"body", 400),
        ("PUT /v1/keys/a\nKvd-TTL: 30\n", b"x", 400),
        ("PUT /v1/keys/a\nContent-Encoding: gzip\n", b"x", 415),
        ("DELETE /v1/keys", b"", 400),
        ("POST /v1/txn\nContent-Type: application/json\n", b"{}", 422),
        ("POST /v1/txn\nKvd-Tx: x\n", b"{}", 400),
        ("POST /v1/tx", b"{}", 422),
        ("POST /v1/tx/x/commit", b"", 410),
        ("GET /v1/tx/x", b"", 405),
        ("GET /v1/keys/a\nKvd-Tx: x\n", b"", 410),
        ("POST /v1/incr/a?by=x", b"", 400),
        ("POST /v1/incr/a", b"x", 400),
        ("PUT /v1/ttl/a", b"", 400),
        ("GET /v1/ttl/a", b"", 404),
        ("GET /v1/watch?from=x", b"", 400),
        ("POST /v1/mget\nContent-Type: text/plain\n", b"{}", 415),
        ("POST /v1/mget\nContent-Type: application/json\nAccept: text/html\n", b"{\"keys\":[]}", 406),
    ] {
        let answer = ask(server.address(), head, body);
        assert_eq!(answer.status, status, "{head}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{head}");
    }
    for body in [
        "",
        "{",
        "null",
        "[]",
        "{\"items\":",
        "{\"items\":[]} x",
        "\u{0}",
        "{\"items\":{}}",
        "{\"keys\":[1]}",
        "[[[[[[",
    ] {
        let answer = ask(server.address(), &format!("POST /v1/mget\n{json}"), body.as_bytes());
        assert!(matches!(answer.status, 400 | 422), "{body}: {}", answer.text());
    }
    for body in [
        &b"\xff"[..],
        b"\x9f",
        b"\xbf\xff",
        b"\xa1\x65items\x9f\xff",
        b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
        &[0x81; 100_000],
    ] {
        let answer = ask(server.address(), "POST /v1/mget\nContent-Type: application/cbor\n", body);
        assert!(matches!(answer.status, 400 | 422), "{:?}: {}", &body[..body.len().min(9)], answer.text());
    }
    assert_eq!(client(&server).stats().unwrap().revision, 0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start();
    let mut connection = RawConnection::open(server.address());
    let mut bytes = Vec::new();
    for n in 0..100 {
        bytes.extend(crate::support::request(&format!("PUT /v1/keys/k{n}"), n.to_string().as_bytes()));
        bytes.extend(crate::support::request(&format!("GET /v1/keys/k{n}"), b""));
        bytes.extend(crate::support::request("GET /v1/keys/%zz", b""));
    }
    connection.send(&bytes);
    for n in 0..100 {
        assert_eq!(connection.read_response().status, 201);
        assert_eq!(connection.read_response().text(), n.to_string());
        assert_eq!(connection.read_response().status, 400, "a malformed request closes no connection");
    }
}
