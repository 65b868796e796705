//! Bytes that are broken or meant to harm: answered in Redis' words or not at all, then closed, and others are served as before.

use kvd_testkit::{RawConnection, RespConnection, Server, resp_request};

#[test]
fn a_broken_frame_is_answered_after_what_came_before_it_and_the_connection_closed() {
    let server = Server::start();
    for (bytes, error) in [
        (&b"*1\r\n+PING\r\n"[..], "expected '$', got '+'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$99999999999\r\n", "invalid bulk length"),
        (b"*99999999\r\n", "invalid multibulk length"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"SET \"a\r\n", "unbalanced quotes in request"),
        (b"*1\r\n$1\r\nxyz", "expected CRLF after a bulk string"),
        (&[b'x'; 70_000], "too big inline request"),
    ] {
        let mut connection = RespConnection::open(server.resp_address());
        drop(connection.try_send(&[&b"PING\r\n"[..], bytes, b"PING\r\n"].concat()));
        let answer = connection.wait_until_closed();
        let expected = format!("+PONG\r\n-ERR Protocol error: {error}\r\n");
        assert_eq!(String::from_utf8_lossy(&answer), expected);
    }
    assert_eq!(RespConnection::open(server.resp_address()).tell("DBSIZE"), "(integer) 0");
}

#[test]
fn http_and_tls_get_no_answer_and_change_nothing() {
    let server = Server::start();
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\nContent-Length: 20\r\n\r\nSET smuggled 1\r\n",
        b"PUT /SET HTTP/1.1\r\n\r\nSET smuggled 1\r\n",
        b"Host: localhost\r\nSET smuggled 1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut connection = RawConnection::open(server.resp_address());
        connection.send(bytes);
        assert_eq!(connection.wait_until_closed(), b"", "{}", bytes.escape_ascii());
    }
    assert_eq!(RespConnection::open(server.resp_address()).tell("EXISTS smuggled"), "(integer) 0");
}

#[test]
fn text_in_an_error_can_not_end_it() {
    let server = Server::start();
    let mut connection = RespConnection::open(server.resp_address());
    connection.send(&resp_request(&["NO\r\n+OK", "a\nb"]));
    assert_eq!(
        connection.read().to_string(),
        "(error) ERR unknown command 'NO  +OK', with args beginning with: 'a b' "
    );
    assert_eq!(connection.tell("PING"), "PONG");
}

#[test]
fn what_is_announced_and_never_comes_takes_no_memory() {
    let server = Server::start();
    let mut silent: Vec<_> = (0..200).map(|_| RespConnection::open(server.resp_address())).collect();
    for connection in &mut silent {
        connection.send(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$67108864\r\nx");
    }
    let mut connection = RespConnection::open(server.resp_address());
    assert_eq!(connection.tell("SET b 1"), "OK");
    let rss = connection.tell("INFO memory");
    let rss: u64 = rss.split("used_memory_rss:").nth(1).unwrap().split("\\r").next().unwrap().parse().unwrap();
    assert!(rss < 300 << 20, "{rss} bytes resident");
}
