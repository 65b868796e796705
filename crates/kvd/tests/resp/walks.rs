//! SCAN, KEYS, RANDOMKEY over many keys, while some come and go.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;

use kvd_testkit::{Answer, RespConnection, Server, resp_request};
use rustix::process::Signal;

fn keys_of(answer: &Answer) -> Vec<String> {
    let Answer::Array(items) = answer else { panic!("no array: {answer}") };
    let key = |item: &Answer| match item {
        Answer::Bulk(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        other => panic!("no key: {other}"),
    };
    items.iter().map(key).collect()
}

/// All keys that a walk by SCAN shows, and how many answers it took. `between` is done between two of them.
fn scan(connection: &mut RespConnection, more: &[&str], mut between: impl FnMut(usize)) -> (Vec<String>, usize) {
    let (mut cursor, mut all, mut answers) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let mut arguments = vec!["SCAN".to_owned(), cursor];
        arguments.extend(more.iter().map(|word| (*word).to_owned()));
        let Answer::Array(parts) = connection.ask(&arguments) else { panic!("no array") };
        let Answer::Bulk(next) = &parts[0] else { panic!("no cursor") };
        cursor = String::from_utf8(next.clone()).unwrap();
        assert!(cursor.parse::<i64>().is_ok(), "some clients want 63 bits: {cursor}");
        all.extend(keys_of(&parts[1]));
        answers += 1;
        if cursor == "0" {
            return (all, answers);
        }
        between(answers);
    }
}

fn fill(connection: &mut RespConnection, count: usize) {
    let sets: Vec<u8> = (0..count).flat_map(|n| resp_request(&["SET", &format!("key:{n}"), "v"])).collect();
    connection.send(&sets);
    (0..count).for_each(|_| assert_eq!(connection.read().to_string(), "OK"));
}

#[test]
fn a_walk_shows_every_key_that_stays_while_others_come_and_go() {
    let server = Server::start();
    let (mut connection, mut other) =
        (RespConnection::open(server.resp_address()), RespConnection::open(server.resp_address()));
    fill(&mut connection, 3_000);
    for count in ["1", "10", "1000", "100000"] {
        let change = |round: usize| {
            other.tell(&format!("SET passing:{round} 1"));
            other.tell(&format!("DEL passing:{}", round.saturating_sub(3)));
        };
        let (keys, answers) = scan(&mut connection, &["MATCH", "key:*", "COUNT", count], change);
        let distinct: BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), 3_000, "COUNT {count}");
        assert!(answers > 3_000 / count.parse::<usize>().unwrap() / 20, "COUNT {count}: {answers} answers");
    }
}

#[test]
fn patterns_choose_among_the_keys() {
    let server = Server::start();
    let mut connection = RespConnection::open(server.resp_address());
    fill(&mut connection, 1_000);
    let sorted = |mut keys: Vec<String>| {
        keys.sort();
        keys
    };
    let expected = ["key:50", "key:51", "key:52"];
    assert_eq!(sorted(keys_of(&connection.ask(&["KEYS", "key:5[0-2]"]))), expected);
    assert_eq!(sorted(scan(&mut connection, &["MATCH", "key:5[0-2]"], |_| {}).0), expected);
    assert_eq!(keys_of(&connection.ask(&["KEYS", "*"])).len(), 1_000);
    assert_eq!(scan(&mut connection, &["TYPE", "hash", "COUNT", "1000"], |_| {}).0, [""; 0]);
    let random: BTreeSet<_> = (0..50).map(|_| connection.tell("RANDOMKEY")).collect();
    assert!(random.len() > 10, "{random:?}");
}

/// A walk that takes minutes.
fn endless(server: &Server, command: &str) -> Vec<u8> {
    let mut connection = RespConnection::open(server.resp_address());
    for n in 0..10 {
        assert_eq!(connection.ask(&["SET", &format!("{}{n}", "a".repeat(60_000)), "v"]).to_string(), "OK");
    }
    let pattern = format!("*{}>b", "a".repeat(30_000));
    if command == "KEYS" { resp_request(&["KEYS", &pattern]) } else { resp_request(&["SCAN", "0", "MATCH", &pattern]) }
}

/// Waits until that many connections walk, as seen by connections of every serving thread.
fn wait_for_walks(server: &Server, command: &str, count: usize) {
    let mut others: Vec<_> = (0..8).map(|_| RespConnection::open(server.resp_address())).collect();
    let command = format!(" cmd={} ", command.to_ascii_lowercase());
    for other in &mut others {
        while other.tell("CLIENT LIST").matches(&command).count() != count {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_long_match_keeps_no_other_client_and_no_stop_waiting() {
    for command in ["SCAN", "KEYS"] {
        let mut server = Server::start_with(&["--set", "server.stop_timeout=200ms"]);
        let walk = endless(&server, command);
        let mut connection = RespConnection::open(server.resp_address());
        connection.send(&walk);
        wait_for_walks(&server, command, 1);
        server.signal(Signal::TERM);
        assert!(!server.wait().success(), "the walk was cut");
        assert!(server.log().contains("were still busy"), "{}", server.log());
    }
}

#[test]
fn a_walk_ends_when_its_client_has_reset_the_connection() {
    for command in ["SCAN", "KEYS"] {
        let server = Server::start();
        let walk = endless(&server, command);
        let mut connection = TcpStream::connect(server.resp_address()).unwrap();
        connection.write_all(b"PING\r\n").unwrap();
        connection.peek(&mut [0]).unwrap();
        connection.write_all(&walk).unwrap();
        wait_for_walks(&server, command, 1);
        // With an answer unread: the server is told so.
        drop(connection);
        wait_for_walks(&server, command, 0);
    }
}
