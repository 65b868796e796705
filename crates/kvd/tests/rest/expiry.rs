//! A value goes when its time has come, whoever set the time and however: with the value, alone, in a batch, or by the server's
//! default. What is left of it is told.

use std::time::{Duration, Instant};

use kvd_testkit::Server;
use serde_json::{Value, json};

use crate::support::{ask, code, json as json_of};

#[test]
fn a_value_goes_when_its_time_has_come() {
    let server = Server::start();
    let set = Instant::now();
    assert_eq!(ask(server.address(), "PUT /v1/keys/a?ttl=300ms", b"1").status, 201);
    ask(server.address(), "PUT /v1/keys/b\nKvd-TTL: 300ms\n", b"1");
    ask(server.address(), "PUT /v1/keys/stays", b"1");
    ask(
        server.address(),
        "POST /v1/mset",
        br#"{"items":[{"key":"c","value":"1","ttl":"300ms"},{"key":"d","value":"1"}]}"#,
    );
    ask(server.address(), "POST /v1/txn", br#"{"ops":[{"op":"set","key":"e","value":"1","ttl":"300ms"}]}"#);
    for key in ["a", "b", "c", "e"] {
        loop {
            let got = ask(server.address(), &format!("GET /v1/keys/{key}"), b"");
            if got.status == 404 {
                break;
            }
            let left: u64 = got.header("kvd-ttl").unwrap().strip_suffix("ms").unwrap().parse().unwrap();
            assert!(left <= 300, "{left}");
            assert!(set.elapsed() < Duration::from_secs(60), "{key} is still there");
        }
        // Never too early, but for the part of a millisecond at either end.
        assert!(set.elapsed() >= Duration::from_millis(299), "{key} went after {:?}", set.elapsed());
    }
    assert_eq!(ask(server.address(), "GET /v1/keys/stays", b"").header("kvd-ttl"), None);
    // They are removed, and counted.
    loop {
        let stats = json_of(&ask(server.address(), "GET /v1/stats", b""));
        if stats["expired"] == 4 {
            assert_eq!(stats["keys"], 2);
            assert!(stats["expiry_lag_ms"].as_u64().unwrap() < 60_000);
            break;
        }
        assert!(set.elapsed() < Duration::from_secs(60), "{stats}");
    }
}

#[test]
fn the_expiry_alone_is_asked_and_changed() {
    let server = Server::start();
    let ask = |head: &str, body: &[u8]| ask(server.address(), head, body);
    let first = ask("PUT /v1/keys/a%20b\nContent-Type: text/x\n", b"1");
    let none = json_of(&ask("GET /v1/ttl/a%20b", b""));
    assert_eq!(none, json!({"key": "a b", "ttl_ms": null, "expires_at_ms": null}));
    assert_eq!(ask("DELETE /v1/ttl/a%20b", b"").status, 204, "there is nothing to take away, which is as good");
    let changed = ask("PUT /v1/ttl64/YSBi?ttl=1h", b"");
    assert_eq!(changed.status, 204);
    assert_ne!(changed.header("etag"), first.header("etag"), "every change of a key is a version");
    let some = json_of(&ask("GET /v1/ttl/a%20b", b""));
    assert!((3_500_000..=3_600_000).contains(&some["ttl_ms"].as_u64().unwrap()), "{some}");
    let now_ms = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    assert!(some["expires_at_ms"].as_u64().unwrap().abs_diff(now_ms + 3_600_000) < 60_000, "{some}");
    let value = ask("GET /v1/keys/a%20b", b"");
    assert_eq!((value.text(), value.header("content-type")), ("1", Some("text/x")));
    // A stale tag changes nothing; a fresh one does.
    let stale = format!("PUT /v1/ttl/a%20b?ttl=2h\nIf-Match: {}\n", first.header("etag").unwrap());
    assert_eq!(ask(&stale, b"").status, 412);
    let fresh = format!("DELETE /v1/ttl/a%20b\nIf-Match: {}\n", changed.header("etag").unwrap());
    assert_eq!(ask(&fresh, b"").status, 204);
    assert_eq!(json_of(&ask("GET /v1/ttl/a%20b", b""))["ttl_ms"], Value::Null);
    let shown = ask("PUT /v1/ttl/a%20b\nKvd-TTL: 2h\nPrefer: return=representation\n", b"");
    assert_eq!((shown.status, shown.header("preference-applied")), (200, Some("return=representation")));
    assert_eq!(json_of(&shown)["ttl_ms"], 7_200_000);
    for method in ["GET", "PUT", "DELETE"] {
        let query = if method == "PUT" { "?ttl=1s" } else { "" };
        let missing = ask(&format!("{method} /v1/ttl/none{query}"), b"");
        assert_eq!((missing.status, code(&missing).as_str()), (404, "not-found"), "{method}");
    }
    let stats = json_of(&ask("GET /v1/stats", b""));
    assert_eq!((&stats["ops"]["set"], &stats["ops"]["get"]), (&json!(1), &json!(1)), "an expiry is no value: {stats}");
}

#[test]
fn a_new_value_keeps_the_expiry_only_when_told_to() {
    let server = Server::start();
    let ttl = |head: &str| {
        ask(server.address(), head, b"1");
        json_of(&ask(server.address(), "GET /v1/ttl/a", b""))["ttl_ms"].as_u64()
    };
    assert_eq!(ttl("PUT /v1/keys/a?ttl=keep"), None, "there was nothing to keep");
    assert!(ttl("PUT /v1/keys/a?ttl=1h") > Some(3_500_000));
    assert!(ttl("PUT /v1/keys/a?ttl=keep") > Some(3_500_000));
    assert_eq!(ttl("PUT /v1/keys/a"), None);
    assert!(ttl("PUT /v1/keys/a?ttl=2d") > Some(172_700_000));
    assert_eq!(ttl("PUT /v1/keys/a?ttl=none"), None);
    let refused = ask(server.address(), "PUT /v1/keys/a?ttl=soon", b"x");
    assert_eq!((refused.status, code(&refused).as_str()), (400, "bad-query"));
}

#[test]
fn the_server_gives_a_time_to_live_to_what_has_none() {
    let mut server = Server::start_with(&["--set", "expiry.default_ttl=1h", "--fsync", "always"]);
    assert_eq!(json_of(&ask(server.address(), "GET /v1/info", b""))["default_ttl_ms"], 3_600_000);
    let has_ttl = |server: &Server, key: &str| {
        ask(server.address(), &format!("GET /v1/keys/{key}"), b"").header("kvd-ttl").is_some()
    };
    ask(server.address(), "PUT /v1/keys/put", b"1");
    ask(server.address(), "PUT /v1/keys/none?ttl=none", b"1");
    ask(server.address(), "POST /v1/incr/incr", b"");
    ask(server.address(), "POST /v1/mset", br#"{"items":[{"key":"mset","value":"1"}]}"#);
    ask(server.address(), "POST /v1/txn", br#"{"ops":[{"op":"append","key":"append","value":"1"}]}"#);
    for round in ["at first", "after a restart"] {
        for key in ["put", "incr", "mset", "append"] {
            assert!(has_ttl(&server, key), "{key} {round}");
        }
        assert!(!has_ttl(&server, "none"), "{round}");
        server.stop();
        server.restart();
    }
    // What a key holds keeps its own time when it is added to.
    ask(server.address(), "POST /v1/incr/none", b"");
    assert!(!has_ttl(&server, "none"));
}
