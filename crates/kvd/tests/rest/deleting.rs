//! Deleting many keys by what they begin with: nothing else goes, nothing is left, and it has to be meant.

use kvd_testkit::Server;
use serde_json::json;

use crate::support::{ask, code, json as json_of};

fn fill(server: &Server, prefix: &str, count: usize) {
    let items: Vec<_> = (0..count).map(|n| json!({"key": format!("{prefix}{n}"), "value": "1"})).collect();
    for items in items.chunks(1_000) {
        assert_eq!(
            ask(server.address(), "POST /v1/mset", json!({ "items": items }).to_string().as_bytes()).status,
            200
        );
    }
}

#[test]
fn all_keys_with_a_prefix_go_and_no_others() {
    let mut server = Server::start_with(&["--fsync", "always"]);
    fill(&server, "user/", 3_500);
    fill(&server, "users/", 700);
    let answer = json_of(&ask(server.address(), "DELETE /v1/keys?prefix=user/", b""));
    let revision = json_of(&ask(server.address(), "GET /v1/stats", b""))["revision"].clone();
    assert_eq!(answer, json!({"deleted": 3_500, "revision": revision}));
    server.kill();
    server.restart();
    let stats = json_of(&ask(server.address(), "GET /v1/stats", b""));
    assert_eq!(stats["keys"], 700, "an answer under `always` survives a kill");
    let answer = json_of(&ask(server.address(), "DELETE /v1/keys?prefix=user/", b""));
    assert_eq!(answer["deleted"], 0);
}

#[test]
fn everything_goes_in_one_commit_and_only_if_it_is_said() {
    let server = Server::start();
    fill(&server, "k", 2_500);
    for target in ["/v1/keys", "/v1/keys?prefix=", "/v1/keys?all=false"] {
        let refused = ask(server.address(), &format!("DELETE {target}"), b"");
        assert_eq!((refused.status, code(&refused).as_str()), (400, "bad-query"), "{target}");
    }
    let before = json_of(&ask(server.address(), "GET /v1/stats", b""));
    let answer = json_of(&ask(server.address(), "DELETE /v1/keys?all=true", b""));
    let revision = before["revision"].as_u64().unwrap() + 1;
    assert_eq!((&before["keys"], answer), (&json!(2_500), json!({"deleted": 2_500, "revision": revision})));
    let stats = json_of(&ask(server.address(), "GET /v1/stats", b""));
    assert_eq!((&stats["keys"], &stats["ops"]["delete"]), (&json!(0), &json!(2_500)));
}
