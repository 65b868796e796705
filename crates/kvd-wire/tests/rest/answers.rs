//! What a client is told: exact bytes, exact headers. Scripts are written against these, so they stand here as they go out.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use kvd_types::{Command, ContentType, Entry, Limits, Reply, Revision};
use kvd_wire::rest::batch::{
    DurabilityStats, Format, Found, GetItem, InfoAnswer, InfoLimits, ItemMeta, MemoryStats, Message, OperationStats,
    StatsAnswer,
};
use kvd_wire::rest::request::{Operation, Request};
use kvd_wire::rest::response::{Answer, Store};

use crate::support::{EPOCH, STORE, batch, etag, key, refusal, run, status_and_code, with_request};

/// Status, headers and body as they would be read off the wire.
fn written(response: &Response<Bytes>) -> String {
    let headers: String =
        response.headers().iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect();
    format!("{}\n{headers}\n{}", response.status().as_u16(), response.body().escape_ascii())
}

fn entry(value: &'static [u8], content_type: Option<&str>, revision: u64) -> Entry {
    let content_type = content_type.map(|text| ContentType::new(text.as_bytes()).unwrap());
    Entry { value: Bytes::from_static(value), content_type, expires_at_ms: None, revision: Revision(revision) }
}

fn hit(entry: Entry) -> Reply {
    Reply::Got { revision: entry.revision, entry: Some(entry) }
}

fn answered(line: &str, reply: Reply) -> Response<Bytes> {
    let (command, answer) = run(line, &[]);
    answer.respond(STORE, &command, reply).unwrap()
}

#[test]
fn a_value_is_sent_as_it_was_stored_and_can_do_no_harm_in_a_browser() {
    let response = answered("GET /v1/keys/a", hit(entry(b"<script>\xff", Some("text/html; charset=utf-8"), 42)));
    let expected = "200
content-type: text/html; charset=utf-8
etag: \"e1b2c3d4-42\"
kvd-revision: 42
accept-ranges: bytes
x-content-type-options: nosniff
content-security-policy: default-src 'none'; sandbox
cross-origin-resource-policy: same-origin

<script>\\xff";
    assert_eq!(written(&response), expected);
    let response = answered("GET /v1/keys/a", hit(entry(b"", None, u64::MAX)));
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    assert_eq!(response.headers()["etag"], "\"e1b2c3d4-18446744073709551615\"");
}

#[test]
fn a_value_is_never_copied() {
    let value = Bytes::from(vec![7; 1000]);
    let reply = hit(Entry { value: value.clone(), content_type: None, expires_at_ms: None, revision: Revision(1) });
    let body = answered("GET /v1/keys/a", reply).into_body();
    assert_eq!(body.as_ptr(), value.as_ptr());
}

#[test]
fn the_tag_in_a_header_is_that_of_the_store() {
    for epoch in [0, 1, 0x0fed_cba9, u32::MAX] {
        let epoch = kvd_types::Epoch(epoch);
        let (command, answer) = run("GET /v1/keys/a", &[]);
        let response = answer.respond(Store { epoch, ..STORE }, &command, hit(entry(b"", None, 7))).unwrap();
        let tag = kvd_types::Etag { epoch, revision: Revision(7) };
        assert_eq!(response.headers()["etag"], format!("\"{tag}\""));
    }
}

#[test]
fn head_answers_as_get_does_but_for_the_body() {
    let get = answered("GET /v1/keys/a", hit(entry(b"12345", Some("text/plain"), 42)));
    let head = answered("HEAD /v1/keys/a", hit(entry(b"12345", Some("text/plain"), 42)));
    assert!(head.body().is_empty());
    assert_eq!(head.headers()["content-length"], "5");
    assert_eq!(head.status(), get.status());
    for (name, value) in get.headers() {
        assert_eq!(head.headers()[name], value);
    }
    for target in ["/healthz", "/readyz", "/v1/stats", "/v1/info"] {
        let get = report(&format!("GET {target}"), &[]);
        let head = report(&format!("HEAD {target}"), &[]);
        assert!(head.body().is_empty());
        assert_eq!(head.headers()["content-length"], get.body().len().to_string(), "{target}");
    }
}

#[test]
fn a_write_of_one_key_is_answered_without_a_body() {
    let put = |created| {
        let value = Bytes::from_static(b"1");
        let reply = Reply::Set { revision: Revision(57), created };
        with_request("PUT /v1/keys/a", &[], |request| {
            let Request { operation, answer, .. } = request.unwrap();
            let Operation::Put(put) = operation else { panic!() };
            written(&answer.respond(STORE, &put.command(value), reply).unwrap())
        })
    };
    assert_eq!(put(true), "201\netag: \"e1b2c3d4-57\"\nkvd-revision: 57\n\n");
    assert_eq!(put(false), "204\netag: \"e1b2c3d4-57\"\nkvd-revision: 57\n\n");
    let deleted = answered("DELETE /v1/keys/a", Reply::Deleted { revision: Revision(58), found: true });
    assert_eq!(written(&deleted), "204\nkvd-revision: 58\n\n");
}

#[test]
fn a_missing_key_is_404_with_the_revision_that_was_read() {
    let table = [
        ("GET /v1/keys/a", Reply::Got { entry: None, revision: Revision(9) }),
        ("DELETE /v1/keys/a", Reply::Deleted { revision: Revision(9), found: false }),
    ];
    for (line, reply) in table {
        let (command, answer) = run(line, &[]);
        let problem = answer.respond(STORE, &command, reply).unwrap_err();
        assert_eq!(status_and_code(&problem), (404, "not-found"));
        let expected = "404
content-type: application/problem+json
x-content-type-options: nosniff
kvd-revision: 9

{\\\"type\\\":\\\"urn:kvd:problem:not-found\\\",\\\"title\\\":\\\"Not found\\\",\\\"status\\\":404,\
\\\"code\\\":\\\"not-found\\\",\\\"retryable\\\":false,\\\"detail\\\":\\\"no such key\\\",\\\"request_id\\\":\\\"r1\\\"}";
        assert_eq!(written(&problem.respond("r1")), expected);
    }
}

/// The answer to a batch.
fn batched(line: &str, format: Format, body: &[u8], reply: Reply) -> Response<Bytes> {
    let (command, answer) = batch(line, format, body).unwrap();
    answer.respond(STORE, &command, reply).unwrap()
}

#[test]
fn a_multi_get_answers_in_the_order_of_the_request() {
    let entries = vec![Some(entry(b"1", Some("text/plain"), 57)), Some(entry(b"\xff", None, 3)), None];
    let reply = Reply::MultiGot { revision: Revision(57), entries };
    let body = br#"{"items":[{"key":"a"},{"key_b64":"AP8="},{"key":"b"}]}"#;
    let response = batched("POST /v1/mget", Format::Json, body, reply.clone());
    let expected = concat!(
        r#"{"revision":57,"items":["#,
        r#"{"key":"a","found":true,"value":"1","revision":57,"etag":"e1b2c3d4-57","size":1,"content_type":"text/plain"},"#,
        r#"{"key_b64":"AP8=","found":true,"value_b64":"/w==","revision":3,"etag":"e1b2c3d4-3","size":1,"#,
        r#""content_type":"application/octet-stream"},"#,
        r#"{"key":"b","found":false}]}"#,
    );
    assert_eq!(response.body(), expected);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["kvd-revision"], "57");

    let response = batched("POST /v1/mget?enc=base64", Format::Json, body, reply);
    assert!(response.body().starts_with(br#"{"revision":57,"items":[{"key":"a","found":true,"value_b64":"MQ==""#));
}

#[test]
fn a_multi_get_in_cbor_has_definite_lengths_and_byte_strings() {
    // {"keys": [h'61', h'62']}
    let reply = Reply::MultiGot { revision: Revision(57), entries: vec![Some(entry(b"\xff", Some("t"), 57)), None] };
    let response = batched("POST /v1/mget", Format::Cbor, b"\xa1\x64keys\x82\x41a\x41b", reply);
    let expected = b"\xa2\x68revision\x18\x39\x65items\x82\
        \xa7\x63key\x41a\x65found\xf5\x65value\x41\xff\x68revision\x18\x39\x64etag\x6be1b2c3d4-57\x64size\x01\
        \x6ccontent_type\x61t\
        \xa2\x63key\x41b\x65found\xf4";
    assert_eq!(response.body().escape_ascii().to_string(), expected.escape_ascii().to_string());
    assert_eq!(response.headers()["content-type"], "application/cbor");
}

#[test]
fn a_multi_set_and_a_multi_delete_say_what_they_did() {
    let body = br#"{"items":[{"key":"a","value":"1"},{"key_b64":"AP8=","value":"2"}]}"#;
    let reply = Reply::MultiSet { revision: Revision(57), created: 2, replaced: 0 };
    let expected = concat!(
        r#"{"revision":57,"created":2,"replaced":0,"items":["#,
        r#"{"key":"a","revision":57,"etag":"e1b2c3d4-57"},{"key_b64":"AP8=","revision":57,"etag":"e1b2c3d4-57"}]}"#,
    );
    assert_eq!(batched("POST /v1/mset", Format::Json, body, reply).body(), expected);
    let reply = Reply::MultiDeleted { revision: Revision(58), deleted: 2, missing: 1 };
    let response = batched("POST /v1/mdelete", Format::Json, br#"{"keys":["a","b","a"]}"#, reply);
    assert_eq!(response.body(), r#"{"revision":58,"deleted":2,"missing":1}"#);
    assert_eq!(response.headers()["kvd-revision"], "58");
}

#[test]
fn the_answer_is_in_the_format_the_client_prefers() {
    let (json, cbor) = ("application/json", "application/cbor");
    // What the body is in, Accept, what the answer is in.
    let table: &[(&str, &[&str], &str)] = &[
        (json, &[], json),
        (cbor, &[], cbor),
        (json, &["*/*"], json),
        (cbor, &["*/*"], cbor),
        (cbor, &["application/*"], cbor),
        (json, &["application/cbor"], cbor),
        (cbor, &["Application/JSON"], json),
        (json, &["application/cbor, */*;q=0.1"], cbor),
        (cbor, &["application/cbor;q=0.5, application/json"], json),
        (json, &["application/cbor;q=0.5, */*"], json),
        (json, &["application/json;q=0, */*"], cbor),
        (json, &["text/html, application/xhtml+xml, */*;q=0.8"], json),
        (json, &["text/html, image/gif, *; q=.2, */*; q=.2"], json),
        (json, &["text/html", "application/cbor"], cbor),
    ];
    for (sent, accept, expected) in table {
        let mut lines = vec![("content-type", *sent)];
        lines.extend(accept.iter().map(|value| ("accept", *value)));
        with_request("POST /v1/mget", &lines, |request| {
            let command = Command::MultiGet { keys: vec![], require_all: false };
            let reply = Reply::MultiGot { revision: Revision(1), entries: vec![] };
            let response = request.unwrap().answer.respond(STORE, &command, reply).unwrap();
            assert_eq!(response.headers()["content-type"], *expected, "{lines:?}");
        });
    }
    let routes =
        ["POST /v1/mget", "POST /v1/mset", "POST /v1/mdelete", "GET /v1/keys", "GET /v1/stats", "GET /v1/info"];
    for line in routes {
        for accept in ["text/html", "application/json;q=0", "*/*;q=0", "", "application/problem+json"] {
            let problem = refusal(line, &[("accept", accept)]);
            assert_eq!(status_and_code(&problem), (406, "not-acceptable"), "{line} {accept}");
        }
        for accept in ["application/json;q=2", "*/*;q=x"] {
            assert_eq!(status_and_code(&refusal(line, &[("accept", accept)])), (400, "bad-header"), "{line} {accept}");
        }
    }
}

fn report(line: &str, lines: &[(&str, &str)]) -> Response<Bytes> {
    with_request(line, lines, |request| {
        let Request { operation, answer, .. } = request.unwrap();
        match operation {
            Operation::Stats => answer.stats(&stats()),
            Operation::Info => answer.info(&info()),
            Operation::Healthz | Operation::Readyz => answer.probe(),
            other => panic!("{other:?}"),
        }
    })
}

fn stats() -> StatsAnswer {
    StatsAnswer {
        keys: 3,
        value_bytes: 9,
        key_bytes: 12,
        ops: OperationStats { get: 7, set: 3, delete: 1, total: 11 },
        hits: 5,
        misses: 2,
        uptime_s: 60,
        revision: 57,
        memory: MemoryStats { used: 4096, rss: Some(8192), ..MemoryStats::default() },
        durability: DurabilityStats { policy: "in-memory".into(), ..DurabilityStats::default() },
        ..StatsAnswer::default()
    }
}

fn info() -> InfoAnswer {
    let limits = Limits {
        key_bytes_max: 1,
        value_bytes_max: 2,
        batch_items_max: 3,
        transaction_ops_max: 11,
        batch_bytes_max: 4,
        inbound_bytes_max: 5,
        header_bytes_max: 6,
        connections_max: 7,
        transactions_max: 12,
        transactions_bytes_max: 13,
        transaction_idle_timeout: Duration::from_millis(14),
        transaction_age_max: Duration::from_millis(15),
        header_timeout: Duration::from_millis(8),
        body_idle_timeout: Duration::from_secs(9),
        keep_alive_timeout: Duration::from_secs(10),
    };
    InfoAnswer {
        version: "0.1.0".into(),
        api: 1,
        epoch: EPOCH.to_string(),
        revision: 57,
        limits: InfoLimits::from(&limits),
        default_ttl_ms: Some(16),
        features: vec!["cbor".into()],
        uptime_s: 60,
    }
}

#[test]
fn stats_have_every_field_of_the_contract() {
    let expected = concat!(
        r#"{"keys":3,"value_bytes":9,"key_bytes":12,"ops":{"get":7,"set":3,"delete":1,"total":11},"hits":5,"misses":2,"#,
        r#""delete_misses":0,"rejected":0,"expired":0,"evicted":0,"expiry_lag_ms":0,"#,
        r#""memory":{"used":4096,"limit":null,"index":0,"history":0,"retired":0,"buffers":0,"rss":8192},"#,
        r#""connections":0,"transactions":0,"watch":{"watches":0,"lagged":0,"retained_bytes":0},"uptime_s":60,"revision":57,"#,
        r#""durability":{"policy":"in-memory","revision_durable":null,"journal_bytes":0,"snapshot_revision":null,"#,
        r#""loaded_keys":0,"loaded_bytes":0,"error":null}}"#,
    );
    let response = report("GET /v1/stats", &[]);
    assert_eq!(response.body(), expected);
    for accept in ["application/json", "application/cbor"] {
        let response = report("GET /v1/stats", &[("accept", accept)]);
        assert_eq!(crate::support::decode::<StatsAnswer>(&response), stats());
    }
}

#[test]
fn info_tells_version_and_limits() {
    let expected = concat!(
        r#"{"version":"0.1.0","api":1,"epoch":"e1b2c3d4","revision":57,"limits":{"key_bytes_max":1,"value_bytes_max":2,"#,
        r#""batch_items_max":3,"transaction_ops_max":11,"batch_bytes_max":4,"inbound_bytes_max":5,"header_bytes_max":6,"#,
        r#""url_bytes_max":65534,"connections_max":7,"transactions_max":12,"transactions_bytes_max":13,"#,
        r#""list_items_default":1000,"list_items_max":10000,"transaction_idle_timeout_ms":14,"transaction_age_max_ms":15,"#,
        r#""header_timeout_ms":8,"body_idle_timeout_ms":9000,"keep_alive_timeout_ms":10000,"history_versions":0,"#,
        r#""memory_bytes_max":null,"memory_policy":null},"default_ttl_ms":16,"#,
        r#""features":["cbor"],"uptime_s":60}"#,
    );
    assert_eq!(report("GET /v1/info", &[]).body(), expected);
    for accept in ["application/json", "application/cbor"] {
        let response = report("GET /v1/info", &[("accept", accept)]);
        assert_eq!(crate::support::decode::<InfoAnswer>(&response), info());
    }
}

#[test]
fn an_item_can_be_written_by_itself() {
    let meta = ItemMeta { etag: Some(etag(57)), size: 2, ttl_ms: None, content_type: None };
    let found = Some(Found { meta, value: Bytes::from_static(b"hi") });
    let item = GetItem { key: key("a"), found };
    let json = concat!(
        r#"{"key":"a","found":true,"value":"hi","revision":57,"etag":"e1b2c3d4-57","size":2,"#,
        r#""content_type":"application/octet-stream"}"#,
    );
    assert_eq!(item.encode(Format::Json, false), json.as_bytes());
    assert_eq!(GetItem::decode(Format::Json, json.as_bytes()), Ok(item));
}

#[test]
fn a_client_understands_a_newer_server_and_not_a_broken_one() {
    let newer = r#"{"key":"a","found":false,"ttl_ms":5,"more":{"x":[1]}}"#;
    assert_eq!(GetItem::decode(Format::Json, newer.as_bytes()), Ok(GetItem { key: key("a"), found: None }));
    let broken = [
        r#"{"found":false}"#,
        r#"{"key":"a"}"#,
        r#"{"key":"a","found":true}"#,
        r#"{"key":"a","found":true,"value":"1"}"#,
        r#"{"key":"a","found":true,"value":"1","etag":"e1b2c3d4-57"}"#,
        r#"{"key":"a","found":true,"value":"1","etag":"57","size":1}"#,
        "<html>",
        "",
    ];
    for body in broken {
        assert!(GetItem::decode(Format::Json, body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn an_answer_that_does_not_fit_its_command_is_our_own_error() {
    let answer = Answer::default();
    let reply = Reply::MultiGot { revision: Revision(1), entries: vec![] };
    let problem = answer.respond(STORE, &Command::Get { key: key("a") }, reply).unwrap_err();
    assert_eq!(status_and_code(&problem), (500, "internal"));
}
