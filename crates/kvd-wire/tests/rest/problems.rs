//! A refusal must tell a script what to do (status, code, retryable) and a person what was wrong and where. The codes are a
//! contract: this file compares them with docs/PROTOCOL.md, and walks every error the store can give.

use std::collections::BTreeMap;

use kvd_types::{Command, Condition, Delete, Error, ItemFailure, Key, Limit, LimitExceeded, Limits, Revision, Set};
use kvd_wire::rest::batch::{Format, Message};
use kvd_wire::rest::code::CODES;
use kvd_wire::rest::problem::Problem;
use kvd_wire::rest::response::Answer;

use crate::support::{batch, etag, key, run, status_and_code};

fn limit(limit: Limit, item: Option<usize>) -> LimitExceeded {
    LimitExceeded { limit, max: 10, actual: Some(11), item }
}

/// Every error of the store, with the status and code it is to have.
fn errors() -> Vec<(Error, u16, &'static str)> {
    let failures = vec![ItemFailure { index: 0, have: Some(etag(50)) }, ItemFailure { index: 1, have: None }];
    vec![
        (Error::Missing { missing: vec![0], total: 1 }, 404, "not-found"),
        (Error::PreconditionFailed { failures, total: 2 }, 412, "precondition-failed"),
        (Error::DuplicateKey { first: 0, second: 1 }, 422, "duplicate-key"),
        (Error::EmptyBatch, 422, "empty-batch"),
        (Error::LimitExceeded(limit(Limit::KeyBytes, None)), 413, "limit-exceeded"),
        (Error::LimitExceeded(limit(Limit::ValueBytes, Some(0))), 413, "limit-exceeded"),
        (Error::LimitExceeded(limit(Limit::BatchItems, None)), 413, "limit-exceeded"),
        (Error::LimitExceeded(limit(Limit::BatchBytes, None)), 413, "limit-exceeded"),
        (Error::LimitExceeded(limit(Limit::ListItems, None)), 400, "limit-exceeded"),
        (Error::StaleCursor, 400, "stale-cursor"),
        (Error::SnapshotTooOld { revision: Revision(7) }, 410, "snapshot-too-old"),
        (Error::Conflict { keys: vec![key(b"a")] }, 409, "conflict"),
        (Error::NotInTransaction { what: "a list" }, 422, "not-in-transaction"),
        (Error::NotAnInteger, 409, "not-an-integer"),
        (Error::NotANumber, 409, "not-a-number"),
        (Error::Overflow, 409, "overflow"),
        (Error::LimitExceeded(limit(Limit::TransactionOps, None)), 413, "limit-exceeded"),
        (Error::TooManyTransactions { max: 2 }, 429, "too-many-transactions"),
        (Error::MemoryFull { needed: 2, used: 9, max: 10 }, 507, "memory-full"),
        (Error::DiskFull { needed: 2 }, 507, "disk-full"),
        (Error::JournalFailed, 503, "journal-failed"),
        (Error::OutcomeUnknown, 503, "outcome-unknown"),
        (Error::Closed, 503, "closed"),
    ]
}

#[test]
fn every_error_of_the_store_has_its_status_and_code() {
    let (command, answer) = batch("POST /v1/mget", Format::Json, br#"{"keys":["a","b"]}"#).unwrap();
    for (error, status, code) in errors() {
        let problem = answer.refuse(&command, error.clone());
        assert_eq!(status_and_code(&problem), (status, code), "{error:?}");
        assert_eq!((problem.code(), problem.is_retryable()), (error.code(), error.is_retryable()), "{error:?}");
        assert_eq!(problem.detail(), error.to_string());
    }
}

#[test]
fn every_refusal_of_the_session_has_its_status_and_code() {
    let table = [
        (Problem::incomplete_body(), 400, "malformed-body", false),
        (Problem::request_timeout(), 408, "request-timeout", true),
        (Problem::internal(), 500, "internal", false),
        (Problem::busy(), 503, "busy", true),
        (Problem::loading("still loading"), 503, "loading", true),
        (Problem::stopping(), 503, "closed", true),
        (Problem::from(limit(Limit::BatchBytes, None)), 413, "limit-exceeded", false),
        (Problem::transaction_busy(), 409, "tx-busy", true),
        (Problem::transaction_ended(), 410, "transaction-ended", false),
        (Problem::transactions_full(limit(Limit::TransactionsBytes, None)), 429, "too-many-transactions", true),
    ];
    for (problem, status, code, retryable) in table {
        assert_eq!((status_and_code(&problem), problem.is_retryable()), ((status, code), retryable));
        let response = problem.respond("r1");
        assert_eq!(response.status(), status);
        assert_eq!(response.headers().contains_key("retry-after"), status == 503, "{code}");
    }
}

#[test]
fn the_protocol_document_lists_exactly_the_codes_there_are() {
    let document = include_str!("../../../../docs/PROTOCOL.md");
    let section = document.split_once("## Problem codes").unwrap().1.split("\n## ").next().unwrap();
    let mut documented: BTreeMap<(String, u16), (String, bool)> = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let (code, status, title) = (cells[1].trim_matches('`'), cells[2].parse().unwrap(), cells[3]);
        let again = documented.insert((code.into(), status), (title.into(), cells[4] == "yes"));
        assert_eq!(again, None, "{row}");
    }
    let built = CODES
        .iter()
        .map(|code| ((code.name.to_owned(), code.status.as_u16()), (code.title.to_owned(), code.retryable)));
    assert_eq!(documented, built.collect());
}

#[test]
fn a_failed_condition_names_item_key_and_what_is_there() {
    let body = br#"{"items":[{"key":"a","value":"1"},{"key_b64":"AP8=","value":"1","if":{"absent":true}},
        {"key":"c","value":"1","if":{"exists":true}}]}"#;
    let (command, answer) = batch("POST /v1/mset", Format::Json, body).unwrap();
    let failures = vec![ItemFailure { index: 1, have: Some(etag(50)) }, ItemFailure { index: 2, have: None }];
    let problem = answer.refuse(&command, Error::PreconditionFailed { failures, total: 3 });
    let expected = concat!(
        r#"{"type":"urn:kvd:problem:precondition-failed","title":"Precondition failed","status":412,"#,
        r#""code":"precondition-failed","retryable":false,"#,
        r#""detail":"2 of 3 items failed their condition; nothing was changed","request_id":"r1","#,
        r##""errors":[{"pointer":"#/items/1","key_b64":"AP8=","have":"e1b2c3d4-50"},"##,
        r##"{"pointer":"#/items/2","key":"c","have":null}]}"##,
    );
    assert_eq!(problem.respond("r1").body(), expected);
}

#[test]
fn an_error_points_into_the_array_that_the_client_sent() {
    for (body, pointer) in
        [(&br#"{"keys":["a","b"]}"#[..], "#/keys/1"), (br#"{"items":[{"key":"a"},{"key":"b"}]}"#, "#/items/1")]
    {
        for line in ["POST /v1/mget", "POST /v1/mdelete"] {
            let (command, answer) = batch(line, Format::Json, body).unwrap();
            let problem = answer.refuse(&command, Error::Missing { missing: vec![1], total: 2 });
            let [error] = problem.errors() else { panic!("{problem:?}") };
            assert_eq!((error.pointer.as_deref(), error.key.clone()), (Some(pointer), Some(key("b"))));
            let problem = answer.refuse(&command, limit(Limit::KeyBytes, Some(1)).into());
            assert_eq!(problem.errors()[0].pointer.as_deref(), Some(pointer));
        }
    }
    let (command, answer) = batch("POST /v1/mget", Format::Json, br#"{"keys":[]}"#).unwrap();
    assert_eq!(answer.refuse(&command, Error::EmptyBatch).errors()[0].pointer.as_deref(), Some("#/keys"));
}

#[test]
fn the_second_of_two_equal_keys_is_pointed_at() {
    let body = br#"{"items":[{"key":"a","value":"1"},{"key":"b","value":"1"},{"key_b64":"YQ==","value":"2"}]}"#;
    let (command, answer) = batch("POST /v1/mset", Format::Json, body).unwrap();
    let problem = answer.refuse(&command, Error::DuplicateKey { first: 0, second: 2 });
    assert_eq!(status_and_code(&problem), (422, "duplicate-key"));
    let [error] = problem.errors() else { panic!() };
    assert_eq!((error.pointer.as_deref(), error.key.clone()), (Some("#/items/2"), Some(key("a"))));
}

#[test]
fn a_request_of_one_key_has_no_pointer() {
    let (command, answer) = run("DELETE /v1/keys/a", &[("if-match", "\"e1b2c3d4-7\"")]);
    let failures = vec![ItemFailure { index: 0, have: None }];
    let problem = answer.refuse(&command, Error::PreconditionFailed { failures, total: 1 });
    let [error] = problem.errors() else { panic!() };
    assert_eq!((&error.pointer, &error.key, error.have), (&None, &Some(key("a")), Some(None)));
    assert_eq!(problem.detail(), "the key's condition does not hold; nothing was changed");
}

#[test]
fn a_limit_is_named_with_what_it_allows_and_what_came() {
    let limits = Limits { value_bytes_max: 3, ..Limits::DEFAULT };
    let (command, answer) = batch("POST /v1/mset", Format::Json, br#"{"items":[{"key":"a","value":"1234"}]}"#).unwrap();
    let exceeded = limits.check(&command).unwrap_err();
    let expected = concat!(
        r#"{"type":"urn:kvd:problem:limit-exceeded","title":"Limit exceeded","status":413,"code":"limit-exceeded","#,
        r#""retryable":false,"detail":"value_bytes_max is 3, this request comes to 4 in item 0","request_id":"r1","#,
        r##""limit_name":"value_bytes_max","limit":3,"actual":4,"errors":[{"pointer":"#/items/0"}]}"##,
    );
    assert_eq!(answer.refuse(&command, exceeded.into()).respond("r1").body(), expected);
}

#[test]
fn a_client_reads_back_what_the_server_refused_with() {
    let set = |name: &[u8]| Set { condition: Condition::Absent, ..Set::new(key(name), "1") };
    let delete = Delete { key: Key::empty(), condition: Condition::Always };
    let commands = [
        Command::MultiSet { sets: vec![set(b"a"), set(b"\xff\x00")] },
        Command::MultiDelete { deletes: vec![delete.clone(), delete], require_all: true },
        Command::Get { key: key("a") },
    ];
    for command in commands {
        for (error, ..) in errors() {
            let sent = Answer::default().refuse(&command, error);
            let response = sent.respond("request 7");
            let read = Problem::decode(Format::Json, response.body()).unwrap();
            assert_eq!(read.request_id(), Some("request 7"));
            assert_eq!(
                (read.status(), read.code(), read.detail(), read.is_retryable(), read.limit(), read.errors()),
                (sent.status(), sent.code(), sent.detail(), sent.is_retryable(), sent.limit(), sent.errors()),
            );
            // Neither JSON nor CBOR loses anything.
            assert_eq!(Problem::decode(Format::Cbor, &read.encode(Format::Cbor, false)), Ok(read));
        }
    }
}

#[test]
fn what_is_no_problem_is_not_read_as_one() {
    for body in ["", "<html>", "{}", "[]", r#"{"type":"about:blank","title":"x","status":404}"#] {
        assert!(Problem::decode(Format::Json, body.as_bytes()).is_err(), "{body}");
    }
}
