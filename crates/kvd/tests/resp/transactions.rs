//! MULTI and EXEC of several clients at once: whole or not at all, and never on a state that was not the one watched.

use std::thread;

use kvd_testkit::{Answer, RespConnection, Server};

/// Adds one to a counter the long way, as often as it takes.
fn add_one(connection: &mut RespConnection) {
    loop {
        connection.tell("WATCH n");
        let n: i64 = match connection.ask(&["GET", "n"]) {
            Answer::Bulk(digits) => String::from_utf8(digits).unwrap().parse().unwrap(),
            _ => 0,
        };
        connection.tell("MULTI");
        connection.tell(&format!("SET n {}", n + 1));
        connection.tell("INCR commits");
        match connection.ask(&["EXEC"]) {
            Answer::Array(answers) => return assert_eq!(answers.len(), 2),
            Answer::Null => {}
            other => panic!("{other}"),
        }
    }
}

#[test]
fn no_update_is_lost_between_watch_and_exec() {
    let server = Server::start();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = RespConnection::open(server.resp_address());
                (0..100).for_each(|_| add_one(&mut connection));
            });
        }
    });
    let mut connection = RespConnection::open(server.resp_address());
    assert_eq!(connection.tell("MGET n commits"), r#"["400", "400"]"#);
}

#[test]
fn a_transfer_is_seen_whole() {
    let server = Server::start();
    let mut writer = RespConnection::open(server.resp_address());
    writer.tell("MSET x 500 y 500");
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut connection = RespConnection::open(server.resp_address());
            while connection.tell("GET end") == "(nil)" {
                for ask in ["MGET x y", "EXEC"] {
                    let answer = if ask == "EXEC" {
                        connection.tell("MULTI");
                        connection.tell("GET x");
                        connection.tell("GET y");
                        connection.ask(&["EXEC"])
                    } else {
                        connection.ask(&["MGET", "x", "y"])
                    };
                    let Answer::Array(values) = &answer else { panic!("{answer}") };
                    let value = |at: usize| -> i64 { values[at].to_string().trim_matches('"').parse().unwrap() };
                    assert_eq!(value(0) + value(1), 1_000, "{answer}");
                }
            }
        });
        for n in 0..1_000 {
            writer.tell("MULTI");
            writer.tell(&format!("INCRBY x {}", n % 7));
            writer.tell(&format!("DECRBY y {}", n % 7));
            writer.tell("EXEC");
        }
        writer.tell("SET end 1");
        reader.join().unwrap();
    });
}

#[test]
fn msetnx_of_two_clients_has_one_winner() {
    let server = Server::start();
    let won: usize = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let address = server.resp_address();
                scope.spawn(move || {
                    let mut connection = RespConnection::open(address);
                    let set = |n: usize| format!("MSETNX a{n} {client} b{n} {client}");
                    (0..200).filter(|n| connection.tell(&set(*n)) == "(integer) 1").count()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!(won, 200);
    let mut connection = RespConnection::open(server.resp_address());
    for n in 0..200 {
        let Answer::Array(pair) = connection.ask(&["MGET".to_owned(), format!("a{n}"), format!("b{n}")]) else {
            panic!()
        };
        assert!(pair[0] == pair[1] && pair[0] != Answer::Null, "{pair:?}");
    }
}
