//! Increments are exact, whoever adds beside; and a write can answer what was there before it.

use std::thread;

use kvd_testkit::Server;

use crate::support::{Session, ask, code, json};

#[test]
fn increments_of_many_clients_add_up() {
    const CLIENTS: i64 = 4;
    const EACH: i64 = 250;
    let server = Server::start();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let server = &server;
            scope.spawn(move || {
                let mut session = Session::open(server.address());
                let mut last = i64::MIN;
                for _ in 0..EACH {
                    let sum = json(&session.ask(&format!("POST /v1/incr/n?by={}", client + 1), b""));
                    let value = sum["value"].as_i64().unwrap();
                    assert!(value > last, "{value} came after {last}");
                    last = value;
                }
            });
        }
    });
    let value = ask(server.address(), "GET /v1/keys/n", b"");
    assert_eq!(value.text(), (EACH * CLIENTS * (CLIENTS + 1) / 2).to_string());
    let stats = json(&ask(server.address(), "GET /v1/stats", b""));
    assert_eq!((&stats["ops"]["set"], &stats["ops"]["get"]), (&(CLIENTS * EACH).into(), &1.into()));
}

#[test]
fn an_increment_starts_at_zero_ends_at_the_edge_and_keeps_what_it_does_not_mention() {
    let server = Server::start();
    let ask = |head: &str, body: &[u8]| ask(server.address(), head, body);
    assert_eq!(json(&ask("POST /v1/incr/n", b""))["value"], 1);
    ask("PUT /v1/keys/n?ttl=1h\nContent-Type: text/x\n", b"9223372036854775800");
    let sum = json(&ask("POST /v1/incr64/bg?by=7", b""));
    assert_eq!(sum["value"], i64::MAX);
    let value = ask("GET /v1/keys/n", b"");
    assert_eq!(
        (value.header("content-type"), value.header("etag")),
        (Some("text/x"), Some(&*format!("\"{}\"", sum["etag"].as_str().unwrap())))
    );
    assert!(value.header("kvd-ttl").is_some());
    let over = ask("POST /v1/incr/n", b"");
    assert_eq!((over.status, code(&over).as_str()), (409, "overflow"));
    for text in ["", " 1", "+1", "01", "-0", "1.0", "x", "9223372036854775808"] {
        ask("PUT /v1/keys/t", text.as_bytes());
        let refused = ask("POST /v1/incr/t", b"");
        assert_eq!((refused.status, code(&refused).as_str()), (409, "not-an-integer"), "{text:?}");
        assert_eq!(ask("GET /v1/keys/t", b"").text(), text);
    }
    let refused = ask("POST /v1/incr/n\nIf-Match: \"00000000-1\"\n", b"");
    assert_eq!((refused.status, code(&refused).as_str()), (412, "precondition-failed"));
    assert_eq!(ask("POST /v1/incr/new\nIf-None-Match: *\n", b"").status, 200);
    assert_eq!(ask("POST /v1/incr/new\nIf-None-Match: *\n", b"").status, 412);
}

#[test]
fn a_write_answers_what_was_there_before_or_what_is_there_now() {
    let server = Server::start();
    let ask = |head: &str, body: &[u8]| ask(server.address(), head, body);
    let created = ask("PUT /v1/keys/a?return=previous\nContent-Type: text/x\n", b"one");
    assert_eq!((created.status, created.text()), (201, ""));
    let replaced = ask("PUT /v1/keys/a?return=previous", b"two");
    assert_eq!((replaced.status, replaced.text(), replaced.header("content-type")), (200, "one", Some("text/x")));
    let current = ask("GET /v1/keys/a", b"");
    assert_eq!((current.text(), current.header("etag")), ("two", replaced.header("etag")));
    let refused = ask("PUT /v1/keys/a?return=previous\nIf-None-Match: *\n", b"three");
    assert_eq!((refused.status, code(&refused).as_str()), (412, "precondition-failed"));
    let shown = ask("PUT /v1/keys/a?ttl=1h\nPrefer: return=representation\n", b"four");
    assert_eq!(
        (shown.status, shown.text(), shown.header("preference-applied")),
        (200, "four", Some("return=representation"))
    );
    assert!(shown.header("kvd-ttl").is_some());
    let deleted = ask("DELETE /v1/keys/a?return=previous", b"");
    assert_eq!((deleted.status, deleted.text()), (200, "four"));
    let nothing = ask("DELETE /v1/keys/a?return=previous", b"");
    assert_eq!((nothing.status, nothing.text()), (204, ""));
    let stats = json(&ask("GET /v1/stats", b""));
    // `return=previous` is also a get; the three that were answered with something, and the refused one is none.
    assert_eq!(
        (&stats["ops"]["set"], &stats["ops"]["delete"], &stats["delete_misses"]),
        (&3.into(), &2.into(), &1.into()),
        "{stats}"
    );
    assert_eq!((&stats["hits"], &stats["misses"]), (&3.into(), &2.into()), "{stats}");
}
