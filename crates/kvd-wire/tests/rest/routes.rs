//! A path is read exactly once: what a client meant as a key must arrive as that key, byte for byte, and what this version
//! does not do is refused by name instead of being taken for something else.

use bytes::Bytes;
use kvd_types::{Command, Delete, Limit};
use kvd_wire::rest::path::{BadKey, decode};
use kvd_wire::rest::request::Operation;

use crate::support::{key, refusal, run, status_and_code, with_request};

#[test]
fn a_key_in_a_path_is_decoded_once_and_kept_as_it_is() {
    let table: &[(&str, &[u8])] = &[
        ("/v1/keys/a", b"a"),
        ("/v1/keys/", b""),
        ("/v1/keys/a/b", b"a/b"),
        ("/v1/keys/a%2Fb", b"a/b"),
        ("/v1/keys/a%2fb", b"a/b"),
        ("/v1/keys//", b"/"),
        ("/v1/keys//a", b"/a"),
        ("/v1/keys/a//b", b"a//b"),
        ("/v1/keys/a/", b"a/"),
        ("/v1/keys/.", b"."),
        ("/v1/keys/..", b".."),
        ("/v1/keys/../stats", b"../stats"),
        ("/v1/keys/%2e%2e", b".."),
        ("/v1/keys/a+b", b"a+b"),
        ("/v1/keys/a%20b", b"a b"),
        ("/v1/keys/%252F", b"%2F"),
        ("/v1/keys/%00%FF", b"\x00\xff"),
        ("/v1/keys/a,b=c", b"a,b=c"),
        ("/v1/keys/a%23b%3Fc", b"a#b?c"),
        ("/v1/keys/a?", b"a"),
        ("/v1/keys/mget", b"mget"),
        ("/v1/keys/v1/keys/a", b"v1/keys/a"),
        ("/v1/k64/YQ", b"a"),
        ("/v1/k64/-", b""),
        ("/v1/k64/--8", b"\xfb\xef"),
        ("/v1/k64/AAE", b"\x00\x01"),
        ("http://127.0.0.1:7480/v1/keys/a%20b", b"a b"),
    ];
    for (target, bytes) in table {
        let (command, _) = run(&format!("GET {target}"), &[]);
        assert_eq!(command, Command::Get { key: key(bytes) }, "{target}");
    }
}

#[test]
fn a_key_that_needs_no_decoding_is_borrowed() {
    for (target, borrowed) in [("/v1/keys/a/b+c", true), ("/v1/keys/a%20b", false)] {
        let raw = target.strip_prefix("/v1/keys/").unwrap();
        let decoded = decode(raw).unwrap();
        assert_eq!(decoded.as_bytes().as_ptr() == raw.as_ptr(), borrowed, "{target}");
    }
}

#[test]
fn what_is_no_key_is_refused_with_its_place() {
    let table = [
        ("/v1/keys/%", "the % at byte 0 "),
        ("/v1/keys/a%2", "the % at byte 1 "),
        ("/v1/keys/ab%zz", "the % at byte 2 "),
        ("/v1/keys/%%41", "the % at byte 0 "),
        ("/v1/keys/%41%4", "the % at byte 3 "),
        ("/v1/k64/", "the empty key is written -"),
        ("/v1/k64/YQ==", "not base64url"),
        ("/v1/k64/YR", "not base64url"),
        ("/v1/k64/Y", "not base64url"),
        ("/v1/k64/+/8", "not base64url"),
        ("/v1/k64/Y%51", "not base64url"),
        ("/v1/k64/YQ/", "not base64url"),
    ];
    for (target, detail) in table {
        let problem = refusal(&format!("GET {target}"), &[]);
        assert_eq!(status_and_code(&problem), (400, "bad-key"), "{target}");
        assert!(problem.detail().contains(detail), "{target}: {}", problem.detail());
    }
}

#[test]
fn every_route_takes_its_methods_and_names_them_to_others() {
    let table = [
        ("/v1/keys/a", "GET, HEAD, PUT, DELETE"),
        ("/v1/k64/YQ", "GET, HEAD, PUT, DELETE"),
        ("/v1/keys", "GET, HEAD, DELETE"),
        ("/v1/history/a", "GET, HEAD"),
        ("/v1/history64/YQ", "GET, HEAD"),
        ("/v1/rollback/a", "POST"),
        ("/v1/rollback64/YQ", "POST"),
        ("/v1/ttl/a", "GET, HEAD, PUT, DELETE"),
        ("/v1/ttl64/YQ", "GET, HEAD, PUT, DELETE"),
        ("/v1/incr/a", "POST"),
        ("/v1/incr64/YQ", "POST"),
        ("/v1/txn", "POST"),
        ("/v1/tx", "POST"),
        ("/v1/tx/00112233445566778899aabbccddeeff", "DELETE"),
        ("/v1/tx/00112233445566778899aabbccddeeff/commit", "POST"),
        ("/v1/mget", "POST"),
        ("/v1/mset", "POST"),
        ("/v1/mdelete", "POST"),
        ("/v1/watch", "GET, HEAD"),
        ("/v1/stats", "GET, HEAD"),
        ("/v1/info", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
    ];
    for (target, allowed) in table {
        for method in ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS", "TRACE", "QUERY"] {
            let line = format!("{method} {target}");
            if allowed.split(", ").any(|name| name == method) {
                let query = match line.as_str() {
                    "PUT /v1/ttl/a" | "PUT /v1/ttl64/YQ" => "?ttl=1s",
                    "DELETE /v1/keys" => "?all=true",
                    _ => "",
                };
                let line = format!("{line}{query}");
                with_request(&line, &[], |request| assert!(request.is_ok(), "{line}"));
            } else {
                let problem = refusal(&line, &[]);
                assert_eq!(status_and_code(&problem), (405, "method-not-allowed"), "{line}");
                assert_eq!(problem.respond("r").headers()["allow"], allowed, "{line}");
            }
        }
    }
}

#[test]
fn each_route_is_the_operation_it_says() {
    let operation = |line: &str| {
        with_request(line, &[], |request| {
            let operation = request.unwrap().operation;
            let name = match &operation {
                Operation::Run(Command::Get { .. }) => "get",
                Operation::Run(Command::Delete(_)) => "delete",
                Operation::Run(Command::List(_)) => "list",
                Operation::Run(Command::Peek { .. }) => "peek",
                Operation::Run(Command::Modify(_)) => "modify",
                Operation::Run(Command::Clear) => "clear",
                Operation::Run(Command::ListSorted(_)) => "sorted list",
                Operation::Run(Command::GetAt { .. }) => "get at",
                Operation::Run(Command::History { .. }) => "history",
                Operation::Rollback(_) => "rollback",
                Operation::Run(_) => "another command",
                Operation::DeletePrefix(_) => "delete prefix",
                Operation::Begin(_) => "begin",
                Operation::Commit(_) => "commit",
                Operation::RollBack(_) => "roll back",
                Operation::Put(_) => "put",
                Operation::Batch(_) => "batch",
                Operation::Watch(_) => "watch",
                Operation::Stats => "stats",
                Operation::Info => "info",
                Operation::Healthz => "healthz",
                Operation::Readyz => "readyz",
                Operation::Snapshot => "snapshot",
            };
            (name, operation.body_limit())
        })
    };
    let table = [
        ("GET /v1/keys/a", "get", None),
        ("HEAD /v1/keys/a", "get", None),
        ("DELETE /v1/k64/YQ", "delete", None),
        ("PUT /v1/k64/YQ", "put", Some(Limit::ValueBytes)),
        ("GET /v1/keys/a?rev=5", "get at", None),
        ("HEAD /v1/k64/YQ?rev=5", "get at", None),
        ("GET /v1/history/a", "history", None),
        ("POST /v1/rollback64/YQ", "rollback", Some(Limit::BatchBytes)),
        ("GET /v1/keys", "list", None),
        ("GET /v1/keys?", "list", None),
        ("GET /v1/keys?sort=key", "sorted list", None),
        ("DELETE /v1/keys?prefix=a", "delete prefix", None),
        ("DELETE /v1/keys?all=true", "clear", None),
        ("GET /v1/ttl/a", "peek", None),
        ("PUT /v1/ttl64/YQ?ttl=1s", "modify", None),
        ("DELETE /v1/ttl/a", "modify", None),
        ("POST /v1/incr/a", "modify", None),
        ("POST /v1/txn", "batch", Some(Limit::BatchBytes)),
        ("POST /v1/tx", "begin", Some(Limit::BatchBytes)),
        ("POST /v1/tx/00112233445566778899aabbccddeeff/commit", "commit", None),
        ("DELETE /v1/tx/00112233445566778899aabbccddeeff", "roll back", None),
        ("POST /v1/mget", "batch", Some(Limit::BatchBytes)),
        ("POST /v1/mset", "batch", Some(Limit::BatchBytes)),
        ("POST /v1/mdelete", "batch", Some(Limit::BatchBytes)),
        ("GET /v1/watch", "watch", None),
        ("GET /v1/stats", "stats", None),
        ("GET /v1/info", "info", None),
        ("GET /healthz", "healthz", None),
        ("HEAD /readyz", "readyz", None),
    ];
    for (line, name, limit) in table {
        assert_eq!(operation(line), (name, limit), "{line}");
    }
    let (command, _) = run("DELETE /v1/keys/a", &[]);
    assert_eq!(command, Command::Delete(Delete { key: key("a"), condition: Default::default() }));
}

#[test]
fn a_put_stores_the_content_type_it_was_given() {
    let stored = |lines: &[(&str, &str)]| {
        with_request("PUT /v1/keys/a", lines, |request| {
            let Operation::Put(put) = request.unwrap().operation else { panic!() };
            let Command::Set(set) = put.command(Bytes::from_static(b"1")) else { panic!() };
            assert_eq!((set.key, set.value), (key("a"), Bytes::from_static(b"1")));
            set.content_type.map(|given| given.as_str().to_owned())
        })
    };
    assert_eq!(stored(&[]), None);
    assert_eq!(stored(&[("content-type", "application/octet-stream")]), None, "the default costs no byte");
    assert_eq!(stored(&[("content-type", "text/html; charset=utf-8")]).as_deref(), Some("text/html; charset=utf-8"));
    for content_type in ["", "text/\u{e4}", "a\tb", &"x".repeat(256)] {
        let problem = refusal("PUT /v1/keys/a", &[("content-type", content_type)]);
        assert_eq!(status_and_code(&problem), (400, "bad-header"), "{content_type}");
    }
}

#[test]
fn a_path_that_leads_nowhere_is_not_a_missing_key() {
    for target in ["/", "/v1", "/v1/", "/v1/keysa", "/v1/Keys/a", "/v2/keys/a", "/v1/mget/", "/V1/keys/a", "/v1/k64"] {
        let problem = refusal(&format!("GET {target}"), &[]);
        assert_eq!(status_and_code(&problem), (404, "no-such-route"), "{target}");
    }
    with_request("OPTIONS *", &[], |request| {
        assert_eq!(status_and_code(&request.unwrap_err()), (404, "no-such-route"));
    });
}

#[test]
fn what_a_later_version_brings_is_refused_by_name() {
    let routes =
        ["GET /v1/export", "POST /v1/import?mode=upsert", "GET /metrics", "GET /openapi.json", "POST /v1/admin/reload"];
    for line in routes {
        assert_eq!(status_and_code(&refusal(line, &[])), (404, "unsupported"), "{line}");
    }
    let headers = [("PUT /v1/keys/a", "Content-Range", "bytes 0-1/2")];
    for (line, name, value) in headers {
        assert_eq!(status_and_code(&refusal(line, &[(name, value)])), (400, "unsupported"), "{line} {name}");
    }
}

#[test]
fn headers_of_others_are_left_alone() {
    let table = [
        ("Prefer", "return=minimal"),
        ("X-Anything", "at all"),
        ("If-Modified-Since", "Sat, 29 Oct 1994 19:43:31 GMT"),
        ("Accept", "image/png"),
        ("Content-Length", "0"),
        ("Cookie", "a=b"),
    ];
    for (name, value) in table {
        run("GET /v1/keys/a", &[(name, value)]);
    }
}

#[test]
fn a_body_where_none_belongs_is_refused() {
    for line in
        ["GET /v1/keys/a", "DELETE /v1/keys/a", "GET /v1/keys", "GET /v1/stats", "HEAD /v1/keys/a", "GET /v1/watch"]
    {
        for header in [("Content-Length", "5"), ("Transfer-Encoding", "chunked")] {
            assert_eq!(status_and_code(&refusal(line, &[header])), (400, "unexpected-body"), "{line} {header:?}");
        }
    }
}

#[test]
fn a_key_longer_than_any_is_refused() {
    let ceiling = kvd_types::KEY_BYTES_CEILING;
    assert_eq!(decode(&"k".repeat(ceiling)).unwrap().len(), ceiling);
    assert!(matches!(decode(&"k".repeat(ceiling + 1)), Err(BadKey::TooLong(_))));
}
