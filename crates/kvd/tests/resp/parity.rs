//! One store behind two protocols: what one writes the other reads, with the same revisions, conditions, counters and refusals.

use kvd_client::{Client, Condition, Delete, Key, Set, blocking};
use kvd_testkit::{RawConnection, RespConnection, Server};

fn rest(server: &Server) -> blocking::Client {
    blocking::Client::new(Client::new(&server.url()).unwrap()).unwrap()
}

/// What a server holds: name, value and revision of each key.
type State = Vec<(String, Vec<u8>, u64)>;

/// A server, asked by one protocol alone, and what it holds and counted afterwards.
fn after(ask: impl FnOnce(&Server)) -> (State, [u64; 8]) {
    let server = Server::start();
    ask(&server);
    let client = rest(&server);
    let stats = client.stats().unwrap();
    let counters = [
        stats.keys,
        stats.value_bytes,
        stats.ops.set,
        stats.ops.delete,
        stats.hits,
        stats.misses,
        stats.delete_misses,
        stats.revision,
    ];
    let mut state: Vec<_> = ["a", "b", "c", "bin"]
        .into_iter()
        .filter_map(|name| Some((name, client.get(name).unwrap()?)))
        .map(|(name, value)| (name.to_owned(), value.bytes.to_vec(), value.meta.etag.unwrap().revision.0))
        .collect();
    state.sort();
    (state, counters)
}

#[test]
fn the_same_commands_give_the_same_store_and_counters() {
    let set = |name: &'static str, value: &'static str| Set::new(Key::new(name.as_bytes()).unwrap(), value);
    let delete = |name: &'static str| Delete::new(Key::new(name.as_bytes()).unwrap());
    let by_rest = after(|server| {
        let client = rest(server);
        client.set("a", "1").unwrap();
        client.set("bin", &b"\x00\xff"[..]).unwrap();
        client.set("a", "2").unwrap();
        client.set_many(vec![set("b", "1"), set("c", "2")]).unwrap();
        client.get("a").unwrap();
        client.get("nosuch").unwrap();
        client.get_many(&["a", "nosuch", "a"]).unwrap();
        client.delete("b").unwrap();
        client.delete("b").unwrap();
        client.delete_many(["c", "c", "nosuch"].map(delete).into(), false).unwrap();
        let absent = Set { condition: Condition::Absent, ..set("a", "3") };
        client.set_with(absent).unwrap_err();
    });
    let by_resp = after(|server| {
        let mut connection = RespConnection::open(server.resp_address());
        for (command, answer) in [
            ("SET a 1", "OK"),
            ("SET bin \"\\x00\\xff\"", "OK"),
            ("SET a 2", "OK"),
            ("MSET b 1 c 2", "OK"),
            ("GET a", "\"2\""),
            ("GET nosuch", "(nil)"),
            ("MGET a nosuch a", "[\"2\", (nil), \"2\"]"),
            ("DEL b", "(integer) 1"),
            ("DEL b", "(integer) 0"),
            ("DEL c c nosuch", "(integer) 1"),
            ("SETNX a 3", "(integer) 0"),
        ] {
            assert_eq!(connection.tell(command), answer, "{command}");
        }
    });
    assert_eq!(by_rest, by_resp);
}

/// Requests of REST beside the commands of RESP that mean the same.
const PAIRS: &[(&str, &str, &[&str])] = &[
    ("PUT /v1/keys/a?ttl=100s", "1", &["SET a 1 EX 100"]),
    ("PUT /v1/keys/a?ttl=keep", "2", &["SET a 2 KEEPTTL"]),
    ("PUT /v1/keys/a?ttl=100s", "3", &["SETEX a 100 3"]),
    ("PUT /v1/keys/a?return=previous", "4", &["GETSET a 4"]),
    ("PUT /v1/keys/b?return=previous", "5", &["SET b 5 GET"]),
    ("POST /v1/incr/c?by=5", "", &["INCRBY c 5"]),
    ("POST /v1/incr/c", "", &["INCR c"]),
    ("POST /v1/incr/bin?by=-9223372036854775808", "", &["INCRBY bin -9223372036854775808"]),
    ("POST /v1/incr/bin?by=-1", "", &["DECR bin"]),
    ("PUT /v1/ttl/a?ttl=50s", "", &["EXPIRE a 50"]),
    ("PUT /v1/ttl/nosuch?ttl=50s", "", &["EXPIRE nosuch 50"]),
    ("GET /v1/ttl/a", "", &["TTL a"]),
    ("DELETE /v1/ttl/a", "", &["PERSIST a"]),
    ("DELETE /v1/keys/b?return=previous", "", &["GETDEL b"]),
    ("DELETE /v1/keys/b?return=previous", "", &["GETDEL b"]),
    (
        "POST /v1/txn",
        r#"{"ops":[{"op":"set","key":"a","value":"6"},{"op":"incr","key":"c","by":2},{"op":"append","key":"b","value":"x"},
            {"op":"get","key":"nosuch"},{"op":"delete","key":"bin"},{"op":"expire","key":"b","ttl":"100s"}]}"#,
        &["MULTI", "SET a 6", "INCRBY c 2", "APPEND b x", "GET nosuch", "DEL bin", "EXPIRE b 100", "EXEC"],
    ),
    (
        "POST /v1/mset",
        r#"{"items":[{"key":"a","value":"7","if":{"absent":true}},{"key":"d","value":"7","if":{"absent":true}}]}"#,
        &["MSETNX a 7 d 7"],
    ),
    ("DELETE /v1/keys?all=true", "", &["FLUSHALL"]),
    ("PUT /v1/keys/a", "8", &["SET a 8"]),
];

#[test]
fn each_request_and_its_command_give_the_same_store_and_counters() {
    // One pair more each time, so that the first that differs is named.
    for count in 1..=PAIRS.len() {
        let (pairs, last) = (&PAIRS[..count], PAIRS[count - 1]);
        let by_rest = after(|server| {
            for (line, body, _) in pairs {
                let mut connection = RawConnection::open(server.address());
                let head = "Host: localhost\r\nContent-Type: application/json";
                let length = body.len();
                connection
                    .send(format!("{line} HTTP/1.1\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes());
                let answer = connection.read_response();
                assert!(
                    !matches!(answer.status, 400 | 405 | 415 | 422 | 500..),
                    "{line}: {} {}",
                    answer.status,
                    answer.text()
                );
            }
        });
        let by_resp = after(|server| {
            let mut connection = RespConnection::open(server.resp_address());
            for command in pairs.iter().flat_map(|(_, _, commands)| *commands) {
                let answer = connection.tell(command);
                assert!(!answer.contains("unknown command") && !answer.contains("syntax"), "{command}: {answer}");
            }
        });
        assert_eq!(by_rest, by_resp, "{last:?}");
    }
}

#[test]
fn what_one_protocol_writes_the_other_reads() {
    let server = Server::start();
    let client = rest(&server);
    let mut connection = RespConnection::open(server.resp_address());
    let written = client.set("a/b c", &b"\x00\r\n\xff"[..]).unwrap();
    assert_eq!(connection.tell("GET \"a/b c\""), r#""\x00\r\n\xff""#);
    connection.tell("WATCH \"a/b c\"");
    client.set("a/b c", "other").unwrap();
    connection.tell("MULTI");
    connection.tell("SET \"a/b c\" mine");
    assert_eq!(connection.tell("EXEC"), "(nil)");
    assert_eq!(connection.tell("SET \"a/b c\" mine"), "OK");
    let read = client.get("a/b c").unwrap().unwrap();
    assert_eq!(
        (&read.bytes[..], read.meta.etag.unwrap().revision.0),
        (&b"mine"[..], written.etag.unwrap().revision.0 + 2)
    );
}

#[test]
fn the_content_type_is_of_whom_set_the_value() {
    let server = Server::start();
    let content_type = || {
        let mut rest = RawConnection::open(server.address());
        rest.send(b"GET /v1/keys/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
        rest.read_response().header("content-type").unwrap().to_owned()
    };
    let mut rest = RawConnection::open(server.address());
    rest.send(b"PUT /v1/keys/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\n1");
    assert_eq!(rest.read_response().status, 201);
    let mut connection = RespConnection::open(server.resp_address());
    for command in ["INCR a", "APPEND a 0", "SETRANGE a 0 7", "EXPIRE a 100"] {
        connection.tell(command);
        assert_eq!(content_type(), "text/plain", "{command}");
    }
    connection.tell("SET a 1");
    assert_eq!(content_type(), "application/octet-stream");
}
