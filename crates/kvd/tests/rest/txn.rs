//! A transaction in one request: checks, operations and what else, as one commit or not at all.

use std::thread;

use kvd_testkit::Server;
use serde_json::{Value, json};

use crate::support::{Session, ask, code, json as json_of};

fn txn(server: &Server, body: &Value) -> (u16, Value) {
    let answer = ask(server.address(), "POST /v1/txn", body.to_string().as_bytes());
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

#[test]
fn operations_see_those_before_them_and_become_one_commit() {
    let server = Server::start();
    ask(server.address(), "PUT /v1/keys/n", b"5");
    let (status, answer) = txn(
        &server,
        &json!({
            "checks": [{"key": "n", "value": "5"}, {"key": "l", "absent": true}],
            "ops": [
                {"op": "incr", "key": "n", "by": 2}, {"op": "get", "key": "n"}, {"op": "append", "key": "l", "value": "ab"},
                {"op": "append", "key": "l", "value": "cd"}, {"op": "set", "key": "s", "value": "1", "ttl": "1h"},
                {"op": "expire", "key": "l", "ttl": "1h"}, {"op": "delete", "key": "s"}, {"op": "delete", "key": "s"},
                {"op": "expire", "key": "s", "ttl": "1h"}
            ]
        }),
    );
    assert_eq!(
        (status, &answer["committed"], &answer["branch"], &answer["revision"]),
        (200, &json!(true), &json!("ops"), &json!(2)),
        "{answer}"
    );
    let results = answer["results"].as_array().unwrap();
    assert_eq!((&results[0]["value"], &results[1]["value"]), (&json!(7), &json!("7")), "{answer}");
    assert_eq!(
        (&results[0]["revision"], &results[1]["revision"]),
        (&json!(2), &json!(2)),
        "own writes have the commit's revision"
    );
    assert_eq!((&results[2]["size"], &results[3]["size"]), (&json!(2), &json!(4)));
    assert_eq!(
        (&results[5]["found"], &results[6]["deleted"], &results[7]["deleted"]),
        (&json!(true), &json!(true), &json!(false))
    );
    assert_eq!(&results[8]["found"], &json!(false));
    assert_eq!(ask(server.address(), "GET /v1/keys/l", b"").text(), "abcd");
    assert_eq!(ask(server.address(), "GET /v1/keys/s", b"").status, 404);
    assert_eq!(json_of(&ask(server.address(), "GET /v1/stats", b""))["revision"], 2);
}

#[test]
fn what_fails_changes_nothing_and_says_where() {
    let server = Server::start();
    ask(server.address(), "PUT /v1/keys/text", b"abc");
    let set = json!({"op": "set", "key": "new", "value": "1"});
    let table = [
        (
            json!({"checks": [{"key": "text", "exists": true}, {"key": "text", "revision": 9}], "ops": [set]}),
            412,
            "precondition-failed",
            "#/checks/1",
        ),
        (json!({"ops": [set, {"op": "incr", "key": "text"}]}), 409, "not-an-integer", "#/ops/1"),
        (
            json!({"ops": [set, {"op": "set", "key": "text", "value": "x", "if": {"absent": true}}]}),
            409,
            "precondition-failed",
            "#/ops/1",
        ),
        (
            json!({"ops": [set, {"op": "set", "key": "big", "value": "9223372036854775807"}, {"op": "incr", "key": "big"}]}),
            409,
            "overflow",
            "#/ops/2",
        ),
        (
            json!({"checks": [{"key": "text", "absent": true}], "ops": [set], "else": [set, {"op": "incr", "key": "text"}]}),
            409,
            "not-an-integer",
            "#/else/1",
        ),
        (json!({"ops": [set, {"op": "get"}]}), 422, "invalid-item", "#/ops/1"),
        (json!({"mode": "read-only", "ops": [{"op": "get", "key": "text"}, set]}), 422, "invalid-item", "#/ops/1/op"),
        (json!({"ops": [set, {"op": "delete", "key": "k".repeat(65_537)}]}), 413, "limit-exceeded", "#/ops/1"),
    ];
    for (body, status, code, pointer) in table {
        let (answered, problem) = txn(&server, &body);
        assert_eq!(
            (answered, &problem["code"], &problem["errors"][0]["pointer"]),
            (status, &json!(code), &json!(pointer)),
            "{body}: {problem}"
        );
    }
    assert_eq!(ask(server.address(), "GET /v1/keys/new", b"").status, 404);
    assert_eq!(json_of(&ask(server.address(), "GET /v1/stats", b""))["revision"], 1, "no revision was used");

    let otherwise = json!({"checks": [{"key": "text", "absent": true}, {"key": "no", "absent": true}], "ops": [set],
        "else": [{"op": "get", "key": "text"}, {"op": "set", "key": "seen", "value": "1"}]});
    let (status, answer) = txn(&server, &otherwise);
    assert_eq!(
        (status, &answer["committed"], &answer["branch"], &answer["failed_checks"]),
        (200, &json!(false), &json!("else"), &json!([0]))
    );
    assert_eq!((&answer["results"][0]["value"], &answer["results"][1]["revision"]), (&json!("abc"), &json!(2)));
    // Nothing to do but to look takes no revision.
    let (status, answer) =
        txn(&server, &json!({"mode": "read-only", "checks": [{"key": "seen", "revision": 2}], "ops": []}));
    assert_eq!((status, &answer["committed"], &answer["revision"]), (200, &json!(true), &json!(2)));
}

#[test]
fn a_transaction_is_taken_and_answered_in_cbor_too() {
    let server = Server::start();
    // {"ops": [{"op": "set", "key": h'ff', "value": h'00'}, {"op": "get", "key": h'ff'}]}
    let body = b"\xa1\x63ops\x82\xa3\x62op\x63set\x63key\x41\xff\x65value\x41\x00\xa2\x62op\x63get\x63key\x41\xff";
    let answer =
        ask(server.address(), "POST /v1/txn\nContent-Type: application/cbor\nAccept: application/json\n", body);
    let answer = json_of(&answer);
    assert_eq!(
        (&answer["results"][1]["key_b64"], &answer["results"][1]["value"]),
        (&json!("/w=="), &json!("\u{0}")),
        "{answer}"
    );
    let answer = ask(server.address(), "POST /v1/txn\nContent-Type: application/cbor\n", body);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/cbor")));
    let refused = ask(server.address(), "POST /v1/txn\nContent-Type: text/plain\n", b"{}");
    assert_eq!((refused.status, code(&refused).as_str()), (415, "unsupported-media-type"));
}

#[test]
fn transfers_between_accounts_keep_the_sum_whoever_looks() {
    const ACCOUNTS: u64 = 4;
    const TRANSFERS: u64 = 300;
    let server = Server::start();
    let name = |account: u64| format!("account/{account}");
    for account in 0..ACCOUNTS {
        ask(server.address(), &format!("PUT /v1/keys/{}", name(account)), b"100");
    }
    thread::scope(|scope| {
        let transfers = |seed: u64| {
            let mut session = Session::open(server.address());
            for n in 0..TRANSFERS {
                let (from, to, amount) = ((seed + n) % ACCOUNTS, (seed + n * 3 + 1) % ACCOUNTS, n as i64 % 7);
                let body = json!({"ops": [
                    {"op": "incr", "key": name(from), "by": -amount}, {"op": "incr", "key": name(to), "by": amount}]});
                assert_eq!(session.ask("POST /v1/txn", body.to_string().as_bytes()).status, 200);
            }
        };
        let writers = [scope.spawn(move || transfers(0)), scope.spawn(move || transfers(1))];
        let mut session = Session::open(server.address());
        let keys: Vec<String> = (0..ACCOUNTS).map(name).collect();
        let body = json!({ "keys": keys }).to_string();
        loop {
            let ended = writers.iter().all(|writer| writer.is_finished());
            let answer = json_of(&session.ask("POST /v1/mget", body.as_bytes()));
            let values = answer["items"].as_array().unwrap().iter();
            let sum: i64 = values.map(|item| item["value"].as_str().unwrap().parse::<i64>().unwrap()).sum();
            assert_eq!(sum, 100 * ACCOUNTS as i64, "{answer}");
            if ended {
                break;
            }
        }
    });
}
