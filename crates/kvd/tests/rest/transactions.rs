//! Transactions that are held open from request to request: any connection serves them, one request at a time; they end by
//! themselves when they are left alone; and who has lost the answer to a commit asks again and gets the same.

use std::time::{Duration, Instant};

use kvd_testkit::{RawConnection, RawResponse, Server};

use crate::support::{Session, Transaction, ask, begin, code, json, request};

fn status_and_code(response: &RawResponse) -> (u16, String) {
    (response.status, code(response))
}

#[test]
fn a_commit_whose_answer_was_lost_is_answered_the_same_again() {
    for fsync in ["always", "interval"] {
        let server = Server::start_with(&["--fsync", fsync]);
        ask(server.address(), "PUT /v1/keys/n", b"41");

        // The answer came, and nobody read it.
        let open = begin(server.address(), "read-write");
        assert_eq!(open.ask("POST /v1/incr/n", b"").status, 200);
        let commit = format!("POST /v1/tx/{}/commit", open.id);
        let mut dropped = RawConnection::open(server.address());
        dropped.send(&request(&commit, b""));
        let first = dropped.read_response();
        drop(dropped);
        for _ in 0..3 {
            let again = open.commit();
            assert_eq!((again.status, again.text()), (200, first.text()));
        }
        assert_eq!(ask(server.address(), "GET /v1/keys/n", b"").text(), "42", "it was applied once");
        assert_eq!(status_and_code(&open.ask("GET /v1/keys/n", b"")), (410, "transaction-ended".to_owned()));
        assert_eq!(status_and_code(&open.roll_back()), (410, "transaction-ended".to_owned()));

        // The connection went away with the commit under way: whichever request commits, it happens once.
        let open = begin(server.address(), "read-write");
        assert_eq!(open.ask("POST /v1/incr/n", b"").status, 200);
        let mut dropped = RawConnection::open(server.address());
        dropped.send(&request(&format!("POST /v1/tx/{}/commit", open.id), b""));
        drop(dropped);
        let answered = settled(&open);
        assert_eq!((answered.status, settled(&open).text()), (200, answered.text()));
        assert_eq!(ask(server.address(), "GET /v1/keys/n", b"").text(), "43");

        // A conflict is kept as well: asking again is no second chance.
        let open = begin(server.address(), "read-write");
        assert_eq!(open.ask("POST /v1/incr/n", b"").status, 200);
        ask(server.address(), "PUT /v1/keys/n", b"7");
        for _ in 0..2 {
            let refused = open.commit();
            let problem: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
            assert_eq!(status_and_code(&refused), (409, "conflict".to_owned()));
            assert_eq!((&problem["retryable"], &problem["errors"][0]["key"]), (&true.into(), &"n".into()), "{problem}");
        }
        assert_eq!(ask(server.address(), "GET /v1/keys/n", b"").text(), "7");
    }
}

/// The answer to a commit that another request may be carrying out.
fn settled(open: &Transaction) -> RawResponse {
    loop {
        let answer = open.commit();
        if answer.status != 409 || code(&answer) != "tx-busy" {
            return answer;
        }
    }
}

#[test]
fn every_route_of_data_runs_inside_and_nothing_leaks_out_before_the_commit() {
    let server = Server::start();
    let outside = |head: &str| ask(server.address(), head, b"");
    ask(server.address(), "PUT /v1/keys/a?ttl=1h", b"1");
    let open = begin(server.address(), "read-write");
    let json_body = "Content-Type: application/json";
    assert_eq!(open.ask("PUT /v1/keys/b\nContent-Type: text/plain", b"2").status, 201);
    let got = open.ask("GET /v1/keys/b", b"");
    assert_eq!((got.status, got.text(), got.header("content-type")), (200, "2", Some("text/plain")));
    assert_eq!(open.ask("HEAD /v1/keys/b", b"").status, 200);
    assert_eq!(open.ask("POST /v1/incr/b?by=5", b"").status, 200);
    let mset = br#"{"items":[{"key":"c","value":"3"},{"key":"d","value":"4","if":{"absent":true}}]}"#;
    assert_eq!(open.ask(&format!("POST /v1/mset\n{json_body}"), mset).status, 200);
    let refused = open.ask(&format!("POST /v1/mset\n{json_body}"), mset);
    assert_eq!(status_and_code(&refused), (412, "precondition-failed".to_owned()), "it sees its own write");
    let mget = open.ask(&format!("POST /v1/mget\n{json_body}"), br#"{"keys":["a","b","c","d","e"]}"#);
    let values: Vec<_> = json(&mget)["items"].as_array().unwrap().iter().map(|item| item["value"].clone()).collect();
    assert_eq!(serde_json::Value::from(values), serde_json::json!(["1", "7", "3", "4", null]));
    assert!(json(&open.ask("GET /v1/ttl/a", b""))["ttl_ms"].as_u64() > Some(3_500_000));
    assert_eq!(open.ask("DELETE /v1/ttl/a", b"").status, 204);
    assert_eq!(open.ask("PUT /v1/ttl/b?ttl=2h", b"").status, 204);
    assert_eq!(json(&open.ask("GET /v1/ttl/a", b""))["ttl_ms"], serde_json::Value::Null);
    assert_eq!(open.ask("PUT /v1/keys/c?return=previous", b"33").text(), "3");
    let shown = open.ask("PUT /v1/keys/c\nPrefer: return=representation", b"333");
    assert_eq!((shown.text(), shown.header("preference-applied")), ("333", Some("return=representation")));
    let deleted = open.ask(&format!("POST /v1/mdelete\n{json_body}"), br#"{"keys":["d","e"]}"#);
    assert_eq!(json(&deleted)["deleted"], 1);
    assert_eq!(status_and_code(&open.ask("PUT /v1/keys/c\nIf-None-Match: *", b"x")).0, 412);
    assert_eq!(status_and_code(&open.ask("PUT /v1/keys/c?return=previous\nIf-None-Match: *", b"x")).0, 412);

    for key in ["b", "c", "d"] {
        assert_eq!(outside(&format!("GET /v1/keys/{key}")).status, 404, "{key}");
    }
    assert!(json(&outside("GET /v1/ttl/a"))["ttl_ms"].as_u64().is_some());
    assert_eq!(json(&outside("GET /v1/stats"))["transactions"], 1);
    let committed = open.commit();
    assert_eq!(committed.status, 200, "{}", committed.text());
    let revision = json(&committed)["revision"].as_u64().unwrap();
    assert_eq!(revision, 2, "one commit, whatever was in it");
    let mget = ask(server.address(), "POST /v1/mget", br#"{"keys":["a","b","c","d"]}"#);
    let items = json(&mget);
    let values: Vec<_> = items["items"].as_array().unwrap().iter().map(|item| item["value"].clone()).collect();
    assert_eq!(serde_json::Value::from(values), serde_json::json!(["1", "7", "333", null]));
    assert_eq!(items["items"][2]["revision"], revision);
    assert_eq!(json(&outside("GET /v1/stats"))["transactions"], 0);
}

/// A tag names one value for ever; what a transaction has written has none before the commit.
#[test]
fn an_own_write_has_no_tag_and_no_condition_on_one_holds_for_it() {
    let server = Server::start();
    let before = ask(server.address(), "PUT /v1/keys/e", b"old");
    let old = before.header("etag").unwrap().to_owned();
    let revision = json(&ask(server.address(), "GET /v1/stats", b""))["revision"].as_u64().unwrap();
    let zero = format!("{}-0\"", old.rsplit_once('-').unwrap().0);
    let open = begin(server.address(), "read-write");
    assert_eq!(open.ask("GET /v1/keys/e", b"").header("etag"), Some(&*old), "not its own yet");
    let json_body = "Content-Type: application/json";
    let untagged = |head: &str, body: &[u8], status: u16| {
        let answer = open.ask(head, body);
        let found = (answer.status, answer.header("etag"), answer.header("kvd-revision"));
        assert_eq!(found, (status, None, Some("0")), "{head}");
        answer
    };
    untagged(&format!("PUT /v1/keys/e\nIf-Match: {old}"), b"new", 204);
    untagged("GET /v1/keys/e", b"", 200);
    untagged("HEAD /v1/keys/e", b"", 200);
    untagged("PUT /v1/keys/e?return=previous", b"new", 200);
    untagged("PUT /v1/keys/e\nPrefer: return=representation", b"new", 200);
    untagged("PUT /v1/ttl/e?ttl=1h", b"", 204);
    untagged("DELETE /v1/ttl/e", b"", 204);
    untagged("PUT /v1/keys/gone", b"1", 201);
    untagged("DELETE /v1/keys/gone", b"", 204);
    let sum = untagged("POST /v1/incr/n", b"", 200);
    assert_eq!(json(&sum), serde_json::json!({"key":"n","value":1}));
    let body = br#"{"items":[{"key":"m","value":"1"}]}"#;
    let set = untagged(&format!("POST /v1/mset\n{json_body}"), body, 200);
    assert_eq!(json(&set), serde_json::json!({"revision":0,"created":1,"replaced":0,"items":[{"key":"m"}]}));
    let got = json(&open.ask(&format!("POST /v1/mget\n{json_body}"), br#"{"keys":["e"]}"#));
    assert_eq!((&got["revision"], &got["items"][0]["value"]), (&revision.into(), &"new".into()));
    assert_eq!((got["items"][0].get("etag"), got["items"][0].get("revision")), (None, None), "{got}");

    for tag in [&old, &zero] {
        assert_eq!(open.ask(&format!("GET /v1/keys/e\nIf-None-Match: {tag}"), b"").status, 200, "{tag}");
        assert_eq!(open.ask(&format!("GET /v1/keys/e\nIf-Match: {tag}"), b"").status, 412, "{tag}");
        assert_eq!(open.ask(&format!("GET /v1/keys/e\nRange: bytes=0-0\nIf-Range: {tag}"), b"").status, 200, "{tag}");
        assert_eq!(open.ask(&format!("PUT /v1/keys/e\nIf-Match: {tag}"), b"x").status, 412, "{tag}");
        assert_eq!(open.ask(&format!("PUT /v1/keys/e\nIf-None-Match: {tag}"), b"new").status, 204, "{tag}");
    }
    for asked in [0, revision] {
        let body = format!(r#"{{"items":[{{"key":"e","value":"x","if":{{"revision":{asked}}}}}]}}"#);
        assert_eq!(open.ask(&format!("POST /v1/mset\n{json_body}"), body.as_bytes()).status, 412, "{asked}");
    }
    assert_eq!(open.ask("PUT /v1/keys/e\nIf-Match: *", b"newer").status, 204);
    let committed = json(&open.commit())["revision"].as_u64().unwrap();
    let after = ask(server.address(), "GET /v1/keys/e", b"");
    assert_eq!((after.text(), after.header("kvd-revision")), ("newer", Some(&*committed.to_string())));
    assert!(after.header("etag").is_some_and(|tag| tag != old));
}

#[test]
fn a_list_in_a_read_only_transaction_is_one_revision_over_the_whole_walk() {
    let server = Server::start();
    for n in 0..50 {
        ask(server.address(), &format!("PUT /v1/keys/k{n:02}"), b"old");
    }
    let open = begin(server.address(), "read-only");
    let mut keys = Vec::new();
    let mut cursor = String::new();
    for page in 0.. {
        // Beside the walk everything changes.
        ask(server.address(), &format!("PUT /v1/keys/new{page}"), b"new");
        ask(server.address(), &format!("DELETE /v1/keys/k{page:02}"), b"");
        let answer = json(&open.ask(&format!("GET /v1/keys?limit=7&values=full{cursor}"), b""));
        for item in answer["items"].as_array().unwrap() {
            assert_eq!(item["value"], "old");
            keys.push(item["key"].as_str().unwrap().to_owned());
        }
        let Some(next) = answer["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    keys.sort();
    assert_eq!(keys, (0..50).map(|n| format!("k{n:02}")).collect::<Vec<_>>());
    let sorted = json(&open.ask("GET /v1/keys?sort=key&limit=2&values=none", b""));
    assert_eq!(sorted["items"], serde_json::json!([{"key":"k00"},{"key":"k01"}]));
    assert_eq!(open.commit().status, 200);
}

#[test]
fn any_thread_serves_any_transaction() {
    let server = Server::start_with(&["--workers", "2"]);
    // Connections that are open at one time are shared out evenly.
    let mut sessions = [Session::open(server.address()), Session::open(server.address())];
    sessions.iter_mut().for_each(|session| assert_eq!(session.ask("GET /healthz", b"").status, 200));
    let open = begin(server.address(), "read-write");
    let header = format!("Kvd-Tx: {}\n", open.id);
    for n in 1..=20 {
        let sum = sessions[n % 2].ask(&format!("POST /v1/incr/n\n{header}"), b"");
        assert_eq!(json(&sum)["value"], n);
    }
    assert_eq!(sessions[0].ask(&format!("POST /v1/tx/{}/commit", open.id), b"").status, 200);
    assert_eq!(sessions[1].ask("GET /v1/keys/n", b"").text(), "20");
}

#[test]
fn one_request_at_a_time() {
    let server = Server::start();
    let open = begin(server.address(), "read-write");
    // Long enough to be done beside the serving threads.
    let keys: Vec<String> = (0..9_000).map(|n| format!("{:>032}", n % 100)).collect();
    let body = serde_json::json!({ "keys": keys }).to_string();
    let mut connections: Vec<_> = (0..4).map(|_| RawConnection::open(server.address())).collect();
    let asked = request(&format!("POST /v1/mget\nKvd-Tx: {}\n", open.id), body.as_bytes());
    let (mut done, mut busy) = (0, 0);
    for _ in 0..500 {
        connections.iter_mut().for_each(|connection| connection.send(&asked));
        for connection in &mut connections {
            let answer = connection.read_response();
            match answer.status {
                200 => done += 1,
                _ => {
                    assert_eq!(status_and_code(&answer), (409, "tx-busy".to_owned()));
                    busy += 1;
                }
            }
        }
        if busy > 0 && done > 0 {
            break;
        }
    }
    assert!(busy > 0 && done > 0, "{done} were carried out, {busy} found the transaction busy");
    assert_eq!(settled(&open).status, 200);
}

#[test]
fn a_transaction_that_is_left_alone_ends_by_itself() {
    let server = Server::start_with(&["--set", "limits.transaction_idle_timeout=2s"]);
    let begun = Instant::now();
    let open = begin(server.address(), "read-write");
    assert_eq!(open.ask("PUT /v1/keys/a", b"1").status, 201);
    // Stats don't touch it.
    while json(&ask(server.address(), "GET /v1/stats", b""))["transactions"] != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is still open");
    }
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(status_and_code(&open.ask("GET /v1/keys/a", b"")), (410, "transaction-ended".to_owned()));
    assert_eq!(status_and_code(&open.commit()), (410, "transaction-ended".to_owned()));
    assert_eq!(ask(server.address(), "GET /v1/keys/a", b"").status, 404);

    let server = Server::start_with(&["--set", "limits.transaction_age_max=300ms"]);
    let begun = Instant::now();
    let open = begin(server.address(), "read-only");
    // However busy it is kept.
    while open.ask("GET /v1/keys/a", b"").status == 404 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is still open");
    }
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(status_and_code(&open.ask("GET /v1/keys/a", b"")), (410, "transaction-ended".to_owned()));
}

#[test]
fn their_number_and_their_memory_are_bounded() {
    let server = Server::start_with(&["--set", "limits.transactions_max=2"]);
    let first = begin(server.address(), "read-write");
    let _second = begin(server.address(), "read-only");
    let third = ask(server.address(), "POST /v1/tx", br#"{"mode":"read-write"}"#);
    assert_eq!(status_and_code(&third), (429, "too-many-transactions".to_owned()));
    assert_eq!(first.roll_back().status, 204);
    begin(server.address(), "read-write");

    let bounds = ["limits.value_bytes_max=1000", "limits.batch_bytes_max=1000", "limits.transactions_bytes_max=2500"];
    let server = Server::start_with(&bounds.map(|bound| ["--set", bound]).concat());
    let (one, two) = (begin(server.address(), "read-write"), begin(server.address(), "read-write"));
    assert_eq!(one.ask("PUT /v1/keys/a", &[b'x'; 900]).status, 201);
    assert_eq!(one.ask("PUT /v1/keys/b", &[b'x'; 200]).status, 413, "one alone is bounded as a batch is");
    let refused = two.ask("PUT /v1/keys/c", &[b'x'; 900]);
    let problem: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(status_and_code(&refused), (429, "too-many-transactions".to_owned()), "{problem}");
    assert_eq!((&problem["limit_name"], &problem["limit"]), (&"transactions_bytes_max".into(), &2500.into()));
    assert_eq!(one.commit().status, 200);
    assert_eq!(two.ask("PUT /v1/keys/c", &[b'x'; 900]).status, 201, "the other one is gone");
    assert_eq!(two.commit().status, 200);

    // What is remembered counts, not how often it was asked for; and with an expiry its value is to be written.
    let (one, two) = (begin(server.address(), "read-write"), begin(server.address(), "read-write"));
    for _ in 0..20 {
        assert_eq!(one.ask("GET /v1/keys/a", b"").status, 200);
    }
    assert_eq!(one.ask("PUT /v1/ttl/a?ttl=1h", b"").status, 204);
    assert_eq!(two.ask("PUT /v1/keys/c", &[b'x'; 900]).status, 429);
    assert_eq!(two.ask("GET /v1/keys/c", b"").status, 200);
}

#[test]
fn nobody_guesses_the_name_of_another_s() {
    let server = Server::start();
    let names: Vec<String> = (0..20).map(|_| begin(server.address(), "read-only").id).collect();
    for (at, name) in names.iter().enumerate() {
        assert!(name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
        // Of two random names about 2 of 32 digits are alike at their places.
        let alike = |other: &String| name.bytes().zip(other.bytes()).filter(|(one, two)| one == two).count();
        assert!(names[..at].iter().all(|other| alike(other) < 16), "{names:?}");
    }
    for unknown in ["0".repeat(32), "x".to_owned()] {
        let answer = ask(server.address(), &format!("GET /v1/keys/a\nKvd-Tx: {unknown}\n"), b"");
        assert_eq!(status_and_code(&answer), (410, "transaction-ended".to_owned()));
    }
    let answer = ask(server.address(), "POST /v1/tx", br#"{"mode":"write"}"#);
    assert_eq!(status_and_code(&answer), (422, "invalid-item".to_owned()));
    let answer = ask(server.address(), "GET /v1/stats\nKvd-Tx: x\n", b"");
    assert_eq!(status_and_code(&answer), (400, "bad-header".to_owned()));
}

#[test]
fn what_was_committed_survives_a_kill_and_what_was_open_was_never_there() {
    let mut server = Server::start_with(&["--fsync", "always"]);
    let (done, left) = (begin(server.address(), "read-write"), begin(server.address(), "read-write"));
    for (open, value) in [(&done, b"1"), (&left, b"2")] {
        assert_eq!(open.ask(&format!("PUT /v1/keys/x{}", value[0]), value).status, 201);
        assert_eq!(open.ask(&format!("PUT /v1/keys/y{}", value[0]), value).status, 201);
    }
    assert_eq!(done.commit().status, 200);
    server.kill();
    server.restart();
    let found = |key: &str| ask(server.address(), &format!("GET /v1/keys/{key}"), b"").status;
    assert_eq!([found("x49"), found("y49"), found("x50"), found("y50")], [200, 200, 404, 404]);
    let gone = ask(server.address(), &format!("POST /v1/tx/{}/commit", left.id), b"");
    assert_eq!(status_and_code(&gone), (410, "transaction-ended".to_owned()));
}
