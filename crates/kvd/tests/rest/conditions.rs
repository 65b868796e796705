//! Conditions: versions, and who wins.

use std::sync::Barrier;
use std::thread;

use kvd_client::{Condition, Key, Set};
use kvd_testkit::Server;

use crate::support::{ask, client, code};

#[test]
fn of_two_clients_with_one_etag_exactly_one_wins() {
    const ROUNDS: usize = 300;
    let server = Server::start();
    client(&server).set("k", "0").unwrap();
    let barrier = Barrier::new(2);
    let wins: usize = thread::scope(|scope| {
        let racer = || {
            let client = client(&server);
            let mut wins = 0;
            for _ in 0..ROUNDS {
                barrier.wait();
                let etag = client.get("k").unwrap().unwrap().meta.etag.unwrap();
                barrier.wait();
                let condition = Condition::AnyOf(vec![etag]);
                match client.set_with(Set { condition, ..Set::new(Key::new(b"k").unwrap(), "next") }) {
                    Ok(_) => wins += 1,
                    Err(error) => assert_eq!(error.code(), Some("precondition-failed"), "{error}"),
                }
            }
            wins
        };
        let racers = [scope.spawn(racer), scope.spawn(racer)];
        racers.into_iter().map(|racer| racer.join().unwrap()).sum()
    });
    assert_eq!(wins, ROUNDS);
    let stats = client(&server).stats().unwrap();
    assert_eq!((stats.revision, stats.rejected), (ROUNDS as u64 + 1, ROUNDS as u64));
}

#[test]
fn headers_say_what_must_be_true() {
    let server = Server::start();
    let ask = |head: &str, body: &[u8]| ask(server.address(), head, body);
    let created = ask("PUT /v1/keys/k\nIf-None-Match: *\n", b"one");
    assert_eq!(created.status, 201);
    let etag = created.header("etag").unwrap().to_owned();

    // Writes.
    for (method, header, status) in [
        ("PUT", "If-None-Match: *".to_owned(), 412),
        ("PUT", "If-Match: \"00000000-1\"".to_owned(), 412),
        ("PUT", format!("If-Match: W/{etag}"), 412),
        ("PUT", format!("If-None-Match: {etag}"), 412),
        ("DELETE", "If-Match: \"x\"".to_owned(), 412),
        ("PUT", format!("If-Match: \"x\", {etag}"), 204),
        ("PUT", "If-Match: *".to_owned(), 204),
    ] {
        let response = ask(&format!("{method} /v1/keys/k\n{header}\n"), if method == "PUT" { b"two" } else { b"" });
        assert_eq!(response.status, status, "{method} {header}");
        if status == 412 {
            assert_eq!(code(&response), "precondition-failed");
        }
    }
    assert_eq!(ask("PUT /v1/keys/absent\nIf-Match: *\n", b"x").status, 412);
    assert_eq!(ask("DELETE /v1/keys/absent\nIf-Match: *\n", b"").status, 412);

    // Reads.
    let etag = ask("HEAD /v1/keys/k", b"").header("etag").unwrap().to_owned();
    let unchanged = ask(&format!("GET /v1/keys/k\nIf-None-Match: \"x\", W/{etag}\n"), b"");
    assert_eq!((unchanged.status, unchanged.header("etag"), unchanged.body.len()), (304, Some(&*etag), 0));
    assert_eq!(ask("GET /v1/keys/k\nIf-None-Match: \"x\"\n", b"").status, 200);
    assert_eq!(ask("GET /v1/keys/k\nIf-Match: \"x\"\n", b"").status, 412);
    assert_eq!(ask(&format!("DELETE /v1/keys/k\nIf-Match: {etag}\n"), b"").status, 204);
    assert_eq!(code(&ask("DELETE /v1/keys/k", b"")), "not-found");
}

#[test]
fn a_value_keeps_its_content_type_and_gives_parts_of_itself() {
    let server = Server::start();
    let ask = |head: &str, body: &[u8]| ask(server.address(), head, body);
    ask("PUT /v1/keys/k\nContent-Type: text/html; charset=utf-8\n", b"0123456789");
    let whole = ask("GET /v1/keys/k", b"");
    assert_eq!((whole.header("content-type"), whole.text()), (Some("text/html; charset=utf-8"), "0123456789"));
    assert_eq!(whole.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(whole.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    assert_eq!(whole.header("cross-origin-resource-policy"), Some("same-origin"));
    let head = ask("HEAD /v1/keys/k", b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    for (range, status, content_range, body) in [
        ("bytes=2-4", 206, Some("bytes 2-4/10"), "234"),
        ("bytes=7-", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=-3", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=0-99", 206, Some("bytes 0-9/10"), "0123456789"),
        ("lines=1-2", 200, None, "0123456789"),
    ] {
        let part = ask(&format!("GET /v1/keys/k\nRange: {range}\n"), b"");
        assert_eq!((part.status, part.header("content-range"), part.text()), (status, content_range, body), "{range}");
    }
    let beyond = ask("GET /v1/keys/k\nRange: bytes=10-\n", b"");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */10")));
    // Another PUT without one brings the default back.
    ask("PUT /v1/keys/k", b"x");
    assert_eq!(ask("GET /v1/keys/k", b"").header("content-type"), Some("application/octet-stream"));
}
