//! Many keys in one call are all or none: for the one who writes, and for everyone who reads meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kvd_client::{Condition, Key, Set};
use kvd_testkit::Server;

use crate::support::{ask, client, code, json};

#[test]
fn ten_thousand_sets_with_one_that_fails_change_nothing() {
    let server = Server::start();
    let client = client(&server);
    client.set("k7000", "old").unwrap();
    let sets = |bad: Condition| -> Vec<Set<'static>> {
        let set = |n: usize| Set::new(Key::new(format!("k{n}").into_bytes()).unwrap(), "new");
        let mut sets: Vec<_> = (0..10_000).map(set).collect();
        sets[7000].condition = bad;
        sets
    };
    let error = client.set_many(sets(Condition::Absent)).unwrap_err();
    assert_eq!(error.code(), Some("precondition-failed"), "{error}");
    assert_eq!(client.stats().unwrap().keys, 1);
    assert_eq!(client.get("k7000").unwrap().unwrap().bytes, "old");
    assert!(client.get("k0").unwrap().is_none() && client.get("k9999").unwrap().is_none());

    let answer = client.set_many(sets(Condition::Exists)).unwrap();
    assert_eq!((answer.created, answer.replaced), (9_999, 1));
}

#[test]
fn a_broken_item_is_named_and_nothing_is_applied() {
    let server = Server::start();
    let item = |n: usize| format!(r#"{{"key":"k{n}","value":"v"}}"#);
    let long_key = "k".repeat(65_537);
    // What stands at position 2 of 5, the status, and where the answer points.
    let broken = [
        (r#"{"key":"k0","value":"v"}"#.to_owned(), 422, "#/items/2"),
        (r#"{"key":"x"}"#.to_owned(), 422, "#/items/2"),
        (r#"{"key":"x","value":"v","value_b64":"dg=="}"#.to_owned(), 422, "#/items/2"),
        (r#"{"key":"x","value_b64":"%%%"}"#.to_owned(), 422, "#/items/2/value_b64"),
        (r#"{"key":"x","value":1}"#.to_owned(), 422, "#/items/2/value"),
        (r#"{"key":"x","value":"v","color":"red"}"#.to_owned(), 422, "#/items/2"),
        (r#"{"key":"x","value":"v","ttl":"30"}"#.to_owned(), 422, "#/items/2/ttl"),
        (r#"{"key":"x","value":"v","if":{"absent":true,"exists":true}}"#.to_owned(), 422, "#/items/2/if"),
        (r#"{"key":"x","value":"v","if":{"revision":9}}"#.to_owned(), 412, "#/items/2"),
        (r#"{"key":"x","value":"v","content_type":"a\nb"}"#.to_owned(), 422, "#/items/2"),
        (format!(r#"{{"key":"{long_key}","value":"v"}}"#), 413, "#/items/2"),
    ];
    for (bad, status, pointer) in broken {
        let body = format!(r#"{{"items":[{},{},{bad},{},{}]}}"#, item(0), item(1), item(3), item(4));
        let refused = ask(server.address(), "POST /v1/mset\nContent-Type: application/json\n", body.as_bytes());
        let problem: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
        let shown = &bad[..bad.len().min(80)];
        assert_eq!(refused.status, status, "{shown}: {problem}");
        let points_to = problem["errors"][0]["pointer"].as_str().unwrap_or_default();
        assert!(points_to.starts_with(pointer), "{shown}: points to {points_to}: {problem}");
    }
    let stats = json(&ask(server.address(), "GET /v1/stats", b""));
    assert_eq!((&stats["keys"], &stats["revision"], &stats["ops"]["set"]), (&0.into(), &0.into(), &0.into()));
}

#[test]
fn a_delete_of_many_can_require_all() {
    let server = Server::start();
    let client = client(&server);
    client.set("a", "1").unwrap();
    client.set("b", "2").unwrap();
    let refused = ask(
        server.address(),
        "POST /v1/mdelete\nContent-Type: application/json\n",
        br#"{"keys":["a","missing","b"],"require_all":true}"#,
    );
    assert_eq!((refused.status, code(&refused).as_str()), (404, "not-found"));
    assert_eq!(client.stats().unwrap().keys, 2);
    let done =
        ask(server.address(), "POST /v1/mdelete\nContent-Type: application/json\n", br#"{"keys":["a","a","b","c"]}"#);
    let done = json(&done);
    assert_eq!((&done["deleted"], &done["missing"]), (&2.into(), &2.into()), "{done}");
}

#[test]
fn a_reader_of_two_keys_never_sees_a_mix() {
    const WRITES: usize = 2_000;
    let server = Server::start();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let client = client(&server);
            for n in 0..WRITES {
                let value = n.to_string();
                let set = |key: &'static str| Set::new(Key::new(key.as_bytes()).unwrap(), value.clone());
                client.set_many(vec![set("k1"), set("k2")]).unwrap();
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let client = client(&server);
                let mut last = None;
                // Relaxed: only tells when to stop.
                while !done.load(Ordering::Relaxed) {
                    let answer = client.get_many(&["k1", "k2"]).unwrap();
                    let value = |item: usize| answer.items[item].found.as_ref().map(|found| found.value.clone());
                    assert_eq!(value(0), value(1), "a mix at revision {}", answer.revision);
                    assert!(Some(answer.revision) >= last, "revisions went back");
                    last = Some(answer.revision);
                }
            });
        }
        writer.join().unwrap();
        done.store(true, Ordering::Relaxed); // only tells when to stop, as the load does
    });
}
