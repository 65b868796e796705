//! Keys in the order of their bytes, and as a tree: however a walk is cut into pages, it shows each key or folder once, in order.

use std::collections::BTreeSet;

use kvd_testkit::Server;
use serde_json::{Value, json};

use crate::support::{ask, json as json_of};

/// Items and folders of a walk in pages of `limit`, in the order in which they came.
fn walk(server: &Server, query: &str, limit: usize) -> Vec<String> {
    let mut names = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = json_of(&ask(server.address(), &format!("GET /v1/keys?{query}&limit={limit}{cursor}"), b""));
        let text = |name: &Value| name.as_str().unwrap().to_owned();
        let mut page: Vec<String> = answer["items"].as_array().unwrap().iter().map(|item| text(&item["key"])).collect();
        page.extend(answer["prefixes"].as_array().into_iter().flatten().map(text));
        page.sort();
        assert!(page.len() <= limit, "{answer}");
        names.extend(page);
        match answer["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return names,
        }
    }
}

/// What a walk must show.
fn expected(keys: &BTreeSet<String>, prefix: &str, delimiter: Option<&str>) -> Vec<String> {
    let place = |key: &String| {
        let rest = key.strip_prefix(prefix)?;
        let end = delimiter.and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len()));
        Some(key[..prefix.len() + end.unwrap_or(rest.len())].to_owned())
    };
    keys.iter().filter_map(place).collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn a_tree_is_walked_in_order_each_name_once() {
    let server = Server::start();
    let mut keys: BTreeSet<String> =
        ["", "/", "//", "a", "a/", "a/b", "a/b/c", "a//", "b", "é/è"].map(str::to_owned).into();
    let mut number = 7_u64;
    for _ in 0..600 {
        number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let digits = (number >> 40).to_string();
        keys.insert(digits.chars().map(|digit| if digit < '3' { '/' } else { digit }).collect());
    }
    let items: Vec<_> = keys.iter().map(|key| json!({"key": key, "value": "1"})).collect();
    assert_eq!(ask(server.address(), "POST /v1/mset", json!({ "items": items }).to_string().as_bytes()).status, 200);
    // What has expired is in no folder.
    ask(server.address(), "PUT /v1/keys/gone/x?ttl=1ms", b"1");
    while ask(server.address(), "GET /v1/keys/gone/x", b"").status != 404 {}
    let table = [
        ("sort=key", "", None),
        ("delimiter=/", "", Some("/")),
        ("sort=key&delimiter=/&prefix=a/", "a/", Some("/")),
        ("delimiter=/&prefix=5", "5", Some("/")),
        ("delimiter=//", "", Some("//")),
        ("delimiter=4", "", Some("4")),
        ("sort=key&prefix=no%20such", "no such", None),
    ];
    for (query, prefix, delimiter) in table {
        for limit in [1, 3, 100, 10_000] {
            // The smallest pages are many scans: some of the tables are enough for them.
            if limit > 1 || delimiter.is_some() {
                let shown = walk(&server, &format!("{query}&values=none"), limit);
                assert_eq!(shown, expected(&keys, prefix, delimiter), "{query} in pages of {limit}");
            }
        }
    }
}

#[test]
fn a_sorted_page_tells_as_much_as_is_asked() {
    let server = Server::start();
    ask(server.address(), "PUT /v1/keys/b?ttl=1h\nContent-Type: text/x\n", b"two");
    ask(server.address(), "PUT /v1/keys/a/x", b"one");
    let page = json_of(&ask(server.address(), "GET /v1/keys?delimiter=/&values=full", b""));
    assert_eq!((&page["prefixes"], &page["cursor"]), (&json!(["a/"]), &Value::Null));
    let item = &page["items"][0];
    assert_eq!(
        (&item["key"], &item["value"], &item["content_type"]),
        (&json!("b"), &json!("two"), &json!("text/x")),
        "{page}"
    );
    assert!(item["ttl_ms"].as_u64() > Some(3_500_000), "{page}");
    let page = json_of(&ask(server.address(), "GET /v1/keys?sort=key", b""));
    assert_eq!((&page["items"][0]["key"], page.get("prefixes")), (&json!("a/x"), None));
}

#[test]
fn large_values_make_a_page_shorter_and_lose_nothing() {
    let server = Server::start();
    let value = vec![b'x'; 20 << 20];
    for key in ["a", "b", "c", "d"] {
        assert_eq!(ask(server.address(), &format!("PUT /v1/keys/{key}"), &value).status, 201);
    }
    let shown = walk(&server, "sort=key&values=full", 10);
    assert_eq!(shown, ["a", "b", "c", "d"]);
    assert_eq!(walk(&server, "sort=key", 10), ["a", "b", "c", "d"]);
}
