//! A walk over the keys is many requests, and each must ask exactly what its client meant: which prefix, how many, from where.

use kvd_types::{
    Command, Cursor, Entry, Epoch, Key, List, ListSorted, ListValues, Page, PageItem, Reply, Revision, SortedPage,
};
use kvd_wire::rest::batch::ListAnswer;
use kvd_wire::rest::query::{for_deletion, for_list, for_sorted_list};
use kvd_wire::rest::request::Operation;

use crate::support::{STORE, decode, key, refusal, run, status_and_code, with_request};

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
        ("/v1/keys?cursor=~YQ", "bad-cursor"),
        ("/v1/keys?sort=key&cursor=YQ", "bad-cursor"),
        ("/v1/keys?sort=key&cursor=~Y", "bad-cursor"),
        ("/v1/keys?sort=key&cursor=AAAAAAAAAAAAAAAAAA", "bad-cursor"),
        ("/v1/keys?sort=size", "bad-query"),
        ("/v1/keys?sort=", "bad-query"),
        ("/v1/keys?delimiter=", "bad-query"),
        ("/v1/keys?all=true", "bad-query"),
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
        let response = answer.respond(STORE, &command, Reply::Page(page)).unwrap();
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
        let response = answer.respond(STORE, &command, Reply::Page(page)).unwrap();
        assert_eq!(response.headers()["kvd-revision"], "60");
        assert_eq!(response.body(), &format!(r#"{{"revision":60,"items":[{item}]}}"#), "{query}");
    }
}

fn sorted(target: &str) -> ListSorted<'static> {
    match run(&format!("GET {target}"), &[]).0 {
        Command::ListSorted(list) => list,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sorted_list_asks_what_its_query_says() {
    let plain =
        ListSorted { prefix: Key::empty(), delimiter: None, limit: 1000, after: None, values: ListValues::Meta };
    let table = [
        ("/v1/keys?sort=key", plain.clone()),
        ("/v1/keys?delimiter=/", ListSorted { delimiter: Some(key("/")), ..plain.clone() }),
        (
            "/v1/keys?prefix=a&delimiter=%FF%00&sort=key&limit=7&values=none",
            ListSorted {
                prefix: key("a"),
                delimiter: Some(key(b"\xff\0")),
                limit: 7,
                values: ListValues::None,
                ..plain.clone()
            },
        ),
        ("/v1/keys?sort=key&cursor=~", ListSorted { after: Some(Key::empty()), ..plain.clone() }),
        ("/v1/keys?sort=key&cursor=~YQ", ListSorted { after: Some(key("a")), ..plain.clone() }),
    ];
    for (target, expected) in table {
        assert_eq!(sorted(target), expected, "{target}");
    }
    for delimiter in [None, Some(&b"/"[..]), Some(b"\xff&")] {
        let url = for_sorted_list(b"p\xff+", delimiter, Some(3), Some("~YQ"), ListValues::Full);
        let (prefix, after) = (key(b"p\xff+"), Some(key("a")));
        let expected = ListSorted { prefix, delimiter: delimiter.map(key), limit: 3, after, values: ListValues::Full };
        assert_eq!(sorted(&url), expected);
    }
}

#[test]
fn a_sorted_page_has_items_and_what_other_keys_begin_with() {
    let answer_to = |target: &str, page: SortedPage| {
        let (command, answer) = run(&format!("GET {target}"), &[]);
        answer.respond(STORE, &command, Reply::SortedPage(page))
    };
    let entry = Entry { value: "1".into(), content_type: None, expires_at_ms: Some(1_000_007), revision: Revision(57) };
    let item = |name: &str| PageItem { key: key(name), entry: entry.clone() };
    let page = SortedPage {
        revision: Revision(60),
        items: vec![item("a"), item("c")],
        prefixes: vec![key("b/"), key(b"\xff/")],
        after: Some(key(b"\xff/")),
    };
    let response = answer_to("/v1/keys?delimiter=/&values=none", page.clone()).unwrap();
    let expected = concat!(
        r#"{"revision":60,"items":[{"key":"a"},{"key":"c"}],"prefixes":["b/"],"prefixes_b64":["/y8="],"#,
        r#""cursor":"~_y8"}"#,
    );
    assert_eq!(response.body(), expected);
    let read: ListAnswer = decode(&response);
    assert_eq!((read.prefixes, read.cursor.as_deref()), (Some(page.prefixes.clone()), Some("~_y8")));
    let meta = SortedPage { prefixes: vec![], after: None, items: vec![item("a")], ..page.clone() };
    let response = answer_to("/v1/keys?delimiter=/", meta.clone()).unwrap();
    let expected = concat!(
        r#"{"revision":60,"items":[{"key":"a","revision":57,"etag":"e1b2c3d4-57","size":1,"ttl_ms":7,"#,
        r#""content_type":"application/octet-stream"}],"prefixes":[]}"#,
    );
    assert_eq!(response.body(), expected);
    let read: ListAnswer = decode(&answer_to("/v1/keys?sort=key", meta).unwrap());
    assert_eq!(read.prefixes, None, "there is no delimiter to have any by");

    // The next page is asked for by a URL: what fits none is left to it, as long as something stays.
    let long = "x".repeat(60_000);
    let page = SortedPage { items: vec![item("a"), item(&long)], prefixes: vec![], after: Some(key(&long)), ..page };
    let read: ListAnswer = decode(&answer_to("/v1/keys?sort=key&values=none", page.clone()).unwrap());
    assert_eq!((read.items.len(), read.cursor.as_deref()), (1, Some("~YQ")));
    let page = SortedPage { items: vec![item(&long)], ..page };
    assert_eq!(status_and_code(&answer_to("/v1/keys?sort=key", page).unwrap_err()), (400, "bad-cursor"));
}

#[test]
fn deleting_many_keys_must_be_meant() {
    let asked = |target: &str| {
        with_request(&format!("DELETE {target}"), &[], |request| match request.unwrap().operation {
            Operation::DeletePrefix(prefix) => Some(prefix.into_owned()),
            Operation::Run(Command::Clear) => None,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(asked("/v1/keys?prefix=a%2Fb"), Some(key("a/b")));
    assert_eq!(asked("/v1/keys?prefix_b64=_w"), Some(key(b"\xff")));
    assert_eq!(asked("/v1/keys?all=true"), None);
    assert_eq!(asked(&for_deletion(b"a\xff&")), Some(key(b"a\xff&")));
    assert_eq!(asked(&for_deletion(b"")), None);
    let refused = [
        "/v1/keys",
        "/v1/keys?",
        "/v1/keys?prefix=",
        "/v1/keys?prefix_b64=-",
        "/v1/keys?all=false",
        "/v1/keys?all",
        "/v1/keys?all=true&prefix=a",
        "/v1/keys?all=true&prefix=",
        "/v1/keys?prefix=a&limit=1",
    ];
    for target in refused {
        assert_eq!(status_and_code(&refusal(&format!("DELETE {target}"), &[])), (400, "bad-query"), "{target}");
    }
    assert_eq!(status_and_code(&refusal("DELETE /v1/keys?prefix=a", &[("if-match", "*")])), (400, "bad-header"));
    let (command, answer) = run("DELETE /v1/keys?all=true", &[]);
    let response = answer.respond(STORE, &command, Reply::Cleared { revision: Revision(9), deleted: 3 }).unwrap();
    assert_eq!(response.body(), r#"{"deleted":3,"revision":9}"#);
}
