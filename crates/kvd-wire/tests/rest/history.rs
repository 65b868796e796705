//! A key's history in HTTP: what is asked, to the field; what is told, to the byte; and what is refused, and how.

use kvd_types::{Command, Condition, Entry, Error, HistoryItem, Reason, Reply, Revision, Rollback};
use kvd_wire::rest::batch::{Format, HistoryAnswer, Message, SetItem, encode_rollback};
use kvd_wire::rest::path::{KeyForm, form_below};
use kvd_wire::rest::problem::Problem;
use kvd_wire::rest::request::{Operation, Request};
use kvd_wire::rest::response::Answer;

use crate::support::{STORE, decode, etag, key, refusal, run, status_and_code, with_request};

/// The command of a rollback with this body, and how it is to be answered.
fn rollback(line: &str, lines: &[(&str, &str)], body: &[u8]) -> Result<(Command<'static>, Answer), Problem> {
    with_request(line, lines, |request| {
        let Request { operation, answer, .. } = request.unwrap_or_else(|problem| panic!("{line}: {problem:?}"));
        let Operation::Rollback(rollback) = operation else { panic!("{line} is no rollback") };
        Ok((rollback.command(body)?.into_owned(), answer))
    })
}

fn items() -> Vec<HistoryItem> {
    let item = |revision, gone, size, time_ms| HistoryItem { revision: Revision(revision), gone, size, time_ms };
    vec![
        item(57, None, 5, Some(1_700_000_000_123)),
        item(50, Some(Reason::Asked), 0, Some(1_700_000_000_000)),
        item(44, Some(Reason::Expired), 0, Some(1)),
        item(43, Some(Reason::Evicted), 0, Some(1)),
        item(41, None, 0, None),
    ]
}

#[test]
fn a_revision_is_named_in_the_query() {
    for (line, bytes, revision) in [
        ("GET /v1/keys/a/b?rev=41", &b"a/b"[..], 41),
        ("HEAD /v1/k64/AP8?rev=0", b"\x00\xff", 0),
        ("GET /v1/keys/?rev=%34%31", b"", 41),
        ("GET /v1/keys/a?rev=18446744073709551615", b"a", u64::MAX),
    ] {
        let (command, _) = run(line, &[]);
        assert_eq!(command, Command::GetAt { key: key(bytes), revision: Revision(revision) }, "{line}");
    }
    for line in [
        "GET /v1/keys/a?rev=",
        "GET /v1/keys/a?rev=-1",
        "GET /v1/keys/a?rev=+1",
        "GET /v1/keys/a?rev=0x10",
        "GET /v1/keys/a?rev=18446744073709551616",
        "GET /v1/keys/a?rev=e1b2c3d4-41",
        "GET /v1/keys/a?rev=1&rev=1",
        "PUT /v1/keys/a?rev=1",
        "DELETE /v1/keys/a?rev=1",
        "GET /v1/keys?rev=1",
        "POST /v1/mget?rev=1",
        "GET /v1/history/a?rev=1",
    ] {
        assert_eq!(status_and_code(&refusal(line, &[])), (400, "bad-query"), "{line}");
    }
    let inside = [("Kvd-Tx", "00112233445566778899aabbccddeeff")];
    assert_eq!(status_and_code(&refusal("GET /v1/keys/a?rev=1", &inside)), (400, "bad-query"));
    for line in ["GET /v1/history/a", "POST /v1/rollback/a"] {
        assert_eq!(status_and_code(&refusal(line, &inside)), (400, "bad-header"), "{line}");
    }
}

#[test]
fn a_key_has_its_two_forms_below_each_verb() {
    for (target, bytes) in
        [("/v1/history/a%2F/b", &b"a//b"[..]), ("/v1/history64/AP8", b"\x00\xff"), ("/v1/history/", b"")]
    {
        assert_eq!(run(&format!("GET {target}"), &[]).0, Command::History { key: key(bytes) }, "{target}");
    }
    for target in ["/v1/history/%", "/v1/history64/", "/v1/history64/YQ=="] {
        assert_eq!(status_and_code(&refusal(&format!("GET {target}"), &[])), (400, "bad-key"), "{target}");
    }
    for target in ["/v1/history", "/v1/history6/a", "/v1/historya", "/v1/rollback64"] {
        assert_eq!(status_and_code(&refusal(&format!("GET {target}"), &[])), (404, "no-such-route"), "{target}");
    }
    assert_eq!(form_below("history", &key("a b")), KeyForm::Path("/v1/history/a%20b".into()));
    assert_eq!(form_below("rollback", &key("")), KeyForm::Base64("/v1/rollback64/-".into()));
}

#[test]
fn an_old_version_is_answered_as_a_value_is() {
    let entry = |value: &'static str| Entry {
        value: value.into(),
        content_type: None,
        expires_at_ms: Some(1_000_001),
        revision: Revision(41),
    };
    let answer = |lines: &[(&str, &str)]| {
        let (command, answer) = run("GET /v1/keys/a?rev=45", lines);
        answer.respond(STORE, &command, Reply::Got { entry: Some(entry("hello")), revision: Revision(41) })
    };
    let whole = answer(&[]).unwrap();
    assert_eq!((whole.status().as_u16(), &whole.body()[..]), (200, &b"hello"[..]));
    assert_eq!(whole.headers()["etag"], "\"e1b2c3d4-41\"");
    assert_eq!(whole.headers()["kvd-revision"], "41");
    assert!(!whole.headers().contains_key("kvd-ttl"), "its time is not counted from now");
    let part = answer(&[("Range", "bytes=1-2")]).unwrap();
    assert_eq!((part.status().as_u16(), &part.body()[..]), (206, &b"el"[..]));
    assert_eq!(answer(&[("If-None-Match", "\"e1b2c3d4-41\"")]).unwrap().status(), 304);
    assert_eq!(status_and_code(&answer(&[("If-Match", "\"e1b2c3d4-45\"")]).unwrap_err()), (412, "precondition-failed"));
    // No version then.
    let (command, answer) = run("GET /v1/keys/a?rev=40", &[]);
    let problem = answer.respond(STORE, &command, Reply::Got { entry: None, revision: Revision(40) }).unwrap_err();
    assert_eq!(status_and_code(&problem), (404, "not-found"));
    assert_eq!(problem.detail(), "the key had no value at revision 40");
    assert_eq!(problem.respond("r").headers()["kvd-revision"], "40");
}

#[test]
fn a_history_is_told_newest_first() {
    let (command, answer) = run("GET /v1/history/a", &[]);
    let response =
        answer.respond(STORE, &command, Reply::History { revision: Revision(60), versions: items() }).unwrap();
    let expected = concat!(
        r#"{"key":"a","items":[{"revision":57,"op":"set","size":5,"time_ms":1700000000123},"#,
        r#"{"revision":50,"op":"delete","size":0,"time_ms":1700000000000},"#,
        r#"{"revision":44,"op":"expire","size":0,"time_ms":1},{"revision":43,"op":"evict","size":0,"time_ms":1},"#,
        r#"{"revision":41,"op":"set","size":0,"time_ms":null}]}"#,
    );
    assert_eq!(response.body(), expected);
    assert_eq!(response.headers()["kvd-revision"], "60");
    assert_eq!(decode::<HistoryAnswer<'_>>(&response), HistoryAnswer { key: key("a"), items: items() });
    let (command, answer) = run("GET /v1/history64/AP8", &[("Accept", "application/cbor")]);
    let response =
        answer.respond(STORE, &command, Reply::History { revision: Revision(60), versions: items() }).unwrap();
    assert_eq!(decode::<HistoryAnswer<'_>>(&response), HistoryAnswer { key: key(b"\x00\xff"), items: items() });
    let reply = Reply::History { revision: Revision(60), versions: Vec::new() };
    assert_eq!(status_and_code(&answer.respond(STORE, &command, reply).unwrap_err()), (404, "not-found"));
}

#[test]
fn a_rollback_says_where_to_in_its_body() {
    let wanted = |condition| Command::Rollback(Rollback { key: key("a"), to: Revision(41), condition });
    let (command, answer) = rollback("POST /v1/rollback/a", &[], br#"{"to_revision":41}"#).unwrap();
    assert_eq!(command, wanted(Condition::Always));
    let response = answer.respond(STORE, &command, Reply::RolledBack { revision: Revision(61) }).unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.body(), r#"{"key":"a","revision":61,"etag":"e1b2c3d4-61"}"#);
    assert_eq!(
        (&response.headers()["etag"], &response.headers()["kvd-revision"]),
        (&"\"e1b2c3d4-61\"".parse().unwrap(), &61.into())
    );
    assert_eq!(decode::<SetItem<'_>>(&response), SetItem { key: key("a"), etag: Some(etag(61)) });
    let cbor = [("Content-Type", "application/cbor"), ("If-Match", "\"e1b2c3d4-57\"")];
    let body = encode_rollback(Revision(41), Format::Cbor);
    let (command, answer) = rollback("POST /v1/rollback64/YQ", &cbor, &body).unwrap();
    assert_eq!(command, wanted(Condition::AnyOf(vec![etag(57)])));
    let response = answer.respond(STORE, &command, Reply::RolledBack { revision: Revision(61) }).unwrap();
    assert_eq!(decode::<SetItem<'_>>(&response), SetItem { key: key("a"), etag: Some(etag(61)) });
    let json = encode_rollback(Revision(41), Format::Json);
    assert_eq!(json, br#"{"to_revision":41}"#);
}

#[test]
fn a_rollback_that_names_no_revision_is_refused() {
    for (body, status, code) in [
        (&b""[..], 400, "malformed-body"),
        (b"41", 422, "invalid-item"),
        (b"{}", 422, "invalid-item"),
        (b"[41]", 422, "invalid-item"),
        (br#"{"to_revision":null}"#, 422, "invalid-item"),
        (br#"{"to_revision":-1}"#, 422, "invalid-item"),
        (br#"{"to_revision":"41"}"#, 422, "invalid-item"),
        (br#"{"to_revision":41,"to_revision":41}"#, 422, "invalid-item"),
        (br#"{"to_revision":41,"if":{"revision":57}}"#, 422, "invalid-item"),
    ] {
        let problem = rollback("POST /v1/rollback/a", &[], body).unwrap_err();
        assert_eq!(status_and_code(&problem), (status, code), "{}", body.escape_ascii());
    }
    for (lines, status) in [
        ([("Content-Type", "text/plain")], 415),
        ([("Content-Encoding", "gzip")], 415),
        ([("Accept", "text/html")], 406),
    ] {
        assert_eq!(refusal("POST /v1/rollback/a", &lines).status(), status, "{lines:?}");
    }
}

#[test]
fn what_is_not_known_has_its_own_code() {
    let (command, answer) = run("GET /v1/keys/a?rev=41", &[]);
    let (revision, newest) = (Revision(41), Revision(40));
    for (error, status, code) in [
        (Error::HistoryOff, 409, "history-off"),
        (Error::VersionDropped { revision }, 410, "version-dropped"),
        (Error::NoVersion { revision }, 404, "not-found"),
        (Error::FutureRevision { revision, newest }, 400, "future-revision"),
    ] {
        let problem = answer.refuse(&command, error.clone());
        assert_eq!(status_and_code(&problem), (status, code));
        assert_eq!((problem.detail(), problem.code()), (&*error.to_string(), error.code()));
        assert!(!problem.is_retryable() && !error.is_retryable());
    }
    assert!(Error::HistoryOff.to_string().contains("--history N"), "it says what to do");
    // A condition that did not hold tells what is there.
    let (command, answer) = rollback("POST /v1/rollback/a", &[("If-Match", "*")], br#"{"to_revision":41}"#).unwrap();
    let failures = vec![kvd_types::ItemFailure { index: 0, have: Some(etag(57)) }];
    let problem = answer.refuse(&command, Error::PreconditionFailed { failures, total: 1 });
    assert_eq!(problem.status(), 412);
    let [error] = problem.errors() else { panic!("one key") };
    assert_eq!((&error.pointer, &error.key, error.have), (&None, &Some(key("a")), Some(Some(etag(57)))));
}

#[test]
fn nothing_of_it_is_in_batches() {
    use kvd_wire::rest::batch::{NoBatchForm, encode_request};
    let command = Command::Rollback(Rollback { key: key("a"), to: Revision(1), condition: Condition::Always });
    for command in
        [Command::History { key: key("a") }, Command::GetAt { key: key("a"), revision: Revision(1) }, command]
    {
        assert_eq!(encode_request(&command, Format::Json), Err(NoBatchForm));
    }
    assert!(HistoryAnswer::decode(Format::Json, b"{}").is_err());
}
