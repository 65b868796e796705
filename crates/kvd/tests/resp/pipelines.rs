//! Requests that arrive together, in pieces, or not at all: each whole one is answered in order, and counted exactly.

use std::thread;

use kvd_testkit::{Answer, RespConnection, Server, resp_request};

use kvd_client::{Client, blocking};

fn rest(server: &Server) -> blocking::Client {
    blocking::Client::new(Client::new(&server.url()).unwrap()).unwrap()
}

#[test]
fn a_long_pipeline_is_answered_in_order_and_sees_its_own_writes() {
    let server = Server::start();
    let mut connection = RespConnection::open(server.resp_address());
    let count = 5_000;
    let mut bytes = Vec::new();
    for n in 0..count {
        let (key, value) = (format!("k{}", n % 100), n.to_string());
        bytes.extend(resp_request(&["SET", &key, &value]));
        bytes.extend(resp_request(&["GET", &key]));
        bytes.extend(resp_request(&["NOSUCH", &value]));
        bytes.extend(resp_request(&["PING", &value]));
        bytes.extend(resp_request(&["GET", "nosuch"]));
    }
    let mut writer = connection.clone_writer();
    thread::scope(|scope| {
        scope.spawn(|| writer.send(&bytes));
        for n in 0..count {
            let value = Answer::Bulk(n.to_string().into_bytes());
            assert_eq!(connection.read(), Answer::Simple("OK".to_owned()));
            assert_eq!(connection.read(), value);
            assert!(matches!(connection.read(), Answer::Error(_)));
            assert_eq!(connection.read(), value);
            assert_eq!(connection.read(), Answer::Null);
        }
    });
    let stats = rest(&server).stats().unwrap();
    assert_eq!((stats.ops.set, stats.hits, stats.misses), (count, count, count));
}

#[test]
fn requests_in_single_bytes_are_the_same_requests() {
    let server = Server::start();
    let mut connection = RespConnection::open(server.resp_address());
    let bytes = [resp_request(&["SET", "a", "1"]), b"GET a\r\n".to_vec(), resp_request(&["DEL", "a", "b"])].concat();
    bytes.iter().for_each(|byte| connection.send(&[*byte]));
    let answers: Vec<_> = (0..3).map(|_| connection.read().to_string()).collect();
    assert_eq!(answers, ["OK", "\"1\"", "(integer) 1"]);
}

#[test]
fn a_client_that_goes_in_the_middle_is_counted_up_to_its_last_whole_request() {
    let server = Server::start();
    let mut connection = RespConnection::open(server.resp_address());
    let mut bytes = resp_request(&["INCR", "n"]).repeat(999);
    bytes.extend(b"*2\r\n$4\r\nINCR\r\n$1\r\n");
    connection.send(&bytes);
    connection.finish_sending();
    let answers = connection.wait_until_closed();
    assert!(answers.ends_with(b":999\r\n"), "{}", answers.escape_ascii());
    let client = rest(&server);
    assert_eq!(client.get("n").unwrap().unwrap().bytes, "999");
    let stats = client.stats().unwrap();
    assert_eq!((stats.ops.set, stats.revision), (999, 999));
}

#[test]
fn large_values_come_and_go_whole() {
    let server = Server::start();
    let mut connection = RespConnection::open(server.resp_address());
    for len in [16_383, 16_384, 1 << 20, 64 << 20] {
        let value: Vec<u8> = (0..len).map(|at: usize| (at * 7 % 251) as u8).collect();
        let mut writer = connection.clone_writer();
        let pipeline = [
            resp_request(&[&b"SET"[..], b"big", &value]),
            resp_request(&["GET", "big"]),
            resp_request(&["STRLEN", "big"]),
        ];
        thread::scope(|scope| {
            scope.spawn(|| writer.send(&pipeline.concat()));
            assert_eq!(connection.read().to_string(), "OK");
            assert!(connection.read() == Answer::Bulk(value.clone()), "{len} bytes differ");
            assert_eq!(connection.read(), Answer::Integer(len as i64));
        });
    }
    let many: Vec<_> = (0..2_000).flat_map(|n| [format!("key{n}"), "v".repeat(200)]).collect();
    let mset: Vec<_> = std::iter::once("MSET".to_owned()).chain(many.iter().cloned()).collect();
    assert_eq!(connection.ask(&mset).to_string(), "OK");
    let keys = many.iter().step_by(2).cloned();
    let mget: Vec<_> = std::iter::once("MGET".to_owned()).chain(keys).collect();
    let Answer::Array(values) = connection.ask(&mget) else { panic!("no array") };
    assert!(values.len() == 2_000 && values.iter().all(|value| *value == Answer::Bulk(vec![b'v'; 200])));
}

#[test]
fn increments_of_many_clients_add_up() {
    let server = Server::start();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = RespConnection::open(server.resp_address());
                connection.send(&resp_request(&["INCR", "n"]).repeat(1_000));
                let mut last = 0;
                for _ in 0..1_000 {
                    let Answer::Integer(now) = connection.read() else { panic!("no number") };
                    assert!(now > last, "a client's own increments come in order");
                    last = now;
                }
            });
        }
    });
    assert_eq!(RespConnection::open(server.resp_address()).tell("GET n"), "\"4000\"");
}
