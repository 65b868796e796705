//! Keys are any string, values any bytes: whatever goes in comes out, by every form a key can be written in, and no two keys
//! are ever taken for one.

use std::collections::HashSet;

use kvd_client::{Delete, Key, ListOptions, ListValues, Set};
use kvd_testkit::Server;

use crate::support::{ask, client, json};

/// Keys that clients, proxies or frameworks are known to change or refuse.
fn odd_keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = [
        "",
        "a/b",
        "/",
        "//",
        "a//b",
        "/a",
        "a/",
        ".",
        "..",
        "a/../b",
        "./a",
        "%2F",
        "%",
        "%zz",
        "a,b=c",
        "#",
        "a#b",
        "?",
        "a?b=c",
        "&",
        "+",
        " ",
        "a b",
        "\n",
        "\r\n",
        "\t",
        "\0",
        "\\",
        "\"",
        "é",
        "e\u{301}",
        "😀",
        "\u{feff}",
        "K",
        "k",
        "-",
        "_",
        "~",
        ":",
        "http://x/",
        "*",
        "[..]",
        "{}",
        "null",
        "key_b64",
    ]
    .map(|key| key.as_bytes().to_vec())
    .into();
    keys.extend((0..=255).map(|byte| vec![byte]));
    keys.push((0..=255).collect());
    keys.push(b"\xff\xfe/..".to_vec());
    // Around what fits a URL as base64, and the longest of all.
    keys.extend([1024, 1025, 49_000, 49_152, 65_536].map(|length| vec![b'x'; length]));
    keys.push(vec![0xff; 65_536]);
    keys
}

#[test]
fn every_odd_key_keeps_its_own_value() {
    let server = Server::start();
    let client = client(&server);
    let keys: HashSet<Vec<u8>> = odd_keys().into_iter().collect();
    for key in &keys {
        let mut value = key.clone();
        value.extend_from_slice(b" is my key");
        client.set(key, value).unwrap();
    }
    for key in &keys {
        let value = client.get(key).unwrap().unwrap_or_else(|| panic!("{} is gone", key.escape_ascii()));
        let (own, rest) = value.bytes.split_at(key.len());
        assert!(own == key && rest == b" is my key", "{} has another key's value", key.escape_ascii());
        assert_eq!(client.head(key).unwrap().unwrap().size as usize, value.bytes.len());
    }
    let listed: Vec<Vec<u8>> = client
        .pages(ListOptions { limit: Some(7), values: ListValues::None, ..ListOptions::default() })
        .flat_map(|page| page.unwrap().items)
        .map(|item| item.key.as_bytes().to_vec())
        .collect();
    assert_eq!(listed.len(), keys.len());
    assert_eq!(listed.into_iter().collect::<HashSet<_>>(), keys);
    for key in &keys {
        assert!(client.delete(key).unwrap().found);
        assert!(client.get(key).unwrap().is_none());
    }
    assert_eq!(client.stats().unwrap().keys, 0);
}

#[test]
fn a_key_is_the_same_in_every_form() {
    let server = Server::start();
    // Path form as it comes over the wire, base64url form, batch form.
    let forms = [
        ("/v1/keys/", "/v1/k64/-", r#"{"key":""}"#),
        ("/v1/keys/a", "/v1/k64/YQ", r#"{"key":"a"}"#),
        ("/v1/keys/%61", "/v1/k64/YQ", r#"{"key_b64":"YQ=="}"#),
        ("/v1/keys/a/b", "/v1/k64/YS9i", r#"{"key":"a/b"}"#),
        ("/v1/keys/a%2Fb", "/v1/k64/YS9i", r#"{"key":"a/b"}"#),
        ("/v1/keys//", "/v1/k64/Lw", r#"{"key":"/"}"#),
        ("/v1/keys/../..", "/v1/k64/Li4vLi4", r#"{"key":"../.."}"#),
        ("/v1/keys/a+b", "/v1/k64/YSti", r#"{"key":"a+b"}"#),
        ("/v1/keys/%252F", "/v1/k64/JTJG", r#"{"key":"%2F"}"#),
        ("/v1/keys/%00%ff", "/v1/k64/AP8", r#"{"key_b64":"AP8="}"#),
        ("/v1/keys/%F0%9F%98%80", "/v1/k64/8J-YgA", r#"{"key":"😀"}"#),
        ("/v1/keys/%F0%9F%98%80", "/v1/k64/8J-YgA", r#"{"key_b64":"8J-YgA"}"#),
    ];
    for (path, base64, item) in forms {
        assert!(matches!(ask(server.address(), &format!("PUT {path}"), path.as_bytes()).status, 201 | 204), "{path}");
        let got = ask(server.address(), &format!("GET {base64}"), b"");
        assert_eq!((got.status, got.text()), (200, path), "{base64}");
        let body = format!(r#"{{"items":[{item}]}}"#);
        let got = json(&ask(server.address(), "POST /v1/mget\nContent-Type: application/json\n", body.as_bytes()));
        assert_eq!(got["items"][0]["value"], path, "{got}");
    }
}

#[test]
fn a_hundred_thousand_random_keys_come_back() {
    const KEYS: usize = 100_000;
    const BATCH: usize = 2_000;
    let server = Server::start();
    let client = client(&server);
    // A fixed walk through all 64-bit numbers: no two alike. Key lengths from 1 to 24, values from 0 to 100 bytes.
    let number = |n: usize| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    let key = |n: usize| {
        let mut key = number(n).to_be_bytes().to_vec();
        key.extend(vec![n as u8; n % 17]);
        key
    };
    let value = |n: usize| vec![(number(n) >> 13) as u8; n % 101];

    for batch in (0..KEYS).step_by(BATCH) {
        let sets = (batch..batch + BATCH).map(|n| Set::new(Key::new(key(n)).unwrap(), value(n))).collect();
        assert_eq!(client.set_many(sets).unwrap().created, BATCH as u64);
    }
    let stats = client.stats().unwrap();
    assert_eq!(stats.keys, KEYS as u64);
    assert_eq!(stats.value_bytes, (0..KEYS).map(|n| (n % 101) as u64).sum::<u64>());

    for batch in (0..KEYS).step_by(BATCH) {
        let keys: Vec<_> = (batch..batch + BATCH).map(key).collect();
        for (n, item) in (batch..).zip(client.get_many(&keys).unwrap().items) {
            let found = item.found.unwrap_or_else(|| panic!("key {n} is gone"));
            assert!(found.value == value(n), "key {n} has another value");
        }
    }
    // One in a hundred by itself.
    for n in (0..KEYS).step_by(100) {
        assert!(client.get(key(n)).unwrap().unwrap().bytes == value(n), "key {n}");
    }
    for batch in (0..KEYS).step_by(BATCH) {
        let deletes = (batch..batch + BATCH).map(|n| Delete::new(Key::new(key(n)).unwrap())).collect();
        assert_eq!(client.delete_many(deletes, true).unwrap().deleted, BATCH as u64);
    }
    let stats = client.stats().unwrap();
    assert_eq!((stats.keys, stats.value_bytes, stats.key_bytes), (0, 0, 0));
    let ops = (stats.ops.get, stats.ops.set, stats.ops.delete);
    assert_eq!(ops, (KEYS as u64 + KEYS as u64 / 100, KEYS as u64, KEYS as u64));
}
