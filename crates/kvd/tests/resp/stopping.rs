//! The end of a server: by a signal or by SHUTDOWN, in order, with what was answered kept; and its begin, while it loads.

use kvd_testkit::{RespConnection, Server, resp_request};
use rustix::process::Signal;

#[test]
fn shutdown_ends_the_server_in_order_and_keeps_what_was_answered() {
    let mut server = Server::start();
    let mut connection = RespConnection::open(server.resp_address());
    connection.tell("SET a 1");
    connection.send(&resp_request(&["SHUTDOWN"]));
    assert!(connection.is_closed());
    assert!(server.wait().success());
    assert!(server.log().contains("SHUTDOWN"), "{}", server.log());
    server.restart();
    let mut connection = RespConnection::open(server.resp_address());
    assert_eq!(connection.tell("GET a"), "\"1\"");
}

#[test]
fn a_signal_ends_idle_connections_and_answers_what_has_arrived() {
    let mut server = Server::start();
    let (mut idle, mut half) =
        (RespConnection::open(server.resp_address()), RespConnection::open(server.resp_address()));
    assert_eq!(idle.tell("PING"), "PONG");
    half.send(b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n");
    assert_eq!(half.read().to_string(), "PONG");
    server.signal(Signal::TERM);
    assert!(idle.is_closed() && half.is_closed());
    assert!(server.wait().success());
}

#[test]
fn without_the_protocol_there_is_no_port() {
    let server = Server::start_with(&["--resp", "off"]);
    assert!(std::panic::catch_unwind(|| server.resp_address()).is_err());
}
