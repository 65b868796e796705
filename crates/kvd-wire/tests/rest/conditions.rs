//! Two clients that change one key must not lose each other's change. Conditions of writes go to the store as they were
//! meant; those of reads are judged against the version that was read. A condition is never quietly dropped.

use bytes::Bytes;
use kvd_types::{Command, Condition, Entry, Reply, Revision};
use kvd_wire::rest::condition::to_header;
use kvd_wire::rest::request::Operation;

use crate::support::{STORE, etag, refusal, run, status_and_code, with_request};

fn condition_of(command: Command<'_>) -> Condition {
    match command {
        Command::Set(set) => set.condition,
        Command::Delete(delete) => delete.condition,
        other => panic!("{other:?}"),
    }
}

/// The condition of a PUT, which must be that of a DELETE too.
fn of_write(lines: &[(&str, &str)]) -> Condition {
    let put = with_request("PUT /v1/keys/a", lines, |request| match request.unwrap().operation {
        Operation::Put(put) => condition_of(put.command(Bytes::new())),
        other => panic!("{other:?}"),
    });
    assert_eq!(put, condition_of(run("DELETE /v1/k64/YQ", lines).0));
    put
}

#[test]
fn the_condition_of_a_write_is_what_its_header_says() {
    let (one, two) = (etag(42), etag(7));
    let table = [
        ("If-Match", "*", Condition::Exists),
        ("If-None-Match", "*", Condition::Absent),
        ("If-Match", "\"e1b2c3d4-42\"", Condition::AnyOf(vec![one])),
        ("If-Match", "\"e1b2c3d4-42\", \"e1b2c3d4-7\"", Condition::AnyOf(vec![one, two])),
        ("If-Match", ",\"e1b2c3d4-42\" ,, \"e1b2c3d4-7\",", Condition::AnyOf(vec![one, two])),
        // Of another server: matches no version, but is a condition all the same.
        ("If-Match", "\"abc\"", Condition::AnyOf(vec![])),
        ("If-Match", "\"\"", Condition::AnyOf(vec![])),
        ("If-Match", "\"a,b\"", Condition::AnyOf(vec![])),
        ("If-Match", "\"\u{e4}\"", Condition::AnyOf(vec![])),
        ("If-Match", "\"E1B2C3D4-42\"", Condition::AnyOf(vec![])),
        // Weak tags never match strongly, and always match weakly.
        ("If-Match", "W/\"e1b2c3d4-42\"", Condition::AnyOf(vec![])),
        ("If-None-Match", "W/\"e1b2c3d4-42\"", Condition::NoneOf(vec![one])),
        ("If-None-Match", "\"e1b2c3d4-42\", \"x\"", Condition::NoneOf(vec![one])),
    ];
    for (name, value, condition) in table {
        assert_eq!(of_write(&[(name, value)]), condition, "{name}: {value}");
    }
    assert_eq!(of_write(&[]), Condition::Always);
    let lines = [("if-match", "\"e1b2c3d4-42\""), ("if-match", "\"e1b2c3d4-7\"")];
    assert_eq!(of_write(&lines), Condition::AnyOf(vec![one, two]));
}

#[test]
fn a_condition_that_is_not_understood_is_refused() {
    for name in ["If-Match", "If-None-Match"] {
        for value in
            ["", ",", "e1b2c3d4-42", "\"e1b2c3d4-42", "\"a\" \"b\"", "\"a\"b", "*, \"a\"", "w/\"a\"", "\"a b\""]
        {
            for line in ["PUT /v1/keys/a", "DELETE /v1/keys/a", "GET /v1/keys/a", "HEAD /v1/keys/a"] {
                let problem = refusal(line, &[(name, value)]);
                assert_eq!(status_and_code(&problem), (400, "bad-header"), "{line} {name}: {value}");
            }
        }
    }
    let both = [("If-Match", "*"), ("If-None-Match", "\"x\"")];
    for line in ["PUT /v1/keys/a", "DELETE /v1/keys/a"] {
        assert_eq!(status_and_code(&refusal(line, &both)), (400, "bad-header"));
    }
    // A batch is many keys: a header can't say which one it means.
    for line in ["POST /v1/mset", "POST /v1/mdelete", "POST /v1/mget"] {
        for condition in both {
            assert_eq!(status_and_code(&refusal(line, &[condition])), (400, "bad-header"), "{line}");
        }
    }
}

#[test]
fn a_client_writes_the_header_that_the_server_reads() {
    let table = [
        Condition::Exists,
        Condition::Absent,
        Condition::AnyOf(vec![etag(42)]),
        Condition::AnyOf(vec![etag(42), etag(7)]),
        Condition::NoneOf(vec![etag(42)]),
        Condition::NoneOf(vec![etag(42), etag(7)]),
    ];
    for condition in table {
        let (name, value) = to_header(&condition).unwrap();
        assert_eq!(of_write(&[(name.as_str(), value.to_str().unwrap())]), condition);
    }
    let headless =
        [Condition::Always, Condition::Revision(Revision(1)), Condition::Value(Bytes::new()), Condition::AnyOf(vec![])];
    for condition in headless {
        assert_eq!(to_header(&condition), None);
    }
}

#[test]
fn the_condition_of_a_read_is_judged_against_the_version_read() {
    let ours = "\"e1b2c3d4-42\"";
    let table: &[(&[(&str, &str)], u16)] = &[
        (&[("if-none-match", ours)], 304),
        (&[("if-none-match", "W/\"e1b2c3d4-42\"")], 304),
        (&[("if-none-match", "\"x\", \"e1b2c3d4-42\"")], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"e1b2c3d4-41\"")], 200),
        (&[("if-none-match", "\"e1b2c3d5-42\"")], 200),
        (&[("if-none-match", "\"x\"")], 200),
        (&[("if-match", ours)], 200),
        (&[("if-match", "*")], 200),
        (&[("if-match", "\"e1b2c3d4-41\"")], 412),
        (&[("if-match", "W/\"e1b2c3d4-42\"")], 412),
        (&[("if-match", "\"x\"")], 412),
        // RFC 9110, section 13.2.2: If-Match comes first, the range last.
        (&[("if-match", "\"x\""), ("if-none-match", ours)], 412),
        (&[("if-match", ours), ("if-none-match", ours)], 304),
        (&[("if-none-match", ours), ("range", "bytes=99-")], 304),
        (&[("if-match", "\"x\""), ("range", "bytes=99-")], 412),
        (&[("if-match", ours), ("range", "bytes=0-0")], 206),
    ];
    for (lines, status) in table {
        let (command, answer) = run("GET /v1/keys/a", lines);
        let entry = Entry {
            value: Bytes::from_static(b"xyz"),
            content_type: None,
            expires_at_ms: None,
            revision: Revision(42),
        };
        let reply = Reply::Got { entry: Some(entry), revision: Revision(42) };
        match answer.respond(STORE, &command, reply) {
            Ok(response) => {
                assert_eq!(response.status(), *status, "{lines:?}");
                assert_eq!(response.headers()["etag"], ours);
                assert_eq!(response.headers()["kvd-revision"], "42");
                assert_eq!(response.body().is_empty(), *status == 304, "{lines:?}");
            }
            Err(problem) => {
                assert_eq!(status_and_code(&problem), (*status, "precondition-failed"), "{lines:?}");
                assert_eq!(problem.errors()[0].have, Some(Some(etag(42))));
            }
        }
    }
}

#[test]
fn a_missing_key_is_missing_whatever_the_condition() {
    // RFC 9110, section 13.2.1: conditions count only where the answer would be a success.
    for lines in [[("if-match", "\"e1b2c3d4-42\"")], [("if-none-match", "*")], [("range", "bytes=0-1")]] {
        let (command, answer) = run("GET /v1/keys/a", &lines);
        let problem = answer.respond(STORE, &command, Reply::Got { entry: None, revision: Revision(9) }).unwrap_err();
        assert_eq!(status_and_code(&problem), (404, "not-found"), "{lines:?}");
        assert_eq!(problem.respond("r").headers()["kvd-revision"], "9");
    }
}
