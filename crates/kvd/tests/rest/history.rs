//! A key's past over HTTP, on the real server: asked for by revision, listed, brought back; after a stop and a kill as before;
//! and refused, with what to do, where none is kept.

use kvd_testkit::{RawResponse, Server};
use serde_json::{Value, json};

use crate::support::{ask, code, json};

const JSON: &str = "Content-Type: application/json\n";

fn get(server: &Server, line: &str) -> RawResponse {
    ask(server.address(), line, b"")
}

/// Sets a key. Returns the revision.
fn put(server: &Server, path: &str, value: &str) -> u64 {
    let response = ask(server.address(), &format!("PUT {path}\nContent-Type: text/plain\n"), value.as_bytes());
    assert!(matches!(response.status, 201 | 204), "{}", response.text());
    response.header("kvd-revision").unwrap().parse().unwrap()
}

fn roll_back(server: &Server, path: &str, headers: &str, to: u64) -> RawResponse {
    let body = json!({ "to_revision": to }).to_string();
    ask(server.address(), &format!("POST {path}\n{JSON}{headers}"), body.as_bytes())
}

/// Operations and sizes of a key's versions, newest first.
fn history(server: &Server, path: &str) -> Vec<(String, u64)> {
    let answer = json(&get(server, &format!("GET {path}")));
    let items = answer["items"].as_array().unwrap();
    let item = |item: &Value| (item["op"].as_str().unwrap().to_owned(), item["size"].as_u64().unwrap());
    assert!(items.iter().all(|item| item["time_ms"].as_u64().unwrap() > 1_600_000_000_000), "{answer}");
    assert!(items.is_sorted_by_key(|item| std::cmp::Reverse(item["revision"].as_u64())), "newest first");
    items.iter().map(item).collect()
}

#[test]
fn old_versions_are_read_listed_and_brought_back() {
    let server = Server::start_with(&["--history", "2"]);
    put(&server, "/v1/keys/other", "");
    let [first, second, third] = ["one", "two!", "three"].map(|value| put(&server, "/v1/keys/a", value));
    let old = get(&server, &format!("GET /v1/keys/a?rev={first}"));
    assert_eq!((old.status, old.text()), (200, "one"));
    assert_eq!(old.header("kvd-revision"), Some(&*first.to_string()));
    assert!(old.header("etag").unwrap().ends_with(&format!("-{first}\"")), "{:?}", old.header("etag"));
    assert_eq!(old.header("content-type"), Some("text/plain"));
    let part = get(&server, &format!("GET /v1/k64/YQ?rev={second}\nRange: bytes=1-2\n"));
    assert_eq!((part.status, part.text()), (206, "wo"));
    assert_eq!(part.header("content-range"), Some("bytes 1-2/4"));
    let head = get(&server, &format!("HEAD /v1/keys/a?rev={second}"));
    assert_eq!((head.status, head.header("content-length")), (200, Some("4")));
    let tag = old.header("etag").unwrap();
    assert_eq!(get(&server, &format!("GET /v1/keys/a?rev={first}\nIf-None-Match: {tag}\n")).status, 304);
    assert_eq!(get(&server, &format!("GET /v1/keys/a?rev={third}\nIf-Match: {tag}\n")).status, 412);

    let refused = |line: String| {
        let response = get(&server, &line);
        (response.status, code(&response))
    };
    assert_eq!(refused(format!("GET /v1/keys/a?rev={}", first - 1)), (404, "not-found".into()));
    assert_eq!(refused(format!("GET /v1/keys/a?rev={}", third + 1)), (400, "future-revision".into()));
    assert_eq!(refused("GET /v1/keys/a?rev=one".into()), (400, "bad-query".into()));
    assert_eq!(refused("GET /v1/history/none".into()), (404, "not-found".into()));

    assert_eq!(get(&server, "DELETE /v1/keys/a").status, 204);
    let expected = [("delete", 0), ("set", 5), ("set", 4)].map(|(op, size)| (op.to_owned(), size));
    assert_eq!(history(&server, "/v1/history/a"), expected);
    assert_eq!(history(&server, "/v1/history64/YQ"), expected);
    assert_eq!(refused(format!("GET /v1/keys/a?rev={first}")), (410, "version-dropped".into()));

    let refused = |response: RawResponse| (response.status, code(&response));
    assert_eq!(refused(roll_back(&server, "/v1/rollback/a", "", first)), (410, "version-dropped".into()));
    assert_eq!(
        refused(roll_back(&server, "/v1/rollback/a", "", third + 1)),
        (404, "not-found".into()),
        "it was deleted then"
    );
    assert_eq!(
        refused(roll_back(&server, "/v1/rollback/a", "If-Match: *\n", second)),
        (412, "precondition-failed".into())
    );
    let response = ask(server.address(), &format!("POST /v1/rollback/a\n{JSON}"), b"{}");
    assert_eq!(refused(response), (422, "invalid-item".into()));
    let back = json(&roll_back(&server, "/v1/rollback64/YQ", "If-None-Match: *\n", second));
    assert_eq!((&back["key"], &back["revision"]), (&json!("a"), &json!(third + 2)));
    let now = get(&server, "GET /v1/keys/a");
    assert_eq!((now.text(), now.header("content-type")), ("two!", Some("text/plain")));
    assert_eq!(now.header("etag").unwrap().trim_matches('"'), back["etag"]);
}

#[test]
fn history_is_in_stats_and_info_and_comes_back_after_a_stop_and_a_kill() {
    let mut server = Server::start_with(&["--history", "5", "--fsync", "always"]);
    let info = json(&get(&server, "GET /v1/info"));
    assert_eq!(info["limits"]["history_versions"], 5);
    assert!(info["features"].as_array().unwrap().contains(&json!("history")), "{info}");
    assert_eq!(json(&get(&server, "GET /v1/stats"))["memory"]["history"], 0);
    for value in ["1", "22", "333"] {
        put(&server, "/v1/keys/a", value);
        put(&server, "/v1/keys/gone", value);
    }
    assert_eq!(get(&server, "DELETE /v1/keys/gone").status, 204);
    let answers = |server: &Server| {
        let versions = ["a", "gone"].map(|key| get(server, &format!("GET /v1/history/{key}")).text().to_owned());
        let values: Vec<_> =
            (0..=7).map(|revision| get(server, &format!("GET /v1/keys/a?rev={revision}")).text().to_owned()).collect();
        let held = json(&get(server, "GET /v1/stats"))["memory"]["history"].clone();
        (versions, values.into_iter().filter(|text| !text.starts_with('{')).collect::<Vec<_>>(), held)
    };
    let before = answers(&server);
    assert_eq!(before.1, ["1", "1", "22", "22", "333", "333", "333"]);
    assert!(before.2.as_u64().unwrap() > 0);
    for is_killed in [true, false, true] {
        if is_killed {
            server.kill();
        } else {
            assert_eq!(get(&server, "POST /v1/admin/snapshot").status, 202);
            assert!(server.stop().success());
        }
        server.restart();
        assert_eq!(answers(&server), before, "killed: {is_killed}");
    }
}

#[test]
fn without_history_each_route_says_how_to_have_it() {
    let server = Server::start();
    put(&server, "/v1/keys/a", "1");
    let answers = [
        get(&server, "GET /v1/keys/a?rev=1"),
        get(&server, "GET /v1/history/a"),
        roll_back(&server, "/v1/rollback/a", "", 1),
    ];
    for answer in answers {
        assert_eq!((answer.status, code(&answer)), (409, "history-off".into()));
        assert!(
            answer.text().contains("--history N") && answer.text().contains("history.versions"),
            "{}",
            answer.text()
        );
    }
    let info = json(&get(&server, "GET /v1/info"));
    assert_eq!(info["limits"]["history_versions"], 0);
    assert!(!info["features"].as_array().unwrap().contains(&json!("history")), "{info}");
}
