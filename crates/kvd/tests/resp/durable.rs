//! Under `--fsync always`: a pipeline sees its own writes although no reader does yet, and what was answered survives a kill.

use kvd_testkit::{Answer, RespConnection, Server, resp_request};

#[test]
fn a_pipeline_sees_its_own_writes_before_they_are_on_disk() {
    let server = Server::start_with(&["--fsync", "always"]);
    let mut connection = RespConnection::open(server.resp_address());
    for round in 0..50 {
        let value = format!("v{round}");
        let pipeline = [
            resp_request(&["SET", "a", &value]),
            resp_request(&["GET", "a"]),
            resp_request(&["MGET", "a", "b"]),
            resp_request(&["TYPE", "a"]),
            resp_request(&["DEL", "a"]),
            resp_request(&["EXISTS", "a"]),
            resp_request(&["GET", "a"]),
            resp_request(&["SET", "a", &value]),
            resp_request(&["SCAN", "0"]),
            resp_request(&["MULTI"]),
            resp_request(&["GET", "a"]),
            resp_request(&["EXEC"]),
            resp_request(&["DEL", "a"]),
            resp_request(&["KEYS", "*"]),
        ];
        connection.send(&pipeline.concat());
        let answers: Vec<_> = (0..pipeline.len()).map(|_| connection.read().to_string()).collect();
        let quoted = format!("\"{value}\"");
        assert_eq!(
            answers,
            [
                "OK",
                &quoted,
                &format!("[{quoted}, (nil)]"),
                "string",
                "(integer) 1",
                "(integer) 0",
                "(nil)",
                "OK",
                "[\"0\", [\"a\"]]",
                "OK",
                "QUEUED",
                &format!("[{quoted}]"),
                "(integer) 1",
                "[]",
            ]
        );
    }
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let mut server = Server::start_with(&["--fsync", "always"]);
    let mut connection = RespConnection::open(server.resp_address());
    for n in 1..=20 {
        connection.send(&resp_request(&["INCR", "n"]).repeat(10));
        (0..10).for_each(|at| assert_eq!(connection.read(), Answer::Integer((n - 1) * 10 + at + 1)));
    }
    connection.tell("MULTI");
    connection.tell("SET x 1");
    connection.tell("SET y 1");
    assert_eq!(connection.tell("EXEC"), "[OK, OK]");
    server.kill();
    server.restart();
    let mut connection = RespConnection::open(server.resp_address());
    assert_eq!(connection.tell("MGET n x y"), r#"["200", "1", "1"]"#);
}
