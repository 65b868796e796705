//! A walk over the keys is many requests, and each must ask exactly what its client meant: which prefix, how many, from where.

use kvd_types::{Command, Cursor, Entry, Epoch, Key, List, ListValues, Page, PageItem, Reply, Revision};
use kvd_wire::rest::batch::ListAnswer;
use kvd_wire::rest::query::for_list;

use crate::support::{EPOCH, decode, key, refusal, run, status_and_code};

fn list(target: &str) -> List<'static> {
    match run(&format!("GET {target}"), &[]).0 {
        Command::List(list) => list,
        other => panic!("{other:?}"),
    }
}

fn plain() -> List<'static> {
    List { prefix: Key::empty(), limit: 1000, cursor: None, values: ListValues::Meta }
}

#[test]
fn a_list_asks_what_its_query_says() {
    let table = [
        ("/v1/keys", plain()),
        ("/v1/keys?", plain()),
        ("/v1/keys?prefix=", plain()),
        ("/v1/keys?prefix_b64=-", plain()),
        ("/v1/keys?prefix=a/b%20c+d&limit=7", List { prefix: key("a/b c+d"), limit: 7, ..plain() }),
        ("/v1/keys?prefix=%FF%26", List { prefix: key(b"\xff&"), ..plain() }),
        ("/v1/keys?prefix=a=b", List { prefix: key("a=b"), ..plain() }),
        ("/v1/keys?%70refix=a", List { prefix: key("a"), ..plain() }),
        ("/v1/keys?prefix_b64=AAE", List { prefix: key([0, 1]), ..plain() }),
        ("/v1/keys?values=none&&limit=10000&", List { limit: 10_000, values: ListValues::None, ..plain() }),
        ("/v1/keys?values=meta", plain()),
        ("/v1/keys?values=full&enc=base64", List { values: ListValues::Full, ..plain() }),
    ];
    for (target, expected) in table {
        assert_eq!(list(target), expected, "{target}");
    }
}

#[test]
fn a_query_that_is_not_understood_is_refused() {
    let table = [
        ("/v1/keys?prefix=%zz", "bad-query"),
        ("/v1/keys?prefix=a&prefix=a", "bad-query"),
        ("/v1/keys?prefix=a&%70refix=b", "bad-query"),
        ("/v1/keys?prefix=a&prefix_b64=AA", "bad-query"),
        ("/v1/keys?prefix_b64=", "bad-query"),
        ("/v1/keys?prefix_b64=AA==", "bad-query"),
        ("/v1/keys?limit=0", "bad-query"),
        ("/v1/keys?limit=", "bad-query"),
        ("/v1/keys?limit=-1", "bad-query"),
        ("/v1/keys?limit=+1", "bad-query"),
        ("/v1/keys?limit=1.5", "bad-query"),
        ("/v1/keys?limit=99999999999999999999999", "bad-query"),
        ("/v1/keys?values=all", "bad-query"),
        ("/v1/keys?values", "bad-query"),
        ("/v1/keys?enc=hex", "bad-query"),
        ("/v1/keys?cursor=", "bad-cursor"),
        ("/v1/keys?cursor=abc", "bad-cursor"),
        ("/v1/keys?cursor=AAAAAAAAAAAAAAA", "bad-cursor"),
        ("/v1/keys?cursor=AAAAAAAAAAAAAAAAAAAA", "bad-cursor"),
        ("/v1/keys?Prefix=a", "bad-query"),
        ("/v1/keys?page=2", "bad-query"),
        ("/v1/keys?=2", "bad-query"),
        ("/v1/keys/a?prefix=b", "bad-query"),
        ("/v1/keys/a?enc=base64", "bad-query"),
        ("/v1/stats?pretty", "bad-query"),
        ("/healthz?x=1", "bad-query"),
    ];
    for (target, code) in table {
        assert_eq!(status_and_code(&refusal(&format!("GET {target}"), &[])), (400, code), "{target}");
    }
    assert_eq!(status_and_code(&refusal("POST /v1/mset?enc=base64", &[])), (400, "bad-query"));
    let many = refusal("GET /v1/keys?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q", &[]);
    assert_eq!(many.detail(), "a query has at most 16 fields");
}

#[test]
fn a_client_writes_the_query_that_the_server_reads() {
    for prefix in [&b""[..], b"a", b"a/b c+d&e=f#g%h", "\u{1f600}".as_bytes(), b"\xff\x00"] {
        for values in [ListValues::None, ListValues::Meta, ListValues::Full] {
            for limit in [None, Some(1), Some(10_000)] {
                let expected = List { prefix: key(prefix), limit: limit.unwrap_or(1000), cursor: None, values };
                assert_eq!(list(&for_list(prefix, limit, None, values)), expected);
            }
        }
    }
}

#[test]
fn a_cursor_comes_back_as_it_was_given() {
    let places = [(0, 0), (0xe1b2_c3d4, 1), (u32::MAX, u64::MAX), (7, 0x0123_4567_89ab_cdef)];
    for (epoch, next_hash) in places {
        let cursor = Cursor { epoch: Epoch(epoch), next_hash, is_keyed: epoch == 7 };
        let (command, answer) = run("GET /v1/keys", &[]);
        let page = Page { revision: Revision(5), items: vec![], cursor: Some(cursor) };
        let response = answer.respond(EPOCH, &command, Reply::Page(page)).unwrap();
        let text = decode::<ListAnswer>(&response).cursor.unwrap();
        let next = list(&for_list(b"p", None, Some(&text), ListValues::Meta));
        assert_eq!(next.cursor, Some(cursor));
    }
}

#[test]
fn a_page_tells_as_much_as_was_asked() {
    let table = [
        ("values=none", r#"{"key":"a"}"#),
        (
            "values=meta",
            r#"{"key":"a","revision":57,"etag":"e1b2c3d4-57","size":1,"content_type":"application/octet-stream"}"#,
        ),
        (
            "values=full",
            r#"{"key":"a","value":"1","revision":57,"etag":"e1b2c3d4-57","size":1,"content_type":"application/octet-stream"}"#,
        ),
        (
            "values=full&enc=base64",
            concat!(
                r#"{"key":"a","value_b64":"MQ==","revision":57,"etag":"e1b2c3d4-57","size":1,"#,
                r#""content_type":"application/octet-stream"}"#,
            ),
        ),
    ];
    for (query, item) in table {
        let entry = Entry { value: "1".into(), content_type: None, expires_at_ms: None, revision: Revision(57) };
        let items = vec![PageItem { key: key("a"), entry }];
        let (command, answer) = run(&format!("GET /v1/keys?{query}"), &[]);
        let page = Page { revision: Revision(60), items, cursor: None };
        let response = answer.respond(EPOCH, &command, Reply::Page(page)).unwrap();
        assert_eq!(response.headers()["kvd-revision"], "60");
        assert_eq!(response.body(), &format!(r#"{{"revision":60,"items":[{item}]}}"#), "{query}");
    }
}
