//! What can be wanted of one key besides its value: a time to live, its expiry alone, an increment, what it held before a write
//! and what it holds after. Each says in the answer what was asked for, and what can't be meant is refused.

use bytes::Bytes;
use kvd_types::{
    Command, Condition, Delete, Entry, Error, ExpiryCondition, ItemFailure, Key, Limit, LimitExceeded, Modify,
    OnFailure, Reply, Revision, Rule, Set, Transaction, Ttl,
};
use kvd_wire::rest::batch::Format::{Cbor, Json};
use kvd_wire::rest::batch::{IncrementAnswer, Message, TtlAnswer};
use kvd_wire::rest::path::{KeyForm, form_below};
use kvd_wire::rest::request::Operation;
use kvd_wire::rest::response::Answer;
use kvd_wire::rest::ttl;

use crate::support::{STORE, etag, key, refusal, run, status_and_code, with_request};

/// The command of a PUT with the value `1`.
fn put(line: &str, lines: &[(&str, &str)]) -> (Command<'static>, Answer) {
    with_request(line, lines, |request| {
        let request = request.unwrap_or_else(|problem| panic!("{line} {lines:?}: {problem:?}"));
        let Operation::Put(put) = request.operation else { panic!() };
        (put.command(Bytes::from_static(b"1")).into_owned(), request.answer)
    })
}

fn entry(value: &'static str, expires_at_ms: Option<u64>) -> Entry {
    Entry { value: value.into(), content_type: None, expires_at_ms, revision: Revision(57) }
}

#[test]
fn a_put_has_the_time_to_live_that_it_says() {
    let table = [
        ("1ms", Ttl::Ms(1)),
        ("30s", Ttl::Ms(30_000)),
        ("007m", Ttl::Ms(420_000)),
        ("2h", Ttl::Ms(7_200_000)),
        ("36500d", Ttl::Ms(3_153_600_000_000)),
        ("keep", Ttl::Keep),
        ("none", Ttl::None),
    ];
    for (text, ttl) in table {
        let expected = Command::Set(Set { ttl, ..Set::new(key("a"), "1") });
        assert_eq!(put(&format!("PUT /v1/keys/a?ttl={text}"), &[]).0, expected, "{text}");
        assert_eq!(put("PUT /v1/k64/YQ", &[("kvd-ttl", text)]).0, expected, "{text}");
        assert_eq!(ttl::to_text(ttl).map(|text| ttl::parse(&text)), Some(Ok(ttl)));
    }
    assert_eq!(put("PUT /v1/keys/a", &[]).0, Command::Set(Set { ttl: Ttl::Default, ..Set::new(key("a"), "1") }));
    let wrong = [
        "",
        "0s",
        "30",
        "s",
        "-1s",
        "+1s",
        "1.5s",
        "1 s",
        "1S",
        "1w",
        "1h30m",
        "36501d",
        "3153600000001ms",
        "KEEP",
        "99999999999999999999s",
    ];
    for text in wrong {
        let problem = refusal("PUT /v1/keys/a", &[("kvd-ttl", text)]);
        assert_eq!(status_and_code(&problem), (400, "bad-header"), "{text}");
        let problem = refusal(&format!("PUT /v1/keys/a?ttl={}", text.replace(' ', "%20")), &[]);
        assert_eq!(status_and_code(&problem), (400, "bad-query"), "{text}");
        assert!(problem.detail().contains("one of the units ms s m h d"), "{}", problem.detail());
    }
    assert_eq!(status_and_code(&refusal("PUT /v1/keys/a?ttl=1s", &[("kvd-ttl", "1s")])), (400, "bad-header"));
    let twice = [("kvd-ttl", "1s"), ("kvd-ttl", "1s")];
    assert_eq!(status_and_code(&refusal("PUT /v1/keys/a", &twice)), (400, "bad-header"));
    assert_eq!(status_and_code(&refusal("GET /v1/keys/a?ttl=1s", &[])), (400, "bad-query"));
}

#[test]
fn a_value_says_how_long_it_has_left() {
    for (expires_at_ms, header) in [(None, None), (Some(STORE.now_ms + 29), Some("29ms")), (Some(0), Some("0ms"))] {
        let (command, answer) = run("GET /v1/keys/a", &[]);
        let reply = Reply::Got { entry: Some(entry("1", expires_at_ms)), revision: Revision(57) };
        let response = answer.respond(STORE, &command, reply).unwrap();
        let shown = response.headers().get("kvd-ttl").map(|value| value.to_str().unwrap());
        assert_eq!(shown, header);
    }
}

#[test]
fn an_expiry_is_asked_and_told_alone() {
    let expire = |ttl, condition| {
        let rule = Rule::Expire { ttl, only: ExpiryCondition::Always };
        Command::Modify(Modify { key: key("a b"), rule, condition })
    };
    let table = [
        ("GET /v1/ttl/a%20b", &[][..], Command::Peek { key: key("a b") }),
        ("HEAD /v1/ttl64/YSBi", &[], Command::Peek { key: key("a b") }),
        ("PUT /v1/ttl/a%20b?ttl=30s", &[], expire(Ttl::Ms(30_000), Condition::Always)),
        ("PUT /v1/ttl64/YSBi", &[("kvd-ttl", "1m")], expire(Ttl::Ms(60_000), Condition::Always)),
        ("PUT /v1/ttl64/YSBi?ttl=none", &[], expire(Ttl::None, Condition::Always)),
        ("DELETE /v1/ttl/a%20b", &[], expire(Ttl::None, Condition::Always)),
        ("DELETE /v1/ttl/a%20b", &[("if-match", "*")], expire(Ttl::None, Condition::Exists)),
        (
            "PUT /v1/ttl/a%20b?ttl=1ms",
            &[("if-match", "\"e1b2c3d4-7\"")],
            expire(Ttl::Ms(1), Condition::AnyOf(vec![etag(7)])),
        ),
    ];
    for (line, lines, command) in table {
        assert_eq!(run(line, lines).0, command, "{line}");
    }
    for line in [
        "PUT /v1/ttl/a",
        "PUT /v1/ttl/a?ttl=keep",
        "PUT /v1/ttl/a?ttl=0s",
        "GET /v1/ttl/a?ttl=1s",
        "DELETE /v1/ttl/a?ttl=1s",
    ] {
        assert_eq!(status_and_code(&refusal(line, &[])), (400, "bad-query"), "{line}");
    }
    assert_eq!(status_and_code(&refusal("GET /v1/ttl/%zz", &[])), (400, "bad-key"));
    assert_eq!(status_and_code(&refusal("PUT /v1/ttl/a?ttl=1s", &[("content-length", "1")])), (400, "unexpected-body"));

    let (command, answer) = run("GET /v1/ttl/a", &[]);
    for (expires_at_ms, body) in [
        (Some(1_000_005), r#"{"key":"a","ttl_ms":5,"expires_at_ms":1000005}"#),
        (None, r#"{"key":"a","ttl_ms":null,"expires_at_ms":null}"#),
    ] {
        let reply = Reply::Got { entry: Some(entry("1", expires_at_ms)), revision: Revision(57) };
        let response = answer.respond(STORE, &command, reply).unwrap();
        assert_eq!((response.status().as_u16(), response.body()), (200, &Bytes::from(body)));
        let read = TtlAnswer::decode(Json, response.body()).unwrap();
        assert_eq!((read.ttl_ms, read.expires_at_ms), (expires_at_ms.map(|_| 5), expires_at_ms));
        assert_eq!(TtlAnswer::decode(Cbor, &read.encode(Cbor, false)), Ok(read));
    }
    let missing = answer.respond(STORE, &command, Reply::Got { entry: None, revision: Revision(9) }).unwrap_err();
    assert_eq!(status_and_code(&missing), (404, "not-found"));
    for line in ["PUT /v1/ttl/a?ttl=5ms", "DELETE /v1/ttl/a"] {
        let modified = |entry| Reply::Modified { revision: Revision(57), entry, changed: true };
        let (command, answer) = run(line, &[]);
        let response = answer.respond(STORE, &command, modified(Some(entry("1", Some(1_000_005))))).unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["etag"]),
            (204, &"\"e1b2c3d4-57\"".parse().unwrap())
        );
        assert_eq!(status_and_code(&answer.respond(STORE, &command, modified(None)).unwrap_err()), (404, "not-found"));
        let (command, answer) = run(line, &[("prefer", "return=representation")]);
        let response = answer.respond(STORE, &command, modified(Some(entry("1", Some(1_000_005))))).unwrap();
        assert_eq!(response.body(), r#"{"key":"a","ttl_ms":5,"expires_at_ms":1000005}"#);
        assert_eq!(response.headers()["preference-applied"], "return=representation");
    }
}

#[test]
fn an_increment_answers_the_sum() {
    let modify = |by, condition| Command::Modify(Modify { key: key("n"), rule: Rule::Increment { by }, condition });
    assert_eq!(run("POST /v1/incr/n", &[]).0, modify(1, Condition::Always));
    assert_eq!(run("POST /v1/incr64/bg?by=-9223372036854775808", &[]).0, modify(i64::MIN, Condition::Always));
    assert_eq!(run("POST /v1/incr/n?by=0", &[("if-none-match", "*")]).0, modify(0, Condition::Absent));
    for by in ["", "x", "1.5", "9223372036854775808", "1e3", "%20"] {
        let problem = refusal(&format!("POST /v1/incr/n?by={by}"), &[]);
        assert_eq!(status_and_code(&problem), (400, "bad-query"), "{by}");
    }
    for (accept, prefer) in [("application/json", None), ("application/cbor", Some("return=representation"))] {
        let mut lines = vec![("accept", accept)];
        lines.extend(prefer.map(|prefer| ("prefer", prefer)));
        let (command, answer) = run("POST /v1/incr/n", &lines);
        let reply = Reply::Modified { revision: Revision(57), entry: Some(entry("42", None)), changed: true };
        let response = answer.respond(STORE, &command, reply).unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["kvd-revision"]), (200, &57.into()));
        assert_eq!(response.headers().contains_key("preference-applied"), prefer.is_some());
        let format = if prefer.is_some() { Cbor } else { Json };
        let expected = IncrementAnswer { key: key("n"), value: 42, etag: Some(etag(57)) };
        assert_eq!(IncrementAnswer::decode(format, response.body()), Ok(expected));
        if format == Json {
            assert_eq!(response.body(), r#"{"key":"n","value":42,"revision":57,"etag":"e1b2c3d4-57"}"#);
        }
    }
    let (command, answer) = run("POST /v1/incr/n", &[]);
    for (error, code) in [(Error::NotAnInteger, "not-an-integer"), (Error::Overflow, "overflow")] {
        let problem = answer.refuse(&command, error);
        assert_eq!(status_and_code(&problem), (409, code));
        assert_eq!(problem.errors()[0].key, Some(key("n")));
        assert_eq!(problem.errors()[0].pointer, None);
    }
}

#[test]
fn a_write_can_answer_what_was_there_before() {
    let set = Command::Set(Set { condition: Condition::Exists, ..Set::new(key("a"), "1") });
    let both = |write: Command<'static>| {
        Command::Transaction(Transaction {
            checks: vec![],
            commands: vec![Command::Get { key: key("a") }, write],
            otherwise: None,
            on_failure: OnFailure::Abort,
        })
    };
    let (command, answer) = put("PUT /v1/keys/a?return=previous", &[("if-match", "*")]);
    assert_eq!(command, both(set));
    let revision = Revision(60);
    let written = |entry: Option<Entry>, write| Reply::Transaction {
        revision,
        failed_checks: vec![],
        replies: vec![Ok(Reply::Got { entry, revision }), Ok(write)],
    };
    let reply = written(Some(entry("old", Some(1_000_005))), Reply::Set { revision, created: false });
    let response = answer.respond(STORE, &command, reply).unwrap();
    assert_eq!((response.status().as_u16(), response.body()), (200, &Bytes::from("old")));
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap());
    // The tag is that of the new version, to go on with; the rest is the old value's.
    assert_eq!(
        (header("etag"), header("kvd-revision"), header("kvd-ttl")),
        (Some("\"e1b2c3d4-60\""), Some("60"), Some("5ms"))
    );
    assert_eq!((header("accept-ranges"), header("x-content-type-options")), (None, Some("nosniff")));
    let response = answer.respond(STORE, &command, written(None, Reply::Set { revision, created: true })).unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["etag"]), (201, &"\"e1b2c3d4-60\"".parse().unwrap()));

    // One key was asked for: the refusal is that of one key.
    let failures = vec![ItemFailure { index: 0, have: Some(etag(9)) }];
    let failed = |error| Error::OperationFailed { index: 1, error: Box::new(error) };
    let problem = answer.refuse(&command, failed(Error::PreconditionFailed { failures, total: 1 }));
    assert_eq!(status_and_code(&problem), (412, "precondition-failed"));
    let [item] = problem.errors() else { panic!() };
    assert_eq!((&item.pointer, &item.key, item.have), (&None, &Some(key("a")), Some(Some(etag(9)))));
    let too_long = LimitExceeded { limit: Limit::KeyBytes, max: 0, actual: Some(1), item: Some(0) };
    let problem = answer.refuse(&command, too_long.into());
    assert_eq!((status_and_code(&problem), problem.errors()), ((413, "limit-exceeded"), &[][..]));

    let (command, answer) = run("DELETE /v1/keys/a?return=previous", &[]);
    assert_eq!(command, both(Command::Delete(Delete { key: key("a"), condition: Condition::Always })));
    let reply = written(Some(entry("old", None)), Reply::Deleted { revision, found: true });
    let response = answer.respond(STORE, &command, reply).unwrap();
    assert_eq!((response.status().as_u16(), response.body()), (200, &Bytes::from("old")));
    assert_eq!((response.headers().get("etag"), &response.headers()["kvd-revision"]), (None, &60.into()));
    let response = answer.respond(STORE, &command, written(None, Reply::Deleted { revision, found: false })).unwrap();
    assert_eq!(response.status().as_u16(), 204);
}

#[test]
fn a_write_can_answer_what_is_there_now() {
    let prefer = ("prefer", "respond-async, Return=\"representation\"; x=1");
    let (command, answer) = put("PUT /v1/keys/a?ttl=keep", &[prefer]);
    let Command::Transaction(transaction) = &command else { panic!("{command:?}") };
    let set = Command::Set(Set { ttl: Ttl::Keep, ..Set::new(key("a"), "1") });
    assert_eq!(transaction.commands, [set, Command::Peek { key: key("a") }]);
    let revision = Revision(57);
    for (created, status) in [(true, 201), (false, 200)] {
        let replies = vec![
            Ok(Reply::Set { revision, created }),
            Ok(Reply::Got { entry: Some(entry("1", Some(1_000_005))), revision }),
        ];
        let reply = Reply::Transaction { revision, failed_checks: vec![], replies };
        let response = answer.respond(STORE, &command, reply).unwrap();
        assert_eq!((response.status().as_u16(), response.body()), (status, &Bytes::from("1")));
        assert_eq!(response.headers()["preference-applied"], "return=representation");
        assert_eq!(
            (&response.headers()["etag"], &response.headers()["kvd-ttl"]),
            (&"\"e1b2c3d4-57\"".parse().unwrap(), &"5ms".parse().unwrap())
        );
    }
    // Of a key that is deleted nothing is left to show, and a batch says all there is.
    assert!(matches!(run("DELETE /v1/keys/a", &[prefer]).0, Command::Delete(_)));
    for (line, lines) in [
        ("PUT /v1/keys/a?return=old", &[][..]),
        ("PUT /v1/keys/a?return=previous&return=previous", &[]),
        ("DELETE /v1/keys/a?return=new", &[]),
        ("GET /v1/keys/a?return=previous", &[]),
        ("POST /v1/mset?return=previous", &[]),
    ] {
        assert_eq!(status_and_code(&refusal(line, lines)), (400, "bad-query"), "{line}");
    }
    assert_eq!(status_and_code(&refusal("PUT /v1/keys/a?return=previous", &[prefer])), (400, "bad-header"));
}

#[test]
fn a_client_names_a_key_below_a_verb_as_it_does_below_keys() {
    let table = [
        ("a/b c", KeyForm::Path("/v1/incr/a/b%20c".to_owned())),
        ("", KeyForm::Base64("/v1/incr64/-".to_owned())),
        ("a//b", KeyForm::Base64("/v1/incr64/YS8vYg".to_owned())),
    ];
    for (name, form) in table {
        assert_eq!(form_below("incr", &key(name)), form);
        let (KeyForm::Path(path) | KeyForm::Base64(path)) = form else { panic!() };
        assert_eq!(run(&format!("POST {path}"), &[]).0.single_key(), Some(&key(name)));
    }
    assert_eq!(form_below("ttl", &Key::new(vec![0xff; 60_000]).unwrap()), KeyForm::Body);
}
