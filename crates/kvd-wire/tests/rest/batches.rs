//! A batch is one body that says many things. Each must arrive as it was meant, in both formats; and a body that is wrong
//! anywhere is refused as a whole, with a pointer to where.

use bytes::Bytes;
use http::Method;
use kvd_types::{Command, Condition, ContentType, Delete, Key, Limits, Revision, Set, Ttl};
use kvd_wire::rest::batch::Format::{self, Cbor, Json};
use kvd_wire::rest::problem::Problem;
use kvd_wire::rest::request::{Operation, parse};

use crate::support::{batch, etag, headers, key, refusal, status_and_code, with_request};

fn command(line: &str, format: Format, body: &[u8]) -> Command<'static> {
    batch(line, format, body).unwrap_or_else(|problem| panic!("{line} {}: {problem:?}", body.escape_ascii())).0
}

fn set(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Set<'static> {
    let value = Bytes::copy_from_slice(value.as_ref());
    Set::new(key(name), value)
}

fn get(names: &[&[u8]], require_all: bool) -> Command<'static> {
    Command::MultiGet { keys: names.iter().map(key).collect(), require_all }
}

#[test]
fn the_bodies_of_the_contract_are_understood() {
    let body = br#"{"items":[
        {"key":"a","value":"1","content_type":"text/plain"},
        {"key_b64":"AAE=","value_b64":"//8=","if":{"etag":"e1b2c3d4-42"}},
        {"key":"lock","value":"me","if":{"absent":true}}]}"#;
    let sets = vec![
        Set { content_type: Some(ContentType::new(b"text/plain").unwrap()), ..set("a", "1") },
        Set { condition: Condition::AnyOf(vec![etag(42)]), ..set([0, 1], [0xff, 0xff]) },
        Set { condition: Condition::Absent, ..set("lock", "me") },
    ];
    assert_eq!(command("POST /v1/mset", Json, body), Command::MultiSet { sets });

    assert_eq!(command("POST /v1/mget", Json, br#"{"keys":["a","b"]}"#), get(&[b"a", b"b"], false));
    let body = br#"{"items":[{"key":"a"},{"key_b64":"AAE="}],"require_all":true}"#;
    assert_eq!(command("POST /v1/mget", Json, body), get(&[b"a", &[0, 1]], true));

    let body = br#"{"require_all":false,"items":[{"key":"a","if":{"revision":41}},{"key":"a"}]}"#;
    let deletes = vec![
        Delete { key: key("a"), condition: Condition::Revision(Revision(41)) },
        Delete { key: key("a"), condition: Condition::Always },
    ];
    assert_eq!(command("POST /v1/mdelete", Json, body), Command::MultiDelete { deletes, require_all: false });
}

#[test]
fn the_same_bodies_are_understood_in_cbor() {
    // {"items": [{"key": h'61', "value": h'ff00', "if": {"exists": true}}]}
    let body = b"\xa1\x65items\x81\xa3\x63key\x41a\x65value\x42\xff\x00\x62if\xa1\x66exists\xf5";
    let sets = vec![Set { condition: Condition::Exists, ..set("a", b"\xff\x00") }];
    assert_eq!(command("POST /v1/mset", Cbor, body), Command::MultiSet { sets });
    // {"keys": [h'00ff', "text"], "require_all": true}
    let body = b"\xa2\x64keys\x82\x42\x00\xff\x64text\x6brequire_all\xf5";
    assert_eq!(command("POST /v1/mget", Cbor, body), get(&[b"\x00\xff", b"text"], true));
    // {"items": [{"key_b64": "AAE="}]}
    let body = b"\xa1\x65items\x81\xa1\x67key_b64\x64AAE=";
    assert_eq!(command("POST /v1/mget", Cbor, body), get(&[&[0, 1]], false));
}

#[test]
fn base64_is_read_in_both_alphabets_with_and_without_padding() {
    for text in ["+/8=", "+/8", "-_8=", "-_8"] {
        let body = format!(r#"{{"items":[{{"key_b64":"{text}"}}]}}"#);
        assert_eq!(command("POST /v1/mget", Json, body.as_bytes()), get(&[&[0xfb, 0xff]], false), "{text}");
    }
    assert_eq!(command("POST /v1/mget", Json, br#"{"items":[{"key_b64":""}]}"#), get(&[b""], false));
}

#[test]
fn every_condition_of_an_item_is_understood() {
    let table = [
        (r#"{"etag":"e1b2c3d4-42"}"#, Condition::AnyOf(vec![etag(42)])),
        (r#"{"revision":0}"#, Condition::Revision(Revision(0))),
        (r#"{"absent":true}"#, Condition::Absent),
        (r#"{"exists":true}"#, Condition::Exists),
        (r#"{"value":""}"#, Condition::Value(Bytes::new())),
        (r#"{"value_b64":"/w=="}"#, Condition::Value(Bytes::from_static(b"\xff"))),
    ];
    for (text, condition) in table {
        let body = format!(r#"{{"items":[{{"key":"a","value":"1","if":{text}}}]}}"#);
        let sets = vec![Set { condition: condition.clone(), ..set("a", "1") }];
        assert_eq!(command("POST /v1/mset", Json, body.as_bytes()), Command::MultiSet { sets }, "{text}");
        let body = format!(r#"{{"items":[{{"key":"a","if":{text}}}]}}"#);
        let deletes = vec![Delete { key: key("a"), condition }];
        let expected = Command::MultiDelete { deletes, require_all: false };
        assert_eq!(command("POST /v1/mdelete", Json, body.as_bytes()), expected, "{text}");
    }
}

#[test]
fn keys_are_borrowed_from_the_body_and_values_are_not() {
    let body = br#"{"items":[{"key":"plain","value":"v"},{"key":"\u0061","value":"v"}]}"#;
    with_request("POST /v1/mset", &[], |request| {
        let mut request = request.unwrap();
        let Operation::Batch(batch) = request.operation else { panic!() };
        let Command::MultiSet { sets } = batch.command(body, &mut request.answer).unwrap() else { panic!() };
        let inside = |bytes: &[u8]| body.as_ptr_range().contains(&bytes.as_ptr());
        assert!(inside(sets[0].key.as_bytes()), "a key costs no allocation");
        assert!(!inside(sets[1].key.as_bytes()));
        assert!(!inside(&sets[0].value), "a value must not keep the body in memory");
    });
}

/// The refusal of a body: code and pointer.
fn refused(line: &str, format: Format, body: &[u8]) -> (u16, String, String, Problem) {
    match batch(line, format, body) {
        Ok((command, _)) => panic!("{line} {} is taken as {command:?}", body.escape_ascii()),
        Err(problem) => {
            let pointer = problem.errors().first().and_then(|error| error.pointer.clone()).unwrap_or_default();
            (problem.status().as_u16(), problem.code().to_owned(), pointer, problem)
        }
    }
}

#[test]
fn a_broken_item_is_refused_with_a_pointer_to_it() {
    let table = [
        ("mset", r#"{"items":[{"key":"a","value":"1"},{"value":"2"}]}"#, "#/items/1"),
        ("mset", r#"{"items":[{"key":"a","key_b64":"YQ==","value":"1"}]}"#, "#/items/0"),
        ("mset", r#"{"items":[{"key":"a"}]}"#, "#/items/0"),
        ("mset", r#"{"items":[{"key":"a","value":"1","value_b64":"MQ=="}]}"#, "#/items/0"),
        ("mset", r#"{"items":[{"key_b64":"YQ!","value":"1"}]}"#, "#/items/0/key_b64"),
        ("mset", r#"{"items":[{"key_b64":"YR==","value":"1"}]}"#, "#/items/0/key_b64"),
        ("mset", r#"{"items":[{"key":"a","value_b64":"+_8="}]}"#, "#/items/0/value_b64"),
        ("mset", r#"{"items":[{"key":7,"value":"1"}]}"#, "#/items/0/key"),
        ("mset", r#"{"items":[{"key":null,"key_b64":"YQ==","value":"1"}]}"#, "#/items/0/key"),
        ("mset", r#"{"items":[{"key":"a","value":1}]}"#, "#/items/0/value"),
        ("mset", r#"{"items":[{"key":"a","value":null}]}"#, "#/items/0/value"),
        ("mset", r#"{"items":[{"key":"a","value":["1"]}]}"#, "#/items/0/value"),
        ("mset", r#"{"items":[{"key":"a","value":"1","if":null}]}"#, "#/items/0/if"),
        ("mset", r#"{"items":[{"key":"a","value":"1","if":{}}]}"#, "#/items/0/if"),
        ("mset", r#"{"items":[{"key":"a","value":"1","if":{"absent":false}}]}"#, "#/items/0/if/absent"),
        ("mset", r#"{"items":[{"key":"a","value":"1","if":{"etag":"\"e1b2c3d4-42\""}}]}"#, "#/items/0/if/etag"),
        ("mset", r#"{"items":[{"key":"a","value":"1","if":{"revision":-1}}]}"#, "#/items/0/if/revision"),
        ("mset", r#"{"items":[{"key":"a","value":"1","if":{"revision":1.5}}]}"#, "#/items/0/if/revision"),
        ("mset", r#"{"items":[{"key":"a","value":"1","if":{"absent":true,"revision":1}}]}"#, "#/items/0/if"),
        ("mset", r#"{"items":[{"key":"a","value":"1","if":{"value":"","value_b64":""}}]}"#, "#/items/0/if"),
        ("mset", r#"{"items":[{"key":"a","value":"1","if":{"modified":1}}]}"#, "#/items/0/if/modified"),
        ("mset", r#"{"items":[{"key":"a","value":"1","content_type":"a\nb"}]}"#, "#/items/0/content_type"),
        ("mset", r#"{"items":[{"key":"a","value":"1","Value":"1"}]}"#, "#/items/0/Value"),
        ("mset", r#"{"items":[{"key":"a","value":"1","a/b~c d":"1"}]}"#, "#/items/0/a~1b~0c%20d"),
        ("mset", r#"{"items":[{"key":"a","value":"1","value":"1"}]}"#, "#/items/0"),
        ("mset", r#"{"items":["a"]}"#, "#/items/0"),
        ("mset", r#"{"items":{"key":"a","value":"1"}}"#, "#/items"),
        ("mset", r#"{"items":null}"#, "#/items"),
        ("mset", r#"{"items":[],"items":[]}"#, "#"),
        ("mset", r#"{"keys":["a"]}"#, "#/keys"),
        ("mset", r#"{"items":[],"require_all":true}"#, "#/require_all"),
        ("mset", r#"{"itmes":[]}"#, "#/itmes"),
        ("mset", "{}", "#"),
        ("mset", "[]", "#"),
        ("mset", "null", "#"),
        ("mset", "\"a\"", "#"),
        ("mget", "{}", "#"),
        ("mget", r#"{"keys":["a"],"items":[{"key":"a"}]}"#, "#"),
        ("mget", r#"{"keys":["a",5]}"#, "#/keys/1"),
        ("mget", r#"{"keys":"a"}"#, "#/keys"),
        ("mget", r#"{"keys":["a"],"require_all":1}"#, "#/require_all"),
        ("mget", r#"{"items":[{"key":"a","value":"1"}]}"#, "#/items/0/value"),
        ("mget", r#"{"items":[{"key":"a","if":{"absent":true}}]}"#, "#/items/0/if"),
        ("mdelete", r#"{"items":[{"key":"a","value":"1"}]}"#, "#/items/0/value"),
        ("mdelete", r#"{"items":[{}]}"#, "#/items/0"),
    ];
    for (route, body, pointer) in table {
        let (status, code, place, problem) = refused(&format!("POST /v1/{route}"), Json, body.as_bytes());
        assert_eq!(
            (status, code.as_str(), place.as_str()),
            (422, "invalid-item", pointer),
            "{route} {body} {problem:?}"
        );
    }
}

#[test]
fn an_item_has_its_own_time_to_live() {
    for (ttl, expected) in [
        ("", Ttl::Default),
        (r#","ttl":"none""#, Ttl::None),
        (r#","ttl":"keep""#, Ttl::Keep),
        (r#","ttl":"1500ms""#, Ttl::Ms(1_500)),
        (r#","ttl":"36500d""#, Ttl::Ms(36_500 * 86_400_000)),
    ] {
        let body = format!(r#"{{"items":[{{"key":"a","value":"1"{ttl}}}]}}"#);
        let sets = vec![Set { ttl: expected, ..set("a", "1") }];
        assert_eq!(command("POST /v1/mset", Json, body.as_bytes()), Command::MultiSet { sets }, "{ttl}");
    }
    for ttl in
        ["30", "null", "{\"a\":[]}", "\"30\"", "\"0s\"", "\"-1s\"", "\"1.5s\"", "\"s\"", "\"1h30m\"", "\"36501d\""]
    {
        let body = format!(r#"{{"items":[{{"key":"a","value":"1","ttl":{ttl}}}]}}"#);
        let (status, code, pointer, _) = refused("POST /v1/mset", Json, body.as_bytes());
        assert_eq!((status, code.as_str(), pointer.as_str()), (422, "invalid-item", "#/items/0/ttl"), "{ttl}");
    }
}

#[test]
fn what_is_no_json_at_all_is_a_malformed_body() {
    let table: &[&[u8]] = &[
        b"",
        b" ",
        b"{",
        b"{\"items\":[",
        b"{\"items\":[{\"key\":\"a\",\"value\":\"1\"}]} x",
        b"{\"items\":[]}{}",
        b"{\"items\":[,]}",
        b"{'items':[]}",
        b"{\"items\":[{\"key\":\"\xff\",\"value\":\"1\"}]}",
        b"{\"items\":[{\"key\":\"\\ud800\",\"value\":\"1\"}]}",
        b"{\"items\":[{\"key\":\"a\nb\",\"value\":\"1\"}]}",
        b"\xef\xbb\xbf{\"items\":[]}",
        b"\xa1\x65items\x80",
        b"items=a",
    ];
    for body in table {
        let (status, code, _, problem) = refused("POST /v1/mset", Json, body);
        assert_eq!((status, code.as_str()), (400, "malformed-body"), "{}", body.escape_ascii());
        assert!(problem.detail().starts_with("the body is not application/json: "), "{}", problem.detail());
    }
    let deep = [b"{\"items\":".repeat(200), b"[".repeat(100_000)].concat();
    assert_eq!(refused("POST /v1/mset", Json, &deep).0, 422, "refused at the first level that should not be there");
}

#[test]
fn cbor_has_one_shape_and_nothing_after_it() {
    let table: &[(&str, &[u8])] = &[
        ("nothing", b""),
        ("a map that lacks its value", b"\xa1\x65items"),
        ("a string that is cut", b"\xa1\x65ite"),
        ("something after the item", b"\xa1\x65items\x80\x00"),
        ("an array of indefinite length", b"\xa1\x65items\x9f\xff"),
        ("a map of indefinite length", b"\xbf\x65items\x80\xff"),
        ("a key in pieces", b"\xa1\x64keys\x81\x5f\x41a\xff"),
        ("a name in pieces", b"\xa1\x7f\x65items\xff\x80"),
        ("a break", b"\xff"),
        ("a name that is no UTF-8", b"\xa1\x65item\xff\x80"),
        ("nine levels", b"\xa1\x65items\x81\x81\x81\x81\x81\x81\x81\x81\x00"),
        ("an array that says 2^64-1 items", b"\xa1\x65items\x9b\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("a byte string that says 2^63 bytes", b"\xa1\x64keys\x81\x5b\x80\x00\x00\x00\x00\x00\x00\x00"),
        ("a reserved length", b"\x1c"),
        ("JSON", b"{\"items\":[]}"),
        ("a tag and nothing", b"\xc1"),
    ];
    for (what, body) in table {
        let (status, code, _, problem) = refused("POST /v1/mget", Cbor, body);
        assert_eq!((status, code.as_str()), (400, "malformed-body"), "{what}: {problem:?}");
        assert!(problem.detail().starts_with("the body is not application/cbor: "), "{}", problem.detail());
    }
    let deep = [b"\x81".repeat(1_000_000), b"\x00".to_vec()].concat();
    assert_eq!(refused("POST /v1/mget", Cbor, &deep).1, "malformed-body");
}

#[test]
fn cbor_of_another_schema_is_refused_with_a_pointer() {
    let table: &[(&str, &str, &[u8], &str)] = &[
        ("no map", "mget", b"\x80", "#"),
        ("null", "mget", b"\xf6", "#"),
        ("nothing asked", "mget", b"\xa0", "#"),
        ("a field twice", "mget", b"\xa2\x64keys\x80\x64keys\x80", "#"),
        ("an unknown field", "mget", b"\xa1\x61x\x80", "#/x"),
        ("a number for a name", "mget", b"\xa1\x01\x80", "#"),
        ("a number for a key", "mget", b"\xa1\x64keys\x82\x41a\x07", "#/keys/1"),
        ("a tagged key", "mget", b"\xa1\x64keys\x81\xc2\x41a", "#/keys/0"),
        ("null for a key", "mget", b"\xa1\x65items\x81\xa1\x63key\xf6", "#/items/0/key"),
        ("text for a value", "mset", b"\xa1\x65items\x81\xa2\x63key\x41a\x65value\x61v", "#/items/0/value"),
        ("bytes for base64", "mget", b"\xa1\x65items\x81\xa1\x67key_b64\x44YQ==", "#/items/0/key_b64"),
        ("an item's field twice", "mget", b"\xa1\x65items\x81\xa2\x63key\x41a\x63key\x41b", "#/items/0"),
        ("eight levels", "mget", b"\xa1\x65items\x81\x81\x81\x81\x81\x81\x81\x00", "#/items/0"),
    ];
    for (what, route, body, pointer) in table {
        let (status, code, place, problem) = refused(&format!("POST /v1/{route}"), Cbor, body);
        assert_eq!((status, code.as_str(), place.as_str()), (422, "invalid-item", *pointer), "{what}: {problem:?}");
    }
    // {"items": [{"key": h'61', "value": h'', "ttl": 5}]}
    let body = b"\xa1\x65items\x81\xa3\x63key\x41a\x65value\x40\x63ttl\x05";
    let (status, code, pointer, _) = refused("POST /v1/mset", Cbor, body);
    assert_eq!((status, code.as_str(), pointer.as_str()), (422, "invalid-item", "#/items/0/ttl"));
}

#[test]
fn too_many_items_are_refused_while_they_are_read() {
    let limits = Limits { batch_items_max: 3, ..Limits::DEFAULT };
    let decode = |target: &str, format: Format, body: &[u8]| {
        let (uri, headers) = (target.parse().unwrap(), headers(&[("content-type", format.content_type())]));
        let mut request = parse(&Method::POST, &uri, &headers, &limits).unwrap();
        let Operation::Batch(batch) = request.operation else { panic!() };
        batch.command(body, &mut request.answer).map(drop)
    };
    assert_eq!(decode("/v1/mget", Json, br#"{"keys":["a","b","c"]}"#), Ok(()));
    // What follows the fourth item is never looked at.
    let bodies: [(&str, Format, &[u8]); 4] = [
        ("/v1/mget", Json, br#"{"keys":["a","b","c","d",garbage"#),
        ("/v1/mget", Json, br#"{"items":[{"key":"a"},{"key":"b"},{"key":"c"},{"key":"d"},garbage"#),
        ("/v1/mset", Json, br#"{"items":[{},{},{},{},garbage"#),
        ("/v1/mdelete", Cbor, b"\xa1\x64keys\x84\x41a\x41b\x41c\x41d"),
    ];
    for (target, format, body) in bodies {
        let problem = decode(target, format, body).unwrap_err();
        assert_eq!(status_and_code(&problem), (413, "limit-exceeded"), "{target}");
        let limit = problem.limit().unwrap();
        assert_eq!((limit.name.as_ref(), limit.max, limit.actual), ("batch_items_max", 3, None));
    }
}

#[test]
fn a_key_longer_than_any_is_refused_by_its_limit() {
    let body = format!(r#"{{"items":[{{"key":"a"}},{{"key":"{}"}}]}}"#, "k".repeat(65_537));
    let (status, code, pointer, problem) = refused("POST /v1/mget", Json, body.as_bytes());
    assert_eq!((status, code.as_str(), pointer.as_str()), (413, "limit-exceeded", "#/items/1"));
    let limit = problem.limit().unwrap();
    assert_eq!((limit.name.as_ref(), limit.max, limit.actual), ("key_bytes_max", 65_536, Some(65_537)));
}

#[test]
fn an_error_repeats_little_of_what_it_is_about() {
    let body = format!(r#"{{"{}":1}}"#, "x".repeat(100_000));
    let (_, code, pointer, problem) = refused("POST /v1/mget", Json, body.as_bytes());
    assert_eq!((code.as_str(), pointer.as_str()), ("invalid-item", "#"));
    assert!(problem.respond("r").body().len() < 1000);
}

#[test]
fn a_body_comes_in_a_format_that_is_known() {
    let json = br#"{"keys":["a"]}"#;
    let accepted = [
        None,
        Some("application/json"),
        Some("Application/JSON; charset=utf-8"),
        Some("application/json;charset=\"UTF-8\""),
    ];
    for content_type in accepted {
        let lines: Vec<_> = content_type.into_iter().map(|value| ("content-type", value)).collect();
        with_request("POST /v1/mget", &lines, |request| {
            let mut request = request.unwrap();
            let Operation::Batch(batch) = request.operation else { panic!() };
            assert!(batch.command(json, &mut request.answer).is_ok(), "{content_type:?}");
        });
    }
    let refused = [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin1",
        "application/jsonp",
        "application/*",
        "json",
    ];
    for content_type in refused {
        let problem = refusal("POST /v1/mset", &[("content-type", content_type)]);
        assert_eq!(status_and_code(&problem), (415, "unsupported-media-type"), "{content_type}");
        assert!(problem.detail().contains(&format!("`{content_type}`")), "what arrived is not in {}", problem.detail());
    }
    for line in ["POST /v1/mget", "PUT /v1/keys/a"] {
        let problem = refusal(line, &[("content-encoding", "gzip")]);
        assert_eq!(status_and_code(&problem), (415, "unsupported-media-type"), "{line}");
    }
    let twice = [("content-type", "application/json"), ("content-type", "application/cbor")];
    assert_eq!(status_and_code(&refusal("POST /v1/mset", &twice)), (400, "bad-header"));
}

#[test]
fn an_empty_batch_is_for_the_store_to_judge() {
    assert_eq!(command("POST /v1/mget", Json, br#"{"keys":[]}"#), get(&[], false));
    assert_eq!(command("POST /v1/mset", Json, br#"{"items":[]}"#), Command::MultiSet { sets: vec![] });
    assert_eq!(
        command("POST /v1/mget", Json, br#"{"keys":[""]}"#),
        Command::MultiGet { keys: vec![Key::empty()], require_all: false }
    );
}
