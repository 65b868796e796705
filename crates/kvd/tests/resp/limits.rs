//! Every limit refuses what is above it and nothing else, and says so.

use kvd_client::{Client, blocking};
use kvd_testkit::{Answer, RawConnection, RespConnection, Server, resp_request};

fn server(limits: &[&str]) -> Server {
    let limits: Vec<_> = limits.iter().map(|limit| format!("limits.{limit}")).collect();
    let args: Vec<&str> = limits.iter().flat_map(|limit| ["--set", limit.as_str()]).collect();
    Server::start_with(&args)
}

#[test]
fn keys_values_and_batches_are_bounded() {
    let server = server(&["key_bytes_max=10", "value_bytes_max=100", "batch_items_max=3"]);
    let mut connection = RespConnection::open(server.resp_address());
    let (fits, over) = ("k".repeat(10), "k".repeat(11));
    assert_eq!(connection.tell(&format!("SET {fits} 1")), "OK");
    for command in ["GET", "INCR", "DEL", "TTL", "EXISTS"] {
        let refused = connection.tell(&format!("{command} {over}"));
        assert_eq!(refused, "(error) ERR key_bytes_max is 10, this request comes to 11", "{command}");
    }
    // Others in the same pipeline are served.
    let pipeline = [resp_request(&["GET", &fits]), resp_request(&["GET", &over]), resp_request(&["GET", &fits])];
    connection.send(&pipeline.concat());
    let answers: Vec<_> = (0..3).map(|_| connection.read().to_string()).collect();
    assert_eq!(answers, ["\"1\"", "(error) ERR key_bytes_max is 10, this request comes to 11", "\"1\""]);

    assert_eq!(connection.tell(&format!("SET a {}", "v".repeat(100))), "OK");
    let too_long = "(error) ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    assert_eq!(connection.tell("APPEND a x"), too_long);
    assert_eq!(connection.tell("SETRANGE a 100 x"), too_long);
    assert_eq!(connection.tell("STRLEN a"), "(integer) 100");
    let refused = connection.tell("MSET a 1 b 2 c 3 d 4");
    assert_eq!(refused, "(error) ERR batch_items_max is 3, this request comes to 4");
    assert_eq!(connection.tell("EXISTS b"), "(integer) 0");
    connection.send(&resp_request(&["SET".to_owned(), "a".to_owned(), "v".repeat(101)]));
    assert_eq!(connection.read().to_string(), "(error) ERR Protocol error: invalid bulk length");
    assert!(connection.is_closed());
}

#[test]
fn a_transaction_is_bounded_and_then_refused_as_a_whole() {
    let server = server(&["transaction_ops_max=3"]);
    let mut connection = RespConnection::open(server.resp_address());
    connection.tell("MULTI");
    for _ in 0..3 {
        assert_eq!(connection.tell("INCR n"), "QUEUED");
    }
    let refused = connection.tell("INCR n");
    assert_eq!(refused, "(error) ERR transaction_ops_max is 3, this request comes to 4");
    assert!(connection.tell("EXEC").starts_with("(error) EXECABORT"));
    assert_eq!(connection.tell("EXISTS n"), "(integer) 0");
    let refused = connection.tell("WATCH a b c d");
    assert_eq!(refused, "(error) ERR transaction_ops_max is 3, this request comes to 4");
}

#[test]
fn connections_of_both_protocols_are_bounded_together() {
    let server = server(&["connections_max=4"]);
    let mut rest: Vec<_> = (0..2).map(|_| RawConnection::open(server.address())).collect();
    for connection in &mut rest {
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(connection.read_response().status, 200);
    }
    let mut resp: Vec<_> = (0..2).map(|_| RespConnection::open(server.resp_address())).collect();
    resp.iter_mut().for_each(|connection| assert_eq!(connection.tell("PING"), "PONG"));
    let mut waiting = RespConnection::open(server.resp_address());
    waiting.send(b"PING\r\n");
    drop(rest.pop());
    assert_eq!(waiting.read().to_string(), "PONG");
}

#[test]
fn a_transaction_that_is_large_does_not_wait_for_ever() {
    let server = server(&["body_idle_timeout=200ms"]);
    let open = |bytes: usize| {
        let mut connection = RespConnection::open(server.resp_address());
        connection.tell("MULTI");
        assert_eq!(connection.tell(&format!("SET a {}", "v".repeat(bytes))), "QUEUED");
        connection
    };
    let mut small = open(1_000);
    assert!(open(100_000).is_closed());
    assert_eq!(small.tell("EXEC"), "[OK]");
}

#[test]
fn requests_under_way_are_bounded_together() {
    let server = server(&["value_bytes_max=1MiB", "batch_bytes_max=1MiB", "inbound_bytes_max=2MiB"]);
    let begin = || {
        let mut connection = RespConnection::open(server.resp_address());
        connection.send(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1000000\r\n");
        connection
    };
    let mut begun = [begin(), begin()];
    begun.iter_mut().for_each(|connection| connection.send(&vec![b'x'; 999_999]));
    let client = blocking::Client::new(Client::new(&server.url()).unwrap()).unwrap();
    while client.stats().unwrap().memory.buffers < 2 * 999_999 {
        std::thread::yield_now();
    }
    let mut refused = begin();
    // It may be told so while it sends.
    drop(refused.try_send(&vec![b'x'; 999_999]));
    let answer = refused.wait_until_closed();
    let expected = "-ERR the requests of all clients together are more than limits.inbound_bytes_max";
    assert!(String::from_utf8_lossy(&answer).starts_with(expected) || answer.is_empty(), "{}", answer.escape_ascii());
    for connection in &mut begun {
        connection.send(b"x\r\n");
        assert_eq!(connection.read().to_string(), "OK");
    }
    // There is room again for two.
    let mut more = [begin(), begin()];
    more.iter_mut().for_each(|connection| connection.send(&[&[b'x'; 1_000_000][..], b"\r\n"].concat()));
    more.iter_mut().for_each(|connection| assert_eq!(connection.read().to_string(), "OK"));
}

#[test]
fn what_a_client_tells_of_itself_is_short() {
    let server = server(&[]);
    let mut connection = RespConnection::open(server.resp_address());
    let (fits, over) = ("n".repeat(256), "n".repeat(257));
    for (begin, what) in [
        ("HELLO 2 SETNAME", "Client names"),
        ("CLIENT SETNAME", "Client names"),
        ("CLIENT SETINFO LIB-NAME", "lib-name"),
        ("CLIENT SETINFO lib-ver", "lib-ver"),
    ] {
        let refused = connection.tell(&format!("{begin} {over}"));
        assert_eq!(refused, format!("(error) ERR {what} cannot be longer than 256 bytes, this is 257"), "{begin}");
        assert!(!connection.tell(&format!("{begin} {fits}")).starts_with("(error)"), "{begin}");
    }
    assert_eq!(connection.tell("CLIENT LIST").matches(&fits).count(), 3);
}

#[test]
fn what_is_told_of_commands_at_once_is_bounded() {
    let server = server(&[]);
    let mut connection = RespConnection::open(server.resp_address());
    for command in ["DOCS", "INFO"] {
        assert!(matches!(connection.tell(&format!("COMMAND {command}{}", " set".repeat(256))).get(..1), Some("[")));
        let refused = connection.tell(&format!("COMMAND {command}{}", " set".repeat(257)));
        let name = format!("command|{}", command.to_ascii_lowercase());
        assert_eq!(refused, format!("(error) ERR '{name}' takes at most 256 names, this request has 257"));
    }

    connection.tell("MULTI");
    (0..500).for_each(|_| assert_eq!(connection.tell("COMMAND DOCS"), "QUEUED"));
    assert_eq!(connection.tell("INCR n"), "QUEUED");
    let Answer::Array(answers) = connection.ask(&["EXEC"]) else { panic!("no array") };
    assert_eq!(answers.len(), 501);
    let is_refused = |answer: &Answer| answer.to_string().contains("come to more than 1 MiB");
    let told = answers.iter().take_while(|answer| !is_refused(answer)).count();
    assert!((2..100).contains(&told), "{told}");
    assert!(answers[told..500].iter().all(is_refused));
    assert_eq!(answers[500].to_string(), "(integer) 1", "what the store answers is told");
}
