//! A transaction is one body that says what must be true, what is to be done, and what else. It must arrive as it was meant, its
//! answer must say what came of each operation, and what is wrong with it must be pointed at.

use bytes::Bytes;
use kvd_types::{
    Check, Command, Condition, Delete, Entry, Error, ExpiryCondition, ItemFailure, Limit, LimitExceeded, Limits,
    Modify, OnFailure, Reply, Revision, Rule, Set, Transaction, Ttl,
};
use kvd_wire::rest::batch::Format::{self, Cbor, Json};
use kvd_wire::rest::batch::{BeginAnswer, CommitAnswer, Message, OpResult, TransactionAnswer, encode_begin};
use kvd_wire::rest::problem::Problem;
use kvd_wire::rest::request::{Operation, parse};
use kvd_wire::rest::response::Answer;
use kvd_wire::rest::transaction::{Mode, TransactionId};

use crate::support::{STORE, batch, etag, headers, key, refusal, run, status_and_code, with_request};

const ID: &str = "00112233445566778899aabbccddeeff";

fn modify(name: &str, rule: Rule) -> Command<'static> {
    Command::Modify(Modify { key: key(name), rule, condition: Condition::Always })
}

fn expire(name: &str, ttl: Ttl) -> Command<'static> {
    modify(name, Rule::Expire { ttl, only: ExpiryCondition::Always })
}

fn transaction(commands: Vec<Command<'static>>) -> Transaction<'static> {
    Transaction { checks: vec![], commands, otherwise: None, on_failure: OnFailure::Abort }
}

#[test]
fn the_body_of_the_contract_is_understood() {
    let body = br#"{"mode":"read-write","checks":[{"key":"a","revision":41},{"key_b64":"AAE=","absent":true}],
        "ops":[{"op":"set","key":"a","value":"2","ttl":"30s"},{"op":"get","key":"b"},
               {"op":"delete","key":"c","if":{"exists":true}},{"op":"incr","key":"n","by":-2},{"op":"incr","key":"n"},
               {"op":"append","key":"l","value_b64":"/w=="},{"op":"expire","key":"a","ttl":"1m"},
               {"op":"expire","key":"a","ttl":"none"}],
        "else":[{"op":"get","key":"a"}]}"#;
    let checks = vec![
        Check { key: key("a"), condition: Condition::Revision(Revision(41)) },
        Check { key: key([0, 1]), condition: Condition::Absent },
    ];
    let commands = vec![
        Command::Set(Set { ttl: Ttl::Ms(30_000), ..Set::new(key("a"), "2") }),
        Command::Get { key: key("b") },
        Command::Delete(Delete { key: key("c"), condition: Condition::Exists }),
        modify("n", Rule::Increment { by: -2 }),
        modify("n", Rule::Increment { by: 1 }),
        modify("l", Rule::Append { bytes: Bytes::from_static(b"\xff") }),
        expire("a", Ttl::Ms(60_000)),
        expire("a", Ttl::None),
    ];
    let otherwise = Some(vec![Command::Get { key: key("a") }]);
    let expected = Command::Transaction(Transaction { checks, otherwise, ..transaction(commands) });
    assert_eq!(batch("POST /v1/txn", Json, body).unwrap().0, expected);
    // {"ops": [{"op": "get", "key": h'ff'}]}: no mode is read-write.
    let body = b"\xa1\x63ops\x81\xa2\x62op\x63get\x63key\x41\xff";
    let expected = Command::Transaction(transaction(vec![Command::Get { key: key(b"\xff") }]));
    assert_eq!(batch("POST /v1/txn", Cbor, body).unwrap().0, expected);
}

#[test]
fn what_is_wrong_with_a_transaction_is_pointed_at() {
    let table = [
        ("{}", "#", "invalid-item"),
        ("[]", "#", "invalid-item"),
        (r#"{"checks":[{"key":"a","absent":true}]}"#, "#", "invalid-item"),
        (r#"{"ops":[]}"#, "#/ops", "empty-batch"),
        (r#"{"ops":[],"checks":[]}"#, "#/ops", "empty-batch"),
        (r#"{"ops":null}"#, "#/ops", "invalid-item"),
        (r#"{"ops":{}}"#, "#/ops", "invalid-item"),
        (r#"{"ops":[],"ops":[]}"#, "#", "invalid-item"),
        (r#"{"mode":"write","ops":[]}"#, "#/mode", "invalid-item"),
        (r#"{"mode":null,"ops":[]}"#, "#/mode", "invalid-item"),
        (r#"{"operations":[]}"#, "#/operations", "invalid-item"),
        (r#"{"ops":["get"]}"#, "#/ops/0", "invalid-item"),
        (r#"{"ops":[{"key":"a"}]}"#, "#/ops/0", "invalid-item"),
        (r#"{"ops":[{"op":"get"}]}"#, "#/ops/0", "invalid-item"),
        (r#"{"ops":[{"op":"GET","key":"a"}]}"#, "#/ops/0/op", "invalid-item"),
        (r#"{"ops":[{"op":"list","key":"a"}]}"#, "#/ops/0/op", "invalid-item"),
        (r#"{"ops":[{"op":null,"key":"a"}]}"#, "#/ops/0/op", "invalid-item"),
        (r#"{"ops":[{"op":"get","key":"a","key_b64":"YQ=="}]}"#, "#/ops/0", "invalid-item"),
        (r#"{"ops":[{"op":"get","key":"a","value":"1"}]}"#, "#/ops/0/value", "invalid-item"),
        (r#"{"ops":[{"op":"get","key":"a","value_b64":"MQ=="}]}"#, "#/ops/0/value_b64", "invalid-item"),
        (r#"{"ops":[{"op":"get","key":"a","if":{"exists":true}}]}"#, "#/ops/0/if", "invalid-item"),
        (r#"{"ops":[{"op":"set","key":"a"}]}"#, "#/ops/0", "invalid-item"),
        (r#"{"ops":[{"op":"set","key":"a","value":"1","by":1}]}"#, "#/ops/0/by", "invalid-item"),
        (r#"{"ops":[{"op":"set","key":"a","value":"1","ttl":"soon"}]}"#, "#/ops/0/ttl", "invalid-item"),
        (r#"{"ops":[{"op":"set","key":"a","value":"1","if":{}}]}"#, "#/ops/0/if", "invalid-item"),
        (r#"{"ops":[{"op":"delete","key":"a","ttl":"1s"}]}"#, "#/ops/0/ttl", "invalid-item"),
        (r#"{"ops":[{"op":"incr","key":"a","by":1.5}]}"#, "#/ops/0/by", "invalid-item"),
        (r#"{"ops":[{"op":"incr","key":"a","by":"1"}]}"#, "#/ops/0/by", "invalid-item"),
        (r#"{"ops":[{"op":"incr","key":"a","by":9223372036854775808}]}"#, "#/ops/0/by", "invalid-item"),
        (r#"{"ops":[{"op":"incr","key":"a","content_type":"t"}]}"#, "#/ops/0/content_type", "invalid-item"),
        (r#"{"ops":[{"op":"append","key":"a"}]}"#, "#/ops/0", "invalid-item"),
        (r#"{"ops":[{"op":"append","key":"a","value":"x","ttl":"1s"}]}"#, "#/ops/0/ttl", "invalid-item"),
        (r#"{"ops":[{"op":"expire","key":"a"}]}"#, "#/ops/0", "invalid-item"),
        (r#"{"ops":[{"op":"expire","key":"a","ttl":"keep"}]}"#, "#/ops/0/ttl", "invalid-item"),
        (r#"{"ops":[{"op":"get","key":"a"},{"op":"get","key":1}]}"#, "#/ops/1/key", "invalid-item"),
        (
            r#"{"ops":[],"else":[{"op":"set","key":"a"}],"checks":[{"key":"a","exists":true}]}"#,
            "#/else/0",
            "invalid-item",
        ),
        (r#"{"ops":[],"checks":[{"key":"a"}]}"#, "#/checks/0", "invalid-item"),
        (r#"{"ops":[],"checks":[{"absent":true}]}"#, "#/checks/0", "invalid-item"),
        (r#"{"ops":[],"checks":[{"key":"a","absent":true,"exists":true}]}"#, "#/checks/0", "invalid-item"),
        (r#"{"ops":[],"checks":[{"key":"a","absent":false}]}"#, "#/checks/0/absent", "invalid-item"),
        (r#"{"ops":[],"checks":[{"key":"a","if":{"absent":true}}]}"#, "#/checks/0/if", "invalid-item"),
        (
            r#"{"mode":"read-only","ops":[{"op":"get","key":"a"},{"op":"incr","key":"a"}]}"#,
            "#/ops/1/op",
            "invalid-item",
        ),
        (
            r#"{"mode":"read-only","ops":[{"op":"get","key":"a"}],"else":[{"op":"delete","key":"a"}]}"#,
            "#/else/0/op",
            "invalid-item",
        ),
    ];
    for (body, pointer, code) in table {
        let problem = batch("POST /v1/txn", Json, body.as_bytes()).map(drop).unwrap_err();
        let place = problem.errors().first().and_then(|error| error.pointer.as_deref());
        assert_eq!((status_and_code(&problem), place), ((422, code), Some(pointer)), "{body}: {problem:?}");
    }
    for body in ["", "{", r#"{"ops":[]}x"#] {
        let problem = batch("POST /v1/txn", Json, body.as_bytes()).map(drop).unwrap_err();
        assert_eq!(status_and_code(&problem), (400, "malformed-body"), "{body}");
    }
    assert_eq!(status_and_code(&refusal("POST /v1/txn", &[("content-type", "text/plain")])).0, 415);
    assert_eq!(status_and_code(&refusal("POST /v1/txn", &[("if-match", "*")])), (400, "bad-header"));
}

#[test]
fn too_many_operations_are_refused_while_they_are_read() {
    let limits = Limits { transaction_ops_max: 2, ..Limits::DEFAULT };
    let decode = |body: &[u8]| {
        let uri = "/v1/txn".parse().unwrap();
        let mut request = parse(&http::Method::POST, &uri, &headers(&[]), &limits).unwrap();
        let Operation::Batch(batch) = request.operation else { panic!() };
        batch.command(body, &mut request.answer).map(drop)
    };
    let bodies: [&[u8]; 3] = [
        br#"{"ops":[{"op":"get","key":"a"},{"op":"get","key":"a"},{"op":"get","key":"a"},garbage"#,
        br#"{"else":[{"op":"get","key":"a"},{"op":"get","key":"a"},{"op":"get","key":"a"},garbage"#,
        br#"{"checks":[{"key":"a"},{"key":"a"},{"key":"a"},garbage"#,
    ];
    for body in bodies {
        let problem = decode(body).unwrap_err();
        assert_eq!(status_and_code(&problem), (413, "limit-exceeded"));
        assert_eq!(problem.limit().unwrap().name, "transaction_ops_max");
    }
    let Command::Transaction(spread) = batch(
        "POST /v1/txn",
        Json,
        br#"{"checks":[{"key":"a","exists":true}],"ops":[{"op":"get","key":"a"}],"else":[{"op":"get","key":"a"}]}"#,
    )
    .unwrap()
    .0
    else {
        panic!()
    };
    let exceeded = limits.check(&Command::Transaction(spread)).unwrap_err();
    assert_eq!((exceeded.limit, exceeded.actual), (Limit::TransactionOps, Some(3)), "all arrays count together");
}

fn entry(value: &'static str, expires_at_ms: Option<u64>, revision: u64) -> Entry {
    Entry { value: value.into(), content_type: None, expires_at_ms, revision: Revision(revision) }
}

fn answered(body: &[u8], format: Format, reply: Reply) -> Result<http::Response<Bytes>, Problem> {
    let (command, answer) = batch("POST /v1/txn", format, body).unwrap();
    answer.respond(STORE, &command, reply)
}

#[test]
fn each_operation_answers_with_its_own_fields() {
    let body = br#"{"checks":[{"key":"a","exists":true}],
        "ops":[{"op":"get","key":"a"},{"op":"get","key":"b"},{"op":"set","key":"a","value":"1"},
               {"op":"delete","key":"a"},{"op":"incr","key":"n"},{"op":"append","key":"l","value":"x"},
               {"op":"expire","key":"n","ttl":"1s"},{"op":"expire","key":"n","ttl":"none"},
               {"op":"expire","key":"b","ttl":"1s"}],
        "else":[{"op":"get","key_b64":"/w=="}]}"#;
    let revision = Revision(59);
    let modified = |entry: Option<Entry>| Reply::Modified { revision, entry, changed: true };
    let replies = [
        Reply::Got { entry: Some(entry("1", Some(STORE.now_ms + 5), 7)), revision },
        Reply::Got { entry: None, revision },
        Reply::Set { revision, created: false },
        Reply::Deleted { revision, found: true },
        modified(Some(entry("-42", None, 59))),
        modified(Some(entry("abcx", None, 59))),
        modified(Some(entry("-42", Some(STORE.now_ms + 1_000), 59))),
        modified(Some(entry("-42", None, 59))),
        modified(None),
    ];
    let reply = Reply::Transaction { revision, failed_checks: vec![], replies: replies.into_iter().map(Ok).collect() };
    let response = answered(body, Json, reply.clone()).unwrap();
    let expected = concat!(
        r#"{"committed":true,"branch":"ops","revision":59,"results":["#,
        r#"{"key":"a","found":true,"value":"1","revision":7,"etag":"e1b2c3d4-7","size":1,"ttl_ms":5,"#,
        r#""content_type":"application/octet-stream"},"#,
        r#"{"key":"b","found":false},"#,
        r#"{"key":"a","revision":59,"etag":"e1b2c3d4-59"},"#,
        r#"{"key":"a","deleted":true},"#,
        r#"{"key":"n","value":-42,"revision":59,"etag":"e1b2c3d4-59"},"#,
        r#"{"key":"l","size":4},"#,
        r#"{"key":"n","found":true,"ttl_ms":1000},{"key":"n","found":true,"ttl_ms":null},"#,
        r#"{"key":"b","found":false,"ttl_ms":null}]}"#,
    );
    assert_eq!(response.body(), expected);
    assert_eq!((response.status().as_u16(), &response.headers()["kvd-revision"]), (200, &59.into()));
    // A client reads it back, whatever it was written in, with each result as what it is.
    let read = TransactionAnswer::decode(Json, response.body()).unwrap();
    assert!(read.is_committed());
    let kinds: Vec<&str> = read.results.iter().map(kind).collect();
    assert_eq!(kinds, ["get", "get", "set", "delete", "incr", "append", "expire", "expire", "expire"]);
    for format in [Json, Cbor] {
        assert_eq!(TransactionAnswer::decode(format, &read.encode(format, false)).as_ref(), Ok(&read));
    }

    let failed_checks = vec![ItemFailure { index: 0, have: None }];
    let replies = vec![Ok(Reply::Got { entry: Some(entry("1", None, 7)), revision })];
    let response = answered(body, Json, Reply::Transaction { revision, failed_checks, replies }).unwrap();
    let expected = concat!(
        r#"{"committed":false,"branch":"else","revision":59,"failed_checks":[0],"results":["#,
        r#"{"key_b64":"/w==","found":true,"value":"1","revision":7,"etag":"e1b2c3d4-7","size":1,"#,
        r#""content_type":"application/octet-stream"}]}"#,
    );
    assert_eq!(response.body(), expected);
    let read = TransactionAnswer::decode(Json, response.body()).unwrap();
    assert!(!read.is_committed());
    assert_eq!(read.failed_checks, [0]);
    // One reply too few is our own error.
    let reply = Reply::Transaction { revision, failed_checks: vec![], replies: vec![] };
    assert_eq!(status_and_code(&answered(body, Json, reply).unwrap_err()), (500, "internal"));
}

fn kind(result: &OpResult<'_>) -> &'static str {
    match result {
        OpResult::Got(_) => "get",
        OpResult::Set(_) => "set",
        OpResult::Deleted { .. } => "delete",
        OpResult::Incremented(_) => "incr",
        OpResult::Appended { .. } => "append",
        OpResult::Expired { .. } => "expire",
    }
}

#[test]
fn a_refused_transaction_points_to_the_check_or_operation() {
    let body = br#"{"checks":[{"key":"a","exists":true},{"key":"b","revision":1}],
        "ops":[{"op":"get","key":"a"},{"op":"incr","key":"n"}],"else":[{"op":"set","key":"e","value":"1"}]}"#;
    let (command, answer) = batch("POST /v1/txn", Json, body).unwrap();
    let failed = |index, error| Error::OperationFailed { index, error: Box::new(error) };
    let condition = |have| Error::PreconditionFailed { failures: vec![ItemFailure { index: 0, have }], total: 1 };
    let too_long = |item| LimitExceeded { limit: Limit::KeyBytes, max: 3, actual: Some(4), item };
    let table = [
        (
            Error::PreconditionFailed { failures: vec![ItemFailure { index: 1, have: Some(etag(5)) }], total: 2 },
            (412, "precondition-failed"),
            ("#/checks/1", Some("b")),
        ),
        (failed(1, Error::NotAnInteger), (409, "not-an-integer"), ("#/ops/1", Some("n"))),
        (failed(1, Error::Overflow), (409, "overflow"), ("#/ops/1", Some("n"))),
        (failed(2, condition(None)), (409, "precondition-failed"), ("#/else/0", Some("e"))),
        (failed(1, condition(Some(etag(9)))), (409, "precondition-failed"), ("#/ops/1", Some("n"))),
        (failed(1, too_long(None).into()), (413, "limit-exceeded"), ("#/ops/1", Some("n"))),
        (too_long(Some(2)).into(), (413, "limit-exceeded"), ("#/else/0", None)),
    ];
    for (error, expected, (pointer, name)) in table {
        let problem = answer.refuse(&command, error.clone());
        let [item] = problem.errors() else { panic!("{problem:?}") };
        let found = (item.pointer.as_deref(), item.key.clone());
        assert_eq!((status_and_code(&problem), found), (expected, (Some(pointer), name.map(key))), "{error:?}");
        assert!(problem.detail().contains(&error.to_string()), "{}", problem.detail());
    }
    let problem = answer.refuse(&command, failed(1, condition(Some(etag(9)))));
    assert_eq!((problem.errors()[0].have, &problem.errors()[0].detail), (Some(Some(etag(9))), &None));
    // What the transaction itself has set has no version yet.
    let problem = answer.refuse(&command, failed(1, condition(Some(etag(0)))));
    let item = &problem.errors()[0];
    assert_eq!((item.have, item.detail.as_deref()), (None, Some("it was set by this transaction")));
}

#[test]
fn an_open_transaction_is_begun_named_and_ended() {
    for format in [Json, Cbor] {
        for mode in [Mode::ReadOnly, Mode::ReadWrite] {
            with_request("POST /v1/tx", &[("content-type", format.content_type())], |request| {
                let Operation::Begin(begin) = request.unwrap().operation else { panic!() };
                assert_eq!(begin.mode(&encode_begin(mode, format)), Ok(mode));
            });
        }
    }
    with_request("POST /v1/tx", &[], |request| {
        let request = request.unwrap();
        let Operation::Begin(begin) = request.operation else { panic!() };
        assert_eq!(begin.mode(br#"{"mode":"read-only"}"#), Ok(Mode::ReadOnly));
        for body in ["{}", "[]", r#"["read-only"]"#, r#"{"mode":"Read-Only"}"#, r#"{"mode":"read-only","x":1}"#, "null"]
        {
            let problem = begin.mode(body.as_bytes()).unwrap_err();
            assert_eq!(status_and_code(&problem), (422, "invalid-item"), "{body}");
        }
        assert_eq!(status_and_code(&begin.mode(b"").unwrap_err()), (400, "malformed-body"));
        let id = ID.to_owned();
        let begun = BeginAnswer { id, mode: Mode::ReadOnly, revision: Revision(57), idle_timeout_ms: 30_000 };
        let response = request.answer.begun(&begun);
        assert_eq!(
            (response.status().as_u16(), &response.headers()["location"]),
            (201, &format!("/v1/tx/{ID}").parse().unwrap())
        );
        assert_eq!(response.headers()["kvd-revision"], "57");
        let expected = format!(r#"{{"id":"{ID}","mode":"read-only","revision":57,"idle_timeout_ms":30000}}"#);
        assert_eq!(response.body(), &expected);
        assert_eq!(BeginAnswer::decode(Json, response.body()), Ok(begun));
    });
    with_request(&format!("POST /v1/tx/{ID}/commit"), &[], |request| {
        let request = request.unwrap();
        assert!(matches!(request.operation, Operation::Commit(id) if id.to_string() == ID));
        let response = request.answer.committed(Revision(60));
        assert_eq!(response.body(), r#"{"revision":60}"#);
        assert_eq!(CommitAnswer::decode(Json, response.body()), Ok(CommitAnswer { revision: Revision(60) }));
    });
    with_request(&format!("DELETE /v1/tx/{ID}"), &[], |request| {
        let request = request.unwrap();
        assert!(matches!(request.operation, Operation::RollBack(id) if id.to_string() == ID));
        assert_eq!(request.answer.rolled_back().status().as_u16(), 204);
    });
    for name in ["", "7", "x", &ID[1..], &ID.to_uppercase(), &format!("{ID}0"), &format!("+{}", &ID[1..]), "a/b"] {
        let problem = refusal(&format!("DELETE /v1/tx/{name}"), &[]);
        assert_eq!(status_and_code(&problem), (410, "transaction-ended"), "{name}");
        let problem = refusal(&format!("POST /v1/tx/{name}/commit"), &[]);
        assert_eq!(status_and_code(&problem), (410, "transaction-ended"), "{name}");
    }
    assert_eq!(status_and_code(&refusal(&format!("POST /v1/tx/{ID}"), &[])).0, 405);
    let body = [("content-length", "2")];
    assert_eq!(status_and_code(&refusal(&format!("POST /v1/tx/{ID}/commit"), &body)), (400, "unexpected-body"));
}

#[test]
fn every_route_of_data_runs_in_a_transaction_and_no_other() {
    let id: TransactionId = ID.parse().unwrap();
    let named = [("kvd-tx", ID)];
    let inside = [
        "GET /v1/keys/a",
        "HEAD /v1/keys/a",
        "PUT /v1/keys/a",
        "DELETE /v1/k64/YQ",
        "GET /v1/ttl/a",
        "PUT /v1/ttl/a?ttl=1s",
        "DELETE /v1/ttl/a",
        "POST /v1/incr/a",
        "POST /v1/mget",
        "POST /v1/mset",
        "POST /v1/mdelete",
        "GET /v1/keys",
        "GET /v1/keys?sort=key",
    ];
    for line in inside {
        with_request(line, &named, |request| assert_eq!(request.unwrap().transaction, Some(id), "{line}"));
        with_request(line, &[], |request| assert_eq!(request.unwrap().transaction, None, "{line}"));
        let problem = refusal(line, &[("kvd-tx", "7")]);
        assert_eq!(status_and_code(&problem), (410, "transaction-ended"), "{line}");
        let problem = refusal(line, &[("kvd-tx", ID), ("kvd-tx", ID)]);
        assert_eq!(status_and_code(&problem), (400, "bad-header"), "{line}");
    }
    let commit = format!("POST /v1/tx/{ID}/commit");
    let outside = [
        "POST /v1/txn",
        "POST /v1/tx",
        &commit,
        "GET /v1/stats",
        "GET /v1/info",
        "GET /readyz",
        "POST /v1/admin/snapshot",
        "DELETE /v1/keys?prefix=a",
        "DELETE /v1/keys?all=true",
    ];
    for line in outside {
        assert_eq!(status_and_code(&refusal(line, &named)), (400, "bad-header"), "{line}");
    }
}

#[test]
fn what_a_transaction_can_not_do_is_told_apart() {
    let what = Error::NotInTransaction { what: "no" };
    for line in ["GET /v1/keys", "GET /v1/keys?sort=key"] {
        let (command, answer) = run(line, &[]);
        assert_eq!(status_and_code(&answer.refuse(&command, what.clone())), (422, "scan-in-transaction"), "{line}");
    }
    let (command, answer) = run("DELETE /v1/keys/a", &[]);
    assert_eq!(status_and_code(&answer.refuse(&command, what)), (422, "not-in-transaction"));
    let problem = Answer::default().refuse_whole(Error::Conflict { keys: vec![key("a"), key(b"\xff")] });
    assert_eq!(status_and_code(&problem), (409, "conflict"));
    assert!(problem.is_retryable());
    let keys: Vec<_> = problem.errors().iter().filter_map(|error| error.key.clone()).collect();
    assert_eq!(keys, [key("a"), key(b"\xff")]);
}
